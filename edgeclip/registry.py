"""A name -> item table that refuses duplicates and, on a miss, says what it knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from edgeclip.errors import UsageError

T = TypeVar("T")


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not in a table: suggests the nearest and lists the rest."""
    names = list(known)
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UsageError(f"unknown {kind} {name!r}: {hint}known: {', '.join(names)}")


class Registry(Mapping[str, T]):
    """An insertion-ordered table of named items.

    >>> colours = Registry[str]("colour")
    >>> colours.add("red", "#f00")
    '#f00'
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}
        self._aliases: dict[str, str] = {}

    def add(self, name: str, item: T, aliases: Iterable[str] = ()) -> T:
        """Register `item`; a second item of the same name or alias is a programming error.

        Names and aliases are looked up in any case of letters; aliases are not listed.
        """
        if name in self:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._items[name] = item
        self._aliases[name.lower()] = name
        for alias in aliases:
            if alias in self:
                raise ValueError(f"{self.kind} {alias!r} is registered twice")
            self._aliases[alias.lower()] = name
        return item

    def __getitem__(self, name: str) -> T:
        try:
            return self._items[self._aliases.get(name.lower(), name)]
        except KeyError:
            raise unknown(self.kind, name, self._items) from None

    def __contains__(self, name: object) -> bool:
        return name in self._items or (isinstance(name, str) and name.lower() in self._aliases)

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)
