package dev.edgeclip.core

// Hangul syllables are composed by arithmetic (The Unicode Standard, 3.12).
private const val SYLLABLE = 0xAC00
private const val LEADING = 0x1100
private const val VOWEL = 0x1161
private const val TRAILING = 0x11A7
private const val VOWELS = 21
private const val TRAILINGS = 28
private const val SYLLABLES = 19 * VOWELS * TRAILINGS
private const val UNCHANGED_BELOW = 0x300 // where combining marks begin

/** Unicode's normalisation form C (UAX #15). */
internal fun nfc(text: IntArray, tables: NormalizationTables): IntArray {
    if (text.all { it < UNCHANGED_BELOW }) return text
    return composed(ordered(decomposed(text, tables), tables), tables)
}

private fun decomposed(text: IntArray, tables: NormalizationTables): IntArray {
    val out = Ints(text.size + 16)
    for (code in text) {
        val index = code - SYLLABLE
        if (index in 0 until SYLLABLES) {
            out.add(LEADING + index / (VOWELS * TRAILINGS))
            out.add(VOWEL + index % (VOWELS * TRAILINGS) / TRAILINGS)
            if (index % TRAILINGS != 0) out.add(TRAILING + index % TRAILINGS)
        } else {
            val parts = tables.decompositions[code]
            if (parts != null) out.addAll(parts) else out.add(code)
        }
    }
    return out.toArray()
}

/** Sorts each run of combining marks by class, keeping the order of equal ones. */
private fun ordered(text: IntArray, tables: NormalizationTables): IntArray {
    var start = 0
    while (start < text.size) {
        if (tables.combiningClass(text[start]) == 0) {
            start++
            continue
        }
        var end = start
        while (end < text.size && tables.combiningClass(text[end]) != 0) end++
        val sorted = text.slice(start until end).sortedBy(tables::combiningClass)
        for (index in sorted.indices) text[start + index] = sorted[index]
        start = end
    }
    return text
}

private fun composed(text: IntArray, tables: NormalizationTables): IntArray {
    val out = IntArray(text.size)
    var size = 0
    var starter = -1 // the place in `out` that marks may be composed with
    var lastClass = 0 // of what lies between it and here; 0 for nothing
    for (code in text) {
        val combining = tables.combiningClass(code)
        val open = starter >= 0 && (starter == size - 1 || lastClass < combining)
        val composite = if (open) composite(out[starter], code, tables) else null
        if (composite != null) {
            out[starter] = composite
            continue
        }
        if (combining == 0) starter = size
        lastClass = combining
        out[size++] = code
    }
    return out.copyOf(size)
}

private fun composite(first: Int, second: Int, tables: NormalizationTables): Int? {
    val leading = first - LEADING
    val vowel = second - VOWEL
    if (leading in 0 until SYLLABLES / (VOWELS * TRAILINGS) && vowel in 0 until VOWELS) {
        return SYLLABLE + (leading * VOWELS + vowel) * TRAILINGS
    }
    val syllable = first - SYLLABLE
    val trailing = second - TRAILING
    if (syllable in 0 until SYLLABLES && syllable % TRAILINGS == 0 && trailing in 1 until TRAILINGS) return first + trailing
    return tables.composite(first, second)
}
