@file:Suppress("unused")

package androidx.compose.ui.unit

class Dp

inline val Int.dp: Dp get() = TODO()
