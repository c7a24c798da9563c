"""The passes that go over the operations once: unused ones out, ranges to what operands can give."""

from __future__ import annotations

from graphs import given, graph, lines, same_bits

from gatewright.compiler.passes.dead_ops import DeadOps
from gatewright.compiler.passes.exact_ranges import ExactRanges
from gatewright.ir.graph import verify


def test_unused_operations_go_and_inputs_stay() -> None:
    g = graph(given("x", "[2]", "0..3"), given("y", "[2]", "0..3"),
              '%a = combine(%x) {scales = [2], offset = 0} : [2] 0..6 frac 0 @ "a"',
              '%b = combine(%a) {scales = [2], offset = 0} : [2] 0..12 frac 0 @ "b"',
              '%c = combine(%a) {scales = [3], offset = 0} : [2] 0..18 frac 0 @ "c"',
              "meaning %b scale 1 offset 0", "meaning %y scale 1 offset 0", 'output "c" = %c scale 1 offset 0')
    result = DeadOps().run(g)
    same_bits(g, result.graph)
    assert [o.name for o in result.graph.ops] == ["x", "y", "a", "c"]
    assert dict(result.gone) == {"b": "no output depends on it"}
    assert set(result.graph.meanings) == {"y"}


def test_ranges_shrink_along_the_chain_and_never_grow() -> None:
    """What is claimed too wide is cut; a claim that is narrower than the operands show stays."""
    def text(x: str, a: str, b: str, s: str, q: str, h: str) -> list[str]:
        return [given("x", "[2]", x), f'%a = dense(%x) {{weight = [[2], [-1]], bias = [1]}} : [1] {a} frac 0 @ "a"',
                f'%b = combine(%a) {{scales = [2], offset = 0}} : [1] {b} frac 3 @ "b"',
                f'%s = reduce_sum(%b) {{axes = [0], keepdims = 0}} : [] {s} frac 0 @ "s"',
                f'%q = requant(%s) {{mul = 1, add = 0, shift = 1, rounding = "FLOOR", lo = 0, hi = 255, overflow = "SAT"}} '
                f': [] {q} frac 0 @ "q"',
                f'%h = thresholds(%s) {{sign = -1, levels = [-15, -3, 1], base = 0}} : [] {h} frac 0 @ "h"']
    outputs = ['output "q" = %q scale 1 offset 0', 'output "h" = %h scale 1 offset 0']
    exact = text("[0, -3]..[3, 1]", "0..10", "0..20", "0..20", "0..10", "0..2")
    for wide in (exact, text("[0, -3]..[3, 1]", "-9..99", "-20..200", "-20..200", "0..100", "0..3")):
        new = ExactRanges().run(graph(*wide, *outputs)).graph
        assert lines(new) == exact
        verify(new)
    claimed = text("[0, -3]..[3, 1]", "0..9", "0..20", "0..20", "0..10", "0..2")
    new = ExactRanges().run(graph(*claimed, *outputs)).graph
    assert lines(new) == text("[0, -3]..[3, 1]", "0..9", "0..18", "0..18", "0..9", "0..2")
