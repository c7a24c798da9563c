"""What a design costs: one schema for estimate, open synthesis and vendor tools (docs/architecture.md, "Results")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Cost of one design on one part. None means: this tool does not know.

    `lut` is physical: `lut_logic + route_through + srl`. `carry` counts units of the type `carry_unit`.
    `bram` counts memory blocks as the part does (AMD 36 Kb, ECP5 18 Kb). `critical_path_ns` follows `delay_model`,
    `critical_path` says where it starts and ends. `layers` has one mapping a layer.

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
    carry: int | None = None
    carry_unit: str | None = None
    ff: int | None = None
    dsp: int | None = None
    bram: int | None = None
    uram: int | None = None
    critical_path_ns: float | None = None
    critical_path: str | None = None
    latency_cycles: int | None = None
    latency_ns: float | None = None
    ii: int | None = None
    layers: tuple[Mapping[str, Any], ...] = ()
    delay_model: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain JSON values, with the keys of the schema in its order."""
        return {**asdict(self), "layers": [dict(layer) for layer in self.layers]}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Resources:
        """The inverse of `to_json`. Raises TypeError on keys that the schema does not have."""
        return Resources(**{**values, "layers": tuple(dict(layer) for layer in values.get("layers", ()))})
