/// Code points as UTF-8. Lone surrogates, which cleaning has taken out, become U+FFFD.
enum UTF8Bytes {
    static func of(_ text: some Collection<UInt32>) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(text.count * 2)
        for code in text {
            if code < 0x80 {
                out.append(UInt8(code))
            } else {
                out += Array(String(Unicode.Scalar(code) ?? "\u{FFFD}").utf8)
            }
        }
        return out
    }
}
