"""Where the model's values are after each step."""

from __future__ import annotations

import numpy as np

from gatewright.ir.correspondence import Correspondence


def test_graph_passes_rename_and_remove() -> None:
    start = Correspondence.identity(["a", "b", "c", "d"])
    first = start.after({"b": "a"}, {"c": "folded"})
    assert (dict(first.tensors), dict(first.gone)) == ({"a": "a", "b": "a", "d": "d"}, {"c": "folded"})
    second = first.after({"d": "e"}, {"a": "dead"})
    assert (dict(second.tensors), dict(second.gone)) == ({"d": "e"}, {"a": "dead", "b": "dead", "c": "folded"})
    assert start.tensors["c"] == "c"


def test_rows_follow_netlist_passes() -> None:
    rows = {"t": np.array([[3, 1], [0, 3]], np.int32), "unused": np.array(5, np.int32), "s": np.array(2, np.int32)}
    lowered = Correspondence({"x": "t", "y": "s", "z": "none"}).lowered(rows)
    assert {k: v.tolist() for k, v in lowered.rows.items()} == {"x": [3, 1, 0, 3], "y": [2]}
    once = lowered.moved(np.array([0, -1, 1, 2], np.int32))
    assert {k: v.tolist() for k, v in once.rows.items()} == {"x": [2, -1, 0, 2], "y": [1]}
    twice = once.moved(np.array([1, -1, 0], np.int32))
    assert {k: v.tolist() for k, v in twice.rows.items()} == {"x": [0, -1, 1, 0], "y": [-1]}
    assert twice.rows["x"].dtype == np.int32
