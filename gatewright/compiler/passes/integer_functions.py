"""Replaces every element-wise region by its cheapest exact integer form.

Forms, in the order tried: shift and clip (`Requant` with a power-of-two divisor, an identity of the region's normal
form), wrap, a choice between two forms where a clip inside bends a line (leaky ReLU, absolute value), then for monotone
functions with any other scale or real function the cheapest of multiply-add-shift-clip, thresholds and table; for other
functions of few codes a table, else thresholds. What rests on breakpoints is proven on all of them (see fit.py).
"""

from __future__ import annotations

import itertools
import math
import operator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from gatewright.compiler.passes.base import PassResult
from gatewright.compiler.passes.exact_ranges import narrowed
from gatewright.compiler.passes.fit import MAX_TABLE, Form, Groups, RoundedAffine, digits, fit, rounded_lines
from gatewright.compiler.passes.quotients import match_quotient, simplest
from gatewright.compiler.passes.wide import WideSum
from gatewright.errors import UserError
from gatewright.ir import expr as ex
from gatewright.ir.exact import Exacts, Number, Surd, as_integers, elementwise, exacts, inverse, larger, over, times
from gatewright.ir.fixed import MAX_WIDTH, Ints
from gatewright.ir.graph import Graph, Op, typed
from gatewright.ir.ops import Combine, Divide, Multiply, Region, Requant, Select, Thresholds
from gatewright.ir.ops.function import SATURATE, WRAP
from gatewright.ir.ops.region import exact_ends
from gatewright.ir.uniform import compact

FACTOR_BITS = MAX_WIDTH - 20
"""Sums of tensors with wider integer factors are computed in two halves."""
SMALL_TABLE = 1 << 6
"""A function of so few codes is one look-up table a bit."""


@dataclass(frozen=True)
class IntegerFunctions:
    """Cases: see the module. The result keeps the region's name; helpers are called name.1, name.2, ..., where free."""

    name: ClassVar[str] = "integer-functions"

    def run(self, graph: Graph) -> PassResult:
        return self.attempt(graph, None)

    def attempt(self, graph: Graph, refused: list[UserError] | None) -> PassResult:
        """With a list, regions that have no form stay as they are, and the reasons go there; without, the first is raised."""
        built: dict[str, Op] = {}
        for op in graph.ops:
            if isinstance(op, Region):
                try:
                    new_ops = Realiser(op, [built[i] for i in op.inputs], frozenset(graph.by_name)).run()
                except UserError as error:
                    if refused is None:
                        raise
                    refused.append(error)
                    new_ops = [op]
                built |= {new.name: new for new in new_ops}
            else:
                built[op.name] = narrowed(op, [built[i] for i in op.inputs])
        return PassResult(graph.with_ops(built.values()))


