"""Where Core ML will run each operation of a package: by documented rule anywhere, by Core ML's own plan on macOS."""
