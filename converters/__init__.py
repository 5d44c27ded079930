"""Conversion targets. Each is one package that depends on `edgeclip`, which knows it only by name.

`layout`, which rewrites towers for the Neural Engine, and `limits` are no targets: those use them whose files may run there.
"""
