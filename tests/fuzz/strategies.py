"""How every operator of the front end is drawn: one function for each, which adds at least one node of it to the model.

`test_every_operator_has_a_strategy` compares these tables with those of the front end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from description import Node, element_type
from drawing import CHANNELS_LAST, DOMAINS, MICROSOFT, Drawing, Tensor, assume, common

Strategy = Callable[[Drawing], Any]


# -- element by element ------------------------------------------------------------------------------------------------


def beside_constant(g: Drawing, op: str, x: Tensor, constant: str, **known: Any) -> None:
    """Adds `x op constant`. Operator set 6 broadcasts where an attribute says so: aligned at the end, or from `axis` on."""
    if g.d.opset >= 7 or tuple(g.d.constants[constant][1]) == x.shape:
        g.add(op, [x, constant], **known)
        return
    first = g.integer(0, len(x.shape) - 1)
    last = g.integer(first + 1, len(x.shape))
    at_end = last == len(x.shape) and g.flag()
    element, _, values = g.d.constants[constant]
    shape = x.shape[first:last]
    g.d.constants[constant] = element, list(shape), (values * math.prod(shape))[:math.prod(shape)]
    g.add(op, [x, constant], shape=x.shape, broadcast=1, **({} if at_end else {"axis": first}), **known)


def binary(op: str) -> Strategy:
    """Add and Sub: of a tensor and a constant on either side, or of two tensors."""
    def draw(g: Drawing) -> None:
        x = g.real()
        if g.d.opset > 6 and g.flag():
            y = g.beside(x)
            assume(op == "Add" or y is not x)
            g.add(op, [x, y] if g.flag() else [y, x], step=common(x.step, y.step), reach=x.reach + y.reach)
            return
        c, step, most = g.numbers_for(x)
        if g.d.opset > 6 and g.flag():
            g.add(op, [c, x], step=common(x.step, step), reach=x.reach + most)
        else:
            beside_constant(g, op, x, c, step=common(x.step, step), reach=x.reach + most)
    return draw


def mul(g: Drawing) -> None:
    x = g.real(bits=9)
    if g.d.opset > 6 and g.flag():
        y = g.beside(x, 9)
        g.add("Mul", [x, y], step=x.step * y.step if x.step and y.step else None, reach=x.reach * y.reach)
        return
    c, step, most = g.numbers_for(x)
    beside_constant(g, "Mul", x, c, step=x.step * step if x.step else None, reach=x.reach * most)


def div(g: Drawing) -> None:
    x = g.real()
    c = g.const(np.float32(g.pick((2, 0.5, 4, -2, 3, 0.75, 0.1))) if g.rarely() else np.float32(2.0 ** g.integers(-1, 2, g.spread(x))))
    least = min(abs(v) for v in g.d.constants[c][2])
    beside_constant(g, "Div", x, c, step=x.step and x.step / Fraction(4), reach=x.reach / least)


def div_tensors(g: Drawing) -> None:
    """A quotient of tensors, or of a constant, by one that is never zero."""
    x, y = g.real(bits=8), g.real(bits=5)
    y = limited(g, y, g.pick((0.25, 1.0)))
    x = g.beside(y, 8) if g.flag() else x
    fits = all(1 in p or p[0] == p[1] for p in zip(reversed(x.shape), reversed(y.shape), strict=False))
    g.quant(g.add("Div", [x if fits and not g.rarely() else g.const(np.float32(g.positive())), y], reach=x.reach))


def div_any(g: Drawing) -> None:
    (div_tensors if g.d.opset > 6 and g.integer(0, 3) == 3 else div)(g)


def function(op: str, reach: float = 16, low: float | None = None, **drawn: tuple[float, float]) -> Strategy:
    """A real function, then mostly a quantiser; `low`: the operand is limited to that from below."""
    def draw(g: Drawing) -> None:
        g.need(op)
        x = g.real(bits=8, reach=reach)
        if low is not None:
            x = limited(g, x, low)
        attributes = {k: g.number(*ends) for k, ends in drawn.items() if g.flag()}
        largest = math.exp(min(x.reach, 6)) if op == "Exp" else max(x.reach, 8.0)
        y = g.add(op, [x], reach=largest, **attributes)
        if not g.rarely():
            g.quantised(y)
    return draw


def limited(g: Drawing, x: Tensor, low: float) -> Tensor:
    """At least `low`, which is a power of two."""
    g.need("Clip")
    step = common(x.step, Fraction(low))
    if g.has("Clip", "min"):
        return g.add("Clip", [x], step=step, reach=max(x.reach, low), min=low)  # type: ignore[no-any-return]
    return g.add("Clip", [x, g.const(np.float32(low))], step=step, reach=max(x.reach, low))  # type: ignore[no-any-return]


def piecewise(op: str, share: float = 1, **drawn: tuple[float, float]) -> Strategy:
    """A piecewise linear function with attributes."""
    def draw(g: Drawing) -> None:
        g.need(op)
        x = g.real(bits=9)
        attributes = {k: g.number(*ends) for k, ends in drawn.items() if g.flag()}
        steps = [Fraction(v) for v in attributes.values()] if len(attributes) == len(drawn) else [None]
        step = common(x.step, *(x.step * s for s in steps if s)) if x.step and None not in steps else None
        y = g.add(op, [x], step=step, reach=x.reach * 4 if attributes else x.reach)
        if attributes:
            g.d.nodes[-1].attributes |= attributes
        return y
    return draw


def hard_swish(g: Drawing) -> None:
    g.need("HardSwish")
    g.quantised(g.add("HardSwish", [x := g.real(bits=6)], reach=x.reach))


def p_relu(g: Drawing) -> None:
    x = g.real(bits=9)
    if g.d.opset >= 7:
        slope, step, most = g.numbers_for(x)
    else:
        shape = (x.shape[1],) if len(x.shape) > 1 and g.flag() else (1,)
        slope, step, most = g.const(g.integers(-4, 4, shape) / 4), Fraction(1, 4), 1.0
    assume(g.d.opset >= 9 or len(g.d.constants[slope][1]) > 0)
    g.add("PRelu", [x, slope], step=common(x.step, x.step and x.step * step), reach=x.reach * max(1, most))


def gelu(g: Drawing) -> None:
    g.need("Gelu")
    x = g.real(bits=6, reach=8)
    g.quantised(g.add("Gelu", [x], reach=x.reach, **({"approximate": g.pick(("tanh", "none"))} if g.flag() else {})))


def clip(g: Drawing) -> None:
    x = g.real()
    ends = {k: v for k, v in zip(("min", "max"), sorted((g.number(), g.number())), strict=True) if g.flag()}
    step = common(x.step, *(Fraction(v) for v in ends.values()))
    if g.has("Clip", "min"):
        g.add("Clip", [x], step=step, reach=max(x.reach, 1), **ends)
        return
    operands = [g.const(np.float32(ends[k])) if k in ends else "" for k in ("min", "max")]
    g.add("Clip", [x, *operands[:2 if "max" in ends else 1 if "min" in ends else 0]], step=step, reach=max(x.reach, 1))


def rounding(op: str) -> Strategy:
    def draw(g: Drawing) -> None:
        g.need(op)
        x = g.real(exact=g.flag())
        g.add(op, [x], step=Fraction(1), reach=x.reach + 1)
    return draw


def keeps(op: str) -> Strategy:
    """Relu, Abs, Neg, Identity: on the grid of the operand."""
    def draw(g: Drawing) -> None:
        g.same(op, g.real(exact=g.flag()))
    return draw


def dropout(g: Drawing) -> None:
    x = g.real()
    if g.d.opset >= 12 and g.flag():
        g.same("Dropout", x, g.const(np.float32(0.25)))
    else:
        g.same("Dropout", x, **({"ratio": 0.25} if g.d.opset < 12 and g.flag() else {}),
               **({"is_test": 1} if g.d.opset == 6 else {}))


def power(g: Drawing) -> None:
    assume(g.d.opset >= 7)
    x = g.real(bits=6, reach=8)
    exponent = g.pick((2, 1, 3, 0.5, -1))
    if exponent in (0.5, -1):
        x = limited(g, g.real(bits=6), 0.25)
    whole = exponent >= 1
    y = g.add("Pow", [x, g.const(np.float32(exponent))], step=x.step ** exponent if x.step and whole else None,
              reach=max(x.reach, 1) ** exponent if whole else max(4.0, x.reach))
    if not whole:
        g.quantised(y)


def batch_normalization(g: Drawing, domain: str = "") -> None:
    assume(g.d.opset >= 7 or not domain)
    ranks = (3, 4) if domain else (2, 3, 4)
    x = g.real(ranks)
    n = x.shape[-1 if domain else 1]
    parameters = [g.integers(1, 4, (n,)) / 2, g.integers(-4, 4, (n,)) / 4, g.integers(-4, 4, (n,)) / 4, g.integers(1, 16, (n,)) / 4]
    if g.rarely():
        parameters[0] = -parameters[0]
    given = [g.const(v) for v in parameters]
    attributes: dict[str, Any] = {"epsilon": g.pick((1e-5, 0.001, 0.25))} if g.flag() else {}
    if g.d.opset == 6 and not domain:
        attributes["is_test"] = 1
    y = g.add("BatchNormalization", [x, *given], reach=x.reach * 4 + 4, domain=domain, shape=x.shape, **attributes)
    if not g.rarely():
        g.quantised(y)


def softmax(g: Drawing) -> None:
    """As an output, where it is cut, or in front of a quantiser."""
    x = g.real(bits=8)
    low = -len(x.shape) if g.d.opset >= 11 else 0
    y = g.add("Softmax", [x], **({"axis": g.integer(low, len(x.shape) - 1)} if g.flag() or len(x.shape) < 2 else {}))
    if not g.rarely():
        g.quant(y)


def layer_normalization(g: Drawing) -> None:
    g.need("LayerNormalization")
    x = g.real(bits=7)
    axis = g.integer(-len(x.shape), -1)
    gain, *bias = (g.const(g.integers(-4, 4, x.shape[axis:]) / 4) for _ in range(g.integer(1, 2)))
    g.quant(g.add("LayerNormalization", [x, gain, *bias], reach=2.0, axis=axis, **({"epsilon": g.pick((1e-5, 0.01))} if g.flag() else {})))


# -- comparisons and choices -------------------------------------------------------------------------------------------


def comparison(op: str) -> Strategy:
    def draw(g: Drawing) -> None:
        g.need(op)
        assume(g.d.opset >= (11 if op == "Equal" else 9))
        x = g.real(bits=10)
        y: Tensor | str = g.beside(x, 10) if g.flag() else g.numbers_for(x)[0]
        assume(y is not x)
        g.add(op, [x, y] if g.flag() else [y, x], element="bool", step=Fraction(1))
    return draw


def logical(op: str) -> Strategy:
    def draw(g: Drawing) -> None:
        assume(g.d.opset >= 7)
        x = g.truth()
        y = g.any(lambda t: t.element == "bool" and t.shape == x.shape) or x
        z = g.add(op, [x] if op == "Not" else [x, y], element="bool", step=Fraction(1))
        if g.flag():
            g.add("Cast", [z], to=element_type("float32"), step=Fraction(1))
    return draw


def where(g: Drawing) -> None:
    g.need("Where")
    c = g.truth()
    x: Tensor | str = g.beside(c, 10)
    step, reach = (x.step, x.reach) if x is not c else (Fraction(1), 1.0)  # type: ignore[union-attr]
    if x is c:
        x = g.const(np.float32(g.number()))
        step = Fraction(g.d.constants[x][2][0]) or step
    y, unit, most = g.numbers_for(c)
    g.add("Where", [c, x, y] if g.flag() else [c, y, x], step=common(step, unit), reach=max(reach, most))


def extremes(op: str) -> Strategy:
    def draw(g: Drawing) -> None:
        x = g.real(bits=10)
        operands: list[Tensor | str] = [x]
        step, reach = x.step, x.reach
        for _ in range(g.integer(1, 2)):
            if g.flag():
                y = g.beside(x, 10) if g.d.opset >= 8 else x
                operands.append(y)
                step, reach = common(step, y.step), max(reach, y.reach)
            elif g.d.opset >= 8:
                c, unit, most = g.numbers_for(x)
                operands.append(c)
                step, reach = common(step, unit), max(reach, most)
        g.add(op, operands, step=step, reach=reach)
    return draw


def sign(g: Drawing) -> None:
    g.need("Sign")
    g.add("Sign", [g.real(exact=False)], step=Fraction(1))


def modulo(g: Drawing) -> None:
    g.need("Mod")
    x, divisor = g.real(bits=10), abs(g.number(0.25, 3)) or 1.0
    g.add("Mod", [x, g.const(np.float32(divisor * g.pick((1, -1))))], step=common(x.step, Fraction(divisor)), reach=divisor, fmod=1)


def cast(g: Drawing) -> None:
    kind = g.pick(("bool", "int8", "int16", "int32", "int64", "float64", "uint8"))
    x = g.real(bits=10)
    if kind == "float64":
        x = g.add("Cast", [x], to=element_type(kind), element=kind, step=x.step, reach=x.reach)
    else:
        if kind in ("uint8", "int8"):
            x = g.quant(g.add("Abs", [x], step=x.step, reach=x.reach), 6, 16)
            x = g.add("Abs", [x], step=x.step, reach=x.reach)
        reach = 1 if kind == "bool" else x.reach
        assume(kind not in ("int8", "uint8") or reach < 127)
        x = g.add("Cast", [x], to=element_type(kind), element=kind, step=Fraction(1), reach=reach)
    g.add("Cast", [x], to=element_type("float32"), step=x.step, reach=x.reach)


# -- sums of products --------------------------------------------------------------------------------------------------


def product_step(x: Tensor, unit: Fraction | None) -> Fraction | None:
    return x.step * unit if x.step and unit else None


def matmul(g: Drawing) -> None:
    x = g.real((2, 3, 4), bits=10)
    k = x.shape[-1]
    if g.rarely():
        y = g.real(bits=6)
        y = g.reshaped(y, [1, math.prod(y.shape)] if k == 1 else [k, math.prod(y.shape) // k]) if math.prod(y.shape) % k == 0 else y
        assume(y.shape[-2 if len(y.shape) > 1 else -1] == k)
        g.add("MatMul", [x, y], step=product_step(x, y.step), reach=k * x.reach * y.reach)
        return
    n = g.integer(1, 4)
    if g.integer(0, 3) == 3:  # the constant on the left
        rows = x.shape[-2]
        w, unit, most = g.weight((n, rows), 0)
        g.add("MatMul", [w, x], step=product_step(x, unit), reach=rows * x.reach * most)
        return
    batch = x.shape[:-2] if len(x.shape) > 2 and g.rarely() else ()
    w, unit, most = g.weight((*batch, k, n), len(batch) + 1)
    g.add("MatMul", [x, w], step=product_step(x, unit), reach=k * x.reach * most)


def gemm(g: Drawing) -> None:
    x = g.real((2,), bits=10)
    turned, right = g.rarely(), g.flag()
    rows, k = (x.shape[1], x.shape[0]) if turned else x.shape
    n = g.integer(1, 4)
    w, unit, most = g.weight((n, k) if right else (k, n), 0 if right else 1)
    operands: list[Tensor | str] = [x, w]
    if g.d.opset < 11 or g.flag():
        shape: tuple[int, ...] = (rows, n) if g.d.opset < 7 else g.pick(((n,), (1, n), (1,), (), (rows, n)))
        operands.append(g.const(g.integers(-4, 4, shape) / 4))
    attributes = {k: v for k, v in {"alpha": g.number(), "beta": g.number()}.items() if g.rarely() and v}
    flags = {k: 1 for k, v in {"transA": turned, "transB": right}.items() if v}
    scale = Fraction(attributes.get("alpha", 1)) * 1
    step = common(product_step(x, unit and unit * abs(scale)), Fraction(1, 4) * abs(Fraction(attributes.get("beta", 1))))
    g.add("Gemm", operands, step=step, reach=(k * x.reach * most + 1) * max(1, abs(scale)) * 2, **attributes, **flags)


EQUATIONS = {2: ("ij,jk->ik", "ij,kj->ik", "ab,b->a", "ij,ij->i", "ij,j", "...j,jk->...k", "ij->ji", "ij->i"),
             3: ("abc,cd->abd", "abc,bd->adc", "abc->cb", "...c,cd", "abc,ac->ab", "abc,bc->ab"),
             4: ("abcd,de->abce", "abcd->acd", "abcd,bd->ac")}


def einsum(g: Drawing) -> None:
    g.need("Einsum")
    x = g.real((2, 3, 4), bits=8)
    equation = g.pick(EQUATIONS[len(x.shape)])
    first, *rest = equation.partition("->")[0].split(",")
    letters = first.replace("...", "")
    sizes = dict(zip(reversed(letters), reversed(x.shape), strict=False))
    operands, step, reach = [x], x.step, x.reach * math.prod(x.shape)
    for term in rest:
        w, unit, most = g.weight(shape := [sizes.setdefault(c, g.integer(1, 3)) for c in term.replace("...", "")], len(shape) - 1)
        operands.append(w)  # type: ignore[arg-type]
        step, reach = product_step(replace(x, step=step), unit), reach * most
    g.add("Einsum", operands, step=step, reach=reach, equation=equation)


# -- windows -----------------------------------------------------------------------------------------------------------


def window(g: Drawing, op: str, size: Sequence[int], kernel: Sequence[int], auto: bool = True) -> dict[str, Any]:
    """Strides, dilations and padding over their whole range."""
    n, attributes = len(size), {}
    if g.flag():
        attributes["strides"] = [g.integer(1, 3) for _ in range(n)]
    if g.rarely() and (op in ("Conv", "ConvTranspose") or g.has(op, "dilations")):
        attributes["dilations"] = [g.integer(1, 2) for _ in range(n)]
    if auto and g.rarely():
        attributes["auto_pad"] = g.pick(("SAME_UPPER", "SAME_LOWER", "VALID"))  # type: ignore[assignment]
    elif g.flag():
        attributes["pads"] = [g.integer(0, k - 1) for k in (*kernel, *kernel)]
    return attributes


def kernel_of(g: Drawing, size: Sequence[int]) -> list[int]:
    return [g.integer(1, min(3, d)) for d in size]


def conv_parts(g: Drawing, x_shape: Sequence[int]) -> tuple[int, list[int], int, dict[str, Any]]:
    """Groups, kernel, outputs and attributes for an operand [1, channels, *size]."""
    channels, size = x_shape[1], x_shape[2:]
    groups = g.pick([k for k in range(1, channels + 1) if channels % k == 0])
    kernel = kernel_of(g, size)
    attributes = window(g, "Conv", size, kernel)
    if groups > 1 or g.rarely():
        attributes["group"] = groups
    if g.flag():
        attributes["kernel_shape"] = kernel
    return groups, kernel, groups * g.integer(1, 2), attributes


def conv(g: Drawing) -> None:
    x = g.real((4, 3), bits=10)
    groups, kernel, out, attributes = conv_parts(g, x.shape)
    w, unit, most = g.weight((out, x.shape[1] // groups, *kernel))
    bias = [g.const(g.integers(-4, 4, (out,)) / 4)] if g.flag() else []
    g.add("Conv", [x, w, *bias], step=common(product_step(x, unit), Fraction(1, 4)),
          reach=x.shape[1] * math.prod(kernel) * x.reach * most + 1, **attributes)


def conv_transpose(g: Drawing) -> None:
    x = g.real((4, 3), bits=10)
    channels, size = x.shape[1], x.shape[2:]
    groups = g.pick([k for k in range(1, channels + 1) if channels % k == 0])
    kernel = kernel_of(g, [3] * len(size))
    attributes = window(g, "ConvTranspose", size, kernel, auto=False)
    if groups > 1:
        attributes["group"] = groups
    if g.rarely():
        attributes["output_padding"] = [g.integer(0, s - 1) for s in attributes.get("strides", [1] * len(size))]
    elif g.rarely():
        attributes.pop("pads", None)
        attributes["auto_pad"] = g.pick(("SAME_UPPER", "SAME_LOWER", "VALID"))
    out = g.integer(1, 2)
    w, unit, most = g.weight((channels, out, *kernel), 1)
    bias = [g.const(g.integers(-4, 4, (out * groups,)) / 4)] if g.flag() else []
    g.add("ConvTranspose", [x, w, *bias], step=common(product_step(x, unit), Fraction(1, 4)),
          reach=channels * math.prod(kernel) * x.reach * most + 1, **attributes)


def pool_attributes(g: Drawing, op: str, size: Sequence[int]) -> dict[str, Any]:
    kernel = kernel_of(g, size)
    attributes = {"kernel_shape": kernel, **window(g, op, size, kernel)}
    if g.flag() and g.has(op, "ceil_mode"):
        strides, ends = attributes.get("strides", [1] * len(size)), attributes.get("pads", [0] * 2 * len(size))[len(size):]
        if all(s <= k - e for s, k, e in zip(strides, kernel, ends, strict=True)):  # else onnx counts a window beyond the end
            attributes["ceil_mode"] = 1
    if op == "AveragePool" and g.flag():
        attributes["count_include_pad"] = 1
    return attributes


def pool(op: str) -> Strategy:
    def draw(g: Drawing) -> None:
        x = g.real((4, 3))
        assume(op == "MaxPool" or g.d.opset >= 7)
        attributes = pool_attributes(g, op, x.shape[2:])
        step = x.step if op == "MaxPool" else x.step and x.step / math.prod(attributes["kernel_shape"])
        if attributes.get("pads") and op == "AveragePool" and not attributes.get("count_include_pad"):
            step = None
        g.add(op, [x], step=step, reach=x.reach, **attributes)
    return draw


def global_pool(op: str) -> Strategy:
    def draw(g: Drawing) -> None:
        x = g.real((4, 3))
        count = math.prod(x.shape[2:])
        g.add(op, [x], step=x.step and (x.step / count if "Average" in op else x.step), reach=x.reach)
    return draw


def reduction(op: str) -> Strategy:
    def draw(g: Drawing) -> None:
        x = g.real(bits=8)
        rank = len(x.shape)
        axes = [a - g.integer(0, 1) * (rank if g.d.opset >= 11 else 0) for a in g.some(range(rank - 1, -1, -1))]
        attributes: dict[str, Any] = {"keepdims": g.integer(0, 1)} if g.flag() else {}
        assume(len(axes) < rank or attributes.get("keepdims", 1) or g.flag())
        operands: list[Any] = [x]
        if g.has(op, "axes"):
            attributes |= {"axes": axes} if not g.rarely() else {}
        elif not g.rarely():
            operands.append(g.ints(*axes))
        elif g.flag():
            attributes["noop_with_empty_axes"] = 1
        count = math.prod(x.shape)
        step = {"ReduceMean": x.step and x.step / math.lcm(*range(1, count + 1)) if count < 12 else None,
                "ReduceSumSquare": x.step and x.step * x.step}.get(op, x.step)
        reach = x.reach * {"ReduceSum": count, "ReduceSumSquare": count * x.reach}.get(op, 1)
        y = g.add(op, operands, step=step, reach=reach, **attributes)
        if not y.shape:
            g.tensors.remove(y)
            g.reshaped(y, (1, 1))
    return draw


# -- ranking -----------------------------------------------------------------------------------------------------------


def arg_extreme(op: str) -> Strategy:
    def draw(g: Drawing) -> None:
        x = g.real(bits=10)
        rank = len(x.shape)
        attributes = {"axis": g.integer(-rank if g.d.opset >= 11 else 0, rank - 1), "keepdims": g.pick((1, 1, 0)) if rank > 1 else 1}
        if g.d.opset >= 12 and g.flag():
            attributes["select_last_index"] = 1
        y = g.add(op, [x], element="int64", step=Fraction(1), reach=max(x.shape), **attributes)
        places_used(g, y, x.shape[attributes["axis"]])
    return draw


def places_used(g: Drawing, y: Tensor, size: int) -> None:
    """Places become numbers, or look something up."""
    if g.flag() and math.prod(y.shape):
        entries = g.const(g.integers(-7, 7, (size,)) / 4)
        g.add("Gather", [entries, y], shape=y.shape, step=Fraction(1, 4), reach=2)
    elif g.flag():
        g.add("Cast", [y], to=element_type("float32"), step=Fraction(1), reach=size)


def top_k(g: Drawing) -> None:
    x = g.real(bits=10)
    rank = len(x.shape)
    axis = g.integer(-rank, rank - 1) if g.d.opset >= 11 else g.integer(0, rank - 1)
    count = g.integer(1, min(3, x.shape[axis]))
    attributes: dict[str, int] = {"axis": axis}
    if g.d.opset >= 11 and g.flag():
        attributes["largest"] = g.integer(0, 1)
    if g.has("TopK", "k"):
        values, places = g.add("TopK", [x], outputs=2, k=count, **attributes)
    else:
        values, places = g.add("TopK", [x, g.ints(count)], outputs=2, **attributes)
    del g.tensors[-2:]
    g.tensors += [replace(places, element="int64", step=Fraction(1)), replace(values, step=x.step, reach=x.reach)]
    places_used(g, g.tensors[-2], x.shape[axis])


# -- moving ------------------------------------------------------------------------------------------------------------


def reshape(g: Drawing) -> None:
    x = g.real(exact=False)
    g.ranked(x, g.integer(1, 4)) if g.flag() else g.reshaped(x, g.pick(([0, -1], [1, -1]) if len(x.shape) > 1 else ([-1], [1, -1])))


def flatten(g: Drawing) -> None:
    x = g.real(exact=False)
    rank = len(x.shape)
    attributes = {"axis": g.integer(-rank if g.d.opset >= 11 else 0, rank)} if g.flag() else {}
    g.same("Flatten", x, **attributes)


def squeeze(g: Drawing) -> None:
    x = g.real(exact=False)
    ones = [k for k, d in enumerate(x.shape) if d == 1]
    assume(ones and len(ones) < len(x.shape))
    axes = g.some(ones)
    if g.has("Squeeze", "axes"):
        g.same("Squeeze", x, axes=axes)
    else:
        g.same("Squeeze", x, g.ints(*axes))


def unsqueeze(g: Drawing) -> None:
    x = g.real(exact=False)
    assume(len(x.shape) < 5)
    axes = sorted({g.integer(0, len(x.shape)), *([1] if g.rarely() else [])})
    assume(max(axes) < len(x.shape) + len(axes))
    if g.has("Unsqueeze", "axes"):
        g.same("Unsqueeze", x, axes=axes)
    else:
        g.same("Unsqueeze", x, g.ints(*(a - g.integer(0, 1) * (len(x.shape) + len(axes)) for a in axes)))


def permutation(g: Drawing, rank: int) -> list[int]:
    left = list(range(rank))
    return [left.pop(g.integer(0, len(left) - 1)) for _ in range(rank)]


def transpose(g: Drawing) -> None:
    x = g.real(exact=False)
    g.same("Transpose", x, **({"perm": permutation(g, len(x.shape))} if not g.rarely() else {}))


def slice_(g: Drawing) -> None:
    x = g.real(exact=False)
    axes = g.some(range(len(x.shape) - 1, -1, -1))
    starts, ends, steps = [], [], []
    for a in axes:
        d, step = x.shape[a], g.pick((1, 1, 2, -1, -2)) if g.d.opset >= 10 else 1
        low = g.integer(0, d - 1)
        if step > 0:
            starts.append(g.pick((low, low - d)))
            ends.append(g.pick((g.integer(low + 1, d), 2 ** 31 - 1)))
        else:
            starts.append(g.pick((low, low - d, d + 3)))
            ends.append(g.pick((-d - 1, -2 ** 31)))
        steps.append(step)
    shown = [a - g.integer(0, 1) * (len(x.shape) if g.d.opset >= 10 else 0) for a in axes]
    if g.has("Slice", "starts"):
        g.same("Slice", x, starts=starts, ends=ends, axes=shown)
    else:
        g.same("Slice", x, g.ints(*starts), g.ints(*ends), g.ints(*shown), *([g.ints(*steps)] if any(s != 1 for s in steps) else []))


def split(g: Drawing) -> None:
    x = g.real(exact=False)
    axis = next((a for a in range(len(x.shape) - 1, -1, -1) if x.shape[a] > 1), None)
    assume(axis is not None)
    assert axis is not None
    d = x.shape[axis]
    first = g.integer(1, d - 1)
    equal = d % 2 == 0 and g.flag()
    more: list[str] = []
    attributes: dict[str, Any] = {"axis": axis - g.integer(0, 1) * (len(x.shape) if g.d.opset >= 11 else 0)}
    if equal or (g.d.opset >= 18 and g.flag()):
        if g.has("Split", "num_outputs"):
            attributes["num_outputs"] = 2
    elif g.has("Split", "split"):
        attributes["split"] = [first, d - first]
    else:
        more = [g.ints(first, d - first)]
    g.same("Split", x, *more, outputs=2, **attributes)


def gather(g: Drawing) -> None:
    x = g.real(exact=False)
    axis = g.integer(0, len(x.shape) - 1)
    d = x.shape[axis]
    indices = g.const(g.integers(-d if g.d.opset >= 11 else 0, d - 1, g.pick(((2,), (1,), (), (2, 2)))), "int64")
    if len(g.d.constants[indices][1]) == 0:
        assume(len(x.shape) > 1)
    g.same("Gather", x, indices, axis=axis - g.integer(0, 1) * (len(x.shape) if g.d.opset >= 11 else 0))


def pad(g: Drawing) -> None:
    x = g.real()
    rank = len(x.shape)
    mode = g.pick(("constant", "edge", "reflect", *(("wrap",) if g.d.opset >= 19 else ())))
    low = 1 if rank > 1 else 0
    ends = [[g.integer(0, 0 if a < low else min(2, d - 1)) for a, d in enumerate(x.shape)] for _ in range(2)]
    if mode == "constant" and g.rarely() and x.shape[-1] > 1:
        ends[0][-1] = -1
    pads = [*ends[0], *ends[1]]
    value = 0.0 if mode != "constant" or g.flag() else g.number()
    attributes: dict[str, Any] = {"mode": mode} if mode != "constant" or g.flag() else {}
    reach, step = max(x.reach, abs(value)), common(x.step, Fraction(value))
    if g.has("Pad", "pads"):
        g.add("Pad", [x], step=step, reach=reach, pads=pads, **attributes, **({"value": value} if value else {}))
        return
    operands = [x, g.ints(*pads)] + ([g.const(np.float32(value))] if value or g.flag() else [])
    if g.d.opset >= 18 and g.rarely() and rank > 1:
        operands = [x, g.ints(*ends[0][1:], *ends[1][1:]), g.const(np.float32(value)), g.ints(*range(1, rank))]
    g.add("Pad", operands, step=step, reach=reach, **attributes)


def resize(g: Drawing) -> None:
    g.need("Resize")
    x = g.real((4, 3), exact=False)
    assume(math.prod(x.shape) <= 16)
    scales = np.float32([1, 1, *(g.pick((2, 1, 1.5, 0.5, 3)) for _ in x.shape[2:])])
    assume(all(int(d * s) >= 1 for d, s in zip(x.shape, scales, strict=True)))
    if g.d.opset == 10:
        g.same("Resize", x, g.const(scales))
        return
    attributes: dict[str, Any] = {}
    if g.flag():
        attributes["coordinate_transformation_mode"] = g.pick(("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"))
    if g.flag():
        attributes["nearest_mode"] = g.pick(("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"))
    if g.flag():
        g.same("Resize", x, "" if g.d.opset >= 13 else g.const(np.zeros(0)), g.const(scales), **attributes)
    else:
        empty = "" if g.d.opset >= 13 else g.const(np.zeros(0))
        g.same("Resize", x, empty, empty, g.ints(*(int(d * s) for d, s in zip(x.shape, scales, strict=True))), **attributes)


def upsample(g: Drawing) -> None:
    g.need("Upsample")
    assume(g.d.opset >= 7)
    x = g.real((4,), exact=False)
    assume(math.prod(x.shape) <= 16)
    scales = [1.0, 1.0, *(float(g.pick((2, 1, 3))) for _ in x.shape[2:])]
    if g.has("Upsample", "scales"):
        g.same("Upsample", x, scales=scales)
    else:
        g.same("Upsample", x, g.const(np.float32(scales)))


def expand(g: Drawing) -> None:
    g.need("Expand")
    x = g.real(exact=False)
    target = [g.integer(2, 3) if d == 1 and k and g.flag() else g.pick((d, 1)) for k, d in enumerate(x.shape)]
    g.same("Expand", x, g.ints(*target))


def tile(g: Drawing) -> None:
    x = g.real(exact=False)
    g.same("Tile", x, g.ints(*(g.integer(1, 2) if k or len(x.shape) == 1 else 1 for k in range(len(x.shape)))))


def concat(g: Drawing) -> None:
    x = g.real()
    axis = g.integer(0, len(x.shape) - 1)
    axis = axis if axis or len(x.shape) == 1 or g.rarely() else 1

    def fits(t: Tensor) -> bool:
        return t.element == "float32" and len(t.shape) == len(x.shape) and t.bits <= 14 and all(
            p == q for k, (p, q) in enumerate(zip(t.shape, x.shape, strict=True)) if k != axis)
    parts: list[Tensor | str] = [x]
    steps, reach = [x.step], x.reach
    for _ in range(g.integer(1, 2)):
        if g.rarely():
            shape = [g.integer(1, 2) if k == axis else d for k, d in enumerate(x.shape)]
            parts.append(g.const(g.integers(-3, 3, shape) / 2))
            steps.append(Fraction(1, 2))
        else:
            parts.append(t := g.any(fits) or x)
            steps.append(t.step)
            reach = max(reach, t.reach)
    g.add("Concat", parts, step=common(*steps), reach=max(reach, 2),
          axis=axis - (len(x.shape) if g.d.opset >= 11 and g.flag() else 0))


def depth_to_space(g: Drawing) -> None:
    x = g.real(exact=False)
    assume(math.prod(x.shape) % 4 == 0)
    x = g.reshaped(x, (1, 4, 1, math.prod(x.shape) // 4))
    g.same("DepthToSpace", x, blocksize=2, **({"mode": g.pick(("CRD", "DCR"))} if g.d.opset >= 11 and g.flag() else {}))


def space_to_depth(g: Drawing) -> None:
    x = g.real(exact=False)
    assume(math.prod(x.shape) % 4 == 0)
    g.same("SpaceToDepth", g.reshaped(x, (1, 1, 2, math.prod(x.shape) // 2)), blocksize=2)


# -- constants ---------------------------------------------------------------------------------------------------------


def constant_node(g: Drawing, op: str, inputs: Sequence[str], shape: tuple[int, ...], element: str = "float32", **attributes: Any) -> str:
    return str(g.add(op, inputs, shape=shape, element=element, keep=False, **attributes).name)


def added(g: Drawing, x: Tensor, constant: str, step: Fraction, most: float) -> None:
    assume(g.d.opset >= 7)
    g.add("Add", [x, constant], step=common(x.step, step), reach=x.reach + most)


def constant(g: Drawing) -> None:
    x = g.real()
    value = g.integers(-4, 4, x.shape[-1:]) / 2
    form = {"value": {"element": "float32", "shape": [len(value)], "values": value.tolist()}}
    shape: tuple[int, ...] = value.shape
    if g.d.opset >= 12 and g.flag():
        form, shape = ({"value_floats": value.tolist()}, shape) if g.flag() else ({"value_float": float(value[0])}, ())  # type: ignore[dict-item]
    added(g, x, constant_node(g, "Constant", [], shape, **form), Fraction(1, 2), 2)


def constant_of_shape(g: Drawing) -> None:
    g.need("ConstantOfShape")
    x = g.real()
    form = {"value": {"element": "float32", "shape": [1], "values": [g.integer(-4, 4) / 2]}} if g.flag() else {}
    added(g, x, constant_node(g, "ConstantOfShape", [g.ints(x.shape[-1])], x.shape[-1:], **form), Fraction(1, 2), 2)


def shape(g: Drawing) -> None:
    """The flattening of old exporters: Shape, Gather, Concat, Reshape."""
    x = g.real(exact=False)
    first = constant_node(g, "Shape", [x.name], (len(x.shape),), "int64")
    if g.d.opset < 13 or g.flag():
        g.add("Reshape", [x, first], shape=x.shape, step=x.step, reach=x.reach)
        return
    batch = constant_node(g, "Gather", [first, g.ints(0)], (1,), "int64", axis=0)
    target = constant_node(g, "Concat", [batch, g.ints(-1)], (2,), "int64", axis=0)
    g.add("Reshape", [x, target], shape=(x.shape[0], math.prod(x.shape[1:])), step=x.step, reach=x.reach)


def range_(g: Drawing) -> None:
    g.need("Range")
    x = g.real(exact=False)
    d = x.shape[-1]
    step = g.pick((1, -1))
    ends = (0, d, step) if step > 0 else (d - 1, -1, step)
    indices = constant_node(g, "Range", [g.const(np.int64(v), "int64") for v in ends], (d,), "int64")
    g.add("Gather", [x, indices], shape=x.shape, step=x.step, reach=x.reach, axis=len(x.shape) - 1)


def reduce_prod(g: Drawing) -> None:
    """The flattening of exporters that multiply the dimensions."""
    x = g.real(exact=False)
    inner = constant_node(g, "ReduceProd", [g.ints(*x.shape[1:])], (1,), "int64")
    target = constant_node(g, "Concat", [g.ints(x.shape[0]), inner], (2,), "int64", axis=0)
    g.add("Reshape", [x, target], shape=(x.shape[0], math.prod(x.shape[1:])), step=x.step, reach=x.reach)


# -- quantisers of QONNX -----------------------------------------------------------------------------------------------


def quant(op: str) -> Strategy:
    def draw(g: Drawing) -> None:
        g.quant(g.real(exact=False), op=op)
    return draw


def bipolar_quant(g: Drawing) -> None:
    x = g.real(exact=False)
    scale, step = g.scales(1.0, x, g.rarely())
    g.add("BipolarQuant", [x, g.const(scale)], domain=g.domain, step=step, reach=float(scale.max()),
          shape=np.broadcast_shapes(x.shape, scale.shape))


def trunc(g: Drawing) -> None:
    """After a Quant: its scale and zero point; version 1, or version 2 with an output scale and attributes."""
    bits, signed = g.integer(2, 8), g.flag()
    x = g.real(exact=False)
    scale, zero, width = (g.const(np.float32(v)) for v in (g.scale(x.reach / 2 ** (bits - 1)), 0 if g.flag() else g.integer(0, 3), bits))
    s = Fraction(g.d.constants[scale][2][0])
    x = g.add("Quant", [x, scale, zero, width], shape=x.shape, domain=g.domain, step=s, reach=float(s) * 2 ** bits, signed=int(signed),
              narrow=0, rounding_mode="ROUND")
    less = g.integer(0, bits - 1)
    mode = {"rounding_mode": g.pick(("FLOOR", "ROUND", "CEIL", "HALF_UP", "DOWN", "UP", "HALF_DOWN"))}
    if g.flag():
        g.add("Trunc", [x, scale, zero, width, g.const(np.float32(bits - less))], shape=x.shape, domain=g.domain,
              step=s, reach=x.reach, **mode)
        return
    out = g.const(np.float32(float(s) * 2 ** less))
    g.add("Trunc", [x, scale, zero, width, out, g.const(np.float32(max(1 + signed, bits - less)))], shape=x.shape, domain=g.domain,
          step=s if g.d.constants[zero][2][0] else s * 2 ** less, reach=x.reach, signed=int(signed), narrow=int(g.flag()), **mode)


def multi_threshold(g: Drawing) -> None:
    x = g.real((2, 4, 3), bits=10)
    layout = g.pick(("", *{2: ("NC",), 3: ("NWC", "NCW"), 4: ("NCHW", "NHWC")}[len(x.shape)]))
    axis = (layout or {2: "NC", 3: "NWC", 4: "NCHW"}[len(x.shape)]).index("C")
    count = g.integer(1, 7)
    rows = g.pick((1, x.shape[axis]))
    thresholds = np.sort(g.integers(-16, 16, (rows, count)) * max(x.reach, 0.25) / 16, axis=1).astype(np.float32)
    attributes: dict[str, Any] = {"out_scale": g.pick((0.5, 1.0, 2.0)), "out_bias": g.pick((-1.0, 0.0, -3.5))} if g.flag() else {}
    if layout:
        attributes["data_layout"] = layout
    g.add("MultiThreshold", [x, g.const(thresholds)], shape=x.shape, domain=g.domain if "brevitas" not in g.domain else DOMAINS[0],
          step=Fraction(1, 2), reach=20.0, **attributes)


def last_channels(op: str) -> Strategy:
    """Operators on [batch, *size, channels]."""
    def draw(g: Drawing) -> None:
        if op == "BatchNormalization":
            batch_normalization(g, CHANNELS_LAST)
            return
        x = g.real((4, 3), bits=10)
        first = replace(x, shape=(x.shape[0], x.shape[-1], *x.shape[1:-1]))
        if op == "MaxPool":
            attributes, weights, step, reach = pool_attributes(g, op, first.shape[2:]), [], x.step, x.reach
            attributes.pop("dilations", None)
            inner = [first.name]
        else:
            groups, kernel, out, attributes = conv_parts(g, first.shape)
            stored = g.integers(-3, 3, (out, first.shape[1] // groups, *kernel))
            inner = [first.name, g.const(stored)]
            weights = [g.const(np.moveaxis(stored, 1, -1))]
            step, reach = x.step, 3 * first.shape[1] * math.prod(kernel) * x.reach
        node = Node(op, inner, ["y"], attributes)
        shape = g.inferred(node, {first.name: first})[0]
        for name in inner[1:]:
            del g.d.constants[name]
        assume(shape is not None)
        assert shape is not None
        g.add(op, [x, *weights], shape=(shape[0], *shape[2:], shape[1]), step=step, reach=reach, domain=CHANNELS_LAST, **attributes)
    return draw


# -- ONNX's own quantisation -------------------------------------------------------------------------------------------


def quantize_linear(domain: str) -> Strategy:
    def draw(g: Drawing) -> None:
        if not domain:
            g.need("QuantizeLinear")
        q = g.linear(g.real(exact=False), domain=domain, elements=("uint8", "int8", "int16", "uint16") if domain else ())
        if g.flag():
            g.dequantised(q, domain)
    return draw


def dequantize_linear(domain: str) -> Strategy:
    def draw(g: Drawing) -> None:
        if not domain:
            g.need("DequantizeLinear")
        q = g.any(lambda t: bool(t.scale)) or g.linear(g.real(exact=False), domain=domain, elements=("uint8", "int8"))
        at_home = q.element in ("uint8", "int8") or g.d.opset >= 21
        assume(at_home or domain)
        assume(not domain or q.element in ("uint8", "int8", "int16", "uint16"))
        g.dequantised(q, domain)
    return draw


def outgoing(g: Drawing, x: Tensor, element: str, reach: float) -> tuple[list[str], dict[str, Any]]:
    """Scale and zero point of a result of that type, and what `add` has to know."""
    scale, zero = g.const(np.float32(g.scale(reach / 128))), g.zero_of(element)
    return [scale, zero], {"element": element, "step": Fraction(1), "reach": 255.0}


def remember(g: Drawing, y: Tensor, parameters: Sequence[str]) -> None:
    """The result is codes that others can take."""
    if y.shape:
        g.tensors[-1] = replace(y, scale=parameters[0], zero=parameters[1])


def real_reach(g: Drawing, q: Tensor) -> float:
    return 128 * float(g.d.constants[q.scale][2][0])


def weights_of(g: Drawing, element: str, shape: Sequence[int], axis: int, channels: bool = True) -> tuple[str, str, str]:
    """Integer weights, their scale and their zero point; per output channel where `channels`."""
    many = channels and g.flag()
    size = (shape[axis],) if many else ()
    values = g.integers(0, 7, shape) if element == "uint8" else g.integers(-4, 4, shape)
    scale = np.float32(2.0 ** g.integers(-3, 0, size))
    zero = g.const(np.zeros(size, np.int64) if many or g.flag() else np.int64(g.integer(0, 3)), element)
    if scale.shape != tuple(g.d.constants[zero][1]):
        zero = g.const(np.zeros(size, np.int64), element)
    return g.const(values, element), g.const(scale), zero


def signedness(g: Drawing, x: Tensor) -> str:
    """Of weights: unsigned ones only to an unsigned operand."""
    return str(g.pick(("int8", "uint8"))) if x.element == "uint8" else "int8"


def qlinear_conv(g: Drawing) -> None:
    g.need("QLinearConv")
    x = g.codes((4, 3))
    groups, kernel, out, attributes = conv_parts(g, x.shape)
    w, ws, wz = weights_of(g, signedness(g, x), (out, x.shape[1] // groups, *kernel), 0)
    bias = [g.const(g.integers(-9, 9, (out,)), "int32")] if g.flag() else []
    parameters, result = outgoing(g, x, x.element, real_reach(g, x) * 2)
    operands = [x, x.scale, x.zero, w, ws, wz, *parameters, *bias]
    remember(g, g.add("QLinearConv", operands, **result, **attributes), parameters)


def qlinear_matmul(g: Drawing) -> None:
    g.need("QLinearMatMul")
    x = g.codes((2, 3))
    w, ws, wz = weights_of(g, signedness(g, x), (x.shape[-1], g.integer(1, 4)), 1, channels=False)
    parameters, result = outgoing(g, x, x.element, real_reach(g, x) * 2)
    remember(g, g.add("QLinearMatMul", [x, x.scale, x.zero, w, ws, wz, *parameters], **result), parameters)


def integer_product(op: str) -> Strategy:
    def draw(g: Drawing) -> None:
        g.need(op)
        x = g.codes((4, 3) if op == "ConvInteger" else (2, 3), ("uint8",) if op == "ConvInteger" else ("uint8", "int8"))
        if op == "ConvInteger":
            groups, kernel, out, attributes = conv_parts(g, x.shape)
            w, _, wz = weights_of(g, "uint8", (out, x.shape[1] // groups, *kernel), 0, channels=False)
        else:
            w, _, wz = weights_of(g, g.pick(("int8", "uint8")), (x.shape[-1], g.integer(1, 4)), 1, channels=False)
            attributes = {}
        zeros = [[], [x.zero], [x.zero, wz], ["", wz]][g.integer(0, 3)]
        y = g.add(op, [x, w, *zeros], element="int32", step=Fraction(1), reach=255 * 8 * x.shape[1], **attributes)
        g.add("Cast", [y], to=element_type("float32"), step=Fraction(1), reach=y.reach)
    return draw


def qgemm(g: Drawing) -> None:
    x = g.codes((2,))
    turned, n = g.flag(), g.integer(1, 4)
    k = x.shape[1]
    w, ws, wz = weights_of(g, signedness(g, x), (n, k) if turned else (k, n), 0 if turned else 1)
    bias = g.const(g.integers(-9, 9, (n,)), "int32") if g.flag() else ""
    attributes: dict[str, Any] = {"transB": 1} if turned else {}
    if g.rarely():
        attributes["alpha"] = g.pick((0.5, 2.0, 0.75))
    if g.rarely():
        g.add("QGemm", [x, x.scale, x.zero, w, ws, wz, bias], shape=(x.shape[0], n), domain=MICROSOFT, reach=real_reach(g, x) * 4,
              **attributes)
        g.quantised(g.tensors[-1])
        return
    parameters, result = outgoing(g, x, x.element, real_reach(g, x) * 2)
    y = g.add("QGemm", [x, x.scale, x.zero, w, ws, wz, bias, *parameters], shape=(x.shape[0], n), domain=MICROSOFT, **result, **attributes)
    remember(g, y, parameters)


def qlinear_binary(op: str) -> Strategy:
    def draw(g: Drawing) -> None:
        x = g.codes()
        if g.flag():
            y: Tensor | str = g.const(g.integers(0, 99, x.shape), x.element)
            scale, zero = g.const(np.float32(g.scale(0.05))), g.zero_of(x.element)
        else:
            y = g.any(lambda t: t.element == x.element and t.shape == x.shape and bool(t.scale) and bool(t.zero)
                      and not g.d.constants[t.scale][1]) or x
            scale, zero = y.scale, y.zero  # type: ignore[union-attr]
        parameters, result = outgoing(g, x, x.element, real_reach(g, x) * 2)
        z = g.add(op, [x, x.scale, x.zero, y, scale, zero, *parameters], shape=x.shape, domain=MICROSOFT, **result)
        remember(g, z, parameters)
    return draw


def qlinear_unary(op: str) -> Strategy:
    def draw(g: Drawing) -> None:
        x = g.codes((4,) if "Pool" in op else ())
        attributes: dict[str, Any] = {}
        shape: tuple[int, ...] | None = x.shape
        if op == "QLinearLeakyRelu":
            attributes = {"alpha": g.pick((0.5, 0.25, 0.1))} if g.flag() else {}
        elif op == "QLinearSoftmax":
            attributes = {"axis": g.integer(-len(x.shape), -1), "opset": g.d.opset}
        elif op == "QLinearGlobalAveragePool":
            shape, attributes = (*x.shape[:2], 1, 1), {"channels_last": 0}
        elif op == "QLinearAveragePool":
            attributes = pool_attributes(g, "AveragePool", x.shape[2:])
            attributes.pop("dilations", None)
            inner = Node("AveragePool", [x.name], ["y"], attributes)
            assume(g.d.opset >= 10)
            shape = g.inferred(inner, {x.name: replace(x, element="float32")})[0]
            assume(shape is not None)
        elif op == "QLinearReduceMean":
            axes, keep = g.some(range(len(x.shape) - 1, 0, -1)) if len(x.shape) > 1 else [0], g.integer(0, 1)
            attributes = {"axes": axes, "keepdims": keep}
            shape = tuple(1 if a in axes else d for a, d in enumerate(x.shape) if keep or a not in axes)
            assume(shape)
        reach = 1.0 if op in ("QLinearSigmoid", "QLinearSoftmax") else real_reach(g, x)
        parameters, result = outgoing(g, x, x.element, reach)
        if op == "QLinearSoftmax":  # the executor wraps what does not fit
            g.d.constants[parameters[0]] = "float32", [], [1 / 128]
            g.d.constants[parameters[1]] = x.element, [], [0 if x.element == "uint8" else -128]
        y = g.add(op, [x, x.scale, x.zero, *parameters], shape=shape, domain=MICROSOFT, **result, **attributes)
        remember(g, y, parameters)
    return draw


def qlinear_concat(g: Drawing) -> None:
    x = g.codes()
    axis = g.integer(1, len(x.shape) - 1) if len(x.shape) > 1 else 0
    y = g.any(lambda t: t.element == x.element and t.shape == x.shape and bool(t.scale and t.zero)
              and not g.d.constants[t.scale][1] and not g.d.constants[t.zero][1]) or x
    parameters, result = outgoing(g, x, x.element, real_reach(g, x))
    shape = tuple(d * 2 if k == axis else d for k, d in enumerate(x.shape))
    z = g.add("QLinearConcat", [*parameters, x, x.scale, x.zero, y, y.scale, y.zero], shape=shape, domain=MICROSOFT, axis=axis, **result)
    remember(g, z, parameters)


STANDARD: dict[str, Strategy] = {
    **{op: keeps(op) for op in ("Identity", "Relu", "Neg", "Abs")},
    "Add": binary("Add"), "Sub": binary("Sub"), "Mul": mul, "Div": div_any, "Pow": power, "Clip": clip, "Mod": modulo,
    "Floor": rounding("Floor"), "Ceil": rounding("Ceil"), "Round": rounding("Round"), "Sign": sign, "Cast": cast, "Dropout": dropout,
    "MatMul": matmul, "Gemm": gemm, "Einsum": einsum, "Conv": conv, "ConvTranspose": conv_transpose,
    "BatchNormalization": batch_normalization, "Softmax": softmax, "LayerNormalization": layer_normalization,
    "MaxPool": pool("MaxPool"), "AveragePool": pool("AveragePool"), "GlobalAveragePool": global_pool("GlobalAveragePool"),
    "GlobalMaxPool": global_pool("GlobalMaxPool"),
    **{op: reduction(op) for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare")},
    "LeakyRelu": piecewise("LeakyRelu", alpha=(0, 2)), "PRelu": p_relu, "ThresholdedRelu": piecewise("ThresholdedRelu", alpha=(-2, 2)),
    "HardSigmoid": piecewise("HardSigmoid", alpha=(0.25, 2), beta=(-1, 1)), "HardSwish": hard_swish,
    "Elu": function("Elu", alpha=(0.25, 2)), "Selu": function("Selu", alpha=(1, 2), gamma=(1, 2)),
    "Celu": function("Celu", alpha=(0.25, 2)),
    "Gelu": gelu, "Swish": function("Swish", alpha=(0.25, 2)), "Mish": function("Mish"), "Softsign": function("Softsign"),
    "Sigmoid": function("Sigmoid"), "Tanh": function("Tanh"), "Softplus": function("Softplus"), "Exp": function("Exp", 6),
    "Log": function("Log", low=0.25), "Erf": function("Erf"), "Sqrt": function("Sqrt", low=0.25),
    "Reciprocal": function("Reciprocal", low=0.25),
    **{op: comparison(op) for op in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")},
    **{op: logical(op) for op in ("Not", "And", "Or")}, "Where": where, "Max": extremes("Max"), "Min": extremes("Min"),
    "ArgMax": arg_extreme("ArgMax"), "ArgMin": arg_extreme("ArgMin"), "TopK": top_k,
    "Reshape": reshape, "Flatten": flatten, "Squeeze": squeeze, "Unsqueeze": unsqueeze, "Transpose": transpose, "Slice": slice_,
    "Split": split, "Gather": gather, "Pad": pad, "Resize": resize, "Upsample": upsample, "Expand": expand, "Tile": tile,
    "Concat": concat, "DepthToSpace": depth_to_space, "SpaceToDepth": space_to_depth,
    "Constant": constant, "ConstantOfShape": constant_of_shape, "Shape": shape, "Range": range_, "ReduceProd": reduce_prod,
    "QuantizeLinear": quantize_linear(""), "DequantizeLinear": dequantize_linear(""), "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul, "MatMulInteger": integer_product("MatMulInteger"), "ConvInteger": integer_product("ConvInteger"),
}
QONNX: dict[str, Strategy] = {"Quant": quant("Quant"), "IntQuant": quant("IntQuant"), "BipolarQuant": bipolar_quant, "Trunc": trunc,
                              "MultiThreshold": multi_threshold}
LAST: dict[str, Strategy] = {op: last_channels(op) for op in ("Conv", "MaxPool", "BatchNormalization")}
MS: dict[str, Strategy] = {
    "QuantizeLinear": quantize_linear(MICROSOFT), "DequantizeLinear": dequantize_linear(MICROSOFT), "QGemm": qgemm,
    "QLinearAdd": qlinear_binary("QLinearAdd"), "QLinearMul": qlinear_binary("QLinearMul"), "QLinearConcat": qlinear_concat,
    **{f"QLinear{op}": qlinear_unary(f"QLinear{op}")
       for op in ("Sigmoid", "LeakyRelu", "Softmax", "AveragePool", "GlobalAveragePool", "ReduceMean")}}
TABLES: dict[str, dict[str, Strategy]] = {"": STANDARD, "qonnx": QONNX, CHANNELS_LAST: LAST, MICROSOFT: MS}
