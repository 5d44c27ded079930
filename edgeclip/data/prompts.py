"""Prompt templates: a label is put into each, and the embeddings are averaged (OpenAI CLIP, section 3.1.4).

A file of templates is UTF-8 text, one template a line, each with `{}` once, where the label goes. Blank lines and lines that
begin with `#` are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeclip.errors import InputError, UsageError

DEFAULT_TEMPLATES = ("{}", "a photo of {}", "a picture of {}", "an image of {}", "a drawing of {}")
MAX_TEMPLATES = 1000
_MAX_BYTES = 1 << 20
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
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"--templates {path}: larger than {_MAX_BYTES >> 20} MB")
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except FileNotFoundError:
        raise InputError(f"--templates {path}: no such file, and no set of that name ({', '.join(template_sets())})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--templates {path}: cannot be read as UTF-8 text ({error})") from error
    templates = tuple(line for line in lines if line and not line.startswith("#"))
    if not 1 <= len(templates) <= MAX_TEMPLATES:
        raise InputError(f"--templates {path}: {len(templates)} templates; give 1 to {MAX_TEMPLATES}, one a line")
    check_templates(templates, f"--templates {path}:")
    return templates
