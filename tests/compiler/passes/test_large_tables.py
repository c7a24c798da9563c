"""Functions that are neither monotone nor of few steps: a table of up to 65,536 entries, every one of them right."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import given, lowered_alike, op, same_bits

from gatewright.compiler.passes.integer_functions import IntegerFunctions
from gatewright.errors import UserError
from gatewright.ir.graph import Graph


def hump(lo: int, hi: int) -> Graph:
    """x * exp(-x / 2000), rounded to eighths: up to 5886 and down again, more steps than thresholds are taken for."""
    body = "affine(8, product($0, exp(affine(-1/2000, $0, 0))), 0)"
    return op(f"region {{expr = clip(round(ROUND, {body}), -9000, 9000), shape = [1]}}", given("a", "[1]", f"{lo}..{hi}"))


def test_every_entry() -> None:
    old = hump(0, 9999)
    new = IntegerFunctions().run(old).graph
    table, = (o for o in new.ops if o.kind == "table")
    assert table.values.shape[-1] == 10_000
    same_bits(old, new, 10_000)
    lowered_alike(new, 10_000)


def test_as_many_entries_as_there_may_be() -> None:
    old = hump(0, 65535)
    new = IntegerFunctions().run(old).graph
    table, = (o for o in new.ops if o.kind == "table")
    assert table.values.shape[-1] == 65_536
    codes = np.concatenate([np.arange(0, 65536, 97), [65535]]).reshape(-1, 1)
    assert np.array_equal(old.evaluate({"a": codes})["y"], new.evaluate({"a": codes})["y"])


def test_one_entry_more_is_refused() -> None:
    with pytest.raises(UserError, match=r"65537 codes \(a table holds 65536\)") as raised:
        IntegerFunctions().run(hump(0, 65536))
    assert "16 bits or fewer" in str(raised.value.remedy)
