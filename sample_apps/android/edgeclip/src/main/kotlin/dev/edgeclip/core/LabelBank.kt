package dev.edgeclip.core

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.sqrt

/** How well one label fits. */
data class LabelScore(val label: String, val score: Double, val cosine: Double)

/**
 * Embeddings of labels that were computed beforehand (`edgeclip labels`), so that an app needs the image tower alone.
 *
 * The file is a safetensors file (https://github.com/huggingface/safetensors) with one tensor, `embeddings`, (N, D) F16 or F32.
 */
class LabelBank private constructor(
    val labels: List<String>,
    val templates: List<String>,
    val spaceId: String,
    val scoring: Scoring,
    private val embeddings: Array<FloatArray>,
) {
    val dim: Int get() = embeddings[0].size

    /** A label's embedding, (D) of length 1. */
    fun embedding(index: Int): FloatArray = embeddings[index].copyOf()

    /** Throws [EdgeClipException.OtherSpace] unless the labels are in [manifest]'s embedding space. */
    fun checkFits(manifest: Manifest) {
        if (spaceId != manifest.spaceId || dim != manifest.dim) {
            val wrong = "the label bank is of space $spaceId, the bundle ${manifest.model} of ${manifest.spaceId}"
            throw EdgeClipException.OtherSpace("$wrong: make it again with `edgeclip labels`")
        }
    }

    /** All labels for a picture's embedding, (D) of length 1, best first. */
    fun classify(embedding: FloatArray): List<LabelScore> {
        checkEmbedding(embedding, dim)
        val cosines = DoubleArray(labels.size) { dot(embeddings[it], embedding) }
        val scores = scoring.scores(cosines)
        return topK(scores, labels.size).map { LabelScore(labels[it], scores[it], cosines[it]) }
    }

    companion object {
        const val SCHEMA = "edgeclip.labels/1"

        /** What `edgeclip classify` puts labels into by default. */
        val TEMPLATES = listOf("{}", "a photo of {}", "a picture of {}", "an image of {}", "a drawing of {}")
        private const val MAX_BYTES = 256L shl 20
        private const val MAX_HEADER_BYTES = 64L shl 20
        private const val MAX_DIM = 1 shl 16
        private val WIDTHS = mapOf("F16" to 2, "F32" to 4)

        /** Reads a file of `edgeclip labels`. Throws [EdgeClipException.BadFile]. */
        fun read(file: File): LabelBank =
            reading(file.path, EdgeClipException::BadFile) {
                of(ByteBuffer.wrap(readBounded(file, MAX_BYTES)).order(ByteOrder.LITTLE_ENDIAN))
            }

        /**
         * A bank of labels that were not known beforehand: each the mean of its prompts' embeddings, scaled to length 1 again
         * (OpenAI CLIP, section 3.1.4). [embed]: a prompt -> (D), length 1. Throws [EdgeClipException.BadInput].
         */
        fun encode(labels: List<String>, templates: List<String>, manifest: Manifest, embed: (String) -> FloatArray): LabelBank {
            try {
                check(labels, templates)
            } catch (e: Malformed) {
                throw EdgeClipException.BadInput("labels: ${e.message}")
            }
            val rows = Array(labels.size) { row -> mean(templates.map { embed(it.replace("{}", labels[row])) }, manifest.dim) }
            return LabelBank(labels, templates, manifest.spaceId, manifest.scoring, rows)
        }

        private fun mean(embeddings: List<FloatArray>, dim: Int): FloatArray {
            embeddings.forEach { checkEmbedding(it, dim) }
            val sum = FloatArray(dim) { index -> embeddings.sumOf { it[index].toDouble() }.toFloat() }
            val length = sqrt(dot(sum, sum)).toFloat()
            if (!(length > 0)) throw EdgeClipException.BadInput("prompts whose embeddings cancel out")
            return FloatArray(dim) { sum[it] / length }
        }

        private fun check(labels: List<String>, templates: List<String>) {
            if (labels.isEmpty() || labels.any { it.isBlank() }) malformed("it needs labels, none of them blank")
            if (labels.distinct().size != labels.size) malformed("a label is there twice")
            if (templates.isEmpty() || templates.any { it.split("{}").size != 2 }) malformed("templates need {} once each")
        }

        private fun of(content: ByteBuffer): LabelBank {
            if (content.remaining() < Long.SIZE_BYTES) malformed("cut short")
            val headerSize = content.getLong()
            if (headerSize !in 2..minOf(MAX_HEADER_BYTES, content.remaining().toLong())) malformed("not a safetensors file")
            val header = Json.parseObject(ByteArray(headerSize.toInt()).also(content::get)).only("__metadata__", "embeddings")
            val metadata = header.child("__metadata__").only("schema", "space_id", "labels", "templates", "scoring")
            val schema = metadata.string("schema")
            if (schema != SCHEMA) malformed("schema is \"$schema\", and this app reads \"$SCHEMA\"")
            val labels = texts(metadata, "labels")
            val templates = texts(metadata, "templates")
            check(labels, templates)
            return LabelBank(
                labels,
                templates,
                metadata.string("space_id"),
                Scoring.of(Json.parseObject(metadata.string("scoring").encodeToByteArray())),
                rows(header.child("embeddings"), labels.size, content),
            )
        }

        private fun texts(metadata: JsonObject, key: String): List<String> {
            val values = Json.parse(metadata.string(key).encodeToByteArray()) as? List<*> ?: malformed("\"$key\" is not a list")
            return values.map { it as? String ?: malformed("\"$key\" is not a list of texts") }
        }

        private fun rows(tensor: JsonObject, count: Int, content: ByteBuffer): Array<FloatArray> {
            tensor.only("dtype", "shape", "data_offsets")
            val dtype = tensor.oneOf("dtype", *WIDTHS.keys.toTypedArray())
            val shape = tensor.ints("shape")
            if (shape.size != 2 || shape[0] != count || shape[1] !in 1..MAX_DIM) {
                malformed("$count labels, but embeddings of ${shape.toList()}")
            }
            val bytes = count.toLong() * shape[1] * WIDTHS.getValue(dtype)
            if (tensor.list("data_offsets") != listOf(0L, bytes) || content.remaining().toLong() != bytes) {
                malformed("${content.remaining()} bytes of embeddings, not $bytes")
            }
            return Array(count) { row ->
                val values = FloatArray(shape[1]) { if (dtype == "F16") halfToFloat(content.getShort()) else content.getFloat() }
                try {
                    checkEmbedding(values, values.size, "row $row")
                } catch (e: EdgeClipException.BadInput) {
                    malformed(e.message!!)
                }
                values
            }
        }
    }
}
