"""What a row of a Netlist costs on a Part: LUTs, carry chains and delay, before any synthesis.

Model, for a part with LUTs of L inputs (all counts are of logic that stays after sharing nothing with its neighbours):

- an addition costs one LUT per bit of its carry chain, but for a highest bit that is the chain's carry alone. The chain starts where
  two operands overlap: lower bits, where only one un-negated operand (and no constant) is live, are wires, and so is a constant that
  lies below the only operand's lowest bit; a constant rides along for free. k operands are k - 1 additions in a balanced tree, or one
  chain where that adds three bits per column and they are a heap of no more (backends/add3.py). Sums of
  few bits take LUTs alone where a LUT has two outputs (backends/small_sums.py).
- a comparison with a constant is a tree of LUTs over the bits that matter (a sign test costs nothing), one of two
  values an addition; `eq` is a tree of LUTs.
- `select` costs one LUT per bit, two that limit a value from both sides one together; a table one LUT of L inputs per bit,
  doubling for every further input bit; `mul` compressors of its partial products and an addition, or by a constant the additions
  of its digits. Slices, shifts and constants are wires.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatewright.backends.add2 import two_operands
from gatewright.backends.add3 import three_words
from gatewright.backends.part import Part
from gatewright.backends.small_sums import small_sums
from gatewright.compiler.arithmetic.depth import levels
from gatewright.ir.fixed import Ints, trailing_zeros
from gatewright.ir.intervals import Rows
from gatewright.ir.netlist import IN_DSP, Netlist, Op
from gatewright.ir.offsets import carries_out, offset_form
from gatewright.ir.usage import constant, uses

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class RowCosts:
    """Per row: LUTs, bits of carry chain, two-operand additions, DSP blocks (int64[n]), delay in ns (float64[n]), and the row whose LUTs
    do this one, too, and that alone reads it, else itself (int64[n]): a register between the two would cost LUTs and time."""

    lut: Ints
    carry_bits: Ints
    adders: Ints
    dsp: Ints
    delay_ns: Floats
    within: Ints


def row_costs(netlist: Netlist, part: Part) -> RowCosts:
    """The cost of every row of `netlist` on `part`."""
    n = len(netlist)
    costs = RowCosts(np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n),
                     np.arange(n))
    fixed = constant(netlist)
    rules = {Op.SUM: _sums, Op.GE: _compare, Op.EQ: _compare, Op.SELECT: _selects, Op.MUL: _products, Op.TABLE: _tables}
    for op, rule in rules.items():
        rows = np.flatnonzero((netlist.op == op) & ~fixed).astype(np.int32)
        if len(rows):
            rule(netlist, part, rows, costs)
    if part.adds_three:
        _three_words(netlist, part, costs)
    elif part.adder == "add2":
        _two_operands(netlist, part, costs)
    if part.pairs_luts:
        _small_sums(netlist, part, costs)
    return costs


def _two_operands(netlist: Netlist, part: Part, costs: RowCosts) -> None:
    """Sums in one chain of carry cells, whose delay has the LUT of the cell in it; a saved carry goes through a LUT more."""
    plan, d = two_operands(netlist), part.delay
    costs.lut[plan.rows], costs.carry_bits[plan.rows], costs.adders[plan.rows] = plan.lut, plan.bits, 1
    saved = np.where(plan.lut > plan.bits + 1, d["net"] + d["lut"], 0.0)
    costs.delay_ns[plan.rows] = _add_delay(part, plan.bits) - d["lut"] + saved


def _three_words(netlist: Netlist, part: Part, costs: RowCosts) -> None:
    """Sums in one chain of three words: a LUT per bit, and the way of the saved carry through the LUT below."""
    plan = three_words(netlist)
    chain = netlist.widths[plan.rows] - plan.start - plan.carry_out
    costs.lut[plan.rows], costs.carry_bits[plan.rows] = plan.lut, chain
    costs.adders[plan.rows] = np.where(chain > 0, np.maximum(plan.operands - 1, 1), 0)
    costs.delay_ns[plan.rows] = np.where(plan.lut > 0, _add_delay(part, chain) + part.delay["net"] + part.delay["lut"], 0.0)


def _small_sums(netlist: Netlist, part: Part, costs: RowCosts) -> None:
    """Sums without a chain: one level of LUTs."""
    small = small_sums(netlist)
    costs.lut[small.rows], costs.carry_bits[small.rows] = small.luts, 0
    costs.delay_ns[small.rows] = np.where(small.luts > 0, part.delay["net"] + part.delay["lut"], 0.0)


def _add_delay(part: Part, bits: Ints) -> Floats:
    """Through the LUT in front of a chain of `bits` bits and along the chain."""
    d, groups = part.delay, np.maximum(-(-bits // part.carry_group_bits), 1)
    through = d["net"] + d["lut"] + d["carry_in"] + d["carry_out"] + d["carry_group"] * (groups - 1)
    return np.where(bits > 0, through, 0.0)


def _lut_tree(part: Part, inputs: Ints) -> tuple[Ints, Floats]:
    """LUTs and delay of a function of `inputs` bits that a tree of LUTs can compute; one bit is a wire."""
    size = part.lut_inputs
    depth = levels(np.maximum(inputs, 1), size)
    return -(-(inputs - 1) // (size - 1)), depth * (part.delay["net"] + part.delay["lut"])


def _sums(netlist: Netlist, part: Part, rows: Rows, costs: RowCosts) -> None:
    """One pass over operands sorted by shift within their row, constants left out: they join `imm`."""
    count = np.diff(netlist.first)[rows]
    place = np.repeat(netlist.first[rows] - (np.cumsum(count) - count), count) + np.arange(count.sum())
    owner, arg = np.repeat(np.arange(len(rows)), count), netlist.arg[place]
    fixed = constant(netlist)[arg]
    zeros = np.full(len(rows), 63)
    np.minimum.at(zeros, owner[fixed], trailing_zeros(netlist.lo[arg[fixed]]) + netlist.shift[place[fixed]])
    offset = offset_form(netlist)[rows]
    zeros = np.where(offset, 63, np.minimum(zeros, trailing_zeros(netlist.imm[rows])))
    order = np.lexsort((netlist.shift[place], owner))
    order = order[~fixed[order]]
    owner, place, arg = owner[order], place[order], arg[order]
    shift, neg = netlist.shift[place].astype(np.int64), netlist.neg[place]
    live = np.bincount(owner, minlength=len(rows))
    width, own = netlist.widths[rows], netlist.widths[arg]
    first = np.minimum(np.cumsum(live) - live, len(owner) - 1)
    second = np.minimum(first + 1, len(owner) - 1)
    lowest = shift[first]
    pair = np.where(neg[first], lowest, np.maximum(lowest, np.minimum(zeros, shift[second])))
    apart = (~neg[first] & ~neg[second] & (zeros == 63) & (netlist.lo[arg[first]] >= 0)
             & (lowest + own[first] <= shift[second]))
    alone = np.where(neg[first], np.minimum(lowest, zeros), zeros)
    below = ~neg[first] & (count == 1) & (netlist.imm[rows] >> lowest == 0)
    alone = np.where(below, 63, alone)
    start = np.where(live == 1, alone, np.where((live == 2) & ~apart, pair, np.where(live == 2, 63, lowest)))
    chain = np.maximum(width - start, 0)
    spread = np.bincount(owner, np.minimum(own, width[owner]), minlength=len(rows)).astype(np.int64)
    widest = np.zeros(len(rows), np.int64)
    np.maximum.at(widest, owner, np.minimum(own, width[owner]))
    area = np.where(live > 2, spread - widest + live - 1, chain)
    costs.lut[rows], costs.carry_bits[rows] = np.maximum(area - carries_out(netlist)[rows], 0), area
    costs.adders[rows] = np.where(chain > 0, np.maximum(live - 1, 1), 0)
    levels = np.maximum(np.ceil(np.log2(np.maximum(live, 1))), 1)
    # where both operands repeat their signs in the two highest bits, synthesis gives these one LUT, off the dedicated wire
    repeated = (netlist.lo[arg] < 0) & (shift + own < width[owner])
    shared = (live == 2) & ~offset & (np.bincount(owner, repeated, minlength=len(rows)) == 2) & (part.carry_group_bits > 1)
    late = np.maximum(part.delay["net"] - part.delay["carry_group"] * (chain // part.carry_group_bits), 0)
    costs.delay_ns[rows] = levels * (_add_delay(part, chain) + np.where(shared, late, 0.0))


def _compare(netlist: Netlist, part: Part, rows: Rows, costs: RowCosts) -> None:
    a, b = netlist.first[rows], netlist.first[rows] + 1
    width, fixed = netlist.widths, constant(netlist)
    top = [width[netlist.arg[p]] + netlist.shift[p] for p in (a, b)]
    known = [fixed[netlist.arg[p]] for p in (a, b)]
    equal = netlist.op[rows] == Op.EQ
    # x >= c needs the bits of x from the lowest one of c up; c >= x is not (x >= c + 1)
    limit = np.where(known[1], netlist.lo[netlist.arg[b]] << netlist.shift[b],
                     (netlist.lo[netlist.arg[a]] << netlist.shift[a]) + 1)
    varying = np.where(known[1], a, b)
    own = width[netlist.arg[varying]]
    skipped = np.where(equal, 0, np.maximum(trailing_zeros(limit) - netlist.shift[varying], 0))
    inputs = np.where(known[0] | known[1], np.maximum(own - skipped, 1), 2 * np.maximum(*top))
    lut, delay = _lut_tree(part, inputs)
    chained = ~(equal | known[0] | known[1])
    bits = np.maximum(*top) - np.minimum(netlist.shift[a], netlist.shift[b])
    costs.lut[rows] = np.where(chained, bits, lut)
    costs.carry_bits[rows] = np.where(chained, bits, 0)
    costs.adders[rows] = chained
    costs.delay_ns[rows] = np.where(chained, _add_delay(part, bits), delay)


def _selects(netlist: Netlist, part: Part, rows: Rows, costs: RowCosts) -> None:
    c, fixed = netlist.first[rows], constant(netlist)
    _join_selects(netlist, rows, costs.within)
    free = fixed[netlist.arg[c]] | (costs.within[rows] != rows)
    padding = np.minimum(netlist.shift[c + 1], netlist.shift[c + 2])
    costs.lut[rows] = np.where(free, 0, np.maximum(netlist.widths[rows] - padding, 0))
    costs.delay_ns[rows] = np.where(free, 0.0, part.delay["net"] + part.delay["lut"])


def _join_selects(netlist: Netlist, rows: Rows, within: Ints) -> None:
    """Selects between a value and a constant that only another such select reads: both are one LUT per bit."""
    fixed, place = constant(netlist), netlist.first[rows]
    limits = fixed[netlist.arg[place + 1]] ^ fixed[netlist.arg[place + 2]]
    clips, place = rows[limits], place[limits]
    value = netlist.arg[np.where(fixed[netlist.arg[place + 1]], place + 2, place + 1)]
    inner = np.isin(value, clips[uses(netlist)[clips] == 1])
    within[value[inner]] = clips[inner]
    while (within[within] != within).any():
        within[:] = within[within]


def _products(netlist: Netlist, part: Part, rows: Rows, costs: RowCosts) -> None:
    place, fixed = netlist.first[rows], constant(netlist)
    operands = netlist.arg[place[:, None] + np.arange(2)]
    by_constant, in_dsp = fixed[operands].any(axis=1), netlist.imm[rows] == IN_DSP
    _constant_products(netlist, part, rows[by_constant], operands[by_constant], costs)
    _tensor_products(netlist, part, rows[~by_constant & ~in_dsp], operands[~by_constant & ~in_dsp], costs)
    costs.dsp[rows[in_dsp]] = 1
    costs.delay_ns[rows[in_dsp]] = part.delay["net"] + part.delay["dsp"]


def _constant_products(netlist: Netlist, part: Part, rows: Rows, operands: Rows, costs: RowCosts) -> None:
    """The additions of the constant's ones."""
    widths, fixed = netlist.widths[operands], constant(netlist)[operands]
    terms = np.where(fixed, np.bitwise_count(np.abs(netlist.lo[operands])), widths)
    adders = np.maximum(terms.min(axis=1) - 1, 0)
    added = np.where(terms[:, 0] <= terms[:, 1], widths[:, 1], widths[:, 0])
    costs.lut[rows] = costs.carry_bits[rows] = adders * (added + 1)
    costs.adders[rows] = adders
    costs.delay_ns[rows] = np.ceil(np.log2(adders + 1)) * _add_delay(part, netlist.widths[rows])


