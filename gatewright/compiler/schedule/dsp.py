"""Products in DSP blocks, where the user asks for them: the largest that fit, by the LUTs that they would take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gatewright.backends.part import Part
from gatewright.compiler.estimate.cost import row_costs
from gatewright.errors import UserError
from gatewright.ir.netlist import IN_DSP, Netlist, Op
from gatewright.ir.usage import constant


def products_in_dsps(netlist: Netlist, part: Part, limit: int) -> tuple[Netlist, str]:
    """The netlist with up to `limit` of its products of two tensors marked IN_DSP, and a note that says how many.

    A product takes one block: both operands, as signed numbers, fit its multiplier. Raises UserError where the part has fewer blocks.
    """
    if limit > part.totals["dsp"]:
        raise UserError(f"{limit} DSP blocks are asked for, and the part {part.name} has {part.totals['dsp']}",
                        remedy="Ask for fewer with --dsp, or choose another part")
    fixed = constant(netlist)
    rows = np.flatnonzero((netlist.op == Op.MUL) & ~fixed)
    place = netlist.first[rows][:, None] + np.arange(2)
    operand = netlist.arg[place]
    width = np.sort(netlist.widths[operand] + netlist.shift[place] + (netlist.lo[operand] >= 0), axis=1)
    wide, narrow = part.multiplier
    lut = row_costs(netlist, part).lut[rows]
    fits = ~fixed[operand].any(axis=1) & (width[:, 1] <= wide) & (width[:, 0] <= narrow) & (lut > 0)
    order = np.argsort(-lut[fits], kind="stable")[:limit]
    chosen = rows[fits][order]
    imm = netlist.imm.copy()
    imm[chosen] = IN_DSP
    return replace(netlist, imm=imm), (f"{len(chosen)} of the {limit} DSP blocks asked for are used, for {int(fits.sum())} products of "
                                       f"two tensors that fit a {wide} x {narrow} multiplier; {int(lut[fits][order].sum())} LUTs less by "
                                       "the estimate.")
