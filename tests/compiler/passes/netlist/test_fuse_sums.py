"""Fusing sums: what joins, what must not, and that outputs stay."""

from __future__ import annotations

import numpy as np
import pytest
from netlists import random_inputs, random_netlist

from gatewright.compiler.lower.sums import weighted_sums
from gatewright.compiler.passes.netlist.fuse_sums import fuse_sums
from gatewright.ir.netlist import Netlist, NetlistBuilder, Op, verify
from gatewright.ir.netlist_eval import evaluate, evaluate_rows
from gatewright.ir.netlist_text import show


def body(netlist: Netlist) -> list[str]:
    lines = [line for line in show(netlist).splitlines() if line.startswith("%") and "sum" in line]
    return [line.split(" @")[0].split(" = ")[1] for line in lines]


def builder(inputs: int = 4) -> NetlistBuilder:
    b = NetlistBuilder("n")
    b.origin("o")
    b.input("x", [-8] * inputs, [7] * inputs)
    return b


def fused(b: NetlistBuilder, *outputs: object) -> list[str]:
    b.output("y", np.concatenate([np.atleast_1d(o) for o in outputs]))
    return body(fuse_sums(b.build())[0])


@pytest.mark.parametrize("seed", range(40))
def test_outputs_stay_and_rows_are_where_it_says(seed: int) -> None:
    old = random_netlist(seed, rows=200, inputs=3)
    new, moved = fuse_sums(old)
    verify(new)
    inputs = random_inputs(old, 40, seed)
    before, after = evaluate(old, inputs), evaluate(new, inputs)
    assert all((before[port] == after[port]).all() for port in before)
    kept = np.flatnonzero(moved >= 0)
    assert (evaluate_rows(old, inputs, kept) == evaluate_rows(new, inputs, moved[kept])).all()


@pytest.mark.parametrize("seed", range(8))
def test_adder_graphs_keep_their_values(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.integers(-31, 32, (10, 12))
    b = NetlistBuilder("n")
    b.origin("o")
    x = b.input("x", [-128] * 10, [127] * 10)
    row, out = np.indices(weight.shape)
    imm, reach = rng.integers(-500, 500, 12), 128 * np.abs(weight).sum(axis=0)
    b.output("y", weighted_sums(b, out, x[row], weight, imm, imm - reach, imm + reach))
    old = b.build()
    new, _ = fuse_sums(old)
    verify(new)
    inputs = random_inputs(old, 50, seed)
    assert (evaluate(new, inputs)["y"] == inputs["x"] @ weight + imm).all()
    assert len(new) < len(old)
    assert set(np.diff(new.first)[new.op == Op.SUM].tolist()) <= {1, 2, 3}


def test_two_additions_become_one() -> None:
    b = builder()
    s = b.sum2(0, 0, False, 1, 1, True)
    assert fused(b, b.sum2(2, 0, False, s, 2, False)) == ["sum %2 + %0<<2 - %1<<3 : -96..99"]


def test_signs_and_shifts_go_through() -> None:
    b = builder()
    s = b.sum2(0, 0, True, 1, 1, False, 1)
    assert fused(b, b.sum2(2, 0, False, s, 1, True, 4)) == ["sum %2 + %0<<1 - %1<<2 + 2 : -50..55"]


def test_what_two_sums_read_joins_both() -> None:
    b = builder()
    s = b.sum2(0, 0, False, 1, 0, False)
    assert fused(b, b.sum2(2, 0, False, s, 1, False), b.sum2(3, 0, False, s, 2, False)) == [
        "sum %2 + %0<<1 + %1<<1 : -40..35", "sum %3 + %0<<2 + %1<<2 : -72..63"]


def test_what_others_read_too_stays() -> None:
    b = builder()
    s = b.sum2(0, 0, False, 1, 0, False)
    three = b.sum([0, 3], [0, 2, int(s[0])], 0, False)                      # has no place for another
    assert len(fused(b, b.sum2(2, 0, False, s, 1, False), three)) == 3
    b = builder()
    s = b.sum2(0, 0, False, 1, 0, False)
    assert fused(b, b.sum2(2, 0, False, s, 1, False), s) == [               # an output reads it too
        "sum %0 + %1 : -16..14", "sum %2 + %4<<1 : -40..35"]
    b = builder()
    s = b.sum2(0, 0, False, 1, 0, False)
    assert fused(b, b.sum2(s, 0, False, s, 2, False)) == [                  # one sum reads it twice
        "sum %0 + %1 : -16..14", "sum %4 + %4<<2 : -80..70"]


def test_every_sum_joins_once() -> None:
    """Of a chain of three, two become one."""
    b = builder()
    s = b.sum2(b.sum2(0, 0, False, 1, 0, False), 0, False, 2, 0, False)
    rows = fused(b, b.sum2(s, 0, False, 3, 0, False))
    assert len(rows) == 2


@pytest.mark.parametrize(("negative", "imm", "joins"), [
    ((True, True), 0, True),                       # ~a + ~b + c + 2
    ((True, True), 1, False),                      # ... and one more does not fit
    ((True, False), 1, True), ((False, False), 2, True), ((False, False), 3, False), ((False, False), -1, False),
])
def test_constants_and_negations_have_two_free_ones(negative: tuple[bool, bool], imm: int, joins: bool) -> None:
    b = builder()
    s = b.sum2(0, 0, negative[0], 1, 0, negative[1])
    assert len(fused(b, b.sum2(2, 0, False, s, 0, False, imm))) == (1 if joins else 2)


def test_a_constant_below_the_chain_does_not_fit() -> None:
    b = builder()
    s = b.sum2(0, 2, False, 1, 1, False, 2)
    assert len(fused(b, b.sum2(2, 0, False, s, 0, False))) == 1             # 2 at bit 1: one unit
    b = builder()
    s = b.sum2(0, 2, False, 1, 1, False, 1)
    assert len(fused(b, b.sum2(2, 0, False, s, 0, False))) == 2


def test_the_same_row_twice_does_not_join() -> None:
    b = builder()
    s = b.sum2(0, 0, False, 1, 1, False)
    assert len(fused(b, b.sum2(0, 0, False, s, 1, False))) == 2
