"""Runtimes: everything that executes a tower in Python."""
