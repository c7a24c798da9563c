"""The body of a kernel as Verilog: one wire per row, registers where a value crosses a rank, grouped by ONNX node.

Every wire is an unsigned vector as wide as its row's type. Every operand is extended or cut to the width of the result
in so many words, so nothing depends on Verilog's rules for widths and signs: arithmetic is modulo the result's width,
where it is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from gatewright.backends.add2 import NONE, two_operands
from gatewright.backends.add3 import WORDS, three_words
from gatewright.backends.small_sums import small_sums
from gatewright.ir.design import Kernel, Port
from gatewright.ir.intervals import Rows
from gatewright.ir.netlist import IN_DSP, Op
from gatewright.ir.offsets import offset_form, operand_flips
from gatewright.ir.usage import constant, last_use, ones, operand_bits, reads, slices, used_bits


def literal(value: int, width: int) -> str:
    """`value` modulo 2**width."""
    return f"{width}'d{value % (1 << width)}"


def fit(name: str, own: int, signed: bool, low: int, width: int) -> str:
    """Bits `low .. low+width-1` of a value of `own` bits, an expression of `width` bits; negative `low` shifts left."""
    return joined(pieces(name, own, signed, low, width))


def pieces(name: str, own: int, signed: bool, low: int, width: int) -> list[str]:
    """The same, as what is to be concatenated."""
    pad = min(max(-low, 0), width)
    low, taken = max(low, 0), width - pad
    parts = []
    if low + taken > own:
        extension = min(low + taken - own, taken)
        parts.append(f"{{{extension}{{{name}[{own - 1}]}}}}" if signed else f"{extension}'d0")
        taken -= extension
    if taken:
        whole = low == 0 and taken == own
        parts.append(name if whole else f"{name}[{low + taken - 1}:{low}]" if taken > 1 else f"{name}[{low}]")
    if pad:
        parts.append(f"{pad}'d0")
    return parts


def joined(parts: Sequence[str]) -> str:
    """A concatenation, highest bits first."""
    return parts[0] if len(parts) == 1 and not parts[0].startswith("{") else f"{{{', '.join(parts)}}}"


Piece = tuple[int, int, int]
"""A place in the netlist's operand columns, and the columns of a sum, from..below, in which its bits are."""


