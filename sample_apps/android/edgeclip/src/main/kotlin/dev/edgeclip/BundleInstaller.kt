package dev.edgeclip

import android.content.res.AssetManager
import dev.edgeclip.core.Bundle
import dev.edgeclip.core.EdgeClipException
import dev.edgeclip.core.Manifest
import java.io.File
import java.io.IOException
import java.io.InputStream

/** Copies a bundle out of the app's assets, which are inside the APK, to where the runtime can map its files into memory. */
internal class BundleInstaller(private val assets: AssetManager, private val root: File) {
    /**
     * The bundle of an asset folder, copied unless the same one is there already. Other bundles below the root are deleted: they
     * are of older versions of the app. A copy that breaks off leaves nothing. Blocks; not for the main thread.
     */
    fun install(assetFolder: String): Bundle {
        val target = File(root, File(assetFolder).name)
        try {
            val manifest = assets.open("$assetFolder/${Manifest.FILE}").use { it.readBytes() }
            val installed = File(target, Manifest.FILE)
            if (!installed.isFile || !installed.readBytes().contentEquals(manifest)) copy(assetFolder, target, manifest)
            root.listFiles()?.filter { it != target }?.forEach { it.deleteRecursively() }
        } catch (e: IOException) {
            throw EdgeClipException.BadBundle("$assetFolder: cannot be copied from the app's assets (${e.message})", e)
        }
        return Bundle.open(target)
    }

    private fun copy(assetFolder: String, target: File, manifest: ByteArray) {
        val partial = File(root, ".${target.name}.partial")
        try {
            partial.deleteRecursively()
            partial.mkdirs()
            val manifestFile = File(partial, Manifest.FILE)
            write(manifestFile, manifest.inputStream())
            val listed = Manifest.read(manifestFile) // whose paths are checked
            for (path in (listed.artifacts.map { it.path } + listed.files.map { it.path }).distinct()) {
                assets.open("$assetFolder/$path").use { write(File(partial, path), it) }
            }
            target.deleteRecursively()
            if (!partial.renameTo(target)) throw IOException("$target cannot be written")
        } finally {
            partial.deleteRecursively() // of a copy that broke off: a full disk gets its room back
        }
    }

    /** On the disk before the folder gets its name: the bundle that is there then is whole, even if the power goes. */
    private fun write(file: File, content: InputStream) {
        file.parentFile?.mkdirs()
        file.outputStream().use {
            content.copyTo(it)
            it.fd.sync()
        }
    }
}
