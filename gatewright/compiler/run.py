"""Computes outputs from data, bit for bit as the hardware does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gatewright.compiler.data import encode, floats, load_data, real_values
from gatewright.compiler.project import Project


def run(project: Project, data: str | Path) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """For every output: real values (float64, correctly rounded) as NAME and integer codes as NAME_code; and warnings."""
    graph = project.graph
    file = load_data(data, graph)
    values = graph.evaluate(encode(graph, project.input_casts, file.inputs))
    result: dict[str, NDArray[Any]] = {}
    for output in graph.outputs:
        codes = values[output.value]
        result[output.name] = floats(real_values(codes, output.meaning))
        result[f"{output.name}_code"] = codes
    return result, file.warnings