class KernelText:
    """Declarations and statements of one kernel; `lines` is the body of its module."""

    def __init__(self, kernel: Kernel, inputs: Sequence[Port], outputs: Sequence[Port], cells: str = "",
                 adder: str | None = None, dsp: str = "") -> None:
        """`adder`: `Part.adder`; sums that its cells do are instances of modules whose names begin with `cells`. `dsp`: the attribute
        of a product that is to be a DSP block."""
        netlist = kernel.netlist
        self.dsp, self.netlist, self.segments, self.inputs, self.outputs = dsp, netlist, kernel.segments, inputs, outputs
        last, idle = last_use(netlist, kernel.stage, kernel.segments), used_bits(netlist) == 0
        self.skipped = (constant(netlist) | idle & (netlist.op == Op.INPUT)).tolist()
        self.cut, self.unread = _signals(kernel, last)
        self.op, self.imm, self.aux, self.lo, self.hi = (
            getattr(netlist, c).tolist() for c in ("op", "imm", "aux", "lo", "hi"))
        self.first, self.arg, self.shift, self.neg = (
            getattr(netlist, c).tolist() for c in ("first", "arg", "shift", "neg"))
        self.width, self.stage, self.last = netlist.widths.tolist(), kernel.stage.tolist(), last.tolist()
        self.fixed = constant(netlist).tolist()
        self.offset = offset_form(netlist).tolist()
        self.flip = operand_flips(netlist).tolist()
        self.reads = (operand_bits(netlist) != 0).tolist()
        self.tables: dict[tuple[int, int, int, bool, int], str] = {}
        self.clocked = False
        self.cells_used: set[str] = set()
        """The modules of the part's cells that the body has instances of."""
        self.cells, self.small_plan, self.plan, self.plan2 = cells, small_sums(netlist), three_words(netlist), two_operands(netlist)
        self.small = {row: k for k, row in enumerate(self.small_plan.rows.tolist())} if adder == "add3" else {}
        self.add3 = {row: k for k, row in enumerate(self.plan.rows.tolist()) if row not in self.small} if adder == "add3" else {}
        self.add2 = {row: k for k, row in enumerate(self.plan2.rows.tolist())} if adder == "add2" else {}
        body = list(self._groups())
        self.lines = [line for key, name in self.tables.items() for line in self._function(key, name)]
        self.lines += [*body, *self._outputs(), *self._unused()]

    def name(self, row: int, stage: int) -> str:
        """The signal that carries a row's value in `stage`."""
        own = stage == self.stage[row] and self.op[row] != Op.INPUT
        return f"v{row}" if own else f"v{row}_{stage}"

    def _operand(self, place: int, stage: int, width: int, low: int = 0) -> str:
        """Operand `place`, shifted, from bit `low` up, as an expression of `width` bits."""
        row, shift = self.arg[place], self.shift[place]
        if self.fixed[row]:
            return literal((self.lo[row] << shift) >> low, width)
        return fit(self.name(row, stage), self.width[row], self.lo[row] < 0, low - shift, width)

    def _flipped(self, place: int, stage: int, width: int, low: int = 0) -> str:
        """The same for a sum in offset form: extended by zeros, with bits flipped."""
        row, shift = self.arg[place], self.shift[place]
        text = fit(self.name(row, stage), self.width[row], False, low - shift, width)
        flip = self.flip[place] << shift >> low & (1 << width) - 1
        return f"({text} ^ {literal(flip, width)})" if flip else text

    def _signed(self, place: int, stage: int) -> str:
        """Operand `place`, shifted, as a signed number of no more bits than that takes."""
        row = self.arg[place]
        return self._operand(place, stage, self.width[row] + self.shift[place] + (self.lo[row] >= 0))

    def _groups(self) -> Iterable[str]:
        """Rows in order, a comment and a clocked block for each run of rows of one node."""
        previous, clocked = -1, list[str]()
        for row, origin in enumerate(self.netlist.origin.tolist()):
            if self.skipped[row]:
                continue
            if origin != previous:
                yield from _clocked(clocked)
                clocked = []
                yield ""
                yield f"  // node {comment(self.netlist.origins[origin])}"
                previous = origin
            yield from self._row(row, clocked)
        yield from _clocked(clocked)

    def _row(self, row: int, clocked: list[str]) -> Iterable[str]:
        """Declarations of a row and of its registers; what those take at the clock edge goes to `clocked`. A slice has none: it is cut
        from its row in every stage that reads it."""
        vector, stage, bounds = f"[{self.width[row] - 1}:0]", self.stage[row], f"{self.lo[row]}..{self.hi[row]}"
        if row in self.cut:
            yield from (f"  wire {vector} {self.name(row, rank)} = "
                        f"{self._operand(self.first[row], rank, self.width[row], self.imm[row])}; // {bounds}" for rank in self.cut[row])
            return
        is_input = self.op[row] == Op.INPUT
        if not is_input:
            attribute = f"(* {self.dsp} *) " if self.op[row] == Op.MUL and self.imm[row] == IN_DSP else ""
            yield from (self._small(row) if row in self.small else self._add3(row) if row in self.add3 else
                        self._add2(row) if row in self.add2 else
                        (f"  {attribute}wire {vector} v{row} = {self._expression(row)}; // {bounds}",))
        ranks = range(0 if is_input else stage + 1, self.last[row] + 1)
        if not ranks:
            return
        self.clocked = True
        yield f"  reg {vector} {', '.join(f'v{row}_{rank}' for rank in ranks)};"
        before = self._element(row) if is_input else f"v{row}"
        for rank in ranks:
            clocked.append(f"    v{row}_{rank} <= {before};")
            before = f"v{row}_{rank}"

    def _element(self, row: int) -> str:
        """The bits of an input bus that an input row takes."""
        port = self.inputs[self.imm[row]]
        low = self.aux[row] * port.width
        return f"{port.rtl}[{low + self.width[row] - 1}:{low}]"

    def _expression(self, row: int) -> str:
        begin, stage, width = self.first[row], self.stage[row], self.width[row]
        match self.op[row]:
            case Op.SUM:
                return self._sum(row)
            case Op.BITS:
                return self._operand(begin, stage, width, self.imm[row])
            case Op.GE:
                return self._comparison(begin, stage, ">=")
            case Op.EQ:
                return self._comparison(begin, stage, "==")
            case Op.SELECT:
                condition, a, b = (self._operand(begin + k, stage, 1 if k == 0 else width) for k in range(3))
                return f"{condition} ? {a} : {b}"
            case Op.MUL if self.imm[row] == IN_DSP:
                return " * ".join(f"$signed({self._signed(begin + k, stage)})" for k in range(2))
            case Op.MUL:
                return f"{self._operand(begin, stage, width)} * {self._operand(begin + 1, stage, width)}"
            case _:
                return self._lookup(row)

    def _sum(self, row: int) -> str:
        """Added operands first, then subtracted ones, then what all constants add up to. A constant below the only operand is
        appended to it."""
        width, stage, total = self.width[row], self.stage[row], self.imm[row]
        if self.offset[row]:
            live = [p for p in range(self.first[row], self.first[row + 1]) if not self.fixed[self.arg[p]] and self.reads[p]]
            return " + ".join(self._flipped(place, stage, width) for place in live) or literal(0, width)
        added: list[str] = []
        subtracted: list[str] = []
        for place in range(self.first[row], self.first[row + 1]):
            operand = self.arg[place]
            if self.fixed[operand]:
                total += (self.lo[operand] << self.shift[place]) * (-1 if self.neg[place] else 1)
            elif self.reads[place]:
                (subtracted if self.neg[place] else added).append(self._operand(place, stage, width))
        low = self.shift[self.first[row]]
        if len(added) == 1 and not subtracted and 0 < total < 1 << low and self.first[row + 1] - self.first[row] == 1:
            return f"{{{self._operand(self.first[row], stage, width - low, low)}, {literal(total, low)}}}"
        total %= 1 << width
        if total and not added:
            added, total = [literal(total, width)], 0
        text = " + ".join(added) + "".join(f" - {s}" for s in subtracted)
        if total:
            negative = total > 1 << (width - 1)
            text += f" - {literal(-total, width)}" if negative else f" + {literal(total, width)}"
        return text.removeprefix(" ") or literal(0, width)

    def _add3(self, row: int) -> Iterable[str]:
        """An instance of the three-operand adder, and copies of the bits below its chain."""
        plan, k, width = self.plan, self.add3[row], self.width[row]
        start, extra, extended = int(plan.start[k]), int(plan.extra[k]), not plan.offset[k]
        words: list[list[Piece]] = [[] for _ in range(WORDS)]
        below: list[Piece] = []
        own = slice(plan.first[k], plan.first[k + 1])
        for place, word in zip(plan.place[own].tolist(), plan.word[own].tolist(), strict=True):
            low, begin = self.shift[place], start + (place == extra)
            end = width if extended else min(width, low + self.width[self.arg[place]])
            if low < start:
                below.append((place, low, min(start, end)))
            if begin < end:
                words[word].append((place, max(low, begin), end))
        operands = [self._word(row, word, extended, start, width, constant)
                    for word, constant in zip(words, plan.constant[k].tolist(), strict=True)]
        bits = width - start
        settings: dict[str, object] = {f"FLIP_{x}": literal(flip, bits) for x, (_, flip) in zip("ABC", operands, strict=True) if flip}
        settings |= {name: int(v) for name, v in (("UNITS", plan.units[k]), ("EXTRA", extra >= 0), ("CARRY_OUT", plan.carry_out[k])) if v}
        one = self._word(row, [(extra, start, start + 1)] if extra >= 0 else [], extended, start, start + 1, 0)
        wires = self._word(row, below, extended, 0, start, int(plan.below[k]))
        d, rest = (f"({text} ^ {literal(flip, n)})" if flip else text for (text, flip), n in ((one, 1), (wires, start)))
        yield from self._chain("add3", row, start, settings, [*(text for text, _ in operands), d], rest)

    def _word(self, row: int, pieces: Iterable[Piece], extended: bool, low: int, end: int, constant: int) -> tuple[str, int]:
        """The bits low..end-1 of operands of a sum that do not overlap, between them those of a constant that begins at `low`, and which
        of all these are to be flipped. With `extended` signs are, and a negated operand is flipped as a whole."""
        parts, flips, at = list[str](), 0, low
        for place, begin, stop in sorted(pieces, key=lambda piece: piece[1]):
            arg, shift = self.arg[place], self.shift[place]
            if begin > at:
                parts[:0] = [literal(constant >> at - low, begin - at)]
            parts[:0] = self._pieces(arg, row, extended, begin - shift, stop - begin)
            flip = (-1 if self.neg[place] else 0) if extended else self.flip[place] << shift & (1 << stop) - (1 << begin)
            flips, at = flips ^ flip >> low, stop
        if at < end:
            parts[:0] = [literal(constant >> at - low, end - at)]
        return joined(parts), flips & (1 << end - low) - 1

    def _pieces(self, arg: int, row: int, extended: bool, low: int, width: int) -> list[str]:
        return pieces(self.name(arg, self.stage[row]), self.width[arg], extended and self.lo[arg] < 0, low, width)

    def _add2(self, row: int) -> Iterable[str]:
        """The same for the two-operand adder."""
        plan, k = self.plan2, self.add2[row]
        start, bits, low, offset = int(plan.start[k]), int(plan.bits[k]), int(plan.low[k]), bool(plan.offset[k])
        places = plan.place[k].tolist()
        operands = [(literal(0, bits), 0) if place == NONE else self._chained(place, negative, offset, start, row)
                    for place, negative in zip(places, plan.negative[k].tolist(), strict=True)]
        settings: dict[str, object] = {f"FLIP_{x}": literal(flip, bits) for x, (_, flip) in zip("AB", operands, strict=True) if flip}
        settings |= {"OPERANDS": 1} if NONE in places else {}
        settings |= {"ADDEND": literal(int(plan.addend[k]), bits)} if plan.addend[k] else {}
        parts = [self._below(places[0], offset, row, start, low)] if start > low else []
        parts += [literal(int(plan.constant[k]), low)] if low else []
        yield from self._chain("add2", row, start, settings, [text for text, _ in operands], f"{{{', '.join(parts)}}}")

    def _chained(self, place: int, negative: bool, offset: bool, start: int, row: int) -> tuple[str, int]:
        """An operand of a chain from bit `start` up, and which of its bits the chain flips."""
        bits, stage, arg = self.width[row] - start, self.stage[row], self.arg[place]
        every = (1 << bits) - 1
        if offset:
            text = fit(self.name(arg, stage), self.width[arg], False, start - self.shift[place], bits)
            return text, self.flip[place] << self.shift[place] >> start & every
        return self._operand(place, stage, bits, start), every if negative else 0

    def _below(self, place: int, offset: bool, row: int, start: int, low: int = 0) -> str:
        """The bits `low`.. of an operand below a chain."""
        return (self._flipped if offset else self._operand)(place, self.stage[row], start - low, low)

    def _chain(self, adder: str, row: int, start: int, settings: Mapping[str, object], operands: Sequence[str],
               below: str) -> Iterable[str]:
        """A row whose bits from `start` up an adder computes."""
        width = self.width[row]
        own = f"v{row}[{width - 1}:{start}]" if start else f"v{row}"
        ports = dict(zip("abcd", operands, strict=False)) | {"y": own}
        yield f"  wire [{width - 1}:0] v{row}; // {self.lo[row]}..{self.hi[row]}"
        if start < width:
            yield self._instance(adder, f"v{row}_sum", {"WIDTH": width - start, **settings}, ports)
        if start:
            yield f"  assign v{row}[{start - 1}:0] = {below};"

    def _small(self, row: int) -> Iterable[str]:
        """Instances of LUTs with two outputs or one, and wires."""
        plan, k, width, stage = self.small_plan, self.small[row], self.width[row], self.stage[row]
        inputs = ["1'b0" if source < 0 else fit(self.name(source, stage), self.width[source], False, bit, 1)
                  for source, bit in zip(plan.source[k].tolist(), plan.bit[k].tolist(), strict=True)]
        pairs = plan.pairs(k)
        function, half = plan.function[k].tolist(), (1 << 32) - 1

        def lut(cell: str, low: int, init: int, inputs: Sequence[str], y: str) -> str:
            return self._instance(cell, f"v{row}_b{low}", {"INIT": f"64'h{init:016x}"}, {"x": f"{{{', '.join(reversed(inputs))}}}", "y": y})
        yield f"  wire [{width - 1}:0] v{row}; // {self.lo[row]}..{self.hi[row]}"
        for low, high in pairs:
            yield lut("lut5", low, (function[high] & half) << 32 | function[low] & half, inputs[:-1], f"{{v{row}[{high}], v{row}[{low}]}}")
        for bit in sorted(set(range(width)) - {bit for pair in pairs for bit in pair}):
            wire = plan.wire(k, bit)
            if wire is not None:
                yield f"  assign v{row}[{bit}] = {[*inputs, literal(0, 1), literal(1, 1)][wire]};"
            else:
                yield lut("lut6", bit, function[bit], inputs, f"v{row}[{bit}]")

    def _instance(self, cell: str, name: str, settings: Mapping[str, object], ports: Mapping[str, str]) -> str:
        """An instance of one of the part's cells, of which the design needs the module."""
        self.cells_used.add(cell)
        parameters, pins = (", ".join(f".{k}({v})" for k, v in pairs.items()) for pairs in (settings, ports))
        return f"  {self.cells}_{cell} #({parameters}) {name} ({pins});"

    def _comparison(self, begin: int, stage: int, sign: str) -> str:
        """Both sides in the narrowest common type; with a constant, as the few gates that it is."""
        x, limit = (self.arg[begin + k] for k in range(2))
        if sign == ">=" and self.fixed[limit] and not self.shift[begin]:
            return self._at_least(x, stage, self.lo[limit] << self.shift[begin + 1])
        sides = [(self.arg[begin + k], self.shift[begin + k]) for k in range(2)]
        signed = any(self.lo[r] < 0 for r, _ in sides)
        width = max(self.width[r] + s + (signed and self.lo[r] >= 0) for r, s in sides)
        a, b = (self._operand(begin + k, stage, width) for k in range(2))
        return f"$signed({a}) {sign} $signed({b})" if signed and sign == ">=" else f"{a} {sign} {b}"

    def _at_least(self, row: int, stage: int, limit: int) -> str:
        """row >= limit: from the lowest bit up, AND where the limit has a one, OR where it has a zero.

        Synthesis would spend a carry chain on the comparison; these gates are a LUT or two.
        """
        name, width, signed = self.name(row, stage), self.width[row], self.lo[row] < 0
        limit += signed << width - 1
        text = ""
        for i in range(width):
            bit = f"{name}[{i}]" if width > 1 else name
            bit = f"~{bit}" if signed and i == width - 1 else bit
            one = limit >> i & 1
            if text:
                text = f"({bit} {'&' if one else '|'} {text})"
            elif one:
                text = bit
        return text or literal(1, 1)

    def _lookup(self, row: int) -> str:
        place = self.first[row]
        operand, shift = self.arg[place], self.shift[place]
        reach = self.width[operand] + shift
        key = self.imm[row], self.aux[row], reach, self.lo[operand] < 0, self.width[row]
        name = self.tables.setdefault(key, f"t{len(self.tables)}")
        return f"{name}({self._operand(place, self.stage[row], reach)})"

    def _function(self, key: tuple[int, int, int, bool, int], name: str) -> Iterable[str]:
        """A table as a function of the bits of its operand; the commonest entry is the default."""
        table, base, reach, signed, width = key
        values = self.netlist.tables[table]
        lowest, highest = (-(1 << reach - 1), (1 << reach - 1) - 1) if signed else (0, (1 << reach) - 1)
        begin, end = max(base, lowest), min(base + len(values) - 1, highest)
        entries = (values[begin - base:end - base + 1] & ((1 << width) - 1)).tolist()
        distinct, count = np.unique(entries, return_counts=True)
        default = int(distinct[np.argmax(count)])
        yield ""
        yield f"  // table {table}: {len(entries)} entries"
        yield f"  function [{width - 1}:0] {name};"
        yield f"    input [{reach - 1}:0] {name}_x;"
        yield f"    case ({name}_x)"
        for code, entry in zip(range(begin, end + 1), entries, strict=True):
            if entry != default:
                yield f"      {literal(code, reach)}: {name} = {literal(entry, width)};"
        yield f"      default: {name} = {literal(default, width)};"
        yield "    endcase"
        yield "  endfunction"

    def _outputs(self) -> Iterable[str]:
        yield ""
        for port, own in zip(self.outputs, self.netlist.outputs, strict=True):
            elements = []
            for row in reversed(own.rows.tolist()):
                if self.fixed[row]:
                    elements.append(literal(self.lo[row], port.width))
                else:
                    name = self.name(row, self.segments)
                    elements.append(fit(name, self.width[row], self.lo[row] < 0, 0, port.width))
            yield f"  assign {port.rtl} = {{"
            yield ",\n".join(f"    {e}" for e in elements)
            yield "  };"

    def _unused(self) -> Iterable[str]:
        """Names every bit that nothing reads, so that lint reports only what nobody knew of."""
        pieces = [] if self.clocked else ["clk"]
        for port, own in zip(self.inputs, self.netlist.inputs, strict=True):
            for element, row in enumerate(own.rows.tolist()):
                taken = 0 if self.skipped[row] else self.width[row]
                if taken < port.width:
                    pieces.append(f"{port.rtl}[{(element + 1) * port.width - 1}:{element * port.width + taken}]")
        for row, rank, bits in self.unread:
            if not self.skipped[row]:
                pieces += [f"{self.name(row, rank)}[{high}:{low}]" for high, low in _runs(bits)]
        if pieces:
            yield ""
            yield "  // bits that nothing reads; synthesis removes them"
            yield "  wire _unused_ok = &{1'b0,"
            yield from (f"    {', '.join(pieces[i:i + 8])}," for i in range(0, len(pieces), 8))
            yield "    1'b0};"


