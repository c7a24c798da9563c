"""The Verilog target: a Design to synthesizable Verilog-2001, timing constraints and projects, as `{path: text}`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gatewright.backends import projects
from gatewright.backends.identifiers import is_reserved
from gatewright.backends.part import load_part
from gatewright.backends.rendering import templates
from gatewright.backends.verilog_kernel import KernelText, comment
from gatewright.errors import InternalError
from gatewright.ir.design import Design, End, Port

_CLOCK_NS = 5.0
"""Period in the constraints of a design that was made for no clock."""

_MULTIPLIERS = {"amd": ('use_dsp = "no"', 'use_dsp = "yes"'), "intel": ('multstyle = "logic"', 'multstyle = "dsp"'),
                "lattice": ('syn_multstyle = "logic"', 'syn_multstyle = "block_mult"')}
"""By vendor: the attributes that keep products in LUTs, and that give one to a DSP block."""


def emit(design: Design, header: Mapping[str, Any]) -> dict[str, str]:
    """Files of `design` by path; the same for the same arguments, byte for byte.

    `header` has `model`, `gatewright` (version), `sha256` and `part` as text and `clock_ns` (None: no target). Sources
    are `sources(design)`; `rtl/<name>_shell.v` is a wrapper with few pins for a full build; `projects.py` writes what the
    tools need. Raises InternalError where the design cannot be written: several kernels, names that clash.
    """
    if len(design.instances) != 1:
        raise InternalError(f"design '{design.name}': the Verilog target writes designs of one kernel")
    clashing = [n for n in (design.name, *(p.rtl for p in design.inputs + design.outputs)) if is_reserved(n)]
    if clashing:
        raise InternalError(f"design '{design.name}': {clashing} cannot be Verilog identifiers")
    kernel, ports = design.kernel(design.instances[0].name), design.inputs + design.outputs
    inputs, outputs = _kernel_ports(design)
    part = load_part(str(header["part"]))
    in_luts, in_dsp = _MULTIPLIERS[part.vendor]
    text = KernelText(kernel, inputs, outputs, design.name, part.adder, in_dsp)
    values = {
        "design": design, "kernel": f"{design.name}_kernel", "segments": kernel.segments,
        "cells": design.name, "carry_bits": part.carry_bits, "in_luts": in_luts,
        "header": {key: comment(str(header[key])) for key in ("model", "gatewright", "sha256", "part")},
        "clock_ns": float(header["clock_ns"] or _CLOCK_NS), "ports": [_facts(design, p) for p in ports],
        "input_bits": sum(p.width * p.elements for p in design.inputs),
        "output_bits": sum(p.width * p.elements for p in design.outputs),
        "inputs": _slices(inputs), "outputs": _slices(outputs),
        "body": "\n".join(text.lines)}
    files = {f"rtl/{design.name}.v": "top.v", f"rtl/{design.name}_kernel.v": "kernel.v",
             f"rtl/{design.name}_shell.v": "shell.v", "constraints.xdc": "constraints.xdc",
             "constraints.sdc": "constraints.sdc"}
    files |= {f"rtl/{design.name}_{cell}.v": f"{cell}.v" for cell in sorted(text.cells_used)}
    environment = templates("verilog")
    texts = {path: environment.get_template(f"{name}.j2").render(values) for path, name in files.items()}
    return texts | projects.emit(design, sources(design.name, texts), values)


def sources(name: str, files: Iterable[str]) -> tuple[str, ...]:
    """The Verilog files of the design `name` among all its files, top module first; the shell is not one of them."""
    top, shell = f"rtl/{name}.v", f"rtl/{name}_shell.v"
    return top, *sorted(f for f in files if f.startswith("rtl/") and f.endswith(".v") and f not in (top, shell))


def _kernel_ports(design: Design) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """The design's ports in the order of its kernel's inputs and outputs."""
    instance = design.instances[0].name
    netlist = design.kernel(instance).netlist
    into = {c.sink: c.source.port for c in design.channels}
    out_of = {c.source: c.sink.port for c in design.channels}
    if len(design.channels) != len(netlist.inputs) + len(netlist.outputs) or len(out_of) != len(design.channels):
        raise InternalError(f"design '{design.name}': the Verilog target joins every kernel port to one port")
    by_name = [{p.name: p for p in ports} for ports in (design.inputs, design.outputs)]
    return (tuple(by_name[0][into[End(instance, p.name)]] for p in netlist.inputs),
            tuple(by_name[1][out_of[End(instance, p.name)]] for p in netlist.outputs))


def _facts(design: Design, port: Port) -> dict[str, Any]:
    """What the header says of a port."""
    return {"port": port, "direction": "input" if port in design.inputs else "output",
            "tensor": comment(port.name), "formula": comment(port.formula), "type": repr(port.type),
            "shape": "x".join(map(str, port.shape)) or "1", "bits": port.width * port.elements}


def _slices(ports: tuple[Port, ...]) -> list[dict[str, Any]]:
    """Identifier, width of the bus, and where the bus lies in all of them joined, lowest first."""
    low, result = 0, []
    for port in ports:
        bits = port.width * port.elements
        result.append({"rtl": port.rtl, "bits": bits, "low": low, "high": low + bits - 1})
        low += bits
    return result
