@_exported import Foundation
@_exported import CoreGraphics

@MainActor open class UIView {
    public init() {}
    open class var layerClass: AnyClass { CALayer.self }
    public var layer: CALayer { CALayer() }
}
@MainActor open class CALayer {
    public init() {}
}
public final class UIImage: Sendable {}
