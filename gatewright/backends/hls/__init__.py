"""The HLS C++ targets: a Design, or the Graph that it was made from, as C++ for a synthesis tool of the vendor.

Every layer is a function from arrays of integer codes to an array of integer codes. With the kernel `loops` it is written from
an operation of the Graph, in plain loops with the weights as tables (`loops.py`); with `adders` from the rows of the netlist
(`rows.py`). The top function takes the codes from the ports, calls the layers, and gives the codes to the ports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatewright.backends.hls.dialect import AC, AP, Dialect, Pragma
from gatewright.backends.hls.layer import Layer
from gatewright.backends.hls.plan import Plan, make_plan, on_grid
from gatewright.backends.hls.text import moved
from gatewright.backends.part import load_part
from gatewright.backends.rendering import templates
from gatewright.backends.verilog_kernel import comment
from gatewright.errors import UserError
from gatewright.ir.design import Design
from gatewright.ir.graph import Graph

__all__ = ["AC", "AP", "DIALECTS", "KERNELS", "emit", "probe"]

DIALECTS = {AP.folder: AP, AC.folder: AC}
"""The targets, and the dialect of each; a target's files lie in the folder of its name."""
KERNELS = ("loops", "adders")
LINES = 3_000
"""Functions of about so many lines share a file: compilers need memory by the length of a file."""


def emit(dialect: Dialect, design: Design, graph: Graph, header: Mapping[str, Any]) -> dict[str, str]:
    """Files of one dialect by path. Besides what every target gets, `header` has `kernel` (of KERNELS), `reuse` (cycles per
    inference) and `layer_reuse` (the same by ONNX node).

    Raises UserError where an operation has no loop form, for a reuse factor that the kernel cannot have, and for parts that the
    dialect's tools do not know.
    """
    if dialect is AP and load_part(str(header["part"])).vendor != "amd":
        raise UserError(f"Vitis HLS knows no part '{header['part']}'", remedy="Choose an AMD part, or --backend hls-ac")
    plan = make_plan(dialect, design, graph, header)
    files = _files(plan)
    values = {**_values(plan, design, graph, header), "clock_ns": float(header["clock_ns"] or 5.0),
              "files": [f"{design.name}.cpp", *(f"{design.name}_{name}.cpp" for name in files)]}
    names = {f"{design.name}.h": "top.h", f"{design.name}.cpp": "top.cpp", f"{design.name}_layers.h": "layers.h",
             f"{design.name}_test.cpp": "test.cpp"}
    scripts = ("Makefile", "project.tcl", "build.tcl") if dialect is AP else ("Makefile", "catapult.tcl")
    names |= {script: f"{dialect.name}_{script}" for script in scripts}
    texts = {path: _render(template, values) for path, template in names.items()}
    texts |= {f"{design.name}_{name}.cpp": _render("layers.cpp", {**values, "functions": layers}) for name, layers in files.items()}
    return {f"{dialect.folder}/{path}": text for path, text in texts.items()}


def probe(dialect: Dialect, design: Design, graph: Graph, header: Mapping[str, Any]) -> tuple[str, list[Layer]]:
    """The top function with one more statement behind every call, `gatewright_probe("array", array, size);`, and the layers that
    it calls: for diagnosis."""
    plan = make_plan(dialect, design, graph, header)
    return "\n".join(dialect.block(_signature(design), [], _body(plan, design, probed=True))), list(plan.layers)


def _values(plan: Plan, design: Design, graph: Graph, header: Mapping[str, Any]) -> dict[str, Any]:
    """What the templates know."""
    dialect, every = plan.dialect, design.inputs + design.outputs
    pragmas = [Pragma("top"), *(Pragma("port", variable=p.rtl) for p in every)]
    pragmas.append(Pragma("dataflow") if plan.dataflow else Pragma("pipeline", 1))
    return {"design": design, "dialect": dialect, "layers": plan.layers, "ports": _ports(dialect, design, graph), "comment": comment,
            "signature": _signature(design), "dataflow": plan.dataflow, "ii": max([header["reuse"], *header["layer_reuse"].values()]),
            "top": dialect.block(_signature(design), pragmas, _body(plan, design)),
            "input_elements": sum(p.elements for p in design.inputs), "output_elements": sum(p.elements for p in design.outputs),
            "header": {key: comment(str(header[key])) for key in ("model", "gatewright", "sha256", "part")}}


def _signature(design: Design) -> str:
    parameters = [f"const {p.rtl}_t {p.rtl}[{p.elements}]" for p in design.inputs]
    parameters += [f"{p.rtl}_t {p.rtl}[{p.elements}]" for p in design.outputs]
    return f"void {design.name}({', '.join(parameters)})"


def _ports(dialect: Dialect, design: Design, graph: Graph) -> list[dict[str, Any]]:
    """Every port with the type of its elements, and for the test bench: the place of element i among all codes of its side, and
    how its code is read and written."""
    ports, fixed = [], on_grid(graph)
    for side, group in (("input", design.inputs), ("output", design.outputs)):
        first = 0
        for p in group:
            code, element = dialect.integer(p.type), f"{p.rtl}[i]"
            on = p.name in fixed[side]
            ports.append({
                "port": p, "direction": side, "tensor": comment(p.name), "formula": comment(p.formula), "code": code,
                "shape": "x".join(map(str, p.shape)) or "1", "type": dialect.fixed(p.type) if on else code,
                "place": moved("i", first), "load": dialect.code(element, p.width) if on else element,
                "store": dialect.set_code(element, "code") if on else f"{element} = code;"})
            first += p.elements
    return ports


def _body(plan: Plan, design: Design, probed: bool = False) -> list[str]:
    """The statements of the top function: every array before the call that fills it."""
    lines, own = [], {p.rtl for p in design.outputs}
    for layer in plan.layers:
        for a in layer.results:
            if a.name not in own:
                lines += [f"{plan.dialect.integer(a.type)} {a.name}[{a.size}];",
                          *plan.dialect.pragmas([Pragma("partition", 0, a.name)])]
        lines.append(layer.call)
        if probed:
            lines += [f'gatewright_probe("{a.name}", {a.name}, {a.size});' for a in layer.results]
    return lines


def _files(plan: Plan) -> dict[str, list[Layer]]:
    """The functions by file, about LINES lines in each."""
    groups: list[list[Layer]] = [[]]
    for layer in plan.layers:
        if sum(len(other.lines) for other in groups[-1]) + len(layer.lines) > LINES and groups[-1]:
            groups.append([])
        groups[-1].append(layer)
    return {"layers" if len(groups) == 1 else f"layers_{k}": group for k, group in enumerate(groups, 1)}


def _render(template: str, values: Mapping[str, Any]) -> str:
    return templates("hls").get_template(f"{template}.j2").render(values)
