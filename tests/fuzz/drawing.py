"""What every operator's strategy draws from: the tensors so far, constants, quantisers; it adds nodes to the description.

A strategy gets a `Drawing`, takes operands with `real`, `codes`, ... and adds nodes with `add`. Operands are made fit where
none is: reshaped to a rank, quantised to few bits, limited to a range. So nearly all models are within what gatewright takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import onnx
from description import Array, Description, Input, Node, array, element_type
from hypothesis import strategies as st
from onnx import TypeProto, helper, numpy_helper

MODES = ("ROUND", "FLOOR", "CEIL", "UP", "DOWN", "HALF_UP", "HALF_DOWN", "HALF_EVEN", "round")
DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
MICROSOFT, CHANNELS_LAST = "com.microsoft", "qonnx.custom_op.channels_last"
OPSETS = (13, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25)
FLOAT_SCALES = (0.1, 0.3, 0.7, 1.1, 0.023001557, 0.37)
MAX_ELEMENTS = 64
MAX_STEPS = 1 << 40
"""Codes beyond which a sum of scales counts as having no common unit."""


class Unfit(Exception):
    """What is drawn does not fit the model so far; the model goes on without it."""


def assume(condition: Any) -> None:
    if not condition:
        raise Unfit


@dataclass(frozen=True)
class Tensor:
    """A tensor of the model being drawn.

    `step` is the unit of which all its elements are multiples, None where there is none (a real function's values, scales
    per channel); `reach` about the largest magnitude. `scale` and `zero` name the constants of a quantised tensor.
    """

    name: str
    shape: tuple[int, ...]
    element: str = "float32"
    step: Fraction | None = None
    reach: float = 1.0
    scale: str = ""
    zero: str = ""

    @property
    def bits(self) -> int:
        return 99 if self.step is None else int(2 * self.reach / self.step).bit_length()


def common(*steps: Fraction | None) -> Fraction | None:
    """The largest unit of which all are multiples."""
    if any(s is None for s in steps):
        return None
    values = [Fraction(s) for s in steps if s]
    whole = math.lcm(*(s.denominator for s in values))
    unit = Fraction(math.gcd(*(int(s * whole) for s in values)), whole)
    return unit if values and max(values) / unit < MAX_STEPS else None


@cache
def schema(op: str, opset: int) -> Any:
    return onnx.defs.get_schema(op, opset, "") if onnx.defs.has(op, opset, "") else None


def exists(op: str, opset: int) -> bool:
    """Whether ONNX has the operator in this operator set."""
    found = schema(op, opset)
    return found is not None and not found.deprecated


class Drawing:
    """A model in the making."""

    def __init__(self, draw: Callable[[Any], Any], opsets: Sequence[int]) -> None:
        self.draw = draw
        self.d = Description(self.pick(opsets))
        self.tensors: list[Tensor] = []
        self.made: dict[str, Tensor] = {}
        """Results of nodes, with those of constants, which are no operands of others."""
        self.domain = self.pick(DOMAINS)
        self.numbers = 0
        self.open_batch = self.flag()

    # -- drawing -------------------------------------------------------------------------------------------------------

    def pick(self, values: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(values))

    def integer(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def flag(self) -> bool:
        return bool(self.draw(st.booleans()))

    def rarely(self) -> bool:
        return self.integer(0, 7) == 7

    def some(self, values: Sequence[Any]) -> list[Any]:
        """A part of the values, in their order, at least one."""
        chosen = [v for v in values if self.flag()]
        return chosen or [values[0]]

    def integers(self, low: int, high: int, shape: Sequence[int]) -> Array:
        """Drawn from one seed; the simplest are all the same."""
        seed = self.integer(0, 4095)
        same = np.full(shape, min(max(1, low), high), np.int64)
        return np.random.RandomState(seed).randint(low, high + 1, shape) if seed else same

    def number(self, low: float = -4, high: float = 4) -> float:
        """A float32: a few bits mostly, sometimes a decimal fraction."""
        if self.rarely():
            return float(np.float32(self.pick(FLOAT_SCALES) * self.pick((1, -1) if low < 0 else (1,))))
        return self.integer(math.ceil(low * 4), math.floor(high * 4)) / 4

    def positive(self) -> float:
        return abs(self.number(0.25, 4)) or 1.0

    # -- the description -----------------------------------------------------------------------------------------------

    def name(self, prefix: str) -> str:
        self.numbers += 1
        return f"{prefix}{self.numbers}"

    def const(self, values: Any, element: str = "float32") -> str:
        name, a = self.name("c"), np.asarray(values)
        flat = [v.item() for v in a.astype(np.float32 if element == "float32" else a.dtype).reshape(-1)]
        self.d.constants[name] = (element, list(a.shape), flat)
        return name

    def ints(self, *values: int) -> str:
        return self.const(np.array(values, np.int64), "int64")

    def has(self, op: str, attribute: str) -> bool:
        """Whether the operator has the attribute in this operator set (in older and newer ones it may be an operand)."""
        return attribute in schema(op, self.d.opset).attributes

    def exists(self, op: str) -> bool:
        return exists(op, self.d.opset)

    def need(self, op: str) -> None:
        assume(self.exists(op))

    def add(self, op: str, inputs: Sequence[Tensor | str], *, step: Fraction | None = None, reach: float = 1.0, element: str = "float32",
            shape: tuple[int, ...] | None = None, domain: str = "", outputs: int = 1, keep: bool = True, **attributes: Any) -> Any:
        """Adds a node. Its shapes are ONNX's own inference unless given. Returns its tensor, or a list of them."""
        names = [self.name("t") for _ in range(outputs)]
        node = Node(op, [v if isinstance(v, str) else v.name for v in inputs], names, attributes, domain)
        known = {**self.made, **{v.name: v for v in inputs if isinstance(v, Tensor)}}
        shapes = [shape] * outputs if shape is not None else self.inferred(node, known)
        assume(all(s is not None and 0 < math.prod(s) <= MAX_ELEMENTS and len(s) <= 6 for s in shapes))
        self.d.nodes.append(node)
        made = [Tensor(n, s, element, step, reach) for n, s in zip(names, shapes, strict=True) if s is not None]
        self.made |= {t.name: t for t in made}
        if keep:
            self.tensors += made
        return made if outputs > 1 else made[0]

    def inferred(self, node: Node, known: dict[str, Tensor]) -> list[tuple[int, ...] | None]:
        """What ONNX says the shapes are."""
        attributes = {k: numpy_helper.from_array(array(**v)) if isinstance(v, dict) else v for k, v in node.attributes.items()}
        proto = helper.make_node(node.op, node.inputs, node.outputs, **attributes)
        given = [n for n in dict.fromkeys(node.inputs) if n]
        types: dict[str, TypeProto] = {}
        data = {}
        for n in given:
            if n in known:
                types[n] = helper.make_tensor_type_proto(element_type(known[n].element), known[n].shape)
            else:
                constant = array(*self.d.constants[n])
                data[n] = numpy_helper.from_array(constant, n)
                types[n] = helper.make_tensor_type_proto(data[n].data_type, constant.shape)
        try:
            result = onnx.shape_inference.infer_node_outputs(
                schema(node.op, self.d.opset), proto, types, data,
                opset_imports=[helper.make_opsetid("", self.d.opset)])
        except onnx.shape_inference.InferenceError:
            return [None] * len(node.outputs)
        shapes: list[tuple[int, ...] | None] = []
        for name in node.outputs:
            dims = result[name].tensor_type.shape.dim if name in result else None
            whole = dims is not None and result[name].tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims)
            shapes.append(tuple(d.dim_value for d in dims) if whole and dims is not None else None)
        return shapes

    # -- inputs --------------------------------------------------------------------------------------------------------

    def shape(self) -> tuple[int, ...]:
        """1 to 4 dimensions, the first a batch of 1 where there are several."""
        rank = self.pick((2, 4, 3, 1))
        return {1: lambda: (self.integer(1, 6),), 2: lambda: (1, self.integer(1, 6)),
                3: lambda: (1, self.integer(1, 4), self.integer(1, 6)),
                4: lambda: (1, self.integer(1, 3), self.integer(1, 4), self.integer(1, 4))}[rank]()

    def input(self) -> None:
        shape, name = self.shape(), f"x{len(self.d.inputs)}"
        dims: list[int | str] = ["N", *shape[1:]] if self.open_batch and len(shape) > 1 else list(shape)
        kind = self.integer(0, 5)
        if kind == 5:  # codes already
            element = self.pick(("uint8", "int8"))
            self.d.inputs[name] = Input(dims, element, "ufixed<8,8>" if element == "uint8" else "fixed<8,8>")
            scale, zero = self.scale(4 / 128), self.integer(0, 127)
            self.tensors.append(Tensor(name, shape, element, Fraction(1), 255, self.const(scale), self.const(zero, element)))
            self.dequantised(self.tensors[-1])
        elif kind == 4:  # the host quantises
            self.d.inputs[name] = Input(dims)
            x = Tensor(name, shape, step=None, reach=float(self.integer(1, 8)))
            self.quantised(x, 5, host=True)
        else:
            bits, frac, signed = self.integer(2, 6), self.integer(0, 4), self.flag()
            self.d.inputs[name] = Input(dims, "float32", f"{'' if signed else 'u'}fixed<{bits},{bits - frac}>")
            self.tensors.append(Tensor(name, shape, step=Fraction(1, 1 << frac), reach=(1 << bits - signed) / (1 << frac)))

    # -- operands ------------------------------------------------------------------------------------------------------

    def any(self, fit: Callable[[Tensor], bool]) -> Tensor | None:
        found = [t for t in reversed(self.tensors) if fit(t)]
        return self.pick(found) if found else None

    def real(self, ranks: Sequence[int] = (), bits: int = 14, reach: float = math.inf, exact: bool = True) -> Tensor:
        """A float tensor, of one of these ranks with a batch of 1 first, of multiples of one unit in about so many bits."""
        x = self.any(lambda t: t.element == "float32" and (not ranks or (len(t.shape) in ranks and t.shape[0] == 1)))
        if x is None:
            x = self.any(lambda t: t.element == "float32")
            assert x is not None
            x = self.ranked(x, self.pick(ranks))
        if (exact and x.bits > bits) or x.reach > reach:
            x = self.quantised(x, min(bits, 6), reach)
        return x

    def ranked(self, x: Tensor, rank: int) -> Tensor:
        """Reshaped to a rank, a batch of 1 first."""
        rest, dims = math.prod(x.shape), [1]
        for left in range(rank - 2, -1, -1):
            factor = rest if left == 0 else self.pick([k for k in range(1, rest + 1) if rest % k == 0])
            dims.append(factor)
            rest //= factor
        return self.reshaped(x, dims[:rank] if rank > 1 else [math.prod(x.shape)])

    def reshaped(self, x: Tensor, dims: Sequence[int]) -> Tensor:
        return self.add("Reshape", [x, self.ints(*dims)], step=x.step, reach=x.reach, element=x.element)

    def same(self, op: str, x: Tensor, *more: str, **attributes: Any) -> Any:
        """Adds a node that keeps the numbers of its operand."""
        return self.add(op, [x, *more], step=x.step, reach=x.reach, element=x.element, **attributes)

    def beside(self, x: Tensor, bits: int = 14) -> Tensor:
        """A float tensor that broadcasts with x."""
        def fits(t: Tensor) -> bool:
            pairs = zip(reversed(t.shape), reversed(x.shape), strict=False)
            return t.element == "float32" and t.bits <= bits and all(1 in p or p[0] == p[1] for p in pairs)
        return self.any(fits) or x

    def spread(self, x: Tensor) -> tuple[int, ...]:
        """The shape of a constant that broadcasts against x without making it larger."""
        shape = tuple(d if self.flag() else 1 for d in x.shape)
        shape = (1, *shape[1:]) if len(shape) > 1 else shape
        return self.pick([(), (1,), shape, shape[1:] if len(shape) > 1 else shape])

    def numbers_for(self, x: Tensor, low: float = -3, high: float = 3) -> tuple[str, Fraction, float]:
        """A constant to meet x: its name, the unit of its values, their largest magnitude."""
        if self.rarely():
            v = np.float32(self.number(low, high))
            return self.const(v), Fraction(float(v)) or Fraction(1), abs(float(v))
        places = self.integer(0, 2)
        a = self.integers(math.ceil(low * 2 ** places), math.floor(high * 2 ** places), self.spread(x)) / 2 ** places
        return self.const(a), Fraction(1, 2 ** places), float(np.abs(a).max())

    # -- quantisers ----------------------------------------------------------------------------------------------------

    def scale(self, about: float) -> float:
        """A power of two, or a decimal fraction of that size."""
        power = 2.0 ** round(math.log2(max(about, 2.0 ** -12)) + self.integer(-1, 2))
        return float(np.float32(power * self.pick(FLOAT_SCALES))) if self.rarely() else power

    def scales(self, about: float, x: Tensor, per_channel: bool) -> tuple[Array, Fraction | None]:
        """One, or one for every channel (axis 1), in a shape that broadcasts; and their common unit."""
        first = self.scale(about)
        if not per_channel or len(x.shape) < 2:
            return np.float32(first).reshape(self.pick(((), (1,)))), Fraction(first)
        many = [first * 2.0 ** self.integer(-1, 1) for _ in range(x.shape[1])]
        if self.flag():
            many = [float(np.float32(v * (1 if self.flag() else 1.1))) for v in many]
        return np.float32(many).reshape(1, -1, *(1,) * (len(x.shape) - 2)), common(*(Fraction(v) for v in many))

    def quantised(self, x: Tensor, bits: int = 6, reach: float = math.inf, host: bool = False) -> Tensor:
        """x through a quantiser of at most so many bits and about this reach."""
        if not host and self.rarely() and reach == math.inf:
            return self.dequantised(self.linear(x))
        return self.quant(x, bits, reach)

    def quant(self, x: Tensor, bits: int = 8, reach: float = math.inf, op: str = "Quant") -> Tensor:
        """QONNX Quant."""
        bits, signed, narrow = self.integer(1, bits), self.flag(), self.flag()
        top = min(x.reach, reach)
        scale, step = self.scales(top / 2 ** (bits - 1) / 2, x, self.rarely())
        zero = np.float32(0)
        if self.rarely():
            zero = np.float32(self.pick((1, 2, 3, -1, 0.5)))
        elif self.rarely() and scale.ndim > 1:
            zero = np.float32(self.integers(0, 3, scale.shape))
        limit = float(scale.max()) * (2 ** bits + float(np.abs(zero).max()))
        mode = self.pick(MODES)
        if reach < math.inf:
            assume(limit <= 4 * reach)
        if float(zero.max()) % 1 and step is not None:
            step = step / 2
        return self.add(op, [x, self.const(scale), self.const(zero), self.const(np.float32(bits))], domain=self.domain, step=step,
                        reach=limit, shape=np.broadcast_shapes(x.shape, scale.shape), signed=int(signed), narrow=int(narrow),
                        rounding_mode=mode)

    def elements(self) -> tuple[str, ...]:
        return ("uint8", "int8", *(("int16", "uint16") if self.d.opset >= 21 else ()), *(("int4", "uint4") if self.d.opset >= 21 else ()))

    def zero_of(self, element: str, shape: tuple[int, ...] = ()) -> str:
        top = 7 if element.endswith("4") else 100
        return self.const(self.integers(0 if element[0] == "u" else -top, top, shape) * (0 if self.flag() else 1), element)

    def linear(self, x: Tensor, elements: Sequence[str] = (), tensor_only: bool = False, domain: str = "") -> Tensor:
        """QuantizeLinear, per tensor or axis."""
        domain = domain or ("" if self.exists("QuantizeLinear") else MICROSOFT)
        element = self.pick(elements or self.elements())
        bits = int(element.lstrip("uint"))
        axis = self.integer(1, len(x.shape) - 1) if len(x.shape) > 1 else 0
        per_axis = not tensor_only and len(x.shape) > 1 and self.d.opset >= 13 and self.rarely() and not domain
        size = (x.shape[axis],) if per_axis else ()
        about = self.scale(x.reach / 2 ** (bits - 1))
        scale = self.const(np.float32([about * 2.0 ** self.integer(0, 1) for _ in range(size[0])] if per_axis else about))
        zero = "" if element == "uint8" and self.rarely() else self.zero_of(element, size)
        attributes = {"axis": axis - self.integer(0, 1) * len(x.shape)} if per_axis else {}
        y = self.add("QuantizeLinear", [x, scale, *([zero] if zero else [])], element=element, step=Fraction(1), reach=2.0 ** bits,
                     domain=domain, shape=x.shape, **attributes)
        self.tensors[-1] = replace(y, scale=scale, zero=zero)
        return self.tensors[-1]

    def dequantised(self, q: Tensor, domain: str = "") -> Tensor:
        """DequantizeLinear with the parameters of the quantiser."""
        values = array(*self.d.constants[q.scale])
        axis = next((n.attributes for n in self.d.nodes if q.name in n.outputs), {})
        domain = domain or ("" if self.exists("DequantizeLinear") else MICROSOFT)
        return self.add("DequantizeLinear", [q, q.scale, *([q.zero] if q.zero else [])], domain=domain, shape=q.shape,
                        step=common(*(Fraction(float(v)) for v in values.reshape(-1))),
                        reach=float(values.max()) * q.reach, **({"axis": axis["axis"]} if "axis" in axis else {}))

    def codes(self, ranks: Sequence[int] = (), elements: Sequence[str] = ("uint8", "int8")) -> Tensor:
        """A quantised tensor of 8 bits with one scale and zero point, for operators on such."""
        def fits(t: Tensor) -> bool:
            one = bool(t.scale and t.zero) and not self.d.constants[t.scale][1] and not self.d.constants[t.zero][1]
            return t.element in elements and one and (not ranks or (len(t.shape) in ranks and t.shape[0] == 1))
        return self.any(fits) or self.linear_with_zero(self.real(ranks), elements)

    def linear_with_zero(self, x: Tensor, elements: Sequence[str]) -> Tensor:
        q = self.linear(x, elements, tensor_only=True)
        assume(q.zero)
        return q

    def truth(self) -> Tensor:
        x = self.any(lambda t: t.element == "bool")
        if x is None:
            y, op = self.real(), "Greater"
            c, *_ = self.numbers_for(y)
            self.need(op)
            assume(self.d.opset >= 9)
            x = self.add(op, [y, c], element="bool", step=Fraction(1))
        return x

    # -- weights -------------------------------------------------------------------------------------------------------

    def weight(self, shape: Sequence[int], axis: int = 0) -> tuple[str, Fraction | None, float]:
        """Quantised weights: a constant on a grid, or a stored one and its quantiser. Name, unit, largest magnitude."""
        kind = self.integer(0, 4)
        values = self.integers(-3, 3, shape)
        if kind == 1:
            noise = np.random.RandomState(1).uniform(-0.4, 0.4, shape)
            scale, step = self.weight_scale(shape, axis)
            stored = self.const(np.float32((values + noise) * scale))
            w = self.add("Quant", [stored, self.const(scale), self.const(np.float32(0)), self.const(np.float32(3))], shape=tuple(shape),
                         domain=self.domain, signed=1, narrow=int(self.flag()), rounding_mode=self.pick(MODES), keep=False)
            return w.name, step, 4 * float(np.abs(scale).max())
        if kind == 2:
            scale = np.float32(self.scale(0.5))
            w = self.add("BipolarQuant", [self.const(values), self.const(scale)], shape=tuple(shape), domain=self.domain, keep=False)
            return w.name, Fraction(float(scale)), float(scale)
        if kind == 3 and self.exists("DequantizeLinear"):
            many = self.d.opset >= 13 and self.flag()
            scale, step = self.weight_scale(shape, axis)
            scale = scale.reshape(-1) if many and scale.size == shape[axis] else np.float32(scale.reshape(-1)[0])
            zero = self.const(np.zeros(scale.shape, np.int64), "int8")
            w = self.add("DequantizeLinear", [self.const(values, "int8"), self.const(scale), zero], shape=tuple(shape), keep=False,
                         **({"axis": axis} if scale.ndim else {}))
            return w.name, step, 3 * float(scale.max())
        return self.const(values / 4), Fraction(1, 4), 0.75

    def weight_scale(self, shape: Sequence[int], axis: int) -> tuple[Array, Fraction | None]:
        """For all, or one per output channel."""
        if self.flag():
            v = self.scale(0.25)
            return np.float32(v), Fraction(v)
        many = np.float32([self.scale(0.25) for _ in range(shape[axis])])
        wide = [1] * len(shape)
        wide[axis] = shape[axis]
        return many.reshape(wide), common(*(Fraction(float(v)) for v in many))
