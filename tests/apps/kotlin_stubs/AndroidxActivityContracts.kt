@file:Suppress("unused")

package androidx.activity.result.contract

import android.net.Uri
import androidx.activity.result.PickVisualMediaRequest

abstract class ActivityResultContract<I, O>

class ActivityResultContracts private constructor() {
    class RequestPermission : ActivityResultContract<String, Boolean>()
    class RequestMultiplePermissions : ActivityResultContract<Array<String>, @JvmSuppressWildcards Map<String, Boolean>>()
    open class PickVisualMedia : ActivityResultContract<PickVisualMediaRequest, Uri?>() {
        interface VisualMediaType
        object ImageOnly : VisualMediaType
    }
}
