"""What both report writers say, worked out once from the dict of `report.json`: verdict, numbers, comparison, layers.

Everything is optional in that dict: a missing key and a `None` mean "not known" and are shown as a dash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Record = Mapping[str, Any]

LHC_BUNCH_CROSSING_MHZ = 40.079
DASH = "–"
CELLS = (("lut", "LUT"), ("ff", "FF"), ("dsp", "DSP"), ("bram", "BRAM"), ("uram", "URAM"))
"""The cells that a part has so many of: key of a Resources record, name that a reader knows."""
LAYER_METRICS = (("lut", "LUT"), ("ff", "FF"), ("dsp", "DSP"), ("adders", "adders"))

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(value: Any) -> Any:
    """`value` with U+FFFD for all characters that steer a terminal, turn the reading direction or are no UTF-8."""
    if isinstance(value, str):
        return _UNPRINTABLE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [clean(item) for item in value]
    return value


# ---------------------------------------------------------------- numbers as text


def count(value: float | None) -> str:
    """`27609` -> `27,609`; halves, as of a block RAM, keep one digit."""
    if value is None:
        return DASH
    return f"{int(value):,}" if value == int(value) else f"{value:,.1f}"


def decimal(value: float | None, digits: int = 2) -> str:
    """At most `digits` digits after the point, none that say nothing: `5.0` -> `5`."""
    if value is None:
        return DASH
    return f"{value:,.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:,.0f}"


def percent_of(value: float | None, total: float | None) -> str | None:
    """Share of a part, or None where either side is not known."""
    if value is None or not total:
        return None
    share = 100 * value / total
    return "<0.01 %" if 0 < share < 0.01 else f"{decimal(share, 2 if share < 10 else 1)} %"


def relative_error(estimate: float | None, measured: float | None) -> str:
    """`estimate / measured - 1` with its sign in percent; a dash where it has no meaning."""
    if estimate is None or measured is None or (measured == 0 and estimate != 0):
        return DASH
    error = 0.0 if estimate == measured else 100 * (estimate / measured - 1)
    return f"{error:+.1f} %".replace("-", "−") if abs(error) >= 0.05 else "0.0 %"


def shape_text(shape: Sequence[int] | None) -> str:
    """`[8, 64]` -> `8 × 64`; a tensor without axes is a scalar."""
    if shape is None:
        return DASH
    return " × ".join(str(axis) for axis in shape) or "scalar"


def bunch_crossings(ns: float | None) -> str:
    """`ns` in LHC bunch crossings of 1 / 40.079 MHz = 24.95 ns, two digits after the point."""
    return DASH if ns is None else f"{ns * LHC_BUNCH_CROSSING_MHZ / 1000:.2f}"


def megahertz(period_ns: float | None) -> float | None:
    return 1000 / period_ns if period_ns else None


def shortened(text: str, size: int) -> str:
    """At most `size` characters, cut in the middle: both ends of a node's name tell it from its neighbours."""
    return text if len(text) <= size else f"{text[:size // 2 - 1]}…{text[-(size - size // 2):]}"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1] if words else "") if part)


# ---------------------------------------------------------------- verification


@dataclass(frozen=True)
class Verdict:
    """One sentence on "same bits?", the sentences that qualify it, and the first difference if there is one."""

    status: Literal["passed", "failed", "skipped", "missing"]
    headline: str
    details: tuple[str, ...] = ()
    mismatch: Record | None = None
    remedy: str | None = None


def outcome(check: Record) -> Literal["passed", "failed", "skipped"]:
    """The status of one verification record, never better than its own numbers: a pass that counts mismatches is a
    failure, a pass over no vector has shown nothing."""
    if _differs(check):
        return "failed"
    if check.get("status") == "skipped" or (check.get("status") == "passed" and check.get("vectors") == 0):
        return "skipped"
    return "passed" if check.get("status") == "passed" else "failed"


