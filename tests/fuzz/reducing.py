"""Smaller models with the same failure: what a case file needs besides hypothesis's own shrinking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy

from description import Description, Node

NEW_TYPE = ("Cast", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "ArgMax", "ArgMin", "Gather", "Where", "Shape",
            "MatMulInteger", "ConvInteger")
"""Their results may have another type than an operand has."""


def reduced(model: Description, fails: Callable[[Description], bool]) -> Description:
    """Fewer outputs, nodes, operands and simpler constants, as long as `fails` holds."""
    done = False
    while not done:
        done = True
        for smaller in candidates(model):
            if fails(smaller):
                model, done = smaller, False
                break
    return model


def candidates(model: Description) -> Iterator[Description]:
    for name in model.outputs:
        if len(model.outputs) > 1:
            yield pruned(model, lambda m, name=name: m.outputs.pop(name))  # type: ignore[misc]
    data = {*model.inputs, *(o for n in model.nodes for o in n.outputs)}
    for k, node in enumerate(model.nodes):
        if node.op not in NEW_TYPE and not node.op.startswith(("QLinear", "QGemm", "Quantize", "Dequantize")):
            for source in sorted(data & set(node.inputs)):
                yield pruned(model, lambda m, k=k, source=source: bypass(m, m.nodes[k], source))  # type: ignore[misc]
    for k, node in enumerate(model.nodes):
        if node.outputs[0] not in model.outputs:  # what reads it may be left out
            yield pruned(model, lambda m, k=k: outputs_only(m, m.nodes[k]))  # type: ignore[misc]
    for k, node in enumerate(model.nodes):
        for key in node.attributes:
            yield pruned(model, lambda m, k=k, key=key: m.nodes[k].attributes.pop(key))  # type: ignore[misc]
    for name, (_, _, values) in model.constants.items():
        for simple in (0, 1) if any(v not in (0, 1) for v in values) else (0,) if any(values) else ():
            yield pruned(model, lambda m, name=name, simple=simple: simplify(m, name, simple))  # type: ignore[misc]


def bypass(model: Description, node: Node, source: str) -> None:
    """The operand takes the place of the node's results."""
    gone = set(node.outputs)
    model.nodes.remove(node)
    for n in model.nodes:
        n.inputs = [source if i in gone else i for i in n.inputs]
    model.outputs = {k: v for k, v in model.outputs.items() if k not in gone}


def outputs_only(model: Description, node: Node) -> None:
    """The node's result is the only output."""
    rank = next(iter(model.outputs.values()))[1]
    model.outputs = {node.outputs[0]: ("float32", rank)}


def simplify(model: Description, name: str, value: int) -> None:
    element, shape, values = model.constants[name]
    model.constants[name] = element, shape, [type(v)(value) for v in values]


def pruned(model: Description, change: Callable[[Description], object]) -> Description:
    """A changed copy without what no output needs."""
    copy = deepcopy(model)
    change(copy)
    needed = set(copy.outputs)
    nodes = []
    for n in reversed(copy.nodes):
        if needed & set(n.outputs):
            needed |= set(n.inputs)
            nodes.append(n)
    copy.nodes = nodes[::-1]
    copy.inputs = {k: v for k, v in copy.inputs.items() if k in needed}
    copy.constants = {k: v for k, v in copy.constants.items() if k in needed}
    return copy
