import Foundation

/// Reading untrusted files: how large one is is known before it is read.
enum Files {
    /// The size in bytes of a file, or nil where there is none.
    static func size(_ file: URL) -> Int? {
        guard let attributes = try? FileManager.default.attributesOfItem(atPath: file.resolvingSymlinksInPath().path),
            attributes[.type] as? FileAttributeType == .typeRegular
        else { return nil }
        return (attributes[.size] as? NSNumber)?.intValue
    }

    /// The content of a file of at most `limit` bytes. mapped: the system reads it page by page, when it is used.
    static func read(_ file: URL, atMost limit: Int, mapped: Bool = false, _ kind: (String) -> EdgeClipError) throws -> Data {
        guard let size = size(file) else { throw kind("\(file.path): there is no such file") }
        guard size <= limit else { throw kind("\(file.path): \(size) bytes, more than any file of its kind") }
        do {
            return try Data(contentsOf: file, options: mapped ? .alwaysMapped : [])
        } catch {
            throw kind("\(file.path): cannot be read (\(error.localizedDescription))")
        }
    }
}