def verdict(report: Record) -> Verdict:
    checks: Sequence[Record] = report.get("verification") or []
    by_outcome = {status: [c for c in checks if outcome(c) == status] for status in ("passed", "failed", "skipped")}
    skipped = tuple(f"{level(c)} skipped: {c.get('reason') or 'nothing was compared'}" for c in by_outcome["skipped"])
    if by_outcome["failed"]:
        return _failed(by_outcome["failed"], by_outcome["passed"], skipped)
    if by_outcome["passed"]:
        return _passed(by_outcome["passed"], skipped)
    if by_outcome["skipped"]:
        return Verdict("skipped", "Not verified: every level was skipped.", skipped, remedy="gatewright verify DIR")
    return Verdict("missing", "Not verified yet.", remedy="gatewright verify DIR")


def level(check: Record) -> str:
    return str(check.get("level") or "unnamed level")


def _passed(passed: Sequence[Record], skipped: tuple[str, ...]) -> Verdict:
    """One number of vectors if all levels agree on it, else one per level; only a proof speaks of all inputs."""
    scopes = ["all" if level(c) == "formal" and c.get("vectors") is None else count(c.get("vectors")) for c in passed]
    where = f"0 mismatches at {listed([level(c) for c in passed])}."
    if len(set(scopes)) == 1:
        scope = "all inputs" if scopes[0] == "all" else f"{scopes[0]} vectors"
        return Verdict("passed", f"Bit-exact: {scope}, {where}", skipped)
    compared = listed([f"{scope} at {level(c)}" for scope, c in zip(scopes, passed, strict=True)])
    return Verdict("passed", f"Bit-exact: {where}", (f"Vectors compared: {compared}.", *skipped))


def _failed(failed: Sequence[Record], passed: Sequence[Record], skipped: tuple[str, ...]) -> Verdict:
    """Differing bits come first; a level can also fail by its latency, or because it did not run to the end."""
    differing = [c for c in failed if _differs(c)]
    others = [c for c in failed if not _differs(c)]
    headline = " ".join(f"{what} at {listed([level(c) for c in checks])}."
                        for what, checks in (("Bits differ", differing), ("Verification failed", others)) if checks)
    details = [_failure(check) for check in (*differing, *others)]
    if passed:
        details.append(f"No mismatch at {listed([level(c) for c in passed])}.")
    first = next((check for check in failed if check.get("first_mismatch")), None)
    mismatch = {"level": level(first), **first["first_mismatch"]} if first else None
    return Verdict("failed", headline, (*details, *skipped), mismatch)


def _differs(check: Record) -> bool:
    return bool(check.get("mismatching_vectors") or check.get("mismatching_values") or check.get("first_mismatch"))


def _failure(check: Record) -> str:
    text = level(check)
    if check.get("mismatching_vectors") is not None:
        text += f": {count(check['mismatching_vectors'])} of {count(check.get('vectors'))} vectors differ"
        if check.get("mismatching_values") is not None:
            text += f" ({count(check['mismatching_values'])} values)"
    reason = check.get("reason")
    return f"{text}: {reason}" if reason else f"{text}."


# ---------------------------------------------------------------- resources


def same_part(report: Record, resources: Record) -> bool:
    """Whether `resources` are of the part that the report is about; a record that names no part is."""
    return resources.get("part") in (None, report.get("part"))


def measured(report: Record) -> list[Record]:
    """What tools have counted: those of vendors first, as reported by the user, then open synthesis."""
    return [*(report.get("vendor") or []), *(report.get("synthesis") or [])]


def best_resources(report: Record) -> Record:
    """What a tool counted of the RTL on the report's part, after routing where one did that; else the estimate, else nothing."""
    found = [r for r in measured(report) if same_part(report, r) and r.get("target") != "hls" and r.get("lut") is not None]
    return next((r for r in found if r.get("routed")), None) or (found[0] if found else report.get("estimate") or {})


def is_estimate(report: Record, resources: Record) -> bool:
    return resources is report.get("estimate")


