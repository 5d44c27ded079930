package dev.edgeclip.core

import kotlin.math.sqrt
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

class LabelBankTest {
    @Test fun halfPrecision() = equalsPython("bank", "expected")

    @Test fun singlePrecision() = equalsPython("bank-f32", "expected-f32")

    private fun equalsPython(file: String, expected: String) {
        val bank = LabelBank.read(Vectors.file("labels/$file.safetensors"))
        val wanted = Vectors.json("labels/$expected.json")
        assertEquals(wanted.strings("labels"), bank.labels)
        assertEquals(wanted.strings("templates"), bank.templates)
        assertEquals(wanted.string("space_id"), bank.spaceId)
        assertEquals(Scoring.of(wanted.child("scoring")), bank.scoring)
        for ((index, row) in wanted.rows("embeddings").withIndex()) assertArrayEquals(row, bank.embedding(index), 0f)
    }

    @Test fun aLabelsOwnEmbeddingScoresBest() {
        val bank = LabelBank.read(Vectors.file("labels/bank.safetensors"))
        val manifest = Vectors.manifest()
        bank.checkFits(manifest)
        for ((index, label) in bank.labels.withIndex()) {
            val ranked = bank.classify(bank.embedding(index))
            assertEquals(label, ranked.first().label)
            assertEquals(1.0, ranked.first().cosine, 1e-3)
            assertEquals(bank.labels.size, ranked.size)
        }
        assertThrows(EdgeClipException.OtherSpace::class.java) { bank.checkFits(manifest.copy(spaceId = "another")) }
    }

    @Test fun anEmbeddingThatIsNoneIsRefused() {
        val bank = LabelBank.read(Vectors.file("labels/bank.safetensors"))
        for (bad in listOf(FloatArray(bank.dim), FloatArray(bank.dim) { Float.NaN }, FloatArray(3))) {
            assertThrows(EdgeClipException.BadInput::class.java) { bank.classify(bad) }
        }
    }

    @Test fun labelsOfOnesOwnAreMeansOfTheirPrompts() {
        val manifest = Vectors.manifest().copy(dim = 2)
        val along = floatArrayOf(1f, 0f)
        val across = floatArrayOf(0f, 1f)
        val seen = mutableListOf<String>()
        val bank = LabelBank.encode(listOf("dog", "cat"), listOf("{}", "a {}."), manifest) { prompt ->
            seen += prompt
            if (prompt == "a dog.") across else along
        }
        assertEquals(listOf("dog", "a dog.", "cat", "a cat."), seen)
        assertArrayEquals(floatArrayOf(sqrt(0.5f), sqrt(0.5f)), bank.embedding(0), 1e-6f)
        assertArrayEquals(along, bank.embedding(1), 0f)
        bank.checkFits(manifest)
        assertEquals(listOf("cat", "dog"), bank.classify(along).map { it.label })
    }

    @Test fun labelsThatAreNoneAreRefused() {
        val manifest = Vectors.manifest().copy(dim = 2)
        val bad = EdgeClipException.BadInput::class.java
        val embed = { _: String -> floatArrayOf(1f, 0f) }
        for (labels in listOf(emptyList(), listOf("a", " "), listOf("a", "a"))) {
            assertThrows(bad) { LabelBank.encode(labels, LabelBank.TEMPLATES, manifest, embed) }
        }
        for (templates in listOf(emptyList(), listOf("a"), listOf("{} {}"))) {
            assertThrows(bad) { LabelBank.encode(listOf("a"), templates, manifest, embed) }
        }
        assertThrows(bad) { LabelBank.encode(listOf("a"), LabelBank.TEMPLATES, manifest) { floatArrayOf(Float.NaN, 0f) } }
        var sign = 1f
        assertThrows(bad) {
            LabelBank.encode(listOf("a"), listOf("{}", "a {}"), manifest) { floatArrayOf(sign, 0f).also { sign = -sign } }
        }
    }
}
