"""Open synthesis with Yosys, in a process of its own: RTL in, `Resources` out.

The results are counted in the JSON netlist that Yosys writes; its log serves for progress and for error messages only.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gatewright.backends.part import Part
from gatewright.errors import InternalError, ToolMissing, UserError
from gatewright.synth.cells import arcs_of, count, live_nets, s_pins
from gatewright.synth.mapped import read_module
from gatewright.synth.packing import pack
from gatewright.synth.result import Resources
from gatewright.synth.timing import longest_path

XILINX = "synth_xilinx -family {family} -flatten -noiopad -noclkbuf -nodsp -top {top}"
ECP5 = "synth_ecp5 -nodsp -top {top}\nchtype -set CCU2C t:*_add2_first t:*_add2_last"
FLOWS = {"xcup": XILINX, "xcu": XILINX, "xc7": XILINX, "ecp5": ECP5}
"""The synthesis commands for each family. No pads and no clock buffers: the design is a part of a larger one.
Without -nodsp Yosys makes multipliers of products with constants, which are cheaper as adders. The ends of carry chains on ECP5 are
cells only after mapping (templates/verilog/add2.v.j2)."""
_XCU, _XC7, _ECP5 = (
    (f"$__MUL{a}X{b}", f"-map +/mul2dsp.v -D DSP_A_MAXWIDTH={a} -D DSP_B_MAXWIDTH={b} -D DSP_A_MINWIDTH=2 -D DSP_B_MINWIDTH=2 "
     f"-D DSP_NAME=$__MUL{a}X{b}{signed}", rules) for a, b, signed, rules in (
        (27, 18, " -D DSP_SIGNEDONLY=1", "+/xilinx/xcu_dsp_map.v"), (25, 18, " -D DSP_SIGNEDONLY=1", "+/xilinx/xc7_dsp_map.v"),
        (18, 18, "", "+/lattice/dsp_map_18x18.v")))
MULTIPLIERS = {"xcup": _XCU, "xcu": _XCU, "xc7": _XC7, "ecp5": _ECP5}
DSPS = """hierarchy -top {top}
proc
opt_clean
wreduce t:$mul
select -set products a:use_dsp=yes a:syn_multstyle=block_mult a:multstyle=dsp %u %u %ci* t:$mul %i
techmap {fitting} @products
techmap -map {rules} t:{cell}
chtype -set $mul t:$__soft_mul
"""
"""Products that the RTL gives to DSP blocks become these by Yosys' own rules before the flow runs, which makes LUTs of all others."""

PLAIN = "-D GATEWRIGHT_PLAIN "
DEFINES = {"add3": "", "add2": PLAIN + "-D GATEWRIGHT_CCU2C "}
"""By the part's adder: no adder of another family's cells."""

SCRIPT, LOG, NETLIST = "synthesis.ys", "yosys.log", "netlist.json"
IN_PYTHON = f"from pyosys import libyosys; libyosys.run_pass('tee -q -o {LOG} script {SCRIPT}')"
POLL_SECONDS = 0.5
LOG_LINES = 12

Progress = Callable[[str], None]


def synthesise(sources: Sequence[Path] | Mapping[str, str], top: str, part: Part, work_dir: Path | None = None,
               progress: Progress | None = None, dsps: bool = False) -> Resources:
    """Synthesise a module with Yosys and count what it takes. Latency, II and layers are left open (None).

    `sources` are files, or texts by file name: `.v` and `.sv` are read, all others (memory contents) lie beside them.
    `work_dir` keeps script, log and netlist; without it they go to a temporary folder. `progress` gets a line of text
    now and then. With `dsps` products that the RTL marks for DSP blocks go there. Interrupting the caller ends Yosys too.
    Raises ToolMissing without pyosys and yosys; UserError for unreadable files, a family without an open flow, or if
    Yosys is killed (as the system does for want of memory); InternalError if Yosys rejects the design.
    """
    if part.family not in FLOWS:
        raise UserError(f"there is no open synthesis for part {part.name} of family {part.family}",
                        remedy=f"Choose a part of one of the families {', '.join(FLOWS)}")
    command, origin = find_yosys()
    texts = sources if isinstance(sources, Mapping) else _read(sources)
    with tempfile.TemporaryDirectory(prefix="gatewright-synth-") as temporary:
        folder = (work_dir or Path(temporary)).resolve()
        _prepare(folder, texts, (dsp_steps(part, top) if dsps else "") + FLOWS[part.family].format(family=part.family, top=top), part.adder)
        _run(command, folder, top, progress)
        netlist = _load(folder)
    if progress:
        progress("counting cells")
    version = re.match(r"Yosys (\S+)", netlist.get("creator", ""))
    tool = f"yosys {version[1] if version else 'of unknown version'} ({origin})"
    return resources(netlist["modules"][top], part, tool)


