"""`report.html`: one self-contained page, made from the dict of `report.json` alone.

Python works out words, numbers and coordinates; all markup is in `templates/report/`, where Jinja2 escapes every value.
The page's own policy forbids it any network access and any script or style but those two whose hashes it names.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from gatewright.compiler.report import facts
from gatewright.compiler.report.facts import Layer, Record
from gatewright.compiler.report.layout import BOX_WIDTH, layered

_BESIDE = 2 * BOX_WIDTH
"""Widest drawing in pixels that still leaves room for the table of tensors beside it."""


def render_html(report: Mapping[str, Any]) -> str:
    """The whole page. `report` has the schema of `report.json`; every key is optional. Same dict, same text."""
    report = facts.clean(report)
    environment = _environment()
    assert environment.loader
    style, script = (environment.loader.get_source(environment, name)[0] for name in ("report.css", "report.js"))
    return environment.get_template("report.html.j2").render(
        style=Markup(style), style_hash=_hash(style), script=Markup(script), script_hash=_hash(script),
        name=_name(report), identity=_identity(report),
        verdict=facts.verdict(report), checks=_checks(report), cell_numbers=facts.cell_numbers(report),
        time_numbers=facts.time_numbers(report), comparison=facts.comparison(report),
        estimate_time=facts.time_label(report.get("estimate") or {}), layers=_layer_table(report), stages=facts.stages(report),
        charts=_charts(report), flow=_flow(report), tensors=_tensors(report),
        ports=_ports(report), notes=report.get("notes") or [], proof=report.get("proof"), options=list(_flat(report.get("options") or {})))


@cache
def _environment() -> Environment:
    environment = Environment(loader=PackageLoader("gatewright", "templates/report"), autoescape=True,
                              undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["breakable"] = _breakable
    return environment


def _breakable(name: str) -> Markup:
    """A name that may, if it is long, be wrapped after `_`, `/`, `.`, `:`; escaped first."""
    if len(name) <= 16:
        return escape(name)
    return Markup(re.sub(r"([_/.:])(?=\w)", r"\1<wbr>", str(escape(name))))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


# ---------------------------------------------------------------- head and verification


def _name(report: Record) -> str:
    return str(report.get("design") or (report.get("model") or {}).get("file") or "design")


@dataclass(frozen=True)
class _Fact:
    name: str
    value: str
    digest: bool = False
    """A hash: shown short, copied whole."""


def _identity(report: Record) -> list[_Fact]:
    model, clock = report.get("model") or {}, report.get("clock_ns")
    period = f"{facts.decimal(clock, 3)} ns ({facts.decimal(facts.megahertz(clock))} MHz)" if clock else None
    rows = (("Model", model.get("file")), ("Producer", model.get("producer")), ("Part", report.get("part")),
            ("Clock", period), ("gatewright", report.get("gatewright")), ("SHA-256", report.get("sha256")),
            ("Model SHA-256", model.get("sha256")))
    return [_Fact(name, str(value), "SHA" in name) for name, value in rows if value]


def _checks(report: Record) -> list[tuple[str, str, tuple[str, ...], str]]:
    """Per level: its name, its outcome, its numbers as text and a remark."""
    keys = ("vectors", "mismatching_vectors", "mismatching_values", "latency_cycles", "ii")
    return [(facts.level(check), facts.outcome(check),
             (*(facts.count(check.get(key)) for key in keys), facts.decimal(check.get("seconds"), 1)),
             str(check.get("reason") or "")) for check in report.get("verification") or []]


# ---------------------------------------------------------------- layers


@dataclass(frozen=True)
class Table:
    """Plain text for one HTML table; the first cell of a row is its header."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    totals: tuple[str, ...] | None = None


