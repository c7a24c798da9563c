"""Operators that move elements: Concat, Split, Slice, Gather, Pad, Resize, DepthToSpace."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import accumulate
from math import ceil, floor

import numpy as np

from gatewright.sim.judge import tensor
from gatewright.sim.judge.operators.call import Call
from gatewright.sim.judge.operators.windows import pad
from gatewright.sim.judge.tensor import Tensor


def concat(call: Call) -> Tensor:
    parts = [call.input(i) for i in range(len(call.inputs))]
    axis = call.axis(call.attribute("axis", 1), parts[0].rank)
    if len({(*p.dims[:axis], *p.dims[axis + 1:]) for p in parts}) != 1 or any(p.rank != parts[0].rank for p in parts):
        shapes = ", ".join(str(list(p.dims)) for p in parts)
        raise call.refuse(f"the shapes {shapes} cannot be joined along axis {axis}")
    return tensor.concatenate(parts, axis + 1)


def split(call: Call) -> tuple[Tensor, ...]:
    x, outputs = call.input(0), len(call.node.output)
    axis = call.axis(call.attribute("axis", 0), x.rank)
    lengths, count = call.attribute("split"), call.attribute("num_outputs", outputs)
    lengths = call.integers(1) if lengths is None else list(lengths)
    if lengths is None:
        each = -(-x.dims[axis] // count)
        lengths = [each] * (count - 1) + [x.dims[axis] - each * (count - 1)]
    if sum(lengths) != x.dims[axis] or min(lengths, default=0) < 0 or len(lengths) != outputs:
        raise call.refuse(f"{x.dims[axis]} elements of axis {axis} cannot be split into {outputs} parts of {lengths}")
    ends = list(accumulate(lengths))
    return tuple(tensor.restructure(x, lambda v, end=end, n=n: v.take(range(end - n, end), axis + 1))  # type: ignore[misc]
                 for end, n in zip(ends, lengths, strict=True))


def slice_(call: Call) -> Tensor:
    x = call.input(0)
    starts, ends, axes = (call.attribute(name) for name in ("starts", "ends", "axes"))
    steps = None
    if starts is None:
        starts, ends, axes, steps = (call.integers(i) for i in (1, 2, 3, 4))
    if starts is None or ends is None:
        raise call.refuse("starts or ends are missing")
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if 0 in steps or not len(starts) == len(ends) == len(axes) == len(steps):
        raise call.refuse("starts, ends, axes and steps do not suit each other")
    picked = [slice(None)] * (x.rank + 1)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        at = call.axis(axis, x.rank)
        picked[at + 1] = _slice(start, end, step, x.dims[at])
    return tensor.restructure(x, lambda v: v[tuple(picked)])


def _slice(start: int, end: int, step: int, n: int) -> slice:
    """ONNX's rule: negative numbers count from the end, then all are clamped."""
    start, end = (v + n if v < 0 else v for v in (start, end))
    if step > 0:
        return slice(min(max(start, 0), n), min(max(end, 0), n), step)
    start, end = min(max(start, 0), n - 1), min(max(end, -1), n - 1)
    return slice(start, None if end == -1 else end, step)


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


def padding(call: Call) -> Tensor:
    """Modes constant, edge, reflect and wrap; negative pads crop."""
    x, mode = call.input(0), call.text("mode", "constant")
    given, value = call.attribute("pads", call.attribute("paddings")), call.attribute("value")
    axes = None
    if given is None:
        given, axes = call.integers(1), call.integers(3)
        fill = call.optional(2)
    else:
        fill = None if value is None else tensor.of_array(np.array([value]), True)
    axes = list(range(x.rank)) if axes is None else [call.axis(a, x.rank) for a in axes]
    if given is None or len(given) != 2 * len(axes) or mode not in ("constant", "edge", "reflect", "wrap"):
        raise call.refuse(f"these pads in mode '{mode}' are not known for {x.rank} axes")
    before, after = [0] * x.rank, [0] * x.rank
    for i, axis in enumerate(axes):
        before[axis], after[axis] = int(given[i]), int(given[i + len(axes)])
    return pad(x, tuple(before), tuple(after), fill, mode)


PLACES: dict[str, Callable[[int, Fraction, int, int], Fraction]] = {
    "half_pixel": lambda i, scale, n, m: (i + Fraction(1, 2)) / scale - Fraction(1, 2),
    "pytorch_half_pixel": lambda i, scale, n, m: (i + Fraction(1, 2)) / scale - Fraction(1, 2) if m > 1 else Fraction(0),
    "asymmetric": lambda i, scale, n, m: i / scale,
    "align_corners": lambda i, scale, n, m: Fraction(i * (n - 1), m - 1) if m > 1 else Fraction(0)}
