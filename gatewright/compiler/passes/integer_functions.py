"""Replaces every element-wise region by its cheapest exact integer form.

Forms, in the order tried: shift and clip (`Requant` with a power-of-two divisor, an identity of the region's normal
form), wrap, then for monotone functions with any other scale the cheapest of multiply-add-shift-clip, thresholds and
table; for other functions of few codes a table. What rests on breakpoints is proven on all of them (see fit.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from gatewright.compiler.passes.base import PassResult
from gatewright.compiler.passes.fit import fit
from gatewright.errors import UserError
from gatewright.ir import expr as ex
from gatewright.ir.exact import Exacts, Surd, as_integers, elementwise, exacts, unit
from gatewright.ir.fixed import MAX_WIDTH, FixedArray, Ints
from gatewright.ir.graph import Graph, Op, typed
from gatewright.ir.ops import Combine, Region, Requant
from gatewright.ir.ops.function import SATURATE, WRAP


@dataclass(frozen=True)
class IntegerFunctions:
    """Cases: see the module. The result keeps the region's name; helpers are called name.1, name.2, ..."""

    name: ClassVar[str] = "integer-functions"

    def run(self, graph: Graph) -> PassResult:
        built: dict[str, Op] = {}
        for op in graph.ops:
            if isinstance(op, Region):
                for new in Realiser(op, [built[i] for i in op.inputs]).run():
                    built[new.name] = new
            else:
                built[op.name] = op
        return PassResult(graph.with_ops(built.values()))


