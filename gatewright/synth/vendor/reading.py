"""What one report of a vendor's tool says, before reports of one run are joined."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gatewright.errors import UserError

Stage = Literal["synthesised", "placed", "routed"]


@dataclass(frozen=True, slots=True)
class Reading:
    """`tool` with its version; `stage`: how far the design had come; `design` (the top module) and `part` where the report names them;
    `target`: which target's files were built, as in `Resources`; `values` by the keys of `Resources`."""

    tool: str
    stage: Stage
    design: str | None
    part: str | None
    values: Mapping[str, Any] = field(default_factory=dict)
    target: Literal["verilog", "hls"] = "verilog"


def number(text: str) -> float | int | None:
    """The number that a cell of a table starts with: `1,234 / 427,200 ( < 1 % )` is 1234; None where there is none."""
    found = re.match(r"\s*(-?[\d,]*\.?\d+)", text)
    if found is None:
        return None
    digits = found[1].replace(",", "")
    return float(digits) if "." in digits else int(digits)


def missing(what: str, remedy: str) -> UserError:
    return UserError(f"the report has no {what}", remedy=remedy)
