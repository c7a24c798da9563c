"""Dead rows: removes every row that no output depends on. Input rows stay, because they are the interface."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from gatewright.compiler.passes.netlist.rebuild import keep_rows
from gatewright.ir.intervals import Rows
from gatewright.ir.netlist import Netlist, Op


def dead_rows(netlist: Netlist) -> tuple[Netlist, Rows]:
    live = np.zeros(len(netlist), np.bool_)
    for port in netlist.outputs:
        live[port.rows] = True
    _mark(netlist.first, netlist.arg, live)
    return keep_rows(netlist, live | (netlist.op == Op.INPUT))


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _mark(first: Any, arg: Any, live: Any) -> None:
    for r in range(len(live) - 1, -1, -1):
        if live[r]:
            for k in range(first[r], first[r + 1]):
                live[arg[k]] = True
