import Foundation

/// SentencePiece's unigram tokenizer, from the `spiece.model` of a bundle.
///
/// Text -> cleaning -> the model's normalisation -> the most probable pieces (Kudo, arXiv 1804.10959).
public struct SentencePiece: TextTokenizer {
    public let spec: TokenizerSpec

    private let cleaning: TextCleaning
    private let normalizer: PieceNormalizer
    private let trie: ByteTrie
    private let scores: [Score]
    private let unknown: Int32
    private let unknownScore: Float
    private let byteIDs: [Int32]

    /// What a piece adds to a path.
    private enum Score: Sendable {
        case known(Float)
        case userDefined
        case unused
    }

    private static let file = "tokenizer/spiece.model"
    private static let maxBytes = 32 << 20  // the largest published one, of 256000 pieces, has 4 MB
    private static let end = "</s>"
    private static let unknownPenalty: Float = 10

    /// From a bundle's file, whose hash is compared.
    public init(bundle: ModelBundle) throws {
        try self.init(bundle.verifiedData(of: Self.file, atMost: Self.maxBytes), spec: bundle.manifest.text)
    }

    public init(_ content: Data, spec: TokenizerSpec) throws {
        self.spec = spec
        cleaning = TextCleaning(try UnicodeTables.shared())
        do {
            let model = try PieceModel([UInt8](content))
            guard model.pieces.count == spec.vocabSize, model.id(ofReserved: Self.end) == spec.eot else {
                throw Malformed("has \(model.pieces.count) pieces or another end than the manifest says")
            }
            normalizer = try PieceNormalizer(model.rules, userDefined: model.pieces.filter { $0.kind == .userDefined }.map(\.text))
            trie = ByteTrie(model.pieces.enumerated().filter { $1.isSearched }.map { ($1.text, Int32($0)) })
            scores = model.pieces.map { piece in
                switch piece.kind {
                case .userDefined: .userDefined
                case .unused: .unused
                default: .known(piece.score)
                }
            }
            let lowest = model.pieces.filter { $0.kind == .normal }.map(\.score).min() ?? .greatestFiniteMagnitude
            unknownScore = lowest - Self.unknownPenalty
            (unknown, byteIDs) = (model.unknown, model.byteIDs)
        } catch let error as Malformed {
            throw EdgeClipError.bundle("\(Self.file): \(error.message); convert the model again")
        }
    }

    public func encode(_ text: String) throws -> [Int32] {
        encode(try TextCleaning.codePoints(text))
    }

    func encode(_ text: CodePoints) -> [Int32] {
        let normalized = normalizer.normalized(UTF8Bytes.of(cleaning.clean(text, spec.clean)))
        var ids: [Int32] = []
        var afterUnknown = false
        for (id, range) in bestPath(normalized) {
            if id == unknown, !byteIDs.isEmpty {
                ids += normalized[range].map { byteIDs[Int($0)] }
            } else if !(id == unknown && afterUnknown) {  // a run of unknown characters is one unknown piece
                ids.append(id)
            }
            afterUnknown = id == unknown
        }
        return ids
    }

    /// The last piece of the best path to a place.
    private struct Step {
        var id: Int32 = -1
        var score: Float = 0
        var start = -1
    }

    /// Viterbi from left to right, in single precision as the original's: with other rounding, paths of the same score would change
    /// places. Of those, the one found first stays.
    private func bestPath(_ text: [UInt8]) -> [(id: Int32, range: Range<Int>)] {
        var steps = [Step](repeating: Step(), count: text.count + 1)
        func offer(_ id: Int32, _ score: Float, _ range: Range<Int>) {
            let total = score + steps[range.lowerBound].score
            if steps[range.upperBound].start < 0 || total > steps[range.upperBound].score {
                steps[range.upperBound] = Step(id: id, score: total, start: range.lowerBound)
            }
        }
        var start = 0
        while start < text.count {
            let length = UTF8Length.of(text[start], atMost: text.count - start)
            var (node, place, hasCharacter) = (ByteTrie.root, start, false)
            while place < text.count, let next = trie.child(node, text[place]) {
                (node, place) = (next, place + 1)
                guard let id = trie.value(node), let score = score(id, length: place - start) else { continue }
                offer(id, score, start..<place)
                hasCharacter = hasCharacter || place - start == length
            }
            if !hasCharacter { offer(unknown, unknownScore, start..<start + length) }
            start += length
        }
        var path: [(Int32, Range<Int>)] = []
        var end = text.count
        while end > 0 {
            path.append((steps[end].id, steps[end].start..<end))
            end = steps[end].start
        }
        return path.reversed()
    }

    private func score(_ id: Int32, length: Int) -> Float? {
        switch scores[Int(id)] {
        case .known(let score): score
        case .userDefined: Float(length) * .leastNormalMagnitude - 0.1  // above any probability of the same characters
        case .unused: nil
        }
    }
}
