import Foundation

/// A JSON document (RFC 8259), read by the same rules on every system and Foundation.
///
/// Keys that come twice, lone surrogates, bytes that are not UTF-8 and numbers beyond a `Double` are errors.
enum JSON: Equatable {
    case null
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case string(String)
    case array([JSON])
    case object([String: JSON])

    /// Throws `Malformed`.
    static func parse(_ bytes: some ContiguousBytes) throws -> JSON {
        try bytes.withUnsafeBytes { buffer in
            var reader = Reader(buffer)
            return try reader.document()
        }
    }
}

/// What is wrong with a document, and where in it. Who reads a file adds the file's name.
struct Malformed: Error {
    let message: String

    init(_ message: String) {
        self.message = message
    }
}

private struct Reader {
    private static let deepest = 64

    private let bytes: UnsafeRawBufferPointer
    private var place = 0

    init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    mutating func document() throws -> JSON {
        let value = try value(depth: 0)
        skipSpace()
        guard place == bytes.count else { throw malformed("something after the end") }
        return value
    }

    private func malformed(_ what: String) -> Malformed {
        Malformed("no JSON: \(what), at byte \(place)")
    }

    private var next: UInt8? {
        place < bytes.count ? bytes[place] : nil
    }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { place += 1 }
    }

    private mutating func value(depth: Int) throws -> JSON {
        guard depth <= Self.deepest else { throw malformed("nested too deeply") }
        skipSpace()
        switch next {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func word(_ word: StaticString, _ value: JSON) throws -> JSON {
        for offset in 0..<word.utf8CodeUnitCount {
            guard next == word.utf8Start[offset] else { throw malformed("unknown word") }
            place += 1
        }
        return value
    }

    private mutating func object(depth: Int) throws -> JSON {
        place += 1
        var members: [String: JSON] = [:]
        skipSpace()
        if take("}") { return .object(members) }
        repeat {
            skipSpace()
            guard next == UInt8(ascii: "\"") else { throw malformed("a key is missing") }
            let key = try string()
            skipSpace()
            guard take(":") else { throw malformed("a colon is missing") }
            let value = try value(depth: depth + 1)
            guard members.updateValue(value, forKey: key) == nil else { throw malformed("key \"\(key)\" comes twice") }
            skipSpace()
        } while take(",")
        guard take("}") else { throw malformed("an object does not end") }
        return .object(members)
    }

    private mutating func array(depth: Int) throws -> JSON {
        place += 1
        var items: [JSON] = []
        skipSpace()
        if take("]") { return .array(items) }
        repeat {
            items.append(try value(depth: depth + 1))
            skipSpace()
        } while take(",")
        guard take("]") else { throw malformed("a list does not end") }
        return .array(items)
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard next == UInt8(ascii: character) else { return false }
        place += 1
        return true
    }

    // MARK: Numbers

    private mutating func digits() -> Int {
        let start = place
        while let byte = next, UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte { place += 1 }
        return place - start
    }

    private mutating func number() throws -> JSON {
        let start = place
        _ = take("-")
        let whole = place
        let count = digits()
        guard count > 0, count == 1 || bytes[whole] != UInt8(ascii: "0") else { throw malformed("not a value") }
        var isInteger = true
        if take(".") {
            isInteger = false
            guard digits() > 0 else { throw malformed("not a number") }
        }
        if take("e") || take("E") {
            isInteger = false
            if !take("+") { _ = take("-") }
            guard digits() > 0 else { throw malformed("not a number") }
        }
        let text = String(decoding: bytes[start..<place], as: UTF8.self)
        if isInteger, let value = Int(text) { return .integer(value) }
        guard let value = Double(text), value.isFinite else { throw malformed("a number beyond all bounds") }
        return .number(value)
    }

    // MARK: Strings

    private mutating func string() throws -> String {
        place += 1
        let start = place
        while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { place += 1 }
        if next == UInt8(ascii: "\"") {
            defer { place += 1 }
            return try utf8(bytes[start..<place])
        }
        var collected = [UInt8](bytes[start..<place])
        while let byte = next {
            switch byte {
            case UInt8(ascii: "\""):
                place += 1
                return try collected.withUnsafeBytes { try utf8($0[...]) }
            case UInt8(ascii: "\\"):
                collected.append(contentsOf: String(try escape()).utf8)
            case 0x20...:
                collected.append(byte)
                place += 1
            default:
                throw malformed("a control character in a string")
            }
        }
        throw malformed("a string does not end")
    }

    private func utf8(_ bytes: Slice<UnsafeRawBufferPointer>) throws -> String {
        guard let text = String(bytes: bytes, encoding: .utf8) else { throw malformed("a string is not UTF-8") }
        return text
    }

    private static let escapes: [UInt8: Unicode.Scalar] = [
        UInt8(ascii: "\""): "\"", UInt8(ascii: "\\"): "\\", UInt8(ascii: "/"): "/", UInt8(ascii: "b"): "\u{8}",
        UInt8(ascii: "f"): "\u{C}", UInt8(ascii: "n"): "\n", UInt8(ascii: "r"): "\r", UInt8(ascii: "t"): "\t",
    ]

    private mutating func escape() throws -> Unicode.Scalar {
        place += 1
        guard let kind = next else { throw malformed("a string does not end") }
        place += 1
        if let plain = Self.escapes[kind] { return plain }
        guard kind == UInt8(ascii: "u") else { throw malformed("unknown escape") }
        var code = try hexadecimal()
        if 0xD800...0xDBFF ~= code, take("\\"), take("u") {
            let low = try hexadecimal()
            guard 0xDC00...0xDFFF ~= low else { throw malformed("a lone surrogate") }
            code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(code) else { throw malformed("a lone surrogate") }
        return scalar
    }

    private mutating func hexadecimal() throws -> UInt32 {
        guard place + 4 <= bytes.count else { throw malformed("a string does not end") }
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = Character(Unicode.Scalar(bytes[place])).hexDigitValue, bytes[place] < 0x80 else {
                throw malformed("not a hexadecimal number")
            }
            code = code << 4 | UInt32(digit)
            place += 1
        }
        return code
    }
}