def dsp_steps(part: Part, top: str) -> str:
    """The commands that give marked products to DSP blocks."""
    cell, fitting, rules = MULTIPLIERS[part.family]
    return DSPS.format(top=top, cell=cell, fitting=fitting, rules=rules)


def resources(module: Mapping[str, Any], part: Part, tool: str) -> Resources:
    """Count and pack one mapped module (an entry of "modules" of a JSON netlist) and time its longest path."""
    mapped = read_module(module)
    arcs = arcs_of(mapped)
    live = live_nets(mapped, arcs)
    pins = s_pins(mapped, live)
    counts = count(mapped, live, pins)
    packing = pack(mapped, live, pins, counts, part)
    path = longest_path(mapped, arcs, live, part.delay)
    return Resources(
        tool=tool, part=part.name, lut=counts.lut, lut_logic=counts.lut_logic, route_through=counts.route_through,
        srl=counts.srl, lut_paired=packing.lut_paired, carry=counts.carry, carry_unit=counts.carry_unit,
        carry_sites=packing.carry_sites, ff=counts.ff, dsp=counts.dsp, bram=counts.bram, uram=counts.uram,
        clb=packing.clb, clb_unit=part.clb_unit, delay_model=part.delay_model,
        critical_path_ns=path.ns if path else None, critical_path=f"{path.start} to {path.end}" if path else None)


def find_yosys() -> tuple[list[str], str]:
    """The command that runs SCRIPT in the current folder, and where this Yosys comes from. Raises ToolMissing."""
    if importlib.util.find_spec("pyosys"):
        return [sys.executable, "-P", "-c", IN_PYTHON], "pyosys"
    if program := shutil.which("yosys"):
        return [program, "-q", "-l", LOG, "-s", SCRIPT], "program"
    raise ToolMissing("open synthesis needs Yosys, which is not installed",
                      remedy="Install it with: pip install 'gatewright[synth]'")


def _read(files: Sequence[Path]) -> dict[str, str]:
    texts = {}
    for file in files:
        if file.name in texts:
            raise UserError(f"two source files are called {file.name}", remedy="Give them different names")
        try:
            texts[file.name] = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"the source file {file} cannot be read: {error}") from error
    return texts


def _prepare(folder: Path, texts: Mapping[str, str], synthesis: str, adder: str | None) -> None:
    defines = DEFINES.get(adder or "", PLAIN)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NETLIST).unlink(missing_ok=True)
    lines = []
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
        if name.endswith((".v", ".sv")):
            lines.append(f'read_verilog {defines}{"-sv " if name.endswith(".sv") else ""}"{name}"')
    (folder / SCRIPT).write_text("\n".join([*lines, synthesis, f"write_json {NETLIST}", ""]), encoding="utf-8")


def _run(command: list[str], folder: Path, top: str, progress: Progress | None) -> None:
    environment = {**os.environ, "TMPDIR": str(folder)}  # what a killed Yosys leaves behind goes with the folder
    with (folder / "yosys.out").open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        try:
            said = ""
            while (status := _wait(process)) is None:
                if progress and (doing := _current_pass(folder / LOG)) not in ("", said):
                    progress(doing)
                    said = doing
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # Yosys and its ABC
                process.wait()
    if status < 0:
        raise UserError(f"Yosys was ended by signal {-status} while it synthesised {top}, probably for want of memory",
                        remedy="Free some, or synthesise a smaller design")
    if status > 0:
        raise InternalError(f"Yosys failed on module {top} (exit status {status}):\n{_last_lines(folder)}")


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _current_pass(log: Path) -> str:
    """The last pass that the log announces: OPT for "2.3. Executing OPT pass (...).". Empty if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 20_000))
            steps = re.findall(rb"^[\d.]+ Executing (\w+)[ .]", file.read(), re.MULTILINE)
    except OSError:
        return ""
    return f"yosys: {steps[-1].decode()}" if steps else ""


def _last_lines(folder: Path) -> str:
    files = [folder / name for name in (LOG, "yosys.out")]
    texts = [file.read_text(encoding="utf-8", errors="replace").strip() for file in files if file.exists()]
    return "\n".join(line for text in texts for line in text.splitlines()[-LOG_LINES:])


def _load(folder: Path) -> dict[str, Any]:
    try:
        netlist: dict[str, Any] = json.loads((folder / NETLIST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InternalError(f"Yosys left no readable netlist ({error}):\n{_last_lines(folder)}") from error
    return netlist
