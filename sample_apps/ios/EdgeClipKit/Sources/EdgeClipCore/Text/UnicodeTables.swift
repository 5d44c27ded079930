import Foundation

/// What the tokenizers know of Unicode, HTML and mojibake: `text_tables.json`, which is described in edgeclip's
/// `scripts/app_text_tables.py`.
///
/// No system's own tables are used: those change with its version, and token ids have to be the same on every phone.
struct UnicodeTables: Sendable {
    typealias Map = [UInt32: CodePoints]

    static let schema = "edgeclip.text_tables/1"

    let html: HTML
    let ftfy: Ftfy
    let nfc: NFC
    let letterCase: LetterCase
    let words: Words
    let asciiPunctuation: CodePointSet

    struct HTML: Sendable {
        let entities: [String: CodePoints]
        let longestName: Int
        let numeric: Map
        let dropped: CodePointSet
    }

    struct Ftfy: Sendable {
        let entities: [String: CodePoints]
        let charmaps: [Charmap]
        let windows1252: [UInt32?]
        let bad: [ClassPattern]
        let badAtStart: [ClassPattern]
        /// Lead characters by how many continuations follow.
        let sequences: [(lead: CodePointSet, continuations: Int)]
        let continuation: CodePointSet
        let strictContinuation: CodePointSet
        let alteredUTF8: [ClassPattern]
        let lossyUTF8: [ClassPattern]
        let ligatures: Map
        let width: Map
        let singleQuotes: CodePointSet
        let doubleQuotes: CodePointSet
        let c1: CodePointSet
        let control: CodePointSet
        let decimal: CodePointSet
        let alphabetic: CodePointSet
    }

    /// A single-byte encoding.
    struct Charmap: Sendable {
        let name: String
        let isSloppy: Bool
        let restoresA0: Bool
        let chars: [UInt32]
        let bytes: [UInt32: UInt8]
    }

    struct NFC: Sendable {
        let decompositions: Map
        let classes: [UInt32: UInt8]
        /// By first << 32 | second.
        let compositions: [UInt64: UInt32]
    }

    struct LetterCase: Sendable {
        let lower: Map
        let cased: CodePointSet
        let ignorable: CodePointSet
        let space: CodePointSet
    }

    struct Words: Sendable {
        let letter: CodePointSet
        let number: CodePointSet
        let other: CodePointSet
        let folded: [UInt32: CodePointSet]
    }

    /// The tables that come with this package, read once.
    static func shared() throws -> UnicodeTables {
        try loaded.get()
    }

    private static let loaded = Result {
        guard let file = Bundle.module.url(forResource: "text_tables", withExtension: "json") else {
            throw EdgeClipError.bundle("text_tables.json is missing in the app: link the resources of package EdgeClipKit")
        }
        return try UnicodeTables(Files.read(file, atMost: 16 << 20, EdgeClipError.bundle), file: file.path)
    }
}

// MARK: Reading

extension UnicodeTables {
    init(_ data: Data, file: String) throws {
        self = try Fields.read(data, of: file, EdgeClipError.bundle, UnicodeTables.init(fields:))
    }

    private init(fields: inout Fields) throws {
        let schema = try fields.string("schema")
        guard schema == Self.schema else { throw Malformed("schema \"\(schema)\" is not \(Self.schema)") }
        _ = try fields.json("made_by")
        html = try fields.object("html") { fields in
            let entities = try fields.named("entities")
            return HTML(
                entities: entities, longestName: entities.keys.map(\.utf8.count).max() ?? 0, numeric: try fields.map("numeric"),
                dropped: try fields.set("dropped"))
        }
        ftfy = try fields.object("ftfy", Ftfy.init(fields:))
        nfc = try fields.object("nfc", NFC.init(fields:))
        letterCase = try fields.object("case") { fields in
            LetterCase(
                lower: try fields.map("lower"), cased: try fields.set("cased"), ignorable: try fields.set("case_ignorable"),
                space: try fields.set("space"))
        }
        words = try fields.object("words") { fields in
            Words(
                letter: try fields.set("letter"), number: try fields.set("number"), other: try fields.set("other"),
                folded: try fields.map("folded").mapValues(CodePointSet.init(flat:)))
        }
        asciiPunctuation = try fields.set("ascii_punctuation")
    }
}

