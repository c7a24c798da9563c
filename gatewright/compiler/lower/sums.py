"""Weighted sums with integer weights, as shifts and additions of two operands, or of three where the target has such adders.

What several sums need is built once (compiler/arithmetic/sharing.py); what remains of every sum is a heap of bits (`heaps`) or a
balanced tree (`trees`), whichever takes fewer LUTs in all sums together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any, TypeVar

import numpy as np

from gatewright.compiler.arithmetic.chains import sum_luts
from gatewright.compiler.arithmetic.digits import Bools, signed_digits
from gatewright.compiler.arithmetic.sharing import Plan, Shared, count_trees, plans, refined, share
from gatewright.compiler.lower.heaps import Trial, count_heaps, heaps
from gatewright.compiler.lower.terms import Rows, Terms, Wanted
from gatewright.compiler.lower.trees import signed_trees, trees
from gatewright.compiler.passes.netlist.fuse_sums import fuse_sums
from gatewright.errors import UserError
from gatewright.ir.fixed import MAX_WIDTH, Ints
from gatewright.ir.netlist import NetlistBuilder

B = TypeVar("B", NetlistBuilder, Trial)
Form = Callable[[B, Terms, int, Wanted | None], tuple[Rows, Ints, Ints]]
"""What builds sums of terms: rows, their biases and their depths."""

_LEVEL = 0.03
"""The part of a layer's LUTs that one level of additions less is worth."""
_MUCH_LARGER = 1.06
"""Where trees take so many times the LUTs of heaps, after a first look, they are not built for trial."""


def weighted_sums(b: NetlistBuilder, out: Any, row: Any, weight: Any, imm: Any, lo: Any, hi: Any) -> Rows:
    """rows[k] = sum of weight * row over the terms with out == k, plus imm[k]; within lo[k]..hi[k].

    `out`, `row`, `weight`: int64[terms]; `imm`, `lo`, `hi`: int64[outputs].
    """
    out, row, weight, imm, lo, hi = (np.asarray(v, np.int64).reshape(-1) for v in (out, row, weight, imm, lo, hi))
    fixed = (b.lo[row] == b.hi[row]) & (np.abs(b.lo[row].astype(float) * weight) < 2.0 ** 40)
    np.add.at(imm := imm.copy(), out[fixed], weight[fixed] * b.lo[row[fixed]])
    operands, digits = _digits(out[~fixed], row[~fixed], weight[~fixed])
    effort = b.effort if np.bincount(digits[0]).max(initial=0) > 1 else 0  # single digits share nothing
    low, high = b.lo[operands], b.hi[operands]
    tried = [share(*digits, len(imm), high - low, b.arity, plan) for plan in plans(effort, len(digits[0]), len(imm))]
    wanted, wide = Wanted(imm, lo, hi), _is_wide(tried[0])
    forms = _forms(b, wide)
    if wide:
        unshared = share(*digits, len(imm), high - low, b.arity, Plan(()))
        return _build(b, operands, *_narrow(b, operands, [*tried, unshared], wanted, forms))
    if not effort:
        return _build(b, operands, tried[0], wanted, signed_trees if b.signed else trees)

    @cache
    def looked_at(shared: Shared) -> Trial:
        _build(trial := Trial(low, high, b.arity), np.arange(len(operands)), shared, wanted, count_heaps)
        return trial

    def costs(shared: Shared) -> float:
        if heaps not in forms:
            return count_trees(shared, low, high, b.arity)
        trial = looked_at(shared)
        return trial.luts * (1 + _LEVEL * trial.levels)

    best = min(tried, key=costs)
    best = min(best, refined(best, low, high, b.arity, effort, heaps in forms), key=costs)
    if heaps in forms and count_trees(best, low, high, b.arity) > _MUCH_LARGER * looked_at(best).luts:
        forms = (heaps,)
    form = min(forms, key=lambda form: _luts(b, operands, best, wanted, form)) if len(forms) > 1 else forms[0]
    return _build(b, operands, best, wanted, form)