@dataclass
class Realiser:
    """Turns one region into a chain of integer operations."""

    region: Region
    operands: list[Op]

    def __post_init__(self) -> None:
        self.ops: list[Op] = []

    def run(self) -> list[Op]:
        last = self.tensor(self.region.expr, top=True)
        if not self.ops:  # the identity, on a tensor that has to be broadcast or is an output under another name
            last = self.emit(Combine, [last], scales=(np.ones(self.region.shape, np.int64),), offset=np.zeros((), np.int64))
        final = replace(last, name=self.region.name, type=FixedArray(
            np.maximum(last.type.lo, self.region.type.lo), np.minimum(last.type.hi, self.region.type.hi),
            self.region.type.frac))
        return [*self.ops[:-1], final]

    def emit(self, op_class: type[Op], operands: list[Op], **attributes: Any) -> Op:
        name = f"{self.region.name}.{len(self.ops) + 1}"
        op = typed(op_class, name, operands, self.region.node, self.region.type.frac, **attributes)
        self.ops.append(op)
        return op

    def tensor(self, e: ex.Expr, top: bool = False) -> Op:
        """The integer-valued expression as a tensor."""
        if isinstance(e, ex.Leaf):
            op = self.operands[e.index]
            return self.broadcast(op) if top and op.type.shape != self.region.shape else op
        clip = e if isinstance(e, ex.Clip) else ex.Clip(e, None, None)
        rounding = clip.x.mode if isinstance(clip.x, ex.Round) else None
        source, body = self.source(clip.x.x if isinstance(clip.x, ex.Round) else clip.x)
        rounded = ex.Round(body, rounding) if rounding else body
        return self.function(source, rounded if clip.lo is None and clip.hi is None else replace(clip, x=rounded))

    def source(self, e: ex.Expr) -> tuple[Op, ex.Expr]:
        """One tensor, and the expression as an affine function of it (Leaf(0))."""
        wrap = ex.match_wrap(e)
        if wrap:
            return self.wrap(wrap)
        if not isinstance(e, ex.Affine):
            return self.tensor(e), ex.Leaf(0)
        if len(e.terms) > 1:
            return self.combined(e)
        if not e.terms:
            return self.operands[0], e
        (term, scale), = e.terms
        return self.tensor(term), ex.affine(ex.Leaf(0), scale, e.offset)

    def broadcast(self, op: Op) -> Op:
        return self.emit(Combine, [op], scales=(np.ones(self.region.shape, np.int64),), offset=np.zeros((), np.int64))

    def combined(self, body: ex.Affine) -> tuple[Op, ex.Expr]:
        """Several tensors: their integer combination, and what remains of the affine function on it."""
        sources = [self.tensor(x) for x, _ in body.terms]
        step = unit(np.concatenate([s.reshape(-1) for _, s in body.terms]))
        if step is None:
            raise UserError("it adds tensors whose scales have no common unit, so no exact integer form exists",
                            node=self.region.node, remedy="Give both branches quantisers with commensurable scales")
        scales = tuple(as_integers(np.asarray(s / step, object)) for _, s in body.terms)
        widest = max(int(abs(v)).bit_length() for s in scales for v in s.reshape(-1))
        if widest > MAX_WIDTH - 20:
            raise UserError(f"it adds tensors whose scales need a common unit with {widest}-bit factors",
                            node=self.region.node, remedy="Use power-of-two scales, or equal scales, on both branches")
        total = self.emit(Combine, sources, scales=tuple(s.astype(np.int64) for s in scales),
                          offset=np.zeros((), np.int64))
        return total, ex.affine(ex.Leaf(0), exacts(step), body.offset)

    def wrap(self, wrap: ex.Wrapped) -> tuple[Op, ex.Expr]:
        """x reduced into -half..modulus-half-1. What is added afterwards goes in before: the same bits, and usually a
        range that is centred on zero."""
        modulus = {int(v) for v in wrap.modulus.reshape(-1)}
        if len(modulus) != 1 or (size := modulus.pop()) & (size - 1):
            raise UserError("it wraps at a number that is no power of two", node=self.region.node,
                            remedy="Wrap at a power of two, as fixed-point hardware does")
        shift = np.asarray(wrap.offset / wrap.scale, object)
        rest = ex.ZERO
        if not ex.integers(shift):
            shift, rest = ex.ZERO, wrap.offset
        lo = as_integers(np.asarray(shift - wrap.half, object))
        return (self.requant(self.tensor(wrap.x), ex.ONE, shift, "FLOOR", lo, lo + (size - 1), WRAP),
                ex.affine(ex.Leaf(0), wrap.scale, rest))

    def function(self, source: Op, f: ex.Expr) -> Op:
        """A function of one tensor (Leaf(0)) in its cheapest form."""
        f = ex.simplify(f, [(exacts(source.type.lo), exacts(source.type.hi))])
        if isinstance(f, ex.Leaf):
            return source
        lo, hi = (f.lo, f.hi) if isinstance(f, ex.Clip) else (None, None)
        inner = f.x if isinstance(f, ex.Clip) else f
        mode = inner.mode if isinstance(inner, ex.Round) else "FLOOR"
        body = inner.x if isinstance(inner, ex.Round) else inner
        if isinstance(body, ex.Leaf | ex.Affine) and (not isinstance(body, ex.Affine) or (len(body.terms) <= 1 and all(
                isinstance(x, ex.Leaf) for x, _ in body.terms))):
            scale, offset = (body.terms[0][1] if body.terms else ex.ZERO, body.offset) if isinstance(body, ex.Affine) else (
                ex.ONE, ex.ZERO)
            if dyadic(scale) and dyadic(offset):
                reach = ex.bounds(f, [(exacts(source.type.lo), exacts(source.type.hi))])
                ends = [as_integers(reach[k] if b is None else b) for k, b in enumerate((lo, hi))]
                return self.requant(source, scale, offset, mode, ends[0].min() if lo is None else ends[0],
                                    ends[1].max() if hi is None else ends[1], SATURATE)
        form = fit(f, source.type, self.shape(source, f), self.region.node)
        return self.emit(form.op_class, [source], **form.attributes)

    def shape(self, source: Op, f: ex.Expr) -> tuple[int, ...]:
        shapes = [source.type.shape]
        ex.transform(f, lambda a: shapes.append(a.shape) or a, lambda leaf: leaf)  # type: ignore[func-returns-value]
        return np.broadcast_shapes(*shapes)

    def requant(self, source: Op, scale: Exacts, offset: Exacts, mode: str, lo: Any, hi: Any, overflow: str) -> Op:
        """round(scale * x + offset), limited, for scale and offset with power-of-two denominators."""
        def exponent(s: Any, o: Any) -> int:
            return max(int(s.denominator).bit_length(), int(o.denominator).bit_length()) - 1

        shift = elementwise(exponent, scale, offset)
        mul, add = (as_integers(elementwise(lambda v, k: v * (1 << k), a, shift)) for a in (scale, offset))
        return self.emit(Requant, [source], mul=small(mul), add=small(add), shift=small(shift), rounding=mode,
                         lo=small(lo), hi=small(hi), overflow=overflow)


def dyadic(a: Exacts) -> bool:
    """True where every element is an integer over a power of two."""
    return all(not isinstance(v, Surd) and v.denominator & (v.denominator - 1) == 0 for v in a.reshape(-1))


def small(values: Any) -> Ints:
    """int64, of shape () where all elements are equal."""
    a = np.asarray(values, object)
    first = a.reshape(-1)[0]
    if (a == first).all():
        a = np.asarray(first, object)
    if any(abs(int(v)) >= 1 << MAX_WIDTH for v in a.reshape(-1)):
        raise UserError(f"a constant of {math.ceil(math.log2(max(abs(int(v)) for v in a.reshape(-1))))} bits does not fit")
    return a.astype(np.int64)
