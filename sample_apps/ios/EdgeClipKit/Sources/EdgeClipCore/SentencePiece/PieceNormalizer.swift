/// SentencePiece's normaliser: characters replaced by the model's own rules, whitespace folded and made visible.
struct PieceNormalizer: Sendable {
    private let charsmap: Charsmap?
    private let userDefined: ByteTrie?
    private let addsPrefix: Bool
    private let addsSuffix: Bool
    private let removesExtra: Bool
    private let space: [UInt8]

    private static let plainSpace = UInt8(ascii: " ")
    private static let visibleSpace: [UInt8] = [0xE2, 0x96, 0x81]  // U+2581

    /// userDefined: pieces that are taken as they are. Throws `Malformed`.
    init(_ rules: PieceModel.Rules, userDefined: [[UInt8]]) throws {
        charsmap = try rules.charsmap.isEmpty ? nil : Charsmap(rules.charsmap)
        self.userDefined = userDefined.isEmpty ? nil : ByteTrie(userDefined.map { ($0, 0) })
        addsPrefix = rules.addsDummyPrefix && !rules.whitespaceIsSuffix
        addsSuffix = rules.addsDummyPrefix && rules.whitespaceIsSuffix
        removesExtra = rules.removesExtraWhitespace
        space = rules.escapesWhitespace ? Self.visibleSpace : [Self.plainSpace]
    }

    /// text: UTF-8.
    func normalized(_ text: [UInt8]) -> [UInt8] {
        var place = 0
        if removesExtra {
            while place < text.count {
                let (piece, length) = prefix(text, place)
                guard piece.elementsEqual([Self.plainSpace]) else { break }
                place += length
            }
        }
        guard place < text.count else { return [] }
        var out: [UInt8] = []
        out.reserveCapacity(text.count * 2)
        if addsPrefix { out += space }
        var afterSpace = removesExtra
        while place < text.count {
            var (piece, length) = prefix(text, place)
            if afterSpace { piece = piece.drop { $0 == Self.plainSpace } }
            for byte in piece {
                if byte == Self.plainSpace { out += space } else { out.append(byte) }
            }
            if let last = piece.last { afterSpace = removesExtra && last == Self.plainSpace }
            place += length
        }
        if removesExtra {
            while out.count >= space.count, out.suffix(space.count).elementsEqual(space) { out.removeLast(space.count) }
        }
        if addsSuffix { out += space }
        return out
    }

    /// What the text from a place on begins with, replaced, and how many of its bytes that is.
    private func prefix(_ text: [UInt8], _ place: Int) -> (ArraySlice<UInt8>, Int) {
        if let userDefined, let length = Self.longest(userDefined, text, place) { return (text[place..<place + length], length) }
        if let found = charsmap?.longest(text, place) { return found }
        let length = UTF8Length.of(text[place], atMost: text.count - place)
        return (text[place..<place + length], length)
    }

    private static func longest(_ trie: ByteTrie, _ text: [UInt8], _ place: Int) -> Int? {
        var (node, found) = (ByteTrie.root, Int?.none)
        for end in place..<text.count {
            guard let next = trie.child(node, text[end]) else { break }
            node = next
            if trie.value(node) != nil { found = end + 1 - place }
        }
        return found
    }
}

/// How many bytes a character of valid UTF-8 has.
enum UTF8Length {
    static func of(_ first: UInt8, atMost limit: Int) -> Int {
        min(first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4, limit)
    }
}

/// The model's rules: a double-array trie (darts-clone) of what is replaced, and the replacements, each ended by a zero.
private struct Charsmap: Sendable {
    private let units: [UInt32]
    private let replacements: [UInt8]

    init(_ blob: ArraySlice<UInt8>) throws {
        let bytes = Array(blob)
        guard bytes.count > 4 else { throw Malformed("has rules that are too short") }
        let size = Int(Self.word(bytes, 0))
        guard size.isMultiple(of: 4), size > 0, size < bytes.count - 4 else { throw Malformed("has rules that end beyond themselves") }
        units = (0..<size / 4).map { Self.word(bytes, 4 + 4 * $0) }
        replacements = Array(bytes[(4 + size)...])
        guard replacements.last == 0 else { throw Malformed("has rules that do not end") }
    }

    private static func word(_ bytes: [UInt8], _ place: Int) -> UInt32 {
        bytes[place..<place + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// The longest rule that fits at a place: what replaces it, and how many bytes it takes.
    func longest(_ text: [UInt8], _ place: Int) -> (ArraySlice<UInt8>, Int)? {
        var found: (ArraySlice<UInt8>, Int)?
        var base = Self.offset(units[0])
        for end in place..<text.count {
            let target = Int(base ^ UInt32(text[end]))
            guard target < units.count, units[target] & 0x8000_00FF == UInt32(text[end]) else { break }
            base = UInt32(target) ^ Self.offset(units[target])
            // Bit 8: a rule ends here; the unit that no byte leads to has its value.
            if units[target] >> 8 & 1 == 1, Int(base) < units.count, let replacement = replacement(units[Int(base)]) {
                found = (replacement, end + 1 - place)
            }
        }
        return found
    }

    private static func offset(_ unit: UInt32) -> UInt32 {
        (unit >> 10) << ((unit & 0x200) >> 6)
    }

    private func replacement(_ unit: UInt32) -> ArraySlice<UInt8>? {
        let start = Int(unit & 0x7FFF_FFFF)
        guard start < replacements.count, let end = replacements[start...].firstIndex(of: 0) else { return nil }
        return replacements[start..<end]
    }
}