def _is_wide(shared: Shared) -> bool:
    """Whether numbers come near the widest ones, so that some orders of additions, but not all, have too wide ones in between."""
    reach = np.log2(shared.reach[shared.node] + 1) + shared.shift
    return bool(reach.max(initial=0) + np.log2(np.bincount(shared.out).max(initial=1)) >= MAX_WIDTH - 8)


def _forms(b: NetlistBuilder, wide: bool) -> tuple[Form[NetlistBuilder], ...]:
    """The forms that sums can have, the likely best one first: heaps where a part adds three."""
    if b.signed:
        return (signed_trees,)
    return (heaps, trees, signed_trees) if b.arity == 3 and not wide else (trees, signed_trees)


def _narrow(b: NetlistBuilder, operands: Ints, tried: list[Shared], wanted: Wanted,
            forms: tuple[Form[NetlistBuilder], ...]) -> tuple[Shared, Wanted, Form[NetlistBuilder]]:
    """The cheapest that has no too wide numbers in between; where all have, the first."""
    def luts(choice: tuple[Shared, Form[NetlistBuilder]]) -> float:
        try:
            return _luts(b, operands, choice[0], wanted, choice[1])
        except UserError:
            return math.inf

    shared, form = min(product(tried, forms), key=luts)
    return shared, wanted, form


def _digits(out: Ints, row: Ints, weight: Ints) -> tuple[Ints, tuple[Ints, Ints, Ints, Bools]]:
    """The rows that have weights, and the digits of these, as (out, place among the rows, shift, negative): no digit twice in a sum."""
    operands, place = np.unique(row[weight != 0], return_inverse=True)
    key, which = np.unique(out[weight != 0] * len(operands) + place.reshape(-1), return_inverse=True)
    total = np.zeros(len(key), np.int64)
    np.add.at(total, which.reshape(-1), weight[weight != 0])
    key, total = key[total != 0], total[total != 0]
    return operands, signed_digits(key // max(len(operands), 1), key % max(len(operands), 1), total)


def _luts(b: NetlistBuilder, operands: Ints, shared: Shared, wanted: Wanted, form: Form[NetlistBuilder]) -> int:
    """LUTs of the additions, built for trial in a netlist of their own."""
    trial = NetlistBuilder(b.name, b.arity, b.effort)
    trial.origin("trial")
    inputs = trial.input("x", b.lo[operands], b.hi[operands]).astype(np.int64)
    trial.output("y", _build(trial, inputs, shared, wanted, form))
    netlist = trial.build()
    if b.arity == 3:
        netlist, _ = fuse_sums(netlist)
    return int(sum_luts(netlist, b.arity == 3).sum())


def _build(b: B, operands: Ints, shared: Shared, wanted: Wanted, form: Form[B]) -> Rows:
    """Rows of the sums: shared nodes first, all at once of which the digits are there."""
    first, sums = len(operands), len(wanted.imm)
    step = _steps(shared, first, sums)
    rows = np.concatenate([operands, np.zeros(shared.nodes, np.int64)])
    bias, depth = np.zeros((2, len(rows)), np.int64)

    def terms(digits: Ints, out: Ints) -> Terms:
        node = shared.node[digits]
        return Terms(out[shared.out[digits]], rows[node], shared.shift[digits], shared.negative[digits], depth[node], bias[node])

    for k in range(1, int(step.max(initial=0)) + 1):
        nodes = np.flatnonzero(step == k)
        index = np.full(sums + shared.nodes, -1)
        index[sums + nodes] = np.arange(len(nodes))
        at = first + nodes
        rows[at], bias[at], depth[at] = form(b, terms(np.flatnonzero(index[shared.out] >= 0), index), len(nodes), None)
    return form(b, terms(np.flatnonzero(shared.out < sums), np.arange(sums)), sums, wanted)[0]


def _steps(shared: Shared, operands: int, sums: int) -> Ints:
    """By when every shared node can be built: 1, 2, ..."""
    step = np.zeros(shared.nodes, np.int64)
    i = np.flatnonzero(shared.out >= sums)
    user, node = shared.out[i] - sums, shared.node[i]
    inner = node >= operands
    changed = shared.nodes > 0
    while changed:
        new = np.ones_like(step)
        np.maximum.at(new, user[inner], step[node[inner] - operands] + 1)
        changed, step = bool((new != step).any()), new
    return step
