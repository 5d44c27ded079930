/// Byte strings with a value each, found by walking byte by byte.
struct ByteTrie: Sendable {
    static let root: UInt32 = 0

    /// By node: the bytes that lead on from it are `labels[first[node]..<first[node + 1]]`, sorted; so are the nodes they lead to.
    private var first: [UInt32] = []
    private var labels: [UInt8] = [0]  // of each node: the byte that leads to it
    private var values: [Int32] = [-1]

    /// keys: distinct, each with a value of 0 or more.
    init(_ keys: [(key: [UInt8], value: Int32)]) {
        let sorted = keys.sorted { $0.key.lexicographicallyPrecedes($1.key) }
        var level: [Range<Int>] = [0..<sorted.count]  // the keys below each node, in the order of nodes
        var depth = 0
        while !level.isEmpty {
            var next: [Range<Int>] = []
            for range in level {
                var start = range.lowerBound
                if start < range.upperBound, sorted[start].key.count == depth {
                    values[first.count] = sorted[start].value
                    start += 1
                }
                first.append(UInt32(labels.count))
                while start < range.upperBound {
                    let label = sorted[start].key[depth]
                    let end = sorted[start..<range.upperBound].firstIndex { $0.key[depth] != label } ?? range.upperBound
                    labels.append(label)
                    values.append(-1)
                    next.append(start..<end)
                    start = end
                }
            }
            level = next
            depth += 1
        }
        first.append(UInt32(labels.count))
    }

    /// The node that a byte leads to.
    func child(_ node: UInt32, _ label: UInt8) -> UInt32? {
        var (low, high) = (first[Int(node)], first[Int(node) + 1])
        while low < high {
            let middle = (low + high) / 2
            if labels[Int(middle)] < label { low = middle + 1 } else { high = middle }
        }
        return low < first[Int(node) + 1] && labels[Int(low)] == label ? low : nil
    }

    /// The value of the key that ends at a node.
    func value(_ node: UInt32) -> Int32? {
        let value = values[Int(node)]
        return value < 0 ? nil : value
    }
}
