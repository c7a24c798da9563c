"""The exact meaning of every ONNX operator that the judge knows, one function each: see `OPERATORS` and `CUSTOM`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import reduce
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from gatewright.errors import UserError
from gatewright.sim.judge import integers, tensor
from gatewright.sim.judge.integers import IntArray
from gatewright.sim.judge.numbers import FLOAT16, FLOAT32, FLOAT64, Number, Surd, nearest_float, square_root
from gatewright.sim.judge.tensor import Tensor


@dataclass
class Call:
    """One node with the values of its inputs. Operators fetch attributes with `attribute`; those left are refused."""

    node: onnx.NodeProto
    name: str
    opset: int
    batch: int | None
    """The batch that the file bakes in; the tensors here have 1 in its place."""
    inputs: list[Tensor | None]
    attributes: dict[str, Any] = field(init=False)
    codes: IntArray | None = None
    """What a quantiser rounded to."""
    before: Tensor | None = None
    """What it rounded: after scale and zero point, before clamp and rounding."""

    def __post_init__(self) -> None:
        self.attributes = {a.name: helper.get_attribute_value(a) for a in self.node.attribute}

    def attribute(self, name: str, default: Any = None) -> Any:
        return self.attributes.pop(name, default)

    def refuse(self, reason: str, remedy: str | None = None) -> UserError:
        return UserError(f"{self.node.op_type}: {reason}", node=self.name, remedy=remedy)

    def optional(self, index: int) -> Tensor | None:
        return self.inputs[index] if index < len(self.inputs) else None

    def input(self, index: int) -> Tensor:
        value = self.optional(index)
        if value is None:
            raise self.refuse(f"input {index} is missing")
        return value

    def integers(self, index: int) -> list[int] | None:
        """An optional constant integer input, flattened."""
        value = self.optional(index)
        return None if value is None else [int(v) for v in self.whole(value).ravel()]

    def whole(self, value: Tensor) -> IntArray:
        """A constant tensor of integers, without the sample axis."""
        if not value.constant:
            raise self.refuse("an input that must be constant depends on the data")
        return np.asarray(self.as_integers(value)[0])

    def as_integers(self, value: Tensor) -> IntArray:
        num = tensor.floor(value)
        if not tensor.subtract(value, tensor.on_grid(num, Fraction(1), value.constant)).is_zero:
            raise self.refuse("an input must hold integers")
        return num

    def axis(self, axis: int, rank: int) -> int:
        """Counted from 0 without the sample axis."""
        if not -rank <= axis < rank:
            raise self.refuse(f"axis {axis} does not exist in a tensor of {rank} dimensions")
        return axis % rank

    def axes(self, rank: int) -> list[int] | None:
        """From the attribute (older operator sets) or the second input."""
        axes = self.attribute("axes")
        axes = self.integers(1) if axes is None else axes
        return None if axes is None else [self.axis(int(a), rank) for a in axes]

    def check_broadcast(self, *tensors: Tensor) -> None:
        try:
            np.broadcast_shapes(*(t.dims for t in tensors))
        except ValueError:
            shapes = ", ".join(str(list(t.dims)) for t in tensors)
            raise self.refuse(f"the shapes {shapes} do not broadcast") from None


# ---- element-wise arithmetic

def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Call], Tensor]:
    def apply(call: Call) -> Tensor:
        a, b = call.input(0), call.input(1)
        call.check_broadcast(a, b)
        return function(a, b)
    return apply


def divide(call: Call) -> Tensor:
    a, b = call.input(0), call.input(1)
    call.check_broadcast(a, b)
    return tensor.multiply(a, _inverse(call, b))


def _inverse(call: Call, value: Tensor) -> Tensor:
    try:
        return tensor.invert(value)
    except ZeroDivisionError:
        raise call.refuse("division by zero") from None
    except ValueError as error:
        raise call.refuse(str(error)) from None


def relu(call: Call) -> Tensor:
    x = call.input(0)
    return tensor.masked(x, tensor.at_least_zero(x))


def absolute(call: Call) -> Tensor:
    x = call.input(0)
    return tensor.masked(x, 2 * tensor.at_least_zero(x) - 1)


def _larger(a: Tensor, b: Tensor) -> Tensor:
    return tensor.choose(tensor.at_least_zero(tensor.subtract(a, b)), a, b)


def _smaller(a: Tensor, b: Tensor) -> Tensor:
    return tensor.choose(tensor.at_least_zero(tensor.subtract(b, a)), a, b)


def _extreme(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Call], Tensor]:
    def apply(call: Call) -> Tensor:
        operands = [call.input(i) for i in range(len(call.inputs))]
        call.check_broadcast(*operands)
        return reduce(function, operands)
    return apply


def clip(call: Call) -> Tensor:
    """Bounds are attributes up to operator set 10, optional inputs since; the upper one wins where they cross."""
    x, bounds = call.input(0), []
    for index, name in ((1, "min"), (2, "max")):
        value = call.attribute(name)
        bounds.append(call.optional(index) if value is None else tensor.of_array(np.array([value]), True))
    low, high = bounds
    call.check_broadcast(x, *(b for b in bounds if b is not None))
    x = x if low is None else _larger(x, low)
    return x if high is None else _smaller(x, high)


def power(call: Call) -> Tensor:
    """Constant exponents that are multiples of 1/2; one exponent for the whole tensor."""
    x, exponent = call.input(0), call.input(1)
    distinct = set(exponent.values.flat) if exponent.constant and exponent.grid is not None else set()
    if len(distinct) != 1 or next(iter(distinct)).denominator > 2:
        raise call.refuse("the exponent must be one constant, an integer or an integer plus a half")
    call.check_broadcast(x, exponent)
    x, shape = tensor.lift(x, max(x.rank, exponent.rank)), exponent.dims
    x = tensor.restructure(x, lambda a: np.broadcast_to(a, (a.shape[0], *np.broadcast_shapes(a.shape[1:], shape))))
    halves = int(2 * distinct.pop())
    base = _root(call, x) if halves % 2 else x
    count = abs(halves) if halves % 2 else abs(halves) // 2
    nothing = tensor.masked(x, integers.whole(0, x.rank + 1))
    result = reduce(tensor.multiply, [base] * count) if count else tensor.plus_number(nothing, 1)
    return _inverse(call, result) if halves < 0 else result


def square_roots(call: Call) -> Tensor:
    return _root(call, call.input(0))


def _root(call: Call, x: Tensor) -> Tensor:
    def root(value: Number) -> Number:
        if isinstance(value, Surd):
            raise call.refuse("the root of a value that is itself irrational has no exact form here")
        return square_root(value)
    try:
        return tensor.each(root, x)
    except ValueError as error:
        raise call.refuse(str(error)) from None


# ---- sums of products

def matmul(call: Call) -> Tensor:
    return _product(call, call.input(0), call.input(1))


def _product(call: Call, a: Tensor, b: Tensor) -> Tensor:
    """numpy's rules: a vector on the left is a row, on the right a column, and its axis goes away again."""
    if min(a.rank, b.rank) == 0 or a.dims[-1] != b.dims[-2 if b.rank > 1 else -1]:
        raise call.refuse(f"the shapes {list(a.dims)} and {list(b.dims)} do not multiply")
    row, column = a.rank == 1, b.rank == 1
    a = tensor.restructure(a, lambda x: x[:, None, :]) if row else a
    b = tensor.restructure(b, lambda x: x[:, :, None]) if column else b
    rank = max(a.rank, b.rank)
    result = tensor.matmul(tensor.lift(a, rank), tensor.lift(b, rank))
    if row or column:
        gone = [axis for axis, vector in ((-2, row), (-1, column)) if vector]
        result = tensor.restructure(result, lambda x: np.squeeze(x, axis=tuple(gone)))
    return result


