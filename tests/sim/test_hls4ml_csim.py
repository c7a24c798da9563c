"""hls4ml's own C simulation of what the target hls4ml writes: every code of many small Graphs, and of models from files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from graphs import given, op
from hls_graphs import HEADER, codes, design_of_graph, every_operation, expected, flat, joined
from models import CASES

import gatewright
from gatewright.backends import hls4ml as target
from gatewright.errors import ToolMissing, UserError
from gatewright.ir.graph import Graph
from gatewright.sim import hls4ml

MODELS = Path(__file__).parents[2].parent / "shared" / "models"
VECTORS = 300


def missing() -> bool:
    try:
        hls4ml.find_hls4ml()
    except ToolMissing:
        return True
    return False


needs_hls4ml = pytest.mark.skipif(missing(), reason="hls4ml, with all that it needs, is not here")

UNSIGNED = given("a", "[2, 4, 5]", "1..14")


def supported(graphs: list[Graph]) -> list[Graph]:
    """Those that hls4ml has layers for."""
    found = []
    for g in graphs:
        try:
            target.make_model(g, {o.name: o.name for o in g.input_ops})
        except UserError:
            continue
        found.append(g)
    return found


@needs_hls4ml
def test_every_operation(tmp_path: Path) -> None:
    """Besides those of the HLS targets: padding of unsigned numbers, whose lowest hls4ml does not pad with."""
    graphs = [*supported(every_operation()),
              op("extreme_pool {strides = [2, 2], pads = [1, 0, 1, 0], dilations = [1, 1], kernel = [2, 3], largest = 1}", UNSIGNED)]
    assert len(graphs) == 63
    g, inputs = joined(graphs), codes(graphs, VECTORS)
    design, folder, work = design_of_graph(g), tmp_path / "hls4ml", tmp_path / "work"
    for path, text in target.emit(design, g, HEADER).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    work.mkdir()
    result = hls4ml.verify(folder, design, flat(inputs), expected(g, inputs), work)
    assert (result.status, result.vectors, result.mismatching_values, result.reason) == ("passed", VECTORS, 0, "")


@needs_hls4ml
def test_a_model_through_the_folder_and_a_wrong_precision(tmp_path: Path) -> None:
    case = next(c for c in CASES if c.name == "jet_tagger")
    onnx.save(case.model(), tmp_path / "m.onnx")
    model = gatewright.compile(tmp_path / "m.onnx", tmp_path / "out", input_type=case.input_type, backend=("hls4ml",))
    result = model.verify("hls4ml", VECTORS)
    assert (result.status, result.vectors, result.mismatching_vectors) == ("passed", VECTORS, 0)
    folder = tmp_path / "out" / "design" / "hls4ml"
    done = subprocess.run([sys.executable, str(folder / "build.py"), "check"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "0 of 64 vectors differ")
    config = (folder / "config.yml").read_text()
    assert ",RND_CONV,SAT>" in config
    (folder / "config.yml").write_text(config.replace(",RND_CONV,SAT>", ",TRN,SAT>", 1))
    result = model.verify("hls4ml", VECTORS)
    assert (result.status, result.first_mismatch is None) == ("failed", False)


@needs_hls4ml
@pytest.mark.slow
@pytest.mark.skipif(not MODELS.is_dir(), reason="the models in ../shared/models are not here")
@pytest.mark.parametrize(("file", "input_type"), [
    ("zoo/qkeras_jettagging.onnx", "fixed<16,6>"), ("zoo/TFC_1W1A.onnx", None), ("exported/brevitas_cnn4_qonnx_ts.onnx", None),
    ("exported/brevitas_res4_qonnx_ts.onnx", None), ("exported/ortq_cnn_res_avg_hardtanh_qdq_u8s8.onnx", None),
    ("exported/brevitas_bnn_qonnx.onnx", None), ("exported/brevitas_conv1d6_mean_qonnx_ts.onnx", None)])
def test_models_of_others(file: str, input_type: str | None, tmp_path: Path) -> None:
    model = gatewright.compile(MODELS / file, tmp_path / "out", input_type=input_type, backend=("hls4ml",), effort=0)
    result = model.verify("hls4ml", VECTORS)
    assert (result.status, result.vectors, result.mismatching_values, result.reason) == ("passed", VECTORS, 0, "")


def test_without_hls4ml_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "Traceback\nModuleNotFoundError: No module named 'yaml'\n")
    monkeypatch.setattr(hls4ml.subprocess, "run", lambda *a, **k: failed)
    monkeypatch.setattr(hls4ml, "find_compiler", lambda: None)
    with pytest.raises(ToolMissing, match=r"No module named 'yaml'.*pip install hls4ml"):
        hls4ml.find_hls4ml()
