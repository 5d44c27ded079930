package dev.edgeclip.core

import java.io.IOException

/**
 * What the tokenizers know of Unicode, HTML and mojibake: `text_tables.json`, made from the Python reference
 * (`scripts/app_text_tables.py` documents every table). Nothing depends on the Unicode version of the phone.
 */
class UnicodeTables private constructor(json: JsonObject) {
    internal val html = HtmlTables(json.child("html"))
    internal val ftfy = FtfyTables(json.child("ftfy"), html)
    internal val normalization = NormalizationTables(json.child("nfc"))
    internal val case = CaseTables(json.child("case"))
    internal val words = WordTables(json.child("words"))
    internal val punctuation = json.set("ascii_punctuation")

    companion object {
        const val SCHEMA = "edgeclip.text_tables/1"
        private const val RESOURCE = "/dev/edgeclip/core/text_tables.json"

        /** The tables that this package was built with. */
        val bundled: UnicodeTables by lazy {
            reading(RESOURCE, EdgeClipException::BadFile) {
                val stream = UnicodeTables::class.java.getResourceAsStream(RESOURCE) ?: throw IOException("not in this build")
                of(stream.use { it.readBytes() })
            }
        }

        internal fun of(bytes: ByteArray): UnicodeTables {
            val json = Json.parseObject(bytes)
            val schema = json.string("schema")
            if (schema != SCHEMA) malformed("\"schema\" is \"$schema\", and this app reads \"$SCHEMA\"")
            return UnicodeTables(json)
        }
    }
}

/** HTML's references. [entities]: by name without `&`, with `;` where it has one. */
internal class HtmlTables(json: JsonObject) {
    val entities: Map<String, IntArray> = json.child("entities").run { keys.associateWith(::ints) }
    val numeric = json.map("numeric")
    val dropped = json.set("dropped")
}

/** A one-byte encoding: [chars] by byte, and back. */
internal class Charmap(json: JsonObject) {
    val name = json.string("name")
    val sloppy = json.boolean("sloppy")
    val restoresA0 = json.boolean("restores_a0")
    val chars = json.ints("chars").also { if (it.size != 256) malformed("\"chars\" are not 256") }
    private val bytes = chars.withIndex().associate { (byte, char) -> char to byte }

    /** As bytes, or null where a character has none. */
    fun encoded(text: IntArray): IntArray? {
        val out = IntArray(text.size)
        for (index in text.indices) out[index] = bytes[text[index]] ?: return null
        return out
    }
}

internal class FtfyTables(json: JsonObject, html: HtmlTables) {
    val entities: Map<String, IntArray> =
        html.entities.filterKeys { it.endsWith(';') } + json.child("entities").run { keys.associateWith(::ints) }
    val charmaps = json.children("charmaps").map(::Charmap)
    val latin1 = charmaps.single { it.name == "latin-1" }
    val sloppyWindows1252 = charmaps.single { it.name == "sloppy-windows-1252" }

    /** By byte, -1 where the standard has nothing. */
    val windows1252 = json.list("windows_1252").map { (it as? Long)?.toInt() ?: -1 }.toIntArray()
    private val badClasses = json.child("bad").sets("classes")
    val bad = ClassPatterns(badClasses, json.child("bad").intLists("patterns"))
    val badStart = ClassPatterns(badClasses, json.child("bad").intLists("start_patterns"))
    val firstOf = json.child("utf8").run { listOf(set("first_of_2"), set("first_of_3"), set("first_of_4")) }
    val continuation = json.child("utf8").set("continuation")
    val strictContinuation = json.child("utf8").set("continuation_strict")
    val alteredUtf8 = json.patterns("altered_utf8")
    val lossyUtf8 = json.patterns("lossy_utf8")
    val ligatures = json.map("ligatures")
    val width = json.map("width")
    val singleQuotes = json.set("single_quotes")
    val doubleQuotes = json.set("double_quotes")
    val c1 = json.set("c1")
    val control = json.set("control")
    val decimal = json.set("decimal")
    val alphabetic = json.set("alphabetic")
}

internal class NormalizationTables(json: JsonObject) {
    val decompositions = json.map("decompositions")
    private val classes = HashMap<Int, Int>()
    private val compositions = HashMap<Long, Int>()

    init {
        json.triples("classes") { first, last, value ->
            if (last !in first..0x10FFFF) malformed("\"classes\" are not of ranges")
            for (code in first..last) classes[code] = value
        }
        json.triples("compositions") { first, second, composite -> compositions[pair(first, second)] = composite }
    }

    fun combiningClass(code: Int): Int = classes[code] ?: 0

    fun composite(first: Int, second: Int): Int? = compositions[pair(first, second)]

    private fun pair(first: Int, second: Int) = first.toLong() shl 32 or second.toLong()
}

internal class CaseTables(json: JsonObject) {
    val lower = json.map("lower")
    val cased = json.set("cased")
    val ignorable = json.set("case_ignorable")
    val space = json.set("space")
}

internal class WordTables(json: JsonObject) {
    val letter = json.set("letter")
    val number = json.set("number")
    val other = json.set("other")

    /** What matches a letter of the pattern's fixed words, ignoring case. */
    val folded: Map<Int, CodePointSet> = json.child("folded").run { keys.associate { codeOf(it) to set(it) } }
}

private fun codeOf(key: String): Int = key.toIntOrNull() ?: malformed("\"$key\" is not a code point")

private fun JsonObject.set(key: String) = CodePointSet(ints(key))

private fun JsonObject.map(key: String) = CodePointMap(child(key).run { keys.associate { codeOf(it) to ints(it) } })

private fun JsonObject.intLists(key: String): List<IntArray> =
    list(key).map { inner ->
        val numbers = inner as? List<*> ?: malformed("\"$key\" is not a list of lists")
        IntArray(numbers.size) { (numbers[it] as? Long)?.toInt() ?: malformed("\"$key\" is not of whole numbers") }
    }

private fun JsonObject.sets(key: String): List<CodePointSet> = intLists(key).map(::CodePointSet)

private fun JsonObject.patterns(key: String): ClassPatterns =
    child(key).run { ClassPatterns(sets("classes"), intLists("patterns")) }

private fun JsonObject.triples(key: String, each: (Int, Int, Int) -> Unit) {
    val flat = ints(key)
    if (flat.size % 3 != 0) malformed("\"$key\" are not triples")
    for (at in flat.indices step 3) each(flat[at], flat[at + 1], flat[at + 2])
}
