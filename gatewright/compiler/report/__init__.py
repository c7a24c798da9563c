"""The report: `report.json`, and `report.html` made from it."""

from __future__ import annotations

import json
from typing import Any

from gatewright.compiler.project import Project, write_atomically
from gatewright.compiler.report.build import build_report
from gatewright.compiler.report.html import render_html


def write_report(project: Project) -> dict[str, Any]:
    """Writes both files of an output folder anew; returns the content of report.json."""
    report = build_report(project)
    write_atomically(project.folder / "report.json", json.dumps(report, indent=1) + "\n")
    write_atomically(project.folder / "report.html", render_html(report))
    return report
