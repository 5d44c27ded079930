package dev.edgeclip.core

/** A decoded picture. [argb]: height x width pixels, 0xAARRGGBB with straight alpha, as of Android's `Bitmap.getPixels`. */
class Picture(val width: Int, val height: Int, val argb: IntArray) {
    init {
        if (width !in SIDES || height !in SIDES) {
            throw EdgeClipException.BadInput("$width x $height pixels; sides of ${SIDES.first} to ${SIDES.last} are supported")
        }
        if (argb.size != width * height) throw EdgeClipException.BadInput("${argb.size} pixels, not $width x $height")
    }

    /** As a viewer shows it, by its EXIF orientation, 1 to 8. Others mean nothing, and change nothing. */
    fun oriented(orientation: Int): Picture {
        val right = width - 1
        val bottom = height - 1
        return when (orientation) {
            2 -> moved(width, height) { x, y -> at(right - x, y) }
            3 -> moved(width, height) { x, y -> at(right - x, bottom - y) }
            4 -> moved(width, height) { x, y -> at(x, bottom - y) }
            5 -> moved(height, width) { x, y -> at(y, x) }
            6 -> moved(height, width) { x, y -> at(y, bottom - x) }
            7 -> moved(height, width) { x, y -> at(right - y, bottom - x) }
            8 -> moved(height, width) { x, y -> at(right - y, x) }
            else -> this
        }
    }

    private fun at(x: Int, y: Int) = argb[y * width + x]

    private inline fun moved(toWidth: Int, toHeight: Int, pixel: (Int, Int) -> Int): Picture {
        val out = IntArray(argb.size)
        for (y in 0 until toHeight) for (x in 0 until toWidth) out[y * toWidth + x] = pixel(x, y)
        return Picture(toWidth, toHeight, out)
    }

    companion object {
        private val SIDES = 2..16_384

        /** From four bytes a pixel: red, green, blue and straight alpha. */
        fun ofRgba(width: Int, height: Int, rgba: ByteArray): Picture {
            if (rgba.size.toLong() != 4L * width * height) {
                throw EdgeClipException.BadInput("${rgba.size} bytes, not 4 x $width x $height")
            }
            val argb = IntArray(rgba.size / 4) {
                val at = 4 * it
                (rgba[at + 3].toInt() and 255 shl 24) or (rgba[at].toInt() and 255 shl 16) or
                    (rgba[at + 1].toInt() and 255 shl 8) or (rgba[at + 2].toInt() and 255)
            }
            return Picture(width, height, argb)
        }
    }
}

/**
 * One pixel laid on white, 0xRRGGBB, rounded as Pillow's `Image.alpha_composite` rounds.
 * Source: Pillow, `src/libImaging/AlphaComposite.c`, for an opaque ground.
 */
internal fun onWhite(argb: Int): Int {
    val alpha = argb ushr 24
    if (alpha == 255) return argb and 0xffffff
    val white = 255 * (255 - alpha)
    return (dividedBy255((argb shr 16 and 255) * alpha + white) shl 16) or
        (dividedBy255((argb shr 8 and 255) * alpha + white) shl 8) or
        dividedBy255((argb and 255) * alpha + white)
}

private fun dividedBy255(value: Int): Int {
    val shifted = (value shl 7) + (0x80 shl 7) // 7 more bits of precision
    return (((shifted shr 8) + shifted) shr 8) shr 7
}
