"""Windows that slide over an image: where they lie, and the tensor operations that cut them out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.sim.judge import tensor
from gatewright.sim.judge.integers import IntArray
from gatewright.sim.judge.operators.call import Call, number
from gatewright.sim.judge.tensor import Tensor


@dataclass(frozen=True)
class Windows:
    """One entry per spatial axis; `after` may reach further than the pads of the model where `ceil_mode` says so."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    excess: tuple[int, ...]
    """How much of `after` is due to `ceil_mode`."""

    @property
    def size(self) -> int:
        """Elements of one window."""
        return prod(self.kernel)

    def cut(self, v: NDArray[Any]) -> NDArray[Any]:
        """[samples, N, C, *space] (padded already) to [samples, N, C, *places, *kernel], without copying."""
        axes = tuple(range(3, v.ndim))
        extent = tuple(d * (k - 1) + 1 for d, k in zip(self.dilations, self.kernel, strict=True))
        view = np.lib.stride_tricks.sliding_window_view(v, extent, axes)
        steps = (*(slice(None, None, s) for s in self.strides), *(slice(None, None, d) for d in self.dilations))
        return view[(slice(None),) * 3 + steps]


def windows_of(call: Call, x: Tensor, kernel: tuple[int, ...]) -> Windows:
    """From the attributes strides, dilations, pads, auto_pad and ceil_mode."""
    rank = len(kernel)
    space = x.dims[2:]
    if len(space) != rank or rank == 0:
        raise call.refuse(f"the shape {list(x.dims)} does not suit a kernel {list(kernel)}")
    strides, dilations = (tuple(call.attribute(name) or (1,) * rank) for name in ("strides", "dilations"))
    pads, ceiling = tuple(call.attribute("pads") or (0,) * (2 * rank)), call.attribute("ceil_mode", 0)
    automatic = call.text("auto_pad", "NOTSET")
    if len(strides) != rank or len(dilations) != rank or len(pads) != 2 * rank or min(*strides, *dilations, *kernel) < 1:
        raise call.refuse("kernel, strides, dilations and pads do not suit each other")
    before, after, excess = list(pads[:rank]), list(pads[rank:]), [0] * rank
    for i, (n, k, s, d) in enumerate(zip(space, kernel, strides, dilations, strict=True)):
        extent = d * (k - 1) + 1
        if automatic in ("SAME_UPPER", "SAME_LOWER"):
            total = max((-(-n // s) - 1) * s + extent - n, 0)
            before[i] = total // 2 if automatic == "SAME_UPPER" else total - total // 2
            after[i] = total - before[i]
        elif automatic == "VALID":
            before[i] = after[i] = 0
        elif automatic != "NOTSET":
            raise call.refuse(f"auto_pad '{automatic}' is not known")
        padded = n + before[i] + after[i]
        if padded < extent:
            raise call.refuse(f"a window of {extent} does not fit into {padded} elements of axis {i + 2}")
        if ceiling:
            count = -(-(padded - extent) // s) + 1
            count -= (count - 1) * s >= n + before[i]  # a window must not begin in the padding at the end
            excess[i] = max((count - 1) * s + extent - padded, 0)
            after[i] += excess[i]
    return Windows(kernel, strides, dilations, tuple(before), tuple(after), tuple(excess))


def padded(x: Tensor, before: tuple[int, ...], after: tuple[int, ...]) -> Tensor:
    """Zeros around (negative: elements taken away from) the spatial axes of [N, C, *space]."""
    return pad(x, (0, 0, *before), (0, 0, *after))


def pad(x: Tensor, before: tuple[int, ...], after: tuple[int, ...], fill: Tensor | None = None,
        mode: str = "constant") -> Tensor:
    """`before` and `after` per axis of the model; negative ones crop. `mode` is one of numpy's."""
    if not any(before) and not any(after):
        return x
    inner = tuple(slice(max(-b, 0), n - max(-a, 0)) for n, b, a in zip(x.dims, before, after, strict=True))
    widths = ((0, 0), *((max(b, 0), max(a, 0)) for b, a in zip(before, after, strict=True)))
    move: Callable[[NDArray[Any]], NDArray[Any]] = lambda v: np.pad(  # noqa: E731
        v[(slice(None), *inner)], widths, "edge" if mode == "constant" else mode)  # type: ignore[call-overload]
    result = tensor.restructure(x, move)
    if mode != "constant":
        return result
    mask = inside(tuple(s.stop - s.start for s in inner), widths[1:])
    zero = tensor.masked(result, mask)
    if fill is None or fill.is_zero:
        return zero
    outside = tensor.multiply(tensor.on_grid(1 - mask, number(1).terms[0].coef.flat[0], True), fill)
    return tensor.add(zero, outside)


def inside(dims: tuple[int, ...], widths: tuple[tuple[int, int], ...]) -> IntArray:
    """1 for the elements, 0 for the padding around them; one sample."""
    return np.pad(np.ones(dims, np.int64), widths)[None]
