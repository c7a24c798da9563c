"""The generated cocotb test on small RTL, run as a user would; one Verilator build for all of it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gatewright.errors import InternalError, ToolMissing, UserError
from gatewright.sim import cocotb
from gatewright.sim.ports import Rtl, SimPort
from gatewright.sim.result import Mismatch
from gatewright.sim.vectors import random_vectors

HERE = Path(__file__).parent / "rtl"
RTL = Rtl("lanes", (Path("rtl/lanes.v"),),
          (SimPort("x 0", "x", 10, True, 4), SimPort('z"', "z", 10, True, 4), SimPort("key", "key", 20, False, 1)),
          (SimPort("y", "y", 14, True, 4),), latency_cycles=3)


def tools_missing():
    try:
        cocotb.check_tools()
    except ToolMissing as missing:
        return str(missing)
    return ""


def vectors(n):
    x, z = (random_vectors(np.full(4, -512), np.full(4, 511), n, seed) for seed in (1, 2))
    return {"x 0": x, 'z"': z, "key": np.zeros((n, 1), np.int64)}, {"y": 3 * x - 5 * z}


def write(folder, files):
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def test_files_are_complete_and_repeatable():
    files = cocotb.testbench(RTL, *vectors(5))
    assert sorted(files) == ["cocotb/ports.vlt", "cocotb/run.py", "cocotb/test_lanes.py", "cocotb/vectors.json"]
    assert files == cocotb.testbench(RTL, *vectors(5))
    for path, text in files.items():
        assert text.endswith("\n")
        if path.endswith(".py"):
            compile(text, path, "exec")
            assert max(len(line) for line in text.splitlines()) <= 130
    told = json.loads(files["cocotb/vectors.json"])
    assert told["inputs"].keys() == {"x 0", 'z"', "key"}
    assert told["expected"]["y"] == vectors(5)[1]["y"].tolist()


def test_data_and_ports_must_agree():
    data, expected = vectors(2)
    with pytest.raises(InternalError, match="inputs are"):
        cocotb.testbench(RTL, {"x": data["key"]}, expected)
    with pytest.raises(InternalError, match="outputs are"):
        cocotb.testbench(RTL, data, {})
    with pytest.raises(InternalError, match="latency"):
        cocotb.testbench(Rtl("t", (), (), ()), {}, {})


@pytest.mark.skipif(bool(tools_missing()), reason=tools_missing())
def test_right_design_passes_and_wrong_bits_and_latency_fail(tmp_path):
    design, work = tmp_path / "design", tmp_path / "work"
    data, expected = vectors(300)
    write(design, cocotb.testbench(RTL, {k: v[:5] for k, v in data.items()}, {k: v[:5] for k, v in expected.items()}))
    (design / "rtl").mkdir()
    shutil.copy(HERE / "lanes.v", design / "rtl")
    result = cocotb.run(design, RTL, data, expected, work)
    assert (result.level, result.status, result.reason) == ("cocotb", "passed", "")
    assert (result.vectors, result.mismatching_vectors, result.latency_cycles, result.ii) == (300, 0, 3, 1)

    wrong = {"y": expected["y"].copy()}
    wrong["y"][[7, 250], [3, 0]] ^= 1
    result = cocotb.run(design, RTL, data, wrong, work)
    assert (result.status, result.reason) == ("failed", "2 of 300 vectors differ")
    assert (result.mismatching_vectors, result.mismatching_values) == (2, 2)
    assert result.first_mismatch == Mismatch(7, "y", 3, int(wrong["y"][7, 3]), int(expected["y"][7, 3]))

    test = design / "cocotb" / "test_lanes.py"
    right = test.read_text()
    test.write_text(right.replace("LATENCY = 3", "LATENCY = 4"))
    result = cocotb.run(design, RTL, data, expected, work)
    assert (result.status, result.reason) == ("failed", "the latency is 3 cycles, the design says 4")

    test.write_text(right + "\n\n@cocotb.test()\nasync def of_the_user(dut):\n    assert False\n")
    result = cocotb.run(design, RTL, data, expected, work)
    assert result.status == "failed"
    assert result.reason.startswith("a cocotb test failed, see ")

    test.write_text(right.replace("bench = Bench(dut)", "bench = Bunch(dut)"))
    with pytest.raises(InternalError, match="NameError"):
        cocotb.run(design, RTL, data, expected, work)

    test.write_text(right)
    assert sorted(path.name for path in (design / "cocotb").iterdir()) == \
        ["ports.vlt", "run.py", "test_lanes.py", "vectors.json"]

    # as a user: no gatewright, the vectors that lie beside the test
    done = subprocess.run([sys.executable, str(design / "cocotb" / "run.py"), "--build", str(work / "cocotb")],
                          cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((work / "cocotb" / "result.json").read_text())["vectors"] == 5


@pytest.mark.skipif(bool(tools_missing()), reason=tools_missing())
def test_a_folder_that_make_cannot_use_is_refused(tmp_path):
    with pytest.raises(UserError, match="space"):
        cocotb.run(tmp_path, RTL, *vectors(2), tmp_path / "a b")


def test_missing_tools_say_how_to_get_them(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(cocotb, "find_verilator", lambda: None)
    with pytest.raises(ToolMissing, match="apt install make"):
        cocotb.check_tools()
    monkeypatch.setattr(cocotb.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolMissing, match=r"pip install 'gatewright\[sim\]'"):
        cocotb.check_tools()
