import XCTest

@testable import EdgeClipCore

/// Files that are not what they say give an error each, and no trap.
final class HostileTests: XCTestCase {
    func testEveryCaseIsAnError() throws {
        let folder = try VectorFiles.folder().appendingPathComponent("hostile")
        let bundle = try VectorFiles.bundle(), labels = try VectorFiles.json("labels/expected.json")
        let cases = try VectorFiles.json("hostile/cases.json").items
        XCTAssertGreaterThan(cases.count, 100)
        for one in cases {
            let path = folder.appendingPathComponent(one["path"].text), why = "\(one["name"].text): \(one["why"].text)"
            switch one["kind"].text {
            case "manifest":
                XCTAssertThrowsError(try Self.openAndVerify(path), why) { XCTAssertTrue($0 is EdgeClipError, why) }
            case "labels":
                let dim = labels["embeddings"].items[0].items.count
                XCTAssertThrowsError(try LabelBank(contentsOf: path, spaceID: labels["space_id"].text, dim: dim), why) {
                    XCTAssertTrue($0 is EdgeClipError, why)
                }
            case "index":
                XCTAssertThrowsError(try Self.open(index: path), why) { XCTAssertTrue($0 is EdgeClipError, why) }
            case "golden":
                XCTAssertThrowsError(try GoldenFile(Data(contentsOf: path), file: path.path, manifest: bundle.manifest), why) {
                    XCTAssertTrue($0 is EdgeClipError, why)
                }
            case "tokenizer":
                XCTAssertThrowsError(try Self.tokenizer(path), why)
            case "mangled":  // whatever comes of it, it ends
                if let tokenizer = try? Self.tokenizer(path) {
                    for text in ["", "a photo of a dog", "été 日本 👩‍👩‍👧", String(repeating: "x ", count: 2000)] {
                        XCTAssertEqual(try tokenizer.ids(text).count, tokenizer.spec.contextLength, why)
                    }
                }
            case "text":
                let text = try String(contentsOf: path, encoding: .utf8)
                XCTAssertThrowsError(try bundle.tokenizer().ids(text), why) { XCTAssertTrue($0 is EdgeClipError, why) }
            default:
                XCTFail("no test of kind \(one["kind"].text)")
            }
        }
    }

    private static func openAndVerify(_ folder: URL) throws {
        let bundle = try ModelBundle(folder)
        for artifact in bundle.manifest.artifacts { _ = try bundle.verifiedURL(of: artifact) }
        for file in bundle.manifest.files { _ = try bundle.verifiedData(of: file.path, atMost: 1 << 30) }
    }

    /// With the space and the size that it states, so that these are not what is refused.
    private static func open(index folder: URL) throws {
        let stated = (try? JSON.parse(Data(contentsOf: folder.appendingPathComponent("index.json")))) ?? .null
        _ = try EmbeddingIndex(opening: folder, spaceID: stated["space_id"].text, dim: stated["dim"].int)
    }

    private static func tokenizer(_ folder: URL) throws -> any TextTokenizer {
        let content = { (name: String) in try Data(contentsOf: folder.appendingPathComponent(name)) }
        let spec = try TokenizerSpec(content("spec.json"), file: "spec.json")
        switch spec.kind {
        case .clipBpe: return try ClipBpe(vocab: content("vocab.json"), merges: content("merges.txt"), spec: spec)
        case .sentencePiece: return try SentencePiece(content("spiece.model"), spec: spec)
        }
    }
}
