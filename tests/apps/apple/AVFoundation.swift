@_exported import Foundation
@_exported import UIKit

public final class CMSampleBuffer {}
public func CMSampleBufferGetImageBuffer(_ buffer: CMSampleBuffer) -> CVPixelBuffer? { nil }

public struct AVMediaType: Sendable {
    public static let video = AVMediaType()
}
public final class AVCaptureDevice: Sendable {
    public enum DeviceType: Sendable { case builtInWideAngleCamera }
    public enum Position: Sendable { case back, front }
    public class func requestAccess(for type: AVMediaType) async -> Bool { true }
    public class func `default`(_ type: DeviceType, for media: AVMediaType?, position: Position) -> AVCaptureDevice? { nil }
}
open class AVCaptureInput {
    public init() {}
}
public final class AVCaptureDeviceInput: AVCaptureInput {
    public init(device: AVCaptureDevice) throws { super.init() }
}
public final class AVCaptureConnection {
    public func isVideoRotationAngleSupported(_ angle: CGFloat) -> Bool { true }
    public var videoRotationAngle: CGFloat = 0
}
open class AVCaptureOutput {
    public init() {}
    public func connection(with type: AVMediaType) -> AVCaptureConnection? { nil }
}
public protocol AVCaptureVideoDataOutputSampleBufferDelegate: NSObjectProtocol {
    func captureOutput(_ output: AVCaptureOutput, didOutput sampleBuffer: CMSampleBuffer, from connection: AVCaptureConnection)
}
public final class AVCaptureVideoDataOutput: AVCaptureOutput {
    public override init() { super.init() }
    public var videoSettings: [String: Any]! = nil
    public var alwaysDiscardsLateVideoFrames = true
    public func setSampleBufferDelegate(_ delegate: (any AVCaptureVideoDataOutputSampleBufferDelegate)?, queue: DispatchQueue?) {}
}
public final class AVCaptureSession: @unchecked Sendable {
    public enum Preset: Sendable { case hd1280x720 }
    public init() {}
    public var sessionPreset = Preset.hd1280x720
    public func beginConfiguration() {}
    public func commitConfiguration() {}
    public func canAddInput(_ input: AVCaptureInput) -> Bool { true }
    public func canAddOutput(_ output: AVCaptureOutput) -> Bool { true }
    public func addInput(_ input: AVCaptureInput) {}
    public func addOutput(_ output: AVCaptureOutput) {}
    public func startRunning() {}
    public func stopRunning() {}
}
public enum AVLayerVideoGravity: Sendable { case resizeAspectFill }
@MainActor public final class AVCaptureVideoPreviewLayer: CALayer {
    public var session: AVCaptureSession?
    public var videoGravity = AVLayerVideoGravity.resizeAspectFill
}
