"""Small Graphs as text for tests, and what holds for all of them."""

from __future__ import annotations

import numpy as np

from gatewright.compiler.lower import lower
from gatewright.compiler.passes.base import GraphPass
from gatewright.ir import netlist as netlists
from gatewright.ir.graph import Codes, Graph, Op, typed, verify
from gatewright.ir.netlist_eval import evaluate_rows
from gatewright.ir.ops import OPS
from gatewright.ir.text import parse, show

WIDE = -(1 << 60), (1 << 60)


def graph(*lines: str) -> Graph:
    """Operations as text, without outer braces; `output` of the last one where none is given."""
    body = "\n".join(lines)
    if "output " not in body:
        body += f'\noutput "out" = {lines[-1].split()[0]} scale 1 offset 0'
    return parse(f'graph "g" {{\n{body}\n}}')


def lines(g: Graph) -> list[str]:
    """The operations of a Graph as text, one a line."""
    return [line.strip() for line in show(g).splitlines() if line.startswith("  %")]


def given(name: str, shape: str, bounds: str) -> str:
    """An input operation."""
    return f'%{name} = input() {{encoding = none}} : {shape} {bounds} frac 0 @ "{name}"'


def op(text: str, *inputs: str) -> Graph:
    """Inputs as text and one operation on them, `y`, whose type is derived from its operands.

    `text` is kind(...) {...}; the operation reads the inputs in order unless it names others.
    """
    sources = [graph(i, 'output "unused" = %a scale 1 offset 0').ops[0] for i in inputs]
    kind, attributes = text.split(" ", 1)
    names = ", ".join(f"%{s.name}" for s in sources)
    call = kind if "(" in kind else f"{kind}({names})"
    probe = graph(*inputs, f'%y = {call} {attributes} : [] {WIDE[0]}..{WIDE[1]} frac 0 @ "node"')
    return retyped(probe)


def retyped(g: Graph) -> Graph:
    """The Graph with all computed types derived from the inputs'."""
    done: dict[str, Op] = {}
    for o in g.ops:
        attributes = {k: v for k, v in vars(o).items() if k not in ("name", "inputs", "node", "type")}
        done[o.name] = typed(OPS[o.kind], o.name, [done[i] for i in o.inputs], o.node, o.type.frac,
                             **attributes) if o.inputs else o
    return g.with_ops(done.values())


def every_code(g: Graph, most: int = 4000) -> dict[str, Codes]:
    """Codes for all inputs: every one of a single element's range where the sizes allow, else ends and random ones.

    Elements are stepped at once, so each takes all its codes; inputs run through their product.
    """
    rng = np.random.default_rng(1)
    spans = [int((o.type.hi - o.type.lo).max(initial=0)) + 1 for o in g.input_ops]
    total = int(np.prod([float(s) for s in spans]))
    result = {}
    for k, o in enumerate(g.input_ops):
        if total <= most:
            step = np.arange(total) // int(np.prod(spans[k + 1:], dtype=np.int64)) % spans[k]
            step = step.reshape(-1, *(1,) * o.type.lo.ndim)
            result[o.name] = np.asarray(np.minimum(o.type.lo + step, o.type.hi), np.int64)
        else:
            codes = rng.integers(o.type.lo, o.type.hi, (most, *o.type.shape), endpoint=True)
            codes[:2] = np.stack([o.type.lo, o.type.hi])
            result[o.name] = codes
    return result


def same_bits(old: Graph, new: Graph, most: int = 4000) -> None:
    """Both are valid and give the same output codes."""
    verify(old)
    verify(new)
    inputs = every_code(old, most)
    before, after = old.evaluate(inputs), new.evaluate(inputs)
    assert [o.name for o in old.outputs] == [o.name for o in new.outputs]
    for a, b in zip(old.outputs, new.outputs, strict=True):
        assert np.array_equal(before[a.value], after[b.value]), f"output {a.name} differs"


def passed(graph_pass: GraphPass, *text: str) -> tuple[Graph, Graph, dict[str, str]]:
    """The graph of these lines, what a pass makes of it, with the same bits in rows, too, and what has gone."""
    old = retyped(graph(*text))
    result = graph_pass.run(old)
    same_bits(old, result.graph)
    lowered_alike(result.graph, 500)
    return old, result.graph, dict(result.gone)


def lowered_alike(g: Graph, most: int = 4000) -> None:
    """The netlist of the Graph is valid, and every tensor's rows carry the codes that the Graph computes."""
    verify(g)
    netlist, rows = lower(g)
    netlists.verify(netlist)
    inputs = every_code(g, most)
    names = [o.name for o in g.ops]
    expected = g.evaluate(inputs, names)
    flat = {k: v.reshape(len(v), -1) for k, v in inputs.items()}
    got = evaluate_rows(netlist, flat, np.concatenate([rows[n].reshape(-1) for n in names]))
    want = np.concatenate([expected[n].reshape(len(got), -1) for n in names], axis=1)
    assert np.array_equal(got, want)
