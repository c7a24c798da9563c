"""The best elements along an axis: codes and places against a sort in Python, bounds against what they compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from graphs import every_code, given, lowered_alike, op

from gatewright.ir.graph import verify


def best(axis: int, count: int, largest: int, last: int, index: int) -> Callable[[Any], Any]:
    def line(x: Any) -> list[int]:
        order = sorted(range(len(x)), key=lambda i: (-x[i] if largest else x[i], -i if last else i))[:count]
        return order if index else [x[i] for i in order]
    return lambda x: np.apply_along_axis(line, axis, x)


def text(axis: int, count: int, largest: int, last: int, index: int) -> str:
    return f"top_k {{axis = {axis}, count = {count}, largest = {largest}, last = {last}, index = {index}}}"


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize(("axis", "count", "shape", "bounds"), [
    (0, 1, "[5]", "-2..1"), (0, 3, "[5]", "-2..1"), (0, 5, "[5]", "0..2"), (1, 2, "[2, 4]", "-1..1"), (0, 2, "[3, 2]", "-1..2"),
    (1, 2, "[2, 7, 2]", "-9..9"), (0, 1, "[1]", "-3..4"), (0, 1, "[2, 1]", "0..1"), (0, 4, "[11]", "-4..4"),
    (0, 1, "[2]", "[3, 0]..[3, 3]"), (0, 1, "[2]", "[0, 3]..[3, 3]"),
    (0, 2, "[4]", "[-3, 0, -9, 2]..[-1, 5, 5, 3]"), (0, 3, "[4]", "[5, 5, 0, 0]..[5, 5, 0, 0]")])
def test_top_k(axis: int, count: int, shape: str, bounds: str, largest: int, last: int, index: int) -> None:
    how = axis, count, largest, last, index
    g = op(text(*how), given("a", shape, bounds))
    verify(g)
    rng = np.random.default_rng(1)
    source = g.input_ops[0].type
    x = np.concatenate([every_code(g, 200)["a"],
                        rng.integers(source.lo, source.hi, (200, *source.shape), endpoint=True)])  # few codes: many ties
    got = g.evaluate({"a": x}, ["y"])["y"]
    assert np.array_equal(got, np.stack([best(*how)(sample) for sample in x]))
    y = g.by_name["y"].type
    assert (got >= y.lo).all()
    assert (got <= y.hi).all()
    lowered_alike(g, 300)


def test_bounds_are_those_of_the_rank() -> None:
    g = op(text(0, 3, 1, 0, 0), given("a", "[4]", "[-3, 0, -9, 2]..[-1, 5, 5, 3]"))
    assert (g.by_name["y"].type.lo.tolist(), g.by_name["y"].type.hi.tolist()) == ([2, 0, -3], [5, 5, 3])
    g = op(text(0, 2, 1, 0, 1), given("a", "[4]", "[-3, 0, -9, 2]..[-1, 5, 1, 3]"))
    assert (g.by_name["y"].type.lo.tolist(), g.by_name["y"].type.hi.tolist()) == ([1, 1], [3, 3])
