@file:Suppress("unused", "UNUSED_PARAMETER")

package android.database

import java.io.Closeable

interface Cursor : Closeable {
    fun moveToNext(): Boolean
    fun getLong(column: Int): Long
}
