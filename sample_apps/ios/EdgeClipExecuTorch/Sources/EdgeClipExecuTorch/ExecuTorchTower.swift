#if canImport(ExecuTorch)
import EdgeClipCore
import ExecuTorch
import Foundation

/// One tower as an ExecuTorch program. Its `Module` is not safe for threads: one call at a time, off the main thread.
actor ExecuTorchTower {
    let artifact: Artifact
    private let manifest: Manifest
    private let module: Module

    /// Checks the program's hash, maps it into memory and loads the tower's method.
    init(_ bundle: ModelBundle, _ artifact: Artifact) async throws {
        self.artifact = artifact
        manifest = bundle.manifest
        let program = try bundle.verifiedURL(of: artifact)
        module = Module(filePath: program.path, loadMode: .mmap)
        do {
            try module.load(artifact.method)
        } catch {
            throw EdgeClipError.runtime(
                "\(artifact.path): ExecuTorch cannot load it (\(error.localizedDescription)); "
                    + "is the backend \(artifact.backend ?? "") linked, and \(artifact.libraries)?")
        }
    }

    /// The embedding of one input of the shape that the manifest says, checked.
    func embedding<Element: Scalar>(of input: [Element]) throws -> [Float] {
        let shape = artifact.inputs[0].shape
        guard input.count == shape.reduce(1, *) else {
            throw EdgeClipError.input("\(input.count) values; the \(artifact.tower.rawValue) tower takes \(shape)")
        }
        let found: [Value]
        do {
            found = try module.execute(artifact.method, [Tensor<Element>(input, shape: shape)])
        } catch {
            throw EdgeClipError.runtime("\(artifact.path): it failed (\(error.localizedDescription))")
        }
        guard let output: Tensor<Float> = found.first?.tensor() else {
            throw EdgeClipError.runtime("\(artifact.path): gave no tensor of float32")
        }
        return try manifest.checked(output.scalars(), of: artifact)
    }
}

/// The image tower as an ExecuTorch program.
public struct ExecuTorchImageEncoder: ImageEncoder {
    private let tower: ExecuTorchTower
    private let preprocess: Preprocess

    /// artifact: of the image tower and target `executorch`.
    public init(_ bundle: ModelBundle, _ artifact: Artifact) async throws {
        tower = try await ExecuTorchTower(bundle, artifact)
        preprocess = bundle.manifest.image
    }

    public func embedding(of picture: Picture) async throws -> [Float] {
        try await tower.embedding(of: preprocess.tensor(of: picture))
    }
}

/// The text tower as an ExecuTorch program.
public struct ExecuTorchTextEncoder: TextEncoder {
    private let tower: ExecuTorchTower

    /// artifact: of the text tower and target `executorch`.
    public init(_ bundle: ModelBundle, _ artifact: Artifact) async throws {
        tower = try await ExecuTorchTower(bundle, artifact)
    }

    public func embedding(of ids: [Int32]) async throws -> [Float] {
        try await tower.embedding(of: ids)
    }
}
#endif
