"""What the apps' Swift and Kotlin cores are tested with, made by the Python that they have to equal.

    python -m tests.apps.vectors --out DIR

A core's tests find DIR in the environment variable `EDGECLIP_VECTORS`, and write to the folder that `EDGECLIP_OUT` names. JSON
lines are ASCII, one object each.

    tokens/NAME.json      the manifest's `text`: clip, sentencepiece (as SigLIP's), sentencepiece-bytes (byte fallback, no
                          normalisation, 32000 pieces)
    tokens/NAME/          the tokenizer's files
    tokens/NAME.jsonl     {"text", "ids"}
    utf16/NAME.jsonl      {"utf16", "ids"}: texts with lone surrogates, for strings of 16-bit units
    cleaning.jsonl        {"text", "ftfy", "unescaped", "lower", "canonicalize"}: what the cleaning makes of a text, by steps
    images/index.json     [{"name", "width", "height", "orientation", "file", "expected": [{"preprocess", "file"}], "error"?}]
                          `file`: width x height x 4 bytes, RGB and straight alpha, before the orientation (of EXIF, 1 to 8) is
                          applied; `expected`: size x size x 3 bytes, RGB. A core writes its own to EDGECLIP_OUT/images, under
                          the same names. `error`: the picture is refused, and why.
    scoring.json          [{"scoring", "cosines": [[...]], "scores": [[...]]}]
    labels/bank.safetensors, labels/expected.json            {"space_id", "labels", "templates", "scoring", "embeddings"}
    labels/bank-f32.safetensors, labels/expected-f32.json    the same in float32
    index/photos.edgeindex, index/expected.json              {"queries": [[...]], "top": [[{"id", "score"}, ...]]}
    index/interrupted.edgeindex                              the same rows, and the rest of an append that did not end
    index/append.json     {"space_id", "dim", "batches": [{"ids", "embeddings"}]}: appended one after the other to
                          EDGECLIP_OUT/appended.edgeindex, they are byte for byte index/appended.edgeindex
    bundle/               the TinyCLIP demo for Core ML and ExecuTorch, with golden.json
    hostile/cases.json    [{"name", "kind", "path", "why"}], see `hostile_vectors.py`
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from tests.apps.hostile_vectors import write_hostile_vectors
from tests.apps.image_vectors import write_image_vectors
from tests.apps.other_vectors import write_bundle, write_index_vectors, write_label_vectors, write_scoring_vectors
from tests.apps.token_vectors import write_token_vectors

MADE = ("tokens", "utf16", "cleaning.jsonl", "images", "scoring.json", "labels", "index", "bundle", "hostile")


def write_vectors(out: Path, bundle: Path | None = None) -> None:
    """Write all of them below `out`, in place of older ones. bundle: one of the TinyCLIP demo, where there is one already."""
    out.mkdir(parents=True, exist_ok=True)
    for name in MADE:
        if (out / name).is_dir():
            shutil.rmtree(out / name)
    opened = write_bundle(out, bundle)
    write_token_vectors(out)
    write_image_vectors(out)
    write_scoring_vectors(out)
    write_label_vectors(out, opened)
    write_index_vectors(out)
    write_hostile_vectors(out)
    (out / "README.txt").write_text(__doc__, "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write what the sample apps' cores are tested with.")
    parser.add_argument("--out", type=Path, required=True)
    write_vectors(parser.parse_args().out)
