"""The Graph: evaluation, what its verifier refuses, and renaming."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from graphs import given, graph

from gatewright.errors import InternalError, UserError
from gatewright.ir import graph as graphs
from gatewright.ir.fixed import FixedArray
from gatewright.ir.graph import Graph, Output, rename_inputs, verify

CHAIN = (given("x", "[3]", "-8..7"), given("w", "[3]", "0..3"),
         '%s = combine(%x, %w) {scales = [2, -1], offset = 5} : [3] -14..19 frac 0 @ "add"',
         '%n = combine(%s) {scales = [-1], offset = 0} : [3] -19..14 frac 0 @ "neg"',
         '%d = dense(%s) {weight = [[1], [0], [1]], bias = [0]} : [1] -28..38 frac 0 @ "dense"')
OUTPUTS = ('output "first" = %d scale 1/2 offset 0', 'output "second" = %s scale 1 offset 0')


def chain() -> Graph:
    return graph(*CHAIN, *OUTPUTS)


def test_outputs_and_kept_tensors() -> None:
    g = chain()
    x, w = np.array([[1, 2, 3], [-8, 7, 0]]), np.array([[0, 1, 2], [3, 3, 0]])
    s = 2 * x - w + 5
    got = g.evaluate({"x": x, "w": w})
    assert {k: v.tolist() for k, v in got.items()} == {"d": (s[:, :1] + s[:, 2:]).tolist(), "s": s.tolist()}
    kept = g.evaluate({"x": x, "w": w}, ["n", "x"])
    assert {k: v.tolist() for k, v in kept.items()} == {"n": (-s).tolist(), "x": x.tolist()}
    none = g.evaluate({"x": x[:0], "w": w[:0]})
    assert [v.shape for v in none.values()] == [(0, 1), (0, 3)]


def test_blocks_of_samples_are_joined_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    g = chain()
    rng = np.random.default_rng(0)
    data = {"x": rng.integers(-8, 8, (1000, 3)), "w": rng.integers(0, 4, (1000, 3))}
    whole = g.evaluate(data)
    monkeypatch.setattr(graphs, "BLOCK", 50)
    blocks = g.evaluate(data)
    assert all(np.array_equal(whole[k], blocks[k]) for k in whole)


@pytest.mark.parametrize(("data", "reason"), [
    ({"x": np.zeros((2, 3), np.int64)}, "no data for input 'w'"),
    ({"x": np.zeros((2, 4), np.int64), "w": np.zeros((2, 3), np.int64)}, "shape \\(samples, 3\\), got int64"),
    ({"x": np.zeros((2, 3)), "w": np.zeros((2, 3), np.int64)}, "needs int64"),
    ({"x": np.zeros((2, 3), np.int64), "w": np.zeros((1, 3), np.int64)}, "different numbers of samples"),
    ({"x": np.array([[0, 0, 0], [0, 8, 0]]), "w": np.zeros((2, 3), np.int64)},
     "'x': code 8 at sample 1, element \\(1,\\) is outside"),
    ({"x": np.zeros((1, 3), np.int64), "w": np.array([[0, 0, -1]])}, "'w': code -1 at sample 0, element \\(2,\\)"),
])
def test_data_that_do_not_fit_are_refused(data: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        chain().evaluate(data)


@pytest.mark.parametrize(("old", "new", "reason"), [
    ("%n = ", "%s = ", "'s' is assigned twice"),
    ("combine(%s)", "combine(%d)", "'n' reads 'd' before it is assigned"),
    ("combine(%s)", "combine(%n)", "'n' reads 'n' before"),
    ("-14..19", "-14..20", "'s' claims .* wider than its operands give"),
    ("-14..19", "-15..19", "'s' claims"),
    ("[1] -28..38", "[2] -28..38", "'d' has shape \\(2,\\), its operands give \\(1,\\)"),
    ("bias = [0]", "bias = [0, 1]", "'d' \\(dense\\) has shape|'d' has shape"),
    ("[[1], [0], [1]]", "[[1], [0]]", "'d' \\(dense\\) does not fit its operands"),
    ("scales = [2, -1]", "scales = [2]", "'s' \\(combine\\) does not fit its operands"),
    ("combine(%x, %w)", "combine(%x)", "'s' \\(combine\\) does not fit"),
    ("dense(%s)", "dense(%s, %s)", "'d' \\(dense\\) does not fit"),
    ("dense(%s)", "dense()", "'d' \\(dense\\) has 0 operands"),
    ("input() {encoding = none} : [3] 0..3", "input(%x) {encoding = none} : [3] 0..3", "'w' \\(input\\) has 1 operands"),
    ("-8..7", f"{-(1 << 61) - 1}..7", "'x' is wider than 62 bits"),
    ("0..3", f"0..{1 << 62}", "'w' is wider than 62 bits"),
    ('"second" = %s', '"second" = %t', "output 'second' has no value 't'"),
    ('"second"', '"first"', "two outputs have one name"),
    ('output "first"', 'meaning %t scale 1 offset 0\noutput "first"', "a meaning for 't', which does not exist"),
])
def test_the_verifier_names_what_is_broken(old: str, new: str, reason: str) -> None:
    verify(chain())
    text = "\n".join((*CHAIN, *OUTPUTS))
    assert text.count(old) == 1
    with pytest.raises(InternalError, match="g: .*" + reason):
        verify(graph(text.replace(old, new)))


def test_narrower_types_than_the_operands_give_are_valid() -> None:
    verify(graph(*(line.replace("-14..19", "-3..3").replace("-19..14", "-3..3").replace("-28..38", "-6..6") for line in CHAIN),
                 *OUTPUTS))


def test_users_and_inputs() -> None:
    g = chain()
    assert {k: [u.name for u in v] for k, v in g.users.items()} == {"x": ["s"], "w": ["s"], "s": ["n", "d"], "n": [], "d": []}
    assert [o.name for o in g.input_ops] == ["x", "w"]
    assert [o.name for o in graph(given("x", "[2]", "0..1"), '%y = multiply(%x, %x) {} : [2] 0..1 frac 0 @ "m"').users["x"]
            ] == ["y"]


def test_replacing_operations_keeps_outputs_and_own_meanings() -> None:
    """A tensor that takes another's place keeps its own meaning: the same codes may stand for other values."""
    meaning = "meaning %{} scale {} offset 0"
    g = graph(*CHAIN, meaning.format("x", "1/4"), meaning.format("s", "1/2"), meaning.format("n", "3"), *OUTPUTS)
    fewer = g.with_ops(g.ops[:2], {"s": "x", "d": "w"})
    assert [(o.name, o.value, o.meaning.scale.item()) for o in fewer.outputs] == [("first", "w", 1 / 2), ("second", "x", 1)]
    assert {k: str(v.scale.item()) for k, v in fewer.meanings.items()} == {"x": "1/4"}
    s = g.by_name["s"]
    assert rename_inputs(s, {"x": "w"}).inputs == ("w", "w")
    assert rename_inputs(s, {"d": "w"}) is s


def test_outputs_need_not_be_computed() -> None:
    g = graph(given("x", "[2]", "0..1"))
    g = replace(g, outputs=(*g.outputs, Output("again", "x", g.outputs[0].meaning)))
    verify(g)
    assert g.by_name["x"].type == FixedArray(np.array([0, 0]), np.array([1, 1]), 0)
    assert g.evaluate({"x": np.array([[0, 1]])})["x"].tolist() == [[0, 1]]
