@_exported import Foundation
public enum DataType { case float, int }
public protocol Scalar { static var dataType: DataType { get } }
extension Float: Scalar { public static var dataType: DataType { .float } }
extension Int32: Scalar { public static var dataType: DataType { .int } }
public class AnyTensor { public init() {} }
public final class Tensor<T: Scalar>: Equatable { public init(_ t: AnyTensor) {}
 public convenience init(_ scalars: [T], shape: [Int] = [], strides: [Int] = [], dimensionOrder: [Int] = []) { self.init(AnyTensor()) }
 public convenience init(_ scalars: inout [T], shape: [Int] = []) { self.init(AnyTensor()) }
 public func scalars() -> [T] { [] }
 public static func == (a: Tensor, b: Tensor) -> Bool { true } }
public class Value { public var anyTensor: AnyTensor? { nil }; public func tensor<T: Scalar>() -> Tensor<T>? { nil } }
public protocol ValueConvertible { func asValue() -> Value }
public protocol ValueConstructible { static func from(_ v: Value) throws -> Self }
public protocol ValueSequenceConstructible { static func from(_ v: [Value]) throws -> Self }
extension Tensor: ValueConvertible { public func asValue() -> Value { Value() } }
extension Value: ValueConvertible { public func asValue() -> Value { self } }
extension Array: ValueSequenceConstructible where Element: ValueConstructible { public static func from(_ values: [Value]) throws -> [Element] { [] } }
extension Float: ValueConvertible { public func asValue() -> Value { Value() } }
public enum ModuleLoadMode { case file, mmap }
public class Module { public init(filePath: String, loadMode: ModuleLoadMode) {}; public init(filePath: String) {}
 public func load(_ m: String) throws {}
 public func execute(_ method: String, _ inputs: [ValueConvertible]) throws -> [Value] { [] }
 public func execute(_ method: String, _ inputs: ValueConvertible...) throws -> [Value] { [] }
 public func execute<Output: ValueSequenceConstructible>(_ method: String, _ inputs: [ValueConvertible]) throws -> Output { fatalError() }
 public func execute<Output: ValueSequenceConstructible>(_ method: String, _ inputs: ValueConvertible...) throws -> Output { fatalError() }
 public func execute<Output: ValueSequenceConstructible>(_ method: String, _ input: ValueConvertible) throws -> Output { fatalError() } }
