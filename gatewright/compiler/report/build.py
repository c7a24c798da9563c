"""The dict of report.json, from an output folder."""

from __future__ import annotations

from typing import Any

from gatewright.compiler.estimate.estimate import estimate
from gatewright.compiler.project import Project
from gatewright.ir.design import Port
from gatewright.ir.graph import Graph, Op


def build_report(project: Project) -> dict[str, Any]:
    """Everything that the report writers show, in the schema of docs/architecture.md. Deterministic."""
    manifest, design, part = project.manifest, project.design, project.part
    return {
        "gatewright": manifest["gatewright"], "design": design.name, "sha256": manifest["sha256"],
        "model": manifest["model"], "part": part.name, "part_totals": dict(part.totals),
        "clock_ns": project.options.clock_ns, "options": project.options.to_json(), "notes": manifest["notes"],
        "proof": manifest["proof"],
        "ports": [_port(p, side) for side, ports in (("input", design.inputs), ("output", design.outputs)) for p in ports],
        "nodes": [_node(op, project.graph) for op in project.graph.ops],
        "estimate": estimate(design, part, project.options.clock_ns).to_json(),
        "vendor": project.results("vendor"), "synthesis": project.results("synth"), "verification": project.results("verify")}


def _port(port: Port, direction: str) -> dict[str, Any]:
    return {"direction": direction, "name": port.name, "rtl": port.rtl, "shape": list(port.shape), "type": repr(port.type),
            "width": port.width, "signed": port.signed, "frac": port.type.frac, "formula": port.formula}


def _node(op: Op, graph: Graph) -> dict[str, Any]:
    index = {o.name: i for i, o in enumerate(graph.ops)}
    widths = op.type.widths
    return {"id": index[op.name], "op": op.kind, "label": op.name, "node": op.node, "shape": list(op.type.shape),
            "type": repr(op.type.common), "width_min": int(widths.min()), "width_max": int(widths.max()),
            "bits": int(widths.sum()), "inputs": [index[i] for i in op.inputs], "form": op.show_form()}
