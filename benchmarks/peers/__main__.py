"""gatewright beside its peers. Usage: python -m benchmarks.peers --yardstick FILE [--models A,B] [--tools X,Y] [--clocks 5,2.5]

Every tool builds the same integer weights; the yardstick, a program that synthesises Verilog and counts cells
(`FILE DIR --top TOP --keep DIR`: one JSON line, and Yosys' `net.json`), measures them all, and our packing runs on what it kept.
With --behavioural three-operand sums stay plain Verilog, without the mapped cells. alkaid and da4ml come with the extra `peers`.
Rows go to --out as they are made, so that a run can be continued: what is there already, for gatewright from the same sources
(`code`), is not measured again.

A row: model, tool, effort (gatewright's), behavioural, version, clock_ns (asked; null for none), cycles (stages of logic between
registers), lut (physical: logic, route-throughs and shift registers), lut_logic, route_through, srl, dsp, lut_paired, carry, carry_sites
and clb (docs/delay-model.md, "Packing"; for --part), ff, crude_ns (the longest stage), latency_ns (cycles * crude_ns), meets (crude_ns
within 15 % of the clock), build_cpu_s, memory_mb, synth_cpu_s, mismatches, vectors. Older rows lack some of these.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers.build import BUILDERS, TOP
from benchmarks.rows import Row, read_rows, write_rows
from gatewright.backends.part import load_part
from gatewright.compiler.arithmetic.sharing import EFFORTS
from gatewright.compiler.driver import compiler_digest
from gatewright.synth.yosys import resources

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "bench"
MODELS = "jet8,jet16,axol1tl_v3,cmvm16,cmvm32,cmvm64,narrow3,tfc64"
COMBINATIONAL_NS = 1000.0
"""A clock that one stage always meets."""
TOLERANCE = 1.15
COLUMNS = ("model", "tool", "effort", "behavioural", "clock_ns", "cycles", "lut", "lut_paired", "ff", "carry", "carry_sites", "clb",
           "crude_ns", "latency_ns", "meets", "build_cpu_s", "memory_mb")
KEY = ("model", "tool", "clock_ns", "effort", "behavioural")
NO_KEY = {"effort": None, "behavioural": False}
"""What these are in rows that were made before there were such options."""

def measure(model: str, tool: str, clock_ns: float | None, stages: int, options: argparse.Namespace) -> Row:
    """Builds and synthesises once. Raises RuntimeError with the tool's own words where one of the two fails."""
    key = question(model, tool, clock_ns, options)
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        job = {**key, "model": model, "clock_ns": clock_ns or COMBINATIONAL_NS, "stages": stages, "folder": folder, "part": options.part,
               "models_dir": str(options.models_dir.resolve()), "vectors": options.vectors}
        built = answer([sys.executable, "-m", "benchmarks.peers.build", json.dumps(job)], ROOT)
        if "skipped" in built:
            return key | built
        if built["mismatches"]:
            raise RuntimeError(f"{tool} builds another function than {model}: {built['mismatches']} values differ")
        yardstick = [sys.executable, str(options.yardstick.resolve()), *(["--behavioural"] if options.behavioural else [])]
        counted = answer([*yardstick, folder, "--top", TOP, "--family", options.family, "--keep", folder], ROOT)
        packing = packed(Path(folder) / "net.json", options.part)
    longest = counted["crude_ns"]
    return key | built | packing | {
        "lut": counted["physical"], "lut_logic": counted["lut"], "route_through": counted["route_through"],
        "srl": counted["srl"], "dsp": counted["dsp"], "carry": counted["carry4"], "ff": counted["ff"],
        "crude_ns": longest, "latency_ns": round(longest * built["cycles"], 2),
        "meets": clock_ns is None or longest <= TOLERANCE * clock_ns, "synth_cpu_s": counted["cpu_s"]}


def packed(netlist: Path, part: str) -> Row:
    """What a mapped netlist takes of a part after packing; the same program for all tools."""
    module = json.loads(netlist.read_text(encoding="utf-8"))["modules"][TOP]
    found = resources(module, load_part(part), "packing")
    return {"lut_paired": found.lut_paired, "carry_sites": found.carry_sites, "clb": found.clb}


