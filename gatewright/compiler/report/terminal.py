"""The summary on a terminal: the key facts of `report.json` in 80 columns and, for a small network, some 40 lines.

Words carry everything, colour only repeats it; text of the model is never read as rich markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatewright.compiler.report import facts
from gatewright.compiler.report.facts import Record

WIDTH = 80
_MOST_LAYERS = 12
"""Rows of the layer table; the HTML report has them all."""
_NAME_WIDTH = 26
_WORDS = {"passed": ("PASSED  ", "bold green"), "failed": ("FAILED  ", "bold red"), "skipped": ("", "bold yellow"),
          "missing": ("", "bold yellow")}


def print_summary(report: Mapping[str, Any], console: Console) -> None:
    """Print the summary of `report` (schema of `report.json`, every key optional), at most 80 columns wide."""
    report = facts.clean(report)
    printer = _Printer(console)
    _head(report, printer)
    _verification(report, printer)
    if facts.best_resources(report):
        _resources(report, printer)
        _times(report, printer)
        _vendor(report, printer)
        _layers(report, printer)
    else:
        printer.line("\nNo numbers yet: gatewright estimate DIR makes them without synthesis.")
    if not facts.measured(report):
        printer.line("Not synthesised yet: gatewright synth DIR", "yellow")
    for note in report.get("notes") or []:
        printer.line(f"Note: {note}", hang=6)


class _Printer:
    """Plain text in, at most `WIDTH` columns out, with what the console's encoding lacks replaced."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.width = min(WIDTH, console.width)

    def text(self, text: str, style: str = "") -> Text:
        encoding = self.console.encoding
        return Text(text.translate(_ASCII).encode(encoding, "replace").decode(encoding), style=style)

    def line(self, text: str, style: str = "", hang: int = 0) -> None:
        """One paragraph; lines after the first are indented by `hang`."""
        for number, part in enumerate(self.text(text, style).wrap(self.console, self.width - hang)):
            part.rstrip()
            self.console.print(Text(" " * hang if number else "").append_text(part), soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """The first column is text, cut where it is long; the others are numbers, folded rather than cut."""
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        for number, column in enumerate(columns):
            table.add_column(self.text(column), justify="right" if number else "left", overflow="fold")
        for name, *numbers in rows:
            table.add_row(self.text(facts.shortened(name, _NAME_WIDTH)), *(self.text(number) for number in numbers))
        self.console.print(table, width=self.width)


_ASCII = str.maketrans({"–": "-", "−": "-", "×": "x", "…": ".."})
"""The signs that the shared texts are set with; any terminal has these."""


def _head(report: Record, printer: _Printer) -> None:
    model, clock = report.get("model") or {}, report.get("clock_ns")
    name, file = str(report.get("design") or "design"), model.get("file")
    printer.line(f"{name} ({file})" if file else name, "bold")
    part = [str(report["part"])] if report.get("part") else []
    if clock:
        part.append(f"clock {facts.decimal(clock, 3)} ns ({facts.decimal(facts.megahertz(clock))} MHz)")
    made_by = [f"{name} {value}" for name, value in (("gatewright", report.get("gatewright")),
                                                     ("SHA-256", str(report.get("sha256") or "")[:12])) if value]
    for line in (part, made_by):
        if line:
            printer.line(", ".join(line))


def _verification(report: Record, printer: _Printer) -> None:
    verdict = facts.verdict(report)
    word, style = _WORDS[verdict.status]
    printer.line("")
    printer.line(f"{word}{verdict.headline}", style, hang=2)
    for detail in verdict.details:
        printer.line(f"  {detail}", hang=4)
    if report.get("proof"):
        printer.line(f"Netlist: {report['proof']}", hang=2)
    if verdict.mismatch:
        first = {key: value for key, value in verdict.mismatch.items() if value is not None}
        element = f"[{first['element']}]" if "element" in first else ""
        vector, output, expected, got = (first.get(key, "?") for key in ("vector", "output", "expected", "got"))
        where = f"vector {vector}, {output}{element}"
        printer.line(f"  first at {first['level']}: {where}: expected {expected}, got {got}", hang=4)
        if first.get("node"):
            printer.line(f"  first ONNX node that differs: {first['node']}", "bold", hang=4)
    if verdict.remedy:
        printer.line(f"  run: {verdict.remedy}")


def _resources(report: Record, printer: _Printer) -> None:
    """Estimate, synthesis for the same part, error and share of the part; other parts are in the HTML report."""
    best, estimate, totals = facts.best_resources(report), report.get("estimate") or {}, report.get("part_totals") or {}
    synthesis = {} if facts.is_estimate(report, best) else best
    columns = ["Resource", "estimate", *([str(synthesis.get("tool") or "synthesis"), "error"] if synthesis else []),
               *(["of part"] if totals else [])]
    rows = []
    for key, name in facts.CELLS:
        if best.get(key) is None or (key == "uram" and not best[key]):
            continue
        row = [name, facts.count(estimate.get(key))]
        if synthesis:
            row += [facts.count(synthesis.get(key)), facts.relative_error(estimate.get(key), synthesis.get(key))]
        if totals:
            row.append(facts.percent_of(best[key], totals.get(key)) or "")
        rows.append(row)
    printer.line("")
    printer.table(columns, rows)
    if packed := facts.packed(synthesis):
        printer.line(packed, hang=2)
    over = [number.name for number in facts.cell_numbers(report) if number.warning]
    if over:
        printer.line(f"DOES NOT FIT the part: {facts.listed(over)}", "bold red")


def _times(report: Record, printer: _Printer) -> None:
    resources = facts.best_resources(report)
    cycles, path, ii = (resources.get(key) for key in ("latency_cycles", "critical_path_ns", "ii"))
    ns = facts.latency_ns(report, resources)
    printer.line("")
    if cycles is not None:
        times = "" if ns is None else f" = {facts.decimal(ns)} ns* = {facts.bunch_crossings(ns)} LHC bunch crossings"
        printer.line(f"Latency        {facts.count(cycles)} cycles{times}", hang=15)
    if ii is not None:
        printer.line(f"II             {facts.count(ii)} cycle{'' if ii == 1 else 's'}")
    if path is not None:
        fmax = facts.decimal(facts.megahertz(path), 0)
        printer.line(f"Longest stage  {facts.decimal(path)} ns*, fmax {fmax} MHz*", hang=15)
    for number in facts.time_numbers(report):
        if number.warning:
            printer.line(f"{number.name.upper()} {number.warning}", "bold red", hang=2)
    if ns is not None or path is not None:
        printer.line(f"* {facts.time_label(resources)}", hang=2)


def _vendor(report: Record, printer: _Printer) -> None:
    """What vendors' tools reported, beside the estimate; errors for the same part only. The rest is in the HTML report."""
    vendor, estimate = report.get("vendor") or [], report.get("estimate") or {}
    if not vendor:
        return
    rows = []
    for found in (estimate, *vendor):
        row = ["estimate" if found is estimate else str(found.get("tool") or "vendor")]
        for key, show in (("lut", facts.count), ("ff", facts.count), ("critical_path_ns", facts.decimal)):
            same = found is not estimate and facts.same_part(report, found)
            row += [show(found.get(key)), facts.relative_error(estimate.get(key), found.get(key)) if same else ""]
        rows.append(row)
    printer.line("")
    printer.table(["Reported", "LUT", "error", "FF", "error", "longest, ns", "error"], rows)
    for found in vendor:
        if not facts.same_part(report, found):
            printer.line(f"{found.get('tool')} is for {found.get('part') or 'a part that it does not name'}", hang=2)


def _layers(report: Record, printer: _Printer) -> None:
    layers = facts.layers(report)
    if not layers:
        return
    keys = [(key, name) for key, name in (*facts.LAYER_METRICS, ("bits", "bits"))
            if any(layer.get(key) is not None for layer in layers)]
    rows = [[layer.name, *(facts.count(layer.get(key)) for key, _ in keys), layer.cycle_range]
            for layer in layers[:_MOST_LAYERS]]
    printer.line("")
    printer.table(["Layer (estimate)", *(name for _, name in keys), "in cycles"], rows)
    if len(layers) > _MOST_LAYERS:
        printer.line(f"... and {len(layers) - _MOST_LAYERS} more layers in report.html")
    printer.line("")
