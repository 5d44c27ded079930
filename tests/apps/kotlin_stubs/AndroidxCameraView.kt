@file:Suppress("unused", "UNUSED_PARAMETER")

package androidx.camera.view

import android.content.Context
import android.view.View
import androidx.camera.core.ImageAnalysis
import androidx.lifecycle.LifecycleOwner
import java.util.concurrent.Executor

abstract class CameraController {
    var imageAnalysisBackpressureStrategy: Int = 0
    var imageAnalysisOutputImageFormat: Int = 0
    fun setEnabledUseCases(enabledUseCases: Int): Unit = TODO()
    fun setImageAnalysisAnalyzer(executor: Executor, analyzer: ImageAnalysis.Analyzer): Unit = TODO()
    fun clearImageAnalysisAnalyzer(): Unit = TODO()

    companion object {
        const val IMAGE_ANALYSIS = 2
    }
}

class LifecycleCameraController(context: Context) : CameraController() {
    fun bindToLifecycle(owner: LifecycleOwner): Unit = TODO()
    fun unbind(): Unit = TODO()
}

class PreviewView(context: Context) : View(context) {
    var controller: CameraController? = null
}
