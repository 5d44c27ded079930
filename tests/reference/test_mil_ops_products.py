"""Matrix products, attention and normalization against coremltools' evaluation and formulas in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeclip.errors import BundleError
from tests.reference.oracle import REFUSED, Case, check, each, floats, ours


def _attention(*, query: np.ndarray, key: np.ndarray, value: np.ndarray, attn_mask: np.ndarray | None = None) -> np.ndarray:
    """softmax(q k^T / sqrt(d) + mask) v, a mask of booleans keeping what is true."""
    q, k, v = (part.astype(np.float64) for part in (query, key, value))
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    if attn_mask is not None:
        scores = scores + (np.where(attn_mask, 0.0, -np.inf) if attn_mask.dtype == np.bool_ else attn_mask)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True) @ v


def _layer_norm(
    *,
    x: np.ndarray,
    axes: tuple[int, ...] | None = None,
    gamma: np.ndarray | None = None,
    beta: np.ndarray | None = None,
    epsilon: float = 1e-5,
) -> np.ndarray:
    wide = x.astype(np.float64)
    dims = sorted(axis % x.ndim for axis in (range(x.ndim) if axes is None else axes))
    centred = wide - wide.mean(tuple(dims), keepdims=True)
    out = centred / np.sqrt((centred**2).mean(tuple(dims), keepdims=True) + epsilon)
    letters = "abcdefgh"[: x.ndim]
    along = "".join(letters[dim] for dim in dims)
    if gamma is not None:
        out = np.einsum(f"{letters},{along}->{letters}", out, gamma)
    return out if beta is None else out + np.einsum(f"{letters},{along}->{letters}", np.ones_like(out), beta)


def _batch_norm(
    *,
    x: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    gamma: np.ndarray | None = None,
    beta: np.ndarray | None = None,
    epsilon: float = 1e-5,
) -> np.ndarray:
    def channel(values: np.ndarray) -> np.ndarray:
        return values.astype(np.float64).reshape(1, -1, *[1] * (x.ndim - 2))

    out = (x.astype(np.float64) - channel(mean)) / np.sqrt(channel(variance) + epsilon)
    out = out if gamma is None else out * channel(gamma)
    return out if beta is None else out + channel(beta)


def _einsum(*, values: tuple[np.ndarray, np.ndarray], equation: str) -> np.ndarray:
    """Rows of the last axis times columns of the third from last."""
    x, y = (np.moveaxis(part.astype(np.float64), -2, 0) for part in values)
    del equation
    return np.moveaxis(x @ y, 0, -2)


def _heads(queries: int = 5, keys: int = 7, width: int = 8, values: int = 6, batch: tuple[int, ...] = (2, 3)) -> dict[str, Any]:
    return {
        "query": 2 * floats(*batch, queries, width),
        "key": 2 * floats(*batch, keys, width, seed=1),
        "value": floats(*batch, keys, values, seed=2),
    }


_CAUSAL = np.triu(np.full((7, 7), -1e4, np.float32), 1)
_ATTENTION_INPUTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("plain", _heads()),
    ("rank3", _heads(batch=(4,))),
    ("float-mask", _heads() | {"attn_mask": floats(5, 7, seed=3)}),
    ("batched-mask", _heads() | {"attn_mask": floats(2, 1, 5, 7, seed=3)}),
    ("causal", _heads(queries=7) | {"attn_mask": _CAUSAL}),
    ("bool-mask", _heads(queries=7) | {"attn_mask": np.tril(np.ones((7, 7), np.bool_))}),
)
_MATMULS: tuple[tuple[tuple[int, ...], tuple[int, ...], bool, bool], ...] = (
    ((3, 4), (4, 5), False, False),
    ((4, 3), (4, 5), True, False),
    ((3, 4), (5, 4), False, True),
    ((4, 3), (5, 4), True, True),
    ((2, 3, 4, 5), (2, 3, 5, 6), False, False),
    ((2, 3, 5, 4), (2, 3, 6, 5), True, True),
    ((10, 4, 3), (5, 10, 3, 2), False, False),
    ((4,), (6, 4, 3), False, False),
    ((4,), (6, 3, 4), False, True),
    ((1, 3, 4), (4, 5), False, False),
)
_EINSUMS: tuple[tuple[tuple[int, ...], tuple[int, ...], str], ...] = (
    ((2, 3, 1, 4), (2, 4, 1, 5), "nchw,nwhu->nchu"),
    ((1, 7, 2, 4), (1, 4, 2, 7), "bkhc,bchq->bkhq"),
    ((3, 2, 4), (4, 2, 5), "chw,whu->chu"),
)
_NORM = floats(2, 3, 4, 5) * 3 + 1
_LAYER_NORMS: tuple[dict[str, Any], ...] = (
    {"axes": (-1,)},
    {"axes": (3,), "gamma": floats(5, seed=1), "beta": floats(5, seed=2), "epsilon": 1e-3},
    {"axes": (2, 3), "gamma": floats(4, 5, seed=1), "beta": floats(4, 5, seed=2)},
    {"axes": (-2, -1), "gamma": floats(4, 5, seed=1)},
    {"axes": (1,), "gamma": floats(3, seed=1), "beta": floats(3, seed=2)},
    {"axes": (1, 3), "gamma": floats(3, 5, seed=1), "beta": floats(3, 5, seed=2)},
    {"axes": (-3,), "gamma": floats(3, seed=1), "beta": floats(3, seed=2), "epsilon": 0.1},
    {"axes": (0, 1, 2, 3)},
    {"axes": (3, 2), "gamma": floats(4, 5, seed=1), "beta": floats(4, 5, seed=2)},
)
_CHANNELS: dict[str, Any] = {"mean": floats(3, seed=1), "variance": floats(3, seed=2, low=0.1)}


def _instance_norm(
    *, x: np.ndarray, gamma: np.ndarray | None = None, beta: np.ndarray | None = None, epsilon: float = 1e-5
) -> np.ndarray:
    out = np.stack([[_layer_norm(x=channel, epsilon=epsilon) for channel in row] for row in x])
    channels = (-1, *[1] * (x.ndim - 2))
    out = out if gamma is None else out * gamma.reshape(channels)
    return out if beta is None else out + beta.reshape(channels)


def _l2_norm(*, x: np.ndarray, epsilon: float = 1e-6) -> np.ndarray:
    wide = x.astype(np.float64)
    return wide / np.sqrt((wide**2).sum((-3, -2, -1), keepdims=True) + epsilon)


_SCALED = {"gamma": floats(3, seed=3), "beta": floats(3, seed=4)}
CASES = (
    *(
        Case("instance_norm", {"x": floats(*x) * 2 + 1, **rest}, _instance_norm, note=f"{x}{sorted(rest)}", tolerance=3e-6)
        for x in ((2, 3, 4, 5), (2, 3, 7))
        for rest in ({}, {**_SCALED}, {"epsilon": 0.1})
    ),
    *(Case("l2_norm", {"x": floats(*x)}, _l2_norm, note=str(x)) for x in ((2, 3, 4), (2, 3, 4, 5))),
    Case("l2_norm", {"x": floats(2, 3, 4) / 100, "epsilon": 0.5}, _l2_norm),
    *(
        Case(
            "matmul",
            {"x": floats(*x), "y": floats(*y, seed=1), "transpose_x": tx, "transpose_y": ty},
            note=f"{x}{y}",
            tolerance=3e-6,
            buildable=len(x) > 1,  # coremltools declares a wrong shape for a vector that is no constant
        )
        for x, y, tx, ty in _MATMULS
    ),
    Case("matmul", {"x": floats(3, 4), "y": floats(4, 2, seed=1)}, note="defaults"),
    *(
        Case("linear", {"x": floats(*x), "weight": floats(5, 4, seed=1)} | bias, note=f"{x}")
        for x in ((4,), (3, 4), (2, 3, 4))
        for bias in ({}, {"bias": floats(5, seed=2)})
    ),
    *(
        Case(
            "einsum", {"values": (floats(*x), floats(*y, seed=1)), "equation": equation}, oracle, note=f"{x}{y}", tolerance=3e-6
        )
        for x, y, equation in _EINSUMS
        for oracle in (_einsum, None)
    ),
    *(Case("scaled_dot_product_attention", inputs, _attention, "iOS18", note) for note, inputs in _ATTENTION_INPUTS),
    *(
        Case("scaled_dot_product_attention", inputs, None, "iOS18", f"coremltools-{note}", tolerance=3e-6)
        for note, inputs in _ATTENTION_INPUTS
    ),
    *(
        Case("layer_norm", {"x": _NORM} | rest, oracle, tolerance=3e-6)
        for rest in _LAYER_NORMS
        for oracle in (_layer_norm, None)
    ),
    Case("layer_norm", {"x": _NORM}, _layer_norm, note="all-axes", tolerance=3e-6, buildable=False),
    Case(
        "layer_norm",
        {"x": _NORM, "axes": (1,), "beta": floats(3)},
        _layer_norm,
        note="beta-only",
        tolerance=3e-6,
        buildable=False,
    ),
    *(
        Case("batch_norm", {"x": floats(*x) * 2, **_CHANNELS, **rest}, _batch_norm, note=f"{x}{sorted(rest)}", tolerance=3e-6)
        for x in ((2, 3, 4, 5), (2, 3, 7), (2, 3, 2, 2, 2))
        for rest in ({}, {"gamma": floats(3, seed=3), "beta": floats(3, seed=4)}, {"epsilon": 1e-2, "beta": floats(3, seed=4)})
    ),
)


@each(CASES)
def test_agrees(case: Case) -> None:
    check(case)


def test_a_finite_causal_mask_is_exact() -> None:
    """exp(-1e4) is 0, so -1e4 hides later positions as wholly as -inf does."""
    inputs = _heads(queries=7)
    (finite,) = ours("scaled_dot_product_attention", **inputs, attn_mask=_CAUSAL)
    (boolean,) = ours("scaled_dot_product_attention", **inputs, attn_mask=_CAUSAL == 0)
    np.testing.assert_array_equal(finite, boolean)


def test_einsum_broadcasts_batch_and_height() -> None:
    x, y = floats(2, 3, 1, 4), floats(1, 4, 5, 6, seed=1)
    (got,) = ours("einsum", values=(x, y), equation="nchw,nwhu->nchu")
    np.testing.assert_allclose(got, _einsum(values=(x, y), equation=""), atol=1e-5)


@pytest.mark.parametrize(
    "equation", ["nchw,nhwu->nchu", "ij,jk->ik", "nnhw,nwhu->nnhu", "nchw,nwhu", "...c,...c->...", "(a+)+$"]
)
def test_einsum_knows_the_equations_of_the_format_only(equation: str) -> None:
    with pytest.raises(BundleError, match="einsum: unknown equation"):
        ours("einsum", values=(floats(2, 3, 4, 5), floats(2, 5, 4, 3)), equation=equation)


@pytest.mark.parametrize("axes", [(4,), (-5,), (0, 7)])
def test_layer_norm_over_an_axis_that_is_not_there_is_an_error(axes: tuple[int, ...]) -> None:
    with pytest.raises(REFUSED):
        ours("layer_norm", x=_NORM, axes=axes)
