package dev.edgeclip.demo

import androidx.test.ext.junit.runners.AndroidJUnit4
import androidx.test.platform.app.InstrumentationRegistry
import dev.edgeclip.EdgeClip
import dev.edgeclip.core.EdgeClipException
import dev.edgeclip.core.Picture
import dev.edgeclip.core.TextCleaning
import java.io.File
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Test
import org.junit.runner.RunWith

/** Run on a phone or emulator: `./gradlew :demo:connectedAndroidTest`. */
@RunWith(AndroidJUnit4::class)
class GoldenSelfTest {
    private val context = InstrumentationRegistry.getInstrumentation().targetContext

    @Test
    fun everyTowerEqualsTheOriginal() = withClip { clip ->
        val reports = clip.selfTest()
        assertEquals(clip.bundle.manifest.artifacts.map { it.tower }.toSet().size, reports.size)
        for (report in reports) assertTrue("${report.artifact.label}: ${report.failures}", report.passed)
    }

    @Test
    fun aSecondStartCopiesNothing() = withClip { clip ->
        val copied = File(clip.bundle.folder, BundleInfo.imageArtifact).lastModified()
        withClip { again -> assertEquals(copied, File(again.bundle.folder, BundleInfo.imageArtifact).lastModified()) }
    }

    @Test
    fun panoramasAndLongTextsAreEncoded() = withClip { clip ->
        val panorama = Picture(16_384, 2, IntArray(2 * 16_384) { -it })
        assertEquals(clip.bundle.manifest.dim, clip.embed(panorama).size)
        assumeTrue("no text tower", clip.readsTexts)
        assertEquals(clip.bundle.manifest.dim, clip.embed("a dog, running ".repeat(1000)).size)
        assertThrows(EdgeClipException.BadInput::class.java) {
            runBlocking { clip.embed("a".repeat(TextCleaning.MAX_CHARACTERS + 1)) }
        }
    }

    @Test
    fun whatIsCancelledLeavesTheModelUsable() = withClip { clip ->
        val picture = Picture(64, 64, IntArray(64 * 64))
        runBlocking { launch { repeat(1000) { clip.embed(picture) } }.cancelAndJoin() }
        assertEquals(clip.bundle.manifest.dim, clip.embed(picture).size)
    }

    private fun withClip(test: suspend (EdgeClip) -> Unit) = runBlocking {
        val clip = EdgeClip.open(context, BundleInfo.folder)
        try {
            test(clip)
        } finally {
            clip.close()
        }
    }
}
