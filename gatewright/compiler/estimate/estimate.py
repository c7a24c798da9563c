"""Resources and timing of a design before synthesis, from the costs of its rows; per ONNX node."""

from __future__ import annotations

from typing import Any

import numpy as np

from gatewright.backends.part import Part
from gatewright.compiler.estimate.cost import RowCosts, row_costs
from gatewright.compiler.schedule.pipeline import arrivals
from gatewright.ir.design import Design, Kernel
from gatewright.ir.fixed import Ints
from gatewright.ir.netlist import Op
from gatewright.ir.usage import constant, last_use, used_bits
from gatewright.synth.result import Resources

TOOL = "gatewright estimate"


def estimate(design: Design, part: Part, clock_ns: float | None = None) -> Resources:
    """Resources of `design` on `part`, without synthesis.

    Flip-flops are those of live values between the stages, of the inputs, the outputs and the valid chain. `layers` has
    one entry per ONNX node, in the netlist's order; `first_cycle` and `last_cycle` count segments from 1. `latency_ns`
    is given where the clock period is. Products are counted as LUTs, not as DSPs.
    """
    totals = dict.fromkeys(("lut", "carry", "ff"), 0)
    layers: dict[str, dict[str, Any]] = {}
    critical = 0.0
    for instance in design.instances:
        kernel = design.kernel(instance.name)
        costs, ff = row_costs(kernel.netlist, part), registers(kernel)
        totals["lut"] += int(costs.lut.sum())
        totals["carry"] += int((-(-costs.carry_bits // part.carry_bits)).sum())
        totals["ff"] += int(ff.sum())
        critical = max(critical, longest_segment_ns(kernel, costs, part))
        for layer in _layers(kernel, costs, ff):
            _merge(layers.setdefault(layer["name"], layer), layer)
    totals["ff"] += design.latency_cycles
    latency = None if clock_ns is None else round(design.latency_cycles * clock_ns, 3)
    return Resources(tool=TOOL, part=part.name, lut=totals["lut"], lut_logic=totals["lut"], route_through=0, srl=0,
                     carry=totals["carry"], carry_unit=part.carry_unit, ff=totals["ff"], dsp=0, bram=0, uram=0,
                     critical_path_ns=round(critical, 3), latency_cycles=design.latency_cycles, latency_ns=latency,
                     ii=design.ii, layers=tuple(layers.values()), delay_model=part.delay_model)


def registers(kernel: Kernel) -> Ints:
    """Flip-flops that carry every row's value from its stage to the last one that needs it, int64[rows].

    An input has one rank more, rank 0. Bits that nothing reads, and constants, are not kept.
    """
    netlist = kernel.netlist
    last = last_use(netlist, kernel.stage, kernel.segments).astype(np.int64)
    ranks = last - kernel.stage + (netlist.op == Op.INPUT)
    bits: Ints = np.bitwise_count(used_bits(netlist)).astype(np.int64)
    result: Ints = ranks * bits
    return result


def longest_segment_ns(kernel: Kernel, costs: RowCosts, part: Part) -> float:
    """The longest path from register to register, in ns, by the part's delay model."""
    ends = arrivals(kernel, costs, part.delay["clk_to_q"])
    return float(ends.max(initial=0.0)) + part.delay["setup"]


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
    columns = {"lut": total(costs.lut), "ff": total(ff), "adders": total(costs.adders), "bits": total(bits),
               "first_cycle": (np.minimum(first, last) + 1).tolist(), "last_cycle": (last + 1).tolist()}
    return [{"name": name, "dsp": 0, **{key: values[i] for key, values in columns.items()}}
            for i, name in enumerate(netlist.origins)]


def _merge(into: dict[str, Any], layer: dict[str, Any]) -> None:
    """Adds what another kernel has of the same node."""
    if into is layer:
        return
    for key in ("lut", "ff", "adders", "bits"):
        into[key] += layer[key]
    into["first_cycle"] = min(into["first_cycle"], layer["first_cycle"])
    into["last_cycle"] = max(into["last_cycle"], layer["last_cycle"])
