@_exported import Foundation
@_exported import CoreVideo
public enum MLComputeUnits: Int, Sendable { case cpuOnly, cpuAndGPU, all, cpuAndNeuralEngine }
public class MLModelConfiguration { public init() {}; public var computeUnits: MLComputeUnits = .all }
public class MLFeatureDescription {}
public class MLModelDescription { public var inputDescriptionsByName: [String: MLFeatureDescription] = [:]; public var outputDescriptionsByName: [String: MLFeatureDescription] = [:] }
public protocol MLFeatureProvider { func featureValue(for: String) -> MLFeatureValue? }
public class MLMultiArray { public var count: Int { 0 }; public subscript(i: Int) -> NSNumber { 0 }
  public convenience init<S: MLShapedArrayProtocol>(_ s: S) { self.init(x: 0) }
  init(x: Int) {} }
public protocol MLShapedArrayScalar {}
extension Float: MLShapedArrayScalar {}
extension Int32: MLShapedArrayScalar {}
public protocol MLShapedArrayProtocol {}
public struct MLShapedArray<T: MLShapedArrayScalar>: MLShapedArrayProtocol { public init<S: Sequence>(scalars: S, shape: [Int]) where S.Element == T {} }
public class MLFeatureValue { public convenience init(pixelBuffer: CVPixelBuffer) { self.init(0) }; public convenience init(multiArray: MLMultiArray) { self.init(0) }; init(_ x: Int) {}; public var multiArrayValue: MLMultiArray? { nil } }
public class MLDictionaryFeatureProvider: MLFeatureProvider { public init(dictionary: [String: Any]) throws {}; public func featureValue(for: String) -> MLFeatureValue? { nil } }
public class MLPredictionOptions { public init() {} }
public class MLModel {
  public var modelDescription: MLModelDescription { .init() }
  public class func load(contentsOf: URL, configuration: MLModelConfiguration = MLModelConfiguration()) async throws -> MLModel { MLModel() }
  public class func compileModel(at: URL) async throws -> URL { at }
  public class func compileModel(at: URL) throws -> URL { at }
  public func prediction(from: any MLFeatureProvider) throws -> any MLFeatureProvider { from }
  public func prediction(from: any MLFeatureProvider, options: MLPredictionOptions = MLPredictionOptions()) async throws -> any MLFeatureProvider { from }
}
