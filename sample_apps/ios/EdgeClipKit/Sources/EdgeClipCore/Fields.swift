import Foundation

/// The fields of a JSON object, each taken once; what is left at the end is an error, as in edgeclip's own reader.
///
/// Everything here throws `Malformed`.
struct Fields {
    private var left: [String: JSON]
    private let place: String

    /// Reads all of a document. `kind` makes an error of the file's name and what is wrong.
    static func read<T>(
        _ document: Data, of file: String, _ kind: (String) -> EdgeClipError, _ body: (inout Fields) throws -> T
    ) throws -> T {
        do {
            return try read(JSON.parse(document), at: "", body)
        } catch let error as Malformed {
            throw kind("\(file): \(error.message)")
        }
    }

    /// Reads all of an object: unknown keys are refused after `body` took those it knows. place: `artifacts[0]`.
    static func read<T>(_ json: JSON, at place: String, _ body: (inout Fields) throws -> T) throws -> T {
        guard case .object(let members) = json else { throw Malformed("\(place.isEmpty ? "it" : place) is no object") }
        var fields = Fields(left: members, place: place)
        let value = try body(&fields)
        if let key = fields.left.keys.min() { throw fields.wrong(key, "is not known") }
        return value
    }

    func wrong(_ key: String, _ what: String) -> Malformed {
        Malformed("\(path(key)) \(what)")
    }

    private func path(_ key: String) -> String {
        place.isEmpty ? key : "\(place).\(key)"
    }

    /// The value of a key, or nil where it is missing or null.
    mutating func optional(_ key: String) -> JSON? {
        let value = left.removeValue(forKey: key)
        return value == .null ? nil : value
    }

    mutating func json(_ key: String) throws -> JSON {
        guard let value = optional(key) else { throw wrong(key, "is missing") }
        return value
    }

    mutating func object<T>(_ key: String, _ body: (inout Fields) throws -> T) throws -> T {
        try Fields.read(try json(key), at: path(key), body)
    }

    mutating func array<T>(_ key: String, _ body: (JSON, String) throws -> T) throws -> [T] {
        guard case .array(let items) = try json(key) else { throw wrong(key, "is no list") }
        return try items.enumerated().map { try body($1, "\(path(key))[\($0)]") }
    }

    /// A list, or none where it is missing.
    mutating func optionalArray<T>(_ key: String, _ body: (JSON, String) throws -> T) throws -> [T] {
        try left[key, default: .null] == .null ? [] : array(key, body)
    }

    mutating func string(_ key: String) throws -> String {
        guard case .string(let value) = try json(key) else { throw wrong(key, "is no text") }
        return value
    }

    mutating func optionalString(_ key: String) throws -> String? {
        guard let value = optional(key) else { return nil }
        guard case .string(let text) = value else { throw wrong(key, "is no text") }
        return text
    }

    /// One of the words of an enumeration.
    mutating func word<Word: RawRepresentable & CaseIterable>(_ key: String) throws -> Word where Word.RawValue == String {
        let text = try string(key)
        guard let word = Word(rawValue: text) else {
            let known = Word.allCases.map(\.rawValue).joined(separator: ", ")
            throw wrong(key, "\"\(text)\" is not known; known are \(known)")
        }
        return word
    }

    mutating func optionalWord<Word: RawRepresentable & CaseIterable>(_ key: String) throws -> Word?
    where Word.RawValue == String {
        left[key] == nil ? nil : try word(key)
    }

    mutating func bool(_ key: String) throws -> Bool {
        guard case .bool(let value) = try json(key) else { throw wrong(key, "is neither true nor false") }
        return value
    }

    mutating func integer(_ key: String, in range: ClosedRange<Int>) throws -> Int {
        guard let value = try optionalInteger(key, in: range) else { throw wrong(key, "is missing") }
        return value
    }

    mutating func optionalInteger(_ key: String, in range: ClosedRange<Int>) throws -> Int? {
        guard let value = optional(key) else { return nil }
        guard case .integer(let number) = value, range.contains(number) else {
            throw wrong(key, "is no whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    mutating func number(_ key: String) throws -> Double {
        guard let value = try optionalNumber(key) else { throw wrong(key, "is missing") }
        return value
    }

    mutating func optionalNumber(_ key: String) throws -> Double? {
        guard let value = optional(key) else { return nil }
        guard let number = value.double else { throw wrong(key, "is no number") }
        return number
    }

    /// Numbers, `count` of them.
    mutating func numbers(_ key: String, count: Int) throws -> [Double] {
        guard case .array(let items) = try json(key) else { throw wrong(key, "is no list") }
        let numbers = items.compactMap(\.double)
        guard numbers.count == items.count, numbers.count == count else { throw wrong(key, "is no list of \(count) numbers") }
        return numbers
    }

    mutating func optionalNumbers(_ key: String, count: Int) throws -> [Double]? {
        left[key] == nil ? nil : try numbers(key, count: count)
    }

    mutating func integers(_ key: String, in range: ClosedRange<Int>) throws -> [Int] {
        try array(key) { item, place in
            guard case .integer(let number) = item, range.contains(number) else {
                throw Malformed("\(place) is no whole number from \(range.lowerBound) to \(range.upperBound)")
            }
            return number
        }
    }

    mutating func strings(_ key: String) throws -> [String] {
        try array(key, Self.string)
    }

    mutating func optionalStrings(_ key: String) throws -> [String] {
        try optionalArray(key, Self.string)
    }

    /// An object whose values are texts.
    mutating func strings(byKey key: String) throws -> [String: String] {
        guard case .object(let members) = try json(key) else { throw wrong(key, "is no object") }
        let place = path(key)
        return try Dictionary(uniqueKeysWithValues: members.map { ($0, try Self.string($1, place: "\(place).\($0)")) })
    }

    private static func string(_ item: JSON, place: String) throws -> String {
        guard case .string(let value) = item else { throw Malformed("\(place) is no text") }
        return value
    }

    /// A SHA-256 in hexadecimal.
    mutating func sha256(_ key: String) throws -> String {
        let text = try string(key)
        let isDigest = text.utf8.count == 64 && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
        guard isDigest else { throw wrong(key, "is no SHA-256") }
        return text
    }
}

extension JSON {
    var double: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }
}
