import Foundation

/// The best few of many scores: the highest first, and of equal ones the one that came first.
public struct TopK {
    public struct Entry: Sendable, Equatable {
        public let index: Int
        public let score: Float
    }

    private let count: Int
    /// A heap with the worst on top.
    private var heap: [Entry] = []

    public init(_ count: Int) {
        self.count = max(count, 0)
        heap.reserveCapacity(min(self.count, 4096))
    }

    /// The indices and scores of the best of a list. Scores that are not numbers are left out.
    public static func of(_ scores: [Float], count: Int) -> [Entry] {
        var top = TopK(count)
        for (index, score) in scores.enumerated() { top.offer(index, score) }
        return top.best()
    }

    /// The score that an entry has to exceed to be among the best; -infinity while there is room.
    var bar: Float {
        heap.count < count ? -.infinity : heap.first?.score ?? .infinity
    }

    public mutating func offer(_ index: Int, _ score: Float) {
        guard count > 0, !score.isNaN else { return }
        let entry = Entry(index: index, score: score)
        if heap.count < count {
            heap.append(entry)
            rise()
        } else if Self.isWorse(heap[0], entry) {
            heap[0] = entry
            sink()
        }
    }

    /// Every entry of another list's best.
    mutating func offer(_ other: TopK) {
        for entry in other.heap { offer(entry.index, entry.score) }
    }

    public func best() -> [Entry] {
        heap.sorted { Self.isWorse($1, $0) }
    }

    private static func isWorse(_ one: Entry, _ other: Entry) -> Bool {
        one.score < other.score || (one.score == other.score && one.index > other.index)
    }

    private mutating func rise() {
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard Self.isWorse(heap[child], heap[parent]) else { return }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    private mutating func sink() {
        var parent = 0
        while true {
            let children = (2 * parent + 1...2 * parent + 2).filter { $0 < heap.count }
            guard let worst = children.min(by: { Self.isWorse(heap[$0], heap[$1]) }), Self.isWorse(heap[worst], heap[parent]) else {
                return
            }
            heap.swapAt(worst, parent)
            parent = worst
        }
    }
}
