package dev.edgeclip

import android.content.Context
import dev.edgeclip.core.Bundle
import dev.edgeclip.core.EdgeClipException
import dev.edgeclip.core.LabelBank
import dev.edgeclip.core.Picture
import dev.edgeclip.core.SelfTest
import dev.edgeclip.core.Tokenizer
import dev.edgeclip.core.Tower
import dev.edgeclip.core.TowerReport
import dev.edgeclip.core.UnicodeTables
import java.io.Closeable
import java.io.File
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.ExperimentalCoroutinesApi
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

/**
 * A bundle on this phone: pictures and texts to embeddings that Python's are equal to.
 *
 * All work is done one after the other on a background thread; every function may be called from any thread. A call that is
 * cancelled ends at once where it waits; an inference that has begun runs to its end, and its result is dropped.
 */
class EdgeClip private constructor(
    val bundle: Bundle,
    private val image: ExecuTorchTower,
    private val text: ExecuTorchTower?,
    private val tokenizer: Tokenizer?,
    private val thread: CoroutineDispatcher,
) : Closeable {
    /** Whether texts can be encoded: a bundle with a label bank in place of the text tower has pictures alone. */
    val readsTexts: Boolean get() = text != null

    /** An upright picture's embedding, (D) of length 1. Throws [EdgeClipException]. */
    suspend fun embed(picture: Picture): FloatArray = withContext(thread) {
        val preprocess = bundle.manifest.image
        val tensor = preprocess.tensor(preprocess.pixels(picture))
        ensureActive()
        image.run(tensor)
    }

    /** A text's embedding, (D) of length 1. Throws [EdgeClipException]. */
    suspend fun embed(text: String): FloatArray = withContext(thread) { embedNow(text) }

    /** Labels to score pictures with: the bundle's own bank, or [labels] in [templates] through the text tower. */
    suspend fun labelBank(labels: List<String>, templates: List<String> = LabelBank.TEMPLATES): LabelBank =
        withContext(thread) {
            LabelBank.encode(labels, templates, bundle.manifest) { prompt ->
                ensureActive()
                embedNow(prompt)
            }
        }

    /** The label bank that came with the bundle. Throws [EdgeClipException] where there is none, or of another space. */
    suspend fun labelBank(path: String): LabelBank =
        withContext(thread) { LabelBank.read(bundle.verifiedFile(path)).also { it.checkFits(bundle.manifest) } }

    /** Replays the bundle's golden inputs through every tower. [onSample] is called with how many are done, of how many. */
    suspend fun selfTest(onSample: (Int, Int) -> Unit = { _, _ -> }): List<TowerReport> = withContext(thread) {
        val test = SelfTest(bundle.manifest, bundle.golden())
        val step = { done: Int, total: Int ->
            ensureActive()
            onSample(done, total)
        }
        val reports = mutableListOf(test.image(artifact(bundle, Tower.IMAGE), image.asImageEncoder(), step))
        if (text != null && tokenizer != null) {
            reports += test.text(artifact(bundle, Tower.TEXT), tokenizer, text.asTextEncoder(), step)
        }
        reports
    }

    private fun embedNow(words: String): FloatArray {
        if (text == null || tokenizer == null) {
            throw EdgeClipException.BadBundle("${bundle.manifest.model}: this app has no text tower")
        }
        return text.run(tokenizer.encode(words))
    }

    /** Frees the towers, after what is running. */
    override fun close() {
        CoroutineScope(thread).launch {
            image.close()
            text?.close()
        }
    }

    companion object {
        /**
         * Opens the bundle in a folder of the app's assets, copying it first where it was not. [threads]: of each inference; 0 for
         * what the runtime finds best. Throws [EdgeClipException].
         */
        @OptIn(ExperimentalCoroutinesApi::class)
        suspend fun open(context: Context, assetFolder: String, threads: Int = 0): EdgeClip {
            val thread = Dispatchers.Default.limitedParallelism(1)
            val root = File(context.applicationContext.filesDir, "bundles")
            val loaded = mutableListOf<ExecuTorchTower>()
            try {
                return withContext(thread) {
                    val bundle = BundleInstaller(context.assets, root).install(assetFolder)
                    val readsTexts = bundle.manifest.artifacts.any { it.tower == Tower.TEXT }
                    val tokenizer = if (readsTexts) bundle.tokenizer(UnicodeTables.bundled) else null
                    fun load(tower: Tower): ExecuTorchTower {
                        ensureActive()
                        return ExecuTorchTower(bundle, artifact(bundle, tower), threads).also(loaded::add)
                    }
                    EdgeClip(bundle, load(Tower.IMAGE), if (readsTexts) load(Tower.TEXT) else null, tokenizer, thread)
                }
            } catch (e: Throwable) { // a caller that was cancelled gets nothing that it could close
                loaded.forEach { it.close() }
                throw e
            }
        }

        private fun artifact(bundle: Bundle, tower: Tower) =
            bundle.artifact(tower, ExecuTorchTower.TARGET, ExecuTorchTower.BACKENDS)
    }
}
