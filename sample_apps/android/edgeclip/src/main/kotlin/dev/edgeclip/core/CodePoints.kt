package dev.edgeclip.core

/** A text as code points. A lone surrogate is one of its own. */
internal fun codePoints(text: String): IntArray = text.codePoints().toArray()

internal fun textOf(codes: IntArray, from: Int = 0, until: Int = codes.size): String = String(codes, from, until - from)

/** A list of ints that grows. */
internal class Ints(capacity: Int = 16) {
    private var items = IntArray(maxOf(capacity, 1))
    var size = 0
        private set

    operator fun get(index: Int): Int = items[index]

    fun add(item: Int) {
        if (size == items.size) items = items.copyOf(2 * size)
        items[size++] = item
    }

    fun addAll(more: IntArray, from: Int = 0, until: Int = more.size) {
        for (index in from until until) add(more[index])
    }

    fun toArray(): IntArray = items.copyOf(size)
}

/** A set of code points, as sorted inclusive ranges `[first, last, first, last, ...]`. */
internal class CodePointSet(private val ranges: IntArray) {
    init {
        val sorted = (1 until ranges.size).all { if (it % 2 == 0) ranges[it] > ranges[it - 1] else ranges[it] >= ranges[it - 1] }
        if (ranges.size % 2 != 0 || !sorted) malformed("a set is not of sorted ranges")
    }

    operator fun contains(code: Int): Boolean {
        var low = 0
        var high = ranges.size / 2 - 1
        while (low <= high) {
            val middle = (low + high) ushr 1
            when {
                code < ranges[2 * middle] -> high = middle - 1
                code > ranges[2 * middle + 1] -> low = middle + 1
                else -> return true
            }
        }
        return false
    }
}

/** Code points that something else stands for: none, one or several. */
internal class CodePointMap(private val replacements: Map<Int, IntArray>) {
    private val lowest = replacements.keys.minOrNull() ?: Int.MAX_VALUE

    operator fun get(code: Int): IntArray? = if (code < lowest) null else replacements[code]

    fun replaced(text: IntArray): IntArray {
        if (text.all { it < lowest }) return text
        val out = Ints(text.size)
        for (code in text) {
            val found = get(code)
            if (found != null) out.addAll(found) else out.add(code)
        }
        return out.toArray()
    }
}

/** Sequences of sets of code points, or of bytes, in the order in which they are tried. */
internal class ClassPatterns(private val classes: List<CodePointSet>, private val patterns: List<IntArray>) {
    init {
        val known = patterns.all { pattern -> pattern.isNotEmpty() && pattern.all { it in classes.indices } }
        if (!known) malformed("a pattern of unknown classes")
    }

    /** The length of the first pattern that matches at a place, or 0. */
    fun matchAt(text: IntArray, at: Int): Int = patterns.firstOrNull { matches(it, text, at) }?.size ?: 0

    fun matchAnywhere(text: IntArray): Boolean = text.indices.any { matchAt(text, it) > 0 }

    private fun matches(pattern: IntArray, text: IntArray, at: Int): Boolean {
        if (at + pattern.size > text.size) return false
        for (index in pattern.indices) if (text[at + index] !in classes[pattern[index]]) return false
        return true
    }
}