def _tensor_products(netlist: Netlist, part: Part, rows: Rows, operands: Rows, costs: RowCosts) -> None:
    """Compressors of three rows of partial products to two, then an addition: what Yosys makes of them.

    A compressor is two LUTs; the three gates in front of it are in these where they have six inputs, and a square has half as many.
    An operand of one bit gates the other one.
    """
    widths = netlist.widths[operands]
    narrow, both, level = widths.min(axis=1), widths.sum(axis=1), part.delay["net"] + part.delay["lut"]
    compressors = np.maximum(narrow - 2, 0) * (widths.max(axis=1) + 2)
    gates = np.where(operands[:, 0] == operands[:, 1], 1.5, 3.0) if part.lut_inputs < 6 else 0.0
    deep = np.where(compressors > 0, np.ceil(np.log(np.maximum(both, 2) / 2) / np.log(1.5)), 0.0)
    gate = narrow == 1
    costs.lut[rows] = np.where(gate, widths.max(axis=1), compressors * (2 + gates) + both)
    costs.carry_bits[rows] = np.where(gate, 0, both)
    costs.adders[rows] = narrow - 1
    costs.delay_ns[rows] = np.where(gate, level, deep * level + _add_delay(part, netlist.widths[rows]))


def _tables(netlist: Netlist, part: Part, rows: Rows, costs: RowCosts) -> None:
    d, size = part.delay, part.lut_inputs
    beyond = np.clip(netlist.widths[netlist.arg[netlist.first[rows]]] - size, 0, 40)
    merged = np.maximum(beyond - 2, 0)  # two levels of multiplexers lie in the slice; four-way ones follow in LUTs
    per_bit = (np.int64(1) << beyond) + ((np.int64(1) << merged) - 1 + 2) // 3
    costs.lut[rows] = netlist.widths[rows] * per_bit
    costs.delay_ns[rows] = ((1 + np.ceil(merged / 2)) * (d["net"] + d["lut"]) + d["muxf"] * np.minimum(beyond, 2))
