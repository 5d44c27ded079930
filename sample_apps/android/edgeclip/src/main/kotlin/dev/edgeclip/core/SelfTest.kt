package dev.edgeclip.core

/** What the self-test found of one tower. [worst]: the smallest cosine with the original, null where nothing was compared. */
data class TowerReport(
    val artifact: Artifact,
    val worst: Double?,
    val floor: Double,
    val samples: Int,
    val medianMs: Double,
    val failures: List<String>,
) {
    val passed: Boolean get() = failures.isEmpty() && samples > 0
}

/** Replays a bundle's golden file through the towers of this device, and its texts through the tokenizer. */
class SelfTest(private val manifest: Manifest, private val golden: GoldenFile) {
    /** [onSample] is called before every sample, with how many there are; what it throws ends the test. */
    fun image(artifact: Artifact, encoder: ImageEncoder, onSample: (Int, Int) -> Unit = { _, _ -> }): TowerReport =
        replay(artifact, golden.images, onSample) { image, failures ->
            compared(failures, "picture", image.embedding) { encoder.encode(manifest.image.tensor(image.rgb)) }
        }

    /** As [image]. A text whose ids differ fails, and is encoded by the ids that it should have. */
    fun text(
        artifact: Artifact,
        tokenizer: Tokenizer,
        encoder: TextEncoder,
        onSample: (Int, Int) -> Unit = { _, _ -> },
    ): TowerReport =
        replay(artifact, golden.texts, onSample) { text, failures ->
            if (!tokenizer.encode(text.text).contentEquals(text.ids)) failures += "other token ids for \"${text.text}\""
            compared(failures, "\"${text.text}\"", text.embedding) { encoder.encode(text.ids) }
        }

    private fun <T> replay(
        artifact: Artifact,
        samples: List<T>,
        onSample: (Int, Int) -> Unit,
        run: (T, MutableList<String>) -> Compared,
    ): TowerReport {
        val floor = golden.minCosine(artifact)
        val failures = mutableListOf<String>()
        val results = samples.mapIndexed { index, sample ->
            onSample(index, samples.size)
            val result = run(sample, failures)
            if (result.cosine != null && result.cosine < floor) {
                failures += "${result.what}: cosine ${result.cosine}, below $floor"
            }
            result
        }
        val times = results.map { it.ms }.sorted()
        val median = if (times.isEmpty()) 0.0 else times[times.size / 2]
        return TowerReport(artifact, results.mapNotNull { it.cosine }.minOrNull(), floor, samples.size, median, failures)
    }

    private class Compared(val what: String, val cosine: Double?, val ms: Double)

    private fun compared(failures: MutableList<String>, what: String, expected: FloatArray, encode: () -> FloatArray): Compared {
        val started = System.nanoTime()
        val cosine = try {
            val embedding = encode()
            checkEmbedding(embedding, manifest.dim)
            dot(embedding, expected)
        } catch (e: EdgeClipException) {
            failures += "$what: ${e.message}"
            null
        }
        return Compared(what, cosine, (System.nanoTime() - started) / 1e6)
    }
}
