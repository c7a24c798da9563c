"""ONNX's own operators for dense networks. One function a node type, listed in HANDLERS at the end.

A handler takes constants and data alike: constants fold exactly, data become exact expressions or Graph operations.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from gatewright.compiler.frontend.onnx_file import Node
from gatewright.compiler.frontend.values import (
    MAX_SCALED_BITS,
    Builder,
    Const,
    Data,
    Handler,
    Quantised,
    Value,
    across_batch,
    integer_constant,
    unsupported,
)
from gatewright.errors import UserError
from gatewright.ir import expr as ex
from gatewright.ir.exact import ROUND_NUMBER, Exacts, Surd, elementwise, exacts, inverse, sqrt, unit
from gatewright.ir.ops import Dense, Multiply, ReduceSum

NO_DIVISION = "Divide by a constant, or multiply by the reciprocal"


def aligned(const: Const, data: Data, node: Node) -> Exacts:
    """The constant's array against one sample of the data: a leading batch dimension of 1 is dropped."""
    a = const.value
    if a.ndim == data.rank and data.batched and a.ndim:
        if a.shape[0] != 1:
            raise unsupported(node, f"has a constant of shape {list(a.shape)} with values per sample of the batch",
                              "Export the model with batch-independent constants")
        a = a.reshape(a.shape[1:])
    if a.ndim > len(data.shape) and all(d == 1 for d in a.shape[:a.ndim - len(data.shape)]):
        a = a.reshape(a.shape[a.ndim - len(data.shape):])
    return a.reshape(()) if a.size == 1 else a


