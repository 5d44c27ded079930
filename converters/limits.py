"""Limits of Apple's Neural Engine that both a rule and a rewrite need. Source: github.com/hollance/neural-engine."""

MAX_KERNEL_WIDTH = 13