"""Where element i of m lies in the n original ones, by coordinate_transformation_mode."""
NEAREST: dict[str, Callable[[Fraction], int]] = {
    "floor": floor, "ceil": ceil, "round_prefer_floor": lambda p: ceil(p - Fraction(1, 2)),
    "round_prefer_ceil": lambda p: floor(p + Fraction(1, 2))}


def resize(call: Call) -> Tensor:
    """Nearest neighbours only, by scales or sizes."""
    x, mode = call.input(0), call.text("mode", "nearest")
    place = call.text("coordinate_transformation_mode", "half_pixel" if call.opset > 10 else "asymmetric")
    nearest = call.text("nearest_mode", "round_prefer_floor" if call.opset > 10 else "floor")
    for unused in ("cubic_coeff_a", "exclude_outside", "extrapolation_value", "antialias"):
        call.attribute(unused)
    policy = call.text("keep_aspect_ratio_policy", "stretch")
    axes = [call.axis(a, x.rank) for a in call.attribute("axes", range(x.rank))]
    if mode != "nearest" or place not in PLACES or nearest not in NEAREST or policy != "stretch":
        raise call.refuse(f"mode '{mode}' with '{place}', '{nearest}' and '{policy}' is not known")
    given = call.optional(1 if call.opset == 10 else 2)
    scales = [] if given is None else [Fraction(v) for v in given.values[0].ravel()]
    sizes = call.integers(3) or [floor(x.dims[a] * s) for a, s in zip(axes, scales, strict=True)]
    scales = scales or [Fraction(m, x.dims[a]) for a, m in zip(axes, sizes, strict=True)]
    return _resized(x, axes, sizes, scales, PLACES[place], NEAREST[nearest])


def upsample(call: Call) -> Tensor:
    """The deprecated form of Resize."""
    x, scales = call.input(0), call.attribute("scales")
    if call.text("mode", "nearest") != "nearest":
        raise call.refuse("only nearest neighbours are known")
    factors = [Fraction(v) for v in (call.input(1).values[0].ravel() if scales is None else scales)]
    sizes = [floor(n * s) for n, s in zip(x.dims, factors, strict=True)]
    return _resized(x, list(range(x.rank)), sizes, factors, PLACES["asymmetric"], NEAREST["floor"])


def _resized(x: Tensor, axes: list[int], sizes: list[int], scales: list[Fraction],
             place: Callable[[int, Fraction, int, int], Fraction], nearest: Callable[[Fraction], int]) -> Tensor:
    for axis, m, scale in zip(axes, sizes, scales, strict=True):
        n = x.dims[axis]
        source = [min(max(nearest(place(i, scale, n, m)), 0), n - 1) for i in range(m)]
        if source != list(range(n)):
            x = tensor.restructure(x, lambda v, a=axis + 1, s=source: v.take(s, a))  # type: ignore[misc]
    return x


def depth_to_space(call: Call) -> Tensor:
    x, b = call.input(0), call.attribute("blocksize")
    by_column = call.text("mode", "DCR") == "DCR"
    if x.rank != 4 or x.dims[1] % (b * b):
        raise call.refuse(f"the shape {list(x.dims)} does not suit blocks of {b}")
    n, c, h, w = x.dims
    groups, order = ((b, b, c // b // b), (0, 1, 4, 5, 2, 6, 3)) if by_column else ((c // b // b, b, b), (0, 1, 2, 5, 3, 6, 4))
    return tensor.restructure(x, lambda v: v.reshape(v.shape[0], n, *groups, h, w).transpose(order).reshape(
        v.shape[0], n, c // b // b, h * b, w * b))


def space_to_depth(call: Call) -> Tensor:
    x, b = call.input(0), call.attribute("blocksize")
    if x.rank != 4 or x.dims[2] % b or x.dims[3] % b:
        raise call.refuse(f"the shape {list(x.dims)} does not suit blocks of {b}")
    n, c, h, w = x.dims
    return tensor.restructure(x, lambda v: v.reshape(v.shape[0], n, c, h // b, b, w // b, b).transpose(
        0, 1, 4, 6, 2, 3, 5).reshape(v.shape[0], n, c * b * b, h // b, w // b))
