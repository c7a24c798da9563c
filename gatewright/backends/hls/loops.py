"""Operations of the Graph as plain loops: one function a layer, its weights as tables.

Sums are formed in the type of the result, modulo its width, where they are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gatewright.backends.hls.dialect import Pragma, indented, literal, plus
from gatewright.backends.hls.text import Elements, Writer, flat, index, moved, squeezed, strides
from gatewright.ir.fixed import Fixed, FixedArray, Ints
from gatewright.ir.graph import Op
from gatewright.ir.ops import (
    Combine,
    Concat,
    Conv,
    Dense,
    ExtremePool,
    Extremum,
    Multiply,
    ReduceExtreme,
    ReduceSum,
    Requant,
    Select,
    SumPool,
    Table,
    Take,
    Thresholds,
    TopK,
    Transpose,
)
from gatewright.ir.ops.function import SATURATE, half_of, round_shift
from gatewright.ir.ops.window import Windowed

Operands = Sequence[tuple[str, FixedArray]]
"""The name of an operand inside the function, and its type."""
Lines = list[str]


def dense(w: Writer, op: Dense, operands: Operands) -> Lines:
    (x, type_), = operands
    inputs, outputs = op.weight.shape
    p, j = w.outer(("p", math.prod(type_.shape[:-1])), ("j", outputs))
    i = "i" if inputs > 1 else "0"
    weight, bias = w.table("weight", op.weight.T, (j, i)), w.table("bias", op.bias, (j,))
    product = f"sum += {x}[{flat((p, inputs), (i, 1))}] * {weight};"
    return w.loops([f"{w.type(op.type)} sum = {bias};", *w.inner([(i, inputs)], [product]),
                    f"y[{flat((p, outputs), (j, 1))}] = sum;"])


# -- element by element --------------------------------------------------------------------------------------------------


def combine(w: Writer, op: Combine, operands: Operands) -> Lines:
    scales, offset = [squeezed(s) for s in op.scales], squeezed(op.offset)
    e = Elements(w, op.type.shape, *(t.shape for _, t in operands), *(s.shape for s in scales), offset.shape)
    text, count = "", len(operands)
    for k, (x, _) in enumerate(operands):
        scale, element = e.table(count + k, f"scale{k}", scales[k]), f"{x}[{e.at(k)}]"
        negative = scale.startswith("-")
        factor = scale.removeprefix("-")
        term = element if factor == "1" else f"{element} * {factor}"
        text += f"{' - ' if negative else ' + '}{term}"
    constant = e.table(2 * count, "offset", offset)
    text = text.removeprefix(" + ").lstrip() + _plus(constant)
    return w.loops([f"y[{e.y}] = {text};"])


def _plus(term: str) -> str:
    """What adds a table's element or a literal behind an expression."""
    if term == "0":
        return ""
    return f" - {term[1:]}" if term.startswith("-") else f" + {term}"


def multiply(w: Writer, op: Multiply, operands: Operands) -> Lines:
    (a, at), (b, bt) = operands
    e = Elements(w, op.type.shape, at.shape, bt.shape)

    def body(kind: str) -> Lines:
        return [f"const {w.type(op.type)} product = {a}[{e.at(0)}] * {b}[{e.at(1)}];",
                *w.dialect.pragmas([Pragma(kind, variable="product")]), f"y[{e.y}] = product;"]

    in_dsp, in_luts = body("mul_in_dsp"), body("mul_in_luts")
    if w.dsps >= w.copies:
        return w.loops(in_dsp)
    if not w.dsps or w.rolled or in_dsp == in_luts:  # all turns of a loop have the same multipliers; some tools cannot be told
        return w.loops(in_luts)
    return w.loops([f"if ({e.y} < {w.dsps}) {{", *indented(in_dsp), "} else {", *indented(in_luts), "}"])


