@_exported import Foundation
@_exported import UIKit

public enum PHAuthorizationStatus: Sendable { case notDetermined, restricted, denied, authorized, limited }
public enum PHAccessLevel: Sendable { case addOnly, readWrite }
public final class PHPhotoLibrary {
    public class func requestAuthorization(for level: PHAccessLevel) async -> PHAuthorizationStatus { .authorized }
}
public enum PHAssetMediaType: Sendable { case image }
// Apple's, in place of that of Linux, which has no keys.
public final class NSSortDescriptor {
    public init(key: String?, ascending: Bool) {}
}
public final class PHFetchOptions {
    public init() {}
    public var sortDescriptors: [NSSortDescriptor]?
}
public final class PHFetchResult<Element> {
    public var count: Int { 0 }
    public func object(at index: Int) -> Element { fatalError() }
    public var firstObject: Element? { nil }
}
public final class PHAsset: Sendable {
    public var localIdentifier: String { "" }
    public class func fetchAssets(with type: PHAssetMediaType, options: PHFetchOptions?) -> PHFetchResult<PHAsset> { fatalError() }
    public class func fetchAssets(withLocalIdentifiers identifiers: [String], options: PHFetchOptions?) -> PHFetchResult<PHAsset> {
        fatalError()
    }
}
public enum PHImageRequestOptionsDeliveryMode: Sendable { case opportunistic, highQualityFormat, fastFormat }
public enum PHImageRequestOptionsResizeMode: Sendable { case none, fast, exact }
public enum PHImageContentMode: Sendable { case aspectFit, aspectFill }
public final class PHImageRequestOptions {
    public init() {}
    public var isNetworkAccessAllowed = false
    public var deliveryMode = PHImageRequestOptionsDeliveryMode.opportunistic
    public var resizeMode = PHImageRequestOptionsResizeMode.fast
}
public enum CGImagePropertyOrientation: UInt32, Sendable { case up = 1 }
public final class PHImageManager {
    public class func `default`() -> PHImageManager { fatalError() }
    @discardableResult
    public func requestImageDataAndOrientation(
        for asset: PHAsset, options: PHImageRequestOptions?,
        resultHandler: @escaping (Data?, String?, CGImagePropertyOrientation, [AnyHashable: Any]?) -> Void
    ) -> Int32 { 0 }
    @discardableResult
    public func requestImage(
        for asset: PHAsset, targetSize: CGSize, contentMode: PHImageContentMode, options: PHImageRequestOptions?,
        resultHandler: @escaping (UIImage?, [AnyHashable: Any]?) -> Void
    ) -> Int32 { 0 }
}