extension UnicodeTables.Ftfy {
    fileprivate init(fields: inout Fields) throws {
        entities = try fields.named("entities")
        charmaps = try fields.array("charmaps") { try Fields.read($0, at: $1, UnicodeTables.Charmap.init(fields:)) }
        windows1252 = try fields.array("windows_1252") { $0 == .null ? nil : try Fields.code($0, $1) }
        guard windows1252.count == 256 else { throw fields.wrong("windows_1252", "is not of 256 bytes") }
        (bad, badAtStart) = try fields.object("bad") { fields in
            let classes = try fields.sets("classes")
            return (try fields.patterns("patterns", classes), try fields.patterns("start_patterns", classes))
        }
        (sequences, continuation, strictContinuation) = try fields.object("utf8") { fields in
            let leads = try ["first_of_2", "first_of_3", "first_of_4"].map { try fields.set($0) }
            return (
                leads.enumerated().map { ($1, $0 + 1) }, try fields.set("continuation"), try fields.set("continuation_strict")
            )
        }
        alteredUTF8 = try fields.object("altered_utf8") { try $0.patterns("patterns", try $0.sets("classes")) }
        lossyUTF8 = try fields.object("lossy_utf8") { try $0.patterns("patterns", try $0.sets("classes")) }
        ligatures = try fields.map("ligatures")
        width = try fields.map("width")
        singleQuotes = try fields.set("single_quotes")
        doubleQuotes = try fields.set("double_quotes")
        c1 = try fields.set("c1")
        control = try fields.set("control")
        decimal = try fields.set("decimal")
        alphabetic = try fields.set("alphabetic")
    }
}

extension UnicodeTables.Charmap {
    fileprivate init(fields: inout Fields) throws {
        name = try fields.string("name")
        isSloppy = try fields.bool("sloppy")
        restoresA0 = try fields.bool("restores_a0")
        chars = try fields.codes("chars")
        bytes = Dictionary(chars.prefix(256).enumerated().map { ($1, UInt8($0)) }) { first, _ in first }
        guard chars.count == 256, bytes.count == 256 else { throw fields.wrong("chars", "are not 256 different ones") }
    }
}

extension UnicodeTables.NFC {
    fileprivate init(fields: inout Fields) throws {
        decompositions = try fields.map("decompositions")
        classes = try fields.triples("classes").reduce(into: [:]) { classes, range in
            guard range.0 <= range.1, let combining = UInt8(exactly: range.2) else { throw Malformed("nfc.classes has no such range") }
            for code in range.0...range.1 { classes[code] = combining }
        }
        let pairs = try fields.triples("compositions").map { (UInt64($0.0) << 32 | UInt64($0.1), $0.2) }
        compositions = Dictionary(pairs) { first, _ in first }
    }
}

extension Fields {
    fileprivate static func code(_ json: JSON, _ place: String) throws -> UInt32 {
        guard case .integer(let number) = json, 0...0x10FFFF ~= number else { throw Malformed("\(place) is no code point") }
        return UInt32(number)
    }

    fileprivate static func codes(_ json: JSON, _ place: String) throws -> CodePoints {
        guard case .array(let items) = json else { throw Malformed("\(place) is no list") }
        return try items.map { try code($0, place) }
    }

    fileprivate mutating func codes(_ key: String) throws -> CodePoints {
        try Self.codes(try json(key), key)
    }

    fileprivate mutating func set(_ key: String) throws -> CodePointSet {
        try CodePointSet(flat: try codes(key))
    }

    fileprivate mutating func sets(_ key: String) throws -> [CodePointSet] {
        try array(key) { try CodePointSet(flat: try Self.codes($0, $1)) }
    }

    fileprivate mutating func named(_ key: String) throws -> [String: CodePoints] {
        guard case .object(let members) = try json(key) else { throw wrong(key, "is no object") }
        return try members.mapValues { try Self.codes($0, key) }
    }

    fileprivate mutating func map(_ key: String) throws -> UnicodeTables.Map {
        try named(key).reduce(into: [:]) { map, member in
            guard let code = UInt32(member.key) else { throw wrong(key, "has a key \"\(member.key)\" that is no code point") }
            map[code] = member.value
        }
    }

    fileprivate mutating func triples(_ key: String) throws -> [(UInt32, UInt32, UInt32)] {
        let flat = try codes(key)
        guard flat.count.isMultiple(of: 3) else { throw wrong(key, "is no list of triples") }
        return stride(from: 0, to: flat.count, by: 3).map { (flat[$0], flat[$0 + 1], flat[$0 + 2]) }
    }

    fileprivate mutating func patterns(_ key: String, _ classes: [CodePointSet]) throws -> [ClassPattern] {
        try array(key) { item, place in
            ClassPattern(
                classes: try Self.codes(item, place).map { index in
                    guard Int(index) < classes.count else { throw Malformed("\(place) names a class that is not there") }
                    return classes[Int(index)]
                })
        }
    }
}
