#if canImport(ImageIO)
import CoreGraphics
import EdgeClipCore
import Foundation
import ImageIO

extension Picture {
    /// A photo's file: JPEG, HEIC, PNG and whatever else the system decodes; orientation applied, transparency on white.
    ///
    /// Colours stay in the file's own space, as in the Python reference and in the models' training, which read no colour profiles.
    /// Of more than 25 megapixels, the decoder makes a smaller picture.
    public init(file data: Data) throws {
        guard let source = CGImageSourceCreateWithData(data as CFData, nil),
            let properties = CGImageSourceCopyPropertiesAtIndex(source, 0, nil) as? [CFString: Any],
            let width = properties[kCGImagePropertyPixelWidth] as? Int, let height = properties[kCGImagePropertyPixelHeight] as? Int
        else { throw EdgeClipError.input("not an image that this system can read") }
        guard Picture.sides.contains(width), Picture.sides.contains(height) else {
            throw EdgeClipError.input("a picture of \(width) x \(height) pixels is too small or too large")
        }
        guard let image = Self.decoded(source, width: width, height: height) else {
            throw EdgeClipError.input("an image that this system cannot decode")
        }
        try self.init(image, orientation: properties[kCGImagePropertyOrientation] as? Int ?? 1)
    }

    /// While it is read, a pixel takes 11 bytes: the decoder's 4, 4 of a canvas, 3 of the result. Phones' usual photos have 12 or 24
    /// megapixels; of 48, or in a panorama, it would be half a gigabyte.
    private static let mostPixels = 25_000_000

    private static func decoded(_ source: CGImageSource, width: Int, height: Int) -> CGImage? {
        guard width * height > mostPixels else {
            return CGImageSourceCreateImageAtIndex(source, 0, [kCGImageSourceShouldCache: false] as CFDictionary)
        }
        let scale = (Double(mostPixels) / Double(width * height)).squareRoot()
        let options: [CFString: Any] = [
            kCGImageSourceCreateThumbnailFromImageAlways: true,
            kCGImageSourceThumbnailMaxPixelSize: Int(Double(max(width, height)) * scale),
        ]
        return CGImageSourceCreateThumbnailAtIndex(source, 0, options as CFDictionary)
    }

    private init(_ image: CGImage, orientation: Int) throws {
        let (width, height) = (image.width, image.height)
        let space = image.colorSpace.flatMap { $0.model == .rgb && $0.supportsOutput ? $0 : nil } ?? CGColorSpace(name: CGColorSpace.sRGB)
        guard let space,
            let context = CGContext(
                data: nil, width: width, height: height, bitsPerComponent: 8, bytesPerRow: 0, space: space,
                bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue | CGBitmapInfo.byteOrder32Big.rawValue)
        else { throw EdgeClipError.input("a picture of \(width) x \(height) pixels does not fit into memory") }
        let whole = CGRect(x: 0, y: 0, width: width, height: height)
        context.setFillColor(CGColor(colorSpace: space, components: [1, 1, 1, 1]) ?? CGColor(gray: 1, alpha: 1))
        context.fill(whole)
        context.interpolationQuality = .none
        context.draw(image, in: whole)
        guard let pixels = context.data else { throw EdgeClipError.input("the picture cannot be drawn") }
        try self.init(
            width: width, height: height, pixels: UnsafeRawBufferPointer(start: pixels, count: context.bytesPerRow * height),
            bytesPerRow: context.bytesPerRow, layout: .rgbx, orientation: orientation)
    }
}
#endif
