@_exported import Foundation
public typealias CFDictionary = NSDictionary
public typealias CFAllocator = NSObject
public typealias CFString = NSString
public let kCFAllocatorDefault: CFAllocator? = nil
public final class CVPixelBuffer {}
public typealias CVReturn = Int32
public let kCVReturnSuccess: CVReturn = 0
public typealias OSType = UInt32
public let kCVPixelFormatType_32BGRA: OSType = 1
public let kCVPixelBufferIOSurfacePropertiesKey: CFString = "x"
public let kCVPixelBufferPixelFormatTypeKey: CFString = "y"
public struct CVPixelBufferLockFlags: OptionSet, Sendable { public let rawValue: UInt64; public init(rawValue: UInt64) { self.rawValue = rawValue }; public static let readOnly = CVPixelBufferLockFlags(rawValue: 1) }
@discardableResult public func CVPixelBufferCreate(_ a: CFAllocator?, _ w: Int, _ h: Int, _ t: OSType, _ at: CFDictionary?, _ out: UnsafeMutablePointer<CVPixelBuffer?>) -> CVReturn { 0 }
@discardableResult public func CVPixelBufferLockBaseAddress(_ b: CVPixelBuffer, _ f: CVPixelBufferLockFlags) -> CVReturn { 0 }
@discardableResult public func CVPixelBufferUnlockBaseAddress(_ b: CVPixelBuffer, _ f: CVPixelBufferLockFlags) -> CVReturn { 0 }
public func CVPixelBufferGetBaseAddress(_ b: CVPixelBuffer) -> UnsafeMutableRawPointer? { nil }
public func CVPixelBufferGetBytesPerRow(_ b: CVPixelBuffer) -> Int { 0 }
public func CVPixelBufferGetHeight(_ b: CVPixelBuffer) -> Int { 0 }
public func CVPixelBufferGetWidth(_ b: CVPixelBuffer) -> Int { 0 }
public func CVPixelBufferGetPixelFormatType(_ b: CVPixelBuffer) -> OSType { 0 }
