"""A sum of clipped lines with real constants as integer tensors with a scale each.

s * x + o, clipped to lo..hi, has no narrow common unit where s, o, lo and hi are floats. But for an integer x it is

    s * clip(x, first, last) + o + below * [x < first] + above * [x > last]

with the first and last x at which the line lies in lo..hi, and the rests `below` and `above` that it lacks to lo and hi there:
three integer tensors as narrow as x. So sums of such functions stay sums of integers, and the constants wait for a quantiser.
"""

from __future__ import annotations

import math

from gatewright.ir import expr as ex
from gatewright.ir.exact import Exacts, elementwise, exacts, inverse, plus, times

Pieces = tuple[list[tuple[ex.Expr, Exacts]], Exacts]
"""Integer-valued expressions with their scales, and what is added."""


def pieces(expr: ex.Expr) -> Pieces | None:
    """The expression as a sum of integer-valued ones; None where it is something else than sums of clipped lines."""
    if isinstance(expr, ex.Leaf | ex.Round):
        return [(expr, ex.ONE)], ex.ZERO
    if isinstance(expr, ex.Clip):
        return _clipped(expr)
    if not isinstance(expr, ex.Affine):
        return None
    found, offset = [], expr.offset
    for x, scale in expr.terms:
        inner = pieces(x)
        if inner is None:
            return None
        found += [(e, times(scale, s)) for e, s in inner[0]]
        offset = plus(offset, times(scale, inner[1]))
    return found, offset


def _clipped(e: ex.Clip) -> Pieces | None:
    line = e.x if isinstance(e.x, ex.Affine) else ex.Affine(((e.x, ex.ONE),), ex.ZERO)
    if len(line.terms) != 1 or not isinstance(line.terms[0][0], ex.Leaf | ex.Round) or (line.terms[0][1] == 0).any():
        return None
    x, scale = line.terms[0]
    sign = elementwise(lambda s: exacts(1 if s > 0 else -1).item(), scale)
    rising, slope = ex.affine(x, sign), times(scale, sign)  # the line on sign * x, which never falls
    place = elementwise(inverse, slope)
    first, last = (None if b is None else times(plus(b, -line.offset), place) for b in (e.lo, e.hi))
    first = None if first is None else elementwise(lambda v: exacts(-math.floor(-v)).item(), first)
    last = None if last is None else elementwise(lambda v: exacts(math.floor(v)).item(), last)
    if first is not None and last is not None and not ex.nowhere_less(last, first):
        return None  # no x lies between the bounds
    found: list[tuple[ex.Expr, Exacts]] = [(ex.Clip(rising, first, last), slope)]
    for bound, end, outward in ((e.lo, first, exacts(-1)), (e.hi, last, exacts(1))):
        if bound is not None and end is not None:
            beyond = ex.Clip(ex.affine(rising, outward, times(end, -outward)), ex.ZERO, ex.ONE)
            found.append((beyond, plus(bound, -plus(times(slope, end), line.offset))))
    return found, line.offset
