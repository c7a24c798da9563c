"""Builder, verifier, evaluation, text and binary form of Netlists."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from netlists import random_inputs, random_netlist, slow_values

from gatewright.errors import InternalError, UserError
from gatewright.ir.netlist import Netlist, NetlistBuilder, NetPort, Op, verify, widths
from gatewright.ir.netlist_eval import evaluate, evaluate_rows
from gatewright.ir.netlist_text import from_npz, load, parse, save, show, to_npz

SEEDS = range(40)


def builder() -> NetlistBuilder:
    b = NetlistBuilder("small")
    b.origin("dense")
    return b


def small() -> Netlist:
    b = builder()
    x = b.input("x", [-8, 0], [7, 15])
    c = b.const([5])
    s = b.sum2(x[0], 2, False, c, 0, True, 7)
    g = b.ge(s, x[1])
    b.origin("relu")
    m = b.select(g, s, x[1])
    t = b.table(b.bits(m, 1, 3, True), [np.arange(8) ** 2], -4)
    b.output("y", np.concatenate([s, m, t]))
    return b.build()


def changed(netlist: Netlist, column: str, row: int, value: int) -> Netlist:
    array = getattr(netlist, column).copy()
    array[row] = value
    return dataclasses.replace(netlist, **{column: array})


@pytest.mark.parametrize("seed", SEEDS)
def test_random_netlists_evaluate_like_python_integers(seed: int) -> None:
    netlist = random_netlist(seed, width=30 if seed % 4 == 3 else 8)
    verify(netlist)
    inputs = random_inputs(netlist, 30, seed)
    slow = np.array(slow_values(netlist, inputs), dtype=object)
    assert (evaluate_rows(netlist, inputs, np.arange(len(netlist))) == slow).all()
    for port, values in evaluate(netlist, inputs).items():
        rows = next(p.rows for p in netlist.outputs if p.name == port)
        assert (values == slow[:, rows]).all()
    assert (slow >= netlist.lo).all()
    assert (slow <= netlist.hi).all()


def test_random_netlists_have_every_op() -> None:
    assert {int(op) for seed in SEEDS for op in random_netlist(seed).op} == {int(o) for o in Op}


@pytest.mark.parametrize("seed", SEEDS)
def test_text_and_binary_forms_round_trip(seed: int) -> None:
    netlist = random_netlist(seed)
    assert parse(show(netlist)) == netlist
    assert from_npz(to_npz(netlist)) == netlist
    assert to_npz(random_netlist(seed)) == to_npz(netlist)


def test_text_reads_like_the_contract() -> None:
    assert show(small()) == '''netlist "small"
origin "dense"
origin "relu"
table 0 = 0 1 4 9 16 25 36 49
%0 = input 0[0] : -8..7 @"dense"
%1 = input 0[1] : 0..15 @"dense"
%2 = const 5 @"dense"
%3 = sum %0<<2 - %2 + 7 : -30..30 @"dense"
%4 = ge %3, %1 : 0..1 @"dense"
%5 = select %4, %3, %1 : -30..30 @"relu"
%6 = bits %5 [1 +: 3] : -4..3 @"relu"
%7 = table 0 [%6 - -4] : 0..49 @"relu"
input "x" = %0 %1
output "y" = %3 %5 %7
'''


def test_parse_names_the_line() -> None:
    with pytest.raises(ValueError, match="line 3 is no line of a netlist"):
        parse('netlist "n"\norigin "a"\n%0 = const five @"a"\n')


def test_save_and_load(tmp_path) -> None:  # type: ignore[no-untyped-def]
    save(small(), tmp_path / "kernel.npz")
    assert load(tmp_path / "kernel.npz") == small()


def test_constants_and_tables_are_interned() -> None:
    b = builder()
    assert b.const([3, 4, 3]).tolist() == [0, 1, 0]
    assert b.const(4).tolist() == [1]
    x = b.input("x", [0, 0], [3, 3])
    b.table(x, [[1, 2, 3, 4], np.array([1, 2, 3, 4])], 0)
    b.table(x, np.array([0]), 0)
    assert len(b.build().tables) == 1


@pytest.mark.parametrize(("low", "width", "signed", "expected"), [
    (0, 8, True, (-5, 10)), (1, 8, True, (-3, 5)), (0, 4, True, (-8, 7)), (0, 8, False, (0, 255)),
    (4, 3, True, (-1, 0)),
])
def test_bits_keep_the_range_where_nothing_wraps(low: int, width: int, signed: bool, expected: tuple[int, int]) -> None:
    b = builder()
    row = b.bits(b.input("x", -5, 10), low, width, signed)
    assert (b.lo[row[0]], b.hi[row[0]]) == expected


def test_a_slice_inside_one_period_is_exact() -> None:
    b = builder()
    row = b.bits(b.input("x", 257, 260), 0, 8, False)
    assert (b.lo[row[0]], b.hi[row[0]]) == (1, 4)


def test_sums_combine_repeated_operands_exactly() -> None:
    b = builder()
    x = b.input("x", -3, 5)
    seven, zero = b.sum2(x, 3, False, x, 0, True), b.sum2(x, 61 - 3, False, x, 61 - 3, True)
    assert (b.lo[seven[0]], b.hi[seven[0]], b.lo[zero[0]], b.hi[zero[0]]) == (-21, 35, 0, 0)


def test_bounds_intersect_with_what_the_caller_knows() -> None:
    b = builder()
    x = b.input("x", [-3, -3], [5, 5])
    rows = b.sum2(x, 0, False, 0, 0, False, bounds=([-100, 0], 2))
    assert (b.lo[rows].tolist(), b.hi[rows].tolist()) == ([-6, 0], [2, 2])


def test_widest_codes() -> None:
    b = builder()
    x = b.input("x", [-(1 << 61), 0], [(1 << 61) - 1, (1 << 62) - 1])
    with pytest.raises(UserError, match=r"node 'dense'.*63 bits"):
        b.sum1(x[1], 0, False, 1)
    with pytest.raises(UserError, match="at most 62"):
        b.mul(x[0], x[0])
    with pytest.raises(UserError, match="at most 62"):
        b.sum1(x[0], 61)
    b.output("y", b.sum2(x[0], 0, False, x[0], 0, False, bounds=(0, 99)))
    netlist = b.build()
    verify(netlist)
    assert evaluate(netlist, {"x": np.array([[49, 0]])})["y"].tolist() == [[98]]


def test_widths_are_those_of_fixed() -> None:
    lo = np.array([-1, 0, 0, -8, -9, 0, -(1 << 61), 0])
    hi = np.array([0, 0, 1, 7, 7, 8, 0, (1 << 62) - 1])
    assert widths(lo, hi).tolist() == [1, 1, 1, 4, 5, 4, 62, 62]


@pytest.mark.parametrize(("column", "row", "value", "message"), [
    ("lo", 3, -31, "%3 .*'dense' has bounds wider"), ("hi", 7, 50, "%7 .*'relu' has bounds wider"),
    ("lo", 4, 2, "%4 .*empty range"), ("hi", 1, 1 << 62, "%1 .*wider than 62 bits"), ("op", 2, 99, "%2 .*unknown op"),
    ("imm", 2, 6, "%2 .*is not its constant"), ("aux", 3, 1, "%3 .*an aux that means nothing"),
    ("imm", 7, 1, "%7 .*names no table"), ("aux", 7, -3, "%7 .*beyond the end of its table"),
    ("arg", 0, 3, "%3 .*uses a row that is not before it"), ("neg", 3, 1, "%4 .*negates an operand"),
    ("shift", 4, 1, "%5 .*condition"), ("shift", 0, 62, "%3 .*shifts too far"),
    ("shift", 2, 60, "%4 .*beyond the widest"),
    ("origin", 5, 2, "a row has none"), ("first", 4, 3, "%4 .*wrong number"),
    ("aux", 1, 0, "%1 .*is not its element"), ("imm", 6, 63, "%6 .*bits that do not exist"),
])
def test_verify_names_the_broken_row(column: str, row: int, value: int, message: str) -> None:
    verify(small())
    with pytest.raises(InternalError, match=message):
        verify(changed(small(), column, row, value))


def test_verify_checks_ports() -> None:
    netlist = small()
    with pytest.raises(InternalError, match="do not match"):
        verify(dataclasses.replace(netlist, inputs=()))
    with pytest.raises(InternalError, match="port 'y' names a row"):
        verify(dataclasses.replace(netlist, outputs=(NetPort("y", np.array([99], np.int32)),)))
    with pytest.raises(InternalError, match="same name"):
        verify(dataclasses.replace(netlist, outputs=netlist.outputs * 2))


def test_evaluation_refuses_wrong_inputs() -> None:
    netlist = small()
    for inputs, message in (({}, r"missing \['x'\]"), ({"x": np.zeros((3, 1), int)}, r"\[samples, 2\]"),
                            ({"x": np.zeros((3, 2))}, "must be integers"),
                            ({"x": np.array([[0, 0], [0, 16]])}, r"element 1: 16 \(sample 1\) is not in 0..15")):
        with pytest.raises(UserError, match=message):
            evaluate(netlist, inputs)


def test_evaluation_notices_values_out_of_bounds() -> None:
    wrong = changed(changed(small(), "hi", 3, 29), "hi", 5, 29)
    verify(wrong)
    with pytest.raises(InternalError, match=r"%3 .* leaves its bounds at sample 1"):
        evaluate(wrong, {"x": np.array([[0, 0], [7, 0]])})


def test_many_samples_are_evaluated_in_blocks() -> None:
    netlist = small()
    x = np.stack([np.arange(5000) % 16 - 8, np.arange(5000) % 16], 1)
    y = evaluate(netlist, {"x": x})["y"]
    assert (y[:, 0] == 4 * x[:, 0] + 2).all()


def test_empty_netlist_and_no_samples() -> None:
    b = NetlistBuilder("nothing")
    verify(b.build())
    assert parse(show(b.build())) == b.build()
    assert from_npz(to_npz(b.build())) == b.build()
    assert evaluate(small(), {"x": np.zeros((0, 2), int)})["y"].shape == (0, 3)
