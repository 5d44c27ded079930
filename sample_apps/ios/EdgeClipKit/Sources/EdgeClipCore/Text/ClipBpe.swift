import Foundation

/// CLIP's byte-pair tokenizer, from the `vocab.json` and `merges.txt` of a bundle.
///
/// Text -> cleaning -> words -> their UTF-8 bytes -> merges, the earliest of the list first (Sennrich et al., arXiv 1508.07909).
public struct ClipBpe: TextTokenizer {
    public let spec: TokenizerSpec

    private let cleaning: TextCleaning
    private let words: ClipWords
    private let vocabulary: Vocabulary

    private static let files = (vocab: "tokenizer/vocab.json", merges: "tokenizer/merges.txt")
    private static let maxBytes = 32 << 20

    /// From a bundle's files, whose hashes are compared.
    public init(bundle: ModelBundle) throws {
        try self.init(
            vocab: try bundle.verifiedData(of: Self.files.vocab, atMost: Self.maxBytes),
            merges: try bundle.verifiedData(of: Self.files.merges, atMost: Self.maxBytes), spec: bundle.manifest.text)
    }

    public init(vocab: Data, merges: Data, spec: TokenizerSpec) throws {
        let tables = try UnicodeTables.shared()
        self.spec = spec
        cleaning = TextCleaning(tables)
        words = try ClipWords(tables.words)
        do {
            vocabulary = try Vocabulary(vocab: vocab, merges: merges, spec: spec)
        } catch let error as Malformed {
            throw EdgeClipError.bundle("tokenizer files cannot be used: \(error.message); convert the model again")
        }
    }

    public func encode(_ text: String) throws -> [Int32] {
        encode(try TextCleaning.codePoints(text))
    }

    func encode(_ text: CodePoints) -> [Int32] {
        var ids: [Int32] = []
        for word in words.split(cleaning.clean(text, spec.clean)) {
            ids += vocabulary.ids(word)
            if ids.count >= spec.contextLength { break }  // the rest is cut
        }
        return ids
    }
}

/// Tokens and merges, by numbers of symbols: a byte, a byte that ends a word, then what each merge makes.
private struct Vocabulary: Sendable {
    private let ids: [Int32]  // by symbol
    private let merges: [UInt64: Merge]  // by first << 32 | second
    private let specials: [CodePoints: Int32]

    private struct Merge {
        static let none = Merge(rank: .max, symbol: 0)

        let rank: UInt32
        let symbol: UInt32
    }

    private static let header = "#version: 0.2"
    private static let endOfWord = "</w>"
    private static let bytes: UInt32 = 256

    init(vocab: Data, merges: Data, spec: TokenizerSpec) throws {
        guard case .object(let members) = try JSON.parse(vocab) else { throw Malformed("vocab.json is no object") }
        let known = try members.mapValues { value in
            guard case .integer(let id) = value, 0..<spec.vocabSize ~= id else { throw Malformed("vocab.json has an id out of bounds") }
            return Int32(id)
        }
        func id(_ token: String) throws -> Int32 {
            guard let id = known[token] else { throw Malformed("token \"\(token)\" has no id") }
            return id
        }
        let letters = Self.letters()
        var tokens = letters + letters.map { $0 + Self.endOfWord }
        var symbols = Dictionary(uniqueKeysWithValues: tokens.enumerated().map { ($1, UInt32($0)) })
        var found: [UInt64: Merge] = [:]
        for (rank, (first, second)) in try Self.pairs(merges).enumerated() {
            guard let left = symbols[first], let right = symbols[second] else {
                throw Malformed("merges.txt joins \"\(first)\" and \"\(second)\" before they are made")
            }
            let whole = first + second
            let symbol = symbols[whole] ?? UInt32(tokens.count)
            if symbols.updateValue(symbol, forKey: whole) == nil { tokens.append(whole) }
            found[UInt64(left) << 32 | UInt64(right)] = Merge(rank: UInt32(rank), symbol: symbol)
        }
        self.merges = found
        ids = try tokens.map(id)
        specials = try Dictionary(uniqueKeysWithValues: ClipWords.specials.map { ($0.unicodeScalars.map(\.value), try id($0)) })
        guard try id(ClipWords.specials[0]) == spec.sot, try id(ClipWords.specials[1]) == spec.eot else {
            throw Malformed("start and end tokens have other ids than the manifest says")
        }
    }

    /// One printable character a byte, as GPT-2 and CLIP assign them: by byte.
    private static func letters() -> [String] {
        let printable: [ClosedRange<UInt8>] = [0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF]
        var other: UInt32 = 256
        return (0...255).map { (byte: UInt8) in
            if printable.contains(where: { $0 ~= byte }) { return String(Unicode.Scalar(byte)) }
            defer { other += 1 }
            return Unicode.Scalar(other).map { String($0) } ?? ""
        }
    }

    private static func pairs(_ merges: Data) throws -> [(String, String)] {
        guard let text = String(bytes: merges, encoding: .utf8) else { throw Malformed("merges.txt is not UTF-8") }
        var lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            .map { $0.last == UInt8(ascii: "\r") ? $0.dropLast() : $0 }
        while lines.last?.isEmpty == true { lines.removeLast() }
        guard let first = lines.first, String(first) == header else { throw Malformed("merges.txt is no list of CLIP's") }
        return try lines.dropFirst().map { line in
            let parts = line.split(separator: UInt8(ascii: " "))
            guard parts.count == 2, let first = String(parts[0]), let second = String(parts[1]) else {
                throw Malformed("merges.txt has a line that is no pair")
            }
            return (first, second)
        }
    }

    /// The ids of one word: again and again, all occurrences of the pair that comes first in the list are joined, from left to right.
    func ids(_ word: ArraySlice<UInt32>) -> [Int32] {
        if let special = specials[CodePoints(word)] { return [special] }
        var symbols = UTF8Bytes.of(word).map(UInt32.init)
        guard let last = symbols.popLast() else { return [] }
        symbols.append(last + Self.bytes)
        var pairs = zip(symbols, symbols.dropFirst()).map(merge)
        while let best = pairs.min(by: { $0.rank < $1.rank }), best.rank < Merge.none.rank {
            join(best, &symbols, &pairs)
        }
        return symbols.map { ids[Int($0)] }
    }

    private func merge(_ first: UInt32, _ second: UInt32) -> Merge {
        merges[UInt64(first) << 32 | UInt64(second)] ?? .none
    }

    /// pairs: what merge there is of each symbol and the next.
    private func join(_ merge: Merge, _ symbols: inout [UInt32], _ pairs: inout [Merge]) {
        var (kept, place, joinedBefore) = (0, 0, false)
        while place < symbols.count {
            let joins = place < pairs.count && pairs[place].rank == merge.rank
            let before = place > 0 ? pairs[place - 1] : .none
            symbols[kept] = joins ? merge.symbol : symbols[place]
            if kept > 0 { pairs[kept - 1] = joins || joinedBefore ? self.merge(symbols[kept - 1], symbols[kept]) : before }
            joinedBefore = joins
            kept += 1
            place += joins ? 2 : 1
        }
        symbols.removeLast(symbols.count - kept)
        pairs.removeLast(pairs.count - (kept - 1))
    }
}