def source_name(report: Record, resources: Record) -> str:
    """Where the cell counts come from: `estimate` or `synthesis, <tool>`."""
    if not resources:
        return "not known"
    if is_estimate(report, resources):
        return "estimate"
    if resources.get("routed"):
        return str(resources.get("tool") or "routed")
    return f"synthesis, {resources['tool']}" if resources.get("tool") else "synthesis"


def time_label(resources: Record) -> str:
    """What must stand beside every time in ns: before routing it is an estimate by a named delay model."""
    if resources.get("routed"):
        return "after routing"
    model = resources.get("delay_model")
    return f"estimate, delay model {model}" if model else "estimate, delay model not named"


def latency_ns(report: Record, resources: Record) -> float | None:
    """As recorded, or cycles times the clock period."""
    if resources.get("latency_ns") is not None:
        return float(resources["latency_ns"])
    cycles, clock = resources.get("latency_cycles"), report.get("clock_ns")
    return None if cycles is None or clock is None else cycles * clock


def clock_missed_by(report: Record, resources: Record) -> float | None:
    """ns by which the longest stage exceeds the clock period; None where it does not or is not known."""
    path, clock = resources.get("critical_path_ns"), report.get("clock_ns")
    return path - clock if path is not None and clock is not None and path > clock else None


@dataclass(frozen=True)
class KeyNumber:
    """One figure of merit: `value unit`, then lines of small print; `warning` is the one that must not be missed."""

    name: str
    value: str
    unit: str
    notes: tuple[str, ...] = ()
    warning: str | None = None


def cell_numbers(report: Record) -> list[KeyNumber]:
    resources, totals = best_resources(report), report.get("part_totals") or {}
    numbers = []
    for key, name in CELLS:
        value = resources.get(key)
        if key == "uram" and not value:
            continue  # few designs use any; the other four are expected even when zero
        share = percent_of(value, totals.get(key))
        notes = (f"{share} of {count(totals[key])}",) if share else ()
        over = "does not fit the part" if share and value > totals[key] else None
        numbers.append(KeyNumber(name, count(value), "", (*notes, source_name(report, resources)), over))
    return numbers


def time_numbers(report: Record) -> list[KeyNumber]:
    resources = best_resources(report)
    cycles, path, ii = (resources.get(key) for key in ("latency_cycles", "critical_path_ns", "ii"))
    ns, label, missed = latency_ns(report, resources), time_label(resources), clock_missed_by(report, resources)
    latency_notes = () if ns is None else (
        f"{decimal(ns)} ns ({label})", f"{bunch_crossings(ns)} LHC bunch crossings ({LHC_BUNCH_CROSSING_MHZ} MHz)")
    path_notes = () if path is None else (label,)
    warning = f"misses the clock of {decimal(report['clock_ns'], 3)} ns by {decimal(missed)} ns" if missed else None
    return [
        KeyNumber("Latency", count(cycles), "cycles", latency_notes),
        KeyNumber("II", count(ii), "cycle" if ii == 1 else "cycles", ("initiation interval",)),
        KeyNumber("Longest stage", decimal(path), "ns", path_notes, warning),
        KeyNumber("fmax", decimal(megahertz(path), 0), "MHz", path_notes),
    ]


_COMPARED = (("lut", "LUT"), ("lut_logic", "LUT, logic only"), ("route_through", "LUT, route-through"),
             ("srl", "LUT, shift register"), ("lut_paired", "LUT, after pairing"), ("carry", "carry"),
             ("carry_sites", "carry sites"), ("ff", "FF"), ("dsp", "DSP"), ("bram", "BRAM"), ("uram", "URAM"),
             ("clb", "logic blocks, at least"), ("critical_path_ns", "longest stage, ns"),
             ("latency_cycles", "latency, cycles"), ("ii", "II, cycles"))


def packed(resources: Record) -> str | None:
    """What the device needs after packing, in one sentence; None where it is not known."""
    if resources.get("clb") is None:
        return None
    paired, blocks = resources.get("lut_paired"), f"{resources.get('clb_unit') or 'logic block'}s"
    luts = "" if paired is None else f"{count(paired)} LUTs after pairing, "
    return f"Packed: {luts}{count(resources.get('carry_sites'))} carry sites, at least {count(resources['clb'])} {blocks}."


