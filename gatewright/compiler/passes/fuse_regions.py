"""Joins element-wise regions that follow one another into one, so that its cheapest form is found for the whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from gatewright.compiler.passes.base import PassResult
from gatewright.compiler.passes.exact_ranges import narrowed
from gatewright.ir import expr as ex
from gatewright.ir.graph import Graph, Op, rename_inputs, typed
from gatewright.ir.ops import Region
from gatewright.ir.ops.region import exact_ends


@dataclass(frozen=True)
class FuseRegions:
    """Cases: a region whose users are all regions is substituted into them where that adds no operand; a region that is
    the identity disappears."""

    name: ClassVar[str] = "fuse-regions"

    def run(self, graph: Graph) -> PassResult:
        current: dict[str, Op] = {}
        renamed: dict[str, str] = {}
        gone: dict[str, str] = {}
        kept = {o.value for o in graph.outputs}
        for op in graph.ops:
            op = rename_inputs(op, renamed)
            op = narrowed(op, [current[i] for i in op.inputs])
            if isinstance(op, Region):
                op = self._fused(op, current, graph, kept, gone)
                if isinstance(op.expr, ex.Leaf) and current[op.inputs[0]].type.shape == op.shape:
                    renamed[op.name] = op.inputs[0]
                    continue
            current[op.name] = op
        used = {i for op in current.values() for i in op.inputs} | {renamed.get(v, v) for v in kept}
        gone = {k: v for k, v in gone.items() if k not in used}
        gone |= {k: gone[v] for k, v in renamed.items() if v in gone}
        renamed = {k: v for k, v in renamed.items() if k not in gone}
        ops = [op for op in current.values() if op.name not in gone]
        return PassResult(graph.with_ops(ops, renamed), renamed, gone)

    def _fused(self, op: Region, current: dict[str, Op], graph: Graph, kept: set[str], gone: dict[str, str]) -> Region:
        """`op` with the regions it reads substituted, as long as that adds no operand."""
        while True:
            for name in op.inputs:
                inner = current[name]
                if not isinstance(inner, Region) or name in kept:
                    continue
                if not all(isinstance(u, Region) for u in graph.users.get(name, [])):
                    continue
                operands = list(dict.fromkeys(n for i in op.inputs for n in (inner.inputs if i == name else (i,))))
                if len(operands) <= len(op.inputs):
                    op = substituted(op, inner, operands, current)
                    gone[name] = f"computed inside '{op.name}'"
                    break
            else:
                return op


def substituted(op: Region, inner: Region, operands: list[str], current: dict[str, Op]) -> Region:
    """`op` reading the operands of `inner` in place of its result."""
    leaf = {name: ex.Leaf(k) for k, name in enumerate(operands)}
    inside = ex.substitute(inner.expr, {k: leaf[n] for k, n in enumerate(inner.inputs)})
    whole = ex.substitute(op.expr, {k: inside if n == inner.name else leaf[n] for k, n in enumerate(op.inputs)})
    sources = [current[n] for n in operands]
    simple = ex.simplify(whole, [exact_ends(s.type) for s in sources])
    new = typed(Region, op.name, sources, op.node, op.type.frac, expr=simple, shape=op.shape)
    assert isinstance(new, Region)
    return replace(new, type=new.type.cut(op.type.lo, op.type.hi))
