/// ftfy's `fix_text` with its default configuration: mojibake, entities, ligatures, widths, quotes, line ends, surrogates, terminal
/// escapes and control characters put right, and normal form C.
struct Repair: Sendable {
    private let tables: UnicodeTables.Ftfy
    private let references: HTMLReferences
    private let mojibake: Mojibake
    private let normalForm: NormalFormC

    private static let newline: UInt32 = 0x0A

    init(_ tables: UnicodeTables) {
        self.tables = tables.ftfy
        references = HTMLReferences(tables)
        mojibake = Mojibake(tables.ftfy)
        normalForm = NormalFormC(tables.nfc)
    }

    /// Line by line: what one line is like tells nothing of the next, but that there are tags.
    func repaired(_ text: CodePoints) -> CodePoints {
        var out: CodePoints = []
        out.reserveCapacity(text.count)
        var hasTags = false
        for line in text.split(separator: Self.newline, omittingEmptySubsequences: false) {
            let end = line.endIndex < text.endIndex ? line.endIndex + 1 : line.endIndex
            guard end > line.startIndex else { continue }
            hasTags = hasTags || line.contains(UInt32(UInt8(ascii: "<")))
            out += repairedLine(CodePoints(text[line.startIndex..<end]), unescape: !hasTags)
        }
        return out
    }

    private func repairedLine(_ line: CodePoints, unescape: Bool) -> CodePoints {
        var current = line
        while true {
            var next = unescape ? references.unambiguousUnescaped(current) : current
            next = mojibake.repaired(next)
            next = mojibake.withoutC1(next)
            next = replaced(next)
            next = withPlainLineEnds(next)
            next = withoutSurrogates(next)
            next = withoutEscapes(next)
            next = normalForm.normalized(next.filter { !tables.control.contains($0) })
            if next == current { return next }
            current = next
        }
    }

    /// Ligatures, widths and quotes.
    private func replaced(_ text: CodePoints) -> CodePoints {
        if text.allSatisfy({ $0 < 0x100 }) { return text }
        var out: CodePoints = []
        out.reserveCapacity(text.count)
        for code in text {
            guard let parts = tables.ligatures[code] else {
                appendReplaced(code, to: &out)
                continue
            }
            for part in parts { appendReplaced(part, to: &out) }
        }
        return out
    }

    private func appendReplaced(_ code: UInt32, to out: inout CodePoints) {
        for part in tables.width[code] ?? [code] {
            let isDouble = tables.doubleQuotes.contains(part), isSingle = tables.singleQuotes.contains(part)
            out.append(isDouble ? 0x22 : isSingle ? 0x27 : part)
        }
    }

    private func withPlainLineEnds(_ text: CodePoints) -> CodePoints {
        let ends: Set<UInt32> = [0x0D, 0x85, 0x2028, 0x2029]
        guard text.contains(where: ends.contains) else { return text }
        var out: CodePoints = []
        for (place, code) in text.enumerated() {
            let isSecondHalf = code == Self.newline && place > 0 && text[place - 1] == 0x0D
            if !isSecondHalf { out.append(ends.contains(code) ? Self.newline : code) }
        }
        return out
    }

    private func withoutSurrogates(_ text: CodePoints) -> CodePoints {
        guard text.contains(where: { 0xD800...0xDFFF ~= $0 }) else { return text }
        var out: CodePoints = []
        var place = 0
        while place < text.count {
            let code = text[place]
            place += 1
            if 0xD800...0xDBFF ~= code, place < text.count, 0xDC00...0xDFFF ~= text[place] {
                out.append(0x10000 + (code - 0xD800) << 10 + (text[place] - 0xDC00))
                place += 1
            } else {
                out.append(0xD800...0xDFFF ~= code ? 0xFFFD : code)
            }
        }
        return out
    }

    /// ESC [ (digit | ;)* letter
    private func withoutEscapes(_ text: CodePoints) -> CodePoints {
        guard text.contains(0x1B) else { return text }
        var out: CodePoints = []
        var place = 0
        while place < text.count {
            if text[place] == 0x1B, place + 1 < text.count, text[place + 1] == UInt32(UInt8(ascii: "[")) {
                var end = place + 2
                while end < text.count, tables.decimal.contains(text[end]) || text[end] == UInt32(UInt8(ascii: ";")) { end += 1 }
                if end < text.count, tables.alphabetic.contains(text[end]) {
                    place = end + 1
                    continue
                }
            }
            out.append(text[place])
            place += 1
        }
        return out
    }
}
