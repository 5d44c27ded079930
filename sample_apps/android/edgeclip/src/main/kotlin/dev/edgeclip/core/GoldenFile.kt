package dev.edgeclip.core

import java.io.File
import java.util.Base64

/** A picture as a pixel buffer holds it, and its embedding by the torch original. [rgb]: (height, width, 3) uint8. */
class GoldenImage(val width: Int, val height: Int, val rgb: ByteArray, val embedding: FloatArray)

/** A text with its ids and its embedding by the torch original. */
class GoldenText(val text: String, val ids: IntArray, val embedding: FloatArray)

/** `golden.json`: a few inputs with known embeddings, so that an app can test itself on the device. */
class GoldenFile private constructor(
    val images: List<GoldenImage>,
    val texts: List<GoldenText>,
    private val minCosines: Map<String, Double>,
) {
    /** The cosine with the original that every embedding of an artifact has to reach. */
    fun minCosine(artifact: Artifact): Double =
        minCosines[artifact.path] ?: throw EdgeClipException.BadBundle("$NAME: says nothing of ${artifact.path}")

    companion object {
        const val NAME = "golden.json"
        const val SCHEMA = "edgeclip.golden/1"
        private const val MAX_BYTES = 64L shl 20

        /** Reads a bundle's golden file, whose hash the caller has checked. Throws [EdgeClipException.BadBundle]. */
        fun read(file: File, manifest: Manifest): GoldenFile =
            reading(file.path, EdgeClipException::BadBundle) {
                val json = Json.parseObject(readBounded(file, MAX_BYTES))
                val schema = json.string("schema")
                if (schema != SCHEMA) malformed("\"schema\" is \"$schema\", and this app reads \"$SCHEMA\"")
                json.only("schema", "images", "texts", "min_cosine")
                val images = json.children("images").map { image(it, manifest) }
                val texts = json.children("texts").map { text(it, manifest) }
                if (images.isEmpty() || texts.isEmpty()) malformed("no images or no texts")
                GoldenFile(images, texts, json.child("min_cosine").run { keys.associateWith { floor(this, it) } })
            }

        private fun floor(json: JsonObject, key: String): Double =
            json.double(key).also { if (it !in 0.0..1.0) malformed("the floor of \"$key\" is $it") }

        private fun image(json: JsonObject, manifest: Manifest): GoldenImage {
            json.only("width", "height", "rgb", "embedding")
            val size = manifest.image.size
            val width = json.int("width", size..size)
            val height = json.int("height", size..size)
            val rgb = try {
                Base64.getDecoder().decode(json.string("rgb"))
            } catch (e: IllegalArgumentException) {
                malformed("\"rgb\" is not base64")
            }
            if (rgb.size != width * height * 3) malformed("\"rgb\" has ${rgb.size} bytes, not $width x $height x 3")
            return GoldenImage(width, height, rgb, embedding(json, manifest))
        }

        private fun text(json: JsonObject, manifest: Manifest): GoldenText {
            json.only("text", "ids", "embedding")
            val ids = json.ints("ids")
            if (ids.any { it !in 0 until manifest.text.vocabSize }) malformed("\"ids\" beyond the vocabulary")
            if (ids.size != manifest.text.contextLength) malformed("\"ids\" are ${ids.size}, not ${manifest.text.contextLength}")
            return GoldenText(json.string("text"), ids, embedding(json, manifest))
        }

        private fun embedding(json: JsonObject, manifest: Manifest): FloatArray {
            val values = json.doubles("embedding")
            val embedding = FloatArray(values.size) { values[it].toFloat() }
            try {
                checkEmbedding(embedding, manifest.dim)
            } catch (e: EdgeClipException.BadInput) {
                malformed(e.message!!)
            }
            return embedding
        }
    }
}
