"""A small ONNX model as readable text, exact to the bit: what the fuzzer makes, keeps and replays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
NARROW = {"int4": ml_dtypes.int4, "uint4": ml_dtypes.uint4}
"""Types that numpy does not have."""


def dtype_of(name: str) -> Any:
    return NARROW.get(name) or np.dtype(name)


def element_type(name: str) -> int:
    return int(getattr(TensorProto, {"float32": "FLOAT", "float64": "DOUBLE"}.get(name, name.upper())))


@dataclass
class Node:
    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)
    domain: str = ""


@dataclass
class Input:
    """A graph input. `type` is what the user says (`fixed<4,2>`), None where a quantiser reads it first."""

    dims: list[int | str]
    element: str = "float32"
    type: str | None = None


@dataclass
class Description:
    """A model and the types of its inputs; constants are (element type, shape, values in C order)."""

    opset: int
    inputs: dict[str, Input] = field(default_factory=dict)
    constants: dict[str, tuple[str, list[int], list[Any]]] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    outputs: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Element types and ranks."""

    def model(self) -> onnx.ModelProto:
        nodes = [helper.make_node(n.op, n.inputs, n.outputs, n.op + str(k), domain=n.domain, **attributes(n))
                 for k, n in enumerate(self.nodes)]
        graph = helper.make_graph(
            nodes, "fuzz",
            [helper.make_tensor_value_info(k, element_type(v.element), v.dims) for k, v in self.inputs.items()],
            [helper.make_tensor_value_info(k, element_type(e), [None] * r) for k, (e, r) in self.outputs.items()],
            [numpy_helper.from_array(array(*v), k) for k, v in self.constants.items()])
        domains = sorted({n.domain for n in self.nodes if n.domain})
        imports = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(d, 1) for d in domains)]
        return helper.make_model(graph, opset_imports=imports, ir_version=10)

    @property
    def input_types(self) -> Mapping[str, str]:
        return {k: v.type for k, v in self.inputs.items() if v.type}

    def show(self) -> str:
        """JSON, one line for every input, constant, node and output."""
        lines = []
        for key, value in asdict(self).items():
            if isinstance(value, dict):
                rows = [f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()]
                lines.append(f"  \"{key}\": {{\n" + ",\n".join(rows) + "\n  }")
            elif isinstance(value, list):
                lines.append(f"  \"{key}\": [\n" + ",\n".join(f"    {json.dumps(v)}" for v in value) + "\n  ]")
            else:
                lines.append(f"  \"{key}\": {json.dumps(value)}")
        return "{\n" + ",\n".join(lines) + "\n}\n"


def parse(text: str) -> Description:
    values = json.loads(text)
    return Description(values["opset"], {k: Input(**v) for k, v in values["inputs"].items()},
                       {k: (e, s, v) for k, (e, s, v) in values["constants"].items()},
                       [Node(**n) for n in values["nodes"]], {k: (e, r) for k, (e, r) in values["outputs"].items()})


def load(path: Path) -> Description:
    return parse(path.read_text(encoding="utf-8"))


def array(element: str, shape: list[int], values: list[Any]) -> Array:
    return np.array(values).astype(dtype_of(element)).reshape(shape)


def attributes(node: Node) -> dict[str, Any]:
    """Those of the file; a tensor is written as its element type, shape and values."""
    return {k: numpy_helper.from_array(array(**v)) if isinstance(v, dict) else v for k, v in node.attributes.items()}
