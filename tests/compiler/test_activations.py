"""Quant -> function -> Quant over all input codes: the imported Graph, the optimised Graph and the netlist against the function
computed with 200 digits and rounded by the definition, and against onnxruntime where that is not near a boundary."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import onnxruntime
import pytest
from models import Net
from mpmath import mpf
from onnx import ModelProto, TensorProto, helper

from gatewright.compiler.driver import Compilation, compile_model
from gatewright.compiler.frontend.importer import import_model
from gatewright.compiler.options import Options
from gatewright.errors import UserError
from gatewright.ir.graph import Codes
from gatewright.ir.text import parse, show

DIGITS = 200
TIE = mpf(10) ** -150
Real = Any
Function = Callable[[Real], Real]


def f32(x: float) -> Real:
    return mpf(float(np.float32(x)))


@dataclass(frozen=True)
class Activation:
    """One operator: its reference, and what it needs."""

    name: str
    of: Function
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 22
    positive: bool = False

    def __str__(self) -> str:
        return "-".join([self.name, *map(str, self.attributes.values())])


def elu(alpha: Real, gamma: Real, x: Real) -> Real:
    return gamma * (x if x >= 0 else alpha * mpmath.expm1(x))


def sigmoid(x: Real) -> Real:
    return 1 / (1 + mpmath.exp(-x))


def clamp(x: Real) -> Real:
    return min(max(x, mpf(0)), mpf(1))


def gelu_tanh(x: Real) -> Real:
    return x / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpf(44715) / 10**6 * x**3)))


SELU = f32(1.67326319217681884765625), f32(1.05070102214813232421875)
ACTIVATIONS = (
    Activation("Relu", lambda x: max(x, mpf(0))),
    Activation("Abs", abs),
    Activation("LeakyRelu", lambda x: x if x >= 0 else f32(0.01) * x),
    Activation("LeakyRelu", lambda x: x if x >= 0 else f32(0.3) * x, {"alpha": 0.3}),
    Activation("LeakyRelu", lambda x: x if x >= 0 else -x / 4, {"alpha": -0.25}),
    Activation("Elu", lambda x: elu(mpf(1), mpf(1), x)),
    Activation("Elu", lambda x: elu(f32(0.7), mpf(1), x), {"alpha": 0.7}),
    Activation("Selu", lambda x: elu(*SELU, x)),
    Activation("Celu", lambda x: x if x >= 0 else f32(0.6) * mpmath.expm1(x / f32(0.6)), {"alpha": 0.6}),
    Activation("ThresholdedRelu", lambda x: x if x > f32(0.6) else mpf(0), {"alpha": 0.6}),
    Activation("HardSigmoid", lambda x: clamp(f32(0.2) * x + mpf("0.5"))),
    Activation("HardSigmoid", lambda x: clamp(f32(0.4) * x + f32(0.3)), {"alpha": 0.4, "beta": 0.3}),
    Activation("HardSwish", lambda x: x * clamp(x / 6 + mpf("0.5"))),
    Activation("Sigmoid", sigmoid),
    Activation("Tanh", mpmath.tanh),
    Activation("Gelu", lambda x: x / 2 * (1 + mpmath.erf(x / mpmath.sqrt(2)))),
    Activation("Gelu", gelu_tanh, {"approximate": "tanh"}),
    Activation("Mish", lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x)))),
    Activation("Softplus", lambda x: mpmath.log1p(mpmath.exp(x))),
    Activation("Softsign", lambda x: x / (1 + abs(x))),
    Activation("Exp", mpmath.exp),
    Activation("Erf", mpmath.erf),
    Activation("Sign", lambda x: mpf((x > 0) - (x < 0))),
    Activation("Log", mpmath.log, positive=True),
    Activation("Sqrt", mpmath.sqrt, positive=True),
    Activation("Reciprocal", lambda x: 1 / x, positive=True),
)


@dataclass(frozen=True)
class Grid:
    """A quantiser's parameters."""

    bits: int
    scale: float
    signed: bool = True
    mode: str = "ROUND"
    zero: int = 0

    @property
    def codes(self) -> range:
        return range(-(1 << self.bits - 1), 1 << self.bits - 1) if self.signed else range(1 << self.bits)

    def value(self, code: int) -> Real:
        return (code - self.zero) * f32(self.scale)

    def code(self, y: Real) -> int:
        """clip, then round: the definition of Quant."""
        v = y / f32(self.scale) + self.zero
        v = min(max(v, mpf(self.codes[0])), mpf(self.codes[-1]))
        twice = mpmath.nint(2 * v)
        if abs(2 * v - twice) < TIE:
            return ROUND[self.mode](Fraction(int(twice), 2))
        return ROUND[self.mode](Fraction(int(mpmath.floor(4 * v)) * 2 + 1, 8))  # any number of the same quarter


