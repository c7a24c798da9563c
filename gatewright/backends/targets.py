"""All targets by name: what `--backend` may ask for. A target turns a compiled model into files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from gatewright.backends import emulator, finn, hls, hls4ml, verilog
from gatewright.ir.design import Design
from gatewright.ir.graph import Graph

Target = Callable[[Design, Graph, Mapping[str, Any]], Mapping[str, str | bytes]]
"""`emit(design, graph, header) -> {path: text, or bytes}`, paths inside `design/`: no disk, no environment, the same bytes for the
same arguments. `graph` is the optimised Graph that the design was made from; `header` has `model`, `gatewright` (version), `sha256`
and `part` as text, `clock_ns`, `input_casts` (the types that users gave inputs, as text, by name), `kernel` for
the HLS targets, `latency_cycles`, and `reuse` and `layer_reuse` for them and FINN (`Options` says what they are)."""

TARGETS: Mapping[str, Target] = {
    "verilog": lambda design, graph, header: verilog.emit(design, header),
    "emulator": emulator.emit,
    "hls": partial(hls.emit, hls.AP),
    "hls-ac": partial(hls.emit, hls.AC),
    "hls4ml": hls4ml.emit,
    "finn": finn.emit,
}
SOFTWARE = frozenset({"emulator", "hls", "hls-ac"})
"""Targets of which the design is that of `software_design`: what a C++ compiler adds best, not what a carry chain does."""
DEFAULT_TARGETS = ("verilog",)
