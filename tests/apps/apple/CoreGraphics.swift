@_exported import Foundation
@_exported import CoreVideo
public enum CGColorSpaceModel: Int { case rgb }
public final class CGColorSpace { public static let sRGB: CFString = "s"; public init?(name: CFString) {}; public var model: CGColorSpaceModel { .rgb }; public var supportsOutput: Bool { true } }
public final class CGImage { public var width: Int { 0 }; public var height: Int { 0 }; public var colorSpace: CGColorSpace? { nil } }
public enum CGImageAlphaInfo: UInt32 { case noneSkipLast }
public struct CGBitmapInfo: OptionSet, Sendable { public let rawValue: UInt32; public init(rawValue: UInt32) { self.rawValue = rawValue }; public static var byteOrder32Big: CGBitmapInfo { .init(rawValue: 4) } }
public final class CGColor { public init?(colorSpace: CGColorSpace, components: UnsafePointer<CGFloat>) {}; public init(gray: CGFloat, alpha: CGFloat) {} }
public enum CGInterpolationQuality { case none }
public final class CGContext { public init?(data: UnsafeMutableRawPointer?, width: Int, height: Int, bitsPerComponent: Int, bytesPerRow: Int, space: CGColorSpace, bitmapInfo: UInt32) {}
 public func setFillColor(_ c: CGColor) {}; public func fill(_ r: CGRect) {}; public var interpolationQuality: CGInterpolationQuality = .none; public func draw(_ i: CGImage, in r: CGRect) {}; public var data: UnsafeMutableRawPointer? { nil }; public var bytesPerRow: Int { 0 } }
