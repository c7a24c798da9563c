"""Two neurons with the same weights are one row: what reads both has a smaller range than the model's tensors tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from gatewright.compiler.driver import compile_model
from gatewright.compiler.options import Options
from tests.models import Net


@pytest.mark.parametrize("seed", range(4))
def test_twin_neurons(seed: int, tmp_path: Path) -> None:
    net, rng = Net(seed=0), np.random.default_rng(seed)
    x = net.quant("global_in", .25, 4)
    twins = np.repeat(rng.integers(-3, 4, (3, 1)), 2, axis=1) * .25
    x = net.quant(net.op("MatMul", x, net.quant(net.const(twins), .25, 4)), .25, 4)
    net.quant(net.op("MatMul", x, net.quant(net.const(np.array([[1.25], [-1.]])), .25, 6)), .5, 3)
    net.nodes[-1].output[0] = "global_out"
    onnx.save(net.model({"global_in": [1, 3]}, {"global_out": [1, 1]}), tmp_path / "m.onnx")
    assert compile_model(tmp_path / "m.onnx", Options()).proof.whole
