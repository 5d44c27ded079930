#if canImport(CoreML)
import CoreML
import EdgeClipCore
import Foundation

/// Compiled Core ML models in a folder, by the hash of the package that they were made of.
public struct CompiledModels: Sendable {
    private let folder: URL

    public init(folder: URL) {
        self.folder = folder
    }

    /// In the app's caches, which the system may empty; the models are made again then.
    public static func inCaches() -> CompiledModels {
        let caches = FileManager.default.urls(for: .cachesDirectory, in: .userDomainMask)[0]
        return CompiledModels(folder: caches.appendingPathComponent("edgeclip-models", isDirectory: true))
    }

    /// Loads an artifact's compiled model. Where there is none, or it does not load, one is compiled of the package, whose hash is
    /// compared first.
    func load(_ artifact: Artifact, of bundle: ModelBundle, _ configuration: MLModelConfiguration) async throws -> MLModel {
        let stored = folder.appendingPathComponent("\(artifact.sha256).mlmodelc", isDirectory: true)
        if FileManager.default.fileExists(atPath: stored.path) {
            // One that was made by another release of the system need not load.
            if let model = try? await MLModel.load(contentsOf: stored, configuration: configuration) { return model }
        }
        let package = try bundle.verifiedURL(of: artifact)
        do {
            let compiled = try await MLModel.compileModel(at: package)  // in a temporary folder
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try? FileManager.default.removeItem(at: stored)
            try FileManager.default.moveItem(at: compiled, to: stored)
            return try await MLModel.load(contentsOf: stored, configuration: configuration)
        } catch {
            throw EdgeClipError.runtime("\(artifact.path): Core ML cannot load it (\(error.localizedDescription))")
        }
    }
}
#endif
