"""How long the Android app's core takes on this machine's JVM; a phone takes several times as long.

    python scripts/setup_kotlin.py        # once
    python -m benchmarks.kotlin_core [--vectors DIR] [--runs N]

Every part runs in a JVM of its own, so that its first run is a cold one. `taskset -c 0` in front measures one core. The CPU
time says what a run takes where other programs are busy at the same time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import astuple, dataclass
from pathlib import Path

from tests.apps import kotlin
from tests.apps.token_vectors import write_token_vectors

SOURCE = Path(__file__).with_name("KotlinCore.kt")
MAIN = "dev.edgeclip.core.KotlinCoreKt"
RUNS = 40
ROWS = 100_000
PARTS = {
    "load-clip": "CLIP tokenizer loaded",
    "clip": "CLIP BPE, 1,000 prompts",
    "clip-scripts": "CLIP BPE, 1,000 odd texts",
    "sentencepiece": "SentencePiece, 1,000 prompts",
    "sentencepiece-scripts": "SentencePiece, 1,000 odd texts",
    "search": "best 20 of {rows:,} x 512",
    "picture": "4000 x 3000 pixels to 256 x 256",
}


@dataclass(frozen=True)
class Times:
    """Milliseconds: of a JVM's first run; of warm runs the best and the median. CPU time is of all threads, in the mean."""

    first_ms: float
    first_cpu_ms: float
    best_ms: float
    median_ms: float
    cpu_ms: float


def measure(tools: kotlin.Toolchain, classes: Path, vectors: Path, part: str, runs: int = RUNS, rows: int = ROWS) -> Times:
    """Run one of `PARTS` in a new JVM. classes: the core's and the benchmark's; vectors: a folder with `tokens`."""
    path = f"{classes}:{kotlin.RESOURCES}:{tools.jars('kotlin-stdlib')}"
    done = tools.java(path, MAIN, part, str(vectors), str(runs), str(rows))
    if done.returncode != 0:
        raise RuntimeError(f"{part}: {done.stderr.strip()}")
    return Times(*map(float, done.stdout.split()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, metavar="DIR", help="a folder of `tests.apps.vectors`; made where not given")
    parser.add_argument("--runs", type=int, default=RUNS, help="of each part; the second half counts as warm")
    options = parser.parse_args()
    tools = kotlin.toolchain()
    if tools is None:
        print(f"error: no Kotlin compiler: {kotlin.SETUP}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        vectors = options.vectors or Path(folder, "vectors")
        if options.vectors is None:
            vectors.mkdir()
            write_token_vectors(vectors)
        classes = Path(folder, "classes")
        done = tools.compile([kotlin.CORE, SOURCE], classes)
        if done.returncode != 0:
            print(done.stderr, file=sys.stderr)
            return 1
        print(f"{'ms':34}{'first':>9}{'CPU':>9}{'best':>9}{'median':>9}{'CPU':>9}")
        for part, what in PARTS.items():
            times = measure(tools, classes, vectors, part, options.runs)
            print(f"{what.format(rows=ROWS):34}" + "".join(f"{value:9.1f}" for value in astuple(times)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
