"""Sums of products: MatMul, Gemm, Einsum.

All are products of tensors whose axes have labels, summed over the labels that the result does not have. With a constant it is
a dense layer, or a convolution with groups where the constant is another one along axes that stay (a batch of matrices). Of two
data tensors it is their element-wise product, broadcast against each other, and a sum: a multiplier for every product in any form.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gatewright.compiler.frontend.onnx_file import Node
from gatewright.compiler.frontend.standard.common import broadcast, check_elements, onnx_shape
from gatewright.compiler.frontend.standard.elementwise import linear, mul
from gatewright.compiler.frontend.standard.linear import dense
from gatewright.compiler.frontend.standard.reductions import reduce_sum
from gatewright.compiler.frontend.standard.shape import reshaped, transposed
from gatewright.compiler.frontend.standard.windows import convolution
from gatewright.compiler.frontend.values import Builder, Const, Data, Handler, Value, unsupported
from gatewright.ir.exact import exacts
from gatewright.ir.windows import Window

MAX_PRODUCTS = 1 << 20
"""Products of two data tensors that one node may have: each is a multiplier."""

Label = Hashable
"""An axis: a letter of an equation, or counted from the end (-1, -2, ...) where it broadcasts."""


@dataclass(frozen=True)
class Labelled:
    """A tensor with a label for every ONNX axis."""

    value: Value
    labels: tuple[Label, ...]


def sizes(b: Builder, x: Labelled) -> dict[Label, int]:
    return dict(zip(x.labels, onnx_shape(b, x.value), strict=True))


def arranged(b: Builder, node: Node, x: Labelled, groups: Sequence[Sequence[Label]]) -> Value:
    """The tensor with its axes in the order of the groups, each group as one axis (of length 1 where it is empty)."""
    inner, length = replace(node, outputs=(node.outputs[0] + ".x",)), sizes(b, x)
    ordered = transposed(b, inner, x.value, tuple(x.labels.index(c) for group in groups for c in group))
    return reshaped(b, inner, ordered, tuple(math.prod(length[c] for c in group) for group in groups))


def without(b: Builder, node: Node, x: Labelled, gone: Collection[Label]) -> Labelled:
    """The tensor without axes of length 1."""
    if not gone:
        return x
    kept = tuple(c for c in x.labels if c not in gone)
    length = sizes(b, x)
    return Labelled(reshaped(b, replace(node, outputs=(node.outputs[0] + ".x",)), x.value, tuple(length[c] for c in kept)), kept)


def summed(b: Builder, node: Node, x: Labelled, kept: Collection[Label]) -> Labelled:
    """The sum over all labels but `kept`."""
    axes = tuple(a for a, c in enumerate(x.labels) if c not in kept)
    if not axes:
        return x
    value = reduce_sum(b, replace(node, attributes={"axes": axes, "keepdims": 0}), [x.value])
    return Labelled(value, tuple(c for c in x.labels if c in kept))


def contracted(b: Builder, node: Node, x: Labelled, y: Labelled, kept: Sequence[Label]) -> Labelled:
    """The product, summed over the labels that are not in `kept`."""
    x, y = summed(b, node, x, {*y.labels, *kept}), summed(b, node, y, {*x.labels, *kept})
    length = {**sizes(b, x), **sizes(b, y)}
    if any(length[c] != n for v in (x, y) for c, n in sizes(b, v).items()):
        raise unsupported(node, f"has operands of shapes {[list(onnx_shape(b, v.value)) for v in (x, y)]}, whose axes do not "
                          "match", "Export the model again")
    inner = [c for c in x.labels if c in y.labels and c not in kept]
    if inner and isinstance(x.value, Data) != isinstance(y.value, Data):
        return by_constant(b, node, *((x, y) if isinstance(x.value, Data) else (y, x)), inner)
    order = [*(c for c in kept if c in length), *inner]
    products = math.prod(length[c] for c in order)
    if isinstance(x.value, Const) and isinstance(y.value, Const):
        check_elements(node, products)
    elif products > MAX_PRODUCTS:
        raise unsupported(node, f"of two tensors takes {products} multipliers, more than {MAX_PRODUCTS}", "Use a smaller model")
    operands = [arranged(b, node, v, [[c] if c in v.labels else [] for c in order]) for v in (x, y)]
    product = replace(node, outputs=(node.outputs[0] + ".products",)) if inner else node
    return summed(b, node, Labelled(mul(b, product, operands), tuple(order)), kept)


def by_constant(b: Builder, node: Node, x: Labelled, w: Labelled, inner: Sequence[Label]) -> Labelled:
    """The same of data and a constant, summed over `inner`."""
    length = {**sizes(b, w), **sizes(b, x)}
    w = without(b, node, w, [c for c in w.labels if c in x.labels and c not in inner and length[c] == 1])
    along = [c for c in x.labels if c in w.labels and c not in inner]
    rows, columns = ([c for c in v.labels if c not in (*along, *inner)] for v in (x, w))
    assert isinstance(x.value, Data)
    samples = rows[:1] if x.value.batched and rows and rows[0] == x.labels[0] else []
    matrices = arranged(b, node, w, [along, inner, columns])
    groups = [*([c] for c in samples), [*along, *inner], rows[len(samples):]] if along else [*([c] for c in rows), inner]
    data = arranged(b, node, x, groups)
    assert isinstance(data, Data)
    assert isinstance(matrices, Const)
    if not samples:
        data = b.unbatch(data, node.outputs[0] + ".x", node.name)
    if not along:
        result, labels = dense(b, node, data, matrices.value[0]), [*rows, *columns]
    else:
        weights = matrices.value.transpose(0, 2, 1).reshape(-1, matrices.value.shape[1], 1)
        window = Window(data.shape[1:], (1,), (1,), (1,), (0, 0))
        result = convolution(b, node, data, weights, window, matrices.value.shape[0])
        labels = [*samples, *along, *columns, *rows[len(samples):]]
    return Labelled(reshaped(b, node, result, tuple(length[c] for c in labels)), tuple(labels))


def contraction(b: Builder, node: Node, operands: Sequence[Labelled], target: Sequence[Label]) -> Value:
    """The product of all operands, from the left, summed over what `target` does not have. Axes that are counted from the end
    broadcast."""
    lengths = [sizes(b, x) for x in operands]
    longest = {c: max(n.get(c, 1) for n in lengths) for n in lengths for c in n}
    result, *rest = (without(b, node, x, [c for c, n in size.items() if isinstance(c, int) and n == 1 and longest[c] > 1])
                     for x, size in zip(operands, lengths, strict=True))
    for k, x in enumerate(rest, 1):
        later = [c for other in rest[k:] for c in other.labels if c not in target]
        result = contracted(b, node, result, x, list(dict.fromkeys([*target, *later])))
    result = summed(b, node, result, target)
    return transposed(b, node, result.value, tuple(result.labels.index(c) for c in target))


def matmul(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """numpy's rules: a vector on the left is a row, on the right a column, and its axis goes away again."""
    (x, y), (left, right) = inputs, [onnx_shape(b, v) for v in inputs]
    if not left or not right or left[-1] != right[-2 if len(right) > 1 else -1]:
        raise unsupported(node, f"has operands of shapes {list(left)} and {list(right)}, which do not multiply",
                          "Export the model again")
    batch = tuple(range(-len(broadcast(node, left[:-2], right[:-2])), 0))
    row, column = ("i",) * (len(left) > 1), ("k",) * (len(right) > 1)
    return contraction(b, node, [Labelled(x, (*batch[len(batch) + 2 - len(left):], *row, "j")),
                                 Labelled(y, (*batch[len(batch) + 2 - len(right):], "j", *column))], (*batch, *row, *column))


