"""Rows cut into slices that are added up elsewhere: proven like the rows themselves, and no slice may be another one."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from graphs import given, graph, op, retyped
from test_proof import CASES, optimised, unlike

from gatewright.compiler.driver import NETLIST_PASSES
from gatewright.compiler.lower import lower
from gatewright.compiler.passes.netlist.fuse_sums import fuse_sums
from gatewright.compiler.proof import Places, prove
from gatewright.errors import InternalError
from gatewright.ir.graph import Graph
from gatewright.ir.netlist import Netlist, NetPort, Op, narrowed, verify
from gatewright.ir.netlist_text import parse

Operand = tuple[int, int, bool]
"""Row, shift, whether negated."""
FAR = 1 << 60
FLAWS = "row", "offset", "overlap", "missing", "negation", "sign"


class Cut:
    """A copy of a netlist in which sums are two or three levels of sums of slices of their operands, at random."""

    def __init__(self, netlist: Netlist, seed: int) -> None:
        self.rng, self.old = random.Random(seed), netlist
        self.rows: list[dict[str, int]] = []
        self.operands: list[list[Operand]] = []
        self.sums: list[int] = []
        self.slices: dict[tuple[int, ...], int] = {}
        self.moved = np.zeros(len(netlist), np.int32)
        for r in range(len(netlist)):
            place = range(netlist.first[r], netlist.first[r + 1])
            operands = [(int(self.moved[netlist.arg[k]]), int(netlist.shift[k]), bool(netlist.neg[k])) for k in place]
            row = {c: int(getattr(netlist, c)[r]) for c in ("op", "imm", "aux", "lo", "hi", "origin")}
            if row["op"] == Op.SUM and row["lo"] < row["hi"] and self.rng.random() < 0.8:
                self.origin = row["origin"]
                for _ in range(self.rng.randint(1, 2)):
                    operands, imm = self.level(operands)
                    row["imm"] += imm
            self.moved[r] = self.add(row, operands)

    def add(self, row: dict[str, int], operands: list[Operand]) -> int:
        self.rows.append(row)
        self.operands.append(operands)
        return len(self.rows) - 1

    def level(self, operands: list[Operand]) -> tuple[list[Operand], int]:
        """Sums of a few slices each, and the constant that makes these the sum of the operands."""
        terms = [(row, shift + low, neg) for x, shift, neg in operands for row, low in self.cut(x)]
        self.rng.shuffle(terms)
        made, constant = [], 0
        while terms:
            group, terms = terms[:(size := self.rng.randint(1, 4))], terms[size:]
            if len(group) == 1:
                made += group
                continue
            low, flip, imm = min(s for _, s, _ in group), group[0][2], self.rng.randint(-9, 40)
            group = [(row, s - low, neg ^ flip) for row, s, neg in group]
            ends = [sorted((-self.rows[x][e] if neg else self.rows[x][e]) << s for e in ("lo", "hi")) for x, s, neg in group]
            made.append((self.add({"op": Op.SUM, "imm": imm, "aux": 0, "lo": imm + sum(e[0] for e in ends),
                                   "hi": imm + sum(e[1] for e in ends), "origin": self.origin}, group), low, flip))
            self.sums.append(made[-1][0])
            constant += imm << low if flip else -imm << low
        return made, constant

    def cut(self, x: int) -> list[tuple[int, int]]:
        """Slices that are x, with their lowest bits. The topmost one may be wider than what is left of x."""
        lo, hi = self.rows[x]["lo"], self.rows[x]["hi"]
        width = max(int(max(hi, -lo - 1)).bit_length() + (lo < 0), 1)
        if self.rng.random() < 0.2:
            return [(x, 0)]
        cuts = [0, *sorted(self.rng.sample(range(1, width), min(width - 1, self.rng.randint(0, 3)))), width]
        made = []
        for begin, end in pairwise(cuts):
            top = end == width
            end += top * self.rng.randint(0, 2)
            ends = (lo >> begin, hi >> begin) if top else (0, (1 << end - begin) - 1)
            key = x, begin, end, *ends
            if key not in self.slices:
                self.slices[key] = self.add({"op": Op.BITS, "imm": begin, "aux": end - begin, "lo": ends[0], "hi": ends[1],
                                             "origin": self.origin}, [(x, 0, False)])
            made.append((self.slices[key], begin))
        return made

    def flawed(self, flaw: str) -> bool:
        """Puts one flaw into a slice, or into a sum of them; whether there is a place for it."""
        r = self.rng.choice(list(self.slices.values()))
        row, s = self.rows[r], self.rng.choice(self.sums)
        k = self.rng.randrange(len(self.operands[s]))
        x, shift, neg = self.operands[s][k]
        if flaw == "row":
            self.operands[r] = [(self.rng.randrange(r), 0, False)]
        elif flaw == "offset":
            row["imm"] = max(0, row["imm"] + self.rng.choice([-1, 1]))
        elif flaw == "overlap":
            row["aux"] = max(1, row["aux"] + self.rng.choice([-1, 1]))
        elif flaw == "missing":
            del self.operands[s][k]
        elif flaw == "negation":
            self.operands[s][k] = x, shift, not neg
        signed = (row["lo"] < 0) != (flaw == "sign")
        row["lo"], row["hi"] = (-(1 << row["aux"] - 1), (1 << row["aux"] - 1) - 1) if signed else (0, (1 << row["aux"]) - 1)
        for row in self.rows:
            if row["op"] == Op.SUM:
                row["lo"], row["hi"] = -FAR, FAR
        return flaw != "missing" or len(self.operands[s]) > 0

    def netlist(self) -> Netlist:
        """With the bounds that the operands give."""
        columns = {c: np.array([row[c] for row in self.rows], getattr(self.old, c).dtype) for c in self.rows[0]}
        flat = [o for operands in self.operands for o in operands]
        arg, shift, neg = (np.array([o[i] for o in flat], t) for i, t in enumerate((np.int32, np.uint8, np.bool_)))
        first = np.concatenate([[0], np.cumsum([len(o) for o in self.operands])]).astype(np.int64)
        ports = ([NetPort(p.name, self.moved[p.rows]) for p in side] for side in (self.old.inputs, self.old.outputs))
        inputs, outputs = (tuple(side) for side in ports)
        return narrowed(replace(self.old, first=first, arg=arg, shift=shift, neg=neg, inputs=inputs, outputs=outputs, **columns))


def layer(seed: int) -> tuple[Graph, Netlist, Places]:
    """A dense layer with random codes and weights."""
    r = np.random.default_rng(seed)
    n, m = r.integers(1, 6, 2).tolist()
    lo = r.choice([0, -1, -8, -300], n)
    hi = lo + r.choice([1, 7, 15, 1000], n)
    g = op(f"dense {{weight = {r.integers(-40, 40, (n, m)).tolist()}, bias = {r.integers(-99, 99, m).tolist()}}}",
           given("a", f"[{n}]", f"{lo.tolist()}..{hi.tolist()}"))
    netlist, rows = lower(g, 3)
    return g, netlist, Places.lowered(g, rows)


@pytest.mark.parametrize("seed", range(40))
def test_sums_of_slices_are_proven(seed: int) -> None:
    g, netlist, places = layer(seed)
    cut = Cut(netlist, seed)
    sliced = cut.netlist()
    verify(sliced)
    assert not unlike(g, sliced)
    places = places.moved(netlist, cut.moved)
    assert (proof := prove(g, sliced, places)).whole, str(proof)
    for _, step in (*NETLIST_PASSES, ("fuse", fuse_sums)):
        after, moved = step(sliced)
        sliced, places = after, places.moved(sliced, moved)
    assert (proof := prove(g, sliced, places)).whole, str(proof)


@pytest.mark.parametrize("name", sorted(name for name in CASES if not name.startswith("divide") and name != "square_root"))
def test_sums_of_slices_of_every_operation(name: str) -> None:
    """Where a function follows, say, or slices are there for another reason. (Digits are found by steps that are not cut.)"""
    g, netlist, places = optimised(name)
    for seed in range(4):
        cut = Cut(netlist, seed)
        sliced = cut.netlist()
        verify(sliced)
        assert (proof := prove(g, sliced, places.moved(netlist, cut.moved))).whole, str(proof)


@pytest.mark.parametrize("flaw", FLAWS)
def test_another_slice_is_no_proof(flaw: str) -> None:
    differ = 0
    for seed in range(60):
        g, netlist, places = layer(seed)
        cut = Cut(netlist, seed)
        if not cut.sums or not cut.slices or not cut.flawed(flaw):
            continue
        wrong = cut.netlist()
        try:
            whole = prove(g, wrong, places.moved(netlist, cut.moved)).whole
        except InternalError:
            whole = False
        if unlike(g, wrong):
            differ += 1
            assert not whole, f"seed {seed}"
    assert differ >= 10


MIDDLE = """netlist "g"
origin "a"
origin "node"
table 0 = 5 1 -4 2 7 7 0 3
%0 = input 0[0] : -300..400 @"a"
%1 = bits %0 [3 +: 3] : 0..7 @"node"
%2 = bits %0 [0 +: 3] : 0..7 @"node"
%3 = bits %0 [6 +: 5] : -5..6 @"node"
%4 = table 0 [%1 - 0] : -4..7 @"node"
%5 = sum %1 + %3<<3 : -38..50 @"node"
%6 = sum %5<<4 + %5<<3 + %2<<1 + %2 : -900..1200 @"node"
input "a" = %0
output "y" = %4
output "z" = %6
"""


def middle(text: str) -> tuple[Graph, Netlist, Places]:
    """Three times an input from its slices, and a table of the middle one."""
    g = retyped(graph(
        given("a", "[1]", "-300..400"),
        '%w = requant(%a) {mul = 1, add = 0, shift = 3, rounding = "FLOOR", lo = 0, hi = 7, overflow = "WRAP"} : '
        '[1] 0..7 frac 0 @ "node"',
        '%y = table(%w) {first = 0, values = [5, 1, -4, 2, 7, 7, 0, 3]} : [1] -4..7 frac 0 @ "node"',
        '%z = combine(%a) {scales = [3], offset = 0} : [1] -900..1200 frac 0 @ "node"',
        'output "y" = %y scale 1 offset 0', 'output "z" = %z scale 1 offset 0'))
    netlist = parse(text)
    return g, netlist, Places.lowered(g, {name: np.array([row], np.int32) for name, row in (("a", 0), ("w", 1), ("y", 4), ("z", 6))})


def proven(text: str) -> bool:
    try:
        return prove(*middle(text)).whole
    except InternalError:
        return False


def test_a_slice_is_an_operand_and_a_part_of_a_sum() -> None:
    verify(middle(MIDDLE)[1])
    assert proven(MIDDLE)


@pytest.mark.parametrize(("right", "wrong"), [
    ("[3 +: 3] : 0..7", "[3 +: 3] : 0..6"),  # a value is beyond its bounds
    ("[0 +: 3] : 0..7", "[0 +: 2] : 0..3"),  # a gap
    ("[0 +: 3] : 0..7", "[0 +: 4] : 0..15"),  # one bit twice
    ("[6 +: 5] : -5..6", "[6 +: 4] : -5..6"),
    ("[6 +: 5] : -5..6", "[6 +: 3] : -4..3"),  # without the sign
    ("[6 +: 5] : -5..6", "[6 +: 5] : 0..31"),
    ("[6 +: 5] : -5..6", "[5 +: 5] : -10..12"),
    ("bits %0 [0", "bits %1 [0"),
    ("bits %0 [0", "bits %0<<1 [0"),
    ("-38..50", "-38..49"),
    ("-38..50", "0..7"),
    ("-900..1200 @\"node\"\ninput", "-899..1200 @\"node\"\ninput"),
    ("%2<<1 + %2", "%2<<1 - %2"),
])
def test_slices_that_do_not_fit_are_no_proof(right: str, wrong: str) -> None:
    assert MIDDLE.count(right) == 1
    text = MIDDLE.replace(right, wrong)
    assert proven(text) == (wrong == "[6 +: 4] : -5..6")  # the sign, in four bits


SUM = """netlist "g"
origin "a"
origin "node"
%0 = input 0[0] : -300..400 @"a"
%1 = bits {} : 0..15 @"node"
%2 = bits {} : 0..7 @"node"
%3 = bits {} : -5..6 @"node"
%4 = sum %1<<{} + %2 : 0..127 @"node"
%5 = sum %4 + %3<<{} + 7 : -293..407 @"node"
input "a" = %0
output "out" = %5
"""


@pytest.mark.parametrize(("parts", "whole"), [
    (("%0 [2 +: 4]", "%0 [0 +: 2]", "%0 [6 +: 4]", 2, 6), True),
    (("%0<<2 [4 +: 4]", "%0<<1 [1 +: 2]", "%0 [6 +: 9]", 2, 6), True),
    (("%0 [2 +: 4]", "%0 [0 +: 2]", "%0<<3 [9 +: 62]", 2, 6), True),
    (("%0<<2 [3 +: 4]", "%0 [0 +: 2]", "%0 [6 +: 4]", 2, 6), False),
    (("%0<<2 [4 +: 4]", "%0<<1 [2 +: 2]", "%0 [6 +: 4]", 2, 6), False),
    (("%0 [2 +: 4]", "%0<<1 [0 +: 3]", "%0 [6 +: 4]", 3, 7), False),
])
def test_slices_of_a_shifted_row(parts: tuple[str, str, str, int, int], whole: bool) -> None:
    g = op("combine {scales = [1], offset = 7}", given("a", "[1]", "-300..400"))
    netlist = parse(SUM.format(*parts))
    places = Places.lowered(g, {"a": np.array([0], np.int32), "y": np.array([5], np.int32)})
    assert unlike(g, netlist) != whole
    try:
        assert prove(g, netlist, places).whole == whole
    except InternalError:
        assert not whole
