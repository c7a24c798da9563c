"""Which bits of a row are read, and until when."""

from __future__ import annotations

import numpy as np
import pytest

from gatewright.ir.netlist import NetlistBuilder
from gatewright.ir.usage import held_bits, last_use, operand_bits, reads, used_bits


@pytest.mark.parametrize(("low", "width", "signed", "expected"), [
    (0, 8, True, 0b11111111), (2, 3, True, 0b11100), (6, 4, True, 0b11000000), (9, 2, True, 0b10000000),
    (2, 3, False, 0b11100), (9, 2, False, 0b10000000),
])
def test_a_slice_reads_its_bits_and_the_sign_beyond(low: int, width: int, signed: bool, expected: int) -> None:
    b = NetlistBuilder("kernel")
    b.origin("node")
    b.output("y", b.bits(b.input("x", -128, 127), low, width, signed))
    assert operand_bits(b.build()).tolist() == [expected]


def test_arithmetic_reads_no_bit_above_its_result_and_constants_read_none() -> None:
    b = NetlistBuilder("kernel")
    b.origin("node")
    x = b.input("x", [0, 0, 0], [255, 255, 1])
    s = b.sum2(x[0], 0, False, x[1], 2, True, bounds=(0, 15))
    t = b.select(x[2], s, x[1], 1, 0, bounds=(0, 3))
    u = b.ge(b.const(300), x[0])
    b.output("y", np.concatenate([t, u]))
    netlist = b.build()
    assert operand_bits(netlist).tolist() == [0b1111, 0b11, 0b1, 0b1, 0b11, 0, 0]
    assert used_bits(netlist).tolist() == [0b1111, 0b11, 0b1, 0b1, 0b11, 0, 0]
    assert last_use(netlist, np.array([0, 0, 0, 1, 2, 0, 0], np.int32), 4).tolist() == [1, 2, 2, 2, 4, 0, 0]


def test_registers_hold_a_row_and_not_its_slices() -> None:
    b = NetlistBuilder("kernel")
    b.origin("node")
    x = b.input("x", [0, 0], [255, 1])                    # 0, 1
    s = b.bits(x[0], 1, 6, False)                         # 2: bits 6..1
    t = b.bits(s, 2, 2, False)                            # 3: bits 4..3
    u = b.sum2(t, 0, False, x[1], 0, False)               # 4: 0..4
    v = b.sum2(s, 0, False, x[1], 0, False, bounds=(0, 7))     # 5: reads three bits of the slice, bits 3..1
    b.output("y", np.concatenate([u, v, b.bits(x[0], 7, 1, False)]))
    netlist, end = b.build(), 7
    assert sorted(zip(*(column.tolist() for column in reads(netlist)), strict=True)) == [
        (0, 4, 0b11000), (0, 5, 0b1110), (0, 6, 0b10000000), (1, 4, 1), (1, 5, 1), (2, 4, 0b1100), (2, 5, 0b111),
        (3, 4, 0b11), (4, end, 0b111), (5, end, 0b111), (6, end, 1)]
    stage = np.array([0, 0, 1, 1, 1, 3, 0], np.int32)
    assert last_use(netlist, stage, 4).tolist() == [3, 3, 3, 1, 4, 4, 4]
    assert [held.tolist() for held in held_bits(netlist, stage, 4)] == [
        [4, 1, 0, 0, 0, 0, 1], [3, 1, 0, 0, 3, 0, 1], [3, 1, 0, 0, 3, 0, 1], [0, 0, 0, 0, 3, 3, 1]]
