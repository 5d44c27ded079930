@file:Suppress("unused")

package android.provider

import android.net.Uri

class MediaStore {
    class Images {
        class Media {
            companion object {
                const val _ID = "_id"
                const val DATE_ADDED = "date_added"
                @JvmField val EXTERNAL_CONTENT_URI: Uri = TODO()
            }
        }
    }
}
