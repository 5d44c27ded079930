"""The real ARM64 kernels of ExecuTorch on an x86-64 machine, through QEMU's user-mode emulation."""
