"""CLIP-family models as Core ML and ExecuTorch artifacts, verified on any machine."""

__version__ = "0.1.0"
