@preconcurrency import AVFoundation
import EdgeClipCore
import EdgeClipKit
import SwiftUI

/// The back camera. It runs while somebody asks for frames; those that come while one is being worked on are dropped.
final class Camera: NSObject, @unchecked Sendable {
    /// One frame, upright.
    struct Frame: @unchecked Sendable {  // nobody writes to it
        fileprivate let buffer: CVPixelBuffer

        func picture() throws -> Picture {
            try Picture(buffer)
        }
    }

    let session = AVCaptureSession()
    private let queue = DispatchQueue(label: "dev.edgeclip.camera")  // of everything below
    private var isConfigured = false
    private var current: (turn: UUID, frames: AsyncStream<Frame>.Continuation)?

    /// Asks for permission the first time. Throws in words for the user.
    func prepare() async throws {
        guard await AVCaptureDevice.requestAccess(for: .video) else {
            throw EdgeClipError.input("The app may not use the camera. Allow it in Settings, or choose a photo.")
        }
        try await withCheckedThrowingContinuation { (done: CheckedContinuation<Void, any Error>) in
            queue.async { done.resume(with: Result { try self.configure() }) }
        }
    }

    /// Frames until the task that asks for them is cancelled, or another one asks.
    func frames() -> AsyncStream<Frame> {
        AsyncStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
            let turn = UUID()
            continuation.onTermination = { _ in self.queue.async { self.end(turn) } }
            queue.async { self.begin(turn, continuation) }
        }
    }

    private func begin(_ turn: UUID, _ frames: AsyncStream<Frame>.Continuation) {
        let previous = current
        current = (turn, frames)
        previous?.frames.finish()
        session.startRunning()
    }

    /// An earlier turn's end does not stop a later one.
    private func end(_ turn: UUID) {
        guard current?.turn == turn else { return }
        current = nil
        session.stopRunning()
    }

    private func configure() throws {
        guard !isConfigured else { return }
        guard let device = AVCaptureDevice.default(.builtInWideAngleCamera, for: .video, position: .back) else {
            throw EdgeClipError.input("There is no camera here. Choose a photo.")
        }
        let input = try AVCaptureDeviceInput(device: device), output = AVCaptureVideoDataOutput()
        output.videoSettings = [kCVPixelBufferPixelFormatTypeKey as String: kCVPixelFormatType_32BGRA]
        output.alwaysDiscardsLateVideoFrames = true
        output.setSampleBufferDelegate(self, queue: queue)
        session.beginConfiguration()
        defer { session.commitConfiguration() }
        session.sessionPreset = .hd1280x720
        guard session.canAddInput(input), session.canAddOutput(output) else {
            throw EdgeClipError.input("The camera is in use, or cannot be used.")
        }
        session.addInput(input)
        session.addOutput(output)
        if let connection = output.connection(with: .video), connection.isVideoRotationAngleSupported(90) {
            connection.videoRotationAngle = 90  // upright in portrait
        }
        isConfigured = true
    }
}

extension Camera: AVCaptureVideoDataOutputSampleBufferDelegate {
    func captureOutput(_ output: AVCaptureOutput, didOutput sampleBuffer: CMSampleBuffer, from connection: AVCaptureConnection) {
        guard let buffer = CMSampleBufferGetImageBuffer(sampleBuffer) else { return }
        current?.frames.yield(Frame(buffer: buffer))
    }
}

/// What the camera sees.
struct CameraPreview: UIViewRepresentable {
    let session: AVCaptureSession

    final class PreviewView: UIView {
        override class var layerClass: AnyClass { AVCaptureVideoPreviewLayer.self }
    }

    func makeUIView(context: Context) -> PreviewView {
        let view = PreviewView()
        if let layer = view.layer as? AVCaptureVideoPreviewLayer {
            layer.session = session
            layer.videoGravity = .resizeAspectFill
        }
        return view
    }

    func updateUIView(_ view: PreviewView, context: Context) {}
}
