import Foundation

/// A safetensors file: 8 bytes of length, that many of JSON, then the tensors, row by row, little-endian.
///
/// Format: https://huggingface.co/docs/safetensors
struct SafeTensors {
    let metadata: [String: String]
    private let tensors: [String: Entry]
    private let content: Data

    fileprivate struct Entry {
        let type: String
        let shape: [Int]
        let bytes: Range<Int>
    }

    private static let largestHeader = 64 << 20
    fileprivate static let elementBytes = ["F16": 2, "F32": 4]

    /// Throws `Malformed`, also where tensors do not fill the file from its header to its end.
    init(_ data: Data) throws {
        guard data.count >= 8 else { throw Malformed("is too short for a safetensors file") }
        let length = data.withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self)) }
        guard length <= min(data.count - 8, Self.largestHeader) else { throw Malformed("has a header that ends beyond it") }
        let body = data.startIndex + 8 + Int(length)
        content = data[body...]
        let room = content.count
        guard case .object(var members) = try JSON.parse(data[(data.startIndex + 8)..<body]) else {
            throw Malformed("has a header that is no object")
        }
        let metadata = members.removeValue(forKey: "__metadata__") ?? .object([:])
        self.metadata = try Fields.read(.object(["__metadata__": metadata]), at: "") { try $0.strings(byKey: "__metadata__") }
        tensors = try members.reduce(into: [:]) { found, member in
            found[member.key] = try Fields.read(member.value, at: member.key) { try Entry(fields: &$0, room: room) }
        }
        let parts = tensors.values.map(\.bytes).sorted { $0.lowerBound < $1.lowerBound }
        let ends = [0] + parts.map(\.upperBound)
        guard parts.map(\.lowerBound) + [room] == ends else { throw Malformed("has bytes that are no tensor's, or two's") }
    }

    /// A matrix as float32: its rows, its columns and its values. Throws `Malformed` where there is none, or not every value is finite.
    func matrix(_ name: String) throws -> (rows: Int, columns: Int, values: [Float]) {
        guard let entry = tensors[name] else { throw Malformed("has no tensor \"\(name)\"") }
        guard entry.shape.count == 2 else { throw Malformed("has a tensor \"\(name)\" that is no matrix") }
        let values: [Float] = content.withUnsafeBytes { all in
            let bytes = UnsafeRawBufferPointer(rebasing: all[entry.bytes])
            if entry.type == "F16" {
                return (0..<bytes.count / 2).map {
                    Self.float(half: UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: 2 * $0, as: UInt16.self)))
                }
            }
            return (0..<bytes.count / 4).map {
                Float(bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)))
            }
        }
        guard values.allSatisfy(\.isFinite) else { throw Malformed("has a tensor \"\(name)\" with values that are not finite") }
        return (entry.shape[0], entry.shape[1], values)
    }

    /// IEEE 754 binary16 to binary32. By hand: Swift's `Float16` does not exist on Intel Macs, where simulators run.
    static func float(half: UInt16) -> Float {
        let sign = UInt32(half & 0x8000) << 16
        let exponent = UInt32(half >> 10 & 0x1F), fraction = UInt32(half & 0x3FF)
        switch exponent {
        case 0:  // zero, and what is too small for an exponent
            let magnitude = Float(fraction) * Float(sign: .plus, exponent: -24, significand: 1)
            return Float(bitPattern: sign | magnitude.bitPattern)
        case 31: return Float(bitPattern: sign | 0x7F80_0000 | fraction << 13)
        default: return Float(bitPattern: sign | (exponent + 112) << 23 | fraction << 13)
        }
    }
}

extension SafeTensors.Entry {
    init(fields: inout Fields, room: Int) throws {
        type = try fields.string("dtype")
        shape = try fields.integers("shape", in: 0...Int(Int32.max))
        let offsets = try fields.integers("data_offsets", in: 0...room)
        guard let element = SafeTensors.elementBytes[type] else { throw fields.wrong("dtype", "\"\(type)\" is neither F16 nor F32") }
        var size = element
        for side in shape {
            let (product, overflow) = size.multipliedReportingOverflow(by: side)
            guard !overflow else { throw fields.wrong("shape", "is absurd") }
            size = product
        }
        guard offsets.count == 2, offsets[0] <= offsets[1], offsets[1] - offsets[0] == size else {
            throw fields.wrong("data_offsets", "do not hold the tensor")
        }
        bytes = offsets[0]..<offsets[1]
    }
}
