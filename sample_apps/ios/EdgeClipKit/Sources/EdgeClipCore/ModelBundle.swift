import Foundation

/// A bundle on disk. Nothing of it is used before its hash was compared with the manifest's.
public struct ModelBundle: Sendable {
    public let folder: URL
    public let manifest: Manifest

    /// Reads `edgeclip.json` and sees that all artifacts are there.
    public init(_ folder: URL) throws {
        let file = folder.appendingPathComponent(Manifest.fileName)
        let data = try Files.read(file, atMost: Manifest.maxBytes, EdgeClipError.bundle)
        manifest = try Manifest(data, file: file.path)
        self.folder = folder
        for artifact in manifest.artifacts { _ = try locate(artifact.path) }
    }

    /// The first artifact of a tower that was made for a target, of a scheme where one is asked for.
    public func artifact(_ tower: Tower, target: String, scheme: String? = nil) -> Artifact? {
        manifest.artifacts.first { $0.tower == tower && $0.target == target && (scheme == nil || $0.scheme == scheme) }
    }

    /// Where an artifact is, after comparing its hash. Takes a second for each some hundred megabytes: not for the main thread.
    public func verifiedURL(of artifact: Artifact) throws -> URL {
        try verified(artifact.path, sha256: artifact.sha256)
    }

    /// The content of one of the manifest's `files`, after comparing its hash.
    public func verifiedData(of path: String, atMost limit: Int) throws -> Data {
        guard let entry = manifest.files.first(where: { $0.path == path }) else {
            throw EdgeClipError.bundle("\(folder.path): the manifest lists no \(path); convert the model again")
        }
        let url = try locate(path)
        let data = try Files.read(url, atMost: limit, EdgeClipError.bundle)
        guard Digest.sha256(of: data) == entry.sha256 else { throw Self.altered(url) }
        return data
    }

    /// The tokenizer of the text tower.
    public func tokenizer() throws -> any TextTokenizer {
        switch manifest.text.kind {
        case .clipBpe: try ClipBpe(bundle: self)
        case .sentencePiece: try SentencePiece(bundle: self)
        }
    }

    /// The inputs and embeddings for a self-test.
    public func golden() throws -> GoldenFile {
        let data = try verifiedData(of: GoldenFile.fileName, atMost: GoldenFile.maxBytes)
        return try GoldenFile(data, file: GoldenFile.fileName, manifest: manifest)
    }

    private func verified(_ path: String, sha256: String) throws -> URL {
        let url = try locate(path)
        guard try Digest.sha256(of: url) == sha256 else { throw Self.altered(url) }
        return url
    }

    private static func altered(_ url: URL) -> EdgeClipError {
        .bundle("\(url.path): content differs from the hash in \(Manifest.fileName); copy the bundle again")
    }

    /// A path of the manifest on disk. Links that lead out of the bundle are refused.
    private func locate(_ path: String) throws -> URL {
        let url = folder.appendingPathComponent(path)
        guard FileManager.default.fileExists(atPath: url.path) else {
            throw EdgeClipError.bundle("\(url.path): is missing; the manifest lists it. Copy the bundle again")
        }
        let root = folder.resolvingSymlinksInPath().path, real = url.resolvingSymlinksInPath().path
        guard real.hasPrefix(root + "/") else { throw EdgeClipError.bundle("\(url.path): leads out of the bundle") }
        return url
    }
}
