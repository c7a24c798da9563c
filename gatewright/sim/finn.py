"""The model for FINN, executed by qonnx: float32 tensors that hold integers."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx

from gatewright.ir.design import Design, Port
from gatewright.ir.fixed import Ints
from gatewright.sim.executors import EXECUTOR_IR_VERSION
from gatewright.sim.result import VerificationResult, compare

Progress = Callable[[str, float], None]
BATCH = 250
"""Vectors that are executed at a time."""


def vector_files(design: Design, data: Mapping[str, Ints], expected: Mapping[str, Ints]) -> dict[str, bytes]:
    """Vectors for FINN's own verification steps, which take models of one input and one output; else none."""
    if len(design.inputs) > 1 or len(design.outputs) > 1:
        return {}
    (i,), (o,) = design.inputs, design.outputs
    return {"input.npy": _npy(i, data[i.name]), "expected_output.npy": _npy(o, expected[o.name])}


def _npy(port: Port, codes: Ints) -> bytes:
    file = io.BytesIO()
    np.save(file, codes.reshape(-1, *port.shape).astype(np.float32))
    return file.getvalue()


def verify(model: Path, design: Design, data: Mapping[str, Ints], expected: Mapping[str, Ints], *,
           progress: Progress | None = None) -> VerificationResult:
    """Does qonnx get the `expected` codes, int64[vectors, elements] by output name, from the file?"""
    start, vectors = time.monotonic(), len(next(iter(expected.values())))
    parts: dict[str, list[Ints]] = {p.name: [] for p in design.outputs}
    for first in range(0, vectors, BATCH):
        count = min(BATCH, vectors - first)
        feeds = {p.name: data[p.name][first:first + count].reshape(count, *p.shape).astype(np.float32) for p in design.inputs}
        found = _execute(model, feeds, count)
        for name, codes in parts.items():
            codes.append(found[name].reshape(count, -1).astype(np.int64))
        if progress:
            progress("qonnx executes the model for FINN", (first + count) / vectors)
    got = {name: np.concatenate(codes) for name, codes in parts.items()}
    return replace(compare("finn", expected, got), seconds=time.monotonic() - start)


def _execute(model: Path, feeds: Mapping[str, Any], count: int) -> dict[str, Any]:
    """The outputs for `count` samples at once."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    proto = onnx.load(model)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = count
    with patch.object(onnx, "IR_VERSION", EXECUTOR_IR_VERSION):  # of the models of one node that qonnx makes
        found: dict[str, Any] = execute_onnx(ModelWrapper(proto).transform(InferShapes()), dict(feeds))
    return found
