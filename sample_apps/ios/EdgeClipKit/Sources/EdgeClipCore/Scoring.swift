import Foundation

/// How cosines become scores: softmax(scale * cos) over the labels, or sigmoid(scale * cos + bias) for each.
public struct Scoring: Sendable, Equatable {
    public enum Kind: String, CaseIterable, Sendable { case softmax, sigmoid }

    public let kind: Kind
    /// The multiplier itself, not its logarithm.
    public let logitScale: Double
    public let logitBias: Double?

    init(fields: inout Fields) throws {
        kind = try fields.word("kind")
        logitScale = try fields.number("logit_scale")
        logitBias = try fields.optionalNumber("logit_bias")
    }

    /// One score a label. Throws where there is no label, or a cosine is no number.
    public func scores(cosines: [some BinaryFloatingPoint]) throws -> [Float] {
        guard !cosines.isEmpty else { throw EdgeClipError.input("there are no labels to score") }
        let logits = cosines.map { logitScale * Double($0) + (logitBias ?? 0) }
        guard logits.allSatisfy(\.isFinite) else {
            throw EdgeClipError.input("a cosine is not finite: the model or an embedding is broken")
        }
        switch kind {
        case .sigmoid:
            return logits.map { Float(Self.logistic($0)) }
        case .softmax:
            let highest = logits.max() ?? 0
            let weights = logits.map { exp($0 - highest) }
            let sum = weights.reduce(0, +)
            return weights.map { Float($0 / sum) }
        }
    }

    private static func logistic(_ x: Double) -> Double {
        let small = exp(-abs(x))  // no overflow
        return (x >= 0 ? 1 : small) / (1 + small)
    }
}