def gemm(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """alpha * A' @ B' + beta * C."""
    a, w, *rest = inputs
    alpha, beta = (exacts(node.attributes.get(k, 1.0)) for k in ("alpha", "beta"))

    def turned(v: Value, flag: str) -> Value:
        part = replace(node, outputs=(node.outputs[0] + ".t",))
        return transposed(b, part, v, (1, 0)) if node.attributes.get(flag, 0) else v

    y = matmul(b, node, [turned(a, "transA"), turned(w, "transB")])
    y = mul(b, node, [y, Const(alpha)])
    if rest and rest[0] is not None and (beta != 0).any():
        y = linear(b, node, [y, mul(b, node, [rest[0], Const(beta)])], 1)
    return y


def einsum(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """Letters and an ellipsis; every operand's letters are different."""
    equation = str(node.attributes.get("equation", "")).replace(" ", "")
    sources, arrow, target = equation.partition("->")
    terms = sources.split(",")
    if len(terms) != len(inputs) or any(len(set(t.replace("...", ""))) < len(t.replace("...", "")) for t in (*terms, target)):
        raise unsupported(node, f"has the equation '{equation}' for {len(inputs)} operands; gatewright knows those in which the "
                          "letters of an operand are different", "Take a diagonal with Mul and ReduceSum")
    operands = [Labelled(v, labels(node, t, len(onnx_shape(b, v)))) for t, v in zip(terms, inputs, strict=True)]
    dots = sorted({c for x in operands for c in x.labels if isinstance(c, int)})
    letters = sorted(c for c in sources if c.isalpha())
    if not arrow:
        return contraction(b, node, operands, (*dots, *(c for c in letters if letters.count(c) == 1)))
    if not set(target.replace("...", "")) <= set(letters) or (dots and "..." not in target):
        raise unsupported(node, f"has the equation '{equation}', whose result has other axes than its operands",
                          "Export the model again")
    return contraction(b, node, operands, labels(node, target, len(target.replace("...", "")) + len(dots)))


def labels(node: Node, term: str, rank: int) -> tuple[Label, ...]:
    """The axes of a term of an equation; those of an ellipsis are counted from the end."""
    before, dots, after = term.partition("...")
    rest = rank - len(before) - len(after)
    if not (before + after + "a").isalpha() or rest < 0 or (rest and not dots):
        raise unsupported(node, f"has '{term}' in its equation for a tensor of rank {rank}", "Export the model again")
    return (*before, *range(-rest, 0), *after)


HANDLERS: dict[str, Handler] = {
    "MatMul": matmul,
    "Gemm": gemm,
    "Einsum": einsum,
}
