"""What the importer knows of an ONNX tensor: a constant, or an exact expression of integer tensors; and the Graph it builds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from gatewright.compiler.frontend.onnx_file import Node
from gatewright.errors import UserError
from gatewright.ir import expr as ex
from gatewright.ir.exact import Exacts, Number, Surd, abs_, as_integers, elementwise, exacts, inverse, unit
from gatewright.ir.fixed import MAX_WIDTH, Cast, FixedArray, Ints
from gatewright.ir.graph import Encoding, Graph, Meaning, Op, Output, typed
from gatewright.ir.ops import Combine, Input, Region, Reshape, Take, Transpose
from gatewright.ir.ops.region import exact_ends
from gatewright.ir.ops.shape import Move, taken
from gatewright.ir.uniform import compact

MAX_CONSTANT_BITS = 24
"""A weight matrix that needs wider integers than this has no quantiser."""
MAX_SCALED_BITS = 48
"""The same with the float scales of the tensor that it multiplies, one per channel, taken in."""
FUNCTION_STEP = Fraction(1, 1 << 16)
"""The default grid of an output that holds values of a real function."""
MAX_DEPTH = 100
"""Operations one on the other in an expression that no quantiser has closed yet."""
MAX_DATA = 1 << 24
"""Elements of one sample of a tensor."""
ANY_FLOAT = Fraction(2) ** 1024
"""Above every float64."""
QUANTISE_BEFORE = "Put a quantiser before this node, or give its operand a type: --tensor-type 'NAME=fixed<16,6,RND_CONV,SAT>'"
"""The remedy where an operand has no exact codes."""


class MissingType(UserError):
    """Nothing says how the real values of the input `tensor` become bits."""

    def __init__(self, tensor: str, node: str | None = None) -> None:
        self.tensor = tensor
        super().__init__(f"input '{tensor}' has no type: nothing in the model says how its real values become bits", node=node,
                         remedy="Give one, for example --input-type 'fixed<16,6>', or per input in a TOML file: "
                                f"[input.\"{tensor}\"] type = \"fixed<16,6>\"")


@dataclass(frozen=True, eq=False)
class Const:
    """A tensor known at compile time: exact values; `integer` where its ONNX type is an integer type."""

    value: Exacts
    integer: bool = False
    dtype: str = ""
    """The element type that the file stores, where it stores the tensor: "int8", "uint4", "float32", ..."""


@dataclass(frozen=True, eq=False)
class Data:
    """A tensor that depends on the inputs: an exact expression of leaves (indices into `Builder.leaves`).

    `shape` is the shape of one sample; `batched` says that the ONNX tensor has a leading batch dimension besides.
    """

    expr: ex.Expr
    shape: tuple[int, ...]
    batched: bool

    @property
    def rank(self) -> int:
        """Dimensions of the ONNX tensor."""
        return len(self.shape) + self.batched


Value = Const | Data


@dataclass(frozen=True, eq=False)
class Host:
    """A model input without a type: real values, outside the hardware, until a quantiser makes codes of them."""

    name: str
    input_shape: tuple[int, ...]
    index: Ints
    """Which element of the input each element of this tensor is."""
    moves: tuple[tuple[type[Op], dict[str, Any]], ...] = ()


@dataclass(frozen=True)
class Quantised:
    """A quantiser's result in the Graph: the model's code is `factor * code of tensor + shift`."""

    tensor: str
    factor: int
    shift: int


@dataclass
class Approximation:
    """A function of several inputs (Softmax, LayerNormalization) that a named integer algorithm of docs/exactness.md computes:
    with which parameters, and how close."""

    parameters: dict[str, Any]
    """What the algorithm needs besides the model: integers, and fractions as text."""
    error: Fraction
    """Less than this off the real value."""
    slope: Fraction = Fraction(0)
    """Steps of the finest quantiser behind it per unit of its value."""
    readers: list[str] = field(default_factory=list)
    """The ONNX tensors that these quantisers write, or outputs on a grid."""

    @property
    def text(self) -> str:
        return f"off by less than {_decimal(self.error)}, {_decimal(self.error * self.slope)} of a step of the quantiser behind it"


def _decimal(x: Fraction) -> str:
    return f"2^{x.numerator.bit_length() - x.denominator.bit_length()}" if x.numerator == 1 and not (
        x.denominator & (x.denominator - 1)) else f"{float(x):.3g}"


@dataclass
class Builder:
    """Collects the Graph's operations. One per import; the Graph that it returns is immutable."""

    name: str
    batch: int = 1
    """The baked-in batch size of the file, 1 where it is symbolic."""
    opset: int = 20
    """The version of ONNX's own operators."""
    slopes: Mapping[str, Fraction] = field(default_factory=dict)
    """Of every approximation, as an earlier import of the model found it."""
    approximations: dict[str, Approximation] = field(default_factory=dict)
    """By node."""
    approximated: dict[str, str] = field(default_factory=dict)
    """Graph tensors in which an approximation reaches its quantisers, and its node."""
    ops: list[Op] = field(default_factory=list)
    leaves: list[Op | Host] = field(default_factory=list)
    meanings: dict[str, Meaning] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    quantisers: dict[str, Quantised] = field(default_factory=dict)
    """Every quantiser of data, by ONNX tensor name."""
    names: set[str] = field(default_factory=set)

    # -- operations ------------------------------------------------------------------------------------------------

    def unique(self, name: str) -> str:
        """`name`, or with a suffix where a tensor of that name exists."""
        candidate, n = name, 1
        while candidate in self.names:
            n += 1
            candidate = f"{name}.{n}"
        self.names.add(candidate)
        return candidate

    def emit(self, op_class: type[Op], name: str, operands: Sequence[Op], node: str, scale: Exacts, offset: Exacts, /,
             **attributes: Any) -> ex.Leaf:
        """Adds an operation whose codes mean scale * code + offset; returns its leaf."""
        op = typed(op_class, self.unique(name), operands, node, frac=frac_of(scale), **attributes)
        if issubclass(op_class, Move):
            source = operands[0].name
            self.approximated |= {op.name: self.approximated[source]} if source in self.approximated else {}
        return self.append(op, scale, offset)

    def narrow(self, leaf: ex.Leaf, lo: int | None = None, hi: int | None = None) -> Op:
        """The newest tensor with bounds that are tighter than its operands' types show."""
        op = self.ops[-1]
        low = op.type.lo if lo is None else np.maximum(op.type.lo, lo)
        high = op.type.hi if hi is None else np.minimum(op.type.hi, hi)
        self.ops[-1] = self.leaves[leaf.index] = narrowed = replace(op, type=FixedArray(low, high, op.type.frac))
        return narrowed

    def append(self, op: Op, scale: Exacts, offset: Exacts) -> ex.Leaf:
        self.ops.append(op)
        self.meanings[op.name] = Meaning(scale, offset)
        self.leaves.append(op)
        return ex.Leaf(len(self.leaves) - 1)

    def shape_of(self, leaf: int) -> tuple[int, ...]:
        source = self.leaves[leaf]
        return source.index.shape if isinstance(source, Host) else source.type.shape

    # -- regions ---------------------------------------------------------------------------------------------------

    def region(self, expr: ex.Expr, shape: tuple[int, ...], name: str, node: str, scale: Exacts, offset: Exacts) -> ex.Leaf:
        """Emits an integer-valued expression as a tensor. A region of a typeless input becomes the input's encoding."""
        used = sorted(ex.leaves(expr))
        hosts = [source for i in used if isinstance(source := self.leaves[i], Host)]
        if hosts:
            if len(used) > 1 or shape != hosts[0].index.shape or any(op.name == hosts[0].name for op in self.ops):
                raise MissingType(hosts[0].name, node)
            return self._encoded_input(hosts[0], expr, used[0], name, node, scale, offset)
        operands = [self.operand(i) for i in used]
        local = ex.substitute(expr, {i: ex.Leaf(k) for k, i in enumerate(used)})
        for approximation in {self.approximated[o.name] for o in operands if o.name in self.approximated}:
            found = self.approximations[approximation]
            found.slope = max(found.slope, steepness(local, [exact_ends(o.type) for o in operands]))
            found.readers.append(name)
        if not used:
            raise UserError("its result does not depend on the model's inputs once types are known", node=node,
                            remedy="Remove the node from the model")
        simplified = ex.simplify(local, [exact_ends(o.type) for o in operands])
        return self.emit(Region, name, operands, node, scale, offset, expr=simplified, shape=shape)

    def operand(self, leaf: int) -> Op:
        source = self.leaves[leaf]
        if isinstance(source, Host):
            raise MissingType(source.name)
        return source

    def bounds(self, expr: ex.Expr) -> ex.Bounds:
        """The exact interval of an expression of the tensors."""
        types = {i: self.operand(i).type for i in ex.leaves(expr)}
        return ex.bounds(expr, [exact_ends(types[i]) if i in types else (ex.ZERO, ex.ZERO)
                                for i in range(max(types, default=-1) + 1)])

    def _encoded_input(self, host: Host, expr: ex.Expr, leaf: int, name: str, node: str, scale: Exacts,
                       offset: Exacts) -> ex.Leaf:
        """The input's port carries the quantiser's codes; shape operations before the quantiser come after the port."""
        if np.broadcast_shapes(host.index.shape, scale.shape, *ex.constant_shapes(expr)) != host.index.shape:
            raise MissingType(host.name, node)  # one input element would have several codes

        def to_input(a: Exacts) -> Exacts:
            if not a.shape:
                return a
            spread = np.empty(math.prod(host.input_shape), object)
            spread[host.index.reshape(-1)] = np.broadcast_to(a, host.index.shape).reshape(-1)
            return spread.reshape(host.input_shape)

        outside = ex.transform(expr, to_input, lambda _: ex.Leaf(0))
        # a real number, not a code: what holds for integer leaves only (ex.simplify) does not hold here
        ends = ex.bounds(outside, [(exacts(-ANY_FLOAT), exacts(ANY_FLOAT))])
        if not rounds(outside) or any(abs(v) >= 1 << MAX_WIDTH - 1 for b in ends for v in b.reshape(-1)):
            raise MissingType(host.name, node)
        lo, hi = (np.broadcast_to(as_integers(b).astype(np.int64), host.input_shape) for b in ends)
        op: Op = Input(name=self.unique(host.name), inputs=(), node=node, type=FixedArray(lo, hi, frac_of(scale)),
                       encoding=Encoding(outside))
        result = self.append(op, to_input(scale), to_input(offset))
        self.notes.append(f"Input '{host.name}' has no type, so its port carries the codes of the quantiser '{node}'; "
                          f"with --input-type the quantiser is built in hardware.")
        for move, attributes in host.moves:
            result = self.emit(move, name, [self.operand(result.index)], node, scale, offset, **attributes)
        return result

    # -- integer tensors -------------------------------------------------------------------------------------------

    def integer(self, data: Data, name: str, node: str) -> tuple[Op, Exacts, Exacts]:
        """The data as one integer tensor of its full shape, with the scale and offset that its codes mean."""
        term = single_leaf(data.expr)
        if term and self.shape_of(term[0].index) == data.shape:
            leaf, scale, offset = term
            return self.operand(leaf.index), scale, offset
        if term:  # broadcast only
            leaf, scale, offset = term
            ones = np.ones(data.shape, np.int64)
            spread = self.emit(Combine, name, [self.operand(leaf.index)], node, scale, offset,
                               scales=(ones,), offset=np.zeros((), np.int64))
            return self.operand(spread.index), scale, offset
        step = ex.unit_of_all(data.expr)
        if step is None and (names := self.functions(data.expr)):
            raise UserError(f"its operand holds values of {' and '.join(names)} that no quantiser follows, so it has "
                            "no exact integer codes", node=node, remedy=QUANTISE_BEFORE)
        if step is None:
            raise UserError("its operand is a sum of parts whose scales have no common unit, so it has no exact integer "
                            "codes", node=node, remedy=QUANTISE_BEFORE)
        scale = exacts(step)
        whole = ex.affine(data.expr, np.asarray(inverse(step), object))
        leaf = self.region(whole, data.shape, name, node, scale, ex.ZERO)
        return self.operand(leaf.index), scale, ex.ZERO

    def uniform(self, data: Data, axes: tuple[int, ...], name: str, node: str) -> tuple[Op, Exacts, Exacts]:
        """Like `integer`, with a scale that is the same along `axes` (so that codes can be added along them)."""
        op, scale, offset = self.integer(data, name, node)
        if same_along(scale, len(data.shape), axes):
            return op, scale, offset
        step = unit(scale)
        if step is None:
            raise UserError("its operand's elements have scales without a common unit, so they cannot be added exactly",
                            node=node, remedy="Quantise the operand with one scale per tensor")
        ratio = integer_constant(np.asarray(scale / step, object), "its operand's scales", node, MAX_SCALED_BITS)
        common = exacts(step)
        leaf = self.emit(Combine, name, [op], node, common, offset, scales=(ratio,), offset=np.zeros((), np.int64))
        return self.operand(leaf.index), common, offset

    def functions(self, expr: ex.Expr) -> list[str]:
        """The real functions in an expression, for messages: by their names, or by the node that they are computed for."""
        names = {"'" + self.approximated[s.name] + "'" for i in ex.leaves(expr)
                 if isinstance(s := self.leaves[i], Op) and s.name in self.approximated}
        return sorted(names or {"a division" if n == "reciprocal" else n for n in ex.functions(expr)})

    # -- shape -----------------------------------------------------------------------------------------------------

    def move(self, data: Data, op_class: type[Op], attributes: dict[str, Any], name: str, node: str,
             batched: bool) -> Data:
        """The data with its elements moved by a shape operation; commutes with everything element-wise."""
        data = self.full(data, name, node)

        def moved(a: Any) -> Any:
            if op_class is Reshape:
                return a.reshape(attributes["shape"])
            return taken(a, attributes["indices"], None) if op_class is Take else a.transpose(attributes["perm"])

        def constant(a: Exacts) -> Exacts:
            return compact(moved(np.broadcast_to(a, data.shape)))[0] if a.shape else a

        def leaf(old: ex.Leaf) -> ex.Expr:
            source = self.leaves[old.index]
            if isinstance(source, Host):
                if op_class is Take:
                    raise MissingType(source.name, node)
                self.leaves.append(replace(source, index=moved(source.index),
                                           moves=(*source.moves, (op_class, attributes))))
                return ex.Leaf(len(self.leaves) - 1)
            meaning = self.meanings[source.name]
            return self.emit(op_class, name, [source], node, constant(meaning.scale), constant(meaning.offset), **attributes)

        expr = ex.transform(data.expr, constant, leaf)
        return Data(expr, moved(np.broadcast_to(np.int64(0), data.shape)).shape, batched)

    def full(self, data: Data, name: str, node: str) -> Data:
        """The data with every leaf of its full shape: those that are broadcast are repeated."""
        def leaf(old: ex.Leaf) -> ex.Expr:
            shape = self.shape_of(old.index)
            if shape == data.shape:
                return old
            source = self.operand(old.index)
            meaning = self.meanings[source.name]
            aligned = (1,) * (len(data.shape) - len(shape)) + shape
            if aligned != shape:
                source = self.operand(self.emit(Reshape, name, [source], node, meaning.scale, meaning.offset,
                                                shape=aligned).index)
            indices = tuple(np.arange(n) if m == n else np.zeros(n, np.int64) for m, n in zip(aligned, data.shape, strict=True))
            return self.emit(Take, name, [source], node, meaning.scale, meaning.offset, indices=indices)

        if all(self.shape_of(i) == data.shape for i in ex.leaves(data.expr)):
            return data
        return replace(data, expr=ex.transform(data.expr, lambda a: a, leaf))

    def take(self, data: Data, indices: tuple[Ints, ...], value: Number, name: str, node: str) -> Data:
        """Elements by one vector of indices per axis of the sample; where an index is -1, the real number `value`."""
        check_data([len(i) for i in indices], node)
        if all((i >= 0).all() for i in indices):
            if all(len(i) == d and (i == np.arange(d)).all() for i, d in zip(indices, data.shape, strict=True)):
                return data
            return self.move(data, Take, {"indices": indices}, name, node, data.batched)
        data = self.full(data, name, node)
        inside = tuple(np.maximum(i, 0) for i in indices)
        kept = np.asarray(taken(np.ones(data.shape, np.int64), indices, 0), object)
        term = single_leaf(data.expr)
        code = np.asarray((value - term[2]) * elementwise(inverse, term[1]), object) if term and (term[1] != 0).all() else None
        fill = code.reshape(-1)[0] if code is not None and (code == code.reshape(-1)[0]).all() else None
        exact = fill is not None and not isinstance(fill, Surd) and fill.denominator == 1

        def constant(a: Exacts) -> Exacts:
            return compact(taken(np.broadcast_to(a, data.shape), inside, None))[0] if a.shape else a

        def leaf(old: ex.Leaf) -> ex.Expr:
            source = self.operand(old.index)
            meaning = self.meanings[source.name]
            return self.emit(Take, name, [source], node, constant(meaning.scale), constant(meaning.offset), indices=indices,
                             fill=int(fill) if fill is not None and exact else 0)

        expr = ex.transform(data.expr, constant, leaf)
        if not exact:  # no code means the value: it goes into the pending expression
            expr = ex.affine(expr, exacts(kept), np.asarray((1 - kept) * value, object))
        return Data(expr, tuple(len(i) for i in indices), data.batched)

    def leaf_of(self, op: Op) -> ex.Leaf:
        return ex.Leaf(next(i for i, source in enumerate(self.leaves) if source is op))

    def reshape(self, data: Data, full: tuple[int, ...], name: str, node: str) -> Data:
        """Reshape to a whole ONNX shape, batch included."""
        if full and full[0] == self.batch and data.batched:
            target, batched = full[1:], True
        elif self.batch == 1:
            target, batched = full, False
        else:
            raise across_batch(node, self.batch)
        if math.prod(target) != math.prod(data.shape):
            raise UserError(f"cannot reshape {list(data.shape)} (one sample) to {list(full)}", node=node,
                            remedy="Export the model with a symbolic batch dimension")
        if target == data.shape:
            return replace(data, batched=batched)
        return self.move(data, Reshape, {"shape": target}, name, node, batched)

    def transpose(self, data: Data, perm: tuple[int, ...], name: str, node: str) -> Data:
        """Permute the axes of the ONNX tensor."""
        if data.batched and perm[0] == 0:
            inner = tuple(p - 1 for p in perm[1:])
        else:
            data, inner = self.unbatch(data, name, node), perm
        if inner == tuple(range(len(inner))):
            return data
        return self.move(data, Transpose, {"perm": inner}, name, node, data.batched)

    def unbatch(self, data: Data, name: str, node: str) -> Data:
        """The data with its batch dimension of 1 as an ordinary dimension of the sample."""
        if not data.batched:
            return data
        if self.batch != 1:
            raise across_batch(node, self.batch)
        return self.move(data, Reshape, {"shape": (1, *data.shape)}, name, node, batched=False)

    def graph(self, outputs: Sequence[Output]) -> Graph:
        return Graph(self.name, tuple(self.ops), tuple(outputs), self.meanings)


