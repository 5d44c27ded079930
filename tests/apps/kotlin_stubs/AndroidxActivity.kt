@file:Suppress("unused", "UNUSED_PARAMETER")

package androidx.activity

import android.app.Application
import android.os.Bundle
import androidx.lifecycle.LifecycleOwner

open class ComponentActivity : Application(), LifecycleOwner { // an Activity is a Context too
    protected open fun onCreate(savedInstanceState: Bundle?): Unit = TODO()
}
