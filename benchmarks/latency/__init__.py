"""What `latency_vs_peers.py` is made of: cases, contenders, interleaved rounds in child processes, tables and the plot."""
