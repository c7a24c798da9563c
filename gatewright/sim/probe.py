"""Looks inside the RTL: what the signals of netlist rows carry for one input vector."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gatewright.ir.design import Kernel
from gatewright.ir.fixed import Ints
from gatewright.ir.intervals import Rows
from gatewright.ir.netlist import Op
from gatewright.ir.usage import constant, reads, slices
from gatewright.sim.ports import Rtl, SimPort
from gatewright.sim.verilator import simulate

TOP = "gatewright_probe"
SIGNALS = "out_gatewright_probe"


def visible(kernel: Kernel) -> Rows:
    """The rows that have a signal of their own in the kernel's module, in their stage."""
    netlist, (row, reader, bits) = kernel.netlist, reads(kernel.netlist)
    at_once = np.zeros(len(netlist), np.bool_)
    at_once[row[(bits != 0) & (np.append(kernel.stage, np.int32(kernel.segments))[reader] == kernel.stage[row])]] = True
    own = ~constant(netlist) & (netlist.op != Op.INPUT) & (at_once | ~slices(netlist))
    return np.flatnonzero(own).astype(np.int32)


def probe(rtl: Rtl, kernel: Kernel, rows: Rows, vector: Mapping[str, Ints], work_dir: Path) -> Ints | None:
    """The values of `rows` (of `visible`), int64[rows], for `vector` (int64[1, elements] by input); None if nothing comes out.

    The vector is driven again and again, so every register rank holds it when the signals are read.
    """
    netlist, latency = kernel.netlist, kernel.segments + 1
    width = int(netlist.widths[rows].max()) + 1
    port = SimPort("probe", SIGNALS, width, True, len(rows))
    source = work_dir.resolve() / f"{TOP}.v"
    source.write_text(_wrapper(rtl, kernel, rows, width))
    probed = Rtl(TOP, (source, *rtl.sources), rtl.inputs, (*rtl.outputs, port))
    count = 2 * latency + 8
    data = {name: np.repeat(codes, count, axis=0) for name, codes in vector.items()}
    run = simulate(probed, data, work_dir, valid=np.ones(count, np.bool_))
    return None if run.fault else run.outputs["probe"][latency + 4]


def _wrapper(rtl: Rtl, kernel: Kernel, rows: Rows, width: int) -> str:
    """The design with one more output: the signals of the rows, sign-extended to one width, the first at the lowest bits."""
    widths, signed = kernel.netlist.widths[rows].tolist(), (kernel.netlist.lo[rows] < 0).tolist()
    ports = [("input", "clk", 1), ("input", "rst", 1), ("input", "in_valid", 1), ("output", "out_valid", 1),
             *(("input", p.rtl, p.width * p.elements) for p in rtl.inputs),
             *(("output", p.rtl, p.width * p.elements) for p in rtl.outputs)]
    taps = []
    for row, own, sign in zip(rows.tolist(), widths, signed, strict=True):
        signal = f"dut.kernel.v{row}"
        top = f"{{{width - own}{{{signal}[{own - 1}]}}}}" if sign else f"{width - own}'d0"
        taps.append(f"    {{{top}, {signal}}}")
    declared = [f"  {side} wire [{bits - 1}:0] {name}" for side, name, bits in ports]
    declared.append(f"  output wire [{width * len(rows) - 1}:0] {SIGNALS}")
    joined = ", ".join(f".{name}({name})" for _, name, _ in ports)
    return (f"module {TOP} (\n" + ",\n".join(declared) + f"\n);\n  {rtl.top} dut ({joined});\n  assign {SIGNALS} = {{\n"
            + ",\n".join(reversed(taps)) + "\n  };\nendmodule\n")
