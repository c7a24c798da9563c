"""The best elements along an axis: ArgMax, ArgMin, TopK."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from gatewright.compiler.frontend.onnx_file import Node
from gatewright.compiler.frontend.standard.common import integers, onnx_shape
from gatewright.compiler.frontend.standard.moving import axis_of
from gatewright.compiler.frontend.standard.shape import reshaped
from gatewright.compiler.frontend.values import QUANTISE_BEFORE, Builder, Const, Data, Handler, Value, same_along, unsupported
from gatewright.ir import expr as ex
from gatewright.ir.exact import Exacts, abs_, elementwise, exacts, inverse
from gatewright.ir.graph import Op
from gatewright.ir.ops import Combine, TopK


def arg_extreme(b: Builder, node: Node, inputs: list[Any], largest: bool) -> Value:
    """The place of the largest (smallest) element: the first of equal ones, or with `select_last_index` the last."""
    x, = inputs
    shape = onnx_shape(b, x)
    axis = axis_of(node, node.attributes.get("axis", 0), len(shape))
    last = bool(node.attributes.get("select_last_index", 0))
    place: Value
    if isinstance(x, Const):
        place = Const(exacts(best_places(x.value, axis, 1, largest, last)), True)
    else:
        x = along(b, node, x, axis)
        a = axis - x.batched
        op, scale, _ = ranked_codes(b, node, x, a, places_only=True)
        place = places(b, node, x, op, node.outputs[0], axis=a, count=1, largest=int(largest != falls(scale)), last=int(last))
    if node.attributes.get("keepdims", 1):
        return place
    return reshaped(b, node, place, (*shape[:axis], *shape[axis + 1:]))


def top_k(b: Builder, node: Node, inputs: list[Any]) -> list[Value]:
    """The values, best first, and their places; of equal elements the first is better. What is to be `sorted` or not comes
    sorted."""
    x = inputs[0]
    shape = onnx_shape(b, x)
    axis = axis_of(node, node.attributes.get("axis", -1), len(shape))
    count = node.attributes["k"] if "k" in node.attributes else integers(inputs[1], node, "its k")[0]
    largest = bool(node.attributes.get("largest", 1))
    if not 1 <= count <= shape[axis]:
        raise unsupported(node, f"takes {count} of {shape[axis]} elements", "Export the model again")
    if isinstance(x, Const):
        order = best_places(x.value, axis, count, largest, False)
        return [Const(np.take_along_axis(x.value, order, axis), x.integer), Const(exacts(order), True)]
    x = along(b, node, x, axis)
    a = axis - x.batched
    op, scale, offset = ranked_codes(b, node, x, a, places_only=False)
    how = {"axis": a, "count": count, "largest": int(largest != falls(scale)), "last": 0}
    names = [name or node.name for name in (*node.outputs, "")]
    leaf = b.emit(TopK, names[0], [op], node.name, scale, offset, **how, index=0)
    values = Data(ex.affine(leaf, scale, offset), b.shape_of(leaf.index), x.batched)
    return [values, places(b, node, x, op, names[1], **how)]


def best_places(values: Any, axis: int, count: int, largest: bool, last: bool) -> Any:
    """Places of the best elements of a constant, best first."""
    turned = np.flip(values, axis) if largest != last else values
    order = np.argsort(turned, axis=axis, kind="stable")
    order = values.shape[axis] - 1 - order if largest != last else order
    return np.take(np.flip(order, axis) if largest else order, np.arange(count), axis=axis)


def along(b: Builder, node: Node, x: Data, axis: int) -> Data:
    """The data with the ONNX axis as an axis of the sample."""
    return b.unbatch(x, node.outputs[0] + ".x", node.name) if x.batched and axis == 0 else x


def places(b: Builder, node: Node, x: Data, op: Op, name: str, **how: Any) -> Data:
    leaf = b.emit(TopK, name, [op], node.name, ex.ONE, ex.ZERO, **how, index=1)
    return Data(leaf, b.shape_of(leaf.index), x.batched)


def falls(scale: Exacts) -> bool:
    """Whether a higher code means a lower number."""
    return bool((scale < 0).any())


def ranked_codes(b: Builder, node: Node, x: Data, axis: int, places_only: bool) -> tuple[Op, Exacts, Exacts]:
    """An integer tensor whose codes have the order of the real numbers along `axis` (the reverse order where its scale is
    negative, then everywhere), with scale and offset, constant along `axis`, except with `places_only`: then codes may be
    others of the same order."""
    name, rank = node.outputs[0] + ".x", len(x.shape)
    op, scale, offset = b.uniform(x, (axis,), name, node.name)
    signs = elementwise(lambda v: (v > 0) - (v < 0), scale).astype(np.int64)
    if signs.min() != signs.max():
        scale = elementwise(lambda v: abs_(v) or Fraction(1), scale)  # where it is 0, all codes become 0
        leaf = b.emit(Combine, name, [op], node.name, scale, offset, scales=(signs,), offset=np.zeros((), np.int64))
        op = b.operand(leaf.index)
    if same_along(offset, rank, (axis,)):
        return op, first(scale, rank, axis), first(offset, rank, axis)
    leaf = b.leaf_of(op)
    if places_only:
        leaf = b.region(order(leaf, scale, offset), x.shape, name, node.name, scale, ex.ZERO)
        return b.operand(leaf.index), scale, ex.ZERO
    step = ex.unit_of_all(ex.affine(leaf, scale, offset))
    if step is None:
        raise unsupported(node, "has an operand whose offsets along the axis have no common unit with its scale",
                          QUANTISE_BEFORE)
    leaf = b.region(ex.affine(leaf, scale * inverse(step), offset * inverse(step)), x.shape, name, node.name, exacts(step), ex.ZERO)
    return b.operand(leaf.index), exacts(step), ex.ZERO


def first(a: Exacts, rank: int, axis: int) -> Exacts:
    """What is the same along `axis`, with length 1 there."""
    own = axis - (rank - a.ndim)
    return np.take(a, [0], axis=own) if own >= 0 else a


def order(codes: ex.Expr, scale: Exacts, offset: Exacts) -> ex.Expr:
    """Integers in the order of scale * codes + offset, in few bits: of offset / scale the integer part is added to the code, and
    of what remains only the rank counts."""
    shift = np.asarray(offset * elementwise(inverse, scale), object)
    whole = elementwise(math.floor, shift)
    rests = np.asarray(shift - whole, object)
    ranks = {r: k for k, r in enumerate(sorted(set(rests.reshape(-1))))}
    steps = 1 << (len(ranks) - 1).bit_length()
    return ex.affine(codes, exacts(steps), exacts(elementwise(lambda w, r: w * steps + ranks[r], whole, rests)))


HANDLERS: dict[str, Handler] = {
    "ArgMax": lambda b, n, i: arg_extreme(b, n, i, True),
    "ArgMin": lambda b, n, i: arg_extreme(b, n, i, False),
    "TopK": top_k,  # type: ignore[dict-item]
}
