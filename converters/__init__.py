"""Conversion targets. Each is one package that depends on `edgeclip`, which knows it only by name."""