def extremum(w: Writer, op: Extremum, operands: Operands) -> Lines:
    (a, at), (b, bt) = operands
    e, y = Elements(w, op.type.shape, at.shape, bt.shape), w.type(op.type)
    first, second = f"{a}[{e.at(0)}]", f"{b}[{e.at(1)}]"
    return w.loops([f"y[{e.y}] = {first} {'>=' if op.largest else '<='} {second} ? {y}({first}) : {y}({second});"])


def select(w: Writer, op: Select, operands: Operands) -> Lines:
    e, y = Elements(w, op.type.shape, *(t.shape for _, t in operands)), w.type(op.type)
    c, a, b = (f"{x}[{e.at(k)}]" for k, (x, _) in enumerate(operands))
    return w.loops([f"y[{e.y}] = {c} != 0 ? {y}({a}) : {y}({b});"])


def requant(w: Writer, op: Requant, operands: Operands) -> Lines:
    (x, type_), = operands
    shape = op.type.shape
    mul, add, shift, lo, hi, span = (squeezed(v) for v in (op.mul, op.add, op.shift, op.lo, op.hi, op.hi - op.lo))
    e = Elements(w, shape, type_.shape, *(v.shape for v in (mul, add, shift, lo, hi, span)))
    ends = [np.asarray(op.mul * v + op.add) for v in (type_.lo, type_.hi)]
    below, above = np.minimum(*ends), np.maximum(*ends)
    rounds = op.rounding != "FLOOR" and bool(op.shift.any())
    wide = Fixed(min(int(below.min()), 0), int((above + (1 << op.shift) * rounds).max()), 0)
    factor, text = e.table(1, "mul", mul), f"{x}[{e.at(0)}]"
    text = (text if factor == "1" else f"{text} * {factor}") + _plus(e.table(2, "add", add))
    lines = [f"const {w.type(wide)} v = {text};"]
    rounded = "v"
    if op.shift.any():
        amount = e.table(3, "shift", shift, plain=True)
        lines.append(f"const {w.type(wide)} r = {_rounded(e, op.rounding, shift, amount, w.type(wide))};")
        rounded = "r"
    least, most = (round_shift(v, op.shift, op.rounding) for v in (below, above))
    if (least >= op.lo).all() and (most <= op.hi).all():
        return w.loops([*lines, f"y[{e.y}] = {rounded};"])
    low, y = e.table(4, "low", lo), w.type(op.type)
    if op.overflow == SATURATE:
        high = e.table(5, "high", hi)
        text = f"{y}({rounded})"
        if (most > op.hi).any():
            text = f"{rounded} > {high} ? {y}({high}) : {text}"
        if (least < op.lo).any():
            text = f"{rounded} < {low} ? {y}({low}) : {text}"
        return w.loops([*lines, f"y[{e.y}] = {text};"])
    return w.loops([*lines, f"y[{e.y}] = (({rounded}{_minus(low)}) & {e.table(6, 'span', span)}){_plus(low)};"])


def _minus(term: str) -> str:
    if term == "0":
        return ""
    return f" + {term[1:]}" if term.startswith("-") else f" - {term}"


def _rounded(e: Elements, mode: str, shift: Ints, amount: str, wide: str) -> str:
    """v / 2**shift rounded: ir/ops/function.py says how. Where nothing is shifted nothing is added. `wide` is the type of v."""
    fraction, half = (shift > 0).astype(np.int64), half_of(shift)
    names = {"unit": (1 << shift) - 1, "half": half, "below_half": half - fraction, "fraction": fraction}

    def constant(name: str) -> str:
        return e.table(3, name, names[name])

    def where_negative(name: str, negative: bool = True) -> str:
        some, none = f"{wide}({constant(name)})", f"{wide}(0)"
        return f"(v < 0 ? {some} : {none})" if negative else f"(v < 0 ? {none} : {some})"

    match mode:
        case "FLOOR":
            return f"v >> {amount}"
        case "CEIL":
            text = f"v + {constant('unit')}"
        case "DOWN":
            text = f"v + {where_negative('unit')}"
        case "UP":
            text = f"v + {where_negative('unit', False)}"
        case "ROUND":
            text = f"v{_plus(constant('below_half'))} + ((v >> {amount}) & {constant('fraction')})"
        case "HALF_UP":
            text = f"v{_plus(constant('half'))} - {where_negative('fraction')}"
        case "HALF_DOWN":
            text = f"v{_plus(constant('below_half'))} + {where_negative('fraction')}"
        case "HALF_CEIL":
            text = f"v{_plus(constant('half'))}"
        case _:
            text = f"v{_plus(constant('below_half'))}"
    return f"({text}) >> {amount}"


