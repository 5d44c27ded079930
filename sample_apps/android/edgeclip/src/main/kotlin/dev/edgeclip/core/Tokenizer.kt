package dev.edgeclip.core

/** Texts to the text tower's input. Implementations are safe to use from several threads. */
interface Tokenizer {
    val spec: TokenizerSpec

    /** (context_length) ids, of any text up to [TextCleaning.MAX_CHARACTERS]. Throws [EdgeClipException.BadInput] beyond. */
    fun encode(text: String): IntArray
}

/** The manifest's `text`: `[sot] ... eot pad pad`, cut so that [eot] stays. */
data class TokenizerSpec(
    val tokenizer: String,
    val contextLength: Int,
    val sot: Int?,
    val eot: Int,
    val pad: Int,
    val vocabSize: Int,
    val clean: Clean,
) {
    enum class Clean { LOWER, CANONICALIZE }

    /** The ids of a text as a row of the tower's input. */
    fun framed(ids: IntArray): IntArray {
        val row = IntArray(contextLength) { pad }
        var size = 0
        if (sot != null) row[size++] = sot
        val kept = minOf(ids.size, contextLength - 1 - size)
        ids.copyInto(row, size, 0, kept)
        row[size + kept] = eot
        return row
    }

    internal companion object {
        const val CLIP_BPE = "clip-bpe"
        const val SENTENCEPIECE = "sentencepiece"
        private const val MAX_IDS = 1 shl 24

        fun of(json: JsonObject): TokenizerSpec {
            json.only("tokenizer", "context_length", "sot", "eot", "pad", "vocab_size", "clean", "vocabulary")
            val ids = 0..Int.MAX_VALUE
            val spec = TokenizerSpec(
                json.oneOf("tokenizer", CLIP_BPE, SENTENCEPIECE),
                json.int("context_length", 3..4096),
                if (json.has("sot")) json.int("sot", ids) else null,
                json.int("eot", ids),
                json.int("pad", ids),
                if (json.has("vocab_size")) json.int("vocab_size", 3..MAX_IDS) else 49408,
                if (json.has("clean")) Clean.valueOf(json.oneOf("clean", "lower", "canonicalize").uppercase()) else Clean.LOWER,
            )
            val largest = maxOf(spec.sot ?: 0, spec.eot, spec.pad)
            if (largest >= spec.vocabSize) malformed("id $largest is beyond the vocabulary of ${spec.vocabSize}")
            return spec
        }
    }
}
