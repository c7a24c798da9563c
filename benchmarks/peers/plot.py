"""Draws results of benchmarks.peers as an SVG. Usage: python -m benchmarks.peers.plot RESULTS.json [...] [--out docs/peers.svg]

One panel for LUT, one for FF and one for latency (cycles times the longest stage), a group of bars for every model and clock.
Rows that come from elsewhere (`source`) are pale, and the legend says so.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.peers.__main__ import ROOT, key_of, order
from benchmarks.rows import Row, read_rows

COLOURS = {"gatewright": "#0b7285", "alkaid": "#e8590c", "da4ml": "#868e96"}
PANELS = (("lut", "physical LUT"), ("ff", "FF"), ("latency_ns", "latency in ns"))
BAR, GAP, LEFT, HEIGHT, TOP = 14, 12, 60, 150, 40


def groups(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    """(label, rows) of every model, clock and kind of Verilog that has a figure; of several answers to one question, the first."""
    found: dict[str, list[Row]] = {}
    for row in sorted({key_of(row): row for row in reversed(rows)}.values(), key=order):
        clock = f"{row['clock_ns']:g} ns" if row["clock_ns"] else "one stage"
        plain = ", plain Verilog" if row.get("behavioural") else ""
        if "lut" in row:
            found.setdefault(f"{row['model']}, {clock}{plain}", []).append(row)
    return list(found.items())


def compared(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    """Those that gatewright and another compiler were measured on."""
    return [(label, members) for label, members in groups(rows)
            if len(tools := {r["tool"] for r in members}) > 1 and "gatewright" in tools]


def panel(members: list[tuple[str, list[Row]]], key: str, title: str, top: int) -> list[str]:
    """The bars of one figure; the highest one fills the panel."""
    most = max((float(r[key]) for _, rows in members for r in rows), default=1.0) or 1.0
    text = [f'<text x="{LEFT}" y="{top - 10}" font-weight="bold">{title}</text>',
            f'<line x1="{LEFT}" y1="{top + HEIGHT}" x2="{width_of(members)}" y2="{top + HEIGHT}" stroke="#adb5bd"/>']
    x = LEFT
    for _, rows in members:
        for row in rows:
            height = round(float(row[key]) / most * (HEIGHT - 14), 1)
            y = round(top + HEIGHT - height, 1)
            pale = ' fill-opacity="0.45" stroke-dasharray="3 2"' if "source" in row else ""
            text.append(f'<rect x="{x}" y="{y}" width="{BAR}" height="{height}" fill="{COLOURS[row["tool"]]}" '
                        f'stroke="{COLOURS[row["tool"]]}"{pale}><title>{row["tool"]}: {row[key]:g}</title></rect>')
            text.append(f'<text x="{x + BAR / 2}" y="{y - 3}" font-size="7" text-anchor="middle">'
                        f'{short(float(row[key]))}</text>')
            x += BAR + 4
        x += GAP
    return text


def short(value: float) -> str:
    return f"{value / 1000:.1f}k" if value >= 1000 else f"{value:.3g}"


def width_of(members: list[tuple[str, list[Row]]]) -> int:
    return LEFT + sum(len(rows) * (BAR + 4) + GAP for _, rows in members) + 40


def svg(rows: list[Row]) -> str:
    """The drawing of all comparable rows."""
    members = compared(rows)
    bottom = TOP + len(PANELS) * (HEIGHT + 40)
    text = []
    for number, (key, title) in enumerate(PANELS):
        text += panel(members, key, title, TOP + 20 + number * (HEIGHT + 40))
    x = LEFT
    for label, own in members:
        text.append(f'<text x="{x}" y="{bottom}" transform="rotate(35 {x} {bottom})">{label}</text>')
        x += len(own) * (BAR + 4) + GAP
    x = LEFT
    for tool, colour in COLOURS.items():
        text.append(f'<rect x="{x}" y="10" width="10" height="10" fill="{colour}"/><text x="{x + 14}" y="19">{tool}</text>')
        x += 100
    text.append(f'<text x="{x}" y="19">pale: stored figures of an earlier run, same yardstick</text>')
    size = f'width="{max(width_of(members), 700)}" height="{bottom + 110}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">',
                      '<rect width="100%" height="100%" fill="white"/>', *text, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "peers.svg")
    options = parser.parse_args()
    rows = [row for path in options.results for row in read_rows(path)]
    options.out.write_text(svg(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
