"""Drawings of matplotlib as SVG elements of the page: its colours, its font, no date, no id twice.

Nothing is drawn in a colour, but in a name: each name is an RGB value that nobody would draw with, and becomes a CSS
variable in the SVG, which light and dark mode and paper fill in as they like.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Variables of templates/style.css by the colour that matplotlib is told.
_VARIABLES: Final = {
    "#fe0101": "--ink",
    "#fe0102": "--muted",
    "#fe0103": "--grid",
    "#fe0104": "--card",
    **{f"#fe02{series:02x}": f"--series-{series}" for series in range(8)},
}
_COLOURS: Final = {variable: colour for colour, variable in _VARIABLES.items()}
INK, MUTED, GRID, CARD = (_COLOURS[name] for name in ("--ink", "--muted", "--grid", "--card"))
SERIES: Final = tuple(_COLOURS[f"--series-{series}"] for series in range(8))
MARKERS: Final = ("o", "s", "^", "D", "P", "X", "v", "p")  # one a series, so that none is told by its colour alone

FONT_PX: Final = 12.0
CHARACTER_PX: Final = 6.5  # of a letter in the page's font, on average and rather too much
_POINTS: Final = 72.0  # an inch: a figure of 72 dots an inch measures in pixels
_SHORT = 30.0  # largest by smallest
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_FONT = re.compile(r"font(-family)?:[^;]*'[^;]*")
_DECIMALS = re.compile(r"-?\d+\.\d+")
_NUMBERS = ("d", "x", "y", "width", "height", "transform")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


@dataclass(frozen=True)
class Drawing:
    """An `<svg>` element for the page, and what stands above it."""

    caption: str
    svg: str
    width: int
    height: int


@contextmanager
def theme() -> Iterator[None]:
    """The settings under which figures of this package are made and written."""
    import matplotlib as mpl

    settings: dict[Any, Any] = {  # its keys are typed as literals
        "font.size": FONT_PX,
        "font.family": "DejaVu Sans",  # comes with matplotlib, so that the same room is left everywhere
        "text.color": INK,
        "text.parse_math": False,  # a name with dollars is a name
        "axes.facecolor": "none",
        "axes.edgecolor": GRID,
        "axes.labelcolor": MUTED,
        "axes.linewidth": 1.0,
        "axes.unicode_minus": True,
        "xtick.color": GRID,
        "ytick.color": GRID,
        "xtick.labelcolor": MUTED,
        "ytick.labelcolor": MUTED,
        "grid.color": GRID,
        "hatch.color": CARD,
        "svg.fonttype": "none",
    }
    with mpl.rc_context(settings):
        yield


def blank(width: int, height: int, left: int, right: int, top: int, bottom: int) -> tuple[Figure, Axes]:
    """A figure with axes inside margins; all in pixels."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / _POINTS, height / _POINTS), dpi=_POINTS)
    FigureCanvasSVG(figure)
    axes = figure.add_axes((left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height))
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure, axes


def decades(axis: Any) -> None:
    """Ticks of a logarithmic axis: powers of ten, at most seven of them; on a short one also twice and five times them."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    low, high = axis.get_view_interval()
    subs = (1.0, 2.0, 5.0) if high / low < _SHORT else (1.0,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=7))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _scientific(value)))
    axis.minorticks_off()


def _scientific(value: float) -> str:
    digit, exponent = f"{value:.0e}".split("e")
    power = f"10{str(int(exponent)).translate(_RAISED)}"
    return power if digit == "1" else f"{digit}·{power}"


def as_drawing(figure: Figure, name: str, caption: str, title: str, description: str, tips: Mapping[str, str]) -> Drawing:
    """Write a figure as an element whose ids begin with `name`.

    title: what it shows, for who sees the element alone; description: what there is to see in it. tips: by the `gid` of an
    artist, what is shown when the pointer rests on it.
    """
    import matplotlib as mpl

    file = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata=nothing, transparent=True)
    root = ElementTree.fromstring(file.getvalue())
    width, height = (round(value * _POINTS) for value in figure.get_size_inches())
    inlined = _inline(root, name, tips)
    attributes = {
        "class": "plot",
        "viewBox": f"0 0 {width} {height}",
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-text",
    }
    svg = ElementTree.Element("svg", attributes)
    for tag, text in (("title", title), ("desc", description)):
        ElementTree.SubElement(svg, tag, {"id": f"{name}-{'title' if tag == 'title' else 'text'}"}).text = text
    svg.extend(inlined)
    return Drawing(caption, ElementTree.tostring(svg, encoding="unicode"), width, height)


def _inline(root: ElementTree.Element, name: str, tips: Mapping[str, str]) -> list[ElementTree.Element]:
    """The children of an SVG document as parts of an HTML page: no namespaces, style sheets, or ids that nothing refers to."""
    elements = list(root.iter())
    used = {reference for element in elements for reference in _references(element)}
    for element in elements:
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        element.tail = None
        if element.tag != "text":
            element.text = None
        identifier = element.attrib.pop("id", None)
        if identifier in used:
            element.set("id", f"{name}-{identifier}")
        if identifier is not None and identifier in tips:
            tip = ElementTree.Element("title")
            tip.text = tips[identifier]
            element.insert(0, tip)
        for key, value in element.attrib.items():
            element.attrib[key] = _attribute(key, value, name)
    for parent in elements:
        for child in [child for child in parent if child.tag in ("style", "metadata") or _empty(child)]:
            parent.remove(child)
    return list(root)


def _empty(element: ElementTree.Element) -> bool:
    return element.tag in ("g", "defs") and not any(child.tag != "style" for child in element.iter() if child is not element)


def _references(element: ElementTree.Element) -> Iterator[str]:
    for key, value in element.attrib.items():
        if key.endswith("href"):
            yield value.removeprefix("#")
        yield from _REFERENCE.findall(value)


def _attribute(key: str, value: str, name: str) -> str:
    if key == "href":
        return f"#{name}-{value.removeprefix('#')}"
    if key in _NUMBERS:
        value = " ".join(_DECIMALS.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value).split())
    if key == "style":
        value = _FONT.sub("", value)
    for colour, variable in _VARIABLES.items():
        value = value.replace(colour, f"var({variable})")
    return _REFERENCE.sub(rf"url(#{name}-\1)", value)
