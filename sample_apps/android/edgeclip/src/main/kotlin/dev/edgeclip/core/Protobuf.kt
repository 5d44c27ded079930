package dev.edgeclip.core

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** The fields of a serialised protobuf message (https://protobuf.dev/programming-guides/encoding/), one after the other. */
internal class Protobuf(private val bytes: ByteArray, private val from: Int = 0, private val until: Int = bytes.size) :
    Iterable<Protobuf.Field> {
    /** One field: a number of its own, or the place of its bytes. */
    inner class Field(
        val number: Int,
        private val wire: Int,
        private val value: Long,
        private val start: Int,
        private val end: Int,
    ) {
        fun int(): Int = asked(VARINT) { value.toInt() }

        fun boolean(): Boolean = asked(VARINT) { value != 0L }

        fun float(): Float = asked(FIXED32) { Float.fromBits(value.toInt()) }

        fun bytes(): ByteArray = asked(LENGTH) { bytes.copyOfRange(start, end) }

        fun message(): Protobuf = asked(LENGTH) { Protobuf(bytes, start, end) }

        private inline fun <T> asked(type: Int, read: () -> T): T =
            if (wire == type) read() else malformed("field $number is of another type")
    }

    override fun iterator(): Iterator<Field> = iterator {
        var at = from
        while (at < until) {
            val (tag, afterTag) = varint(at)
            val number = (tag ushr 3).toInt()
            when (val wire = (tag and 7).toInt()) {
                VARINT -> {
                    val (value, end) = varint(afterTag)
                    yield(Field(number, wire, value, at, end))
                    at = end
                }
                FIXED64 -> at = checked(afterTag, 8)
                FIXED32 -> {
                    at = checked(afterTag, 4)
                    val value = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getInt(afterTag)
                    yield(Field(number, wire, value.toLong(), afterTag, at))
                }
                LENGTH -> {
                    val (length, start) = varint(afterTag)
                    at = checked(start, length)
                    yield(Field(number, wire, 0, start, at))
                }
                else -> malformed("not a SentencePiece model")
            }
        }
    }

    private fun checked(start: Int, length: Long): Int {
        if (length !in 0..(until - start).toLong()) malformed("cut short")
        return start + length.toInt()
    }

    private fun varint(start: Int): Pair<Long, Int> {
        var value = 0L
        var at = start
        for (shift in 0..63 step 7) {
            if (at == until) malformed("cut short")
            val byte = bytes[at++].toLong()
            value = value or (byte and 0x7f shl shift)
            if (byte >= 0) return value to at
        }
        malformed("not a SentencePiece model")
    }

    private companion object {
        const val VARINT = 0
        const val FIXED64 = 1
        const val LENGTH = 2
        const val FIXED32 = 5
    }
}
