"""The JSON that nextpnr writes with `--report`, for ECP5. It names neither design nor device: the number of cells tells the part."""

from __future__ import annotations

import json
from typing import Any

from gatewright.backends.part import known_parts, load_part
from gatewright.errors import UserError
from gatewright.synth.vendor.reading import Reading


def recognises(text: str) -> bool:
    return text.lstrip().startswith("{") and '"utilization"' in text and '"fmax"' in text


def read(text: str) -> Reading:
    """Raises UserError where the report is damaged or of another family."""
    try:
        report: dict[str, Any] = json.loads(text)
        cells, clocks = report["utilization"], report["fmax"].values()
        comb, ns = cells["TRELLIS_COMB"], max(1000 / clock["achieved"] for clock in clocks)
        values = {"lut": comb["used"], "ff": cells["TRELLIS_FF"]["used"], "critical_path_ns": round(ns, 3),
                  "dsp": cells.get("MULT18X18D", {}).get("used"), "bram": cells.get("DP16KD", {}).get("used")}
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise UserError(f"this is no report of nextpnr-ecp5 on a design with a clock ({error})",
                        remedy="Give the file that projects/nextpnr/Makefile makes") from None
    parts = [p.name for p in map(load_part, known_parts()) if p.family == "ecp5" and p.totals["lut"] == comb["available"]]
    return Reading("nextpnr-ecp5", "routed", None, parts[0] if parts else None,
                   {key: value for key, value in values.items() if value is not None})
