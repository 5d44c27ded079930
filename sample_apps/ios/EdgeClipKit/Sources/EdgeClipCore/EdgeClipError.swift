import Foundation

/// What went wrong, in one sentence that names the file, the field or the limit.
///
/// Whatever a bundle, an index or a text holds, this package throws one of these and never traps.
public enum EdgeClipError: Error, Equatable, Sendable {
    /// A bundle or one of its files is missing, incomplete, altered or malformed.
    case bundle(String)
    /// A label bank or a search index cannot be used, or not with this bundle.
    case store(String)
    /// A text, picture, query or list of labels that cannot be used as it is.
    case input(String)
    /// The runtime under an encoder refused an artifact or an input.
    case runtime(String)

    public var message: String {
        switch self {
        case .bundle(let message), .store(let message), .input(let message), .runtime(let message): message
        }
    }
}

extension EdgeClipError: LocalizedError {
    public var errorDescription: String? { message }
}