def _signals(kernel: Kernel, last: Rows) -> tuple[dict[int, list[int]], list[tuple[int, int, int]]]:
    """The stages that read every slice, and (row, stage, bits) of all signals with bits that nothing reads: slices in these stages, other
    rows in the last one in which they are kept."""
    netlist, (row, reader, bits) = kernel.netlist, reads(kernel.netlist)
    sliced, some = slices(netlist), bits != 0
    whole = np.flatnonzero(~sliced)
    rank = np.append(kernel.stage, np.int32(kernel.segments))[reader]
    key, which = np.unique(np.append(row[some], whole) << 32 | np.append(rank[some], last[whole]), return_inverse=True)
    read, row, rank = np.zeros(len(key), np.uint64), key >> 32, key & (1 << 32) - 1
    np.bitwise_or.at(read, which, np.append(bits[some], np.zeros(len(whole), np.uint64)))
    cut: dict[int, list[int]] = {r: [] for r in np.flatnonzero(sliced).tolist()}
    for r, k in zip(row[sliced[row]].tolist(), rank[sliced[row]].tolist(), strict=True):
        cut[r].append(k)
    unread = np.where(sliced[row] | (rank == last[row]), ones(netlist.widths[row]) & ~read, np.uint64(0))
    left = np.flatnonzero(unread)
    return cut, list(zip(row[left].tolist(), rank[left].tolist(), unread[left].tolist(), strict=True))


def comment(text: str) -> str:
    """`text` as it may stand in a comment line."""
    return "".join(c if c.isprintable() else " " for c in text).rstrip("\\ ")


def _clocked(statements: list[str]) -> Iterable[str]:
    if statements:
        yield from ("  always @(posedge clk) begin", *statements, "  end")


def _runs(mask: int) -> Iterable[tuple[int, int]]:
    """(highest, lowest) of every run of ones."""
    low = 0
    while mask >> low:
        while not mask >> low & 1:
            low += 1
        high = low
        while mask >> high + 1 & 1:
            high += 1
        yield high, low
        low = high + 1