def _layer_table(report: Record) -> Table:
    layers, estimate, best = facts.layers(report), report.get("estimate") or {}, facts.best_resources(report)
    clock, label = report.get("clock_ns"), "estimate" if not estimate.get("routed") else "routed"
    columns, cells, totals = ["Layer"], [[layer.name] for layer in layers], ["Whole design"]
    sources = [("est.", [layer.estimate for layer in layers], estimate)]
    if any(layer.synthesis for layer in layers):
        sources.append(("synth.", [layer.synthesis for layer in layers], best))
    for key, name in (*facts.LAYER_METRICS, ("bits", "bits")):
        for source, records, whole in sources:
            if any(record.get(key) is not None for record in records):
                columns.append(f"{name}, {source}" if len(sources) > 1 and key in ("lut", "ff", "dsp") else name)
                totals.append(facts.count(_whole(key, whole, records)))
                for row, record in zip(cells, records, strict=True):
                    row.append(facts.count(record.get(key)))
    columns += ["In cycles", "Cycles", f"ns ({label})", "LHC BX"]
    ns = facts.latency_ns(report, estimate)
    totals += ["", facts.count(estimate.get("latency_cycles")), facts.decimal(ns), facts.bunch_crossings(ns)]
    for row, layer in zip(cells, layers, strict=True):
        row += [layer.cycle_range, facts.count(layer.cycles), *_layer_times(layer, clock)]
    return Table(tuple(columns), tuple(tuple(row) for row in cells), tuple(totals))


def _whole(key: str, resources: Record, records: Sequence[Record]) -> float | None:
    """The design's own total; adders are all in layers, so their sum will do."""
    total: float | None = resources.get(key)
    return sum(record.get(key) or 0 for record in records) if total is None and key == "adders" else total


def _layer_times(layer: Layer, clock: float | None) -> tuple[str, str]:
    ns = layer.cycles * clock if layer.cycles is not None and clock is not None else None
    return facts.decimal(ns), facts.bunch_crossings(ns)


@dataclass(frozen=True)
class Chart:
    """Horizontal bars of one metric; lengths and ticks in percent of the axis."""

    key: str
    unit: str
    kinds: tuple[str, ...]
    """`estimate`, `synthesis` or both: the bars of a layer from top to bottom."""
    ticks: tuple[tuple[str, str], ...]
    """Position, label."""
    bars: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...]
    """Layer, and per kind the kind, length and value."""


def _charts(report: Record) -> list[Chart]:
    """One chart per metric that any layer knows; DSPs only where there are some."""
    layers, charts = facts.layers(report), []
    for key, unit in facts.LAYER_METRICS:
        series = [("estimate", [layer.estimate.get(key) for layer in layers]),
                  ("synthesis", [layer.synthesis.get(key) for layer in layers])]
        series = [(name, values) for name, values in series if any(value is not None for value in values)]
        largest = max((value for _, values in series for value in values if value is not None), default=0)
        if not series or (key == "dsp" and largest == 0):
            continue
        ticks = _ticks(largest)
        bars = tuple((layer.name, tuple((name, _percent(values[i] or 0, ticks[-1]), facts.count(values[i]))
                                        for name, values in series)) for i, layer in enumerate(layers))
        kinds = tuple(name for name, _ in series)
        charts.append(Chart(key, unit, kinds, tuple((_percent(t, ticks[-1]), facts.count(t)) for t in ticks), bars))
    return charts


def _ticks(largest: float) -> list[int]:
    """From 0 in three to six equal steps of 1, 2 or 5 times a power of ten; the last tick is at or above `largest`."""
    power = 10 ** max(0, math.floor(math.log10(max(largest, 1) / 5)) if largest >= 5 else 0)
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * 5 >= largest)
    return [step * number for number in range(max(1, math.ceil(largest / step)) + 1)]


def _percent(value: float, whole: float) -> str:
    return f"{100 * value / whole:.2f}%"


# ---------------------------------------------------------------- dataflow graph and tensors


@dataclass(frozen=True)
class Box:
    """One node of the drawing: its corner in pixels, the lines inside and the text on hover."""

    index: int
    x: int
    y: int
    op: str
    label: str
    node: str
    type: str
    details: str
    differs: bool


@dataclass(frozen=True)
class Flow:
    width: int
    height: int
    beside: bool
    boxes: tuple[Box, ...]
    edges: tuple[tuple[int, int, str], ...]


def _flow(report: Record) -> Flow:
    nodes: Sequence[Record] = report.get("nodes") or []
    index = {str(node.get("id")): number for number, node in enumerate(nodes)}
    drawing = layered([[index[str(i)] for i in node.get("inputs") or [] if str(i) in index] for node in nodes])
    mismatch = facts.verdict(report).mismatch or {}
    suspect = next((number for number, node in enumerate(nodes)
                    if mismatch.get("node") and node.get("node") == mismatch["node"]), None)
    boxes = tuple(_box(number, node, corner, [_tensor_name(nodes[index[str(i)]]) for i in node.get("inputs") or []
                                              if str(i) in index], number == suspect)
                  for number, (node, corner) in enumerate(zip(nodes, drawing.boxes, strict=True)))
    return Flow(drawing.width, drawing.height, drawing.width <= _BESIDE, boxes, drawing.edges)