def halves(x: Fraction, up: bool) -> int:
    return -((-x + Fraction(1, 2)) // 1) if not up else (x + Fraction(1, 2)) // 1


ROUND: dict[str, Callable[[Fraction], int]] = {
    "ROUND": round,
    "FLOOR": lambda x: x // 1,
    "CEIL": lambda x: -(-x // 1),
    "UP": lambda x: -(-x // 1) if x > 0 else x // 1,
    "DOWN": lambda x: x // 1 if x > 0 else -(-x // 1),
    "HALF_UP": lambda x: halves(x, x > 0),
    "HALF_DOWN": lambda x: halves(x, x < 0),
}


def between(given: Grid, wanted: Grid, build: Callable[[Net, str], str], opset: int = 22) -> ModelProto:
    """x -> Quant -> what `build` adds -> Quant -> y"""
    net = Net()
    x = net.quant("x", given.scale, given.bits, signed=given.signed, zero=given.zero)
    net.quant(build(net, x), wanted.scale, wanted.bits, signed=wanted.signed, mode=wanted.mode, zero=wanted.zero, out="y")
    return net.model({"x": [None, 1]}, {"y": [None, 1]}, opset=opset)


def compiled(model: ModelProto, folder: Path, **options: Any) -> Compilation:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return compile_model(path, Options(**options))


def results(c: Compilation, codes: Codes) -> Codes:
    """The output's codes, which Graph as imported, Graph as optimised, its text read back, and netlist agree upon."""
    name, = (i.name for i in c.graph.input_ops)
    output, = c.imported.graph.outputs
    first = c.imported.graph.evaluate({name: codes})[output.value]
    for graph in (c.graph, parse(show(c.graph)), parse(show(c.imported.graph))):
        assert np.array_equal(graph.evaluate({name: codes})[graph.outputs[0].value], first)
    assert np.array_equal(c.design.evaluate({name: codes.reshape(len(codes), -1)})[output.name],
                          first.reshape(len(codes), -1))
    return first.reshape(-1)


def exhaust(function: Function, model: ModelProto, given: Grid, wanted: Grid, folder: Path) -> Compilation:
    """Every input code gives the code of the correctly rounded function."""
    c = compiled(model, folder)
    port = c.graph.input_ops[0].type
    codes = [k for k in given.codes if port.lo.min() <= k <= port.hi.max()]
    assert codes == list(given.codes)
    with mpmath.workdps(DIGITS):
        expected = [wanted.code(function(given.value(k))) for k in codes]
    assert results(c, np.array(codes, np.int64).reshape(-1, 1)).tolist() == expected
    return c


GRIDS = (
    (Grid(8, 1 / 16), Grid(8, 1 / 64)),
    (Grid(6, 0.1), Grid(4, 0.07, False)),
    (Grid(5, 0.3, True), Grid(8, 0.011, True, "FLOOR")),
    (Grid(7, 0.05, False), Grid(6, 0.05, True, "CEIL")),
    (Grid(4, 0.5), Grid(2, 0.25, False, "HALF_UP", 1)),
)


@pytest.mark.parametrize("grids", GRIDS, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_every_code(activation: Activation, grids: tuple[Grid, Grid], tmp_path: Path) -> None:
    given, wanted = grids
    if activation.positive:  # code 0 means 3 steps above zero
        given = Grid(given.bits, given.scale, False, given.mode, -3)
    model = between(given, wanted, lambda net, x: net.op(activation.name, x, **activation.attributes))
    exhaust(activation.of, model, given, wanted, tmp_path)


@pytest.mark.parametrize("mode", ROUND)
@pytest.mark.parametrize("name", ["Sigmoid", "Tanh", "HardSwish", "LeakyRelu", "Abs"])
def test_every_rounding_mode(name: str, mode: str, tmp_path: Path) -> None:
    activation = next(a for a in ACTIVATIONS if a.name == name)
    given, wanted = Grid(6, 0.25), Grid(5, 1 / 8, True, mode)
    exhaust(activation.of, between(given, wanted, lambda net, x: net.op(name, x)), given, wanted, tmp_path)


@pytest.mark.parametrize("activation", [a for a in ACTIVATIONS if a.name in (
    "Sigmoid", "Gelu", "HardSwish", "LeakyRelu", "Abs", "Elu", "Softplus", "Mish", "Tanh")], ids=str)
def test_wide_operands(activation: Activation, tmp_path: Path) -> None:
    """14 bits are more than a table takes."""
    given, wanted = Grid(14, 1 / 1000), Grid(5, 0.19)
    model = between(given, wanted, lambda net, x: net.op(activation.name, x, **activation.attributes))
    c = compiled(model, tmp_path)
    assert all(op.kind != "table" for op in c.graph.ops)
    codes = np.array(given.codes).reshape(-1, 1)
    got = c.graph.evaluate({"x": codes})[c.graph.outputs[0].value].reshape(-1)
    change = np.flatnonzero(np.diff(got))
    probes = np.unique([0, len(codes) - 1, *change, *(change + 1), *range(0, len(codes), 97)])
    with mpmath.workdps(60):
        expected = [wanted.code(activation.of(given.value(int(k)))) for k in codes[probes, 0]]
    assert got[probes].tolist() == expected == results(c, codes[probes]).tolist()


def test_twenty_bits(tmp_path: Path) -> None:
    """No table holds that: thresholds, or, where those are too many, a quick refusal."""
    given, wanted = Grid(20, 2.0**-16), Grid(5, 0.25)
    c = compiled(between(given, wanted, lambda net, x: net.op("Gelu", x)), tmp_path)
    codes = np.array([*given.codes[::20011], *range(-60, 60)]).reshape(-1, 1)
    with mpmath.workdps(60):
        expected = [wanted.code(given.value(int(k)) * mpmath.ncdf(given.value(int(k)))) for k in codes[:, 0]]
    assert results(c, codes).reshape(-1).tolist() == expected
    for bits in (14, 16):
        model = between(given, Grid(bits, 2.0 ** (3 - bits)), lambda net, x: net.op("Gelu", x))
        start = time.process_time()
        with pytest.raises(UserError, match="its operand has 1048576 codes"):
            compiled(model, tmp_path)
        assert time.process_time() - start < 5


def test_far_tails(tmp_path: Path) -> None:
    """1 - tanh(x) smaller than any precision, and a rounding that sees it."""
    given = Grid(8, 64.0)
    for mode in ("FLOOR", "CEIL"):
        wanted = Grid(3, 1.0, True, mode)
        exhaust(lambda x, m=mode: mpmath.sign(x) * (1 - mpf(10) ** -100), between(
            given, wanted, lambda net, x: net.op("Tanh", x)), given, wanted, tmp_path)


def silu(net: Net, x: str) -> str:
    return net.op("Mul", x, net.op("Sigmoid", x))


def test_reconvergent_products(tmp_path: Path) -> None:
    given, wanted = Grid(7, 0.11), Grid(6, 0.13)
    c = exhaust(lambda x: x * sigmoid(x), between(given, wanted, silu), given, wanted, tmp_path)
    assert [op.kind for op in c.graph.ops] == ["input", "table"]
    exhaust(lambda x: x * clamp(x / 4 + mpf("0.5")), between(given, wanted, lambda net, x: net.op("Mul", x, net.op(
        "Clip", net.op("Add", net.op("Mul", x, net.const(0.25)), net.const(0.5)), net.const(0.0), net.const(1.0)))),
        given, wanted, tmp_path)
    exhaust(lambda x: x / (1 + abs(x)), between(given, wanted, lambda net, x: net.op(
        "Div", x, net.op("Add", net.op("Abs", x), net.const(1.0)))), given, wanted, tmp_path)
    exhaust(lambda x: x**3 - x, between(given, wanted, lambda net, x: net.op(
        "Sub", net.op("Pow", x, net.const(3.0)), x)), given, wanted, tmp_path)


def test_function_of_a_sum(tmp_path: Path) -> None:
    """x * sigmoid(2 x) for x = a + b on two scales: one function of one integer sum."""
    net = Net()
    a, b = (net.quant(name, scale, 4) for name, scale in (("a", 0.25), ("b", 0.375)))
    x = net.op("Add", a, b)
    net.quant(net.op("Mul", x, net.op("Sigmoid", net.op("Mul", x, net.const(2.0)))), 0.1, 7, out="y")
    c = compiled(net.model({"a": [None, 1], "b": [None, 1]}, {"y": [None, 1]}), tmp_path)
    i, j = (v.reshape(-1, 1) for v in np.meshgrid(np.arange(-8, 8), np.arange(-8, 8)))
    for evaluate in (c.imported.graph, c.graph):
        got = evaluate.evaluate({"a": i, "b": j})[evaluate.outputs[0].value].reshape(-1)
        with mpmath.workdps(60):
            want = [Grid(7, 0.1).code(x * sigmoid(2 * x)) for x in
                    (mpf(int(p)) / 4 + 3 * mpf(int(q)) / 8 for p, q in zip(i[:, 0], j[:, 0], strict=True))]
        assert got.tolist() == want
    assert [op.kind for op in c.graph.ops] == ["input", "input", "combine", "table"]


def test_slope_per_channel(tmp_path: Path) -> None:
    """PRelu, and a kink that is not at the same code for all channels."""
    net = Net()
    x = net.quant("x", 1 / 8, 7)
    moved = net.op("Add", x, net.const([0.0, 0.5, -1.25]))
    slopes = (0.1, 0.25, -0.5)
    net.quant(net.op("PRelu", moved, net.const(slopes)), 1 / 16, 8, out="y")
    c = compiled(net.model({"x": [None, 3]}, {"y": [None, 3]}), tmp_path)
    codes = np.repeat(np.arange(-64, 64).reshape(-1, 1), 3, axis=1)
    shifts = [mpf(v) for v in ("0", "0.5", "-1.25")]
    values = [[mpf(int(k)) / 8 + d for d in shifts] for k in codes[:, 0]]
    want = [Grid(8, 1 / 16).code(v if v >= 0 else f32(s) * v) for row in values for v, s in zip(row, slopes, strict=True)]
    assert results(c, codes).tolist() == want


def test_leaky_relu_is_two_lines_and_a_choice(tmp_path: Path) -> None:
    c = compiled(between(Grid(14, 1 / 1024), Grid(14, 1 / 1024), lambda net, x: net.op("LeakyRelu", x, alpha=0.125)), tmp_path)
    assert [op.kind for op in c.graph.ops] == ["input", "requant", "thresholds", "select"]


@pytest.mark.parametrize("activation", [a for a in ACTIVATIONS if not a.positive and a.name != "ThresholdedRelu"], ids=str)
def test_onnxruntime_agrees_away_from_boundaries(activation: Activation, tmp_path: Path) -> None:
    given, wanted = Grid(8, 1 / 16), Grid(8, 1 / 64)
    node = helper.make_node(activation.name, ["x"], ["y"], **activation.attributes)
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None]) for n in ("x", "y")]
    model = helper.make_model(helper.make_graph([node], "g", info[:1], info[1:]), ir_version=10,
                              opset_imports=[helper.make_opsetid("", activation.opset)])
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.array(given.codes) / 16
    y, = session.run(None, {"x": x.astype(np.float32)})
    c = compiled(between(given, wanted, lambda net, v: net.op(activation.name, v, **activation.attributes)), tmp_path)
    got = results(c, np.array(given.codes).reshape(-1, 1))
    scaled = np.clip(y.astype(np.float64) * 64, -128, 127)
    near = np.abs(scaled - np.floor(scaled) - 0.5) < 1e-3
    assert near.sum() < 20
    assert np.array_equal(got[~near], np.round(scaled)[~near])


# -- what cannot be --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "remedy"), [("Log", "positive"), ("Sqrt", "non-negative"), ("Reciprocal", "zero"),
                                              ("Exp", "1024")])
