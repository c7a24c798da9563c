"""Computes outputs from data, bit for bit as the hardware does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gatewright.compiler.data import encode, floats, load_data, read_arrays, real_values
from gatewright.compiler.project import Project
from gatewright.errors import ToolMissing
from gatewright.ir.graph import Codes
from gatewright.sim import emulator


@dataclass(frozen=True)
class Results:
    """Outputs by name, what is to be said about the data and the way, and whether the emulator computed them."""

    outputs: dict[str, NDArray[Any]]
    warnings: tuple[str, ...]
    emulated: bool


def run(project: Project, data: str | Path | Mapping[str, ArrayLike],
        progress: emulator.Progress | None = None) -> Results:
    """Outputs for `data` (an .npz file, or arrays by name), from the emulator, or in Python where there is no C++ compiler.

    For every output: real values (float64, correctly rounded) as NAME, integer codes as NAME_code.
    """
    graph = project.graph
    if isinstance(data, Mapping):
        file = read_arrays({name: np.asarray(array) for name, array in data.items()}, "data", graph)
    else:
        file = load_data(data, graph)
    inputs, notes = encode(graph, project.input_casts, file.inputs), list(file.warnings)
    codes_by_name = _emulated(project, inputs, notes, progress)
    emulated = codes_by_name is not None
    if codes_by_name is None:
        values = graph.evaluate(inputs)
        codes_by_name = {output.name: values[output.value] for output in graph.outputs}
    result: dict[str, NDArray[Any]] = {}
    for output in graph.outputs:
        codes = codes_by_name[output.name]
        result[output.name] = floats(real_values(codes, output.meaning))
        result[f"{output.name}_code"] = codes
    return Results(result, tuple(notes), emulated)


def _emulated(project: Project, inputs: Mapping[str, Codes], notes: list[str],
              progress: emulator.Progress | None) -> dict[str, Codes] | None:
    """The emulator's output codes; None, and a note why, where it cannot be built here."""
    try:
        return emulator.build(project.design.name, project.emulator, progress=progress).codes(inputs)
    except ToolMissing as missing:
        notes.append(f"computed in Python, slowly: {missing}")
        return None
