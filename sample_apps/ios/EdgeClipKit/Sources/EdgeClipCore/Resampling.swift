import Foundation

/// The filters of the models' preprocessing.
public enum Interpolation: String, CaseIterable, Sendable {
    case bilinear, bicubic

    /// Half the width of the kernel.
    var support: Double { self == .bilinear ? 1 : 2 }

    func weight(at distance: Double) -> Double {
        let x = abs(distance)
        switch self {
        case .bilinear: return x < 1 ? 1 - x : 0
        case .bicubic:  // Keys 1981, with a = -0.5
            let a = -0.5
            if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
            return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
        }
    }
}

/// Antialiased scaling as Pillow 13 does it for 8-bit pictures (`src/libImaging/Resample.c`): one direction, then the other, in fixed
/// point, each rounded to 8 bits. Equal to Pillow's byte by byte.
struct Resampling {
    struct Box {
        let left: Float
        let top: Float
        let right: Float
        let bottom: Float
    }

    private static let precision = 22  // 32 bits - 8 of the pixels - 2 for weights below 0 and above 1

    private let source: Picture
    private let horizontal: Axis
    private let vertical: Axis

    /// Scales what is in `box` to `size`.
    init(_ interpolation: Interpolation, of source: Picture, box: Box, to size: (width: Int, height: Int)) {
        self.source = source
        horizontal = Axis(interpolation, length: source.width, from: box.left, to: box.right, size: size.width)
        vertical = Axis(interpolation, length: source.height, from: box.top, to: box.bottom, size: size.height)
    }

    /// The scaled picture.
    func pixels() -> Picture {
        pixels(left: 0, top: 0, width: horizontal.size, height: vertical.size)
    }

    /// A region of the scaled picture, computed alone.
    func pixels(left: Int, top: Int, width: Int, height: Int) -> Picture {
        let columns = horizontal.taps(left..<left + width), rows = vertical.taps(top..<top + height)
        let scaled: [UInt8]
        if isDownFirst {
            let lines = Self.down(source.rgb, width: source.width, firstRow: 0, rows)
            scaled = Self.across(lines, width: source.width, 0..<height, columns)
        } else {
            let used = (rows.map(\.start).min() ?? 0)..<(rows.map { $0.start + $0.weights.count }.max() ?? 0)
            let lines = Self.across(source.rgb, width: source.width, used, columns)
            scaled = Self.down(lines, width: width, firstRow: used.lowerBound, rows)
        }
        return Picture(width: width, height: height, checked: scaled)
    }

    /// The direction in which more is taken away comes first, which shows in how pixels are rounded
    /// (https://github.com/python-pillow/Pillow/pull/9549).
    private var isDownFirst: Bool {
        let lines = source.height - vertical.size
        return lines > 0 && lines > 2 * (source.width - horizontal.size)
    }

    /// Pixels that one output pixel is made of.
    private struct Taps {
        let start: Int
        let weights: [Int32]
    }

    private struct Axis {
        let size: Int
        private let interpolation: Interpolation
        private let length: Int
        private let from: Float
        private let scale: Double
        private let isIdentity: Bool

        init(_ interpolation: Interpolation, length: Int, from: Float, to: Float, size: Int) {
            (self.interpolation, self.length, self.from, self.size) = (interpolation, length, from, size)
            scale = Double(to - from) / Double(size)
            isIdentity = size == length && from == 0 && to == Float(size)
        }

        func taps(_ range: Range<Int>) -> [Taps] {
            range.map { isIdentity ? Taps(start: $0, weights: [1 << Int32(precision)]) : taps($0) }
        }

        private func taps(_ index: Int) -> Taps {
            let stretch = max(scale, 1)
            let support = interpolation.support * stretch
            let center = Double(from) + (Double(index) + 0.5) * scale
            let start = max(Int(center - support + 0.5), 0)
            let end = min(Int(center + support + 0.5), length)
            var weights = (start..<max(end, start)).map { interpolation.weight(at: (Double($0) - center + 0.5) * (1 / stretch)) }
            let sum = weights.reduce(0, +)
            if sum != 0 { weights = weights.map { $0 / sum } }
            let one = Double(1 << precision)
            return Taps(start: start, weights: weights.map { Int32($0 * one + ($0 < 0 ? -0.5 : 0.5)) })
        }
    }

    private static func clipped(_ sum: Int32) -> UInt8 {
        UInt8(clamping: sum >> Int32(precision))
    }

    /// Scales lines of pixels to other widths: -> rows.count x columns.count x 3
    private static func across(_ lines: [UInt8], width: Int, _ rows: Range<Int>, _ columns: [Taps]) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: rows.count * columns.count * 3) { out, count in
            lines.withUnsafeBufferPointer { pixels in
                var place = 0
                for row in rows {
                    for column in columns {
                        var (red, green, blue) = (half, half, half)
                        var pixel = (row * width + column.start) * 3
                        for weight in column.weights {
                            red &+= Int32(pixels[pixel]) &* weight
                            green &+= Int32(pixels[pixel + 1]) &* weight
                            blue &+= Int32(pixels[pixel + 2]) &* weight
                            pixel += 3
                        }
                        (out[place], out[place + 1], out[place + 2]) = (clipped(red), clipped(green), clipped(blue))
                        place += 3
                    }
                }
            }
            count = rows.count * columns.count * 3
        }
    }

    /// Scales columns of pixels to other heights: -> rows.count x width x 3. firstRow: which row of the picture `lines` begin with.
    private static func down(_ lines: [UInt8], width: Int, firstRow: Int, _ rows: [Taps]) -> [UInt8] {
        let stride = width * 3
        var sums = [Int32](repeating: 0, count: stride)
        return [UInt8](unsafeUninitializedCapacity: rows.count * stride) { out, count in
            lines.withUnsafeBufferPointer { pixels in
                sums.withUnsafeMutableBufferPointer { sums in
                    for (index, row) in rows.enumerated() {
                        for place in 0..<stride { sums[place] = half }
                        for (offset, weight) in row.weights.enumerated() {
                            let line = (row.start + offset - firstRow) * stride
                            for place in 0..<stride { sums[place] &+= Int32(pixels[line + place]) &* weight }
                        }
                        for place in 0..<stride { out[index * stride + place] = clipped(sums[place]) }
                    }
                }
            }
            count = rows.count * stride
        }
    }

    private static let half: Int32 = 1 << (Int32(precision) - 1)
}

extension Resampling.Box {
    /// All of a picture.
    init(width: Int, height: Int) {
        self.init(left: 0, top: 0, right: Float(width), bottom: Float(height))
    }
}

extension Picture {
    /// Pixels that are as many as they should be.
    fileprivate init(width: Int, height: Int, checked rgb: [UInt8]) {
        (self.width, self.height, self.rgb) = (width, height, rgb)
    }
}
