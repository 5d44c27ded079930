/// HTML character references, as Python's `html.unescape` and ftfy read them.
struct HTMLReferences: Sendable {
    private let html: UnicodeTables.HTML
    private let capitals: [String: CodePoints]

    private static let ampersand = UInt32(UInt8(ascii: "&")), hash = UInt32(UInt8(ascii: "#")), semicolon = UInt32(UInt8(ascii: ";"))
    private static let replacement: UInt32 = 0xFFFD

    init(_ tables: UnicodeTables) {
        html = tables.html
        capitals = tables.ftfy.entities
    }

    // MARK: html.unescape

    /// All references replaced, also those without a semicolon. https://html.spec.whatwg.org/#named-character-reference-state
    func unescaped(_ text: CodePoints) -> CodePoints {
        guard text.contains(Self.ampersand) else { return text }
        var out: CodePoints = []
        out.reserveCapacity(text.count)
        var place = 0
        while place < text.count {
            if text[place] == Self.ampersand, let (replaced, end) = numeric(text, place) ?? named(text, place) {
                out += replaced
                place = end
            } else {
                out.append(text[place])
                place += 1
            }
        }
        return out
    }

    /// `&#123;` and `&#x7b;`, also without the semicolon.
    private func numeric(_ text: CodePoints, _ start: Int) -> (CodePoints, Int)? {
        guard start + 2 < text.count, text[start + 1] == Self.hash else { return nil }
        let isHexadecimal = text[start + 2] | 0x20 == UInt32(UInt8(ascii: "x"))
        let radix: UInt32 = isHexadecimal ? 16 : 10
        let first = start + (isHexadecimal ? 3 : 2)
        var (place, number) = (first, UInt32(0))
        while place < text.count, let digit = Self.digit(text[place]), digit < radix {
            number = min(number * radix + digit, 0x110000)
            place += 1
        }
        guard place > first else { return nil }
        if place < text.count, text[place] == Self.semicolon { place += 1 }
        return (character(number), place)
    }

    private static func digit(_ code: UInt32) -> UInt32? {
        switch code {
        case 0x30...0x39: code - 0x30
        case 0x41...0x46: code - 0x41 + 10
        case 0x61...0x66: code - 0x61 + 10
        default: nil
        }
    }

    private func character(_ number: UInt32) -> CodePoints {
        if let replaced = html.numeric[number] { return replaced }
        if 0xD800...0xDFFF ~= number || number > 0x10FFFF { return [Self.replacement] }
        return html.dropped.contains(number) ? [] : [number]
    }

    private static let longestMatch = 32
    /// What no name has in it: tab, line feed, form feed, space, `<`, `&`, `#`, `;`.
    private static let endsNames: Set<UInt32> = [0x09, 0x0A, 0x0C, 0x20, 0x3C, 0x26, 0x23, 0x3B]

    /// `&name;`: the longest known name that the text begins with.
    private func named(_ text: CodePoints, _ start: Int) -> (CodePoints, Int)? {
        var end = start + 1
        while end < text.count, end - start <= Self.longestMatch, !Self.endsNames.contains(text[end]) { end += 1 }
        guard end > start + 1 else { return nil }
        if end < text.count, text[end] == Self.semicolon { end += 1 }
        let name = text[(start + 1)..<end].prefix { $0 < 128 }
        for length in stride(from: min(name.count, html.longestName), through: 2, by: -1) {
            if let found = html.entities[Self.string(name.prefix(length))] {
                return (found + text[(start + 1 + length)..<end], end)
            }
        }
        return (CodePoints(text[start..<end]), end)
    }

    private static func string(_ ascii: some Sequence<UInt32>) -> String {
        String(decoding: ascii.map(UInt8.init(truncatingIfNeeded:)), as: UTF8.self)
    }

    // MARK: ftfy

    private static let longestUnambiguous = 24

    /// Only references that end in a semicolon, but also names in capitals.
    func unambiguousUnescaped(_ text: CodePoints) -> CodePoints {
        guard text.contains(Self.ampersand) else { return text }
        var out: CodePoints = []
        out.reserveCapacity(text.count)
        var place = 0
        while place < text.count {
            if text[place] == Self.ampersand, let (replaced, end) = unambiguous(text, place) {
                out += replaced
                place = end
            } else {
                out.append(text[place])
                place += 1
            }
        }
        return out
    }

    private func unambiguous(_ text: CodePoints, _ start: Int) -> (CodePoints, Int)? {
        let isNumber = start + 1 < text.count && text[start + 1] == Self.hash
        let first = start + (isNumber ? 2 : 1)
        var end = first
        while end < text.count, end - first < Self.longestUnambiguous, Self.isAlphanumeric(text[end]) { end += 1 }
        guard end > first, end < text.count, text[end] == Self.semicolon else { return nil }
        end += 1
        if isNumber {
            // The semicolon has to be the reference's own, and the reference no semicolon.
            guard let (found, stop) = numeric(text, start), stop == end, !found.contains(Self.semicolon) else { return nil }
            return (found, end)
        }
        let name = Self.string(text[first..<end])
        guard let found = html.entities[name] ?? capitals[name] else { return nil }
        return (found, end)
    }

    private static func isAlphanumeric(_ code: UInt32) -> Bool {
        0x30...0x39 ~= code || 0x41...0x5A ~= code || 0x61...0x7A ~= code
    }
}
