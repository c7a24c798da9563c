"""All targets by name: what `--backend` may ask for. A target turns a compiled model into files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gatewright.backends import emulator, verilog
from gatewright.ir.design import Design
from gatewright.ir.graph import Graph

Target = Callable[[Design, Graph, Mapping[str, Any]], dict[str, str]]
"""`emit(design, graph, header) -> {path: text}`, paths inside `design/`: no disk, no environment, the same bytes for the same
arguments. `graph` is the optimised Graph that the design was made from; `header` has `model`, `gatewright` (version), `sha256`
and `part` as text, `clock_ns`, and `input_casts` (the types that users gave inputs, as text, by name)."""

TARGETS: Mapping[str, Target] = {
    "verilog": lambda design, graph, header: verilog.emit(design, header),
    "emulator": emulator.emit,
}
DEFAULT_TARGETS = ("verilog",)
