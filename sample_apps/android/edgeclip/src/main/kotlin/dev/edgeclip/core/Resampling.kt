package dev.edgeclip.core

import kotlin.math.abs

/**
 * One direction of a resize: [input] pixels, of which those from [start] to [end] are scaled to [scaled], of which [count] from
 * [first] on are wanted. Pillow holds the ends in single precision.
 */
internal class Axis(
    val input: Int,
    val scaled: Int,
    val first: Int,
    val count: Int,
    val start: Float = 0f,
    val end: Float = input.toFloat(),
) {
    companion object {
        fun whole(input: Int, size: Int) = Axis(input, size, 0, size)

        /** The part of the input that lies under the wanted pixels, scaled by itself. */
        fun cropped(input: Int, scaled: Int, first: Int, size: Int): Axis {
            val step = input.toDouble() / scaled
            return Axis(input, size, 0, size, (first * step).toFloat(), minOf((first + size) * step, input.toDouble()).toFloat())
        }
    }
}

/** For every output pixel: its first input pixel, how many there are, and their weights in 22-bit fixed point. */
private class Taps(axis: Axis, interpolation: Preprocess.Interpolation) {
    val first = IntArray(axis.count)
    val count = IntArray(axis.count)
    val weights: Array<IntArray>

    init {
        val support = if (interpolation == Preprocess.Interpolation.BICUBIC) 2.0 else 1.0
        val scale = (axis.end - axis.start).toDouble() / axis.scaled
        val stretch = maxOf(scale, 1.0)
        val inverse = 1.0 / stretch
        weights = Array(axis.count) { index ->
            val center = axis.start + (axis.first + index + 0.5) * scale
            val from = maxOf((center - support * stretch + 0.5).toInt(), 0)
            val until = minOf((center + support * stretch + 0.5).toInt(), axis.input)
            first[index] = from
            count[index] = until - from
            val exact = DoubleArray(until - from) {
                val distance = (it + from - center + 0.5) * inverse
                if (interpolation == Preprocess.Interpolation.BICUBIC) bicubic(distance) else bilinear(distance)
            }
            val sum = exact.sum()
            IntArray(exact.size) { fixed(if (sum != 0.0) exact[it] / sum else exact[it]) }
        }
    }

    private fun fixed(weight: Double): Int = (weight * ONE + if (weight < 0) -0.5 else 0.5).toInt()

    private fun bilinear(x: Double): Double = if (abs(x) < 1) 1 - abs(x) else 0.0

    /** Keys' cubic with a = -0.5. */
    private fun bicubic(distance: Double): Double {
        val x = abs(distance)
        return when {
            x < 1 -> ((A + 2) * x - (A + 3)) * x * x + 1
            x < 2 -> (((x - 5) * x + 8) * x - 4) * A
            else -> 0.0
        }
    }

    private companion object {
        const val A = -0.5
        const val ONE = (1 shl PRECISION).toDouble()
    }
}

private const val PRECISION = 32 - 8 - 2
private const val HALF = 1 shl (PRECISION - 1)

/**
 * Pillow's antialiased `resize` of 8-bit RGB, laid on white: horizontally, rounded to 8 bits, then vertically.
 * Source: Pillow, `src/libImaging/Resample.c`. Only what the wanted pixels need is computed. -> (rows, columns, 3) uint8.
 */
internal fun resampled(picture: Picture, columns: Axis, rows: Axis, interpolation: Preprocess.Interpolation): ByteArray {
    val across = Taps(columns, interpolation)
    val down = Taps(rows, interpolation)
    val firstRow = down.first.first()
    val untilRow = down.first.last() + down.count.last()
    val stride = 3 * columns.count
    val scaled = Array(untilRow - firstRow) { ByteArray(stride) }
    val line = IntArray(picture.width)
    for (row in firstRow until untilRow) {
        for (x in line.indices) line[x] = onWhite(picture.argb[row * picture.width + x])
        scaleLine(line, across, scaled[row - firstRow])
    }
    val out = ByteArray(rows.count * stride)
    for (y in 0 until rows.count) {
        val weights = down.weights[y]
        val from = down.first[y] - firstRow
        for (x in 0 until stride) {
            var sum = HALF
            for (i in weights.indices) sum += (scaled[from + i][x].toInt() and 255) * weights[i]
            out[y * stride + x] = clipped(sum)
        }
    }
    return out
}

private fun scaleLine(line: IntArray, taps: Taps, out: ByteArray) {
    for (x in taps.first.indices) {
        val weights = taps.weights[x]
        val from = taps.first[x]
        var red = HALF
        var green = HALF
        var blue = HALF
        for (i in weights.indices) {
            val pixel = line[from + i]
            red += (pixel shr 16) * weights[i]
            green += (pixel shr 8 and 255) * weights[i]
            blue += (pixel and 255) * weights[i]
        }
        out[3 * x] = clipped(red)
        out[3 * x + 1] = clipped(green)
        out[3 * x + 2] = clipped(blue)
    }
}

private fun clipped(sum: Int): Byte = (sum shr PRECISION).coerceIn(0, 255).toByte()
