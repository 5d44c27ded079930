package dev.edgeclip.core

import java.io.File

/** The tower of an artifact. */
enum class Tower { IMAGE, TEXT }

/** An input or output of an artifact. [kind] is "image" where the runtime takes a pixel buffer. */
data class TensorSpec(val name: String, val shape: List<Int>, val dtype: String, val kind: String)

/** One converted tower: a method of a file. [libraries]: of the runtime's, that an app has to link for it. */
data class Artifact(
    val tower: Tower,
    val target: String,
    val backend: String?,
    val scheme: String,
    override val path: String,
    override val sha256: String,
    override val sizeBytes: Long,
    val inputs: List<TensorSpec>,
    val outputs: List<TensorSpec>,
    val minOs: String?,
    val libraries: List<String>,
    val method: String,
    val minCosine: Double?,
) : Entry {
    /** For people: `executorch/xnnpack fp32 image`. */
    val label: String get() = listOfNotNull(target, backend).joinToString("/") + " $scheme ${tower.name.lowercase()}"
}

/** Something of the bundle whose content the manifest vouches for. */
interface Entry {
    val path: String
    val sha256: String
    val sizeBytes: Long
}

/** Any other file: tokenizer, golden embeddings, licence. */
data class FileEntry(override val path: String, override val sha256: String, override val sizeBytes: Long) : Entry

/** The licence of the weights: apps show it, and [commercialUse] may be false. */
data class Licence(val name: String, val url: String, val commercialUse: Boolean)

/** `edgeclip.json`, of which an app keeps what it needs and refuses what it does not know. */
data class Manifest(
    val model: String,
    val weightsSource: String,
    val weightsSha256: String,
    val licence: Licence,
    val image: Preprocess,
    val text: TokenizerSpec,
    val dim: Int,
    val spaceId: String,
    val scoring: Scoring,
    val artifacts: List<Artifact>,
    val golden: String,
    val files: List<FileEntry>,
) {
    companion object {
        const val FILE = "edgeclip.json"
        const val SCHEMA = "edgeclip.bundle/1"
        private const val MAX_BYTES = 4L shl 20

        /** Reads and checks a manifest file. Throws [EdgeClipException.BadBundle]. */
        fun read(file: File): Manifest =
            reading(file.path, EdgeClipException::BadBundle) {
                ManifestReader.manifest(Json.parseObject(readBounded(file, MAX_BYTES)))
            }
    }
}

/** JSON to [Manifest]. The keys are those of edgeclip's `manifest.py` and `spec.py`. */
private object ManifestReader {
    private val SHA256 = Regex("[0-9a-f]{64}")
    private val WEIGHTS = Regex("demo|seeded:[0-9]{1,9}|hub:[^/:]+/[^/:]+/.+|file:.+")
    private const val MAX_DIM = 1 shl 16
    private val ARTIFACT_KEYS = arrayOf(
        "tower", "target", "backend", "scheme", "path", "sha256", "size_bytes", "inputs", "outputs", "min_os", "seed",
        "layout", "token_table", "convention", "calibration", "min_cosine", "layers", "kept_fp32", "libraries", "passes",
        "method", "checked", "delegates", "delegated_percent", "delegated_macs_percent", "left",
    )

    fun manifest(json: JsonObject): Manifest {
        val schema = json.string("schema")
        if (schema != Manifest.SCHEMA) malformed("\"schema\" is \"$schema\", and this app reads \"${Manifest.SCHEMA}\"")
        json.only(
            "schema", "model", "weights", "image", "text", "embedding", "scoring", "artifacts", "tools", "golden", "files",
        )
        val weights = json.child("weights").only("source", "sha256", "licence")
        val licence = weights.child("licence").only("name", "url", "commercial_use")
        val embedding = json.child("embedding").only("dim", "l2_normalized", "space_id")
        if (!embedding.boolean("l2_normalized")) malformed("embeddings are not of length 1, which this app needs")
        json.child("tools")
        val manifest = Manifest(
            json.string("model"),
            weights.string("source", WEIGHTS),
            weights.string("sha256", SHA256),
            Licence(licence.string("name"), licence.string("url"), licence.boolean("commercial_use")),
            Preprocess.of(json.child("image")),
            TokenizerSpec.of(json.child("text")),
            embedding.int("dim", 1..MAX_DIM),
            embedding.string("space_id"),
            Scoring.of(json.child("scoring")),
            json.children("artifacts").map(::artifact),
            json.string("golden"),
            if (json.has("files")) json.children("files").map(::fileEntry) else emptyList(),
        )
        checkPaths(manifest)
        return manifest
    }

