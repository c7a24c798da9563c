"""What the ports of the outputs carry: integer codes, in a common unit where there is one, else on a grid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from gatewright.compiler.frontend.user_types import Types, on_grid
from gatewright.compiler.frontend.values import FUNCTION_STEP, Builder, Const, Data, Value, single_leaf
from gatewright.errors import UserError
from gatewright.ir import expr as ex
from gatewright.ir.exact import Exacts, exacts, inverse
from gatewright.ir.fixed import MAX_WIDTH, Cast, Fixed, bits_for
from gatewright.ir.graph import Meaning, Output

MAX_OUTPUT_BITS = 32
"""Codes of an output without a quantiser are widened up to this to stay exact; beyond, the default grid rounds."""


def output(b: Builder, name: str, values: Mapping[str, Value], types: Types, grids: dict[str, Cast]) -> Output:
    value = values[name]
    if isinstance(value, Const):
        raise UserError(f"output '{name}' does not depend on the inputs: it is a constant",
                        remedy="Select other tensors with --outputs")
    cast = types.outputs.get(name, types.output)
    if cast is not None:
        grids[name] = cast
        return _cast_output(b, name, value, cast)
    term = single_leaf(value.expr)
    if term and _same_everywhere(term[1]) and _same_everywhere(term[2]):
        op, scale, offset = b.integer(value, name, name)
        return Output(name, op.name, Meaning(_first(scale), _first(offset)))
    # one scale and one offset for all elements where there are such: first with offset 0, then with one element's
    offsets = [ex.ZERO, _first(value.expr.offset)] if isinstance(value.expr, ex.Affine) else [ex.ZERO]
    for offset in offsets:
        above = ex.affine(value.expr, ex.ONE, np.asarray(-offset, object))
        step = ex.unit_of_all(above)
        if step is None or _code_bits(b, codes := ex.affine(above, exacts(inverse(step)))) > MAX_OUTPUT_BITS:
            continue
        leaf = b.region(codes, value.shape, name, name, exacts(step), offset)
        return Output(name, b.operand(leaf.index).name, Meaning(exacts(step), offset))
    grids[name] = _default_grid(b, name, value)
    return _cast_output(b, name, value, grids[name])


def _same_everywhere(a: Exacts) -> bool:
    return bool((a == a.reshape(-1)[0]).all())


def _first(a: Exacts) -> Exacts:
    return exacts(a.reshape(-1)[0])


def _code_bits(b: Builder, expr: ex.Expr) -> int:
    lo, hi = b.bounds(expr)
    return max(int(abs(v)).bit_length() for v in (*lo.reshape(-1), *hi.reshape(-1))) + 1


def _default_grid(b: Builder, name: str, value: Data) -> Cast:
    """No common scale and no type given: the nearest point of a power-of-two grid, the bound stated."""
    steps = [v for e in ex.parts(value.expr) for v in _scales(e)]
    finest = min(abs(float(s)) for s in steps)
    frac = int(-np.floor(np.log2(finest)))
    lo, hi = b.bounds(value.expr)
    low, high = (math.floor(end * Fraction(2) ** frac) for end in (lo.min(), hi.max()))
    width = bits_for(low, high + 1)
    if width > MAX_WIDTH:
        raise UserError(f"output '{name}' has no quantiser and its elements have no common scale; to tell its values apart "
                        f"takes {width} bits, more than {MAX_WIDTH}", remedy="Choose a type with --output-type")
    why = "holds values of " + " and ".join(names) if (names := b.functions(value.expr)) else "has no common scale"
    b.notes.append(f"Output '{name}' has no quantiser and {why}: it is rounded (half to even) to "
                   f"multiples of 2^{-frac}, so it is off by at most 2^{-frac - 1}; choose a type with --output-type.")
    return Cast(Fixed.of(width, width - frac, low < 0), "RND_CONV")


def _scales(e: ex.Expr) -> list[Any]:
    """The steps that a node of an expression brings."""
    if isinstance(e, ex.Affine):
        return [v for _, s in e.terms for v in s.reshape(-1) if v != 0]
    if isinstance(e, ex.Func):
        return [FUNCTION_STEP]
    return [Fraction(1)] if isinstance(e, ex.Leaf) else []


def _cast_output(b: Builder, name: str, value: Data, cast: Cast) -> Output:
    leaf, scale = on_grid(b, name, name, f"output '{name}'", value, cast)
    return Output(name, b.operand(leaf.index).name, Meaning(scale, ex.ZERO))
