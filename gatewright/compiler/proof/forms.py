"""Exact linear forms: what every row of a Netlist is as an integer combination of rows that are no sums.

These rows are the *atoms*; two rows with equal forms have equal values whatever the atoms carry. Forms are sparse: the atoms
of row r are `atom[first[r]:first[r+1]]`, ascending, with coefficients that are not zero.

A row that is cut into slices is their sum again: with x >> k, rounded down, as an atom for every cut k, the slice x[a:b] is
(x >> a) - 2**(b - a) * (x >> b), the topmost one x >> a, and x >> 0 the form of x. What is cut and added up has the form of x.

Everything is exact in int64: `weight` bounds the sum of the absolute coefficients and the constant, of the form and of all that
it is made of on the way, in floating point with room for its rounding; a form beyond `LIMIT` counts as unknown.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from gatewright.compiler.proof.places import Places
from gatewright.ir.fixed import Ints
from gatewright.ir.netlist import Netlist, Op

LIMIT = float(1 << 61)
_INPUT, _SUM, _BITS = int(Op.INPUT), int(Op.SUM), int(Op.BITS)

EQUAL, DIFFERENT, UNKNOWN, ABSENT = range(4)
"""What a comparison finds: proven; refuted; not covered; an element that is nowhere, because nothing depends on it."""


class Columns(NamedTuple):
    """The columns of a Netlist and its tables, one after the other, for compiled code."""

    op: Ints
    imm: Ints
    aux: Ints
    lo: Ints
    hi: Ints
    first: Ints
    arg: Ints
    shift: Ints
    neg: Any
    table: Ints
    table_first: Ints


class Cuts(NamedTuple):
    """The rows that are linear in cuts of their operand x: base - 2**aux * (its cut `top` + `over`), where base is its cut `low`, or
    x itself (-1), and `top` may be none (-1). A cut x >> k is named by the row of one slice that begins there."""

    linear: Any
    low: Ints
    top: Ints
    over: Ints


class Forms(NamedTuple):
    """`lo`..`hi` are the bounds of the atoms: the row's, or for a cut what its operand's give."""

    first: Ints
    atom: Ints
    coef: Ints
    const: Ints
    weight: Any
    lo: Ints
    hi: Ints


class Elements(NamedTuple):
    """Where the Graph's elements are (`Places`), and the range that is known of each."""

    first: Ints
    row: Ints
    coef: Ints
    const: Ints
    gone: Any
    lo: Ints
    hi: Ints


def columns(netlist: Netlist) -> Columns:
    def wide(x: Any) -> Ints:
        return np.ascontiguousarray(x, np.int64)
    return Columns(wide(netlist.op), netlist.imm, netlist.aux, netlist.lo, netlist.hi, netlist.first, wide(netlist.arg),
                   wide(netlist.shift), netlist.neg, np.concatenate([np.zeros(0, np.int64), *netlist.tables]),
                   np.cumsum([0, *(len(t) for t in netlist.tables)]))


