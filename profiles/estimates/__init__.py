"""Milliseconds on devices that are not here, from an artifact's own operations; always labelled as estimates."""
