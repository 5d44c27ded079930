package dev.edgeclip.core

/** Byte strings by their prefixes: an open-addressed hash table from (node, byte) to node. */
internal class PieceTrie {
    private var keys = LongArray(1 shl 10)
    private var children = IntArray(keys.size)
    private var values = IntArray(keys.size) { NONE }
    private var nodes = 1

    fun add(bytes: ByteArray, value: Int) {
        var node = 0
        for (byte in bytes) {
            var slot = slot(key(node, byte))
            if (children[slot] == 0) {
                if (2 * nodes > keys.size) {
                    grow()
                    slot = slot(key(node, byte))
                }
                keys[slot] = key(node, byte)
                children[slot] = nodes++
            }
            node = children[slot]
        }
        values[node] = value
    }

    /** Calls [found] with the end and value of every string that begins at a place, the shortest first. */
    inline fun prefixes(text: ByteArray, start: Int, found: (Int, Int) -> Unit) {
        var node = 0
        for (at in start until text.size) {
            node = child(node, text[at])
            if (node == 0) return
            val value = value(node)
            if (value != NONE) found(at + 1, value)
        }
    }

    fun child(node: Int, byte: Byte): Int = children[slot(key(node, byte))]

    fun value(node: Int): Int = values[node]

    private fun key(node: Int, byte: Byte): Long = (node.toLong() shl 8 or (byte.toLong() and 255)) + 1 // 0 is an empty slot

    private fun slot(key: Long): Int {
        val mask = keys.size - 1
        var slot = (key * HASH ushr 33).toInt() and mask
        while (keys[slot] != 0L && keys[slot] != key) slot = slot + 1 and mask
        return slot
    }

    private fun grow() {
        val oldKeys = keys
        val oldChildren = children
        keys = LongArray(2 * oldKeys.size)
        children = IntArray(keys.size)
        values = values.copyOf(keys.size).also { it.fill(NONE, oldKeys.size) }
        for ((index, key) in oldKeys.withIndex()) {
            if (key == 0L) continue
            val slot = slot(key)
            keys[slot] = key
            children[slot] = oldChildren[index]
        }
    }

    companion object {
        const val NONE = -1
        private const val HASH = -0x61c8864680b583ebL // 2^64 / golden ratio (Knuth)
    }
}
