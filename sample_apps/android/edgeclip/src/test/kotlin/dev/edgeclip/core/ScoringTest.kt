package dev.edgeclip.core

import kotlin.math.abs
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

class ScoringTest {
    private val softmax = Scoring(Scoring.Kind.SOFTMAX, 100.0)

    @Test fun scoresArePythons() {
        for (case in Vectors.objects("scoring.json")) {
            val scoring = Scoring.of(case.child("scoring"))
            // The cosines of the vectors have more digits than a float.
            val cosines = case.list("cosines").map { row -> (row as List<*>).map { it as Double } }
            val wanted = case.list("scores").map { row -> (row as List<*>).map { (it as Number).toDouble() } }
            for ((row, scores) in cosines.zip(wanted)) {
                assertArrayEquals(scores.toDoubleArray(), scoring.scores(row.toDoubleArray()), 1e-6)
            }
        }
    }

    @Test fun noLabelsAndNotANumberAreErrors() {
        assertThrows(EdgeClipException.BadInput::class.java) { softmax.scores(DoubleArray(0)) }
        assertThrows(EdgeClipException.BadInput::class.java) { softmax.scores(doubleArrayOf(0.5, Double.NaN)) }
    }

    @Test fun theBestComeFirstAndTheLowerOfEqualOnes() {
        val scores = DoubleArray(1000) { ((it * 7919) % 101).toDouble() }
        val all = scores.indices.sortedWith(compareBy({ -scores[it] }, { it })).toIntArray()
        for (k in listOf(1, 2, 17, 999, 1000)) assertArrayEquals(all.copyOf(k), topK(scores, k))
        assertArrayEquals(all, topK(scores, 5000))
        assertEquals(0, topK(DoubleArray(0), 3).size)
        assertThrows(EdgeClipException.BadInput::class.java) { topK(scores, 0) }
        assertThrows(EdgeClipException.BadInput::class.java) { topK(doubleArrayOf(1.0, Double.NaN), 1) }
    }

    @Test fun halvesAreExact() {
        for (bits in 0..0xffff) {
            val value = halfToFloat(bits.toShort())
            val exponent = bits shr 10 and 31
            if (exponent == 31) continue
            val fraction = (bits and 1023) / 1024.0
            val magnitude = if (exponent == 0) Math.scalb(fraction, -14) else Math.scalb(1 + fraction, exponent - 15)
            assertEquals(magnitude, abs(value).toDouble(), 0.0)
            if (magnitude != 0.0) assertEquals(bits shr 15 == 1, value < 0)
        }
        assertEquals(Float.POSITIVE_INFINITY, halfToFloat(0x7c00))
        assertEquals(true, halfToFloat(0x7e00).isNaN())
    }
}
