/// Splits a cleaned text as CLIP's pattern does: special tokens, contractions, letters, single digits, runs of anything else.
///
///     <start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+      ignoring case
struct ClipWords: Sendable {
    private let tables: UnicodeTables.Words
    private let literals: [ClassPattern]

    static let specials = ["<start_of_text>", "<end_of_text>"]
    private static let contractions = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"]

    init(_ tables: UnicodeTables.Words) throws {
        self.tables = tables
        literals = try (Self.specials + Self.contractions).map { literal in
            ClassPattern(
                classes: try literal.unicodeScalars.map { letter in
                    guard let folded = tables.folded[letter.value] else { throw EdgeClipError.bundle("text_tables.json: no \(letter)") }
                    return folded
                })
        }
    }

    func split(_ text: CodePoints) -> [ArraySlice<UInt32>] {
        var words: [ArraySlice<UInt32>] = []
        var place = 0
        while place < text.count {
            let end = word(text, from: place)
            if end > place { words.append(text[place..<end]) }
            place = max(end, place + 1)
        }
        return words
    }

    /// Where the word that begins at a place ends; the place itself where none does.
    private func word(_ text: CodePoints, from start: Int) -> Int {
        let code = text[start]
        if tables.letter.contains(code) { return run(text, start, tables.letter) }
        if tables.number.contains(code) { return start + 1 }
        if let literal = literals.first(where: { $0.matches(text, at: start) }) { return start + literal.classes.count }
        return run(text, start, tables.other)
    }

    private func run(_ text: CodePoints, _ start: Int, _ members: CodePointSet) -> Int {
        text[start...].firstIndex { !members.contains($0) } ?? text.endIndex
    }
}
