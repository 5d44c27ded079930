"""What the emulation is made of: packages of Debian and of PyPI, unpacked and never installed.

The emulator and the libraries that it needs come from Debian for x86-64, so that it runs on any Linux; Python and the C
library for the emulated side from Debian for ARM64; ExecuTorch, torch and NumPy from their official wheels for ARM64.
"""

from __future__ import annotations

from dataclasses import dataclass

DEBIAN = "https://deb.debian.org/debian"
SUITE = "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"  # of Debian's package debian-archive-keyring
HOST, GUEST = "amd64", "arm64"
GUEST_PYTHON = "3.11"  # of the suite, and of the wheels below

# `qemu-user`, unlike `qemu-user-static`, is linked dynamically: a fifth of the size, together with all it needs.
HOST_PACKAGES = (
    "qemu-user",
    "libc6",
    "libcapstone4",
    "libffi8",
    "libgcc-s1",
    "libglib2.0-0",
    "libgmp10",
    "libgnutls30",
    "libhogweed6",
    "libidn2-0",
    "libnettle8",
    "libnuma1",
    "libp11-kit0",
    "libpcre2-8-0",
    "libtasn1-6",
    "libunistring2",
    "liburing2",
    "zlib1g",
)
GUEST_PACKAGES = (
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "python3.11-minimal",
    "libbz2-1.0",
    "libc6",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "libgomp1",
    "liblzma5",
    "libssl3",
    "libstdc++6",
    "libuuid1",
    "zlib1g",
)


@dataclass(frozen=True)
class Wheel:
    """One file of PyPI. leave_out: patterns of members that nothing here needs."""

    name: str
    version: str
    file: str
    sha256: str
    size_mb: float
    leave_out: tuple[str, ...] = ()


# One release set, as in pyproject.toml: a .pte is checked on the runtime of the release that made it.
WHEELS = (
    Wheel(
        "executorch",
        "1.4.1",
        "executorch-1.4.1-cp311-cp311-manylinux_2_28_aarch64.whl",
        "700cb8b959109e72b5ce3f2edf6643a7db9df4a82b5778cd84861c1acbe32a9c",
        16.1,
        ("executorch/include/*", "executorch/share/*", "executorch/data/*"),
    ),
    Wheel(
        "torch",
        "2.13.0",
        "torch-2.13.0-cp311-cp311-manylinux_2_28_aarch64.whl",
        "092790c696a760c729fd5722835f50b9d81fd7c8f141571f3f3cf4081a8f664c",
        427.2,
        (
            *(
                "torch/include/*",
                "torch/share/*",
                "torch/bin/p*",
                "torch/bin/test*",
                "functorch/*",
            ),
            *(f"torch/lib/{name}.so" for name in ("libtorch_cuda", "libtorch_cuda_linalg", "libtorch_global_deps")),
            *(f"torch/lib/{name}.so" for name in ("libtorch_nvshmem", "libcaffe2_nvrtc")),
        ),
    ),
    Wheel(
        "numpy",
        "2.3.5",
        "numpy-2.3.5-cp311-cp311-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl",
        "3095bdb8dd297e5920b010e96134ed91d852d81d490e787beca7e35ae1d89cf7",
        14.6,
        ("numpy/*/tests/*", "numpy/_core/include/*", "numpy/f2py/*"),
    ),
    Wheel(
        "typing_extensions",
        "4.15.0",
        "typing_extensions-4.15.0-py3-none-any.whl",
        "f0fa19c6845758ab08074a0cfa8b7aecb71c999ca73d62883bc25cc018c4e548",
        0.1,
    ),
)
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64")

# From 2.11 on, torch's ARM64 wheels on PyPI are built for CUDA. These are the libraries that its CPU part names as needed and
# never calls; `elf.empty_library` stands in for them. Can go with a CPU-only ARM64 wheel of torch on PyPI.
TORCH_LIBRARIES = "torch/lib"
BOUND_LIBRARY = "libtorch_python.so"  # refers to data and functions of `STAND_IN`
STAND_IN = "libtorch_cuda.so"
EMPTY = ("libcudart.so.13", "libcudnn.so.9", "libcufile.so.0", "libcupti.so.13", "libnccl.so.2", "libtorch_global_deps.so")
CALLED = ("_ZN4c10d15get_gil_checkerEv",)  # of STAND_IN: returns a reference to a pointer, which the caller sets
