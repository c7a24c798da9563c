"""Writes docs/peers.md from results of benchmarks.peers. Usage: python -m benchmarks.peers.table RESULTS.json [...]"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.peers.__main__ import ROOT
from benchmarks.peers.plot import Row, groups

PAGE = """# Beside other compilers

The same integer weights, built by several compilers, synthesised by one yardstick (Yosys 0.23, `synth_xilinx` for UltraScale+,
three-operand adders as one LUT6_2 a bit for all of them) and counted alike: physical LUTs (logic, route-throughs, shift registers),
flip-flops with those of inputs and outputs, and cycles times the longest stage, before placement. Rows of other compilers are
stored results of the yardstick's authors, at the fewest cycles that they found for the clock. `ratio` is gatewright's LUTs over
the other's. CPU seconds of a build are those from integer weights to the pipelined kernel, on whatever machine measured them.
The area counts what open synthesis makes of each; LUTs after pairing, carry sites and the CLB bound of gatewright's rows are in the
results file, those of the others were not measured.

{table}

![bars of the same figures](peers.svg)

To measure again (the extra `peers` brings alkaid and da4ml; FILE is a program that synthesises and counts):

    python -m benchmarks.peers --yardstick FILE --models-dir DIR --models jet8,axol1tl_v3 --clocks 5,2.5
    python -m benchmarks.peers.plot benchmarks/results/peers-gatewright.json benchmarks/results/peers-stored.json
    python -m benchmarks.peers.table benchmarks/results/peers-gatewright.json benchmarks/results/peers-stored.json
"""
HEAD = """| model, clock | compiler | LUT | ratio | FF | cycles x ns | latency | build, CPU s |
| --- | --- | --- | --- | --- | --- | --- | --- |"""


def table(rows: list[Row]) -> str:
    """One line a row, for every model and clock that more than one compiler was measured on."""
    lines = [HEAD]
    for label, members in groups(rows):
        ours = next((r for r in members if r["tool"] == "gatewright"), None)
        if ours is None:
            continue
        for row in members:
            ratio = "" if row is ours else f"{ours['lut'] / row['lut']:.2f}"
            missed = "" if row["meets"] else ", misses the clock"
            lines.append(f"| {label} | {row['tool']} {row['version']} | {row['lut']:,} | {ratio} | {row['ff']:,} | "
                         f"{row['cycles']} x {row['crude_ns']:.2f}{missed} | {row['latency_ns']:.1f} ns | {row['build_cpu_s']:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "peers.md")
    options = parser.parse_args()
    rows = [row for file in options.results for row in json.loads(file.read_text(encoding="utf-8"))]
    options.out.write_text(PAGE.format(table=table(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
