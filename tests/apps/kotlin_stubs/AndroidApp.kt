@file:Suppress("unused", "UNUSED_PARAMETER")

package android.app

import android.content.ContentResolver
import android.content.Context
import android.content.res.AssetManager
import java.io.File

open class Application : Context() {
    override val applicationContext: Context get() = TODO()
    override val assets: AssetManager get() = TODO()
    override val contentResolver: ContentResolver get() = TODO()
    override val filesDir: File get() = TODO()
}

class Instrumentation {
    val targetContext: Context get() = TODO()
}
