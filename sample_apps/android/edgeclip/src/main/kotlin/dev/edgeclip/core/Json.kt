package dev.edgeclip.core

import java.nio.ByteBuffer
import java.nio.charset.CharacterCodingException
import java.nio.charset.CodingErrorAction

/**
 * A strict JSON reader (RFC 8259) for files of unknown origin: UTF-8 only, no duplicate keys, no numbers beyond a double, bounded
 * nesting. Strings may hold lone surrogates where they are escaped.
 */
internal class Json private constructor(private val text: CharSequence) {
    private var at = 0

    companion object {
        private const val MAX_DEPTH = 64
        private const val HEX = "0123456789abcdefABCDEF"

        /** Map, List, String, Long, Double, Boolean or null. */
        fun parse(bytes: ByteArray): Any? = Json(utf8(bytes)).document()

        /** A document that has to be an object. */
        fun parseObject(bytes: ByteArray): JsonObject = JsonObject.of(parse(bytes), "the document")

        /** A text as JSON has it. */
        fun quoted(text: String): String {
            val out = StringBuilder("\"")
            for (c in text) {
                when {
                    c == '"' || c == '\\' -> out.append('\\').append(c)
                    c in ' '..'~' -> out.append(c)
                    else -> out.append("\\u").append(c.code.toString(16).padStart(4, '0'))
                }
            }
            return out.append('"').toString()
        }

        fun utf8(bytes: ByteArray, from: Int = 0, until: Int = bytes.size): String =
            try {
                val decoder = Charsets.UTF_8.newDecoder()
                decoder.onMalformedInput(CodingErrorAction.REPORT).onUnmappableCharacter(CodingErrorAction.REPORT)
                decoder.decode(ByteBuffer.wrap(bytes, from, until - from)).toString()
            } catch (e: CharacterCodingException) {
                malformed("not UTF-8 text")
            }
    }

    private fun document(): Any? {
        val value = value(0)
        space()
        if (at != text.length) fail("something after the end")
        return value
    }

    private fun fail(what: String): Nothing = malformed("not valid JSON: $what at character $at")

    private fun space() {
        while (at < text.length && text[at] in " \t\r\n") at++
    }

    private fun value(depth: Int): Any? {
        if (depth > MAX_DEPTH) fail("nested too deeply")
        space()
        if (at == text.length) fail("an early end")
        return when (text[at]) {
            '{' -> fields(depth)
            '[' -> items(depth)
            '"' -> string()
            't' -> word("true", true)
            'f' -> word("false", false)
            'n' -> word("null", null)
            else -> number()
        }
    }

    private fun word(name: String, value: Any?): Any? {
        if (!text.startsWith(name, at)) fail("an unknown word")
        at += name.length
        return value
    }

    private fun fields(depth: Int): Map<String, Any?> {
        val found = LinkedHashMap<String, Any?>()
        at++
        if (closes('}')) return found
        while (true) {
            space()
            if (at == text.length || text[at] != '"') fail("no key")
            val key = string()
            space()
            if (at == text.length || text[at] != ':') fail("no colon")
            at++
            val value = value(depth + 1)
            if (key in found) fail("a second \"$key\"")
            found[key] = value
            if (closes('}')) return found
            comma()
        }
    }

    private fun items(depth: Int): List<Any?> {
        val found = ArrayList<Any?>()
        at++
        if (closes(']')) return found
        while (true) {
            found.add(value(depth + 1))
            if (closes(']')) return found
            comma()
        }
    }

    private fun closes(bracket: Char): Boolean {
        space()
        if (at == text.length || text[at] != bracket) return false
        at++
        return true
    }

    private fun comma() {
        if (at == text.length || text[at] != ',') fail("no comma")
        at++
    }

    private fun string(): String {
        val start = ++at
        while (at < text.length && text[at] != '"' && text[at] != '\\' && text[at] >= ' ') at++
        if (at < text.length && text[at] == '"') return text.substring(start, at++)
        val out = StringBuilder().append(text, start, at)
        while (at < text.length) {
            val c = text[at++]
            when {
                c == '"' -> return out.toString()
                c == '\\' -> out.append(escaped())
                c < ' ' -> fail("a control character")
                else -> out.append(c)
            }
        }
        fail("an unclosed string")
    }

