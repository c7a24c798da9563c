"""Reading the file: what nodes are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnx_ops import model_of

from gatewright.compiler.frontend.onnx_file import load
from gatewright.sim.judge import Judge


def test_nodes_without_a_name_of_their_own(tmp_path: Path) -> None:
    """Compiler and judge call them the same: by operator and first output."""
    nodes = [helper.make_node("Abs", ["x"], ["a"], "first"), helper.make_node("Neg", ["a"], ["b"]),
             helper.make_node("Neg", ["b"], ["c"], "first"), helper.make_node("TopK", ["c", "k"], ["", "d"], "first"),
             helper.make_node("Cast", ["d"], ["y"], "last", to=1)]
    model = model_of(nodes, {"x": (1, 3)}, ["y"], {"k": [1]})
    onnx.save(model, tmp_path / "m.onnx")
    names = {n.outputs[-1]: n.name for n in load(tmp_path / "m.onnx").nodes}
    assert names == {"a": "first", "b": "Neg(b)", "c": "Neg(c)", "d": "TopK(d)", "y": "last"}
    trace = Judge(model).run({"x": np.ones((1, 3))})
    assert {name: trace.node_of(name) for name in names} == names
