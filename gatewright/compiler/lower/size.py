"""How large fully parallel hardware would be, before it is built: networks beyond a kernel's size are refused at once."""

from __future__ import annotations

import math

from gatewright.compiler.arithmetic.digits import digit_count
from gatewright.errors import UserError
from gatewright.ir.fixed import Ints
from gatewright.ir.graph import Graph, Op
from gatewright.ir.ops import (
    Combine,
    Concat,
    Conv,
    Dense,
    ExtremePool,
    Input,
    ReduceExtreme,
    ReduceSum,
    Requant,
    Reshape,
    SumPool,
    Table,
    Take,
    Thresholds,
    Transpose,
)

MAX_ROWS = 1_000_000
"""Rows of a kernel. Lowering takes about 50 microseconds and 6 KB of memory for each (measured on networks of 10^5 rows)."""


def check_size(graph: Graph) -> None:
    """Raises UserError, naming the largest node, where the Graph as one fully parallel kernel is beyond MAX_ROWS."""
    rows: dict[str, int] = {}
    operands = graph.by_name
    for op in graph.ops:
        rows[op.node] = rows.get(op.node, 0) + expected_rows(op, [operands[i] for i in op.inputs])
    total = sum(rows.values())
    if total > MAX_ROWS:
        node = max(rows, key=lambda n: rows[n])
        raise UserError(f"fully parallel hardware for this network takes about {total:,} operations, {rows[node]:,} of them for "
                        f"this node; one kernel has at most {MAX_ROWS:,}", node=node,
                        remedy="Compile a part of it with --outputs, or a smaller network; 'gatewright inspect' shows the whole "
                               "graph, node by node")


def expected_rows(op: Op, operands: list[Op]) -> int:
    """Operations that the op becomes, as long as nothing is shared: an addition for every signed digit of a weight."""
    size = op.type.size
    if isinstance(op, Input | Reshape | Transpose | Take | Concat):
        return 0
    if isinstance(op, Dense):
        return digits(op.weight) * (size // int(op.weight.shape[1]))
    if isinstance(op, Conv):
        return digits(op.weight) * (size // int(op.weight.shape[0]))
    if isinstance(op, Combine):
        return sum(digits(s) * (size // s.size) for s in op.scales)
    if isinstance(op, SumPool | ExtremePool):
        return size * math.prod(op.kernel) * (2 if isinstance(op, ExtremePool) else 1)
    if isinstance(op, ReduceSum | ReduceExtreme):
        return operands[0].type.size * (2 if isinstance(op, ReduceExtreme) else 1)
    if isinstance(op, Requant):
        return (digits(op.mul) * (size // op.mul.size)) + 4 * size  # rounding, and a clip on both sides
    if isinstance(op, Table):
        return size * op.type.common.width * -(-int(op.values.shape[-1]) // 64)  # look-up tables of six inputs
    if isinstance(op, Thresholds):
        return 2 * int(op.levels.shape[-1]) * size
    return 2 * max(size, *(x.type.size for x in operands))


def digits(weights: Ints) -> int:
    """Of all weights together."""
    return int(digit_count(weights).sum())
