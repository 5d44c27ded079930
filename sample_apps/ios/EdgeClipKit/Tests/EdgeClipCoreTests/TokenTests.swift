import XCTest

@testable import EdgeClipCore

/// Token ids equal the Python reference's, for every text.
final class TokenTests: XCTestCase {
    private static let leastTexts = 10_000

    func testClipBpe() throws {
        let tokenizer = try ClipBpe(
            vocab: VectorFiles.data("tokens/clip/vocab.json"), merges: VectorFiles.data("tokens/clip/merges.txt"), spec: spec("clip"))
        try compare("clip", tokenizer, tokenizer.encode)
    }

    func testSentencePiece() throws {
        for name in ["sentencepiece", "sentencepiece-bytes"] {
            let tokenizer = try SentencePiece(VectorFiles.data("tokens/\(name)/spiece.model"), spec: spec(name))
            try compare(name, tokenizer, tokenizer.encode)
        }
    }

    func testEveryStepOfCleaning() throws {
        let cleaning = TextCleaning(try UnicodeTables.shared())
        let steps: [(String, (CodePoints) -> CodePoints)] = [
            ("ftfy", cleaning.repaired), ("unescaped", { cleaning.unescaped(cleaning.repaired($0)) }), ("lower", cleaning.lower),
            ("canonicalize", cleaning.canonicalized),
        ]
        for line in try VectorFiles.lines("cleaning.jsonl") {
            for (name, step) in steps {
                let found = step(line["text"].codePoints)
                guard found != line[name].codePoints else { continue }
                XCTFail("\(name) of \(line["text"].text.debugDescription): \(found), not \(line[name].codePoints)")
                return
            }
        }
    }

    func testTextsBeyondTheLimitAreRefused() throws {
        let tokenizer = try ClipBpe(
            vocab: VectorFiles.data("tokens/clip/vocab.json"), merges: VectorFiles.data("tokens/clip/merges.txt"), spec: spec("clip"))
        XCTAssertEqual(try tokenizer.ids(String(repeating: "é", count: 100_000)).count, 77)
        XCTAssertThrowsError(try tokenizer.ids(String(repeating: "a", count: 100_001))) { error in
            guard case EdgeClipError.input = error else { return XCTFail("\(error)") }
        }
    }

    private func spec(_ name: String) throws -> TokenizerSpec {
        try TokenizerSpec(VectorFiles.data("tokens/\(name).json"), file: name)
    }

    private func compare(_ name: String, _ tokenizer: some TextTokenizer, _ encode: (CodePoints) -> [Int32]) throws {
        let lines = try VectorFiles.lines("tokens/\(name).jsonl")
        XCTAssertGreaterThanOrEqual(lines.count, Self.leastTexts)
        var differing: [String] = []
        for line in lines where try tokenizer.ids(line["text"].text).map(Int.init) != line["ids"].ints {
            differing.append(line["text"].text)
        }
        // Strings of 16-bit units can hold lone surrogates.
        for line in try VectorFiles.lines("utf16/\(name).jsonl") {
            let text = Self.codePoints(utf16: line["utf16"].ints)
            if tokenizer.spec.framed(encode(text)).map(Int.init) != line["ids"].ints { differing.append("\(text)") }
        }
        XCTAssertEqual(differing.count, 0, "\(name): such as \(differing.prefix(5).map { $0.prefix(80).debugDescription })")
    }

    private static func codePoints(utf16 units: [Int]) -> CodePoints {
        var codes: CodePoints = []
        for unit in units.map(UInt32.init) {
            if let last = codes.last, 0xD800...0xDBFF ~= last, 0xDC00...0xDFFF ~= unit {
                codes[codes.count - 1] = 0x10000 + (last - 0xD800) << 10 + (unit - 0xDC00)
            } else {
                codes.append(unit)
            }
        }
        return codes
    }
}
