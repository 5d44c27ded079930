import Foundation

/// How a text becomes the text tower's input: [1, contextLength] ids, `sot ... eot pad pad`.
public struct TokenizerSpec: Sendable, Equatable {
    public enum Kind: String, CaseIterable, Sendable { case clipBpe = "clip-bpe", sentencePiece = "sentencepiece" }
    public enum Cleaning: String, CaseIterable, Sendable { case lower, canonicalize }

    public let kind: Kind
    public let contextLength: Int
    /// nil where texts have no start token.
    public let sot: Int32?
    public let eot: Int32
    public let pad: Int32
    public let vocabSize: Int
    public let clean: Cleaning

    /// json: what a manifest has at `text`; file: its name for messages.
    public init(_ json: Data, file: String) throws {
        self = try Fields.read(json, of: file, EdgeClipError.bundle, TokenizerSpec.init(fields:))
    }

    init(fields: inout Fields) throws {
        kind = try fields.word("tokenizer")
        contextLength = try fields.integer("context_length", in: 3...4096)
        vocabSize = try fields.optionalInteger("vocab_size", in: 3...Int(Int32.max)) ?? 49408
        let ids = 0...vocabSize - 1
        sot = try fields.optionalInteger("sot", in: ids).map(Int32.init)
        eot = Int32(try fields.integer("eot", in: ids))
        pad = Int32(try fields.integer("pad", in: ids))
        clean = try fields.optionalWord("clean") ?? .lower
        _ = try fields.optionalString("vocabulary")  // where it came from
    }

    /// The ids of a text as a row of the tower's input. Those of an over-long text are cut so that the end token stays.
    public func framed(_ ids: some Sequence<Int32>) -> [Int32] {
        var row = sot.map { [$0] } ?? []
        row += ids.prefix(contextLength - 1 - row.count)
        row.append(eot)
        return row + Array(repeating: pad, count: contextLength - row.count)
    }
}

/// Turns texts into ids.
public protocol TextTokenizer: Sendable {
    var spec: TokenizerSpec { get }

    /// The ids of a text, without start, end and padding; at least as many of them as the tower's input takes, if there are more.
    /// Throws `EdgeClipError.input` for more than 100,000 code points.
    func encode(_ text: String) throws -> [Int32]
}

extension TextTokenizer {
    /// The text tower's input: `spec.contextLength` ids.
    public func ids(_ text: String) throws -> [Int32] {
        spec.framed(try encode(text))
    }
}
