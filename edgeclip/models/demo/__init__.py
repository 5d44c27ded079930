"""Weights that ship in the package: two small models trained on procedural scenes by `scripts/train_demo.py`."""

from __future__ import annotations

from pathlib import Path

from edgeclip.spec import Licence

FOLDER = Path(__file__).parent
FIGURES_FILE = "figures.json"

DEMO_LICENCE = Licence(
    name="Apache-2.0",
    url="https://www.apache.org/licenses/LICENSE-2.0",
    commercial_use=True,
)
