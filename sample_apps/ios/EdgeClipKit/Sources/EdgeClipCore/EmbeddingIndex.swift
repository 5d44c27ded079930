import Foundation

/// Embeddings on disk, to be searched: a folder `NAME.edgeindex` that grows by appending.
///
/// `index.json` says how many rows count, and is replaced last and at once: what an interrupted append left behind is ignored, and
/// overwritten by the next. `embeddings.i8` holds rows of int8, `scales.f32` what to multiply each row with, `ids.txt` a line a row.
/// A copy of this value goes on seeing the rows that it had.
public struct EmbeddingIndex: Sendable {
    public static let schema = "edgeclip.index/1"
    private static let rowsWorthACore = 8192
    private static let limits = (rows: 100_000_000, dim: 1 << 16, idBytes: 4096, indexBytes: 1 << 16)

    public let folder: URL
    public let spaceID: String
    public let dim: Int
    public private(set) var ids: [String]
    private var embeddings: Data
    private var scales: [Float]

    public struct Hit: Sendable, Equatable {
        public let id: String
        public let row: Int
        /// Cosine of the query and the stored embedding, but for rounding to int8.
        public let score: Float
    }

    public var count: Int { ids.count }

    // MARK: Opening

    /// Opens an index made for the same embeddings. spaceID: `manifest.embedding.spaceID`.
    public init(opening folder: URL, spaceID: String, dim: Int) throws {
        let header = try Header(in: folder)
        guard header.spaceID == spaceID, header.dim == dim else {
            throw EdgeClipError.store(
                "\(folder.path): holds embeddings \(header.spaceID) of \(header.dim) values, the bundle makes \(spaceID) of \(dim); "
                    + "index the pictures again")
        }
        (self.folder, self.spaceID, self.dim) = (folder, spaceID, dim)
        embeddings = try Self.map(folder, rows: header.rows, dim: dim)
        scales = try Self.readScales(folder, rows: header.rows)
        ids = try Self.readIDs(folder, rows: header.rows)
    }

    /// Opens an index, or makes an empty one where there is none.
    public static func openOrCreate(_ folder: URL, spaceID: String, dim: Int) throws -> EmbeddingIndex {
        if !FileManager.default.fileExists(atPath: folder.appendingPathComponent(Header.file).path) {
            guard (1...limits.dim).contains(dim) else { throw EdgeClipError.store("an index of \(dim) values a row") }
            do {
                try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
                for file in [Part.embeddings, Part.scales, Part.ids] { try Data().write(to: file.url(in: folder)) }
            } catch {
                throw EdgeClipError.store("\(folder.path): cannot be made (\(error.localizedDescription))")
            }
            try Header(spaceID: spaceID, dim: dim, rows: 0).write(to: folder)
        }
        return try EmbeddingIndex(opening: folder, spaceID: spaceID, dim: dim)
    }

    private enum Part: String {
        case embeddings = "embeddings.i8"
        case scales = "scales.f32"
        case ids = "ids.txt"

        func url(in folder: URL) -> URL { folder.appendingPathComponent(rawValue) }
    }

    private struct Header {
        static let file = "index.json"

        let spaceID: String
        let dim: Int
        let rows: Int

        init(spaceID: String, dim: Int, rows: Int) {
            (self.spaceID, self.dim, self.rows) = (spaceID, dim, rows)
        }

        init(in folder: URL) throws {
            let file = folder.appendingPathComponent(Self.file)
            let data = try Files.read(file, atMost: limits.indexBytes, EdgeClipError.store)
            (spaceID, dim, rows) = try Fields.read(data, of: file.path, EdgeClipError.store) { fields in
                let schema = try fields.string("schema")
                guard schema == EmbeddingIndex.schema else { throw Malformed("schema \"\(schema)\" is not \(EmbeddingIndex.schema)") }
                return (
                    try fields.string("space_id"), try fields.integer("dim", in: 1...limits.dim),
                    try fields.integer("rows", in: 0...limits.rows)
                )
            }
        }

        func write(to folder: URL) throws {
            let fields: [String: Any] = ["schema": EmbeddingIndex.schema, "space_id": spaceID, "dim": dim, "rows": rows]
            let file = folder.appendingPathComponent(Self.file)
            do {
                try JSONSerialization.data(withJSONObject: fields, options: .sortedKeys).write(to: file, options: .atomic)
            } catch {
                throw EdgeClipError.store("\(file.path): cannot be written (\(error.localizedDescription))")
            }
        }
    }

    private static func map(_ folder: URL, rows: Int, dim: Int) throws -> Data {
        let file = Part.embeddings.url(in: folder)
        guard rows > 0 else { return Data() }
        let data = try Files.read(file, atMost: .max, mapped: true, EdgeClipError.store)
        guard data.count / dim >= rows else { throw EdgeClipError.store("\(file.path): is shorter than its \(rows) rows") }
        return data
    }