def broadcast(node: Node, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise unsupported(node, f"has operands of shapes {[list(s) for s in shapes]}, which do not broadcast",
                          "Export the model again") from None


def together(b: Builder, node: Node, x: Data, y: Data) -> tuple[Data, Data]:
    """Two data operands with the same idea of the batch dimension."""
    if x.batched != y.batched:
        x, y = b.unbatch(x, node.outputs[0], node.name), b.unbatch(y, node.outputs[0], node.name)
    return x, y


# -- element-wise --------------------------------------------------------------------------------------------------------


def linear(b: Builder, node: Node, inputs: list[Any], sign: int) -> Value:
    """Add and Sub."""
    x, y = inputs
    if isinstance(x, Const) and isinstance(y, Const):
        return Const(np.asarray(x.value + sign * y.value, object), x.integer and y.integer)
    if isinstance(x, Const) or isinstance(y, Const):
        data, const = (y, x) if isinstance(x, Const) else (x, y)
        a = aligned(const, data, node)
        shape = broadcast(node, data.shape, a.shape)
        if data is x:
            return Data(ex.affine(data.expr, ex.ONE, np.asarray(sign * a, object)), shape, data.batched)
        return Data(ex.affine(data.expr, exacts(sign), a), shape, data.batched)
    x, y = together(b, node, x, y)
    return Data(ex.add([(x.expr, ex.ONE), (y.expr, exacts(sign))]), broadcast(node, x.shape, y.shape), x.batched)


def scaled(data: Data, factor: Exacts, node: Node) -> Data:
    return Data(ex.affine(data.expr, factor), broadcast(node, data.shape, factor.shape), data.batched)


def mul(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, y = inputs
    if isinstance(x, Const) and isinstance(y, Const):
        return Const(np.asarray(x.value * y.value, object), x.integer and y.integer)
    if isinstance(x, Const):
        return scaled(y, aligned(x, y, node), node)
    if isinstance(y, Const):
        return scaled(x, aligned(y, x, node), node)
    return product(b, node, x, y)


def product(b: Builder, node: Node, x: Data, y: Data) -> Data:
    """Two tensors: (s c + o)(t d + p) = s t (c d) + s p c + t o d + o p, with the integer product c d."""
    name, shape = node.outputs[0], broadcast(node, x.shape, y.shape)
    x, y = together(b, node, x, y)
    (c, s, o), (d, t, p) = b.integer(x, name + ".a", node.name), b.integer(y, name + ".b", node.name)
    st, op = np.asarray(s * t, object), np.asarray(o * p, object)
    both = b.emit(Multiply, name, [c, d], node.name, st, ex.ZERO)
    terms = [(both, st), (b.leaf_of(c), np.asarray(s * p, object)), (b.leaf_of(d), np.asarray(t * o, object))]
    return Data(ex.add(terms, op), shape, x.batched)


def div(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, y = inputs
    if not isinstance(y, Const):
        raise unsupported(node, "by a tensor is not supported", NO_DIVISION)
    if (y.value == 0).any():
        raise unsupported(node, "divides by zero", "Mend the constant")
    if isinstance(x, Const):
        if x.integer and y.integer:  # ONNX integer division truncates
            return Const(elementwise(lambda p, q: Fraction(ROUND_NUMBER["DOWN"](p / q)), x.value, y.value), True)
        return Const(np.asarray(x.value * elementwise(inverse, y.value), object))
    return scaled(x, elementwise(inverse, aligned(y, x, node)), node)


def neg(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, = inputs
    return Const(np.asarray(-x.value, object), x.integer) if isinstance(x, Const) else scaled(x, exacts(-1), node)


def power(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, y = inputs
    if isinstance(x, Const) and isinstance(y, Const):
        return Const(elementwise(lambda p, q: exact_power(p, q, node), x.value, y.value), x.integer and y.integer)
    if isinstance(x, Data) and isinstance(y, Const) and (y.value == 2).all():
        return product(b, node, x, x)
    raise unsupported(node, "is supported for constants and as the square of a tensor", "Replace it by products")


def exact_power(base: Any, exponent: Any, node: Node) -> Any:
    if exponent == Fraction(1, 2):
        return exact_sqrt(base, node)
    if exponent.denominator != 1 or abs(exponent) > 64:
        raise unsupported(node, f"with the exponent {exponent} has no exact value", "Use an integer or 0.5 as exponent")
    result: Any = Fraction(1)
    for _ in range(abs(exponent.numerator)):
        result = result * base
    return result if exponent >= 0 else inverse(result)


def exact_sqrt(x: Any, node: Node) -> Any:
    if isinstance(x, Surd) or x < 0:
        raise unsupported(node, f"of {x} has no exact value", "Take the root of a non-negative rational constant")
    return sqrt(x)


def square_root(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, = inputs
    if not isinstance(x, Const):
        raise unsupported(node, "of a tensor is not supported", "Replace it by a quantised table of its values")
    return Const(elementwise(lambda v: exact_sqrt(v, node), x.value))


def limit(b: Builder, node: Node, x: Any, lo: Exacts | None, hi: Exacts | None) -> Value:
    if isinstance(x, Const):
        v = x.value if lo is None else np.asarray(np.maximum(x.value, lo), object)
        return Const(v if hi is None else np.asarray(np.minimum(v, hi), object), x.integer)
    return Data(ex.Clip(x.expr, lo, hi), x.shape, x.batched)


def clip(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x = inputs[0]
    given = [*inputs[1:], None, None][:2]
    ends: list[Exacts | None] = []
    for name, value in zip(("min", "max"), given, strict=True):
        if value is None and name in node.attributes:
            value = Const(exacts(node.attributes[name]))
        if value is not None and (not isinstance(value, Const) or value.value.size != 1):
            raise unsupported(node, "needs constant scalar bounds", "Use constants for min and max")
        ends.append(None if value is None else value.value.reshape(()))
    lo, hi = ends
    if lo is not None and hi is not None and (lo > hi).all():  # ONNX: the upper bound wins
        lo = hi
    return limit(b, node, x, lo, hi)


def extremum(b: Builder, node: Node, inputs: list[Any], largest: bool) -> Value:
    """Max and Min of one tensor with constants."""
    data = [v for v in inputs if isinstance(v, Data)]
    if len(data) > 1:
        raise unsupported(node, "of several tensors is not supported", "Compare with constants only")
    combine = np.maximum if largest else np.minimum
    x = data[0] if data else inputs[0]
    for value in inputs:
        if value is x:
            continue
        a = value.value if isinstance(x, Const) else aligned(value, x, node)
        if isinstance(x, Const):
            x = Const(np.asarray(combine(x.value, a), object), x.integer)
        else:
            x = Data(ex.Clip(x.expr, a if largest else None, None if largest else a),
                     broadcast(node, x.shape, a.shape), x.batched)
    return x


def relu(b: Builder, node: Node, inputs: list[Any]) -> Value:
    return limit(b, node, inputs[0], ex.ZERO, None)


def rounding(b: Builder, node: Node, inputs: list[Any], mode: str) -> Value:
    """Floor, Ceil, Round: integers, so a tensor of their own."""
    x, = inputs
    if isinstance(x, Const):
        return Const(elementwise(lambda v: Fraction(ROUND_NUMBER[mode](v)), x.value), x.integer)
    leaf = b.region(ex.Round(x.expr, mode), x.shape, node.outputs[0], node.name, ex.ONE, ex.ZERO)
    b.quantisers[node.outputs[0]] = Quantised(b.operand(leaf.index).name, 1, 0)
    return Data(leaf, x.shape, x.batched)


def batch_normalization(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, *constants = inputs
    if node.attributes.get("training_mode", 0) or len(node.outputs) > 1:
        raise unsupported(node, "is in training mode", "Export the model for inference (model.eval())")
    if not isinstance(x, Data) or not all(isinstance(c, Const) for c in constants) or len(constants) != 4:
        raise unsupported(node, "needs constant parameters", "Export the model for inference")
    gamma, beta, mean, var = (c.value for c in constants)
    epsilon = Fraction(float(np.float32(node.attributes.get("epsilon", 1e-5))))
    if x.rank < 2:
        raise unsupported(node, f"needs a channel axis, its operand has rank {x.rank}", "Export the model again")
    if (np.asarray(var + epsilon, object) <= 0).any():
        raise unsupported(node, "has a channel whose variance plus epsilon is not positive", "Mend the parameters")
    factor = np.asarray(gamma * elementwise(lambda v: inverse(sqrt(v + epsilon)), var), object)
    shift = np.asarray(beta - mean * factor, object)
    trailing = (1,) * (x.rank - 2)
    factor, shift = (a.reshape(-1, *trailing) if a.size > 1 else a.reshape(()) for a in (factor, shift))
    return Data(ex.affine(x.expr, factor, shift), broadcast(node, x.shape, factor.shape), x.batched)


# -- sums of products ----------------------------------------------------------------------------------------------------


def matmul(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, y = inputs
    if isinstance(x, Const) and isinstance(y, Const):
        return Const(np.asarray(x.value @ y.value, object))
    if isinstance(x, Data) and isinstance(y, Const):
        return dense(b, node, x, y.value)
    if isinstance(x, Const) and isinstance(y, Data):
        return left_dense(b, node, x.value, y)
    raise unsupported(node, "of two tensors is not supported", "Give one operand as a constant")


def dense(b: Builder, node: Node, x: Data, w: Exacts) -> Data:
    """x @ w over the last axis: integer weights from the exact product of x's scale and w, one unit per column if need be."""
    name = node.outputs[0]
    if w.ndim == 1:
        y = dense(b, node, x, w.reshape(-1, 1))
        return b.reshape(y, ((b.batch,) if y.batched else ()) + y.shape[:-1], name, node.name)
    if w.ndim != 2 or not x.shape or x.shape[-1] != w.shape[0]:
        raise unsupported(node, f"has operands of shapes {list(x.shape)} (one sample) and {list(w.shape)}",
                          "Use a constant matrix whose rows match the tensor's last axis")
    leading = tuple(range(len(x.shape) - 1))
    op, s, o = b.uniform(x, leading, name + ".x", node.name) if leading else b.integer(x, name + ".x", node.name)
    rows = np.broadcast_to(s, x.shape)[(0,) * len(leading)] if s.shape else s
    weights = np.asarray((rows[:, None] if rows.shape else rows) * w, object)
    scale = column_units(weights, node)
    integer_constant(np.asarray(w / column_units(w, node), object), "its weights", node.name)  # refuses float weights
    integers = integer_constant(np.asarray(weights / scale, object), "its weights, with its operand's scales,", node.name,
                                MAX_SCALED_BITS)
    offset = np.asarray(np.broadcast_to(o, x.shape) @ w, object) if (o != 0).any() else ex.ZERO
    bias = np.zeros(w.shape[1], np.int64)
    leaf = b.emit(Dense, name, [op], node.name, scale, ex.ZERO, weight=integers, bias=bias)
    return Data(ex.affine(leaf, scale, offset), (*x.shape[:-1], w.shape[1]), x.batched)


def column_units(weights: Exacts, node: Node) -> Exacts:
    """A unit for all weights where that costs no more than a few bits, else one per column."""
    columns = [unit(weights[:, j]) if (weights[:, j] != 0).any() else 0 for j in range(weights.shape[1])]
    used = [u for u in columns if u != 0]
    if any(u is None for u in used):
        raise unsupported(node, "has an operand whose elements have scales without a common unit (a batch normalisation "
                          "per input channel without a quantiser after it, for example)",
                          "Quantise the tensor before this node")
    common = unit(np.array([*used, None], object)[:-1])
    if common is not None and max((u / common for u in used if u is not None), default=1) <= 256:
        return exacts(common)
    return np.array([*(u or Fraction(1) for u in columns), None], object)[:-1]


def left_dense(b: Builder, node: Node, w: Exacts, x: Data) -> Data:
    """w @ x = transpose(transpose(x) @ transpose(w))."""
    name = node.outputs[0]
    if len(x.shape) == 1:
        x = b.unbatch(x, name, node.name)
    if len(x.shape) < 2 or w.ndim != 2:
        raise unsupported(node, f"has operands of shapes {list(w.shape)} and {list(x.shape)} (one sample)",
                          "Use a constant matrix")
    swap = (*range(x.rank - 2), x.rank - 1, x.rank - 2)
    flipped = b.transpose(x, swap, name + ".t", node.name)
    return b.transpose(dense(b, node, flipped, w.T), swap, name, node.name)


def gemm(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """alpha * A' @ B' + beta * C."""
    a, w, *rest = inputs
    alpha, beta = (exacts(node.attributes.get(k, 1.0)) for k in ("alpha", "beta"))

    def transposed(v: Value, flag: str) -> Value:
        if not node.attributes.get(flag, 0):
            return v
        return Const(v.value.T) if isinstance(v, Const) else b.transpose(v, (1, 0), node.outputs[0] + ".t", node.name)

    y = matmul(b, node, [transposed(a, "transA"), transposed(w, "transB")])
    y = mul(b, node, [y, Const(alpha)])
    if rest and rest[0] is not None and (beta != 0).any():
        y = linear(b, node, [y, mul(b, node, [rest[0], Const(beta)])], 1)
    return y


def reduce_sum(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x = inputs[0]
    axes = axes_of(node, inputs)
    keep = node.attributes.get("keepdims", 1)
    rank = x.value.ndim if isinstance(x, Const) else x.rank
    if axes is None:
        if node.attributes.get("noop_with_empty_axes", 0):
            return x  # type: ignore[no-any-return]
        axes = tuple(range(rank))
    axes = tuple(sorted(a % rank for a in axes))
    if isinstance(x, Const):
        return Const(np.asarray(x.value.sum(axis=axes, keepdims=bool(keep)), object), x.integer)
    if x.batched and 0 in axes:
        if b.batch != 1:
            raise across_batch(node.name, b.batch)
        x = b.unbatch(x, node.outputs[0], node.name)
    inner = tuple(a - x.batched for a in axes)
    op, s, o = b.uniform(x, inner, node.outputs[0] + ".x", node.name)
    total = np.asarray(np.broadcast_to(o, x.shape).sum(axis=inner, keepdims=bool(keep)), object)
    if s.shape:
        s = np.take(np.broadcast_to(s, x.shape), [0], axis=inner[0]) if len(inner) == 1 else s
        s = np.asarray(s if keep else np.squeeze(s, axis=inner), object)
    leaf = b.emit(ReduceSum, node.outputs[0], [op], node.name, s, ex.ZERO, axes=inner, keepdims=int(bool(keep)))
    return Data(ex.affine(leaf, s, total if (o != 0).any() else ex.ZERO), b.shape_of(leaf.index), x.batched)


# -- shape ---------------------------------------------------------------------------------------------------------------


def onnx_shape(b: Builder, x: Value) -> tuple[int, ...]:
    if isinstance(x, Const):
        return x.value.shape
    return ((b.batch,) if x.batched else ()) + x.shape


def integers(value: Value | None, node: Node, what: str) -> tuple[int, ...]:
    if not isinstance(value, Const):
        raise unsupported(node, f"needs {what} at compile time", "Export the model with constant shapes")
    return tuple(int(v) for v in value.value.reshape(-1))


def axes_of(node: Node, inputs: list[Any]) -> tuple[int, ...] | None:
    """`axes` as attribute (older opsets) or as second operand."""
    if "axes" in node.attributes:
        return tuple(node.attributes["axes"])
    return integers(inputs[1], node, "its axes") if len(inputs) > 1 and inputs[1] is not None else None


def reshaped(b: Builder, node: Node, x: Value, full: tuple[int, ...]) -> Value:
    if isinstance(x, Const):
        return Const(x.value.reshape(full), x.integer)
    return b.reshape(x, full, node.outputs[0], node.name)


def reshape(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x = inputs[0]
    target = (tuple(node.attributes["shape"]) if "shape" in node.attributes
              else integers(inputs[1], node, "its target shape"))
    old = onnx_shape(b, x)
    if not node.attributes.get("allowzero", 0):
        target = tuple(old[i] if d == 0 and i < len(old) else d for i, d in enumerate(target))
    known = math.prod(d for d in target if d != -1)
    if -1 in target and known and math.prod(old) % known == 0:
        target = tuple(math.prod(old) // known if d == -1 else d for d in target)
    if math.prod(target) != math.prod(old):
        raise unsupported(node, f"cannot turn the shape {list(old)} into {list(target)}",
                          "Export the model with a symbolic batch dimension or a batch of 1")
    return reshaped(b, node, x, target)


def flatten(b: Builder, node: Node, inputs: list[Any]) -> Value:
    old = onnx_shape(b, inputs[0])
    axis = node.attributes.get("axis", 1)
    axis = axis + len(old) if axis < 0 else axis
    return reshaped(b, node, inputs[0], (math.prod(old[:axis]), math.prod(old[axis:])))


def squeeze(b: Builder, node: Node, inputs: list[Any]) -> Value:
    old = onnx_shape(b, inputs[0])
    axes = axes_of(node, inputs)
    drop = {a % len(old) for a in axes} if axes is not None else {i for i, d in enumerate(old) if d == 1}
    if isinstance(inputs[0], Data) and inputs[0].batched and axes is None:
        drop.discard(0)
    return reshaped(b, node, inputs[0], tuple(d for i, d in enumerate(old) if i not in drop))


def unsqueeze(b: Builder, node: Node, inputs: list[Any]) -> Value:
    old = list(onnx_shape(b, inputs[0]))
    axes = axes_of(node, inputs) or ()
    rank = len(old) + len(axes)
    for a in sorted(a % rank for a in axes):
        old.insert(a, 1)
    return reshaped(b, node, inputs[0], tuple(old))


def transpose(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, = inputs
    rank = len(onnx_shape(b, x))
    perm = tuple(node.attributes.get("perm", reversed(range(rank))))
    if isinstance(x, Const):
        return Const(x.value.transpose(perm), x.integer)
    return b.transpose(x, perm, node.outputs[0], node.name)


def identity(b: Builder, node: Node, inputs: list[Any]) -> Value:
    return inputs[0]  # type: ignore[no-any-return]


# -- constants -----------------------------------------------------------------------------------------------------------


def constant(b: Builder, node: Node, inputs: list[Any]) -> Value:
    for key in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if key in node.attributes:
            array = np.asarray(node.attributes[key])
            return as_const(array, node.name)
    raise unsupported(node, "has no numeric value", "Export the model again")


def as_const(array: Any, what: str) -> Const:
    """Exact values of an ONNX tensor; refuses NaN and infinity, naming the node or initialiser."""
    try:
        return Const(exacts(array.astype(np.int64) if array.dtype.kind == "b" else array), array.dtype.kind in "iub")
    except ValueError:
        raise UserError("its value contains NaN or infinity", node=what, remedy="Mend the weights and export again") from None


def shape(b: Builder, node: Node, inputs: list[Any]) -> Value:
    return Const(exacts(np.array(onnx_shape(b, inputs[0]), np.int64)), True)


def gather(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, index = inputs
    if not isinstance(x, Const):
        raise unsupported(node, "from a tensor is not supported", "Use it on constants")
    where = np.array(elementwise(int, index.value), dtype=np.int64)
    return Const(np.asarray(np.take(x.value, where, axis=node.attributes.get("axis", 0)), object), x.integer)


def concat(b: Builder, node: Node, inputs: list[Any]) -> Value:
    if not all(isinstance(v, Const) for v in inputs):
        raise unsupported(node, "of tensors is not supported", "Use it on constants")
    return Const(np.concatenate([v.value for v in inputs], axis=node.attributes["axis"]), all(v.integer for v in inputs))


def cast(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """Constants only: to an integer type truncates, to a float type keeps what that type holds."""
    x, = inputs
    floats: dict[int, Any] = {1: np.float32, 10: np.float16, 11: np.float64}
    to = node.attributes["to"]
    if not isinstance(x, Const):
        raise unsupported(node, "of a tensor is not supported", "Remove it or use a quantiser")
    if to in floats:
        return Const(elementwise(lambda v: Fraction(float(floats[to](float(v)))), x.value))
    return Const(elementwise(lambda v: Fraction(ROUND_NUMBER["DOWN"](v)), x.value), True)


def softmax(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """Cut: the result stands for the logits. The importer has checked that only a model output uses it."""
    b.notes.append(f"The final Softmax '{node.name}' is cut: output '{node.outputs[0]}' carries the logits, whose order "
                   f"is the same.")
    return inputs[0]  # type: ignore[no-any-return]


HANDLERS: dict[str, Handler] = {
    "Add": lambda b, n, i: linear(b, n, i, 1),
    "Sub": lambda b, n, i: linear(b, n, i, -1),
    "Mul": mul,
    "Div": div,
    "Neg": neg,
    "Pow": power,
    "Sqrt": square_root,
    "Relu": relu,
    "Clip": clip,
    "Max": lambda b, n, i: extremum(b, n, i, True),
    "Min": lambda b, n, i: extremum(b, n, i, False),
    "Floor": lambda b, n, i: rounding(b, n, i, "FLOOR"),
    "Ceil": lambda b, n, i: rounding(b, n, i, "CEIL"),
    "Round": lambda b, n, i: rounding(b, n, i, "ROUND"),
    "BatchNormalization": batch_normalization,
    "MatMul": matmul,
    "Gemm": gemm,
    "ReduceSum": reduce_sum,
    "Reshape": reshape,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Transpose": transpose,
    "Identity": identity,
    "Dropout": identity,
    "Constant": constant,
    "Shape": shape,
    "Gather": gather,
    "Concat": concat,
    "Cast": cast,
    "Softmax": softmax,
}
