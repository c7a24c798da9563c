"""Common rows: rows that compute the same value from the same operands become one (the first of them).

Rows are compared by op, operands (with shift and sign, in order; those of sums, products and `eq` in any order), imm,
aux and bounds: a row that is known to be narrower stays apart, because its users may rely on that. One sweep in
topological order, so that rows whose operands have become the same row are found too; where such a row's range shrinks
(64 * x - y, now 63 * x), its bounds and those of its users do.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from gatewright.compiler.passes.netlist.rebuild import keep_rows
from gatewright.ir.intervals import Rows
from gatewright.ir.netlist import Netlist, Op, narrowed

_INPUT, _SUM, _EQ, _MUL = int(Op.INPUT), int(Op.SUM), int(Op.EQ), int(Op.MUL)


def common_rows(netlist: Netlist) -> tuple[Netlist, Rows]:
    stand_in = np.arange(len(netlist), dtype=np.int32)
    operand = (netlist.arg.astype(np.int64) << 7) | (netlist.shift.astype(np.int64) << 1) | netlist.neg
    slots = np.full(1 << max(4, int(2 * len(netlist)).bit_length()), -1, np.int32)
    _sweep(netlist.op, netlist.imm, netlist.aux, netlist.lo, netlist.hi, netlist.first, operand, slots, stand_in)
    merged, moved = keep_rows(netlist, stand_in == np.arange(len(netlist)), stand_in)
    return narrowed(merged), moved


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _sweep(op: Any, imm: Any, aux: Any, lo: Any, hi: Any, first: Any, operand: Any, slots: Any,
           stand_in: Any) -> None:
    """Open addressing over `slots`; `operand` is rewritten to rows that stand in, and sorted where order is free."""
    for r in range(len(op)):
        begin, end = first[r], first[r + 1]
        for k in range(begin, end):
            operand[k] = (np.int64(stand_in[operand[k] >> 7]) << 7) | (operand[k] & 127)
        if op[r] == _INPUT:
            continue
        if op[r] == _SUM or op[r] == _MUL or op[r] == _EQ:
            operand[begin:end].sort()
        mixed = np.uint64(op[r]) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(lo[r])
        mixed = (mixed ^ np.uint64(imm[r])) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(29)) ^ np.uint64(aux[r])) * np.uint64(0x94D049BB133111EB)
        for k in range(begin, end):
            mixed = (mixed ^ (mixed >> np.uint64(29)) ^ np.uint64(operand[k])) * np.uint64(0xBF58476D1CE4E5B9)
        at = np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(len(slots) - 1))
        while slots[at] >= 0:
            q = slots[at]
            same = (op[q] == op[r] and imm[q] == imm[r] and aux[q] == aux[r] and lo[q] == lo[r] and hi[q] == hi[r]
                    and first[q + 1] - first[q] == end - begin)
            k = 0
            while same and k < end - begin:
                same = operand[first[q] + k] == operand[begin + k]
                k += 1
            if same:
                stand_in[r] = q
                break
            at = (at + 1) & (len(slots) - 1)
        else:
            slots[at] = r
