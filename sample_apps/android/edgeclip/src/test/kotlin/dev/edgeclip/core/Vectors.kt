package dev.edgeclip.core

import java.io.File
import org.junit.Assume.assumeTrue

/**
 * What Python made for these tests (`python -m tests.apps.vectors --out DIR`), in the folder $EDGECLIP_VECTORS. Tests that need
 * it are skipped without. What they make for Python to look at goes to $EDGECLIP_OUT.
 */
internal object Vectors {
    fun file(name: String): File = File(folder("EDGECLIP_VECTORS"), name)

    fun out(name: String): File = File(folder("EDGECLIP_OUT"), name).also { it.parentFile.mkdirs() }

    private fun folder(variable: String): File {
        val folder = System.getenv(variable)
        assumeTrue("$variable is not set", folder != null)
        return File(folder)
    }

    fun json(name: String): JsonObject = Json.parseObject(file(name).readBytes())

    fun objects(name: String): List<JsonObject> = (Json.parse(file(name).readBytes()) as List<*>).map { JsonObject.of(it, name) }

    /** The objects of a file with one a line. */
    fun lines(name: String): Sequence<JsonObject> =
        file(name).readLines(Charsets.US_ASCII).asSequence().map { Json.parseObject(it.encodeToByteArray()) }

    fun manifest(): Manifest = Manifest.read(file("bundle/${Manifest.FILE}"))
}

/** A list of lists of numbers. */
internal fun JsonObject.rows(key: String): List<FloatArray> =
    list(key).map { row -> (row as List<*>).map { (it as Number).toFloat() }.toFloatArray() }
