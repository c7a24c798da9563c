"""The judge against brute force in fractions and decimals, onnx's reference evaluator, qonnx and golden vectors."""

from __future__ import annotations

import ast
import math
import subprocess
import sys
from decimal import ROUND_FLOOR, Decimal, localcontext
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from models import MODES, QONNX, Array, Net, execute
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from gatewright.errors import UserError
from gatewright.sim.judge import Judge, Surd, Trace, integers, tensor
from gatewright.sim.judge.numbers import (
    FLOAT32,
    FLOAT64,
    Number,
    floor_of,
    is_zero,
    nearest_float,
    reciprocal,
    square_root,
)

MODELS = Path(__file__).parents[3] / "shared" / "models"
needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not here")


def root(value: object) -> Number:
    return square_root(Fraction(value))  # type: ignore[arg-type]


def test_it_shares_no_code_with_what_it_judges() -> None:
    imported = "import sys, gatewright.sim.judge; print([m for m in sys.modules if m.startswith('gatewright.')])"
    loaded = subprocess.run([sys.executable, "-c", imported], capture_output=True, text=True, check=True).stdout
    assert {m for m in ast.literal_eval(loaded) if not m.startswith("gatewright.sim")} == {"gatewright.errors"}


# Exact numbers


def test_floor_of_sums_of_roots_agrees_with_decimals() -> None:
    random = np.random.RandomState(0)
    for _ in range(300):
        count = random.randint(1, 4)
        coefficients = [Fraction(int(random.randint(-10**6, 10**6)), int(random.randint(1, 999))) for _ in range(count)]
        radicands = [int(r) for r in random.randint(2, 10**9, count)]
        offset = Fraction(int(random.randint(-10**9, 10**9)), 7)
        value = sum((c * root(r) for c, r in zip(coefficients, radicands, strict=True)), offset)
        with localcontext() as context:
            context.prec = 80
            decimal = Decimal(offset.numerator) / offset.denominator
            for c, r in zip(coefficients, radicands, strict=True):
                decimal += Decimal(c.numerator) / c.denominator * Decimal(r).sqrt()
            assert floor_of(value) == int(decimal.to_integral_value(ROUND_FLOOR))


def test_sums_of_roots_that_cancel_are_zero() -> None:
    for zero in (root(18) - 3 * root(2), root(6) * root(35) - root(10) * root(21),
                 Surd({3 * 5 * 7: Fraction(1), 3 * 5 * 7 * 11**2: Fraction(-1, 11)}),
                 Surd({2: Fraction(2), 50: Fraction(1), 98: Fraction(-1)})):
        assert is_zero(zero)
        assert floor_of(zero) == 0
        assert [floor_of(zero + 3), floor_of(zero - 3)] == [3, -3]


def test_sums_of_roots_that_nearly_cancel() -> None:
    for near in (root(10**40 + 1) - 10**20,
                 Surd({2: Fraction(3), 18: Fraction(-1), 10**80 + 1: Fraction(1), 1: Fraction(-(10**40))})):
        assert not is_zero(near)
        assert [floor_of(near), floor_of(-near), floor_of(near - 1)] == [0, -1, -1]
        assert near > 0


def test_reciprocals() -> None:
    for value in (root(2), 3 - root(5), Fraction(3, 7), Fraction(2, 3) + 4 * root(Fraction(1, 6))):
        assert reciprocal(value) * value == 1
    with pytest.raises(ZeroDivisionError):
        reciprocal(Surd({2: Fraction(3), 18: Fraction(-1)}))
    with pytest.raises(ValueError, match="several"):
        reciprocal(root(2) + root(3))


def test_nearest_float_rounds_once() -> None:
    random = np.random.RandomState(1)
    for n in random.randint(2, 2**53, 200).tolist():
        assert nearest_float(root(n), *FLOAT64) == math.sqrt(n)
        assert nearest_float(-Fraction(n, 3**20), *FLOAT64) == -n / 3**20
    tie = Fraction(1) + Fraction(1, 2**24)  # between two float32 numbers; rounding through float64 loses what decides
    assert nearest_float(tie, *FLOAT32) == 1
    assert nearest_float(tie + Fraction(1, 2**70), *FLOAT32) == 1 + 2.0**-23
    assert nearest_float(Fraction(3, 2**150), *FLOAT32) == 2.0**-148
    assert nearest_float(Fraction(2**128 - 2**103), *FLOAT32) == math.inf
    assert nearest_float(Fraction(2**128 - 2**103 - 1), *FLOAT32) == float(np.finfo(np.float32).max)


