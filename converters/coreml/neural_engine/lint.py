"""lint(): every operation of a package under every rule, and what that means for the whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.coreml.neural_engine.advice import ALIGNMENT_BYTES, WARNINGS
from converters.coreml.neural_engine.graph import Graph, Operation
from converters.coreml.neural_engine.macs import multiply_adds
from converters.coreml.neural_engine.refusals import ERRORS
from converters.coreml.neural_engine.rule import Remedy, Rule, Severity
from converters.coreml.neural_engine.segments import Unit, segments
from edgeclip.errors import BundleError
from edgeclip.reference.mil.package import Package

UNAVOIDABLE = "token-lookup"
# How a weight without axes, groups of 0 and the like show: rules take a file at its word, and files are untrusted.
_CONTRADICTIONS = (ArithmeticError, AssertionError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class Finding:
    """One operation and the rules that apply to it, the one that decides first."""

    operation: Operation
    rules: tuple[Rule, ...]
    macs: int | None

    @property
    def unit(self) -> Unit:
        return "cpu" if self.severity == "error" else "ne"

    @property
    def severity(self) -> str:
        return self.rules[0].severity if self.rules else "ok"

    @property
    def decisive(self) -> tuple[Rule, ...]:
        """Of errors the first, as one is enough; of warnings all."""
        return self.rules[:1] if self.severity == "error" else self.rules

    def as_json(self) -> dict[str, Any]:
        first = self.rules[0] if self.rules else None
        return {
            "name": self.operation.name,
            "op": self.operation.type,
            "shape": list(self.operation.result.shape),
            "dtype": self.operation.result.dtype.lower(),
            "unit": self.unit,
            "severity": self.severity,
            "rule": first.name if first else None,
            "says": first.says if first else None,
            "source": str(first.source) if first else None,
            "also": [rule.name for rule in self.rules[1:]],
            "macs": self.macs,
        }


@dataclass(frozen=True)
class Lint:
    """What the rules say of one package. made_with: options that it was converted with."""

    graph: Graph
    findings: tuple[Finding, ...]
    made_with: frozenset[str] = frozenset()

    @property
    def macs(self) -> int | None:
        return _total(finding.macs for finding in self.findings)

    @property
    def macs_eligible(self) -> int | None:
        return _total(finding.macs for finding in self.findings if finding.unit == "ne")

    @property
    def macs_share(self) -> float | None:
        """Share of the multiply-adds that is eligible; None without any, or where their number is open."""
        return None if self.macs_eligible is None or not self.macs else self.macs_eligible / self.macs

    @property
    def segments(self) -> tuple[Unit, ...]:
        return segments(self.graph, {finding.operation.index: finding.unit for finding in self.findings})

    def count(self, severity: Severity) -> dict[str, int]:
        """Operations by rule, most frequent first. An error counts under the rule that decides, a warning under each."""
        rules = (rule for finding in self.findings for rule in finding.decisive if rule.severity == severity)
        return dict(Counter(rule.name for rule in rules).most_common())

    @property
    def avoidable_errors(self) -> int:
        """Operations off the Neural Engine that another form of the model could have on it."""
        return sum(count for name, count in self.count("error").items() if name != UNAVOIDABLE)

    @property
    def remedies(self) -> dict[Remedy, dict[str, int]]:
        """What a conversion with another option removes: remedy -> rule -> operations."""
        found: dict[Remedy, Counter[str]] = {}
        for finding in self.findings:
            for rule in finding.decisive:
                if rule.remedy is not None and rule.remedy.option not in self.made_with:
                    found.setdefault(rule.remedy, Counter())[rule.name] += 1
        return {remedy: dict(rules.most_common()) for remedy, rules in found.items()}

    @property
    def groups(self) -> list[dict[str, Any]]:
        """Findings by rule, errors first, then the most frequent: which operations, what the rule says and who says so."""
        counted: dict[Rule, Counter[str]] = {}
        for finding in self.findings:
            for rule in finding.decisive:
                counted.setdefault(rule, Counter())[finding.operation.type] += 1
        ordered = sorted(counted.items(), key=lambda item: (item[0].severity, -item[1].total()))
        return [
            {
                "rule": rule.name,
                "severity": rule.severity,
                "count": ops.total(),
                "ops": dict(ops.most_common()),
                "says": rule.says,
                "source": rule.source.as_json(),
            }
            for rule, ops in ordered
        ]

    @property
    def padding(self) -> float | None:
        """Memory of all float16 results with their last axis padded as the Neural Engine has it, over that without."""
        actual = padded = 0
        for finding in self.findings:
            kind = finding.operation.result
            if finding.unit == "cpu" or kind.dtype != "FLOAT16" or not kind.shape or kind.size_bytes is None:
                continue
            row = (kind.shape[-1] or 0) * 2
            actual += kind.size_bytes
            padded += kind.size_bytes // row * -(-row // ALIGNMENT_BYTES) * ALIGNMENT_BYTES if row else 0
        return padded / actual if actual else None

    @property
    def verdict(self) -> str:
        """`whole`: all of it; `lookup`: all but the token lookup; `split`: not all; `none`: none of the work."""
        if not any(finding.unit == "cpu" for finding in self.findings):
            return "whole"
        if self.macs_share == 0 or not any(finding.unit == "ne" for finding in self.findings):
            return "none"
        return "split" if self.avoidable_errors else "lookup"

    def as_json(self) -> dict[str, Any]:
        share = self.macs_share
        return {
            "ops": [finding.as_json() for finding in self.findings],
            "summary": {
                "placement": "rules",
                "ops": len(self.findings),
                "ops_eligible": sum(finding.unit == "ne" for finding in self.findings),
                "macs": self.macs,
                "macs_eligible": self.macs_eligible,
                "macs_eligible_percent": None if share is None else round(100 * share, 2),
                "segments": list(self.segments),
                "padding_factor": None if self.padding is None else round(self.padding, 3),
                "errors": self.count("error"),
                "warnings": self.count("warning"),
                "avoidable_errors": self.avoidable_errors,
                "findings": self.groups,
                "remedies": [
                    {"option": remedy.option, "change": remedy.change, "rules": rules}
                    for remedy, rules in self.remedies.items()
                ],
                "verdict": self.verdict,
            },
        }


def lint_graph(graph: Graph, made_with: Collection[str] = ()) -> Lint:
    """Every operation under every rule; advice is given only for what can run.

    Raises BundleError where a program contradicts itself.
    """
    findings = []
    for operation in graph.operations:
        try:
            findings.append(_judge(operation, graph))
        except _CONTRADICTIONS as error:
            where = f"{graph.path}: {operation.type} {operation.name!r}"
            raise BundleError(f"{where}: operands that do not go together ({type(error).__name__}: {error})") from error
    return Lint(graph, tuple(findings), frozenset(made_with))


def _judge(operation: Operation, graph: Graph) -> Finding:
    rules = tuple(rule for rule in ERRORS if rule.applies(operation, graph))
    rules = rules or tuple(rule for rule in WARNINGS if rule.applies(operation, graph))
    return Finding(operation, rules, multiply_adds(operation, graph))


def lint_package(path: Path, made_with: Collection[str] = ()) -> Lint:
    """Lint the `main` function of an `.mlpackage`. Raises BundleError if it cannot be read."""
    return lint_graph(Graph(Package(path)), made_with)


def _total(parts: Iterable[int | None]) -> int | None:
    known = list(parts)
    return None if None in known else sum(part for part in known if part is not None)
