"""Where a Graph's element-wise functions round to the next code or begin to limit, and whether vectors meet both sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from gatewright.ir.fixed import Ints
from gatewright.ir.graph import Codes, Graph, Op
from gatewright.ir.ops import Multiply, Requant, Table, Thresholds
from gatewright.ir.ops.function import SATURATE, round_shift

MAX_ELEMENTS = 256
"""Elements of a tensor that are looked at, evenly spaced where it has more: of a convolution every output is the same."""
MAX_STEPS = 64
"""Boundaries of an element that are looked at: the outermost, where it begins to limit, and others evenly spaced."""
MAX_WRAPS = 8
"""Boundaries of an element where it wraps around."""
BLOCK = 1 << 21
"""Codes that are looked at at a time."""

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Boundaries:
    """Pairs of codes of an operand, nearest to each other, that lie on the two sides of a boundary.

    The observed elements of all observed tensors make up columns. Boundary k lies in column `column[k]`, between the
    codes `below[k]` and `above[k]` (int64).
    """

    tensors: Mapping[str, Ints]
    """By the name of a tensor its observed elements, in C order."""
    column: Ints
    below: Ints
    above: Ints

    def __len__(self) -> int:
        return len(self.column)

    @cached_property
    def sides(self) -> tuple[Ints, Ints, Ints, Ints]:
        """All sides, each once, ordered: the first of every column (and the end), the codes; and by boundary the two."""
        columns = sum(len(e) for e in self.tensors.values())
        both = np.stack([np.tile(self.column, 2), np.concatenate([self.below, self.above])])
        unique, where = np.unique(both, axis=1, return_inverse=True)
        first = np.searchsorted(unique[0], np.arange(columns + 1))
        return first, unique[1], *where.reshape(2, -1)  # type: ignore[return-value]

    def observe(self, graph: Graph, vectors: Ints) -> Ints:
        """int64[samples, columns] for codes of all inputs, one after the other: int64[samples, elements]."""
        parts = [np.zeros((0, sum(len(e) for e in self.tensors.values())), np.int64)]
        for piece in self._pieces(graph, vectors):
            values = graph.evaluate(split(graph, piece), self.tensors)
            parts.append(np.concatenate([np.zeros((len(piece), 0), np.int64), *(
                values[name].reshape(len(piece), -1)[:, elements] for name, elements in self.tensors.items())], axis=1))
        return np.concatenate(parts)

    def _pieces(self, graph: Graph, vectors: Ints) -> list[Ints]:
        """The vectors in groups whose tensors fit the memory."""
        step = max(1, BLOCK // max(1, sum(graph.by_name[name].type.size for name in self.tensors)))
        return [vectors[i:i + step] for i in range(0, len(vectors), step)]

    def met(self, graph: Graph, vectors: Ints) -> NDArray[np.bool_]:
        """By side, whether a vector brings its element exactly there."""
        first, codes, _, _ = self.sides
        met = np.zeros(len(codes), np.bool_)
        for piece in self._pieces(graph, vectors):
            mark(self.observe(graph, piece), first, codes, met)
        return met

    def on_both_sides(self, met: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """By boundary, whether both of its sides are met."""
        _, _, below, above = self.sides
        return np.asarray(met[below] & met[above])


def split(graph: Graph, vectors: Ints) -> dict[str, Codes]:
    """Codes by input from all inputs' elements, one after the other."""
    sizes = [op.type.size for op in graph.input_ops]
    parts = np.split(vectors, np.cumsum(sizes)[:-1], axis=1)
    return {op.name: p.reshape(-1, *op.type.shape) for op, p in zip(graph.input_ops, parts, strict=True)}