def rounds(expr: ex.Expr) -> bool:
    """True where the expression is an integer for all real inputs, as far as its structure shows."""
    return ex.holds(expr, ex.Round)


def steepness(expr: ex.Expr, inputs: Sequence[ex.Bounds]) -> Fraction:
    """The largest slope of an expression in the quotients in it, for leaves within `inputs`. Functions of quotients, which no
    hardware form has, do not count."""
    def of(e: ex.Expr, inner: list[Fraction]) -> Fraction:
        if isinstance(e, ex.Affine):
            return max((magnitude(s) * k for (_, s), k in zip(e.terms, inner, strict=True)), default=Fraction(0))
        if isinstance(e, ex.Product):
            if isinstance(e.x, ex.Func) or isinstance(e.y, ex.Func):
                return Fraction(1)
            reach = [magnitude(*ex.bounds(f, inputs)) for f in (e.x, e.y)]
            return inner[0] * reach[1] + inner[1] * reach[0]
        return Fraction(0) if isinstance(e, ex.Leaf | ex.Func) else inner[0]

    found: Fraction = ex.fold(expr, of)
    return found


def magnitude(*arrays: Exacts) -> Fraction:
    """The largest absolute value, rounded up where it is irrational."""
    return max(Fraction(-math.floor(-v) if isinstance(v, Surd) else v) for a in arrays for v in (abs_(u) for u in a.reshape(-1)))


