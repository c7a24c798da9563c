"""Resources and timing of a design before synthesis, from the costs of its rows; per ONNX node."""

from __future__ import annotations

from typing import Any

import numpy as np

from gatewright.backends.part import Part
from gatewright.compiler.estimate.cost import Floats, RowCosts, row_costs
from gatewright.compiler.schedule.pipeline import arrivals
from gatewright.ir.design import Design, Kernel
from gatewright.ir.fixed import Ints
from gatewright.ir.netlist import Op
from gatewright.ir.usage import constant, held_bits, used_bits
from gatewright.synth.result import Resources

TOOL = "gatewright estimate"


def estimate(design: Design, part: Part, clock_ns: float | None = None) -> Resources:
    """Resources of `design` on `part`, without synthesis.

    Flip-flops are those of live values between the stages, of the inputs, the outputs and the valid chain. `layers` has
    one entry per ONNX node, in the netlist's order; `first_cycle` and `last_cycle` count segments from 1. `stages` has one
    per segment; its `ff` are the registers behind it, so that the inputs' own are in none. `latency_ns` and the slack are
    given where the clock period is. Products are LUTs, but for those that are marked IN_DSP.
    """
    totals = dict.fromkeys(("lut", "carry", "ff", "dsp"), 0)
    layers: dict[str, dict[str, Any]] = {}
    ready = design.ready()
    ns = np.zeros(design.latency_cycles - 1)
    behind = np.ones(len(ns), np.int64)  # the valid bit
    for instance in design.instances:
        kernel = design.kernel(instance.name)
        costs, (ff, ranks) = row_costs(kernel.netlist, part), registers(kernel)
        totals["lut"] += int(costs.lut.sum())
        totals["carry"] += int((-(-costs.carry_bits // part.carry_bits)).sum())
        totals["ff"] += int(ff.sum())
        totals["dsp"] += int(costs.dsp.sum())
        own = slice(ready[instance.name] - kernel.segments, ready[instance.name])
        ns[own] = np.maximum(ns[own], longest_paths_ns(kernel, costs, part))
        behind[own] += ranks
        for layer in _layers(kernel, costs, ff):
            _merge(layers.setdefault(layer["name"], layer), layer)
    totals["ff"] += design.latency_cycles
    latency = None if clock_ns is None else round(design.latency_cycles * clock_ns, 3)
    return Resources(tool=TOOL, part=part.name, lut=totals["lut"], lut_logic=totals["lut"], route_through=0, srl=0,
                     carry=totals["carry"], carry_unit=part.carry_unit, carry_sites=totals["carry"], ff=totals["ff"],
                     dsp=totals["dsp"], bram=0, uram=0, critical_path_ns=round(float(ns.max()), 3), latency_cycles=design.latency_cycles,
                     latency_ns=latency, ii=design.ii, layers=tuple(layers.values()), stages=tuple(_stages(ns, behind, clock_ns)),
                     delay_model=part.delay_model)


def registers(kernel: Kernel) -> tuple[Ints, Ints]:
    """Flip-flops that carry every row's value from its stage to the last one that needs it, int64[rows]; and of these the ones behind
    every segment, int64[segments]: all but the inputs' own, which have one rank more, rank 0.

    Bits that nothing reads, and constants, are not kept.
    """
    netlist = kernel.netlist
    rows = np.where(netlist.op == Op.INPUT, np.bitwise_count(used_bits(netlist)), 0).astype(np.int64)
    behind = np.zeros(kernel.segments, np.int64)
    for segment, held in enumerate(held_bits(netlist, kernel.stage, kernel.segments)):
        rows += held
        behind[segment] = held.sum()
    return rows, behind


def longest_paths_ns(kernel: Kernel, costs: RowCosts, part: Part) -> Floats:
    """The longest path of every segment, from register to register, in ns by the part's delay model, float64[segments]."""
    ends = np.full(kernel.segments, part.delay["clk_to_q"])
    np.maximum.at(ends, kernel.stage, arrivals(kernel, costs, part.delay["clk_to_q"]))
    return ends + part.delay["setup"]


def _stages(ns: Floats, behind: Ints, clock_ns: float | None) -> list[dict[str, Any]]:
    slack = [None if clock_ns is None else round(clock_ns - path, 3) for path in ns.tolist()]
    return [{"stage": number + 1, "critical_path_ns": round(path, 3), "slack_ns": slack[number], "ff": int(behind[number])}
            for number, path in enumerate(ns.tolist())]


def _layers(kernel: Kernel, costs: RowCosts, ff: Ints) -> list[dict[str, Any]]:
    netlist = kernel.netlist
    count = len(netlist.origins)

    def total(values: Ints) -> list[int]:
        sums: list[int] = np.bincount(netlist.origin, values, minlength=count).astype(np.int64).tolist()
        return sums
    first, last = np.full(count, kernel.segments), np.zeros(count, np.int64)
    computed = ~constant(netlist)
    np.minimum.at(first, netlist.origin[computed], kernel.stage[computed])
    np.maximum.at(last, netlist.origin[computed], kernel.stage[computed])
    bits = np.where(computed, netlist.widths, 0)
    columns = {"lut": total(costs.lut), "dsp": total(costs.dsp), "ff": total(ff), "adders": total(costs.adders), "bits": total(bits),
               "first_cycle": (np.minimum(first, last) + 1).tolist(), "last_cycle": (last + 1).tolist()}
    return [{"name": name, **{key: values[i] for key, values in columns.items()}}
            for i, name in enumerate(netlist.origins)]


def _merge(into: dict[str, Any], layer: dict[str, Any]) -> None:
    """Adds what another kernel has of the same node."""
    if into is layer:
        return
    for key in ("lut", "ff", "dsp", "adders", "bits"):
        into[key] += layer[key]
    into["first_cycle"] = min(into["first_cycle"], layer["first_cycle"])
    into["last_cycle"] = max(into["last_cycle"], layer["last_cycle"])
