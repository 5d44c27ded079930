@file:Suppress("unused", "UNUSED_PARAMETER")

package androidx.camera.core

import android.graphics.Bitmap

interface ImageInfo {
    val rotationDegrees: Int
}

interface ImageProxy : AutoCloseable {
    val imageInfo: ImageInfo
    fun toBitmap(): Bitmap
    override fun close()
}

class ImageAnalysis {
    fun interface Analyzer {
        fun analyze(image: ImageProxy)
    }

    companion object {
        const val STRATEGY_KEEP_ONLY_LATEST = 0
        const val OUTPUT_IMAGE_FORMAT_RGBA_8888 = 2
    }
}