def single_leaf(expr: ex.Expr) -> tuple[ex.Leaf, Exacts, Exacts] | None:
    """(leaf, scale, offset) of an affine function of one leaf."""
    if isinstance(expr, ex.Leaf):
        return expr, ex.ONE, ex.ZERO
    if isinstance(expr, ex.Affine) and len(expr.terms) == 1 and isinstance(expr.terms[0][0], ex.Leaf):
        return expr.terms[0][0], expr.terms[0][1], expr.offset
    return None


def same_along(a: Exacts, rank: int, axes: tuple[int, ...]) -> bool:
    """True where an array that broadcasts to `rank` dimensions has the same elements all along `axes`."""
    own = [axis - (rank - a.ndim) for axis in axes]
    return all(axis < 0 or a.shape[axis] == 1 or bool((a == np.take(a, [0], axis=axis)).all()) for axis in own)


def cut(a: Exacts, rank: int, axes: tuple[int, ...]) -> Exacts:
    """An array that is the same along `axes` of `rank` dimensions, with length 1 there."""
    index = tuple(slice(0, 1) if k + rank - a.ndim in axes else slice(None) for k in range(a.ndim))
    return np.asarray(a[index], object)


def integer_constant(values: Exacts, what: str, node: str, bits: int = MAX_CONSTANT_BITS) -> Ints:
    """int64 of exact integers; refuses those that need more `bits`, as only an unquantised float can."""
    integers = as_integers(values)
    widest = max((abs(int(v)).bit_length() for v in integers.reshape(-1)), default=0)
    if widest > bits:
        raise UserError(f"{what} need {widest}-bit integers, so they have no quantiser (or one with an unusual scale)",
                        node=node, remedy="Quantise them in training (QKeras, Brevitas, HGQ), with a Quant node, or by a type: "
                                           "--tensor-type 'NAME=fixed<8,2,RND_CONV,SAT>'")
    return integers.astype(np.int64)


