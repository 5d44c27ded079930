package dev.edgeclip.core

/** What is done to a text before its words are looked up, as the models' training did it; equal to the Python reference's. */
class TextCleaning(private val tables: UnicodeTables) {
    private val repair = TextRepair(tables)

    /** CLIP's: mojibake and HTML entities repaired, whitespace folded, lower case. */
    fun lower(text: String): String = textOf(lowerCodes(checked(text)))

    /** SigLIP's: that, with `_` as a space and ASCII punctuation taken out. */
    fun canonicalize(text: String): String = textOf(canonicalCodes(checked(text)))

    /** ftfy's `fix_text`, the first step of both. */
    fun repaired(text: String): String = textOf(repair.fixed(checked(text)))

    internal fun cleaned(text: String, how: TokenizerSpec.Clean): IntArray {
        val codes = checked(text)
        return if (how == TokenizerSpec.Clean.LOWER) lowerCodes(codes) else canonicalCodes(codes)
    }

    private fun lowerCodes(codes: IntArray): IntArray = lowered(folded(withoutHtml(codes)))

    private fun canonicalCodes(codes: IntArray): IntArray {
        val out = Ints(codes.size)
        for (code in withoutHtml(codes)) {
            if (code == '_'.code) out.add(' '.code) else if (code !in tables.punctuation) out.add(code)
        }
        return folded(lowered(out.toArray()))
    }

    private fun checked(text: String): IntArray {
        val length = text.codePointCount(0, text.length)
        if (length > MAX_CHARACTERS) throw EdgeClipException.BadInput("text of $length characters is longer than $MAX_CHARACTERS")
        return codePoints(text)
    }

    private fun withoutHtml(codes: IntArray): IntArray = unescaped(unescaped(repair.fixed(codes), tables.html), tables.html)

    /** Python's `" ".join(text.split())`. */
    private fun folded(text: IntArray): IntArray {
        val out = Ints(text.size)
        var wordEnded = false
        for (code in text) {
            if (code in tables.case.space) {
                wordEnded = out.size > 0
            } else {
                if (wordEnded) out.add(' '.code)
                wordEnded = false
                out.add(code)
            }
        }
        return out.toArray()
    }

    /** Python's `text.lower()`. */
    private fun lowered(text: IntArray): IntArray {
        val out = Ints(text.size)
        for (at in text.indices) {
            val code = text[at]
            val lower = tables.case.lower[code]
            when {
                code == CAPITAL_SIGMA -> out.add(if (endsWord(text, at)) FINAL_SIGMA else SIGMA)
                lower != null -> out.addAll(lower)
                else -> out.add(code)
            }
        }
        return out.toArray()
    }

    private fun endsWord(text: IntArray, at: Int): Boolean {
        var before = at - 1
        while (before >= 0 && text[before] in tables.case.ignorable) before--
        if (before < 0 || text[before] !in tables.case.cased) return false
        var after = at + 1
        while (after < text.size && text[after] in tables.case.ignorable) after++
        return after == text.size || text[after] !in tables.case.cased
    }

    companion object {
        /** In code points. Longer texts are refused. */
        const val MAX_CHARACTERS = 100_000
        private const val CAPITAL_SIGMA = 0x3A3
        private const val SIGMA = 0x3C3
        private const val FINAL_SIGMA = 0x3C2
    }
}

/** ftfy's `fix_text` with its defaults. */
internal class TextRepair(private val tables: UnicodeTables) {
    private val ftfy = tables.ftfy
    private val mojibake = Mojibake(ftfy)

    fun fixed(text: IntArray): IntArray {
        if (text.all { it == NEWLINE || (it in ' '.code..'~'.code && it != '&'.code) }) return text // nothing here is ever wrong
        val out = Ints(text.size)
        var unescapes = true
        var start = 0
        while (start < text.size) {
            var end = start
            while (end < text.size && text[end] != NEWLINE) end++
            end = minOf(end + 1, text.size)
            val segment = text.copyOfRange(start, end)
            // From a `<` on, the rest may be HTML and is left as it is.
            if ('<'.code in segment) unescapes = false
            out.addAll(fixedSegment(segment, unescapes))
            start = end
        }
        return out.toArray()
    }

    private fun fixedSegment(segment: IntArray, unescapes: Boolean): IntArray {
        var text = segment
        while (true) {
            val before = text
            if (unescapes) text = unescapedWholes(text, ftfy.entities, tables.html)
            text = mojibake.withoutC1(mojibake.fixed(text))
            text = straightQuotes(ftfy.width.replaced(ftfy.ligatures.replaced(text)))
            text = withoutEscapes(withoutSurrogates(withUnixLineBreaks(text)))
            text = nfc(filtered(text) { it !in ftfy.control }, tables.normalization)
            if (text.contentEquals(before)) return text
        }
    }

    private inline fun filtered(text: IntArray, keep: (Int) -> Boolean): IntArray {
        val out = Ints(text.size)
        for (code in text) if (keep(code)) out.add(code)
        return out.toArray()
    }

    private fun straightQuotes(text: IntArray) = IntArray(text.size) {
        when (text[it]) {
            in ftfy.doubleQuotes -> '"'.code
            in ftfy.singleQuotes -> '\''.code
            else -> text[it]
        }
    }

    private fun withUnixLineBreaks(text: IntArray): IntArray {
        val out = Ints(text.size)
        for (at in text.indices) {
            when (text[at]) {
                RETURN -> if (at + 1 == text.size || text[at + 1] != NEWLINE) out.add(NEWLINE)
                0x2028, 0x2029, 0x85 -> out.add(NEWLINE)
                else -> out.add(text[at])
            }
        }
        return out.toArray()
    }

    /** Code points of a text's own are never halves of a pair, which Kotlin has joined. */
    private fun withoutSurrogates(text: IntArray) = IntArray(text.size) { if (text[it] in 0xD800..0xDFFF) 0xFFFD else text[it] }

    /** Drops ESC [ (digit | ;)* letter. */
    private fun withoutEscapes(text: IntArray): IntArray {
        if (ESCAPE !in text) return text
        val out = Ints(text.size)
        var at = 0
        while (at < text.size) {
            val end = escapeEnd(text, at)
            if (end == at) out.add(text[at++]) else at = end
        }
        return out.toArray()
    }

    private fun escapeEnd(text: IntArray, start: Int): Int {
        if (text[start] != ESCAPE || start + 1 == text.size || text[start + 1] != '['.code) return start
        var at = start + 2
        while (at < text.size && (text[at] == ';'.code || text[at] in ftfy.decimal)) at++
        return if (at < text.size && text[at] in ftfy.alphabetic) at + 1 else start
    }

    private companion object {
        const val NEWLINE = 0x0A
        const val RETURN = 0x0D
        const val ESCAPE = 0x1B
    }
}
