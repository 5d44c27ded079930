package dev.edgeclip.core

import kotlin.math.abs
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

/** Pixels are Python's for every picture of the vectors; Python looks at what is written too. */
class PictureParityTest {
    @Test fun pixels() {
        var pictures = 0
        val wrong = mutableListOf<String>()
        for (entry in Vectors.objects("images/index.json")) {
            if (entry.has("error")) continue
            val picture = picture(entry)
            for (expected in entry.children("expected")) {
                val file = "images/${expected.string("file")}"
                val preprocess = Preprocess.of(expected.child("preprocess"))
                val pixels = preprocess.pixels(picture)
                Vectors.out(file).writeBytes(pixels)
                val wanted = Vectors.file(file).readBytes()
                assertEquals(wanted.size, pixels.size)
                val difference = pixels.indices.maxOf { abs((pixels[it].toInt() and 255) - (wanted[it].toInt() and 255)) }
                if (difference > 1) wrong += "$file (${entry.string("name")}, $preprocess): $difference of 255"
            }
            pictures++
        }
        assertTrue("only $pictures pictures", pictures >= 200)
        assertTrue("${wrong.size}:\n" + wrong.joinToString("\n"), wrong.isEmpty())
    }

    @Test fun picturesThatPythonRefusesAreRefused() {
        val refused = Vectors.objects("images/index.json").filter { it.has("error") }
        assertFalse(refused.isEmpty())
        for (entry in refused) {
            val error = assertThrows(EdgeClipException.BadInput::class.java) { picture(entry) }
            assertEquals(entry.string("error"), error.message)
        }
    }

    @Test fun everyAlphaOnWhite() {
        for (alpha in 0..255) for (value in 0..255) {
            val exact = (value * alpha + 255 * (255 - alpha)) / 255.0
            val gray = value shl 16 or (value shl 8) or value
            val pixel = onWhite(alpha shl 24 or gray)
            assertEquals(exact, (pixel and 255).toDouble(), 0.5 + 1e-9)
            assertEquals(0, pixel ushr 24)
            assertTrue(pixel shr 16 == (pixel and 255) && pixel shr 8 and 255 == (pixel and 255))
        }
    }

    @Test fun tensorIsPlanarInTheRangeOfTheManifest() {
        val preprocess = Preprocess(8, Preprocess.Resize.SQUASH, Preprocess.Interpolation.BICUBIC)
        val pixels = ByteArray(3 * 64) { (it % 3 * 100).toByte() }
        val tensor = preprocess.tensor(pixels)
        assertEquals(listOf(0f, 100 / 255f, 200 / 255f), listOf(tensor[0], tensor[64], tensor[191]))
        val around = preprocess.copy(range = -1f to 1f).tensor(pixels)
        assertEquals(listOf(-1f, -1f + 100 / 255f * 2f), listOf(around[0], around[64]))
        assertThrows(EdgeClipException.BadInput::class.java) { preprocess.tensor(pixels.copyOf(5)) }
    }

    private fun picture(entry: JsonObject): Picture {
        val rgba = Vectors.file("images/${entry.string("file")}").readBytes()
        val width = entry.int("width", 1..Int.MAX_VALUE)
        val height = entry.int("height", 1..Int.MAX_VALUE)
        return Picture.ofRgba(width, height, rgba).oriented(entry.int("orientation", 1..8))
    }
}
