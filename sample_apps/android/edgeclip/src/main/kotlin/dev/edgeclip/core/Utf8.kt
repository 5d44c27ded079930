package dev.edgeclip.core

private const val NEWLINE = 0x0A

/** Bytes as strict UTF-8 (The Unicode Standard, table 3-7) to code points, or null where they are none. */
internal fun decodedUtf8(bytes: IntArray): IntArray? = decoded(bytes) { 0 }

/**
 * As [decodedUtf8], with the variants that ftfy reads: C0 80 for zero, and a pair of surrogates in three bytes each (CESU-8).
 * As in ftfy's patterns, whose `$` also matches in front of a final line break, that may stand for the last byte of either.
 */
internal fun decodedUtf8Variants(bytes: IntArray): IntArray? = decoded(bytes) { variant(bytes, it) }

private inline fun decoded(bytes: IntArray, variant: (Int) -> Int): IntArray? {
    val out = Ints(bytes.size)
    var at = 0
    while (at < bytes.size) {
        val length = variant(at)
        if (length > 0) {
            out.add(if (length == 2) 0 else surrogatePair(bytes, at))
            at += length
            continue
        }
        val count = sequenceLength(bytes[at])
        val code = if (count > 0) codeAt(bytes, at, count) else -1
        if (code < 0) return null
        out.add(code)
        at += count
    }
    return out.toArray()
}

private fun sequenceLength(first: Int): Int = when (first) {
    in 0x00..0x7F -> 1
    in 0xC2..0xDF -> 2
    in 0xE0..0xEF -> 3
    in 0xF0..0xF4 -> 4
    else -> 0
}

private fun codeAt(bytes: IntArray, at: Int, count: Int): Int {
    if (count == 1) return bytes[at]
    if (at + count > bytes.size) return -1
    var code = bytes[at] and (0x7F shr count)
    for (index in at + 1 until at + count) {
        if (bytes[index] !in 0x80..0xBF) return -1
        code = code shl 6 or (bytes[index] and 0x3F)
    }
    val shortest = when (count) {
        2 -> 0x80
        3 -> 0x800
        else -> 0x10000
    }
    return if (code < shortest || code > 0x10FFFF || code in 0xD800..0xDFFF) -1 else code
}

/** The length of a variant at a place: 2, 6, or 0 for none. */
private fun variant(bytes: IntArray, at: Int): Int {
    val pair = at + 5 < bytes.size && bytes[at] == 0xED && bytes[at + 1] in 0xA0..0xAF && bytes[at + 2] in 0x80..0xBF &&
        bytes[at + 3] == 0xED && bytes[at + 4] in 0xB0..0xBF && endsVariant(bytes, at + 5) { it in 0x80..0xBF }
    return when {
        pair -> 6
        bytes[at] == 0xC0 && endsVariant(bytes, at + 1) { it == 0x80 } -> 2
        else -> 0
    }
}

private inline fun endsVariant(bytes: IntArray, at: Int, last: (Int) -> Boolean): Boolean =
    at < bytes.size && (last(bytes[at]) || (bytes[at] == NEWLINE && at == bytes.size - 1))

private fun surrogatePair(bytes: IntArray, at: Int): Int =
    0x10000 + (bytes[at + 1] and 0x0F shl 16) + (bytes[at + 2] and 0x3F shl 10) +
        (bytes[at + 4] and 0x0F shl 6) + (bytes[at + 5] and 0x3F)
