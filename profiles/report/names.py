"""How artifacts are called, ordered and coloured: the same on the whole page."""

from __future__ import annotations

from collections.abc import Sequence

from profiles.report.gather import Item
from profiles.report.svg import SERIES


class Series:
    """Which colour and marker a target has, as a number. The usual ones have the same on every page."""

    _FIRST = ("coreml", "executorch/xnnpack")

    def __init__(self, items: Sequence[Item]) -> None:
        found = dict.fromkeys(item.where for item in items)
        self.names = [name for name in self._FIRST if name in found] + [name for name in found if name not in self._FIRST]
        self._numbers = {name: index for index, name in enumerate(self._FIRST)}
        for name in self.names:
            self._numbers.setdefault(name, len(self._numbers))

    def __getitem__(self, item: Item) -> int:
        return self.of(item.where)

    def of(self, name: str) -> int:
        """There are as many as there are colours; then they begin again."""
        return self._numbers[name] % len(SERIES)


def name_of(item: Item) -> str:
    """An artifact within its panel: `fp16 · coreml`."""
    return f"{item.artifact.scheme} · {item.where}"


def name_among(item: Item, items: Sequence[Item]) -> str:
    """As `name_of`, with the bundle where another one of the panel has the same."""
    same = sum((panel_of(other), name_of(other)) == (panel_of(item), name_of(item)) for other in items)
    return f"{name_of(item)} · {item.bundle}" if same > 1 else name_of(item)


def panel_of(item: Item) -> str:
    """The caption of the panel that an artifact is in: `tinyclip-demo image`."""
    return f"{item.model} {item.artifact.tower}"


def by_panel(items: Sequence[Item]) -> dict[str, list[Item]]:
    """Artifacts by the caption of their panel, in the order of the bundles; of each the smaller first."""
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(panel_of(item), []).append(item)
    return {caption: sorted(ones, key=lambda item: item.artifact.size_bytes) for caption, ones in found.items()}
