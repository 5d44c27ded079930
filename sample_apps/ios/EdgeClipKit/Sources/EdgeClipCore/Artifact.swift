import Foundation

/// One converted tower of a bundle.
public struct Artifact: Sendable {
    public let tower: Tower
    public let target: String
    public let backend: String?
    public let scheme: String
    public let path: String
    public let sha256: String
    public let sizeBytes: Int
    public let inputs: [Tensor]
    public let outputs: [Tensor]
    /// `iOS17` or so; nil where the artifact asks for none.
    public let minOS: String?
    /// The smallest cosine with the original that scheme `auto` promises.
    public let minCosine: Double?
    /// Libraries of the runtime that an app has to link besides it and the backend.
    public let libraries: [String]
    /// Which of the file's methods the tower is.
    public let method: String

    public struct Tensor: Sendable {
        public enum DataType: String, CaseIterable, Sendable { case float32, float16, int32 }
        public enum Kind: String, CaseIterable, Sendable { case tensor, image }

        public let name: String
        public let shape: [Int]
        public let type: DataType
        public let kind: Kind
    }
}

extension Artifact {
    init(fields: inout Fields) throws {
        tower = try fields.word("tower")
        target = try fields.string("target")
        backend = try fields.optionalString("backend")
        scheme = try fields.string("scheme")
        path = try fields.string("path")
        sha256 = try fields.sha256("sha256")
        sizeBytes = try fields.integer("size_bytes", in: 0...Int.max)
        inputs = try fields.array("inputs") { try Fields.read($0, at: $1, Tensor.init(fields:)) }
        outputs = try fields.array("outputs") { try Fields.read($0, at: $1, Tensor.init(fields:)) }
        minOS = try fields.optionalString("min_os")
        minCosine = try fields.optionalNumber("min_cosine")
        libraries = try fields.optionalStrings("libraries")
        method = try fields.optionalString("method") ?? "forward"
        // What tells how the artifact was made, and means nothing to an app.
        for key in Self.ofTheMaker { _ = fields.optional(key) }
    }

    private static let ofTheMaker = [
        "seed", "layout", "token_table", "convention", "calibration", "layers", "kept_fp32", "passes", "checked", "delegates",
        "delegated_percent", "delegated_macs_percent", "left",
    ]

    /// What an encoder relies on: one input and one output, shaped as the manifest says elsewhere.
    func check(image: Preprocess, text: TokenizerSpec, embedding: Manifest.Embedding) throws {
        let wanted = tower == .image ? [1, 3, image.size, image.size] : [1, text.contextLength]
        guard inputs.count == 1, inputs[0].shape == wanted else {
            throw Malformed("\(path): its input is not one of shape \(wanted)")
        }
        guard let output = outputs.first, output.shape == [1, embedding.dim] else {
            throw Malformed("\(path): its output is not of shape [1, \(embedding.dim)]")
        }
    }
}

extension Artifact.Tensor {
    init(fields: inout Fields) throws {
        name = try fields.string("name")
        shape = try fields.integers("shape", in: 1...Int(Int32.max))
        type = try fields.word("dtype")
        kind = try fields.optionalWord("kind") ?? .tensor
    }
}
