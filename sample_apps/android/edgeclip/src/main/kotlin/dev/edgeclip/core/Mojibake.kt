package dev.edgeclip.core

/** ftfy's `fix_encoding`: UTF-8 that was read as a one-byte encoding, put right where it looks like that. */
internal class Mojibake(private val tables: FtfyTables) {
    fun fixed(text: IntArray): IntArray {
        var current = text
        while (true) {
            val next = oneStep(current)
            if (next.contentEquals(current)) return next
            current = next
        }
    }

    /** [text] with the control characters U+0080 to U+009F as windows-1252 has them. */
    fun withoutC1(text: IntArray): IntArray {
        if (text.none { it in tables.c1 }) return text
        return IntArray(text.size) { if (text[it] in tables.c1) tables.sloppyWindows1252.chars[text[it]] else text[it] }
    }

    private fun isBad(text: IntArray): Boolean =
        text.any { it > 0x7F } && (tables.badStart.matchAt(text, 0) > 0 || tables.bad.matchAnywhere(text))

    private fun oneStep(text: IntArray): IntArray {
        if (!isBad(text)) return text
        for (charmap in tables.charmaps) {
            val bytes = charmap.encoded(text) ?: continue
            readAgain(bytes, charmap)?.let { return it }
        }
        val inside = withEmbeddedFixed(text)
        if (!inside.contentEquals(text)) return inside
        return asWindows1252(text) ?: withoutC1(text)
    }

    /** Bytes that are UTF-8, or nearly, as what they stand for. */
    private fun readAgain(encoded: IntArray, charmap: Charmap): IntArray? {
        var bytes = encoded
        if (charmap.restoresA0 && tables.alteredUtf8.matchAnywhere(bytes)) bytes = withA0Restored(bytes)
        if (charmap.sloppy) bytes = replaced(bytes, tables.lossyUtf8) { out, _, _ -> out.addAll(LOST) }
        return if (bytes.any { it == 0xED || it == 0xC0 }) decodedUtf8Variants(bytes) else decodedUtf8(bytes)
    }

    /** A no-break space is often turned into a space, which may have been the second byte of a letter. */
    private fun withA0Restored(bytes: IntArray): IntArray =
        replaced(withAGraveRestored(bytes), tables.alteredUtf8) { out, from, source ->
            for (index in from) out.add(if (source[index] == SPACE) 0xA0 else source[index])
        }

    /** C3 20 is the word "à", unless one of [A_GRAVE_STAYS] follows. */
    private fun withAGraveRestored(bytes: IntArray): IntArray {
        val out = Ints(bytes.size)
        for (at in bytes.indices) {
            out.add(bytes[at])
            val word = bytes[at] == 0xC3 && at + 1 < bytes.size && bytes[at + 1] == SPACE
            if (word && A_GRAVE_STAYS.none { follows(bytes, at + 2, it) }) out.add(0xA0)
        }
        return out.toArray()
    }

    private fun follows(bytes: IntArray, at: Int, what: String): Boolean =
        at + what.length <= bytes.size && what.indices.all { bytes[at + it] == what[it].code }

    private inline fun replaced(bytes: IntArray, patterns: ClassPatterns, write: (Ints, IntRange, IntArray) -> Unit): IntArray {
        val out = Ints(bytes.size)
        var at = 0
        while (at < bytes.size) {
            val length = patterns.matchAt(bytes, at)
            if (length == 0) out.add(bytes[at++]) else write(out, at until at + length, bytes)
            at += length
        }
        return out.toArray()
    }

    /** Mojibake inside of other text, each run of it by itself. */
    private fun withEmbeddedFixed(text: IntArray): IntArray {
        val out = Ints(text.size)
        var at = 0
        while (at < text.size) {
            val end = embeddedEnd(text, at)
            if (end == at) {
                out.add(text[at++])
                continue
            }
            val run = text.copyOfRange(at, end)
            out.addAll(if (run.size < text.size && isBad(run)) fixed(run) else run)
            at = end
        }
        return out.toArray()
    }

    private fun embeddedEnd(text: IntArray, start: Int): Int {
        if (start > 0 && text[start - 1] in tables.strictContinuation) return start
        var end = start
        while (true) {
            val length = tables.firstOf.indices.firstOrNull { looksLikeSequence(text, end, it) } ?: return end
            end += length + 2
        }
    }

    /** One first character of a sequence of [index] + 2 bytes, and the continuations that it needs. */
    private fun looksLikeSequence(text: IntArray, at: Int, index: Int): Boolean =
        at + index + 2 <= text.size && text[at] in tables.firstOf[index] &&
            (1..index + 1).all { text[at + it] in tables.continuation }

    /** Latin-1 that was meant to be windows-1252, or null. */
    private fun asWindows1252(text: IntArray): IntArray? {
        val bytes = tables.latin1.encoded(text) ?: return null
        val out = IntArray(bytes.size) { tables.windows1252[bytes[it]] }
        return if (out.any { it < 0 } || out.contentEquals(text)) null else out
    }

    private companion object {
        const val SPACE = 0x20
        val LOST = intArrayOf(0xEF, 0xBF, 0xBD) // U+FFFD in UTF-8
        val A_GRAVE_STAYS = listOf(" ", "quele", "quela", "quilo", "s ")
    }
}
