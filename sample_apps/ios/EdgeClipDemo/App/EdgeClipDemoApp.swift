import SwiftUI

@main
struct EdgeClipDemoApp: App {
    @State private var engine = Engine()

    var body: some Scene {
        WindowGroup {
            TabView {
                ClassifyScreen().tabItem { Label("Labels", systemImage: "camera.viewfinder") }
                SearchScreen().tabItem { Label("Search", systemImage: "magnifyingglass") }
                SelfTestScreen().tabItem { Label("Self-test", systemImage: "checkmark.seal") }
            }
            .environment(engine)
            .task { await engine.load() }
        }
    }
}

/// Shows what is made of the loaded model, or why there is none.
struct WithModel<Content: View>: View {
    @Environment(Engine.self) private var engine
    @ViewBuilder let content: (LoadedModel) -> Content

    var body: some View {
        switch engine.state {
        case .loading:
            ProgressView("Loading \(BundleInfo.model). The first time takes longer: the phone compiles the model.")
                .multilineTextAlignment(.center)
                .padding()
        case .failed(let message):
            ContentUnavailableView("The model cannot be used", systemImage: "exclamationmark.triangle", description: Text(message))
        case .ready(let model):
            content(model)
        }
    }
}
