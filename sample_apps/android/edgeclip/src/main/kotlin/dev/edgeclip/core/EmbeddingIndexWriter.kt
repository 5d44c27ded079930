package dev.edgeclip.core

import java.io.Closeable
import java.io.File
import java.io.IOException
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.file.Files
import java.nio.file.StandardCopyOption
import kotlin.math.abs
import kotlin.math.round

/** What `index.json` says: how many rows count, of which space. */
internal class IndexState(val spaceId: String, val dim: Int, val rows: Int) {
    fun write(folder: File) {
        val space = Json.quoted(spaceId)
        val text = """{"schema": "${EmbeddingIndex.SCHEMA}", "space_id": $space, "dim": $dim, "rows": $rows}""" + "\n"
        val partial = File(folder, ".${EmbeddingIndex.INDEX}")
        RandomAccessFile(partial, "rw").use {
            it.setLength(0)
            it.write(text.encodeToByteArray())
            it.fd.sync()
        }
        Files.move(
            partial.toPath(),
            File(folder, EmbeddingIndex.INDEX).toPath(),
            StandardCopyOption.ATOMIC_MOVE,
            StandardCopyOption.REPLACE_EXISTING,
        )
    }

    companion object {
        private const val MAX_BYTES = 1L shl 16
        private const val MAX_DIM = 1 shl 16

        fun read(folder: File): IndexState {
            val json = Json.parseObject(readBounded(File(folder, EmbeddingIndex.INDEX), MAX_BYTES))
            val schema = json.string("schema")
            val known = EmbeddingIndex.SCHEMA
            if (schema != known) malformed("\"schema\" is \"$schema\", and this app reads \"$known\"")
            json.only("schema", "space_id", "dim", "rows")
            val dim = json.int("dim", 1..MAX_DIM)
            return IndexState(json.string("space_id"), dim, json.int("rows", 0..Int.MAX_VALUE / dim))
        }
    }
}

/**
 * Appends to an index, which it creates where there is none. Rows count from [commit] on; what was appended after the last one
 * is dropped when the next writer opens the folder. One writer at a time.
 */
class EmbeddingIndexWriter private constructor(private val folder: File, private var state: IndexState) : Closeable {
    private val rows = open(EmbeddingIndex.ROWS)
    private val scales = open(EmbeddingIndex.SCALES)
    private val ids = open(EmbeddingIndex.IDS)
    private var pending = 0
    private var idBytes = 0L // of all rows, pending ones too

    private fun open(name: String) = RandomAccessFile(File(folder, name), "rw")

    /**
     * Adds one embedding (dim): `scale * int8` with scale = max |x| / 127 and halves rounded to even. [id]: what the row stands for,
     * such as a photo's address; no line break. Throws [EdgeClipException.BadInput].
     */
    fun append(id: String, embedding: FloatArray) {
        val line = line(id)
        val size = embedding.size
        if (size != state.dim) throw EdgeClipException.BadInput("embedding has $size numbers, not ${state.dim}")
        val scale = embedding.maxOf { abs(it) } / STEPS
        if (!(scale > 0 && scale.isFinite())) throw EdgeClipException.BadInput("an embedding is zero or not finite")
        if (state.rows + pending >= Int.MAX_VALUE / state.dim) throw EdgeClipException.BadInput("the index is full")
        writing {
            seekBehind(state.rows + pending) // over what a write that failed has left
            rows.write(ByteArray(embedding.size) { round(embedding[it] / scale).coerceIn(-STEPS, STEPS).toInt().toByte() })
            scales.write(ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putFloat(scale).array())
            ids.write(line)
        }
        pending++
        idBytes += line.size
    }

    private fun line(id: String): ByteArray {
        val line = try {
            (id + "\n").encodeToByteArray(throwOnInvalidSequence = true)
        } catch (e: CharacterCodingException) {
            throw EdgeClipException.BadInput("an id is not Unicode text")
        }
        if ('\n' in id || line.size - 1 !in 1..EmbeddingIndex.MAX_ID_BYTES) {
            throw EdgeClipException.BadInput("an id takes 1 to ${EmbeddingIndex.MAX_ID_BYTES} bytes and no line break")
        }
        return line
    }

    /** Makes what was appended count. */
    fun commit() = writing {
        for (file in listOf(rows, scales, ids)) file.fd.sync()
        val next = IndexState(state.spaceId, state.dim, state.rows + pending)
        next.write(folder)
        state = next
        pending = 0
    }

    private inline fun writing(write: () -> Unit) = try {
        write()
    } catch (e: IOException) {
        throw EdgeClipException.BadFile("$folder: cannot be written (${e.message})", e)
    }

    override fun close() = listOf(rows, scales, ids).forEach { it.close() }

    companion object {
        private const val STEPS = 127f
        private val FILES = listOf(EmbeddingIndex.ROWS, EmbeddingIndex.SCALES, EmbeddingIndex.IDS)

        /**
         * Opens or creates the index in a folder, for embeddings of one space. Throws [EdgeClipException.OtherSpace] where it has
         * rows of another.
         */
        fun open(folder: File, spaceId: String, dim: Int): EmbeddingIndexWriter =
            reading(folder.path, EdgeClipException::BadFile) {
                if (!File(folder, EmbeddingIndex.INDEX).exists()) {
                    folder.mkdirs()
                    for (name in FILES) File(folder, name).writeBytes(ByteArray(0))
                    IndexState(spaceId, dim, 0).write(folder)
                }
                val index = EmbeddingIndex.open(folder, spaceId, dim) // checks all of it
                val writer = EmbeddingIndexWriter(folder, IndexState(index.spaceId, index.dim, index.size))
                writer.cutTo(index)
                writer
            }
    }

    private fun seekBehind(count: Int) {
        rows.seek(count.toLong() * state.dim)
        scales.seek(4L * count)
        ids.seek(idBytes)
    }

    private fun cutTo(index: EmbeddingIndex) {
        idBytes = index.ids.sumOf { it.encodeToByteArray().size + 1L }
        seekBehind(index.size)
        for (file in listOf(rows, scales, ids)) file.setLength(file.filePointer)
    }
}
