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

/** For every output pixel: its first input pixel, and the weights of those from there on in 22-bit fixed point. */
private class Taps(axis: Axis, interpolation: Preprocess.Interpolation) {
    val first = IntArray(axis.count)
    val weights: Array<IntArray>

    /** Of the input, what any output pixel needs. */
    val start: Int get() = first.first()
    val end: Int get() = first.last() + weights.last().size

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
 * Pillow's antialiased `resize` of 8-bit RGB, laid on white: one direction, rounded to 8 bits, then the other.
 * Source: Pillow 13, `src/libImaging/Resample.c`. Only what the wanted pixels need is computed. -> (rows, columns, 3) uint8.
 */
internal fun resampled(picture: Picture, columns: Axis, rows: Axis, interpolation: Preprocess.Interpolation): ByteArray {
    val across = Taps(columns, interpolation)
    val down = Taps(rows, interpolation)
    // Which direction is first changes how pixels are rounded (https://github.com/python-pillow/Pillow/pull/9549).
    val shrunk = picture.height - rows.scaled
    val downFirst = shrunk > 0 && shrunk > 2 * (picture.width - columns.scaled)
    return if (downFirst) downThenAcross(picture, across, down) else acrossThenDown(picture, across, down)
}

private fun acrossThenDown(picture: Picture, across: Taps, down: Taps): ByteArray {
    val stride = 3 * across.first.size
    val scaled = Array(down.end - down.start) { ByteArray(stride) }
    val line = IntArray(picture.width)
    for ((index, row) in (down.start until down.end).withIndex()) {
        for (x in across.start until across.end) line[x] = onWhite(picture.argb[row * picture.width + x])
        scaleLine(line, across, scaled[index], 0)
    }
    val out = ByteArray(down.first.size * stride)
    for (y in down.first.indices) {
        val weights = down.weights[y]
        val from = down.first[y] - down.start
        for (x in 0 until stride) {
            var sum = HALF
            for (i in weights.indices) sum += (scaled[from + i][x].toInt() and 255) * weights[i]
            out[y * stride + x] = clipped(sum).toByte()
        }
    }
    return out
}

private fun downThenAcross(picture: Picture, across: Taps, down: Taps): ByteArray {
    val stride = 3 * across.first.size
    val out = ByteArray(down.first.size * stride)
    val sums = IntArray(3 * picture.width)
    val line = IntArray(picture.width)
    for (y in down.first.indices) {
        sums.fill(HALF)
        for ((i, weight) in down.weights[y].withIndex()) {
            val row = (down.first[y] + i) * picture.width
            for (x in across.start until across.end) {
                val pixel = onWhite(picture.argb[row + x])
                sums[3 * x] += (pixel shr 16) * weight
                sums[3 * x + 1] += (pixel shr 8 and 255) * weight
                sums[3 * x + 2] += (pixel and 255) * weight
            }
        }
        for (x in across.start until across.end) {
            line[x] = (clipped(sums[3 * x]) shl 16) or (clipped(sums[3 * x + 1]) shl 8) or clipped(sums[3 * x + 2])
        }
        scaleLine(line, across, out, y * stride)
    }
    return out
}

/** One line, 0xRRGGBB, to three bytes a pixel. */
private fun scaleLine(line: IntArray, taps: Taps, out: ByteArray, at: Int) {
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
        out[at + 3 * x] = clipped(red).toByte()
        out[at + 3 * x + 1] = clipped(green).toByte()
        out[at + 3 * x + 2] = clipped(blue).toByte()
    }
}

private fun clipped(sum: Int): Int = (sum shr PRECISION).coerceIn(0, 255)
