"""Graphs as text: what is written is read back, and what cannot be read is refused with its line."""

from __future__ import annotations

import random
import re
from fractions import Fraction

import numpy as np
import pytest
from graphs import given, graph, op

from gatewright.errors import UserError
from gatewright.ir import expr as ex
from gatewright.ir.exact import exacts, sqrt
from gatewright.ir.graph import Graph
from gatewright.ir.ops import OPS
from gatewright.ir.text import parse, show, show_expr

EVERY_OP = r'''graph "every op" {
  %x = input() {encoding = none} : [2, 3] -8..7 frac 4 @ "x"
  %"x 2\"\\/é\n%" = input() {encoding = clip(round(ROUND, affine([1/2, 1/3, -7], $0, 0)), -4, none)} : [3] [-4, 0, 1]..[3, 0, 2] frac -2 @ "q\n\"2\""
  %"" = dense(%x) {weight = [[1, -2], [0, 3], [5, 0]], bias = [0, 7]} : [2, 2] -100..100 frac 0 @ ""
  %a.1_b = reduce_sum(%x) {axes = [0, -1], keepdims = 0} : [] -48..42 frac 4 @ "sum"
  %c = combine(%x, %"x 2\"\\/é\n%") {scales = [1, [1, 2, 3]], offset = [[0], [1]]} : [2, 3] -20..20 frac 0 @ "add"
  %m = multiply(%c, %c) {} : [2, 3] 0..400 frac 0 @ "square"
  %r = reshape(%m) {shape = [6]} : [6] 0..400 frac 0 @ "r"
  %t = transpose(%m) {perm = [1, 0]} : [3, 2] 0..400 frac 0 @ "t"
  %e = region(%c) {expr = clip(round(HALF_DOWN, affine(1/2*sqrt(3), $0, -1+2*sqrt(5))), none, 7), shape = [2, 3]} : [2, 3] -21..7 frac 0 @ "bn"
  %q = requant(%c) {mul = [1, -2, 3], add = 0, shift = [[0], [3]], rounding = "HALF_UP", lo = -8, hi = 7, overflow = "WRAP"} : [2, 3] -8..7 frac 0 @ "q"
  %h = thresholds(%c) {sign = 1, levels = [[[0], [1], [2]], [[3], [4], [5]]], base = -1} : [2, 3] -1..0 frac 0 @ "h"
  %o = table(%q) {first = -8, values = [0, 1, 4, 9, 16, 25, 36, 49, 64, 81, 100, 121, 144, 169, 196, 225]} : [2, 3] 0..225 frac 0 @ "o"
  meaning %x scale 1/16 offset 0
  meaning %"x 2\"\\/é\n%" scale [1/3, 1*sqrt(2), 1] offset [0, -1/2, 1+1*sqrt(2)]
  output "y, \"1\"" = %"" scale [1/2, 3] offset [0, 1]
  output "z" = %o scale 1 offset -128
}
'''.replace("é", "\\u00e9")  # noqa: E501


def test_every_operation_is_read_back() -> None:
    assert show(parse(EVERY_OP)) == EVERY_OP
    g = parse(EVERY_OP)
    assert [o.name for o in g.ops][1:3] == ['x 2"\\/é\n%', ""]
    assert g.ops[1].node == 'q\n"2"'
    assert g.outputs[0].name == 'y, "1"'


def test_what_is_read_back_is_the_same_to_the_last_array() -> None:
    """Field by field: shapes of constants, Python and numpy types, exact numbers."""
    def same(a: object, b: object) -> bool:
        if isinstance(a, np.ndarray):
            return isinstance(b, np.ndarray) and (a.shape, a.dtype) == (b.shape, b.dtype) and bool((a == b).all())
        if isinstance(a, tuple | list):
            return type(a) is type(b) and len(a) == len(b) and all(same(p, q) for p, q in zip(a, b, strict=True))
        if hasattr(a, "__dataclass_fields__") and type(a).__eq__ is object.__eq__:
            return type(a) is type(b) and all(same(getattr(a, f), getattr(b, f)) for f in a.__dataclass_fields__)
        return type(a) is type(b) and a == b
    g = parse(EVERY_OP)
    again = parse(show(g))
    assert same(g.ops, again.ops)
    assert same(g.outputs, again.outputs)
    assert same(list(g.meanings.items()), list(again.meanings.items()))
    assert not same(g.ops, parse(show(g).replace("-128", "-127").replace("1/2*sqrt(3)", "1/2*sqrt(5)")).ops)


def test_every_kind_of_operation_is_written() -> None:
    written = set(re.findall(r" = (\w+)\(", EVERY_OP))
    assert {"input", "dense", "reduce_sum", "combine", "multiply", "reshape", "transpose", "region", "requant", "thresholds",
            "table"} <= written & set(OPS)


@pytest.mark.parametrize("seed", range(30))
def test_random_names_are_read_back(seed: int) -> None:
    rng = random.Random(seed)
    letters = [*'"\\% \n\t{}=@aB_.0-/é界,:#', "\x00", "\x7f", "\U0001f600"]
    names = list({"".join(rng.choice(letters) for _ in range(rng.randint(0, 6))) for _ in range(6)})
    template = graph(given("x", "[1]", "0..1")).ops[0]
    g = Graph("".join(rng.choice(letters) for _ in range(5)), tuple(
        type(template)(name=n, inputs=(), node=rng.choice(names), type=template.type) for n in names), ())
    again = parse(show(g))
    assert (again.name, [o.name for o in again.ops], [o.node for o in again.ops]) == (
        g.name, names, [o.node for o in g.ops])


