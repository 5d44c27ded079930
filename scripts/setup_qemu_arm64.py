"""Set up the emulation of ARM64 for `edgeclip verify --runtime qemu-arm64`: about 490 MB of downloads, 0.7 GB on disk.

    python scripts/setup_qemu_arm64.py [--keep-downloads]

Everything comes from Debian's archive and from PyPI, is checked against their hashes, and is unpacked into edgeclip's cache
folder ($EDGECLIP_CACHE); nothing is installed, and no special rights are needed. It can be stopped and started again.
"""

from __future__ import annotations

import argparse
import sys
import time

from edgeclip.cli.output import working
from edgeclip.errors import EdgeclipError
from edgeclip.reference.qemu_arm64.parts import DEBIAN
from edgeclip.reference.qemu_arm64.setup import set_up


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", help=f"a mirror of Debian's archive; default: $EDGECLIP_DEBIAN or {DEBIAN}")
    parser.add_argument("--keep-downloads", action="store_true", help="keep the packages, to set up again without a network")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    options = parser.parse_args()
    started = time.perf_counter()
    try:
        with working(options.verbose) as progress:
            root = set_up(progress, options.archive, options.keep_downloads)
    except EdgeclipError as error:
        if options.verbose:
            raise
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    size = sum(path.lstat().st_size for path in root.rglob("*"))
    print(f"{root}: ready, {size / 1e6:.0f} MB, {time.perf_counter() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
