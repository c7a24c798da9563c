"""Windows and element-moving operations: text form, exact meaning, bounds, and rows that carry the same codes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from graphs import every_code, given, lowered_alike, op

from gatewright.ir.ops import Conv, window
from gatewright.ir.text import parse, show
from gatewright.ir.windows import Window

X = given("a", "[2, 3, 4]", "-5..9")
WEIGHT = "[[[[1, -2], [0, 3]]], [[[4, 0], [-1, 7]]]]"
OPERATIONS = {
    "conv": f"conv {{strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1], weight = {WEIGHT}, bias = [3, -1], groups = 2, fill = 0}}",
    "conv padded with a code": f"conv {{strides = [1, 2], pads = [1, 0, 1, 1], dilations = [2, 1], weight = {WEIGHT}, bias = [0, 0], "
                               "groups = 2, fill = 7}",
    "sum pool": "sum_pool {strides = [2, 1], pads = [1, 0, 0, 1], dilations = [1, 1], kernel = [2, 2]}",
    "max pool": "extreme_pool {strides = [1, 2], pads = [0, 1, 1, 0], dilations = [1, 1], kernel = [2, 2], largest = 1}",
    "min pool": "extreme_pool {strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 3], kernel = [3, 2], largest = 0}",
    "max": "reduce_extreme {axes = [0, 2], keepdims = 0, largest = 1}",
    "min": "reduce_extreme {axes = [1], keepdims = 1, largest = 0}",
    "take": "take {indices = [[1, 0, 1], [2], [-1, 3, 3, 0, -1]], fill = -3}",
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_text_bounds_and_rows(name: str) -> None:
    g = op(OPERATIONS[name], X)
    assert show(parse(show(g))) == show(g)
    lowered_alike(g, 300)
    y = g.evaluate(every_code(g, 300), ["y"])["y"]
    assert (y >= g.by_name["y"].type.lo).all()
    assert (y <= g.by_name["y"].type.hi).all()


def test_concat() -> None:
    g = op("concat {axis = 1}", X, given("b", "[2, 1, 4]", "0..3"))
    assert show(parse(show(g))) == show(g)
    assert g.by_name["y"].type.shape == (2, 4, 4)
    assert g.by_name["y"].type.hi[0, 3, 0] == 3
    lowered_alike(g, 300)


@pytest.mark.parametrize("cached", [1, window.CACHED])
def test_conv_is_its_definition(cached: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against four nested loops, padding counting as the fill; however many channels are computed at a time."""
    monkeypatch.setattr(window, "CACHED", cached)
    g = op(OPERATIONS["conv padded with a code"], X)
    conv = g.by_name["y"]
    assert isinstance(conv, Conv)
    codes = every_code(g, 20)["a"]
    got = g.evaluate({"a": codes}, ["y"])["y"]
    for o, r, c in product(range(got.shape[1]), range(got.shape[2]), range(got.shape[3])):
        want = np.zeros(len(codes), np.int64)
        for i, j in product(range(2), range(2)):
            row, column = r * 1 - 1 + 2 * i, c * 2 + j
            inside = 0 <= row < 3 and 0 <= column < 4
            want += conv.weight[o, 0, i, j] * (codes[:, o, row, column] if inside else 7)
        assert np.array_equal(got[:, o, r, c], want)


def test_bounds_are_reached() -> None:
    """Every element's bounds are what the right corner of the inputs gives, at the border too."""
    g = op(OPERATIONS["conv padded with a code"], X)
    conv = g.by_name["y"]
    assert isinstance(conv, Conv)
    for channel, r, c in product(range(2), range(conv.type.shape[1]), range(conv.type.shape[2])):
        unit = np.zeros((1, *conv.type.shape), np.int64)
        unit[0, channel, r, c] = 1
        # the sign with which each input element enters this output
        probe = np.zeros((24, 2, 3, 4), np.int64)
        probe.reshape(24, -1)[np.arange(24), np.arange(24)] = 1
        gain = (conv.compute([probe]) - conv.compute([probe * 0]))[:, channel, r, c].reshape(2, 3, 4)
        for sign, bound in ((1, conv.type.hi), (-1, conv.type.lo)):
            corner = np.where(sign * gain > 0, 9, -5)[None]
            assert conv.compute([corner])[0, channel, r, c] == bound[channel, r, c]


def test_large_tensors_of_one_type_share_their_bounds() -> None:
    """No array of the size of the tensor is made for its type, and every code stays inside."""
    big = given("a", "[1, 200, 200]", "2..3")
    g = op("conv {strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1], weight = [[[[1, 1], [1, -2]]]], bias = [5], groups = 1, "
           "fill = 0}", big)
    t = g.by_name["y"].type
    assert t.lo.strides[1:] == (0, 0)
    y = g.evaluate({"a": np.random.default_rng(1).integers(2, 4, (2, 1, 200, 200))}, ["y"])["y"]
    assert (y >= t.lo).all()
    assert (y <= t.hi).all()


@pytest.mark.parametrize("window", [Window((5, 4), (2, 3), (2, 1), (1, 1), (0, 1, 1, 1)), Window((4,), (3,), (1,), (2,), (3, 2)),
                                    Window((6,), (2,), (1,), (1,), (-1, -2))])
def test_window_geometry(window: Window) -> None:
    """Taps, flat indices and counts tell the same."""
    flat = window.flat()
    seen = np.full(flat.shape, -1)
    elements = np.arange(int(np.prod(window.size))).reshape(window.size)
    taps = list(product(*map(range, window.kernel)))
    for tap, positions, inside in window.taps():
        at = np.full(window.out, -1)
        at[positions] = elements[inside]
        seen[taps.index(tap)] = at.reshape(-1)
    assert np.array_equal(seen, flat)
    assert np.array_equal((flat >= 0).sum(axis=0), window.counts().reshape(-1))
