"""A description of dense layers inside an ONNX model: python -m benchmarks.peers.describe MODEL.onnx --first NODE --last NODE -o FILE.json

From the constant product of node `first` to that of node `last`, with the quantiser that follows each. The integers are the model's
codes; the input takes every code of the type in front of the first product.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from gatewright.compiler.driver import exact_graph, opened
from gatewright.compiler.options import Options
from gatewright.ir.graph import Graph
from gatewright.ir.ops import Dense, Requant

ROUNDING = {"FLOOR": "floor", "HALF_UP": "half_up", "ROUND": "half_even"}


def described(graph: Graph, first: str, last: str, name: str) -> dict[str, Any]:
    """The JSON form. Raises ValueError where a layer is more than weights, biases and one quantiser for all outputs."""
    numbers = {op.node: i for i, op in enumerate(graph.ops) if isinstance(op, Dense)}
    missing = [n for n in (first, last) if n not in numbers]
    if missing:
        raise ValueError(f"no constant product {missing[0]}; there are {', '.join(numbers)}")
    ops = list(graph.ops[numbers[first]:numbers[last] + 2])
    source = graph.by_name[ops[0].inputs[0]]
    layers: list[dict[str, Any]] = []
    for op in ops:
        if isinstance(op, Dense):
            bias = np.broadcast_to(op.bias, op.weight.shape[1:])
            layers.append({"w": op.weight.tolist(), "w_frac": 0, "b": bias.tolist(), "b_frac": 0, "act": None})
        elif isinstance(op, Requant) and layers[-1]["act"] is None:
            layers[-1] |= {"b": (bias + op.add).tolist(), "act": activation(op)}
        elif op is not ops[-1]:
            raise ValueError(f"node '{op.node}' is a {op.kind}")
    return {"name": name, "input": {"size": source.type.size, **grid(source.type.lo, source.type.hi), "frac": 0}, "layers": layers}


def activation(op: Requant) -> dict[str, Any]:
    mul, shift, lo, hi = (np.unique(v).tolist() for v in (op.mul, op.shift, op.lo, op.hi))
    if mul != [1] or len(shift) > 1 or op.rounding not in ROUNDING:
        raise ValueError(f"node '{op.node}' is more than a rounding to a power of two")
    return {"relu": lo == [0], **grid(np.array(lo), np.array(hi)), "frac": -shift[0], "rounding": ROUNDING[op.rounding],
            "saturate": op.overflow == "SAT"}


def grid(lo: Any, hi: Any) -> dict[str, Any]:
    """The type whose codes are all of lo..hi, the same for all elements."""
    least, most = int(np.min(lo)), int(np.max(hi))
    bits = most.bit_length() + (least < 0)
    if np.ptp(lo) or np.ptp(hi) or most != (1 << bits - (least < 0)) - 1 or least not in (0, -most, -most - 1):
        raise ValueError(f"{least}..{most} are not the codes of one type")
    return {"signed": least < 0, "bits": bits, "narrow": least == -most}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--input-type")
    parser.add_argument("--first", required=True)
    parser.add_argument("--last", required=True)
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    graph: Graph = exact_graph(opened(options.model, Options(input_type=options.input_type)))[1]
    options.out.write_text(json.dumps(described(graph, options.first, options.last, options.out.stem)), encoding="utf-8")


if __name__ == "__main__":
    main()
