package dev.edgeclip.core

import java.io.File
import java.io.IOException
import java.security.MessageDigest

/** An opened bundle. Nothing of it is trusted until [verified] has checked its hash. */
class Bundle private constructor(val folder: File, val manifest: Manifest) {
    companion object {
        /** Reads the manifest of a bundle folder. Throws [EdgeClipException.BadBundle]. */
        fun open(folder: File): Bundle = Bundle(folder, Manifest.read(File(folder, Manifest.FILE)))
    }

    /** The file of an entry, whose content has the size and hash that the manifest states. Reads all of it. */
    fun verified(entry: Entry): File =
        reading(File(folder, entry.path).path, EdgeClipException::BadBundle) {
            val file = File(folder, entry.path)
            if (!file.canonicalFile.startsWith(folder.canonicalFile)) malformed("leaves the bundle")
            if (!file.isFile) malformed("missing; the manifest lists it")
            if (file.length() != entry.sizeBytes) malformed("${file.length()} bytes; the manifest says ${entry.sizeBytes}")
            if (sha256(file) != entry.sha256) malformed("content differs from the hash in ${Manifest.FILE}")
            file
        }

    /** As [verified], for one of the manifest's files by its path. */
    fun verifiedFile(path: String): File {
        val entry = manifest.files.find { it.path == path }
            ?: throw EdgeClipException.BadBundle("${File(folder, Manifest.FILE)}: lists no file \"$path\"")
        return verified(entry)
    }

    /** The artifact of a tower for a target, the first backend of [backends] that there is one for. */
    fun artifact(tower: Tower, target: String, backends: List<String>): Artifact {
        val candidates = manifest.artifacts.filter { it.tower == tower && it.target == target }
        return backends.firstNotNullOfOrNull { backend -> candidates.find { it.backend == backend } }
            ?: throw EdgeClipException.BadBundle(
                "$folder: has no ${tower.name.lowercase()} tower for $target on ${backends.joinToString(" or ")}",
            )
    }

    /** The tokenizer that the manifest names, from the bundle's files. */
    fun tokenizer(tables: UnicodeTables): Tokenizer {
        val spec = manifest.text
        return when (spec.tokenizer) {
            TokenizerSpec.CLIP_BPE -> ClipBpe.load(verifiedFile(ClipBpe.VOCAB), verifiedFile(ClipBpe.MERGES), spec, tables)
            else -> SentencePiece.load(verifiedFile(SentencePiece.MODEL), spec, tables)
        }
    }

    /** The inputs with known embeddings, for [SelfTest]. */
    fun golden(): GoldenFile = GoldenFile.read(verifiedFile(GoldenFile.NAME), manifest)
}

@Throws(IOException::class)
private fun sha256(file: File): String {
    val digest = MessageDigest.getInstance("SHA-256")
    file.inputStream().use { stream ->
        val chunk = ByteArray(1 shl 16)
        while (true) {
            val count = stream.read(chunk)
            if (count < 0) break
            digest.update(chunk, 0, count)
        }
    }
    return digest.digest().joinToString("") { "%02x".format(it) }
}
