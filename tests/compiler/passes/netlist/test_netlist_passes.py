"""Netlist passes: what each removes, and that none changes an output bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from netlists import random_inputs, random_netlist

from gatewright.compiler.passes.netlist.common_rows import common_rows
from gatewright.compiler.passes.netlist.dead_rows import dead_rows
from gatewright.compiler.passes.netlist.fold_constants import fold_constants
from gatewright.compiler.passes.netlist.sink_constants import sink_constants
from gatewright.ir.netlist import Netlist, NetlistBuilder, verify
from gatewright.ir.netlist_eval import evaluate, evaluate_rows
from gatewright.ir.netlist_text import show

PASSES = [dead_rows, fold_constants, common_rows, sink_constants]
Pass = Callable[[Netlist], tuple[Netlist, np.ndarray]]


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("a_pass", PASSES, ids=lambda p: p.__name__)
def test_a_pass_keeps_outputs_and_says_where_rows_went(a_pass: Pass, seed: int) -> None:
    old = random_netlist(seed, rows=150, inputs=2)
    new, moved = a_pass(old)
    verify(new)
    inputs = random_inputs(old, 40, seed)
    before, after = evaluate(old, inputs), evaluate(new, inputs)
    assert list(before) == list(after)
    assert all((before[port] == after[port]).all() for port in before)
    kept = np.flatnonzero(moved >= 0)
    assert (evaluate_rows(old, inputs, kept) == evaluate_rows(new, inputs, moved[kept])).all()
    assert moved.dtype == np.int32
    assert set(moved[kept].tolist()) == set(range(len(new)))


def body(netlist: Netlist) -> list[str]:
    return [line.split(" @")[0] for line in show(netlist).splitlines() if line[0] == "%" or line.startswith("table")]


def builder() -> NetlistBuilder:
    b = NetlistBuilder("n")
    b.origin("o")
    return b


def test_dead_rows_go_with_their_tables_and_inputs_stay() -> None:
    b = builder()
    x = b.input("x", [0, 0], [3, 3])
    b.table(x[0], [[4, 5, 6, 7]], 0)
    b.output("y", b.table(b.sum1(x[0], 0, False, 1), [[0, 0, 1, 2, 3]], 0))
    new, moved = dead_rows(b.build())
    assert body(new) == ["table 0 = 0 0 1 2 3", "%0 = input 0[0] : 0..3", "%1 = input 0[1] : 0..3",
                         "%2 = sum %0 + 1 : 1..4", "%3 = table 0 [%2 - 0] : 0..3"]
    assert moved.tolist() == [0, 1, -1, 2, 3]


def test_constants_fold_into_rows_sums_and_selects() -> None:
    b = builder()
    x, five = b.input("x", [0, 7], [3, 7]), b.const(5)
    always = b.ge(five, x[0])
    s = b.sum([0, 3], [x[0], five[0], x[1]], [1, 2, 0], [False, True, False], 1)
    b.output("y", np.concatenate([b.select(always, s, x[0], 1, 0), b.mul(five, x[1])]))
    new, _ = fold_constants(b.build())
    assert body(new) == ["%0 = input 0[0] : 0..3", "%1 = input 0[1] : 7..7", "%2 = const 5", "%3 = const 1",
                         "%4 = sum %0<<1 - 12 : -12..-6", "%5 = sum %4<<1 : -24..-12", "%6 = const 35"]


def test_a_table_that_hands_on_its_bit_is_a_wire() -> None:
    b = builder()
    x, y = b.input("x", [0, 0], [1, 2]), b.const(1)
    b.output("y", np.concatenate([b.table(x[0], [[7, 0, 1, 2]], -1), b.table(x[0], [[1, 0]], 0), b.table(x[0], [[0, 2]], 0),
                                  b.table(x[0], [[0, 9, 1]], 0, shift=1), b.table(x[1], [[0, 1, 2]], 0), b.table(y, [[0, 1]], 0)]))
    new, _ = fold_constants(b.build())
    assert body(new)[-6:] == ["%3 = sum %0 : 0..1", "%4 = table 1 [%0 - 0] : 0..1", "%5 = table 2 [%0 - 0] : 0..2",
                              "%6 = table 3 [%0<<1 - 0] : 0..9", "%7 = table 4 [%1 - 0] : 0..2", "%8 = const 1"]


def sunk(b: NetlistBuilder, output: np.ndarray) -> list[str]:
    b.output("y", output)
    return [line.split(" = ")[1] for line in body(sink_constants(b.build())[0]) if "sum" in line]


def test_a_constant_joins_the_sum_in_front_of_it() -> None:
    b = builder()
    x = b.input("x", [0, 0, 0, 0], [3, 3, 3, 3])
    assert sunk(b, b.sum1(b.sum2(x[0], 0, False, x[1], 1, True, 7), imm=5)) == ["sum %0 - %1<<1 + 12 : 6..15"]
    b = builder()
    x = b.input("x", [0, 0, 0, 0], [3, 3, 3, 3])
    assert len(sunk(b, b.sum1(b.sum([0, 3], x[:3]), imm=5))) == 2           # three operands: an addition more either way
    b = builder()
    x = b.input("x", [0, 0, 0, 0], [3, 3, 3, 3])
    s = b.sum2(x[0], 0, False, x[1], 1, True)
    assert len(sunk(b, np.concatenate([s, b.sum1(s, imm=5)]))) == 2         # something else reads the sum
    b = builder()
    x = b.input("x", [0, 0, 0, 0], [3, 3, 3, 3])
    assert len(sunk(b, b.sum1(b.sum2(x[0], 0, False, x[1], 1, True), 0, True, 5))) == 2


def test_common_rows_merge_in_any_order_and_through_each_other() -> None:
    b = builder()
    x = b.input("x", [0, 0], [3, 3])
    s, t = b.sum2(x[0], 1, False, x[1], 0, True), b.sum2(x[1], 0, True, x[0], 1, False)
    u = b.sum2([s[0], t[0]], 0, False, x[0], 0, False)
    narrower = b.sum2(x[0], 1, False, x[1], 0, True, bounds=(-3, 5))
    b.output("y", np.concatenate([u, b.ge(s, x[0]), b.ge(x[0], s), narrower]))
    new, moved = common_rows(b.build())
    assert moved.tolist() == [0, 1, 2, 2, 3, 3, 4, 5, 6]
    assert body(new)[2:] == ["%2 = sum %0<<1 - %1 : -3..6", "%3 = sum %2 + %0 : -3..9", "%4 = sum %0<<1 - %1 : -3..5",
                             "%5 = ge %2, %0 : 0..1", "%6 = ge %0, %2 : 0..1"]
