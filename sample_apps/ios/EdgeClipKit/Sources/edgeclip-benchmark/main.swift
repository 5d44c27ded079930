// How long the core takes, in one thread: `swift run -c release edgeclip-benchmark VECTORS`.
//
// VECTORS: of `python -m tests.apps.vectors --out VECTORS`, from where the tokenizers come. Prints medians of warm runs, and the
// processor time of the fastest, which other work on the machine changes less.

import EdgeClipCore
import Foundation

private let (rows, dim, runs) = (100_000, 512, 15)

private func report(_ what: String, _ work: () throws -> Void) rethrows {
    try work()  // pages are read, caches are filled
    let times = try (0..<runs).map { _ in
        let started = (now(CLOCK_MONOTONIC), now(CLOCK_THREAD_CPUTIME_ID))
        try work()
        return (passed: now(CLOCK_MONOTONIC) - started.0, busy: now(CLOCK_THREAD_CPUTIME_ID) - started.1)
    }
    let (median, busy) = (times.map(\.passed).sorted()[runs / 2], times.map(\.busy).min() ?? 0)
    print("\(what): median \(String(format: "%.1f", median)) ms, processor \(String(format: "%.1f", busy)) ms")
}

/// Milliseconds of a clock.
private func now(_ clock: clockid_t) -> Double {
    var time = timespec()
    clock_gettime(clock, &time)
    return Double(time.tv_sec) * 1e3 + Double(time.tv_nsec) / 1e6
}

/// A thousand different prompts, as label banks and searches have them.
private func prompts() -> [String] {
    let templates = ["a photo of a %.", "a bad photo of the %.", "a close-up photo of my %!", "the % in a video game.", "itap of a %, outdoors"]
    let adjectives = ["small", "red", "wooden", "shiny", "old-fashioned", "dog's", "Größe 42", "20th-century", "café", "blurry"]
    let nouns = ["tench", "golden retriever", "espresso maker", "T-shirt", "piña", "iPhone 15", "acoustic guitar", "hot-air balloon"]
    let words = adjectives.flatMap { adjective in (nouns + nouns.map { "pair of \($0)s" } + nouns.map { "\($0), 2" }).map { "\(adjective) \($0)" } }
    return Array(templates.flatMap { template in words.map { template.replacingOccurrences(of: "%", with: $0) } }.prefix(1000))
}

/// The same numbers every time, from -1 to 1.
private struct Noise {
    private var state: UInt64 = 1

    mutating func row(_ count: Int) -> [Float] {
        (0..<count).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Float(Int32(truncatingIfNeeded: state >> 32)) / Float(Int32.max)
        }
    }
}

/// SentencePiece as SigLIP's, of so many pieces; bundles that tests have are CLIP's.
private func sentencePiece(_ vectors: URL, _ name: String) throws -> any TextTokenizer {
    let folder = vectors.appendingPathComponent("tokens"), file = "\(name).json"
    let spec = try TokenizerSpec(Data(contentsOf: folder.appendingPathComponent(file)), file: file)
    return try SentencePiece(Data(contentsOf: folder.appendingPathComponent("\(name)/spiece.model")), spec: spec)
}

private func tokenize(_ texts: [String], _ name: String, _ load: () throws -> any TextTokenizer) throws {
    let tokenizer = try load()
    try report("\(name): loading") { _ = try load() }
    try report("\(name): \(texts.count) prompts") { for text in texts { _ = try tokenizer.ids(text) } }
}

private func benchmark(_ vectors: URL) throws {
    let bundle = try ModelBundle(vectors.appendingPathComponent("bundle")), texts = prompts()
    try tokenize(texts, "CLIP BPE, 49408 tokens") { try bundle.tokenizer() }
    try tokenize(texts, "SentencePiece, 32000 pieces") { try sentencePiece(vectors, "sentencepiece-bytes") }

    let photo = try Picture(width: 4032, height: 3024, rgb: [UInt8](repeating: 128, count: 4032 * 3024 * 3))
    report("preprocessing a picture of 12 megapixels") { _ = bundle.manifest.image.pixels(of: photo) }
    let frame = try Picture(width: 720, height: 1280, rgb: [UInt8](repeating: 128, count: 720 * 1280 * 3))
    report("preprocessing a frame of 720 x 1280") { _ = bundle.manifest.image.pixels(of: frame) }

    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString).edgeindex")
    defer { try? FileManager.default.removeItem(at: folder) }
    var (noise, index) = (Noise(), try EmbeddingIndex.openOrCreate(folder, spaceID: "benchmark", dim: dim))
    for start in stride(from: 0, to: rows, by: 10_000) {
        try index.append((start..<start + 10_000).map { ("photo \($0)", noise.row(dim)) })
    }
    let (opened, query) = (try EmbeddingIndex(opening: folder, spaceID: "benchmark", dim: dim), noise.row(dim))
    try report("opening an index of \(rows) x \(dim)") { _ = try EmbeddingIndex(opening: folder, spaceID: "benchmark", dim: dim) }
    try report("searching \(rows) x \(dim)") { _ = try opened.search(query, count: 10) }
}

guard CommandLine.arguments.count == 2 else {
    FileHandle.standardError.write(Data("usage: edgeclip-benchmark VECTORS\n".utf8))
    exit(2)
}
do {
    try benchmark(URL(fileURLWithPath: CommandLine.arguments[1], isDirectory: true))
} catch {
    FileHandle.standardError.write(Data("error: \(error.localizedDescription)\n".utf8))
    exit(2)
}
