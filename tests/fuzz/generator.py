"""A hypothesis strategy of whole models: 1 to 3 inputs, a few drawn operators, every tensor that nobody reads an output."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from description import Description
from drawing import OPSETS, Drawing, Unfit, exists
from hypothesis import assume
from hypothesis import strategies as st
from strategies import TABLES

OPERATORS = [(domain, op) for domain, table in TABLES.items() for op in table]


@st.composite
def models(draw: Callable[[Any], Any], focus: tuple[str, str] | None = None, most: int = 6) -> Description:
    """Legal models of random operators, and of what makes operands fit for them; `focus` is an operator that all have."""
    domain, op = focus or draw(st.sampled_from(OPERATORS))
    g = Drawing(draw, [o for o in OPSETS if domain or exists(op, o)])
    for _ in range(g.pick((1, 1, 2, 3))):
        g.input()
    possible = [(d, name) for d, name in OPERATORS if d or exists(name, g.d.opset)]
    before, after = g.integer(0, most // 2), g.integer(0, most // 2)
    for _ in range(before):
        attempt(g, *g.pick(possible))
    assume(attempt(g, domain, op) or attempt(g, domain, op))
    for _ in range(after):
        attempt(g, *g.pick(possible))
    finish(g)
    return g.d


def attempt(g: Drawing, domain: str, op: str) -> bool:
    """Draws an operator; leaves the model as it was where it does not fit."""
    before = deepcopy(g.d), list(g.tensors)
    try:
        TABLES[domain][op](g)
    except Unfit:
        g.d, g.tensors = before
        return False
    return True


def finish(g: Drawing) -> None:
    """Tensors that nobody reads are outputs, and sometimes one that somebody reads; inputs that nobody reads go away."""
    read = {name for n in g.d.nodes for name in n.inputs}
    made = {name for n in g.d.nodes for name in n.outputs}
    for name in [k for k in g.d.inputs if k not in read]:
        del g.d.inputs[name]
    for t in g.tensors:
        if t.name in made and (t.name not in read or g.integer(0, 15) == 15):
            g.d.outputs[t.name] = t.element, len(t.shape)
    assume(g.d.outputs)
