"""Devices that are estimated: a TOML file for each, and in `published` the latencies that they are calibrated on."""
