#if canImport(CoreVideo)
import CoreVideo
import EdgeClipCore

extension Picture {
    /// The picture as Core ML's image inputs take it: 32 bits a pixel, BGRA.
    func pixelBuffer() throws -> CVPixelBuffer {
        let attributes = [kCVPixelBufferIOSurfacePropertiesKey: [String: String]()] as CFDictionary
        var made: CVPixelBuffer?
        CVPixelBufferCreate(kCFAllocatorDefault, width, height, kCVPixelFormatType_32BGRA, attributes, &made)
        guard let buffer = made, CVPixelBufferLockBaseAddress(buffer, []) == kCVReturnSuccess else {
            throw EdgeClipError.runtime("no pixel buffer of \(width) x \(height) pixels could be made")
        }
        defer { CVPixelBufferUnlockBaseAddress(buffer, []) }
        guard let base = CVPixelBufferGetBaseAddress(buffer) else { throw EdgeClipError.runtime("a pixel buffer has no memory") }
        let bytesPerRow = CVPixelBufferGetBytesPerRow(buffer)
        rgb.withUnsafeBufferPointer { pixels in
            for y in 0..<height {
                let row = (base + y * bytesPerRow).assumingMemoryBound(to: UInt8.self)
                for x in 0..<width {
                    let pixel = (y * width + x) * 3
                    row[4 * x] = pixels[pixel + 2]
                    row[4 * x + 1] = pixels[pixel + 1]
                    row[4 * x + 2] = pixels[pixel]
                    row[4 * x + 3] = 255
                }
            }
        }
        return buffer
    }

    /// A camera's frame. It has to be of format `kCVPixelFormatType_32BGRA`.
    public init(_ frame: CVPixelBuffer) throws {
        guard CVPixelBufferGetPixelFormatType(frame) == kCVPixelFormatType_32BGRA else {
            throw EdgeClipError.input("the frame is not in format 32BGRA")
        }
        guard CVPixelBufferLockBaseAddress(frame, .readOnly) == kCVReturnSuccess else {
            throw EdgeClipError.input("the frame cannot be read")
        }
        defer { CVPixelBufferUnlockBaseAddress(frame, .readOnly) }
        let (height, bytesPerRow) = (CVPixelBufferGetHeight(frame), CVPixelBufferGetBytesPerRow(frame))
        guard let base = CVPixelBufferGetBaseAddress(frame) else { throw EdgeClipError.input("the frame has no memory") }
        try self.init(
            width: CVPixelBufferGetWidth(frame), height: height,
            pixels: UnsafeRawBufferPointer(start: base, count: bytesPerRow * height), bytesPerRow: bytesPerRow, layout: .bgrx)
    }
}
#endif
