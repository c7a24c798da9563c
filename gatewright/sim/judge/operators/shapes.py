"""Shape and constants."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from gatewright.errors import UserError
from gatewright.sim.judge import tensor
from gatewright.sim.judge.numbers import ceil_of
from gatewright.sim.judge.operators.call import Call, lengthened, number
from gatewright.sim.judge.tensor import Tensor


def identity(call: Call) -> Tensor:
    return call.input(0)


def dropout(call: Call) -> Tensor:
    """Inference only: nothing is dropped."""
    for name in ("ratio", "seed", "is_test"):
        call.attribute(name)
    if any(call.node.output[1:]) or (len(call.inputs) > 2 and not call.input(2).is_zero):
        raise call.refuse("only inference is known", "Export the model in evaluation mode")
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
    call.type = onnx.TensorProto.INT64
    return tensor.of_array(np.array([dims[start:end]], np.int64), True)


def constant(call: Call) -> Tensor:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        value = call.attribute(name)
        if value is not None:
            array = numpy_helper.to_array(value) if name == "value" else np.asarray(value)
            call.type = value.data_type if name == "value" else getattr(onnx.TensorProto, "INT64" if "int" in name else "FLOAT")
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


def expand(call: Call) -> Tensor:
    x, wanted = call.input(0), call.integers(1)
    if wanted is None or min(wanted, default=0) < 0:
        raise call.refuse("the shape is missing or negative")
    call.check_broadcast(x, number(1, len(wanted)))
    try:
        return lengthened(x, tuple(wanted))
    except ValueError:
        raise call.refuse(f"the shape {list(x.dims)} does not broadcast to {wanted}") from None


def tile(call: Call) -> Tensor:
    x, counts = call.input(0), call.integers(1)
    if counts is None or len(counts) != x.rank:
        raise call.refuse(f"there must be one count for each of {x.rank} axes")
    return tensor.restructure(x, lambda v: np.tile(v, (1, *counts)))


def constant_of_shape(call: Call) -> Tensor:
    dims, value = call.integers(0), call.attribute("value")
    array = np.zeros(1, np.float32) if value is None else numpy_helper.to_array(value)
    call.type = onnx.TensorProto.FLOAT if value is None else value.data_type
    return lengthened(from_initializer(array.reshape(()), call.node.output[0], call.name), tuple(dims or ()))


def counted(call: Call) -> Tensor:
    """Range: start, start + step, ... as far as the limit, which is not among them."""
    numbers = [call.input(index) for index in range(3)]
    if not all(n.constant for n in numbers):
        raise call.refuse("an input that must be constant depends on the data")
    start, limit, step = (n.values.item() for n in numbers)
    count = max(ceil_of((limit - start) / step), 0)
    return tensor.of_array(np.array([[start + k * step for k in range(count)]], object), True)
