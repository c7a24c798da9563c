"""What a check found: one schema for every level of verification (docs/architecture.md, "Results")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from gatewright.errors import InternalError
from gatewright.ir.fixed import Ints

Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first value that differs. `element` counts in C order; `node`: the first ONNX node that does, if known."""

    vector: int
    output: str
    element: int
    expected: int | float
    got: int | float
    node: str | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """Boundaries of rounding and limiting (`sim/boundaries.py`), and how many of them the vectors met on both sides."""

    known: int
    met: int


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """The answer of one level to "same bits?". Latency and II are in clock cycles, None where there is no clock.

    >>> result = VerificationResult("rtl", "passed", vectors=10, latency_cycles=5, ii=1, seconds=0.5)
    >>> VerificationResult.from_json(result.to_json()) == result
    True
    """

    level: str
    status: Status
    reason: str = ""
    vectors: int = 0
    mismatching_vectors: int = 0
    mismatching_values: int = 0
    latency_cycles: int | None = None
    ii: int | None = None
    seconds: float = 0.0
    first_mismatch: Mismatch | None = None
    stimulus: Mapping[str, int] | None = None
    """How many vectors are `corner`, `random` and `directed` ones; None for the user's data."""
    boundaries: Coverage | None = None

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain JSON values, with the keys of the schema."""
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> VerificationResult:
        """The inverse of `to_json`. Raises TypeError on keys that the schema does not have."""
        first, boundaries = values.get("first_mismatch"), values.get("boundaries")
        return VerificationResult(**{**values, "first_mismatch": first and Mismatch(**first),
                                     "boundaries": boundaries and Coverage(**boundaries)})


def compare(level: str, expected: Mapping[str, Ints], got: Mapping[str, Ints]) -> VerificationResult:
    """Compare integer codes, every element of every vector. Arrays are int64[vectors, elements], by output name.

    The first mismatch is that of the lowest vector, then the first output in the order of `expected`, then the lowest
    element. Raises InternalError where names or shapes differ: then there is nothing to compare.
    """
    if expected.keys() != got.keys():
        raise InternalError(f"outputs {sorted(expected)} cannot be compared with {sorted(got)}")
    counts = {len(values) for values in expected.values()}
    if len(counts) != 1:
        raise InternalError(f"outputs with different numbers of vectors: {sorted(counts)}")
    vectors = counts.pop()
    wrong_vectors, wrong_values, first = np.zeros(vectors, bool), 0, None
    for name, want in expected.items():
        if want.shape != got[name].shape:
            raise InternalError(f"output '{name}': shape {want.shape} cannot be compared with {got[name].shape}")
        wrong = want != got[name]
        wrong_vectors |= wrong.any(axis=1)
        wrong_values += int(np.count_nonzero(wrong))
        if not wrong.any():
            continue
        vector, element = (int(i) for i in np.unravel_index(int(wrong.argmax()), wrong.shape))
        if first is None or vector < first.vector:
            first = Mismatch(vector, name, element, int(want[vector, element]), int(got[name][vector, element]))
    bad = int(np.count_nonzero(wrong_vectors))
    return VerificationResult(level, "failed" if bad else "passed", f"{bad} of {vectors} vectors differ" if bad else "",
                              vectors, bad, wrong_values, first_mismatch=first)
