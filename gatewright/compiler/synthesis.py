"""Real synthesis of an output folder's RTL with open tools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gatewright.backends.part import load_part
from gatewright.compiler.project import Project
from gatewright.synth.result import Resources
from gatewright.synth.yosys import synthesise


def synthesise_project(project: Project, part: str | None = None, work: Path | None = None,
                       progress: Callable[[str], None] | None = None) -> Resources:
    """Synthesises for the design's part or another one, and stores the result in the folder."""
    target = load_part(part) if part else project.part
    design = project.design
    found = synthesise(project.rtl.sources, design.name, target, work, progress, dsps=project.options.dsp > 0)
    found = replace(found, latency_cycles=design.latency_cycles, ii=design.ii,
                    latency_ns=round(design.latency_cycles * project.options.clock_ns, 3))
    project.add_result("synth", target.name, found.to_json())
    return found
