"""Computes outputs from data, bit for bit as the hardware does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gatewright.compiler.data import encode, floats, load_data, read_arrays, real_values
from gatewright.compiler.project import Project


def run(project: Project, data: str | Path | Mapping[str, ArrayLike]) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """Outputs for `data` (an .npz file, or arrays by name), and warnings.

    For every output: real values (float64, correctly rounded) as NAME, integer codes as NAME_code.
    """
    graph = project.graph
    if isinstance(data, Mapping):
        file = read_arrays({name: np.asarray(array) for name, array in data.items()}, "data", graph)
    else:
        file = load_data(data, graph)
    values = graph.evaluate(encode(graph, project.input_casts, file.inputs))
    result: dict[str, NDArray[Any]] = {}
    for output in graph.outputs:
        codes = values[output.value]
        result[output.name] = floats(real_values(codes, output.meaning))
        result[f"{output.name}_code"] = codes
    return result, file.warnings
