"""Yosys as a child process: one small real design per family, everything that can go wrong with a stand-in script."""

import importlib.util
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gatewright.backends.part import load_part
from gatewright.errors import InternalError, ToolMissing, UserError
from gatewright.synth import yosys

ADDER = """
module adder(input clk, input [7:0] a, input [7:0] b, output reg [7:0] y);
  reg [7:0] a_q, b_q;
  always @(posedge clk) begin a_q <= a; b_q <= b; y <= a_q + b_q; end
endmodule
"""
ROM = """
module rom(input clk, input [1:0] a, output reg [7:0] y);
  reg [7:0] table_[0:3];
  initial $readmemh("values.mem", table_);
  always @(posedge clk) y <= table_[a];
endmodule
"""
MAPPED = Path(__file__).parent / "mapped"


PART = load_part("xcvu13p-flga2577-2-e")
ECP5 = load_part("lfe5u-45f")


@pytest.fixture
def stand_in(monkeypatch):
    """Put a shell script in the place of Yosys."""
    return lambda script: monkeypatch.setattr(yosys, "find_yosys", lambda: (["sh", "-c", script], "stand-in"))


needs_yosys = pytest.mark.skipif(importlib.util.find_spec("pyosys") is None, reason="pyosys is not installed")


@needs_yosys
def test_ultrascale_plus():
    result = yosys.synthesise({"adder.v": ADDER}, "adder", PART)
    assert (result.lut, result.lut_logic, result.route_through, result.srl) == (8, 8, 0, 0)
    assert (result.carry, result.carry_unit, result.ff, result.dsp, result.bram) == (2, "CARRY4", 24, 0, 0)
    assert (result.lut_paired, result.carry_sites, result.clb, result.clb_unit) == (8, 1, 2, "CLB")  # 24 registers: two
    # clock to register, net, LUT, into the chain, one more CARRY4, out, setup
    steps = ("clk_to_q", "net", "lut", "carry_in", "carry_group", "carry_out", "setup")
    assert result.critical_path_ns == round(sum(PART.delay[step] for step in steps), 3)
    assert result.critical_path.startswith(("a_q[", "b_q["))
    assert " to y[" in result.critical_path
    assert result.tool.startswith("yosys 0.")
    assert result.tool.endswith(" (pyosys)")
    assert (result.part, result.latency_cycles, result.ii, result.layers) == (PART.name, None, None, ())
    assert result.delay_model == PART.delay_model


@needs_yosys
def test_ecp5(tmp_path):
    source = tmp_path / "a folder" / "adder.v"
    source.parent.mkdir()
    source.write_text(ADDER)
    result = yosys.synthesise([source], "adder", ECP5, work_dir=tmp_path / "work")
    # four CCU2C, and one in front of them that brings the constant carry in
    assert (result.lut, result.lut_logic, result.route_through) == (10, 8, 2)
    assert (result.carry, result.carry_unit, result.ff) == (4, "CCU2C", 24)
    assert (result.lut_paired, result.carry_sites, result.clb, result.clb_unit) == (None, 4, 12, "slice")
    assert (tmp_path / "work" / "netlist.json").exists()


@needs_yosys
def test_memory_files_are_found():
    result = yosys.synthesise({"rtl/rom.v": ROM, "values.mem": "00 01 01 00"}, "rom", ECP5)
    assert (result.lut, result.ff) == (1, 1)


@needs_yosys
def test_verilog_that_yosys_rejects():
    with pytest.raises(InternalError, match=r"(?s)adder.*exit status 1.*adder.v:3.*syntax error"):
        yosys.synthesise({"adder.v": ADDER.replace("reg [7:0] a_q", "reg [7:0 a_q")}, "adder", ECP5)


def test_family_without_open_flow():
    with pytest.raises(UserError, match=r"xcvu13p-flga2577-2-e of family versal.* xcup, xcu, xc7, ecp5"):
        yosys.synthesise({}, "top", replace(PART, family="versal"))


