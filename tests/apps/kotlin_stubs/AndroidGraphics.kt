@file:Suppress("unused", "UNUSED_PARAMETER")

package android.graphics

import android.content.ContentResolver
import android.net.Uri
import android.util.Size

class Bitmap {
    val width: Int get() = TODO()
    val height: Int get() = TODO()
    fun getPixels(pixels: IntArray, offset: Int, stride: Int, x: Int, y: Int, width: Int, height: Int): Unit = TODO()
    fun recycle(): Unit = TODO()
}

class ImageDecoder {
    var allocator: Int
        get() = TODO()
        set(value) = TODO()
    var isUnpremultipliedRequired: Boolean
        get() = TODO()
        set(value) = TODO()
    fun setTargetSampleSize(sampleSize: Int): Unit = TODO()

    abstract class Source
    class ImageInfo {
        val size: Size get() = TODO()
    }
    fun interface OnHeaderDecodedListener {
        fun onHeaderDecoded(decoder: ImageDecoder, info: ImageInfo, source: Source)
    }

    companion object {
        const val ALLOCATOR_SOFTWARE = 1
        @JvmStatic fun createSource(resolver: ContentResolver, uri: Uri): Source = TODO()
        @JvmStatic fun decodeBitmap(source: Source, listener: OnHeaderDecodedListener): Bitmap = TODO()
    }
}
