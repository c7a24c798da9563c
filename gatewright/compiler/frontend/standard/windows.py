"""Operators with a sliding window: Conv, ConvTranspose, MaxPool, AveragePool."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from gatewright.compiler.frontend.onnx_file import Node
from gatewright.compiler.frontend.pieces import pieces
from gatewright.compiler.frontend.standard.common import rebatched
from gatewright.compiler.frontend.standard.linear import column_units
from gatewright.compiler.frontend.values import (
    MAX_SCALED_BITS,
    QUANTISE_BEFORE,
    Builder,
    Const,
    Data,
    Handler,
    Value,
    check_data,
    cut,
    integer_constant,
    same_along,
    unsupported,
)
from gatewright.errors import UserError
from gatewright.ir import expr as ex
from gatewright.ir.exact import Exacts, Surd, elementwise, exacts, over, plus, times
from gatewright.ir.ops import Combine, Conv, ExtremePool, ReduceExtreme, SumPool
from gatewright.ir.windows import Window


def geometry(node: Node, size: tuple[int, ...], kernel: tuple[int, ...], ceil: bool = False) -> Window:
    """The window that the node's attributes describe, for an input of `size`: pads say all, `auto_pad` and `ceil_mode` are
    worked into them."""
    n, a = len(size), node.attributes
    strides, dilations = tuple(a.get("strides", (1,) * n)), tuple(a.get("dilations", (1,) * n))
    pads = tuple(a.get("pads", (0,) * 2 * n))
    if not len(kernel) == len(strides) == len(dilations) == n or len(pads) != 2 * n:
        raise unsupported(node, f"has attributes for another rank than its operand's {n} spatial dimensions",
                          "Export the model again")
    if min((*kernel, *strides, *dilations)) < 1:
        raise unsupported(node, "has a kernel, stride or dilation below 1", "Export the model again")
    auto = a.get("auto_pad", "NOTSET")
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    if auto == "VALID":
        pads = (0,) * 2 * n
    elif auto != "NOTSET":
        total = [max((-(-size[i] // strides[i]) - 1) * strides[i] + reach[i] - size[i], 0) for i in range(n)]
        small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
        pads = small + large if auto == "SAME_UPPER" else large + small
    if ceil:
        ends = []
        for i in range(n):
            span = size[i] + pads[i] + pads[n + i] - reach[i]
            count = -(-span // strides[i]) + 1
            if (count - 1) * strides[i] >= size[i] + pads[i]:  # a window starts inside the input or its first padding
                count -= 1
            ends.append((count - 1) * strides[i] + reach[i] - size[i] - pads[i])
        pads = pads[:n] + tuple(ends)
    window = Window(size, kernel, strides, dilations, pads)
    check_data(window.out, node.name)
    check_data([max(k * n for k, n in zip(kernel, window.out, strict=True))], node.name)
    if min(window.out, default=1) < 1:
        raise unsupported(node, f"has a kernel of {list(kernel)} on a tensor of {list(size)}: no position fits",
                          "Export the model again")
    return window


def channels(b: Builder, node: Node, x: Value) -> Data:
    """The operand as [channels, *spatial] per sample."""
    if not isinstance(x, Data):
        raise unsupported(node, "of a constant is not supported", "Fold it before the export")
    x = rebatched(b, node, x)
    if len(x.shape) not in (2, 3):
        raise unsupported(node, f"has {len(x.shape) - 1} spatial dimensions; 1 and 2 are supported",
                          "Use 1D or 2D operators")
    return x


def per_channel(values: Exacts, rank: int) -> Exacts:
    """A vector along the channels of a tensor of `rank` dimensions (samples not counted)."""
    return values.reshape(-1, *(1,) * (rank - 1))


# -- convolution ---------------------------------------------------------------------------------------------------------


def conv(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, w, *rest = inputs
    if not isinstance(w, Const):
        raise unsupported(node, "of two tensors is not supported", "Give the weights as constants")
    x = channels(b, node, x)
    groups = node.attributes.get("group", 1)
    if w.value.ndim != len(x.shape) + 1 or x.shape[0] != w.value.shape[1] * groups or len(w.value) % groups:
        raise unsupported(node, f"has operands of shapes {list(x.shape)} (one sample) and {list(w.value.shape)} with {groups} "
                          f"groups", "Export the model again")
    y = convolution(b, node, x, w.value, geometry(node, x.shape[1:], w.value.shape[2:]), groups)
    return add_bias(node, y, rest)


def add_bias(node: Node, y: Data, rest: list[Any]) -> Data:
    if not rest or rest[0] is None:
        return y
    bias = rest[0]
    if not isinstance(bias, Const) or bias.value.size != y.shape[0]:
        raise unsupported(node, "needs a constant bias, one per output channel", "Export the model again")
    return replace(y, expr=ex.affine(y.expr, ex.ONE, per_channel(bias.value, len(y.shape))))


def convolution(b: Builder, node: Node, x: Data, w: Exacts, window: Window, groups: int) -> Data:
    """Integer weights from the exact product of the input channels' scales and w; one unit per output channel if need be.
    Padding is the real number 0, also where the codes have an offset: as the code of 0 if there is one; else the offset
    counts where a tap meets the input."""
    rank = len(x.shape)
    op, s, o = b.uniform(x, tuple(range(1, rank)), node.outputs[0] + ".x", node.name)
    out = len(w)
    check_data((out, *window.out), node.name)
    weights = times(w, by_group(cut(s, rank, tuple(range(1, rank))), x.shape[0], out, groups, w.ndim))
    scale = column_units(weights.reshape(out, -1).T, node)
    own = column_units(w.reshape(out, -1).T, node)
    integer_constant(over(w, per_channel(own, w.ndim)), "its weights", node.name)  # refuses float weights
    integers = integer_constant(over(weights, per_channel(scale, w.ndim)),
                                "its weights, with its operand's scales,", node.name, MAX_SCALED_BITS)
    scale = per_channel(scale, rank) if scale.size > 1 else scale.reshape(())
    offset, fill = ex.ZERO, 0
    if (o != 0).any():
        fill = zero_code(s, o)
        inside = plain_window(window.kernel) if fill else window
        offset = offsets(o, (x.shape[0], *inside.size) if fill else x.shape, w, inside, groups)
    leaf = b.emit(Conv, node.outputs[0], [op], node.name, scale, ex.ZERO, weight=integers, bias=np.zeros(out, np.int64),
                  strides=window.strides, pads=window.pads, dilations=window.dilations, groups=groups, fill=fill)
    return Data(ex.affine(leaf, scale, offset), (out, *window.out), x.batched)


def plain_window(kernel: tuple[int, ...]) -> Window:
    """One position, at which all taps meet the input."""
    ones = (1,) * len(kernel)
    return Window(kernel, kernel, ones, ones, (0,) * 2 * len(kernel))


def zero_code(s: Exacts, o: Exacts) -> int:
    """The code that means the real number 0 in all channels; 0 where there is none."""
    code = elementwise(lambda a, c: -c / a, s, o).reshape(-1)
    first = code[0]
    return int(first) if (code == first).all() and not isinstance(first, Surd) and first.denominator == 1 else 0


def by_group(s: Exacts, channels_in: int, out: int, groups: int, rank: int) -> Exacts:
    """A value per input channel (or one for all) as it meets weights [out, in / groups, *kernel]."""
    if s.size == 1:
        return s.reshape(())
    per_group = np.broadcast_to(s.reshape(-1), (channels_in,)).reshape(groups, -1)
    return np.repeat(per_group, out // groups, axis=0).reshape(out, -1, *(1,) * (rank - 2))


def offsets(o: Exacts, shape: tuple[int, ...], w: Exacts, window: Window, groups: int) -> Exacts:
    """What the operand's offset adds to every output: the convolution of the offset, exact."""
    out, rank = len(w), len(shape)
    if not same_along(o, rank, tuple(range(1, rank))):
        probe = Conv(name="", inputs=(), node="", type=None, weight=np.zeros(w.shape, np.int64),  # type: ignore[arg-type]
                     bias=np.zeros(out, np.int64), strides=window.strides, pads=window.pads, dilations=window.dilations,
                     groups=groups)
        return np.asarray(probe.sums(np.broadcast_to(o, shape)[None], w)[0], object)
    along = by_group(cut(o, rank, tuple(range(1, rank))), shape[0], out, groups, w.ndim)
    taps = np.asarray((w * along).reshape(out, w.shape[1], -1).sum(axis=1), object)  # [out, taps]
    patterns, which = np.unique(window.flat() >= 0, axis=1, return_inverse=True)  # few: inside, edges, corners
    values = np.asarray(taps @ patterns.astype(object), object)
    if values.shape[1] == 1:
        return per_channel(values, rank)
    return np.asarray(values[:, which.reshape(-1)].reshape(out, *window.out), object)


