"""A description as a QONNX model with exactly its meaning: every scale is a power of two, every constant an exact float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.peers.description import Activation, Description, Grid

DOMAIN = "qonnx.custom_op.general"


def to_onnx(description: Description) -> onnx.ModelProto:
    """Input `x`, output `y`; the input passes a quantiser of the input's type, whose codes the hardware's port carries."""
    graph = _Graph()
    x = graph.quant("x", description.input, "FLOOR")
    for number, layer in enumerate(description.layers):
        graph.prefix = f"dense_{number}"
        x = graph.node("MatMul", x, graph.constant(layer.weight * 2.0**-layer.weight_frac))
        if layer.bias.any():
            x = graph.node("Add", x, graph.constant(layer.bias * 2.0**-layer.bias_frac))
        if layer.activation:
            x = graph.activation(x, layer.activation)
    graph.nodes.append(helper.make_node("Identity", [x], ["y"], "y"))
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])
             for name, size in (("x", description.size), ("y", description.layers[-1].weight.shape[1]))]
    body = helper.make_graph(graph.nodes, description.name, ports[:1], ports[1:],
                             [numpy_helper.from_array(value, name) for name, value in graph.constants.items()])
    imports = [helper.make_opsetid("", 13), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(body, producer_name="gatewright benchmarks", ir_version=8, opset_imports=imports)


class _Graph:
    """Nodes and constants as they are added; names begin with `prefix`."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[np.float32]] = {}
        self.prefix = "input"

    def constant(self, value: Any) -> str:
        name = f"{self.prefix}_c{len(self.constants)}"
        exact = np.asarray(value, np.float32)
        if not np.array_equal(exact, np.asarray(value, np.float64)):
            raise ValueError(f"a constant of {self.prefix} is no float32")
        self.constants[name] = exact
        return name

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        name = f"{self.prefix}_{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [f"{name}_out"], name, domain=domain, **attributes))
        return f"{name}_out"

    def quant(self, x: str, grid: Grid, mode: str) -> str:
        scale, zero, bits = self.constant(2.0**-grid.frac), self.constant(0), self.constant(grid.bits)
        return self.node("Quant", x, scale, zero, bits, domain=DOMAIN, signed=int(grid.signed), narrow=int(grid.narrow),
                         rounding_mode=mode)

    def activation(self, x: str, activation: Activation) -> str:
        grid, rounding = activation.grid, activation.rounding
        if activation.relu:
            x = self.node("Relu", x)
        if rounding == "half_up":  # floor(x + 1/2): QONNX's HALF_UP rounds negative ties the other way
            x = self.node("Add", x, self.constant(2.0 ** (-grid.frac - 1)))
        mode = "ROUND" if rounding == "half_even" else "FLOOR"
        if not activation.saturate:
            x, mode = self.wrapped(x, grid, mode), "FLOOR"
        return self.quant(x, grid, mode)

    def wrapped(self, x: str, grid: Grid, mode: str) -> str:
        """x rounded to codes and taken modulo 2**bits, back on the grid: what the quantiser that follows leaves as it is."""
        if grid.narrow:
            raise ValueError(f"{self.prefix} wraps to a narrow range, which is no power of two")
        codes = self.node("Round" if mode == "ROUND" else "Floor", self.node("Mul", x, self.constant(2.0**grid.frac)))
        moved = self.node("Sub", codes, self.constant(grid.lo))
        turns = self.node("Floor", self.node("Mul", moved, self.constant(2.0**-grid.bits)))
        rest = self.node("Sub", codes, self.node("Mul", turns, self.constant(2.0**grid.bits)))
        return self.node("Mul", rest, self.constant(2.0**-grid.frac))
