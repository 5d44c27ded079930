@file:Suppress("unused", "UNUSED_PARAMETER")

package android.net

abstract class Uri {
    companion object {
        @JvmStatic fun parse(text: String): Uri = TODO()
    }
}
