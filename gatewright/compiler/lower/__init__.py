"""Graph to Netlist: every integer tensor operation as scalar rows. One file per op family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gatewright.compiler.lower import division, function, linear, rank, select, shape, window
from gatewright.compiler.lower.terms import Rows
from gatewright.errors import InternalError
from gatewright.ir.graph import Graph, Op
from gatewright.ir.netlist import Netlist, NetlistBuilder

Lowering = Callable[[Any, list[Rows], NetlistBuilder], Rows]


LOWERINGS: dict[str, Lowering] = {
    "dense": linear.dense,
    "reduce_sum": linear.reduce_sum,
    "combine": linear.combine,
    "multiply": linear.multiply,
    "conv": window.conv,
    "sum_pool": window.sum_pool,
    "extreme_pool": window.extreme_pool,
    "reduce_extreme": window.reduce_extreme,
    "reshape": shape.move,
    "transpose": shape.move,
    "take": shape.take,
    "concat": shape.concat,
    "requant": function.requant,
    "thresholds": function.thresholds,
    "table": function.table,
    "select": select.select,
    "extremum": select.extremum,
    "top_k": rank.top_k,
    "divide": division.divide,
    "square_root": division.square_root,
}


def lower(graph: Graph, arity: int = 2, effort: int = 0, signed: bool = False) -> tuple[Netlist, dict[str, Rows]]:
    """The Graph as one combinational kernel, and the rows of every tensor's elements (int32 of the tensor's shape).

    `arity`: operands that the target adds in one carry chain, 2 or 3; `effort`: how long to search, 0..3; `signed`: sums stay signed
    numbers, as software adds them. Ports are called like the model's inputs and outputs. Raises InternalError on an operation that has no
    lowering (regions have been replaced by the integer-functions pass).
    """
    builder = NetlistBuilder(graph.name, arity, effort, signed)
    rows: dict[str, Rows] = {}
    for op in graph.ops:
        builder.origin(op.node)
        if op.kind == "input":
            rows[op.name] = builder.input(op.name, op.type.lo.reshape(-1), op.type.hi.reshape(-1)).reshape(op.type.shape)
            continue
        rows[op.name] = _lowered(op, [rows[i] for i in op.inputs], builder)
    for output in graph.outputs:
        op = graph.by_name[output.value]
        builder.origin(op.node)
        builder.output(output.name, _fitted(op, rows[op.name].reshape(-1), builder))
    return builder.build(), rows


def _fitted(op: Op, rows: Rows, builder: NetlistBuilder) -> Rows:
    """The rows of an output without the upper bits that its type, narrower than the rows' own bounds, shows to be idle."""
    lo, hi, widths = (np.asarray(v).reshape(-1) for v in (op.type.lo, op.type.hi, op.type.widths))
    wide = np.flatnonzero((builder.lo[rows] < lo) | (builder.hi[rows] > hi))
    fitted = rows.copy()
    fitted[wide] = builder.bits(rows[wide], 0, widths[wide], lo[wide] < 0, bounds=(lo[wide], hi[wide]))
    return fitted


def _lowered(op: Op, operands: list[Rows], builder: NetlistBuilder) -> Rows:
    if op.kind not in LOWERINGS:
        raise InternalError(f"'{op.name}': no lowering for {op.kind}")
    rows = LOWERINGS[op.kind](op, operands, builder)
    if rows.shape != op.type.shape:
        raise InternalError(f"'{op.name}': lowered to shape {rows.shape}, not {op.type.shape}")
    return np.asarray(rows, np.int32)