def thresholds(w: Writer, op: Thresholds, operands: Operands) -> Lines:
    (x, type_), = operands
    sign, base, levels = squeezed(op.sign), squeezed(op.base), squeezed(op.levels, op.levels.ndim - 1)
    reach = max(abs(int(type_.lo.min())), abs(int(type_.hi.max()))) + 1
    e = Elements(w, op.type.shape, type_.shape, sign.shape, base.shape, levels.shape[:-1])
    count = levels.shape[-1]
    k = "k" if count > 1 else "0"
    factor, element = e.table(1, "sign", sign), f"{x}[{e.at(0)}]"
    value = {"1": element, "-1": f"-{element}"}.get(factor, f"{element} * {factor}")
    lines = [f"{w.type(op.type)} n = {e.table(2, 'base', base)};"]
    if count:
        level = e.table(3, "level", np.clip(levels, -reach, reach), k)  # what no value reaches may be anything larger
        lines += w.inner([(k, count)], [f"if ({value} >= {level}) n += 1;"])
    return w.loops([*lines, f"y[{e.y}] = n;"])


def table(w: Writer, op: Table, operands: Operands) -> Lines:
    (x, type_), = operands
    values = squeezed(op.values, op.values.ndim - 1)
    e = Elements(w, op.type.shape, type_.shape, values.shape[:-1])
    element = f"{x}[{e.at(0)}]"
    place = f"({element}{plus(-op.first)}).to_int()" if op.first else f"{element}.to_int()"
    return w.loops([f"y[{e.y}] = {e.table(1, 'value', values, place)};"])


# -- sums and extremes over axes -----------------------------------------------------------------------------------------


def reduced(w: Writer, op: ReduceSum | ReduceExtreme, operands: Operands) -> Lines:
    (x, type_), = operands
    shape = type_.shape
    gone = {a % len(shape) for a in op.axes}
    names = [f"{'r' if k in gone else 'i'}{k}" for k in range(len(shape))]
    kept = [k for k in range(len(shape)) if k not in gone]
    opened = dict(zip(kept, w.outer(*((names[k], shape[k]) for k in kept)), strict=True))
    inside = [(names[k], shape[k]) for k in sorted(gone)]
    places = [opened[k] if k in opened else names[k] if shape[k] > 1 else "0" for k in range(len(shape))]
    element = f"{x}[{index(places, shape)}]"
    y = index([opened[k] for k in kept], tuple(shape[k] for k in kept))
    if isinstance(op, ReduceSum):
        return w.loops([f"{w.type(op.type)} sum = 0;", *w.inner(inside, [f"sum += {element};"]), f"y[{y}] = sum;"])
    return w.loops([*_best(w, op.largest, type_, inside, element), f"y[{y}] = best;"])


def _best(w: Writer, largest: int, type_: FixedArray, inside: Sequence[tuple[str, int]], element: str,
          guarded: Callable[[str], Lines] = lambda statement: [statement]) -> Lines:
    """`best`, the extreme of an element over loops. It starts as the end of the type that never wins."""
    worst = literal(type_.common.lo if largest else type_.common.hi)
    better = f"if ({element} {'>' if largest else '<'} best) best = {element};"
    return [f"{w.type(type_)} best = {worst};", *w.inner(inside, guarded(better))]