def frac_of(scale: Exacts) -> int:
    """k where the scale is 2**-k for every element, else 0."""
    first = scale.reshape(-1)[0] if scale.size else Fraction(1)
    if isinstance(first, Surd) or first <= 0 or (scale != first).any():
        return 0
    n, d = first.numerator, first.denominator
    if n & (n - 1) or d & (d - 1):
        return 0
    return d.bit_length() - n.bit_length()


def check_data(shape: Sequence[int], node: str) -> None:
    """Refuses a result that is too large, before any memory is taken."""
    if math.prod(shape) > MAX_DATA:
        raise UserError(f"its result of shape {list(shape)} has more than {MAX_DATA} elements per sample", node=node,
                        remedy="Export a smaller model")


def across_batch(node: str, batch: int) -> UserError:
    return UserError(f"it mixes samples of the batch of {batch} that the file bakes in", node=node,
                     remedy="Export the model with a symbolic batch dimension or a batch of 1")


def unsupported(node: Node, what: str, remedy: str) -> UserError:
    return UserError(f"{node.op_type} {what}", node=node.name, remedy=remedy)


Handler = Callable[[Builder, Node, list[Any]], Value | list[Value]]
"""Imports one node: operands (None where an optional one is absent) to results."""


def cast_expr(expr: ex.Expr, cast: Cast, rounding: str) -> ex.Expr:
    """Codes of a real expression on a grid: scale to the grid, round, and limit to the type's range."""
    t = cast.type
    grid = Fraction(2) ** t.frac
    rounded = ex.Round(ex.affine(expr, exacts(grid)), rounding)
    if cast.overflow == "WRAP":
        span = t.hi - t.lo + 1
        turns = ex.Round(ex.affine(rounded, exacts(Fraction(1, span)),
                                   exacts(Fraction(-t.lo, span))), "FLOOR")
        return ex.add([(rounded, ex.ONE), (turns, exacts(-span))])
    low = -t.hi if cast.overflow == "SAT_SYM" and t.signed else t.lo
    return ex.Clip(rounded, exacts(low), exacts(t.hi))
