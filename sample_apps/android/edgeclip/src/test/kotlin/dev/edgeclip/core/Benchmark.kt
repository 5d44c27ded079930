package dev.edgeclip.core

import java.io.File
import java.nio.file.Files
import java.util.Random
import kotlin.math.sqrt

/**
 * How long the core takes where this runs, which on a phone is several times as long; not a test.
 *
 *     java -cp CLASSES dev.edgeclip.core.BenchmarkKt VECTORS
 *
 * VECTORS: of `python -m tests.apps.vectors`. Prints the smallest and the median of repeated runs, after warming up.
 */
fun main(arguments: Array<String>) {
    val vectors = File(arguments.single())
    tokenizers(vectors)
    searches()
    pictures()
}

private fun tokenizers(vectors: File) {
    val random = Random(0)
    val texts = File(vectors, "tokens/clip.jsonl").readLines().map { Json.parseObject(it.encodeToByteArray()).string("text") }
    val prompts = texts.filter { it.length in 5..80 }.shuffled(random).take(1000)
    val clip = ClipBpe.load(
        File(vectors, "tokens/clip/vocab.json"),
        File(vectors, "tokens/clip/merges.txt"),
        TokenizerSpec.of(Json.parseObject(File(vectors, "tokens/clip.json").readBytes())),
    )
    val pieces = SentencePiece.load(
        File(vectors, "tokens/sentencepiece/spiece.model"),
        TokenizerSpec.of(Json.parseObject(File(vectors, "tokens/sentencepiece.json").readBytes())),
    )
    measure("CLIP BPE, 1,000 prompts") { for (prompt in prompts) clip.encode(prompt) }
    measure("SentencePiece, 1,000 prompts") { for (prompt in prompts) pieces.encode(prompt) }
}

private fun searches() {
    val folder = Files.createTempDirectory("edgeclip").toFile()
    try {
        val random = Random(1)
        fun unit() = FloatArray(512) { random.nextGaussian().toFloat() }.let { row ->
            val length = sqrt(dot(row, row)).toFloat()
            FloatArray(row.size) { row[it] / length }
        }
        EmbeddingIndexWriter.open(folder, "benchmark", 512).use { writer ->
            repeat(100_000) { writer.append("$it", unit()) }
            writer.commit()
        }
        val index = EmbeddingIndex.open(folder)
        val query = unit()
        measure("search, 100,000 x 512, best 20") { index.search(query, 20) }
    } finally {
        folder.deleteRecursively()
    }
}

private fun pictures() {
    val random = Random(2)
    val picture = Picture(4000, 3000, IntArray(12_000_000) { random.nextInt() or (255 shl 24) })
    val preprocess = Preprocess(256, Preprocess.Resize.SHORTEST, Preprocess.Interpolation.BILINEAR)
    measure("4000 x 3000 pixels to 256 x 256") { preprocess.tensor(preprocess.pixels(picture)) }
}

private fun measure(what: String, runs: Int = 40, work: () -> Unit) {
    val times = DoubleArray(runs) {
        val started = System.nanoTime()
        work()
        (System.nanoTime() - started) / 1e6
    }
    val warm = times.drop(runs / 2).sorted()
    println("%-34s %7.1f ms, median %.1f".format(what, warm.first(), warm[warm.size / 2]))
}
