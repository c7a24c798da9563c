"""Projects for the vendors' tools: Tcl that runs, with the tools' commands recorded; IP-XACT in the standard's order; a real build
with Yosys and nextpnr where they are installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from netlists import design_of, random_netlist

from gatewright.backends.part import DEFAULT_PART
from gatewright.backends.verilog import emit, sources
from gatewright.ir.design import Design

ECP5 = "lfe5u-45f"
HEADER = {"model": "a & b -- <c>.onnx", "gatewright": "0.1.0", "sha256": "ab" * 32, "part": DEFAULT_PART, "clock_ns": 4.0}
RECORD = """
foreach name {project device flow} { package ifneeded ::quartus::$name 1 [list package provide ::quartus::$name 1] }
proc unknown {args} { puts $args; return "{A family}" }
source [lindex $argv 0]
"""


def design() -> Design:
    return design_of(random_netlist(7, rows=60), 2.0)


def write(folder: Path, part: str = DEFAULT_PART) -> dict[str, str]:
    files = emit(design(), HEADER | {"part": part})
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return files


def commands(folder: Path, script: str, **variables: str) -> tuple[int, str]:
    """Runs a Tcl script of the projects; exit status, and the commands that Tcl itself does not know, one a line."""
    tclsh = shutil.which("tclsh")
    if tclsh is None:
        pytest.skip("tclsh is not installed")
    (folder / "record.tcl").write_text(RECORD)
    clean = {k: v for k, v in os.environ.items() if k != "DEVICE"}
    done = subprocess.run([tclsh, str(folder / "record.tcl"), str(folder / "projects" / script)], cwd=folder, env=clean | variables,
                          capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


COMMANDS = {
    "vivado": "create_project read_verilog read_xdc synth_design opt_design place_design phys_opt_design route_design "
              "report_utilization report_timing_summary report_power write_checkpoint",
    "quartus": "project_open get_part_info set_global_assignment execute_flow project_close",
    "radiant": "prj_create prj_add_source prj_set_impl_opt prj_save prj_run prj_close",
}


@pytest.mark.parametrize(("script", "device", "first", "last"), [
    ("vivado/ooc.tcl", "", f"create_project -in_memory -part {DEFAULT_PART}", "write_checkpoint"),
    ("vivado/ooc.tcl", "xcku040-ffva1156-2-e", "create_project -in_memory -part xcku040-ffva1156-2-e", "write_checkpoint"),
    ("vivado/shell.tcl", "", f"create_project -in_memory -part {DEFAULT_PART}", "write_checkpoint"),
    ("quartus/build.tcl", "10AX115N2F45E1SG", "project_open dut", "project_close"),
    ("radiant/build.tcl", "LFCPNX-100-9LFG672C", "prj_create -name dut -impl impl_1 -dev LFCPNX-100-9LFG672C", "prj_close"),
])
def test_scripts_run(script: str, device: str, first: str, last: str, tmp_path: Path) -> None:
    write(tmp_path)
    status, said = commands(tmp_path, script, **({"DEVICE": device} if device else {}))
    assert status == 0, said
    lines = said.splitlines()
    assert lines[0].startswith(first)
    assert lines[-1].startswith(last)
    assert {line.split()[0] for line in lines} == set(COMMANDS[script.split("/")[0]].split())


@pytest.mark.parametrize(("script", "shell"), [("vivado/ooc.tcl", False), ("vivado/shell.tcl", True), ("radiant/build.tcl", True)])
def test_scripts_read_files_that_exist_each_once(script: str, shell: bool, tmp_path: Path) -> None:
    files = write(tmp_path)
    status, said = commands(tmp_path, script, DEVICE="some-device")
    assert status == 0, said
    read = [Path(line.split()[-1]).resolve() for line in said.splitlines() if line.startswith(("read_", "prj_add_source"))]
    assert all(file.is_file() for file in read)
    verilog = {tmp_path / s for s in (*sources("dut", files), *(["rtl/dut_shell.v"] if shell else []))}
    assert sorted(file for file in read if file.suffix == ".v") == sorted(verilog)
    constraints = [file for file in read if file.suffix != ".v"]
    assert len(constraints) == 1
    assert "create_clock -name" in constraints[0].read_text()
    assert "-period 4.000 [get_ports clk]" in constraints[0].read_text()


@pytest.mark.parametrize(("script", "part"), [("vivado/ooc.tcl", ECP5), ("vivado/shell.tcl", ECP5), ("quartus/build.tcl", ECP5),
                                              ("radiant/build.tcl", DEFAULT_PART)])
def test_a_tool_that_does_not_know_the_part_asks_for_a_device(script: str, part: str, tmp_path: Path) -> None:
    write(tmp_path, part)
    status, said = commands(tmp_path, script)
    assert status == 1
    assert "name the device in the environment variable DEVICE, for example DEVICE=" in said


def test_quartus_builds_for_a_part_that_it_knows(tmp_path: Path) -> None:
    write(tmp_path, "10ax115n2f45e1sg")
    status, said = commands(tmp_path, "quartus/build.tcl")
    assert status == 0
    assert "set_global_assignment -name FAMILY {A family}\nset_global_assignment -name DEVICE 10AX115N2F45E1SG\n" in said


def test_quartus_settings(tmp_path: Path) -> None:
    files = write(tmp_path)
    settings = files["projects/quartus/dut.qsf"]
    named = re.findall(r"^set_global_assignment -name (?:VERILOG|SDC)_FILE (.*)$", settings, re.MULTILINE)
    assert [(tmp_path / "projects" / "quartus" / name).resolve() for name in named] == [
        (tmp_path / name).resolve() for name in (*sources("dut", files), "constraints.sdc")]
    virtual = re.findall(r'VIRTUAL_PIN ON -to "([^"]*)"', settings)
    buses = [f"{p.rtl}[*]" for p in (*design().inputs, *design().outputs)]
    assert virtual == ["rst", "in_valid", *buses, "out_valid"]
    assert 'PROJECT_REVISION = "dut"' in files["projects/quartus/dut.qpf"]


# -- IP-XACT -------------------------------------------------------------------------------------------------------------

SPIRIT = "{http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009}"
ORDER = {
    "component": "vendor library name version busInterfaces model fileSets description parameters vendorExtensions",
    "busInterface": "name displayName description busType abstractionType slave portMaps parameters",
    "portMap": "logicalPort physicalPort", "model": "views ports modelParameters",
    "view": "name displayName description envIdentifier language modelName fileSetRef parameters",
    "port": "name displayName description wire", "wire": "direction vector wireTypeDefs", "vector": "left right",
    "wireTypeDef": "typeName viewNameRef", "fileSet": "name displayName description file",
    "file": "name fileType userFileType", "parameter": "name displayName description value",
}
"""What IEEE 1685-2009 lets a component say, of what we need: the children of an element, in their order."""


def component(part: str = DEFAULT_PART) -> ElementTree.Element:
    return ElementTree.fromstring(emit(design(), HEADER | {"part": part})["component.xml"])


def texts(element: ElementTree.Element, path: str) -> list[str]:
    return [str(found.text) for found in element.findall(".//" + "/".join(SPIRIT + step for step in path.split("/")))]


def test_component_has_the_elements_of_the_standard_in_its_order() -> None:
    seen = set()
    for element in component().iter():
        order = ORDER.get(element.tag.removeprefix(SPIRIT))
        if order is None or not element.tag.startswith(SPIRIT):
            continue
        seen.add(element.tag.removeprefix(SPIRIT))
        children = [order.split().index(child.tag.removeprefix(SPIRIT)) for child in element]
        assert children == sorted(children), element.tag
        assert children, element.tag
    assert seen == set(ORDER)


def test_component_agrees_with_the_verilog() -> None:
    files, root = emit(design(), HEADER), component()
    assert [root.findtext(SPIRIT + key) for key in ("vendor", "library", "name", "version")] == ["gatewright", "gatewright", "dut", "1.0"]
    declared = re.findall(r"^  (in|out)put +wire (?:\[(\d+):0\] )?(\w+),?$", files["rtl/dut.v"], re.MULTILINE)
    ports = root.findall(f".//{SPIRIT}ports/{SPIRIT}port")
    assert declared == [(p.findtext(f".//{SPIRIT}direction"), p.findtext(f".//{SPIRIT}left") or "", p.findtext(f"{SPIRIT}name"))
                        for p in ports]
    filesets = [texts(fileset, "file/name") for fileset in root.iter(SPIRIT + "fileSet")]
    assert filesets == [[*sources("dut", files), "constraints.xdc"], [*sources("dut", files)]]
    assert all(name in files for fileset in filesets for name in fileset)
    assert texts(root, "fileSetRef/localName") == texts(root, "fileSet/name")
    assert texts(root, "physicalPort/name") == ["clk", "rst"]
    assert dict(zip(texts(root, "parameter/name"), texts(root, "parameter/value"), strict=True)) == {
        "ASSOCIATED_RESET": "rst", "POLARITY": "ACTIVE_HIGH", "Component_Name": "dut",
        "LATENCY_CYCLES": str(design().latency_cycles), "INITIATION_INTERVAL": "1"}
    assert "a & b -- <c>.onnx" in str(root.findtext(SPIRIT + "description"))


# -- Yosys and nextpnr ---------------------------------------------------------------------------------------------------


def make(folder: Path, *variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "-C", str(folder / "projects" / "nextpnr"), *variables], capture_output=True, text=True)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_makefile_asks_for_a_device_where_nextpnr_does_not_know_the_part(tmp_path: Path) -> None:
    write(tmp_path)
    done = make(tmp_path, "-n")
    assert done.returncode == 2
    assert "name the device, for example: make FAMILY=ecp5 DEVICE=45k PACKAGE=CABGA381" in done.stderr
    assert make(tmp_path, "-n", "FAMILY=ecp5", "DEVICE=85k", "PACKAGE=CABGA756").returncode == 0
    assert make(tmp_path, "-n", "FAMILY=max10", "DEVICE=85k", "PACKAGE=CABGA756").returncode == 2
    write(tmp_path, ECP5)
    assert "nextpnr-ecp5 --45k --package CABGA381 --speed 6 --out-of-context --freq 250.000" in make(tmp_path, "-n").stdout


@pytest.mark.parametrize(("family", "device", "ff"), [
    ("ecp5", ("45k", "CABGA381"), "TRELLIS_FF"), ("ice40", ("hx8k", "ct256"), "ICESTORM_LC")])
def test_the_makefile_builds(family: str, device: tuple[str, str], ff: str, tmp_path: Path) -> None:
    nextpnr = next(filter(shutil.which, (f"nextpnr-{family}", f"yowasp-nextpnr-{family}")), None)
    if nextpnr is None or shutil.which("yosys") is None or shutil.which("make") is None:
        pytest.skip(f"make, yosys or nextpnr-{family} is not installed")
    write(tmp_path)
    done = make(tmp_path, f"FAMILY={family}", f"DEVICE={device[0]}", f"PACKAGE={device[1]}", f"NEXTPNR={nextpnr}")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "projects" / "nextpnr" / "dut_report.json").read_text())
    assert report["utilization"][ff]["used"] > 0
    assert all(clock["achieved"] > 0 for clock in report["fmax"].values())
