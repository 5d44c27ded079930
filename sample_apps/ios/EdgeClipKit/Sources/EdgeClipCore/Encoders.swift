import Foundation

/// The image tower, on whatever runtime.
public protocol ImageEncoder: Sendable {
    /// The embedding of a picture of the model's size: `dim` values, unit length.
    func embedding(of picture: Picture) async throws -> [Float]
}

/// The text tower, on whatever runtime.
public protocol TextEncoder: Sendable {
    /// The embedding of a row of ids as a tokenizer makes it: `dim` values, unit length.
    func embedding(of ids: [Int32]) async throws -> [Float]
}

extension Manifest {
    private static let lengthTolerance = 0.01  // of fp16 and of int8 graphs; a mistake is off by far more

    /// An encoder's output, checked: as many values as the manifest says, all finite, of length 1 or brought to it.
    ///
    /// Throws `EdgeClipError.runtime` where a model gives anything else.
    public func checked(_ output: [Float], of artifact: Artifact) throws -> [Float] {
        guard output.count == embedding.dim else {
            throw EdgeClipError.runtime("\(artifact.path): gives \(output.count) values, not \(embedding.dim)")
        }
        let length = output.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
        guard length.isFinite, length > 0 else {
            throw EdgeClipError.runtime("\(artifact.path): gives an embedding that is zero or not finite")
        }
        guard !embedding.l2Normalized || abs(length - 1) <= Self.lengthTolerance else {
            throw EdgeClipError.runtime("\(artifact.path): gives an embedding of length \(length), not 1")
        }
        return embedding.l2Normalized ? output : output.map { Float(Double($0) / length) }
    }
}
