"""How fast emulators are, beside alkaid's interpreter. Usage: python -m benchmarks.emulator [--models A,B] [--peer PYTHON] [--out FILE]

Models are descriptions (see benchmarks/peers) and ONNX files with an input type (FILE=TYPE). Samples per CPU second of one thread: ours
with codes (the narrowest integers that hold them) and with float64 real values, alkaid's with float64, its only kind. Emulators are built
anew, without the cache. PYTHON is an interpreter that has alkaid; without it the column stays empty.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.description import Description, load
from benchmarks.rows import Row, write_rows
from benchmarks.speed import cpu_seconds

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
JETS = SHARED / "models" / "zoo" / "qkeras_jettagging.onnx"
MODELS = (f"jet8,jet16,axol1tl_v3,cmvm16,cmvm32,cmvm64,narrow3,tfc64,{JETS}=fixed<8;4>,{JETS}=fixed<16;6>,"
          f"{SHARED / 'models' / 'zoo' / 'TFC_2W2A.onnx'}=ufixed<8;0>")
SAMPLES = 32768
SECONDS = 1.0
COLUMNS = ("model", "rows", "build_cpu_s", "mismatches", "codes_per_s", "real_per_s", "alkaid_per_s", "ratio")

def rate(work: Callable[[], Any], samples: int) -> int:
    """Samples per CPU second: the best of three measurements, after one run to warm up."""
    work()
    best = 0.0
    for _ in range(3):
        start, runs = time.process_time(), 0
        while time.process_time() - start < SECONDS / 3:
            work()
            runs += 1
        best = max(best, runs * samples / (time.process_time() - start))
    return round(best)


def ours(name: str, file: Path, input_type: str | None) -> Row:
    """Builds the emulator of an ONNX file, compares it with the Graph, and measures it."""
    import gatewright
    from gatewright.compiler.verify import stimulus
    from gatewright.sim import emulator

    model = gatewright.compile(file, input_type=input_type)
    design, sources = model.project.design, model.project.emulator
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        seconds, built = cpu_seconds(lambda: emulator.build(design.name, sources))
    given = stimulus(model.project, SAMPLES, None)
    values = model.project.graph.evaluate({k: v[:4096] for k, v in given.codes.items()})
    got = built.codes({k: v[:4096] for k, v in given.codes.items()})
    wrong = sum(int((values[o.value] != got[o.name]).sum()) for o in model.project.graph.outputs)
    codes = {k: v.astype(built.types[0]) for k, v in given.codes.items()}
    row = {"model": name, "rows": len(model.project.software.kernels[0].netlist), "build_cpu_s": seconds, "mismatches": wrong,
           "codes_per_s": rate(lambda: built.run(codes, 1), SAMPLES)}
    if "float64" in built.types:
        real = {p.name: np.ldexp(given.codes[p.name].astype(float), -p.type.frac) for p in design.inputs}
        row["real_per_s"] = rate(lambda: built.run(real, 1), SAMPLES)
    return row


def alkaid(model: Description) -> int:
    """Samples per CPU second of alkaid's own evaluation of its program, one thread. Runs where alkaid is installed."""
    from alkaid.trace import FVArray, HWConfig, trace

    from benchmarks.peers.build import symbols, traced

    x = symbols(FVArray, HWConfig, model)
    program = trace(x, traced(x, model))
    values = model.random_inputs(SAMPLES) * 2.0**-model.input.frac
    return rate(lambda: program.predict(values, n_threads=1), SAMPLES)


def measure(name: str, options: argparse.Namespace) -> Row:
    if "=" in name:
        file, _, input_type = name.partition("=")
        kind = input_type.replace(";", ",")
        return ours(f"{Path(file).stem} {kind}", Path(file), kind)
    import onnx

    from benchmarks.peers.to_onnx import to_onnx

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.onnx"
        onnx.save(to_onnx(load(name, options.models_dir)), file)
        row = ours(name, file, None)
    if options.peer:
        command = [options.peer, "-m", "benchmarks.emulator", "--alkaid", name, "--models-dir", str(options.models_dir)]
        row["alkaid_per_s"] = int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()[-1])
        row["ratio"] = round(row["codes_per_s"] / row["alkaid_per_s"], 1)
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--models-dir", type=Path, default=SHARED / "bench" / "models")
    parser.add_argument("--peer", help="a Python interpreter that has alkaid")
    parser.add_argument("--out", type=Path, help="the rows as JSON")
    parser.add_argument("--alkaid", metavar="MODEL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alkaid:
        print(alkaid(load(options.alkaid, options.models_dir)))
        return 0
    print("  ".join(c.rjust(12) for c in COLUMNS))
    rows = []
    for name in options.models.split(","):
        rows.append(measure(name, options))
        print("  ".join(str(rows[-1].get(c, "-")).rjust(12) for c in COLUMNS), flush=True)
    if options.out:
        write_rows(options.out, rows)
    return int(any(r["mismatches"] for r in rows))


if __name__ == "__main__":
    sys.exit(main())
