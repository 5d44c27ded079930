import XCTest

@testable import EdgeClipCore

final class BundleTests: XCTestCase {
    func testABundleOpensAndIsWhatItsHashesSay() throws {
        let bundle = try VectorFiles.bundle()
        for tower in Tower.allCases {
            let artifact = try XCTUnwrap(bundle.artifact(tower, target: "executorch"))
            XCTAssertEqual(artifact.method, "forward")
            XCTAssertTrue(try bundle.verifiedURL(of: artifact).path.hasSuffix(".pte"))
            XCTAssertNil(bundle.artifact(tower, target: "executorch", scheme: "none"))
        }
        for file in bundle.manifest.files {
            XCTAssertEqual(try bundle.verifiedData(of: file.path, atMost: file.sizeBytes).count, file.sizeBytes)
        }
        XCTAssertThrowsError(try bundle.verifiedData(of: "edgeclip.json", atMost: 1 << 20))
        XCTAssertThrowsError(try bundle.verifiedData(of: "golden.json", atMost: 10))
    }

    func testTheSelfTestTellsARightEncoderFromWrongOnes() async throws {
        let bundle = try VectorFiles.bundle(), golden = try bundle.golden(), tokenizer = try bundle.tokenizer()
        let test = SelfTest(manifest: bundle.manifest, golden: golden)
        let (image, text) = try (
            XCTUnwrap(bundle.artifact(.image, target: "executorch")), XCTUnwrap(bundle.artifact(.text, target: "executorch"))
        )
        let right = await test.run(Replay(golden), artifact: image)
        XCTAssertTrue(right.passed, "\(right.failures)")
        XCTAssertEqual(right.count, golden.images.count)
        XCTAssertEqual(right.milliseconds.count, golden.images.count)
        let rightText = await test.run(Replay(golden), tokenizer: tokenizer, artifact: text)
        XCTAssertTrue(rightText.passed, "\(rightText.failures)")
        for damage in [Replay.Damage.otherOrder, .nan, .zero, .short, .double, .noise] {
            let wrong = await test.run(Replay(golden, damage), artifact: image)
            XCTAssertFalse(wrong.passed, "\(damage)")
            let wrongText = await test.run(Replay(golden, damage), tokenizer: tokenizer, artifact: text)
            XCTAssertFalse(wrongText.passed, "\(damage)")
        }
    }

    func testDigests() throws {
        XCTAssertEqual(Digest.sha256(of: Data()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        XCTAssertEqual(Digest.sha256(of: Data("abc".utf8)), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        var hasher = PortableSHA256()
        for _ in 0..<1000 { hasher.update(Data(repeating: UInt8(ascii: "a"), count: 1000)) }
        XCTAssertEqual(hasher.finish(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        for (path, content) in [("b/a.txt", "one"), ("b.txt", "two"), ("B", "three")] {
            let file = folder.appendingPathComponent(path)
            try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(content.utf8).write(to: file)
        }
        let listing = ["B": "three", "b.txt": "two", "b/a.txt": "one"].sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
            .map { "\(Digest.sha256(of: Data($1.utf8)))  \($0)\n" }.joined()
        XCTAssertEqual(try Digest.sha256(of: folder), Digest.sha256(of: Data(listing.utf8)))
        try FileManager.default.createSymbolicLink(
            at: folder.appendingPathComponent("link"), withDestinationURL: folder.appendingPathComponent("B"))
        XCTAssertThrowsError(try Digest.sha256(of: folder))
    }

    func testJSON() throws {
        let read = { (text: String) in try JSON.parse(Array(text.utf8)) }
        XCTAssertEqual(
            try read(#" {"a": [1, -2.5e1, true, false, null], "b\u00e9\ud83d\ude00\/\n": "\\"} "#),
            .object(["a": .array([.integer(1), .number(-25), .bool(true), .bool(false), .null]), "bé😀/\n": .string("\\")]))
        for wrong in [
            "", "{", "[1,]", "{\"a\":1,}", "01", "1.", "1e", "-", "+1", "nul", "\"", "\"\\x\"", "\"\\ud800\"", "\"\\udc00\"", "\"\n\"", "[1] 2",
            "NaN", "1e999", "{\"a\":1,\"a\":2}", "\"\\u12\"", "{1:2}", String(repeating: "[", count: 100_000), "\"\\",
        ] {
            XCTAssertThrowsError(try read(wrong), String(wrong.prefix(20))) { XCTAssertTrue($0 is Malformed) }
        }
        XCTAssertThrowsError(try JSON.parse([0x22, 0xFF, 0x22] as [UInt8]))
        XCTAssertEqual(try read("100000000000000000000"), .number(1e20))
    }
}

/// An encoder that knows the answers, or nearly.
private struct Replay: ImageEncoder, TextEncoder {
    enum Damage { case none, otherOrder, nan, zero, short, double, noise }

    private let golden: GoldenFile
    private let damage: Damage

    init(_ golden: GoldenFile, _ damage: Damage = .none) {
        (self.golden, self.damage) = (golden, damage)
    }

    func embedding(of picture: Picture) async throws -> [Float] {
        let place = try XCTUnwrap(golden.images.firstIndex { $0.picture == picture })
        return damaged(golden.images.map(\.embedding), place)
    }

    func embedding(of ids: [Int32]) async throws -> [Float] {
        let place = try XCTUnwrap(golden.texts.firstIndex { $0.ids == ids })
        return damaged(golden.texts.map(\.embedding), place)
    }

    private func damaged(_ embeddings: [[Float]], _ place: Int) -> [Float] {
        let right = embeddings[place]
        switch damage {
        case .none: return right
        case .otherOrder: return embeddings[(place + 1) % embeddings.count]
        case .nan: return right.map { _ in .nan }
        case .zero: return right.map { _ in 0 }
        case .short: return Array(right.dropLast())
        case .double: return right.map { 2 * $0 }
        case .noise: return right.enumerated().map { $1 + ($0.isMultiple(of: 2) ? 0.02 : -0.02) }
        }
    }
}
