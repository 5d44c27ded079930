package dev.edgeclip.core

/** The image tower: (3, size, size) floats in the manifest's range, as [Preprocess.tensor] makes them -> (D), length 1. */
fun interface ImageEncoder {
    /** Throws [EdgeClipException.RuntimeFailed]. */
    fun encode(image: FloatArray): FloatArray
}

/** The text tower: (context_length) ids, as [Tokenizer.encode] makes them -> (D), length 1. */
fun interface TextEncoder {
    /** Throws [EdgeClipException.RuntimeFailed]. */
    fun encode(ids: IntArray): FloatArray
}
