package dev.edgeclip.core

/** `html.unescape`: the HTML standard's reading of references, also of those without `;`. */
internal fun unescaped(text: IntArray, html: HtmlTables): IntArray {
    if (AMPERSAND !in text) return text
    val out = Ints(text.size)
    var at = 0
    while (at < text.size) {
        val end = if (text[at] == AMPERSAND) reference(text, at, html, out) else at
        if (end == at) out.add(text[at++]) else at = end
    }
    return out.toArray()
}

private const val AMPERSAND = '&'.code
private const val HASH = '#'.code
private const val SEMICOLON = ';'.code
private const val LONGEST_NAME = 32
private const val TOO_LARGE = 0x110000
private const val REPLACEMENT = 0xFFFD

/** Writes what the reference at a place stands for, and returns where it ends: at its start, if it is none. */
private fun reference(text: IntArray, start: Int, html: HtmlTables, out: Ints): Int {
    if (start + 1 < text.size && text[start + 1] == HASH) {
        val number = Number.at(text, start + 2) ?: return start
        numeric(number.value, html, out)
        return number.end
    }
    var end = start + 1
    while (end < text.size && end - start <= LONGEST_NAME && !endsName(text[end])) end++
    if (end == start + 1) return start
    if (end < text.size && text[end] == SEMICOLON) end++
    // The whole, or else the longest name that it begins with; the rest stays.
    for (until in listOf(end) + (end - 1 downTo start + 3)) {
        val found = html.entities[textOf(text, start + 1, until)] ?: continue
        out.addAll(found)
        out.addAll(text, until, end)
        return end
    }
    out.addAll(text, start, end)
    return end
}

private fun endsName(code: Int): Boolean = when (code) {
    '\t'.code, '\n'.code, 0x0C, ' '.code, '<'.code, AMPERSAND, HASH, SEMICOLON -> true
    else -> false
}

/** The number of a numeric reference, at most [TOO_LARGE], and the place behind its `;`, if it has one. */
private class Number(val value: Int, val end: Int) {
    companion object {
        /** [at]: behind the `#`. Null where there is no number. */
        fun at(text: IntArray, at: Int): Number? {
            val hexadecimal = at < text.size && (text[at] == 'x'.code || text[at] == 'X'.code)
            val base = if (hexadecimal) 16 else 10
            val start = if (hexadecimal) at + 1 else at
            var end = start
            var value = 0
            while (end < text.size) {
                val digit = asciiDigit(text[end], base)
                if (digit < 0) break
                value = minOf(value * base + digit, TOO_LARGE)
                end++
            }
            if (end == start) return null
            return Number(value, if (end < text.size && text[end] == SEMICOLON) end + 1 else end)
        }

        private fun asciiDigit(code: Int, base: Int): Int = when (code) {
            in '0'.code..'9'.code -> code - '0'.code
            in 'a'.code..'f'.code -> if (base == 16) code - 'a'.code + 10 else -1
            in 'A'.code..'F'.code -> if (base == 16) code - 'A'.code + 10 else -1
            else -> -1
        }
    }
}

private fun numeric(value: Int, html: HtmlTables, out: Ints) {
    val replaced = html.numeric[value]
    when {
        replaced != null -> out.addAll(replaced)
        value in 0xD800..0xDFFF || value >= TOO_LARGE -> out.add(REPLACEMENT)
        value !in html.dropped -> out.add(value)
    }
}

/**
 * ftfy's `unescape_html`: whole references that end in `;`, of up to 24 ASCII letters and digits; more names, in capitals. A
 * number that does not reach to the `;` stays, and so does one that stands for `;`.
 */
internal fun unescapedWholes(text: IntArray, entities: Map<String, IntArray>, html: HtmlTables): IntArray {
    if (AMPERSAND !in text) return text
    val out = Ints(text.size)
    var at = 0
    while (at < text.size) {
        val end = if (text[at] == AMPERSAND) wholeEnd(text, at) else 0
        if (end == 0) {
            out.add(text[at++])
            continue
        }
        out.addAll(whole(text, at, end, entities, html))
        at = end
    }
    return out.toArray()
}

private const val LONGEST_WHOLE = 24

private fun wholeEnd(text: IntArray, start: Int): Int {
    val first = if (start + 1 < text.size && text[start + 1] == HASH) start + 2 else start + 1
    var end = first
    while (end < text.size && isAsciiAlphanumeric(text[end])) end++
    return if (end < text.size && text[end] == SEMICOLON && end - first in 1..LONGEST_WHOLE) end + 1 else 0
}

private fun isAsciiAlphanumeric(code: Int) =
    code in '0'.code..'9'.code || code in 'a'.code..'z'.code || code in 'A'.code..'Z'.code

private fun whole(text: IntArray, start: Int, end: Int, entities: Map<String, IntArray>, html: HtmlTables): IntArray {
    val original = text.copyOfRange(start, end)
    if (text[start + 1] != HASH) return entities[textOf(text, start + 1, end)] ?: original
    val found = unescaped(original, html)
    return if (SEMICOLON in found) original else found
}
