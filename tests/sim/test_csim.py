"""The HLS C++ compiled and run: every code of many small Graphs, in both dialects, and what is told of a difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from graphs import given, graph, op
from hls_graphs import codes, expected, flat, joined, sources
from models import CASES

import gatewright
from gatewright.backends.hls import AC, AP
from gatewright.backends.hls.dialect import Dialect
from gatewright.errors import ToolMissing
from gatewright.ir.exact import ROUND_NUMBER
from gatewright.ir.graph import Graph
from gatewright.sim import csim, toolchain
from gatewright.sim.toolchain import find_hls_headers


def missing(dialect: Dialect) -> bool:
    try:
        find_hls_headers(dialect)
    except ToolMissing:
        return True
    return False


needs_headers = pytest.mark.skipif(missing(AP) or missing(AC), reason="the headers of ap_types and ac_types (wheel hls4ml) are not here")

SCALAR = given("a", "[]", "-33..34")
MATRIX = given("a", "[2, 3]", "[[-8, 0, -3], [2, -7, -1]]..[[7, 5, -3], [9, 6, 0]]")
IMAGE = given("a", "[4, 5, 6]", "-8..7")


def requants(mode: str) -> list[Graph]:
    def requant(mul: object, add: object, shift: object, lo: object, hi: object, overflow: str) -> str:
        return (f'requant {{mul = {mul}, add = {add}, shift = {shift}, rounding = "{mode}", lo = {lo}, hi = {hi}, '
                f'overflow = "{overflow}"}}')
    return [op(requant(1, 0, 2, -3, 4, "SAT"), SCALAR), op(requant(-3, 1, 3, 1, 4, "WRAP"), SCALAR),
            op(requant([1, -3, 2], [[4], [-1]], [0, 1, 3], [-3, 0, -4], [4, 1, 3], "WRAP"), MATRIX),
            op(requant([[1, 2], [3, -4]], 0, [[0, 1], [2, 3]], -4, 3, "SAT"), given("a", "[2]", "-30..30")),
            op(requant(1, 3, 30, -8, 7, "WRAP"), given("a", "[1]", f"{-(1 << 58)}..{1 << 57}"))]


TEXTS = [
    ("dense {weight = [[1, 0, 0], [-2, 5, 0], [7, -64, 0]], bias = [3, 0, -9]}", MATRIX),
    ("thresholds {sign = 1, levels = [], base = 4}", SCALAR),
    ("thresholds {sign = -1, levels = [-100, -34, -5, 0, 3, 33, 100], base = 2}", SCALAR),
    ("thresholds {sign = [[1], [-1]], levels = [[[0, 1], [2, 3], [-9, -8]], [[4, 4], [99, 99], [0, 99]]], base = 0}", MATRIX),
    ("table {first = -50, values = " + str([x * x % 17 - 8 for x in range(100)]) + "}", SCALAR),
    ("table {first = -9, values = [" + ", ".join(str([[x * k % 7 for x in range(20)]]) for k in (3, 5)) + "]}", MATRIX),
    *((f"reduce_sum {{axes = {axes}, keepdims = 0}}", MATRIX) for axes in ("[0]", "[-1]", "[0, 1]")),
    *((f"reduce_extreme {{axes = [1], keepdims = 1, largest = {k}}}", IMAGE) for k in (0, 1)),
    ("combine {scales = [[[3, 0, -1], [1, 7, 100]]], offset = [[1], [0]]}", MATRIX), ("multiply(%a, %a) {}", MATRIX),
    *((f"top_k {{axis = {axis}, count = {count}, largest = {largest}, last = {last}, index = {index}}}", IMAGE)
      for axis, count, largest, last, index in ((0, 1, 1, 0, 0), (1, 1, 0, 1, 1), (2, 1, 1, 0, 1), (1, 3, 1, 0, 1), (2, 4, 0, 1, 1),
                                                (2, 6, 1, 1, 0))),
    ("top_k {axis = 0, count = 3, largest = 1, last = 1, index = 1}", given("a", "[5]", "-1..1")),
    ("transpose {perm = [2, 0, 1]}", IMAGE), ("reshape {shape = [3, 2, 1]}", MATRIX),
    ("take {indices = [[3, 0, -1], [0, 2, 4], [-1, 5, 4, 3]], fill = 9}", IMAGE),
    ('conv {strides = [2, 1], pads = [1, 2, 0, 1], dilations = [1, 2], weight = '
     + str(np.random.default_rng(0).integers(-5, 6, (4, 2, 3, 2)).tolist()) + ", bias = [1, -2, 0, 40], groups = 2, fill = 3}", IMAGE),
    ('conv {strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1], weight = '
     + str(np.random.default_rng(1).integers(-5, 6, (2, 4, 2, 2)).tolist()) + ", bias = [1, 0], groups = 1, fill = 0}", IMAGE),
    ("sum_pool {strides = [2, 2], pads = [1, 0, 1, 0], dilations = [1, 1], kernel = [3, 2]}", IMAGE),
    *((f"extreme_pool {{strides = [2, 2], pads = [1, 0, 1, 0], dilations = [1, 1], kernel = [2, 3], largest = {k}}}", IMAGE)
      for k in (0, 1)),
]


def every_operation() -> list[Graph]:
    small, row = given("a", "[2, 1]", "-1..1"), given("b", "[3]", "-1..2")
    pair = given("a", "[2, 3]", "-9..5"), given("b", "[3]", "[-2, 6, -20]..[7, 9, -10]")
    return [
        *(op(text, operand) for text, operand in TEXTS), *(g for mode in ROUND_NUMBER for g in requants(mode)),
        op("combine {scales = [2, [1, -1, 0], [[3], [0]]], offset = [[0], [7]]}", small, row, given("c", "[]", "0..1")),
        op("multiply {}", small, row), op("extremum {largest = 0}", *pair), op("extremum {largest = 1}", *pair),
        op("select {}", given("c", "[3]", "0..1"), given("a", "[2, 3]", "-3..1"), given("b", "[]", "-1..4")),
        op("concat {axis = 1}", given("a", "[2, 1, 2]", "0..1"), given("b", "[2, 3, 2]", "-9..4"))]


@needs_headers
@pytest.mark.parametrize(("dialect", "kernel", "reuse"), [(AP, "loops", 1), (AC, "loops", 3), (AC, "adders", 1)],
                         ids=["ap loops", "ac loops reuse", "ac adders"])
def test_every_operation(dialect: Dialect, kernel: str, reuse: int, tmp_path: Path) -> None:
    graphs = every_operation()
    g, inputs = joined(graphs), codes(graphs, 500)
    written = sources(g, tmp_path, dialect, kernel=kernel, reuse=reuse)
    work = tmp_path / "work"
    work.mkdir()
    result = csim.verify(written, flat(inputs), expected(g, inputs), work)
    assert (result.status, result.vectors, result.mismatching_values, result.reason) == ("passed", 500, 0, "")


@needs_headers
@pytest.mark.parametrize(("kernel", "backend"), [("loops", "hls"), ("adders", "hls-ac")])
def test_a_wrong_layer_is_named(kernel: str, backend: str, tmp_path: Path) -> None:
    """Through the output folder, on the default target; then with one constant of a layer changed."""
    case = next(c for c in CASES if c.name == "jet_tagger")
    onnx.save(case.model(), tmp_path / "m.onnx")
    model = gatewright.compile(tmp_path / "m.onnx", tmp_path / "out", input_type=case.input_type, backend=(backend,), kernel=kernel)
    result = model.verify("csim", 1000)
    assert (result.status, result.vectors, result.mismatching_vectors) == ("passed", 1000, 0)
    node = [o.node for o in model.project.graph.ops if o.kind == "dense"][1]
    file = tmp_path / "out" / "design" / backend / "m_layers.cpp"
    text = file.read_text()
    at = text.index(f"// node {node}\n")
    old, new = (" sum += ", " sum -= ") if kernel == "loops" else (" + ", " - ")
    file.write_text(text[:at] + text[at:].replace(old, new, 1))
    result = model.verify("csim", 1000)
    assert result.status == "failed"
    assert result.first_mismatch is not None
    assert result.first_mismatch.node == node


def test_missing_headers_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    for variables, *_ in toolchain.HLS_INSTALLATIONS.values():
        for variable in variables:
            monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(toolchain.shutil, "which", lambda name: None)
    for dialect in (AP, AC):
        with pytest.raises(ToolMissing, match="pip install --no-deps hls4ml"):
            find_hls_headers(dialect)


def test_headers_of_an_installed_tool_come_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "include").mkdir()
    for header in AP.headers:
        (tmp_path / "include" / header).touch()
    monkeypatch.setenv("XILINX_HLS", str(tmp_path))
    assert find_hls_headers(AP) == tmp_path / "include"


def test_a_folder_without_hls(tmp_path: Path) -> None:
    onnx.save(CASES[0].model(), tmp_path / "m.onnx")
    model = gatewright.compile(tmp_path / "m.onnx", input_type=CASES[0].input_type)
    with pytest.raises(ToolMissing, match=r"no files of the target 'hls'.*--backend verilog,hls"):
        model.verify("csim", 10)


def test_a_program_that_dies_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Any compiler will do: the program is replaced by one that ends with status 3."""
    g = joined([graph(SCALAR, '%y = combine(%a) {scales = [2], offset = 1} : [] -65..69 frac 0 @ "y"')])
    written = sources(g, tmp_path, AP)
    program = tmp_path / "dies"
    program.write_text("#!/bin/sh\necho no luck >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(csim, "_build", lambda *_: program)
    inputs = {"g0_a": np.zeros((2, 1), np.int64)}
    result = csim.verify(written, inputs, {"out": np.ones((2, 1), np.int64)}, tmp_path)
    assert (result.status, result.reason) == ("failed", "the C simulation ended with status 3: no luck")
