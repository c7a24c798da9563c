"""Many small Graphs as one, to compile them as HLS C++ at once: the number types take seconds, the layers next to nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from graphs import every_code

from gatewright.backends import hls
from gatewright.backends.hls.dialect import Dialect
from gatewright.backends.part import load_part
from gatewright.compiler.driver import ports
from gatewright.compiler.lower import lower
from gatewright.compiler.schedule.pipeline import pipeline
from gatewright.ir.design import Design
from gatewright.ir.exact import exacts
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


def design_of_graph(g: Graph) -> Design:
    return Design.single("dut", pipeline(lower(g)[0], load_part(), 5.0)[0], *ports(g))


def sources(g: Graph, folder: Path, dialect: Dialect, **header: Any) -> Sources:
    """The C++ of the Graph, written into a folder."""
    design, values = design_of_graph(g), {**HEADER, **header}
    for path, text in hls.emit(dialect, design, g, values).items():
        file = folder / Path(path).name
        file.write_text(text)
    return Sources(dialect, folder, design, g, values)


def flat(values: Mapping[str, Ints]) -> dict[str, Ints]:
    return {k: v.reshape(len(v), -1) for k, v in values.items()}


def expected(g: Graph, inputs: Mapping[str, Ints]) -> dict[str, Ints]:
    values = g.evaluate(inputs)
    return {o.name: values[o.value].reshape(len(values[o.value]), -1) for o in g.outputs}
