"""The exact judge beside qonnx: every difference must be float32's own rounding, proven by the exact value."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from models import CASES, Array, Case, Net, execute, samples

from gatewright.errors import UserError
from gatewright.sim.executors import Difference, compare_with_qonnx
from gatewright.sim.judge import Judge

MODELS = Path(__file__).parents[3] / "shared" / "models" / "zoo"
needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not here")


def is_rounding_of_float32(difference: Difference) -> bool:
    """The codes are neighbours, and the exact value lies within a few float32 roundings of where they meet."""
    meeting = Fraction(round(difference.exact * 2), 2)  # every mode changes its code at an integer or halfway between
    near = abs(difference.exact - meeting) <= abs(difference.exact) * Fraction(1, 2**21)
    return abs(difference.code - difference.executor_code) == 1 and near


@pytest.mark.parametrize("case", CASES, ids=str)
def test_twins(case: Case) -> None:
    model, feeds = case.model(), samples(case, 7 if "seven" in case.name else 3)
    differences = compare_with_qonnx(model, feeds)
    assert all(is_rounding_of_float32(d) for d in differences)
    inexact, quantised = ("per_channel", "one_bit_scaled"), ("axol1tl_v1", "axol1tl_v3")
    if not differences and case.name not in (*inexact, *quantised) and "float_scale" not in case.name:
        trace, outputs = Judge(model).run(feeds), execute(model, feeds)
        for name in set(trace.outputs) & set(outputs):
            got = trace.float32(name)
            assert (got == outputs[name].reshape(got.shape)).all()


def test_difference_shows_the_exact_value() -> None:
    """2**24 + 1 is no float32: the sum rounds before the quantiser sees it."""
    net = Net()
    net.quant(net.op("Add", "x", net.const(1.0)), 1.0, 30, name="late", signed=True)
    model = net.model({"x": [1, 2]}, {"late_out": [1, 2]})
    x = np.array([[3, 2**24], [2**24 + 2, 5]], np.float32)
    found = compare_with_qonnx(model, {"x": x})
    assert [(d.node, d.tensor, d.index, d.exact, d.code, d.executor_code, d.executor_before) for d in found] == [
        ("late", "late_out", (0, 0, 1), 2**24 + 1, 2**24 + 1, 2**24, 2**24),
        ("late", "late_out", (1, 0, 0), 2**24 + 3, 2**24 + 3, 2**24 + 4, 2**24 + 4)]
    assert [d.float32_error for d in found] == [1, 1]


def test_a_difference_does_not_spread() -> None:
    net = Net()
    early = net.quant(net.op("Add", "x", net.const(1.0)), 1.0, 30, name="early")
    net.quant(early, 1.0, 30, name="late")
    found = compare_with_qonnx(net.model({"x": [1, 1]}, {"late_out": [1, 1]}), {"x": np.array([[2**24]], np.float32)})
    assert [d.node for d in found] == ["early"]


def test_constants_are_compared_too() -> None:
    """A stored weight of 3.49999989 steps, which float32's division takes for a tie; reported once, not by sample."""
    net, step = Net(), np.float32(0.1)
    weight = np.float32(np.float64(step) * 3.5)
    net.op("MatMul", "x", net.quant(net.const([[weight]]), step, 4, name="w"), out="y")
    found = compare_with_qonnx(net.model({"x": [1, 1]}, {"y": [1, 1]}), {"x": np.ones((2, 1), np.float32)})
    exact = Fraction(float(weight)) / Fraction(float(step))
    assert [(d.node, d.index, d.exact, d.code, d.executor_code, d.float32_error) for d in found] == [
        ("w", (0, 0), exact, 3, 4, 0)]
    assert is_rounding_of_float32(found[0])


def test_a_wrong_judge_is_noticed() -> None:
    """A model whose weight moved is not the model that the executor computes: the evidence does not excuse it."""
    difference = Difference("y", "q", (0, 0), Fraction(13, 4), 3, 4, Fraction(13, 4))
    assert not is_rounding_of_float32(difference)


def test_refusals() -> None:
    net = Net()
    net.op("NoSuchOperator", "x", out="y", name="strange")
    with pytest.raises(UserError, match=r"'strange'.*NoSuchOperator"):
        compare_with_qonnx(net.model({"x": [1, 1]}, {"y": [1, 1]}), {"x": np.ones((1, 1), np.float32)})
    net = Net()
    net.quant("x", 1.0, 4, name="q")
    with pytest.raises(UserError, match="4 samples at a time"):
        compare_with_qonnx(net.model({"x": [4, 1]}, {"q_out": [4, 1]}), {"x": np.ones((6, 1), np.float32)})


RANDOM = np.random.RandomState(0)
ZOO: dict[str, Array] = {
    "qkeras_jettagging": RANDOM.randint(-(2**12), 2**12, (20, 16)) / 2**10,  # on the grid of fixed<16,6>
    "TFC_2W2A": RANDOM.randint(0, 256, (4, 1, 28, 28)) / 256, "TFC_1W1A": RANDOM.randint(0, 256, (4, 1, 28, 28)) / 256,
    "kwsmlp_w3a3": RANDOM.randint(-640, 640, (4, 1, 10, 49)) / 256,
    "unsw_nb15-mlp-w2a2": RANDOM.randint(0, 2, (4, 600)) * 2 - 1.0,
}


@needs_models
@pytest.mark.parametrize("name", ZOO)
def test_zoo(name: str) -> None:
    model = onnx.load(MODELS / f"{name}.onnx")
    differences = compare_with_qonnx(model, {Judge(model).inputs[0]: ZOO[name].astype(np.float32)})
    assert all(is_rounding_of_float32(d) for d in differences)
