import Foundation

/// Text embeddings of labels. With those made by `edgeclip labels`, an app needs the image tower alone.
public struct LabelBank: Sendable {
    public static let schema = "edgeclip.labels/1"
    public static let maxBytes = 256 << 20  // `edgeclip labels` writes no more
    /// What `edgeclip classify` puts labels into by default.
    public static let defaultTemplates = ["{}", "a photo of {}", "a picture of {}", "an image of {}", "a drawing of {}"]
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
        (spaceID, labels, templates, scoring) = try Fields.read(.object(tensors.metadata.mapValues(JSON.string)), at: "") { fields in
            let schema = try fields.string("schema")
            guard schema == Self.schema else { throw Malformed("schema \"\(schema)\" is not \(Self.schema)") }
            return (
                try fields.string("space_id"), try fields.embedded("labels") { try $0.strings("labels") },
                try fields.embedded("templates") { try $0.strings("templates") },
                try fields.embedded("scoring") { try $0.object("scoring", Scoring.init(fields:)) }
            )
        }
        let (rows, columns, values) = try tensors.matrix("embeddings")
        guard rows == labels.count else { throw Malformed("has \(labels.count) labels and embeddings of \(rows) x \(columns)") }
        (dim, embeddings) = (columns, values)
        try check()
    }

    /// A bank of labels that were not known beforehand: each the mean of its prompts' embeddings, scaled to length 1 again (OpenAI
    /// CLIP, section 3.1.4). embed: a prompt to its embedding, `dim` values of unit length. Ends early where its task is cancelled.
    public init(
        encoding labels: [String], templates: [String] = Self.defaultTemplates, for manifest: Manifest,
        embed: (String) async throws -> [Float]
    ) async throws {
        (self.labels, self.templates, scoring) = (labels, templates, manifest.scoring)
        (spaceID, dim) = (manifest.embedding.spaceID, manifest.embedding.dim)
        do {
            try Self.check(labels, templates)
        } catch let error as Malformed {
            throw EdgeClipError.input("the label bank \(error.message)")
        }
        var rows: [Float] = []
        for label in labels {
            var sum = [Double](repeating: 0, count: dim)
            for template in templates {
                try Task.checkCancellation()
                let embedding = try await embed(template.components(separatedBy: "{}").joined(separator: label))
                guard embedding.count == dim, embedding.allSatisfy(\.isFinite) else {
                    throw EdgeClipError.input("\(label): an embedding that is not \(dim) finite values")
                }
                for index in sum.indices { sum[index] += Double(embedding[index]) }
            }
            let length = sum.reduce(0) { $0 + $1 * $1 }.squareRoot()
            guard length > 0 else { throw EdgeClipError.input("\(label): prompts whose embeddings cancel out") }
            rows += sum.map { Float($0 / length) }
        }
        embeddings = rows
    }

    private static func check(_ labels: [String], _ templates: [String]) throws {
        let isBlank = labels.contains { $0.allSatisfy(\.isWhitespace) }
        guard !labels.isEmpty, !isBlank, Set(labels.map { Array($0.utf8) }).count == labels.count else {
            throw Malformed("needs labels, none of them blank and none twice")
        }
        guard !templates.isEmpty, templates.allSatisfy({ $0.components(separatedBy: "{}").count == 2 }) else {
            throw Malformed("needs templates with {} once each")
        }
    }

    private func check() throws {
        try Self.check(labels, templates)
        guard scoring.logitScale > 0 else { throw Malformed("has a scale that is not above 0") }
        for row in labels.indices {
            let square = embeddings[row * dim..<(row + 1) * dim].reduce(0) { $0 + Double($1) * Double($1) }
            guard abs(square.squareRoot() - 1) <= Self.lengthTolerance else {
                throw Malformed("has an embedding in row \(row) of another length than 1")
            }
        }
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

extension Fields {
    /// A field whose text is JSON itself; `body` finds that under the same key.
    fileprivate mutating func embedded<T>(_ key: String, _ body: (inout Fields) throws -> T) throws -> T {
        let value = try JSON.parse(Array(string(key).utf8))
        return try Fields.read(.object([key: value]), at: "", body)
    }
}
