"""Types: widths at their edges, the field's notation, and arrays of types."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from gatewright.ir import fixed
from gatewright.ir.fixed import MAX_WIDTH, OVERFLOW, ROUNDING, Cast, Fixed, FixedArray, bits_for


def test_docstrings_are_true() -> None:
    assert doctest.testmod(fixed).failed == 0


def test_bits_for_is_the_narrowest_type() -> None:
    for lo in range(-20, 20):
        for hi in range(lo, 20):
            width = bits_for(lo, hi)

            def holds(w: int, lo: int = lo, hi: int = hi) -> bool:
                return -(1 << w - 1) <= lo and hi < 1 << w - 1 if lo < 0 else hi < 1 << w
            assert holds(width)
            assert width == 1 or not holds(width - 1)


def edges() -> list[int]:
    return sorted({s * (1 << k) + d for k in range(MAX_WIDTH - 1) for d in (-1, 0, 1) for s in (1, -1)} | {0})


def test_widths_of_an_array_are_exact_up_to_the_widest_code() -> None:
    """2**49 is where a float logarithm fails."""
    values = edges()
    assert FixedArray(np.array(values), np.array(values), 0).widths.tolist() == [bits_for(v, v) for v in values]
    upper = np.array([abs(v) for v in values])
    assert FixedArray(-upper - 1, upper, 0).widths.tolist() == [bits_for(-v - 1, v) for v in upper.tolist()]
    assert FixedArray(np.zeros(1, np.int64), np.array([(1 << MAX_WIDTH) - 1]), 0).widths.tolist() == [MAX_WIDTH]


def test_notation_and_full_range() -> None:
    t = Fixed(-3, 5, 2)
    assert (t.width, t.signed, repr(t), repr(t.full), t.full) == (4, True, "fixed<4,2>", "fixed<4,2>", Fixed(-8, 7, 2))
    assert Fixed.of(1, 1, True) == Fixed(-1, 0, 0)
    assert Fixed.of(8, -2, False) == Fixed(0, 255, 10)
    assert Fixed.of(MAX_WIDTH, 0, False).width == MAX_WIDTH
    for width in (0, MAX_WIDTH + 1):
        with pytest.raises(ValueError, match=f"{width} bits is not in"):
            Fixed.of(width, 0, True)
    with pytest.raises(ValueError, match="empty range"):
        Fixed(1, 0, 0)


@pytest.mark.parametrize("text", ["fixed<16,6>", "ufixed<8,0>", "fixed<8,-3>", "fixed<8,12>", "fixed<8,6,RND_CONV>",
                                  "ufixed<8,6,SAT>", *(f"fixed<8,6,{r},{o}>" for r in ROUNDING for o in OVERFLOW)])
def test_a_type_is_read_and_written(text: str) -> None:
    if text == "ufixed<8,6,SAT>":  # the rounding mode comes first
        with pytest.raises(ValueError, match="no rounding mode"):
            Cast.parse(text)
        return
    assert str(Cast.parse(text)) == text
    spaced = " " + text.replace(",", " , ").replace("<", " < ").replace("RND", "AP_RND").replace("AP_RND_CONV", "RND_CONV")
    assert Cast.parse(spaced) == Cast.parse(text)


@pytest.mark.parametrize(("text", "reason"), [
    ("fixed<8>", "write fixed<width,integer bits>"), ("int8", "is not a type"), ("fixed<8,6,HALF>", "no rounding mode"),
    ("fixed<8,6,TRN,CLIP>", "no overflow mode"), ("fixed<63,6>", "1..62"), ("fixed<0,0>", "1..62"),
    ("fixed<8,6>x", "is not a type")])
def test_what_is_no_type_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Cast.parse(text)


def test_arrays_of_types() -> None:
    a = FixedArray(np.array([[-1, 0], [2, -4]]), np.array([[0, 9], [2, 3]]), 3)
    assert (a.shape, a.size, a.common, a.widths.tolist()) == ((2, 2), 4, Fixed(-4, 9, 3), [[1, 4], [2, 3]])
    assert a == FixedArray(a.lo.copy(), a.hi.copy(), 3)
    assert a != FixedArray(a.lo.copy(), a.hi.copy(), 2)
    assert a != FixedArray(a.lo.reshape(-1), a.hi.reshape(-1), 3)
    assert repr(a) == "[2, 2]fixed<5,2>"
    with pytest.raises(ValueError, match="read-only"):
        a.lo[0, 0] = 1
    assert FixedArray.full((2,), Fixed(0, 3, 1)) == FixedArray(np.array([0, 0]), np.array([3, 3]), 1)
    assert FixedArray(np.zeros((0, 2), np.int64), np.zeros((0, 2), np.int64), 0).common == Fixed(0, 0, 0)
    for lo, hi in ((np.array([1]), np.array([0])), (np.array([0]), np.array(0)), (np.array([0.]), np.array([1.]))):
        with pytest.raises(ValueError, match=r"empty range|int64 arrays"):
            FixedArray(lo, hi, 0)


def test_an_array_of_shape_none_may_be_made_of_scalars() -> None:
    a = FixedArray(np.maximum(np.array(-2), np.array(-3)), np.minimum(np.array(5), np.array(7)), 0)
    assert isinstance(a.lo, np.ndarray)
    assert (a.shape, a.common) == ((), Fixed(-2, 5, 0))