def elements(places: Places, lo: Ints, hi: Ints) -> Elements:
    return Elements(places.first, places.row.astype(np.int64), places.coef, places.const, places.gone, lo, hi)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _cuts(net: Columns, lo: Ints, hi: Ints) -> Cuts:
    """The slices from which slices of the same row lead without a gap to its top; puts the bounds of cuts into lo..hi.

    Other slices stay atoms, which are shorter: nothing could cancel their ends. A slice x[a:b] is (x >> a) - 2**(b - a) * over with
    over = x >> b, or rounded to nearest where it is signed, which is a constant at the top.
    """
    n = len(net.op)
    cuts = Cuts(np.zeros(n, np.bool_), np.full(n, -1), np.full(n, -1), np.zeros(n, np.int64))
    rows = np.flatnonzero(net.op == _BITS)
    begin, reaches = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.bool_)
    for i in range(len(rows)):
        r, f = rows[i], net.first[rows[i]]
        x, begin[i] = net.arg[f], net.imm[r] - net.shift[f]
        end = min(begin[i] + net.aux[r], 63)
        if begin[i] >= 0:
            half = np.int64(1) << (end - 1) if net.lo[r] < 0 else np.int64(0)
            cuts.over[r] = (net.lo[x] + half) >> end
            reaches[i] = cuts.over[r] == (net.hi[x] + half) >> end
    named = {np.int64(-1): np.int64(-1)}  # x * 64 + k: its name
    for i in np.argsort(-2 * begin - reaches):  # from the top down
        r, x = rows[i], net.arg[net.first[rows[i]]]
        if begin[i] < 0:
            continue
        if not reaches[i]:
            end = x * 64 + min(begin[i] + net.aux[r], 63)
            if net.lo[r] < 0 or end not in named:
                continue
            cuts.top[r], cuts.over[r] = named[end], 0
        cuts.linear[r] = True
        if begin[i] > 0:
            cuts.low[r] = named.setdefault(x * 64 + begin[i], r)
            if cuts.low[r] == r:
                lo[r], hi[r] = net.lo[x] >> begin[i], net.hi[x] >> begin[i]
    return cuts


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def linear_forms(net: Columns) -> Forms:
    """The forms of all rows. A row that can have one value only is that constant."""
    n = len(net.op)
    lo, hi = net.lo.copy(), net.hi.copy()
    cuts = _cuts(net, lo, hi)
    first, const, weight = np.zeros(n + 1, np.int64), np.zeros(n, np.int64), np.zeros(n, np.float64)
    own = np.zeros(n, np.float64)  # of the form itself; constants that cancel are not in it
    atom, coef = np.zeros(4 * n + 16, np.int64), np.zeros(4 * n + 16, np.int64)
    size = 0
    for r in range(n):
        first[r] = size
        if net.lo[r] == net.hi[r]:
            const[r], weight[r] = net.lo[r], abs(np.float64(net.lo[r]))
        elif cuts.linear[r]:
            x, scale = net.arg[net.first[r]], np.int64(1) << net.aux[r]
            end = size
            if size + first[x + 1] - first[x] + 2 > len(atom):
                atom, coef = _room(atom, coef, size + first[x + 1] - first[x] + 2)
            if cuts.low[r] >= 0:
                end, weight[r] = _insert(atom, coef, size, end, cuts.low[r], 1), 1.0
            else:
                for k in range(first[x], first[x + 1]):
                    atom[end], coef[end] = atom[k], coef[k]
                    end += 1
                const[r], weight[r] = const[x], weight[x]
            over = abs(np.float64(cuts.over[r]))
            if cuts.top[r] >= 0:
                end, over = _insert(atom, coef, size, end, cuts.top[r], -scale), np.float64(1)
            const[r] -= scale * cuts.over[r]
            size, weight[r] = end, weight[r] + np.float64(scale) * over
        elif net.op[r] != _SUM:
            if size + 1 > len(atom):
                atom, coef = _room(atom, coef, size + 1)
            atom[size], coef[size], weight[r] = r, 1, 1.0
            size += 1
        else:
            total = 0
            for k in range(net.first[r], net.first[r + 1]):
                total += first[net.arg[k] + 1] - first[net.arg[k]]
            if size + 2 * total > len(atom):
                atom, coef = _room(atom, coef, size + 2 * total)
            const[r], here, before = net.imm[r], abs(np.float64(net.imm[r])), 0.0
            end = size
            for k in range(net.first[r], net.first[r + 1]):
                x, scale = net.arg[k], (np.int64(-1) if net.neg[k] else np.int64(1)) << net.shift[k]
                const[r] += scale * const[x]
                here += abs(np.float64(scale)) * own[x]
                before = max(before, weight[x])
                end = _merge(atom, coef, size, end, first[x], first[x + 1], scale, size + total)
            size, weight[r] = end, max(here, before)
        first[r + 1] = size
        own[r] = abs(np.float64(const[r]))
        for k in range(first[r], size):
            own[r] += abs(np.float64(coef[k]))
    return Forms(first, atom[:size], coef[:size], const, weight, lo, hi)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _insert(atom: Any, coef: Any, begin: int, end: int, at: int, c: int) -> int:
    """Puts c times an atom that is not there into the form at `begin:end`; returns its new end."""
    k = end
    while k > begin and atom[k - 1] > at:
        atom[k], coef[k] = atom[k - 1], coef[k - 1]
        k -= 1
    atom[k], coef[k] = at, c
    return end + 1


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _room(atom: Any, coef: Any, size: int) -> Any:
    more = np.zeros(max(2 * len(atom), size), np.int64)
    less = np.zeros(len(more), np.int64)
    more[:len(atom)] = atom
    less[:len(coef)] = coef
    return more, less


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _merge(atom: Any, coef: Any, begin: int, end: int, other: int, stop: int, scale: int, spare: int) -> int:
    """Adds `scale` times the form at `other:stop` to the one at `begin:end`; returns its new end. `spare`: free space."""
    size = end - begin
    for k in range(size):
        atom[spare + k], coef[spare + k] = atom[begin + k], coef[begin + k]
    a, b, at = spare, other, begin
    while a < spare + size or b < stop:
        if b == stop or (a < spare + size and atom[a] < atom[b]):
            atom[at], coef[at] = atom[a], coef[a]
            a += 1
        elif a == spare + size or atom[b] < atom[a]:
            atom[at], coef[at] = atom[b], scale * coef[b]
            b += 1
        else:
            atom[at], coef[at] = atom[a], coef[a] + scale * coef[b]
            a, b = a + 1, b + 1
        if coef[at] != 0:
            at += 1
    return at


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def add_row(forms: Forms, row: int, scale: int, acc: Any, touched: Any, count: int) -> int:
    """acc += scale * form(row), but for its constant; `touched[:count]` are the atoms that acc may hold. Returns the new count.

    `acc` is all zero outside of `touched`; an atom is listed once, because `touched`'s second half marks it.
    """
    n = len(acc)
    for k in range(forms.first[row], forms.first[row + 1]):
        at = forms.atom[k]
        if touched[n + at] == 0:
            touched[n + at] = 1
            touched[count] = at
            count += 1
        acc[at] += scale * forms.coef[k]
    return count


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def add_element(forms: Forms, el: Elements, e: int, scale: int, acc: Any, touched: Any, count: int) -> Any:
    """The same for an element; returns (count, its constant, its weight), both times scale."""
    const, weight = scale * el.const[e], abs(np.float64(scale)) * abs(np.float64(el.const[e]))
    for k in range(el.first[e], el.first[e + 1]):
        row, factor = el.row[k], scale * el.coef[k]
        const += factor * forms.const[row]
        weight += abs(np.float64(scale)) * abs(np.float64(el.coef[k])) * forms.weight[row]
        count = add_row(forms, row, factor, acc, touched, count)
    return count, const, weight


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def element_forms(forms: Forms, el: Elements, which: Ints) -> Forms:
    """The forms of some elements."""
    n, count = len(forms.const), len(which)
    acc, touched = np.zeros(n, np.int64), np.zeros(2 * n + 1, np.int64)
    first, const, weight = np.zeros(count + 1, np.int64), np.zeros(count, np.int64), np.zeros(count, np.float64)
    atom, coef = np.zeros(4 * count + 16, np.int64), np.zeros(4 * count + 16, np.int64)
    size = 0
    for i in range(count):
        met, const[i], weight[i] = add_element(forms, el, which[i], 1, acc, touched, 0)
        if size + met > len(atom):
            atom, coef = _room(atom, coef, size + met)
        for at in np.sort(touched[:met]):
            if acc[at] != 0:
                atom[size], coef[size] = at, acc[at]
                size += 1
        clear(acc, touched, met)
        first[i + 1] = size
    return Forms(first, atom[:size], coef[:size], const, weight, forms.lo, forms.hi)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def clear(acc: Any, touched: Any, count: int) -> bool:
    """Empties acc; whether it was zero everywhere."""
    n, zero = len(acc), True
    for k in range(count):
        at = touched[k]
        zero &= acc[at] == 0
        acc[at] = 0
        touched[n + at] = 0
    return zero


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def interval(forms: Forms, row: int) -> Any:
    """The range of a row's form for all values of its atoms within their bounds; (1, 0) where it may be too wide."""
    lo = hi = forms.const[row]
    size = forms.weight[row]
    for k in range(forms.first[row], forms.first[row + 1]):
        c, at = forms.coef[k], forms.atom[k]
        size += abs(np.float64(c)) * max(abs(np.float64(forms.lo[at])), abs(np.float64(forms.hi[at])))
        lo += c * (forms.lo[at] if c > 0 else forms.hi[at])
        hi += c * (forms.hi[at] if c > 0 else forms.lo[at])
    return (np.int64(1), np.int64(0)) if size > LIMIT else (lo, hi)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def follows(net: Columns, fine: Any, seen: Any) -> Any:
    """Of the rows of which the bounds follow from their operands' (`fine`), those where that holds back to the inputs, or to rows that
    lie within their bounds for other reasons (`seen`)."""
    sure = fine | seen
    for r in range(len(sure)):
        if not seen[r]:
            for k in range(net.first[r], net.first[r + 1]):
                sure[r] &= sure[net.arg[k]]
    return sure


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def element_interval(forms: Forms, net: Columns, el: Elements, e: int) -> Any:
    """The same for an element that is a sum, but for its sign and a constant: what other rows tell of it, not its own bounds, which are
    to be proven."""
    at = el.first[e]
    if el.first[e + 1] == at + 1 and abs(el.coef[at]) == 1 and net.op[el.row[at]] == _SUM:
        lo, hi = interval(forms, el.row[at])
        if lo <= hi:
            return (lo + el.const[e], hi + el.const[e]) if el.coef[at] == 1 else (el.const[e] - hi, el.const[e] - lo)
    return np.int64(1), np.int64(0)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def compare_linear(net: Columns, forms: Forms, el: Elements, base: int, operands: Ints, first: Ints, element: Ints, weight: Ints,
                   const: Ints) -> Any:
    """Compares the elements base, base + 1, ... with const[i] + sum of weight * element over the terms first[i]:first[i+1],
    coefficient by coefficient. Returns what it found of each; sets their ranges.

    Forms that differ are different values, unless the netlist's has atoms that belong to none of the `operands`: then it may be
    equal for a reason that forms do not show, and is unknown.
    """
    n = len(net.op)
    known = _support(net, forms, el, operands)
    found = np.zeros(len(const), np.int64)
    acc, touched = np.zeros(n, np.int64), np.zeros(2 * n + 1, np.int64)
    for i in range(len(const)):
        e = base + i
        lo = hi = const[i]
        size, reach, missing = abs(np.float64(const[i])), abs(np.float64(const[i])), False
        count, total = 0, -const[i]
        for k in range(first[i], first[i + 1]):
            x, w = element[k], weight[k]
            if w == 0:
                continue
            missing |= el.gone[x]
            count, c, s = add_element(forms, el, x, -w, acc, touched, count)
            total, size = total + c, size + s
            reach += abs(np.float64(w)) * max(abs(np.float64(el.lo[x])), abs(np.float64(el.hi[x])))
            lo += w * (el.lo[x] if w > 0 else el.hi[x])
            hi += w * (el.hi[x] if w > 0 else el.lo[x])
        count, c, s = add_element(forms, el, e, 1, acc, touched, count)
        foreign = False
        for k in range(count):
            foreign |= not known[touched[k]] and acc[touched[k]] != 0
        zero = clear(acc, touched, count)
        if reach < LIMIT:
            el.lo[e], el.hi[e] = lo, hi
        if el.gone[e]:
            found[i] = ABSENT
        elif missing or size + s > LIMIT or reach > LIMIT:
            found[i] = UNKNOWN
        elif not zero or total + c != 0:
            found[i] = UNKNOWN if foreign else DIFFERENT
        else:
            lo, hi = element_interval(forms, net, el, e)
            if lo <= hi:
                el.lo[e], el.hi[e] = max(el.lo[e], lo), min(el.hi[e], hi)
    return found


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _support(net: Columns, forms: Forms, el: Elements, operands: Ints) -> Any:
    """The atoms that are inputs or belong to an operand."""
    known = net.op == _INPUT
    for e in operands:
        for k in range(el.first[e], el.first[e + 1]):
            for j in range(forms.first[el.row[k]], forms.first[el.row[k] + 1]):
                known[forms.atom[j]] = True
    return known


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def fit_bounds(net: Columns, forms: Forms, of: Forms, lo: Ints, hi: Ints, fine: Any) -> None:
    """Marks in `fine` the sums, and slices that are sums of others, whose form lies within their bounds, for all values of its atoms
    within theirs; or, where the form has a multiple of a whole element (`of` are their forms, lo..hi their ranges), of that element."""
    n = len(net.op)
    acc, owner = np.zeros(n, np.int64), np.full(n, -1)
    for e in range(len(lo)):
        for k in range(of.first[e], of.first[e + 1]):
            owner[of.atom[k]] = e
    for r in range(n):
        if fine[r] or (net.op[r] != _SUM and net.op[r] != _BITS) or forms.weight[r] > LIMIT:
            continue
        if net.op[r] == _BITS and (forms.first[r] == forms.first[r + 1] or forms.atom[forms.first[r + 1] - 1] == r):
            continue  # its bounds are those of its form
        taken = range(forms.first[r], forms.first[r + 1])
        for k in taken:
            acc[forms.atom[k]] = forms.coef[k]
        least = most = forms.const[r]
        size = forms.weight[r]
        for k in taken:
            at = forms.atom[k]
            e, c = owner[at], acc[at]
            low, high = forms.lo[at], forms.hi[at]
            if c != 0 and e >= 0:
                c = _multiple(of, e, acc)
            if c != 0 and e >= 0:
                for j in range(of.first[e], of.first[e + 1]):
                    acc[of.atom[j]] = 0
                low, high = lo[e] - of.const[e], hi[e] - of.const[e]
            else:
                c, acc[at] = acc[at], 0
            size += abs(np.float64(c)) * max(abs(np.float64(low)), abs(np.float64(high)))
            least += c * (low if c > 0 else high)
            most += c * (high if c > 0 else low)
        fine[r] = size < LIMIT and net.lo[r] <= least and most <= net.hi[r]


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _multiple(of: Forms, e: int, acc: Any) -> Any:
    """The c of which acc holds c times all of element e; 0 if there is none."""
    f = of.first[e]
    c = acc[of.atom[f]] // of.coef[f]
    for k in range(f, of.first[e + 1]):
        if acc[of.atom[k]] != c * of.coef[k]:
            return np.int64(0)
    return c


def written(forms: Forms, el: Elements, parts: list[tuple[int, int]], const: int = 0) -> tuple[dict[int, int], int]:
    """The form of sum of weight * element + const, {atom: coefficient} and its constant: for messages."""
    total: dict[int, int] = {}
    for e, w in parts:
        const += w * int(el.const[e])
        for k in range(el.first[e], el.first[e + 1]):
            row, factor = int(el.row[k]), w * int(el.coef[k])
            const += factor * int(forms.const[row])
            for j in range(forms.first[row], forms.first[row + 1]):
                at = int(forms.atom[j])
                total[at] = total.get(at, 0) + factor * int(forms.coef[j])
    return {k: v for k, v in sorted(total.items()) if v}, const
