"""Reports of AMD Vivado: `report_utilization` and `report_timing_summary`, as text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gatewright.errors import UserError
from gatewright.synth.vendor.reading import Reading, Stage, missing, number

_CELLS = {"lut": ("CLB LUTs", "Slice LUTs"), "lut_logic": ("LUT as Logic",), "srl": ("LUT as Shift Register",),
          "ff": ("CLB Registers", "Slice Registers"), "dsp": ("DSPs", "DSP Slices"), "bram": ("Block RAM Tile",), "uram": ("URAM",)}
"""The keys of `Resources`, and what Vivado calls them on one family or another."""
_CARRY, _BLOCKS = ("CARRY8", "CARRY4"), {"CLB": "CLB", "Slice": "slice"}


def recognises(text: str) -> bool:
    return re.search(r"^\| Tool Version\s*: Vivado ", text, re.MULTILINE) is not None


def read(text: str) -> Reading:
    """Raises UserError where the report is of another kind, or lacks what it should have."""
    head = {key.strip(): value.strip() for key, value in re.findall(r"^\| ([\w ]+?) *: (.*)$", text, re.MULTILINE)}
    stage = _stage(head.get("Design State", ""))
    if "Utilization by Hierarchy" in text:
        raise UserError("this is a utilisation report by hierarchy", remedy="Give that of report_utilization without -hierarchical")
    if re.search(r"^Utilization Design Information", text, re.MULTILINE):
        values, part = _utilisation(text, stage), head.get("Device")
    elif re.search(r"^Timing Summary Report", text, re.MULTILINE):
        values, part = _timing(text), _timed_part(head)
    else:
        raise UserError("this is a report of Vivado, of a kind that says nothing of resources or timing",
                        remedy="Give those of report_utilization and report_timing_summary")
    version = re.search(r"Vivado v\.?(\S+)", text)
    return Reading(f"Vivado {version[1]}" if version else "Vivado", stage, head.get("Design"), part, values)


def _stage(state: str) -> Stage:
    """`Routed`, `Fully Routed`, `Physopt postRoute`; `Fully Placed`, `Physopt postPlace`; `Synthesized`, `Optimized`."""
    lower = state.lower()
    return "routed" if "route" in lower else "placed" if "place" in lower else "synthesised"


def _utilisation(text: str, stage: Stage) -> dict[str, Any]:
    """Rows of the tables are `| what | used | ...`; a row's first place is the one that counts the whole design."""
    used: dict[str, Any] = {}
    for name, cell in re.findall(r"^\|\s*([^|]+?)\*?\s*\|\s*([\d.]+)\s*\|", text, re.MULTILINE):
        used.setdefault(name, number(cell))
    values = {key: next((used[n] for n in names if n in used), None) for key, names in _CELLS.items()}
    if values["lut"] is None or values["ff"] is None:
        raise missing("row 'CLB LUTs' and 'CLB Registers', or 'Slice ...'", "Give a whole report of report_utilization -file")
    for unit in _CARRY:
        if unit in used:
            values |= {"carry": used[unit], "carry_sites": used[unit], "carry_unit": unit}
            break
    if stage != "synthesised":  # Vivado counts two functions in one LUT once
        values["lut_paired"] = values["lut"]
        values |= {key: v for name, unit in _BLOCKS.items() if name in used for key, v in (("clb", used[name]), ("clb_unit", unit))}
    return {key: value for key, value in values.items() if value is not None}


def _timing(text: str) -> dict[str, Any]:
    """The longest path is the clock period less the worst slack of all paths from register to register."""
    summary = re.search(r"^\s*WNS\(ns\).*\n[ -]+\n\s*(\S+)", text, re.MULTILINE)
    slack = number(summary[1]) if summary else None
    clocks = re.findall(r"^(\S+)\s+\{[\d. ]+\}\s+([\d.]+)\s+[\d.]+\s*$", text, re.MULTILINE)
    if slack is None or not clocks:
        raise missing("worst slack of a clock", "Give the clock to Vivado (constraints.xdc) and report again")
    if len({period for _, period in clocks}) > 1:
        raise UserError(f"the report has clocks of several periods ({', '.join(name for name, _ in clocks)})",
                        remedy="Build the design by itself, with projects/vivado/ooc.tcl or shell.tcl")
    values: dict[str, Any] = {"critical_path_ns": round(float(clocks[0][1]) - slack, 3)}
    if path := re.search(r"Max Delay Paths\n.*?^ *Source: +(\S+).*?^ *Destination: +(\S+)", text, re.MULTILINE | re.DOTALL):
        values["critical_path"] = f"{path[1]} to {path[2]}"
    return values


def _timed_part(head: Mapping[str, str]) -> str | None:
    """A timing report names package, speed and temperature grade apart."""
    speed = head.get("Speed File", "").split()
    return "".join([head["Device"], *speed[:1], *(f"-{grade.lower()}" for grade in [head.get("Temperature Grade")] if grade)]) \
        if "Device" in head else None
