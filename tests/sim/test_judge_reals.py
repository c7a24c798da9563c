"""Irrational functions: enclosures against decimals and brute-force series, and the codes that quantisers get from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import ROUND_FLOOR, Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
import pytest
from models import Array, Net
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.execute_custom_node import execute_custom_node

from gatewright.errors import UserError
from gatewright.sim.judge import Judge, Real, integers, reals, tensor
from gatewright.sim.judge.numbers import FLOAT64, Number, floor_of, is_zero, nearest_float, square_root
from gatewright.sim.judge.tensor import Tensor

DIGITS = 120


def exact(x: Fraction) -> Decimal:
    return Decimal(x.numerator) / x.denominator


def erf(x: Decimal) -> Decimal:
    """The alternating series, with digits enough for what cancels."""
    with localcontext() as context:
        context.prec = DIGITS + 400
        total, term, n = Decimal(0), x, 0
        while abs(term) > Decimal(10) ** -(DIGITS + 20):
            total += term / (2 * n + 1)
            n += 1
            term = -term * x * x / n
        return 2 * total / PI.sqrt()


def bailey_pi() -> Decimal:
    """D. Bailey, P. Borwein, S. Plouffe, 1997."""
    with localcontext() as context:
        context.prec = DIGITS + 400
        return +sum((Decimal(1) / 16**k * (Decimal(4) / (8 * k + 1) - Decimal(2) / (8 * k + 4) - Decimal(1) / (8 * k + 5)
                                            - Decimal(1) / (8 * k + 6)) for k in range(500)), Decimal(0))


PI = bailey_pi()
BY_DECIMALS: dict[str, Callable[[Decimal], Decimal]] = {
    "exp": lambda x: x.exp(), "log": lambda x: abs(x).ln(), "sigmoid": lambda x: 1 / (1 + (-x).exp()),
    "tanh": lambda x: ((2 * x).exp() - 1) / ((2 * x).exp() + 1), "softplus": lambda x: (1 + x.exp()).ln(),
    "erf": erf, "normal": lambda x: (1 + erf(x / Decimal(2).sqrt())) / 2}


def arguments() -> list[Fraction]:
    random = np.random.RandomState(0)
    whole = [Fraction(int(n), int(d)) for n, d in zip(random.randint(-900, 900, 40), random.randint(1, 99, 40), strict=True)]
    return [x for x in (*whole, Fraction(1, 10**9), Fraction(-1, 2**40), Fraction(2), Fraction(-8)) if x and abs(x) < 12]


@pytest.mark.parametrize("name", reals.FUNCTIONS)
def test_enclosures(name: str) -> None:
    for x in arguments():
        x = abs(x) if name == "log" else x
        with localcontext() as context:
            context.prec = DIGITS
            want = BY_DECIMALS[name](exact(x))
            for bits in (8, 53, 200):
                low, high = reals.FUNCTIONS[name](x, bits)
                assert low <= want * 2**bits <= high
                assert high - low <= 4


@pytest.mark.parametrize("name", reals.FUNCTIONS)
def test_floors_and_floats(name: str) -> None:
    for x in arguments():
        x = abs(x) if name == "log" else x
        value = reals.apply(name, x)
        with localcontext() as context:
            context.prec = DIGITS
            want = BY_DECIMALS[name](exact(x))
            assert floor_of(value * 10**40) == int((want * 10**40).to_integral_value(ROUND_FLOOR))
            assert nearest_float(value, *FLOAT64) == float(want)


def test_values_next_to_their_limits() -> None:
    """They never reach them, however far away the argument is."""
    far = Fraction(10**9)
    assert floor_of(reals.apply("sigmoid", far) * 128) == 127
    assert floor_of(reals.apply("sigmoid", -far) * 128) == 0
    assert floor_of(-reals.apply("exp", -far)) == -1
    assert floor_of(reals.apply("tanh", -far) * 8) == -8
    assert floor_of(reals.apply("erf", far) * 2**20) == 2**20 - 1
    assert floor_of(reals.apply("softplus", far)) == 10**9


def test_rational_values_and_cancelling_terms() -> None:
    assert [reals.apply(name, Fraction(x)) for name, x in reals.RATIONAL] == list(reals.RATIONAL.values())
    x = Fraction(7, 3)
    for name, both in reals.SUM_WITH_MIRROR.items():
        assert reals.apply(name, x) + reals.apply(name, -x) == both
        assert is_zero(reals.apply(name, x) * 3 - reals.apply(name, x) - 2 * reals.apply(name, x))


def test_arithmetic_with_roots_and_each_other() -> None:
    e, two = reals.apply("exp", Fraction(1)), square_root(Fraction(2))
    with localcontext() as context:
        context.prec = DIGITS
        d, r = Decimal(1).exp(), Decimal(2).sqrt()
        for value, want in ((e * two + 3, d * r + 3), (two - e / 7, r - d / 7), (1 / (e - 3), 1 / (d - 3)), (e * e, d * d),
                            (reals.root_of(e + two), (d + r).sqrt()), (2 / reals.PI, 2 / PI), (abs(two - e), d - r),
                            (reals.apply("exp", two * 3), (3 * r).exp()), (reals.apply("exp", e), d.exp())):
            assert isinstance(value, Real)
            assert floor_of(value * 10**50) == int((want * 10**50).to_integral_value(ROUND_FLOOR))
        long = sum((reals.apply("exp", Fraction(n, 3)) for n in range(-4, 5)), Fraction(0))
        want = sum(((Decimal(n) / 3).exp() for n in range(-4, 5)), Decimal(0))
        assert floor_of(long * long * 10**50) == int((want * want * 10**50).to_integral_value(ROUND_FLOOR))
        assert [e > two, e < two, e >= 3, e <= Fraction(3)] == [True, False, False, True]


def test_equal_numbers_that_nobody_recognises() -> None:
    """exp(1) squared is exp(2); that is given up, never guessed."""
    with pytest.raises(reals.Undecided):
        is_zero(reals.apply("exp", Fraction(1)) * reals.apply("exp", Fraction(1)) - reals.apply("exp", Fraction(2)))
    net = Net()
    net.op("Floor", net.op("Sub", net.op("Mul", net.op("Exp", "x"), net.op("Exp", "x")),
                           net.op("Exp", net.op("Add", "x", "x"))), name="end", out="y")
    with pytest.raises(UserError, match=r"'end'.*may be equal"):
        Judge(net.model({"x": [1, 1]}, {"y": [1, 1]})).run({"x": np.ones((1, 1))})


# Tensors


def test_floors_by_floats_leave_nothing_undecided() -> None:
    """Coefficients far from powers of two, numerators of every size; multiples and their neighbours."""
    random = np.random.RandomState(1)
    third = Fraction(10**15 + 37, 3 * 10**15)
    for size in (2**10, 2**40, 2**62):
        num = np.sort(random.randint(-size, size, 400)).reshape(4, 100) // 3 * 3
        a = tensor.add(tensor.on_grid(num, third, False), tensor.on_grid(integers.whole(1, 2), square_root(Fraction(2)), True))
        assert tensor.floor(a).astype(object).tolist() == [[floor_of(v) for v in row] for row in a.values]
        b = tensor.on_grid(num, Fraction(10**30, 3 * 10**30 - 1), False)
        assert tensor.floor(b).tolist() == [[floor_of(v) for v in row] for row in b.values]
        assert tensor.at_least_zero(b).tolist() == [[int(v >= 0) for v in row] for row in b.values]


@pytest.mark.parametrize("unit", [Fraction(1, 2), Fraction(-3, 4), Fraction(5), Fraction(1, 6), Fraction(1, 2**60),
                                  Fraction(10**20 + 1, 2 * 10**20)])
def test_halves_to_even(unit: Fraction) -> None:
    a: Tensor = tensor.on_grid(np.arange(-60, 60).reshape(2, 60), unit, False)
    assert tensor.halves_to_even(a).tolist() == [[round(v) for v in row] for row in a.values]


def test_products_of_irrational_matrices() -> None:
    net, x = Net(), np.array([[[0.0, 1, -1], [2, 0.5, 3]]])
    weight = net.const([[1, -2], [0.5, 0], [3, 1]])
    net.op("MatMul", net.op("Sigmoid", "x"), weight, out="y")
    net.op("Conv", net.op("Sigmoid", "x"), net.const([[[1, 2], [3, 4]]]), out="c")
    trace = Judge(net.model({"x": [1, 2, 3]}, {"y": [1, 2, 2], "c": [1, 1, 2]})).run({"x": x})
    with localcontext() as context:
        context.prec = DIGITS
        s = [[BY_DECIMALS["sigmoid"](Decimal(float(v))) for v in row] for row in x[0]]
        want = [[row[0] + row[1] / 2 + 3 * row[2], -2 * row[0] + row[2]] for row in s]
        windows = [s[0][i] + 2 * s[0][i + 1] + 3 * s[1][i] + 4 * s[1][i + 1] for i in range(2)]
        assert trace.float64("y")[0].tolist() == [[float(v) for v in row] for row in want]
        assert trace.float64("c")[0].tolist() == [[float(v) for v in windows]]


# Operators: codes of a quantiser that follows, from decimals


def gelu_tanh(x: Decimal) -> Decimal:
    return x / 2 * (1 + BY_DECIMALS["tanh"]((2 / PI).sqrt() * (x + Decimal("0.044715") * x**3)))


ALPHA, GAMMA = Decimal("1.67326319217681884765625"), Decimal("1.05070102214813232421875")
ACTIVATIONS: dict[str, tuple[str, dict[str, Any], Callable[[Decimal], Decimal]]] = {
    **{name.lower(): (name, {}, BY_DECIMALS[name.lower()]) for name in ("Sigmoid", "Tanh", "Exp", "Erf", "Softplus")},
    "elu": ("Elu", {"alpha": 0.5}, lambda x: x if x >= 0 else (x.exp() - 1) / 2),
    "celu": ("Celu", {"alpha": 2.0}, lambda x: x if x >= 0 else ((x / 2).exp() - 1) * 2),
    "selu": ("Selu", {}, lambda x: GAMMA * (x if x >= 0 else ALPHA * (x.exp() - 1))),
    "gelu": ("Gelu", {}, lambda x: x * BY_DECIMALS["normal"](x)), "gelu_tanh": ("Gelu", {"approximate": "tanh"}, gelu_tanh),
    "mish": ("Mish", {}, lambda x: x * BY_DECIMALS["tanh"](BY_DECIMALS["softplus"](x))),
    "softsign": ("Softsign", {}, lambda x: x / (1 + abs(x))),
    "hard_swish": ("HardSwish", {}, lambda x: x * max(Decimal(0), min(Decimal(1), (x + 3) / 6))),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("mode", ["FLOOR", "CEIL", "DOWN"])
def test_activation_before_a_quantiser(name: str, mode: str) -> None:
    kind, attributes, function = ACTIVATIONS[name]
    x = (np.arange(-40, 41) / 8)[None]
    net = Net()
    net.quant(net.op(kind, "x", **attributes, out="act"), 2.0**-20, 40, mode=mode, name="q")
    trace = Judge(net.model({"x": [1, x.size]}, {"q_out": [1, x.size]}, opset=20)).run({"x": x})
    rounding = {"FLOOR": "ROUND_FLOOR", "CEIL": "ROUND_CEILING", "DOWN": "ROUND_DOWN"}[mode]
    with localcontext() as context:
        context.prec = DIGITS
        steps = [(function(Decimal(float(v))) * 2**20).quantize(Decimal(10) ** -60) for v in x[0]]
        assert trace.codes("q_out").tolist() == [[int(s.to_integral_value(rounding)) for s in steps]]


def test_swish_and_batch_norm_before_activations() -> None:
    """Products with the argument, and arguments that are irrational themselves."""
    net, x = Net(), (np.arange(-16, 17) / 4)[:, None]
    net.quant(net.op("Mul", "x", net.op("Sigmoid", "x")), 2.0**-16, 30, mode="FLOOR", name="swish")
    norm = net.op("BatchNormalization", "x", *(net.const([v]) for v in (1, 0.5, 0.25, 3)), epsilon=0.0)
    net.quant(net.op("Tanh", norm), 2.0**-16, 30, mode="FLOOR", name="tanh")
    trace = Judge(net.model({"x": [1, 1]}, {"swish_out": [1, 1], "tanh_out": [1, 1]})).run({"x": x})
    with localcontext() as context:
        context.prec = DIGITS
        reals_ = [Decimal(float(v)) for v in x[:, 0]]
        swish = [v * BY_DECIMALS["sigmoid"](v) for v in reals_]
        tanh = [BY_DECIMALS["tanh"]((v - Decimal("0.25")) / Decimal(3).sqrt() + Decimal("0.5")) for v in reals_]
        for name, want in (("swish", swish), ("tanh", tanh)):
            assert trace.codes(f"{name}_out")[:, 0].tolist() == [math.floor(v * 2**16) for v in want]


def test_softmax_and_layer_norm() -> None:
    net, x = Net(), np.array([[[1.0, 2, 0.5], [0, 0, 0]], [[-3, 4, 0.25], [1, 1, 2]]])
    net.quant(net.op("Softmax", "x", axis=1), 2.0**-20, 30, mode="FLOOR", name="s")
    norm = net.op("LayerNormalization", "x", net.const([1, 2, 0.5]), net.const([0, 1, 0]), axis=-1, epsilon=0.0625)
    net.quant(norm, 2.0**-20, 30, mode="FLOOR", name="n")
    trace = Judge(net.model({"x": [1, 2, 3]}, {"s_out": [1, 2, 3], "n_out": [1, 2, 3]}, opset=20)).run({"x": x})
    with localcontext() as context:
        context.prec = DIGITS
        d = np.vectorize(Decimal, otypes=[object])(x)
        powers = np.vectorize(lambda v: v.exp(), otypes=[object])(d)
        softmax = powers / powers.sum(axis=1, keepdims=True)
        centred = d - d.sum(axis=2, keepdims=True) / 3
        variance = (centred**2).sum(axis=2, keepdims=True) / 3
        deviation = np.vectorize(lambda v: (v + Decimal("0.0625")).sqrt(), otypes=[object])(variance)
        normal = centred / deviation * np.array([1, 2, Decimal("0.5")]) + np.array([0, 1, 0])
        for name, want in (("s", softmax), ("n", normal)):
            floors = np.vectorize(lambda v: math.floor(v * 2**20), otypes=[object])(want)
            assert trace.codes(f"{name}_out").tolist() == floors.tolist()


@pytest.mark.parametrize("low", [None, 0, 3])
def test_named_algorithms(low: int | None) -> None:
    """Table softmax and stepped deviation, as docs/exactness.md says them, in decimals. low = None: one table."""
    net, step, last, inner, bits = Net(), Fraction(1, 4), 40, 9, 7
    x = np.array([[1.0, 2, 0.5], [0, 0, 0], [-30, 4, 3.75], [1, 1, 2]])
    net.op("Softmax", "x", axis=1, out="s")
    net.op("LayerNormalization", "x", net.const([1, 2, 0.5]), axis=-1, epsilon=2.0**-20, out="n")
    tables = {} if low is None else {"step": "1/4", "last": last, "low": low, "inner": inner}
    judge = Judge(net.model({"x": [1, 3]}, {"s": [1, 3], "n": [1, 3]}, opset=20),
                  {"s": {"bits": bits, **tables}, "n": {"step": "1/100"}})
    trace = judge.run({"x": x}, ["s", "n"])

    def table(d: int) -> int:
        return round((-Decimal(d) / 4).exp() * 2**inner)

    for row, softmax, normal in zip(x.tolist(), trace.exact("s"), trace.exact("n"), strict=True):
        if low is None:
            powers = [round(Decimal(v - max(row)).exp() * 2**bits) for v in row]
        else:
            steps = [min(int((max(row) - v) / step), last) for v in row]
            products = [table(d >> low << low) * table(d & (1 << low) - 1) for d in steps]
            powers = [math.floor(Fraction(p, 1 << 2 * inner - bits) + Fraction(1, 2)) for p in products]
        assert softmax.tolist() == [Fraction(p, sum(powers)) for p in powers]
        exact = [Fraction(v) for v in row]
        mean = sum(exact) / 3
        variance = sum((v - mean) ** 2 for v in exact) / 3 + Fraction(1, 1 << 20)
        deviation = Fraction(max(math.isqrt(math.floor(variance * 10**4)), 1), 100)
        assert normal.tolist() == [(v - mean) / deviation * g for v, g in zip(exact, (1, 2, Fraction(1, 2)), strict=True)]


def test_the_real_function_again() -> None:
    """From what a run knows, with other algorithms as they are and inputs of other branches."""
    net, x = Net(), np.array([[0.0, 1, 2], [3, -1, 0.5]])
    first = net.quant(net.op("Softmax", net.quant("x", 0.5, 4), axis=1, out="s"), 0.25, 4, out="p")
    net.quant(net.op("Add", first, net.op("Mul", "s", "x")), 2.0**-8, 12, out="q")
    model = net.model({"x": [1, 3]}, {"q": [1, 3]})
    judge = Judge(model, {"s": {"bits": 2}})
    trace = judge.run({"x": x})
    real, plain = judge.real(trace, "s", ["p", "q"]), Judge(model).run({"x": x}, ["p", "q"])
    for name in ("p", "q"):
        assert real.codes(name).tolist() == plain.codes(name).tolist()
    assert trace.codes("q").tolist() != plain.codes("q").tolist()


def test_irrational_values_in_windows() -> None:
    """Maxima, averages and places of values that lie on no grid."""
    net, x = Net(), np.random.RandomState(0).permutation(36).reshape(1, 2, 3, 6) / 4 - 4
    net.op("MaxPool", net.op("Tanh", "x"), kernel_shape=[2, 2], pads=[1, 1, 0, 0], out="max")
    net.op("ArgMax", net.op("Softplus", "x"), axis=3, out="place")
    net.op("ReduceMax", net.op("Exp", "x"), axes=[2], keepdims=0, out="reduced")
    trace = Judge(net.model({"x": [1, 2, 3, 6]}, {n: [1] for n in ("max", "place", "reduced")})).run({"x": x})
    edge = np.pad(x, ((0, 0), (0, 0), (1, 0), (1, 0)), constant_values=-99)
    want = np.lib.stride_tricks.sliding_window_view(edge, (2, 2), (2, 3)).max(axis=(4, 5))
    number: Callable[[Any], Number] = lambda v: reals.apply("tanh", Fraction(float(v)))  # noqa: E731
    assert (trace.exact("max") == np.vectorize(number, otypes=[object])(want)).all()
    assert (trace.float64("place")[..., 0] == x.argmax(axis=3)).all()
    assert (trace.float64("reduced") == [[float(Decimal(v).exp()) for v in row] for row in x.max(axis=2)[0].tolist()]).all()


# QONNX's operators, against qonnx


def custom(kind: str, x: Array, constants: list[Any], attributes: dict[str, Any], domain: str) -> onnx.ModelProto:
    names = [f"c{i}" for i in range(len(constants))]
    node = helper.make_node(kind, ["x", *names], ["y"], "subject", domain=domain, **attributes)
    shape = list(x.shape)
    stored = [numpy_helper.from_array(np.asarray(c, np.float32), n) for n, c in zip(names, constants, strict=True)]
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], stored)
    imports = [helper.make_opsetid("", 13), helper.make_opsetid(domain, 2 if len(names) > 4 else 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


GENERAL, LAST = "qonnx.custom_op.general", "qonnx.custom_op.channels_last"
IMAGE = np.random.RandomState(2).randint(-40, 40, (1, 4, 6, 3)).astype(np.float32) / 4


@pytest.mark.parametrize("mode", ["FLOOR", "ROUND", "CEIL", "UP", "DOWN", "HALF_UP", "HALF_DOWN"])
@pytest.mark.parametrize("zero", [0, 3])
def test_trunc(mode: str, zero: int) -> None:
    from qonnx.custom_op.general.trunc import trunc_v1, trunc_v2
    x = np.arange(-300, 300, dtype=np.float32).reshape(1, -1) / 8
    one = custom("Trunc", x, [0.25, zero, 8, 5], {"rounding_mode": mode}, GENERAL)
    want = trunc_v1(x, np.float32(0.25), np.float32(zero), 8, 5, mode)
    assert (Judge(one).run({"x": x}).float32("y") == want).all()
    for signed, narrow, out in ((0, 0, 2), (1, 1, 2), (1, 0, 2), (1, 0, 0.125), (1, 0, 0.0625), (1, 0, 3), (1, 0, 0.1875)):
        two = custom("Trunc", x, [0.25, zero, 8, out, 4], {"rounding_mode": mode, "signed": signed, "narrow": narrow}, GENERAL)
        want = trunc_v2(x, np.float32(0.25), np.float32(zero), 8, narrow, signed, np.float32(out), np.float32(4), mode)
        assert (Judge(two).run({"x": x}).float32("y") == want).all()


@pytest.mark.parametrize(("layout", "channels"), [("NCHW", 4), ("NHWC", 3), ("", 4), ("", 1)])
def test_multi_threshold(layout: str, channels: int) -> None:
    from qonnx.custom_op.general.multithreshold import multithreshold
    thresholds = np.sort(np.random.RandomState(3).randint(-40, 40, (channels, 7)) / 4).astype(np.float32)
    model = custom("MultiThreshold", IMAGE, [thresholds], {"out_scale": 0.5, "out_bias": -1.5, "out_dtype": "INT4",
                                                           "data_layout": layout}, GENERAL)
    trace = Judge(model).run({"x": IMAGE})
    want = multithreshold(IMAGE, thresholds, 0.5, -1.5, channels_last=layout == "NHWC")
    assert (trace.float32("y") == want[0]).all()
    assert (trace.codes("y") == (want[0] + 1.5) * 2).all()
    irrational = custom("MultiThreshold", IMAGE, [thresholds], {"data_layout": "NHWC"} if channels == 3 else {}, GENERAL)
    values = np.frompyfunc(lambda v: reals.apply("exp", Fraction(float(v) / 4)), 1, 1)(IMAGE)
    want = multithreshold(np.exp(IMAGE.astype(np.float64) / 4), thresholds.astype(np.float64), channels_last=channels == 3)
    assert (Judge(irrational).run({"x": values}).float64("y") == want[0]).all()


@pytest.mark.parametrize(("kind", "constants", "attributes"), [
    ("Conv", [np.random.RandomState(5).randint(-3, 4, (2, 3, 2, 3))],  # outputs, window, channels
     {"kernel_shape": [3, 2], "strides": [1, 2], "pads": [1, 0, 1, 0], "dilations": [1, 1], "group": 1}),
    ("MaxPool", [], {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 0, 0]}),
    ("BatchNormalization", [[1, 2, 0.5], [0, 1, 2], [1, -1, 0], [0.75, 3.75, 0]], {"epsilon": 0.25})])
def test_channels_last(kind: str, constants: list[Any], attributes: dict[str, Any]) -> None:
    check_against_qonnx(custom(kind, IMAGE, constants, attributes, LAST), IMAGE, 13)


def test_quantised_average_pool() -> None:
    x = np.random.RandomState(6).randint(0, 16, (1, 3, 4, 6)).astype(np.float32)
    for bits, layout in ((4, "NCHW"), (2, "NHWC"), (8, "NCHW")):
        check_against_qonnx(custom("QuantAvgPool2d", x, [], {"stride": 2, "kernel": 2, "ibits": 4, "obits": bits, "signed": 0,
                                                             "data_layout": layout}, GENERAL), x, 1)


def check_against_qonnx(model: onnx.ModelProto, x: Array, opset: int) -> None:
    got = Judge(model).run({"x": x}).float32("y")
    context = {"x": x, "y": np.zeros((1, *got.shape[-3:]), np.float32),
               **{i.name: numpy_helper.to_array(i) for i in model.graph.initializer}}
    with patch.object(onnx, "IR_VERSION", 10):  # for the one-node models that qonnx makes
        execute_custom_node(model.graph.node[0], context, model.graph, onnx_opset_version=opset)
    assert (got.reshape(context["y"].shape) == context["y"]).all()


# What a run remembers


MODELS = Path(__file__).parents[3] / "shared" / "models"


def test_keep() -> None:
    net = Net()
    first = net.quant("x", 1.0, 4, name="first")
    net.quant(net.op("Relu", first, out="r"), 1.0, 4, name="second")
    judge, x = Judge(net.model({"x": [1, 3]}, {"second_out": [1, 3]})), {"x": np.array([[1.5, -2, 3]])}
    trace = judge.run(x, keep=["first_out"])
    assert trace.codes("first_out").tolist() == [[2, -2, 3]]
    assert trace.codes("second_out").tolist() == [[2, 0, 3]]
    assert [q.tensor for q in trace.quantisers] == ["first_out", "second_out"]
    for name in ("r", "x"):
        with pytest.raises(UserError, match="no exact value"):
            trace.exact(name)


@pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not here")
@pytest.mark.parametrize("name", ["brevitas_mlp4_tanh_sigmoid_qonnx", "brevitas_mlp6_fixedpoint_qcdq_ts",
                                  "ortq_mlp_bn_sigmoid_softmax_qdq_s8s8_pc", "ortq_mlp_bn_sigmoid_softmax_qop_u8s8"])
def test_exported_files_that_end_in_a_quantiser(name: str) -> None:
    data = np.load(MODELS / "exported" / f"{name}.npz")
    judge = Judge(MODELS / "exported" / f"{name}.onnx")
    trace = judge.run({judge.inputs[0]: data["x"][:16]})
    assert (trace.float32(trace.outputs[0]) == data["y"][:16].reshape(16, -1)).all()
