"""What gatewright makes of a model, node by node: supported or not, and how each is realised."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gatewright.compiler.driver import compile_model, exact_graph
from gatewright.compiler.frontend.onnx_file import Model, Node, load
from gatewright.compiler.frontend.walk import handler_of
from gatewright.compiler.options import Options
from gatewright.compiler.project import Project
from gatewright.errors import UserError
from gatewright.ir.graph import Graph


@dataclass(frozen=True)
class Inspection:
    """Rows (`node`, `op`, `supported`, `becomes`), the optimised Graph's tensors, notes, and the first problem, if any."""

    model: str
    nodes: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]
    problem: str | None

    def to_json(self) -> dict[str, Any]:
        return {"model": self.model, "nodes": [dict(n) for n in self.nodes], "notes": list(self.notes),
                "problem": self.problem}

    def print(self, console: Console) -> None:
        table = Table(box=None, pad_edge=False)
        for name in ("node", "operator", "", "becomes"):
            table.add_column(name, overflow="fold")
        for n in self.nodes:
            table.add_row(escape(n["node"]), escape(n["op"]), "[green]yes[/]" if n["supported"] else "[red]no[/]",
                          escape(n["becomes"]))
        console.print(table)
        for note in self.notes:
            console.print(f"note: {escape(note)}")
        if self.problem:
            console.print(f"[red]cannot be compiled:[/] {escape(self.problem)}")


def inspect_model(path: Path, options: Options) -> Inspection:
    """Never raises for what is in the model; raises UserError for a file that cannot be read."""
    model = load(path)
    try:
        compiled = compile_model(path, options)
    except UserError as error:
        return Inspection(str(path), _refused(path, options, model), (), str(error))
    return Inspection(str(path), _rows(model, compiled.graph, compiled.imported.logits), compiled.notes, None)


def _refused(path: Path, options: Options, model: Model) -> tuple[dict[str, Any], ...]:
    """The rows of a model that has no hardware: it may have an exact graph."""
    try:
        imported, graph, _, _ = exact_graph(path, options)
    except UserError:
        return tuple(_row(n, "" if handler_of(n) else "not supported") for n in model.nodes)
    return _rows(model, graph, imported.logits)


def inspect_project(path: Path) -> Inspection:
    """The model of an output folder, with the options that it was compiled with."""
    project = Project(path)
    return Inspection(str(project.model_path), _rows(project.model, project.graph, project.manifest["logits"]),
                      tuple(project.manifest["notes"]), None)


def _row(node: Node, becomes: str) -> dict[str, Any]:
    return {"node": node.name, "op": f"{node.domain}.{node.op_type}" if node.domain else node.op_type,
            "supported": handler_of(node) is not None, "becomes": becomes}


def _rows(model: Model, graph: Graph, cut: Collection[str]) -> tuple[dict[str, Any], ...]:
    made: dict[str, list[str]] = {}
    for op in graph.ops:
        made.setdefault(op.node, []).append(f"{op.show_form()} -> {op.type!r}")
    constant = _constants(model)
    rows = []
    for node in model.nodes:
        first = node.outputs[0] if node.outputs else ""
        default = "constant" if first in constant else "cut" if first in cut else "part of its neighbours"
        rows.append(_row(node, "; ".join(made.get(node.name, [default]))))
    return tuple(rows)


def _constants(model: Model) -> set[str]:
    """Tensors that depend on no input."""
    known = set(model.constants)
    for node in model.nodes:
        if all(not i or i in known for i in node.inputs):
            known |= set(node.outputs)
    return known
