/// What is done to a text before its words are looked up, as the original models' training did it.
struct TextCleaning: Sendable {
    static let maxCodePoints = 100_000

    private let repair: Repair
    private let references: HTMLReferences
    private let letterCase: LowerCase
    private let punctuation: CodePointSet

    init(_ tables: UnicodeTables) {
        repair = Repair(tables)
        references = HTMLReferences(tables)
        letterCase = LowerCase(tables.letterCase)
        punctuation = tables.asciiPunctuation
    }

    /// The code points of a text. Throws for more than `maxCodePoints`, before anything walks over them.
    static func codePoints(_ text: String) throws -> CodePoints {
        // No code point has fewer UTF-8 bytes than one.
        let isShort = text.utf8.count <= maxCodePoints || text.unicodeScalars.count <= maxCodePoints
        guard isShort else { throw EdgeClipError.input("a text of more than \(maxCodePoints) characters") }
        return text.unicodeScalars.map(\.value)
    }

    func clean(_ text: CodePoints, _ cleaning: TokenizerSpec.Cleaning) -> CodePoints {
        switch cleaning {
        case .lower: lower(text)
        case .canonicalize: canonicalized(text)
        }
    }

    /// CLIP's: whitespace folded, lower case.
    func lower(_ text: CodePoints) -> CodePoints {
        letterCase.lower(letterCase.folded(unescaped(repaired(text))))
    }

    /// SigLIP's: `_` as a space, other ASCII punctuation out, lower case, whitespace folded.
    func canonicalized(_ text: CodePoints) -> CodePoints {
        let plain = unescaped(repaired(text)).compactMap { code -> UInt32? in
            if code == UInt32(UInt8(ascii: "_")) { return 0x20 }
            return punctuation.contains(code) ? nil : code
        }
        return letterCase.folded(letterCase.lower(plain))
    }

    func repaired(_ text: CodePoints) -> CodePoints {
        repair.repaired(text)
    }

    /// Twice, for references to references.
    func unescaped(_ text: CodePoints) -> CodePoints {
        references.unescaped(references.unescaped(text))
    }
}
