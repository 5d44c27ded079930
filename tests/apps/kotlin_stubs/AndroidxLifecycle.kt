@file:Suppress("unused", "UNUSED_PARAMETER")

package androidx.lifecycle

import android.app.Application
import kotlinx.coroutines.CoroutineScope

interface LifecycleOwner

abstract class ViewModel {
    protected open fun onCleared(): Unit = TODO()
}

open class AndroidViewModel(application: Application) : ViewModel()

val ViewModel.viewModelScope: CoroutineScope get() = TODO()
