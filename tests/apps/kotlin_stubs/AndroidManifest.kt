@file:Suppress("unused", "ClassName", "ConstPropertyName")

package android

class Manifest {
    class permission {
        companion object {
            const val CAMERA = "android.permission.CAMERA"
            const val READ_EXTERNAL_STORAGE = "android.permission.READ_EXTERNAL_STORAGE"
            const val READ_MEDIA_IMAGES = "android.permission.READ_MEDIA_IMAGES"
            const val READ_MEDIA_VISUAL_USER_SELECTED = "android.permission.READ_MEDIA_VISUAL_USER_SELECTED"
        }
    }
}
