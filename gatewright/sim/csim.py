"""C simulation of the HLS C++: a C++ compiler and the headers of its number types, no HLS tool.

The program is the test bench that lies beside the sources; vectors and what it answers are text.
"""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gatewright.backends import hls
from gatewright.backends.hls.dialect import Dialect
from gatewright.backends.hls.layer import Array
from gatewright.ir.design import Design, Port
from gatewright.ir.fixed import Ints
from gatewright.ir.graph import Graph
from gatewright.sim.ports import check_names
from gatewright.sim.result import VerificationResult, compare
from gatewright.sim.toolchain import find_compiler, find_hls_headers

INPUTS, EXPECTED, OUTPUTS = "vectors_inputs.txt", "vectors_expected.txt", "vectors_outputs.txt"
OWN_UNIT = 50_000
"""Bytes from which a file is compiled by itself, in parallel; smaller ones are compiled as one, for the headers take seconds."""
STACK = 1 << 30
"""Bytes: without optimisation every intermediate value has a place of its own there."""

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Sources:
    """The files of an HLS target in `folder`, and what they were written from."""

    dialect: Dialect
    folder: Path
    design: Design
    graph: Graph
    header: Mapping[str, Any]


def vector_files(design: Design, data: Mapping[str, Ints], expected: Mapping[str, Ints]) -> dict[str, str]:
    """The vectors of the test bench, int64[vectors, elements] by input and output name, as `{path: text}`."""
    return {INPUTS: _text(design.inputs, data), EXPECTED: _text(design.outputs, expected)}


def verify(sources: Sources, data: Mapping[str, Ints], expected: Mapping[str, Ints], work_dir: Path, *,
           progress: Progress | None = None) -> VerificationResult:
    """Does the C++ give the `expected` codes, int64[vectors, elements] by output name?

    Raises ToolMissing; UserError where the compiler fails.
    """
    start, vectors = time.monotonic(), len(next(iter(expected.values())))
    design, folder = sources.design, work_dir.resolve()
    # loops are optimised; adder graphs are long and run once a vector, where it does not pay
    level = "-O0" if sources.header["kernel"] == "adders" else "-O1"
    program = _build(sources, sorted(sources.folder.glob("*.cpp")), folder, level, progress)
    (folder / INPUTS).write_text(_text(design.inputs, data))
    if progress:
        progress("running the C simulation", 0.9)
    done = _run([str(program), INPUTS, "-", OUTPUTS], folder)
    seconds = time.monotonic() - start
    fault = f"the C simulation ended with status {done.returncode}: {done.stderr.strip()[-500:]}" if done.returncode else ""
    if fault:
        return VerificationResult("csim", "failed", fault, vectors, seconds=seconds)
    codes = np.array((folder / OUTPUTS).read_text().split(), np.int64).reshape(vectors, -1)
    ends = np.cumsum([p.elements for p in design.outputs])
    got = {p.name: codes[:, end - p.elements:end] for p, end in zip(design.outputs, ends, strict=True)}
    return replace(compare("csim", expected, got), seconds=seconds)


def probe(sources: Sources, vector: Mapping[str, Ints], work_dir: Path) -> list[tuple[Array, str, Ints]]:
    """What every layer hands on for one vector (int64[1, elements] by input): its array, its node and the codes, in order."""
    top, layers = hls.probe(sources.dialect, sources.design, sources.graph, sources.header)
    name, folder = sources.design.name, work_dir.resolve()
    text = (f'#include "{name}_layers.h"\n#include <cstdio>\n'
            "template <class T> static void gatewright_probe(const char *array, const T *values, int size) {\n"
            '  std::printf("probe %s", array);\n'
            '  for (int i = 0; i < size; ++i) std::printf(" %lld", (long long)values[i].to_int64());\n'
            '  std::printf("\\n");\n}\n' + top + "\n")
    (folder / f"{name}.cpp").write_text(text)
    own = [p for p in sorted(sources.folder.glob("*.cpp")) if p.name != f"{name}.cpp"]
    program = _build(sources, [folder / f"{name}.cpp", *own], folder, "-O0", None)
    (folder / INPUTS).write_text(_text(sources.design.inputs, vector))
    lines = [line.split() for line in _run([str(program), INPUTS, "-"], folder).stdout.splitlines()]
    codes = {line[1]: np.array(line[2:], np.int64) for line in lines if line[0] == "probe"}
    return [(a, layer.node, codes[a.name]) for layer in layers for a in layer.results if a.name in codes]


def _build(sources: Sources, files: Sequence[Path], folder: Path, level: str, progress: Progress | None) -> Path:
    """The program, in `folder`, optimised as `level` says."""
    compiler, include = find_compiler(), find_hls_headers(sources.dialect)
    flags = ["-std=c++14", level, "-w", f"-I{sources.folder}", f"-I{include}"]
    large = [f for f in files if f.stat().st_size >= OWN_UNIT]
    rest = folder / "rest.cpp"
    rest.write_text("".join(f'#include "{f.resolve()}"\n' for f in files if f not in large))
    units, done = [*sorted(large, key=lambda f: -f.stat().st_size), rest], 0

    def compile_one(file: Path) -> Path:
        nonlocal done
        output = folder / f"{file.stem}.o"
        compiler.run([*flags, "-c", str(file), "-o", str(output)], folder / f"{file.stem}.log")
        done += 1
        if progress:
            progress("compiling the C simulation", done / len(units))
        return output

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, units))
    program = folder / "csim"
    compiler.run([*map(str, objects), "-o", str(program)], folder / "link.log")
    return program


def _run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    def large_stack() -> None:
        _, most = resource.getrlimit(resource.RLIMIT_STACK)
        resource.setrlimit(resource.RLIMIT_STACK, (STACK if most == resource.RLIM_INFINITY else min(STACK, most), most))

    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False, preexec_fn=large_stack)


def _text(ports: Sequence[Port], values: Mapping[str, Ints]) -> str:
    """One vector a line."""
    check_names(ports, "ports", list(values))
    joined = np.concatenate([values[p.name] for p in ports], axis=1)
    return "".join(" ".join(map(str, row)) + "\n" for row in joined.tolist())
