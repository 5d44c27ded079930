import EdgeClipCore
import Foundation

/// The embeddings of the user's photos, on disk. One writer and one reader at a time.
actor PhotoIndex {
    struct Progress: Sendable {
        let indexed: Int
        let total: Int
        /// Photos that could not be read or embedded; they are tried again the next time.
        let skipped: Int
    }

    private static let batch = 32

    private let model: LoadedModel
    private var index: EmbeddingIndex
    private var known: Set<String>

    /// Opens the model's index in the app's own folder, or makes one. Not on the main thread: it may hold a hundred thousand photos.
    static func open(_ model: LoadedModel) async throws -> PhotoIndex {
        try PhotoIndex(model)
    }

    private init(_ model: LoadedModel) throws {
        let embedding = model.bundle.manifest.embedding
        // Its own for each embedding space: another model starts another index.
        let name = embedding.spaceID.map { $0.isLetter || $0.isNumber ? String($0) : "-" }.joined()
        let folder = try FileManager.default.url(for: .applicationSupportDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
            .appendingPathComponent("\(name).edgeindex", isDirectory: true)
        self.model = model
        index = try Self.opened(folder, spaceID: embedding.spaceID, dim: embedding.dim)
        known = Set(index.ids)
    }

    /// A damaged index is made anew: the photos are there to be indexed again.
    private static func opened(_ folder: URL, spaceID: String, dim: Int) throws -> EmbeddingIndex {
        do {
            return try EmbeddingIndex.openOrCreate(folder, spaceID: spaceID, dim: dim)
        } catch EdgeClipError.store {
            try? FileManager.default.removeItem(at: folder)  // what is still wrong then, the next line says
            return try EmbeddingIndex.openOrCreate(folder, spaceID: spaceID, dim: dim)
        }
    }

    var count: Int { index.count }

    /// Embeds photos that are not in the index. What is done stays done when the task is cancelled.
    func update(_ report: @Sendable (Progress) async -> Void) async throws {
        let all = PhotoLibrary.identifiers()
        var (rows, skipped) = ([(id: String, embedding: [Float])](), 0)
        for identifier in all where !known.contains(identifier) {
            if Task.isCancelled { break }
            do {
                rows.append((identifier, try await model.embedding(of: PhotoLibrary.picture(identifier))))
            } catch {
                skipped += 1
            }
            if rows.count == Self.batch {
                try append(rows)
                rows.removeAll()
            }
            await report(Progress(indexed: index.count + rows.count, total: all.count, skipped: skipped))
        }
        try append(rows)
        try Task.checkCancellation()
    }

    /// Another update may have come first, where one was stopped and begun anew.
    private func append(_ rows: [(id: String, embedding: [Float])]) throws {
        let new = rows.filter { !known.contains($0.id) }
        try index.append(new)
        known.formUnion(new.map(\.id))
    }

    /// The photos closest to a text.
    func search(_ query: [Float], count: Int) throws -> [EmbeddingIndex.Hit] {
        try index.search(query, count: count)
    }
}
