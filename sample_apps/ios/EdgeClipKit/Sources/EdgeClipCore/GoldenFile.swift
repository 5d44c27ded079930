import Foundation

/// `golden.json`: a few inputs with the torch original's embeddings, with which an app tests itself on the device.
public struct GoldenFile: Sendable {
    public static let fileName = "golden.json"
    public static let schema = "edgeclip.golden/1"
    static let maxBytes = 256 << 20

    public struct Image: Sendable {
        public let picture: Picture
        public let embedding: [Float]
    }

    public struct Text: Sendable {
        public let text: String
        public let ids: [Int32]
        public let embedding: [Float]
    }

    public let images: [Image]
    public let texts: [Text]
    /// The smallest cosine with the original that an artifact is to keep, by its path.
    public let minCosine: [String: Double]

    public init(_ data: Data, file: String, manifest: Manifest) throws {
        guard data.count <= Self.maxBytes else { throw EdgeClipError.bundle("\(file): larger than any golden file") }
        self = try Fields.read(data, of: file, EdgeClipError.bundle) { try GoldenFile(fields: &$0, manifest) }
    }

    private init(fields: inout Fields, _ manifest: Manifest) throws {
        let schema = try fields.string("schema")
        guard schema == Self.schema else { throw Malformed("schema \"\(schema)\" is not \(Self.schema)") }
        let dim = manifest.embedding.dim
        images = try fields.array("images") { item, place in
            try Fields.read(item, at: place) { fields in
                let (width, height) = (
                    try fields.integer("width", in: Picture.sides), try fields.integer("height", in: Picture.sides)
                )
                guard let rgb = Data(base64Encoded: try fields.string("rgb")), rgb.count == width * height * 3 else {
                    throw fields.wrong("rgb", "is not base64 of \(width) x \(height) x 3 bytes")
                }
                return Image(
                    picture: try Picture(width: width, height: height, rgb: [UInt8](rgb)),
                    embedding: try fields.floats("embedding", count: dim))
            }
        }
        texts = try fields.array("texts") { item, place in
            try Fields.read(item, at: place) { fields in
                let ids = try fields.integers("ids", in: 0...manifest.text.vocabSize - 1)
                guard ids.count == manifest.text.contextLength else { throw fields.wrong("ids", "are not \(manifest.text.contextLength)") }
                return Text(
                    text: try fields.string("text"), ids: ids.map(Int32.init), embedding: try fields.floats("embedding", count: dim))
            }
        }
        minCosine = try Self.floors(fields.json("min_cosine"))
        guard !images.isEmpty, !texts.isEmpty else { throw Malformed("has no images or no texts") }
    }

    private static func floors(_ json: JSON) throws -> [String: Double] {
        guard case .object(let members) = json else { throw Malformed("min_cosine is no object") }
        return try members.mapValues { value in
            guard let floor = value.double, 0...1 ~= floor else { throw Malformed("min_cosine has a floor that is not from 0 to 1") }
            return floor
        }
    }
}

extension Fields {
    /// Numbers that a Float can hold, `count` of them.
    fileprivate mutating func floats(_ key: String, count: Int) throws -> [Float] {
        let values = try numbers(key, count: count).map(Float.init)
        guard values.allSatisfy(\.isFinite) else { throw wrong(key, "has a number beyond a float") }
        return values
    }
}
