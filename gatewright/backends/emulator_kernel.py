"""The arithmetic of an emulator: the rows of a Netlist as C++ statements on lanes of samples (templates/emulator/lanes.h).

Every row has lanes of 16, 32 or 64 bits, the narrowest that hold its values. Sums, products and selected values are computed in
the lanes of the result, because arithmetic modulo 2**n is exact where the result fits; comparisons, slices and tables in lanes that
hold their operands. Results of comparisons are kept as masks, 0 or -1, so that selects take them as they are.

Rows are written depth first, each value shortly before it is needed, in functions (chunks) of bounded size. A value that a later
chunk needs waits in a slot; slots are used again when their value has been used for the last time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gatewright.ir.design import Kernel
from gatewright.ir.netlist import NetPort, Op

CHUNK_ROWS = 500
"""Rows of one function: large enough to keep most values in registers and on its stack, small enough to compile fast."""
STEPS = 12
"""A table whose neighbouring entries differ at up to so many places is a sum of comparisons, else a look-up lane by lane."""
LANES = (16, 32, 64)


def lanes_for(*values: int) -> int:
    """Bits of the narrowest lanes that hold all these integers, signed."""
    need = max((v if v >= 0 else ~v).bit_length() + 1 for v in values)
    return next(n for n in LANES if n >= need)


def wrapped(value: int, lanes: int) -> int:
    """The integer modulo 2**lanes, signed."""
    half = 1 << lanes - 1
    return (value + half) % (2 * half) - half


def literal(value: int) -> str:
    return "INT64_MIN" if value == -1 << 63 else f"{value}" if abs(value) < 1 << 31 else f"{value}LL"


@dataclass(frozen=True)
class Statement:
    """A row: its expression, the lanes of its value, whether it is a mask (minus the value), and the rows it reads."""

    text: str
    lanes: int
    mask: bool
    reads: tuple[int, ...]


@dataclass(frozen=True)
class Chunk:
    """A function body, and how many rows it computes."""

    lines: tuple[str, ...]
    rows: int


class KernelText:
    """The chunks of a kernel, in order, with what their State needs: slots by lanes, lanes of every port, tables."""

    def __init__(self, kernel: Kernel) -> None:
        n = self.netlist = kernel.netlist
        self.op, self.imm, self.aux, self.lo, self.hi = (c.tolist() for c in (n.op, n.imm, n.aux, n.lo, n.hi))
        self.first, self.arg, self.shift, self.neg = (c.tolist() for c in (n.first, n.arg, n.shift, n.neg))
        self.tables_used: dict[tuple[int, int], None] = {}
        self.input_lanes = [self._port_lanes(port) for port in n.inputs]
        self.output_lanes = [self._port_lanes(port) for port in n.outputs]
        self.statements: dict[int, Statement] = {}
        for port, lanes in enumerate(self.input_lanes):
            for element, row in enumerate(n.inputs[port].rows.tolist()):
                self.statements[row] = Statement(f"s.in{port}[{element}]", lanes, False, ())
        for row in range(len(n)):
            if row not in self.statements and not self._constant(row):
                self.statements[row] = self._statement(row)
        self.slots = dict.fromkeys(LANES, 0)
        self.chunks = tuple(self._chunks(self._order()))

    def _port_lanes(self, port: NetPort) -> int:
        rows = port.rows.tolist()
        return lanes_for(0, *(self.lo[r] for r in rows), *(self.hi[r] for r in rows))

    # -- rows as expressions -------------------------------------------------------------------------------------------

    def _constant(self, row: int) -> bool:
        return bool(self.lo[row] == self.hi[row])

    def _operands(self, row: int) -> list[tuple[int, int, bool]]:
        return [(self.arg[k], self.shift[k], self.neg[k]) for k in range(self.first[row], self.first[row + 1])]

    def _raw(self, row: int, lanes: int) -> str:
        """What is stored of a row that is no constant, in lanes of this width: the value, or the mask."""
        name = self.statements[row].text if self.op[row] == Op.INPUT else f"r{row}"
        return name if self.statements[row].lanes == lanes else f"to{lanes}({name})"

    def _value(self, row: int, shift: int, lanes: int) -> str:
        """The value of a row, shifted left, in lanes of this width."""
        if self._constant(row):
            return f"all<L{lanes}>({literal(wrapped(self.lo[row] << shift, lanes))})"
        if shift >= lanes:
            return f"all<L{lanes}>(0)"
        text = self._raw(row, lanes)
        if self.statements[row].mask:
            text = f"(all<L{lanes}>(0) - {text})"
        return f"({text} << {shift})" if shift else text

    def _range(self, row: int, shift: int) -> tuple[int, int]:
        return self.lo[row] << shift, self.hi[row] << shift

    def _statement(self, row: int) -> Statement:
        op, operands = self.op[row], self._operands(row)
        lanes, mask = lanes_for(self.lo[row], self.hi[row]), False
        reads = [r for r, _, _ in operands]
        if op == Op.SUM:
            text = self._sum(self.imm[row], operands, lanes)
        elif op == Op.BITS:
            text = self._bits(row, operands[0], lanes)
        elif op in (Op.GE, Op.EQ):
            text, lanes, reads = self._comparison(op, operands)
            mask = True
        elif op == Op.SELECT:
            text = self._select(operands, lanes)
        elif op == Op.MUL:
            text = " * ".join(self._value(r, s, lanes) for r, s, _ in operands)
        else:
            text = self._table(row, operands[0], lanes)
        return Statement(text, lanes, mask, tuple(r for r in dict.fromkeys(reads) if not self._constant(r)))

    def _sum(self, constant: int, operands: Sequence[tuple[int, int, bool]], lanes: int) -> str:
        plus: list[str] = []
        minus: list[str] = []
        for row, shift, negated in operands:
            if self._constant(row):
                constant += (-1 if negated else 1) * (self.lo[row] << shift)
            elif shift < lanes:
                text = self._raw(row, lanes)
                (minus if negated != self.statements[row].mask else plus).append(f"({text} << {shift})" if shift else text)
        constant = wrapped(constant, lanes)
        if constant or not plus:
            plus.insert(len(plus) if plus else 0, f"all<L{lanes}>({literal(constant)})")
        return " - ".join([" + ".join(plus), *minus])

    def _shifts_only(self, row: int) -> bool:
        """Whether a slice only shifts its operand right: no value of it reaches the bits that are cut off above."""
        (x, shift, _), = self._operands(row)
        lo, hi = (bound >> self.imm[row] for bound in self._range(x, shift))
        width, signed = self.aux[row], self.lo[row] < 0
        return bool(lo >= (-(1 << width - 1) if signed else 0) and hi < 1 << width - signed)

    def _bits(self, row: int, operand: tuple[int, int, bool], lanes: int) -> str:
        x, shift, _ = operand
        low, width = self.imm[row], self.aux[row]
        signed = self.lo[row] < 0
        shifts_only = self._shifts_only(row)
        wide = max(lanes, lanes_for(*self._range(x, shift)))
        if signed and not shifts_only:
            wide = max(wide, next(n for n in LANES if n >= low + width))
        text = self._value(x, shift, wide)
        if signed and not shifts_only:
            text = f"(({text} << {wide - low - width}) >> {wide - width})"
        else:
            text = f"({text} >> {min(low, wide - 1)})" if low else text
            if not shifts_only and width < wide:
                text = f"({text} & all<L{wide}>({literal((1 << width) - 1)}))"
        return text if wide == lanes else f"to{lanes}({text})"

    def _comparison(self, op: int, operands: Sequence[tuple[int, int, bool]]) -> tuple[str, int, list[int]]:
        (a, sa, _), (b, sb, _) = operands
        if op == Op.GE and self._constant(b) and not sa and self._drops_low_bits(a, self.lo[b] << sb):
            sb += self.imm[a]  # x >> k >= c is x >= c << k
            a = self.arg[self.first[a]]
        elif op == Op.GE and self._constant(a) and not sb and self._drops_low_bits(b, self.lo[a] << sa):
            x, at = self.arg[self.first[b]], (self.lo[a] << sa) + 1 << self.imm[b]  # c >= x >> k is not x >= (c + 1) << k
            wide = lanes_for(at, self.lo[x], self.hi[x])
            return f"all<L{wide}>(-1) - ge({self._value(x, 0, wide)}, all<L{wide}>({literal(at)}))", wide, [x]
        wide = lanes_for(*self._range(a, sa), *self._range(b, sb))
        call = "ge" if op == Op.GE else "eq"
        return f"{call}({self._value(a, sa, wide)}, {self._value(b, sb, wide)})", wide, [a, b]

    def _drops_low_bits(self, row: int, limit: int) -> bool:
        """A slice that only shifts right, of an operand that is not shifted, where `limit` shifted back still has 62 bits."""
        return bool(self.op[row] == Op.BITS and not self._constant(row) and not self.shift[self.first[row]]
                    and not self._constant(self.arg[self.first[row]]) and self._shifts_only(row)
                    and self.imm[row] + abs(limit).bit_length() < 62)

    def _select(self, operands: Sequence[tuple[int, int, bool]], lanes: int) -> str:
        (c, _, _), (a, sa, _), (b, sb, _) = operands
        if self._constant(c):
            return self._value(a, sa, lanes) if self.lo[c] else self._value(b, sb, lanes)
        mask = self._raw(c, lanes) if self.statements[c].mask else f"(all<L{lanes}>(0) - {self._raw(c, lanes)})"
        return f"choose({mask}, {self._value(a, sa, lanes)}, {self._value(b, sb, lanes)})"

    def _table(self, row: int, operand: tuple[int, int, bool], lanes: int) -> str:
        x, shift, _ = operand
        table, base = self.netlist.tables[self.imm[row]].tolist(), self.aux[row]
        lo, hi = self._range(x, shift)
        wide = lanes_for(lo, hi)
        steps = [(i + base, table[i] - table[i - 1]) for i in range(lo - base + 1, hi - base + 1) if table[i] != table[i - 1]]
        if len(steps) > STEPS:
            self.tables_used[self.imm[row], lanes] = None
            return f"look<L{lanes}>(table{self.imm[row]}_{lanes}, {self._value(x, shift, wide)}, {literal(base)})"
        wide = max(wide, lanes)
        text, value = f"all<L{wide}>({literal(wrapped(table[lo - base], wide))})", self._value(x, shift, wide)
        for at, change in steps:
            reached = f"ge({value}, all<L{wide}>({literal(at)}))"
            if abs(change) == 1:
                text += f" {'-' if change > 0 else '+'} {reached}"
            else:
                text += f" + ({reached} & all<L{wide}>({literal(wrapped(change, wide))}))"
        return text if wide == lanes else f"to{lanes}({text})"

    # -- order and place -----------------------------------------------------------------------------------------------

    def _order(self) -> list[int]:
        """The rows that outputs need, inputs and constants left out, each after what it reads: depth first."""
        order: list[int] = []
        seen: set[int] = set()
        for port in self.netlist.outputs:
            for root in port.rows.tolist():
                stack: list[tuple[int, Iterator[int]]] = []
                if not self._constant(root) and root not in seen:
                    seen.add(root)
                    stack.append((root, iter(self.statements[root].reads)))
                while stack:
                    row, reads = stack[-1]
                    following = next((r for r in reads if r not in seen), None)
                    if following is not None:
                        seen.add(following)
                        stack.append((following, iter(self.statements[following].reads)))
                    else:
                        stack.pop()
                        if self.op[row] != Op.INPUT:
                            order.append(row)
        return order

    def _chunks(self, order: Sequence[int]) -> Iterator[Chunk]:
        parts = [order[at:at + CHUNK_ROWS] for at in range(0, len(order), CHUNK_ROWS)] or [[]]
        home = {row: number for number, part in enumerate(parts) for row in part}
        last: dict[int, int] = {}
        for number, part in enumerate(parts):
            for row in part:
                last.update(dict.fromkeys(self.statements[row].reads, number))
        place = _Slots()
        stores = self._stores()
        for number, part in enumerate(parts):
            lines = [line for row, found in stores.items() if row not in home and number == 0 for line in found]
            reads = dict.fromkeys(r for row in part for r in self.statements[row].reads if home.get(r, number) != number)
            lines += [f"const L{self.statements[row].lanes} r{row} = {place.of[row]};" for row in reads]
            for row in reads:
                if last[row] == number:
                    place.free(row, self.statements[row].lanes)
            for row in part:
                lines.append(f"const L{self.statements[row].lanes} r{row} = {self.statements[row].text};")
                lines += stores.get(row, ())
                if last.get(row, number) > number:
                    lines.append(f"{place.take(row, self.statements[row].lanes)} = r{row};")
            yield Chunk(tuple(lines), len(part))
        self.slots = place.count

    def _stores(self) -> dict[int, list[str]]:
        """Where the outputs go, by row."""
        stores: dict[int, list[str]] = {}
        for port, lanes in enumerate(self.output_lanes):
            for element, row in enumerate(self.netlist.outputs[port].rows.tolist()):
                stores.setdefault(row, []).append(f"s.out{port}[{element}] = {self._value(row, 0, lanes)};")
        return stores


@dataclass
class _Slots:
    """Slots of a State, by lanes; those that are free are used again."""

    of: dict[int, str] = field(default_factory=dict)
    count: dict[int, int] = field(default_factory=lambda: dict.fromkeys(LANES, 0))
    _free: dict[int, list[str]] = field(default_factory=lambda: {n: [] for n in LANES})

    def take(self, row: int, lanes: int) -> str:
        if self._free[lanes]:
            self.of[row] = self._free[lanes].pop()
        else:
            self.of[row] = f"s.s{lanes}[{self.count[lanes]}]"
            self.count[lanes] += 1
        return self.of[row]

    def free(self, row: int, lanes: int) -> None:
        self._free[lanes].append(self.of[row])
