"""Whole towers in the Neural Engine's layout."""

from __future__ import annotations

from torch import Tensor, nn

from converters.layout.kinds import RefusedError, rewrites, rewritten
from converters.layout.normalisation import Normalisation, deviation_into
from converters.layout.unit_length import unit_length
from edgeclip.errors import ConversionError
from edgeclip.models.towers import ImageTower, TextTower, with_shared_numbers


class MapTower(nn.Module):
    """A tower whose encoder gives (N, D, 1, 1). Shapes: image (N, 3, H, W) in [0, 1], or ids (N, L) -> (N, D), unit length."""

    def __init__(self, normalisation: nn.Module, encoder: nn.Module) -> None:
        super().__init__()
        self.normalisation, self.encoder = normalisation, encoder

    def forward(self, given: Tensor) -> Tensor:
        return unit_length(self.encoder(self.normalisation(given))).flatten(1)


@rewrites("edgeclip.models.towers.ImageTower")
def image_tower(tower: ImageTower) -> nn.Module:
    encoder = rewritten(tower.encoder)
    if tower.identity:
        return MapTower(nn.Identity(), encoder)
    first = getattr(getattr(encoder, "trunk", encoder), "first_convolution", None)
    if first is None:
        return MapTower(Normalisation(tower.mean, tower.std), encoder)
    deviation_into(first, tower.std)
    return MapTower(Normalisation(tower.mean, None), encoder)


@rewrites("edgeclip.models.towers.TextTower")
def text_tower(tower: TextTower) -> nn.Module:
    return MapTower(nn.Identity(), rewritten(tower.encoder))


def for_neural_engine(module: nn.Module) -> nn.Module:
    """A tower that computes the same in the layout of the Neural Engine; `module` stays as it is.

    module: what `edgeclip.models.towers.prepare_for_export` gives: fused, in eval mode, masks finite.
    Raises ConversionError for a part that has no rewrite, with its path.
    """
    tower = with_shared_numbers(module)
    places = {id(part): _place(tower, path) for path, part in tower.named_modules()}
    try:
        return rewritten(tower).requires_grad_(False).eval()
    except RefusedError as error:
        place = places[id(error.module)]
        raise ConversionError(f"{place}: {error.reason} for the Neural Engine; use --layout plain") from error


def _place(tower: nn.Module, path: str) -> str:
    """`encoder.blocks.0.norm (LayerNorm in Block)`."""
    name = type(tower.get_submodule(path)).__name__
    if not path:
        return name
    return f"{path} ({name} in {type(tower.get_submodule(path.rpartition('.')[0])).__name__})"
