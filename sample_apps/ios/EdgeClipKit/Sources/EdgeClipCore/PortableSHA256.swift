import Foundation

/// SHA-256 (FIPS 180-4), for systems without CryptoKit.
struct PortableSHA256 {
    private static let block = 64

    private var state: [UInt32] = [
        0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19,
    ]
    private var rest: [UInt8] = []
    private var length: UInt64 = 0

    mutating func update(_ part: Data) {
        length &+= UInt64(part.count)
        rest.append(contentsOf: part)
        let whole = rest.count - rest.count % Self.block
        rest.withUnsafeBytes { bytes in
            for start in stride(from: 0, to: whole, by: Self.block) {
                compress(UnsafeRawBufferPointer(rebasing: bytes[start..<start + Self.block]))
            }
        }
        rest.removeFirst(whole)
    }

    /// The digest in hexadecimal.
    func finish() -> String {
        var last = self
        let bits = length &* 8
        var padding: [UInt8] = [0x80]
        padding += [UInt8](repeating: 0, count: (Self.block * 2 - 9 - rest.count) % Self.block)
        padding += (0..<8).map { UInt8(truncatingIfNeeded: bits >> (56 - 8 * UInt64($0))) }
        last.update(Data(padding))
        return last.state.map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 8 - digits.count) + digits
        }.joined()
    }

    private mutating func compress(_ block: UnsafeRawBufferPointer) {
        var words = [UInt32](repeating: 0, count: 64)
        for index in 0..<16 {
            words[index] = UInt32(bigEndian: block.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self))
        }
        for index in 16..<64 {
            let (early, late) = (words[index - 15], words[index - 2])
            let first = rotated(early, 7) ^ rotated(early, 18) ^ early >> 3
            let second = rotated(late, 17) ^ rotated(late, 19) ^ late >> 10
            words[index] = words[index - 16] &+ first &+ words[index - 7] &+ second
        }
        var (a, b, c, d) = (state[0], state[1], state[2], state[3])
        var (e, f, g, h) = (state[4], state[5], state[6], state[7])
        for index in 0..<64 {
            let sum1 = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)
            let first = h &+ sum1 &+ (e & f ^ ~e & g) &+ Self.constants[index] &+ words[index]
            let sum0 = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)
            let second = sum0 &+ (a & b ^ a & c ^ b & c)
            (h, g, f, e, d, c, b, a) = (g, f, e, d &+ first, c, b, a, first &+ second)
        }
        for (index, value) in [a, b, c, d, e, f, g, h].enumerated() { state[index] &+= value }
    }

    private func rotated(_ word: UInt32, _ count: UInt32) -> UInt32 {
        word >> count | word << (32 - count)
    }

    /// The fractional parts of the cube roots of the first 64 primes, 32 bits of each.
    private static let constants: [UInt32] = {
        let primes = (2...311).filter { candidate in (2..<candidate).allSatisfy { !candidate.isMultiple(of: $0) } }
        return primes.map { UInt32((cbrt(Double($0)) - cbrt(Double($0)).rounded(.down)) * 4_294_967_296) }
    }()
}
