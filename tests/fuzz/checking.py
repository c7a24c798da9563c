"""One model through all that has to agree: judge, imported Graph, optimised Graph, netlist, public executors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from description import Array, Description
from judged import differing

from gatewright.compiler.data import decode, encode
from gatewright.compiler.driver import Compilation, compile_model
from gatewright.compiler.options import Options
from gatewright.errors import UserError
from gatewright.ir.graph import Codes, Graph
from gatewright.ir.ops import Input
from gatewright.sim.executors import Difference, compare_with_qonnx
from gatewright.sim.judge import Judge
from gatewright.sim.vectors import corner_vectors, random_vectors

CANDIDATES, VECTORS = 512, 96
"""Codes that are drawn, and how many of them are compared: those that reach the most."""
EXECUTED = 4
REFUSALS = (
    r"no common unit", r"without a common unit", r"that no quantiser follows", r"different offsets inside a window",
    r"quantiser .*more than [\d,]+ codes", r"has no type: nothing in the model says", r"to tell its values apart takes",
    r"is a constant$", r"does not depend on the model's inputs", r"lies in the padding only", r"would overflow: its operand reaches",
    r"bits, more than", r"too wide for exact arithmetic",
    r"joins non-linear functions of several tensors", r"no position fits", r"have no quantiser \(or one with an unusual scale\)",
    r"the model is not quantised",
)
"""What gatewright may say of a legal model: what docs/exactness.md, "What is refused", has. Everything else is a defect."""


class Disagreement(AssertionError):
    """Two of those that have to agree do not."""


def check(model: Description, folder: Path, executors: bool = False) -> str:
    """Raises where something disagrees or fails; returns why gatewright refuses the model, or nothing."""
    proto = model.model()
    onnx.checker.check_model(proto, full_check=True)
    path = folder / "model.onnx"
    onnx.save(proto, path)
    try:
        compiled = compile_model(path, Options(input_types=model.input_types))
    except UserError as error:
        if not any(re.search(known, error.reason) for known in REFUSALS):
            judge_accepts(proto)
            raise Disagreement(f"refused: {error}") from error
        return error.reason
    compare(compiled, proto, vectors(compiled.imported.graph))
    if executors:
        compare_executors(proto, feeds_of(compiled, first(vectors(compiled.imported.graph), EXECUTED)))
    return ""


def judge_accepts(proto: onnx.ModelProto) -> None:
    """Raises UserError where the judge, too, cannot read the model."""
    shapes = {i.name: [d.dim_value or 1 for d in i.type.tensor_type.shape.dim] for i in proto.graph.input}
    Judge(proto).run({name: np.ones((1, *(dims[1:] if len(dims) > 1 else dims)), np.float32) for name, dims in shapes.items()})


def compare(compiled: Compilation, proto: onnx.ModelProto, codes: Mapping[str, Codes]) -> None:
    imported = compiled.imported
    feeds = feeds_of(compiled, codes)
    codes = encode(imported.graph, imported.input_casts, feeds)
    wrong = differing(imported, proto, feeds)
    if wrong:
        raise Disagreement(f"judge and Graph differ: {', '.join(wrong)}")
    count = len(next(iter(codes.values())))
    want, optimised = imported.graph.evaluate(codes), compiled.graph.evaluate(codes)
    netlist = compiled.design.evaluate({k: v.reshape(count, -1) for k, v in codes.items()})
    for before, after in zip(imported.graph.outputs, compiled.graph.outputs, strict=True):
        if not np.array_equal(want[before.value], optimised[after.value]):
            raise Disagreement(f"the passes change output {before.name}")
        if not np.array_equal(want[before.value].reshape(count, -1), netlist[before.name]):
            raise Disagreement(f"the netlist changes output {before.name}")


# -- vectors -----------------------------------------------------------------------------------------------------------


def first(codes: Mapping[str, Codes], count: int) -> dict[str, Codes]:
    return {k: v[:count] for k, v in codes.items()}


def vectors(graph: Graph) -> dict[str, Codes]:
    """Codes of the inputs that bring the tensors of the Graph to as many codes as possible: before a quantiser, these lie on both
    sides of its rounding and saturation boundaries; after it, these are the codes with their ends."""
    lo, hi = (np.concatenate([getattr(op.type, end).reshape(-1) for op in graph.input_ops]) for end in ("lo", "hi"))
    corners = corner_vectors(lo, hi, limit=16)
    flat = np.concatenate([corners, sweeps(lo, hi), random_vectors(lo, hi, CANDIDATES, 1)])[:CANDIDATES]
    at, codes = 0, {}
    for op in graph.input_ops:
        codes[op.name] = flat[:, at:at + op.type.size].reshape(-1, *op.type.shape)
        at += op.type.size
    values = graph.evaluate(codes, [op.name for op in graph.ops])
    chosen = rarest(np.concatenate([v.reshape(len(flat), -1) for v in values.values()], axis=1))
    return {k: v[chosen] for k, v in codes.items()}


def sweeps(lo: Array, hi: Array) -> Array:
    """All codes of one element after the other, the others in the middle."""
    rows = []
    for k in range(min(lo.size, 6)):
        line = np.linspace(lo[k], hi[k], min(int(hi[k] - lo[k]) + 1, 48)).astype(np.int64)
        block = np.tile((lo + hi) // 2, (len(line), 1))
        block[:, k] = line
        rows.append(block)
    return np.concatenate(rows) if rows else np.zeros((0, lo.size), np.int64)


def rarest(values: Array) -> Array:
    """Rows that together have the most different values, column by column: at first those with the rarest ones."""
    worth = np.zeros(len(values))
    for column in values.T:
        _, which, often = np.unique(column, return_inverse=True, return_counts=True)
        worth += 1.0 / often[which]
    best = np.argsort(-worth, kind="stable")[:VECTORS // 2]
    spread = np.unique(np.linspace(0, len(values) - 1, VECTORS // 2).astype(int))
    return np.unique(np.concatenate([best, spread]))


def feeds_of(compiled: Compilation, codes: Mapping[str, Codes]) -> dict[str, Array]:
    """The real numbers of the codes. Where the host quantises, the first half lie exactly where the quantiser gives the code, the
    others on halves beside it and a little beyond the ends."""
    feeds = {}
    for op in compiled.imported.graph.input_ops:
        x = codes[op.name]
        encoding = op.encoding if isinstance(op, Input) else None
        if encoding is None:
            element = elements(compiled)[op.name]
            feeds[op.name] = (x * 2.0 ** -op.type.frac).astype(element)
            continue
        try:
            exact = np.array([float(v) for v in np.asarray(decode(op, x), object).reshape(-1)]).reshape(x.shape)
        except UserError:
            exact = x * 2.0 ** -op.type.frac
        steps = np.abs(np.diff(np.unique(exact)))
        step = float(steps.min()) if steps.size else 1.0
        half = len(exact) // 2
        exact[half:] += step / 2
        exact[half + half // 2:] *= 1.25
        feeds[op.name] = exact.astype(np.float32)
    return feeds


def elements(compiled: Compilation) -> dict[str, Any]:
    proto = onnx.load(compiled.imported.model.path, load_external_data=False)
    return {i.name: onnx.helper.tensor_dtype_to_np_dtype(i.type.tensor_type.elem_type) for i in proto.graph.input}


# -- public executors --------------------------------------------------------------------------------------------------


def compare_executors(proto: onnx.ModelProto, feeds: Mapping[str, Array]) -> None:
    """qonnx and onnxruntime: a code that is not the judge's has to be explained by float32, next to a boundary."""
    try:
        differences = compare_with_qonnx(proto, feeds).differences
    except UserError:  # operators or versions that they do not have
        return
    wrong = [d for d in differences if not d.cause and not rounding_of_floats(d)]
    if wrong:
        raise Disagreement(f"the public executors differ from the judge: {wrong[0]}")


def rounding_of_floats(d: Difference) -> bool:
    """Whether the exact value lies within float32's error of a number at which some quantiser changes its code."""
    exact = float(d.exact)
    boundary = round(2 * exact) / 2
    return abs(d.code - d.executor_code) <= 1 and abs(exact - boundary) <= 2.0 ** -14 * max(1.0, abs(exact))
