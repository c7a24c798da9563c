"""Comparisons, logic, selection, the place of the largest element. Truth values are 1 and 0."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import onnx

from gatewright.sim.judge import tensor
from gatewright.sim.judge.integers import IntArray
from gatewright.sim.judge.operators.call import Call, Operator, lengthened
from gatewright.sim.judge.tensor import Tensor


def compared(of: Callable[[Tensor], IntArray]) -> Operator:
    """A truth about the difference of two tensors."""
    def apply(call: Call) -> Tensor:
        a, b = call.pair()
        call.type = onnx.TensorProto.BOOL
        difference = tensor.subtract(a, b)
        return tensor.on_grid(of(difference), Fraction(1), difference.constant)
    return apply


def is_positive(x: Tensor) -> IntArray:
    return 1 - is_not_positive(x)


def is_not_positive(x: Tensor) -> IntArray:
    return tensor.at_least_zero(tensor.negate(x))


def is_negative(x: Tensor) -> IntArray:
    return 1 - tensor.at_least_zero(x)


def is_equal(x: Tensor) -> IntArray:
    return tensor.at_least_zero(x) * is_not_positive(x)


def logical(of: Callable[[IntArray, IntArray], IntArray]) -> Operator:
    def apply(call: Call) -> Tensor:
        a, b = call.pair()
        rank = max(a.rank, b.rank)
        truth = of(*(call.as_integers(tensor.lift(x, rank)) for x in (a, b)))
        return tensor.on_grid(truth, Fraction(1), a.constant and b.constant)
    return apply


def negation(call: Call) -> Tensor:
    x = call.input(0)
    return tensor.on_grid(1 - call.as_integers(x), Fraction(1), x.constant)


def sign(call: Call) -> Tensor:
    x = call.input(0)
    return tensor.on_grid(tensor.at_least_zero(x) - is_not_positive(x), Fraction(1), x.constant)


def where(call: Call) -> Tensor:
    condition, a, b = (call.input(i) for i in range(3))
    call.check_broadcast(condition, a, b)
    call.type = call.types[1]
    dims = np.broadcast_shapes(condition.dims, a.dims, b.dims)
    mask, a, b = (lengthened(x, dims) for x in (condition, a, b))
    chosen = tensor.choose(call.as_integers(mask), a, b)
    return Tensor(chosen.terms, a.constant and b.constant and mask.constant)


def extreme_place(direction: int) -> Operator:
    """ArgMax (1) and ArgMin (-1): the first of equal elements, or the last."""
    def apply(call: Call) -> Tensor:
        x, keep = call.input(0), call.attribute("keepdims", 1)
        axis = call.axis(call.attribute("axis", 0), x.rank) + 1
        last = call.attribute("select_last_index", 0)
        call.type = onnx.TensorProto.INT64
        values = x.grid[0] * direction if x.grid is not None else tensor.by_number(x, direction).values
        if last:
            values = np.flip(values, axis)
        place = np.asarray(np.argmax(values, axis=axis), np.int64)
        place = x.shape[axis] - 1 - place if last else place
        return tensor.on_grid(np.expand_dims(place, axis) if keep else place, Fraction(1), x.constant)
    return apply


def top_k(call: Call) -> tuple[Tensor, ...]:
    """Values and indices; of equal elements the one with the lower index comes first."""
    x, counts = call.input(0), call.integers(1)
    k = counts[0] if counts else call.attribute("k")
    axis = call.axis(call.attribute("axis", -1), x.rank) + 1
    falling = call.attribute("largest", 1)
    call.attribute("sorted")
    if k is None or not 0 <= k <= x.shape[axis]:
        raise call.refuse(f"{k} elements of {x.shape[axis]} cannot be taken")
    values = x.grid[0] if x.grid is not None else x.values
    order = np.argsort(-values if falling else values, axis=axis, kind="stable").take(range(k), axis)
    taken = np.take_along_axis(values, order, axis)
    top = tensor.on_grid(taken, x.grid[1], x.constant) if x.grid is not None else tensor.of_values(taken, x.constant)
    return top, tensor.on_grid(order.astype(np.int64), Fraction(1), x.constant)
