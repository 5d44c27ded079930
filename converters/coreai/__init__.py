"""Core AI (`.aimodel`), through coreai-torch and coreai-opt."""
