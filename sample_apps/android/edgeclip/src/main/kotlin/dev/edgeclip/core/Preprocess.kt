package dev.edgeclip.core

import kotlin.math.round

/**
 * How a picture becomes the image tower's input: (3, size, size) in [range]. Mean and std are applied inside the tower.
 *
 * The pixels equal Python's (`edgeclip/data/preprocess.py`), which are Pillow's and torchvision's.
 */
data class Preprocess(
    val size: Int,
    val resize: Resize,
    val interpolation: Interpolation,
    val range: Pair<Float, Float> = 0f to 1f,
) {
    /** SHORTEST: the shorter side becomes [size], and the middle is cut out. SQUASH: both sides become [size]. */
    enum class Resize { SHORTEST, SQUASH }

    enum class Interpolation { BILINEAR, BICUBIC }

    /** An upright picture to (size, size, 3) uint8. */
    fun pixels(picture: Picture): ByteArray {
        val width = picture.width
        val height = picture.height
        if (resize == Resize.SQUASH) {
            return resampled(picture, Axis.whole(width, size), Axis.whole(height, size), interpolation)
        }
        // The long side is truncated, and halves are rounded to even, as torchvision and Python do.
        val short = minOf(width, height)
        val scaledWidth = (size.toLong() * width / short).toInt()
        val scaledHeight = (size.toLong() * height / short).toInt()
        val left = round((scaledWidth - size) / 2.0).toInt()
        val top = round((scaledHeight - size) / 2.0).toInt()
        if (scaledWidth.toLong() * scaledHeight <= LONGEST * size * size) {
            return resampled(picture, Axis(width, scaledWidth, left, size), Axis(height, scaledHeight, top, size), interpolation)
        }
        // So long a picture is cropped before it is scaled: the same region, equal but for rounding.
        val columns = Axis.cropped(width, scaledWidth, left, size)
        return resampled(picture, columns, Axis.cropped(height, scaledHeight, top, size), interpolation)
    }

    /** (size, size, 3) uint8 to (3, size, size) in [range]. */
    fun tensor(pixels: ByteArray): FloatArray {
        val plane = size * size
        if (pixels.size != 3 * plane) throw EdgeClipException.BadInput("${pixels.size} bytes, not $size x $size x 3")
        val (low, high) = range
        return FloatArray(3 * plane) {
            val value = (pixels[it % plane * 3 + it / plane].toInt() and 255) / 255f
            if (low == 0f && high == 1f) value else low + value * (high - low)
        }
    }

    internal companion object {
        private const val LONGEST = 8L // times its width

        fun of(json: JsonObject): Preprocess {
            json.only("size", "resize", "crop", "interpolation", "antialias", "mean", "std", "color", "range")
            val rule = json.oneOf("resize", "shortest", "squash") to json.oneOf("crop", "center", "none")
            val resize = when (rule) {
                "shortest" to "center" -> Resize.SHORTEST
                "squash" to "none" -> Resize.SQUASH
                else -> malformed("resize ${rule.first} with crop ${rule.second} is not supported")
            }
            if (!json.boolean("antialias")) malformed("resizing without antialias is not supported")
            if (json.has("color")) json.oneOf("color", "RGB")
            if (json.doubles("mean").size != 3 || json.doubles("std").size != 3) malformed("mean and std are not of 3 channels")
            val range = if (json.has("range")) json.doubles("range") else doubleArrayOf(0.0, 1.0)
            if (range.size != 2) malformed("\"range\" is not two numbers")
            val interpolation = Interpolation.valueOf(json.oneOf("interpolation", "bilinear", "bicubic").uppercase())
            return Preprocess(json.int("size", 8..4096), resize, interpolation, range[0].toFloat() to range[1].toFloat())
        }
    }
}
