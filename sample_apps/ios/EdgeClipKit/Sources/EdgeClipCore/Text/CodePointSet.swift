/// A text as its Unicode code points, lone surrogates included, which a `String` cannot hold.
typealias CodePoints = [UInt32]

/// A set of code points, as sorted inclusive ranges.
struct CodePointSet: Sendable {
    private let firsts: [UInt32]
    private let lasts: [UInt32]
    private let ascii: (low: UInt64, high: UInt64)

    /// flat: first, last, first, last, ... Throws `Malformed` where they are not sorted and apart.
    init(flat: [UInt32]) throws {
        guard flat.count.isMultiple(of: 2) else { throw Malformed("a set of code points has half a range") }
        firsts = stride(from: 0, to: flat.count, by: 2).map { flat[$0] }
        lasts = stride(from: 1, to: flat.count, by: 2).map { flat[$0] }
        guard zip(firsts, lasts).allSatisfy({ $0 <= $1 }), zip(lasts, firsts.dropFirst()).allSatisfy({ $0 < $1 }) else {
            throw Malformed("a set of code points is not sorted")
        }
        var bits: [UInt64] = [0, 0]
        for (first, last) in zip(firsts, lasts) where first < 128 {
            for code in first...min(last, 127) { bits[Int(code >> 6)] |= 1 << UInt64(code & 63) }
        }
        ascii = (bits[0], bits[1])
    }

    func contains(_ code: UInt32) -> Bool {
        if code < 64 { return ascii.low >> UInt64(code) & 1 == 1 }
        if code < 128 { return ascii.high >> UInt64(code & 63) & 1 == 1 }
        var (low, high) = (0, firsts.count)  // how many ranges begin at or before `code`
        while low < high {
            let middle = (low + high) / 2
            if firsts[middle] <= code { low = middle + 1 } else { high = middle }
        }
        return low > 0 && code <= lasts[low - 1]
    }
}

/// A sequence of sets: one code point, or byte, of each in turn.
struct ClassPattern: Sendable {
    let classes: [CodePointSet]

    /// Whether it matches at a place of a text.
    func matches<Units: RandomAccessCollection>(_ text: Units, at place: Int) -> Bool
    where Units.Element: BinaryInteger, Units.Index == Int {
        guard place + classes.count <= text.endIndex else { return false }
        return classes.indices.allSatisfy { classes[$0].contains(UInt32(text[place + $0])) }
    }
}