@dataclass(frozen=True)
class Comparison:
    """Estimate beside synthesis: a row per resource, a pair of cells (value, relative error) per synthesis."""

    columns: tuple[tuple[str, str], ...]
    """Per synthesis: tool and part."""
    rows: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...]
    """Name, estimate, and per synthesis value and error."""


def comparison(report: Record) -> Comparison:
    """Rows that no record knows (or that are 0 in all, of the rarer cells) are left out; the error is a dash where the
    synthesis is of another part. Beside times stands what they come from."""
    estimate, synthesis = report.get("estimate") or {}, measured(report)
    rows = []
    for key, name in _COMPARED:
        known = [r[key] for r in (estimate, *synthesis) if r.get(key) is not None]
        if not known or (key in ("srl", "uram") and not any(known)):
            continue
        show = decimal if key == "critical_path_ns" else count
        errors = (relative_error(estimate.get(key), s.get(key)) if same_part(report, s) else DASH for s in synthesis)
        cells = tuple((show(s.get(key)), error) for s, error in zip(synthesis, errors, strict=True))
        rows.append((_with_unit(name, key, (estimate, *synthesis)), show(estimate.get(key)), cells))
        if key == "critical_path_ns":
            rows.append(("  which is", _time_source(estimate), tuple((_time_source(s), "") for s in synthesis)))
    columns = tuple((str(s.get("tool") or "synthesis"), str(s.get("part") or report.get("part") or ""))
                    for s in synthesis)
    return Comparison(columns, tuple(rows))


def _time_source(resources: Record) -> str:
    if resources.get("critical_path_ns") is None:
        return DASH
    return "routed" if resources.get("routed") else f"estimate, {resources.get('delay_model') or 'model not named'}"


def _with_unit(name: str, key: str, records: Sequence[Record]) -> str:
    units = sorted({r["carry_unit"] for r in records if r.get("carry_unit")}) if key == "carry" else []
    return f"{name}, {' or '.join(units)}" if units else name


# ---------------------------------------------------------------- layers


@dataclass(frozen=True)
class Layer:
    """A layer by name with what the estimate and, where it keeps layers apart, the synthesis say about it."""

    name: str
    estimate: Record
    synthesis: Record

    def get(self, key: str) -> Any:
        """What is known of `key`, from the estimate first: the only source of adders, bits and cycles."""
        return self.estimate.get(key) if self.estimate.get(key) is not None else self.synthesis.get(key)

    @property
    def cycles(self) -> int | None:
        first, last = self.get("first_cycle"), self.get("last_cycle")
        return None if first is None or last is None else last - first + 1

    @property
    def cycle_range(self) -> str:
        """`2` or `2–3`: the clock cycles in which the layer computes."""
        first, last = self.get("first_cycle"), self.get("last_cycle")
        if first is None or last is None:
            return DASH
        return str(first) if first == last else f"{first}–{last}"


def layers(report: Record) -> list[Layer]:
    """In the estimate's order, layers that only synthesis knows after them."""
    best, estimate = best_resources(report), report.get("estimate") or {}
    tables = [{str(entry.get("name") or DASH): entry for entry in resources.get("layers") or []}
              for resources in (estimate, {} if is_estimate(report, best) else best)]
    return [Layer(name, tables[0].get(name, {}), tables[1].get(name, {})) for name in {**tables[0], **tables[1]}]


# ---------------------------------------------------------------- pipeline stages


def stages(report: Record) -> list[tuple[str, str, str, str]]:
    """Per pipeline stage of the estimate: number, longest path and slack in ns, and the registers behind it."""
    return [(count(stage.get("stage")), decimal(stage.get("critical_path_ns")),
             decimal(stage.get("slack_ns")).replace("-", "−"), count(stage.get("ff")))
            for stage in (report.get("estimate") or {}).get("stages") or []]
