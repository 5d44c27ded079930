"""Where the rules come from. None of these is a promise by Apple: what runs where depends on the chip and the system."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A document: a few words for lines, its title and its address."""

    short: str
    title: str
    url: str

    def as_json(self) -> dict[str, str]:
        return {"short": self.short, "title": self.title, "url": self.url}

    def __str__(self) -> str:
        return f"{self.title}, {self.url}"


TRANSFORMERS = Source(
    "Apple 2022",
    "Deploying Transformers on the Apple Neural Engine",
    "https://machinelearning.apple.com/research/neural-engine-transformers",
)
ANE_TRANSFORMERS = Source(
    "ml-ane-transformers",
    "Apple's reference implementation of attention",
    "https://github.com/apple/ml-ane-transformers/blob/main/ane_transformers/reference/multihead_attention.py",
)
TYPED = Source(
    "coremltools, types",
    "coremltools guide: Typed Execution",
    "https://apple.github.io/coremltools/docs-guides/source/typed-execution.html",
)
FLEXIBLE = Source(
    "coremltools, shapes",
    "coremltools guide: Flexible Input Shapes",
    "https://apple.github.io/coremltools/docs-guides/source/flexible-inputs.html",
)
QUANTIZATION = Source(
    "coremltools, quantization",
    "coremltools guide: quantizing weights and activations",
    "https://apple.github.io/coremltools/docs-guides/source/opt-quantization-api.html",
)
RANGES = Source(
    "Apple forum 724930", "an Apple engineer on ranges of shapes", "https://developer.apple.com/forums/thread/724930"
)
GATHER = Source(
    "coremltools 1103", "gather runs on the CPU, coremltools issue 1103", "https://github.com/apple/coremltools/issues/1103"
)
WHISPERKIT = Source(
    "WhisperKit",
    "compute plan of a WhisperKit text decoder",
    "https://huggingface.co/mickekringai/kb-whisper-coreml/blob/main/base/TextDecoder.mlcomputeplan.json",
)
INDICES = Source(
    "RF-DETR 1495", "RF-DETR's exports measured with MLComputePlan", "https://github.com/roboflow/rf-detr/pull/1495"
)
HOLLANCE = Source(
    "hollance",
    "hollance/neural-engine: unsupported layers",
    "https://github.com/hollance/neural-engine/blob/master/docs/unsupported-layers.md",
)
OPS = Source("ANEForge, ops", "ANEForge: operations by chip", "https://aneforge.readthedocs.io/en/latest/op-catalog/")
DTYPES = Source("ANEForge, types", "ANEForge: data types", "https://aneforge.readthedocs.io/en/latest/capabilities/")
LIMITS = Source(
    "ane-guide 17",
    "ane-guide: model-design rules",
    "https://ane-guide.readthedocs.io/en/latest/part-5-practice/17-model-design-rules.html",
)
