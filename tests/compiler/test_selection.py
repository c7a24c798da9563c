"""Comparisons and choices between quantised tensors, over all pairs of input codes and against exact arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction as F  # noqa: N817
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import Net

from gatewright.compiler.driver import Compilation, compile_model
from gatewright.compiler.options import Options
from gatewright.errors import UserError

A, B = F(1, 4), F(3, 8)
STEP = F(1, 8)
Build = Callable[[Net, str, str], str]
Meaning = Callable[[F, F], F | int]


def compiled(build: Build, folder: Path, bits: int = 4) -> Compilation:
    net = Net()
    a, b = net.quant("a", float(A), bits), net.quant("b", float(B), bits)
    net.op("Identity", build(net, a, b), out="y")
    path = folder / "m.onnx"
    path.write_bytes(net.model({"a": [None, 1], "b": [None, 1]}, {"y": [None, 1]}, opset=22).SerializeToString())
    return compile_model(path, Options())


def check(build: Build, meaning: Meaning, folder: Path) -> Compilation:
    """Codes times scale are the exact values: Graph as imported, as optimised, netlist."""
    c = compiled(build, folder)
    used = {op.name for op in c.graph.input_ops}
    i, j = (v.reshape(-1, 1) for v in np.meshgrid(np.arange(-8, 8), np.arange(-8, 8)))
    inputs = {k: v for k, v in {"a": i, "b": j}.items() if k in used}
    expected = [F(meaning(int(p) * A, int(q) * B)) for p, q in zip(i[:, 0], j[:, 0], strict=True)]
    for graph in (c.imported.graph, c.graph):
        out, = graph.outputs
        codes = graph.evaluate(inputs)[out.value].reshape(-1)
        assert [int(k) * out.meaning.scale.item() + out.meaning.offset.item() for k in codes] == expected
    assert np.array_equal(c.design.evaluate(inputs)["y"].reshape(-1), codes)
    return c


def operator(name: str, **attributes: Any) -> Build:
    return lambda net, a, b: net.op(name, a, b, **attributes)


@pytest.mark.parametrize(("name", "meaning"), [
    ("Greater", lambda a, b: a > b), ("GreaterOrEqual", lambda a, b: a >= b), ("Less", lambda a, b: a < b),
    ("LessOrEqual", lambda a, b: a <= b), ("Equal", lambda a, b: a == b), ("Max", max), ("Min", min)])
def test_two_tensors(name: str, meaning: Meaning, tmp_path: Path) -> None:
    check(operator(name), meaning, tmp_path)


@pytest.mark.parametrize(("build", "meaning"), [
    (lambda n, a, b: n.op("Sign", a), lambda a, b: (a > 0) - (a < 0)),
    (lambda n, a, b: n.op("Sign", n.op("Sub", a, b)), lambda a, b: (a > b) - (a < b)),
    (lambda n, a, b: n.op("Greater", a, n.const(0.5)), lambda a, b: a > F(1, 2)),
    (lambda n, a, b: n.op("LessOrEqual", n.const(0.5), a), lambda a, b: a >= F(1, 2)),
    (lambda n, a, b: n.op("Not", n.op("Equal", a, n.const(0.5))), lambda a, b: a != F(1, 2)),
    (lambda n, a, b: n.op("And", n.op("Less", a, b), n.op("Less", b, n.const(1.0))), lambda a, b: a < b < 1),
    (lambda n, a, b: n.op("Or", n.op("Less", a, b), n.op("Less", b, n.const(1.0))), lambda a, b: a < b or b < 1),
    (lambda n, a, b: n.op("Mod", a, n.const(0.75), fmod=1), lambda a, b: a - F(3, 4) * int(a / F(3, 4))),
    (lambda n, a, b: n.op("Mod", a, n.const(0.75)), lambda a, b: a % F(3, 4)),
    (lambda n, a, b: n.op("Max", a, b, n.const(0.5)), lambda a, b: max(a, b, F(1, 2))),
    (lambda n, a, b: n.op("Min", a, n.const(0.5), b), lambda a, b: min(a, b, F(1, 2))),
    (lambda n, a, b: n.op("Max", a, n.op("Mul", a, n.const(0.125))), lambda a, b: max(a, a / 8)),
    (lambda n, a, b: n.op("Where", n.op("Greater", a, b), a, b), max),
    (lambda n, a, b: n.op("Where", n.op("Greater", a, b), n.const(0.25), n.const(-1.5)),
     lambda a, b: F(1, 4) if a > b else F(-3, 2)),
    (lambda n, a, b: n.op("Where", n.op("Less", a, b), n.op("Add", a, n.const(0.5)), n.const(-1.5)),
     lambda a, b: a + F(1, 2) if a < b else F(-3, 2)),
    (lambda n, a, b: n.op("Where", n.op("Less", a, n.const(0.0)), n.op("Mul", a, a), n.op("Mul", a, n.const(0.5))),
     lambda a, b: a * a if a < 0 else a / 2),
    (lambda n, a, b: n.op("Where", n.const(True, bool), a, b), lambda a, b: a),
    (lambda n, a, b: n.op("Cast", n.op("Greater", a, b), to=1), lambda a, b: a > b),
    (lambda n, a, b: n.op("Cast", a, to=6), lambda a, b: int(a)),
    (lambda n, a, b: n.op("Cast", a, to=9), lambda a, b: a != 0),
])
def test_others(build: Build, meaning: Meaning, tmp_path: Path) -> None:
    check(build, meaning, tmp_path)


def test_max_is_one_comparison_and_one_choice(tmp_path: Path) -> None:
    c = check(operator("Max"), max, tmp_path)
    assert [op.kind for op in c.graph.ops][-1] == "extremum"


def test_real_functions_in_a_choice(tmp_path: Path) -> None:
    """Of one tensor they become one function; of two they need quantisers."""
    def elu(net: Net, a: str, b: str) -> str:
        return net.quant(net.op("Where", net.op("Greater", a, net.const(0.0)), a,
                                net.op("Sub", net.op("Exp", a), net.const(1.0))), 0.125, 8, mode="FLOOR")

    check(elu, lambda a, b: np.floor(8 * (float(a) if a > 0 else np.expm1(float(a)))).astype(int) * STEP, tmp_path)
    with pytest.raises(UserError, match="without exact integer codes"):
        compiled(lambda n, a, b: n.op("Where", n.op("Greater", a, b), a, n.op("Exp", b)), tmp_path)


def test_cast_to_a_type_that_is_too_small(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="uint8"):
        compiled(lambda n, a, b: n.op("Cast", a, to=2), tmp_path)
