"""One small Graph of every operation, and many Graphs as one, to compile them as HLS C++ at once: the number types take seconds,
the layers next to nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from graphs import every_code, given, op

from gatewright.backends import hls
from gatewright.backends.hls.dialect import Dialect
from gatewright.backends.part import load_part
from gatewright.compiler.driver import ports
from gatewright.compiler.lower import lower
from gatewright.compiler.schedule.dsp import products_in_dsps
from gatewright.compiler.schedule.pipeline import pipeline
from gatewright.ir.design import Design
from gatewright.ir.exact import ROUND_NUMBER, exacts
from gatewright.ir.fixed import Ints
from gatewright.ir.graph import Graph, Meaning
from gatewright.sim.csim import Sources

HEADER = {"model": "m.onnx", "gatewright": "0", "sha256": "0", "part": "xcvu13p-flga2577-2-e", "clock_ns": 5.0, "kernel": "loops",
          "reuse": 1, "layer_reuse": {}}


def meant(g: Graph) -> Graph:
    """The Graph with inputs that mean their codes."""
    own = Meaning(exacts(1), exacts(0))
    return replace(g, meanings={**{op.name: own for op in g.input_ops}, **g.meanings})


def joined(graphs: Iterable[Graph]) -> Graph:
    """One Graph of all of them; tensors of graph k are called gk_NAME."""
    ops, outputs = [], []
    for k, g in enumerate(graphs):
        def name(n: str, k: int = k) -> str:
            return f"g{k}_{n}"
        ops += [replace(op, name=name(op.name), inputs=tuple(map(name, op.inputs))) for op in g.ops]
        outputs += [replace(o, name=name(o.name), value=name(o.value)) for o in g.outputs if g.by_name[o.value].inputs]
    return meant(Graph("dut", tuple(ops), tuple(outputs)))


def codes(graphs: Iterable[Graph], vectors: int) -> dict[str, Any]:
    """Codes for the joined Graph: every one of each where they are few enough, over and over."""
    result = {}
    for k, g in enumerate(graphs):
        for name, values in every_code(g, vectors).items():
            result[f"g{k}_{name}"] = np.resize(values, (vectors, *values.shape[1:]))
    return result


def design_of_graph(g: Graph, dsps: int = 0) -> Design:
    netlist = products_in_dsps(lower(g)[0], load_part(), dsps)[0]
    return Design.single("dut", pipeline(netlist, load_part(), 5.0)[0], *ports(g))


def sources(g: Graph, folder: Path, dialect: Dialect, dsps: int = 0, **header: Any) -> Sources:
    """The C++ of the Graph, written into a folder."""
    design, values = design_of_graph(g, dsps), {**HEADER, **header}
    for path, text in hls.emit(dialect, design, g, values).items():
        file = folder / Path(path).name
        file.write_text(text)
    return Sources(dialect, folder, design, g, values)


def flat(values: Mapping[str, Ints]) -> dict[str, Ints]:
    return {k: v.reshape(len(v), -1) for k, v in values.items()}


def expected(g: Graph, inputs: Mapping[str, Ints]) -> dict[str, Ints]:
    values = g.evaluate(inputs)
    return {o.name: values[o.value].reshape(len(values[o.value]), -1) for o in g.outputs}


SCALAR = given("a", "[]", "-33..34")
MATRIX = given("a", "[2, 3]", "[[-8, 0, -3], [2, -7, -1]]..[[7, 5, -3], [9, 6, 0]]")
IMAGE = given("a", "[4, 5, 6]", "-8..7")


def requants(mode: str) -> list[Graph]:
    def requant(mul: object, add: object, shift: object, lo: object, hi: object, overflow: str) -> str:
        return (f'requant {{mul = {mul}, add = {add}, shift = {shift}, rounding = "{mode}", lo = {lo}, hi = {hi}, '
                f'overflow = "{overflow}"}}')
    return [op(requant(1, 0, 2, -3, 4, "SAT"), SCALAR), op(requant(-3, 1, 3, 1, 4, "WRAP"), SCALAR),
            op(requant([1, -3, 2], [[4], [-1]], [0, 1, 3], [-3, 0, -4], [4, 1, 3], "WRAP"), MATRIX),
            op(requant([[1, 2], [3, -4]], 0, [[0, 1], [2, 3]], -4, 3, "SAT"), given("a", "[2]", "-30..30")),
            op(requant(1, 3, 30, -8, 7, "WRAP"), given("a", "[1]", f"{-(1 << 58)}..{1 << 57}"))]


TEXTS = [
    ("dense {weight = [[1, 0, 0], [-2, 5, 0], [7, -64, 0]], bias = [3, 0, -9]}", MATRIX),
    ("thresholds {sign = 1, levels = [], base = 4}", SCALAR),
    ("thresholds {sign = -1, levels = [-100, -34, -5, 0, 3, 33, 100], base = 2}", SCALAR),
    ("thresholds {sign = [[1], [-1]], levels = [[[0, 1], [2, 3], [-9, -8]], [[4, 4], [99, 99], [0, 99]]], base = 0}", MATRIX),
    ("table {first = -50, values = " + str([x * x % 17 - 8 for x in range(100)]) + "}", SCALAR),
    ("table {first = -9, values = [" + ", ".join(str([[x * k % 7 for x in range(20)]]) for k in (3, 5)) + "]}", MATRIX),
    *((f"reduce_sum {{axes = {axes}, keepdims = 0}}", MATRIX) for axes in ("[0]", "[-1]", "[0, 1]")),
    *((f"reduce_extreme {{axes = [1], keepdims = 1, largest = {k}}}", IMAGE) for k in (0, 1)),
    ("combine {scales = [[[3, 0, -1], [1, 7, 100]]], offset = [[1], [0]]}", MATRIX), ("multiply(%a, %a) {}", MATRIX),
    *((f"top_k {{axis = {axis}, count = {count}, largest = {largest}, last = {last}, index = {index}}}", IMAGE)
      for axis, count, largest, last, index in ((0, 1, 1, 0, 0), (1, 1, 0, 1, 1), (2, 1, 1, 0, 1), (1, 3, 1, 0, 1), (2, 4, 0, 1, 1),
                                                (2, 6, 1, 1, 0))),
    ("top_k {axis = 0, count = 3, largest = 1, last = 1, index = 1}", given("a", "[5]", "-1..1")),
    ("transpose {perm = [2, 0, 1]}", IMAGE), ("reshape {shape = [3, 2, 1]}", MATRIX),
    ("take {indices = [[3, 0, -1], [0, 2, 4], [-1, 5, 4, 3]], fill = 9}", IMAGE),
    ('conv {strides = [2, 1], pads = [1, 2, 0, 1], dilations = [1, 2], weight = '
     + str(np.random.default_rng(0).integers(-5, 6, (4, 2, 3, 2)).tolist()) + ", bias = [1, -2, 0, 40], groups = 2, fill = 3}", IMAGE),
    ('conv {strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1], weight = '
     + str(np.random.default_rng(1).integers(-5, 6, (2, 4, 2, 2)).tolist()) + ", bias = [1, 0], groups = 1, fill = 0}", IMAGE),
    ("sum_pool {strides = [2, 2], pads = [1, 0, 1, 0], dilations = [1, 1], kernel = [3, 2]}", IMAGE),
    *((f"extreme_pool {{strides = [2, 2], pads = [1, 0, 1, 0], dilations = [1, 1], kernel = [2, 3], largest = {k}}}", IMAGE)
      for k in (0, 1)),
]


def every_operation() -> list[Graph]:
    small, row = given("a", "[2, 1]", "-1..1"), given("b", "[3]", "-1..2")
    pair = given("a", "[2, 3]", "-9..5"), given("b", "[3]", "[-2, 6, -20]..[7, 9, -10]")
    return [
        *(op(text, operand) for text, operand in TEXTS), *(g for mode in ROUND_NUMBER for g in requants(mode)),
        op("combine {scales = [2, [1, -1, 0], [[3], [0]]], offset = [[0], [7]]}", small, row, given("c", "[]", "0..1")),
        op("multiply {}", small, row), op("extremum {largest = 0}", *pair), op("extremum {largest = 1}", *pair),
        op("select {}", given("c", "[3]", "0..1"), given("a", "[2, 3]", "-3..1"), given("b", "[]", "-1..4")),
        op("concat {axis = 1}", given("a", "[2, 1, 2]", "0..1"), given("b", "[2, 3, 2]", "-9..4"))]
