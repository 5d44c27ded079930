/// Repairs text that was decoded in the wrong encoding, as ftfy's `fix_encoding` does.
///
/// The method is ftfy's (https://github.com/rspeer/python-ftfy, Apache-2.0), the sets and patterns are in the tables.
struct Mojibake: Sendable {
    private let tables: UnicodeTables.Ftfy
    private let windows1252: UnicodeTables.Charmap?

    init(_ tables: UnicodeTables.Ftfy) {
        self.tables = tables
        windows1252 = tables.charmaps.first { $0.name == "sloppy-windows-1252" }
    }

    /// Steps until nothing changes.
    func repaired(_ text: CodePoints) -> CodePoints {
        var current = text
        while true {
            let next = step(current)
            if next == current { return next }
            current = next
        }
    }

    private func step(_ text: CodePoints) -> CodePoints {
        if text.allSatisfy({ $0 < 128 }) || !isBad(text) { return text }
        for charmap in tables.charmaps {
            if let found = decoded(text, charmap) { return found }
        }
        let inside = repairedInside(text)
        if inside != text { return inside }
        // Latin-1 that was to be windows-1252.
        if text.allSatisfy({ $0 < 256 }) {
            let found = text.compactMap { tables.windows1252[Int($0)] }
            if found.count == text.count, found != text { return found }
        }
        return withoutC1(text)
    }

    /// Control characters of Latin-1 as what windows-1252 has there.
    func withoutC1(_ text: CodePoints) -> CodePoints {
        guard let chars = windows1252?.chars else { return text }
        return text.map { tables.c1.contains($0) && $0 < 256 ? chars[Int($0)] : $0 }
    }

    private func isBad(_ text: CodePoints) -> Bool {
        tables.badAtStart.contains { $0.matches(text, at: 0) }
            || text.indices.contains { place in tables.bad.contains { $0.matches(text, at: place) } }
    }

    // MARK: A whole text in one encoding

    /// The text as UTF-8, if its characters are bytes of an encoding and those are UTF-8, or nearly.
    private func decoded(_ text: CodePoints, _ charmap: UnicodeTables.Charmap) -> CodePoints? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count)
        for code in text {
            guard let byte = charmap.bytes[code] else { return nil }
            bytes.append(byte)
        }
        if charmap.restoresA0, bytes.indices.contains(where: { altered(bytes, $0) != nil }) { bytes = withA0(bytes) }
        if charmap.isSloppy { bytes = withoutLosses(bytes) }
        return UTF8Variants.decoded(bytes)
    }

    private static let space: UInt8 = 0x20, a0: UInt8 = 0xA0
    /// After C3 20, these belong to a word that begins with the letter; elsewhere it is the word "à".
    private static let afterAGrave = [" ", "quele", "quela", "quilo", "s "].map { Array($0.utf8) }

    /// Spaces that were bytes A0 of UTF-8 sequences.
    private func withA0(_ bytes: [UInt8]) -> [UInt8] {
        var words: [UInt8] = []
        words.reserveCapacity(bytes.count)
        var place = 0
        while place < bytes.count {
            let rest = bytes[(place + 1)...]
            if bytes[place] == 0xC3, rest.first == Self.space, !Self.afterAGrave.contains(where: rest.dropFirst().starts(with:)) {
                words += [0xC3, Self.a0, Self.space]
                place += 2
            } else {
                words.append(bytes[place])
                place += 1
            }
        }
        place = 0
        while place < words.count {
            let length = altered(words, place) ?? 0
            for index in place..<place + length where words[index] == Self.space { words[index] = Self.a0 }
            place += max(length, 1)
        }
        return words
    }

    private func altered(_ bytes: [UInt8], _ place: Int) -> Int? {
        bytes[place] < 0xC2 ? nil : tables.alteredUTF8.first { $0.matches(bytes, at: place) }?.classes.count
    }

    /// Sequences in which a sloppy encoding has lost a byte, as U+FFFD.
    private func withoutLosses(_ bytes: [UInt8]) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count)
        var place = 0
        while place < bytes.count {
            let isCandidate = bytes[place] >= 0xC2 || bytes[place] == 0x1A
            if isCandidate, let lossy = tables.lossyUTF8.first(where: { $0.matches(bytes, at: place) }) {
                out += [0xEF, 0xBF, 0xBD]
                place += lossy.classes.count
            } else {
                out.append(bytes[place])
                place += 1
            }
        }
        return out
    }

    // MARK: Parts of a text

    /// Parts that look like UTF-8 in a wrong encoding, each repaired by itself.
    private func repairedInside(_ text: CodePoints) -> CodePoints {
        var out: CodePoints = []
        out.reserveCapacity(text.count)
        var place = 0
        while place < text.count {
            let end = sequences(text, from: place)
            guard end > place else {
                out.append(text[place])
                place += 1
                continue
            }
            let part = CodePoints(text[place..<end])
            out += part.count < text.count && isBad(part) ? repaired(part) : part
            place = end
        }
        return out
    }

    /// Where the sequences that begin at a place end; the place itself where there is none.
    private func sequences(_ text: CodePoints, from start: Int) -> Int {
        if start > 0, tables.strictContinuation.contains(text[start - 1]) { return start }
        var end = start
        while end < text.count {
            let fitting = tables.sequences.first { lead, count in
                lead.contains(text[end]) && end + count < text.count
                    && text[(end + 1)...(end + count)].allSatisfy(tables.continuation.contains)
            }
            guard let fitting else { break }
            end += 1 + fitting.continuations
        }
        return end
    }
}
