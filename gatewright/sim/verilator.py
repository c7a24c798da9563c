"""RTL simulation: Verilator turns the design into C++, a fixed program drives it, numpy reads what came out.

It needs only `verilator_bin` and a C++ compiler. The simulation is a process: a crash in it ends nothing else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import jinja2
import numpy as np
from numpy.typing import NDArray

from gatewright.ir.fixed import Ints
from gatewright.sim.ports import Rtl, RtlPort, Words, bus_words, check_names, pack, unpack
from gatewright.sim.result import VerificationResult, compare
from gatewright.sim.timing import measure, schedule
from gatewright.sim.toolchain import find_compiler, find_verilator, runtime_objects

Progress = Callable[[str, float], None]
"""Called with what is going on and how much of it is done, 0..1."""

TEMPLATES = Path(__file__).parent.parent / "templates" / "sim"
MIN_WORDS = 3
"""Buses wider than 64 bits have one C++ type, the only one that the harness knows; narrower ones are padded."""
OPTIMISE_FROM, OPTIMISE_UP_TO = 200_000, 10_000_000
"""-O1 pays from so many vectors times megabytes of generated C++, as measured; above so many bytes it never ends."""
OWN_UNIT = 300_000
"""Bytes from which a generated C++ file is compiled by itself, in parallel; smaller ones share their headers."""


@dataclass(frozen=True, slots=True)
class Model:
    """A compiled design, ready to be driven."""

    program: Path
    rtl: Rtl
    seconds: float


@dataclass(frozen=True, slots=True)
class SimRun:
    """`outputs` int64[vectors, elements] by name. With a `fault` there are none, and it says what went wrong."""

    outputs: dict[str, Ints]
    latency_cycles: int | None
    ii: int | None
    seconds_build: float
    seconds_run: float
    fault: str = ""


def verify(rtl: Rtl, data: Mapping[str, Ints], expected: Mapping[str, Ints], work_dir: Path, *, seed: int = 0,
           progress: Progress | None = None) -> VerificationResult:
    """Does the RTL give the `expected` codes, int64[vectors, elements] by output name, with the latency it promises?"""
    return judge("rtl", simulate(rtl, data, work_dir, seed=seed, progress=progress), expected, rtl.latency_cycles)


def judge(level: str, run: SimRun, expected: Mapping[str, Ints], latency_cycles: int | None) -> VerificationResult:
    """The result of a run: failed on a fault, a bit that differs, a latency other than `latency_cycles` (None: any)."""
    seconds = run.seconds_build + run.seconds_run
    if run.fault:
        vectors = len(next(iter(expected.values())))
        return VerificationResult(level, "failed", run.fault, vectors, seconds=seconds)
    result = compare(level, expected, run.outputs)
    result = replace(result, latency_cycles=run.latency_cycles, ii=run.ii, seconds=seconds)
    if latency_cycles in (None, run.latency_cycles):
        return result
    wrong = f"the latency is {run.latency_cycles} cycles, the design says {latency_cycles}"
    return replace(result, status="failed", reason="; ".join(filter(None, [wrong, result.reason])))


def simulate(rtl: Rtl, data: Mapping[str, Ints], work_dir: Path, *, seed: int = 0,
             valid: NDArray[np.bool_] | None = None, progress: Progress | None = None) -> SimRun:
    """`build` and `drive`; data int64[vectors, elements] by input name."""
    model = build(rtl, work_dir, vectors=len(next(iter(data.values()))), progress=progress)
    return drive(model, data, work_dir, seed=seed, valid=valid, progress=progress)


def build(rtl: Rtl, work_dir: Path, *, vectors: int = 0, progress: Progress | None = None) -> Model:
    """Compile the design into a program in `work_dir`, optimised where as many `vectors` as planned make it pay.

    Raises ToolMissing; InternalError where Verilator refuses the sources; UserError where the C++ compiler fails.
    """
    verilator, compiler, start = find_verilator(), find_compiler(), time.monotonic()
    report = progress or (lambda what, done: None)
    folder = work_dir.resolve() / "verilated"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    wrapper, log, program = folder / "gatewright_harness.v", folder / "compiler.log", folder / "simulation"
    wrapper.write_text(_wrapper(rtl))
    report("translating the RTL", 0.0)
    verilator.translate("gatewright_harness", [wrapper, *rtl.sources], folder)
    units, level = _units(folder), _optimisation(folder, vectors)

    def compile_unit(unit: Path) -> Path:
        once = "Slow" in unit.name  # Verilator's name for code that runs once
        output = unit.with_suffix(".o")
        flags = ["-O0" if once else level, *verilator.flags, f"-I{folder}"]
        compiler.run([*flags, "-c", str(unit), "-o", str(output)], log)
        return output

    objects = runtime_objects(verilator, compiler, folder)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, compiled in enumerate(pool.map(compile_unit, units), 1):
            objects.append(compiled)
            report("compiling the simulation", done / len(units))
    compiler.run([*map(str, objects), "-pthread", "-o", str(program)], log)
    return Model(program, rtl, time.monotonic() - start)


def drive(model: Model, data: Mapping[str, Ints], work_dir: Path, *, seed: int = 0,
          valid: NDArray[np.bool_] | None = None, progress: Progress | None = None) -> SimRun:
    """Drive `data` with the resets, bursts and bubbles of `timing.schedule`; the same `seed` gives the same run.

    Raises InternalError on data that the ports cannot carry. Whatever the design does is told in `SimRun.fault`.
    """
    rtl = model.rtl
    check_names(rtl.inputs, "inputs", list(data))
    words = np.concatenate([pack(port, data[port.name]) for port in rtl.inputs], axis=1)
    control = schedule(len(words), seed, valid, rtl.latency_cycles)
    files = [work_dir.resolve() / name for name in ("control.bin", "inputs.bin", "outputs.bin")]
    control.tofile(files[0])
    np.pad(words, ((0, 0), (0, _total_words(rtl.inputs) - words.shape[1]))).tofile(files[1])
    start = time.monotonic()
    fault = _run([str(model.program), *map(str, files), str(seed)], len(control), progress)
    seconds = time.monotonic() - start
    if fault:
        return SimRun({}, None, None, model.seconds, seconds, fault)
    records = np.fromfile(files[2], "<u4").reshape(-1, 1 + _total_words(rtl.outputs))
    timing = measure(control, records[:, 0].astype(np.int64))
    outputs = {} if timing.fault else _outputs(rtl.outputs, records[len(records) - len(words):, 1:])
    return SimRun(outputs, timing.latency_cycles, timing.ii, model.seconds, seconds, timing.fault)


def _total_words(ports: Sequence[RtlPort]) -> int:
    return max(sum(bus_words(port) for port in ports), MIN_WORDS)


def _slices(ports: Sequence[RtlPort]) -> list[tuple[str, int, int]]:
    """Verilog identifier, width in bits and first word of the bus of every port."""
    starts = accumulate((bus_words(port) for port in ports), initial=0)
    return [(port.rtl, port.width * port.elements, start) for port, start in zip(ports, starts, strict=False)]


def _outputs(ports: Sequence[RtlPort], words: Words) -> dict[str, Ints]:
    return {port.name: unpack(port, words[:, first:first + bus_words(port)])
            for port, (_, _, first) in zip(ports, _slices(ports), strict=True)}


def _wrapper(rtl: Rtl) -> str:
    text = (TEMPLATES / "harness.v.j2").read_text()
    template = jinja2.Template(text, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return str(template.render(
        top=rtl.top, inputs=_slices(rtl.inputs), in_words=_total_words(rtl.inputs),
        outputs=_slices(rtl.outputs), out_words=_total_words(rtl.outputs)))


def _optimisation(folder: Path, vectors: int) -> str:
    size = sum(file.stat().st_size for file in folder.glob("*.cpp"))
    return "-O1" if vectors * size >= OPTIMISE_FROM * 10 ** 6 and size <= OPTIMISE_UP_TO else "-O0"


def _units(folder: Path) -> list[Path]:
    """The C++ files to compile, largest first: large ones by themselves, all others and the harness as one."""
    sizes = {file: file.stat().st_size for file in sorted(folder.glob("*.cpp"))}
    rest = folder / "rest.cpp"
    included = "".join(f'#include "{file.name}"\n' for file, size in sizes.items() if size < OWN_UNIT)
    rest.write_text(included + (TEMPLATES / "harness.cpp").read_text())
    return [*sorted((file for file, size in sizes.items() if size >= OWN_UNIT), key=lambda file: -sizes[file]), rest]


def _run(command: list[str], cycles: int, progress: Progress | None) -> str:
    """Run the simulation and hand its progress on. Returns why it failed, or nothing."""
    with tempfile.TemporaryFile("w+") as errors, \
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if progress and line.strip().isdigit():
                progress("simulating", int(line) / cycles)
        status = process.wait()
        errors.seek(0)
        return f"the simulation ended with status {status}: {errors.read().strip()[-500:]}" if status else ""
