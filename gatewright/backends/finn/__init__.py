"""The FINN target: an ONNX file in FINN's dialect, folding configuration and build script.

Quantisers become thresholds on integers here, from the Graph's exact functions, so that nothing is left for FINN to round.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gatewright.backends.finn.folding import configurations
from gatewright.backends.finn.nodes import make_model
from gatewright.backends.part import load_part
from gatewright.backends.rendering import templates
from gatewright.errors import UserError
from gatewright.ir.design import Design
from gatewright.ir.graph import Graph

FOLDER = "finn"
MODEL = "model.onnx"


def emit(design: Design, graph: Graph, header: Mapping[str, Any]) -> dict[str, str | bytes]:
    """The files by path. Raises UserError, naming the node, for what FINN has no layer for."""
    if load_part(str(header["part"])).vendor != "amd":
        raise UserError(f"FINN knows no part '{header['part']}'", remedy="Choose an AMD part")
    model = make_model(graph, design.name)
    folding, styles = configurations(model.products, header["reuse"], header["layer_reuse"])
    build = templates(FOLDER).get_template("build.py.j2").render(design=design, header=header, ties=model.ties)
    files: dict[str, str | bytes] = {
        MODEL: model.onnx.SerializeToString(deterministic=True), "folding.json": json.dumps(folding, indent=1) + "\n",
        "styles.json": json.dumps(styles, indent=1) + "\n", "build.py": build}
    return {f"{FOLDER}/{path}": content for path, content in files.items()}
