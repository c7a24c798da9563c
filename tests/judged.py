"""The imported Graph beside the judge: which quantisers and outputs differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from models import Array, Feeds
from onnx import ModelProto

from gatewright.compiler.data import encode
from gatewright.compiler.frontend.importer import Imported
from gatewright.compiler.verify import judged_codes
from gatewright.sim.judge import Judge


def differing(imported: Imported, judged: ModelProto | Path, feeds: Feeds, tensor_types: Mapping[str, str] | None = None) -> list[str]:
    """The quantisers and outputs of the model whose codes are not those of the judge for `judged`; none is left out."""
    graph = imported.graph
    tensors = {o.name: imported.logits.get(o.name, o.name) for o in graph.outputs}
    algorithms = {name: a.parameters for name, a in imported.approximations.items()}
    trace = Judge(judged, algorithms, tensor_types).run(feeds, list(tensors.values()))
    expected: dict[str, Array] = {q.tensor: trace.codes(q.tensor) for q in trace.quantisers if not trace.is_constant(q.tensor)}
    values = graph.evaluate(encode(graph, imported.input_casts, feeds), [op.name for op in graph.ops])
    found: dict[str, Array] = {name: q.factor * values[q.tensor] + q.shift for name, q in imported.quantisers.items()}
    assert found.keys() == expected.keys()
    for output in graph.outputs:
        cast = imported.output_casts.get(output.name)
        expected[f"output {output.name}"] = judged_codes(trace, tensors[output.name], output, cast)
        found[f"output {output.name}"] = values[output.value]
    count = len(next(iter(feeds.values())))
    return [name for name in expected
            if not np.array_equal(expected[name].reshape(count, -1), found[name].reshape(count, -1))]
