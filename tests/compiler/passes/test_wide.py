"""Rounded sums whose exact form is wider than a code, in two halves: equal to exact arithmetic, and refused where they do not fit."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from graphs import given, lowered_alike, op, same_bits

from gatewright.compiler.passes import wide
from gatewright.compiler.passes.integer_functions import IntegerFunctions
from gatewright.errors import UserError
from gatewright.ir.graph import Graph

A, B, C = given("a", "[2]", "-400..399"), given("b", "[2]", "-7..8"), given("c", "[2]", "0..3")
MODES = ("FLOOR", "CEIL", "ROUND", "HALF_CEIL", "HALF_FLOOR")


def long(x: float) -> str:
    """The fraction that a float64 is: up to 53 bits above the point's place."""
    return str(Fraction(x))


def region(inner: str, mode: str, bounds: str, *inputs: str) -> Graph:
    return op(f"region {{expr = clip(round({mode}, {inner}), {bounds}), shape = [2]}}", *inputs)


def in_halves(g: Graph, monkeypatch: pytest.MonkeyPatch) -> Graph:
    """After the pass, on every input code: the sum went through halves, and nothing changed; nor in the netlist."""
    sums: list[wide.WideSum] = []
    emit = wide.WideSum.emit
    monkeypatch.setattr(wide.WideSum, "emit", lambda self, e: sums.append(self) or emit(self, e))  # type: ignore[func-returns-value]
    new = IntegerFunctions().run(g).graph
    assert sums
    assert {"table", "thresholds", "combine"} <= {o.kind for o in new.ops}
    same_bits(g, new, 20_000)
    lowered_alike(new, 3000)
    return new


@pytest.mark.parametrize("mode", MODES)
def test_two_tensors_with_long_scales(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    in_halves(region(f"affine({long(0.3)}, $0, {long(0.7 / 16)}, $1, {long(0.123)})", mode, "-8, 7", A, B), monkeypatch)


@pytest.mark.parametrize("bounds", ["none, none", "0, none", "none, 3", "-2, -1"])
def test_bounds(bounds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    in_halves(region(f"affine({long(-0.41)}, $0, {long(0.77 / 32)}, $1, {long(-0.3)})", "ROUND", bounds, A, B), monkeypatch)


def test_three_tensors_and_constants_per_element(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = (f"affine([{long(0.3)}, {long(-0.21)}], $0, [{long(0.1)}, {long(0.02)}], $1, {long(0.01)}, $2, "
             f"[{long(0.5)}, {long(-0.25)}])")
    in_halves(region(inner, "ROUND", "-6, 6", A, B, C), monkeypatch)


def test_halves_and_ties(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values exactly between two results, although the unit is tiny: ties go to the even one."""
    tiny = f"1/{1 << 58}"
    g = region(f"affine(1/2, $0, {tiny}, $1, 0)", "ROUND", "-9, 9", A, B)
    new = in_halves(g, monkeypatch)
    assert new.by_name["y"].type.common.width <= 5


def test_random_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(4)
    for _ in range(12):
        first, second = rng.uniform(0.3, 0.9), rng.uniform(0.3, 0.9) / 2 ** rng.randint(1, 5)
        inner = f"affine({long(first)}, $0, {long(-second)}, $1, {long(rng.uniform(-1, 1))})"
        in_halves(region(inner, rng.choice(MODES), rng.choice(["-8, 7", "0, 5", "none, none"]), A, B), monkeypatch)


@pytest.mark.parametrize(("inner", "mode", "said"), [
    (f"affine({long(0.3)}, $0, {long(1e-40)}, $1, 0)", "ROUND", "common unit"),
    (f"affine({long(0.3)}, $0, {long(0.7 / 16)}, $1, {long(0.123)})", "DOWN", "rounds by DOWN")])
def test_what_does_not_fit(inner: str, mode: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as raised:
        IntegerFunctions().run(region(inner, mode, "-8, 7", A, B))
    assert raised.value.node == "node"
    assert raised.value.remedy


def test_narrow_sums_stay_whole() -> None:
    new = IntegerFunctions().run(region("affine(3/8, $0, 1/16, $1, 0)", "ROUND", "-8, 7", A, B)).graph
    assert "table" not in {o.kind for o in new.ops}
