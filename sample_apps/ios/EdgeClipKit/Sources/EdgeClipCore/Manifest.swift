import Foundation

/// One of the two encoders of a model.
public enum Tower: String, CaseIterable, Sendable {
    case image, text
}

/// `edgeclip.json`: what a bundle holds, and how its model is to be used.
///
/// The same strictness as edgeclip's own reader: unknown keys, unknown words and paths that leave the bundle are errors.
public struct Manifest: Sendable {
    public static let fileName = "edgeclip.json"
    public static let schema = "edgeclip.bundle/1"
    static let maxBytes = 4 << 20

    public let model: String
    public let weights: Weights
    public let image: Preprocess
    public let text: TokenizerSpec
    public let embedding: Embedding
    public let scoring: Scoring
    public let artifacts: [Artifact]
    public let tools: [String: String]
    public let golden: String
    public let files: [FileEntry]

    public struct Weights: Sendable {
        public let source: String
        public let sha256: String
        public let licence: Licence
    }

    public struct Licence: Sendable {
        public let name: String
        public let url: String
        public let commercialUse: Bool
    }

    /// What comes out of both towers. Embeddings of two bundles may be compared only if their `spaceID` is equal.
    public struct Embedding: Sendable {
        public let dim: Int
        public let l2Normalized: Bool
        public let spaceID: String
    }

    /// A file that is no artifact: of the tokenizer, golden embeddings, licence.
    public struct FileEntry: Sendable {
        public let path: String
        public let sha256: String
        public let sizeBytes: Int
    }

    /// data: the content of `edgeclip.json`; file: its name for messages.
    public init(_ data: Data, file: String = Manifest.fileName) throws {
        guard data.count <= Self.maxBytes else { throw EdgeClipError.bundle("\(file): larger than any manifest") }
        self = try Fields.read(data, of: file, EdgeClipError.bundle, Manifest.init(fields:))
    }

    private init(fields: inout Fields) throws {
        let schema = try fields.string("schema")
        guard schema == Self.schema else {
            throw Malformed("schema \"\(schema)\" is not \(Self.schema): the bundle is of another version of edgeclip than this app")
        }
        model = try fields.string("model")
        weights = try fields.object("weights", Weights.init(fields:))
        image = try fields.object("image", Preprocess.init(fields:))
        text = try fields.object("text", TokenizerSpec.init(fields:))
        embedding = try fields.object("embedding", Embedding.init(fields:))
        scoring = try fields.object("scoring", Scoring.init(fields:))
        artifacts = try fields.array("artifacts") { try Fields.read($0, at: $1, Artifact.init(fields:)) }
        tools = try fields.strings(byKey: "tools")
        golden = try fields.string("golden")
        files = try fields.optionalArray("files") { try Fields.read($0, at: $1, FileEntry.init(fields:)) }
        try check()
    }

    private func check() throws {
        // Methods of one file are artifacts of their own, which agree on the file.
        let stored = Set(artifacts.map { [$0.path, $0.target, $0.sha256, String($0.sizeBytes)] })
        let paths = stored.map { $0[0] } + files.map(\.path)
        for path in paths + [golden] where !Self.isPlain(path) {
            throw Malformed("path \"\(path)\" leaves the bundle or is not plain")
        }
        let keys = Set(artifacts.map { [$0.tower.rawValue, $0.target, $0.backend ?? "", $0.scheme] })
        let methods = Set(artifacts.map { [$0.path, $0.method] })
        guard Set(paths).count == paths.count, keys.count == artifacts.count, methods.count == artifacts.count else {
            throw Malformed("two entries for one path or artifact")
        }
        for artifact in artifacts { try artifact.check(image: image, text: text, embedding: embedding) }
    }

    /// Whether a path is relative, without `.`, `..` and whatever systems read otherwise.
    static func isPlain(_ path: String) -> Bool {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        let odd: Set<Unicode.Scalar> = ["\\", ":", "\0"]
        return path.unicodeScalars.allSatisfy { !odd.contains($0) }
            && parts.allSatisfy { !$0.isEmpty && $0 != "." && $0 != ".." }
    }
}

extension Manifest.Weights {
    init(fields: inout Fields) throws {
        source = try fields.string("source")
        sha256 = try fields.sha256("sha256")
        licence = try fields.object("licence") { fields in
            Manifest.Licence(
                name: try fields.string("name"), url: try fields.string("url"), commercialUse: try fields.bool("commercial_use"))
        }
    }
}

extension Manifest.Embedding {
    private static let widest = 1 << 16

    init(fields: inout Fields) throws {
        dim = try fields.integer("dim", in: 1...Self.widest)
        l2Normalized = try fields.bool("l2_normalized")
        spaceID = try fields.string("space_id")
    }
}

extension Manifest.FileEntry {
    init(fields: inout Fields) throws {
        path = try fields.string("path")
        sha256 = try fields.sha256("sha256")
        sizeBytes = try fields.integer("size_bytes", in: 0...Int.max)
    }
}
