@file:Suppress("unused", "UNUSED_PARAMETER")

package android.view

import android.content.Context

open class View(context: Context)
