package dev.edgeclip.core

import kotlin.math.abs
import kotlin.math.sqrt

private const val LENGTH_TOLERANCE = 0.01 // of fp16 storage and of int8 graphs; a mistake is off by far more

/** Cosine of two embeddings of length 1. */
internal fun dot(a: FloatArray, b: FloatArray): Double {
    var sum = 0.0
    for (i in a.indices) sum += a[i].toDouble() * b[i]
    return sum
}

/** Throws [EdgeClipException.BadInput] unless [embedding] has [dim] numbers and length 1. NaN has no length. */
fun checkEmbedding(embedding: FloatArray, dim: Int, what: String = "embedding") {
    if (embedding.size != dim) throw EdgeClipException.BadInput("$what has ${embedding.size} numbers, not $dim")
    val length = sqrt(dot(embedding, embedding))
    if (!(abs(length - 1) <= LENGTH_TOLERANCE)) throw EdgeClipException.BadInput("$what has length $length, not 1")
}

/** IEEE 754 binary16 to float; exact. */
internal fun halfToFloat(half: Short): Float {
    val bits = half.toInt()
    val sign = bits and 0x8000 shl 16
    val exponent = bits shr 10 and 0x1f
    val fraction = bits and 0x3ff
    return when {
        exponent == 0x1f -> Float.fromBits(sign or 0x7f800000 or (fraction shl 13))
        exponent != 0 -> Float.fromBits(sign or (exponent + 112 shl 23) or (fraction shl 13))
        else -> (if (sign == 0) fraction else -fraction) * (1f / (1 shl 24)) // minus zero becomes zero
    }
}
