// swift-tools-version:5.9
import PackageDescription

// A package of its own, so that apps with Core ML bundles alone do not fetch ExecuTorch's frameworks.
let package = Package(
    name: "EdgeClipExecuTorch",
    platforms: [.iOS(.v17), .macOS(.v14)],  // ExecuTorch's
    products: [.library(name: "EdgeClipExecuTorch", targets: ["EdgeClipExecuTorch"])],
    dependencies: [
        .package(path: "../EdgeClipKit"),
        // The release that makes edgeclip's .pte files. Releases of its Swift package are branches of this name.
        .package(url: "https://github.com/pytorch/executorch.git", branch: "swiftpm-1.4.1"),
    ],
    targets: [
        // Backends and kernels are linked to the app, see EdgeClipDemo/project.yml.
        .target(
            name: "EdgeClipExecuTorch",
            dependencies: [
                .product(name: "EdgeClipCore", package: "EdgeClipKit"), .product(name: "executorch", package: "executorch"),
            ])
    ]
)
