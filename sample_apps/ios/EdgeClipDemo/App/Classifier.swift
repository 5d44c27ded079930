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

    var labels: [String] { bank.labels }
    private let model: LoadedModel
    private let bank: LabelBank

    /// With the app's label bank.
    init(_ model: LoadedModel, bank: LabelBank) {
        (self.model, self.bank) = (model, bank)
    }

    /// With labels of the user's.
    init(_ model: LoadedModel, labels: [String], text: LoadedModel.TextSide) async throws {
        guard !labels.isEmpty else { throw EdgeClipError.input("Type at least one label.") }
        let bank = try await LabelBank(encoding: labels, for: model.bundle.manifest) { try await text.embedding(of: $0) }
        self.init(model, bank: bank)
    }

    /// read: gives the picture. It is called here, off the main thread, since decoding takes a while.
    func classify(_ read: @Sendable () throws -> Picture) async throws -> Answer {
        let picture = try read()
        let started = ContinuousClock.now
        let embedding = try await model.embedding(of: picture)
        let spent = started.duration(to: .now)
        let best = try bank.classify(embedding, count: Self.shown)
        return Answer(labels: best.map { (name: $0.label, score: $0.score) }, milliseconds: spent / .milliseconds(1))
    }
}
