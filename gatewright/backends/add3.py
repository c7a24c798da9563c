"""Which sums fit the three-operand adder of AMD's 6-input LUTs (templates/verilog/add3.v.j2), and how.

Such a sum is a heap of bits: in offset form (ir/offsets.py) every operand is its own bits, some of them flipped, and what is left to add
is a constant, each one of it a bit of its column. With h[c] bits in column c, constant ones included, and s the lowest column with more
than one, the heap fits one chain if

- h[s] <= 5, of which at most four vary: the LUT takes three, the carry lane's other input one, and the carry in is a constant;
- h[c] <= 3 in every column c > s. A constant one too many may be two in the column below, where there is room.

The columns below s are wires, and the result is the sum modulo 2**(its width). A chain that takes t[c] <= h[c] bits of the columns s..e is
so a sum as wide as the largest value of sum(t[c] << c), and takes e - s + 1 LUTs if t[e] is 1 (and e > s), else e - s + 2, one more for
the carry that the last LUT saves; the highest bit is the carry out of the chain where nothing else is in its column. Never more than
result bits from s up. Inverters come on top: one for every flipped bit below s, and one where four bits of column s are all flipped.

Two or three whole operands fit with their signs extended, too, if what is to add besides is at most FREE_UNITS at the lowest place.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numba
import numpy as np

from gatewright.ir.fixed import Ints, trailing_zeros
from gatewright.ir.intervals import Bools
from gatewright.ir.netlist import Netlist, Op
from gatewright.ir.offsets import added, carries_out, offset_form, operand_flips, rest
from gatewright.ir.usage import constant

NONE = -1
WORDS = 3
FREE_UNITS = 2
"""Ones that a chain takes for free: its carry in, and the saved carry of its first bit."""


@dataclass(frozen=True)
class Add3:
    """Sums as the adder does them: arrays [rows], [rows, WORDS], and of operands, those of row k being `first[k]:first[k+1]`.

    From bit `start` up, the chain adds three words, `units`, and the bit `start` of the operand `extra` (NONE: none does). An operand is a
    place in the netlist's operand columns, and its bits from `start` up are in one word, `word`, but for that of `extra`. Where no operand
    is, a word has the bits of `constant`; the wires below `start` that are no operand's have those of `below`. With `offset` operands
    are unsigned numbers with flipped bits; else their signs are extended, and all bits of a word with a negated one are flipped. With
    `carry_out` the highest bit is the carry out of the one below. `lut` counts LUTs.
    """

    rows: Ints
    first: Ints
    place: Ints
    word: Ints
    start: Ints
    units: Ints
    extra: Ints
    constant: Ints
    below: Ints
    offset: Bools
    carry_out: Bools
    lut: Ints

    @property
    def operands(self) -> Ints:
        """How many words of every chain have operands, int64[rows]."""
        used = np.zeros((len(self.rows), WORDS), np.int64)
        used[np.repeat(np.arange(len(self.rows)), np.diff(self.first)), self.word] = 1
        return np.asarray(used.sum(axis=1), np.int64)


def three_words(netlist: Netlist) -> Add3:
    """The sums that fit: whole operands, or, where these do not fit or take more LUTs, as a heap of bits."""
    whole, heaps = _whole_operands(netlist), _heaps(netlist)
    luts = np.full((2, len(netlist)), np.iinfo(np.int64).max)
    luts[0, whole.rows], luts[1, heaps.rows] = whole.lut, heaps.lut
    better = luts[1] < luts[0]
    parts = _taken(whole, ~better[whole.rows]), _taken(heaps, better[heaps.rows])
    joined = {f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Add3)}
    return Add3(**joined | {"first": np.concatenate([parts[0].first, parts[0].first[-1] + parts[1].first[1:]])})


def _taken(plan: Add3, which: Bools) -> Add3:
    """Some of the sums."""
    count = np.diff(plan.first)
    of_operands = np.repeat(which, count)
    values = {f.name: getattr(plan, f.name) for f in fields(Add3)}
    taken = {name: v[of_operands if name in ("place", "word") else which] for name, v in values.items() if name != "first"}
    return Add3(**taken, first=np.concatenate([[0], np.cumsum(count[which])]))


def chain_start(shift: Ints, negative: Bools) -> Ints:
    """The lowest column of the chains of sums [rows, operands]: that of the second lowest operand, but of a negated lowest one."""
    order = np.lexsort((negative, shift), axis=1)[:, :2]
    lowest, second = np.take_along_axis(shift, order, 1).T
    return np.asarray(np.where(np.take_along_axis(negative, order, 1)[:, 0], lowest, second))


def _whole_operands(netlist: Netlist) -> Add3:
    """The sums of three operands, or of two and a constant, whose constant and negations the chain's free inputs hold, or whose constant
    is the offset of three operands."""
    fixed, width = constant(netlist), netlist.widths
    owner = np.repeat(np.arange(len(netlist)), np.diff(netlist.first))
    known = fixed[netlist.arg]
    total = added(netlist)
    live = np.bincount(owner[~known], minlength=len(netlist))
    unsigned = offset_form(netlist)
    rows = np.flatnonzero((netlist.op == Op.SUM) & ~fixed & ((live == 3) | ((live == 2) & (total != 0) & ~unsigned)))
    place = np.full((len(rows), WORDS), NONE)
    index = np.full(len(netlist), -1)
    index[rows] = np.arange(len(rows))
    for_rows = np.flatnonzero(~known & (index[owner] >= 0))
    which = index[owner[for_rows]]
    rank = np.arange(len(for_rows)) - np.searchsorted(which, which)
    place[which, rank] = for_rows
    constant_shift = trailing_zeros(total[rows])
    is_constant = place == NONE
    shift = np.where(is_constant, constant_shift[:, None], netlist.shift[place].astype(np.int64))
    negative = np.where(is_constant, False, netlist.neg[place])
    order = np.lexsort((negative, shift), axis=1)
    place, shift, negative = (np.take_along_axis(v, order, 1) for v in (place, shift, negative))
    is_constant = place == NONE
    offset = unsigned[rows]
    start = chain_start(shift, negative)
    own = np.where(is_constant.any(axis=1) | offset, 0, total[rows])
    units = np.where(offset, 0, (own >> start) + negative.sum(axis=1))
    good = (own & ((np.int64(1) << start) - 1) == 0) & (units >= 0) & (units <= FREE_UNITS) & (start < width[rows])
    carry_out = carries_out(netlist)[rows] & (start < width[rows] - 1)
    rows, start, place, is_constant = rows[good], start[good], place[good], is_constant[good]
    in_word, below = np.where(is_constant, total[rows][:, None], 0), (np.int64(1) << start) - 1
    flips = np.where(offset[good] & ~is_constant[:, 0], operand_flips(netlist)[place[:, 0]] << shift[good, 0] & below, 0)
    return Add3(rows=rows, first=np.concatenate([[0], np.cumsum(WORDS - is_constant.sum(axis=1))]), place=place[~is_constant],
                word=np.broadcast_to(np.arange(WORDS), place.shape)[~is_constant], start=start, units=units[good],
                extra=np.full(len(rows), NONE), constant=in_word >> start[:, None],
                below=in_word[:, 0] & below, offset=offset[good], carry_out=carry_out[good],
                lut=width[rows] - start - carry_out[good] + np.bitwise_count(flips))


def _heaps(netlist: Netlist) -> Add3:
    """The sums of three or more operands that fit as heaps of bits."""
    fixed, width = constant(netlist), netlist.widths
    owner = np.repeat(np.arange(len(netlist)), np.diff(netlist.first))
    live = ~fixed[netlist.arg] & (netlist.shift < width[owner])
    wanted = (netlist.op == Op.SUM) & ~fixed & (np.bincount(owner[live], minlength=len(netlist)) >= 3)
    place = np.flatnonzero(live & wanted[owner])
    place = place[np.lexsort((netlist.neg[place], netlist.shift[place], owner[place]))]
    rows = np.flatnonzero(wanted)
    first = np.concatenate([[0], np.cumsum(np.bincount(owner[place], minlength=len(netlist))[rows])])
    shift = netlist.shift[place].astype(np.int64)
    end = np.minimum(shift + width[netlist.arg[place]], width[owner[place]])
    flip = operand_flips(netlist)[place] << shift
    word, constants = np.zeros(len(place), np.int64), np.zeros((len(rows), WORDS), np.int64)
    start, units, extra, below, carry_out, lut = (np.zeros(len(rows), np.int64) for _ in range(6))
    fits = _pack(first, shift, end, flip, width[rows], rest(netlist)[rows], start, units, extra, word, constants, below, carry_out, lut)
    extra[extra != NONE] = place[extra[extra != NONE]]
    return _taken(Add3(rows, first, place, word, start, units, extra, constants, below, np.ones(len(rows), np.bool_), carry_out != 0, lut),
                  fits)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _pack(first: Any, shift: Any, end: Any, flip: Any, width: Any, constant: Any, start: Any, units: Any, extra: Any, word: Any,
          constants: Any, below: Any, carry_out: Any, lut: Any) -> Any:
    """Which heaps fit, bool[rows]; fills the columns of Add3 from `start` on. Operands have the columns shift..end-1, in order of shift."""
    fits, height, ones = np.zeros(len(width), np.bool_), np.zeros(64, np.int64), np.zeros(64, np.int64)
    for k in range(len(width)):
        top, operands = width[k], range(first[k], first[k + 1])
        height[:], ones[:] = 0, 0
        for p in operands:
            height[shift[p]:end[p]] += 1
        s = 0
        while s < top and height[s] + (constant[k] >> s & 1) < 2:
            s += 1
        start[k], extra[k], below[k] = s, NONE, constant[k] & ((1 << s) - 1)
        for p in operands:
            for c in range(shift[p], min(end[p], s)):
                lut[k] += flip[p] >> c & 1
        if s == top:  # wires
            fits[k] = True
            continue
        # as many ones as there is room for, from the highest column down
        left = constant[k] >> s & ((1 << top - s) - 1)
        for c in range(top - 1, s, -1):
            ones[c] = min(WORDS - height[c], left >> c - s)
            left -= ones[c] << c - s
        if height[s] > WORDS + 1 or left > WORDS + FREE_UNITS - height[s] or height[s + 1:].max() > WORDS:
            continue
        fits[k] = True
        # the fourth bit of column s: best one that is not flipped, and ends there
        if height[s] > WORDS:
            best = 4
            for p in operands:
                rank = 2 * (flip[p] >> s & 1) + (end[p] > s + 1)
                if shift[p] <= s < end[p] and rank < best:
                    best, extra[k] = rank, p
            lut[k] += best >> 1
        units[k] = min(left, FREE_UNITS)
        ones[s] = left - units[k]
        height[s] -= extra[k] >= 0
        # operands are intervals in order of their lowest column, so that any free word will do
        taken = [0, 0, 0]
        for late in range(2):
            for p in operands:
                is_extra = p == extra[k]
                begin = max(shift[p], s + is_extra)
                if late == (begin > s) and begin < end[p]:
                    word[p] = 0
                    while taken[word[p]] >> begin:
                        word[p] += 1
                    taken[word[p]] |= (1 << end[p]) - (1 << begin)
        for c in range(s, top):
            n = 0
            for _ in range(ones[c]):
                while taken[n] >> c & 1:
                    n += 1
                constants[k, n] |= 1 << c - s
                n += 1
        carry_out[k] = top - 1 > s and height[top - 1] + ones[top - 1] == 0 and height[top - 2] + ones[top - 2] <= 1
        lut[k] += top - s - carry_out[k]
    return fits
