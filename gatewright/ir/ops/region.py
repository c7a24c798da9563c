"""An element-wise region of the model, as written: exact arithmetic between integer tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatewright.ir import expr as ex
from gatewright.ir import expr_int64
from gatewright.ir.exact import as_integers, elementwise, exacts
from gatewright.ir.fixed import FixedArray
from gatewright.ir.graph import OBJECT, Codes, Op, as_python
from gatewright.ir.ops.linear import with_samples


@dataclass(frozen=True, eq=False, kw_only=True)
class Region(Op):
    """y = expr(x_0, x_1, ...), integer codes from integer codes, element-wise with broadcasting to `shape`.

    The specification that the integer-functions pass replaces by cheap exact forms.
    """

    expr: ex.Expr
    shape: tuple[int, ...]
    kind = "region"

    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        lo, hi = ex.bounds(self.expr, [(exacts(t.lo), exacts(t.hi)) for t in types])
        return tuple(np.broadcast_to(as_integers(b), self.shape) for b in (lo, hi))  # type: ignore[return-value]

    def compute(self, operands: list[Codes]) -> Codes:
        rank = len(self.shape)
        inputs = [with_samples(x, rank) for x in operands]
        codes = expr_int64.evaluate(self.expr, inputs)
        if codes is None:
            codes = elementwise(int, ex.evaluate(self.expr, [as_python(x) for x in inputs])).astype(np.int64)
        return np.ascontiguousarray(np.broadcast_to(codes, (operands[0].shape[0], *self.shape)))
