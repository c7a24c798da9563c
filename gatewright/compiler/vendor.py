"""The user's own results from vendors' tools, folded into an output folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gatewright.compiler.project import Project
from gatewright.synth.result import Resources
from gatewright.synth.vendor import join, read_report, squashed


def add_vendor_reports(project: Project, files: Sequence[str | Path]) -> list[Resources]:
    """Reads reports, joins those of one run, and stores what they say beside what `synth` found; a later run of the same tool
    replaces an earlier one. Nothing is stored if one of them cannot be used, which is a UserError."""
    design, part = project.design, project.part
    results = []
    for reading, found in join({str(file): read_report(Path(file)) for file in files}, design.name):
        if squashed(found.part) == squashed(part.name):
            found = replace(found, part=part.name)
        if found.target == "verilog":
            found = replace(found, latency_cycles=design.latency_cycles, ii=design.ii)
        if found.latency_cycles is not None:
            found = replace(found, latency_ns=round(found.latency_cycles * project.options.clock_ns, 3))
        results.append(("hls" if found.target == "hls" else f"{reading.tool.split(' ')[0].lower()}-{reading.stage}", found))
    for name, found in results:
        project.add_result("vendor", name, found.to_json())
    return [found for _, found in results]
