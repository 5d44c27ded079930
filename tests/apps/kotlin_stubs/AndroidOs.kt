@file:Suppress("unused", "UNUSED_PARAMETER", "ClassName")

package android.os

class Bundle

class Build {
    class VERSION {
        companion object {
            @JvmField val SDK_INT: Int = 0
        }
    }
}
