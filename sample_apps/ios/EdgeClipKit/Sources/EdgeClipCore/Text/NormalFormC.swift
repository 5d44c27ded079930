/// Unicode normalisation form C (Unicode 3.11 and 3.12, UAX 15).
struct NormalFormC: Sendable {
    private let tables: UnicodeTables.NFC

    init(_ tables: UnicodeTables.NFC) {
        self.tables = tables
    }

    /// Below this, no character composes with another or decomposes for good.
    private static let simple: UInt32 = 0x300

    func normalized(_ text: CodePoints) -> CodePoints {
        text.allSatisfy { $0 < Self.simple } ? text : composed(ordered(decomposed(text)))
    }

    private func combiningClass(_ code: UInt32) -> UInt8 {
        code < Self.simple ? 0 : tables.classes[code] ?? 0
    }

    private func decomposed(_ text: CodePoints) -> CodePoints {
        var out: CodePoints = []
        out.reserveCapacity(text.count)
        for code in text {
            if let syllable = Hangul.decomposed(code) {
                out += syllable
            } else if code >= 0xC0, let parts = tables.decompositions[code] {
                out += parts
            } else {
                out.append(code)
            }
        }
        return out
    }

    /// Sorts every run of combining characters by class; equal ones stay as they are.
    private func ordered(_ text: CodePoints) -> CodePoints {
        var out = text
        var start = 0
        while start < out.count {
            guard combiningClass(out[start]) != 0 else {
                start += 1
                continue
            }
            var end = start
            while end < out.count, combiningClass(out[end]) != 0 { end += 1 }
            if end - start > 1 {
                // Swift's sort is stable, but does not promise to be.
                let run = (start..<end).map { (combiningClass(out[$0]), $0) }.sorted { $0 < $1 }.map { out[$0.1] }
                out.replaceSubrange(start..<end, with: run)
            }
            start = end
        }
        return out
    }

    private func composed(_ text: CodePoints) -> CodePoints {
        var out: CodePoints = []
        out.reserveCapacity(text.count)
        var starter: Int?  // its place in `out`
        var lastClass: UInt8 = 0
        for code in text {
            let combining = combiningClass(code)
            if let place = starter, lastClass < combining || place == out.count - 1, let whole = composite(out[place], code) {
                out[place] = whole
                continue
            }
            if combining == 0 { starter = out.count }
            lastClass = combining
            out.append(code)
        }
        return out
    }

    private func composite(_ first: UInt32, _ second: UInt32) -> UInt32? {
        Hangul.composed(first, second) ?? tables.compositions[UInt64(first) << 32 | UInt64(second)]
    }
}

/// Unicode 3.12.
private enum Hangul {
    private static let (syllables, leads, vowels, tails): (UInt32, UInt32, UInt32, UInt32) = (0xAC00, 0x1100, 0x1161, 0x11A7)
    private static let (leadCount, vowelCount, tailCount): (UInt32, UInt32, UInt32) = (19, 21, 28)
    private static let syllableCount = leadCount * vowelCount * tailCount

    static func decomposed(_ code: UInt32) -> CodePoints? {
        guard code >= syllables, code - syllables < syllableCount else { return nil }
        let index = code - syllables
        let pair = [leads + index / (vowelCount * tailCount), vowels + index % (vowelCount * tailCount) / tailCount]
        let tail = index % tailCount
        return tail == 0 ? pair : pair + [tails + tail]
    }

    static func composed(_ first: UInt32, _ second: UInt32) -> UInt32? {
        if leads..<leads + leadCount ~= first, vowels..<vowels + vowelCount ~= second {
            return syllables + ((first - leads) * vowelCount + second - vowels) * tailCount
        }
        if syllables..<syllables + syllableCount ~= first, (first - syllables).isMultiple(of: tailCount),
            tails + 1..<tails + tailCount ~= second
        {
            return first + second - tails
        }
        return nil
    }
}
