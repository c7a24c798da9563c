"""Refinement: a given sharing is changed here and there while that saves LUTs, and at first also where it costs a few.

Simulated annealing (Kirkpatrick, Gelatt and Vecchi, 1983) with two moves. One dissolves a shared node in all sums that read it. The
other takes digits that two sums have in common into a new node, or, where these are all of a node, reads that node. The greedy
searches value digits; here the LUTs count that a sum takes: of its compressor tree, about, or of its tree of additions, of which there is
one more for every second digit only where these have three operands.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numba
import numpy as np

from gatewright.compiler.arithmetic.chance import below
from gatewright.compiler.arithmetic.depth import levels, places
from gatewright.compiler.arithmetic.heap import rough_luts
from gatewright.compiler.arithmetic.tree_luts import COLUMNS, HIGH, LEVEL, LOW, NEGATIVE, NODE, SHIFT, bits, tree_luts

NONE = -1
RECENT = 64
"""Sums that changed last; every second move looks at one of them."""
MOST_READERS = 16
"""A node that more sums read is not dissolved."""

_State = namedtuple("_State", (
    "row", "node", "shift", "sign", "next_digit", "last_digit", "next_use", "last_use", "same",  # of digits
    "head", "length", "luts", "used", "budget",  # of sums; those of the nodes are behind the outputs'
    "reader", "readers", "low", "high", "level", "mark", "load",  # of nodes; the shared ones are behind the operands
    "free", "vacant", "recent", "number", "random", "terms", "lists"))
"""The digits of a sum are a doubly linked list, and so are those of a node. `number`: how many there are of the following."""
_FREE, _VACANT, _SUMS, _RECENT, _OPERANDS, _OUTPUTS, _ARITY, _WORK, _HEAPS = range(9)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def refine(out: Any, node: Any, shift: Any, sign: Any, reach: Any, load: Any, budget: Any, low: Any, arity: int, heaps: bool,
           work: int, heat: float, seed: int) -> Any:
    """A cheaper sharing. The first arguments, and the result, are the state of `sharing.share`.

    No digit may be twice in a sum. `low`: the least value of every operand's bits, read as an unsigned number; `heaps`: whether sums of
    more than one addition are compressor trees; `work`: how long to go on, a measure of steps; `heat`: LUTs that a move may cost in the
    beginning.
    """
    s = _state(out, node, shift, sign, reach, load, budget, low, arity, heaps, seed)
    while s.number[_WORK] < work:
        s.number[_WORK] += 1
        recent = min(s.number[_RECENT], RECENT)
        row = s.recent[below(s.random, recent)] if recent and below(s.random, 2) else below(s.random, s.number[_SUMS])
        if s.length[row] == 0:
            continue
        now = heat * (1.0 - s.number[_WORK] / work)
        if row >= s.number[_OUTPUTS] and below(s.random, 3) == 0:
            _dissolve(s, row, now)
        else:
            _share(s, row, now)
    return _columns(s)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def sharing_luts(out: Any, node: Any, shift: Any, sign: Any, reach: Any, load: Any, budget: Any, low: Any, arity: int) -> float:
    """LUTs of all sums as trees of additions. Arguments as those of `refine`."""
    return float(_state(out, node, shift, sign, reach, load, budget, low, arity, False, 1).luts.sum())


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _state(out: Any, node: Any, shift: Any, sign: Any, reach: Any, load: Any, budget: Any, low: Any, arity: int, heaps: bool,
           seed: int) -> Any:
    """Room for as many digits as there are when every node is dissolved, and for the nodes that they can make."""
    sums, nodes, operands = len(budget), len(reach), len(low)
    outputs = sums - (nodes - operands)
    dissolved = np.ones(nodes, np.int64)
    dissolved[operands:] = 0
    room, longest, before = 0, 0, -1
    while room != before:  # as often as nodes are nested
        before, total = room, np.zeros(sums, np.int64)
        for i in range(len(out)):
            total[out[i]] += dissolved[node[i]]
        dissolved[operands:] = total[outputs:]
        room, longest = total.sum() + 2 * len(out), total.max() + 2
    most = sums + len(out)
    digit, of_sum, of_node = np.full((9, room), NONE, np.int64), np.zeros((2, most), np.int64), np.zeros((6, most + operands), np.int64)
    of_sum[0], of_node[0], of_node[5] = NONE, NONE, NONE
    load_of, used = np.ones(most + operands), np.zeros((3, most))
    used[1, :sums], load_of[:nodes] = budget, load
    for v in range(nodes):
        least = low[v] if v < operands else 0
        of_node[2, v], of_node[3, v], of_node[4, v] = least, least + np.int64(reach[v]), np.int64(levels(load[v], arity))
    s = _State(digit[0], digit[1], digit[2], digit[3], digit[4], digit[5], digit[6], digit[7], digit[8],
               of_sum[0], of_sum[1], used[2], used[0], used[1],
               of_node[0], of_node[1], of_node[2], of_node[3], of_node[4], of_node[5], load_of,
               np.arange(room)[::-1].copy(), np.zeros(most, np.int64), np.zeros(RECENT, np.int64),
               np.array([room, 0, sums, 0, operands, outputs, arity, 0, heaps]), np.array([2 * seed + 1], np.uint64),
               np.zeros((COLUMNS, longest), np.int64), np.zeros((4, 3, longest), np.int64))
    for i in range(len(out)):
        _enter(s, out[i], node[i], shift[i], sign[i])
    for row in range(sums):
        s.luts[row] = _luts(s, s.lists[0], _read(s, row, s.lists[0]), row)
    return s


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _accepts(s: Any, costs: float, heat: float) -> bool:
    """Always what costs nothing; what costs LUTs the more seldom, the more it costs and the colder it is."""
    return costs <= 0 or (heat > 0.0 and below(s.random, 1 << 20) < (1 << 20) * np.exp(-costs / heat))


# -- digits of sums ------------------------------------------------------------------------------------------------------


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _link(i: int, heads: Any, at: int, after: Any, before: Any) -> None:
    """Puts a digit in front of the list that begins at heads[at]."""
    after[i], before[i] = heads[at], NONE
    if heads[at] != NONE:
        before[heads[at]] = i
    heads[at] = i


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _unlink(i: int, heads: Any, at: int, after: Any, before: Any) -> None:
    """Takes a digit out of the list that begins at heads[at]."""
    if before[i] == NONE:
        heads[at] = after[i]
    else:
        after[before[i]] = after[i]
    if after[i] != NONE:
        before[after[i]] = before[i]


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _enter(s: Any, row: int, node: int, shift: int, sign: int) -> None:
    s.number[_FREE] -= 1
    i = s.free[s.number[_FREE]]
    s.row[i], s.node[i], s.shift[i], s.sign[i] = row, node, shift, sign
    _link(i, s.head, row, s.next_digit, s.last_digit)
    _link(i, s.reader, node, s.next_use, s.last_use)
    s.length[row] += 1
    s.readers[node] += 1
    s.used[row] += s.load[node]


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _leave(s: Any, i: int) -> None:
    row, node = s.row[i], s.node[i]
    _unlink(i, s.head, row, s.next_digit, s.last_digit)
    _unlink(i, s.reader, node, s.next_use, s.last_use)
    s.length[row] -= 1
    s.readers[node] -= 1
    s.used[row] -= s.load[node]
    s.free[s.number[_FREE]] = i
    s.number[_FREE] += 1


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _read(s: Any, row: int, digits: Any) -> int:
    """Writes the digits of a sum to `digits` [node, shift, sign]; returns how many there are."""
    i, count = s.head[row], 0
    while i != NONE:
        digits[0, count], digits[1, count], digits[2, count] = s.node[i], s.shift[i], s.sign[i]
        i, count = s.next_digit[i], count + 1
    return count


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _write(s: Any, row: int, digits: Any, count: int) -> None:
    """Replaces the digits of a sum, and notes that it changed."""
    while s.head[row] != NONE:
        _leave(s, s.head[row])
    for k in range(count):
        _enter(s, row, digits[0, k], digits[1, k], digits[2, k])
    s.recent[s.number[_RECENT] % RECENT] = row
    s.number[_RECENT] += 1


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _luts(s: Any, digits: Any, count: int, row: int) -> Any:
    """Of the sum `row` if these are its digits. The constant of an output rides for free where sums have two operands."""
    constant = 1 if row < s.number[_OUTPUTS] and s.number[_ARITY] == 3 else 0
    s.number[_WORK] += count + count * count // 16
    if s.number[_HEAPS] and count + constant > s.number[_ARITY]:
        total, base, reach = 0, digits[1, 0], 0
        for k in range(count):
            base = min(base, digits[1, k])
        for k in range(count):
            total += bits(s.high[digits[0, k]])
            reach += s.high[digits[0, k]] << digits[1, k] - base
        return rough_luts(count, total, bits(reach))
    for k in range(count):
        node = digits[0, k]
        s.terms[NODE, k], s.terms[SHIFT, k], s.terms[NEGATIVE, k] = node, digits[1, k], digits[2, k]
        s.terms[LOW, k], s.terms[HIGH, k], s.terms[LEVEL, k] = s.low[node], s.high[node], s.level[node]
    return float(tree_luts(s.terms, count, constant, s.number[_ARITY]))


# -- moves ---------------------------------------------------------------------------------------------------------------


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _dissolve(s: Any, row: int, heat: float) -> None:
    """A shared node's digits in place of itself, in every sum that reads it."""
    node = s.number[_OPERANDS] + row - s.number[_OUTPUTS]
    if s.readers[node] > MOST_READERS:
        return
    own, costs = _read(s, row, s.lists[0]), -s.luts[row]
    i = s.reader[node]
    while i != NONE:
        if _is_first_use(s, i):
            count = _expanded(s, s.row[i], node, own)
            if count == NONE:
                return
            costs += _luts(s, s.lists[1], count, s.row[i]) - s.luts[s.row[i]]
        i = s.next_use[i]
    if not _accepts(s, costs, heat):
        return
    while s.reader[node] != NONE:
        reader = s.row[s.reader[node]]
        count = _expanded(s, reader, node, own)
        s.luts[reader] = _luts(s, s.lists[1], count, reader)
        _write(s, reader, s.lists[1], count)
    _write(s, row, s.lists[0], 0)
    s.luts[row] = 0
    s.vacant[s.number[_VACANT]] = row
    s.number[_VACANT] += 1


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _is_first_use(s: Any, i: int) -> Any:
    """Whether no earlier digit of the same node is in the same sum."""
    j = s.last_use[i]
    while j != NONE and s.row[j] != s.row[i]:
        j = s.last_use[j]
    return j == NONE


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _expanded(s: Any, row: int, node: int, own: int) -> int:
    """Writes the digits of a sum to list 1, with those of list 0 in place of `node`; returns how many, NONE where two would be equal."""
    inner, digits, count = s.lists[0], s.lists[1], 0
    for expands in range(2):
        i = s.head[row]
        while i != NONE:
            if expands == 0 and s.node[i] != node:
                digits[0, count], digits[1, count], digits[2, count] = s.node[i], s.shift[i], s.sign[i]
                count += 1
            elif expands == 1 and s.node[i] == node:
                for k in range(own):
                    shift = inner[1, k] + s.shift[i]
                    for other in range(count):
                        if digits[0, other] == inner[0, k] and digits[1, other] == shift:
                            return NONE
                    digits[0, count], digits[1, count], digits[2, count] = inner[0, k], shift, inner[2, k] ^ s.sign[i]
                    count += 1
            i = s.next_digit[i]
    return count


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _share(s: Any, row: int, heat: float) -> None:
    """What a sum and another one have in common becomes a node, or is read from the other where it is all of a node."""
    outputs, operands = s.number[_OUTPUTS], s.number[_OPERANDS]
    i = s.head[row]
    for _ in range(below(s.random, s.length[row])):
        i = s.next_digit[i]
    j = s.reader[s.node[i]]
    for _ in range(below(s.random, s.readers[s.node[i]])):
        j = s.next_use[j]
    other, distance, differ = s.row[j], s.shift[j] - s.shift[i], s.sign[j] ^ s.sign[i]
    if other == row:
        return
    common = _common(s, row, other, distance, differ)
    if common > 2 and below(s.random, 3) == 0:
        drop = below(s.random, common)
        common -= 1
        for column in range(2):
            s.lists[0, column, drop] = s.lists[0, column, common]
    if common < 2:
        return
    if row >= outputs and common == s.length[row]:
        row, other, distance = other, row, -distance
        for k in range(common):
            s.lists[0, 0, k], s.lists[0, 1, k] = s.lists[0, 1, k], s.lists[0, 0, k]
    if other >= outputs and common == s.length[other]:
        _reuse(s, row, operands + other - outputs, common, -distance, differ, heat)
    else:
        _create(s, row, other, common, distance, differ, heat)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _common(s: Any, row: int, other: int, distance: int, differ: int) -> int:
    """Writes the digits of `row` that `other` has `distance` places higher, and those, to list 0; returns how many."""
    i = s.head[other]
    while i != NONE:
        s.same[i], s.mark[s.node[i]] = s.mark[s.node[i]], i
        i = s.next_digit[i]
    common, i = 0, s.head[row]
    while i != NONE:
        j = s.mark[s.node[i]]
        while j != NONE:
            if s.shift[j] == s.shift[i] + distance and s.sign[j] ^ s.sign[i] == differ:
                s.lists[0, 0, common], s.lists[0, 1, common] = i, j
                common += 1
                break
            j = s.same[j]
        i = s.next_digit[i]
    i = s.head[other]
    while i != NONE:
        s.mark[s.node[i]] = NONE
        i = s.next_digit[i]
    s.number[_WORK] += (s.length[row] + s.length[other]) // 4
    return common


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _without(s: Any, row: int, common: int, which: int, digits: Any) -> int:
    """Writes the digits of a sum but for the common ones to `digits`; returns how many."""
    i, count = s.head[row], 0
    while i != NONE:
        taken = False
        for k in range(common):
            taken |= s.lists[0, which, k] == i
        if not taken:
            digits[0, count], digits[1, count], digits[2, count] = s.node[i], s.shift[i], s.sign[i]
            count += 1
        i = s.next_digit[i]
    return count


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _load(s: Any, common: int) -> float:
    """Of the common digits together."""
    load = 0.0
    for k in range(common):
        load += s.load[s.node[s.lists[0, 0, k]]]
    return load


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _reuse(s: Any, row: int, node: int, common: int, shift: int, sign: int, heat: float) -> None:
    """Reads `node` in place of the digits that it is the sum of."""
    if shift < 0 or s.used[row] - _load(s, common) + s.load[node] > s.budget[row] or _depends(s, node, row):
        return
    digits = s.lists[1]
    count = _without(s, row, common, 0, digits)
    for k in range(count):
        if digits[0, k] == node and digits[1, k] == shift:
            return
    digits[0, count], digits[1, count], digits[2, count] = node, shift, sign
    luts = _luts(s, digits, count + 1, row)
    if _accepts(s, luts - s.luts[row], heat):
        s.luts[row] = luts
        _write(s, row, digits, count + 1)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _depends(s: Any, node: int, row: int) -> bool:
    """Whether a node is a sum of the sum `row`, by way of others."""
    outputs, operands, found, left = s.number[_OUTPUTS], s.number[_OPERANDS], row >= s.number[_OUTPUTS], 1
    if not found:
        return False
    todo = np.zeros(s.number[_SUMS], np.int64)
    seen = np.zeros(s.number[_SUMS], np.bool_)
    todo[0] = outputs + node - operands
    while left:
        left -= 1
        if todo[left] == row:
            return True
        i = s.head[todo[left]]
        while i != NONE:
            if s.node[i] >= operands and not seen[outputs + s.node[i] - operands]:
                todo[left] = outputs + s.node[i] - operands
                seen[todo[left]] = True
                left += 1
            i = s.next_digit[i]
    return False


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _create(s: Any, row: int, other: int, common: int, distance: int, differ: int, heat: float) -> None:
    """Makes a node of the common digits, its lowest one at 0 and added."""
    taken = _load(s, common)
    load = places(max(taken, 1.0), s.number[_ARITY])
    if max(s.used[row] - s.budget[row], s.used[other] - s.budget[other]) + load - taken > 0:
        return
    new = s.vacant[s.number[_VACANT] - 1] if s.number[_VACANT] else s.number[_SUMS]
    if new >= len(s.head):
        return
    node, lowest = s.number[_OPERANDS] + new - s.number[_OUTPUTS], s.lists[0, 0, 0]
    for k in range(common):
        if s.shift[s.lists[0, 0, k]] < s.shift[lowest]:
            lowest = s.lists[0, 0, k]
    base, flip = s.shift[lowest], s.sign[lowest]
    own, reach = s.lists[1], 0
    for k in range(common):
        i = s.lists[0, 0, k]
        up = s.shift[i] - base
        own[0, k], own[1, k], own[2, k] = s.node[i], up, s.sign[i] ^ flip
        reach += s.high[s.node[i]] - s.low[s.node[i]] << up
    s.low[node], s.high[node], s.load[node], s.level[node] = 0, reach, load, np.int64(levels(load, s.number[_ARITY]))
    first, second = s.lists[2], s.lists[3]
    size, more = _without(s, row, common, 0, first), _without(s, other, common, 1, second)
    first[0, size], first[1, size], first[2, size] = node, base, flip
    second[0, more], second[1, more], second[2, more] = node, base + distance, flip ^ differ
    luts = (_luts(s, own, common, new), _luts(s, first, size + 1, row), _luts(s, second, more + 1, other))
    if not _accepts(s, luts[0] + luts[1] + luts[2] - s.luts[row] - s.luts[other], heat):
        return
    if s.number[_VACANT]:
        s.number[_VACANT] -= 1
    else:
        s.number[_SUMS] += 1
    s.luts[new], s.luts[row], s.luts[other] = luts
    s.budget[new] = load
    _write(s, row, first, size + 1)
    _write(s, other, second, more + 1)
    _write(s, new, own, common)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _columns(s: Any) -> Any:
    """The digits in columns, sum by sum; the nodes are numbered so that each comes behind those that it reads."""
    outputs, operands, sums = s.number[_OUTPUTS], s.number[_OPERANDS], s.number[_SUMS]
    order, place = np.zeros(sums, np.int64), np.full(sums, NONE, np.int64)
    for row in range(outputs):
        order[row], place[row] = row, row
    count, before = outputs, NONE
    while count != before:
        before = count
        for row in range(outputs, sums):
            ready, i = s.length[row] > 0 and place[row] == NONE, s.head[row]
            while i != NONE and ready:
                ready = s.node[i] < operands or place[outputs + s.node[i] - operands] != NONE
                i = s.next_digit[i]
            if ready:
                order[count], place[row] = row, count
                count += 1
    total = s.length[:sums].sum()
    columns = np.zeros((4, total), np.int64)
    k = 0
    for number in range(count):
        i = s.head[order[number]]
        while i != NONE:
            node = s.node[i]
            columns[0, k], columns[2, k], columns[3, k] = number, s.shift[i], s.sign[i]
            columns[1, k] = node if node < operands else operands + place[outputs + node - operands] - outputs
            i, k = s.next_digit[i], k + 1
    nodes = operands + count - outputs
    reach, load, budget = np.zeros(nodes), np.zeros(nodes), np.zeros(count)
    for number in range(count):
        budget[number] = s.budget[order[number]]
    for v in range(nodes):
        own = v if v < operands else operands + order[outputs + v - operands] - outputs
        reach[v], load[v] = s.high[own] - s.low[own], s.load[own]
    return columns[0], columns[1], columns[2], columns[3], reach, load, budget
