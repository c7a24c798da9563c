"""What lies beside the Verilog for the tools that build it: scripts and constraints for Vivado, Quartus, Radiant and Yosys with
nextpnr, and the IP-XACT component (IEEE 1685-2009, the edition that Vivado's catalogue reads)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gatewright.backends.part import load_part
from gatewright.backends.rendering import templates
from gatewright.ir.design import Design

FOLDER = "projects"
_NEXTPNR = {"lfe5u-45f": {"family": "ecp5", "device": "45k", "package": "CABGA381"}}
"""What nextpnr calls the parts that it knows; any package holds the five pins of the shell."""
_FAMILIES = ("artix7", "artixuplus", "kintex7", "kintexu", "kintexuplus", "spartan7", "versal", "virtex7", "virtexu", "virtexuplus",
             "virtexuplusHBM", "zynq", "zynquplus")
"""Vivado's names of the families that plain Verilog is good for."""


def emit(design: Design, sources: Sequence[str], values: Mapping[str, Any]) -> dict[str, str]:
    """Project files by path. `sources` are the Verilog files, top module first, all but the shell; `values` has `header` and `ports`
    (of the buses) as the templates of the Verilog target get them, and `clock_ns`.

    A script builds for the design's part where its tool knows that, and asks for a device where not.
    """
    part, name = load_part(values["header"]["part"]), design.name
    files = {
        "component.xml": "component.xml",
        f"{FOLDER}/vivado/ooc.tcl": "vivado_ooc.tcl", f"{FOLDER}/vivado/shell.tcl": "vivado_shell.tcl",
        f"{FOLDER}/quartus/build.tcl": "quartus_build.tcl", f"{FOLDER}/quartus/{name}.qpf": "quartus.qpf",
        f"{FOLDER}/quartus/{name}.qsf": "quartus.qsf",
        f"{FOLDER}/radiant/build.tcl": "radiant_build.tcl", f"{FOLDER}/radiant/{name}.ldc": "radiant.ldc",
        f"{FOLDER}/nextpnr/Makefile": "nextpnr_Makefile"}
    values = {
        **values, "design": design, "sources": tuple(sources), "shell": f"rtl/{name}_shell.v", "ports": _ports(values["ports"]),
        "families": _FAMILIES, "devices": {"vivado": part.name if part.vendor == "amd" else None,
                                           "quartus": part.name.upper() if part.vendor == "intel" else None,
                                           "nextpnr": _NEXTPNR.get(part.name)}}
    environment = templates(FOLDER, "verilog", autoescape=lambda template: template == "component.xml.j2")
    return {path: environment.get_template(f"{template}.j2").render(values) for path, template in files.items()}


def _ports(buses: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """All ports of the top module in its order: name, direction (`in`, `out`), bits (None: one wire) and what it carries."""
    def wire(name: str, direction: str) -> dict[str, Any]:
        return {"name": name, "direction": direction, "bits": None, "description": ""}

    carried = [{"name": b["port"].rtl, "direction": b["direction"].removesuffix("put"), "bits": b["bits"],
                "description": f"tensor {b['tensor']}, {b['shape']} elements of {b['type']}. {b['formula']}"} for b in buses]
    return [wire("clk", "in"), wire("rst", "in"), wire("in_valid", "in"), *carried, wire("out_valid", "out")]
