"""Reports of C synthesis in Vitis HLS and Vivado HLS: `csynth.xml` and `NAME_csynth.rpt`. Estimates, all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from gatewright.errors import UserError
from gatewright.synth.vendor.reading import Reading, missing, number

_KEYS = {"LUT": "lut", "FF": "ff", "DSP": "dsp", "DSP48E": "dsp", "URAM": "uram"}
_REMEDY = "Give the csynth.xml of a whole C synthesis of the top function"


def recognises(text: str) -> bool:
    return "<UserAssignments>" in text or re.search(r"^== (?:Vitis|Vivado) HLS Report for", text, re.MULTILINE) is not None


def read(text: str) -> Reading:
    """Raises UserError where the report is damaged or lacks what it should have."""
    return _xml(text) if "<UserAssignments>" in text else _table(text)


def _xml(text: str) -> Reading:
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise UserError(f"the report is damaged ({error})", remedy=_REMEDY) from None

    def said(path: str) -> str:
        return (root.findtext(path) or "").strip()

    used = {e.tag: e.text or "" for e in root.find("AreaEstimates/Resources") or ()}
    summary = "PerformanceEstimates/SummaryOf"
    return _reading(said("ReportVersion/Version"), said("UserAssignments/TopModelName"), said("UserAssignments/Part"),
                    said(f"{summary}TimingAnalysis/EstimatedClockPeriod"), said(f"{summary}OverallLatency/Worst-caseLatency"),
                    said(f"{summary}OverallLatency/Interval-max"), used)


def _table(text: str) -> Reading:
    head = {key: value.strip() for key, value in re.findall(r"^\* ([\w ]+): +(.*)$", text, re.MULTILINE)}
    top = re.search(r"HLS Report for '(.*)'", text)
    rows = [[cell.strip() for cell in line.strip(" |").split("|")] for line in text.splitlines() if line.strip().startswith("|")]
    timing, latency, total = (_below(rows, first) for first in ("Clock", "min", "Name"))
    names = next((row for row in rows if row[0] == "Name" and "LUT" in row), [])
    return _reading(head.get("Version", "").split(" ")[0], top[1] if top else "", head.get("Target device", ""),
                    timing[2] if len(timing) > 2 else "", latency[1] if len(latency) > 5 else "",
                    latency[5] if len(latency) > 5 else "", dict(zip(names, total, strict=False)))


def _below(rows: Sequence[Sequence[str]], first: str) -> Sequence[str]:
    """The row that counts of the table whose head starts with `first`: `Total`, or the one behind the head."""
    start = next((i for i, row in enumerate(rows) if row[0] == first and (first != "Name" or "LUT" in row)), len(rows))
    behind = [row for row in rows[start + 1:] if first != "Name" or row[0] == "Total"]
    return behind[0] if behind else ()


def _reading(version: str, top: str, part: str, period: str, latency: str, interval: str, used: Mapping[str, str]) -> Reading:
    """Counts in text, as the report has them. A latency or interval that depends on the data (`undef`, `?`) is not known."""
    values: dict[str, Any] = {key: number(used[name]) for name, key in _KEYS.items() if name in used}
    blocks, ns = number(used.get("BRAM_18K", "")), number(period)
    values |= {"bram": None if blocks is None else blocks / 2, "critical_path_ns": ns, "latency_cycles": number(latency),
               "ii": number(interval)}
    if not top or ns is None or values.get("lut") is None:
        raise missing("top function, estimated clock period or LUTs", _REMEDY)
    # until 2020.1 it was Vivado HLS; both call themselves by the year
    name = "Vivado HLS" if version[:6] <= "2020.1" else "Vitis HLS"
    return Reading(f"{name} {version}".strip(), "synthesised", top, part or None,
                   {key: value for key, value in values.items() if value is not None}, "hls")
