"""The exact judge beside qonnx: every difference must be float32's own rounding, proven by the exact value."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from models import CASES, Array, Case, Net, execute, samples

from gatewright.errors import UserError
from gatewright.sim import executors
from gatewright.sim.executors import compare_with_qonnx
from gatewright.sim.judge import Judge

MODELS = Path(__file__).parents[3] / "shared" / "models" / "zoo"
needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not here")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_twins(case: Case) -> None:
    model, feeds = case.model(), samples(case, 7 if "seven" in case.name else 3)
    compared = compare_with_qonnx(model, feeds)
    assert all(d.cause for d in compared.differences)
    assert not compared.unproven
    inexact, quantised = ("per_channel", "one_bit_scaled"), ("axol1tl_v1", "axol1tl_v3")
    if not compared.differences and case.name not in (*inexact, *quantised) and "float_scale" not in case.name:
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
    found = compare_with_qonnx(model, {"x": x}).differences
    assert [(d.node, d.tensor, d.index, d.exact, d.code, d.executor_code, d.executor_before) for d in found] == [
        ("late", "late_out", (0, 0, 1), 2**24 + 1, 2**24 + 1, 2**24, 2**24),
        ("late", "late_out", (1, 0, 0), 2**24 + 3, 2**24 + 3, 2**24 + 4, 2**24 + 4)]
    assert [(d.float32_error, d.cause) for d in found] == [(1, "sum")] * 2


def test_a_difference_does_not_spread() -> None:
    net = Net()
    early = net.quant(net.op("Add", "x", net.const(1.0)), 1.0, 30, name="early")
    net.quant(early, 1.0, 30, name="late")
    found = compare_with_qonnx(net.model({"x": [1, 1]}, {"late_out": [1, 1]}), {"x": np.array([[2**24]], np.float32)}).differences
    assert [d.node for d in found] == ["early"]


def test_constants_are_compared_too() -> None:
    """A stored weight of 3.49999989 steps, which float32's division takes for a tie; reported once, not by sample."""
    net, step = Net(), np.float32(0.1)
    weight = np.float32(np.float64(step) * 3.5)
    net.op("MatMul", "x", net.quant(net.const([[weight]]), step, 4, name="w"), out="y")
    found = compare_with_qonnx(net.model({"x": [1, 1]}, {"y": [1, 1]}), {"x": np.ones((2, 1), np.float32)}).differences
    exact = Fraction(float(weight)) / Fraction(float(step))
    assert [(d.node, d.index, d.exact, d.code, d.executor_code, d.float32_error) for d in found] == [
        ("w", (0, 0), exact, 3, 4, 0)]
    assert found[0].cause == "division"


def test_a_wrong_executor_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One result that float32 does not excuse: neither the code behind it nor a value at the output is called proven."""
    net = Net()
    total = net.op("Add", "x", net.const(1.0), name="add")
    net.quant(total, 1.0, 8, name="q")
    net.op("Mul", total, net.const(0.1), out="y", name="scale")
    model = net.model({"x": [1, 1]}, {"q_out": [1, 1], "y": [1, 1]})
    right = executors._execute
    x = {"x": np.array([[3.25]], np.float32)}
    assert compare_with_qonnx(model, x).differences == []

    def wrong(model: onnx.ModelProto, feeds: dict[str, Array]) -> dict[str, Array]:
        found = right(model, feeds)
        found[total] = found[total] + np.float32(1)
        return {**found, "q_out": found["q_out"] + np.float32(1), "y": found["y"] + np.float32(0.1)}

    monkeypatch.setattr(executors, "_execute", wrong)
    found = compare_with_qonnx(model, x)
    assert [(d.node, d.code, d.executor_code, d.cause) for d in found.differences] == [("q", 4, 5, "")]
    assert (found.values, found.different_values, found.unproven) == (1, 1, ("add",))


def test_values_of_outputs_without_a_quantiser() -> None:
    net = Net()
    net.op("Mul", "x", net.const(0.1), out="y")
    x = np.linspace(-1, 1, 50, dtype=np.float32)[:, None]
    found = compare_with_qonnx(net.model({"x": [1, 1]}, {"y": [1, 1]}), {"x": x})
    assert (found.codes, found.values, found.different_values) == (0, 50, 0)
    net = Net()
    net.op("Add", net.op("Mul", "x", net.const(0.1)), net.const(0.3), out="y")
    found = compare_with_qonnx(net.model({"x": [1, 1]}, {"y": [1, 1]}), {"x": x})
    assert found.different_values == 5
    assert found.unproven == ()


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
    compared = compare_with_qonnx(model, {Judge(model).inputs[0]: ZOO[name].astype(np.float32)})
    assert all(d.cause for d in compared.differences)
    assert not compared.unproven
