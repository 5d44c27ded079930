package dev.edgeclip.core

import java.io.File
import java.io.RandomAccessFile
import java.nio.ByteOrder
import java.nio.IntBuffer
import java.nio.MappedByteBuffer
import java.nio.channels.FileChannel
import java.util.stream.IntStream
import kotlin.math.abs
import kotlin.math.round

/** A row that a search found. [score] is the cosine of the query with the stored embedding. */
data class Hit(val id: String, val score: Float, val row: Int)

/**
 * A folder of embeddings in int8 with a scale each, memory-mapped and searched whole: no training, no approximation beside int8.
 *
 * `index.json` says how many rows count, and is replaced last, so that what an interrupted append left behind is not seen.
 * Written by [EmbeddingIndexWriter]. Not closed by hand: the map goes with the object.
 */
class EmbeddingIndex private constructor(
    val spaceId: String,
    val dim: Int,
    val ids: List<String>,
    private val scales: FloatArray,
    private val rows: MappedByteBuffer?,
) {
    val size: Int get() = ids.size

    /**
     * The best [k] rows for a query (dim), length 1, best first, the lower row first of equal ones.
     *
     * Two steps with one result: every row against the query in 16-bit integers, whose error is bounded; then, of the rows that
     * may be among the best within that bound, the float query in double precision.
     */
    fun search(query: FloatArray, k: Int): List<Hit> {
        checkEmbedding(query, dim, "query")
        if (k < 1) throw EdgeClipException.BadInput("the best $k rows; at least 1 is needed")
        val stored = rows ?: return emptyList()
        val coarse = CoarseQuery(query)
        val dots = IntArray(size)
        val parts = (0 until size step ROWS_A_PART).toList()
        IntStream.range(0, parts.size).parallel().forEach { part ->
            coarse.dots(stored, parts[part], minOf(parts[part] + ROWS_A_PART, size), dots)
        }
        val sure = TopK(minOf(k, size))
        for (row in 0 until size) sure.offer(row, coarse.atLeast(dots[row], scales[row]))
        val best = TopK(minOf(k, size))
        val scores = HashMap<Int, Double>()
        for (row in 0 until size) {
            if (coarse.atMost(dots[row], scales[row]) < sure.floor) continue
            val score = exact(stored, row, query)
            scores[row] = score
            best.offer(row, score)
        }
        return best.indices().map { Hit(ids[it], scores.getValue(it).toFloat(), it) }
    }

    private fun exact(stored: MappedByteBuffer, row: Int, query: FloatArray): Double {
        var sum = 0.0
        for (i in 0 until dim) sum += stored.get(row * dim + i) * query[i].toDouble()
        return sum * scales[row]
    }

    companion object {
        const val INDEX = "index.json"
        const val ROWS = "embeddings.i8"
        const val SCALES = "scales.f32"
        const val IDS = "ids.txt"
        const val SCHEMA = "edgeclip.index/1"
        private const val ROWS_A_PART = 4096
        private const val MAX_IDS_BYTES = 512L shl 20
        internal const val MAX_ID_BYTES = 4096

        /** Opens the index in a folder. Throws [EdgeClipException.BadFile]. */
        fun open(folder: File): EmbeddingIndex =
            reading(folder.path, EdgeClipException::BadFile) {
                val state = IndexState.read(folder)
                val stored = map(File(folder, SCALES), 4L * state.rows) // before there is an array for as many
                val scales = FloatArray(state.rows).also { stored?.asFloatBuffer()?.get(it) }
                if (scales.any { !(it > 0 && it.isFinite()) }) malformed("$SCALES: a scale is not a positive number")
                val rows = map(File(folder, ROWS), state.rows.toLong() * state.dim)
                EmbeddingIndex(state.spaceId, state.dim, firstLines(File(folder, IDS), state.rows), scales, rows)
            }

        /** As [open], for queries of one space, a manifest's. Throws [EdgeClipException.OtherSpace] where it is of another. */
        fun open(folder: File, spaceId: String, dim: Int): EmbeddingIndex {
            val index = open(folder)
            if (index.spaceId != spaceId || index.dim != dim) {
                val wrong = "$folder is of space ${index.spaceId}, not $spaceId"
                throw EdgeClipException.OtherSpace("$wrong: delete it and index again")
            }
            return index
        }

        private fun map(file: File, bytes: Long): MappedByteBuffer? {
            if (!file.isFile) malformed("${file.name}: no such file")
            if (file.length() < bytes) malformed("${file.name}: ${file.length()} bytes, and $bytes belong to the index")
            if (bytes == 0L) return null
            return RandomAccessFile(file, "r").use { opened ->
                opened.channel.map(FileChannel.MapMode.READ_ONLY, 0, bytes).apply { order(ByteOrder.LITTLE_ENDIAN) }
            }
        }

        private fun firstLines(file: File, count: Int): List<String> {
            val bytes = readBounded(file, MAX_IDS_BYTES)
            var start = 0
            return List(count) {
                var end = start
                while (end < bytes.size && bytes[end] != '\n'.code.toByte()) end++
                if (end == bytes.size || end - start !in 1..MAX_ID_BYTES) malformed("$IDS has no id for row $it")
                Json.utf8(bytes, start, end).also { start = end + 1 }
            }
        }
    }

    /** A query in integers of up to 16 bits, four arrays of every fourth number, so that the JIT can use vector instructions. */
    private inner class CoarseQuery(query: FloatArray) {
        private val words = (dim + 3) / 4
        private val step: Double
        private val lanes: List<IntArray>

        init {
            // The largest that cannot overflow a sum of dim products with -128..127.
            val limit = minOf(Short.MAX_VALUE.toInt(), Int.MAX_VALUE / (128 * dim))
            step = query.maxOf { abs(it) }.toDouble() / limit
            lanes = List(4) { lane ->
                IntArray(words) { word -> query.getOrElse(4 * word + lane) { 0f }.let { round(it / step).toInt() } }
            }
        }

        fun atLeast(dot: Int, scale: Float): Double = (dot - SLACK * 128 * dim) * step * scale

        fun atMost(dot: Int, scale: Float): Double = (dot + SLACK * 128 * dim) * step * scale

        /** The integer products of rows [from] until [until]. Numbers beyond a row's end meet zeros of the query. */
        fun dots(stored: MappedByteBuffer, from: Int, until: Int, out: IntArray) {
            val block = IntArray(ROWS_A_BLOCK * words)
            var row = from
            while (row < until) {
                val count = minOf(ROWS_A_BLOCK, until - row)
                load(stored, row, count, block)
                for (i in 0 until count) out[row + i] = dot(block, i * words)
                row += count
            }
        }

        private fun load(stored: MappedByteBuffer, row: Int, count: Int, block: IntArray) {
            if (dim % 4 == 0) {
                ints(stored, row * dim).get(block, 0, count * words)
                return
            }
            for (i in 0 until count) {
                val start = (row + i) * dim
                if (start + 4 * words <= stored.limit()) {
                    ints(stored, start).get(block, i * words, words)
                } else {
                    for (word in 0 until words) block[i * words + word] = partialWord(stored, start + 4 * word)
                }
            }
        }

        private fun ints(stored: MappedByteBuffer, start: Int): IntBuffer {
            val view = stored.duplicate()
            view.position(start)
            return view.slice().order(ByteOrder.LITTLE_ENDIAN).asIntBuffer()
        }

        private fun partialWord(stored: MappedByteBuffer, start: Int): Int {
            var word = 0
            for (i in 0 until minOf(4, stored.limit() - start)) word = word or (stored.get(start + i).toInt() and 255 shl 8 * i)
            return word
        }

        private fun dot(block: IntArray, start: Int): Int {
            val (a, b, c, d) = lanes
            var sum = 0
            for (i in 0 until words) {
                val word = block[start + i]
                sum += (word shl 24 shr 24) * a[i] + (word shl 16 shr 24) * b[i] +
                    (word shl 8 shr 24) * c[i] + (word shr 24) * d[i]
            }
            return sum
        }
    }
}

private const val ROWS_A_BLOCK = 64 // of 512 numbers: 32 KB, a first-level cache
private const val SLACK = 0.5001 // of a step is what rounding loses at most, with room for the rounding of the bound itself
