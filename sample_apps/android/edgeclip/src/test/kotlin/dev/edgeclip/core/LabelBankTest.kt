package dev.edgeclip.core

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
}
