import XCTest

@testable import EdgeClipCore

final class ScoreTests: XCTestCase {
    private static let tolerance: Float = 1e-6

    func testScores() throws {
        for entry in try VectorFiles.json("scoring.json").items {
            let scoring = try entry["scoring"].read(Scoring.init(fields:))
            for (cosines, wanted) in zip(entry["cosines"].items, entry["scores"].items) {
                let found = try scoring.scores(cosines: cosines.items.compactMap(\.double))
                XCTAssertEqual(found.count, wanted.items.count)
                let largest = zip(found, wanted.floats).map { abs($0 - $1) }.max() ?? .infinity
                XCTAssertLessThanOrEqual(largest, Self.tolerance, "\(scoring)")
            }
        }
    }

    func testNothingToScoreAndBrokenEmbeddingsAreErrors() throws {
        let scoring = try JSON.object(["kind": .string("softmax"), "logit_scale": .integer(100)]).read(Scoring.init(fields:))
        XCTAssertThrowsError(try scoring.scores(cosines: [Float]()))
        XCTAssertThrowsError(try scoring.scores(cosines: [0.5, Float.nan]))
        XCTAssertThrowsError(try scoring.scores(cosines: [Float.infinity]))
    }

    func testTopK() {
        let scores: [Float] = [0.5, .nan, 0.9, 0.5, -.infinity, 0.9, 0.1]
        XCTAssertEqual(TopK.of(scores, count: 4).map(\.index), [2, 5, 0, 3])
        XCTAssertEqual(TopK.of(scores, count: 100).map(\.index), [2, 5, 0, 3, 6, 4])
        XCTAssertEqual(TopK.of(scores, count: 0).count, 0)
        XCTAssertEqual(TopK.of(scores, count: -1).count, 0)
        XCTAssertEqual(TopK.of([], count: 3).count, 0)
        var seed: UInt64 = 7
        let many = (0..<1000).map { _ -> Float in
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Float(seed >> 56)
        }
        let sorted = many.indices.sorted { many[$0] != many[$1] ? many[$0] > many[$1] : $0 < $1 }
        for count in [1, 2, 10, 999] { XCTAssertEqual(TopK.of(many, count: count).map(\.index), Array(sorted.prefix(count))) }
    }

    func testLabelBanks() throws {
        for (file, expected) in [("bank", "expected"), ("bank-f32", "expected-f32")] {
            let wanted = try VectorFiles.json("labels/\(expected).json")
            let rows = wanted["embeddings"].items.map(\.floats)
            let bank = try LabelBank(
                contentsOf: VectorFiles.folder().appendingPathComponent("labels/\(file).safetensors"), spaceID: wanted["space_id"].text,
                dim: rows[0].count)
            XCTAssertEqual(bank.labels, wanted["labels"].items.map(\.text))
            XCTAssertEqual(bank.templates, wanted["templates"].items.map(\.text))
            XCTAssertEqual(bank.scoring, try wanted["scoring"].read(Scoring.init(fields:)))
            XCTAssertEqual(rows.indices.map(bank.embedding), rows)
            let cosines = rows.map { row in Float(zip(row, rows[3]).reduce(0) { $0 + Double($1.0) * Double($1.1) }) }
            for (found, scored) in zip(try bank.scores(rows[3]), try bank.scoring.scores(cosines: cosines)) {
                XCTAssertEqual(found, scored, accuracy: 1e-5)
            }
            XCTAssertEqual(try bank.classify(rows[3], count: 1).first?.label, bank.labels[3])
            XCTAssertThrowsError(try bank.scores([1]))
        }
    }

    func testABankOfAnotherModelIsRefused() throws {
        let file = try VectorFiles.folder().appendingPathComponent("labels/bank.safetensors")
        let expected = try VectorFiles.json("labels/expected.json")
        let dim = expected["embeddings"].items[0].items.count
        XCTAssertThrowsError(try LabelBank(contentsOf: file, spaceID: "another", dim: dim)) { error in
            XCTAssertTrue("\(error)".contains("edgeclip labels"), "\(error)")
        }
        XCTAssertThrowsError(try LabelBank(contentsOf: file, spaceID: expected["space_id"].text, dim: dim + 1))
    }

    func testLabelsOfOnesOwnAreMeansOfTheirPrompts() async throws {
        let manifest = try ModelBundle(VectorFiles.folder().appendingPathComponent("bundle")).manifest
        let dim = manifest.embedding.dim
        let (along, across) = (Self.unit(0, of: dim), Self.unit(1, of: dim))
        var seen: [String] = []
        let bank = try await LabelBank(encoding: ["dog", "cat"], templates: ["{}", "a {}."], for: manifest) { prompt in
            seen.append(prompt)
            return prompt == "a dog." ? across : along
        }
        XCTAssertEqual(seen, ["dog", "a dog.", "cat", "a cat."])
        XCTAssertEqual(bank.embedding(0)[0], Float(0.5).squareRoot(), accuracy: 1e-6)
        XCTAssertEqual(bank.embedding(0)[1], Float(0.5).squareRoot(), accuracy: 1e-6)
        XCTAssertEqual(bank.embedding(1), along)
        XCTAssertEqual(try bank.classify(along, count: 2).map(\.label), ["cat", "dog"])
        XCTAssertEqual(bank.spaceID, manifest.embedding.spaceID)
        for labels in [[], ["a", " "], ["a", "a"]] {
            await Self.assertInputError { _ = try await LabelBank(encoding: labels, for: manifest) { _ in along } }
        }
        for templates in [[], ["a"], ["{} {}"]] {
            await Self.assertInputError {
                _ = try await LabelBank(encoding: ["a"], templates: templates, for: manifest) { _ in along }
            }
        }
        for wrong in [[1], along.map { _ in Float.nan }, along.map { _ in 0 }] {
            await Self.assertInputError { _ = try await LabelBank(encoding: ["a"], for: manifest) { _ in wrong } }
        }
    }

    private static func unit(_ index: Int, of dim: Int) -> [Float] {
        (0..<dim).map { $0 == index ? 1 : 0 }
    }

    private static func assertInputError(_ body: () async throws -> Void, line: UInt = #line) async {
        do {
            try await body()
            XCTFail("no error", line: line)
        } catch EdgeClipError.input {
        } catch {
            XCTFail("\(error)", line: line)
        }
    }

    func testHalfPrecision() {
        for (bits, value) in [(0x3C00, 1), (0xC000, -2), (0x0001, 5.960464477539063e-8), (0x83FF, -6.097555160522461e-5), (0x7BFF, 65504)]
            as [(UInt16, Float)]
        {
            XCTAssertEqual(SafeTensors.float(half: bits), value)
        }
        XCTAssertTrue(SafeTensors.float(half: 0x7C00).isInfinite && SafeTensors.float(half: 0x7E00).isNaN)
        XCTAssertEqual(SafeTensors.float(half: 0x8000).sign, .minus)
    }
}
