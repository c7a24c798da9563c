"""Operators that move elements: Slice, Split, Gather, Pad, Resize, Expand, Tile, Concat, DepthToSpace."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from gatewright.compiler.frontend.onnx_file import Node
from gatewright.compiler.frontend.standard.common import broadcast, check_elements, integers, onnx_shape
from gatewright.compiler.frontend.standard.shape import reshaped, transposed
from gatewright.compiler.frontend.values import (
    MAX_SCALED_BITS,
    Builder,
    Const,
    Data,
    Handler,
    Value,
    across_batch,
    check_data,
    cut,
    integer_constant,
    same_along,
    unsupported,
)
from gatewright.ir import expr as ex
from gatewright.ir.exact import ROUND_NUMBER, Exacts, Surd, elementwise, exacts, unit
from gatewright.ir.fixed import Ints
from gatewright.ir.ops import Concat, Table, Take
from gatewright.ir.ops.shape import taken

AGAIN = "Export the model again"
MAX_ENTRIES = 1 << 16
"""Codes that an index into a table may have."""


def pick(b: Builder, node: Node, x: Value, wanted: Mapping[int, Ints], value: Any = Fraction(0), name: str = "") -> Value:
    """The elements with these indices along ONNX axes (others whole); the number `value` where an index is -1."""
    if isinstance(x, Const):
        indices = tuple(wanted.get(a, np.arange(d)) for a, d in enumerate(x.value.shape))
        check_data([len(i) for i in indices], node.name)
        return Const(np.array(taken(x.value, indices, value), object), x.integer, x.dtype)
    if x.batched and 0 in wanted:
        if b.batch == 1 and len(wanted[0]) == 1 and wanted[0][0] == 0:
            wanted = {a: i for a, i in wanted.items() if a}
        else:
            x = b.unbatch(x, node.outputs[0] + ".x", node.name)
    indices = tuple(wanted.get(a + x.batched, np.arange(d)) for a, d in enumerate(x.shape))
    return b.take(x, indices, value, name or node.outputs[0], node.name)


def axis_of(node: Node, axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise unsupported(node, f"names axis {axis} of a tensor of rank {rank}", AGAIN)
    return axis % rank


def slice_(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """Bounds as attributes (opset 1) or as operands."""
    x = inputs[0]
    shape = onnx_shape(b, x)
    if "starts" in node.attributes:
        starts, ends = tuple(node.attributes["starts"]), tuple(node.attributes["ends"])
        axes, steps = tuple(node.attributes.get("axes", range(len(starts)))), (1,) * len(starts)
    else:
        given = [None if v is None else integers(v, node, "its bounds") for v in [*inputs[1:], None, None][:4]]
        starts, ends = given[0] or (), given[1] or ()
        axes, steps = given[2] or tuple(range(len(starts))), given[3] or (1,) * len(starts)
    wanted = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        a = axis_of(node, axis, len(shape))
        d = shape[a]
        low, high = (0, d) if step > 0 else (-1, d - 1)
        start = min(max(start + d if start < 0 else start, max(low, 0)), high)
        end = min(max(end + d if end < 0 else end, low), d)
        wanted[a] = np.arange(start, end, step, dtype=np.int64)
    return pick(b, node, x, wanted)


def split(b: Builder, node: Node, inputs: list[Any]) -> list[Value]:
    x = inputs[0]
    shape = onnx_shape(b, x)
    axis = axis_of(node, node.attributes.get("axis", 0), len(shape))
    count = len(node.outputs)
    if "split" in node.attributes:
        sizes = tuple(node.attributes["split"])
    elif len(inputs) > 1 and inputs[1] is not None:
        sizes = integers(inputs[1], node, "its sizes")
    else:
        part = -(-shape[axis] // count)
        sizes = tuple(min(part, shape[axis] - k * part) for k in range(count))
    if sum(sizes) != shape[axis] or len(sizes) != count or min(sizes) < 1:
        raise unsupported(node, f"cannot split {shape[axis]} elements into {list(sizes)}", AGAIN)
    ends = np.cumsum(sizes)
    return [pick(b, node, x, {axis: np.arange(e - s, e)}, name=out)
            for s, e, out in zip(sizes, ends, node.outputs, strict=True)]


def gather(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, index = inputs
    if isinstance(x, Const) and isinstance(index, Data):
        return lookup(b, node, x, index)
    where = np.array(elementwise(int, constant_index(index, node)), dtype=np.int64)
    shape = onnx_shape(b, x)
    axis = axis_of(node, node.attributes.get("axis", 0), len(shape))
    if where.size and (where.min() < -shape[axis] or where.max() >= shape[axis]):
        raise unsupported(node, f"reads beyond the {shape[axis]} elements of axis {axis}", AGAIN)
    y = pick(b, node, x, {axis: where.reshape(-1) % shape[axis]})
    if where.ndim == 1:
        return y
    return reshaped(b, node, y, (*shape[:axis], *where.shape, *shape[axis + 1:]))


def lookup(b: Builder, node: Node, entries: Const, index: Data) -> Data:
    """A table of constants at a computed index: how exporters of trigger firmware write exp, sigmoid, 1/x."""
    if entries.value.ndim != 1:
        raise unsupported(node, f"of a computed index from a tensor of shape {list(entries.value.shape)} is not supported",
                          "Look up single numbers")
    op, s, o = b.integer(index, node.outputs[0] + ".index", node.name)
    scale, offset = s.reshape(-1)[0], o.reshape(-1)[0]
    if (s != scale).any() or (o != offset).any():
        raise unsupported(node, "has indices with other scales from element to element", "Use one scale for the index")
    first, last, size = int(op.type.lo.min()), int(op.type.hi.max()), len(entries.value)
    if last - first >= MAX_ENTRIES:
        raise unsupported(node, f"has an index of {last - first + 1} codes, more than {MAX_ENTRIES}", "Use a narrower index")
    places = [scale * code + offset for code in range(first, last + 1)]
    if any(isinstance(p, Surd) or p.denominator != 1 or not -size <= p < size for p in places):
        raise unsupported(node, f"has indices from {float(places[0]):g} to {float(places[-1]):g}, not all of them one of the "
                          f"{size} entries", "Limit the index to the table with a Clip")
    values = entries.value[np.array([int(p) for p in places])]
    step = unit(values)
    if step is None:
        raise unsupported(node, "has entries without a common unit", "Quantise the table")
    codes = integer_constant(np.asarray(values / step, object), "its entries", node.name, MAX_SCALED_BITS)
    leaf = b.emit(Table, node.outputs[0], [op], node.name, exacts(step), ex.ZERO, first=first, values=codes)
    return Data(ex.affine(leaf, exacts(step)), index.shape, index.batched)


def constant_index(index: Any, node: Node) -> Exacts:
    if not isinstance(index, Const):
        raise unsupported(node, "with computed indices is not supported", "Use constant indices")
    return index.value


def pad(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x = inputs[0]
    shape = onnx_shape(b, x)
    rank = len(shape)
    attributes = node.attributes
    given = attributes.get("pads", attributes.get("paddings"))
    pads = tuple(given) if given is not None else integers(inputs[1], node, "its pads")
    value: Any = exacts(attributes.get("value", 0.0)).item()
    if len(inputs) > 2 and inputs[2] is not None:
        value = constant_index(inputs[2], node).reshape(-1)[0]
    axes = tuple(range(rank))
    if len(inputs) > 3 and inputs[3] is not None:
        axes = tuple(axis_of(node, a, rank) for a in integers(inputs[3], node, "its axes"))
    if len(pads) != 2 * len(axes):
        raise unsupported(node, f"has {len(pads)} pads for {len(axes)} axes", AGAIN)
    mode = attributes.get("mode", "constant")
    rules: dict[str, Callable[[Ints, int], Any]] = {
        "constant": lambda i, d: np.where((i >= 0) & (i < d), i, -1),
        "edge": lambda i, d: np.clip(i, 0, d - 1),
        "reflect": lambda i, d: d - 1 - np.abs(d - 1 - i % max(2 * d - 2, 1)),
        "wrap": lambda i, d: i % d,
    }
    if mode not in rules:
        raise unsupported(node, f"has the unknown mode '{mode}'", AGAIN)
    check_data([max(shape[a] + pads[k] + pads[len(axes) + k], 0) for k, a in enumerate(axes)], node.name)
    wanted = {a: rules[mode](np.arange(-pads[k], shape[a] + pads[len(axes) + k]), shape[a])
              for k, a in enumerate(axes) if pads[k] or pads[len(axes) + k]}
    return pick(b, node, x, wanted, value)


def expand(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x = inputs[0]
    target = integers(inputs[1], node, "its target shape")
    old = onnx_shape(b, x)
    full = broadcast(node, old, target)
    if len(full) != len(old):
        x = reshaped(b, node, x, (1,) * (len(full) - len(old)) + old)
    old = (1,) * (len(full) - len(old)) + old
    return pick(b, node, x, {a: np.zeros(n, np.int64) for a, (m, n) in enumerate(zip(old, full, strict=True)) if m != n})


def tile(b: Builder, node: Node, inputs: list[Any]) -> Value:
    repeats = integers(inputs[1], node, "its repeats")
    shape = onnx_shape(b, inputs[0])
    check_data([d * n for d, n in zip(shape, repeats, strict=True)], node.name)
    return pick(b, node, inputs[0], {a: np.tile(np.arange(shape[a]), n) for a, n in enumerate(repeats) if n != 1})


# -- resizing ------------------------------------------------------------------------------------------------------------


NEAREST: dict[str, Callable[[Fraction], int]] = {
    "round_prefer_floor": lambda v: -math.floor(-(v - Fraction(1, 2))),
    "round_prefer_ceil": lambda v: math.floor(v + Fraction(1, 2)),
    "floor": math.floor,
    "ceil": math.ceil,
}


def resize(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """Nearest neighbour only: Resize, and Upsample of older opsets."""
    x, attributes = inputs[0], node.attributes
    if attributes.get("mode", "nearest") != "nearest":
        raise unsupported(node, f"with mode '{attributes['mode']}' is not supported", "Use mode nearest")
    shape = onnx_shape(b, x)
    scales, sizes = resize_operands(node, inputs)
    axes = tuple(axis_of(node, a, len(shape)) for a in attributes.get("axes", range(len(shape))))
    if attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch" or len(scales or sizes) != len(axes):
        raise unsupported(node, "needs a size or scale for every axis", AGAIN)
    old = attributes.get("coordinate_transformation_mode", "half_pixel")
    if node.op_type == "Upsample" or (node.op_type == "Resize" and len(inputs) == 2):  # before opset 11
        attributes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        old = "asymmetric"
    wanted = {}
    new = [math.floor(shape[a] * scales[k]) if scales else sizes[k] for k, a in enumerate(axes)]
    check_data(new, node.name)
    for k, a in enumerate(axes):
        scale, size = scales[k] if scales else Fraction(sizes[k], shape[a]), new[k]
        if size == shape[a] and scale == 1:
            continue
        rounding = NEAREST[attributes.get("nearest_mode", "round_prefer_floor")]
        places = [rounding(coordinate(node, old, i, scale, shape[a], size)) for i in range(size)]
        wanted[a] = np.clip(np.array(places, np.int64), 0, shape[a] - 1)
    return pick(b, node, x, wanted)


def resize_operands(node: Node, inputs: list[Any]) -> tuple[tuple[Fraction, ...], tuple[int, ...]]:
    """(scales, sizes): one of them is empty."""
    if "scales" in node.attributes:
        return tuple(Fraction(s) for s in node.attributes["scales"]), ()
    if len(inputs) == 2:
        return tuple(constant_index(inputs[1], node).reshape(-1)), ()
    if len(inputs) > 3 and inputs[3] is not None:
        return (), integers(inputs[3], node, "its sizes")
    return tuple(constant_index(inputs[2], node).reshape(-1)), ()


def coordinate(node: Node, mode: str, i: int, scale: Fraction, old: int, new: int) -> Fraction:
    """Where element i of the result lies in the operand."""
    if mode == "asymmetric":
        return i / scale
    if mode == "align_corners":
        return Fraction(i * (old - 1), new - 1) if new > 1 else Fraction(0)
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and new > 1):
        return (i + Fraction(1, 2)) / scale - Fraction(1, 2)
    if mode == "pytorch_half_pixel":
        return Fraction(0)
    raise unsupported(node, f"with the coordinates '{mode}' is not supported",
                      "Use asymmetric, align_corners, half_pixel or pytorch_half_pixel")


# -- several tensors -----------------------------------------------------------------------------------------------------


def concat(b: Builder, node: Node, inputs: list[Any]) -> Value:
    if all(isinstance(v, Const) for v in inputs):
        axis = node.attributes.get("axis", 1)
        return Const(np.concatenate([v.value for v in inputs], axis=axis), all(v.integer for v in inputs))
    tensors = [v for v in inputs if isinstance(v, Data)]
    axis = axis_of(node, node.attributes.get("axis", 1), tensors[0].rank)
    batched = all(t.batched for t in tensors) and axis > 0
    if not batched and b.batch != 1:
        raise across_batch(node.name, b.batch)
    name = node.outputs[0]
    parts = [v if batched or isinstance(v, Const) else b.unbatch(v, name + ".x", node.name) for v in inputs]
    inner = axis - batched
    shapes = [part_shape(node, v, batched) for v in parts]
    if len({s[:inner] + s[inner + 1:] for s in shapes}) != 1:
        raise unsupported(node, f"has operands of shapes {[list(s) for s in shapes]}", AGAIN)
    first = next(v for v in parts if isinstance(v, Data))
    check_data([sum(math.prod(s) for s in shapes)], node.name)
    blocks = [block(b, node, v, s, first, batched) for v, s in zip(parts, shapes, strict=True)]
    rank = len(first.shape)
    scale = joined([s for _, s, _ in blocks], shapes, inner, rank)
    offset = joined([o for _, _, o in blocks], shapes, inner, rank)
    leaf = b.emit(Concat, name, [b.operand(part.index) for part, _, _ in blocks], node.name, scale, offset, axis=inner)
    return Data(ex.affine(leaf, scale, offset), b.shape_of(leaf.index), batched)


def part_shape(node: Node, v: Value, batched: bool) -> tuple[int, ...]:
    if isinstance(v, Data):
        return v.shape
    if batched and v.value.shape[:1] != (1,):
        raise unsupported(node, "has a constant with values per sample of the batch", "Use batch-independent constants")
    return v.value.shape[1:] if batched else v.value.shape


def block(b: Builder, node: Node, v: Value, shape: tuple[int, ...], model: Data,
          batched: bool) -> tuple[ex.Leaf, Exacts, Exacts]:
    """An operand as (integer tensor, scale, offset). A constant is an offset to codes that are all 0."""
    if isinstance(v, Data):
        op, scale, offset = b.integer(v, node.outputs[0] + ".x", node.name)
        return b.leaf_of(op), scale, offset
    source, scale, _ = b.integer(model, node.outputs[0] + ".x", node.name)
    nowhere = tuple(np.full(d, -1, np.int64) for d in shape)
    values = v.value.reshape(shape)
    return b.emit(Take, node.outputs[0] + ".x", [source], node.name, ex.ONE, values, indices=nowhere), ex.ONE, values


def joined(parts: list[Exacts], shapes: list[tuple[int, ...]], axis: int, rank: int) -> Exacts:
    """Constants of the parts as one array: as small as they allow."""
    if all(p.size and (p == p.reshape(-1)[0]).all() for p in parts) and len({p.reshape(-1)[0] for p in parts}) == 1:
        return exacts(parts[0].reshape(-1)[0])
    others = tuple(a for a in range(rank) if a != axis)
    if all(same_along(p, rank, others) for p in parts):
        slim = [cut(p.reshape((1,) * (rank - p.ndim) + p.shape), rank, others) for p in parts]
        return np.concatenate([np.broadcast_to(p, tuple(d if a == axis else 1 for a, d in enumerate(s)))
                               for p, s in zip(slim, shapes, strict=True)], axis=axis)
    return np.concatenate([np.broadcast_to(p, s) for p, s in zip(parts, shapes, strict=True)], axis=axis)


def depth_to_space(b: Builder, node: Node, inputs: list[Any]) -> Value:
    n, c, h, w = onnx_shape(b, inputs[0])
    k = node.attributes["blocksize"]
    crd = node.attributes.get("mode", "DCR") == "CRD"
    y = reshaped(b, node, inputs[0], (n, c // k ** 2, k, k, h, w) if crd else (n, k, k, c // k ** 2, h, w))
    y = transposed(b, node, y, (0, 1, 4, 2, 5, 3) if crd else (0, 3, 4, 1, 5, 2))
    return reshaped(b, node, y, (n, c // k ** 2, h * k, w * k))


def space_to_depth(b: Builder, node: Node, inputs: list[Any]) -> Value:
    n, c, h, w = onnx_shape(b, inputs[0])
    k = node.attributes["blocksize"]
    y = transposed(b, node, reshaped(b, node, inputs[0], (n, c, h // k, k, w // k, k)), (0, 3, 5, 1, 2, 4))
    return reshaped(b, node, y, (n, c * k ** 2, h // k, w // k))


def constant_of_shape(b: Builder, node: Node, inputs: list[Any]) -> Value:
    value = np.asarray(node.attributes.get("value", np.zeros(1, np.float32)))
    shape = integers(inputs[0], node, "its shape")
    check_elements(node, math.prod(shape))
    filled = np.array(np.broadcast_to(exacts(value).reshape(-1)[0], shape), object)
    return Const(filled, value.dtype.kind in "iub", value.dtype.name)


def range_(b: Builder, node: Node, inputs: list[Any]) -> Value:
    start, limit, step = (constant_index(v, node).reshape(-1)[0] for v in inputs)
    count = max(-ROUND_NUMBER["FLOOR"]((start - limit) / step), 0)
    check_elements(node, count)
    return Const(np.array([start + k * step for k in range(count)] + [None], object)[:-1], inputs[0].integer)


HANDLERS: dict[str, Handler] = {
    "Slice": slice_,
    "Split": split,
    "Gather": gather,
    "Pad": pad,
    "Expand": expand,
    "Tile": tile,
    "Resize": resize,
    "Upsample": resize,
    "Concat": concat,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "ConstantOfShape": constant_of_shape,
    "Range": range_,
}