    private static func readScales(_ folder: URL, rows: Int) throws -> [Float] {
        let file = Part.scales.url(in: folder)
        let data = try Files.read(file, atMost: .max, mapped: true, EdgeClipError.store)
        guard data.count / 4 >= rows else { throw EdgeClipError.store("\(file.path): is shorter than its \(rows) rows") }
        let scales = data.withUnsafeBytes { bytes in
            (0..<rows).map { Float(bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self))) }
        }
        guard scales.allSatisfy({ $0.isFinite && $0 > 0 }) else { throw EdgeClipError.store("\(file.path): a scale is not above 0") }
        return scales
    }

    private static func readIDs(_ folder: URL, rows: Int) throws -> [String] {
        let file = Part.ids.url(in: folder)
        let data = try Files.read(file, atMost: .max, mapped: true, EdgeClipError.store)
        var ids: [String] = []
        ids.reserveCapacity(rows)
        var start = data.startIndex
        while ids.count < rows {
            guard let end = data[start...].firstIndex(of: UInt8(ascii: "\n")) else {
                throw EdgeClipError.store("\(file.path): is shorter than its \(rows) rows")
            }
            guard 1...limits.idBytes ~= end - start, let id = String(bytes: data[start..<end], encoding: .utf8) else {
                throw EdgeClipError.store("\(file.path): line \(ids.count + 1) is empty, too long or not UTF-8")
            }
            ids.append(id)
            start = end + 1
        }
        return ids
    }

    // MARK: Searching

    /// The rows closest to a query, the closest first, and of equal ones the one that was added first. query: unit length.
    public func search(_ query: [Float], count: Int) throws -> [Hit] {
        guard query.count == dim else {
            throw EdgeClipError.input("a query of \(query.count) values; the index holds \(dim) a row")
        }
        guard query.allSatisfy(\.isFinite) else { throw EdgeClipError.input("the query is not finite: the model is broken") }
        // Each core takes a run of rows.
        let runs = max(1, min(ProcessInfo.processInfo.activeProcessorCount, ids.count / Self.rowsWorthACore))
        var found = [TopK](repeating: TopK(count), count: runs)
        found.withUnsafeMutableBufferPointer { found in
            embeddings.withUnsafeBytes { bytes in
                query.withUnsafeBufferPointer { query in
                    let values = bytes.bindMemory(to: Int8.self)
                    DispatchQueue.concurrentPerform(iterations: runs) { run in
                        var top = TopK(count)
                        for row in ids.count * run / runs..<ids.count * (run + 1) / runs {
                            let stored = UnsafeBufferPointer(rebasing: values[row * dim..<(row + 1) * dim])
                            top.offer(row, Vectors.dot(stored, query) * scales[row])
                        }
                        found[run] = top
                    }
                }
            }
        }
        var top = found[0]
        for others in found.dropFirst() { top.offer(others) }
        return top.best().map { Hit(id: ids[$0.index], row: $0.index, score: $0.score) }
    }

    // MARK: Appending

    /// Adds rows behind the others. All of them are in the index when this returns, or, after an error or a crash, none.
    ///
    /// One writer at a time, and an index that another one has changed meanwhile is an error; readers need not stop.
    public mutating func append(_ entries: [(id: String, embedding: [Float])]) throws {
        var rows = Data(), newScales: [Float] = [], lines = Data()
        for (id, embedding) in entries {
            guard !id.utf8.contains(UInt8(ascii: "\n")), 1...Self.limits.idBytes ~= id.utf8.count else {
                throw EdgeClipError.input("an id with a line break, or not of 1 to \(Self.limits.idBytes) bytes")
            }
            guard embedding.count == dim else {
                throw EdgeClipError.input("\(id): an embedding of \(embedding.count) values; the index holds \(dim) a row")
            }
            let (row, scale) = try Self.quantized(embedding, id: id)
            rows.append(contentsOf: row)
            newScales.append(scale)
            lines.append(contentsOf: Array(id.utf8) + [UInt8(ascii: "\n")])
        }
        guard try Header(in: folder).rows == count else {
            throw EdgeClipError.store("\(folder.path): was changed since it was opened; open it again")
        }
        guard count + entries.count <= Self.limits.rows else { throw EdgeClipError.store("\(folder.path): is full") }
        let scaleBytes = newScales.flatMap { scale in withUnsafeBytes(of: scale.bitPattern.littleEndian, Array.init) }
        try put(rows, into: .embeddings, at: count * dim)
        try put(Data(scaleBytes), into: .scales, at: count * 4)
        try put(lines, into: .ids, at: ids.reduce(0) { $0 + $1.utf8.count + 1 })
        try Header(spaceID: spaceID, dim: dim, rows: count + entries.count).write(to: folder)
        embeddings = try Self.map(folder, rows: count + entries.count, dim: dim)
        scales += newScales
        ids += entries.map(\.id)
    }

    private static func quantized(_ embedding: [Float], id: String) throws -> ([UInt8], Float) {
        let largest = embedding.reduce(0) { max($0, abs($1)) }
        let scale = largest / 127
        guard embedding.allSatisfy(\.isFinite), scale > 0 else {
            throw EdgeClipError.input("\(id): its embedding is zero or not finite")
        }
        let steps = embedding.map { min(max(($0 / scale).rounded(.toNearestOrEven), -127), 127) }
        return (steps.map { UInt8(bitPattern: Int8($0)) }, scale)
    }

    private func put(_ data: Data, into part: Part, at offset: Int) throws {
        let file = part.url(in: folder)
        do {
            let handle = try FileHandle(forWritingTo: file)
            defer { try? handle.close() }
            guard try handle.seekToEnd() >= offset else { throw EdgeClipError.store("\(file.path): is shorter than its rows") }
            try handle.truncate(atOffset: UInt64(offset))
            try handle.seek(toOffset: UInt64(offset))
            try handle.write(contentsOf: data)
            try handle.synchronize()
        } catch let error as EdgeClipError {
            throw error
        } catch {
            throw EdgeClipError.store("\(file.path): cannot be written (\(error.localizedDescription))")
        }
    }
}
