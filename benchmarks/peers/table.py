"""Writes docs/peers.md from results of benchmarks.peers. Usage: python -m benchmarks.peers.table RESULTS.json [...]"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.peers.__main__ import ROOT
from benchmarks.peers.plot import compared, groups
from benchmarks.rows import Row, read_rows

PAGE = """# Beside other compilers

The same integer weights, built by several compilers, synthesised by one yardstick (Yosys 0.23, `synth_xilinx` for UltraScale+,
three-operand adders as one LUT6_2 a bit for all of them) and counted alike: physical LUTs (logic, route-throughs, shift registers),
flip-flops with those of inputs and outputs, and cycles times the longest stage, before placement. Rows of other compilers are
stored results of the yardstick's authors, at the fewest cycles that they found for the clock, or measured here where they have the
columns *paired* and *CLB*: LUTs after pairing small functions into LUTs with two outputs, and the logic blocks that these, the
registers and the carry chains need at least ([delay-model.md](delay-model.md#synthesis)). `ratio` is gatewright's LUTs over the
other's, after pairing in brackets. CPU seconds of a build are those from integer weights to the pipelined kernel with its proof, on
whatever machine measured them. *Plain Verilog*: no mapped cells. Open synthesis then spends
two LUTs a bit on three operands (for Yosys gatewright's RTL says saved carries and an addition there) and shares most of these in
pairs; Vivado finds the adder by itself where it is a plain sum.

{table}

Models and clocks that no other compiler was measured on here:

{alone}

![bars of the same figures](peers.svg)

To measure again (the extra `peers` brings alkaid and da4ml; FILE is a program that synthesises and counts):

    python -m benchmarks.peers --yardstick FILE --models-dir DIR --models jet8,axol1tl_v3 --clocks 5,2.5
    python -m benchmarks.peers.plot benchmarks/results/peers-gatewright.json benchmarks/results/peers-stored.json
    python -m benchmarks.peers.table benchmarks/results/peers-gatewright.json benchmarks/results/peers-stored.json
"""
HEAD = """| model, clock | compiler | LUT | paired | ratio | CLB | FF | cycles x ns | latency | build, CPU s |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


def table(rows: list[Row]) -> str:
    """One line a row, for what can be compared."""
    lines = [HEAD]
    for label, members in compared(rows):
        ours = next(r for r in members if r["tool"] == "gatewright")
        lines += [line(label, row, ours) for row in members]
    return "\n".join(lines)


def alone(rows: list[Row]) -> str:
    """The same for what only gatewright was measured on."""
    shown = {label for label, _ in compared(rows)}
    return "\n".join([HEAD, *(line(label, row, row) for label, members in groups(rows) for row in members
                              if label not in shown and row["tool"] == "gatewright")])


def line(label: str, row: Row, ours: Row) -> str:
    ratio = "" if row is ours else f"{ours['lut'] / row['lut']:.2f}"
    if ratio and row.get("lut_paired"):
        ratio += f" ({ours['lut_paired'] / row['lut_paired']:.2f})"
    paired, clb = (f"{row[key]:,}" if row.get(key) else "" for key in ("lut_paired", "clb"))
    missed = "" if row["meets"] else ", misses the clock"
    label += f", {row['dsp']} products in DSP blocks" if row.get("dsp") else ""
    return (f"| {label} | {row['tool']} {row['version']} | {row['lut']:,} | {paired} | {ratio} | {clb} | {row['ff']:,} | "
            f"{row['cycles']} x {row['crude_ns']:.2f}{missed} | {row['latency_ns']:.1f} ns | {row['build_cpu_s']:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "peers.md")
    options = parser.parse_args()
    rows = [row for file in options.results for row in read_rows(file)]
    options.out.write_text(PAGE.format(table=table(rows), alone=alone(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