def gemm(call: Call) -> Tensor:
    a, b, c = call.input(0), call.input(1), call.optional(2)
    if call.opset < 7:
        call.attribute("broadcast")
    if a.rank != 2 or b.rank != 2:
        raise call.refuse(f"the shapes {list(a.dims)} and {list(b.dims)} are not those of matrices")
    a, b = (tensor.restructure(x, lambda v: np.swapaxes(v, 1, 2)) if call.attribute(name, 0) else x
            for name, x in (("transA", a), ("transB", b)))
    result = tensor.by_number(_product(call, a, b), Fraction(call.attribute("alpha", 1.0)))
    beta = Fraction(call.attribute("beta", 1.0))
    if c is None:
        return result
    call.check_broadcast(result, c)
    return tensor.add(result, tensor.by_number(c, beta))


def reduce_sum(call: Call) -> Tensor:
    x, keep = call.input(0), call.attribute("keepdims", 1)
    axes, nothing = call.axes(x.rank), call.attribute("noop_with_empty_axes", 0)
    if not axes:
        if nothing:
            return x
        axes = list(range(x.rank))
    counted = tuple(axis + 1 for axis in axes)
    result = tensor.total(x, counted) if counted else x
    return result if keep else tensor.restructure(result, lambda v: np.squeeze(v, axis=counted))


