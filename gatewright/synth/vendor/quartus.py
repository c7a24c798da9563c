"""Reports of Quartus Prime: `NAME.fit.summary`, `NAME.fit.rpt` and `NAME.sta.rpt`."""

from __future__ import annotations

import re
from typing import Any

from gatewright.errors import UserError
from gatewright.synth.vendor.reading import Reading, missing, number

_CELLS = {"clb": "Logic utilization (in ALMs)", "ff": "Total dedicated logic registers", "dsp": "Total DSP Blocks",
          "bram": "Total RAM Blocks", "lut_logic": "Combinational ALUT usage for logic",
          "route_through": "Combinational ALUT usage for route-throughs"}
_ELEMENTS = {"clb": "Total logic elements", "lut_logic": "Total combinational functions", "ff": "Dedicated logic registers"}
"""The same on families without ALMs."""


def recognises(text: str) -> bool:
    return "Quartus Prime Version" in text or "Quartus II" in text or _is_slack_summary(text)


def _is_slack_summary(text: str) -> bool:
    return re.search(r"^Type +: .* Model Setup '", text, re.MULTILINE) is not None


def read(text: str) -> Reading:
    """Raises UserError where the report is of another kind, of a build that failed, or lacks what it should have."""
    if _is_slack_summary(text):
        raise UserError("a .sta.summary says how much of the clock is left, not what the clock is", remedy="Give NAME.sta.rpt instead")
    rows = _rows(text)
    version = re.search(r"(?:Version )?([\d.]+)", rows.get("Quartus Prime Version", ""))
    tool = f"Quartus {version[1]}" if version else "Quartus"
    if "Fmax Summary" in text:
        name, part, values = rows.get("Revision Name"), rows.get("Device Name"), _timing(text)
    elif "Fitter Status" in rows:
        if not rows["Fitter Status"].startswith("Successful"):
            raise UserError(f"the fitter ended with '{rows['Fitter Status']}'", remedy="Give the report of a build that fits")
        name, part, values = rows.get("Top-level Entity Name"), rows.get("Device"), _cells(rows)
    else:
        raise UserError("this is a report of Quartus, of a kind that says nothing of resources or timing",
                        remedy="Give NAME.fit.summary or NAME.fit.rpt, and NAME.sta.rpt")
    return Reading(tool, "routed", name, part.lower() if part else None, values)


def _rows(text: str) -> dict[str, str]:
    """Rows of tables, `; key ; value ; ... ;`, and of summaries, `key : value`; the first of a name."""
    rows: dict[str, str] = {}
    for line in text.splitlines():
        key, found, value = line.strip("; ").partition(";" if line.startswith(";") else " : ")
        if found:
            rows.setdefault(key.strip(" -"), value.split(";")[0].strip())
    return rows


def _cells(rows: dict[str, str]) -> dict[str, Any]:
    keys = _CELLS if _CELLS["clb"] in rows else {**_CELLS, **_ELEMENTS}
    values: dict[str, Any] = {key: number(rows.get(name, "")) for key, name in keys.items()}
    if values["ff"] is None:
        values["ff"] = number(rows.get("Total registers", ""))
    if values["clb"] is None or values["ff"] is None:
        raise missing("count of ALMs or logic elements, or of registers", "Give a whole .fit.summary or .fit.rpt")
    values["clb_unit"] = "ALM" if keys is _CELLS else "LE"
    if values["lut_logic"] is not None:
        values["lut"] = values["lut_logic"] + (values["route_through"] or 0)
    return {key: value for key, value in values.items() if value is not None}


def _timing(text: str) -> dict[str, Any]:
    """The slowest of all operating conditions, for the clock `clk` that the design has."""
    found = [float(mhz) for mhz, clock in re.findall(r"^; ([\d.]+) MHz +; [\d.]+ MHz +; (\S+) ", text, re.MULTILINE) if clock == "clk"]
    if not found:
        raise missing("Fmax of the clock 'clk'", "Give the .sta.rpt of projects/quartus")
    return {"critical_path_ns": round(1000 / min(found), 3)}
