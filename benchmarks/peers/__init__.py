"""The contenders of `latency_vs_peers.py`, one file each. Nothing here is imported by edgeclip or its converters."""
