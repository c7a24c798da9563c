"""Stored results of the peers as rows of ours, marked as such: python -m benchmarks.peers.stored RESULTS.json OUT.json

Their pipelines were made for a number of stages. A clock gets the one with the fewest stages that meets it, by the rule that our own
rows are held to (TOLERANCE), or, where there is none, the fastest one, with `meets` false: no figure for that clock, then. CPU seconds
are as stored, from another day and machine load, and not to be set against ours.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.peers.__main__ import TOLERANCE, merge
from benchmarks.rows import Row, read_rows

CLOCKS = (5.0, 2.5)


def rows_of(result: Row) -> list[Row]:
    """The rows of one model and tool of the stored file."""
    common = {"model": result["model"], "tool": result["tool"], "version": result["version"], "source": "stored",
              "build_cpu_s": result["compile_cpu_s"], "mismatches": result["mismatches"], "vectors": result["vectors"]}
    scanned = sorted(result.get("scanned", {}).values(), key=lambda r: int(r["stages"]))
    rows = []
    if result.get("comb"):
        rows.append(common | {"clock_ns": None, "cycles": 1, "meets": True} | figures(result["comb"], 1))
    for clock in CLOCKS if scanned else ():
        fast = [r for r in scanned if r["crude_ns"] <= TOLERANCE * clock]
        best = fast[0] if fast else min(scanned, key=lambda r: float(r["crude_ns"]))
        cycles = int(best["latency_cycles"])
        rows.append(common | {"clock_ns": clock, "cycles": cycles, "meets": bool(fast)} | figures(best, cycles))
    return rows


def figures(found: Row, cycles: int) -> Row:
    return {"lut": found["physical"], "lut_logic": found["lut"], "route_through": found["route_through"], "srl": found["srl"],
            "carry": found["carry4"], "ff": found["ff"], "crude_ns": found["crude_ns"],
            "latency_ns": round(found["crude_ns"] * cycles, 2), "synth_cpu_s": found["synth_cpu_s"]}


def main() -> None:
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    for result in read_rows(source):
        for row in rows_of(result):
            merge(out, row)


if __name__ == "__main__":
    main()