def batch_normalization(call: Call) -> Tensor:
    """`gain * (x - mean) / sqrt(var + epsilon) + bias` per channel (axis 1), as `x * a + (bias - mean * a)`."""
    x = call.input(0)
    epsilon = Fraction(call.attribute("epsilon", 9.999999747378752e-06))  # the default, 1e-5, as the float32 that it is
    call.attribute("momentum")
    inference = call.attribute("is_test", 0) if call.opset < 7 else not call.attribute("training_mode", 0)
    if not inference or not call.attribute("spatial", 1) or any(call.node.output[1:]):
        raise call.refuse("only inference with statistics per channel is known", "Export the model in evaluation mode")
    if x.rank < 2:
        raise call.refuse(f"the shape {list(x.dims)} has no channel axis")
    parameters = [call.input(index) for index in range(1, 5)]
    if any(p.dims != (x.dims[1],) for p in parameters):
        shapes = ", ".join(str(list(p.dims)) for p in parameters)
        raise call.refuse(f"the parameters have shapes {shapes}, but there are {x.dims[1]} channels")
    dims = (1, x.dims[1], *(1,) * (x.rank - 2))
    gain, bias, mean, variance = (tensor.restructure(p, lambda v: v.reshape(v.shape[0], *dims)) for p in parameters)
    deviation = _root(call, tensor.plus_number(variance, epsilon))
    factor = tensor.multiply(gain, _inverse(call, deviation))
    return tensor.add(tensor.multiply(x, factor), tensor.subtract(bias, tensor.multiply(mean, factor)))


# ---- rounding

Rounding = Callable[[Tensor], IntArray]


def _halves_to_even(x: Tensor) -> IntArray:
    up = tensor.floor(tensor.plus_number(x, Fraction(1, 2)))
    down = tensor.ceil(tensor.plus_number(x, Fraction(-1, 2)))  # differs from `up` at a tie, and there only
    return np.where(up % 2 == 0, up, down)


def _half_up(x: Tensor) -> IntArray:
    return tensor.floor(tensor.plus_number(x, Fraction(1, 2)))


def _half_down(x: Tensor) -> IntArray:
    return tensor.ceil(tensor.plus_number(x, Fraction(-1, 2)))


def _by_sign(positive: Rounding, negative: Rounding) -> Rounding:
    return lambda x: np.where(tensor.floor(x) >= 0, positive(x), negative(x))


ROUNDING: dict[str, Rounding] = {
    "ROUND": _halves_to_even,
    "HALF_EVEN": _halves_to_even,
    "FLOOR": tensor.floor,
    "CEIL": tensor.ceil,
    "UP": _by_sign(tensor.ceil, tensor.floor),  # away from zero
    "DOWN": _by_sign(tensor.floor, tensor.ceil),  # towards zero
    "HALF_UP": _by_sign(_half_up, _half_down),  # halves away from zero
    "HALF_DOWN": _by_sign(_half_down, _half_up),  # halves towards zero
}
"""QONNX's rounding modes. All keep order and integers, so a clamp to integers gives the same after as before."""


def _rounded(function: Rounding) -> Callable[[Call], Tensor]:
    def apply(call: Call) -> Tensor:
        call.before = call.input(0)
        call.codes = function(call.before)
        return tensor.on_grid(call.codes, Fraction(1), call.before.constant)
    return apply


def quant(call: Call) -> Tensor:
    """QONNX Quant: `(round(clamp(x / scale + zero point)) - zero point) * scale`; one signed bit means +1 and -1."""
    x, scale, zero = call.input(0), call.input(1), call.input(2)
    width = call.integers(3)
    if width is None or len(width) != 1 or width[0] < 1:
        raise call.refuse("the bit width must be one positive integer")
    bits, signed, narrow = width[0], bool(call.attribute("signed", 1)), bool(call.attribute("narrow", 0))
    mode = call.attribute("rounding_mode", b"ROUND").decode().upper()
    if mode not in ROUNDING:
        raise call.refuse(f"'{mode}' is no rounding mode", f"There are {', '.join(ROUNDING)}")
    call.check_broadcast(x, scale, zero)
    before = tensor.multiply(x, _inverse(call, scale))
    if not (zero.is_zero and prod(zero.dims) == 1):
        before = tensor.add(before, zero)
    if signed and bits == 1:
        codes = 2 * tensor.at_least_zero(before) - 1
    else:
        low, high = quant_range(bits, signed, narrow)
        codes = integers.clip(ROUNDING[mode](before), low, high)
    call.before, call.codes = before, codes
    return tensor.multiply(tensor.subtract(tensor.on_grid(call.codes, Fraction(1), before.constant), zero), scale)


