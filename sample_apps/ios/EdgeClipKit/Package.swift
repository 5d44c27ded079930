// swift-tools-version:5.9
import PackageDescription

let package = Package(
    name: "EdgeClipKit",
    platforms: [.iOS(.v16), .macOS(.v13)],  // of `MLModel.compileModel(at:)` with async
    products: [
        .library(name: "EdgeClipCore", targets: ["EdgeClipCore"]),
        .library(name: "EdgeClipKit", targets: ["EdgeClipKit"]),
    ],
    targets: [
        // Foundation alone: builds on Linux too.
        .target(name: "EdgeClipCore", resources: [.copy("Resources/text_tables.json")]),
        // Core ML, Core Video, Image I/O.
        .target(name: "EdgeClipKit", dependencies: ["EdgeClipCore"]),
        .executableTarget(name: "edgeclip-benchmark", dependencies: ["EdgeClipCore"]),
        .testTarget(name: "EdgeClipCoreTests", dependencies: ["EdgeClipCore"]),
    ]
)
