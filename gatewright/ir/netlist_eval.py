"""The executable meaning of a Netlist: integer evaluation, vectorised over samples and compiled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from gatewright.errors import InternalError, UserError
from gatewright.ir.fixed import Ints
from gatewright.ir.netlist import Netlist, Op

_INPUT, _CONST, _SUM, _BITS, _GE, _EQ, _SELECT, _MUL, _TABLE = (int(o) for o in Op)
_MEMORY = 8 << 20
"""Bytes of row values held at a time where a block of samples is small enough: fits a second-level cache."""
_BLOCK = 16, 256
"""Fewest and most samples of a block; 10^6 rows of 16 samples are 128 MB."""


def evaluate(netlist: Netlist, inputs: Mapping[str, ArrayLike]) -> dict[str, Ints]:
    """Every output port's codes, int64[samples, elements], for `inputs`: codes of every input port, integers of the
    same shape.

    Raises UserError where an input is missing, misshapen or outside its row's bounds, InternalError where a row leaves
    its declared bounds.
    """
    wanted = np.concatenate([np.zeros(0, np.int32), *(p.rows for p in netlist.outputs)])
    values = evaluate_rows(netlist, inputs, wanted)
    ends = np.cumsum([len(p.rows) for p in netlist.outputs])
    return {p.name: values[:, end - len(p.rows):end] for p, end in zip(netlist.outputs, ends.tolist(), strict=True)}


def evaluate_rows(netlist: Netlist, inputs: Mapping[str, ArrayLike], rows: ArrayLike) -> Ints:
    """Values of the rows `rows`, int64[samples, len(rows)]; arguments and errors as for `evaluate`."""
    data, starts = _gather(netlist, inputs)
    wanted = np.ascontiguousarray(rows, np.int32).ravel()
    if wanted.size and not 0 <= wanted.min() <= wanted.max() < len(netlist):
        raise InternalError(f"netlist '{netlist.name}': asked for rows that do not exist")
    out = np.zeros((len(data), len(wanted)), np.int64)
    if len(netlist) == 0 or len(data) == 0:
        return out
    is_input = netlist.op == Op.INPUT
    imm = np.where(is_input, starts[np.where(is_input, netlist.imm, 0)] + netlist.aux, netlist.imm)
    table_starts = np.cumsum([0] + [len(t) for t in netlist.tables])
    tables = np.concatenate([np.zeros(0, np.int64), *netlist.tables])
    block = int(np.clip(_MEMORY // (8 * len(netlist)), *_BLOCK))
    values = np.zeros((len(netlist), min(block, len(data))), np.int64)
    row, sample = _run(netlist.op, imm, netlist.aux, netlist.lo, netlist.hi, netlist.first, netlist.arg, netlist.shift,
                       netlist.neg, tables, table_starts, data, wanted, values, out)
    if row >= 0:
        raise InternalError(f"netlist '{netlist.name}': {netlist.where(row)} leaves its bounds at sample {sample}")
    return out


def _gather(netlist: Netlist, inputs: Mapping[str, ArrayLike]) -> tuple[Ints, Ints]:
    """All inputs as int64[samples, elements of all ports], checked, and where each port starts in it."""
    unknown = sorted(set(inputs) - {p.name for p in netlist.inputs})
    missing = sorted({p.name for p in netlist.inputs} - set(inputs))
    if unknown or missing:
        raise UserError(f"inputs do not match the netlist: missing {missing}, unknown {unknown}")
    arrays = []
    for port in netlist.inputs:
        array = np.asarray(inputs[port.name])
        if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] != len(port.rows):
            raise UserError(f"input '{port.name}' is {array.dtype}{list(array.shape)}; it must be integers, "
                            f"[samples, {len(port.rows)}]")
        outside = (array < netlist.lo[port.rows]) | (array > netlist.hi[port.rows])
        if outside.any():
            sample, element = (int(i) for i in np.unravel_index(np.argmax(outside), outside.shape))
            row = port.rows[element]
            raise UserError(f"input '{port.name}', element {element}: {array[sample, element]} (sample {sample}) is "
                            f"not in {netlist.lo[row]}..{netlist.hi[row]}")
        arrays.append(array.astype(np.int64))
    if len({len(a) for a in arrays}) > 1:
        raise UserError(f"inputs have different numbers of samples: {[len(a) for a in arrays]}")
    starts = np.cumsum([0] + [len(p.rows) for p in netlist.inputs])
    return (np.concatenate(arrays, axis=1) if arrays else np.zeros((1, 0), np.int64)), starts


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _run(op: Any, imm: Any, aux: Any, lo: Any, hi: Any, first: Any, arg: Any, shift: Any, neg: Any, tables: Any,
         table_starts: Any, data: NDArray[Any], wanted: Any, values: Any, out: Any) -> tuple[int, int]:
    """Blocks of samples, row by row; fills `out`. Returns (-1, -1), or the first row and sample out of bounds.

    Sums wrap modulo 2**64 on the way; their results have at most 62 bits, so they are exact.
    """
    block = values.shape[1]
    for begin in range(0, len(data), block):
        n = min(block, len(data) - begin)
        for r in range(len(op)):
            y, kind, place = values[r], op[r], first[r]
            if kind == _SUM:
                for j in range(n):
                    y[j] = imm[r]
                for k in range(place, first[r + 1]):
                    x, s = values[arg[k]], shift[k]
                    if neg[k]:
                        for j in range(n):
                            y[j] -= x[j] << s
                    else:
                        for j in range(n):
                            y[j] += x[j] << s
            elif kind == _INPUT:
                for j in range(n):
                    y[j] = data[begin + j, imm[r]]
            elif kind == _CONST:
                for j in range(n):
                    y[j] = imm[r]
            else:
                a, sa = values[arg[place]], shift[place]
                if kind == _BITS:
                    mask, top = (1 << aux[r]) - 1, (1 << (aux[r] - 1)) if lo[r] < 0 else 0
                    for j in range(n):
                        y[j] = ((((a[j] << sa) >> imm[r]) & mask) ^ top) - top
                elif kind == _SELECT:
                    b, sb, c, sc = values[arg[place + 1]], shift[place + 1], values[arg[place + 2]], shift[place + 2]
                    for j in range(n):
                        y[j] = b[j] << sb if a[j] else c[j] << sc
                elif kind != _TABLE:
                    b, sb = values[arg[place + 1]], shift[place + 1]
                    if kind == _GE:
                        for j in range(n):
                            y[j] = (a[j] << sa) >= (b[j] << sb)
                    elif kind == _EQ:
                        for j in range(n):
                            y[j] = (a[j] << sa) == (b[j] << sb)
                    else:
                        for j in range(n):
                            y[j] = (a[j] << sa) * (b[j] << sb)
                else:
                    start, end = table_starts[imm[r]], table_starts[imm[r] + 1]
                    for j in range(n):
                        at = start + (a[j] << sa) - aux[r]
                        if at < start or at >= end:
                            return r, begin + j
                        y[j] = tables[at]
            wrong = False
            for j in range(n):
                wrong |= (y[j] < lo[r]) | (y[j] > hi[r])
            if wrong:
                for j in range(n):
                    if y[j] < lo[r] or y[j] > hi[r]:
                        return r, begin + j
        for j in range(n):
            for k in range(len(wanted)):
                out[begin + j, k] = values[wanted[k], j]
    return -1, -1
