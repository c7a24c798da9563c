"""What a design costs: one schema for estimate, open synthesis and vendor tools (docs/architecture.md, "Results")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Cost of one design on one part. None means: this tool does not know.

    `lut` is physical: `lut_logic + route_through + srl`. `carry` counts units of the type `carry_unit`, as in the netlist.
    `lut_paired`, `carry_sites` and `clb` are what the device needs of LUTs, carry units and logic blocks (`clb_unit`) after packing,
    defined in `packing.py`. `bram` counts memory blocks as the part does (AMD 36 Kb, in halves, ECP5 18 Kb). `critical_path_ns` follows
    `delay_model`, `critical_path` says where it starts and ends. `layers` has one mapping a layer, `stages` one a pipeline stage:
    `stage` (from 1), `critical_path_ns`, `slack_ns` (the clock less that; None without a clock) and `ff`, the registers behind it.
    `routed`: times are those of a tool after routing, not of `delay_model`. `target`: which target's files were built, `verilog` or `hls`.

    >>> result = Resources(tool="yosys 0.70 (pyosys)", part="xcvu13p-flga2577-2-e", lut=7, lut_logic=5, route_through=2)
    >>> Resources.from_json(result.to_json()) == result
    True
    """

    tool: str
    part: str
    lut: int | None = None
    lut_logic: int | None = None
    route_through: int | None = None
    srl: int | None = None
    lut_paired: int | None = None
    carry: int | None = None
    carry_unit: str | None = None
    carry_sites: int | None = None
    ff: int | None = None
    dsp: int | None = None
    bram: float | None = None
    uram: int | None = None
    clb: int | None = None
    clb_unit: str | None = None
    critical_path_ns: float | None = None
    critical_path: str | None = None
    latency_cycles: int | None = None
    latency_ns: float | None = None
    ii: int | None = None
    layers: tuple[Mapping[str, Any], ...] = ()
    stages: tuple[Mapping[str, Any], ...] = ()
    delay_model: str | None = None
    routed: bool = False
    target: str = "verilog"

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain JSON values, with the keys of the schema in its order."""
        return {**asdict(self), **{key: [dict(row) for row in getattr(self, key)] for key in _TABLES}}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Resources:
        """The inverse of `to_json`. Raises TypeError on keys that the schema does not have."""
        return Resources(**{**values, **{key: tuple(dict(row) for row in values.get(key, ())) for key in _TABLES}})


_TABLES = ("layers", "stages")
