@file:Suppress("unused")

package androidx.compose.ui.layout

interface ContentScale {
    companion object {
        val Fit: ContentScale get() = TODO()
        val Crop: ContentScale get() = TODO()
    }
}
