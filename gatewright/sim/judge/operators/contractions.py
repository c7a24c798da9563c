"""Sums of products: MatMul, Gemm, Einsum."""

from __future__ import annotations

from fractions import Fraction
from math import prod

import numpy as np

from gatewright.sim.judge import tensor
from gatewright.sim.judge.operators.call import Call, reshaped
from gatewright.sim.judge.tensor import Tensor

DOTS = "αβγδεζηθ"
"""The axes of an ellipsis, from the last one back."""


def matmul(call: Call) -> Tensor:
    return product(call, call.input(0), call.input(1))


def product(call: Call, a: Tensor, b: Tensor) -> Tensor:
    """numpy's rules: a vector on the left is a row, on the right a column, and its axis goes away again."""
    if min(a.rank, b.rank) == 0 or a.dims[-1] != b.dims[-2 if b.rank > 1 else -1]:
        raise call.refuse(f"the shapes {list(a.dims)} and {list(b.dims)} do not multiply")
    row, column = a.rank == 1, b.rank == 1
    a = tensor.restructure(a, lambda x: x[:, None, :]) if row else a
    b = tensor.restructure(b, lambda x: x[:, :, None]) if column else b
    rank = max(a.rank, b.rank)
    result = tensor.matmul(tensor.lift(a, rank), tensor.lift(b, rank))
    if row or column:
        gone = [axis for axis, vector in ((-2, row), (-1, column)) if vector]
        result = tensor.restructure(result, lambda x: np.squeeze(x, axis=tuple(gone)))
    return result


def gemm(call: Call) -> Tensor:
    return general_product(call, call.input(0), call.input(1), call.optional(2))


def general_product(call: Call, a: Tensor, b: Tensor, c: Tensor | None) -> Tensor:
    """`alpha * A * B + beta * C`, A and B transposed where the attributes say so."""
    if call.opset < 7:
        call.attribute("broadcast")
    if a.rank != 2 or b.rank != 2:
        raise call.refuse(f"the shapes {list(a.dims)} and {list(b.dims)} are not those of matrices")
    a, b = (tensor.restructure(x, lambda v: np.swapaxes(v, 1, 2)) if call.attribute(name, 0) else x
            for name, x in (("transA", a), ("transB", b)))
    result = tensor.by_number(product(call, a, b), Fraction(call.attribute("alpha", 1.0)))
    beta = Fraction(call.attribute("beta", 1.0))
    if c is None:
        return result
    call.check_broadcast(result, c)
    return tensor.add(result, tensor.by_number(c, beta))


def einsum(call: Call) -> Tensor:
    """Letters and an ellipsis; every operand's letters are different. Operands are joined from the left."""
    equation = call.text("equation", "").replace(" ", "")
    sources, arrow, target = equation.partition("->")
    operands = [call.input(i) for i in range(len(call.inputs))]
    labels = [t.replace("...", DOTS[len(DOTS) + len(t) - 3 - x.rank:]) for t, x in zip(sources.split(","), operands, strict=False)]
    dots = "".join(c for c in DOTS if c in "".join(labels))
    if not arrow:
        target = "..." + "".join(sorted(c for c in sources if c.isalpha() and sources.count(c) == 1))
    target = target.replace("...", dots)
    if (not all(part.isalpha() or not part for part in (*labels, target)) or any(len(set(p)) < len(p) for p in labels)
            or [len(p) for p in labels] != [x.rank for x in operands]):
        raise call.refuse(f"the equation '{equation}' is not known for these shapes")
    longest = {c: max(n for p, x in zip(labels, operands, strict=True) for a, n in zip(p, x.dims, strict=True) if a == c)
               for c in dots}
    (have, result), *others = [_repeated(p, x, longest) for p, x in zip(labels, operands, strict=True)]
    for number, (label, operand) in enumerate(others, 2):
        later = set(target).union(*labels[number:])
        have, result = _contracted(call, have, result, label, operand, later)
    result = _summed(result, have, set(target))
    have = "".join(c for c in have if c in target)
    return tensor.restructure(result, lambda v: v.transpose(0, *(have.index(c) + 1 for c in target)))


def _repeated(letters: str, x: Tensor, longest: dict[str, int]) -> tuple[str, Tensor]:
    """Without the axes of length 1 that another operand has longer."""
    gone = [i for i, c in enumerate(letters) if x.dims[i] == 1 < longest.get(c, 1)]
    kept = "".join(c for i, c in enumerate(letters) if i not in gone)
    return kept, tensor.restructure(x, lambda v: v.squeeze(tuple(i + 1 for i in gone)))


def _contracted(call: Call, left: str, a: Tensor, right: str, b: Tensor, later: set[str]) -> tuple[str, Tensor]:
    """Both joined over the letters that they share and nobody needs later."""
    a, b = _summed(a, left, later | set(right)), _summed(b, right, later | set(left))
    left, right = ("".join(c for c in x if c in later | set(y)) for x, y in ((left, right), (right, left)))
    sizes = {**dict(zip(left, a.dims, strict=True)), **dict(zip(right, b.dims, strict=True))}
    if any(n != sizes[c] for c, n in (*zip(left, a.dims, strict=True), *zip(right, b.dims, strict=True))):
        raise call.refuse("the lengths of one letter differ")
    shared = [c for c in left if c in right]
    batch, inner = [c for c in shared if c in later], [c for c in shared if c not in later]
    rows, columns = [c for c in left if c not in shared], [c for c in right if c not in shared]
    def matrix(x: Tensor, letters: str, *groups: list[str]) -> Tensor:
        order = [letters.index(c) + 1 for group in groups for c in group]
        dims = [prod(sizes[c] for c in group) for group in groups]
        return tensor.restructure(x, lambda v: v.transpose(0, *order).reshape(v.shape[0], *dims))
    result = tensor.matmul(matrix(a, left, batch, rows, inner), matrix(b, right, batch, inner, columns))
    letters = [*batch, *rows, *columns]
    return "".join(letters), reshaped(result, *(sizes[c] for c in letters))


def _summed(x: Tensor, letters: str, kept: set[str]) -> Tensor:
    gone = tuple(i + 1 for i, c in enumerate(letters) if c not in kept)
    return tensor.restructure(tensor.total(x, gone), lambda v: v.squeeze(gone)) if gone else x