# Integer arrays: the bounds that keep int64 and float64 exact


@pytest.mark.parametrize("size", [20, 26, 27, 30, 31, 40, 62, 63, 90])
def test_integer_arithmetic_is_exact_at_every_size(size: int) -> None:
    random = np.random.RandomState(size)
    def numbers(*shape: int) -> Array:
        count = math.prod(shape)
        values = [int.from_bytes(random.bytes(12), "big") % 2 ** (size + 1) - 2**size for _ in range(count)]
        return integers.settle(np.array(values, object).reshape(shape))
    a, b, c = numbers(3, 2, 5), numbers(1, 5, 4), numbers(3, 2, 5)
    for got, want in ((integers.matmul(a, b), np.matmul(a.astype(object), b.astype(object))),
                      (integers.multiply(a, c), a.astype(object) * c), (integers.add(a, c), a.astype(object) + c),
                      (integers.total(a, (0, 2)), a.astype(object).sum(axis=(0, 2), keepdims=True)),
                      (integers.scale(a, -(2**60)), a.astype(object) * -(2**60)),
                      (integers.floor_divide(a, integers.whole(7, 3)), a.astype(object) // 7)):
        assert got.astype(object).tolist() == want.tolist()
        assert (got.dtype == np.int64) == (max(abs(v) for v in want.ravel().tolist()) < 2**63)


@pytest.mark.parametrize("values", [[3, -2, 3, 7, 7, -2, 3, 0], [2**40, -5, 2**40], [2**70, 1, 2**70], []])
def test_distinct_integers(values: list[int]) -> None:
    a = integers.settle(np.array(values, object).reshape(1, -1))
    found, where = integers.distinct(a)
    assert found.tolist() == sorted(set(values))
    assert where.shape == a.shape
    assert found[where].tolist() == a.tolist()


@pytest.mark.parametrize("unit", [Fraction(1), Fraction(3, 2), Fraction(-1, 4), Fraction(5, 64), Fraction(1, 3), Fraction(-7, 6)])
def test_halves_to_even(unit: Fraction) -> None:
    num = np.arange(-200, 201).reshape(1, -1)
    got = tensor.halves_to_even(tensor.on_grid(num, unit, False))
    assert got.tolist() == [[round(n * unit) for n in range(-200, 201)]]


def test_exact_numbers_that_repeat_make_the_same_tensor() -> None:
    """They are looked up in a table; a root among them stays exact."""
    root = square_root(Fraction(2))
    for numbers in ([Fraction(1, 3), Fraction(-5, 2)], [Fraction(1, 3), root]):
        repeated = np.array([[numbers[k % 2] for k in range(20)]], object)
        assert tensor.of_values(repeated, False).values.tolist() == repeated.tolist()
        found, where = tensor.distinct_values(tensor.of_values(repeated, False))
        assert found[where].tolist() == repeated.tolist()
        assert len(found) == 2 or root in numbers


def test_matmul_beyond_float64() -> None:
    a = np.array([[[2**52, 1, 1, 1]]])
    b = np.ones((1, 4, 1), np.int64)
    b[0, 1:] = [[2**52], [1], [2**52]]
    assert integers.matmul(a, b).item() == 2**53 + 2**52 + 1


# Quantisers


def brute_quant(x: Fraction, scale: Fraction, zero: Fraction, bits: int, signed: bool, narrow: bool, mode: str) -> int:
    """QONNX's definition, word for word."""
    y = x / scale + zero
    if signed and bits == 1:
        return 1 if y >= 0 else -1
    low, high = (-(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1 - narrow)
    y = min(max(y, Fraction(low)), Fraction(high))
    sign, size = (1 if y >= 0 else -1), abs(y)
    half = Fraction(1, 2)
    return {"ROUND": round(y), "HALF_EVEN": round(y), "CEIL": math.ceil(y), "FLOOR": math.floor(y),
            "UP": sign * math.ceil(size), "DOWN": sign * math.floor(size), "HALF_UP": sign * math.floor(size + half),
            "HALF_DOWN": sign * math.ceil(size - half)}[mode]


def quant_model(mode: str, signed: bool, narrow: bool, bits: int, zero: float, scale: object,
                width: int) -> onnx.ModelProto:
    net = Net()
    net.quant("x", scale, bits, zero=zero, signed=signed, narrow=narrow, mode=mode, name="q")
    return net.model({"x": [1, width]}, {"q_out": [1, width]})


@pytest.mark.parametrize(("signed", "narrow", "bits", "zero"),
                         [*product((True, False), (True, False), (1, 3), (0.0, 2.0)), (True, False, 4, 0.5)])
@pytest.mark.parametrize("mode", MODES)
def test_quant_on_ties_and_beyond_the_ends(mode: str, signed: bool, narrow: bool, bits: int, zero: float) -> None:
    x = (np.arange(-48, 49, dtype=np.float32) / 16)[None]
    model = quant_model(mode.lower(), signed, narrow, bits, zero, 0.25, x.size)
    trace = Judge(model).run({"x": x})
    want = [brute_quant(Fraction(float(v)), Fraction(1, 4), Fraction(zero), bits, signed, narrow, mode) for v in x[0]]
    assert trace.codes("q_out").tolist() == [want]
    assert trace.quantisers == (("q_out", "q"),)
    assert (trace.float32("q_out") == execute(model, {"x": x})["q_out"]).all()


@pytest.mark.parametrize("mode", MODES)
def test_quant_with_float_scales_per_channel(mode: str) -> None:
    scales = np.float32([0.3, 0.1, 1 / 3, 0.25, 3e-5, 7e9])
    codes = np.arange(-20, 21)
    x = np.array([[(Fraction(int(c), 2) - 1) * Fraction(float(s)) for s in scales] for c in codes], object)  # every tie
    trace = Judge(quant_model(mode, True, False, 4, 1.0, scales, 6)).run({"x": x})
    want = [brute_quant(Fraction(int(c), 2) - 1, Fraction(1), Fraction(1), 4, True, False, mode) for c in codes]
    assert trace.codes("q_out").tolist() == [[code] * 6 for code in want]
    assert trace.before_rounding("q_out")[:, 2].tolist() == [Fraction(int(c), 2) for c in codes]
    assert trace.exact("q_out").tolist() == [[(code - 1) * Fraction(float(s)) for s in scales] for code in want]


def test_bipolar_quant_maps_zero_to_plus_one() -> None:
    net = Net()
    net.op("Identity", net.bipolar("x", 0.5), out="y")
    trace = Judge(net.model({"x": [1, 4]}, {"y": [1, 4]})).run({"x": np.array([[0.0, -0.0, -5e-324, 1e300]])})
    assert trace.codes("BipolarQuant_0_out").tolist() == [[1, 1, -1, 1]]
    assert trace.float64("y").tolist() == [[0.5, 0.5, -0.5, 0.5]]


# Batch normalisation: roots


def batch_norm(net: Net, x: str, *parameters: Array, epsilon: float = 2.0**-10) -> str:
    """Parameters: gain, bias, mean, variance."""
    return net.op("BatchNormalization", x, *(net.const(p) for p in parameters), epsilon=epsilon)


def test_batch_norm_agrees_with_decimals() -> None:
    net, channels, random = Net(), 5, np.random.RandomState(3)
    parameters = [np.float32(random.uniform(low, 2, channels)) for low in (-2, -2, -2, 0.1)]
    norm = batch_norm(net, "x", *parameters, epsilon=1e-5)
    net.quant(net.op("Relu", norm), 0.001, 12, signed=False, mode="FLOOR", name="q")
    x = random.randint(-64, 64, (40, channels)) / 16
    trace = Judge(net.model({"x": ["N", channels]}, {"q_out": ["N", channels]})).run({"x": x})
    scale, epsilon = Decimal(float(np.float32(0.001))), Decimal(float(np.float32(1e-5)))
    with localcontext() as context:
        context.prec = 60
        reals = trace.float64(norm)
        for (sample, channel), code in np.ndenumerate(trace.codes("q_out")):
            gain, bias, mean, variance = (Decimal(float(p[channel])) for p in parameters)
            y = gain * (Decimal(float(x[sample, channel])) - mean) / (variance + epsilon).sqrt() + bias
            assert code == min(max(int((max(y, Decimal(0)) / scale).to_integral_value(ROUND_FLOOR)), 0), 4095)
            assert reals[sample, channel] == float(y)


def test_batch_norm_with_a_rational_root_ties() -> None:
    net = Net()
    norm = batch_norm(net, "x", *(np.float32([v]) for v in (1, 0.5, 0, 0.25 - 2.0**-10)))  # x / (1/2) + 1/2
    net.quant(norm, 1, 4, name="q")
    trace = Judge(net.model({"x": [1, 1]}, {"q_out": [1, 1]})).run({"x": np.arange(-3.0, 3.0)[:, None]})
    assert trace.codes("q_out").ravel().tolist() == [-6, -4, -2, 0, 2, 4]


def test_roots_of_different_norms_cancel_exactly() -> None:
    """gain/sqrt(2) and 2*gain/sqrt(8) are equal, which only exact arithmetic knows: 0 is not negative."""
    net, ones = Net(), np.ones(3, np.float32)
    a = batch_norm(net, "x", ones, ones, 0 * ones, np.float32([2, 3, 5]) - 2.0**-10)
    b = batch_norm(net, "x", 2 * ones, ones, 0 * ones, np.float32([8, 12, 20]) - 2.0**-10)
    difference = net.op("Sub", a, b)
    net.bipolar(difference)
    net.bipolar(net.op("MatMul", difference, net.const(np.ones((3, 1)))))  # adds different roots
    net.bipolar(net.op("MatMul", net.op("Sub", net.op("Mul", a, net.const([1, 1, -1])), net.const([1, 1, -1])),
                       net.const(np.ones((3, 1)))))
    model = net.model({"x": [1, 3]}, {f"BipolarQuant_{i}_out": [1, 3] for i in range(3)})
    trace = Judge(model).run({"x": np.array([[-7.0, -3.0, 0.1], [1, 1, 3], [1, 1, 2]])})
    assert trace.codes("BipolarQuant_0_out").min() == trace.codes("BipolarQuant_1_out").min() == 1
    # x . (1/sqrt(2), 1/sqrt(3), -1/sqrt(5)) = -6.7, -0.06, +0.39
    assert trace.codes("BipolarQuant_2_out").ravel().tolist() == [-1, -1, 1]


# Operators, against onnx's reference evaluator on values that floats hold


F = np.float32
OPERATORS: dict[str, tuple[str, list[object], dict[str, Any], int]] = {
    # operator, inputs after x (None: x again), attributes, operator set; x is [1, 2, 3] or as in SHAPES
    "add": ("Add", [F([[1], [2]])], {}, 13), "sub_wider": ("Sub", [np.ones((2, 1, 1, 3), F)], {}, 13),
    "mul_self": ("Mul", [None], {}, 13), "div": ("Div", [F([2, -4, 0.5])], {}, 13), "neg": ("Neg", [], {}, 13),
    "abs": ("Abs", [], {}, 13), "relu": ("Relu", [], {}, 13),
    "floor": ("Floor", [], {}, 13), "ceil": ("Ceil", [], {}, 13),
    "round": ("Round", [], {}, 13), "clip": ("Clip", [F(-1.5), F(1)], {}, 13), "clip_low": ("Clip", [F(0.25)], {}, 13),
    "clip_attributes": ("Clip", [], {"min": -1.5, "max": 1.0}, 6), "clip_crossed": ("Clip", [F(2), F(-1)], {}, 13),
    "max": ("Max", [F([1, -1, 0]), F(0.5)], {}, 13),
    "min": ("Min", [F([1, -1, 0])], {}, 13),
    "square": ("Pow", [F(2)], {}, 13), "cube": ("Pow", [F([3])], {}, 13), "to_the_0": ("Pow", [F(0)], {}, 13),
    "matmul": ("MatMul", [np.arange(12, dtype=F).reshape(3, 4)], {}, 13),
    "matmul_vector": ("MatMul", [F([1, 2, 4])], {}, 13),
    "matmul_batch": ("MatMul", [np.arange(24, dtype=F).reshape(2, 1, 3, 4)], {}, 13),
    "sum": ("ReduceSum", [], {}, 13), "sum_axes": ("ReduceSum", [np.int64([-1, 1])], {"keepdims": 0}, 13),
    "sum_attribute": ("ReduceSum", [], {"axes": [2], "keepdims": 1}, 11),
    "sum_nothing": ("ReduceSum", [np.int64([])], {"noop_with_empty_axes": 1}, 13),
    "flatten": ("Flatten", [], {}, 13), "flatten_0": ("Flatten", [], {"axis": 0}, 13),
    "flatten_end": ("Flatten", [], {"axis": -1}, 13),
    "reshape": ("Reshape", [np.int64([0, 3, -1, 1])], {}, 13), "identity": ("Identity", [], {}, 13),
    "squeeze": ("Squeeze", [], {}, 13), "squeeze_axes": ("Squeeze", [np.int64([0])], {}, 13),
    "squeeze_attribute": ("Squeeze", [], {"axes": [0]}, 11), "unsqueeze": ("Unsqueeze", [np.int64([-1, 1])], {}, 13),
    "unsqueeze_attribute": ("Unsqueeze", [], {"axes": [0, 3]}, 11), "transpose": ("Transpose", [], {}, 13),
    "transpose_perm": ("Transpose", [], {"perm": [0, 2, 1]}, 13), "shape": ("Shape", [], {"start": 1, "end": -1}, 15),
    "gather": ("Gather", [np.int64([[2, -3], [0, 0]])], {"axis": 2}, 13),
    "gather_scalar": ("Gather", [np.int64(1)], {"axis": 1}, 13),
    "concat": ("Concat", [None, np.ones((1, 1, 3), F)], {"axis": -2}, 13),
    "cast_int": ("Cast", [], {"to": TensorProto.INT32}, 13),
    "cast_double": ("Cast", [], {"to": TensorProto.DOUBLE}, 13),
    "gemm": ("Gemm", [np.arange(12, dtype=F).reshape(3, 4), F([1, 2, 3, 4])], {"alpha": 0.5, "beta": -2.0}, 13),
    "gemm_trans": ("Gemm", [np.arange(8, dtype=F).reshape(4, 2), F(1)], {"transA": 1, "transB": 1}, 13),
}
SHAPES = {"gemm": (2, 3), "gemm_trans": (2, 3), "sub_wider": (2, 3)}
"""Of one sample, where it is not [1, 2, 3]; matrices come as the whole tensor, not as a batch."""


def one_node(kind: str, x: tuple[int, ...], constants: list[object], attributes: dict[str, Any],
             opset: int) -> onnx.ModelProto:
    names = ["x" if c is None else f"c{i}" for i, c in enumerate(constants)]
    node = helper.make_node(kind, ["x", *names], ["y"], "subject", **attributes)
    initializers = [numpy_helper.from_array(np.asarray(c), n) for n, c in zip(names, constants, strict=True)
                    if c is not None]
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
                              [onnx.ValueInfoProto(name="y")], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_is_what_onnx_says(name: str) -> None:
    kind, constants, attributes, opset = OPERATORS[name]
    shape = SHAPES.get(name, (1, 2, 3))
    x = np.random.RandomState(4).randint(-12, 13, (5, *shape)).astype(F) / 4
    model = one_node(kind, shape, constants, attributes, opset)
    trace = Judge(model).run({"x": x})
    got = trace.float64("y")
    for sample, value in enumerate(x):
        want = ReferenceEvaluator(model).run(None, {"x": value})[0]
        mine = got if trace.is_constant("y") else got[sample]
        dropped = not trace.is_constant("y") and want.shape[:1] == (1,)
        assert mine.shape == (want.shape[1:] if dropped else want.shape)
        assert (mine == want.reshape(mine.shape)).all()


def test_constant_on_the_left_and_products_of_data() -> None:
    net = Net()
    net.op("MatMul", net.const([[1, 2], [3, 4], [5, 6]]), "x", out="left")
    net.op("MatMul", "x", net.op("Transpose", "x", perm=[0, 2, 1]), out="square")
    net.op("Div", "x", "z", out="ratio")
    x, z = np.random.RandomState(5).randint(-9, 9, (4, 2, 3)) / 2, np.full((4, 2, 3), 3.0)
    trace = Judge(net.model({"x": ["N", 2, 3], "z": ["N", 2, 3]},
                            {"left": ["N", 3, 3], "square": ["N", 2, 2], "ratio": ["N", 2, 3]})).run({"x": x, "z": z})
    assert (trace.float64("left") == np.array([[1, 2], [3, 4], [5, 6]]) @ x).all()
    assert (trace.float64("square") == x @ x.transpose(0, 2, 1)).all()
    assert trace.exact("ratio").ravel().tolist() == [Fraction(float(v)) / 3 for v in x.ravel()]


def test_roots_and_powers() -> None:
    net = Net()
    net.op("Sqrt", "x", out="root")
    net.op("Pow", "x", net.const(-1.5), out="power")
    net.op("Mul", "root", "root", out="again")
    x = np.array([[2.0, 0.25, 3e5]])
    trace = Judge(net.model({"x": [1, 3]}, {n: [1, 3] for n in ("root", "power", "again")})).run({"x": x})
    assert trace.float64("root").tolist() == np.sqrt(x).tolist()
    assert all(p * p * Fraction(v) ** 3 == 1 for p, v in zip(trace.exact("power")[0], x[0], strict=True))
    assert trace.exact("again").tolist() == [[Fraction(v) for v in x[0]]]


def test_tables_are_read_with_computed_indices() -> None:
    net = Net()
    index = net.op("Cast", net.op("Floor", "x"), to=TensorProto.INT64)
    net.op("Gather", net.const([[1, 2], [3, 4], [0.5, 6]]), index, out="y", axis=0)
    trace = Judge(net.model({"x": [1, 2]}, {"y": [1, 2, 2]})).run({"x": np.array([[0.5, 2.9], [1, -1]])})
    assert trace.float64("y").tolist() == [[[1, 2], [0.5, 6]], [[3, 4], [0.5, 6]]]


# Samples, feeds, what a trace gives


def small() -> onnx.ModelProto:
    net = Net()
    active = net.op("Relu", net.op("MatMul", "x", net.weight(3, 2)), name="act")
    hidden = net.quant(active, 0.5, 4, signed=False, name="q")
    net.op("Softmax", net.op("MatMul", hidden, net.weight(2, 3), out="logits"), out="y", name="end")
    return net.model({"x": [1, 3]}, {"y": [1, 3]})


def test_trace() -> None:
    x = np.random.RandomState(6).randint(-9, 9, (7, 3)) / 4
    trace = Judge(small()).run({"x": x})
    assert (trace.outputs, trace.samples) == (("logits",), 7)
    assert [q.tensor for q in trace.quantisers] == ["Quant_0_out", "q_out", "Quant_2_out"]
    assert [trace.codes(q).shape for q in ("Quant_0_out", "q_out")] == [(3, 2), (7, 2)]
    assert [trace.is_constant(t) for t in ("Quant_0_out", "q_out")] == [True, False]
    assert [trace.node_of(t) for t in ("q_out", "x")] == ["q", None]
    assert trace.before_rounding("q_out").tolist() == [[v * 2 for v in row] for row in trace.exact("act_out")]
    for name in ("y", "nothing"):
        with pytest.raises(UserError, match="no exact value"):
            trace.exact(name)
    with pytest.raises(UserError, match="by no quantiser"):
        trace.codes("logits")


def test_trace_rounds_to_float32_once() -> None:
    """Through float64, the first value would lose its last bit, become a tie, and round down."""
    values = [((2**24 + 1) << 37) + 1, (2**24 + 1) << 37, -(2**40) - 1]
    trace = Judge(one_node("Identity", (1, 3), [], {}, 13)).run({"x": np.array([values], object)})
    assert trace.float32("y").tolist() == [[(2**24 + 2) << 37, 2**61, -(2**40)]]
    assert trace.float64("y").tolist() == [[(2**24 + 1) << 37, (2**24 + 1) << 37, -(2**40) - 1]]


def test_any_tensor_can_be_fed() -> None:
    judge = Judge(small())
    whole = judge.run({"x": np.array([[1.0, -2, 3], [0.5, 4, 1]])})
    part = judge.run({"q_out": whole.exact("q_out")})
    assert part.exact("logits").tolist() == whole.exact("logits").tolist()
    assert [q.tensor for q in part.quantisers] == ["Quant_2_out"]
    assert judge.run({"x": np.ones((1, 3))}, outputs=["act_out"]).outputs == ("act_out",)
    assert [q.tensor for q in judge.run({"x": np.ones((1, 3))}, outputs=["act_out"]).quantisers] == ["Quant_0_out"]


def test_codes_beyond_64_bits_are_refused() -> None:
    trace = Judge(one_node("Floor", (1, 1), [], {}, 13)).run({"x": np.array([[1e30]])})
    assert trace.exact("y").item() == Fraction(1e30)
    with pytest.raises(UserError, match=r"'subject'.*64 bits"):
        trace.codes("y")


# What it refuses


X = np.ones((2, 1, 3))
REFUSED: dict[str, tuple[onnx.ModelProto, dict[str, Array], str]] = {
    "operator": (one_node("Det", (1, 3), [], {}, 13), {"x": X[:, 0]}, "'subject'.*Det"),
    "no data": (one_node("Relu", (1, 3), [], {}, 13), {}, "'x'.*no data"),
    "attribute": (one_node("Add", (1, 3), [F(1)], {"axis": 1}, 7), {"x": X[:, 0]}, "'subject'.*'axis'"),
    "nan": (one_node("Add", (1, 3), [F(np.nan)], {}, 13), {"x": X[:, 0]}, "'subject'.*'c0' contains NaN"),
    "infinity": (one_node("Add", (1, 3), [F([0, 1, np.inf])], {}, 13), {"x": X[:, 0]}, "'c0' contains NaN or infinity"),
    "nan in data": (one_node("Add", (1, 3), [F(1)], {}, 13), {"x": X[:, 0] * np.nan}, "'x' cannot be used"),
    "shape": (one_node("Add", (1, 3), [F(1)], {}, 13), {"x": np.ones((2, 4))}, r"\[2, 4\].*\[samples, 3\]"),
    "broadcast": (one_node("Add", (1, 3), [F([1, 2])], {}, 13), {"x": X[:, 0]}, "'subject'.*broadcast"),
    "product": (one_node("MatMul", (1, 3), [np.ones((2, 2), F)], {}, 13), {"x": X[:, 0]}, "'subject'.*multiply"),
    "name": (one_node("Relu", (1, 3), [], {}, 13), {"z": X}, "no tensor 'z'"),
    "division": (one_node("Div", (1, 3), [F([1, 0, 1])], {}, 13), {"x": X[:, 0]}, "'subject'.*division by zero"),
    "root": (one_node("Sqrt", (1, 3), [], {}, 13), {"x": -X[:, 0]}, "'subject'.*not real"),
    "exponent": (one_node("Pow", (1, 3), [F(0.3)], {}, 13), {"x": X[:, 0]}, "'subject'.*exponent"),
    "cast": (one_node("Cast", (1, 3), [], {"to": TensorProto.FLOAT16}, 13), {"x": X[:, 0] + 2.0**-11}, "FLOAT16"),
    "cast range": (one_node("Cast", (1, 3), [], {"to": TensorProto.INT8}, 13), {"x": X[:, 0] * 128}, "'subject'.*INT8"),
    "axis": (one_node("Concat", (1, 3), [F([[1]])], {"axis": 2}, 13), {"x": X[:, 0]}, "'subject'.*axis 2"),
    "reshape": (one_node("Reshape", (1, 3), [np.int64([2, -1])], {}, 13), {"x": X[:, 0]}, "'subject'.*cannot become"),
    "samples": (one_node("Relu", (1, 3), [], {}, 13), {"x": X[:, 0], "y": X[:1, 0]}, "numbers of samples"),
    "rounding": (quant_model("TO_THE_MOON", True, False, 4, 0, 1, 3), {"x": X[:, 0]}, "'q'.*TO_THE_MOON"),
    "scale": (quant_model("ROUND", True, False, 4, 0, 0, 3), {"x": X[:, 0]}, "'q'.*division by zero"),
    "bits": (quant_model("ROUND", True, False, 0, 0, 1, 3), {"x": X[:, 0]}, "'q'.*bit width"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_names_the_node(name: str) -> None:
    model, feeds, message = REFUSED[name]
    with pytest.raises(UserError, match=message):
        Judge(model).run(feeds)


@pytest.mark.parametrize(("output", "asked"), [("y", "y"), ("middle_out", "middle_out")])
def test_softmax_that_is_read_is_evaluated(output: str, asked: str) -> None:
    net = Net()
    net.op("Relu", net.op("Softmax", "x", name="middle", axis=-1), out="y")
    trace = Judge(net.model({"x": [1, 3]}, {output: [1, 3]})).run({"x": np.array([[1.0, 2, 1], [5, 5, 5]])})
    assert trace.outputs == (asked,)
    e = Decimal(1).exp()
    one, two = float(1 / (2 + e)), float(e / (2 + e))
    assert trace.float64(output).tolist() == [[one, two, one], [1 / 3, 1 / 3, 1 / 3]]


def test_files_that_are_no_models(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    for name in ("text.onnx", "missing.onnx"):
        with pytest.raises(UserError, match="cannot be read"):
            Judge(tmp_path / name)


# Golden vectors of deployed networks


def real_values(golden: Any, key: str) -> Array:
    width, integer, _ = golden[f"{key if f'{key}_type' in golden else key.removeprefix('emu_')}_type"]
    return np.ldexp(golden[f"{key}_raw"].astype(float), integer - width)


@needs_models
@pytest.mark.parametrize(("folder", "file", "x", "prefix"), [
    *((f"axol1tl_{v}", *rest) for v in ("v1", "v3")
      for rest in (("model.onnx", "x", ""), ("model_with_input_scaling.onnx", "emu_unscaled", "emu_"))),
    *((name, "model.onnx", "x", "") for name in ("toollip_v2", "l1tsc4ngjet_v0", "cicada_v1p1p2", "cicada_v2p1p2"))])
def test_golden_vectors(folder: str, file: str, x: str, prefix: str) -> None:
    golden = np.load(MODELS / "cms" / folder / "golden.npz")
    judge = Judge(MODELS / "cms" / folder / file)
    dims = [d.dim_value for d in onnx.load(MODELS / "cms" / folder / file).graph.input[0].type.tensor_type.shape.dim]
    trace: Trace = judge.run({judge.inputs[0]: real_values(golden, x).reshape(-1, *dims[1:])})
    for name in trace.outputs:
        want = real_values(golden, prefix + name.removesuffix("_input"))
        assert (trace.float64(name).reshape(want.shape) == want).all()


def test_quant_needs_a_known_domain() -> None:
    model = quant_model("ROUND", True, False, 4, 0, 1, 3)
    for domain in (QONNX, "onnx.brevitas", "finn.custom_op.general"):
        model.graph.node[0].domain = domain
        assert Judge(model).run({"x": X[:, 0]}).codes("q_out").tolist() == [[1, 1, 1]] * 2
    model.graph.node[0].domain = "somewhere.else"
    with pytest.raises(UserError, match=r"'q'.*somewhere\.else"):
        Judge(model).run({"x": X[:, 0]})