    private fun artifact(json: JsonObject): Artifact {
        json.only(*ARTIFACT_KEYS)
        return Artifact(
            Tower.valueOf(json.oneOf("tower", "image", "text").uppercase()),
            json.string("target"),
            json.stringOrNull("backend"),
            json.string("scheme"),
            json.string("path"),
            json.string("sha256", SHA256),
            json.long("size_bytes", 0..Long.MAX_VALUE),
            json.children("inputs").map(::tensor),
            json.children("outputs").map(::tensor),
            json.stringOrNull("min_os"),
            if (json.has("libraries")) json.strings("libraries") else emptyList(),
            json.stringOrNull("method") ?: "forward",
            json.doubleOrNull("min_cosine"),
        )
    }

    private fun tensor(json: JsonObject): TensorSpec {
        json.only("name", "shape", "dtype", "kind")
        val shape = json.ints("shape").toList()
        if (shape.any { it < 1 } || shape.size > 8) malformed("\"shape\" is $shape")
        val kind = if (json.has("kind")) json.oneOf("kind", "tensor", "image") else "tensor"
        return TensorSpec(json.string("name"), shape, json.oneOf("dtype", "float32", "float16", "int32"), kind)
    }

    private fun fileEntry(json: JsonObject): FileEntry {
        json.only("path", "sha256", "size_bytes")
        return FileEntry(json.string("path"), json.string("sha256", SHA256), json.long("size_bytes", 0..Long.MAX_VALUE))
    }

    private fun checkPaths(manifest: Manifest) {
        // Methods of one file are artifacts of their own, which agree on the file.
        val stored = manifest.artifacts.map { listOf(it.path, it.target, it.sha256, it.sizeBytes) }.distinct()
        val paths = stored.map { it[0] as String } + manifest.files.map { it.path }
        (paths + manifest.golden).forEach(::checkRelative)
        val keys = manifest.artifacts.map { listOf(it.tower, it.target, it.backend, it.scheme) }
        val methods = manifest.artifacts.map { it.path to it.method }
        if (listOf(paths, keys, methods).any { it.distinct().size != it.size }) malformed("two entries for one path or artifact")
    }

    private fun checkRelative(path: String) {
        val parts = path.split('/')
        val plain = parts.none { it.isEmpty() || it == "." || it == ".." } && path.none { it in "\\:\u0000" }
        if (!plain) malformed("path \"$path\" leaves the bundle or is not plain")
    }
}

/** A file's bytes, unless it is missing or larger than such a file ever is. */
internal fun readBounded(file: File, maxBytes: Long): ByteArray {
    if (!file.isFile) malformed("no such file")
    // The length may be that of another moment, so reading stops by itself.
    val bytes = file.inputStream().use { it.readNBytesUpTo(maxBytes + 1) }
    if (bytes.size > maxBytes) malformed("more than ${maxBytes shr 20} MB")
    return bytes
}

private fun java.io.InputStream.readNBytesUpTo(limit: Long): ByteArray {
    val out = java.io.ByteArrayOutputStream()
    val chunk = ByteArray(1 shl 16)
    while (out.size() < limit) {
        val count = read(chunk, 0, minOf(chunk.size.toLong(), limit - out.size()).toInt())
        if (count < 0) break
        out.write(chunk, 0, count)
    }
    return out.toByteArray()
}
