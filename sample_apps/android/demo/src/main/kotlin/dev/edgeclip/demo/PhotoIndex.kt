package dev.edgeclip.demo

import android.content.ContentResolver
import android.content.ContentUris
import android.net.Uri
import android.provider.MediaStore
import dev.edgeclip.EdgeClip
import dev.edgeclip.core.EdgeClipException
import dev.edgeclip.core.EmbeddingIndex
import dev.edgeclip.core.EmbeddingIndexWriter
import dev.edgeclip.core.Hit
import dev.edgeclip.core.Manifest
import dev.edgeclip.decodePicture
import java.io.File
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withContext

/** The embeddings of the user's photos, on disk, by the photos' addresses. */
class PhotoIndex(private val folder: File, private val resolver: ContentResolver) {
    private val writing = Mutex()
    @Volatile private var opened: EmbeddingIndex? = null

    val size: Int get() = opened?.size ?: 0

    /**
     * Adds the photos that are not in it, the newest first, and saves every [BATCH]; what was saved stays where this is
     * cancelled. Photos that cannot be decoded are left out; a damaged index is made anew. [onPhoto]: how many are done, of
     * how many.
     */
    suspend fun update(clip: EdgeClip, onPhoto: (Int, Int) -> Unit) = writing.withLock {
        withContext(Dispatchers.IO) {
            val manifest = clip.bundle.manifest
            val known = openOrDelete(manifest)?.ids.orEmpty().toSet()
            val added = photos().filter { it.toString() !in known }
            try {
                EmbeddingIndexWriter.open(folder, manifest.spaceId, manifest.dim).use { writer ->
                    added.forEachIndexed { number, photo ->
                        ensureActive()
                        onPhoto(number, added.size)
                        embedded(clip, photo)?.let { writer.append(photo.toString(), it) }
                        if (number % BATCH == BATCH - 1) writer.commit()
                    }
                    writer.commit()
                }
            } finally {
                opened = null
                open(manifest)
            }
        }
    }

    /** Opens what an earlier run of the app has saved. */
    suspend fun load(clip: EdgeClip) = withContext(Dispatchers.IO) { open(clip.bundle.manifest) }

    /** The photos that fit best. Nothing is found before the first [update]. */
    suspend fun search(clip: EdgeClip, query: FloatArray, count: Int): List<Hit> =
        withContext(Dispatchers.Default) { open(clip.bundle.manifest)?.search(query, count).orEmpty() }

    private suspend fun embedded(clip: EdgeClip, photo: Uri): FloatArray? = try {
        clip.embed(resolver.decodePicture(photo))
    } catch (e: EdgeClipException.BadInput) {
        null
    }

    private fun openOrDelete(manifest: Manifest): EmbeddingIndex? = try {
        open(manifest)
    } catch (e: EdgeClipException.BadFile) {
        folder.deleteRecursively()
        null
    }

    /** The index, unless there is none yet. One of another model's is of no use, and is deleted. */
    @Synchronized
    private fun open(manifest: Manifest): EmbeddingIndex? {
        opened?.let { return it }
        if (!File(folder, EmbeddingIndex.INDEX).exists()) return null
        opened = try {
            EmbeddingIndex.open(folder, manifest.spaceId, manifest.dim)
        } catch (e: EdgeClipException.OtherSpace) {
            folder.deleteRecursively()
            null
        }
        return opened
    }

    private fun photos(): List<Uri> {
        val images = MediaStore.Images.Media.EXTERNAL_CONTENT_URI
        val columns = arrayOf(MediaStore.Images.Media._ID)
        val found = mutableListOf<Uri>()
        resolver.query(images, columns, null, null, "${MediaStore.Images.Media.DATE_ADDED} DESC")?.use { rows ->
            while (rows.moveToNext()) found += ContentUris.withAppendedId(images, rows.getLong(0))
        }
        return found
    }

    private companion object {
        const val BATCH = 32
    }
}
