import Foundation

#if canImport(CryptoKit)
import CryptoKit
#endif

/// SHA-256 of files and of folders, as `edgeclip.json` states them.
enum Digest {
    private static let chunk = 1 << 20

    /// Hexadecimal SHA-256 of a file's content, or of the listing of a folder: a line `sha256  relative/path` for each file below it,
    /// sorted by path.
    static func sha256(of place: URL) throws -> String {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: place.path, isDirectory: &isFolder) else {
            throw EdgeClipError.bundle("\(place.path): is missing")
        }
        return try isFolder.boolValue ? tree(place) : file(place)
    }

    static func sha256(of content: Data) -> String {
        var hasher = Hasher256()
        hasher.update(content)
        return hasher.finish()
    }

    private static func file(_ file: URL) throws -> String {
        do {
            let handle = try FileHandle(forReadingFrom: file)
            defer { try? handle.close() }
            var hasher = Hasher256()
            while let part = try handle.read(upToCount: chunk), !part.isEmpty { hasher.update(part) }
            return hasher.finish()
        } catch {
            throw EdgeClipError.bundle("\(file.path): cannot be read (\(error.localizedDescription))")
        }
    }

    private static func tree(_ folder: URL) throws -> String {
        guard let found = FileManager.default.enumerator(atPath: folder.path) else {
            throw EdgeClipError.bundle("\(folder.path): cannot be read")
        }
        var paths: [String] = []
        for case let path as String in found {
            let kind = try? FileManager.default.attributesOfItem(atPath: folder.appendingPathComponent(path).path)[.type]
            switch kind as? FileAttributeType {
            case .some(.typeDirectory): continue
            case .some(.typeRegular): paths.append(path)
            default: throw EdgeClipError.bundle("\(folder.path)/\(path): only plain files are allowed inside an artifact")
            }
        }
        var listing = ""
        for path in paths.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
            listing += "\(try file(folder.appendingPathComponent(path)))  \(path)\n"
        }
        return sha256(of: Data(listing.utf8))
    }
}

#if canImport(CryptoKit)
private struct Hasher256 {
    private var hasher = SHA256()

    mutating func update(_ part: Data) {
        hasher.update(data: part)
    }

    func finish() -> String {
        hasher.finalize().map { String(format: "%02x", $0) }.joined()
    }
}
#else
private typealias Hasher256 = PortableSHA256
#endif
