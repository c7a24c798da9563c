"""Offset form: operands made unsigned by flipping bits."""

from __future__ import annotations

import numpy as np
import pytest

from gatewright.ir.netlist_text import parse
from gatewright.ir.offsets import flipped, offset_form, offsets


@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("negative", [False, True])
def test_an_operand_and_its_offset_are_its_bits_some_of_them_flipped(width: int, signed: bool, negative: bool) -> None:
    codes = np.arange(1 << width) - (signed << width - 1)
    arguments = np.array([signed]), np.array([width]), np.array([negative])
    moved = np.where(negative, -codes, codes) + offsets(*arguments)
    assert (moved == (codes & (1 << width) - 1 ^ flipped(*arguments))).all()
    assert sorted(moved) == list(range(1 << width))


def test_sums_in_offset_form() -> None:
    netlist = parse("""
netlist "n"
origin "o"
%0 = input 0[0] : -8..7 @"o"
%1 = input 0[1] : 0..7 @"o"
%2 = sum %0 - %1<<2 + 36 : 0..43 @"o"
%3 = sum %0 - %1<<2 + 35 : -1..42 @"o"
%4 = sum %1 + %1<<1 : 0..21 @"o"
%5 = const 3 @"o"
%6 = sum %1 - %5 + 3 : 0..7 @"o"
%7 = bits %0 [0 +: 4] : -8..7 @"o"
input "x" = %0 %1
output "y" = %2 %3 %4 %6 %7
""")
    assert np.flatnonzero(offset_form(netlist)).tolist() == [2, 4, 6]
