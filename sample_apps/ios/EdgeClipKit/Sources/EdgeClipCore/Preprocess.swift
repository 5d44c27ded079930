import Foundation

/// How a picture becomes the image tower's input. Mean and std are applied inside the converted graph, all the rest here.
///
/// The pixels equal those of edgeclip's reference, which are Pillow's and torchvision's.
public struct Preprocess: Sendable, Equatable {
    public enum Resize: String, CaseIterable, Sendable { case shortest, squash }
    public enum Crop: String, CaseIterable, Sendable { case center, none }
    public enum Color: String, CaseIterable, Sendable { case rgb = "RGB" }

    /// Both sides of the input, in pixels.
    public let size: Int
    public let resize: Resize
    public let crop: Crop
    public let interpolation: Interpolation
    public let antialias: Bool
    /// Per channel; of values in `range`. For information: see above.
    public let mean: [Double]
    public let std: [Double]
    public let color: Color
    /// What 0 and 255 become.
    public let range: [Double]

    init(fields: inout Fields) throws {
        size = try fields.integer("size", in: 8...4096)
        resize = try fields.word("resize")
        crop = try fields.word("crop")
        interpolation = try fields.word("interpolation")
        antialias = try fields.bool("antialias")
        mean = try fields.numbers("mean", count: 3)
        std = try fields.numbers("std", count: 3)
        color = try fields.optionalWord("color") ?? .rgb
        range = try fields.optionalNumbers("range", count: 2) ?? [0, 1]
        guard antialias, (resize == .shortest) == (crop == .center) else {
            throw Malformed("preprocessing with resize \(resize), crop \(crop), antialias \(antialias) is not supported")
        }
    }

    /// Longer than this many times its width, a picture is cropped before it is scaled.
    private static let longest = 8

    /// Resizes and crops a picture to `size` x `size`.
    public func pixels(of picture: Picture) -> Picture {
        let whole = Resampling.Box(width: picture.width, height: picture.height)
        if resize == .squash {
            return Resampling(interpolation, of: picture, box: whole, to: (size, size)).pixels()
        }
        // As torchvision does, the long side is truncated; and Python rounds halves to even.
        let short = min(picture.width, picture.height)
        let width = Int(Double(size * picture.width) / Double(short)), height = Int(Double(size * picture.height) / Double(short))
        let left = Int((Double(width - size) / 2).rounded(.toNearestOrEven))
        let top = Int((Double(height - size) / 2).rounded(.toNearestOrEven))
        if width * height <= Self.longest * size * size {
            return Resampling(interpolation, of: picture, box: whole, to: (width, height))
                .pixels(left: left, top: top, width: size, height: size)
        }
        // The same region in one step, equal but for rounding: the scaled picture could take gigabytes.
        let stepX = Double(picture.width) / Double(width), stepY = Double(picture.height) / Double(height)
        let box = Resampling.Box(
            left: Float(Double(left) * stepX),
            top: Float(Double(top) * stepY),
            right: Float(min(Double(left + size) * stepX, Double(picture.width))),
            bottom: Float(min(Double(top + size) * stepY, Double(picture.height))))
        return Resampling(interpolation, of: picture, box: box, to: (size, size)).pixels()
    }

    /// A picture of `size` x `size` as a tensor: [3][size][size] in `range`, one channel after the other.
    public func tensor(of picture: Picture) throws -> [Float] {
        guard picture.width == size, picture.height == size else {
            throw EdgeClipError.input("a picture of \(picture.width) x \(picture.height) pixels; the model takes \(size) x \(size)")
        }
        let (low, width) = (Float(range[0]), Float(range[1] - range[0]))
        let values = (0...255).map { low + Float($0) / 255 * width }
        let area = size * size
        return [Float](unsafeUninitializedCapacity: 3 * area) { out, count in
            picture.rgb.withUnsafeBufferPointer { rgb in
                for channel in 0..<3 {
                    for index in 0..<area { out[channel * area + index] = values[Int(rgb[3 * index + channel])] }
                }
            }
            count = 3 * area
        }
    }
}
