"""An element-wise region of the model, as written: exact arithmetic between integer tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gatewright.ir import expr as ex
from gatewright.ir import expr_int64
from gatewright.ir.exact import as_integers, elementwise, exacts
from gatewright.ir.fixed import FixedArray
from gatewright.ir.graph import OBJECT, Codes, Op, as_python
from gatewright.ir.ops.linear import with_samples
from gatewright.ir.uniform import compact

PIECE = 1 << 17
"""Codes that are computed at a time."""


def exact_ends(t: FixedArray) -> ex.Bounds:
    """The bounds of a type as exact numbers; elements that repeat are there once."""
    lo, hi = compact(t.lo, t.hi)
    return exacts(lo), exacts(hi)


@dataclass(frozen=True, eq=False, kw_only=True)
class Region(Op):
    """y = expr(x_0, x_1, ...), integer codes from integer codes, element-wise with broadcasting to `shape`.

    The specification that the integer-functions pass replaces by cheap exact forms.
    """

    expr: ex.Expr
    shape: tuple[int, ...]
    kind = "region"

    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        lo, hi = ex.bounds(self.expr, [exact_ends(t) for t in types])
        return tuple(np.broadcast_to(as_integers(b), self.shape) for b in (lo, hi))  # type: ignore[return-value]

    def compute(self, operands: list[Codes]) -> Codes:
        rank, samples = len(self.shape), len(operands[0])
        inputs = [with_samples(x, rank) for x in operands]
        out = np.empty((samples, *self.shape), np.int64)
        rows = self.shape[0] if rank else 1
        step = max(PIECE * rows // max(out.size, 1), 1)
        if step >= rows:
            out[...] = self._codes(self.expr, inputs)
            return out
        for i in range(0, rows, step):  # what lies between stays in the cache
            cut = slice(i, i + step)
            part = ex.transform(self.expr, lambda a, cut=cut: a[cut] if a.ndim == rank and len(a) > 1 else a,  # type: ignore[misc]
                                lambda leaf: leaf)
            out[:, cut] = self._codes(part, [x[:, cut] if x.shape[1] > 1 else x for x in inputs])
        return out

    @staticmethod
    def _codes(expr: ex.Expr, inputs: list[Codes]) -> Codes:
        """The codes, of a shape that broadcasts to the result's."""
        codes = expr_int64.evaluate(expr, inputs)
        if codes is None and len(inputs) == 1:
            codes = distinct(expr, inputs[0])
        if codes is None:
            codes = elementwise(int, ex.evaluate(expr, [as_python(x) for x in inputs])).astype(np.int64)
        return codes


def distinct(expr: ex.Expr, x: Codes) -> Codes:
    """The codes of a function of one tensor: exact numbers are slow, and data repeat, so every different code is computed
    once for all elements that share their constants."""
    constants = np.broadcast_shapes(*ex.constant_shapes(expr))
    x = np.broadcast_to(x, np.broadcast_shapes(x.shape, constants))
    place = np.broadcast_to(np.arange(math.prod(constants)).reshape(constants), x.shape)
    low, span = int(x.min()), int(x.max()) - int(x.min()) + 1
    unique, where = np.unique(place * span + (x - low), return_inverse=True)
    at, code = unique // span, unique % span + low
    picked = ex.transform(expr, lambda a: np.broadcast_to(a, constants).reshape(-1)[at] if a.shape else a,
                          lambda leaf: leaf)
    table = elementwise(int, ex.evaluate(picked, [as_python(code)])).astype(np.int64)
    return np.asarray(np.broadcast_to(table, unique.shape)[where.reshape(x.shape)])
