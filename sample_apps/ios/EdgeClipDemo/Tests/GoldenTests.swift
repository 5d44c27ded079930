import EdgeClipCore
import XCTest

@testable import EdgeClipDemo

/// The bundle in the app, on the device that this runs on, against the original model's embeddings.
final class GoldenTests: XCTestCase {
    func testImageTower() async throws {
        let model = try await LoadedModel.load()
        let result = try await model.selfTest().run(model.image, artifact: model.imageArtifact)
        XCTAssertTrue(result.passed, "\(result.failures)")
        XCTAssertGreaterThan(result.count, 0)
    }

    func testTextTower() async throws {
        let model = try await LoadedModel.load()
        guard let text = model.text else { throw XCTSkip("the bundle has no text tower") }
        let result = try await model.selfTest().run(text.encoder, tokenizer: text.tokenizer, artifact: text.artifact)
        XCTAssertTrue(result.passed, "\(result.failures)")
        XCTAssertGreaterThan(result.count, 0)
    }

    func testTheGeneratedConstantsAreTheBundles() async throws {
        let model = try await LoadedModel.load()
        let manifest = model.bundle.manifest
        XCTAssertEqual(manifest.model, BundleInfo.model)
        XCTAssertEqual(manifest.embedding.spaceID, BundleInfo.spaceID)
        XCTAssertEqual(manifest.embedding.dim, BundleInfo.embeddingDim)
        XCTAssertEqual(manifest.image.size, BundleInfo.imageSize)
        XCTAssertEqual(model.imageArtifact.path, BundleInfo.imageArtifact)
    }
}