def answer(command: list[str], folder: Path) -> dict[str, Any]:
    """The JSON object in the last line that a program prints."""
    done = subprocess.run(["nice", "-n", "5", *command], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-2000:])
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def fewest_stages(build: Callable[[int], Row], most: int) -> Row:
    """By bisection, the pipeline with the fewest stages that meets the clock; the longest one where none does."""
    low, high, best = 1, most, build(most)
    if not best.get("meets"):
        return best
    while high - low > 1:
        middle = (low + high) // 2
        row = build(middle)
        if row["meets"]:
            high, best = middle, row
        else:
            low = middle
    return best


def merge(path: Path, row: Row) -> None:
    """Adds a row to the file, in place of an older one for the same question."""
    write_rows(path, sorted([r for r in read_rows(path) if key_of(r) != key_of(row)] + [row], key=order))


def question(model: str, tool: str, clock_ns: float | None, options: argparse.Namespace) -> Row:
    """The KEY of a row and its values. Effort is gatewright's alone."""
    effort = options.effort if tool == "gatewright" else None
    return {"model": name_of(model), "tool": tool, "clock_ns": clock_ns, "effort": effort, "behavioural": options.behavioural}


def name_of(model: str) -> str:
    """A description's own; of an ONNX file the file's, or the folder's where it is called model.onnx."""
    file = Path(model.partition("=")[0])
    return model if file.suffix != ".onnx" else file.parent.name if file.stem == "model" else file.stem


def key_of(row: Row) -> tuple[Any, ...]:
    return tuple((NO_KEY | row)[k] for k in KEY)


def order(row: Row) -> tuple[Any, ...]:
    model, tool, clock_ns, effort, behavioural = key_of(row)
    return model, -(clock_ns or COMBINATIONAL_NS), behavioural, tool, -1 if effort is None else effort


def line(row: Row) -> str:
    return "  ".join(str(row.get(c, "-")).rjust(max(len(c), 10)) for c in COLUMNS) + f"  {row.get('skipped', '')}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=MODELS, help="names of descriptions (cmvmN is a random matrix); for "
                        "gatewright also FILE.onnx or FILE.onnx=ufixed<8;0>, with the type of the input")
    parser.add_argument("--tools", default="gatewright", help=", ".join(BUILDERS))
    parser.add_argument("--clocks", default="5,2.5", help="ns; 0 for one combinational stage")
    parser.add_argument("--models-dir", type=Path, default=SHARED / "models")
    parser.add_argument("--yardstick", type=Path, default=SHARED / "synth_count.py")
    parser.add_argument("--family", default="xcup", help="what the yardstick maps to")
    parser.add_argument("--part", default="xcvu13p-flga2577-2-e", help="the part that gatewright builds for")
    parser.add_argument("--effort", type=int, default=2, choices=EFFORTS, help="of gatewright")
    parser.add_argument("--behavioural", action="store_true", help="plain Verilog sums instead of mapped cells")
    parser.add_argument("--vectors", type=int, default=2000)
    parser.add_argument("--most-stages", type=int, default=20, help="for tools that are told stages instead of a clock")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "peers-latest.json")
    options = parser.parse_args()
    print("  ".join(c.rjust(max(len(c), 10)) for c in COLUMNS))
    failed, current = False, compiler_digest()[:12]
    for model in options.models.split(","):
        for clock_ns in (float(c) or None for c in options.clocks.split(",")):
            for tool in options.tools.split(","):
                wanted = key_of(question(model, tool, clock_ns, options))
                known = next((r for r in read_rows(options.out) if key_of(r) == wanted), None)
                if known and known.get("code", current) != current:
                    known = None  # measured with another state of gatewright
                try:
                    row = known or one(model, tool, clock_ns, options)
                except RuntimeError as error:
                    print(f"{model} {tool}: {error}", file=sys.stderr)
                    failed = True
                    continue
                merge(options.out, row)
                print(line(row), flush=True)
    return int(failed)


def one(model: str, tool: str, clock_ns: float | None, options: argparse.Namespace) -> Row:
    """The row of a model, a tool and a clock."""
    def build(stages: int) -> Row:
        return measure(model, tool, clock_ns, stages, options)

    if tool == "gatewright" or clock_ns is None:
        return build(1)
    return fewest_stages(build, options.most_stages)


if __name__ == "__main__":
    sys.exit(main())
