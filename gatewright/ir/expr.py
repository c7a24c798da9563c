"""Exact element-wise expressions: what a region of scales, batch norms, activations and quantisers means.

An expression is a function of integer tensors (its leaves), element by element, in exact arithmetic. Four node kinds
are enough, because every quantiser is a clip of a rounded affine function and a wrap is an affine function of x and
floor(x):

    Leaf(i)                    the i-th input, integer codes
    Affine(terms, offset)      sum of scale * expression, plus offset
    Clip(x, lo, hi)            None: no bound on that side
    Round(x, mode)             a mode of exact.ROUND_NUMBER

Scales, offsets and bounds are object arrays of exact numbers that broadcast to the region's shape (samples not
counted).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from gatewright.ir.exact import ROUND_NUMBER, Exacts, Number, Surd, elementwise, exacts


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


Expr = Leaf | Affine | Clip | Round

ZERO = exacts(0)
ONE = exacts(1)


def affine(x: Expr, scale: Any = ONE, offset: Any = ZERO) -> Expr:
    """scale * x + offset; affine functions of affine functions are merged at once."""
    return add([(x, exacts(scale))], exacts(offset))


def add(terms: Sequence[tuple[Expr, Exacts]], offset: Exacts = ZERO) -> Expr:
    """Sum of scale * x, plus offset: flattened, terms of the same expression collected, zero terms dropped."""
    collected: dict[int, tuple[Expr, Exacts]] = {}
    for x, scale in terms:
        inner = x.terms if isinstance(x, Affine) else ((x, ONE),)
        if isinstance(x, Affine):
            offset = np.asarray(offset + scale * x.offset, object)
        for y, factor in inner:
            key = -1 - y.index if isinstance(y, Leaf) else id(y)
            known = collected[key][1] if key in collected else ZERO
            collected[key] = (y, np.asarray(known + scale * factor, object))
    kept = tuple((y, s) for y, s in collected.values() if not (s == 0).all())
    if len(kept) == 1 and (kept[0][1] == 1).all() and (offset == 0).all():
        return kept[0][0]
    return Affine(kept, np.asarray(offset, object))


def leaves(expr: Expr) -> set[int]:
    """The indices of the inputs that the expression reads."""
    if isinstance(expr, Leaf):
        return {expr.index}
    return set().union(*(leaves(x) for x in children(expr)))


def children(expr: Expr) -> list[Expr]:
    if isinstance(expr, Leaf):
        return []
    return [x for x, _ in expr.terms] if isinstance(expr, Affine) else [expr.x]


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
        return Round(visit(e.x), e.mode)

    return visit(expr)


def substitute(expr: Expr, replacements: dict[int, Expr]) -> Expr:
    """The expression with leaves replaced, by index."""
    return transform(expr, lambda a: a, lambda leaf: replacements.get(leaf.index, leaf))


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
            total: Any = e.offset
            for x, s in e.terms:
                total = total + visit(x) * s
            return np.asarray(total, object)
        if isinstance(e, Clip):
            value = visit(e.x)
            value = value if e.lo is None else np.maximum(value, e.lo)
            return np.asarray(value if e.hi is None else np.minimum(value, e.hi), object)
        rounding = ROUND_NUMBER[e.mode]
        return elementwise(lambda v: Fraction(rounding(v)) if not isinstance(v, int) else v, visit(e.x))

    return visit(expr)


def scalar(expr: Expr, index: tuple[int, ...], shape: tuple[int, ...]) -> Callable[[int], int]:
    """The one-input expression at one element of a region of `shape`, as a function of a Python integer."""
    picked = transform(expr, lambda a: np.broadcast_to(a, shape)[index] if a.shape else a, lambda leaf: leaf)

    def at(e: Expr, x: int) -> Number:
        if isinstance(e, Leaf):
            return Fraction(x)
        if isinstance(e, Affine):
            return sum((at(y, x) * _item(s) for y, s in e.terms), _item(e.offset))
        if isinstance(e, Clip):
            v = at(e.x, x)
            v = v if e.lo is None or v >= _item(e.lo) else _item(e.lo)
            return v if e.hi is None or v <= _item(e.hi) else _item(e.hi)
        return Fraction(ROUND_NUMBER[e.mode](at(e.x, x)))

    return lambda x: math.floor(at(picked, x))


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
    floors = [(e, s) for e, s in expr.terms if isinstance(e, Round) and e.mode == "FLOOR" and isinstance(e.x, Affine)]
    rest = [(e, s) for e, s in expr.terms if all(e is not f for f, _ in floors)]
    if len(floors) != 1 or not rest or any((s == 0).any() for _, s in rest):
        return None
    weight, inner = floors[0][1], floors[0][0].x
    assert isinstance(inner, Affine)
    # rest = a * x and inner = x / m + h / m  with  a * m + weight = 0
    if len(inner.terms) != len(rest):
        return None
    slopes = {_key(e): s for e, s in inner.terms}
    ratios = [np.asarray(slopes[_key(e)] / s, object) for e, s in rest if _key(e) in slopes]
    if len(ratios) != len(rest) or any((r != ratios[0]).any() for r in ratios):
        return None
    # a common unit u makes x = rest / u integer with unit steps: a = u, m = -weight / u
    unit = rest[0][1] if len(rest) == 1 else ONE
    modulus = np.asarray(-weight / unit, object)
    if (np.asarray(ratios[0] * unit * modulus, object) != 1).any() or (modulus <= 0).any():
        return None
    x = add([(e, np.asarray(s / unit, object)) for e, s in rest])
    half = np.asarray(inner.offset * modulus, object)
    if not (is_integer(x) and integers(modulus) and integers(half)):
        return None
    return Wrapped(x, unit, modulus, half, expr.offset)


def _key(e: Expr) -> int:
    return -1 - e.index if isinstance(e, Leaf) else id(e)


def integers(a: Exacts | None) -> bool:
    """True where every element (if any) is an integer."""
    return a is None or all(not isinstance(v, Surd) and v.denominator == 1 for v in a.reshape(-1))


def is_integer(expr: Expr) -> bool:
    """True where the expression is an integer for all integer inputs, as far as its structure shows."""
    if isinstance(expr, Affine):
        return integers(expr.offset) and all(integers(s) and is_integer(x) for x, s in expr.terms)
    if isinstance(expr, Clip):
        return is_integer(expr.x) and integers(expr.lo) and integers(expr.hi)
    return True


Bounds = tuple[Exacts, Exacts]


def bounds(expr: Expr, inputs: Sequence[Bounds]) -> Bounds:
    """Exact interval of the expression per element, from intervals of its leaves (object arrays)."""
    if isinstance(expr, Leaf):
        return inputs[expr.index]
    if isinstance(expr, Round):
        rounding = ROUND_NUMBER[expr.mode]
        lo, hi = bounds(expr.x, inputs)
        return tuple(elementwise(lambda v: Fraction(rounding(v)), b) for b in (lo, hi))  # type: ignore[return-value]
    if isinstance(expr, Clip):
        return tuple(_clip(b, expr.lo, expr.hi) for b in bounds(expr.x, inputs))  # type: ignore[return-value]
    lo = hi = expr.offset
    for x, scale in expr.terms:
        a, b = (np.asarray(scale * v, object) for v in bounds(x, inputs))
        lo, hi = np.asarray(lo + np.minimum(a, b), object), np.asarray(hi + np.maximum(a, b), object)
    wrap = match_wrap(expr)
    if wrap:  # x and floor(x) move together
        a = np.asarray(wrap.offset - wrap.scale * wrap.half, object)
        b = np.asarray(a + wrap.scale * (wrap.modulus - 1), object)
        lo, hi = np.maximum(lo, np.minimum(a, b)), np.minimum(hi, np.maximum(a, b))
    return lo, hi


def _clip(v: Exacts, lo: Exacts | None, hi: Exacts | None) -> Exacts:
    v = v if lo is None else np.asarray(np.maximum(v, lo), object)
    return v if hi is None else np.asarray(np.minimum(v, hi), object)


def slope(expr: Expr) -> Exacts | None:
    """+1 where the expression never falls, -1 where it never rises, 0 where it is constant; None if not so by structure."""
    if isinstance(expr, Leaf):
        return ONE
    if isinstance(expr, Affine):
        if not expr.terms:
            return ZERO
        parts = [slope(x) for x, _ in expr.terms]
        if any(p is None for p in parts):
            return None
        signs = [elementwise(lambda p, s: p * ((s > 0) - (s < 0)), p, s)
                 for p, (_, s) in zip(parts, expr.terms, strict=True)]
        total = signs[0]
        for s in signs[1:]:
            if (np.asarray(total * s, object) < 0).any():
                return None
            total = np.asarray(np.where(total == 0, s, total), object)
        return total
    return slope(expr.x)


def simplify(expr: Expr, inputs: Sequence[Bounds]) -> Expr:
    """Normal form over the reachable inputs: clips outermost, no clip or rounding that cannot act, floors merged.

    Rewrites (each an identity over the given intervals): round(x) = x for integer x; round(clip(x)) = clip(round(x)),
    since rounding is monotone; a * clip(x) + b = clip(a * x + b); clip(clip(x)) is one clip; a bound that the interval
    of x stays within is dropped; floor((floor(y) + n) / d) = floor((y + n) / d) for integers n and d > 0.
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
        return rounded(visit(e.x), e.mode)

    def affine_of(terms: list[tuple[Expr, Exacts]], offset: Exacts) -> Expr:
        if len(terms) == 1 and isinstance(terms[0][0], Clip):
            (inner, scale), = terms
            assert isinstance(inner, Clip)
            ends = [None if b is None else np.asarray(scale * b + offset, object) for b in (inner.lo, inner.hi)]
            if (scale > 0).all():
                return clip(affine_of([(inner.x, scale)], offset), *ends)
            if (scale < 0).all():
                return clip(affine_of([(inner.x, scale)], offset), *ends[::-1])
        return add(terms, offset)

    def rounded(x: Expr, mode: str) -> Expr:
        if is_integer(x):
            return x
        if isinstance(x, Clip):
            rounding = ROUND_NUMBER[mode]
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
        low, high = bounds(x, inputs)
        lo = None if lo is None or (low >= lo).all() else lo
        hi = None if hi is None or (high <= hi).all() else hi
        return x if lo is None and hi is None else Clip(x, lo, hi)

    return visit(expr)
