import XCTest

@testable import EdgeClipCore

/// What edgeclip's Python side computed, in the folder that the environment variable EDGECLIP_VECTORS names.
///
///     python -m tests.apps.vectors --out vectors && EDGECLIP_VECTORS=$PWD/vectors swift test
enum VectorFiles {
    static func folder() throws -> URL {
        guard let path = ProcessInfo.processInfo.environment["EDGECLIP_VECTORS"] else {
            throw XCTSkip("EDGECLIP_VECTORS names no folder of vectors")
        }
        return URL(fileURLWithPath: path, isDirectory: true)
    }

    /// Where what is to be compared by Python goes: EDGECLIP_OUT, or a temporary folder.
    static func out(_ path: String) throws -> URL {
        let folder = ProcessInfo.processInfo.environment["EDGECLIP_OUT"].map { URL(fileURLWithPath: $0, isDirectory: true) }
        let file = (folder ?? FileManager.default.temporaryDirectory.appendingPathComponent("edgeclip-tests"))
            .appendingPathComponent(path)
        try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        return file
    }

    static func bundle() throws -> ModelBundle {
        try ModelBundle(folder().appendingPathComponent("bundle"))
    }

    static func data(_ path: String) throws -> Data {
        try Data(contentsOf: folder().appendingPathComponent(path))
    }

    static func json(_ path: String) throws -> JSON {
        try JSON.parse(data(path))
    }

    /// The values of a file with one JSON object a line.
    static func lines(_ path: String) throws -> [JSON] {
        try data(path).split(separator: UInt8(ascii: "\n")).map { try JSON.parse($0) }
    }
}

extension JSON {
    subscript(key: String) -> JSON {
        guard case .object(let members) = self else { return .null }
        return members[key] ?? .null
    }

    var items: [JSON] {
        guard case .array(let items) = self else { return [] }
        return items
    }

    var text: String {
        guard case .string(let text) = self else { return "" }
        return text
    }

    var int: Int {
        guard case .integer(let number) = self else { return .min }
        return number
    }

    var ints: [Int] { items.map(\.int) }

    /// A section of a manifest, read as one.
    func read<T>(_ body: (inout Fields) throws -> T) throws -> T {
        try Fields.read(self, at: "", body)
    }

    var floats: [Float] { items.map { Float($0.double ?? .nan) } }

    var codePoints: CodePoints { text.unicodeScalars.map(\.value) }
}

extension String {
    init(codePoints: CodePoints) {
        self.init(String.UnicodeScalarView(codePoints.map { Unicode.Scalar($0) ?? "\u{FFFD}" }))
    }
}
