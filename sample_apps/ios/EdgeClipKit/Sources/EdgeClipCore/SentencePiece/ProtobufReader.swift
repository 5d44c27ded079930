/// The fields of a protocol buffers message (https://protobuf.dev/programming-guides/encoding). Throws `Malformed`.
struct ProtobufReader {
    enum Value {
        case number(UInt64)
        case bytes(ArraySlice<UInt8>)
        case fixed32(UInt32)
    }

    private let content: ArraySlice<UInt8>
    private var place: Int

    init(_ content: ArraySlice<UInt8>) {
        self.content = content
        place = content.startIndex
    }

    /// The next field that has a value of one of the kinds above, or nil at the end.
    mutating func next() throws -> (field: UInt64, value: Value)? {
        while place < content.endIndex {
            let tag = try varint()
            let field = tag >> 3
            switch tag & 7 {
            case 0: return (field, .number(try varint()))
            case 1: _ = try bytes(8)
            case 2: return (field, .bytes(try bytes(try varint())))
            case 5: return (field, .fixed32(try bytes(4).reversed().reduce(0) { $0 << 8 | UInt32($1) }))
            default: throw Malformed("has a field of unknown kind")
            }
        }
        return nil
    }

    private mutating func varint() throws -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            guard place < content.endIndex else { throw Malformed("ends in the middle of a field") }
            let byte = content[place]
            place += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        throw Malformed("has a number that does not end")
    }

    private mutating func bytes(_ count: UInt64) throws -> ArraySlice<UInt8> {
        guard count <= UInt64(content.endIndex - place) else { throw Malformed("ends in the middle of a field") }
        defer { place += Int(count) }
        return content[place..<place + Int(count)]
    }
}