def quant_range(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    """The smallest and the largest code."""
    if signed:
        return -(1 << bits - 1) + narrow, (1 << bits - 1) - 1
    return 0, (1 << bits) - 1 - narrow


def bipolar_quant(call: Call) -> Tensor:
    """QONNX BipolarQuant: the scale where x >= 0, else minus the scale."""
    x, scale = call.input(0), call.input(1)
    call.check_broadcast(x, scale)
    call.before, call.codes = x, 2 * tensor.at_least_zero(x) - 1
    return tensor.multiply(tensor.on_grid(call.codes, Fraction(1), x.constant), scale)


_FLOATS = {onnx.TensorProto.DOUBLE: FLOAT64, onnx.TensorProto.FLOAT: FLOAT32, onnx.TensorProto.FLOAT16: FLOAT16}
_INTEGERS = {getattr(onnx.TensorProto, f"{sign}INT{bits}"): quant_range(bits, not sign, False)
             for sign in ("", "U") for bits in (8, 16, 32, 64)}


def cast(call: Call) -> Tensor:
    """To integers: towards zero. To a float type: only values that it holds; a cast that would round is refused."""
    x, to = call.input(0), call.attribute("to")
    call.attribute("saturate")  # concerns 8-bit floats only
    if to in _FLOATS:
        if not _representable(x, _FLOATS[to]):
            raise call.refuse(f"a value does not fit into {onnx.TensorProto.DataType.Name(to)} without rounding",
                              "Quantise before the cast, or cast to a wider type")
        return x
    if to not in _INTEGERS:
        raise call.refuse(f"the type {onnx.TensorProto.DataType.Name(to)} is not known")
    codes, (low, high) = ROUNDING["DOWN"](x), _INTEGERS[to]
    if codes.size and not low <= int(codes.min()) <= int(codes.max()) <= high:
        raise call.refuse(f"a value is too large for {onnx.TensorProto.DataType.Name(to)}")
    return tensor.on_grid(integers.settle(codes), Fraction(1), x.constant)


def _representable(x: Tensor, float_format: tuple[int, int, int]) -> bool:
    bits, lowest, top = float_format
    if x.grid is None:
        return False
    num, scale = x.grid
    places = scale.denominator.bit_length() - 1
    on_binary_grid = scale.denominator == 1 << places and places <= -lowest
    if on_binary_grid and integers.span(num) * scale.numerator < 1 << min(bits, top):
        return True
    return all(Fraction(nearest_float(v, *float_format)) == v for v in set(x.values.flat))


# ---- shape

def identity(call: Call) -> Tensor:
    return call.input(0)


def flatten(call: Call) -> Tensor:
    x, axis = call.input(0), call.attribute("axis", 1)
    axis = axis if axis == x.rank else call.axis(axis, x.rank)
    return tensor.restructure(x, lambda v: v.reshape(v.shape[0], prod(x.dims[:axis]), prod(x.dims[axis:])))


def reshape(call: Call) -> Tensor:
    x, given = call.input(0), call.attribute("shape")
    wanted = list(given) if given is not None else call.integers(1)
    if wanted is None:
        raise call.refuse("the new shape is missing")
    if not call.attribute("allowzero", 0):
        wanted = [x.dims[i] if n == 0 and i < x.rank else n for i, n in enumerate(wanted)]
    if not x.constant and call.batch and x.dims[:1] == (1,) and wanted[:1] == [call.batch]:
        wanted[0] = 1  # it keeps the batch, whatever that is
    known = prod(n for n in wanted if n != -1)
    if -1 in wanted and known:
        wanted[wanted.index(-1)] = prod(x.dims) // known
    if min(wanted, default=0) < 0 or prod(wanted) != prod(x.dims):
        raise call.refuse(f"the shape {list(x.dims)} cannot become {wanted}")
    return tensor.restructure(x, lambda v: v.reshape(v.shape[0], *wanted))


def squeeze(call: Call) -> Tensor:
    x = call.input(0)
    axes = call.axes(x.rank)
    axes = [i for i, n in enumerate(x.dims) if n == 1] if axes is None else axes
    if any(x.dims[axis] != 1 for axis in axes):
        raise call.refuse(f"the axes {axes} of {list(x.dims)} are not all of length 1")
    return tensor.restructure(x, lambda v: np.squeeze(v, axis=tuple(axis + 1 for axis in axes)))


def unsqueeze(call: Call) -> Tensor:
    x, given = call.input(0), call.attribute("axes")
    given = call.integers(1) if given is None else given
    if given is None:
        raise call.refuse("the axes are missing")
    rank = x.rank + len(given)
    axes = {call.axis(int(a), rank) for a in given}
    if len(axes) != len(given):
        raise call.refuse(f"the axes {list(given)} repeat")
    rest = iter(x.dims)
    dims = [1 if axis in axes else next(rest) for axis in range(rank)]
    return tensor.restructure(x, lambda v: v.reshape(v.shape[0], *dims))


def transpose(call: Call) -> Tensor:
    x = call.input(0)
    order = list(call.attribute("perm", range(x.rank)[::-1]))
    if sorted(order) != list(range(x.rank)):
        raise call.refuse(f"{order} is no order of {x.rank} axes")
    return tensor.restructure(x, lambda v: np.transpose(v, (0, *(axis + 1 for axis in order))))


def shape(call: Call) -> Tensor:
    dims = call.input(0).dims
    start, end = call.attribute("start", 0), call.attribute("end", len(dims))
    return tensor.of_array(np.array([dims[start:end]], np.int64), True)


def constant(call: Call) -> Tensor:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        value = call.attribute(name)
        if value is not None:
            array = numpy_helper.to_array(value) if name == "value" else np.asarray(value)
            return from_initializer(array, call.node.output[0], call.name)
    raise call.refuse("there is no value")


def from_initializer(array: NDArray[Any], name: str, node: str | None = None) -> Tensor:
    """A constant tensor from the array in the file. UserError for NaN, infinity and types that are no numbers."""
    if array.dtype.kind not in "iubf":  # bfloat16, 8-bit floats and 4-bit integers come as types of their own
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise UserError(f"the constant '{name}' holds no numbers but {array.dtype}", node=node) from None
    try:
        return tensor.of_array(array[None], True)
    except ValueError as error:
        raise UserError(f"the constant '{name}' contains {error}", node=node) from None


def gather(call: Call) -> Tensor:
    """Constant indices into anything, or computed indices into a constant (a table)."""
    data, where = call.input(0), call.input(1)
    axis = call.axis(call.attribute("axis", 0), data.rank)
    if not data.constant and not where.constant:
        raise call.refuse("neither the data nor the indices are constant")
    index, count = call.as_integers(where), data.dims[axis]
    if index.size and not -count <= int(index.min()) <= int(index.max()) < count:
        raise call.refuse(f"an index is outside of the {count} elements of axis {axis}")
    if where.constant:
        return tensor.restructure(data, lambda v: np.take(v, index[0], axis=axis + 1))
    if data.grid is None:
        values = np.moveaxis(np.take(data.values[0], index, axis=axis), axis, 0)
        return tensor.of_values(values, False)
    num, unit = data.grid
    return tensor.on_grid(np.moveaxis(np.take(num[0], index, axis=axis), axis, 0), unit, False)


def concat(call: Call) -> Tensor:
    parts = [call.input(i) for i in range(len(call.inputs))]
    axis = call.axis(call.attribute("axis", 1), parts[0].rank)
    if len({(*p.dims[:axis], *p.dims[axis + 1:]) for p in parts}) != 1 or any(p.rank != parts[0].rank for p in parts):
        shapes = ", ".join(str(list(p.dims)) for p in parts)
        raise call.refuse(f"the shapes {shapes} cannot be joined along axis {axis}")
    return tensor.concatenate(parts, axis + 1)


OPERATORS: dict[str, Callable[[Call], Tensor]] = {
    "Add": _binary(tensor.add), "Sub": _binary(tensor.subtract), "Mul": _binary(tensor.multiply), "Div": divide,
    "Neg": lambda call: tensor.negate(call.input(0)), "Abs": absolute, "Relu": relu, "Clip": clip,
    "Max": _extreme(_larger), "Min": _extreme(_smaller), "Pow": power, "Sqrt": square_roots,
    "MatMul": matmul, "Gemm": gemm, "ReduceSum": reduce_sum, "BatchNormalization": batch_normalization,
    "Floor": _rounded(tensor.floor), "Ceil": _rounded(tensor.ceil), "Round": _rounded(_halves_to_even), "Cast": cast,
    "Identity": identity, "Flatten": flatten, "Reshape": reshape, "Squeeze": squeeze, "Unsqueeze": unsqueeze,
    "Transpose": transpose, "Shape": shape, "Constant": constant, "Gather": gather, "Concat": concat,
}
"""The operators of ONNX itself."""

CUSTOM: dict[str, Callable[[Call], Tensor]] = {"Quant": quant, "IntQuant": quant, "BipolarQuant": bipolar_quant}
CUSTOM_DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
"""QONNX's operators and the domains that they come in."""
