import EdgeClipCore
import EdgeClipKit
import Photos
import UIKit

/// The user's photos, by their local identifiers.
enum PhotoLibrary {
    /// Throws in words for the user where the photos may not be read.
    static func askForAccess() async throws {
        let status = await PHPhotoLibrary.requestAuthorization(for: .readWrite)
        guard status == .authorized || status == .limited else {
            throw EdgeClipError.input("The app may not read your photos. Allow it in Settings.")
        }
    }

    /// All photos, the newest first.
    static func identifiers() -> [String] {
        let options = PHFetchOptions()
        options.sortDescriptors = [NSSortDescriptor(key: "creationDate", ascending: false)]
        let found = PHAsset.fetchAssets(with: .image, options: options)
        return (0..<found.count).map { found.object(at: $0).localIdentifier }
    }

    /// A photo as it is in the library, from iCloud where it is not on the phone.
    static func picture(_ identifier: String) async throws -> Picture {
        guard let asset = asset(identifier) else { throw EdgeClipError.input("The photo is no longer there.") }
        let options = PHImageRequestOptions()
        options.isNetworkAccessAllowed = true
        options.deliveryMode = .highQualityFormat
        let file: Data? = await withCheckedContinuation { done in
            PHImageManager.default().requestImageDataAndOrientation(for: asset, options: options) { data, _, _, _ in
                done.resume(returning: data)
            }
        }
        guard let file else { throw EdgeClipError.input("The photo could not be read.") }
        return try Picture(file: file)
    }

    /// A small picture to show, nil where the photo is gone.
    static func thumbnail(_ identifier: String, side: CGFloat) async -> UIImage? {
        guard let asset = asset(identifier) else { return nil }
        let options = PHImageRequestOptions()
        options.isNetworkAccessAllowed = true
        options.deliveryMode = .highQualityFormat  // with it, the handler is called once
        options.resizeMode = .fast
        let size = CGSize(width: side, height: side)
        return await withCheckedContinuation { done in
            PHImageManager.default().requestImage(for: asset, targetSize: size, contentMode: .aspectFill, options: options) { image, _ in
                done.resume(returning: image)
            }
        }
    }

    private static func asset(_ identifier: String) -> PHAsset? {
        PHAsset.fetchAssets(withLocalIdentifiers: [identifier], options: nil).firstObject
    }
}
