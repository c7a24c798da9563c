"""The command line: every command at work, what it prints, what it writes, and that broken hardware fails."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bad_models import sound, unknown_operator
from models import axol1tl_v1, execute, jet_tagger, residual, tfc
from onnx import ModelProto
from rich.console import Console

from gatewright import __version__
from gatewright.compiler import progress
from gatewright.compiler.cli import main
from gatewright.compiler.driver import compiler_digest
from gatewright.ir import netlist_text, text
from gatewright.ir.netlist import Op
from gatewright.sim.result import VerificationResult
from gatewright.synth.result import Resources

EXAMPLES = Path(__file__).parents[2] / "examples" / "digits"
DIGITS, PIXELS = EXAMPLES / "digits.onnx", EXAMPLES / "digits_test.npz"
Capture = pytest.CaptureFixture[str]

VERIFICATION = {f.name for f in fields(VerificationResult)}
RESOURCES = {f.name for f in fields(Resources)}


def run(capsys: Capture, *arguments: object, status: int = 0) -> str:
    """What the command prints, after checking its status; and that it complains where it does not succeed, only."""
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == status
    out, err = capsys.readouterr()
    assert (err == "") == (status != 2)
    return str(out)


def value(capsys: Capture, *arguments: object, status: int = 0) -> Any:
    """The one JSON value that the command prints."""
    out = run(capsys, *arguments, "--json", status=status)
    assert out.count("\n") == 1
    return json.loads(out)


def saved(model: ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def compiled(model: Path, folder: Path, *options: str) -> Path:
    assert main(["compile", str(model), "-o", str(folder), "--json", *options]) == 0
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model's output folder."""
    return compiled(DIGITS, tmp_path_factory.mktemp("digits") / "out")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a layer of 4 inputs and 3 outputs: nodes input_quant, dense and act_quant."""
    folder = tmp_path_factory.mktemp("small")
    return compiled(saved(sound(), folder / "sound.onnx"), folder / "out")


@pytest.fixture
def copy(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "copy"))


# -- every command -------------------------------------------------------------------------------------------------------


def test_compile(tmp_path: Path, capsys: Capture) -> None:
    out = run(capsys, "compile", DIGITS, "-o", tmp_path / "out")
    assert "digits" in out
    assert f"gatewright verify {tmp_path}/out" in out
    files = contents(tmp_path / "out")
    assert {"report.json", "report.html", "design/manifest.json", "design/model.txt", "design/graph.txt", "design/rtl/digits.v",
            "design/rtl/digits_kernel.v", "design/constraints.xdc", "design/model/digits.onnx"} <= files.keys()
    assert files["design/model/digits.onnx"] == DIGITS.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_estimates_are_one(digits: Path, tmp_path: Path, capsys: Capture) -> None:
    of_model = value(capsys, "estimate", DIGITS)
    assert of_model == value(capsys, "estimate", digits) == value(capsys, "compile", DIGITS, "-o", tmp_path / "out")
    assert of_model.keys() == RESOURCES
    assert of_model["lut"] > 0
    assert {layer["name"] for layer in of_model["layers"]} >= {"dense_1", "dense_2"}
    text = run(capsys, "estimate", digits)
    assert "dense_1" in text
    last = of_model["stages"][-1]
    assert [str(last["stage"]), f"{last['critical_path_ns']:.2f}", f"{last['slack_ns']:.2f}", str(last["ff"])] == text.split()[-4:]


@pytest.mark.parametrize("level", ["reference", "netlist", "rtl"])
def test_verify(level: str, digits: Path, capsys: Capture) -> None:
    result = value(capsys, "verify", digits, "--level", level, "--vectors", 200)
    assert result.keys() == VERIFICATION
    assert (result["level"], result["status"], result["vectors"], result["mismatching_values"]) == (level, "passed", 200, 0)
    assert (result["latency_cycles"] is not None) == (level == "rtl")
    assert json.loads((digits / "results" / f"verify-{level}.json").read_text()) == result
    assert result in json.loads((digits / "report.json").read_text())["verification"]


def test_verify_all_levels(copy: Path, capsys: Capture) -> None:
    """Also the test bench that lies in the folder."""
    results = value(capsys, "verify", copy, "--level", "all", "--vectors", 40)
    assert all(r["stimulus"] == {"corner": 10, "random": 10, "directed": 20} for r in results if r["status"] == "passed")
    assert {r["level"]: r["status"] for r in results} == {
        **dict.fromkeys(("reference", "netlist", "emulator", "rtl", "cocotb"), "passed"),
        **dict.fromkeys(("csim", "hls4ml", "finn"), "skipped")}
    assert [r["reason"].split("--backend ")[1] for r in results[5:]] == ["verilog,hls.", "verilog,hls4ml.", "verilog,finn."]
    assert results[3]["latency_cycles"] == results[4]["latency_cycles"]


def test_directed_vectors_come_on_top_and_meet_all_boundaries(copy: Path, capsys: Capture) -> None:
    result = value(capsys, "verify", copy, "--level", "netlist")
    kinds = result["stimulus"]
    assert (kinds["corner"] + kinds["random"], sum(kinds.values())) == (10_000, result["vectors"])
    assert kinds["directed"] > 64
    assert result["boundaries"] == {"known": 99, "met": 99}
    np.savez(copy.parent / "one.npz", x=np.zeros((1, 4)))
    result = value(capsys, "verify", copy, "--level", "netlist", "--data", copy.parent / "one.npz")
    assert (result["vectors"], result["stimulus"], result["boundaries"]) == (1, None, {"known": 99, "met": 0})


def test_verify_in_words(digits: Path, capsys: Capture) -> None:
    assert re.fullmatch(r"netlist +PASSED +99 vectors \(25 corner, 25 random, 49 directed\), 0 mismatching, [\d.]+ s; "
                        r"\d+ of \d+ boundaries met on both sides\n",
                        run(capsys, "verify", digits, "--level", "netlist", "--vectors", 99))


def test_run_and_verify_the_same_data(digits: Path, tmp_path: Path, capsys: Capture) -> None:
    result = tmp_path / "result.npz"
    assert "450 samples, computed by the emulator" in run(capsys, "run", digits, "--data", PIXELS, "-o", result)
    with np.load(PIXELS) as given, np.load(result) as made:
        x, outputs = given["x"], dict(made)
    assert set(outputs) == {"probabilities", "probabilities_code"}
    assert outputs["probabilities"].shape == (450, 10)
    labels = np.load(EXAMPLES / "digits_labels.npz")
    assert (outputs["probabilities"].argmax(axis=1) == next(iter(labels.values()))).mean() > 0.9
    again = result.read_bytes()
    assert run(capsys, "run", digits, "--data", PIXELS, "-o", result, "--quiet") == ""
    assert result.read_bytes() == again
    np.savez(tmp_path / "both.npz", x=x[:60])
    assert value(capsys, "verify", digits, "--level", "reference", "--data", tmp_path / "both.npz")["vectors"] == 60


def test_synth(copy: Path, capsys: Capture) -> None:
    for part in ([], ["--part", "lfe5u-45f"]):
        found = value(capsys, "synth", copy, *part)
        assert found.keys() == RESOURCES
        assert found["lut"] > 0
        assert found["part"] == (part[-1] if part else "xcvu13p-flga2577-2-e")
    assert [r["part"] for r in json.loads((copy / "report.json").read_text())["synthesis"]] == [
        "lfe5u-45f", "xcvu13p-flga2577-2-e"]


def test_report(digits: Path, capsys: Capture) -> None:
    report = value(capsys, "report", digits)
    assert report.keys() == {
        "gatewright", "design", "sha256", "model", "part", "part_totals", "clock_ns", "options", "notes", "ports", "nodes",
        "proof", "estimate", "vendor", "synthesis", "verification"}
    assert report == json.loads((digits / "report.json").read_text())
    assert report["proof"].startswith("proved: every output bit")
    assert report["sha256"] in (digits / "design" / "rtl" / "digits.v").read_text()
    assert str(digits / "report.html") in run(capsys, "report", digits)


def test_inspect(digits: Path, tmp_path: Path, capsys: Capture) -> None:
    rows = {n["node"]: n for n in value(capsys, "inspect", DIGITS)["nodes"]}
    assert rows == {n["node"]: n for n in value(capsys, "inspect", digits)["nodes"]}
    assert rows["dense_1"]["op"] == "MatMul"
    assert rows["dense_1"]["supported"]
    assert rows["dense_1"]["becomes"] == "dense: 64x16 constants of 3 bits as adder graph -> [16]ufixed<10,5>"
    assert re.search(r"dense_1 +MatMul +yes", run(capsys, "inspect", DIGITS))


def test_inspect_says_what_is_not_supported(tmp_path: Path, capsys: Capture) -> None:
    path, _ = unknown_operator(tmp_path)
    main(["inspect", str(path), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [n["node"] for n in found["nodes"] if not n["supported"]] == ["dense"]
    assert "Frobnicate" in found["problem"]
    assert main(["inspect", str(path)]) == 2


def test_doctor(capsys: Capture) -> None:
    tools = {t["name"]: t for t in value(capsys, "doctor")}
    assert tools["python"]["found"]
    assert all(t["remedy"] for t in tools.values())
    assert "verilator" in run(capsys, "doctor")


def test_version_and_help(capsys: Capture) -> None:
    texts = {"--version": __version__, "--help": "Exit status", "compile --help": "--input-type"}
    for arguments, words in texts.items():
        with pytest.raises(SystemExit) as stopped:
            main(arguments.split())
        assert stopped.value.code == 0
        assert words in capsys.readouterr().out


# -- compiling -----------------------------------------------------------------------------------------------------------


def test_dumps_parse_back(tmp_path: Path, capsys: Capture) -> None:
    path = saved(residual(), tmp_path / "residual.onnx")
    run(capsys, "compile", path, "-o", tmp_path / "out", "--dump", tmp_path / "dump")
    dumps = {p.name: p.read_text() for p in sorted((tmp_path / "dump").iterdir())}
    names = [name.split("-", 1)[1] for name in dumps]
    assert names[0] == "import.txt"
    lowered = names.index("lower.txt")
    for i, (name, dumped) in enumerate(dumps.items()):
        assert name.startswith(f"{i:02d}-")
        if i < lowered:
            assert text.show(text.parse(dumped)) == dumped
        else:
            assert netlist_text.show(netlist_text.parse(dumped)) == dumped
    assert dumps["00-import.txt"] == (tmp_path / "out" / "design" / "model.txt").read_text()


def test_same_input_same_bytes(tmp_path: Path) -> None:
    """In another folder, in another process, with other hashes: everything below design/."""
    model = saved(tfc(), tmp_path / "tfc.onnx")
    (tmp_path / "elsewhere").mkdir()
    moved = Path(shutil.copy(model, tmp_path / "elsewhere"))
    options = ["--input-type", "ufixed<8,0>", "--clock", "3"]
    compiler_digest.cache_clear()  # of the sources as they are now
    first = contents(compiled(model, tmp_path / "first", *options) / "design")
    assert contents(compiled(moved, tmp_path / "second", *options) / "design") == first
    other = {**os.environ, "PYTHONHASHSEED": "4711", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    command = [sys.executable, "-m", "gatewright.compiler.cli", "compile", model, "-o", tmp_path / "third", *options, "--json"]
    subprocess.run(command, check=True, env=other, stdout=subprocess.DEVNULL)
    assert contents(tmp_path / "third" / "design") == first


def test_options_and_model_change_the_fingerprint(small: Path, tmp_path: Path, capsys: Capture) -> None:
    def fingerprint(folder: Path) -> str:
        return str(json.loads((folder / "design" / "manifest.json").read_text())["sha256"])

    model = saved(sound(), tmp_path / "sound.onnx")
    slower = compiled(model, tmp_path / "slower", "--clock", "6")
    other = sound()
    other.producer_name = "somebody else"
    changed = compiled(saved(other, model), tmp_path / "changed")
    assert len({fingerprint(f) for f in (small, slower, changed)}) == 3


def test_compiling_again_replaces_the_folder(copy: Path, tmp_path: Path, capsys: Capture) -> None:
    run(capsys, "verify", copy, "--level", "netlist", "--vectors", 9)
    (copy / "design" / "rtl" / "notes.txt").write_text("mine")
    before = contents(copy)
    assert {"results/verify-netlist.json", "design/rtl/notes.txt"} <= before.keys()
    compiled(saved(jet_tagger(), tmp_path / "jets.onnx"), copy, "--input-type", "fixed<8,4>")
    fresh = compiled(tmp_path / "jets.onnx", tmp_path / "fresh", "--input-type", "fixed<8,4>")
    assert contents(copy) == contents(fresh)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy", "fresh", "jets.onnx"]


def test_configuration_means_the_same(tmp_path: Path, capsys: Capture) -> None:
    model, config = saved(axol1tl_v1(), tmp_path / "v1.onnx"), tmp_path / "options.toml"
    config.write_text("""
        part = "xcku040-ffva1156-2-e"
        clock = 4
        outputs = ["score", "y"]
        name = "trigger"
        output_type = "fixed<20,16>"
        [input.x]
        type = "fixed<8,6>"
        [output.y]
        type = "fixed<12,8>"
        """)
    written = compiled(model, tmp_path / "toml", "--config", str(config))
    given = compiled(model, tmp_path / "given", "--part", "xcku040-ffva1156-2-e", "--clock", "4", "--outputs", "score, y",
                     "--name", "trigger", "--output-type", "fixed<20,16>", "--input-type", "x=fixed<8,6>",
                     "--output-type", "y=fixed<12,8>")
    assert contents(written) == contents(given)
    assert (given / "design" / "rtl" / "trigger.v").is_file()
    assert value(capsys, "report", given)["ports"][0]["type"] == "fixed<8,6>"


def test_softmax_is_cut_or_kept(tmp_path: Path, capsys: Capture) -> None:
    """By option or configuration; `inspect` says what happens to it."""
    model, config = saved(jet_tagger(), tmp_path / "jets.onnx"), tmp_path / "options.toml"
    types = ["--input-type", "fixed<8,4>", "--output-type", "ufixed<8,0,RND_CONV,SAT>"]
    config.write_text('softmax = "keep"\n')
    kept = compiled(model, tmp_path / "kept", *types, "--softmax", "keep")
    assert contents(kept) == contents(compiled(model, tmp_path / "toml", *types, "--config", str(config)))
    said = {}
    for what in ("cut", "keep"):
        found = value(capsys, "inspect", model, "--input-type", "fixed<8,4>", "--softmax", what)
        row, = (n for n in found["nodes"] if n["op"] == "Softmax")
        said[what] = row["becomes"], " ".join(found["notes"])
    assert said["cut"][0] == "cut"
    assert "cut" in said["cut"][1]
    assert "algorithm" in said["keep"][1]
    assert "table" in said["keep"][0]
    config.write_text('softmax = "drop"\n')
    assert main(["inspect", str(model), "--config", str(config)]) == 2


def test_the_command_line_wins_over_the_configuration(tmp_path: Path, capsys: Capture) -> None:
    model, config = saved(jet_tagger(), tmp_path / "jets.onnx"), tmp_path / "options.toml"
    config.write_text('clock = 4\ninput_type = "fixed<16,6>"\n')
    folder = compiled(model, tmp_path / "out", "--config", str(config), "--input-type", "fixed<8,4>", "--clock", "7")
    options = value(capsys, "report", folder)["options"]
    assert (options["clock_ns"], options["input_type"]) == (7.0, "fixed<8,4>")


# -- what differs is found -----------------------------------------------------------------------------------------------


def break_sum(folder: Path, *, keep_bounds: bool) -> None:
    """Changes a sign in the first sum of the netlist, and the bounds, so that they allow any value; or makes it leave them."""
    file = folder / "design" / "sound.npz"
    with np.load(file) as stored:
        arrays = dict(stored)
    row = np.flatnonzero((arrays["op"] == Op.SUM) & (np.diff(arrays["first"]) > 1))[0]
    if keep_bounds:
        arrays["imm"][row] += 1 << 20
    else:
        arrays["neg"][arrays["first"][row]] ^= True
        free = np.isin(arrays["op"], [Op.SUM, Op.BITS, Op.SELECT])
        arrays["lo"][free & ((arrays["op"] != Op.BITS) | (arrays["lo"] < 0))] = -(1 << 40)
        arrays["hi"][free] = 1 << 40
    np.savez(file, **arrays)


def test_broken_netlist_fails(copy: Path, capsys: Capture) -> None:
    break_sum(copy, keep_bounds=False)
    result = value(capsys, "verify", copy, "--level", "netlist", "--vectors", 300, status=1)
    first = result["first_mismatch"]
    assert (result["status"], first["output"], first["node"]) == ("failed", "y", "act_quant")
    assert first["expected"] != first["got"]
    words = run(capsys, "verify", copy, "--level", "netlist", "--vectors", 300, status=1)
    assert f"vector {first['vector']}, output 'y', element {first['element']}: expected {first['expected']}" in words


def test_netlist_that_leaves_its_bounds_fails(copy: Path, capsys: Capture) -> None:
    break_sum(copy, keep_bounds=True)
    result = value(capsys, "verify", copy, "--level", "netlist", "--vectors", 300, status=1)
    assert result["status"] == "failed"
    assert re.search(r"of node 'dense' leaves its bounds at sample \d", result["reason"])


def test_broken_verilog_fails(copy: Path, capsys: Capture) -> None:
    """One operator of a generated file: the netlist still passes, the simulation names vector, output, codes and node."""
    file = copy / "design" / "rtl" / "sound_kernel.v"
    head, layer = file.read_text().split("// node dense\n")
    operator = re.search(r"(?<=[\w}]) ([-+]) (?=[\w{])", layer)
    assert operator
    file.write_text(f"{head}// node dense\n{layer[:operator.start(1)]}{'-+'[operator[1] == '-']}{layer[operator.end(1):]}")
    assert value(capsys, "verify", copy, "--level", "netlist", "--vectors", 300)["status"] == "passed"
    result = value(capsys, "verify", copy, "--vectors", 300, status=1)
    first = result["first_mismatch"]
    assert (result["status"], first["output"], first["node"]) == ("failed", "y", "act_quant")
    assert first["expected"] != first["got"]
    words = run(capsys, "verify", copy, "--vectors", 300, status=1)
    assert (f"vector {first['vector']}, output 'y', element {first['element']}: expected {first['expected']}, "
            f"got {first['got']}; first node that differs: 'act_quant'") in words
    assert json.loads((copy / "results" / "verify-rtl.json").read_text())["status"] == "failed"


def test_wrong_model_fails_the_reference(copy: Path, capsys: Capture) -> None:
    """The Graph of another rounding mode, with everything else as it was."""
    for name in ("model.txt", "graph.txt"):
        file = copy / "design" / name
        assert "ROUND" in file.read_text()
        file.write_text(file.read_text().replace("ROUND", "FLOOR"))
    result = value(capsys, "verify", copy, "--level", "reference", "--vectors", 200, status=1)
    assert (result["status"], result["first_mismatch"]["node"]) == ("failed", "act_quant")


def test_expected_results_in_the_data(copy: Path, tmp_path: Path, capsys: Capture) -> None:
    x = np.random.RandomState(0).uniform(-4, 4, (50, 4)).astype(np.float32)
    y, data = execute(sound(), {"x": x})["y"], tmp_path / "data.npz"
    kind, codes = np.array([5, 3, 1]), np.rint(y * 4).astype(int)
    for expected in ({"y": y}, {"y_raw": codes, "y_type": kind}):
        np.savez(data, x=x, **expected)
        assert value(capsys, "verify", copy, "--level", "netlist", "--data", data)["status"] == "passed"
    codes[17, 2] += 1
    y[17, 2] += 0.1
    for expected, words in (({"y": y}, "vector 17, element 2"), ({"y_raw": codes, "y_type": kind}, "'y' differs")):
        np.savez(data, x=x, **expected)
        for level in ("reference", "netlist"):
            result = value(capsys, "verify", copy, "--level", level, "--data", data, status=1)
            assert (result["status"], result["mismatching_vectors"], result["mismatching_values"]) == ("failed", 1, 1)
            assert words in result["reason"]
    assert (result["first_mismatch"]["vector"], result["first_mismatch"]["element"]) == (17, 2)


def test_data_that_is_not_used_is_warned_of(digits: Path, tmp_path: Path, capsys: Capture) -> None:
    """Unknown arrays, and probabilities: the hardware gives logits."""
    data = tmp_path / "data.npz"
    np.savez(data, x=np.zeros((3, 64)), probabilities=np.zeros((3, 10)), weather=np.ones(3))
    assert main(["verify", str(digits), "--level", "netlist", "--data", str(data), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["status"] == "passed"
    assert err.count("warning:") == err.count("\n") == 2
    assert "weather" in err
    assert "'probabilities' is not compared" in err


# -- progress ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("terminal", "seconds", "shown"), [(True, 3.0, True), (True, 1.0, False), (False, 3.0, False)])
def test_progress(terminal: bool, seconds: float, shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal after two seconds, and nowhere else."""
    clock = iter([0.0, seconds, seconds])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock, seconds))
    out = io.StringIO()
    with progress.Steps(Console(file=out, force_terminal=terminal, width=80)) as steps:
        steps("simulating", 0.5)
        steps("simulating", None)
    assert ("simulating" in out.getvalue()) == shown
    if not shown:
        assert out.getvalue() == ""


def test_the_first_use_is_known(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`digits` has been compiled; machine code that is kept elsewhere is as good as none."""
    assert digits.exists()
    assert not progress.first_use()
    monkeypatch.setattr("gatewright.compiler.proof.blocks.compare_programs", SimpleNamespace(stats=SimpleNamespace(cache_path=tmp_path)))
    assert progress.first_use()
