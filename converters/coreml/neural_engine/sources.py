"""Where the rules come from. None of these is a promise by Apple: what runs where depends on the chip and the system."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A document: a short title for lines, and its address."""

    title: str
    url: str

    def as_json(self) -> dict[str, str]:
        return {"title": self.title, "url": self.url}

    def __str__(self) -> str:
        return f"{self.title}, {self.url}"


TRANSFORMERS = Source(
    "Apple, Deploying Transformers on the Apple Neural Engine",
    "https://machinelearning.apple.com/research/neural-engine-transformers",
)
ANE_TRANSFORMERS = Source("Apple, ml-ane-transformers", "https://github.com/apple/ml-ane-transformers")
TYPED = Source(
    "coremltools guide, Typed Execution", "https://apple.github.io/coremltools/docs-guides/source/typed-execution.html"
)
FLEXIBLE = Source(
    "coremltools guide, Flexible Input Shapes", "https://apple.github.io/coremltools/docs-guides/source/flexible-inputs.html"
)
RANGES = Source("Apple engineer on flexible ranges", "https://developer.apple.com/forums/thread/724930")
GATHER = Source("coremltools issue 1103", "https://github.com/apple/coremltools/issues/1103")
WHISPERKIT = Source(
    "WhisperKit's compute plans",
    "https://huggingface.co/mickekringai/kb-whisper-coreml/blob/main/base/TextDecoder.mlcomputeplan.json",
)
INDICES = Source("RF-DETR, measured with MLComputePlan", "https://github.com/roboflow/rf-detr/pull/1495")
HOLLANCE = Source(
    "hollance/neural-engine, unsupported layers",
    "https://github.com/hollance/neural-engine/blob/master/docs/unsupported-layers.md",
)
OPS = Source("ANEForge, operation catalog", "https://aneforge.readthedocs.io/en/latest/op-catalog/")
DTYPES = Source("ANEForge, data types", "https://aneforge.readthedocs.io/en/latest/capabilities/")
LIMITS = Source(
    "ane-guide, model-design rules", "https://ane-guide.readthedocs.io/en/latest/part-5-practice/17-model-design-rules.html"
)
