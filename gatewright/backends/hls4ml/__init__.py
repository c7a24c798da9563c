"""The hls4ml target: a project for hls4ml in which every precision is fixed, so that its firmware has the model's bits.

`layers.json` is what hls4ml's own converters produce, a list of layers, with constants as exact integers; `config.yml` holds every
precision in the form that hls4ml's users know; `build.py` gives both to hls4ml.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gatewright.backends.hls4ml.layers import make_model
from gatewright.backends.hls4ml.model import Constant, Layer, Model
from gatewright.backends.part import load_part
from gatewright.backends.rendering import templates
from gatewright.errors import UserError
from gatewright.ir.design import Design, Port
from gatewright.ir.graph import Graph

FOLDER = "hls4ml"


def emit(design: Design, graph: Graph, header: Mapping[str, Any]) -> dict[str, str]:
    """The files by path. Raises UserError, naming the node, for what hls4ml has no layer with the same bits for."""
    if load_part(str(header["part"])).vendor != "amd":
        raise UserError(f"hls4ml's backend Vitis knows no part '{header['part']}'", remedy="Choose an AMD part")
    model = make_model(graph, {p.name: p.rtl for p in design.inputs})
    files = {"layers.json": _layers(model, design), "config.yml": _config(model, design, header),
             "build.py": templates(FOLDER).get_template("build.py.j2").render(design=design, header=header)}
    return {f"{FOLDER}/{path}": text for path, text in files.items()}


def _layers(model: Model, design: Design) -> str:
    def port(p: Port, side: str) -> dict[str, Any]:
        tensor = (model.inputs if side == "input" else model.outputs)[p.name]
        return {"tensor": p.name, "layer": tensor.layer, "elements": p.elements, "frac": tensor.type.frac, "formula": p.formula}

    ports = {"inputs": [port(p, "input") for p in design.inputs], "outputs": [port(p, "output") for p in design.outputs]}
    lines = [json.dumps(_layer(layer)) for layer in model.layers]
    return f'{{"ports": {json.dumps(ports)},\n"layers": [\n' + ",\n".join(lines) + "\n]}\n"


def _layer(layer: Layer) -> dict[str, Any]:
    def constant(c: Constant) -> dict[str, Any]:
        return {"frac": c.frac, "codes": c.codes.tolist()}

    return {"name": layer.name, "class_name": layer.class_name, "node": layer.node, "inputs": layer.inputs,
            "attributes": layer.attributes, "constants": {k: constant(c) for k, c in layer.constants.items()}}


def _config(model: Model, design: Design, header: Mapping[str, Any]) -> str:
    """YAML. There is no default precision: what it does not name, hls4ml refuses."""
    lines = [f"# hls4ml configuration of {design.name}: every precision that layers.json needs, and no default.",
             "Backend: Vitis", f"ProjectName: {design.name}", "OutputDir: project", f"Part: {header['part']}",
             f"ClockPeriod: {header['clock_ns']:g}", "IOType: io_parallel", "HLSConfig:", "  Model:", "    ReuseFactor: 1",
             "    Strategy: Latency", "  LayerName:"]
    for layer in model.layers:
        lines += [f"    {layer.name}:", "      Precision:", *(f"        {key}: {t}" for key, t in layer.precision.items())]
    return "\n".join(lines) + "\n"
