"""The text form of a Graph: `graph == parse(show(graph))`, one operation a line.

    graph "jet" {
      %x = input() {encoding = none} : [2] -128..127 frac 4 @ "x"
      %y = dense(%x) {weight = [[1, -2], [0, 3]], bias = [0, 0]} : [2] [-128, -637]..[127, 637] frac 4 @ "MatMul_0"
      output "y" = %y scale 1/16 offset 0
    }

Names that are not plain are quoted. A type is the shape, the bounds (one number, or a nested list) and the fractional bits.
Expressions are written $0 (leaf), affine(scale, x, ..., offset), clip(x, lo, hi), round(MODE, x), product(x, y) and, for the
functions of reals.py, exp(x), tanh(x) and so on.
"""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Callable, Iterator
from dataclasses import fields
from fractions import Fraction
from typing import Any

import numpy as np

from gatewright.errors import UserError
from gatewright.ir import expr as ex
from gatewright.ir.exact import ROUND_NUMBER, Surd, parse_number
from gatewright.ir.fixed import FixedArray
from gatewright.ir.graph import Encoding, Graph, Meaning, Op, Output
from gatewright.ir.ops import OPS
from gatewright.ir.reals import FUNCTIONS

EXPRS = typing.get_args(ex.Expr)
_COMMON = {"name", "inputs", "node", "type"}


def show(graph: Graph) -> str:
    """The Graph as text."""
    lines = [f"graph {json.dumps(graph.name)} {{"]
    for op in graph.ops:
        attributes = ", ".join(f"{f.name} = {show_value(getattr(op, f.name))}" for f in fields(op) if f.name not in _COMMON)
        operands = ", ".join(_name(i) for i in op.inputs)
        lines.append(f"  {_name(op.name)} = {op.kind}({operands}) {{{attributes}}} : {_type(op.type)} @ {json.dumps(op.node)}")
    for name, meaning in graph.meanings.items():
        lines.append(f"  meaning {_name(name)} {_meaning(meaning)}")
    for o in graph.outputs:
        lines.append(f"  output {json.dumps(o.name)} = {_name(o.value)} {_meaning(o.meaning)}")
    return "\n".join([*lines, "}"]) + "\n"


def _name(name: str) -> str:
    return "%" + (name if re.fullmatch(r"[\w.]+", name) else json.dumps(name))


def _type(t: FixedArray) -> str:
    same = t.size > 0 and bool((t.lo == t.lo.reshape(-1)[0]).all() and (t.hi == t.hi.reshape(-1)[0]).all())
    lo, hi = ((b.reshape(-1)[0] if same else b) for b in (t.lo, t.hi))
    return f"{show_value(t.shape)} {show_value(np.asarray(lo))}..{show_value(np.asarray(hi))} frac {t.frac}"


def _meaning(meaning: Meaning) -> str:
    return f"scale {show_value(meaning.scale)} offset {show_value(meaning.offset)}"


