"""Convolutions and poolings over any number of spatial axes, channels first: [N, C, *space]."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.sim.judge import tensor
from gatewright.sim.judge.operators.call import Call, Operator, reshaped
from gatewright.sim.judge.operators.windows import Windows, inside, padded, windows_of
from gatewright.sim.judge.tensor import Tensor


def conv(call: Call) -> Tensor:
    return convolution(call, call.input(0), call.input(1), call.optional(2))


def convolution(call: Call, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    kernel, group = tuple(weight.dims[2:]), call.attribute("group", 1)
    declared = tuple(call.attribute("kernel_shape") or kernel)
    if declared != kernel:
        raise call.refuse(f"kernel_shape {list(declared)} differs from the weights' {list(kernel)}")
    windows = windows_of(call, x, kernel)
    _check_channels(call, x, weight, group, weight.dims[1] * group, weight.dims[0] % group == 0 if group else False)
    return _with_bias(call, _convolved(padded(x, windows.before, windows.after), weight, windows, group), bias)


def _check_channels(call: Call, x: Tensor, weight: Tensor, group: int, channels: int, divides: bool) -> None:
    if group < 1 or x.dims[1] != channels or not divides:
        raise call.refuse(f"{x.dims[1]} channels and weights {list(weight.dims)} do not suit {group} groups")


def _convolved(x: Tensor, weight: Tensor, windows: Windows, group: int) -> Tensor:
    """As one matrix product per group: weights [G, M/G, C/G * window] times windows [G, C/G * window, places]."""
    outputs, rank = weight.dims[0], len(windows.kernel)
    places = tuple((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in
                   zip(x.dims[2:], windows.kernel, windows.strides, windows.dilations, strict=True))
    matrix = reshaped(weight, 1, group, outputs // group, weight.dims[1] * windows.size)
    def columns(v: NDArray[Any]) -> NDArray[Any]:
        cut = windows.cut(v)
        kernel_first = (0, 1, 2, *range(3 + rank, 3 + 2 * rank), *range(3, 3 + rank))
        return cut.transpose(kernel_first).reshape(*cut.shape[:2], v.shape[2] // weight.dims[1], matrix.dims[-1], prod(places))
    product = tensor.matmul_windows(matrix, x, columns, group)
    return reshaped(product, x.dims[0], outputs, *places)


def _with_bias(call: Call, y: Tensor, bias: Tensor | None) -> Tensor:
    if bias is None:
        return y
    if bias.dims != (y.dims[1],):
        raise call.refuse(f"the bias has shape {list(bias.dims)}, but there are {y.dims[1]} channels")
    return tensor.add(y, reshaped(bias, y.dims[1], *(1,) * (y.rank - 2)))


def conv_transpose(call: Call) -> Tensor:
    """A convolution, with the kernel mirrored, of the input with `stride - 1` zeros between its elements."""
    x, weight, bias = call.input(0), call.input(1), call.optional(2)
    kernel, group, rank = tuple(weight.dims[2:]), call.attribute("group", 1), weight.rank - 2
    call.attribute("kernel_shape")
    if x.rank != weight.rank or rank < 1:
        raise call.refuse(f"the shape {list(x.dims)} does not suit weights {list(weight.dims)}")
    _check_channels(call, x, weight, group, weight.dims[0], weight.dims[0] % group == 0 if group else False)
    strides, dilations = (tuple(call.attribute(name) or (1,) * rank) for name in ("strides", "dilations"))
    extra = tuple(call.attribute("output_padding") or (0,) * rank)
    reach = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
    begin, end = _transposed_pads(call, x, strides, extra, reach)
    spread = _spread(x, strides)
    spread = padded(spread, tuple(r - b for r, b in zip(reach, begin, strict=True)),
                    tuple(r - e + o for r, e, o in zip(reach, end, extra, strict=True)))
    per_group, outputs = weight.dims[0] // group, weight.dims[1]
    def mirrored(v: NDArray[Any]) -> NDArray[Any]:
        v = np.flip(v, tuple(range(3, v.ndim))).reshape(v.shape[0], group, per_group, outputs, *kernel)
        return v.swapaxes(2, 3).reshape(v.shape[0], group * outputs, per_group, *kernel)
    none = (0,) * rank
    windows = Windows(kernel, (1,) * rank, dilations, none, none, none)
    return _with_bias(call, _convolved(spread, tensor.restructure(weight, mirrored), windows, group), bias)


def _transposed_pads(call: Call, x: Tensor, strides: tuple[int, ...], extra: tuple[int, ...],
                     reach: list[int]) -> tuple[list[int], list[int]]:
    """What is cut off at the beginning and at the end of every axis."""
    rank = len(strides)
    pads, shape = list(call.attribute("pads") or (0,) * (2 * rank)), call.attribute("output_shape")
    automatic = call.text("auto_pad", "NOTSET")
    if automatic == "VALID":
        pads = [0] * (2 * rank)
    if shape is None and automatic in ("SAME_UPPER", "SAME_LOWER"):
        shape = [n * s for n, s in zip(x.dims[2:], strides, strict=True)]
    if shape is None:
        return pads[:rank], pads[rank:]
    total = [s * (n - 1) + o + r + 1 - want for s, n, o, r, want in
             zip(strides, x.dims[2:], extra, reach, list(shape)[-rank:], strict=True)]
    smaller, larger = [t // 2 for t in total], [t - t // 2 for t in total]
    return (smaller, larger) if automatic == "SAME_UPPER" else (larger, smaller)


def _spread(x: Tensor, strides: tuple[int, ...]) -> Tensor:
    """`stride - 1` zeros between neighbours."""
    def repeated(v: NDArray[Any]) -> NDArray[Any]:
        for axis, s in enumerate(strides, 3):
            v = v.repeat(s, axis).take(range((v.shape[axis] - 1) * s + 1), axis)
        return v
    result = tensor.restructure(x, repeated)
    mask = np.ones((1,) * (result.rank + 1), np.int64)
    for axis, s in enumerate(strides, 3):
        hit = (np.arange(result.shape[axis]) % s == 0).astype(np.int64)
        mask = mask * hit.reshape([-1 if a == axis else 1 for a in range(result.rank + 1)])
    return tensor.masked(result, mask)


# ---- poolings

def _pooling_windows(call: Call, x: Tensor) -> Windows:
    kernel = call.attribute("kernel_shape")
    if not kernel:
        raise call.refuse("kernel_shape is missing")
    return windows_of(call, x, tuple(kernel))


def max_pool(call: Call) -> Tensor:
    """Padding never wins."""
    x = call.input(0)
    call.attribute("storage_order")
    if any(call.node.output[1:]):
        raise call.refuse("the indices of the largest elements are not known")
    windows = _pooling_windows(call, x)
    rank = len(windows.kernel)
    flat = partial(_flat_windows, windows)
    mask = _real_places(windows, x, (0,) * rank, (0,) * rank)
    if not mask.max(axis=-1).all():
        raise call.refuse("a window lies in the padding only")
    if x.grid is None:
        return _largest_of_windows(x, windows, mask)
    num, unit = x.grid
    widths = ((0, 0),) * 3 + tuple(zip(windows.before, windows.after, strict=True))
    lowest = int(num.min(initial=0))
    return tensor.on_grid(flat(np.pad(num, widths, constant_values=lowest)).max(axis=-1), unit, x.constant)


def _largest_of_windows(x: Tensor, windows: Windows, mask: NDArray[Any]) -> Tensor:
    """Irrational elements: compared one place of the window after the other. Padding repeats the edge, then is masked."""
    around = padded(x, windows.before, windows.after)
    flat = tensor.restructure(around, partial(_flat_windows, windows))
    result: Tensor | None = None
    seen = np.zeros(mask.shape[:-1], np.int64)
    for place in range(windows.size):
        here = tensor.restructure(flat, lambda v, p=place: v[..., p])  # type: ignore[misc]
        real = mask[..., place]
        if result is None:
            result, seen = here, real
            continue
        wins = tensor.at_least_zero(tensor.subtract(here, result)) * real * seen
        result = tensor.choose(np.maximum(wins, real * (1 - seen)), here, result)
        seen = np.maximum(seen, real)
    assert result is not None
    return result


def _flat_windows(windows: Windows, v: NDArray[Any]) -> NDArray[Any]:
    """[samples, N, C, *places, window]"""
    cut = windows.cut(v)
    return cut.reshape(*cut.shape[:cut.ndim - len(windows.kernel)], windows.size)


def _real_places(windows: Windows, x: Tensor, before: tuple[int, ...], after: tuple[int, ...]) -> NDArray[Any]:
    """[1, 1, 1, *places, window]: 1 for elements of the image and of this much padding around it."""
    dims = tuple(n + b + a for n, b, a in zip(x.dims[2:], before, after, strict=True))
    rest = tuple((w - b, v - a) for w, b, v, a in zip(windows.before, before, windows.after, after, strict=True))
    return _flat_windows(windows, inside(dims, rest)[None, None])


def average_pool(call: Call) -> Tensor:
    x, counted = call.input(0), call.attribute("count_include_pad", 0)
    return averaged(x, _pooling_windows(call, x), counted)


def averaged(x: Tensor, windows: Windows, counted: int) -> Tensor:
    """`counted`: whether the padding of the model (not what ceil_mode adds) counts as elements."""
    rank = len(windows.kernel)
    after = tuple(a - e for a, e in zip(windows.after, windows.excess, strict=True))
    mask = (_real_places(windows, x, windows.before, after) if counted
            else _real_places(windows, x, (0,) * rank, (0,) * rank))
    cut = tensor.restructure(padded(x, windows.before, windows.after), partial(_flat_windows, windows))
    total = tensor.total(cut, (cut.rank,))
    total = tensor.restructure(total, lambda v: v[..., 0])
    counts = mask.sum(axis=-1)
    if counts.min() == counts.max():
        return tensor.by_number(total, Fraction(1, int(counts.min())))
    shares = np.frompyfunc(lambda n: Fraction(1, int(n)), 1, 1)(np.maximum(counts, 1))
    return tensor.multiply(total, tensor.of_values(shares, True))


# ---- channels last

def channels_last(operator: Operator, images: tuple[int, ...] = (0,)) -> Operator:
    """The operator on inputs (those counted in `images`) whose channels are the last axis, as is its output's."""
    def apply(call: Call) -> Tensor:
        for index in images:
            call.inputs[index] = tensor.restructure(call.input(index), lambda v: np.moveaxis(v, -1, 2))
        result = operator(call)
        assert isinstance(result, Tensor)
        return tensor.restructure(result, lambda v: np.moveaxis(v, 2, -1))
    return apply
