package dev.edgeclip.core

/** The indices of the [k] largest scores, largest first, the lower index first of equal ones. */
fun topK(scores: DoubleArray, k: Int): IntArray {
    if (k < 1) throw EdgeClipException.BadInput("the best $k of something; at least 1 is needed")
    if (scores.any { it.isNaN() }) throw EdgeClipException.BadInput("a score is not a number")
    val best = TopK(minOf(k, scores.size))
    scores.forEachIndexed { index, score -> best.offer(index, score) }
    return best.indices()
}

/** Collects the best [k] of what is offered, in a heap with the worst of them on top. */
internal class TopK(private val k: Int) {
    private val indices = IntArray(k)
    private val scores = DoubleArray(k)
    private var size = 0

    /** What a score has to reach to be among them; minus infinity until there are k. */
    val floor: Double get() = if (size < k || k == 0) Double.NEGATIVE_INFINITY else scores[0]

    fun offer(index: Int, score: Double) {
        if (size < k) {
            indices[size] = index
            scores[size] = score
            var child = size++
            while (child > 0 && worse(child, (child - 1) / 2)) {
                swap(child, (child - 1) / 2)
                child = (child - 1) / 2
            }
        } else if (k > 0 && (score > scores[0] || (score == scores[0] && index < indices[0]))) {
            indices[0] = index
            scores[0] = score
            sink()
        }
    }

    /** Best first. */
    fun indices(): IntArray =
        (0 until size).sortedWith(compareByDescending<Int> { scores[it] }.thenBy { indices[it] }).map { indices[it] }.toIntArray()

    private fun worse(a: Int, b: Int) = scores[a] < scores[b] || (scores[a] == scores[b] && indices[a] > indices[b])

    private fun sink() {
        var parent = 0
        while (true) {
            var worst = parent
            for (child in 2 * parent + 1..minOf(2 * parent + 2, size - 1)) if (worse(child, worst)) worst = child
            if (worst == parent) return
            swap(parent, worst)
            parent = worst
        }
    }

    private fun swap(a: Int, b: Int) {
        indices[a] = indices[b].also { indices[b] = indices[a] }
        scores[a] = scores[b].also { scores[b] = scores[a] }
    }
}
