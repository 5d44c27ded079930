package dev.edgeclip.core

import java.io.File
import org.junit.Assert.assertTrue
import org.junit.Assert.fail
import org.junit.Test

/** Files that are not what they say give an [EdgeClipException], whatever is wrong with them. */
class HostileTest {
    @Test fun everyCase() {
        val manifest = Vectors.manifest()
        val wrong = mutableListOf<String>()
        var count = 0
        for (case in Vectors.objects("hostile/cases.json")) {
            val path = Vectors.file("hostile/${case.string("path")}")
            val name = "${case.string("name")} (${case.string("why")})"
            val kind = case.string("kind")
            try {
                open(kind, path, manifest)
                if (kind != "mangled") wrong += "$name: no error"
            } catch (e: EdgeClipException) {
                if (e.message.isNullOrBlank() || '\n' in e.message!!) wrong += "$name: says \"${e.message}\""
            } catch (e: Throwable) {
                wrong += "$name: $e at ${e.stackTrace.firstOrNull()}"
            }
            count++
        }
        if (wrong.isNotEmpty()) fail("${wrong.size} of $count:\n" + wrong.joinToString("\n"))
        assertTrue(count > 100)
    }

    private fun open(kind: String, path: File, manifest: Manifest) {
        when (kind) {
            "manifest" -> Bundle.open(path).run {
                this.manifest.artifacts.forEach(::verified)
                this.manifest.files.forEach(::verified)
            }
            "labels" -> LabelBank.read(path)
            "index" -> EmbeddingIndex.open(path)
            "golden" -> GoldenFile.read(path, manifest)
            "tokenizer" -> tokenizer(path)
            "mangled" -> tokenizer(path).run { for (text in TEXTS) encode(text) }
            "text" -> Bundle.open(Vectors.file("bundle")).tokenizer(UnicodeTables.bundled).encode(path.readText())
            else -> fail("unknown kind $kind")
        }
    }

    private fun tokenizer(folder: File): Tokenizer {
        val spec = TokenizerSpec.of(Json.parseObject(File(folder, "spec.json").readBytes()))
        fun file(path: String) = File(folder, path.substringAfterLast('/'))
        return when (spec.tokenizer) {
            TokenizerSpec.CLIP_BPE -> ClipBpe.load(file(ClipBpe.VOCAB), file(ClipBpe.MERGES), spec)
            else -> SentencePiece.load(file(SentencePiece.MODEL), spec)
        }
    }

    private companion object {
        val TEXTS = listOf("", "a dog, running", "日本語の写真 ①ﬁ", "👩‍👩‍👧 🚀", "x".repeat(3000), "\u0000\uD800 &amp;")
    }
}
