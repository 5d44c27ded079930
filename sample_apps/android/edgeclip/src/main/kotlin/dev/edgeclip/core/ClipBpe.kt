package dev.edgeclip.core

import java.io.File
import java.util.PriorityQueue

/**
 * CLIP's byte-level BPE, from the two files that travel in every bundle.
 *
 * Text -> cleaned -> words -> their UTF-8 bytes -> merged, the pair of the lowest rank first.
 */
class ClipBpe private constructor(
    override val spec: TokenizerSpec,
    private val tables: UnicodeTables,
    private val vocabulary: Vocabulary,
) : Tokenizer {
    private val cleaning = TextCleaning(tables)
    private val words = ClipWords(tables.words)

    override fun encode(text: String): IntArray {
        val codes = cleaning.cleaned(text, spec.clean)
        val ids = Ints(spec.contextLength)
        var at = 0
        while (at < codes.size && ids.size < spec.contextLength) { // framed() drops what is beyond
            val end = words.endAt(codes, at)
            if (end > at) ids.addAll(vocabulary.wordIds(textOf(codes, at, end)))
            at = maxOf(end, at + 1)
        }
        return spec.framed(ids.toArray())
    }

    companion object {
        const val VOCAB = "tokenizer/vocab.json"
        const val MERGES = "tokenizer/merges.txt"
        private const val MAX_BYTES = 32L shl 20
        private const val HEADER = "#version: 0.2"

        /** Reads a bundle's files, whose hashes the caller has checked. Throws [EdgeClipException.BadBundle]. */
        fun load(vocab: File, merges: File, spec: TokenizerSpec, tables: UnicodeTables = UnicodeTables.bundled): ClipBpe =
            reading(vocab.parent ?: vocab.path, EdgeClipException::BadBundle) {
                val json = Json.parseObject(readBounded(vocab, MAX_BYTES))
                val ids = json.keys.associateWith { json.int(it, 0 until spec.vocabSize) }
                ClipBpe(spec, tables, Vocabulary(ids, lines(merges), spec))
            }

        private fun lines(merges: File): List<Pair<String, String>> {
            val lines = Json.utf8(readBounded(merges, MAX_BYTES)).trimEnd('\n').split('\n')
            if (lines.first() != HEADER) malformed("not a CLIP vocabulary")
            return lines.drop(1).map { line ->
                val parts = line.trimEnd('\r').split(' ')
                if (parts.size != 2 || parts.any { it.isEmpty() }) malformed("\"$line\" is not a merge")
                parts[0] to parts[1]
            }
        }
    }
}

/** CLIP's word pattern: `<start_of_text>`, `<end_of_text>`, `'s` and such; runs of letters; single numbers; runs of others. */
internal class ClipWords(private val tables: WordTables) {
    private val fixed = (SPECIAL + listOf("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")).map { word ->
        word.map { tables.folded[it.code] ?: malformed("\"folded\" lacks ${it.code}") }
    }

    /** Where the word at a place ends; the place itself where there is none. */
    fun endAt(text: IntArray, at: Int): Int {
        if (text[at] == '\''.code || text[at] == '<'.code) {
            fixed.firstOrNull { matches(it, text, at) }?.let { return at + it.size }
        }
        return when (text[at]) {
            in tables.letter -> runEnd(text, at, tables.letter)
            in tables.number -> at + 1
            in tables.other -> runEnd(text, at, tables.other)
            else -> at
        }
    }

    private fun matches(word: List<CodePointSet>, text: IntArray, at: Int): Boolean =
        at + word.size <= text.size && word.indices.all { text[at + it] in word[it] }

    private fun runEnd(text: IntArray, at: Int, set: CodePointSet): Int {
        var end = at
        while (end < text.size && text[end] in set) end++
        return end
    }

    companion object {
        val SPECIAL = listOf("<start_of_text>", "<end_of_text>")
    }
}

/** Tokens by id, and the merges that make them. */
internal class Vocabulary(ids: Map<String, Int>, merges: List<Pair<String, String>>, spec: TokenizerSpec) {
    private class Merge(val rank: Int, val merged: Int)

    private val special: Map<String, IntArray>
    private val inner = IntArray(256) // the id of a byte inside of a word
    private val last = IntArray(256) // and at its end
    private val merges = HashMap<Long, Merge>(2 * merges.size)

    init {
        fun id(token: String) = ids[token] ?: malformed("token \"$token\" has no id")
        special = ClipWords.SPECIAL.associateWith { intArrayOf(id(it)) }
        val ends = special.values.map { it[0] }
        if (ends != listOf(spec.sot, spec.eot)) malformed("start and end ids are $ends, not ${spec.sot} and ${spec.eot}")
        val known = HashSet<String>(2 * merges.size)
        for ((byte, symbol) in byteSymbols().withIndex()) {
            inner[byte] = id("$symbol")
            last[byte] = id("$symbol$END")
            known += listOf("$symbol", "$symbol$END")
        }
        for ((rank, merge) in merges.withIndex()) {
            val (first, second) = merge
            // Merging by rank alone relies on this order.
            if (first !in known || second !in known) malformed("merge \"$first $second\" comes before its parts")
            known += first + second
            this.merges[pair(id(first), id(second))] = Merge(rank, id(first + second))
        }
    }

    private fun pair(first: Int, second: Int) = first.toLong() shl 32 or second.toLong()

    /** The ids of one word. */
    fun wordIds(word: String): IntArray {
        special[word]?.let { return it }
        val bytes = word.encodeToByteArray()
        val ids = IntArray(bytes.size) { (if (it == bytes.size - 1) last else inner)[bytes[it].toInt() and 255] }
        return if (ids.size == 1) ids else merged(ids)
    }

    /** A candidate to merge. [left] and [right] are places, and what was there when it was found. */
    private class Candidate(val merge: Merge, val left: Int, val right: Int, val leftId: Int, val rightId: Int)

    /** Merges pairs, the lowest rank first and the leftmost of equal ones: n log n in the length of the word. */
    private fun merged(ids: IntArray): IntArray {
        val next = IntArray(ids.size) { it + 1 }
        val previous = IntArray(ids.size) { it - 1 }
        val queue = PriorityQueue<Candidate>(compareBy({ it.merge.rank }, { it.left }))

        fun offer(left: Int, right: Int) {
            if (left < 0 || right >= ids.size) return
            val merge = merges[pair(ids[left], ids[right])] ?: return
            queue.add(Candidate(merge, left, right, ids[left], ids[right]))
        }

        for (left in 0 until ids.size - 1) offer(left, left + 1)
        while (true) {
            val best = queue.poll() ?: break
            if (ids[best.left] != best.leftId || ids[best.right] != best.rightId || next[best.left] != best.right) continue
            ids[best.left] = best.merge.merged
            ids[best.right] = GONE
            next[best.left] = next[best.right]
            if (next[best.right] < ids.size) previous[next[best.right]] = best.left
            offer(previous[best.left], best.left)
            offer(best.left, next[best.left])
        }
        return ids.filter { it != GONE }.toIntArray()
    }

    private companion object {
        const val END = "</w>"
        const val GONE = -1

        /** One printable character per byte, as GPT-2 and CLIP assign them. */
        fun byteSymbols(): List<Char> {
            val printable = ('!'..'~') + ('\u00a1'..'\u00ac') + ('\u00ae'..'\u00ff')
            var others = 256
            return List(256) { byte -> byte.toChar().takeIf { it in printable } ?: (others++).toChar() }
        }
    }
}