@dataclass
class Realiser:
    """Turns one region into a chain of integer operations."""

    region: Region
    operands: list[Op]
    taken: frozenset[str]
    """Names of the Graph's tensors."""

    def __post_init__(self) -> None:
        self.ops: list[Op] = []
        self.ranges = [exact_ends(o.type) for o in self.operands]

    def run(self) -> list[Op]:
        last = self.tensor(self.region.expr)
        if not self.ops or last.type.shape != self.region.shape:  # the identity of a tensor, or one to be broadcast
            last = self.emit(Combine, [last], scales=(np.ones(self.region.shape, np.int64),), offset=np.zeros((), np.int64))
        final = replace(last, name=self.region.name, type=last.type.cut(self.region.type.lo, self.region.type.hi))
        return [*self.ops[:-1], final]

    def emit(self, op_class: type[Op], operands: list[Op], **attributes: Any) -> Op:
        names = (f"{self.region.name}.{k}" for k in itertools.count(1))
        name = next(n for n in names if n not in self.taken and all(n != o.name for o in self.ops))
        op = typed(op_class, name, operands, self.region.node, self.region.type.frac, **attributes)
        self.ops.append(op)
        return op

    def tensor(self, e: ex.Expr) -> Op:
        """The integer-valued expression as a tensor, perhaps still to be broadcast."""
        if isinstance(e, ex.Leaf):
            return self.operands[e.index]
        quotient = self.quotient(e)
        if quotient is not None:
            return quotient
        clip = e if isinstance(e, ex.Clip) else ex.Clip(e, None, None)
        rounding = clip.x.mode if isinstance(clip.x, ex.Round) else None
        inside = clip.x.x if isinstance(clip.x, ex.Round) else clip.x
        if rounding and self.too_wide(inside):
            assert isinstance(inside, ex.Affine)
            return WideSum([self.tensor(x) for x, _ in inside.terms], [s for _, s in inside.terms], inside.offset, rounding,
                           clip.lo, clip.hi, self.region.node).emit(self.emit)
        source, body = self.source(inside)
        rounded = ex.Round(body, rounding) if rounding else body
        result = self.function(source, rounded if clip.lo is None and clip.hi is None else replace(clip, x=rounded))
        return result if e is self.region.expr else self.reached(result, e)

    def reached(self, op: Op, e: ex.Expr) -> Op:
        """The tensor within the bounds of the expression, on which what reads it was simplified; its own may be wider, where it is a
        sum of parts."""
        lo, hi = ex.bounds(e, self.ranges)
        if not self.ops or op is not self.ops[-1] or np.broadcast_shapes(lo.shape, op.type.shape) != op.type.shape:
            return op
        self.ops[-1] = replace(op, type=op.type.cut(*(np.broadcast_to(as_integers(end), op.type.shape) for end in (lo, hi))))
        return self.ops[-1]

    def too_wide(self, e: ex.Expr) -> bool:
        """Whether e is a sum of integer tensors that has an exact unit, but no code in it, or wide factors."""
        if not isinstance(e, ex.Affine) or len(e.terms) < 2 or not all(ex.is_integer(x) for x, _ in e.terms):
            return False
        unit = ex.units([s for _, s in e.terms])
        if any(u is None or u == 0 for u in unit.reshape(-1)):
            return False
        factors = [over(s, unit) for _, s in e.terms]
        if max(abs(v) for k in factors for v in k.reshape(-1)) >= 1 << FACTOR_BITS:
            return True
        inner = ex.affine(ex.add([(x, k) for (x, _), k in zip(e.terms, factors, strict=True)]))
        return any(abs(v) >= 1 << MAX_WIDTH - 1 for b in ex.bounds(inner, self.ranges) for v in b.reshape(-1))

    def quotient(self, e: ex.Expr) -> Op | None:
        """clip(round(scale * n / d + offset) + shift) of tensors n and d as a division; None where it is something else, or
        better taken as a function of one tensor."""
        clip = e if isinstance(e, ex.Clip) else ex.Clip(e, None, None)
        inner, shift = clip.x, ex.ZERO
        if isinstance(inner, ex.Affine) and len(inner.terms) == 1 and (inner.terms[0][1] == 1).all() and (
                ex.integers(inner.offset)):
            shift, inner = inner.offset, inner.terms[0][0]
        found = match_quotient(inner.x) if isinstance(inner, ex.Round) else None
        used = [self.operands[i] for i in ex.leaves(inner)]
        if found is None or not isinstance(inner, ex.Round) or (
                len(used) == 1 and int((used[0].type.hi - used[0].type.lo).max()) < MAX_TABLE):
            return None
        lo, hi = ex.bounds(inner, self.ranges)
        if clip.lo is not None:
            lo, hi = (np.maximum(r, np.asarray(clip.lo - shift, object)) for r in (lo, hi))
        if clip.hi is not None:
            lo, hi = (np.minimum(r, np.asarray(clip.hi - shift, object)) for r in (lo, hi))
        above, scale = self.product(found.above, found.scale)
        below, unit = self.product(found.below, ex.ONE)
        sign = np.where(below.type.hi < 0, -1, 1)
        if (sign < 0).any():
            below = self.emit(Combine, [below], scales=(sign,), offset=np.zeros((), np.int64))
        mul, add, div = self.ratio(np.asarray(scale * elementwise(inverse, unit) * exacts(sign), object), found.offset, above)
        y = self.emit(Divide, [above, below], mul=mul, add=add, div=div, rounding=inner.mode,
                      lo=self.small(as_integers(lo)), hi=self.small(as_integers(hi)))
        if (shift == 0).all():
            return y
        return self.emit(Combine, [y], scales=(np.ones((), np.int64),), offset=self.small(as_integers(shift)))

    def product(self, factors: list[ex.Expr], scale: Exacts) -> tuple[Op, Exacts]:
        """The product of the factors as a tensor and its scale; without factors, a tensor of ones."""
        parts = []
        for f in factors:
            op, scale = self.part(f, scale)
            parts.append(op)
        if not parts:
            one = np.ones((), np.int64)
            return self.emit(Combine, [self.operands[0]], scales=(0 * one,), offset=one), scale
        whole = parts[0]
        for op in parts[1:]:
            whole = self.emit(Multiply, [whole, op])
        return whole, scale

    def ratio(self, scale: Exacts, offset: Exacts, n: Op) -> tuple[Ints, Ints, Ints]:
        """mul, add, div with which (mul * n + add * d) / (div * d) lies on the same side of every halfway point as
        scale * n / d + offset, for all codes of n and all d > 0."""
        if any(isinstance(v, Surd) for v in offset.reshape(-1)):
            raise UserError("it divides and adds an irrational number", node=self.region.node,
                            remedy="Put a quantiser behind the division")
        most = max(abs(int(n.type.lo.min())), abs(int(n.type.hi.max())), 1)

        def one(s: Number, o: Fraction) -> tuple[int, int, int]:
            near = simplest(s, 2 * o.denominator * most)
            mul, add, div = near.numerator * o.denominator, o.numerator * near.denominator, near.denominator * o.denominator
            common = math.gcd(mul, add, div)
            return mul // common, add // common, div // common

        found = elementwise(one, scale, offset)
        mul, add, div = (self.small(elementwise(lambda v, k=k: v[k], found)) for k in range(3))
        return mul, add, div

    def source(self, e: ex.Expr) -> tuple[Op, ex.Expr]:
        """One tensor, and the expression as an affine function of it (Leaf(0))."""
        wrap = ex.match_wrap(e)
        if wrap and powers_of_two(wrap.modulus):
            return self.wrap(wrap)
        if ex.functions(e) or not isinstance(e, ex.Affine):
            return self.one_tensor(e)
        if len(e.terms) > 1:
            return self.bent(e) or self.combined(e)
        if not e.terms:
            return self.operands[0], e
        (term, scale), offset = e.terms[0], e.offset
        if not ex.is_integer(term) and len(used := ex.leaves(term)) == 1:  # no integers, but a function of one tensor
            index = used.pop()
            return self.operands[index], ex.substitute(e, {index: ex.Leaf(0)})
        op, scale = self.part(term, scale)
        return op, ex.affine(ex.Leaf(0), scale, offset)

    def one_tensor(self, e: ex.Expr) -> tuple[Op, ex.Expr]:
        """Any function of one integer tensor, or of one linear combination of several, and that tensor: after the roundings
        inside where that is one, else before them."""
        try:
            return self.function_after(e, (ex.Leaf, ex.Round))
        except UserError:
            return self.function_after(e, (ex.Leaf,))

    def function_after(self, e: ex.Expr, atom: tuple[type[ex.Expr], ...]) -> tuple[Op, ex.Expr]:
        """The same, with nodes of the kinds `atom` as the integer tensors."""
        known: dict[int, tuple[ex.Expr, Exacts]] = {}
        done: dict[int, ex.Expr] = {}

        def ratio(terms: list[tuple[ex.Expr, Exacts]]) -> Exacts:
            """What the combination is of the first that was found."""
            found = {key(x): (x, s) for x, s in terms}
            if not known:
                known.update({key(x): (x, ex.ONE if len(terms) == 1 else s) for x, s in terms})
            if found.keys() != known.keys() or any((known[k][1] == 0).any() for k in known):
                raise self.several()
            ratios = [np.asarray(s * elementwise(inverse, known[k][1]), object) for k, (_, s) in found.items()]
            if any((r != ratios[0]).any() for r in ratios[1:]):
                raise self.several()
            return ratios[0]

        def visit(x: ex.Expr) -> ex.Expr:
            if id(x) not in done:
                done[id(x)] = rebuilt(x)
            return done[id(x)]

        def rebuilt(x: ex.Expr) -> ex.Expr:
            if not isinstance(x, (ex.Affine, *atom)):
                return ex.with_children(x, [visit(y) for y in ex.children(x)])
            terms, offset = (x.terms, x.offset) if isinstance(x, ex.Affine) else (((x, ex.ONE),), ex.ZERO)
            linear = [(y, s) for y, s in terms if isinstance(y, atom)]
            rest = [(visit(y), s) for y, s in terms if not isinstance(y, atom)]
            return ex.add([*rest, (ex.Leaf(0), ratio(linear))] if linear else rest, offset)

        f = visit(e)
        atoms = list(known.values())
        if not atoms:  # a constant
            return self.operands[0], f
        if len(atoms) == 1:
            return self.tensor(atoms[0][0]), f
        total, inner = self.combined(ex.Affine(tuple(atoms), ex.ZERO))
        return total, ex.substitute(f, {0: inner})

    def several(self) -> UserError:
        return UserError("it joins non-linear functions of several tensors without a quantiser between",
                         node=self.region.node, remedy="Put a quantiser after each of the functions")

    def bent(self, e: ex.Affine) -> tuple[Op, ex.Expr] | None:
        """A sum of clips and products of one tensor, where one function of it is better than adding them up."""
        try:
            source, f = self.one_tensor(e)
        except UserError:
            return None
        span = source.type.hi - source.type.lo
        alone = ex.has_product(f) or bend(f, source.type.lo, source.type.hi) is not None or span.max() < SMALL_TABLE
        return (source, f) if alone else None

    def part(self, e: ex.Expr, scale: Exacts) -> tuple[Op, Exacts]:
        """scale * e, where e need not be integer, as a tensor and its scale."""
        if ex.is_integer(e):
            return self.tensor(e), scale
        step = ex.unit(e)
        if step is None:
            raise self.no_unit()
        step = ex.units([step])
        whole = ex.affine(e, elementwise(inverse, step))
        return self.tensor(ex.simplify(whole, self.ranges)), np.asarray(scale * step, object)

    def no_unit(self) -> UserError:
        return UserError("it adds tensors whose scales have no common unit, so no exact integer form exists",
                         node=self.region.node, remedy="Give both branches quantisers with commensurable scales")

    def combined(self, body: ex.Affine) -> tuple[Op, ex.Expr]:
        """Several tensors: their integer combination, and what remains of the affine function on it."""
        parts = [self.part(x, s) for x, s in body.terms]
        step = ex.units([s for _, s in parts])
        if any(u is None for u in step.reshape(-1)):
            raise self.no_unit()
        scales = tuple(as_integers(over(s, step)) for _, s in parts)
        widest = max(int(abs(v)).bit_length() for s in scales for v in s.reshape(-1))
        if widest > FACTOR_BITS:
            raise UserError(f"it adds tensors whose scales need a common unit with {widest}-bit factors",
                            node=self.region.node, remedy="Use power-of-two scales, or equal scales, on both branches")
        total = self.emit(Combine, [p for p, _ in parts], scales=tuple(self.small(s) for s in scales),
                          offset=np.zeros((), np.int64))
        return total, ex.affine(ex.Leaf(0), step, body.offset)

    def wrap(self, wrap: ex.Wrapped) -> tuple[Op, ex.Expr]:
        """x reduced into -half..modulus-half-1. What is added afterwards goes in before: the same bits, and usually a
        range that is centred on zero."""
        shift = np.asarray(wrap.offset / wrap.scale, object)
        rest = ex.ZERO
        if not ex.integers(shift):
            shift, rest = ex.ZERO, wrap.offset
        lo = as_integers(np.asarray(shift - wrap.half, object))
        hi = np.asarray(lo + as_integers(wrap.modulus) - 1, object)
        return (self.requant(self.tensor(wrap.x), ex.ONE, shift, "FLOOR", lo, hi, WRAP),
                ex.affine(ex.Leaf(0), wrap.scale, rest))

    def function(self, source: Op, f: ex.Expr, within: tuple[Ints, Ints] | None = None) -> Op:
        """A function of one tensor (Leaf(0)) in its cheapest form; `within` bounds of the tensor where only they matter."""
        low, high = within or compact(source.type.lo, source.type.hi)
        f = ex.simplify(f, [(exacts(low), exacts(high))])
        if isinstance(f, ex.Leaf):
            return source
        parts = RoundedAffine.of(f)
        forms: list[Form] = []
        if parts:
            scale, offset, mode, lo, hi = parts.scale, parts.offset, parts.mode, parts.lo, parts.hi
            if dyadic(scale) and dyadic(offset) and self.narrow(source, scale, offset) and not (
                    forms := self.shorter(source, f, scale, offset, within)):
                reach = ex.bounds(f, [exact_ends(source.type)])
                ends = [as_integers(reach[k] if b is None else b) for k, b in enumerate((lo, hi))]
                return self.requant(source, scale, offset, mode, ends[0].min() if lo is None else ends[0],
                                    ends[1].max() if hi is None else ends[1], SATURATE)
        at: Exacts | int | None = None
        if (high - low).max() >= SMALL_TABLE and not ex.functions(f):
            at = bend(f, low, high) if parts is None else zero(scale, offset, low, high) if mode in ("DOWN", "UP") else None
        if at is not None:
            made = len(self.ops)
            try:
                return self.split(source, f, low, high, np.asarray(at, np.int64))
            except UserError:  # a part has no form; the whole may have one, as a table
                if within:
                    raise
                del self.ops[made:]
        try:
            forms = forms or fit(f, source.type, self.shape(source, f), self.region.node, within)
        except UserError:
            span = active(f)
            if not span or within or span[1] - span[0] >= (high - low).max():
                raise
            first, last = (np.asarray(v) for v in span)
            return self.function(self.requant(source, ex.ONE, ex.ZERO, "FLOOR", first, last, SATURATE), f)
        results = [source]
        for form in forms:
            results.append(self.emit(form.op_class, [results[k] for k in form.operands], **form.attributes))
        return results[-1]

    def shorter(self, source: Op, f: ex.Expr, scale: Exacts, offset: Exacts, within: tuple[Ints, Ints] | None) -> list[Form]:
        """A line with fewer digits than the scale itself has, where there is one: a float's 24 bits are rarely all needed."""
        mul, _, _ = over_power_of_two(scale, offset)
        if all(digits(v) <= 1 for v in mul.reshape(-1)):
            return []
        shape = self.shape(source, f)
        lines = rounded_lines(f, Groups.of(f, source.type, shape, within), source.type)
        own = sum(digits(v) + 1 for v in mul.reshape(-1)) * source.type.common.width * math.prod(shape) // mul.size
        return lines.forms if lines and lines.cost < own else []

    def split(self, source: Op, f: ex.Expr, low: Ints, high: Ints, at: Ints) -> Op:
        """f in one form below a code (per tensor, channel or element) and in another from it on."""
        lower = self.function(source, f, (np.minimum(low, at - 1), np.minimum(high, at - 1)))
        upper = self.function(source, f, (np.maximum(low, at), np.maximum(high, at)))
        above = self.emit(Thresholds, [source], sign=np.ones((), np.int64), levels=at[..., None],
                          base=np.zeros((), np.int64))
        return self.emit(Select, [above, upper, lower])

    def small(self, values: Any) -> Ints:
        """int64, of shape () where all elements are equal."""
        a = np.asarray(values, object)
        first = a.reshape(-1)[0]
        if (a == first).all():
            a = np.asarray(first, object)
        widest = max(int(abs(v)).bit_length() for v in a.reshape(-1))
        if widest > MAX_WIDTH:
            raise UserError(f"a constant of {widest} bits does not fit", node=self.region.node,
                            remedy="Use scales and zero points with fewer significant bits")
        return a.astype(np.int64)

    def narrow(self, source: Op, scale: Exacts, offset: Exacts) -> bool:
        """Whether scale * x + offset can be computed before it is rounded: MAX_WIDTH bits, fraction and guard included."""
        mul, add, shift = over_power_of_two(scale, offset)
        lo, hi = exact_ends(source.type)
        return bool(np.all(abs(mul) * larger(-lo, hi) + abs(add) + (1 << shift) < 1 << MAX_WIDTH - 1))

    def shape(self, source: Op, f: ex.Expr) -> tuple[int, ...]:
        shapes = [source.type.shape]
        ex.transform(f, lambda a: shapes.append(a.shape) or a, lambda leaf: leaf)  # type: ignore[func-returns-value]
        return np.broadcast_shapes(*shapes)

    def requant(self, source: Op, scale: Exacts, offset: Exacts, mode: str, lo: Any, hi: Any, overflow: str) -> Op:
        """round(scale * x + offset), limited, for scale and offset with power-of-two denominators."""
        mul, add, shift = over_power_of_two(scale, offset)
        return self.emit(Requant, [source], mul=self.small(mul), add=self.small(add), shift=self.small(shift), rounding=mode,
                         lo=self.small(lo), hi=self.small(hi), overflow=overflow)


