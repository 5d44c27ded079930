import Foundation

/// Text embeddings of labels, made by `edgeclip labels`: with it, an app needs the image tower alone.
public struct LabelBank: Sendable {
    public static let schema = "edgeclip.labels/1"
    private static let maxBytes = 256 << 20
    private static let lengthTolerance = 0.01  // float16 rounds a unit vector's length by less than 0.001

    public let labels: [String]
    /// Each label was put into all of these, and the embeddings averaged.
    public let templates: [String]
    public let scoring: Scoring
    public let spaceID: String
    public let dim: Int
    /// labels.count x dim, unit rows
    private let embeddings: [Float]

    /// Reads a bank and checks that it was made for the bundle's embeddings. spaceID: `manifest.embedding.spaceID`.
    public init(contentsOf file: URL, spaceID: String, dim: Int) throws {
        let data = try Files.read(file, atMost: Self.maxBytes, EdgeClipError.store)
        try self.init(data, file: file.path, spaceID: spaceID, dim: dim)
    }

    public init(_ data: Data, file: String, spaceID: String, dim: Int) throws {
        do {
            try self.init(SafeTensors(data))
        } catch let error as Malformed {
            throw EdgeClipError.store("\(file): \(error.message)")
        }
        guard self.spaceID == spaceID, self.dim == dim else {
            throw EdgeClipError.store(
                "\(file): made for embeddings \(self.spaceID) of \(self.dim) values, the bundle has \(spaceID) of \(dim); "
                    + "make it again with `edgeclip labels`")
        }
    }

    private init(_ tensors: SafeTensors) throws {
        let known = tensors.metadata
        func text(_ key: String) throws -> String {
            guard let value = known[key] else { throw Malformed("has no \(key)") }
            return value
        }
        func json(_ key: String) throws -> JSON {
            try JSON.parse(Array(text(key).utf8))
        }
        let schema = try text("schema")
        guard schema == Self.schema else { throw Malformed("schema \"\(schema)\" is not \(Self.schema)") }
        spaceID = try text("space_id")
        (labels, templates) = try Fields.read(.object(["labels": json("labels"), "templates": json("templates")]), at: "") {
            (try $0.strings("labels"), try $0.strings("templates"))
        }
        scoring = try Fields.read(json("scoring"), at: "scoring", Scoring.init(fields:))
        let (rows, columns, values) = try tensors.matrix("embeddings")
        guard !labels.isEmpty, rows == labels.count, columns > 0 else {
            throw Malformed("has \(labels.count) labels and embeddings of \(rows) x \(columns)")
        }
        for row in 0..<rows {
            let square = values[row * columns..<(row + 1) * columns].reduce(0) { $0 + Double($1) * Double($1) }
            guard abs(square.squareRoot() - 1) < Self.lengthTolerance else { throw Malformed("has an embedding in row \(row) of another length than 1") }
        }
        (dim, embeddings) = (columns, values)
    }

    /// The embedding of one label.
    public func embedding(_ index: Int) -> [Float] {
        Array(embeddings[index * dim..<(index + 1) * dim])
    }

    /// One score a label, in the bank's order. embedding: of an image, unit length.
    public func scores(_ embedding: [Float]) throws -> [Float] {
        guard embedding.count == dim else {
            throw EdgeClipError.input("an embedding of \(embedding.count) values; the label bank has \(dim)")
        }
        let cosines = embeddings.withUnsafeBufferPointer { rows in
            embedding.withUnsafeBufferPointer { query in
                labels.indices.map { Vectors.dot(UnsafeBufferPointer(rebasing: rows[$0 * dim..<($0 + 1) * dim]), query) }
            }
        }
        return try scoring.scores(cosines: cosines)
    }

    /// The labels with the highest scores, the best first.
    public func classify(_ embedding: [Float], count: Int) throws -> [(label: String, score: Float)] {
        TopK.of(try scores(embedding), count: count).map { (labels[$0.index], $0.score) }
    }
}
