import EdgeClipCore
import SwiftUI

/// Whether this phone computes what the original model does.
struct SelfTestScreen: View {
    var body: some View {
        NavigationStack {
            WithModel { model in
                SelfTestView(model: model)
            }
            .navigationTitle("Self-test")
        }
    }
}

@MainActor
private struct SelfTestView: View {
    let model: LoadedModel

    @State private var results: [SelfTest.Result] = []
    @State private var message: String?
    @State private var isRunning = false

    var body: some View {
        List {
            ForEach(results, id: \.tower) { ResultView(result: $0) }
            if let message { Text(message).foregroundStyle(.red) }
            Section("Model") {
                LabeledContent("Name", value: BundleInfo.model)
                LabeledContent("Embedding space", value: model.bundle.manifest.embedding.spaceID)
                LabeledContent("Licence of the weights", value: BundleInfo.licence)
                if !BundleInfo.commercialUse { Text("These weights may not be used commercially.").foregroundStyle(.orange) }
            }
        }
        .toolbar { Button("Run") { isRunning = true }.disabled(isRunning) }
        .task(id: isRunning) { if isRunning { await run() } }
    }

    private func run() async {
        defer { isRunning = false }
        (results, message) = ([], nil)
        do {
            let test = try await model.selfTest()
            let image = await test.run(model.image, artifact: model.imageArtifact)
            results = [image]
            if let text = model.text {
                results = [image, await test.run(text.encoder, tokenizer: text.tokenizer, artifact: text.artifact)]
            }
        } catch {
            message = error.localizedDescription
        }
    }
}

private struct ResultView: View {
    let result: SelfTest.Result

    var body: some View {
        Section(result.tower.rawValue.capitalized) {
            Label(result.passed ? "Passed" : "Failed", systemImage: result.passed ? "checkmark.circle.fill" : "xmark.circle.fill")
                .foregroundStyle(result.passed ? .green : .red)
            LabeledContent("Inputs", value: "\(result.count)")
            LabeledContent("Smallest cosine", value: result.minCosine.formatted(.number.precision(.fractionLength(6))))
            LabeledContent("Required", value: result.floor.formatted(.number.precision(.fractionLength(6))))
            if let fastest = result.milliseconds.min() {
                LabeledContent("Fastest", value: "\(fastest.formatted(.number.precision(.fractionLength(1)))) ms")
            }
            ForEach(result.failures, id: \.self) { Text($0).font(.caption) }
        }
    }
}
