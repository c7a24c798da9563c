"""Every operation: its codes against a scalar definition in Python integers, its bounds against what it computes."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from graphs import every_code, given, graph, op

from gatewright.errors import InternalError, UserError
from gatewright.ir.exact import ROUND_NUMBER
from gatewright.ir.graph import Graph, Op, typed, verify
from gatewright.ir.ops import Combine, Dense, Requant, Table, Thresholds
from gatewright.ir.ops.function import round_shift

A = given("a", "[2, 3]", "[[-8, 0, -3], [2, -7, -1]]..[[7, 5, -3], [9, 6, 0]]")
SCALAR = given("a", "[]", "-9..8")


def check(g: Graph, definition: Callable[..., Any], most: int = 300, tight: bool = True) -> None:
    """Codes equal `definition`, which takes the operands of one sample as nested Python lists; bounds hold, and are
    reached where `tight`."""
    verify(g)
    inputs = every_code(g, most)
    y = g.ops[-1]
    got = g.evaluate(inputs, ["y"])["y"]
    assert got.dtype == np.int64
    assert got.shape[1:] == y.type.shape
    for s in range(len(got)):
        assert got[s].tolist() == definition(*(np.asarray(inputs[i][s]).astype(object) for i in y.inputs)), s
    assert (got >= y.type.lo).all()
    assert (got <= y.type.hi).all()
    if tight:
        assert (got.min(axis=0) == y.type.lo).all()
        assert (got.max(axis=0) == y.type.hi).all()


@pytest.mark.parametrize("mode", ROUND_NUMBER)
def test_round_shift_is_the_exact_rounding(mode: str) -> None:
    v = np.arange(-70, 71)
    for shift in range(6):
        expected = [ROUND_NUMBER[mode](Fraction(int(x), 1 << shift)) for x in v]
        assert round_shift(v, np.array(shift), mode).tolist() == expected
    wide = np.array([[-(1 << 60), -(1 << 59) - 1, -1, 0, 1, (1 << 59) + 1, (1 << 60) - 1]]).T
    shifts = np.array([0, 1, 30, 58, 60])
    expected = [[ROUND_NUMBER[mode](Fraction(x, 1 << s)) for s in shifts.tolist()] for x in wide[:, 0].tolist()]
    assert round_shift(wide, shifts, mode).tolist() == expected


def requant(mul: Any, add: Any, shift: Any, mode: str, lo: Any, hi: Any, overflow: str) -> str:
    return (f'requant {{mul = {mul}, add = {add}, shift = {shift}, rounding = "{mode}", lo = {lo}, hi = {hi}, '
            f'overflow = "{overflow}"}}')


def requant_definition(mul: Any, add: Any, shift: Any, mode: str, lo: Any, hi: Any, overflow: str) -> Callable[..., Any]:
    def one(x: int, m: int, a: int, s: int, low: int, high: int) -> int:
        y = ROUND_NUMBER[mode](Fraction(m * x + a, 1 << s))
        return min(max(y, low), high) if overflow == "SAT" else (y - low) % (high - low + 1) + low

    def every(x: Any) -> Any:
        constants = [np.asarray(c, object) for c in (mul, add, shift, lo, hi)]
        return np.asarray(np.vectorize(one, otypes=[object])(x, *constants)).tolist()
    return every


@pytest.mark.parametrize("overflow", ["SAT", "WRAP"])
@pytest.mark.parametrize("mode", ROUND_NUMBER)
def test_requant(mode: str, overflow: str) -> None:
    lo, hi = ([-3, 0, -4], [4, 1, 3]) if overflow == "WRAP" else ([-3, 0, -20], [4, 1, 20])
    for mul, add, shift, low, high in ((1, 0, 2, -2, 1), (3, 5, 1, 0, 7), ([1, -3, 2], [[4], [-1]], [0, 1, 3], lo, hi),
                                       ([[1], [-1]], 0, 0, lo, hi)):
        arguments = (mul, add, shift, mode, low, high, overflow)
        check(op(requant(*arguments), A), requant_definition(*arguments), tight=overflow == "SAT")
        if not isinstance(low, list) and not isinstance(mul, list):
            check(op(requant(*arguments), SCALAR), requant_definition(*arguments), tight=overflow == "SAT")


def test_an_operand_of_lower_rank_lines_up_with_the_last_axes() -> None:
    """Also for two samples, where a sample axis taken for a tensor axis would go unnoticed."""
    a = given("a", "[2]", "-3..4")
    arguments = ([[1, 2], [3, 4]], [[0, 1], [2, 3]], 0, "FLOOR", -9, 9, "SAT")
    thresholds = "thresholds {sign = [[1, -1], [-1, 1]], levels = [-1, 0, 2], base = [[0], [10]]}"
    table = "table {first = -3, values = [[[0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 8, 9, 8, 9, 8, 9]], [[1, 1, 1, 1, 2, 2, 2, 2], [7, 6, 5, 4, 3, 2, 1, 0]]]}"  # noqa: E501
    for g in (op(requant(*arguments), a), op(thresholds, a), op(table, a)):
        y = g.by_name["y"]
        assert y.type.shape == (2, 2)
        x = np.array([[-3, 4], [2, 1]])
        wide = y.compute([np.broadcast_to(x[:, None, :], (2, 2, 2)).copy()])
        assert y.compute([x]).tolist() == wide.tolist()
    check(op(requant(*arguments), a), requant_definition(*arguments))


def thresholds_definition(sign: Any, levels: Any, base: Any) -> Callable[..., Any]:
    def every(x: Any) -> Any:
        out = np.empty(np.broadcast_shapes(x.shape, np.shape(sign), np.shape(base), np.shape(levels)[:-1]), object)
        for i in np.ndindex(out.shape):
            v, s, b = (int(np.broadcast_to(c, out.shape)[i]) for c in (x, sign, base))
            steps = np.broadcast_to(levels, (*out.shape, np.shape(levels)[-1]))[i]
            out[i] = b + sum(s * v >= int(t) for t in steps)
        return out.tolist()
    return every


@pytest.mark.parametrize(("sign", "levels", "base"), [
    (1, [-5, 0, 0, 3, 100], 0),
    (-1, [-5, 0, 3, 100], -7),
    ([1, -1, 1], [-2, 2], [[0], [5]]),
    (1, [[[0, 1], [2, 3], [-9, -8]], [[4, 4], [99, 99], [0, 99]]], 0),
    ([[1], [-1]], [[-1, 0], [0, 9], [50, 60]], 1),
])
def test_thresholds(sign: Any, levels: Any, base: Any) -> None:
    check(op(f"thresholds {{sign = {sign}, levels = {levels}, base = {base}}}", A), thresholds_definition(sign, levels, base))
    if not isinstance(levels[0], list) and isinstance(sign, int):
        check(op(f"thresholds {{sign = {sign}, levels = {levels}, base = {base}}}", SCALAR),
              thresholds_definition(sign, levels, base))


def test_thresholds_without_a_level_are_a_constant() -> None:
    g = op("thresholds {sign = 1, levels = [], base = 4}", A)
    check(g, lambda x: [[4] * 3] * 2)


def test_tables() -> None:
    values = [(x * x - 5 * x) % 13 - 4 for x in range(-9, 10)]
    check(op(f"table {{first = -9, values = {values}}}", A), lambda x: [[values[v + 9] for v in row] for row in x])
    check(op(f"table {{first = -9, values = {values}}}", SCALAR), lambda x: values[x + 9])
    columns = [[values[k:] + values[:k]] for k in (0, 3)]
    check(op(f"table {{first = -9, values = {columns}}}", A),
          lambda x: [[columns[i][0][v + 9] for v in row] for i, row in enumerate(x)])


def test_dense() -> None:
    w, bias = [[1, 0], [-2, 5], [7, 0]], [3, 0]
    check(op(f"dense {{weight = {w}, bias = {bias}}}", A),
          lambda x: [[sum(v * w[i][j] for i, v in enumerate(row)) + bias[j] for j in range(2)] for row in x], tight=False)
    check(op(f"dense {{weight = {w}, bias = {bias}}}", given("a", "[3]", "-1..2")),
          lambda x: [sum(v * w[i][j] for i, v in enumerate(x)) + bias[j] for j in range(2)], tight=False)


def test_bounds_of_a_dense_layer_are_reached() -> None:
    g = op("dense {weight = [[3], [-5], [0]], bias = [2]}", given("a", "[3]", "[-2, -1, 0]..[1, 4, 9]"))
    corners = np.array(list(itertools.product((-2, 1), (-1, 4), (0, 9))))
    y = g.evaluate({"a": corners})["y"]
    assert (y.min(), y.max()) == (g.ops[1].type.lo[0], g.ops[1].type.hi[0]) == (-24, 10)


@pytest.mark.parametrize("top", [(1 << 51) - 1, 1 << 51, (1 << 51) + 1, 1 << 56])
def test_dense_is_exact_on_both_sides_of_float64(top: int) -> None:
    """Sums of up to 4 * top: below, at and above 2**53, where float64 stops holding every integer."""
    g = op("dense {weight = [[1, 3], [1, 1], [1, -1], [1, 0]], bias = [0, 1]}", given("a", "[4]", f"{-top}..{top}"))
    rng = np.random.default_rng(0)
    x = rng.integers(-top, top, (40, 4), endpoint=True)
    x[:3] = [[top] * 4, [-top] * 4, [top, top, -top, 1]]
    w, bias = g.ops[1].weight.astype(object), [0, 1]  # type: ignore[attr-defined]
    for samples in (x, x[:1], x[3:]):
        expected = samples.astype(object) @ w + bias
        assert g.evaluate({"a": samples})["y"].tolist() == expected.tolist()


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [(0,), (1,), (-1,), (-2,), (0, 1), (0, -1), ()])
def test_reduce_sum(axes: tuple[int, ...], keepdims: int) -> None:
    g = op(f"reduce_sum {{axes = {list(axes)}, keepdims = {keepdims}}}", A)
    check(g, lambda x: np.asarray(np.sum(x, axis=axes, keepdims=bool(keepdims)) if axes else x).tolist())


def test_combinations_broadcast_operands_of_lower_rank() -> None:
    b, c = given("b", "[3]", "-1..2"), given("c", "[]", "0..1")
    small = given("a", "[2, 1]", "-1..1")
    g = op("combine {scales = [2, [1, -1, 0], [[3], [0]]], offset = [[0], [7]]}", small, b, c)

    def definition(x: Any, y: Any, z: Any) -> Any:
        return [[2 * x[i][0] + y[j] * (1, -1, 0)[j] + z * (3, 0)[i] + (0, 7)[i] for j in range(3)] for i in range(2)]
    check(g, definition)
    check(op("combine {scales = [3], offset = -1}", c), lambda z: 3 * z - 1)
    check(op("combine {scales = [[[1, 1, 1], [1, 1, 1]]], offset = 0}", b), lambda y: [y.tolist()] * 2)


def test_products_and_squares() -> None:
    b = given("b", "[3]", "-2..3")
    small = given("a", "[2, 1]", "[[-2], [1]]..[[1], [3]]")
    check(op("multiply {}", small, b), lambda x, y: (x * y).tolist())
    check(op("multiply(%a, %a) {}", A), lambda x, y: (x * y).tolist())
    check(op("multiply(%a, %a) {}", SCALAR), lambda x, y: x * y)


def test_shape_operations_move_elements() -> None:
    check(op("reshape {shape = [3, 1, 2]}", A), lambda x: x.reshape(3, 1, 2).tolist())
    check(op("reshape {shape = []}", given("a", "[1]", "-2..2")), lambda x: x[0])
    check(op("transpose {perm = [1, 0]}", A), lambda x: x.T.tolist())
    three = given("a", "[2, 1, 2]", "[[[0, 1]], [[2, 3]]]..[[[0, 5]], [[2, 4]]]")
    check(op("transpose {perm = [2, 0, 1]}", three), lambda x: x.transpose(2, 0, 1).tolist())


def test_regions() -> None:
    b = given("b", "[3]", "-2..3")
    g = op("region {expr = clip(round(HALF_UP, affine(1/2, $0, [1, -1/3, 0], $1, 1/2)), -3, 3), shape = [2, 3]}", A, b)

    def one(x: int, y: int, j: int) -> int:
        v = ROUND_NUMBER["HALF_UP"](Fraction(x, 2) + y * (Fraction(1), Fraction(-1, 3), Fraction(0))[j] + Fraction(1, 2))
        return min(max(v, -3), 3)
    check(g, lambda x, y: [[one(x[i][j], y[j], j) for j in range(3)] for i in range(2)])
    root = op("region {expr = round(FLOOR, affine(1*sqrt(2), $0, 0)), shape = []}", SCALAR)
    check(root, lambda x: (1 if x > 0 else -1) * int((2 * x * x) ** 0.5) - (x < 0))


# -- what does not fit ---------------------------------------------------------------------------------------------------

WIDE = given("a", "[2]", f"{-(1 << 40)}..{(1 << 40) - 1}")


@pytest.mark.parametrize("text", [
    "dense {weight = [[2097152], [2097152]], bias = [0]}", "combine {scales = [4194304], offset = 0}",
    "multiply(%a, %a) {}", "reduce_sum(%b) {axes = [0], keepdims = 0}",
    requant(1 << 22, 0, 22, "FLOOR", -8, 7, "SAT"),          # the result is narrow, what is before the shift is not
    requant(1, 1 << 61, 30, "FLOOR", -8, 7, "SAT"),
    requant(1 << 21, 0, 60, "ROUND", -8, 7, "WRAP"),
    requant(1, 0, 62, "HALF_UP", -8, 7, "SAT"),
    requant(1, 0, 80, "FLOOR", -8, 7, "SAT"),
])
def test_what_needs_more_than_62_bits_is_refused_with_its_node(text: str) -> None:
    with pytest.raises(UserError, match=r"node 'node': .* needs .* bits, more than the 62") as refused:
        op(text, WIDE, given("b", "[2]", f"{-(1 << 61)}..{(1 << 61) - 1}")) if "%b" in text else op(text, WIDE)
    assert refused.value.remedy


def test_the_widest_code_is_allowed() -> None:
    full = given("a", "[1]", f"{-(1 << 61)}..{(1 << 61) - 1}")
    check(op("combine {scales = [1], offset = 0}", full), lambda x: x.tolist(), most=50, tight=False)
    assert op("combine {scales = [-1], offset = -1}", full).ops[1].type.common.width == 62
    with pytest.raises(UserError, match="63 bits"):
        op("combine {scales = [-1], offset = 0}", full)
    unsigned = given("a", "[1]", f"0..{(1 << 62) - 1}")
    check(op(requant(1, 0, 0, "FLOOR", 0, 255, "SAT"), unsigned), lambda x: [min(x[0], 255)], most=50, tight=False)
    with pytest.raises(UserError, match="63 bits"):
        op("combine {scales = [1], offset = 1}", unsigned)


@pytest.mark.parametrize("text", [
    requant(1, 0, 1, "HALF", -8, 7, "SAT"), requant(1, 0, -1, "FLOOR", -8, 7, "SAT"), requant(1, 0, 1, "FLOOR", 7, -8, "SAT"),
    requant(1, 0, 1, "FLOOR", 0, 5, "WRAP"), "thresholds {sign = 2, levels = [0], base = 0}",
    "thresholds {sign = 1, levels = [1, 0], base = 0}", "table {first = 0, values = [1, 2, 3]}",
    "table {first = -9, values = [1, 2, 3]}", "dense {weight = [[1], [2]], bias = [0]}",
    "reduce_sum {axes = [2], keepdims = 0}", "reshape {shape = [5]}", "transpose {perm = [0]}",
    "combine {scales = [1, 1], offset = 0}", "combine {scales = [[1, 2]], offset = 0}", "multiply {}"])
def test_an_operation_that_does_not_fit_its_operands_is_invalid(text: str) -> None:
    kind, attributes = text.split(" ", 1)
    bad = graph(A, f'%y = {kind}(%a) {attributes} : [2, 3] -8..7 frac 0 @ "node"')
    with pytest.raises(InternalError, match=f"'y' \\({kind}\\) does not fit its operands"):
        verify(bad)


def test_forms_are_named_for_the_report() -> None:
    said = {text: op(text, A).ops[1].show_form() for text in (
        requant(3, 1, 2, "ROUND", 0, 1, "SAT"), requant(1, 0, 2, "FLOOR", 0, 1, "WRAP"), requant(1, 0, 0, "UP", 0, 1, "SAT"),
        "thresholds {sign = 1, levels = [1, 2], base = 0}", "table {first = -9, values = " + str(list(range(20))) + "}",
        "reshape {shape = [6]}")}
    assert list(said.values()) == ["multiply, add, shift (ROUND), clip", "shift, wrap", "clip", "2 thresholds", "table of 20",
                                   "reshape"]


@pytest.mark.parametrize("seed", range(40))
def test_random_constants(seed: int) -> None:
    """Per element or not, on per-element ranges, for the operations with many constants."""
    rng, r = random.Random(seed), np.random.default_rng(seed)

    def constant(lo: int, hi: int, *last: int) -> np.ndarray:
        shape = rng.choice([(), (3,), (2, 1), (2, 3)])
        return r.integers(lo, hi, (*shape, *last), endpoint=True)
    low = r.integers(-9, 3, (2, 3))
    x = graph(given("a", "[2, 3]", f"{low.tolist()}..{(low + r.integers(0, 9, (2, 3))).tolist()}")).ops[0]

    def built(kind: type[Op], **attributes: Any) -> Graph:
        y = typed(kind, "y", [x], "node", **attributes)
        return graph(given("a", "[2, 3]", "0..0")).with_ops([x, y])
    mode, lo = rng.choice(list(ROUND_NUMBER)), constant(-9, 3)
    a = {"mul": constant(-5, 5), "add": constant(-9, 9), "shift": constant(0, 4), "lo": lo, "hi": lo + constant(0, 9)}
    check(built(Requant, rounding=mode, overflow="SAT", **a),
          requant_definition(a["mul"], a["add"], a["shift"], mode, a["lo"], a["hi"], "SAT"))
    sign, levels, base = constant(0, 1) * 2 - 1, np.sort(constant(-12, 12, 4)), constant(-3, 3)
    check(built(Thresholds, sign=sign, levels=levels, base=base), thresholds_definition(sign, levels, base))
    values = constant(-99, 99, 24)
    check(built(Table, first=-9, values=values), lambda v: [
        [int(np.broadcast_to(values, (2, 3, 24))[i, j, v[i, j] + 9]) for j in range(3)] for i in range(2)])
    w, bias = r.integers(-9, 9, (3, 2)), r.integers(-9, 9, 2)
    check(built(Dense, weight=w, bias=bias), lambda v: (v @ w + bias).tolist(), tight=False)
    s, c = constant(-5, 5), constant(-5, 5)
    check(built(Combine, scales=(s,), offset=c), lambda v: (v * s + c).tolist())
