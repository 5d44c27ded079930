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

    /// The order of bytes in decoded pixels: straight alpha, or a fourth byte that means nothing.
    public enum Layout: Sendable {
        case rgba, rgbx, bgrx

        fileprivate var channels: (red: Int, green: Int, blue: Int) { self == .bgrx ? (2, 1, 0) : (0, 1, 2) }
    }

    /// What a decoder gives, the way it lies in the file. Becomes what a viewer shows: alpha laid on white, turned as the EXIF
    /// orientation (1 to 8) says; others mean 1.
    ///
    /// rgba: height x width x 4
    public init(width: Int, height: Int, rgba: [UInt8], orientation: Int = 1) throws {
        try Self.check(width, height, bytes: rgba.count, channels: 4)
        self = try rgba.withUnsafeBytes { pixels in
            try Picture(
                width: width, height: height, pixels: pixels, bytesPerRow: 4 * width, layout: .rgba, orientation: orientation)
        }
    }

    /// The same from memory of a decoder or camera, whose rows are `bytesPerRow` apart.
    public init(
        width: Int, height: Int, pixels: UnsafeRawBufferPointer, bytesPerRow: Int, layout: Layout, orientation: Int = 1
    ) throws {
        try Self.check(width, height)
        guard bytesPerRow >= 4 * width, pixels.count / bytesPerRow >= height - 1,
            pixels.count - bytesPerRow * (height - 1) >= 4 * width
        else { throw EdgeClipError.input("\(pixels.count) bytes are no picture of \(width) x \(height) pixels") }
        let turn = Turn(orientation, width: width, height: height, bytesPerRow: bytesPerRow)
        let (red, green, blue) = layout.channels
        self.width = turn.width
        self.height = turn.height
        rgb = [UInt8](unsafeUninitializedCapacity: width * height * 3) { out, count in
            var place = 0
            for y in 0..<turn.height {
                var source = turn.origin + y * turn.stepY
                for _ in 0..<turn.width {
                    let alpha = layout == .rgba ? UInt32(pixels[source + 3]) : 255
                    out[place] = Self.onWhite(pixels[source + red], alpha)
                    out[place + 1] = Self.onWhite(pixels[source + green], alpha)
                    out[place + 2] = Self.onWhite(pixels[source + blue], alpha)
                    place += 3
                    source += turn.stepX
                }
            }
            count = width * height * 3
        }
    }

    /// Pillow's `alpha_composite` on opaque white, with its rounding.
    @inline(__always)
    private static func onWhite(_ value: UInt8, _ alpha: UInt32) -> UInt8 {
        if alpha == 255 { return value }
        let bits: UInt32 = 7
        let coefficient = alpha << bits
        let sum = UInt32(value) * coefficient + 255 * (255 << bits - coefficient) + 0x80 << bits
        return UInt8(truncatingIfNeeded: (sum >> 8 + sum) >> (8 + bits))
    }

    private static func check(_ width: Int, _ height: Int) throws {
        guard sides.contains(width), sides.contains(height) else {
            throw EdgeClipError.input(
                "a picture of \(width) x \(height) pixels; sides of \(sides.lowerBound) to \(sides.upperBound) are supported")
        }
    }

    private static func check(_ width: Int, _ height: Int, bytes: Int, channels: Int) throws {
        try check(width, height)
        guard bytes == width * height * channels else {
            throw EdgeClipError.input("\(bytes) bytes are no picture of \(width) x \(height) pixels in \(channels) channels")
        }
    }
}

/// Where the pixels of a turned picture are in the original: pixel (x, y) at byte `origin + x * stepX + y * stepY`.
private struct Turn {
    let width: Int
    let height: Int
    let origin: Int
    let stepX: Int
    let stepY: Int

    /// EXIF 2.32, 4.6.4, tag 0x0112: where the 0th row and the 0th column of the file are in the picture.
    init(_ orientation: Int, width: Int, height: Int, bytesPerRow: Int) {
        let pixel = 4, right = (width - 1) * 4, bottom = (height - 1) * bytesPerRow
        let isSwapped = (5...8).contains(orientation)
        (self.width, self.height) = isSwapped ? (height, width) : (width, height)
        (origin, stepX, stepY) =
            switch orientation {
            case 2: (right, -pixel, bytesPerRow)
            case 3: (right + bottom, -pixel, -bytesPerRow)
            case 4: (bottom, pixel, -bytesPerRow)
            case 5: (0, bytesPerRow, pixel)
            case 6: (bottom, -bytesPerRow, pixel)
            case 7: (right + bottom, -bytesPerRow, -pixel)
            case 8: (right, bytesPerRow, -pixel)
            default: (0, pixel, bytesPerRow)
            }
    }
}
