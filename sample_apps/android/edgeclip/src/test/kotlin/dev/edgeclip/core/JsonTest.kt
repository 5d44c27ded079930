package dev.edgeclip.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

class JsonTest {
    private fun parse(text: String) = Json.parse(text.encodeToByteArray())

    @Test fun values() {
        assertEquals(listOf(1L, -0.5, 2e3, true, false, null, "a"), parse(""" [1, -0.5, 2e3, true, false, null, "a"] """))
        assertEquals(mapOf("a" to emptyMap<String, Any?>(), "b" to emptyList<Any?>()), parse("""{"a": {}, "b": []}"""))
        assertEquals("\"\\/\b\u000C\n\r\té\uD83D\uDE00\uD800", parse(""""\"\\\/\b\f\n\r\t\u00e9\uD83D\ude00\ud800""""))
        assertEquals(Long.MAX_VALUE, parse("${Long.MAX_VALUE}"))
    }

    @Test fun whatIsQuotedIsReadAgain() {
        val text = "a \"b\" \\ \u0001 é \uD83D\uDE00 \uD800 \u007F"
        assertEquals(text, parse(Json.quoted(text)))
    }

    @Test fun whatIsNoJsonIsRefused() {
        val broken = listOf(
            "", " ", "[", "]", "[1,]", "[1 2]", "[1] 2", "[".repeat(100_000), "\u00A0[]",
            "{\"a\"}", "{\"a\":1,}", "{a:1}", "{\"a\":1,\"a\":2}",
            "nul", "NaN", "Infinity", "01", "+1", "1.", ".5", "1e", "-", "1e999", "${Long.MAX_VALUE}0",
            "\"", "\"\\x\"", "\"\\u12\"", "\"\\u00\uFF11\uFF11\"", "\"\n\"", "'a'",
        )
        for (text in broken) assertThrows(text.take(40), Malformed::class.java) { parse(text) }
        assertThrows(Malformed::class.java) { Json.parse(byteArrayOf('"'.code.toByte(), -1, '"'.code.toByte())) }
    }
}
