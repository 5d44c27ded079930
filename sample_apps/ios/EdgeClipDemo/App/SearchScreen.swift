import EdgeClipCore
import SwiftUI

/// The user's photos, by what a text says.
struct SearchScreen: View {
    var body: some View {
        NavigationStack {
            WithModel { model in
                if let text = model.text {
                    SearchView(model: model, text: text)
                } else {
                    ContentUnavailableView(
                        "No text tower", systemImage: "text.badge.xmark", description: Text("This app has a label bank in its place."))
                }
            }
            .navigationTitle("Search")
        }
    }
}

@MainActor
private struct SearchView: View {
    let model: LoadedModel
    let text: LoadedModel.TextSide

    @State private var query = ""
    @State private var hits: [EmbeddingIndex.Hit] = []
    @State private var index: PhotoIndex?
    @State private var progress: PhotoIndex.Progress?
    @State private var isIndexing = false
    @State private var message: String?

    private static let shown = 60
    private static let side: CGFloat = 110

    var body: some View {
        ScrollView {
            if let message { Text(message).foregroundStyle(.secondary).padding() }
            if let progress {
                ProgressView(value: Double(progress.indexed), total: Double(max(progress.total, 1))) {
                    Text("\(progress.indexed) of \(progress.total) photos" + (progress.skipped > 0 ? ", \(progress.skipped) skipped" : ""))
                }
                .padding()
            }
            LazyVGrid(columns: [GridItem(.adaptive(minimum: Self.side))]) {
                ForEach(hits, id: \.row) { hit in
                    VStack {
                        Thumbnail(identifier: hit.id, side: Self.side)
                        Text(hit.score, format: .number.precision(.fractionLength(3))).font(.caption2).monospacedDigit()
                    }
                }
            }
            .padding(.horizontal)
        }
        .searchable(text: $query, prompt: "a dog on the beach")
        .toolbar { Button(isIndexing ? "Stop" : "Index photos") { isIndexing.toggle() } }
        .task { await open() }
        .task(id: isIndexing) { if isIndexing { await update() } }
        .task(id: query) { await search() }
    }

    private func open() async {
        guard index == nil else { return }
        do {
            let opened = try await PhotoIndex.open(model)
            guard index == nil else { return }  // it has one writer
            index = opened
            if await opened.count == 0 { message = "Index your photos first. It can be stopped and goes on where it was." }
        } catch {
            message = error.localizedDescription
        }
    }

    private func update() async {
        defer { isIndexing = false }
        do {
            try await PhotoLibrary.askForAccess()
            message = nil
            try await index?.update { found in await MainActor.run { progress = found } }
        } catch is CancellationError {
        } catch {
            message = error.localizedDescription
        }
    }

    private func search() async {
        guard let index, !query.trimmingCharacters(in: .whitespaces).isEmpty else { return }
        do {
            try await Task.sleep(for: .milliseconds(250))  // until typing stops
            let found = try await index.search(text.embedding(of: query), count: Self.shown)
            try Task.checkCancellation()
            hits = found
            message = hits.isEmpty ? "No photos are indexed." : nil
        } catch is CancellationError {
        } catch {
            message = error.localizedDescription
        }
    }
}

@MainActor
private struct Thumbnail: View {
    let identifier: String
    let side: CGFloat

    @State private var image: UIImage?
    @Environment(\.displayScale) private var scale

    var body: some View {
        Group {
            if let image { Image(uiImage: image).resizable().scaledToFill() } else { Color.secondary.opacity(0.2) }
        }
        .frame(width: side, height: side)
        .clipShape(RoundedRectangle(cornerRadius: 8))
        .task { image = await PhotoLibrary.thumbnail(identifier, side: side * scale) }
    }
}
