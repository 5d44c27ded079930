"""Integer schemes that hold a floor: what rounding costs the embedding, and which layers stay more exact for it."""
