package dev.edgeclip.demo

import androidx.camera.core.ImageAnalysis
import androidx.camera.core.ImageProxy
import androidx.camera.view.CameraController
import androidx.camera.view.LifecycleCameraController
import androidx.camera.view.PreviewView
import androidx.compose.runtime.Composable
import androidx.compose.runtime.DisposableEffect
import androidx.compose.runtime.remember
import androidx.compose.ui.Modifier
import androidx.compose.ui.platform.LocalContext
import androidx.compose.ui.viewinterop.AndroidView
import androidx.lifecycle.compose.LocalLifecycleOwner
import dev.edgeclip.orientationOf
import dev.edgeclip.toPicture
import java.util.concurrent.Executors

/** The camera's preview, whose newest frame goes to the model as often as the model is done with one. */
@Composable
fun CameraView(model: DemoViewModel, modifier: Modifier) {
    val context = LocalContext.current
    val owner = LocalLifecycleOwner.current
    val controller = remember {
        LifecycleCameraController(context).apply {
            setEnabledUseCases(CameraController.IMAGE_ANALYSIS)
            imageAnalysisBackpressureStrategy = ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST
            imageAnalysisOutputImageFormat = ImageAnalysis.OUTPUT_IMAGE_FORMAT_RGBA_8888
        }
    }
    DisposableEffect(owner) {
        val executor = Executors.newSingleThreadExecutor()
        controller.setImageAnalysisAnalyzer(executor) { frame -> frame.use { look(model, it) } }
        controller.bindToLifecycle(owner)
        onDispose {
            controller.clearImageAnalysisAnalyzer()
            controller.unbind()
            executor.shutdown()
        }
    }
    AndroidView({ PreviewView(it).apply { this.controller = controller } }, modifier)
}

private fun look(model: DemoViewModel, frame: ImageProxy) {
    if (model.wantsFrame) model.look(frame.toBitmap().toPicture(orientationOf(frame.imageInfo.rotationDegrees)))
}
