"""Small models of single operators, and what the compiler makes of them beside onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from judged import differing
from onnx import TensorProto, helper, numpy_helper

from gatewright.compiler.driver import Compilation, compile_model
from gatewright.compiler.options import Options
from gatewright.ir.graph import Graph

Array = np.ndarray[Any, Any]
VECTORS = 24


def model_of(nodes: Sequence[onnx.NodeProto], inputs: Mapping[str, Sequence[int | str]], outputs: Sequence[str],
             constants: Mapping[str, Any], opset: int = 20, domains: Sequence[str] = ()) -> onnx.ModelProto:
    """`constants` are arrays, or TensorProtos for what numpy does not have. Outputs declare no shape."""
    graph = helper.make_graph(
        list(nodes), "operators",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_value_info(n, onnx.TypeProto()) for n in outputs],
        [c if isinstance(c, TensorProto) else numpy_helper.from_array(np.asarray(c), n) for n, c in constants.items()])
    for tensor, name in zip(graph.initializer, constants, strict=True):
        tensor.name = name
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def onnxruntime_outputs(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """One sample after the other where the model has a batch of 1."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    count = len(next(iter(feeds.values())))
    runs = [session.run(names, {k: v[i:i + 1] for k, v in feeds.items()}) for i in range(count)]
    return {name: np.concatenate([np.atleast_1d(r[k]) for r in runs]) for k, name in enumerate(names)}


def compiled(model: onnx.ModelProto, folder: Path, **options: Any) -> Compilation:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return compile_model(path, Options(**options))


def real_outputs(graph: Graph, codes: Mapping[str, Array]) -> dict[str, Array]:
    """What the output codes mean, rounded to float32 once."""
    values = graph.evaluate(codes)
    result = {}
    for o in graph.outputs:
        exact = values[o.value].astype(object) * o.meaning.scale + o.meaning.offset
        result[o.name] = np.array([np.float32(float32(Fraction(v))) for v in exact.reshape(-1)],
                                  np.float32).reshape(exact.shape)
    return result


def float32(x: Fraction) -> float:
    """The float32 nearest to a rational, correctly: float64 first would round twice."""
    near = np.float32(float(x))
    candidates = [near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))]
    return float(min(candidates, key=lambda c: (abs(Fraction(float(c)) - x), int(np.float32(c).view(np.int32)) & 1)))


def random_inputs(graph: Graph, seed: int = 1) -> tuple[dict[str, Array], dict[str, Array]]:
    """Codes for all inputs, and the numbers that they mean."""
    rng = np.random.default_rng(seed)
    codes = {op.name: rng.integers(op.type.lo, op.type.hi, (VECTORS, *op.type.shape), endpoint=True) for op in graph.input_ops}
    return codes, {op.name: (codes[op.name] * 2.0 ** -op.type.frac).astype(np.float32) for op in graph.input_ops}


def same_as_judge(model: onnx.ModelProto, folder: Path, input_type: str = "fixed<4,4>", **options: Any) -> Compilation:
    """Compiles (which compares Graph, passes and netlist) and compares all quantisers and outputs with the judge's."""
    c = compiled(model, folder, input_type=input_type, **options)
    assert differing(c.imported, model, random_inputs(c.imported.graph)[1]) == []
    return c


def same_as_onnxruntime(model: onnx.ModelProto, folder: Path, input_type: str = "fixed<4,4>", seed: int = 1) -> Compilation:
    """Compiles (which compares Graph, passes and netlist) and compares the Graph's outputs with onnxruntime's."""
    c = compiled(model, folder, input_type=input_type)
    graph = c.imported.graph
    codes, feeds = random_inputs(graph, seed)
    want = onnxruntime_outputs(model, feeds)
    for name, got in real_outputs(graph, codes).items():
        assert got.reshape(VECTORS, -1).shape == want[name].reshape(VECTORS, -1).shape
        assert np.array_equal(got.reshape(VECTORS, -1), want[name].astype(np.float32).reshape(VECTORS, -1))
    return c