def joined(graph: Graph, codes: Mapping[str, Codes]) -> Ints:
    """The inverse of `split`."""
    return np.concatenate([codes[op.name].reshape(len(codes[op.name]), -1) for op in graph.input_ops], axis=1)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def mark(observed: Ints, first: Ints, codes: Ints, met: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Marks the sides that are met, and returns which samples were the first to meet one."""
    news = np.zeros(len(observed), np.bool_)
    for row in range(len(observed)):
        for column in range(observed.shape[1]):
            at = find(codes, first[column], first[column + 1], observed[row, column])
            if at >= 0 and not met[at]:
                met[at] = news[row] = True
    return news


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def find(codes: Ints, lo: int, end: int, value: int) -> int:
    """The place of the value in codes[lo:end], which rise, or -1."""
    hi = end
    while lo < hi:
        middle = (lo + hi) // 2
        if codes[middle] < value:
            lo = middle + 1
        else:
            hi = middle
    return lo if lo < end and codes[lo] == value else -1


# -- finding them --------------------------------------------------------------------------------------------------------


def places(graph: Graph) -> Boundaries:
    """The boundaries of all requants, thresholds and tables of a Graph, as if every code of their operands were possible."""
    found: dict[str, list[tuple[Ints, Ints]]] = {}
    for op in graph.ops:
        rule = _RULES.get(type(op))
        if rule and op.type.size:
            found.setdefault(op.inputs[0], []).append(_of(op, graph.by_name[op.inputs[0]], rule))
    tensors: dict[str, Ints] = {}
    parts: list[tuple[Ints, Ints]] = []
    count = 0
    for name, pairs in found.items():
        element, code = (np.concatenate(p) for p in zip(*pairs, strict=True))
        if element.size:
            tensors[name], column = np.unique(element, return_inverse=True)
            parts.append((column + count, code))
            count += len(tensors[name])
    column, code = (np.concatenate([np.zeros(0, np.int64), *p]) for p in zip(*parts, strict=True)) if parts else np.zeros((2, 0), np.int64)
    return Boundaries(tensors, column, code - 1, code)


def on_grid(graph: Graph, every: Boundaries, observed: Ints) -> Boundaries:
    """The boundaries that can be reached, by what was `observed` on random vectors.

    A sum of even products is never odd: the codes of an element lie on a grid, which random vectors show. The sides of a
    boundary are the codes of that grid next to it; where one of them is outside the element's type, nothing reaches it.
    """
    if not len(every):
        return every
    types = [(graph.by_name[name].type, e) for name, e in every.tensors.items()]
    lo, hi = (np.concatenate([getattr(t, end).reshape(-1)[e] for t, e in types])[every.column] for end in ("lo", "hi"))
    origin = observed[0]
    step = np.maximum(np.gcd.reduce(observed - origin, axis=0), 1)[every.column]
    origin = origin[every.column]
    above = origin - (origin - every.above) // step * step
    below = above - step
    square = np.concatenate([np.full(len(e), _is_square(graph.by_name[name])) for name, e in every.tensors.items()])[every.column]
    root = np.sqrt(np.maximum(every.below, 0) * square).astype(np.int64)
    root -= root * root > every.below  # in case the square root was rounded up
    below, above = np.where(square, root * root, below), np.where(square, (root + 1) * (root + 1), above)
    inside = (below >= lo) & (above <= hi)
    column, below, above = np.unique(np.stack([every.column, below, above])[:, inside], axis=1)
    return Boundaries(every.tensors, column, below, above)


def _is_square(op: Op) -> bool:
    """Whether the tensor holds squares of codes, none wider than a float's mantissa."""
    return isinstance(op, Multiply) and op.inputs[0] == op.inputs[1] and op.type.common.hi < 1 << 52


Picked = Callable[[Array], Array]


def _of(op: Op, x: Op, rule: Callable[[Any, Ints, Ints, Picked], tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    """Elements of the operand, and the codes that are the upper sides of their boundaries."""
    shape = op.type.shape
    chosen = np.unique(np.linspace(0, op.type.size - 1, min(op.type.size, MAX_ELEMENTS)).astype(np.int64))
    at = np.unravel_index(chosen, shape) if shape else ()

    def pick(values: Array) -> Array:
        """By chosen element, for an array per tensor, channel or element, maybe with an axis behind."""
        behind = values.shape[len(shape):] if values.ndim > len(shape) else ()
        return np.asarray(np.broadcast_to(values, (*shape, *behind))[at]).reshape(len(chosen), *behind)

    elements = pick(np.arange(x.type.size).reshape(x.type.shape))
    row, code = rule(op, pick(x.type.lo), pick(x.type.hi), pick)
    order = np.lexsort((code, row))
    row, code = row[order], code[order]
    rank, counts = np.arange(len(row)) - np.searchsorted(row, row), np.bincount(row, minlength=len(chosen))[row]
    keep = (rank * MAX_STEPS // counts != (rank - 1) * MAX_STEPS // counts) | (rank == counts - 1)
    return elements[row[keep]], code[keep]


def _requant(op: Requant, lo: Ints, hi: Ints, pick: Picked) -> tuple[Ints, Ints]:
    """Where the rounded value steps, and where it leaves the limits or wraps."""
    mul, add, shift, least, most = (pick(v)[:, None] for v in (op.mul, op.add, op.shift, op.lo, op.hi))
    sign = np.where(mul < 0, -1, 1)
    ends = np.sort(np.stack([lo[:, None] * sign, hi[:, None] * sign]), axis=0)

    def rounded(y: Ints) -> Ints:  # of y = sign * x it rises
        return round_shift(mul * sign * y + add, np.broadcast_to(shift, y.shape), op.rounding)

    first, last = rounded(ends[0]) + 1, rounded(ends[1])
    size = most - least + 1
    if op.overflow == SATURATE:
        first, last = np.maximum(first, least), np.minimum(last, most + 1)
        limits = np.concatenate([least, most + 1], axis=1)
    else:
        limits = least + size * _evenly(-((least - first) // size), (last - least) // size, MAX_WRAPS)
    rounds = (shift > 0) & (abs(mul) < np.int64(1) << shift)
    values = np.concatenate([limits, np.where(rounds, _evenly(first, last, MAX_STEPS), last + 1)], axis=1)
    row, at = np.nonzero((first <= values) & (values <= last))
    wanted, sign, ends = values[row, at], sign[row, 0], ends[:, row, 0]
    mul, add, shift = (v[row, 0] for v in (mul, add, shift))
    low, high = ends  # rounded(low) < wanted <= rounded(high)
    while (high - low > 1).any():
        middle = low + (high - low) // 2
        reached = round_shift(mul * sign * middle + add, shift, op.rounding) >= wanted
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    return _distinct(row, np.where(sign > 0, high, 1 - high))


def _thresholds(op: Thresholds, lo: Ints, hi: Ints, pick: Picked) -> tuple[Ints, Ints]:
    sign, levels = pick(op.sign)[:, None], op.levels if op.levels.ndim == 1 else pick(op.levels)
    codes = np.where(sign > 0, levels, 1 - levels)
    row, at = np.nonzero((codes > lo[:, None]) & (codes <= hi[:, None]))
    return _distinct(row, codes[row, at])


def _table(op: Table, lo: Ints, hi: Ints, pick: Picked) -> tuple[Ints, Ints]:
    values = np.broadcast_to(op.values, (len(lo), len(op.values))) if op.values.ndim == 1 else pick(op.values)
    row, at = np.nonzero(np.diff(values, axis=1))
    codes = op.first + 1 + at
    inside = (codes > lo[row]) & (codes <= hi[row])
    return row[inside], codes[inside]


_RULES: Mapping[type[Op], Callable[[Any, Ints, Ints, Picked], tuple[Ints, Ints]]] = {
    Requant: _requant, Thresholds: _thresholds, Table: _table}


def _evenly(first: Ints, last: Ints, count: int) -> Ints:
    """[n, count] from first to last, int64[n, 1]: both ends, and others evenly spaced between, some twice; none where
    last < first."""
    j, gaps = np.arange(count), count - 1
    span = np.maximum(last - first, 0)
    return np.where(last < first, last + 1, first + span // gaps * j + span % gaps * j // gaps)


def _distinct(row: Ints, code: Ints) -> tuple[Ints, Ints]:
    row, code = np.unique(np.stack([row, code]), axis=1)
    return row, code
