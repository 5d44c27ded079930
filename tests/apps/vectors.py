"""What the apps' Swift and Kotlin cores are tested with, made by the Python that they have to equal.

python -m tests.apps.vectors --out DIR
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.apps.token_vectors import write_token_vectors


def write_vectors(out: Path) -> None:
    """Write all of them below `out`."""
    write_token_vectors(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write what the sample apps' cores are tested with.")
    parser.add_argument("--out", type=Path, required=True)
    write_vectors(parser.parse_args().out)
