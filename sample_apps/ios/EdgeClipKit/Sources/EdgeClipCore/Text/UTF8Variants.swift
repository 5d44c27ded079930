/// UTF-8, and what Java and others write in its place: C0 80 for U+0000, and pairs of surrogates as three bytes each (CESU-8).
enum UTF8Variants {
    /// nil where the bytes are neither.
    static func decoded(_ bytes: [UInt8]) -> CodePoints? {
        var out: CodePoints = []
        out.reserveCapacity(bytes.count)
        var place = 0
        while place < bytes.count {
            guard let (code, length) = variant(bytes, place) ?? standard(bytes, place) else { return nil }
            out.append(code)
            place += length
        }
        return out
    }

    private static func variant(_ bytes: [UInt8], _ place: Int) -> (UInt32, Int)? {
        if bytes[place] == 0xC0 {
            return place + 1 < bytes.count && bytes[place + 1] == 0x80 ? (0, 2) : nil
        }
        guard bytes[place] == 0xED, place + 5 < bytes.count, bytes[place + 3] == 0xED else { return nil }
        let (high, highEnd, low, lowEnd) = (bytes[place + 1], bytes[place + 2], bytes[place + 4], bytes[place + 5])
        guard 0xA0...0xAF ~= high, 0x80...0xBF ~= highEnd, 0xB0...0xBF ~= low, 0x80...0xBF ~= lowEnd else { return nil }
        let bits = UInt32(high & 0x0F) << 16 | UInt32(highEnd & 0x3F) << 10 | UInt32(low & 0x0F) << 6 | UInt32(lowEnd & 0x3F)
        return (0x10000 + bits, 6)
    }

    /// By the first byte: how many follow, the bits of the first, and what the second may be (Unicode, table 3-7).
    private static func standard(_ bytes: [UInt8], _ place: Int) -> (UInt32, Int)? {
        let first = bytes[place]
        let (following, bits, second): (Int, UInt8, ClosedRange<UInt8>)
        switch first {
        case 0..<0x80: return (UInt32(first), 1)
        case 0xC2...0xDF: (following, bits, second) = (1, 0x1F, 0x80...0xBF)
        case 0xE0: (following, bits, second) = (2, 0x0F, 0xA0...0xBF)
        case 0xED: (following, bits, second) = (2, 0x0F, 0x80...0x9F)
        case 0xE1...0xEF: (following, bits, second) = (2, 0x0F, 0x80...0xBF)
        case 0xF0: (following, bits, second) = (3, 0x07, 0x90...0xBF)
        case 0xF1...0xF3: (following, bits, second) = (3, 0x07, 0x80...0xBF)
        case 0xF4: (following, bits, second) = (3, 0x07, 0x80...0x8F)
        default: return nil
        }
        guard place + following < bytes.count, second ~= bytes[place + 1] else { return nil }
        var code = UInt32(first & bits)
        for byte in bytes[(place + 1)...(place + following)] {
            guard 0x80...0xBF ~= byte else { return nil }
            code = code << 6 | UInt32(byte & 0x3F)
        }
        return (code, 1 + following)
    }
}
