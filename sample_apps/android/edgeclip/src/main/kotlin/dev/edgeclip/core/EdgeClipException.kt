package dev.edgeclip.core

import java.io.IOException

/** What can go wrong, by what an app can do about it. Each message is one line that names the file or value. */
sealed class EdgeClipException(message: String, cause: Throwable? = null) : Exception(message, cause) {
    /** A bundle or one of its files is missing, altered, malformed or of another version: convert and copy it again. */
    class BadBundle(message: String, cause: Throwable? = null) : EdgeClipException(message, cause)

    /** A label bank or an index is missing, cut short or malformed: make it again. */
    class BadFile(message: String, cause: Throwable? = null) : EdgeClipException(message, cause)

    /** A text, picture or embedding that cannot be used. */
    class BadInput(message: String) : EdgeClipException(message)

    /** Embeddings of two models, or of two sets of weights, that mean nothing to each other. */
    class OtherSpace(message: String) : EdgeClipException(message)

    /** The runtime refused an artifact or failed in it. */
    class RuntimeFailed(message: String, cause: Throwable? = null) : EdgeClipException(message, cause)
}

/** What is wrong with a file's content; `reading` adds which file. */
internal class Malformed(message: String) : Exception(message)

internal fun malformed(message: String): Nothing = throw Malformed(message)

/** Runs what reads a file; whatever is wrong with it becomes the exception that [error] makes. */
internal inline fun <T> reading(name: String, error: (String, Throwable) -> EdgeClipException, read: () -> T): T =
    try {
        read()
    } catch (e: Malformed) {
        throw error("$name: ${e.message}", e)
    } catch (e: IOException) {
        throw error("$name: cannot be read (${e.message})", e)
    }
