"""Element-wise arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import reduce

import numpy as np
import onnx

from gatewright.sim.judge import integers, tensor
from gatewright.sim.judge.operators.call import Call, Operator, lengthened, number
from gatewright.sim.judge.reals import root_of
from gatewright.sim.judge.tensor import Tensor

INTEGERS = {getattr(onnx.TensorProto, f"{sign}INT{bits}") for sign in ("", "U") for bits in (4, 8, 16, 32, 64)}


def binary(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    def apply(call: Call) -> Tensor:
        a, b = call.pair()
        return function(a, b)
    return apply


def unary(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda call: function(call.input(0))


def divide(call: Call) -> Tensor:
    """Of integers: towards zero."""
    a, b = call.pair()
    quotient = tensor.multiply(a, inverse(call, b))
    return truncated(quotient) if call.type in INTEGERS else quotient


def truncated(x: Tensor) -> Tensor:
    """Rounded towards zero."""
    num = np.where(tensor.at_least_zero(x) == 1, tensor.floor(x), tensor.ceil(x))
    return tensor.on_grid(integers.settle(num), Fraction(1), x.constant)


def modulo(call: Call) -> Tensor:
    """`fmod` 0: the sign of the divisor; 1: the sign of the dividend."""
    a, b = call.pair()
    quotient = tensor.multiply(a, inverse(call, b))
    whole = (truncated(quotient) if call.attribute("fmod", 0)
             else tensor.on_grid(tensor.floor(quotient), Fraction(1), quotient.constant))
    return tensor.subtract(a, tensor.multiply(whole, b))


def inverse(call: Call, value: Tensor) -> Tensor:
    try:
        return tensor.invert(value)
    except ZeroDivisionError:
        raise call.refuse("division by zero") from None
    except ValueError as error:
        raise call.refuse(str(error)) from None


def reciprocal(call: Call) -> Tensor:
    return inverse(call, call.input(0))


def summed(call: Call) -> Tensor:
    operands = [call.input(i) for i in range(len(call.inputs))]
    call.check_broadcast(*operands)
    return reduce(tensor.add, operands)


def absolute(call: Call) -> Tensor:
    x = call.input(0)
    return tensor.masked(x, 2 * tensor.at_least_zero(x) - 1)


def extreme(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    def apply(call: Call) -> Tensor:
        operands = [call.input(i) for i in range(len(call.inputs))]
        call.check_broadcast(*operands)
        return reduce(function, operands)
    return apply


def clip(call: Call) -> Tensor:
    """Bounds are attributes up to operator set 10, optional inputs since; the upper one wins where they cross."""
    x, bounds = call.input(0), []
    for index, name in ((1, "min"), (2, "max")):
        value = call.attribute(name)
        bounds.append(call.optional(index) if value is None else tensor.of_array(np.array([value]), True))
    low, high = bounds
    call.check_broadcast(x, *(b for b in bounds if b is not None))
    x = x if low is None else tensor.larger(x, low)
    return x if high is None else tensor.smaller(x, high)


def power(call: Call) -> Tensor:
    """Constant exponents that are multiples of 1/2; one exponent for the whole tensor."""
    x, exponent = call.pair()
    distinct = set(exponent.values.flat) if exponent.constant and exponent.grid is not None else set()
    if len(distinct) != 1 or next(iter(distinct)).denominator > 2:
        raise call.refuse("the exponent must be one constant, an integer or an integer plus a half")
    x = lengthened(x, exponent.dims)
    halves = int(2 * distinct.pop())
    base = root(call, x) if halves % 2 else x
    count = abs(halves) if halves % 2 else abs(halves) // 2
    result = reduce(tensor.multiply, [base] * count) if count else lengthened(number(1), x.dims)
    return inverse(call, result) if halves < 0 else result


def square_roots(call: Call) -> Tensor:
    return root(call, call.input(0))


def root(call: Call, x: Tensor) -> Tensor:
    try:
        return tensor.each(root_of, x)
    except ValueError as error:
        raise call.refuse(str(error)) from None
