"""Writes the function of one layer in plain loops: constants as tables, loops with their pragmas, indices into flat arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gatewright.backends.hls.dialect import Dialect, Pragma, constant_type, literal, plus
from gatewright.ir.fixed import Fixed, FixedArray, Ints

COLUMNS = 120
Axis = tuple[str, int]
"""A loop: its variable, and how often it runs."""
Shape = tuple[int, ...]


class Writer:
    """The text of one function: `tables` are its constants, `loops` closes its loop nest.

    With `reuse` 1 every loop is unrolled. Otherwise the nest is one pipeline that takes at most `reuse` cycles: the outer loops
    stay loops, one is unrolled by a factor, those inside it completely.
    `task`: the function runs by itself, beside the others; otherwise it is a piece of the pipeline that calls it.
    `dsps`: how many of its products of two tensors may be in DSP blocks.
    """

    def __init__(self, dialect: Dialect, reuse: int = 1, task: bool = False, dsps: int = 0) -> None:
        self.dialect, self.reuse, self.task, self.dsps = dialect, reuse, task, dsps
        self.tables: list[str] = []
        self.axes: list[Axis] = []
        self.rolled: dict[str, int] = {}
        self.pragmas: dict[str, list[Pragma]] = {}

    def type(self, of: Fixed | FixedArray) -> str:
        return self.dialect.integer(of.common if isinstance(of, FixedArray) else of)

    def outer(self, *axes: Axis) -> tuple[str, ...]:
        """Opens the loops over the result, outermost first; returns their indices: variables, "0" where there is one turn.

        As many of the outer loops as make at most `reuse` turns stay loops; the next one makes as many turns as are left.
        """
        self.axes = [a for a in axes if a[1] != 1]
        left, pipelined = self.reuse, ""
        for name, size in self.axes:
            turns = min(left, size)
            copies = math.ceil(size / turns)
            left = left // size if turns == size else 1
            self.pragmas[name] = [] if copies == 1 else [Pragma("unroll", copies if copies < size else 0)]
            if turns > 1:
                self.rolled[name], pipelined = copies, name
        if pipelined:
            self.pragmas[pipelined].insert(0, Pragma("pipeline", left))
        return tuple("0" if size == 1 else name for name, size in axes)

    @property
    def copies(self) -> int:
        """How many times what stands inside the loops of `outer` is built."""
        return math.prod(self.rolled.get(name, size) for name, size in self.axes)

    def loops(self, body: Sequence[str]) -> list[str]:
        """The body inside the loops of `outer`."""
        lines = list(body)
        for axis in reversed(self.axes):
            lines = self._loop(axis, self.pragmas[axis[0]], lines)
        return lines

    def inner(self, axes: Sequence[Axis], body: Sequence[str]) -> list[str]:
        """The body inside loops that are unrolled always: those of a sum, say."""
        lines = list(body)
        for axis in reversed(axes):
            if axis[1] != 1:
                lines = self._loop(axis, [Pragma("unroll")], lines)
        return lines

    def _loop(self, axis: Axis, pragmas: Sequence[Pragma], body: Sequence[str]) -> list[str]:
        name, size = axis
        return self.dialect.block(f"for (int {name} = 0; {name} < {size}; ++{name})", pragmas, body)

    def function_pragmas(self) -> list[Pragma]:
        if not self.task:
            return [Pragma("inline")]
        return [] if self.rolled else [Pragma("pipeline", self.reuse)]

    def function(self, signature: str, nest: Sequence[str]) -> tuple[str, ...]:
        """The definition: the tables, then the nest that `loops` has closed."""
        return tuple(self.dialect.block(signature, self.function_pragmas(), [*self.tables, *nest]))

    def table(self, name: str, values: Ints, index: Sequence[str], lookup: str = "", plain: bool = False) -> str:
        """An element of a constant array, `index` per axis and `lookup` along one more; a literal where all are the same.

        Axes along which nothing changes are dropped from the table. `plain`: the elements are C++ integers, to index or shift by.
        """
        for k in range(len(index)):
            first = values.take([0], axis=k)
            values = first if (values == first).all() else values
        if not lookup and values.size == 1:
            return literal(int(values.reshape(-1)[0]))
        kept = [k for k in range(len(index)) if values.shape[k] != 1]
        places = [index[k] for k in kept] + ([lookup] if lookup else [])
        values = values.reshape([values.shape[k] for k in kept] + ([values.shape[-1]] if lookup else []))
        type_ = "int" if plain else constant_type(int(values.min()), int(values.max()))
        sizes = "".join(f"[{n}]" for n in values.shape)
        self.tables += [f"static const {type_} {name}{sizes} = {{", *(f"  {line}" for line in rows(values)), "};"]
        self.tables += self.dialect.pragmas(self._partition(name, places))
        return name + "".join(f"[{place}]" for place in places)

    def _partition(self, name: str, places: Sequence[str]) -> list[Pragma]:
        """As many banks along every axis as elements of it are read at a time."""
        if not any(place in self.rolled for place in places):
            return [Pragma("partition", 0, name)]
        banks = [(self.rolled.get(place, 0), dim) for dim, place in enumerate(places, 1)]
        return [Pragma("partition", factor, name, dim) for factor, dim in banks if factor != 1]


def rows(values: Ints) -> list[str]:
    """The initialiser of an array without its outer braces, in lines of at most COLUMNS."""
    if values.ndim > 1:
        lines = []
        for part in values:
            inside = rows(part)
            lines += [f"{{{inside[0]}}},"] if len(inside) == 1 else ["{", *(f"  {line}" for line in inside), "},"]
        return lines
    lines, line = [], ""
    for value in values.tolist():
        word = literal(value) + ", "
        if len(line) + len(word) > COLUMNS:
            lines.append(line.rstrip())
            line = ""
        line += word
    return [*lines, line.rstrip(", ")]


def flat(*places: tuple[str, int]) -> str:
    """The index in a flat array: the sum of index times stride.

    >>> flat(("i", 32), ("j", 1)), flat(("h + 1", 4), ("0", 1))
    ('i * 32 + j', '(h + 1) * 4')
    """
    terms = []
    for index, stride in places:
        if index == "0":
            continue
        plain = " " not in index or index.startswith("(")
        terms.append(index if stride == 1 else f"{index if plain else f'({index})'} * {stride}")
    return " + ".join(terms) or "0"


def moved(index: str, by: int) -> str:
    """The index, and a constant more.

    >>> moved("i * 4", -1), moved("0", 3)
    ('i * 4 - 1', '3')
    """
    return literal(by) if index == "0" else index + plus(by)


def strides(shape: Shape) -> Shape:
    """Of a flat array in C order."""
    return tuple(math.prod(shape[k + 1:]) for k in range(len(shape)))


def index(places: Sequence[str], shape: Shape) -> str:
    """The flat index of an element."""
    return flat(*zip(places, strides(shape), strict=True))


class Elements:
    """The loops of an element-wise operation with broadcasting: neighbouring axes that all operands share run as one."""

    def __init__(self, w: Writer, shape: Shape, *others: Any) -> None:
        """`others`: operands and constants by their shapes, broadcast to `shape` as numpy does."""
        self.w = w
        padded = [(1,) * (len(shape) - len(s)) + tuple(s) for s in others]
        axes: list[tuple[int, tuple[bool, ...]]] = []
        for k, n in enumerate(shape):
            varies = tuple(p[k] != 1 for p in padded)
            if n != 1 and axes and axes[-1][1] == varies:
                axes[-1] = axes[-1][0] * n, varies
            elif n != 1:
                axes.append((n, varies))
        self.axes = axes
        self.indices = w.outer(*zip("ijklmn", (n for n, _ in axes), strict=False))
        self.y = flat(*zip(self.indices, strides(tuple(n for n, _ in axes)), strict=True))

    def at(self, k: int) -> str:
        """The flat index of operand k."""
        own = [(i, n) for i, (n, varies) in zip(self.indices, self.axes, strict=True) if varies[k]]
        return index([i for i, _ in own], tuple(n for _, n in own))

    def table(self, k: int, name: str, values: Ints, lookup: str = "", plain: bool = False) -> str:
        """The element of constant k; with `lookup` its arrays have one axis more, the last."""
        sizes = [n if varies[k] else 1 for n, varies in self.axes]
        last = [values.shape[-1]] if lookup else []
        return self.w.table(name, values.reshape(sizes + last), self.indices, lookup, plain)


def squeezed(values: Ints, axes: int | None = None) -> Ints:
    """The constant without repetition: one element along the first `axes` (None: all) axes along which nothing changes."""
    for k in range(values.ndim if axes is None else axes):
        first = values.take([0], axis=k)
        values = first if (values == first).all() else values
    return np.asarray(values)
