"""What gatewright makes of a model, node by node: how each is realised, every type, and all that stands in the way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gatewright.compiler.driver import GRAPH_PASSES, Opened, opened, ports
from gatewright.compiler.frontend.importer import examine
from gatewright.compiler.frontend.onnx_file import Model, Node
from gatewright.compiler.frontend.survey import Open
from gatewright.compiler.frontend.walk import handler_of
from gatewright.compiler.lower.size import check_size
from gatewright.compiler.options import Options
from gatewright.compiler.passes.base import GraphPass
from gatewright.compiler.passes.dead_ops import DeadOps
from gatewright.compiler.passes.integer_functions import IntegerFunctions
from gatewright.compiler.project import Project
from gatewright.errors import UserError
from gatewright.ir.fixed import bits_for
from gatewright.ir.graph import Graph, Op
from gatewright.ir.ops import Concat, Conv, Dense, Input, Region, Reshape, Take, Transpose

FORMS: dict[type[Op], Callable[[Any], str]] = {
    Input: lambda op: "port" if op.encoding is None else "port with its codes",
    Dense: lambda op: f"dense: {'x'.join(map(str, op.weight.shape))} constants of {weight_bits(op)} bits as adder graph",
    Conv: lambda op: f"{op.show_form()}: {op.weight.size} constants of {weight_bits(op)} bits as adder graphs",
    **dict.fromkeys((Reshape, Transpose, Take, Concat), lambda op: f"{op.kind}: moved wires"),
    Region: lambda op: "no form"}
"""How operations are realised, where that is not what the report calls them."""


def weight_bits(op: Any) -> int:
    return bits_for(int(op.weight.min(initial=0)), int(op.weight.max(initial=0)))


@dataclass(frozen=True)
class Inspection:
    """`ports` (`direction`, `name`, `type`, `formula`), `nodes` (`node`, `op`, `supported`, `becomes`, `problem`), `open`: the
    tensors without a quantiser (`tensor`, `role`, `node`, `option`, `toml`), notes, all problems, and the first, if any."""

    model: str
    ports: tuple[Mapping[str, str], ...]
    nodes: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...] = ()
    problems: tuple[UserError, ...] = ()
    open: tuple[Open, ...] = ()

    @property
    def problem(self) -> str | None:
        """Why the model cannot be compiled."""
        return str(self.problems[0]) if self.problems else None

    def to_json(self) -> dict[str, Any]:
        lacking = [{"tensor": t.tensor, "role": t.role, "node": t.node, "option": t.option, "toml": t.toml} for t in self.open]
        return {"model": self.model, "ports": [dict(p) for p in self.ports], "nodes": [dict(n) for n in self.nodes],
                "open": lacking, "notes": list(self.notes), "problem": self.problem, "problems": [str(p) for p in self.problems]}

    def print(self, console: Console) -> None:
        rows = [[p["direction"], p["name"], p["type"], p["formula"]] for p in self.ports]
        if rows:
            console.print(_table(["", "port", "type", "meaning"], rows), "")
        marks = {True: "[green]yes[/]", False: "[red]no[/]"}
        console.print(_table(["node", "operator", "", "becomes"], [
            [escape(n["node"]), escape(n["op"]), marks[n["supported"] and not n["problem"]], escape(n["becomes"])] for n in self.nodes],
            raw=True))
        for note in self.notes:
            console.print(f"note: {escape(note)}")
        if self.open:
            console.print("\nThese tensors have no quantiser, and need one:")
            console.print(_table(["tensor", "what", "read by", "for example"], [[t.tensor, t.role, t.node, t.example] for t in self.open]))
            console.print(f"\nGive them types by options ({escape(self.open[-1].option)}), or by a file, with --config FILE.toml. What the "
                          "nodes become, above, is so with these examples:\n")
            console.print(escape("\n\n".join(t.toml for t in self.open)), highlight=False)
        for problem in self.problems:
            console.print(f"\n[red]cannot be compiled:[/] {escape(str(problem))}")


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], raw: bool = False) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(row if raw else map(escape, row)))
    return table


def inspect_model(path: Path, options: Options) -> Inspection:
    """Never raises for what is in the model; raises UserError for a file that cannot be read, or options that it cannot have."""
    options.check()
    source = opened(path, options)
    try:
        return _imported(source)
    except UserError as error:
        return _refused(source, error)


def _imported(source: Opened) -> Inspection:
    """A model that can be imported. Raises UserError where it cannot."""
    imported = source.imported()
    graph, problems = _realised(imported.graph, GRAPH_PASSES)
    if not problems:
        try:
            check_size(graph)
        except UserError as error:
            problems.append(error)
    return Inspection(str(source.model.path), _ports(graph), _rows(source.model, graph, imported.logits, problems),
                      (*source.options.notes, *imported.notes), tuple(problems))


def _realised(graph: Graph, passes: Iterable[GraphPass]) -> tuple[Graph, list[UserError]]:
    """The Graph after the passes, and why regions have no form."""
    problems: list[UserError] = []
    for step in passes:
        graph = (step.attempt(graph, problems) if isinstance(step, IntegerFunctions) else step.run(graph)).graph
    return graph, problems


def inspect_project(path: Path) -> Inspection:
    """The model of an output folder, with the options that it was compiled with."""
    project = Project(path)
    return Inspection(str(project.model_path), _ports(project.graph),
                      _rows(project.model, project.graph, project.manifest["logits"], ()), tuple(project.manifest["notes"]))


def _refused(source: Opened, error: UserError) -> Inspection:
    """A model that cannot be imported: what there is of it, with examples of the types that it lacks, and all reasons."""
    model, options = source.model, source.options
    found = examine(model, source.types, options.outputs or None, options.softmax)
    problems = list(found.problems)
    if found.open and not problems:
        try:
            with_examples = _imported(replace(source, types=found.with_examples(source.types)))
            return replace(with_examples, problems=(error, *with_examples.problems), open=found.open)
        except UserError as other:
            problems.append(other)
    graph, refused = _realised(found.graph, [step for step in GRAPH_PASSES if not isinstance(step, DeadOps)])  # outputs are missing
    problems += refused
    reasons = {str(p): p for p in [error] * bool(found.open) + problems}
    rows = _rows(model, graph, found.logits, problems, found.unexamined)
    return Inspection(str(model.path), (), rows, (), tuple(reasons.values()) or (error,), found.open)


# -- rows ----------------------------------------------------------------------------------------------------------------


def _ports(graph: Graph) -> tuple[dict[str, str], ...]:
    sides = zip(("input", "output"), ports(graph), strict=True)
    return tuple({"direction": side, "name": p.name, "type": f"{list(p.shape)}{p.type!r}", "formula": p.formula}
                 for side, found in sides for p in found)


def _rows(model: Model, graph: Graph, cut: Collection[str], problems: Sequence[UserError],
          unexamined: Mapping[str, str] | None = None) -> tuple[dict[str, Any], ...]:
    made: dict[str, list[str]] = {}
    for op in graph.ops:
        made.setdefault(op.node, []).append(f"{form(op)} -> {op.type!r}")
    reasons: dict[str | None, list[str]] = {}
    for p in problems:
        reasons.setdefault(p.node, []).append(p.reason)
    constant = _constants(model)
    rows = []
    for node in model.nodes:
        first = node.outputs[0] if node.outputs else ""
        default = "constant" if first in constant else "cut" if first in cut else "part of its neighbours"
        refused = "; ".join(reasons.get(node.name, []))
        becomes = (unexamined or {}).get(node.name) or "; ".join(made.get(node.name, [default]))
        rows.append(_row(node, refused or becomes, refused or None))
    return tuple(rows)


def form(op: Op) -> str:
    """How an operation is realised, in a few words."""
    return FORMS[type(op)](op) if type(op) in FORMS else op.show_form()


def _row(node: Node, becomes: str, problem: str | None) -> dict[str, Any]:
    return {"node": node.name, "op": f"{node.domain}.{node.op_type}" if node.domain else node.op_type,
            "supported": handler_of(node) is not None, "becomes": becomes, "problem": problem}


def _constants(model: Model) -> set[str]:
    """Tensors that depend on no input."""
    known = set(model.constants)
    for node in model.nodes:
        if all(not i or i in known for i in node.inputs):
            known |= set(node.outputs)
    return known