def key(x: ex.Expr) -> int:
    return -1 - x.index if isinstance(x, ex.Leaf) else id(x)


def bend(f: ex.Expr, lo: Ints, hi: Ints) -> int | None:
    """The first code of lo..hi, the same for all elements, from which a clip of a line in f acts differently than below."""
    sides = [{-math.floor(-v) for v in side} for e in ex.parts(f) for side in corners(e)]
    return min((at for side in sides for at in side if len(side) == 1 and lo.min() < at <= hi.max()), default=None)


def corners(e: ex.Expr) -> list[list[Number]]:
    """Where a node is a clip of a line of Leaf(0): per bound and element the value of Leaf(0) at which it begins to act."""
    if not isinstance(e, ex.Clip) or not isinstance(e.x, ex.Leaf | ex.Affine):
        return []
    terms, offset = (e.x.terms, e.x.offset) if isinstance(e.x, ex.Affine) else (((e.x, ex.ONE),), ex.ZERO)
    if len(terms) != 1 or not isinstance(terms[0][0], ex.Leaf) or (terms[0][1] == 0).any():
        return []
    slope = elementwise(inverse, terms[0][1])
    return [list(times(elementwise(operator.sub, end, offset), slope).reshape(-1))
            for end in (e.lo, e.hi) if end is not None]


