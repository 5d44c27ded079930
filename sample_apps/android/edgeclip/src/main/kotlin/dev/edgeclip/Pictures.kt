package dev.edgeclip

import android.content.ContentResolver
import android.graphics.Bitmap
import android.graphics.ImageDecoder
import android.net.Uri
import dev.edgeclip.core.EdgeClipException
import dev.edgeclip.core.Picture
import java.io.IOException
import kotlin.math.ceil
import kotlin.math.sqrt

private const val MAX_PIXELS = 16_000_000.0 // of four bytes each, once as a bitmap and once as an array

/**
 * Decodes a photo, upright. Blocks; not for the main thread.
 *
 * Colours are converted to sRGB by the system, where Python takes the numbers as they are in the file; of more than 16
 * megapixels, the decoder leaves pixels out. Throws [EdgeClipException.BadInput].
 */
fun ContentResolver.decodePicture(photo: Uri): Picture {
    try {
        val bitmap = ImageDecoder.decodeBitmap(ImageDecoder.createSource(this, photo)) { decoder, info, _ ->
            val pixels = info.size.width.toDouble() * info.size.height
            val sample = maxOf(1, ceil(sqrt(pixels / MAX_PIXELS)).toInt())
            decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE
            decoder.setTargetSampleSize(sample)
            decoder.isUnpremultipliedRequired = sample == 1 // which the decoder cannot do together with scaling
        }
        return try {
            bitmap.toPicture()
        } finally {
            bitmap.recycle() // tens of megabytes, which would stay until the garbage collector comes by
        }
    } catch (e: IOException) {
        throw EdgeClipException.BadInput("$photo: cannot be decoded (${e.message})")
    } catch (e: SecurityException) {
        throw EdgeClipException.BadInput("$photo: may no longer be read (${e.message})")
    }
}

/** The pixels of a bitmap, not a hardware one, as sRGB, turned by an EXIF orientation, 1 to 8. */
fun Bitmap.toPicture(orientation: Int = 1): Picture {
    val argb = IntArray(width * height)
    getPixels(argb, 0, width, 0, 0, width, height)
    return Picture(width, height, argb).oriented(orientation)
}

/** The EXIF orientation that turns a picture clockwise by [degrees], a multiple of 90, as a camera's frames need it. */
fun orientationOf(degrees: Int): Int = when (degrees) {
    90 -> 6
    180 -> 3
    270 -> 8
    else -> 1
}