def show_value(value: Any) -> str:
    """An attribute's value as text."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, np.ndarray):
        return show_value(value.item()) if not value.shape else "[" + ", ".join(show_value(v) for v in value) + "]"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(show_value(v) for v in value) + "]"
    if isinstance(value, Encoding):
        return show_expr(value.expr)
    if isinstance(value, EXPRS):
        return show_expr(value)
    return str(value)


def show_expr(e: ex.Expr) -> str:
    """An element-wise expression as text."""
    if isinstance(e, ex.Leaf):
        return f"${e.index}"
    if isinstance(e, ex.Affine):
        return f"affine({''.join(f'{show_value(s)}, {show_expr(x)}, ' for x, s in e.terms)}{show_value(e.offset)})"
    if isinstance(e, ex.Clip):
        return f"clip({show_expr(e.x)}, {show_value(e.lo)}, {show_value(e.hi)})"
    if isinstance(e, ex.Product):
        return f"product({show_expr(e.x)}, {show_expr(e.y)})"
    return f"{e.name}({show_expr(e.x)})" if isinstance(e, ex.Func) else f"round({e.mode}, {show_expr(e.x)})"


# -- reading -------------------------------------------------------------------------------------------------------------

_NUMBER = r"-?\d+(?:/\d+)?(?:\*sqrt\(\d+\))?"
_SPACE = re.compile(r"\s*")
_TOKEN = re.compile(rf'(?:(?P<number>{_NUMBER}(?:\+{_NUMBER})*)|(?P<string>"(?:[^"\\]|\\.)*")|(?P<dots>\.\.)'
                    r"|(?P<tensor>%[\w.]+|%)|(?P<word>[A-Za-z_]\w*)|(?P<mark>[\[\](){}=:,@$]))")


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = self.passed = 0  # where the next token begins, and where the last one ended
        self.kind, self.token = "", ""
        self.exprs: dict[str, ex.Expr] = {}  # by text: what is written the same is one object again, as passes expect
        self.advance()

    def advance(self) -> str:
        """Steps to the next token; returns the one passed."""
        passed, self.passed = self.token, self.position + len(self.token)
        space = _SPACE.match(self.text, self.passed)
        self.position = space.end() if space else self.passed
        match = _TOKEN.match(self.text, self.position)
        if match:
            self.kind, self.token = match.lastgroup or "", match.group(match.lastgroup or 0)
        elif self.position < len(self.text):
            raise self.error(f"unexpected '{self.text[self.position:self.position + 10].split()[0]}'")
        else:
            self.kind, self.token = "end", ""
        return passed

    def error(self, reason: str, position: int | None = None) -> UserError:
        line = self.text.count("\n", 0, self.position if position is None else position) + 1
        return UserError(f"the Graph text cannot be read, line {line}: {reason}", remedy="Mend the text")

    def expect(self, token: str) -> None:
        if self.token != token:
            raise self.error(f"'{token}' expected, '{self.token}' found")
        self.advance()

    def accept(self, token: str) -> bool:
        if self.token == token:
            self.advance()
            return True
        return False

    def string(self) -> str:
        if self.kind != "string":
            raise self.error(f"a quoted name expected, '{self.token}' found")
        return str(json.loads(self.advance()))

    def name(self) -> str:
        if self.kind != "tensor":
            raise self.error(f"a tensor expected, '{self.token}' found")
        plain = self.advance()[1:]
        return plain or self.string()

    def integer(self) -> int:
        return int(self.advance())

    def listed(self, end: str, item: Callable[[], Any]) -> Iterator[Any]:
        """Items separated by commas, up to and with the closing mark."""
        while not self.accept(end):
            yield item()
            if not self.accept(","):
                self.expect(end)
                return

    def value(self) -> Any:
        """A number, text, none, nested list or expression."""
        if self.kind == "number":
            return parse_number(self.advance())
        if self.kind == "string":
            return self.string()
        if self.accept("none"):
            return None
        if self.accept("["):
            return list(self.listed("]", self.value))
        return self.expr()

    def expr(self) -> ex.Expr:
        begin = self.position
        found = self.new_expr()
        return self.exprs.setdefault(self.text[begin:self.passed], found)

    def new_expr(self) -> ex.Expr:
        if self.accept("$"):
            return ex.Leaf(self.integer())
        word = self.advance()
        self.expect("(")
        if word == "round":
            mode = self.advance()
            if mode not in ROUND_NUMBER:
                raise self.error(f"no rounding mode is called '{mode}'")
            self.expect(",")
            x = self.expr()
            self.expect(")")
            return ex.Round(x, mode)
        parts = list(self.listed(")", self.value))
        if word == "clip" and len(parts) == 3 and isinstance(parts[0], EXPRS):
            return ex.Clip(parts[0], *(None if p is None else exact_array(p) for p in parts[1:]))
        if word == "affine" and len(parts) % 2 and all(isinstance(x, EXPRS) for x in parts[1::2]):
            pairs = zip(parts[1::2], parts[0:-1:2], strict=True)
            return ex.Affine(tuple((x, exact_array(s)) for x, s in pairs), exact_array(parts[-1]))
        if word == "product" and len(parts) == 2 and all(isinstance(x, EXPRS) for x in parts):
            return ex.Product(*parts)
        if word in FUNCTIONS and len(parts) == 1 and isinstance(parts[0], EXPRS):
            return ex.Func(word, parts[0])
        raise self.error(f"no expression is written '{word}' with {len(parts)} such parts")

    def type(self) -> FixedArray:
        shape = tuple(as_integer(d) for d in self.value())
        lo = self.value()
        self.expect("..")
        hi = self.value()
        self.expect("frac")
        frac = self.integer()
        ends = [np.array(np.broadcast_to(int_array(b), shape), np.int64) for b in (lo, hi)]
        return FixedArray(ends[0], ends[1], frac)

    def meaning(self) -> Meaning:
        self.expect("scale")
        scale = exact_array(self.value())
        self.expect("offset")
        return Meaning(scale, exact_array(self.value()))


def int_array(value: Any) -> Any:
    """int64 of a number or nested list of exact integers."""
    return np.array(_each(value, as_integer), dtype=np.int64)


def as_integer(value: Any) -> int:
    if not isinstance(value, Fraction) or value.denominator != 1:
        raise ValueError(f"{show_value(value)} is no integer")
    return value.numerator


def exact_array(value: Any) -> Any:
    """Object array of a number or nested list."""
    if any(not isinstance(v, Fraction | Surd) for v in _flat(value)):
        raise ValueError(f"no number: {show_value(value)}")
    if not isinstance(value, list):
        return np.asarray(value, object)
    shape: list[int] = []
    level: Any = value
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    out = np.empty(shape, object)
    out.reshape(-1)[:] = list(_flat(value))
    return out


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for v in value:
            yield from _flat(v)
    else:
        yield value


def _each(value: Any, convert: Callable[[Any], Any]) -> Any:
    return [_each(v, convert) for v in value] if isinstance(value, list) else convert(value)


def _attribute(hint: Any, value: Any) -> Any:
    """A parsed value as the type that the op's field has."""
    text = str(hint)
    if "Encoding" in text:
        return None if value is None else Encoding(value)
    if isinstance(value, (*EXPRS, str)):
        return value
    if hint is int:
        return as_integer(value)
    if text.startswith("tuple[int"):
        return tuple(as_integer(v) for v in value)
    if text.startswith("tuple"):
        return tuple(int_array(v) for v in value)
    return int_array(value)


