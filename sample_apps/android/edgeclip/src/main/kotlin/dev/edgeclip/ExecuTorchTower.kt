package dev.edgeclip

import dev.edgeclip.core.Artifact
import dev.edgeclip.core.Bundle
import dev.edgeclip.core.EdgeClipException
import dev.edgeclip.core.ImageEncoder
import dev.edgeclip.core.TextEncoder
import dev.edgeclip.core.Tower
import dev.edgeclip.core.checkEmbedding
import java.io.Closeable
import org.pytorch.executorch.EValue
import org.pytorch.executorch.Module
import org.pytorch.executorch.Tensor

/**
 * One loaded tower, from (1, 3, size, size) or (1, context_length) to an embedding (D) of length 1. The file's hash is checked, and
 * the file mapped: pages of weights are read as they are needed.
 */
internal class ExecuTorchTower(bundle: Bundle, private val artifact: Artifact, threads: Int) : Closeable {
    private val dim = bundle.manifest.dim
    private val input = artifact.inputs.singleOrNull()
        ?: throw EdgeClipException.BadBundle("${artifact.label}: has ${artifact.inputs.size} inputs, and this app gives one")
    private val shape = LongArray(input.shape.size) { input.shape[it].toLong() }
    private val module: Module

    init {
        val dtype = if (artifact.tower == Tower.IMAGE) "float32" else "int32"
        if (input.dtype != dtype) {
            throw EdgeClipException.BadBundle("${artifact.label}: takes ${input.dtype}, and this app gives $dtype")
        }
        val path = bundle.verified(artifact).path
        module = running("cannot be loaded") { Module.load(path, Module.LOAD_MODE_MMAP, threads) }
    }

    fun run(image: FloatArray): FloatArray = run { Tensor.fromBlob(image, shape) }

    fun run(ids: IntArray): FloatArray = run { Tensor.fromBlob(ids, shape) }

    private fun run(tensor: () -> Tensor): FloatArray {
        val embedding =
            running("failed") { module.execute(artifact.method, EValue.from(tensor()))[0].toTensor().dataAsFloatArray }
        try {
            checkEmbedding(embedding, dim)
        } catch (e: EdgeClipException.BadInput) { // not the picture's or the text's fault
            throw EdgeClipException.RuntimeFailed("${artifact.label}: ${e.message}", e)
        }
        return embedding
    }

    /** The runtime throws its own RuntimeException, others for what it is given, and Errors where its library is missing. */
    private inline fun <T> running(what: String, block: () -> T): T = try {
        block()
    } catch (e: RuntimeException) {
        throw EdgeClipException.RuntimeFailed("${artifact.label}: $what (${firstLine(e)})", e)
    } catch (e: LinkageError) {
        throw EdgeClipException.RuntimeFailed("${artifact.label}: ExecuTorch has no library for this device (${firstLine(e)})", e)
    }

    private fun firstLine(e: Throwable) = (e.message ?: e.javaClass.simpleName).lineSequence().first()

    override fun close() = module.destroy()

    companion object {
        const val TARGET = "executorch"

        /** The delegates that `org.pytorch:executorch-android` has, the faster first. */
        val BACKENDS = listOf("xnnpack")
    }
}

internal fun ExecuTorchTower.asImageEncoder() = ImageEncoder { image -> run(image) }

internal fun ExecuTorchTower.asTextEncoder() = TextEncoder { ids -> run(ids) }
