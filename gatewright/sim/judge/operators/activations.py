"""Functions of one number: piecewise linear ones, and those whose values are irrational (see `reals`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import reduce

import numpy as np

from gatewright.sim.judge import integers, tensor
from gatewright.sim.judge.numbers import Number
from gatewright.sim.judge.operators.call import Call, Operator, number, reshaped
from gatewright.sim.judge.reals import PI, apply, root_of
from gatewright.sim.judge.tensor import Tensor

ONE, HALF = Fraction(1), Fraction(1, 2)
LEAKY_ALPHA, HARD_ALPHA = Fraction(0.009999999776482582), Fraction(0.20000000298023224)
"""Defaults of LeakyRelu and HardSigmoid: 0.01 and 0.2 as the float32 that attributes are."""
SELU_ALPHA, SELU_GAMMA = Fraction(1.67326319217681884765625), Fraction(1.05070102214813232421875)


def relu(call: Call) -> Tensor:
    return positive_part(call.input(0))


def positive_part(x: Tensor) -> Tensor:
    return tensor.masked(x, tensor.at_least_zero(x))


def leaky_relu(call: Call) -> Tensor:
    return leaky(call.input(0), Fraction(call.attribute("alpha", LEAKY_ALPHA)))


def leaky(x: Tensor, alpha: Fraction) -> Tensor:
    return tensor.choose(tensor.at_least_zero(x), x, tensor.by_number(x, alpha))


def parametric_relu(call: Call) -> Tensor:
    """Before operator set 7, a vector of slopes belongs to the channels."""
    x, slope = call.input(0), call.input(1)
    if call.opset < 7 and slope.rank == 1 and slope.dims != (1,):
        slope = reshaped(slope, *slope.dims, *(1,) * (x.rank - 2))
    call.check_broadcast(x, slope)
    return tensor.choose(tensor.at_least_zero(x), x, tensor.multiply(x, slope))


def thresholded_relu(call: Call) -> Tensor:
    x, alpha = call.input(0), Fraction(call.attribute("alpha", ONE))
    return tensor.masked(x, 1 - tensor.at_least_zero(tensor.plus_number(tensor.negate(x), alpha)))


def hard_sigmoid(call: Call) -> Tensor:
    alpha, beta = (Fraction(call.attribute(name, default)) for name, default in (("alpha", HARD_ALPHA), ("beta", HALF)))
    return _hard_sigmoid(call.input(0), alpha, beta)


def _hard_sigmoid(x: Tensor, alpha: Fraction, beta: Fraction) -> Tensor:
    linear = tensor.plus_number(tensor.by_number(x, alpha), beta)
    return tensor.smaller(positive_part(linear), number(1, x.rank))


def hard_swish(call: Call) -> Tensor:
    x = call.input(0)
    return tensor.multiply(x, _hard_sigmoid(x, Fraction(1, 6), HALF))


def softsign(x: Number) -> Number:
    return x / (1 + abs(x))


def function(name: str) -> Operator:
    """One of `reals.FUNCTIONS`."""
    return pointwise(lambda x: apply(name, x))


def pointwise(of: Callable[[Number], Number]) -> Operator:
    return lambda call: mapped(call, of, call.input(0))


def mapped(call: Call, of: Callable[[Number], Number], x: Tensor) -> Tensor:
    try:
        return tensor.each(of, x)
    except ValueError as error:
        raise call.refuse(str(error)) from None


def elu(call: Call) -> Tensor:
    alpha = Fraction(call.attribute("alpha", ONE))
    return mapped(call, lambda x: x if x >= 0 else alpha * (apply("exp", x) - 1), call.input(0))


def celu(call: Call) -> Tensor:
    alpha = Fraction(call.attribute("alpha", ONE))
    return mapped(call, lambda x: x if x >= 0 else alpha * (apply("exp", x / alpha) - 1), call.input(0))


def selu(call: Call) -> Tensor:
    alpha, gamma = (Fraction(call.attribute(name, default))
                    for name, default in (("alpha", SELU_ALPHA), ("gamma", SELU_GAMMA)))
    return mapped(call, lambda x: gamma * (x if x >= 0 else alpha * (apply("exp", x) - 1)), call.input(0))


def swish(call: Call) -> Tensor:
    alpha = Fraction(call.attribute("alpha", ONE))
    return mapped(call, lambda x: x * apply("sigmoid", alpha * x), call.input(0))


def mish(call: Call) -> Tensor:
    return mapped(call, lambda x: x * apply("tanh", apply("softplus", x)), call.input(0))


def gelu(call: Call) -> Tensor:
    """`x * Phi(x)`; approximate "tanh": `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))`."""
    approximate = call.text("approximate", "none")
    if approximate == "none":
        return mapped(call, lambda x: x * apply("normal", x), call.input(0))
    if approximate != "tanh":
        raise call.refuse(f"the approximation '{approximate}' is not known")
    factor, cube = root_of(2 / PI), Fraction(44715, 10**6)
    return mapped(call, lambda x: x * HALF * (1 + apply("tanh", factor * (x + cube * x * x * x))), call.input(0))


def softmax(call: Call) -> Tensor:
    """Over an axis; up to operator set 12 over all axes from it on. Element i is `1 / sum_j exp(x_j - x_i)`."""
    x = call.input(0)
    axis = call.axis(call.attribute("axis", -1 if call.opset >= 13 else 1), x.rank) + 1
    return softmax_over(call, x, (axis,) if call.opset >= 13 else tuple(range(axis, x.rank + 1)))


def softmax_over(call: Call, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Axes counted with the sample axis."""
    if call.algorithm is not None:
        return table_softmax(call, x, axes, call.algorithm)
    dims, rest = x.shape, [a for a in range(x.rank + 1) if a not in axes]
    def rows(v: tensor.Exacts) -> tensor.Exacts:
        v = v.transpose(*rest, *axes)
        return v.reshape(*v.shape[:len(rest)], -1)
    flat = tensor.restructure(x, rows)
    differences = tensor.subtract(tensor.restructure(flat, lambda v: v[..., None, :]),
                                  tensor.restructure(flat, lambda v: v[..., :, None]))
    total = tensor.total(mapped(call, lambda v: apply("exp", v), differences), (flat.rank + 1,))
    result = tensor.restructure(tensor.invert(total), lambda v: v[..., 0])
    order = [*rest, *axes]
    def back(v: tensor.Exacts) -> tensor.Exacts:
        return v.reshape(v.shape[0], *(dims[a] for a in order[1:])).transpose(*(order.index(a) for a in range(len(order))))
    return tensor.restructure(result, back)


