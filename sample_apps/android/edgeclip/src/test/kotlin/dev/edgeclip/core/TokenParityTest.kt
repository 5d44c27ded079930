package dev.edgeclip.core

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

/** Token ids equal Python's for every text of the vectors. */
class TokenParityTest {
    @Test fun clip() = replay("clip")

    @Test fun sentencePiece() = replay("sentencepiece")

    @Test fun sentencePieceWithBytes() = replay("sentencepiece-bytes")

    @Test fun everyStepOfTheCleaning() {
        val cleaning = TextCleaning(UnicodeTables.bundled)
        for (line in Vectors.lines("cleaning.jsonl")) {
            val text = line.string("text")
            val what = Json.quoted(text)
            assertEquals("ftfy of $what", line.string("ftfy"), cleaning.repaired(text))
            assertEquals("lower of $what", line.string("lower"), cleaning.lower(text))
            assertEquals("canonicalize of $what", line.string("canonicalize"), cleaning.canonicalize(text))
        }
    }

    @Test fun textsBeyondTheLimitAreRefused() {
        val cleaning = TextCleaning(UnicodeTables.bundled)
        val emoji = "\uD83D\uDE00" // counted once, as Python does
        assertEquals(2 * TextCleaning.MAX_CHARACTERS, cleaning.lower(emoji.repeat(TextCleaning.MAX_CHARACTERS)).length)
        assertThrows(EdgeClipException.BadInput::class.java) { cleaning.lower("a".repeat(TextCleaning.MAX_CHARACTERS + 1)) }
    }

    private fun replay(name: String) {
        val tokenizer = tokenizer(name)
        var count = 0
        for (line in Vectors.lines("tokens/$name.jsonl")) {
            val text = line.string("text")
            assertArrayEquals(Json.quoted(text.take(200)), line.ints("ids"), tokenizer.encode(text))
            count++
        }
        assertTrue("only $count texts", count >= 10_000)
        for (line in Vectors.lines("utf16/$name.jsonl")) {
            val text = String(line.ints("utf16").map { it.toChar() }.toCharArray())
            assertArrayEquals(Json.quoted(text), line.ints("ids"), tokenizer.encode(text))
        }
    }

    private fun tokenizer(name: String): Tokenizer {
        val spec = TokenizerSpec.of(Vectors.json("tokens/$name.json"))
        fun file(path: String) = Vectors.file("tokens/$name/${path.substringAfterLast('/')}")
        return when (spec.tokenizer) {
            TokenizerSpec.CLIP_BPE -> ClipBpe.load(file(ClipBpe.VOCAB), file(ClipBpe.MERGES), spec)
            else -> SentencePiece.load(file(SentencePiece.MODEL), spec)
        }
    }
}