def test_types_with_equal_and_with_different_elements() -> None:
    for shape, bounds in (("[]", "-3..5"), ("[2]", "0..1"), ("[2, 2]", "[[0, 1], [2, 3]]..[[0, 1], [2, 4]]"),
                          ("[0]", "[]..[]"), ("[2]", "[-1, -1]..[0, 1]"), ("[1]", f"{-(1 << 61)}..{(1 << 61) - 1}")):
        line = given("x", shape, bounds)
        assert show(graph(line)).splitlines()[1].strip() == line


def test_layout_is_free() -> None:
    compact = 'graph"g"{%x=input(){encoding=none}:[2]0..1frac 0@"n" output"y"=%x scale 1 offset 0}'
    assert show(parse(compact)) == show(parse(re.sub(r"([\]\[(){}=:,@])", r"\n \1\t", compact)))


def test_parts_of_an_expression_that_are_written_twice_are_one() -> None:
    """What passes find by identity, a wrap of a rounded value, say, they must also find in a Graph that was read."""
    part = ex.Round(ex.affine(ex.Leaf(0), Fraction(1, 3)), "ROUND")
    wrap = ex.add([(part, exacts(1)), (ex.Round(ex.affine(part, Fraction(1, 8)), "FLOOR"), exacts(-8))])
    g = op(f"region {{expr = {show_expr(wrap)}, shape = [2]}}", given("a", "[2]", "-99..99"))
    for text in (show(g), show(g).replace("1/3,", "1/3 ,")):
        assert ex.match_wrap(parse(text).ops[1].expr) is not None  # type: ignore[attr-defined]


def test_irrational_numbers() -> None:
    e = ex.affine(ex.Leaf(0), np.array([sqrt(Fraction(2)) / 3 - 1, -sqrt(Fraction(6)) + sqrt(Fraction(10))], object), 2)
    text = show_expr(e)
    assert text == "affine([-1+1/3*sqrt(2), -1*sqrt(6)+1*sqrt(10)], $0, 2)"
    again = parse(f'graph "g" {{ %x = input() {{encoding = {text}}} : [] 0..0 frac 0 @ "" }}').ops[0]
    assert show_expr(again.encoding.expr) == text  # type: ignore[attr-defined]


@pytest.mark.parametrize(("line", "old", "new", "reason"), [
    (1, 'graph "g"', 'grap "g"', "'graph' expected, 'grap' found"),
    (1, '"g"', "g", "a quoted name expected, 'g' found"),
    (2, "%x = input", "x = input", "a tensor expected, 'x' found"),
    (2, "input()", "inputs()", "no operation is called 'inputs'"),
    (2, "encoding = none", "coding = none", "input has no attribute 'coding'"),
    (2, "-8..7", "7..-8", "empty range"),
    (2, "-8..7", "-8...7", "unexpected '.7'"),
    (2, "[2]", "[2/3]", "2/3 is no integer"),
    (2, "[2]", "2", "not iterable"),
    (2, "frac 0", "frac x", "invalid literal"),
    (2, "-8..7", "[0, 0, 0]..7", "broadcast"),
    (2, '@ "x"', "@ x", "a quoted name expected"),
    (2, '@ "x"', r'@ "\x"', "escape"),
    (3, "scales", "?scales", r"unexpected '\?scales'"),
    (3, "[2]", "[1/2]", "1/2 is no integer"),
    (3, ", offset = 0", "", "missing .* 'offset'"),
    (3, "-16", "[[1, 2], [3]]", "inhomogeneous|sequence"),
    (3, "%x)", "%x", "expected|unexpected"),
    (4, "affine", "afine", "no expression is written 'afine'"),
    (4, "affine(1/2, $0, 0)", "affine(1/2, 3, 0)", "no expression is written 'affine'"),
    (4, "1/2", "1/0", "Fraction\\(1, 0\\)"),
    (4, "ROUND", "NEAREST", "no rounding mode is called 'NEAREST'"),
    (4, "-1, 1)", "-1)", "no expression is written 'clip' with 2 such parts"),
    (4, "-1, 1)", '-1, "1")', "no number: \"1\""),
    (5, "scale 1", "scal 1", "'scale' expected, 'scal' found"),
    (6, "}", "", "a tensor expected, '' found"),
    (6, "}", "} x", "'x' after the end of the graph"),
])
def test_what_cannot_be_read_is_refused_with_its_line(line: int, old: str, new: str, reason: str) -> None:
    text = ['graph "g" {', '  %x = input() {encoding = none} : [2] -8..7 frac 0 @ "x"',
            '  %y = combine(%x) {scales = [2], offset = 0} : [2] -16..14 frac 0 @ "y"',
            '  %z = region(%y) {expr = clip(round(ROUND, affine(1/2, $0, 0)), -1, 1), shape = [2]} : [2] -1..1 frac 0 @ "z"',
            '  output "o" = %z scale 1 offset 0', "}"]
    parse("\n".join(text))
    assert old in text[line - 1]
    text[line - 1] = text[line - 1].replace(old, new, 1)
    with pytest.raises(UserError, match=f"line {line}: .*(?:{reason})"):
        parse("\n".join(text))
