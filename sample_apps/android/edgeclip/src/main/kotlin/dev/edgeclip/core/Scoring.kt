package dev.edgeclip.core

import kotlin.math.exp

/** How cosines become scores: softmax(scale * cos) over labels, or sigmoid(scale * cos + bias) for each on its own. */
data class Scoring(val kind: Kind, val logitScale: Double, val logitBias: Double = 0.0) {
    enum class Kind { SOFTMAX, SIGMOID }

    /** Scores of one picture's cosines with every label, in their order. Throws [EdgeClipException.BadInput] for none, or NaN. */
    fun scores(cosines: DoubleArray): DoubleArray {
        if (cosines.isEmpty()) throw EdgeClipException.BadInput("no labels to score")
        if (cosines.any { !it.isFinite() }) throw EdgeClipException.BadInput("a cosine is not a number: is the embedding one?")
        val logits = DoubleArray(cosines.size) { logitScale * cosines[it] }
        if (kind == Kind.SIGMOID) return DoubleArray(logits.size) { 1 / (1 + exp(-(logits[it] + logitBias))) }
        val largest = logits.max()
        val exponentials = DoubleArray(logits.size) { exp(logits[it] - largest) }
        val sum = exponentials.sum()
        return DoubleArray(logits.size) { exponentials[it] / sum }
    }

    internal companion object {
        fun of(json: JsonObject): Scoring {
            json.only("kind", "logit_scale", "logit_bias")
            val kind = Kind.valueOf(json.oneOf("kind", "softmax", "sigmoid").uppercase())
            val scale = json.double("logit_scale")
            if (scale <= 0) malformed("\"logit_scale\" is $scale, not positive")
            return Scoring(kind, scale, json.doubleOrNull("logit_bias") ?: 0.0)
        }
    }
}