def table_softmax(call: Call, x: Tensor, axes: tuple[int, ...], parameters: Mapping[str, int | str]) -> Tensor:
    """"Table softmax" of docs/exactness.md: e / sum(e), exactly, for integers e near 2**bits * exp(x - max(x))."""
    bits = int(parameters["bits"])
    largest = reduce(tensor.largest, axes, x)
    below = tensor.subtract(largest, x)
    if "step" in parameters:
        powers = product_of_tables(call, below, bits, parameters)
    else:
        exact = mapped(call, lambda v: apply("exp", -v) * (1 << bits), below)
        powers = tensor.on_grid(tensor.halves_to_even(exact), ONE, x.constant)
    return tensor.multiply(powers, tensor.invert(tensor.total(powers, axes)))


def product_of_tables(call: Call, below: Tensor, bits: int, parameters: Mapping[str, int | str]) -> Tensor:
    """For d = below / step, at most `last`: T(d - d % 2**low) * T(d % 2**low) for T(d) = round(2**inner * exp(-step * d)),
    rounded to `bits` bits, halves up."""
    step, inner, low, last = Fraction(parameters["step"]), *(int(parameters[k]) for k in ("inner", "low", "last"))
    steps = np.minimum(call.as_integers(tensor.by_number(below, 1 / step)), last)
    rest = steps % (1 << low)
    factors = [tensor.halves_to_even(mapped(call, lambda v: apply("exp", -step * v) * (1 << inner),
                                            tensor.on_grid(part, ONE, below.constant))) for part in (steps - rest, rest)]
    product = tensor.on_grid(integers.multiply(*factors), Fraction(1, 1 << 2 * inner - bits), below.constant)
    return tensor.on_grid(tensor.floor(tensor.plus_number(product, HALF)), ONE, below.constant)
