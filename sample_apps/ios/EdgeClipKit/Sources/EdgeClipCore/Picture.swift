import Foundation

/// 8-bit RGB pixels, row by row.
public struct Picture: Sendable, Equatable {
    /// In pixels. No GPU texture of iOS devices is larger (Metal Feature Set Tables), and a line is no picture.
    public static let sides = 2...16_384

    public let width: Int
    public let height: Int
    /// height x width x 3
    public let rgb: [UInt8]

    public init(width: Int, height: Int, rgb: [UInt8]) throws {
        try Self.check(width, height, bytes: rgb.count, channels: 3)
        (self.width, self.height, self.rgb) = (width, height, rgb)
    }

    /// What a decoder gives: straight alpha, the way it lies in the file. Becomes what a viewer shows: alpha laid on white, turned as
    /// the EXIF orientation (1 to 8) says; others mean 1.
    ///
    /// rgba: height x width x 4
    public init(width: Int, height: Int, rgba: [UInt8], orientation: Int = 1) throws {
        try Self.check(width, height, bytes: rgba.count, channels: 4)
        let turn = Turn(orientation, width: width, height: height)
        self.width = turn.width
        self.height = turn.height
        rgb = [UInt8](unsafeUninitializedCapacity: width * height * 3) { out, count in
            rgba.withUnsafeBufferPointer { pixels in
                var place = 0
                for y in 0..<turn.height {
                    for x in 0..<turn.width {
                        let source = 4 * (turn.origin + x * turn.stepX + y * turn.stepY)
                        let alpha = UInt32(pixels[source + 3])
                        for channel in 0..<3 { out[place + channel] = Self.onWhite(pixels[source + channel], alpha) }
                        place += 3
                    }
                }
            }
            count = width * height * 3
        }
    }

    /// Pillow's `alpha_composite` on opaque white, with its rounding.
    private static func onWhite(_ value: UInt8, _ alpha: UInt32) -> UInt8 {
        let bits: UInt32 = 7
        let coefficient = alpha << bits
        let sum = UInt32(value) * coefficient + 255 * (255 << bits - coefficient) + 0x80 << bits
        return UInt8(truncatingIfNeeded: (sum >> 8 + sum) >> (8 + bits))
    }

    private static func check(_ width: Int, _ height: Int, bytes: Int, channels: Int) throws {
        guard sides.contains(width), sides.contains(height) else {
            throw EdgeClipError.input(
                "a picture of \(width) x \(height) pixels; sides of \(sides.lowerBound) to \(sides.upperBound) are supported")
        }
        guard bytes == width * height * channels else {
            throw EdgeClipError.input("\(bytes) bytes are no picture of \(width) x \(height) pixels in \(channels) channels")
        }
    }
}

/// Where the pixels of a turned picture are in the original: pixel (x, y) at `origin + x * stepX + y * stepY`.
private struct Turn {
    let width: Int
    let height: Int
    let origin: Int
    let stepX: Int
    let stepY: Int

    /// EXIF 2.32, 4.6.4, tag 0x0112: where the 0th row and the 0th column of the file are in the picture.
    init(_ orientation: Int, width: Int, height: Int) {
        let (right, bottom) = (width - 1, (height - 1) * width)
        let isSwapped = (5...8).contains(orientation)
        (self.width, self.height) = isSwapped ? (height, width) : (width, height)
        (origin, stepX, stepY) =
            switch orientation {
            case 2: (right, -1, width)
            case 3: (right + bottom, -1, -width)
            case 4: (bottom, 1, -width)
            case 5: (0, width, 1)
            case 6: (bottom, -width, 1)
            case 7: (right + bottom, -width, -1)
            case 8: (right, width, -1)
            default: (0, 1, width)
            }
    }
}