def test_domain(name: str, remedy: str, tmp_path: Path) -> None:
    grid = Grid(8, 64.0)
    with pytest.raises(UserError) as error:
        compiled(between(grid, grid, lambda net, x: net.op(name, x, name="f")), tmp_path)
    assert error.value.node == "f"
    assert remedy in str(error.value)


def test_matmul_needs_codes(tmp_path: Path) -> None:
    grid = Grid(6, 0.1)
    with pytest.raises(UserError, match="sigmoid") as error:
        compiled(between(grid, grid, lambda net, x: net.op("MatMul", net.op("Sigmoid", x), net.const([[1.0]]), name="m")),
                 tmp_path)
    assert error.value.node == "m"


def test_functions_of_different_tensors_need_quantisers(tmp_path: Path) -> None:
    net = Net()
    a, b = (net.quant(name, 0.25, 4) for name in "ab")
    net.quant(net.op("Add", net.op("Sigmoid", a), net.op("Tanh", b)), 0.1, 7, out="y", name="q")
    with pytest.raises(UserError, match="quantiser after each") as error:
        compiled(net.model({"a": [None, 1], "b": [None, 1]}, {"y": [None, 1]}), tmp_path)
    assert error.value.node == "q"


def test_output_without_quantiser(tmp_path: Path) -> None:
    """On a default grid with the bound stated, or on the user's."""
    net = Net()
    net.op("Tanh", net.quant("x", 0.25, 5), out="y")
    model = net.model({"x": [None, 1]}, {"y": [None, 1]})
    c = compiled(model, tmp_path)
    assert any("off by at most 2^-17" in note for note in c.notes)
    codes = np.arange(-16, 16).reshape(-1, 1)
    values = [mpmath.tanh(mpf(k) / 4) for k in range(-16, 16)]
    assert results(c, codes).tolist() == [int(mpmath.nint(v * 2**16)) for v in values]
    user = compiled(model, tmp_path, output_type="fixed<8,2,RND_CONV,SAT>")
    assert results(user, codes).tolist() == [int(mpmath.nint(v * 64)) for v in values]


def test_host_quantiser_after_a_function(tmp_path: Path) -> None:
    """A function before the first quantiser belongs to the host's encoding."""
    net = Net()
    net.quant(net.op("Sigmoid", "x"), 1 / 16, 4, signed=False, out="y")
    path = tmp_path / "m.onnx"
    path.write_bytes(net.model({"x": [None, 1]}, {"y": [None, 1]}).SerializeToString())
    graph = import_model(path).graph
    assert graph.input_ops[0].type.hi.max() == 15
    assert "sigmoid($0)" in show(graph)
