"""Core ML: ExportedProgram -> ML Program in an `.mlpackage`."""
