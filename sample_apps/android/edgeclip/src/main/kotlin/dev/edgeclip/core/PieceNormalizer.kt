package dev.edgeclip.core

import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * SentencePiece's normaliser: the longest known sequence at each place is replaced, spaces are folded and become U+2581.
 *
 * The model's `precompiled_charsmap` is the size of a double-array trie in bytes, the trie, and replacements that each end in
 * a zero byte. Source of both formats: sentencepiece, `src/normalizer.cc`, and darts-clone, `include/darts.h`.
 */
internal class PieceNormalizer(private val model: SentencePieceModel) {
    private val spec = model.normalizer
    private val space = if (spec.escapeSpaces) "\u2581".encodeToByteArray() else byteArrayOf(SPACE)
    private val trie: IntArray
    private val replacements: ByteArray
    private val userDefined = PieceTrie()

    init {
        if (spec.charsmap.isEmpty()) {
            trie = IntArray(0)
            replacements = ByteArray(0)
        } else {
            val blob = ByteBuffer.wrap(spec.charsmap).order(ByteOrder.LITTLE_ENDIAN)
            val size = if (blob.remaining() >= Int.SIZE_BYTES) blob.getInt() else -1
            if (size < 4 || size % 4 != 0 || size > blob.remaining()) malformed("a broken table of replacements")
            trie = IntArray(size / 4) { blob.getInt() }
            replacements = ByteArray(blob.remaining()).also { blob.get(it) }
            if (replacements.isEmpty() || replacements.last() != 0.toByte()) malformed("a broken table of replacements")
        }
        for ((id, piece) in model.pieces.withIndex()) {
            if (piece.kind == Piece.Kind.USER_DEFINED) userDefined.add(piece.bytes, id)
        }
    }

    /** UTF-8 to the form that pieces are of. */
    fun normalized(text: ByteArray): ByteArray {
        var at = 0
        if (spec.removeExtraSpaces) {
            while (at < text.size) {
                val first = replacement(text, at)
                if (first.size != 1 || first.bytes[first.from] != SPACE) break
                at += first.length
            }
        }
        if (at == text.size) return ByteArray(0)
        val out = java.io.ByteArrayOutputStream(text.size + 16)
        if (!model.suffix && spec.dummyPrefix) out.write(space)
        var afterSpace = spec.removeExtraSpaces
        while (at < text.size) {
            val next = replacement(text, at)
            var from = next.from
            while (afterSpace && from < next.until && next.bytes[from] == SPACE) from++
            for (index in from until next.until) {
                if (next.bytes[index] == SPACE) out.write(space) else out.write(next.bytes[index].toInt())
            }
            if (from < next.until) afterSpace = next.bytes[next.until - 1] == SPACE
            if (!spec.removeExtraSpaces) afterSpace = false
            at += next.length
        }
        var size = out.size()
        val bytes = out.toByteArray()
        if (spec.removeExtraSpaces) while (endsWithSpace(bytes, size)) size -= space.size
        return if (model.suffix && spec.dummyPrefix) bytes.copyOf(size) + space else bytes.copyOf(size)
    }

    private fun endsWithSpace(bytes: ByteArray, size: Int) =
        size >= space.size && space.indices.all { bytes[size - space.size + it] == space[it] }

    /** What stands for the next [length] bytes of the text. */
    private class Replacement(val bytes: ByteArray, val from: Int, val until: Int, val length: Int) {
        val size: Int get() = until - from
    }

    private fun replacement(text: ByteArray, at: Int): Replacement {
        var symbol = at
        userDefined.prefixes(text, at) { end, _ -> symbol = end }
        if (symbol > at) return Replacement(text, at, symbol, symbol - at)
        var value = -1
        var length = 0
        search(text, at) { found, foundLength ->
            value = found
            length = foundLength
        }
        if (length == 0) {
            val end = minOf(at + characterLength(text[at]), text.size)
            return Replacement(text, at, end, end - at)
        }
        if (value >= replacements.size) {
            throw EdgeClipException.BadBundle("${SentencePiece.MODEL}: a broken table of replacements")
        }
        var end = value
        while (replacements[end] != 0.toByte()) end++
        return Replacement(replacements, value, end, length)
    }

    /** Every known sequence that begins at a place, the shortest first, with its value and length. */
    private inline fun search(text: ByteArray, start: Int, found: (Int, Int) -> Unit) {
        if (trie.isEmpty()) return
        var node = offset(trie[0])
        for (at in start until text.size) {
            val byte = text[at].toInt() and 255
            node = node xor byte
            if (node !in trie.indices) return
            val unit = trie[node]
            if (unit and LABEL != byte) return
            node = node xor offset(unit)
            if (unit ushr 8 and 1 == 1) {
                if (node !in trie.indices) return
                found(trie[node] and VALUE, at + 1 - start)
            }
        }
    }

    private fun offset(unit: Int): Int = (unit ushr 10) shl (unit and (1 shl 9) ushr 6)

    private companion object {
        const val SPACE = ' '.code.toByte()
        const val LABEL = (1 shl 31) or 0xFF
        const val VALUE = Int.MAX_VALUE
    }
}