def _box(number: int, node: Record, corner: tuple[int, int], reads: Sequence[str], differs: bool) -> Box:
    op, name, onnx = str(node.get("op") or "?"), _tensor_name(node), str(node.get("node") or facts.DASH)
    shape, type_text = facts.shape_text(node.get("shape")), str(node.get("type") or "")
    details = (("op", op), ("tensor", name), ("ONNX node", node.get("node")), ("shape", shape), ("type", type_text),
               ("width", f"{_widths(node)} bits"), ("form", node.get("form")), ("reads", facts.listed(reads)),
               ("", "first node that differs from the model" if differs else None))
    text = "\n".join(f"{key}: {value}".removeprefix(": ") for key, value in details if value)
    label = facts.shortened(name, 36 - min(len(op), 18))
    type_line = facts.shortened(f"{shape}   {type_text}", 38)
    return Box(number, *corner, facts.shortened(op, 18), label, facts.shortened(onnx, 38), type_line, text, differs)


def _tensor_name(node: Record) -> str:
    return str(node.get("label") or node.get("id"))


def _widths(node: Record) -> str:
    low, high = node.get("width_min"), node.get("width_max")
    if low is None or high is None:
        return facts.DASH
    return str(low) if low == high else f"{low}–{high}"


@dataclass(frozen=True)
class Tensor:
    """A row of the bit-width table; its bar runs to `bar_min` and, fainter, to `bar_max` percent of the widest."""

    index: int
    name: str
    op: str
    node: str
    shape: str
    type: str
    widths: str
    bar_min: str
    bar_max: str
    bits: str
    form: str


def _tensors(report: Record) -> list[Tensor]:
    nodes: Sequence[Record] = report.get("nodes") or []
    widest = max((node.get("width_max") or 0 for node in nodes), default=0) or 1
    return [Tensor(number, _tensor_name(node), str(node.get("op") or facts.DASH), str(node.get("node") or facts.DASH),
                   facts.shape_text(node.get("shape")), str(node.get("type") or facts.DASH), _widths(node),
                   _percent(node.get("width_min") or 0, widest), _percent(node.get("width_max") or 0, widest),
                   _total_bits(node), str(node.get("form") or "")) for number, node in enumerate(nodes)]


def _total_bits(node: Record) -> str:
    """As recorded; else elements times width, which is a bound where the elements' widths differ."""
    if node.get("bits") is not None:
        return facts.count(node["bits"])
    if node.get("shape") is None or node.get("width_max") is None:
        return facts.DASH
    bound = facts.count(math.prod(node["shape"]) * node["width_max"])
    return bound if node.get("width_min") == node["width_max"] else f"≤ {bound}"


# ---------------------------------------------------------------- ports and options


def _ports(report: Record) -> list[dict[str, str]]:
    return [_port(port) for port in report.get("ports") or []]


def _port(port: Record) -> dict[str, str]:
    rtl, width, shape = str(port.get("rtl") or port.get("name") or facts.DASH), port.get("width"), port.get("shape")
    elements = math.prod(shape) if shape is not None else None
    bus = f"{rtl}[{elements * width - 1}:0]" if elements and width else rtl
    element = f"{rtl}[{width}*i +: {width}]" if width else facts.DASH
    sign = {True: "two's complement", False: "unsigned", None: ""}[port.get("signed")]
    return {"direction": str(port.get("direction") or facts.DASH), "name": str(port.get("name") or facts.DASH),
            "bus": bus, "element": element, "shape": facts.shape_text(shape), "sign": sign,
            "type": str(port.get("type") or facts.DASH), "formula": str(port.get("formula") or facts.DASH),
            "frac": "" if port.get("frac") is None else f"{port['frac']} fraction bits"}


def _flat(options: Record, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested tables as in TOML: `input.x.type`. Values in JSON's notation, texts without quotes."""
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"{prefix}{key}", facts.DASH if value is None else text
