"""Which functions the top function calls, on which arrays: from the Graph (loops) or the netlist (adder graphs)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from gatewright.backends.hls.dialect import Dialect
from gatewright.backends.hls.layer import Array, Layer
from gatewright.backends.hls.loops import TEMPLATES
from gatewright.backends.hls.rows import Rows
from gatewright.backends.hls.text import Writer
from gatewright.backends.identifiers import identifiers
from gatewright.errors import UserError
from gatewright.ir.design import Design, Port
from gatewright.ir.graph import Graph, Op
from gatewright.ir.netlist import IN_DSP
from gatewright.ir.netlist import Op as RowOp
from gatewright.ir.ops import Input, Multiply, Reshape


@dataclass(frozen=True)
class Plan:
    """Everything between the ports: functions in the order of their calls, and the arrays between them."""

    dialect: Dialect
    layers: tuple[Layer, ...]
    dataflow: bool


def on_grid(graph: Graph) -> dict[str, set[str]]:
    """The inputs and outputs whose codes mean code * 2**-frac, so that a fixed-point type says it."""
    def plain(meaning: Any, frac: int) -> bool:
        scale = Fraction(2) ** -frac
        return bool((meaning.scale == scale).all() and (meaning.offset == 0).all())

    return {"input": {op.name for op in graph.input_ops if isinstance(op, Input) and op.encoding is None
                      and plain(graph.meanings[op.name], op.type.frac)},
            "output": {o.name for o in graph.outputs if plain(o.meaning, graph.by_name[o.value].type.frac)}}


def make_plan(dialect: Dialect, design: Design, graph: Graph, header: Mapping[str, Any]) -> Plan:
    """The layers of the kernel that `header` asks for."""
    factors = dict(header["layer_reuse"])
    if header["kernel"] == "adders" and (header["reuse"] > 1 or factors):
        raise UserError("an adder graph is fully parallel: its kernel has no reuse factor", remedy="Choose --kernel loops")
    unknown = factors.keys() - {op.node for op in graph.ops}
    if unknown:
        raise UserError(f"a reuse factor for '{min(unknown)}', which is no layer of the model",
                        remedy=f"Layers are {', '.join(dict.fromkeys(o.node for o in graph.ops if not isinstance(o, Input | Reshape)))}")
    dataflow = header["reuse"] > 1 or any(f > 1 for f in factors.values())
    return _Planner(dialect, design, graph, int(header["reuse"]), factors, dataflow).plan(str(header["kernel"]))


class _Planner:
    def __init__(self, dialect: Dialect, design: Design, graph: Graph, reuse: int, factors: Mapping[str, int], dataflow: bool) -> None:
        self.dialect, self.design, self.graph = dialect, design, graph
        self.reuse, self.factors, self.dataflow = reuse, factors, dataflow
        netlist = design.kernels[0].netlist
        in_dsp = (netlist.op == RowOp.MUL) & (netlist.imm == IN_DSP)
        self.dsps = Counter(netlist.origins[k] for k in netlist.origin[in_dsp].tolist())
        self.taken = [design.name, f"{design.name}_layers", *(p.rtl for p in design.inputs + design.outputs)]

    def names(self, wanted: Iterable[str]) -> tuple[str, ...]:
        found = identifiers(list(wanted), self.taken)
        self.taken += found
        return found

    def plan(self, kernel: str) -> Plan:
        takes, inputs = self._takes()
        if kernel == "loops":
            layers, values = self._loops(inputs)
            outputs = [[(values[o.value], k) for k in range(values[o.value].size)] for o in self.graph.outputs]
        else:
            rows = Rows(self.design.kernels[0].netlist, self.dialect)
            nodes = [rows.netlist.origins[rows.origin[p.first]] for p in rows.parts()]
            functions = self.names(nodes)
            layers = rows.layers([inputs[p.name] for p in rows.netlist.inputs], functions, self.names(f"{f}_y" for f in functions))
            by_name = {p.name: p.rows.tolist() for p in rows.netlist.outputs}
            outputs = [[rows.place.get(r, rows.lo[r]) for r in by_name[p.name]] for p in self.design.outputs]
        gives = [self._give(port, elements) for port, elements in zip(self.design.outputs, outputs, strict=True)]
        all_layers = [*takes, *layers, *gives]
        return Plan(self.dialect, tuple(self._forked(all_layers) if self.dataflow else all_layers), self.dataflow)

    def _writer(self, node: str, dsps: int = 0) -> Writer:
        return Writer(self.dialect, self.factors.get(node, self.reuse), self.dataflow, dsps)

    def _dsps(self, op: Op) -> int:
        """How many of the products of `op` are in DSP blocks in the netlist, which knows the node of each."""
        found = min(self.dsps[op.node], op.type.size) if isinstance(op, Multiply) else 0
        self.dsps[op.node] -= found
        return found

    def _layer(self, name: str, node: str, operands: Sequence[tuple[str, str, Array]], results: Sequence[tuple[str, str, Array]], w: Writer,
               nest: Sequence[str]) -> Layer:
        """A layer; operands and results by type, name inside the function, and array."""
        parameters = [f"const {type_} {x}[{a.size}]" for type_, x, a in operands] + [f"{type_} {y}[{a.size}]" for type_, y, a in results]
        signature = f"void {name}({', '.join(parameters)})"
        return Layer(name, node, tuple(a for *_, a in operands), tuple(a for *_, a in results), signature, w.function(signature, nest))

    def _takes(self) -> tuple[list[Layer], dict[str, Array]]:
        """From fixed-point ports to codes; ports of integers are arrays of codes themselves."""
        layers, arrays, fixed = [], {}, on_grid(self.graph)["input"]
        for port in self.design.inputs:
            array = Array(port.rtl, port.type, port.elements, tensor=port.name)
            if port.name in fixed:
                name, array_name = self.names([f"take_{port.rtl}", f"{port.rtl}_codes"])
                source, array, w = array, replace(array, name=array_name), self._writer("")
                i, = w.outer(("i", port.elements))
                nest = w.loops([f"y[{i}] = {self.dialect.code(f'x[{i}]', port.width)};"])
                layers.append(self._layer(name, port.name, [(f"{port.rtl}_t", "x", source)],
                                          [(w.type(port.type), "y", array)], w, nest))
            arrays[port.name] = array
        return layers, arrays

    def _give(self, port: Port, elements: Sequence[tuple[Array, int] | int]) -> Layer:
        """From codes, elements of arrays or constants, to a port."""
        name, = self.names([f"give_{port.rtl}"])
        w, fixed = self._writer(""), port.name in on_grid(self.graph)["output"]
        code = w.type(port.type)

        def statement(i: str, value: str) -> str:
            return self.dialect.set_code(f"y[{i}]", f"{code}({value})") if fixed else f"y[{i}] = {value};"

        arrays = list(dict.fromkeys(e[0] for e in elements if not isinstance(e, int)))
        own = {a: f"x{k}" if len(arrays) > 1 else "x" for k, a in enumerate(arrays)}
        if elements == [(arrays[0], k) for k in range(port.elements)] if arrays else False:
            i, = w.outer(("i", port.elements))
            nest = w.loops([statement(i, f"x[{i}]")])
        else:
            nest = [statement(str(k), str(e) if isinstance(e, int) else f"{own[e[0]]}[{e[1]}]") for k, e in enumerate(elements)]
        result = Array(port.rtl, port.type, port.elements)
        return self._layer(name, port.name, [(w.type(a.type), own[a], a) for a in arrays], [(f"{port.rtl}_t", "y", result)], w, nest)

    def _loops(self, inputs: Mapping[str, Array]) -> tuple[list[Layer], dict[str, Array]]:
        """A layer for every operation that moves or computes anything, and the array of every tensor."""
        values = dict(inputs)
        ops = [op for op in self.graph.ops if not isinstance(op, Input | Reshape)]
        functions = self.names(op.node for op in ops)
        arrays = dict(zip((op.name for op in ops), self.names(f"{f}_y" for f in functions), strict=True))
        named = dict(zip((op.name for op in ops), functions, strict=True))
        layers = []
        for op in self.graph.ops:
            if isinstance(op, Reshape):
                values[op.name] = values[op.inputs[0]]
            elif not isinstance(op, Input):
                values[op.name] = Array(arrays[op.name], op.type.common, op.type.size, tensor=op.name)
                layers.append(self._operation(named[op.name], op, values))
        return layers, values

    def _operation(self, name: str, op: Op, values: Mapping[str, Array]) -> Layer:
        template = TEMPLATES.get(type(op))
        if template is None:
            raise UserError(f"the operation '{op.kind}' has no form in loops", node=op.node, remedy="Choose --kernel adders")
        distinct = list(dict.fromkeys(op.inputs))
        inside = {n: f"x{k}" if len(distinct) > 1 else "x" for k, n in enumerate(distinct)}
        w = self._writer(op.node, self._dsps(op))
        nest = template(w, op, [(inside[n], self.graph.by_name[n].type) for n in op.inputs])
        result = values[op.name]
        operands = [(w.type(values[n].type), inside[n], values[n]) for n in distinct]
        return self._layer(name, op.node, operands, [(w.type(op.type), "y", result)], w, nest)

    def _forked(self, layers: Sequence[Layer]) -> list[Layer]:
        """Every array read once: tasks that run side by side hand each array from one to one, so copies are made of others."""
        readers: dict[str, int] = {}
        for layer in layers:
            for a in layer.operands:
                readers[a.name] = readers.get(a.name, 0) + 1
        ready = {a.name: a for layer in layers for a in layer.operands}
        made = {a.name for layer in layers for a in layer.results}
        copies: dict[str, list[Array]] = {}
        result = [self._fork(a, readers[a.name], copies) for a in ready.values() if readers[a.name] > 1 and a.name not in made]
        for layer in layers:
            own = tuple(copies[a.name].pop(0) if a.name in copies else a for a in layer.operands)
            result.append(replace(layer, operands=own))
            result += [self._fork(a, readers[a.name], copies) for a in layer.results if readers.get(a.name, 0) > 1]
        return result

    def _fork(self, array: Array, count: int, copies: dict[str, list[Array]]) -> Layer:
        name, *arrays = self.names([f"fork_{array.name}", *(f"{array.name}_{k}" for k in range(count))])
        made = [replace(array, name=n) for n in arrays]
        w = self._writer("")
        i, = w.outer(("i", array.size))
        nest = w.loops([f"y{k}[{i}] = x[{i}];" for k in range(count)])
        copies[array.name] = made
        type_ = w.type(array.type)
        return self._layer(name, array.tensor, [(type_, "x", array)], [(type_, f"y{k}", a) for k, a in enumerate(made)], w, nest)
