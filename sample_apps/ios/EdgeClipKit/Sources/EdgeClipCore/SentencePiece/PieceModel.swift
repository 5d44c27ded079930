/// What a `spiece.model` holds (`sentencepiece_model.proto`), as far as encoding needs it. Reading throws `Malformed`.
struct PieceModel {
    struct Piece {
        enum Kind: UInt64 { case normal = 1, unknown, control, userDefined, unused, byte }

        var text: [UInt8] = []
        var score: Float = 0
        var kind = Kind.normal

        /// Whether texts are searched for it.
        var isSearched: Bool { kind == .normal || kind == .userDefined || kind == .unused }
    }

    /// The fields of `NormalizerSpec`, with their defaults, and one of `TrainerSpec`.
    struct Rules {
        var charsmap: ArraySlice<UInt8> = []
        var addsDummyPrefix = true
        var removesExtraWhitespace = true
        var escapesWhitespace = true
        var whitespaceIsSuffix = false
    }

    let pieces: [Piece]
    let rules: Rules
    let unknown: Int32
    /// The ids of the 256 byte pieces, where texts may fall back to them.
    let byteIDs: [Int32]

    private static let unigram: UInt64 = 1

    init(_ content: [UInt8]) throws {
        var (kind, pieces, rules, fallsBackToBytes) = (Self.unigram, [Piece](), Rules(), false)
        var reader = ProtobufReader(content[...])
        while let (field, value) = try reader.next() {
            switch (field, value) {
            case (1, .bytes(let message)): pieces.append(try Self.piece(message))
            case (2, .bytes(let message)): try Self.trainer(message, &kind, &rules, &fallsBackToBytes)
            case (3, .bytes(let message)): try Self.normalizer(message, &rules)
            default: break
            }
        }
        guard kind == Self.unigram else { throw Malformed("is no unigram model") }
        guard pieces.count <= Int32.max, pieces.allSatisfy({ !$0.text.isEmpty && $0.score.isFinite }) else {
            throw Malformed("has a piece that is empty or has no score")
        }
        for searched in [true, false] {
            let texts = pieces.filter { $0.isSearched == searched }.map(\.text)
            guard Set(texts).count == texts.count else { throw Malformed("has a piece twice") }
        }
        let unknowns = pieces.indices.filter { pieces[$0].kind == .unknown }
        guard unknowns.count == 1 else { throw Malformed("has \(unknowns.count) unknown pieces") }
        unknown = Int32(unknowns[0])
        (self.pieces, self.rules) = (pieces, rules)
        byteIDs = try fallsBackToBytes ? Self.byteIDs(pieces) : []
    }

    /// The id of a piece that texts are not searched for, such as `</s>`.
    func id(ofReserved text: String) -> Int32? {
        pieces.firstIndex { !$0.isSearched && $0.text.elementsEqual(text.utf8) }.map(Int32.init)
    }

    private static func piece(_ message: ArraySlice<UInt8>) throws -> Piece {
        var piece = Piece()
        var reader = ProtobufReader(message)
        while let (field, value) = try reader.next() {
            switch (field, value) {
            case (1, .bytes(let text)): piece.text = Array(text)
            case (2, .fixed32(let bits)): piece.score = Float(bitPattern: bits)
            case (3, .number(let number)):
                guard let kind = Piece.Kind(rawValue: number) else { throw Malformed("has a piece of unknown kind") }
                piece.kind = kind
            default: break
            }
        }
        return piece
    }

    private static func trainer(
        _ message: ArraySlice<UInt8>, _ kind: inout UInt64, _ rules: inout Rules, _ fallsBackToBytes: inout Bool
    ) throws {
        var reader = ProtobufReader(message)
        while let (field, value) = try reader.next() {
            guard case .number(let number) = value else { continue }
            switch field {
            case 3: kind = number
            case 24: rules.whitespaceIsSuffix = number != 0
            case 35: fallsBackToBytes = number != 0
            default: break
            }
        }
    }

    private static func normalizer(_ message: ArraySlice<UInt8>, _ rules: inout Rules) throws {
        var reader = ProtobufReader(message)
        while let (field, value) = try reader.next() {
            switch (field, value) {
            case (2, .bytes(let charsmap)): rules.charsmap = charsmap
            case (3, .number(let number)): rules.addsDummyPrefix = number != 0
            case (4, .number(let number)): rules.removesExtraWhitespace = number != 0
            case (5, .number(let number)): rules.escapesWhitespace = number != 0
            default: break
            }
        }
    }

    private static func byteIDs(_ pieces: [Piece]) throws -> [Int32] {
        let ids = Dictionary(
            pieces.enumerated().filter { $1.kind == .byte }.map { ($1.text, Int32($0)) }, uniquingKeysWith: { first, _ in first })
        return try (0...255).map { (byte: Int) in
            let digits = String(byte, radix: 16, uppercase: true)
            let name = "<0x\(digits.count == 1 ? "0" : "")\(digits)>"
            guard let id = ids[Array(name.utf8)] else { throw Malformed("has no piece \(name)") }
            return id
        }
    }
}
