"""Products, choices and extremes of wide operands: the rows must be the operation itself, on rows that equal its operands."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from gatewright.compiler.proof.forms import ABSENT, EQUAL, LIMIT, UNKNOWN, Columns, Elements, Forms
from gatewright.ir.fixed import Ints
from gatewright.ir.netlist import Op

_GE, _SELECT, _MUL = int(Op.GE), int(Op.SELECT), int(Op.MUL)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _same(forms: Forms, of: Forms, x: int, row: int, shift: int) -> bool:
    """Whether the element with form x of `of` is row << shift, as linear forms."""
    a, b = of.first[x], forms.first[row]
    if of.first[x + 1] - a != forms.first[row + 1] - b or of.const[x] != forms.const[row] << shift:
        return False
    if max(of.weight[x], forms.weight[row] * 2.0**shift) > LIMIT:
        return False
    for k in range(of.first[x + 1] - a):
        if of.atom[a + k] != forms.atom[b + k] or of.coef[a + k] != forms.coef[b + k] << shift:
            return False
    return True


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _only_row(el: Elements, e: int) -> int:
    """The row that an element is, or -1."""
    f = el.first[e]
    return el.row[f] if el.first[e + 1] == f + 1 and el.coef[f] == 1 and el.const[e] == 0 else -1


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def compare_choices(net: Columns, forms: Forms, el: Elements, of: Forms, base: int, operands: Ints) -> Any:
    """Elements that are products (two operands) or selections (three: condition, then, else) of elements, of which `of` are the
    forms."""
    found, width = np.full(len(operands), UNKNOWN), operands.shape[1]
    for i in range(len(operands)):
        e = base + i
        if el.gone[e]:
            found[i] = ABSENT
            continue
        r = _only_row(el, e)
        product = width == 2
        if r < 0 or net.op[r] != (_MUL if product else _SELECT):
            continue
        f = net.first[r]
        same = True
        for k in range(width):
            same &= _same(forms, of, i * width + k, net.arg[f + k], net.shift[f + k])
        if product and not same:
            same = (_same(forms, of, i * width, net.arg[f + 1], net.shift[f + 1])
                    and _same(forms, of, i * width + 1, net.arg[f], net.shift[f]))
        for x in operands[i]:
            same &= not el.gone[x]
        if not same:
            continue
        x, y = operands[i, -2], operands[i, -1]
        if product:
            a, b, c, d = el.lo[x] * el.lo[y], el.lo[x] * el.hi[y], el.hi[x] * el.lo[y], el.hi[x] * el.hi[y]
            widest = [max(abs(np.float64(el.lo[z])), abs(np.float64(el.hi[z]))) for z in (x, y)]
            if widest[0] * widest[1] > LIMIT:
                continue
            if x == y:
                el.lo[e], el.hi[e] = (0 if el.lo[x] <= 0 <= el.hi[x] else min(a, d)), max(a, d)
            else:
                el.lo[e], el.hi[e] = min(a, b, c, d), max(a, b, c, d)
        else:
            el.lo[e], el.hi[e] = min(el.lo[x], el.lo[y]), max(el.hi[x], el.hi[y])
        found[i] = EQUAL
    return found


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _winner(net: Columns, r: int, largest: bool) -> bool:
    """Whether a row is the larger (or smaller) one of two rows: a selection by their own comparison."""
    if net.op[r] != _SELECT:
        return False
    s = net.first[r]
    c = net.arg[s]
    if net.op[c] != _GE:
        return False
    g = net.first[c]
    for k in range(2):
        if net.shift[g + k] or net.shift[s + 1 + k] or net.arg[g + k] != net.arg[s + 1 + (k if largest else 1 - k)]:
            return False
    return True


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def compare_extremes(net: Columns, forms: Forms, el: Elements, of: Forms, base: int, first: Ints, element: Ints, largest: bool,
                     seen: Any) -> Any:
    """Elements that are the largest (or smallest) of the elements element[first[i]:first[i + 1]]: by any tree of pairwise
    choices whose ends are these, each at least once. One that cannot win, by its range, may be missing."""
    n, found = len(net.op), np.full(len(first) - 1, UNKNOWN)
    owner, lo, hi = np.full(n, -1), np.zeros(n, np.int64), np.zeros(n, np.int64)
    for i in range(len(found)):
        e = base + i
        candidates = element[first[i]:first[i + 1]]
        fine = len(candidates) > 0
        for x in candidates:
            fine &= not el.gone[x]
        if el.gone[e]:
            found[i] = ABSENT
        root = -1 if el.gone[e] else _only_row(el, e)
        if root < 0 or not fine:
            continue
        rows = _tree(net, forms, el, of, first[i], root, candidates, largest, owner)
        met = np.zeros(len(candidates), np.bool_)
        for r in rows:
            if owner[r] >= 0:
                x = candidates[owner[r]]
                met[owner[r]], lo[r], hi[r] = True, el.lo[x], el.hi[x]
            elif _winner(net, r, largest):
                a, b = net.arg[net.first[r] + 1], net.arg[net.first[r] + 2]
                lo[r] = max(lo[a], lo[b]) if largest else min(lo[a], lo[b])
                hi[r] = max(hi[a], hi[b]) if largest else min(hi[a], hi[b])
                seen[r] |= lo[r] >= net.lo[r] and hi[r] <= net.hi[r]
            else:
                fine = False
        if fine:
            el.lo[e], el.hi[e] = lo[root], hi[root]
            for k in range(len(candidates)):
                x = candidates[k]
                for r in rows:  # of equal candidates, one is met
                    met[k] |= owner[r] >= 0 and _same(forms, of, first[i] + k, r, 0)
                fine &= met[k] or (el.hi[x] <= lo[root] if largest else el.lo[x] >= hi[root])
        if fine:
            found[i] = EQUAL
        for r in rows:
            owner[r] = -1
    return found


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _tree(net: Columns, forms: Forms, el: Elements, of: Forms, begin: int, root: int, candidates: Any, largest: bool,
          owner: Any) -> Any:
    """The rows of a tree of choices, ascending; `owner` says which candidate an end is."""
    rows, stack = [root], [root]
    rows.clear()
    while len(stack) and len(rows) < 4 * len(candidates):
        r = stack.pop()
        if owner[r] >= 0:
            continue
        rows.append(r)
        for k in range(len(candidates)):
            if _only_row(el, candidates[k]) == r:
                owner[r] = k
        if owner[r] < 0 and _winner(net, r, largest):
            stack.append(net.arg[net.first[r] + 1])
            stack.append(net.arg[net.first[r] + 2])
            continue
        for k in range(len(candidates)):
            if owner[r] < 0 and _same(forms, of, begin + k, r, 0):
                owner[r] = k
    return np.unique(np.array(rows))
