"""Where every element of the Graph is in a Netlist, also those whose row a pass has merged into other rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from gatewright.ir.fixed import Ints
from gatewright.ir.graph import Graph
from gatewright.ir.intervals import Bools, Rows
from gatewright.ir.netlist import Netlist, Op


@dataclass(frozen=True, eq=False)
class Places:
    """All elements of all tensors, in the Graph's order: element i is `const[i]` plus the sum of `coef * row` over its terms
    `first[i]:first[i+1]`; or it is nowhere (`gone`, no terms), because nothing depends on it.

    A claim, which the proof checks, not a fact. Tensor `name` has the elements from `start[name]` on, in C order.
    """

    start: Mapping[str, int]
    first: Ints
    row: Rows
    coef: Ints
    const: Ints
    gone: Bools

    @staticmethod
    def lowered(graph: Graph, rows: Mapping[str, Rows]) -> Places:
        """From the rows of every tensor's elements, as lowering gives them."""
        size = [op.type.size for op in graph.ops]
        start = dict(zip([op.name for op in graph.ops], np.cumsum([0, *size]).tolist(), strict=False))
        row = np.concatenate([np.zeros(0, np.int32), *(rows[op.name].reshape(-1) for op in graph.ops)]).astype(np.int32)
        n = len(row)
        return Places(start, np.arange(n + 1), row, np.ones(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.bool_))

    def moved(self, before: Netlist, moved: Rows) -> Places:
        """After a pass that keeps values: `moved[r]` is the new row of row r of `before`, -1 where it has none.

        Where the row of an element has none, the element is the sum that the row was, of rows that stay.
        """
        places = self
        while (lost := moved[places.row] < 0).any():
            places = places._opened(before, lost)
        return replace(places, row=moved[places.row])

    def of_outputs(self, graph: Graph, netlist: Netlist) -> Places:
        """With the rows of the output ports for outputs that are nowhere: a constant has its row by its value alone."""
        own = np.concatenate([np.zeros(0, np.int64), *(self.start[o.value] + np.arange(graph.by_name[o.value].type.size)
                                                       for o in graph.outputs)])
        row = np.concatenate([np.zeros(0, np.int32), *(p.rows for p in netlist.outputs)])
        element, at = np.unique(own, return_index=True)
        new = self.gone[element]
        element, row, gone = element[new], row[at[new]], self.gone.copy()
        gone[element] = False
        count = np.diff(self.first)
        count[element] = 1
        return replace(self, first=np.concatenate([[0], np.cumsum(count)]), row=np.insert(self.row, self.first[element], row),
                       coef=np.insert(self.coef, self.first[element], 1), gone=gone)

    def _opened(self, before: Netlist, lost: Bools) -> Places:
        """With the sums in the terms marked in `lost` replaced by their operands."""
        owner = np.repeat(np.arange(len(self.const)), np.diff(self.first))
        op, imm = before.op[self.row], before.imm[self.row]
        opens = lost & ((op == Op.SUM) | (op == Op.CONST))
        gone, const = self.gone.copy(), self.const.copy()
        gone[owner[lost & ~opens]] = True
        np.add.at(const, owner[opens], self.coef[opens] * imm[opens])
        count = np.where(opens, np.diff(before.first)[self.row], 1)
        count[gone[owner]] = 0
        place = np.repeat(before.first[self.row] - (np.cumsum(count) - count), count) + np.arange(count.sum())
        term = np.repeat(np.arange(len(owner)), count)
        new = opens[term]
        place = place[new]
        row, coef = self.row[term], self.coef[term]
        row[new] = before.arg[place]
        coef[new] *= np.where(before.neg[place], -1, 1) * (np.int64(1) << before.shift[place].astype(np.int64))
        size = np.bincount(owner[term], minlength=len(const))
        return replace(self, first=np.concatenate([[0], np.cumsum(size)]), row=row, coef=coef,
                       const=np.where(gone, 0, const), gone=gone)
