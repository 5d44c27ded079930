package dev.edgeclip.core

import com.sun.management.OperatingSystemMXBean
import java.io.File
import java.lang.management.ManagementFactory
import java.nio.file.Files
import java.util.Random
import kotlin.math.sqrt

/**
 * How long a part of the Android app's core takes, for `kotlin_core.py`.
 *
 * Arguments: which part, a folder of `tests/apps/vectors.py`, how often to run it, and how many rows an index is to have.
 * Prints milliseconds: of the first run, with all of its class loading and compiling, and of its CPU time, all threads together; of
 * the second half of the runs the best, the median, and the mean of CPU time.
 */
fun main(arguments: Array<String>) {
    val (part, vectors, runs, rows) = arguments
    PARTS.getValue(part)(Options(File(vectors), runs.toInt(), rows.toInt()))
}

private class Options(val vectors: File, val runs: Int, val rows: Int)

private val PARTS: Map<String, (Options) -> Unit> = mapOf(
    "load-clip" to { options -> measure(options.runs) { clip(options) } },
    "clip" to { options -> tokenize(options, clip(options), prompts(options)) },
    "clip-scripts" to { options -> tokenize(options, clip(options), scripts(options)) },
    "sentencepiece" to { options -> tokenize(options, sentencePiece(options), prompts(options)) },
    "sentencepiece-scripts" to { options -> tokenize(options, sentencePiece(options), scripts(options)) },
    "search" to ::search,
    "picture" to ::picture,
)

private fun clip(options: Options) = ClipBpe.load(
    File(options.vectors, "tokens/clip/vocab.json"),
    File(options.vectors, "tokens/clip/merges.txt"),
    spec(options, "clip"),
)

private fun sentencePiece(options: Options) =
    SentencePiece.load(File(options.vectors, "tokens/sentencepiece/spiece.model"), spec(options, "sentencepiece"))

private fun spec(options: Options, name: String) =
    TokenizerSpec.of(Json.parseObject(File(options.vectors, "tokens/$name.json").readBytes()))

/** "a photo of a WORD WORD, WORD", of CLIP's vocabulary. */
private fun prompts(options: Options): List<String> {
    val tokens = Json.parseObject(File(options.vectors, "tokens/clip/vocab.json").readBytes()).keys
    val words = tokens.filter { it.endsWith("</w>") }.map { it.removeSuffix("</w>") }.filter { word -> word.all { it in 'a'..'z' } }
    val random = Random(0)
    fun word() = words[random.nextInt(words.size)]
    return List(1000) { "a photo of a ${word()} ${word()}, ${word()}" }
}

/** The vectors' texts of 5 to 80 characters: many scripts, emoji, mojibake and HTML. */
private fun scripts(options: Options): List<String> {
    val lines = File(options.vectors, "tokens/clip.jsonl").readLines()
    val texts = lines.map { Json.parseObject(it.encodeToByteArray()).string("text") }.filter { it.length in 5..80 }
    return texts.shuffled(Random(0)).take(1000)
}

private fun tokenize(options: Options, tokenizer: Tokenizer, texts: List<String>) {
    check(texts.size == 1000)
    measure(options.runs) { for (text in texts) tokenizer.encode(text) }
}

private fun search(options: Options) {
    val folder = Files.createTempDirectory("edgeclip").toFile()
    try {
        val random = Random(1)
        fun unit() = FloatArray(512) { random.nextGaussian().toFloat() }.let { row ->
            val length = sqrt(dot(row, row)).toFloat()
            FloatArray(row.size) { row[it] / length }
        }
        EmbeddingIndexWriter.open(folder, "benchmark", 512).use { writer ->
            repeat(options.rows) { writer.append("$it", unit()) }
            writer.commit()
        }
        val index = EmbeddingIndex.open(folder)
        val queries = List(options.runs) { unit() }.iterator()
        measure(options.runs) { check(index.search(queries.next(), 20).size == 20) }
    } finally {
        folder.deleteRecursively()
    }
}

/** 4000 x 3000 pixels to 256 x 256. */
private fun picture(options: Options) {
    val random = Random(2)
    val picture = Picture(4000, 3000, IntArray(12_000_000) { random.nextInt() or (255 shl 24) })
    val preprocess = Preprocess(256, Preprocess.Resize.SHORTEST, Preprocess.Interpolation.BILINEAR)
    measure(options.runs) { preprocess.tensor(preprocess.pixels(picture)) }
}

private fun measure(runs: Int, work: () -> Unit) {
    val system = ManagementFactory.getOperatingSystemMXBean() as OperatingSystemMXBean
    val times = DoubleArray(runs)
    val cpu = LongArray(runs + 1)
    for (run in times.indices) {
        cpu[run] = system.processCpuTime
        val started = System.nanoTime()
        work()
        times[run] = (System.nanoTime() - started) / 1e6
    }
    cpu[runs] = system.processCpuTime
    val warm = times.drop(runs / 2).sorted()
    val firstCpu = (cpu[1] - cpu[0]) / 1e6
    val warmCpu = (cpu[runs] - cpu[runs / 2]) / 1e6 / warm.size
    println(listOf(times.first(), firstCpu, warm.first(), warm[warm.size / 2], warmCpu).joinToString(" "))
}
