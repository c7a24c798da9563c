"""Identifiers: legal, unique, stable, and no keyword of any language that reads them."""

from __future__ import annotations

import pytest

from gatewright.backends.identifiers import identifiers, is_reserved


@pytest.mark.parametrize(("names", "expected"), [
    (["x", "y"], ["x", "y"]), (["a/b:0", "a b 0"], ["a_b_0", "a_b_0_2"]), (["", "ä", "1x"], ["port", "port_2", "n1x"]),
    (["wire", "logic", "class", "int", "clk"], ["wire_p", "logic_p", "class_p", "int_p", "clk_p"]),
    (["v12", "v12_0", "t3", "_x_"], ["v12_p", "v12_0_p", "t3_p", "x"]), (["x", "X"], ["x", "X_2"]),
])
def test_identifiers(names: list[str], expected: list[str]) -> None:
    assert list(identifiers(names)) == expected
    assert not any(is_reserved(i) for i in expected)


def test_names_that_are_taken() -> None:
    assert identifiers(["x", "y"], ["x", "x_2"]) == ("x_3", "y")