    private fun escaped(): Char {
        if (at == text.length) fail("an unclosed string")
        return when (val c = text[at++]) {
            '"', '\\', '/' -> c
            'b' -> '\b'
            'f' -> '\u000C'
            'n' -> '\n'
            'r' -> '\r'
            't' -> '\t'
            'u' -> {
                if (at + 4 > text.length) fail("an unclosed string")
                var code = 0
                repeat(4) {
                    val digit = HEX.indexOf(text[at++])
                    if (digit < 0) fail("a bad escape")
                    code = code * 16 + if (digit < 16) digit else digit - 6
                }
                code.toChar()
            }
            else -> fail("a bad escape")
        }
    }

    private fun number(): Any {
        val start = at
        if (peek('-')) at++
        if (peek('0')) at++ else digits()
        var whole = true
        if (peek('.')) {
            whole = false
            at++
            digits()
        }
        if (peek('e') || peek('E')) {
            whole = false
            at++
            if (peek('+') || peek('-')) at++
            digits()
        }
        val digits = text.substring(start, at)
        val value = if (whole) digits.toLongOrNull() else digits.toDouble().takeIf { it.isFinite() }
        return value ?: fail("a number out of range")
    }

    private fun peek(c: Char) = at < text.length && text[at] == c

    private fun digits() {
        val start = at
        while (at < text.length && text[at] in '0'..'9') at++
        if (at == start) fail("an unexpected character")
    }
}

/** An object of a file, whose fields have to be what they are asked for as. */
internal class JsonObject private constructor(private val fields: Map<String, Any?>, private val where: String) {
    companion object {
        fun of(value: Any?, where: String): JsonObject {
            if (value !is Map<*, *>) malformed("$where is not an object")
            @Suppress("UNCHECKED_CAST") // Json makes no other maps
            return JsonObject(value as Map<String, Any?>, where)
        }
    }

    val keys: Set<String> get() = fields.keys

    /** Refuses keys that nobody would read: they come from a newer format or a mistake. */
    fun only(vararg known: String): JsonObject {
        val unknown = fields.keys - known.toSet()
        if (unknown.isNotEmpty()) malformed("$where has unknown \"${unknown.first()}\"")
        return this
    }

    fun has(key: String): Boolean = fields[key] != null

    operator fun get(key: String): Any = fields[key] ?: malformed("$where has no \"$key\"")

    fun string(key: String): String = get(key) as? String ?: wrong(key, "text")

    fun string(key: String, pattern: Regex): String =
        string(key).also { if (!pattern.matches(it)) wrong(key, "as it should be") }

    fun oneOf(key: String, vararg names: String): String =
        string(key).also { if (it !in names) malformed("$where: \"$key\" is not one of ${names.joinToString()}") }

    fun stringOrNull(key: String): String? = if (has(key)) string(key) else null

    fun long(key: String, range: LongRange): Long {
        val value = get(key) as? Long ?: wrong(key, "a whole number")
        if (value !in range) malformed("$where: \"$key\" is $value, not ${range.first} to ${range.last}")
        return value
    }

    fun int(key: String, range: IntRange): Int = long(key, range.first.toLong()..range.last.toLong()).toInt()

    fun double(key: String): Double = asDouble(get(key)) ?: wrong(key, "a number")

    fun doubleOrNull(key: String): Double? = if (has(key)) double(key) else null

    fun boolean(key: String): Boolean = get(key) as? Boolean ?: wrong(key, "true or false")

    fun child(key: String): JsonObject = of(get(key), "\"$key\"")

    fun list(key: String): List<Any?> = get(key) as? List<*> ?: wrong(key, "a list")

    fun children(key: String): List<JsonObject> = list(key).mapIndexed { index, value -> of(value, "\"$key\"[$index]") }

    fun strings(key: String): List<String> = list(key).map { it as? String ?: wrong(key, "a list of texts") }

    fun doubles(key: String): DoubleArray {
        val values = list(key)
        return DoubleArray(values.size) { asDouble(values[it]) ?: wrong(key, "a list of numbers") }
    }

    fun ints(key: String): IntArray {
        val values = list(key)
        return IntArray(values.size) {
            val value = values[it] as? Long ?: wrong(key, "a list of whole numbers")
            if (value !in Int.MIN_VALUE..Int.MAX_VALUE) wrong(key, "of numbers that small")
            value.toInt()
        }
    }

    private fun asDouble(value: Any?): Double? = (value as? Double) ?: (value as? Long)?.toDouble()

    private fun wrong(key: String, what: String): Nothing = malformed("$where: \"$key\" is not $what")
}
