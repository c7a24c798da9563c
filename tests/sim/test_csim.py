"""The HLS C++ compiled and run: every code of many small Graphs, in both dialects, and what is told of a difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from graphs import graph
from hls_graphs import SCALAR, codes, every_operation, expected, flat, joined, sources
from models import CASES

import gatewright
from gatewright.backends.hls import AC, AP
from gatewright.backends.hls.dialect import Dialect
from gatewright.errors import ToolMissing
from gatewright.sim import csim, toolchain
from gatewright.sim.toolchain import find_hls_headers


def missing(dialect: Dialect) -> bool:
    try:
        find_hls_headers(dialect)
    except ToolMissing:
        return True
    return False


needs_headers = pytest.mark.skipif(missing(AP) or missing(AC), reason="the headers of ap_types and ac_types (wheel hls4ml) are not here")

@needs_headers
@pytest.mark.parametrize(("dialect", "kernel", "reuse"), [(AP, "loops", 1), (AC, "loops", 3), (AC, "adders", 1)],
                         ids=["ap loops", "ac loops reuse", "ac adders"])
def test_every_operation(dialect: Dialect, kernel: str, reuse: int, tmp_path: Path) -> None:
    graphs = every_operation()
    g, inputs = joined(graphs), codes(graphs, 500)
    written = sources(g, tmp_path, dialect, dsps=4, kernel=kernel, reuse=reuse)
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
