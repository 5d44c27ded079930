import XCTest

@testable import EdgeClipCore

/// Pixels are within 1 of 255 of the Python reference's; edgeclip compares the embeddings of what this writes to EDGECLIP_OUT.
final class ImageTests: XCTestCase {
    private static let tolerance = 1

    func testPixels() throws {
        var (pictures, largest, differing, channels) = (0, 0, 0, 0)
        for entry in try VectorFiles.json("images/index.json").items {
            let picture = try? picture(entry)
            XCTAssertEqual(picture == nil, entry["error"] != .null, entry["name"].text)
            guard let picture else { continue }
            pictures += 1
            for expected in entry["expected"].items {
                let preprocess = try expected["preprocess"].read(Preprocess.init(fields:))
                let found = preprocess.pixels(of: picture)
                XCTAssertEqual([found.width, found.height], [preprocess.size, preprocess.size])
                try Data(found.rgb).write(to: VectorFiles.out("images/\(expected["file"].text)"))
                let wanted = try VectorFiles.data("images/\(expected["file"].text)")
                let differences = zip(found.rgb, wanted).map { abs(Int($0) - Int($1)) }
                XCTAssertEqual(differences.count, wanted.count)
                XCTAssertLessThanOrEqual(differences.max() ?? 256, Self.tolerance, "\(entry["name"].text), \(preprocess)")
                largest = max(largest, differences.max() ?? 0)
                differing += differences.filter { $0 > 0 }.count
                channels += differences.count
            }
        }
        XCTAssertGreaterThanOrEqual(pictures, 200)
        print("pictures: \(pictures), largest difference \(largest) of 255, \(differing) of \(channels) channels differ")
    }

    private func picture(_ entry: JSON) throws -> Picture {
        try Picture(
            width: entry["width"].int, height: entry["height"].int, rgba: [UInt8](VectorFiles.data("images/\(entry["file"].text)")),
            orientation: entry["orientation"].int)
    }

    func testPixelsOfACameraAreTheSame() throws {
        let (width, height, padding) = (5, 3, 12)
        let rgb = (0..<width * height * 3).map { UInt8($0 * 5 % 256) }
        var bgrx = [UInt8](repeating: 77, count: height * (width * 4 + padding))
        for place in 0..<width * height {
            let start = place / width * (width * 4 + padding) + place % width * 4
            for channel in 0..<3 { bgrx[start + channel] = rgb[place * 3 + 2 - channel] }
        }
        let rgba = stride(from: 0, to: rgb.count, by: 3).flatMap { rgb[$0..<$0 + 3] + [255] }
        for orientation in 0...9 {
            let found = try bgrx.dropLast(padding).withUnsafeBytes {
                try Picture(
                    width: width, height: height, pixels: $0, bytesPerRow: width * 4 + padding, layout: .bgrx, orientation: orientation)
            }
            XCTAssertEqual(found, try Picture(width: width, height: height, rgba: rgba, orientation: orientation))
        }
        for (count, stride) in [(bgrx.count - padding - 1, width * 4 + padding), (bgrx.count, width * 4 - 1), (bgrx.count, .max), (0, 0)] {
            XCTAssertThrowsError(
                try bgrx.prefix(count).withUnsafeBytes {
                    try Picture(width: width, height: height, pixels: $0, bytesPerRow: stride, layout: .rgbx)
                })
        }
    }

    func testTensor() throws {
        let preprocess = try Self.preprocess(range: [-1, 1])
        var rgb = [UInt8](repeating: 0, count: 8 * 8 * 3)
        rgb[0...2] = [255, 51, 0]
        let tensor = try preprocess.tensor(of: Picture(width: 8, height: 8, rgb: rgb))
        XCTAssertEqual(tensor.count, 3 * 64)
        XCTAssertEqual([tensor[0], tensor[64], tensor[128], tensor[1]], [1, -0.6, -1, -1])
        XCTAssertThrowsError(try preprocess.tensor(of: Picture(width: 9, height: 8, rgb: [UInt8](repeating: 0, count: 216))))
    }

    func testWhatIsNoPictureIsRefused() {
        XCTAssertThrowsError(try Picture(width: 1, height: 4, rgb: [UInt8](repeating: 0, count: 12)))
        XCTAssertThrowsError(try Picture(width: 4, height: 4, rgb: [UInt8](repeating: 0, count: 47)))
        XCTAssertThrowsError(try Picture(width: .max, height: .max, rgb: []))
        XCTAssertThrowsError(try Picture(width: -4, height: -4, rgba: [UInt8](repeating: 0, count: 64)))
    }

    private static func preprocess(range: [Double]) throws -> Preprocess {
        let numbers: ([Double]) -> JSON = { .array($0.map(JSON.number)) }
        let fields: [String: JSON] = [
            "size": .integer(8), "resize": .string("squash"), "crop": .string("none"), "interpolation": .string("bilinear"),
            "antialias": .bool(true), "mean": numbers([0, 0, 0]), "std": numbers([1, 1, 1]), "range": numbers(range),
        ]
        return try JSON.object(fields).read(Preprocess.init(fields:))
    }
}