def parse(text: str) -> Graph:
    """Reads what `show` writes. Raises UserError with the line."""
    r = _Reader(text)
    try:
        return _graph(r)
    except (ValueError, TypeError, ArithmeticError) as error:  # well written, but no number, type or operation
        raise r.error(str(error), r.passed) from error


def _graph(r: _Reader) -> Graph:
    r.expect("graph")
    name = r.string()
    r.expect("{")
    ops: list[Op] = []
    outputs: list[Output] = []
    meanings: dict[str, Meaning] = {}
    while not r.accept("}"):
        if r.accept("output"):
            output = r.string()
            r.expect("=")
            outputs.append(Output(output, r.name(), r.meaning()))
        elif r.accept("meaning"):
            tensor = r.name()
            meanings[tensor] = r.meaning()
        else:
            ops.append(_op(r))
    if r.kind != "end":
        raise r.error(f"'{r.token}' after the end of the graph")
    return Graph(name, tuple(ops), tuple(outputs), meanings)


def _op(r: _Reader) -> Op:
    name = r.name()
    r.expect("=")
    kind = r.advance()
    if kind not in OPS:
        raise r.error(f"no operation is called '{kind}'")
    r.expect("(")
    inputs = tuple(r.listed(")", r.name))
    hints = typing.get_type_hints(OPS[kind])
    attributes: dict[str, Any] = {}
    r.expect("{")
    while not r.accept("}"):
        key = r.advance()
        r.expect("=")
        if key not in hints:
            raise r.error(f"{kind} has no attribute '{key}'")
        attributes[key] = _attribute(hints[key], r.value())
        r.accept(",")
    r.expect(":")
    t = r.type()
    r.expect("@")
    return OPS[kind](name=name, inputs=inputs, node=r.string(), type=t, **attributes)
