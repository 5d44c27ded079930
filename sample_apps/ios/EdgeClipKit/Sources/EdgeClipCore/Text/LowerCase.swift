/// Python's `str.lower` (Unicode 3.13, with the final sigma) and `str.split`.
struct LowerCase: Sendable {
    private let tables: UnicodeTables.LetterCase

    private static let (capitalSigma, finalSigma, sigma): (UInt32, UInt32, UInt32) = (0x3A3, 0x3C2, 0x3C3)

    init(_ tables: UnicodeTables.LetterCase) {
        self.tables = tables
    }

    func lower(_ text: CodePoints) -> CodePoints {
        var out: CodePoints = []
        out.reserveCapacity(text.count)
        for (place, code) in text.enumerated() {
            if code < 128 {
                out.append(0x41...0x5A ~= code ? code + 32 : code)
            } else if code == Self.capitalSigma {
                out.append(endsWord(text, place) ? Self.finalSigma : Self.sigma)
            } else if let mapped = tables.lower[code] {
                out += mapped
            } else {
                out.append(code)
            }
        }
        return out
    }

    private func endsWord(_ text: CodePoints, _ place: Int) -> Bool {
        let before = text[..<place].last { !tables.ignorable.contains($0) }
        let after = text[(place + 1)...].first { !tables.ignorable.contains($0) }
        return before.map(tables.cased.contains) ?? false && !(after.map(tables.cased.contains) ?? false)
    }

    /// Words at whitespace, with one space between.
    func folded(_ text: CodePoints) -> CodePoints {
        CodePoints(text.split(whereSeparator: tables.space.contains).joined(separator: [0x20]))
    }
}
