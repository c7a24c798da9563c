"""The Netlist as adder graphs: one statement a row, one function for the rows of a layer.

Every value has the type that its bounds ask for. A function hands on the rows that others read, in an array of one type, which
holds them all; who reads an element takes it back to its own type, so no width is lost or gained.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gatewright.backends.hls.dialect import Dialect, Pragma, constant_type, literal, plus
from gatewright.backends.hls.layer import Array, Layer
from gatewright.ir.fixed import Fixed
from gatewright.ir.netlist import IN_DSP, Netlist, Op
from gatewright.ir.offsets import offset_form, operand_flips
from gatewright.ir.usage import constant

MOST_ROWS = 1_000
"""A longer layer is several functions: compilers need memory by the length of a function."""


@dataclass(frozen=True)
class Part:
    """Rows `first..last-1` of one node, those of them that others read, and whose rows they read."""

    first: int
    last: int
    exported: tuple[int, ...]
    reads: tuple[int, ...]


class Rows:
    """The functions of a netlist; `inputs` are the arrays that hold the input ports' codes."""

    def __init__(self, netlist: Netlist, dialect: Dialect) -> None:
        self.netlist, self.dialect = netlist, dialect
        self.op, self.imm, self.aux, self.lo, self.hi, self.origin = (
            getattr(netlist, c).tolist() for c in ("op", "imm", "aux", "lo", "hi", "origin"))
        self.first, self.arg, self.shift, self.neg = (
            getattr(netlist, c).tolist() for c in ("first", "arg", "shift", "neg"))
        self.fixed = constant(netlist).tolist()
        self.offset = offset_form(netlist).tolist()
        self.flip = operand_flips(netlist).tolist()
        self.place: dict[int, tuple[Array, int]] = {}

    def type(self, row: int) -> str:
        return self.dialect.integer(Fixed(self.lo[row], self.hi[row], 0))

    def layers(self, inputs: Sequence[Array], functions: Sequence[str], arrays: Sequence[str]) -> list[Layer]:
        """One layer per part (see `parts`), with names for its function and its array."""
        for array, port in zip(inputs, self.netlist.inputs, strict=True):
            self.place |= {row: (array, k) for k, row in enumerate(port.rows.tolist())}
        layers = []
        for name, array_name, part in zip(functions, arrays, self.parts(), strict=True):
            rows = list(part.exported)
            type_ = Fixed(min(self.lo[r] for r in rows), max(self.hi[r] for r in rows), 0)
            result = Array(array_name, type_, len(rows), rows=part.exported)
            layers.append(self._layer(name, part, result))
            self.place |= {row: (result, k) for k, row in enumerate(rows)}
        return layers

    def parts(self) -> list[Part]:
        """Runs of rows of one node, in order, none longer than MOST_ROWS; what is constant or an input belongs to none."""
        n = self.netlist
        own = np.flatnonzero(~constant(n) & (n.op != Op.INPUT))
        new = np.ones(len(own), bool)
        new[1:] = n.origin[own[1:]] != n.origin[own[:-1]]
        runs = pairwise([*np.flatnonzero(new).tolist(), len(own)])
        starts = [k for start, end in runs for k in range(start, end, MOST_ROWS)]
        part_of = np.full(len(n), -1)
        part_of[own] = np.repeat(np.arange(len(starts)), np.diff([*starts, len(own)]))
        owner = np.repeat(np.arange(len(n)), np.diff(n.first))
        crossing = (part_of[owner] != part_of[n.arg]) & (part_of[owner] >= 0)
        outside = np.zeros(len(n), bool)
        outside[n.arg[crossing]] = True
        for port in n.outputs:
            outside[port.rows] = True
        parts = []
        for k, (start, end) in enumerate(pairwise([*starts, len(own)])):
            rows = own[start:end]
            read = np.unique(n.arg[crossing & (part_of[owner] == k)])
            parts.append(Part(int(rows[0]), int(rows[-1]) + 1, tuple(rows[outside[rows]].tolist()), tuple(read.tolist())))
        return [p for p in parts if p.exported]

    def _layer(self, name: str, part: Part, result: Array) -> Layer:
        read = [r for r in part.reads if not self.fixed[r]]
        operands = tuple(dict.fromkeys(self.place[r][0] for r in read))
        node = self.netlist.origins[self.origin[part.first]]
        body = []
        for row in read:
            array, k = self.place[row]
            body.append(f"const {self.type(row)} v{row} = {array.name}[{k}];")
        for row in range(part.first, part.last):
            if not self.fixed[row] and self.op[row] != Op.INPUT:
                body += self._statement(row)
        body += [f"{result.name}[{k}] = v{row};" for k, row in enumerate(part.exported)]
        parameters = [f"const {self.dialect.integer(a.type)} {a.name}[{a.size}]" for a in operands]
        signature = f"void {name}({', '.join([*parameters, f'{self.dialect.integer(result.type)} {result.name}[{result.size}]'])})"
        return Layer(name, node, operands, (result,), signature,
                     tuple(self.dialect.block(signature, [Pragma("inline")], body)))

    def _statement(self, row: int) -> Iterable[str]:
        if self.op[row] == Op.MUL:
            yield from self._product(row)
            return
        if self.op[row] == Op.TABLE:
            values = self.netlist.tables[self.imm[row]].tolist()
            yield f"static const {constant_type(min(values), max(values))} t{row}[{len(values)}] = {{{', '.join(map(literal, values))}}};"
        yield f"const {self.type(row)} v{row} = {self._expression(row)};"

    def _product(self, row: int) -> Iterable[str]:
        """A product is bound by the name of the variable that it is assigned to, so shifting it is a statement of its own."""
        at = self.first[row]
        a, b = (literal(self.lo[r]) if self.fixed[r] else f"v{r}" for r in self.arg[at:at + 2])
        shift = self.shift[at] + self.shift[at + 1]
        name, type_ = f"{'p' if shift else 'v'}{row}", Fixed(self.lo[row] >> shift, self.hi[row] >> shift, 0)
        yield f"const {self.dialect.integer(type_)} {name} = {a} * {b};"
        yield from self.dialect.pragmas([Pragma("mul_in_dsp" if self.imm[row] == IN_DSP else "mul_in_luts", variable=name)])
        if shift:
            yield f"const {self.type(row)} v{row} = {self.type(row)}({name}) << {shift};"

    def operand(self, place: int, row: int) -> str:
        """An operand; a shifted one is widened before to the type of `row`, modulo which the result is exact."""
        arg, shift = self.arg[place], self.shift[place]
        if self.fixed[arg]:
            return literal(self.lo[arg] << shift)
        value = self._flipped(place) if self.offset[row] else f"v{arg}"
        return f"({self.type(row)}({value}) << {shift})" if shift else value

    def _flipped(self, place: int) -> str:
        """An operand of a sum in offset form."""
        arg, flip = self.arg[place], self.flip[place]
        own = (1 << int(Fixed(self.lo[arg], self.hi[arg], 0).width)) - 1
        bits = f"v{arg} ^ {literal(flip)}" if flip else f"v{arg}"
        return f"{self.dialect.integer(Fixed(0, own, 0))}({bits})" if flip or self.lo[arg] < 0 else bits

    def _expression(self, row: int) -> str:
        at = self.first[row]
        match self.op[row]:
            case Op.SUM:
                return self._sum(row)
            case Op.BITS:
                return self._bits(row)
            case Op.GE | Op.EQ:
                a, b = (self._side(at, k) for k in range(2))
                return f"{a} {'>=' if self.op[row] == Op.GE else '=='} {b}"
            case Op.SELECT:
                c = self.arg[at]
                a, b = (f"{self.type(row)}({self.operand(at + k, row)})" for k in (1, 2))
                return (a if self.lo[c] else b) if self.fixed[c] else f"v{c} != 0 ? {a} : {b}"
            case _:
                shifted = f"v{self.arg[at]} * {1 << self.shift[at]}" if self.shift[at] else f"v{self.arg[at]}"
                place = f"{shifted}{plus(-self.aux[row])}"
                return f"t{row}[{f'({place})' if ' ' in place else place}.to_int()]"

    def _sum(self, row: int) -> str:
        """Added operands first, then subtracted ones, then what all constants add up to."""
        if self.offset[row]:
            live = [p for p in range(self.first[row], self.first[row + 1]) if not self.fixed[self.arg[p]]]
            return " + ".join(self.operand(place, row) for place in live)
        total, added, subtracted = self.imm[row], list[str](), list[str]()
        for place in range(self.first[row], self.first[row + 1]):
            arg = self.arg[place]
            if self.fixed[arg]:
                total += (self.lo[arg] << self.shift[place]) * (-1 if self.neg[place] else 1)
            else:
                (subtracted if self.neg[place] else added).append(self.operand(place, row))
        if not added:
            return literal(total) + "".join(f" - {s}" for s in subtracted)
        return " + ".join(added) + "".join(f" - {s}" for s in subtracted) + plus(total)

    def _bits(self, row: int) -> str:
        """Bits from `imm` up; the assignment keeps as many as there are."""
        place = self.first[row]
        arg, low = self.arg[place], self.imm[row] - self.shift[place]
        if low <= 0:
            return f"{self.type(row)}(v{arg}) << {-low}" if low else f"v{arg}"
        own = int(Fixed(self.lo[arg], self.hi[arg], 0).width)
        if low >= own and self.lo[arg] >= 0:
            return "0"
        return f"v{arg} >> {min(low, own - 1)}"

    def _side(self, at: int, k: int) -> str:
        """One side of a comparison, in a type that holds it."""
        row, shift = self.arg[at + k], self.shift[at + k]
        if self.fixed[row]:
            return literal(self.lo[row] << shift)
        wide = self.dialect.integer(Fixed(self.lo[row] << shift, self.hi[row] << shift, 0))
        return f"({wide}(v{row}) << {shift})" if shift else f"v{row}"
