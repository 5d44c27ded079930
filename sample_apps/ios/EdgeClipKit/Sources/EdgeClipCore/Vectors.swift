import Foundation

/// Arithmetic of embeddings.
enum Vectors {
    /// Inner product; of unit vectors, their cosine. Both of the same length.
    static func dot(_ a: UnsafeBufferPointer<Float>, _ b: UnsafeBufferPointer<Float>) -> Float {
        let (left, right) = (UnsafeRawBufferPointer(a), UnsafeRawBufferPointer(b))
        return summed(count: min(a.count, b.count)) {
            left.loadUnaligned(fromByteOffset: 4 * $0, as: SIMD16<Float>.self)
                * right.loadUnaligned(fromByteOffset: 4 * $0, as: SIMD16<Float>.self)
        } one: {
            a[$0] * b[$0]
        }
    }

    /// Inner product of a row of bytes and a vector of the same length.
    static func dot(_ row: UnsafeBufferPointer<Int8>, _ b: UnsafeBufferPointer<Float>) -> Float {
        let (left, right) = (UnsafeRawBufferPointer(row), UnsafeRawBufferPointer(b))
        return summed(count: min(row.count, b.count)) {
            SIMD16<Float>(left.loadUnaligned(fromByteOffset: $0, as: SIMD16<Int8>.self))
                * right.loadUnaligned(fromByteOffset: 4 * $0, as: SIMD16<Float>.self)
        } one: {
            Float(row[$0]) * b[$0]
        }
    }

    /// Two sums side by side: one alone would wait for each addition before the next.
    @inline(__always)
    private static func summed(count: Int, sixteen: (Int) -> SIMD16<Float>, one: (Int) -> Float) -> Float {
        var (even, odd) = (SIMD16<Float>.zero, SIMD16<Float>.zero)
        var index = 0
        while index + 32 <= count {
            even += sixteen(index)
            odd += sixteen(index + 16)
            index += 32
        }
        var sum = (even + odd).sum()
        while index < count {
            sum += one(index)
            index += 1
        }
        return sum
    }

    /// Cosine of two vectors of the same length, in double precision. Not a number where one is zero.
    static func cosine(_ a: [Float], _ b: [Float]) -> Double {
        var (product, left, right) = (0.0, 0.0, 0.0)
        for (x, y) in zip(a, b) {
            product += Double(x) * Double(y)
            left += Double(x) * Double(x)
            right += Double(y) * Double(y)
        }
        return product / (left * right).squareRoot()
    }
}
