#if canImport(CoreML)
import CoreML
import EdgeClipCore
import Foundation

/// One tower as a Core ML package. Loading and running are off the main thread; one prediction at a time.
actor CoreMLTower {
    let artifact: Artifact
    private let manifest: Manifest
    private let model: MLModel

    /// Checks the package's hash, compiles it where that was not done before, and loads it.
    ///
    /// The first load on a device takes seconds, for a large model tens of seconds: the Neural Engine's program is made then, and kept
    /// by the system.
    init(_ bundle: ModelBundle, _ artifact: Artifact, units: MLComputeUnits, cache: CompiledModels) async throws {
        guard artifact.inputs.count == 1, let output = artifact.outputs.first, output.type != .int32 else {
            throw EdgeClipError.bundle("\(artifact.path): has another interface than this app knows")
        }
        let configuration = MLModelConfiguration()
        configuration.computeUnits = units
        self.artifact = artifact
        manifest = bundle.manifest
        model = try await cache.load(artifact, of: bundle, configuration)
        let description = model.modelDescription
        guard description.inputDescriptionsByName[artifact.inputs[0].name] != nil,
            description.outputDescriptionsByName[output.name] != nil
        else { throw EdgeClipError.bundle("\(artifact.path): has no input or output of the names in the manifest") }
    }

    /// The embedding of one input, checked.
    func embedding(of value: MLFeatureValue) throws -> [Float] {
        let found: MLFeatureProvider
        do {
            let input = try MLDictionaryFeatureProvider(dictionary: [artifact.inputs[0].name: value])
            found = try model.prediction(from: input)
        } catch {
            throw EdgeClipError.runtime("\(artifact.path): prediction failed (\(error.localizedDescription))")
        }
        guard let array = found.featureValue(for: artifact.outputs[0].name)?.multiArrayValue else {
            throw EdgeClipError.runtime("\(artifact.path): gave no \(artifact.outputs[0].name)")
        }
        return try manifest.checked((0..<array.count).map { array[$0].floatValue }, of: artifact)
    }
}

/// The image tower as a Core ML package.
public struct CoreMLImageEncoder: ImageEncoder {
    private let tower: CoreMLTower
    private let preprocess: Preprocess

    /// artifact: of the image tower and target `coreml`. units: what the model may run on; `.all` is the Neural Engine where it can.
    public init(
        _ bundle: ModelBundle, _ artifact: Artifact, units: MLComputeUnits = .all, cache: CompiledModels = .inCaches()
    ) async throws {
        tower = try await CoreMLTower(bundle, artifact, units: units, cache: cache)
        preprocess = bundle.manifest.image
    }

    public func embedding(of picture: Picture) async throws -> [Float] {
        let tensor = try preprocess.tensor(of: picture)  // also sees that the picture is of the model's size
        guard tower.artifact.inputs[0].kind == .tensor else {
            return try await tower.embedding(of: MLFeatureValue(pixelBuffer: picture.pixelBuffer()))
        }
        let shape = [1, 3, picture.height, picture.width]
        return try await tower.embedding(of: MLFeatureValue(multiArray: MLMultiArray(MLShapedArray(scalars: tensor, shape: shape))))
    }
}

/// The text tower as a Core ML package.
public struct CoreMLTextEncoder: TextEncoder {
    private let tower: CoreMLTower

    /// artifact: of the text tower and target `coreml`. The token lookup runs on the CPU whatever `units` says.
    public init(
        _ bundle: ModelBundle, _ artifact: Artifact, units: MLComputeUnits = .all, cache: CompiledModels = .inCaches()
    ) async throws {
        tower = try await CoreMLTower(bundle, artifact, units: units, cache: cache)
    }

    public func embedding(of ids: [Int32]) async throws -> [Float] {
        guard [1, ids.count] == tower.artifact.inputs[0].shape else {
            throw EdgeClipError.input("\(ids.count) ids; the text tower takes \(tower.artifact.inputs[0].shape)")
        }
        let row = MLShapedArray(scalars: ids, shape: [1, ids.count])
        return try await tower.embedding(of: MLFeatureValue(multiArray: MLMultiArray(row)))
    }
}
#endif
