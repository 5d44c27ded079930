package dev.edgeclip.core

/** One piece of a vocabulary; its id is its place. */
internal class Piece(val bytes: ByteArray, val score: Float, val kind: Kind) {
    /** As the format numbers them, from 1 on. [inText]: whether it is looked for in texts. */
    enum class Kind(val inText: Boolean) {
        NORMAL(true), UNKNOWN(false), CONTROL(false), USER_DEFINED(true), UNUSED(true), BYTE(false)
    }
}

/**
 * A serialised `sentencepiece.ModelProto`
 * (https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto), of which unigram models are read.
 */
internal class SentencePieceModel private constructor(
    val pieces: List<Piece>,
    val normalizer: NormalizerSpec,
    byteFallback: Boolean,
    val suffix: Boolean,
) {
    val unknown: Int =
        pieces.indices.singleOrNull { pieces[it].kind == Piece.Kind.UNKNOWN } ?: malformed("not one unknown piece")

    /** The ids of the 256 bytes, where unknown characters become bytes. */
    val bytes: IntArray? = if (byteFallback) byteIds() else null

    private fun byteIds(): IntArray {
        val ids = HashMap<String, Int>()
        for ((id, piece) in pieces.withIndex()) if (piece.kind == Piece.Kind.BYTE) ids[piece.bytes.decodeToString()] = id
        return IntArray(256) { ids["<0x%02X>".format(it)] ?: malformed("no piece for byte $it") }
    }

    companion object {
        private const val UNIGRAM = 1

        fun of(content: ByteArray): SentencePieceModel {
            val pieces = ArrayList<Piece>()
            var normalizer = NormalizerSpec()
            var type = UNIGRAM
            var byteFallback = false
            var suffix = false
            for (field in Protobuf(content)) {
                when (field.number) {
                    1 -> pieces += piece(field.message())
                    2 -> for (setting in field.message()) {
                        when (setting.number) {
                            3 -> type = setting.int()
                            24 -> suffix = setting.boolean()
                            35 -> byteFallback = setting.boolean()
                        }
                    }
                    3 -> normalizer = NormalizerSpec.of(field.message())
                }
            }
            if (type != UNIGRAM) malformed("model type $type; only unigram models are supported")
            if (pieces.distinctBy { it.bytes.decodeToString() }.size != pieces.size) malformed("a piece is given twice")
            return SentencePieceModel(pieces, normalizer, byteFallback, suffix)
        }

        private fun piece(message: Protobuf): Piece {
            var bytes = ByteArray(0)
            var score = 0f
            var kind = Piece.Kind.NORMAL
            for (field in message) {
                when (field.number) {
                    1 -> bytes = field.bytes()
                    2 -> score = field.float()
                    3 -> kind = Piece.Kind.entries.getOrNull(field.int() - 1) ?: malformed("a piece of unknown kind")
                }
            }
            if (bytes.isEmpty()) malformed("an empty piece")
            if (!score.isFinite()) malformed("a score is not a number")
            return Piece(bytes, score, kind)
        }
    }
}

/** How a text is put in form. [charsmap]: a double array of replacements, see [PieceNormalizer]. */
internal class NormalizerSpec(
    val charsmap: ByteArray = ByteArray(0),
    val dummyPrefix: Boolean = true,
    val removeExtraSpaces: Boolean = true,
    val escapeSpaces: Boolean = true,
) {
    companion object {
        fun of(message: Protobuf): NormalizerSpec {
            var charsmap = ByteArray(0)
            val flags = booleanArrayOf(true, true, true)
            for (field in message) {
                when (field.number) {
                    2 -> charsmap = field.bytes()
                    in 3..5 -> flags[field.number - 3] = field.boolean()
                }
            }
            return NormalizerSpec(charsmap, flags[0], flags[1], flags[2])
        }
    }
}
