package dev.edgeclip.core

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class BundleTest {
    private val backends = listOf("xnnpack")

    private fun bundle() = Bundle.open(Vectors.file("bundle"))

    @Test fun aBundleIsOpenedAndItsTokenizerUsed() {
        val bundle = bundle()
        val manifest = bundle.manifest
        assertEquals("tinyclip-demo", manifest.model)
        assertEquals(64, manifest.image.size)
        for (tower in Tower.entries) assertTrue(bundle.verified(bundle.artifact(tower, "executorch", backends)).isFile)
        val tokenizer = bundle.tokenizer(UnicodeTables.bundled)
        for (text in bundle.golden().texts) assertArrayEquals(text.text, text.ids, tokenizer.encode(text.text))
        assertThrows(EdgeClipException.BadBundle::class.java) { bundle.artifact(Tower.IMAGE, "executorch", listOf("vulkan")) }
        assertThrows(EdgeClipException.BadBundle::class.java) { bundle.verifiedFile("no such file") }
    }

    @Test fun aLongTextKeepsItsEnd() {
        val tokenizer = bundle().tokenizer(UnicodeTables.bundled)
        val ids = tokenizer.encode("a dog, running ".repeat(1000))
        assertEquals(tokenizer.spec.contextLength, ids.size)
        assertEquals(tokenizer.spec.eot, ids.last())
    }

    @Test fun theSelfTestPassesWithTheOriginalsEmbeddings() {
        val bundle = bundle()
        val golden = bundle.golden()
        val test = SelfTest(bundle.manifest, golden)
        val image = bundle.artifact(Tower.IMAGE, "executorch", backends)
        val text = bundle.artifact(Tower.TEXT, "executorch", backends)
        val images = golden.images.iterator()
        val report = test.image(image, { images.next().embedding })
        assertTrue(report.failures.toString(), report.passed)
        assertEquals(golden.images.size, report.samples)
        val known = golden.texts.associate { it.ids.toList() to it.embedding }
        val tokenizer = bundle.tokenizer(UnicodeTables.bundled)
        assertTrue(test.text(text, tokenizer, { known.getValue(it.toList()) }).passed)
    }

    @Test fun theSelfTestSaysWhatFailed() {
        val bundle = bundle()
        val golden = bundle.golden()
        val test = SelfTest(bundle.manifest, golden)
        val image = bundle.artifact(Tower.IMAGE, "executorch", backends)
        val text = bundle.artifact(Tower.TEXT, "executorch", backends)
        assertFalse(test.image(image, { FloatArray(bundle.manifest.dim) { Float.NaN } }).passed)
        assertFalse(test.image(image, { golden.texts[0].embedding }).passed)
        assertFalse(test.image(image, { throw EdgeClipException.RuntimeFailed("no memory") }).passed)
        val words = object : Tokenizer {
            override val spec = bundle.manifest.text
            override fun encode(text: String) = spec.framed(intArrayOf(1))
        }
        val known = golden.texts.associate { it.ids.toList() to it.embedding }
        val report = test.text(text, words, { known.getValue(it.toList()) })
        assertFalse(report.passed)
        assertTrue(report.failures.all { "other token ids" in it })
    }

    @Test fun theSelfTestCanBeCancelled() {
        class Cancelled : RuntimeException()
        val bundle = bundle()
        val test = SelfTest(bundle.manifest, bundle.golden())
        val image = bundle.artifact(Tower.IMAGE, "executorch", backends)
        assertThrows(Cancelled::class.java) { test.image(image, { error("not reached") }) { _, _ -> throw Cancelled() } }
    }
}
