import EdgeClipCore
import EdgeClipExecuTorch
import EdgeClipKit
import Foundation
import Observation

/// What the screens share: the model, loaded once and off the main thread.
@MainActor
@Observable
final class Engine {
    enum State {
        case loading
        case ready(LoadedModel)
        case failed(String)
    }

    private(set) var state = State.loading

    func load() async {
        guard case .loading = state else { return }
        do {
            state = .ready(try await LoadedModel.load())
        } catch {
            state = .failed(error.localizedDescription)
        }
    }
}

/// The bundle in the app, its encoders and, of text tower and label bank, what it has.
struct LoadedModel: Sendable {
    let bundle: ModelBundle
    let imageArtifact: Artifact
    let image: any ImageEncoder
    let text: TextSide?
    let labelBank: LabelBank?

    struct TextSide: Sendable {
        let artifact: Artifact
        let encoder: any TextEncoder
        let tokenizer: any TextTokenizer

        /// A text to its embedding.
        func embedding(of text: String) async throws -> [Float] {
            try await encoder.embedding(of: tokenizer.ids(text))
        }
    }

    /// Not on the main actor: hashes are compared, a vocabulary is read, models are compiled.
    static func load() async throws -> LoadedModel {
        guard let resources = Bundle.main.resourceURL else { throw EdgeClipError.bundle("the app has no resources") }
        let bundle = try ModelBundle(resources.appendingPathComponent(BundleInfo.folder, isDirectory: true))
        let embedding = bundle.manifest.embedding
        guard let imageArtifact = bundle.manifest.artifacts.first(where: { $0.tower == .image }) else {
            throw EdgeClipError.bundle("\(BundleInfo.folder): has no image tower")
        }
        async let image = imageEncoder(bundle, imageArtifact)
        async let text = textSide(bundle)
        let labelBank = try BundleInfo.labelBank.map {
            try LabelBank(
                bundle.verifiedData(of: $0, atMost: LabelBank.maxBytes), file: $0, spaceID: embedding.spaceID, dim: embedding.dim)
        }
        return LoadedModel(
            bundle: bundle, imageArtifact: imageArtifact, image: try await image, text: try await text, labelBank: labelBank)
    }

    private static func imageEncoder(_ bundle: ModelBundle, _ artifact: Artifact) async throws -> any ImageEncoder {
        switch artifact.target {
        case "coreml": try await CoreMLImageEncoder(bundle, artifact)
        case "executorch": try await ExecuTorchImageEncoder(bundle, artifact)
        default: throw EdgeClipError.bundle("\(artifact.path): this app does not run \(artifact.target)")
        }
    }

    private static func textSide(_ bundle: ModelBundle) async throws -> TextSide? {
        guard let artifact = bundle.manifest.artifacts.first(where: { $0.tower == .text }) else { return nil }
        let tokenizer = try bundle.tokenizer()
        let encoder: any TextEncoder =
            switch artifact.target {
            case "coreml": try await CoreMLTextEncoder(bundle, artifact)
            case "executorch": try await ExecuTorchTextEncoder(bundle, artifact)
            default: throw EdgeClipError.bundle("\(artifact.path): this app does not run \(artifact.target)")
            }
        return TextSide(artifact: artifact, encoder: encoder, tokenizer: tokenizer)
    }

    /// What the bundle's golden file asks of this device.
    func selfTest() async throws -> SelfTest {
        SelfTest(manifest: bundle.manifest, golden: try bundle.golden())
    }

    /// A picture of any size to its embedding.
    func embedding(of picture: Picture) async throws -> [Float] {
        try await image.embedding(of: bundle.manifest.image.pixels(of: picture))
    }
}
