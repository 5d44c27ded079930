"""ExecuTorch: ExportedProgram -> `.pte`."""
