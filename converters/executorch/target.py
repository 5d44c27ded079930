"""The ExecuTorch target: towers to `.pte` programs for a delegate."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.executorch.backends import BACKENDS, Backend
from converters.executorch.inspection import inspect_program
from converters.executorch.passes import PASS_CHOICES, apply_passes, chosen
from converters.executorch.quantization import TABLE_FORMS, quantize
from edgeclip.errors import ConversionError, UsageError
from edgeclip.models.towers import ExportedTower
from edgeclip.progress import silent
from edgeclip.recipe import Recipe
from edgeclip.spec import ModelSpec, Tower
from edgeclip.target import Context, Interface, Lowered, Part, tower_interface

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram


class ExecuTorchTarget:
    """Programs of static shape, batch 1: a file with the method `forward` for each tower, or one with a method for each."""

    name = "executorch"
    suffix = ".pte"
    schemes = ("fp32", "fp16", "w8", "w8a8", "w4", "auto")
    backends = tuple(BACKENDS)
    os_floors = ()
    layouts = ()
    token_tables = TABLE_FORMS
    conventions = ()
    passes = PASS_CHOICES
    runtimes = ("executorch", "qemu-arm64")

    def schemes_with(self, backend: str | None) -> tuple[str, ...]:
        own = BACKENDS[backend or self.backends[0]].schemes
        return self.schemes if own is None else own

    def needed_os(self, scheme: str, forms: Collection[str] = ()) -> str | None:
        return None

    def check(self, recipe: Recipe) -> None:
        backend = _backend(recipe)
        backend.check_installed()
        if recipe.passes and not backend.rewritten:
            raise UsageError(f"--backend {backend.name}: takes the graph as it is; drop --without-pass and --with-pass")
        if recipe.token_table is not None and recipe.scheme == "fp16":
            raise UsageError(f"--scheme fp16: has its token table in float16; drop --token-table {recipe.token_table}")
        if recipe.token_table is not None and backend.schemes is not None:
            raise UsageError(f"--backend {backend.name}: has no kernels for other token tables; drop --token-table")

    def rewrite(self, layout: str | None) -> Callable[[nn.Module], nn.Module] | None:
        return None

    def lower(
        self, exported: ExportedTower, recipe: Recipe, metadata: Mapping[str, str], path: Path, context: Context | None = None
    ) -> Lowered:
        return self._write({"forward": Part(exported, recipe, metadata, context)}, path)[0]

    def join(self, parts: Sequence[Part], path: Path) -> tuple[Lowered, ...]:
        return self._write({_METHODS[part.exported.tower]: part for part in parts}, path)

    def _write(self, parts: Mapping[str, Part], path: Path) -> tuple[Lowered, ...]:
        from executorch.exir.error import ExportError, InternalError

        from converters.executorch.lowering import lower

        first = next(iter(parts.values()))
        progress = silent if first.context is None else first.context.progress
        towers = " and ".join(part.exported.tower for part in parts.values())
        try:
            with progress(f"lowering the {towers} tower: executorch/{first.recipe.backend} {first.recipe.scheme}"):
                prepared = {method: _prepared(part) for method, part in parts.items()}
                program = lower({method: (ready.program, ready.partitioners) for method, ready in prepared.items()})
        except (RuntimeError, ValueError, KeyError, TypeError, AssertionError, IndexError, ExportError, InternalError) as error:
            raise ConversionError(f"executorch: {towers} tower of {first.recipe.model}: {error}") from error
        path.write_bytes(program.content)
        return tuple(
            replace(ready.lowered, method=method, delegation=program.delegations[method]) for method, ready in prepared.items()
        )

    def interface(self, spec: ModelSpec, tower: Tower, convention: str | None) -> Interface:
        return tower_interface(spec, tower, picture="tensor")

    def file_stem(self, spec: ModelSpec, tower: Tower, convention: str | None) -> str:
        return f"{spec.file_stem}_{tower}"

    def stated_scheme(self, path: Path) -> str | None:
        return None

    def inspect(self, path: Path, method: str = "forward") -> dict[str, Any]:
        return inspect_program(path, method)


_METHODS: dict[Tower, str] = {"image": "encode_image", "text": "encode_text"}


def _backend(recipe: Recipe) -> Backend:
    assert recipe.backend is not None
    return BACKENDS[recipe.backend]


@dataclass(frozen=True)
class _Prepared:
    """A tower as its backend wants it, what puts it there, and what was decided on the way."""

    program: ExportedProgram
    partitioners: list[Any]
    lowered: Lowered


def _prepared(part: Part) -> _Prepared:
    recipe, backend = part.recipe, _backend(part.recipe)
    program, example = part.exported.program, (part.exported.example,)
    if backend.rewritten:
        program, _ = apply_passes(program, example, chosen(recipe.passes))
    lowered = Lowered()
    if backend.schemes is None:
        program, lowered = quantize(program, example, recipe, part.context)
    return _Prepared(program, backend.partitioners(recipe.scheme), lowered)


TARGET = ExecuTorchTarget()
