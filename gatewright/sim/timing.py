"""When vectors go in and when they must come out: the schedule of a simulation, the latency and II it shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import InternalError
from gatewright.ir.fixed import Ints
from gatewright.sim.vectors import traffic

VALID, RESET, VECTOR = np.uint8(1), np.uint8(2), np.uint8(4)
"""Bits of a control byte: in_valid, rst, and that the next vector is on the bus, which carries garbage otherwise."""

Control = NDArray[np.uint8]
DRAIN = 1024
"""Cycles that the last vector is waited for."""
_PRELUDE = 96
_VOTERS = 64


@dataclass(frozen=True, slots=True)
class Timing:
    """`fault` is empty where every vector came out once, in order, with one latency; else it says what went wrong."""

    latency_cycles: int | None
    ii: int | None
    fault: str = ""


def schedule(n: int, seed: int, valid: NDArray[np.bool_] | None = None, latency_cycles: int | None = None) -> Control:
    """One control byte a cycle for a run of `n` vectors.

    Four cycles of reset; garbage with `in_valid`; one cycle of reset, which must empty the pipeline; at once the
    vectors, where `valid` (bool[cycles] with n true; `traffic` unless given) says so; idle cycles, `DRAIN` or twice the
    latency that is expected. `in_valid` is high in resets, too: what comes then is not taken.
    """
    valid = traffic(n, seed) if valid is None else valid
    if np.count_nonzero(valid) != n:
        raise InternalError(f"in_valid is high in {np.count_nonzero(valid)} cycles, there are {n} vectors")
    start = np.array([RESET, RESET | VALID, RESET | VALID, RESET], np.uint8)
    prelude = traffic(_PRELUDE, seed + 1)[::-1].astype(np.uint8) * VALID  # the burst comes last: the pipeline is full
    main = valid.astype(np.uint8) * (VALID | VECTOR)
    idle = np.zeros(max(DRAIN, 2 * (latency_cycles or 0)), np.uint8)
    return np.concatenate([start, prelude, np.array([RESET | VALID], np.uint8), main, idle])


def measure(control: Control, pulses: Ints) -> Timing:
    """Latency and II from the cycles (int64[k], rising) after whose edge `out_valid` was high in a run of `control`.

    The latency counts edges from the one that takes the input to the one after which the output is valid.
    II is the smallest distance of two vectors that were taken: all of them came out, or there is a fault.
    """
    resets, vectors = np.flatnonzero(control & RESET), np.flatnonzero(control & VECTOR)
    seen = pulses[pulses >= resets[0]]  # before the first reset anything may come
    came = seen[seen >= resets[-1]]
    if came.size == 0 or vectors.size == 0:
        return Timing(None, None, f"out_valid never rose, there were {vectors.size} vectors")
    latency = _latency(vectors, came)
    due = _due(control, resets, latency)
    if np.array_equal(due, seen):
        return Timing(latency, int(np.diff(vectors).min()) if vectors.size > 1 else None)
    return Timing(None, None, _fault(vectors, came, due, seen, latency))


def _latency(vectors: Ints, came: Ints) -> int:
    """The latency that explains most pulses; of several, the shortest."""
    candidates = np.unique(came[:_VOTERS, None] - vectors[None, :_VOTERS])
    votes = [np.intersect1d(vectors + delay, came, assume_unique=True).size for delay in candidates]
    return int(candidates[int(np.argmax(votes))]) + 1


def _due(control: Control, resets: Ints, latency: int) -> Ints:
    """Cycles in which `out_valid` must be high: `latency - 1` after a vector was taken, unless a reset came between."""
    taken = np.flatnonzero((control & (VALID | RESET)) == VALID)
    times = taken + latency - 1
    next_reset = np.append(resets, control.size + latency)[np.searchsorted(resets, taken)]
    return times[next_reset > times]


def _fault(vectors: Ints, came: Ints, due: Ints, seen: Ints, latency: int) -> str:
    missing, extra = np.setdiff1d(due, seen), np.setdiff1d(seen, due)
    if came.size == vectors.size:
        latencies = came - vectors + 1
        if latencies.min() != latencies.max():
            return f"the latency varies between {latencies.min()} and {latencies.max()} cycles"
    if extra.size and extra[0] < vectors[0] + latency - 1:
        return f"a reset does not empty the pipeline: out_valid is high in cycle {extra[0]}"
    if came.size == vectors.size:
        return "vectors that were taken before a reset got lost"
    lost = np.flatnonzero(np.isin(vectors + latency - 1, missing))
    detail = f"vector {lost[0]} got lost first" if lost.size else f"no vector explains the one in cycle {extra[0]}"
    return f"{came.size} outputs came out for {vectors.size} vectors; {detail}"