def top_k(w: Writer, op: TopK, operands: Operands) -> Lines:
    """Best of all by a scan; several by counting for every element how many are better: that is its rank."""
    (x, type_), = operands
    axis, size = op.axis % len(type_.shape), type_.shape[op.axis]
    before, after = math.prod(type_.shape[:axis]), math.prod(type_.shape[axis + 1:])
    p, r, q = w.outer(("p", before), ("r", op.count), ("q", after))

    def element(i: str) -> str:
        return f"{x}[{flat((p, size * after), (i, after), (q, 1))}]"

    sign, y = ">" if op.largest else "<", f"y[{flat((p, op.count * after), (r, after), (q, 1))}]"
    if op.count == 1:
        take = "{ best = " + element("i") + "; place = i; }"
        scan = w.inner([("i", size)], [f"if ({element('i')} {sign}{'=' if op.last else ''} best) {take}"])
        return w.loops([f"{w.type(type_)} best = {element('0')};", "int place = 0;", *scan, f"{y} = {'place' if op.index else 'best'};"])
    tie = f"{element('j')} == {element('i')} && j {'>' if op.last else '<'} i"
    count = w.inner([("j", size)], [f"if ({element('j')} {sign} {element('i')} || ({tie})) ++better;"])
    chosen = f"if (better == {r}) best = {'i' if op.index else element('i')};"
    return w.loops([f"{w.type(op.type)} best = 0;", *w.inner([("i", size)], ["int better = 0;", *count, chosen]), f"{y} = best;"])


# -- windows -------------------------------------------------------------------------------------------------------------


class Sliding:
    """Indices of a sliding window: `places` of the element met, per spatial axis, and when it lies inside the operand."""

    def __init__(self, op: Windowed, shape: tuple[int, ...], positions: Sequence[str]) -> None:
        size, rank = shape[1:], len(shape) - 1
        kernel, out = op.taps_shape(), op.window(shape).out
        self.taps = [(f"k{a}", kernel[a]) for a in range(rank)]
        self.lines: Lines = []
        self.places: list[str] = []
        inside: list[str] = []
        for a in range(rank):
            tap = f"k{a}" if kernel[a] > 1 else "0"
            pad, stride, dilation = op.pads[a], op.strides[a], op.dilations[a]
            place = moved(flat((positions[a], stride), (tap, dilation)), -pad)
            last = (out[a] - 1) * stride - pad + (kernel[a] - 1) * dilation
            if pad > 0 or last >= size[a]:
                self.lines.append(f"const int at{a} = {place};")
                inside += [f"at{a} >= 0"] * (pad > 0) + [f"at{a} < {size[a]}"] * (last >= size[a])
                place = f"at{a}"
            self.places.append(place)
        self.inside = " && ".join(inside)

    def guarded(self, statement: str) -> Lines:
        """A statement about the element, where there is one."""
        return [*self.lines, f"if ({self.inside}) {statement}" if self.inside else statement]


def conv(w: Writer, op: Conv, operands: Operands) -> Lines:
    (x, type_), = operands
    shape, (outputs, inner) = type_.shape, op.weight.shape[:2]
    out = op.window(shape).out
    *positions, o = w.outer(*((f"p{a}", n) for a, n in enumerate(out)), ("o", outputs))
    window = Sliding(op, shape, positions)
    i = "i" if inner > 1 else "0"
    group, per_group = f"({o} / {outputs // op.groups})" if outputs > op.groups else o, outputs // op.groups
    channel = i if op.groups == 1 else flat((group if per_group > 1 else o, inner), (i, 1))
    taps = [name if n > 1 else "0" for name, n in window.taps]
    weight = w.table("weight", op.weight, (o, i, *taps))
    constant = op.constant(len(out)).reshape(-1) if window.inside else op.bias
    start = w.table("start" if window.inside and op.fill else "bias", constant, (o,))
    element = f"{x}[{index((channel, *window.places), shape)}]"
    if op.fill and window.inside:
        element = f"({element}{plus(-op.fill)})"
    body = w.inner([(i, inner), *window.taps], window.guarded(f"sum += {element} * {weight};"))
    return w.loops([f"{w.type(op.type)} sum = {start};", *body, f"y[{index((o, *positions), (outputs, *out))}] = sum;"])