def test_neither_pyosys_nor_yosys(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match=r"pip install 'gatewright\[synth\]'"):
        yosys.synthesise({"adder.v": ADDER}, "adder", PART)


def test_yosys_on_the_path(monkeypatch, tmp_path):
    """A stand-in program that writes a prepared netlist, if it is called as Yosys is."""
    netlist = {"creator": "Yosys 0.23 (git sha1 0)", "modules": {"top": json.loads((MAPPED / "luts.json").read_text())}}
    (tmp_path / "prepared.json").write_text(json.dumps(netlist))
    program = tmp_path / "yosys"
    program.write_text(f"#!/bin/sh\n[ \"$1 $2 $3 $4\" = '-q -l yosys.log -s' ] && /bin/cp '{tmp_path}/prepared.json' "
                       "netlist.json\n")
    program.chmod(0o755)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    result = yosys.synthesise({}, "top", PART)
    assert (result.tool, result.lut, result.ff) == ("yosys 0.23 (program)", 2, 2)


def test_script(stand_in, tmp_path):
    stand_in("exit 1")
    with pytest.raises(InternalError):
        yosys.synthesise({"rtl/a b.v": "", "c.sv": "", "d.mem": "1"}, "top", replace(PART, family="xc7"), tmp_path)
    assert (tmp_path / "synthesis.ys").read_text().splitlines() == [
        'read_verilog "rtl/a b.v"', 'read_verilog -sv "c.sv"',
        "synth_xilinx -family xc7 -flatten -noiopad -noclkbuf -nodsp -top top", "write_json netlist.json"]
    assert (tmp_path / "d.mem").read_text() == "1"


@pytest.mark.parametrize(("script", "error", "message"), [
    ("echo 'ERROR: no such thing' > yosys.log; exit 3", InternalError, r"(?s)exit status 3.*no such thing"),
    ("echo 'cannot load library'; exit 1", InternalError, "cannot load library"),
    ("kill -9 $$", UserError, r"signal 9 .*memory"),
    ("echo done", InternalError, r"(?s)no readable netlist.*done"),
    ("echo '{' > netlist.json", InternalError, "no readable netlist"),
])
def test_failures_of_yosys(stand_in, script, error, message):
    stand_in(script)
    with pytest.raises(error, match=message):
        yosys.synthesise({"adder.v": ADDER}, "adder", PART)


def test_an_old_netlist_is_not_taken_for_a_new_one(stand_in, tmp_path):
    (tmp_path / "netlist.json").write_text('{"modules": {"top": {"ports": {}, "netnames": {}, "cells": {}}}}')
    stand_in("exit 0")
    with pytest.raises(InternalError, match="no readable netlist"):
        yosys.synthesise({}, "top", PART, work_dir=tmp_path)


def test_interrupt_ends_yosys_and_what_it_started(stand_in, tmp_path):
    """The child of the child would leave a file after a second; it must not live that long."""
    stand_in(f"echo '2.1. Executing OPT pass (performing simple optimizations).' > yosys.log; "
             f"(sleep 1; touch '{tmp_path}/alive') & sleep 30")
    said = []

    def interrupt(line):
        said.append(line)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        yosys.synthesise({"adder.v": ADDER}, "adder", PART, progress=interrupt)
    assert said == ["yosys: OPT"]
    time.sleep(1.2)
    assert not (tmp_path / "alive").exists()


def test_unreadable_sources(tmp_path):
    (tmp_path / "other").mkdir()
    for folder in (tmp_path, tmp_path / "other"):
        (folder / "top.v").write_text("")
    with pytest.raises(UserError, match="two source files are called top"):
        yosys.synthesise([tmp_path / "top.v", tmp_path / "other" / "top.v"], "top", PART)
    with pytest.raises(UserError, match=r"missing\.v cannot be read"):
        yosys.synthesise([tmp_path / "missing.v"], "top", PART)
