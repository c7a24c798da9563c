"""Exact element-wise expressions: what a region of scales, batch norms, activations and quantisers means.

An expression is a function of integer tensors (its leaves), element by element, in exact arithmetic. Every quantiser is a
clip of a rounded affine function, a wrap is an affine function of x and floor(x), and activations are sums and products
of clips and of the monotone real functions of reals.py:

    Leaf(i)                    the i-th input, integer codes
    Affine(terms, offset)      sum of scale * expression, plus offset
    Clip(x, lo, hi)            None: no bound on that side
    Round(x, mode)             a mode of exact.ROUND_NUMBER
    Product(x, y)              of two functions of one input
    Func(name, x)              one of reals.FUNCTIONS: a real number, until a Round makes an integer of it

Scales, offsets and bounds are object arrays of exact numbers that broadcast to the region's shape (samples not
counted).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from gatewright.ir.exact import (
    ROUND_NUMBER,
    Exacts,
    Number,
    Real,
    Surd,
    elementwise,
    exacts,
    larger,
    plus,
    smaller,
    times,
)
from gatewright.ir.exact import unit as common_unit
from gatewright.ir.reals import FUNCTIONS


@dataclass(frozen=True, eq=False)
class Leaf:
    index: int


@dataclass(frozen=True, eq=False)
class Affine:
    terms: tuple[tuple[Expr, Exacts], ...]
    offset: Exacts


@dataclass(frozen=True, eq=False)
class Clip:
    x: Expr
    lo: Exacts | None
    hi: Exacts | None


@dataclass(frozen=True, eq=False)
class Round:
    x: Expr
    mode: str


@dataclass(frozen=True, eq=False)
class Product:
    x: Expr
    y: Expr


@dataclass(frozen=True, eq=False)
class Func:
    name: str
    x: Expr


Expr = Leaf | Affine | Clip | Round | Product | Func

ZERO = exacts(0)
ONE = exacts(1)


def affine(x: Expr, scale: Any = ONE, offset: Any = ZERO) -> Expr:
    """scale * x + offset; affine functions of affine functions are merged at once."""
    return add([(x, exacts(scale))], exacts(offset))


def add(terms: Sequence[tuple[Expr, Exacts]], offset: Exacts = ZERO) -> Expr:
    """Sum of scale * x, plus offset: flattened, terms of the same expression collected, zero terms dropped."""
    offset = np.asarray(offset, object)
    collected: dict[int, tuple[Expr, Exacts]] = {}
    for x, scale in terms:
        inner = x.terms if isinstance(x, Affine) else ((x, ONE),)
        if isinstance(x, Affine):
            offset = plus(offset, times(scale, x.offset))
        for y, factor in inner:
            key = -1 - y.index if isinstance(y, Leaf) else id(y)
            factor = times(scale, factor)
            collected[key] = (y, plus(collected[key][1], factor) if key in collected else factor)
    kept = tuple((y, s) for y, s in collected.values() if not (s == 0).all())
    if len(kept) == 1 and (kept[0][1] == 1).all() and (offset == 0).all():
        return kept[0][0]
    return Affine(kept, offset)


def parts(expr: Expr, whole: tuple[type[Expr], ...] = ()) -> list[Expr]:
    """Every different node of the expression, operands first; not what lies inside nodes of the kinds `whole`."""
    found: dict[int, Expr] = {}
    waiting = [(expr, False)]
    while waiting:
        e, ready = waiting.pop()
        if ready:
            found[id(e)] = e
        elif id(e) not in found:
            waiting.append((e, True))
            if not isinstance(e, whole):
                waiting += [(x, False) for x in children(e)]
    return list(found.values())


def fold(expr: Expr, of: Callable[[Expr, list[Any]], Any], whole: tuple[type[Expr], ...] = ()) -> Any:
    """`of(node, what it gave for the operands)`, from the leaves up; parts that occur often are visited once. Nodes of the
    kinds `whole` count as leaves."""
    done: dict[int, Any] = {}
    for e in parts(expr, whole):
        done[id(e)] = of(e, [] if isinstance(e, whole) else [done[id(x)] for x in children(e)])
    return done[id(expr)]


def depth(expr: Expr) -> int:
    """Nodes on the longest way to a leaf."""
    longest: int = fold(expr, lambda e, inner: 1 + max(inner, default=0))
    return longest


def leaves(expr: Expr) -> set[int]:
    """The indices of the inputs that the expression reads."""
    return {e.index for e in parts(expr) if isinstance(e, Leaf)}


def children(expr: Expr) -> list[Expr]:
    if isinstance(expr, Leaf):
        return []
    if isinstance(expr, Product):
        return [expr.x, expr.y]
    return [x for x, _ in expr.terms] if isinstance(expr, Affine) else [expr.x]


def functions(expr: Expr) -> set[str]:
    """The names of the real functions in it."""
    return {e.name for e in parts(expr) if isinstance(e, Func)}


def has_product(expr: Expr) -> bool:
    return any(isinstance(e, Product) for e in parts(expr))


def transform(expr: Expr, array: Callable[[Exacts], Exacts], leaf: Callable[[Leaf], Expr]) -> Expr:
    """The expression with `array` applied to every constant and `leaf` to every leaf; shared parts stay shared."""
    done: dict[int, Expr] = {}

    def visit(e: Expr) -> Expr:
        if id(e) not in done:
            done[id(e)] = rebuild(e)
        return done[id(e)]

    def rebuild(e: Expr) -> Expr:
        if isinstance(e, Leaf):
            return leaf(e)
        if isinstance(e, Affine):
            return add([(visit(x), array(s)) for x, s in e.terms], array(e.offset))
        if isinstance(e, Clip):
            return Clip(visit(e.x), None if e.lo is None else array(e.lo), None if e.hi is None else array(e.hi))
        if isinstance(e, Product):
            return Product(visit(e.x), visit(e.y))
        return Func(e.name, visit(e.x)) if isinstance(e, Func) else Round(visit(e.x), e.mode)

    return visit(expr)


def constant_shapes(expr: Expr) -> list[tuple[int, ...]]:
    """The shapes of all constants."""
    shapes: list[tuple[int, ...]] = []
    transform(expr, lambda a: shapes.append(a.shape) or a, lambda leaf: leaf)  # type: ignore[func-returns-value]
    return shapes


def substitute(expr: Expr, replacements: dict[int, Expr]) -> Expr:
    """The expression with leaves replaced, by index."""
    return transform(expr, lambda a: a, lambda leaf: replacements.get(leaf.index, leaf))


def with_children(e: Expr, parts: Sequence[Expr]) -> Expr:
    """The node with other operands."""
    if isinstance(e, Affine):
        return add([(x, s) for x, (_, s) in zip(parts, e.terms, strict=True)], e.offset)
    if isinstance(e, Product):
        return Product(*parts)
    return e if isinstance(e, Leaf) else replace(e, x=parts[0])


def evaluate(expr: Expr, inputs: Sequence[Any]) -> Exacts:
    """Exact values, an object array: `inputs[i]` are the codes of leaf i, int64 or object, samples first or not at all."""
    done: dict[int, Exacts] = {}

    def visit(e: Expr) -> Exacts:
        if id(e) not in done:
            done[id(e)] = compute(e)
        return done[id(e)]

    def compute(e: Expr) -> Exacts:
        if isinstance(e, Leaf):
            return np.asarray(inputs[e.index]).astype(object)
        if isinstance(e, Affine):
            total = e.offset
            for x, s in e.terms:
                total = plus(total, times(visit(x), s))
            return total
        if isinstance(e, Clip):
            return _clip(visit(e.x), e.lo, e.hi)
        if isinstance(e, Product):
            return times(visit(e.x), visit(e.y))
        if isinstance(e, Func):
            function = FUNCTIONS[e.name]
            return elementwise(lambda v: function(Fraction(v) if isinstance(v, int) else v), visit(e.x))
        rounding = ROUND_NUMBER[e.mode]
        return elementwise(lambda v: Fraction(rounding(v)) if not isinstance(v, int) else v, visit(e.x))

    return visit(expr)


def element(expr: Expr, index: tuple[int, ...], shape: tuple[int, ...]) -> Expr:
    """The expression at one element of a region of `shape`: all constants scalar."""
    return transform(expr, lambda a: np.asarray(np.broadcast_to(a, shape)[index], object) if a.shape else a, lambda leaf: leaf)


def scalar(expr: Expr, index: tuple[int, ...], shape: tuple[int, ...]) -> Callable[[int], int]:
    """The one-input expression at one element of a region of `shape`, as a function of a Python integer."""
    picked = element(expr, index, shape)

    def value(e: Expr, inner: list[Real]) -> Real:
        if isinstance(e, Affine):
            return sum((v * _item(s) for v, (_, s) in zip(inner, e.terms, strict=True)), _item(e.offset))
        if isinstance(e, Product):
            return inner[0] * inner[1]
        if isinstance(e, Func):
            return FUNCTIONS[e.name](inner[0])
        if isinstance(e, Clip):
            v = inner[0]
            v = v if e.lo is None or v >= _item(e.lo) else _item(e.lo)
            return v if e.hi is None or v <= _item(e.hi) else _item(e.hi)
        assert isinstance(e, Round)
        return Fraction(ROUND_NUMBER[e.mode](inner[0]))

    return lambda x: math.floor(fold(picked, lambda e, inner: Fraction(x) if isinstance(e, Leaf) else value(e, inner)))


def _item(a: Any) -> Number:
    number: Number = a.item() if isinstance(a, np.ndarray) else a
    return number


@dataclass(frozen=True, eq=False)
class Wrapped:
    """`scale * (x - modulus * floor((x + half) / modulus)) + offset`, with `x` integer: what a wrapping cast computes."""

    x: Expr
    scale: Exacts
    modulus: Exacts
    half: Exacts
    offset: Exacts


def match_wrap(expr: Expr) -> Wrapped | None:
    """Recognises x - m * floor((x + h) / m), written in any affine way, for an integer x: exact, not by sampling."""
    if not isinstance(expr, Affine):
        return None
    for floor, weight in expr.terms:
        rest = [(e, s) for e, s in expr.terms if e is not floor]
        if isinstance(floor, Round) and floor.mode == "FLOOR" and rest:
            found = _wrap(rest, floor.x, weight, expr.offset)
            if found:
                return found
    return None


def _wrap(rest: list[tuple[Expr, Exacts]], turns: Expr, weight: Exacts, offset: Exacts) -> Wrapped | None:
    """The wrap that rest + weight * floor(turns) + offset is, if it is one."""
    unit = rest[0][1] if len(rest) == 1 else ONE
    if (unit == 0).any():
        return None
    modulus = np.asarray(-weight / unit, object)
    if not integers(modulus) or (modulus <= 0).any():
        return None
    x = add([(e, np.asarray(s / unit, object)) for e, s in rest])
    # floor((floor(y) + h) / m) = floor((y + h) / m) for integers h and m, and may be written either way
    for inside in (x, x.x) if isinstance(x, Round) and x.mode == "FLOOR" else (x,):
        half = add([(turns, modulus), (inside, exacts(-1))])
        if isinstance(half, Affine) and not half.terms and integers(half.offset) and is_integer(x):
            return Wrapped(x, unit, modulus, half.offset, offset)
    return None


def nowhere_less(a: Exacts, b: Exacts) -> bool:
    """True where a >= b for every element."""
    return bool(elementwise(operator.ge, a, b).all())


def integers(a: Exacts | None) -> bool:
    """True where every element (if any) is an integer."""
    return a is None or all(not isinstance(v, Surd) and v.denominator == 1 for v in a.reshape(-1))


def is_integer(expr: Expr) -> bool:
    """True where the expression is an integer for all integer inputs, as far as its structure shows."""
    return holds(expr, Leaf, Round)


def holds(expr: Expr, *integer: type[Expr]) -> bool:
    """Whether the expression is an integer where nodes of the kinds `integer` are."""
    def of(e: Expr, inner: list[bool]) -> bool:
        if isinstance(e, Affine):
            return all(inner) and integers(e.offset) and all(integers(s) for _, s in e.terms)
        if isinstance(e, Clip):
            return all(inner) and integers(e.lo) and integers(e.hi)
        return all(inner) if isinstance(e, Product) else isinstance(e, integer)

    found: bool = fold(expr, of, (Leaf, Round, Func))
    return found


def unit(expr: Expr) -> Exacts | None:
    """Per element a number of which the expression is an integer multiple for all integer inputs, 0 where it is always 0;
    None if an element has none."""
    def of(e: Expr, inner: list[Exacts | None]) -> Exacts | None:
        if isinstance(e, Leaf | Round):
            return ONE
        known = [u for u in inner if u is not None]
        if isinstance(e, Func) or len(known) < len(inner):
            return None
        if isinstance(e, Product):
            return times(known[0], known[1])
        if isinstance(e, Affine):
            values = [e.offset, *(times(s, u) for (_, s), u in zip(e.terms, known, strict=True))]
        else:
            values = [*(b for b in (e.lo, e.hi) if b is not None), known[0]]
        found = units(values)
        if any(u is None for u in found.reshape(-1)):
            return None
        return elementwise(lambda u, *some: u if any(some) else Fraction(0), found, *values)

    each: Exacts | None = fold(expr, of, (Leaf, Round, Func))
    return each


def unit_of_all(expr: Expr) -> Number | None:
    """A number of which every element of the expression is an integer multiple for all integer inputs; None if there is
    none."""
    each = unit(expr)
    return None if each is None else common_unit(each)


def units(parts: Sequence[Exacts]) -> Exacts:
    """Per element of the broadcast parts the largest number of which all of them are multiples (1 where all are 0), or None."""
    return elementwise(lambda *values: common_unit(np.array(values, object)), *parts)


Bounds = tuple[Exacts, Exacts]


def bounds(expr: Expr, inputs: Sequence[Bounds]) -> Bounds:
    """Exact interval of the expression per element, from intervals of its leaves (object arrays)."""
    found: Bounds = fold(expr, lambda e, inner: inputs[e.index] if isinstance(e, Leaf) else _bounds(e, inner))
    return found


def _bounds(expr: Expr, inner: list[Bounds]) -> Bounds:
    """Of a node, from its operands'."""
    if isinstance(expr, Round):
        rounding = ROUND_NUMBER[expr.mode]
        return tuple(elementwise(lambda v: Fraction(rounding(v)), b) for b in inner[0])  # type: ignore[return-value]
    if isinstance(expr, Clip):
        return tuple(_clip(b, expr.lo, expr.hi) for b in inner[0])  # type: ignore[return-value]
    if isinstance(expr, Func):
        ends = elementwise(FUNCTIONS[expr.name].interval, *inner[0])
        return elementwise(lambda e: e[0], ends), elementwise(lambda e: e[1], ends)
    if isinstance(expr, Product):
        corners = [times(a, b) for a in inner[0] for b in inner[1]]
        low, high = (np.asarray(f.reduce(np.broadcast_arrays(*corners)), object) for f in (np.minimum, np.maximum))
        return (np.asarray(np.maximum(low, ZERO), object), high) if expr.x is expr.y else (low, high)
    assert isinstance(expr, Affine)
    lo = hi = expr.offset
    for (_, scale), interval in zip(expr.terms, inner, strict=True):
        a, b = (times(scale, v) for v in interval)
        lo, hi = plus(lo, smaller(a, b)), plus(hi, larger(a, b))
    wrap = match_wrap(expr)
    if wrap:  # x and floor(x) move together
        a = np.asarray(wrap.offset - wrap.scale * wrap.half, object)
        b = np.asarray(a + wrap.scale * (wrap.modulus - 1), object)
        lo, hi = larger(lo, smaller(a, b)), smaller(hi, larger(a, b))
    return lo, hi


