@file:Suppress("unused", "UNUSED_PARAMETER")

package androidx.compose.ui.graphics

import android.graphics.Bitmap

interface ImageBitmap

class Color {
    companion object {
        val Unspecified: Color get() = TODO()
    }
}

fun Bitmap.asImageBitmap(): ImageBitmap = TODO()