def pooled(w: Writer, op: SumPool | ExtremePool, operands: Operands) -> Lines:
    (x, type_), = operands
    shape, out = type_.shape, op.window(type_.shape).out
    *positions, c = w.outer(*((f"p{a}", n) for a, n in enumerate(out)), ("c", shape[0]))
    window = Sliding(op, shape, positions)
    element, y = f"{x}[{index((c, *window.places), shape)}]", f"y[{index((c, *positions), (shape[0], *out))}]"
    if isinstance(op, SumPool):
        body = w.inner(window.taps, window.guarded(f"sum += {element};"))
        return w.loops([f"{w.type(op.type)} sum = 0;", *body, f"{y} = sum;"])
    return w.loops([*_best(w, op.largest, type_, window.taps, element, window.guarded), f"{y} = best;"])


# -- moving elements -----------------------------------------------------------------------------------------------------


def transpose(w: Writer, op: Transpose, operands: Operands) -> Lines:
    (x, type_), = operands
    places = w.outer(*((f"i{k}", n) for k, n in enumerate(op.type.shape)))
    own = strides(type_.shape)
    source = flat(*((place, own[p]) for place, p in zip(places, op.perm, strict=True)))
    return w.loops([f"y[{index(places, op.type.shape)}] = {x}[{source}];"])


def take(w: Writer, op: Take, operands: Operands) -> Lines:
    (x, type_), = operands
    places = w.outer(*((f"i{k}", n) for k, n in enumerate(op.type.shape)))
    source, there = [], []
    for k, (place, chosen) in enumerate(zip(places, op.indices, strict=True)):
        step = int(chosen[1] - chosen[0]) if len(chosen) > 1 else 0
        even = (chosen >= 0).all() and step >= 0 and (np.diff(chosen) == step).all()
        source.append(moved(flat((place, step)), int(chosen[0])) if even else w.table(f"from{k}", chosen, (place,), plain=True))
        if (chosen < 0).any():
            there.append(f"{source[-1]} >= 0")
    element, y = f"{x}[{index(source, type_.shape)}]", w.type(op.type)
    if there:
        element = f"{' && '.join(there)} ? {y}({element}) : {y}({literal(op.fill)})"
    return w.loops([f"y[{index(places, op.type.shape)}] = {element};"])


def concat(w: Writer, op: Concat, operands: Operands) -> Lines:
    axis = op.axis % len(op.type.shape)
    before, rest = math.prod(op.type.shape[:axis]), math.prod(op.type.shape[axis + 1:])
    whole, lines, start = op.type.shape[axis] * rest, list[str](), 0
    for x, type_ in operands:
        size = type_.shape[axis] * rest
        p, i = w.outer(("p", before), ("i", size))
        lines += w.loops([f"y[{moved(flat((p, whole), (i, 1)), start)}] = {x}[{flat((p, size), (i, 1))}];"])
        start += size
    return lines


Template = Callable[[Writer, Any, Operands], Lines]
TEMPLATES: Mapping[type[Op], Template] = {
    Dense: dense, Combine: combine, Multiply: multiply, Extremum: extremum, Select: select, Requant: requant,
    Thresholds: thresholds, Table: table, ReduceSum: reduced, ReduceExtreme: reduced, Conv: conv, SumPool: pooled,
    ExtremePool: pooled, Transpose: transpose, Take: take, Concat: concat, TopK: top_k}
"""How every operation is written. `Reshape` needs no function: arrays are flat."""
