import EdgeClipCore
import Foundation

/// Labels, ready to be compared with pictures: from the label bank, or embedded by the text tower.
struct Classifier: Sendable {
    struct Answer: Sendable {
        let labels: [(name: String, score: Float)]
        /// Preprocessing and image tower; not decoding.
        let milliseconds: Double
    }

    static let suggestions = ["a person", "a dog", "a cat", "a car", "food", "a plant", "a building", "a screen", "a book", "the sky"]
    private static let shown = 5

    let labels: [String]
    private let model: LoadedModel
    private let scores: @Sendable ([Float]) throws -> [(name: String, score: Float)]

    /// With the app's label bank.
    init(_ model: LoadedModel, bank: LabelBank) {
        (self.model, labels) = (model, bank.labels)
        scores = { try bank.classify($0, count: Self.shown).map { (name: $0.label, score: $0.score) } }
    }

    /// With labels of the user's.
    init(_ model: LoadedModel, labels: [String], text: LoadedModel.TextSide) async throws {
        guard !labels.isEmpty else { throw EdgeClipError.input("Type at least one label.") }
        var embeddings: [[Float]] = []
        for label in labels {
            try Task.checkCancellation()
            embeddings.append(try await text.embedding(of: "a photo of \(label)"))
        }
        let (scoring, rows) = (model.bundle.manifest.scoring, embeddings)
        (self.model, self.labels) = (model, labels)
        scores = { picture in
            let cosines = rows.map { row in zip(row, picture).reduce(0) { $0 + $1.0 * $1.1 } }
            return TopK.of(try scoring.scores(cosines: cosines), count: Self.shown).map { (name: labels[$0.index], score: $0.score) }
        }
    }

    /// read: gives the picture. It is called here, off the main thread, since decoding takes a while.
    func classify(_ read: @Sendable () throws -> Picture) async throws -> Answer {
        let picture = try read()
        let started = ContinuousClock.now
        let embedding = try await model.embedding(of: picture)
        let spent = started.duration(to: .now)
        return Answer(labels: try scores(embedding), milliseconds: spent / .milliseconds(1))
    }
}
