"""Quotients of tensors in a region: round(scale * n / d + offset), and the smallest constants that compute it exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from gatewright.ir import expr as ex
from gatewright.ir.exact import Exacts, Number, inverse


@dataclass(frozen=True, eq=False)
class Quotient:
    """scale * (product of `above`) / (product of `below`) + offset"""

    above: list[ex.Expr]
    below: list[ex.Expr]
    scale: Exacts
    offset: Exacts


def match_quotient(e: ex.Expr) -> Quotient | None:
    """Recognises a product with a reciprocal in it, scaled and shifted; None where there is none, or another function."""
    term, scale, offset = e, ex.ONE, ex.ZERO
    if isinstance(e, ex.Affine) and len(e.terms) == 1:
        (term, scale), offset = e.terms[0], e.offset
    above: list[ex.Expr] = []
    below: list[ex.Expr] = []

    def visit(x: ex.Expr) -> None:
        if isinstance(x, ex.Product):
            visit(x.x)
            visit(x.y)
        elif isinstance(x, ex.Func) and x.name == "reciprocal":
            below.append(x.x)
        else:
            above.append(x)

    visit(term)
    if not below or any(ex.functions(x) for x in (*above, *below)):
        return None
    return Quotient(above, below, scale, offset)


def simplest(x: Number, most: int) -> Fraction:
    """The simplest fraction that compares like x with every fraction whose denominator is at most `most`.

    x itself where it is such a fraction, else the mediant of its two neighbours among them, which continued fractions give
    (Graham, Knuth, Patashnik, Concrete Mathematics, section 4.5).
    """
    (p, q), (previous_p, previous_q), rest = (1, 0), (0, 1), x
    while True:
        whole = math.floor(rest)
        p, q, previous_p, previous_q = whole * p + previous_p, whole * q + previous_q, p, q
        if q > most:  # one step back is one neighbour, the last one between it and the step before is the other
            older_p, older_q = p - whole * previous_p, q - whole * previous_q
            steps = (most - older_q) // previous_q
            return Fraction(older_p + (steps + 1) * previous_p, older_q + (steps + 1) * previous_q)
        rest = rest - whole
        if rest == 0:
            return Fraction(p, q)
        rest = inverse(rest)
