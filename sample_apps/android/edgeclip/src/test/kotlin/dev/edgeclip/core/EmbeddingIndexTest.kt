package dev.edgeclip.core

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.Random
import kotlin.math.sqrt
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class EmbeddingIndexTest {
    @get:Rule val temporary = TemporaryFolder()

    @Test fun whatPythonFinds() = finds("photos")

    @Test fun theRestOfAnInterruptedAppendIsNotSeen() = finds("interrupted")

    private fun finds(name: String) {
        val index = EmbeddingIndex.open(Vectors.file("index/$name.edgeindex"))
        val expected = Vectors.json("index/expected.json")
        val tops = expected.list("top").map { top -> (top as List<*>).map { JsonObject.of(it, "a hit") } }
        for ((query, top) in expected.rows("queries").zip(tops)) {
            val hits = index.search(query, top.size)
            assertEquals(top.map { it.string("id") }, hits.map { it.id })
            for ((hit, wanted) in hits.zip(top)) assertEquals(wanted.double("score"), hit.score.toDouble(), 1e-6)
        }
    }

    @Test fun whatIsAppendedIsWhatPythonAppends() {
        val wanted = Vectors.json("index/append.json")
        val folder = Vectors.out("appended.edgeindex").also { it.deleteRecursively() }
        for (batch in wanted.children("batches")) {
            EmbeddingIndexWriter.open(folder, wanted.string("space_id"), wanted.int("dim", 1..100)).use { writer ->
                for ((id, row) in batch.strings("ids").zip(batch.rows("embeddings"))) writer.append(id, row)
                writer.commit()
            }
        }
        for (name in listOf(EmbeddingIndex.ROWS, EmbeddingIndex.SCALES, EmbeddingIndex.IDS)) {
            assertArrayEquals(name, Vectors.file("index/appended.edgeindex/$name").readBytes(), File(folder, name).readBytes())
        }
    }

    @Test fun everyRowIsSearchedWhateverTheDimension() {
        for (dim in listOf(1, 2, 3, 4, 5, 7, 96, 515)) {
            val random = Random(dim.toLong())
            val rows = List(700) { unit(FloatArray(dim) { random.nextGaussian().toFloat() }) }
            val folder = File(temporary.root, "$dim.edgeindex")
            write(folder, dim, rows)
            val index = EmbeddingIndex.open(folder)
            val stored = stored(folder, dim, rows.size)
            repeat(20) {
                val query = unit(FloatArray(dim) { random.nextGaussian().toFloat() })
                val scores = DoubleArray(rows.size) { row -> dot(stored[row], query) }
                val hits = index.search(query, 11)
                assertEquals("dim $dim", topK(scores, 11).toList(), hits.map { it.row })
                for (hit in hits) assertEquals(scores[hit.row], hit.score.toDouble(), 1e-6)
            }
        }
    }

    @Test fun whatWasNotCommittedIsDropped() {
        val folder = temporary.newFolder("x.edgeindex")
        val row = floatArrayOf(0.6f, 0.8f)
        write(folder, 2, listOf(row, row))
        EmbeddingIndexWriter.open(folder, "space", 2).use { it.append("lost", row) }
        assertEquals(listOf("0", "1"), EmbeddingIndex.open(folder).ids)
        EmbeddingIndexWriter.open(folder, "space", 2).use {
            it.append("kept", row)
            it.commit()
        }
        assertEquals(listOf("0", "1", "kept"), EmbeddingIndex.open(folder).ids)
        assertEquals(3L * 2, File(folder, EmbeddingIndex.ROWS).length())
    }

    @Test fun anEmptyIndexFindsNothing() {
        val folder = temporary.newFolder("x.edgeindex")
        write(folder, 2, emptyList())
        assertEquals(emptyList<Hit>(), EmbeddingIndex.open(folder).search(floatArrayOf(1f, 0f), 5))
    }

    @Test fun whatCannotBeFoundIsRefused() {
        val folder = temporary.newFolder("x.edgeindex")
        write(folder, 2, listOf(floatArrayOf(1f, 0f)))
        val index = EmbeddingIndex.open(folder)
        val bad = EdgeClipException.BadInput::class.java
        for (query in listOf(floatArrayOf(1f), floatArrayOf(Float.NaN, 0f), floatArrayOf(0f, 0f))) {
            assertThrows(bad) { index.search(query, 1) }
        }
        assertThrows(bad) { index.search(floatArrayOf(1f, 0f), 0) }
        EmbeddingIndexWriter.open(folder, "space", 2).use { writer ->
            for (id in listOf("", "a\nb", "\uD800", "x".repeat(5000))) {
                assertThrows(bad) { writer.append(id, floatArrayOf(1f, 0f)) }
            }
            for (number in listOf(0f, Float.NaN, Float.POSITIVE_INFINITY)) {
                assertThrows(bad) { writer.append("id", floatArrayOf(number, 0f)) }
            }
            assertThrows(bad) { writer.append("id", floatArrayOf(1f)) }
        }
        val other = EdgeClipException.OtherSpace::class.java
        assertThrows(other) { EmbeddingIndex.open(folder, "another space", 2) }
        assertThrows(other) { EmbeddingIndexWriter.open(folder, "another space", 2) }
    }

    private fun write(folder: File, dim: Int, rows: List<FloatArray>) =
        EmbeddingIndexWriter.open(folder, "space", dim).use { writer ->
            rows.forEachIndexed { row, embedding -> writer.append("$row", embedding) }
            writer.commit()
        }

    private fun stored(folder: File, dim: Int, count: Int): List<FloatArray> {
        val bytes = File(folder, EmbeddingIndex.ROWS).readBytes()
        val scales = ByteBuffer.wrap(File(folder, EmbeddingIndex.SCALES).readBytes()).order(ByteOrder.LITTLE_ENDIAN)
        return List(count) { row -> scales.getFloat().let { scale -> FloatArray(dim) { bytes[row * dim + it] * scale } } }
    }

    private fun unit(values: FloatArray): FloatArray {
        val length = sqrt(dot(values, values)).toFloat()
        return FloatArray(values.size) { values[it] / length }
    }
}
