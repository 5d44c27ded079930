#!/usr/bin/env python
"""Draw a few procedural pictures to try a demo bundle on: `python scripts/draw_examples.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from edgeclip.data.scenes import Scene, draw

EXAMPLES = {
    "red-circle": Scene("one", "large", "solid", "red", "circle", "middle", seed=1),
    "blue-stars": Scene("two", "large", "striped", "blue", "star", "left", seed=2),
    "green-hearts": Scene("three", "small", "solid", "green", "heart", "bottom", seed=3),
    "yellow-moon": Scene("one", "large", "dotted", "yellow", "moon", "right", seed=4),
}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, scene in EXAMPLES.items():
        draw(scene, 256).save(folder / f"{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
