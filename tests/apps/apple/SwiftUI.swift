@_exported import Foundation
@_exported import Observation
@_exported import UIKit

@MainActor public protocol View {
    associatedtype Body: View
    @ViewBuilder var body: Body { get }
}
extension Never: View {
    public var body: Never { fatalError() }
}
public struct TupleView<T>: View {
    public var body: Never { fatalError() }
}
public struct EmptyView: View {
    public init() {}
    public var body: Never { fatalError() }
}
extension Optional: View where Wrapped: View {
    public var body: Never { fatalError() }
}
@resultBuilder public enum ViewBuilder {
    public static func buildBlock() -> EmptyView { fatalError() }
    public static func buildBlock<C: View>(_ content: C) -> C { content }
    public static func buildBlock<each C: View>(_ content: repeat each C) -> TupleView<(repeat each C)> { fatalError() }
    public static func buildIf<C: View>(_ content: C?) -> C? { content }
    public static func buildEither<A: View, B: View>(first: A) -> TupleView<(A, B)> { fatalError() }
    public static func buildEither<A: View, B: View>(second: B) -> TupleView<(A, B)> { fatalError() }
    public static func buildExpression<C: View>(_ content: C) -> C { content }
}

// MARK: App

@MainActor public protocol Scene {}
@MainActor public protocol App {
    associatedtype Body: Scene
    @SceneBuilder var body: Body { get }
    init()
}
extension App {
    public static func main() {}
}
@resultBuilder public enum SceneBuilder {
    public static func buildBlock<C: Scene>(_ content: C) -> C { content }
}
public struct WindowGroup<Content: View>: Scene {
    public init(@ViewBuilder content: () -> Content) {}
}

// MARK: State

@propertyWrapper public struct State<Value> {
    public init(wrappedValue: Value) { self.wrappedValue = wrappedValue }
    public var wrappedValue: Value {
        get { fatalError() }
        nonmutating set {}
    }
    public var projectedValue: Binding<Value> { Binding() }
}
extension State where Value: ExpressibleByNilLiteral {
    public init() { self.init(wrappedValue: nil) }
}
public struct Binding<Value> {}
public struct EnvironmentValues {
    public var displayScale: CGFloat { 1 }
}
@propertyWrapper public struct Environment<Value> {
    public init(_ path: KeyPath<EnvironmentValues, Value>) {}
    public init(_ type: Value.Type) where Value: AnyObject, Value: Observable {}
    public var wrappedValue: Value { fatalError() }
}

// MARK: Views

