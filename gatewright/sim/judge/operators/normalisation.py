"""Normalisation: with constant statistics, and with those of the data."""

from __future__ import annotations

from fractions import Fraction
from math import prod

import numpy as np

from gatewright.sim.judge import tensor
from gatewright.sim.judge.operators.arithmetic import inverse, root
from gatewright.sim.judge.operators.call import Call
from gatewright.sim.judge.tensor import Tensor


def batch_normalization(call: Call) -> Tensor:
    """`gain * (x - mean) / sqrt(var + epsilon) + bias` per channel (axis 1), as `x * a + (bias - mean * a)`."""
    x = call.input(0)
    epsilon = Fraction(call.attribute("epsilon", 9.999999747378752e-06))  # the default, 1e-5, as the float32 that it is
    call.attribute("momentum")
    inference = call.attribute("is_test", 0) if call.opset < 7 else not call.attribute("training_mode", 0)
    if not inference or not call.attribute("spatial", 1) or any(call.node.output[1:]):
        raise call.refuse("only inference with statistics per channel is known", "Export the model in evaluation mode")
    if x.rank < 2:
        raise call.refuse(f"the shape {list(x.dims)} has no channel axis")
    parameters = [call.input(index) for index in range(1, 5)]
    if any(p.dims != (x.dims[1],) for p in parameters):
        shapes = ", ".join(str(list(p.dims)) for p in parameters)
        raise call.refuse(f"the parameters have shapes {shapes}, but there are {x.dims[1]} channels")
    dims = (1, x.dims[1], *(1,) * (x.rank - 2))
    gain, bias, mean, variance = (tensor.restructure(p, lambda v: v.reshape(v.shape[0], *dims)) for p in parameters)
    deviation = root(call, tensor.plus_number(variance, epsilon))
    factor = tensor.multiply(gain, inverse(call, deviation))
    return tensor.add(tensor.multiply(x, factor), tensor.subtract(bias, tensor.multiply(mean, factor)))


def layer_normalization(call: Call) -> Tensor:
    """`(x - mean) / sqrt(variance + epsilon) * scale + bias` over the axes from `axis` on."""
    x, scale, bias = call.input(0), call.input(1), call.optional(2)
    axis = call.axis(call.attribute("axis", -1), x.rank)
    epsilon = Fraction(call.attribute("epsilon", 9.999999747378752e-06))
    call.attribute("stash_type")
    if any(call.node.output[1:]):
        raise call.refuse("only the first output is known")
    axes = tuple(range(axis + 1, x.rank + 1))
    count = prod(x.shape[a] for a in axes)
    mean = tensor.by_number(tensor.total(x, axes), Fraction(1, count))
    centred = tensor.subtract(x, mean)
    variance = tensor.by_number(tensor.total(tensor.multiply(centred, centred), axes), Fraction(1, count))
    deviation = root(call, tensor.plus_number(variance, epsilon))
    if call.algorithm is not None:
        deviation = stepped(deviation, Fraction(call.algorithm["step"]))
    factor = inverse(call, deviation)
    result = tensor.multiply(tensor.multiply(centred, factor), scale)
    return result if bias is None else tensor.add(result, bias)


def stepped(deviation: Tensor, step: Fraction) -> Tensor:
    """Down to a multiple of the step, but not to zero: "stepped deviation" of docs/exactness.md."""
    return tensor.on_grid(np.maximum(tensor.floor(tensor.by_number(deviation, 1 / step)), 1), step, deviation.constant)