def active(f: ex.Expr) -> tuple[int, int] | None:
    """The first and last code between which f varies, where every use of the tensor lies in a clip on both sides."""
    ends: list[Number] = []
    waiting = {id(f): f}
    while waiting:
        e = waiting.pop(next(iter(waiting)))
        found = corners(e)
        if isinstance(e, ex.Leaf) or (found and len(found) < 2):
            return None
        ends += [at for side in found for at in side]
        waiting |= {id(x): x for x in ex.children(e)} if not found else {}
    return (min(map(math.floor, ends)), -min(math.floor(-v) for v in ends)) if ends else None


def zero(scale: Exacts, offset: Exacts, lo: Ints, hi: Ints) -> Exacts | None:
    """The first code from which scale * x + offset has another sign than below; None where that lies in lo..hi nowhere."""
    def first(s: Number, o: Number) -> int | None:
        if s == 0:
            return None
        at = -o * inverse(s)
        return -math.floor(-at) if s > 0 else math.floor(at) + 1

    at = elementwise(first, scale, offset)
    turns = [v is not None and a < v <= b for v, a, b in zip(*(e.reshape(-1) for e in np.broadcast_arrays(at, lo, hi)), strict=True)]
    return elementwise(lambda v: 0 if v is None else min(max(v, int(lo.min())), int(hi.max())), at) if any(turns) else None


def dyadic(a: Exacts) -> bool:
    """True where every element is an integer over a power of two."""
    return all(not isinstance(v, Surd) and v.denominator & (v.denominator - 1) == 0 for v in a.reshape(-1))


def over_power_of_two(scale: Exacts, offset: Exacts) -> tuple[Exacts, Exacts, Exacts]:
    """Integers (mul, add, shift) with scale = mul / 2**shift and offset = add / 2**shift, the least shift there is."""
    def exponent(s: Any, o: Any) -> int:
        return max(int(s.denominator).bit_length(), int(o.denominator).bit_length()) - 1

    shift = elementwise(exponent, scale, offset)
    mul, add = (as_integers(elementwise(lambda v, k: v * (1 << k), a, shift)) for a in (scale, offset))
    return mul, add, shift


def powers_of_two(values: Exacts) -> bool:
    """True where every element, a positive integer, is a power of two."""
    return all(int(v) & (int(v) - 1) == 0 for v in values.reshape(-1))