def _clip(v: Exacts, lo: Exacts | None, hi: Exacts | None) -> Exacts:
    v = v if lo is None else larger(v, lo)
    return v if hi is None else smaller(v, hi)


def slope(expr: Expr) -> Exacts | None:
    """+1 where the expression never falls, -1 where it never rises, 0 where it is constant; None if not so by structure."""
    found: Exacts | None = fold(expr, _slope)
    return found


def _slope(expr: Expr, inner: list[Exacts | None]) -> Exacts | None:
    """Of a node, from its operands'."""
    known = [p for p in inner if p is not None]
    if isinstance(expr, Leaf):
        return ONE
    if isinstance(expr, Product) or len(known) < len(inner):
        return None
    if not isinstance(expr, Affine):
        return known[0] * FUNCTIONS[expr.name].slope if isinstance(expr, Func) else known[0]
    if not expr.terms:
        return ZERO
    signs = [elementwise(lambda p, s: p * ((s > 0) - (s < 0)), p, s) for p, (_, s) in zip(known, expr.terms, strict=True)]
    total = signs[0]
    for s in signs[1:]:
        if (np.asarray(total * s, object) < 0).any():
            return None
        total = np.asarray(np.where(total == 0, s, total), object)
    return total


def simplify(expr: Expr, inputs: Sequence[Bounds]) -> Expr:
    """Normal form over the reachable inputs: clips outermost, no clip or rounding that cannot act, floors merged.

    Rewrites (each an identity over the given intervals): round(x) = x for integer x; round(clip(x)) = clip(round(x)),
    since rounding is monotone; a * clip(x) + b = clip(a * x + b), also with another sign of a for every element where both
    bounds are there; clip(clip(x)) is one clip; a bound that the interval of x stays within is dropped, and one that it stays
    beyond is the value; a product with a constant is affine; floor((floor(y) + n) / d) = floor((y + n) / d) for integers n
    and d > 0.
    """
    done: dict[int, Expr] = {}

    def visit(e: Expr) -> Expr:
        if id(e) not in done:
            done[id(e)] = rebuild(e)
        return done[id(e)]

    def rebuild(e: Expr) -> Expr:
        if isinstance(e, Leaf):
            return e
        if isinstance(e, Affine):
            return affine_of([(visit(x), s) for x, s in e.terms], e.offset)
        if isinstance(e, Clip):
            return clip(visit(e.x), e.lo, e.hi)
        if isinstance(e, Product):
            return product(visit(e.x), visit(e.y))
        return Func(e.name, visit(e.x)) if isinstance(e, Func) else rounded(visit(e.x), e.mode)

    def product(x: Expr, y: Expr) -> Expr:
        if isinstance(y, Affine) and not y.terms:
            return affine_of([(x, y.offset)], ZERO)
        return product(y, x) if isinstance(x, Affine) and not x.terms else Product(x, y)

    def affine_of(terms: list[tuple[Expr, Exacts]], offset: Exacts) -> Expr:
        if len(terms) == 1 and isinstance(terms[0][0], Clip):
            (inner, scale), = terms
            assert isinstance(inner, Clip)
            ends = [None if b is None else plus(times(scale, b), offset) for b in (inner.lo, inner.hi)]
            a, b = ends
            if a is not None and b is not None:
                return clip(affine_of([(inner.x, scale)], offset), smaller(a, b), larger(a, b))
            if (scale > 0).all():
                return clip(affine_of([(inner.x, scale)], offset), *ends)
            if (scale < 0).all():
                return clip(affine_of([(inner.x, scale)], offset), *ends[::-1])
        return add(terms, offset)

    def rounded(x: Expr, mode: str) -> Expr:
        if is_integer(x):
            return x
        rounding = ROUND_NUMBER[mode]
        if isinstance(x, Affine) and not x.terms:
            return Affine((), elementwise(lambda v: Fraction(rounding(v)), x.offset))
        if isinstance(x, Clip):
            ends = [None if b is None else elementwise(lambda v: Fraction(rounding(v)), b) for b in (x.lo, x.hi)]
            return clip(rounded(x.x, mode), *ends)
        if mode == "FLOOR" and isinstance(x, Affine) and len(x.terms) == 1:
            inner, scale = x.terms[0]
            if isinstance(inner, Round) and inner.mode == "FLOOR" and (scale > 0).all():
                divisor = np.asarray(1 / scale, object)
                if integers(divisor) and integers(np.asarray(x.offset * divisor, object)):
                    return rounded(affine(inner.x, scale, x.offset), mode)
        return Round(x, mode)

    def clip(x: Expr, lo: Exacts | None, hi: Exacts | None) -> Expr:
        if isinstance(x, Clip):
            lo, hi = (outer if inner is None else _clip(inner, lo, hi) for outer, inner in ((lo, x.lo), (hi, x.hi)))
            return clip(x.x, lo, hi)
        if lo is not None and hi is not None:  # where they cross hi wins, also when turned round or dropped
            lo = smaller(lo, hi)
        low, high = bounds(x, inputs)
        if hi is not None and nowhere_less(low, hi):
            return Affine((), hi)
        if lo is not None and nowhere_less(lo, high):
            return Affine((), lo)
        lo = None if lo is None or nowhere_less(low, lo) else lo
        hi = None if hi is None or nowhere_less(hi, high) else hi
        return x if lo is None and hi is None else Clip(x, lo, hi)

    return visit(expr)
