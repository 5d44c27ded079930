package dev.edgeclip.core

import java.io.File

/**
 * SentencePiece with a unigram model (Kudo, "Subword Regularization", arXiv 1804.10959), from the one file that published models
 * have: text -> cleaned -> normalised by the model's own table -> the most probable pieces.
 */
class SentencePiece private constructor(
    override val spec: TokenizerSpec,
    tables: UnicodeTables,
    private val model: SentencePieceModel,
) : Tokenizer {
    private val cleaning = TextCleaning(tables)
    private val normalizer = PieceNormalizer(model)
    private val pieces = PieceTrie()
    private val unknownScore: Float
    private val bonus: Float // for symbols that are always taken

    init {
        val normal = model.pieces.filter { it.kind == Piece.Kind.NORMAL }
        unknownScore = (normal.minOfOrNull { it.score } ?: Float.MAX_VALUE) - UNKNOWN_PENALTY
        bonus = normal.maxOfOrNull { it.score } ?: -Float.MAX_VALUE
        for ((id, piece) in model.pieces.withIndex()) if (piece.kind.inText) pieces.add(piece.bytes, id)
    }

    override fun encode(text: String): IntArray {
        val bytes = normalizer.normalized(textOf(cleaning.cleaned(text, spec.clean)).encodeToByteArray())
        return spec.framed(ids(bytes))
    }

    /** The best path over the text: for every place, the best piece that ends there. */
    private fun ids(text: ByteArray): IntArray {
        val scores = FloatArray(text.size + 1)
        val starts = IntArray(text.size + 1) { -1 }
        val endIds = IntArray(text.size + 1)

        fun offer(start: Int, end: Int, id: Int, own: Float) {
            val score = own + scores[start]
            if (starts[end] >= 0 && score <= scores[end]) return
            scores[end] = score
            starts[end] = start
            endIds[end] = id
        }

        var start = 0
        while (start < text.size) {
            val next = minOf(start + characterLength(text[start]), text.size)
            var found = false
            pieces.prefixes(text, start) { end, id ->
                val kind = model.pieces[id].kind
                if (kind != Piece.Kind.UNUSED) {
                    val taken = kind == Piece.Kind.USER_DEFINED
                    offer(start, end, id, if (taken) (end - start) * bonus - 0.1f else model.pieces[id].score)
                    if (end == next) found = true
                }
            }
            if (!found) offer(start, next, model.unknown, unknownScore)
            start = next
        }
        return path(text, starts, endIds)
    }

    /** Back from the end. Unknown characters become their bytes, or one unknown id for a run of them. */
    private fun path(text: ByteArray, starts: IntArray, endIds: IntArray): IntArray {
        val reversed = Ints(text.size / 2)
        var end = text.size
        var unknownBefore = false
        while (end > 0) {
            val id = endIds[end]
            val unknown = id == model.unknown
            when {
                !unknown -> reversed.add(id)
                model.bytes != null -> for (at in end - 1 downTo starts[end]) reversed.add(model.bytes[text[at].toInt() and 255])
                !unknownBefore -> reversed.add(id)
            }
            unknownBefore = unknown
            end = starts[end]
        }
        return reversed.toArray().apply { reverse() }
    }

    companion object {
        const val MODEL = "tokenizer/spiece.model"
        private const val MAX_BYTES = 32L shl 20
        private const val UNKNOWN_PENALTY = 10f
        private const val END_PIECE = "</s>"

        /** Reads a bundle's file, whose hash the caller has checked. Throws [EdgeClipException.BadBundle]. */
        fun load(file: File, spec: TokenizerSpec, tables: UnicodeTables = UnicodeTables.bundled): SentencePiece =
            reading(file.path, EdgeClipException::BadBundle) {
                val model = SentencePieceModel.of(readBounded(file, MAX_BYTES))
                val size = model.pieces.size
                if (size != spec.vocabSize) malformed("it has $size pieces, the model ${spec.vocabSize} ids")
                val end = model.pieces.indexOfFirst { it.bytes.contentEquals(END_PIECE.encodeToByteArray()) }
                if (end != spec.eot) malformed("its end token $END_PIECE has id $end, the model's has ${spec.eot}")
                SentencePiece(spec, tables, model)
            }
    }
}

/** How many bytes a UTF-8 character of this first byte has; 1 for what begins none. */
internal fun characterLength(first: Byte): Int = when (first.toInt() and 255) {
    in 0xC0..0xDF -> 2
    in 0xE0..0xEF -> 3
    in 0xF0..0xFF -> 4
    else -> 1
}
