import Foundation

/// Replays a bundle's golden file on the encoders of the device.
public struct SelfTest: Sendable {
    public struct Result: Sendable {
        public let tower: Tower
        /// How many inputs were compared.
        public let count: Int
        /// The smallest cosine with the original's embeddings.
        public let minCosine: Double
        /// What it has to reach: the golden file's, 1 where that has none for the artifact.
        public let floor: Double
        public let milliseconds: [Double]
        /// What failed, in words; empty where all passed.
        public let failures: [String]

        public var passed: Bool { failures.isEmpty }
    }

    private let manifest: Manifest
    private let golden: GoldenFile

    public init(manifest: Manifest, golden: GoldenFile) {
        (self.manifest, self.golden) = (manifest, golden)
    }

    /// Embeds the golden pictures.
    public func run(_ encoder: some ImageEncoder, artifact: Artifact) async -> Result {
        await compare(golden.images, artifact) { try await encoder.embedding(of: $0.picture) } expected: { $0.embedding }
    }

    /// Tokenizes the golden texts, compares the ids, and embeds them.
    public func run(_ encoder: some TextEncoder, tokenizer: some TextTokenizer, artifact: Artifact) async -> Result {
        await compare(golden.texts, artifact) { text in
            let ids = try tokenizer.ids(text.text)
            guard ids == text.ids else { throw EdgeClipError.runtime("\"\(text.text)\" has other token ids than the original's") }
            return try await encoder.embedding(of: ids)
        } expected: { $0.embedding }
    }

    private func compare<Case>(
        _ cases: [Case], _ artifact: Artifact, _ embed: (Case) async throws -> [Float], expected: (Case) -> [Float]
    ) async -> Result {
        let floor = golden.minCosine[artifact.path] ?? 1
        var (smallest, milliseconds, failures) = (1.0, [Double](), [String]())
        for (index, one) in cases.enumerated() {
            do {
                let started = DispatchTime.now()
                let found = try manifest.checked(try await embed(one), of: artifact)
                milliseconds.append(Double(DispatchTime.now().uptimeNanoseconds - started.uptimeNanoseconds) / 1e6)
                let cosine = Vectors.cosine(found, expected(one))
                smallest = min(smallest, cosine.isNaN ? -1 : cosine)
                if !(cosine >= floor) { failures.append("\(artifact.tower.rawValue) \(index): cosine \(cosine), below \(floor)") }
            } catch {
                failures.append("\(artifact.tower.rawValue) \(index): \(error.localizedDescription)")
            }
        }
        return Result(
            tower: artifact.tower, count: cases.count, minCosine: smallest, floor: floor, milliseconds: milliseconds, failures: failures)
    }
}