public struct LocalizedStringKey: ExpressibleByStringInterpolation {
    public init(stringLiteral: String) {}
    public init(stringInterpolation: StringInterpolation) {}
    public struct StringInterpolation: StringInterpolationProtocol {
        public init(literalCapacity: Int, interpolationCount: Int) {}
        public mutating func appendLiteral(_ literal: String) {}
        public mutating func appendInterpolation(_ text: String) {}
        public mutating func appendInterpolation<F: FormatStyle>(_ value: F.FormatInput, format: F)
        where F.FormatInput: Equatable, F.FormatOutput == String {}
    }
}
public struct Text: View {
    public init(_ key: LocalizedStringKey) {}
    @_disfavoredOverload public init<S: StringProtocol>(_ text: S) {}
    public init<F: FormatStyle>(_ value: F.FormatInput, format: F) where F.FormatInput: Equatable, F.FormatOutput == String {}
    public func monospacedDigit() -> Text { self }
    public func foregroundStyle(_ style: Color) -> Text { self }
    public func font(_ font: Font) -> Text { self }
    public var body: Never { fatalError() }
}
public struct Font: Sendable {
    public static let caption = Font(), caption2 = Font()
}
public struct Color: View, Sendable {
    public static let secondary = Color(), red = Color(), green = Color(), orange = Color()
    public func opacity(_ opacity: Double) -> Color { self }
    public var body: Never { fatalError() }
}
public struct Image: View {
    public init(uiImage: UIImage) {}
    public func resizable() -> Image { self }
    public var body: Never { fatalError() }
}
public struct Label<Title: View, Icon: View>: View {
    public var body: Never { fatalError() }
}
extension Label where Title == Text, Icon == Image {
    public init(_ title: LocalizedStringKey, systemImage: String) {}
    @_disfavoredOverload public init<S: StringProtocol>(_ title: S, systemImage: String) {}
}
public struct ProgressView<Content: View>: View {
    public var body: Never { fatalError() }
}
extension ProgressView where Content == Text {
    public init(_ title: LocalizedStringKey) {}
}
extension ProgressView {
    public init<V: BinaryFloatingPoint>(value: V?, total: V = 1.0, @ViewBuilder label: () -> Content) {}
}
public struct ContentUnavailableView: View {
    public init(_ title: LocalizedStringKey, systemImage: String, description: Text? = nil) {}
    public var body: Never { fatalError() }
}
public struct Container<Content: View>: View {
    public var body: Never { fatalError() }
}
public struct TabView<Content: View>: View {
    public init(@ViewBuilder content: () -> Content) {}
    public var body: Never { fatalError() }
}
public struct NavigationStack<Content: View>: View {
    public init(@ViewBuilder root: () -> Content) {}
    public var body: Never { fatalError() }
}
public enum HorizontalAlignment: Sendable { case leading, center, trailing }
public struct VStack<Content: View>: View {
    public init(alignment: HorizontalAlignment = .center, spacing: CGFloat? = nil, @ViewBuilder content: () -> Content) {}
    public var body: Never { fatalError() }
}
public struct HStack<Content: View>: View {
    public init(@ViewBuilder content: () -> Content) {}
    public var body: Never { fatalError() }
}
public struct Group<Content: View>: View {
    public init(@ViewBuilder content: () -> Content) {}
    public var body: Never { fatalError() }
}
public struct ScrollView<Content: View>: View {
    public init(@ViewBuilder content: () -> Content) {}
    public var body: Never { fatalError() }
}
public struct List<Content: View>: View {
    public init(@ViewBuilder content: () -> Content) {}
    public var body: Never { fatalError() }
}
public struct Section<Content: View>: View {
    public init(_ title: LocalizedStringKey, @ViewBuilder content: () -> Content) {}
    @_disfavoredOverload public init<S: StringProtocol>(_ title: S, @ViewBuilder content: () -> Content) {}
    public var body: Never { fatalError() }
}
public struct GridItem: Sendable {
    public enum Size: Sendable { case adaptive(minimum: CGFloat) }
    public init(_ size: Size) {}
}
public struct LazyVGrid<Content: View>: View {
    public init(columns: [GridItem], @ViewBuilder content: () -> Content) {}
    public var body: Never { fatalError() }
}
public struct Spacer: View {
    public init() {}
    public var body: Never { fatalError() }
}
public struct ForEach<Data: RandomAccessCollection, ID: Hashable, Content: View>: View {
    public init(_ data: Data, id: KeyPath<Data.Element, ID>, @ViewBuilder content: @escaping (Data.Element) -> Content) {}
    public var body: Never { fatalError() }
}
public struct TextField: View {
    public init(_ title: LocalizedStringKey, text: Binding<String>) {}
    public var body: Never { fatalError() }
}
public struct Button: View {
    public init(_ title: LocalizedStringKey, action: @escaping @MainActor () -> Void) {}
    @_disfavoredOverload public init<S: StringProtocol>(_ title: S, action: @escaping @MainActor () -> Void) {}
    public var body: Never { fatalError() }
}
public struct LabeledContent: View {
    public init<S: StringProtocol>(_ title: LocalizedStringKey, value: S) {}
    public var body: Never { fatalError() }
}
public struct RoundedRectangle: Sendable {
    public init(cornerRadius: CGFloat) {}
}
@MainActor public protocol UIViewRepresentable: View where Body == Never {
    associatedtype UIViewType: UIView
    typealias Context = UIViewRepresentableContext<Self>
    func makeUIView(context: Context) -> UIViewType
    func updateUIView(_ view: UIViewType, context: Context)
}
extension UIViewRepresentable {
    public var body: Never { fatalError() }
}
public struct UIViewRepresentableContext<Representable> {}

// MARK: Modifiers

public enum TextFieldStyle: Sendable { case roundedBorder }
public enum TextAlignment: Sendable { case center }
public enum TitleDisplayMode: Sendable { case inline }
public enum Edges: Sendable { case all, horizontal }

extension View {
    public func tabItem<C: View>(@ViewBuilder _ label: () -> C) -> some View { Container<C>() }
    public func environment<T: AnyObject & Observable>(_ object: T?) -> some View { EmptyView() }
    public func task(@_inheritActorContext _ action: @escaping @Sendable () async -> Void) -> some View { EmptyView() }
    public func task<T: Equatable>(id: T, @_inheritActorContext _ action: @escaping @Sendable () async -> Void) -> some View {
        EmptyView()
    }
    public func onDisappear(perform: (() -> Void)?) -> some View { EmptyView() }
    public func multilineTextAlignment(_ alignment: TextAlignment) -> some View { EmptyView() }
    public func padding(_ edges: Edges = .all) -> some View { EmptyView() }
    public func navigationTitle(_ title: LocalizedStringKey) -> some View { EmptyView() }
    @_disfavoredOverload public func navigationTitle<S: StringProtocol>(_ title: S) -> some View { EmptyView() }
    public func navigationBarTitleDisplayMode(_ mode: TitleDisplayMode) -> some View { EmptyView() }
    public func clipShape(_ shape: RoundedRectangle) -> some View { EmptyView() }
    public func foregroundStyle(_ style: Color) -> some View { EmptyView() }
    public func textFieldStyle(_ style: TextFieldStyle) -> some View { EmptyView() }
    public func searchable(text: Binding<String>, prompt: LocalizedStringKey) -> some View { EmptyView() }
    public func toolbar<C: View>(@ViewBuilder content: () -> C) -> some View { Container<C>() }
    public func frame(width: CGFloat? = nil, height: CGFloat? = nil) -> some View { EmptyView() }
    public func scaledToFill() -> some View { EmptyView() }
    public func disabled(_ disabled: Bool) -> some View { EmptyView() }
    public func font(_ font: Font) -> some View { EmptyView() }
}