def conv_transpose(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """A convolution of the input with zeros between its elements and the kernel turned round."""
    x, w, *rest = inputs
    if not isinstance(w, Const):
        raise unsupported(node, "of two tensors is not supported", "Give the weights as constants")
    x = channels(b, node, x)
    a, n, groups, k = node.attributes, len(x.shape) - 1, node.attributes.get("group", 1), w.value.shape[2:]
    if w.value.ndim != n + 2 or len(w.value) != x.shape[0] or x.shape[0] % groups:
        raise unsupported(node, f"has operands of shapes {list(x.shape)} (one sample) and {list(w.value.shape)}",
                          "Export the model again")
    strides, dilations = tuple(a.get("strides", (1,) * n)), tuple(a.get("dilations", (1,) * n))
    extra, pads = tuple(a.get("output_padding", (0,) * n)), tuple(a.get("pads", (0,) * 2 * n))
    size = tuple((d - 1) * s + 1 for d, s in zip(x.shape[1:], strides, strict=True))
    reach = [(k[i] - 1) * dilations[i] for i in range(n)]
    auto = a.get("auto_pad", "NOTSET")
    if auto == "VALID":
        pads = (0,) * 2 * n
    if "output_shape" in a or auto.startswith("SAME"):
        target = tuple(a["output_shape"][-n:]) if "output_shape" in a else tuple(
            d * s for d, s in zip(x.shape[1:], strides, strict=True))
        total = [size[i] + reach[i] + extra[i] - target[i] for i in range(n)]
        small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
        pads = small + large if auto == "SAME_UPPER" else large + small
    check_data(size, node.name)
    stuffed = [np.where(np.arange(m) % s == 0, np.arange(m) // s, -1) for m, s in zip(size, strides, strict=True)]
    x = b.take(x, (np.arange(x.shape[0]), *stuffed), Fraction(0), node.outputs[0] + ".x", node.name)
    begins = tuple(reach[i] - pads[i] for i in range(n))
    ends = tuple(reach[i] - pads[n + i] + extra[i] for i in range(n))
    turned = np.flip(w.value.reshape(groups, -1, *w.value.shape[1:]).swapaxes(1, 2), axis=tuple(range(3, n + 3)))
    turned = turned.reshape(-1, x.shape[0] // groups, *k)
    window = Window(size, k, (1,) * n, dilations, begins + ends)
    return add_bias(node, convolution(b, node, x, turned, window, groups), rest)


# -- pools ---------------------------------------------------------------------------------------------------------------


def max_pool(b: Builder, node: Node, inputs: list[Any]) -> Value:
    if len([name for name in node.outputs if name]) > 1:
        raise unsupported(node, "with indices as second output is not supported", "Use its first output only")
    x = channels(b, node, inputs[0])
    window = geometry(node, x.shape[1:], tuple(node.attributes["kernel_shape"]), bool(node.attributes.get("ceil_mode", 0)))
    if (window.counts() == 0).any():
        raise unsupported(node, "has a window that lies in the padding only", "Pad less than the kernel's size")
    shape = (x.shape[0], *window.out)
    return extreme(b, node, x, True, ExtremePool, tuple(range(1, len(shape))), shape, kernel=window.kernel,
                   strides=window.strides, pads=window.pads, dilations=window.dilations)


def extreme(b: Builder, node: Node, x: Data, largest: bool, op_class: type[ExtremePool | ReduceExtreme],
            along: tuple[int, ...], shape: tuple[int, ...], **attributes: Any) -> Data:
    """The extreme over windows or all of `along`. It commutes with a monotone function, which then stays pending; where the
    function falls, the largest value comes from the smallest code. `shape` keeps the axes."""
    leaf, expr, slope = monotone(b, node, x, along)
    op, rank = b.operand(leaf.index), len(x.shape)
    scale, offset = (cut(a, rank, along) for a in (b.meanings[op.name].scale, b.meanings[op.name].offset))
    falls = np.asarray(slope < 0, bool)
    if falls.all():
        largest = not largest
    elif falls.any():  # some channels: on negated codes
        sign = np.where(falls, -1, 1)
        back = exacts(sign)
        scale = np.asarray(scale * back, object)
        negated = b.emit(Combine, node.outputs[0] + ".x", [op], node.name, scale, offset, scales=(sign,),
                         offset=np.zeros((), np.int64))
        op = b.operand(negated.index)
        expr = ex.substitute(expr, {leaf.index: ex.affine(leaf, back)})
    y = b.emit(op_class, node.outputs[0], [op], node.name, scale, offset, largest=int(largest), **attributes)
    return Data(ex.substitute(expr, {leaf.index: y}), shape, x.batched)


def monotone(b: Builder, node: Node, x: Data, axes: tuple[int, ...]) -> tuple[ex.Leaf, ex.Expr, Exacts]:
    """The data as a monotone function of one tensor, the same along `axes` (with length 1 there): leaf, function, slope."""
    rank = len(x.shape)
    used = ex.leaves(x.expr)
    if len(used) == 1 and b.shape_of(index := next(iter(used))) == x.shape:
        slope, meaning = ex.slope(x.expr), b.meanings[b.operand(index).name]
        constants: list[Exacts] = [meaning.scale, meaning.offset]
        ex.transform(x.expr, lambda a: constants.append(a) or a, lambda leaf: leaf)  # type: ignore[func-returns-value]
        if slope is not None and all(same_along(a, rank, axes) for a in constants):
            expr = ex.transform(x.expr, lambda a: cut(a, rank, axes), lambda leaf: leaf)
            return ex.Leaf(index), expr, cut(slope, rank, axes)
    op, s, o = b.uniform(x, axes, node.outputs[0] + ".x", node.name)
    if not same_along(o, rank, axes):
        raise unsupported(node, "has an operand with different offsets inside a window", QUANTISE_BEFORE)
    s, o = cut(s, rank, axes), cut(o, rank, axes)
    leaf = b.leaf_of(op)
    return leaf, ex.affine(leaf, s, o), np.asarray(np.where(s < 0, -1, 1), object)


def average_pool(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """Exact sums; the division stays in the pending expression, with a divisor per position where windows differ."""
    x = channels(b, node, inputs[0])
    kernel = tuple(node.attributes["kernel_shape"])
    window = geometry(node, x.shape[1:], kernel, bool(node.attributes.get("ceil_mode", 0)))
    counts = window.counts()
    if node.attributes.get("count_include_pad", 0):
        counts = padded_counts(node, window)
    if (counts == 0).any():
        raise unsupported(node, "has a window that lies in the padding only", "Pad less than the kernel's size")
    divisor = exacts(np.asarray(counts))
    divisor = divisor.reshape(-1)[:1].reshape(()) if (counts == counts.reshape(-1)[0]).all() else divisor[None]
    y = sum_pool(b, node, x, window)
    return replace(y, expr=ex.affine(y.expr, np.asarray(1 / divisor, object)))


def padded_counts(node: Node, window: Window) -> Any:
    """Elements and declared padding that every window meets; what `ceil_mode` adds beyond does not count."""
    n = len(window.size)
    plain = geometry(replace(node, attributes={**node.attributes, "ceil_mode": 0}), window.size, window.kernel)
    size = tuple(window.size[i] + plain.pads[i] + plain.pads[n + i] for i in range(n))
    beyond = tuple(window.pads[n + i] - plain.pads[n + i] for i in range(n))
    return Window(size, window.kernel, window.strides, window.dilations, (0,) * n + beyond).counts()


def sum_pool(b: Builder, node: Node, x: Data, window: Window) -> Data:
    """Sums over windows; padding is the real number 0. Of the operand's pieces where its own codes would be too wide."""
    try:
        return whole_sum_pool(b, node, x, window)
    except UserError:
        found = pieces(x.expr)
        if found is None:
            raise
    terms, offset = found
    rank = len(x.shape)
    spatial = tuple(range(1, rank))
    if not all(same_along(s, rank, spatial) for _, s in terms):
        raise unsupported(node, "has an operand with different scales inside a window", QUANTISE_BEFORE)
    parts: list[tuple[ex.Expr, Exacts]] = []
    for e, scale in terms:
        lo, hi = b.bounds(e)
        if (lo == hi).all():
            offset = plus(offset, times(scale, lo))
        else:
            parts.append((whole_sum_pool(b, node, replace(x, expr=e), window).expr, cut(scale, rank, spatial)))
    shape = (x.shape[0], *window.out)
    return Data(ex.add(parts, pooled_offset(offset, x.shape, window)), shape, x.batched)


def pooled_offset(o: Exacts, shape: tuple[int, ...], window: Window) -> Exacts:
    ones = np.broadcast_to(exacts(1), (shape[0], 1, *window.kernel))
    return offsets(o, shape, ones, window, shape[0]) if (o != 0).any() else ex.ZERO


def whole_sum_pool(b: Builder, node: Node, x: Data, window: Window) -> Data:
    rank = len(x.shape)
    spatial = tuple(range(1, rank))
    op, s, o = b.uniform(x, spatial, node.outputs[0] + ".x", node.name)
    s = cut(s, rank, spatial)
    leaf = b.emit(SumPool, node.outputs[0], [op], node.name, s, ex.ZERO, kernel=window.kernel, strides=window.strides,
                  pads=window.pads, dilations=window.dilations)
    return Data(ex.affine(leaf, s, pooled_offset(o, x.shape, window)), (x.shape[0], *window.out), x.batched)


HANDLERS: dict[str, Handler] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
}
