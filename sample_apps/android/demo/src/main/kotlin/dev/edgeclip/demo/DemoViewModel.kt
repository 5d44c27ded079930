package dev.edgeclip.demo

import android.app.Application
import android.net.Uri
import androidx.lifecycle.AndroidViewModel
import androidx.lifecycle.viewModelScope
import dev.edgeclip.EdgeClip
import dev.edgeclip.core.EdgeClipException
import dev.edgeclip.core.Hit
import dev.edgeclip.core.LabelBank
import dev.edgeclip.core.LabelScore
import dev.edgeclip.core.Picture
import dev.edgeclip.core.TowerReport
import dev.edgeclip.decodePicture
import java.io.File
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

/** The model, as far as it is. */
sealed interface Engine {
    data object Loading : Engine
    data class Ready(val clip: EdgeClip) : Engine
    data class Failed(val why: String) : Engine
}

/** [scores]: best first. [ms]: from pixels to scores. [why]: what is wrong instead. */
data class LabelState(val scores: List<LabelScore> = emptyList(), val ms: Long = 0, val why: String? = null)

/** [done] of [total] photos are being indexed, if [running]; [stored] are in the index. */
data class SearchState(
    val stored: Int = 0,
    val running: Boolean = false,
    val done: Int = 0,
    val total: Int = 0,
    val hits: List<Hit> = emptyList(),
    val ms: Long = 0,
    val why: String? = null,
)

data class SelfTestState(
    val running: Boolean = false,
    val done: Int = 0,
    val total: Int = 0,
    val reports: List<TowerReport> = emptyList(),
    val why: String? = null,
)

/** Holds the model and what the screens show; its coroutines end with the app's last screen. */
class DemoViewModel(application: Application) : AndroidViewModel(application) {
    private val _engine = MutableStateFlow<Engine>(Engine.Loading)
    private val _labels = MutableStateFlow(LabelState())
    private val _search = MutableStateFlow(SearchState())
    private val _selfTest = MutableStateFlow(SelfTestState())
    val engine: StateFlow<Engine> = _engine.asStateFlow()
    val labels: StateFlow<LabelState> = _labels.asStateFlow()
    val search: StateFlow<SearchState> = _search.asStateFlow()
    val selfTest: StateFlow<SelfTestState> = _selfTest.asStateFlow()

    private val resolver = application.contentResolver
    private val index = PhotoIndex(File(application.filesDir, "photos.edgeindex"), resolver)
    @Volatile private var bank: LabelBank? = null
    @Volatile private var labelling: Job? = null // the camera's thread asks for it
    private var naming: Job? = null
    private var indexing: Job? = null
    private var searching: Job? = null
    private var testing: Job? = null

    init {
        viewModelScope.launch {
            _engine.value = try {
                Engine.Ready(EdgeClip.open(application, BundleInfo.folder))
            } catch (e: EdgeClipException) {
                Engine.Failed(e.message.orEmpty())
            }
            BundleInfo.labelBank?.let { setBank { clip -> clip.labelBank(it) } }
            openIndex()
        }
    }

    /** Scores pictures with these labels from now on. A label bank in the bundle takes their place. */
    fun setLabels(labels: List<String>) {
        if (BundleInfo.labelBank != null) return
        naming?.cancel()
        if (labels == bank?.labels) return
        naming = viewModelScope.launch { setBank { clip -> clip.labelBank(labels) } }
    }

    private suspend fun setBank(make: suspend (EdgeClip) -> LabelBank) {
        try {
            bank = make(clip() ?: return)
            _labels.value = LabelState()
        } catch (e: EdgeClipException) {
            bank = null
            _labels.value = LabelState(why = e.message)
        }
    }

    /** Whether a frame of the camera would be looked at now; those that come in between are dropped. */
    val wantsFrame: Boolean get() = bank != null && labelling?.isActive != true

    /** Labels a frame, on any thread. One that comes late does not take the place of a photo. */
    fun look(frame: Picture) {
        viewModelScope.launch { if (wantsFrame) label { frame } }
    }

    fun label(photo: Uri) = label { withContext(Dispatchers.IO) { resolver.decodePicture(photo) } }

    private fun label(read: suspend () -> Picture) {
        labelling?.cancel()
        labelling = viewModelScope.launch {
            val clip = clip() ?: return@launch
            try {
                val picture = read()
                val started = System.nanoTime()
                val embedding = clip.embed(picture) // after the labels, where those are being encoded
                val scores = bank?.classify(embedding) ?: return@launch
                _labels.value = LabelState(scores.take(SHOWN), (System.nanoTime() - started) / 1_000_000)
            } catch (e: EdgeClipException) {
                _labels.value = LabelState(why = e.message)
            }
        }
    }

    private suspend fun openIndex() {
        try {
            index.load(clip() ?: return)
            _search.update { it.copy(stored = index.size) }
        } catch (e: EdgeClipException) {
            _search.update { it.copy(why = e.message) }
        }
    }

    /** Adds the photos that are not in the index yet. Can be stopped and gone on with. */
    fun indexPhotos() {
        if (indexing?.isActive == true) return
        indexing = viewModelScope.launch {
            val clip = clip() ?: return@launch
            _search.update { it.copy(running = true, why = null) }
            try {
                index.update(clip) { done, total -> _search.update { it.copy(done = done, total = total) } }
            } catch (e: EdgeClipException) {
                _search.update { it.copy(why = e.message) }
            } finally {
                _search.update { it.copy(running = false, stored = index.size) }
            }
        }
    }

    fun stopIndexing() {
        indexing?.cancel()
    }

    fun search(words: String) {
        searching?.cancel()
        searching = viewModelScope.launch {
            val clip = clip() ?: return@launch
            try {
                val started = System.nanoTime()
                val hits = index.search(clip, clip.embed(words), FOUND)
                val ms = (System.nanoTime() - started) / 1_000_000
                _search.update { it.copy(hits = hits, ms = ms, stored = index.size, why = null) }
            } catch (e: EdgeClipException) {
                _search.update { it.copy(why = e.message) }
            }
        }
    }

    fun runSelfTest() {
        if (testing?.isActive == true) return
        testing = viewModelScope.launch {
            val clip = clip() ?: return@launch
            _selfTest.value = SelfTestState(running = true)
            _selfTest.value = try {
                SelfTestState(reports = clip.selfTest { done, total -> _selfTest.update { it.copy(done = done, total = total) } })
            } catch (e: EdgeClipException) {
                SelfTestState(why = e.message)
            }
        }
    }

    private fun clip(): EdgeClip? = (_engine.value as? Engine.Ready)?.clip

    override fun onCleared() {
        clip()?.close()
    }

    private companion object {
        const val SHOWN = 5
        const val FOUND = 60
    }
}
