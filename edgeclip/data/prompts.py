"""Labels and prompt templates: a label is put into each, and the embeddings are averaged (OpenAI CLIP, section 3.1.4).

A file of labels is UTF-8 text, one label a line; blank lines are left out. A file of templates is the same, each with `{}`
once, where the label goes, and lines that begin with `#` are left out too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edgeclip.errors import InputError, UsageError

DEFAULT_TEMPLATES = ("{}", "a photo of {}", "a picture of {}", "an image of {}", "a drawing of {}")
MAX_TEMPLATES = 1000
MAX_LABELS = 100_000
_MAX_BYTES = 1 << 20
_MAX_LABEL_BYTES = 16 << 20
_FOLDER = Path(__file__).parent / "templates"


def check_templates(templates: Sequence[str], option: str = "--template") -> None:
    """Raise UsageError where a template has not one place for the label."""
    for template in templates:
        if template.count("{}") != 1:
            raise UsageError(f"{option} {template!r}: needs {{}} exactly once, where the label goes")


def template_sets() -> tuple[str, ...]:
    """The names of the sets that ship with edgeclip."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.txt")))


def read_templates(name: str) -> tuple[str, ...]:
    """The templates of a shipped set, or of a file. Raises InputError where there are none."""
    path = _FOLDER / f"{name}.txt" if name in template_sets() else Path(name)
    try:
        lines = _lines(path, "--templates", _MAX_BYTES)
    except FileNotFoundError:
        raise InputError(f"--templates {path}: no such file, and no set of that name ({', '.join(template_sets())})") from None
    templates = tuple(line for line in lines if not line.startswith("#"))
    if not 1 <= len(templates) <= MAX_TEMPLATES:
        raise InputError(f"--templates {path}: {len(templates)} templates; give 1 to {MAX_TEMPLATES}, one a line")
    check_templates(templates, f"--templates {path}:")
    return templates


def check_labels(labels: Sequence[str], option: str) -> None:
    """Raise UsageError where there are no labels, or some are empty or given twice. option: what the error names."""
    if not labels or any(not label.strip() for label in labels):
        raise UsageError(f"{option}: give one or more labels, none of them empty")
    if len(labels) > MAX_LABELS:
        raise UsageError(f"{option}: {len(labels)} labels; give up to {MAX_LABELS}")
    if len(set(labels)) != len(labels):
        twice = next(label for label, count in Counter(labels).items() if count > 1)
        raise UsageError(f"{option}: a label is given twice ({twice!r:.60})")


def read_labels(path: Path, option: str) -> list[str]:
    """The labels of a file. Raises InputError where it cannot be read, and UsageError as `check_labels`."""
    try:
        labels = _lines(path, option, _MAX_LABEL_BYTES)
    except FileNotFoundError:
        raise InputError(f"{option} {path}: cannot be read (no such file)") from None
    check_labels(labels, f"{option} {path}")
    return labels


def _lines(path: Path, option: str, most: int) -> list[str]:
    """Lines that are not blank, without blanks around them."""
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise InputError(f"{option} {path}: larger than {most >> 20} MB")
        return [line.strip() for line in content.decode("utf-8-sig").splitlines() if line.strip()]
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{option} {path}: cannot be read as UTF-8 text ({error})") from error
