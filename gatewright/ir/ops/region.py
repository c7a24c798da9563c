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


@dataclass(frozen=True, eq=False, kw_only=True)
class Region(Op):
    """y = expr(x_0, x_1, ...), integer codes from integer codes, element-wise with broadcasting to `shape`.

    The specification that the integer-functions pass replaces by cheap exact forms.
    """

    expr: ex.Expr
    shape: tuple[int, ...]
    kind = "region"

    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        lo, hi = ex.bounds(self.expr, [tuple(exacts(b) for b in compact(t.lo, t.hi)) for t in types])  # type: ignore[misc]
        return tuple(np.broadcast_to(as_integers(b), self.shape) for b in (lo, hi))  # type: ignore[return-value]

    def compute(self, operands: list[Codes]) -> Codes:
        rank = len(self.shape)
        inputs = [with_samples(x, rank) for x in operands]
        codes = expr_int64.evaluate(self.expr, inputs)
        if codes is None and len(inputs) == 1:
            codes = self._distinct(np.broadcast_to(inputs[0], (len(inputs[0]), *self.shape)))
        if codes is None:
            codes = elementwise(int, ex.evaluate(self.expr, [as_python(x) for x in inputs])).astype(np.int64)
        return np.ascontiguousarray(np.broadcast_to(codes, (operands[0].shape[0], *self.shape)))

    def _distinct(self, x: Codes) -> Codes:
        """The codes of a function of one tensor: exact numbers are slow, and data repeat, so every different code is
        computed once for all elements that share their constants."""
        constants = np.broadcast_shapes(*ex.constant_shapes(self.expr))
        place = np.broadcast_to(np.arange(math.prod(constants)).reshape(constants), x.shape)
        low, span = int(x.min()), int(x.max()) - int(x.min()) + 1
        unique, where = np.unique(place * span + (x - low), return_inverse=True)
        at, code = unique // span, unique % span + low
        picked = ex.transform(self.expr, lambda a: np.broadcast_to(a, constants).reshape(-1)[at] if a.shape else a,
                              lambda leaf: leaf)
        table = elementwise(int, ex.evaluate(picked, [as_python(code)])).astype(np.int64)
        return np.asarray(np.broadcast_to(table, unique.shape)[where.reshape(x.shape)])
