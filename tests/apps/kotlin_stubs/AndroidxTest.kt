@file:Suppress("unused", "UNUSED_PARAMETER")

package androidx.test.platform.app

import android.content.Context

class InstrumentationRegistry private constructor() {
    companion object {
        @JvmStatic fun getInstrumentation(): android.app.Instrumentation = TODO()
    }
}
