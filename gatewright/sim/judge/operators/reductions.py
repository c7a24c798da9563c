"""Reductions over axes."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import reduce
from math import prod

import numpy as np

from gatewright.sim.judge import tensor
from gatewright.sim.judge.operators.call import Call, Operator
from gatewright.sim.judge.tensor import Tensor

Reduction = Callable[[Tensor, tuple[int, ...]], Tensor]
"""Of a tensor over axes counted with the sample axis, which stay with length 1."""


def reduced(function: Reduction) -> Operator:
    def apply(call: Call) -> Tensor:
        x, keep = call.input(0), call.attribute("keepdims", 1)
        axes, nothing = call.axes(x.rank), call.attribute("noop_with_empty_axes", 0)
        if not axes:
            axes = [] if nothing else list(range(x.rank))
        counted = tuple(sorted({axis + 1 for axis in axes}))
        result = function(x, counted)
        return result if keep else tensor.restructure(result, lambda v: np.squeeze(v, axis=counted))
    return apply


def mean(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return tensor.by_number(tensor.total(x, axes), Fraction(1, prod(x.shape[axis] for axis in axes)))


def maximum(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return reduce(tensor.largest, axes, x)


def minimum(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return tensor.negate(maximum(tensor.negate(x), axes))


def product(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    for axis in axes:
        slices = [tensor.restructure(x, lambda v, i=i, axis=axis: v.take([i], axis))  # type: ignore[misc]
                  for i in range(x.shape[axis])]
        x = reduce(tensor.multiply, slices)
    return x


def sum_of_squares(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return tensor.total(tensor.multiply(x, x), axes)


def over_space(function: Reduction) -> Operator:
    """All axes behind the channels: the global poolings."""
    def apply(call: Call) -> Tensor:
        x = call.input(0)
        return function(x, tuple(range(3, x.rank + 1))) if x.rank > 2 else x
    return apply
