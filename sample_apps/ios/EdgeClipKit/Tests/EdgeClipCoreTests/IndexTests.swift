import XCTest

@testable import EdgeClipCore

final class IndexTests: XCTestCase {
    private static let space = "space of the vectors"
    private static let tolerance: Float = 1e-6

    func testSearch() throws {
        let expected = try VectorFiles.json("index/expected.json")
        let queries = expected["queries"].items.map(\.floats)
        for name in ["photos", "interrupted"] {
            let folder = try VectorFiles.folder().appendingPathComponent("index/\(name).edgeindex")
            let index = try EmbeddingIndex(opening: folder, spaceID: Self.space, dim: queries[0].count)
            for (query, top) in zip(queries, expected["top"].items) {
                let hits = try index.search(query, count: top.items.count)
                XCTAssertEqual(hits.map(\.id), top.items.map { $0["id"].text })
                for (hit, wanted) in zip(hits, top.items) {
                    XCTAssertEqual(hit.score, [wanted["score"]].compactMap(\.double).map(Float.init)[0], accuracy: Self.tolerance)
                }
            }
            XCTAssertThrowsError(try index.search([1], count: 1))
            XCTAssertThrowsError(try index.search([Float](repeating: .nan, count: index.dim), count: 1))
        }
    }

    func testAppendedRowsAreThoseThatPythonWrites() throws {
        let steps = try VectorFiles.json("index/append.json"), folder = try VectorFiles.out("appended.edgeindex")
        try? FileManager.default.removeItem(at: folder)
        var index = try EmbeddingIndex.openOrCreate(folder, spaceID: steps["space_id"].text, dim: steps["dim"].int)
        for batch in steps["batches"].items {
            try index.append(Array(zip(batch["ids"].items.map(\.text), batch["embeddings"].items.map(\.floats))))
        }
        for file in ["embeddings.i8", "scales.f32", "ids.txt"] {
            let wanted = try VectorFiles.data("index/appended.edgeindex/\(file)")
            XCTAssertEqual(try Data(contentsOf: folder.appendingPathComponent(file)), wanted, file)
        }
        let opened = try EmbeddingIndex(opening: folder, spaceID: steps["space_id"].text, dim: steps["dim"].int)
        XCTAssertEqual(opened.ids, index.ids)
    }

    func testAnInterruptedAppendLeavesNoTrace() throws {
        let folder = try Self.temporary()
        var index = try EmbeddingIndex.openOrCreate(folder, spaceID: "s", dim: 3)
        try index.append([("one", [1, 0, 0]), ("two", [0, 1, 0])])
        for file in ["embeddings.i8", "scales.f32", "ids.txt"] {
            let handle = try FileHandle(forWritingTo: folder.appendingPathComponent(file))
            try handle.seekToEnd()
            try handle.write(contentsOf: Data("garbage".utf8))
            try handle.close()
        }
        var again = try EmbeddingIndex(opening: folder, spaceID: "s", dim: 3)
        XCTAssertEqual(again.ids, ["one", "two"])
        try again.append([("three", [0, 0, 1])])
        XCTAssertEqual(try again.search([0, 0, 1], count: 1).first?.id, "three")
        XCTAssertEqual(index.ids, ["one", "two"], "a copy keeps the rows it had")
        XCTAssertEqual(try index.search([0, 0, 1], count: 5).count, 2)
        XCTAssertThrowsError(try index.append([("four", [1, 1, 0])]), "it would overwrite the third")
        XCTAssertEqual(try EmbeddingIndex(opening: folder, spaceID: "s", dim: 3).ids, ["one", "two", "three"])
    }

    func testRowsThatNoSearchWouldFindAreRefused() throws {
        let folder = try Self.temporary()
        var index = try EmbeddingIndex.openOrCreate(folder, spaceID: "s", dim: 3)
        let wrong: [(String, [Float])] = [
            ("zero", [0, 0, 0]), ("nan", [1, .nan, 0]), ("infinite", [.infinity, 0, 0]), ("short", [1, 0]), ("line\nbreak", [1, 0, 0]),
            ("", [1, 0, 0]), (String(repeating: "x", count: 5000), [1, 0, 0]),
        ]
        for entry in wrong { XCTAssertThrowsError(try index.append([("fine", [1, 0, 0]), entry]), entry.0) }
        XCTAssertEqual(try EmbeddingIndex(opening: folder, spaceID: "s", dim: 3).count, 0)
        XCTAssertEqual(try index.search([1, 0, 0], count: 3), [])
    }

    func testAnIndexOfAnotherModelIsRefused() throws {
        let folder = try Self.temporary()
        _ = try EmbeddingIndex.openOrCreate(folder, spaceID: "s", dim: 3)
        XCTAssertThrowsError(try EmbeddingIndex(opening: folder, spaceID: "t", dim: 3))
        XCTAssertThrowsError(try EmbeddingIndex.openOrCreate(folder, spaceID: "s", dim: 4))
    }

    private static func temporary() throws -> URL {
        FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString).edgeindex")
    }
}
