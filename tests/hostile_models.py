"""Files made to exhaust or to confuse whoever reads them: small on disk, and without bounds in what they ask for.

Each function of `HOSTILE` writes one, like those of `bad_models.BAD`. Some are legal ONNX; all have to be refused with one
message, in seconds and in little memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from bad_models import Written, external, node, replace, sound, tensor, weight_bytes, write
from models import Net
from onnx import TensorProto, helper

# Files


def endless_file(folder: Path) -> Written:
    """Not a regular file: reading it never ends."""
    (folder / "endless.onnx").symlink_to("/dev/zero")
    return folder / "endless.onnx", ("endless.onnx",)


def sparse_file(folder: Path) -> Written:
    """A terabyte of zeros that takes no place on the disk."""
    with (folder / "sparse.onnx").open("wb") as file:
        file.truncate(1 << 40)
    return folder / "sparse.onnx", ("sparse.onnx",)


def external_pipe(folder: Path) -> Written:
    """Nobody ever writes into the pipe, so opening it would wait for ever."""
    written = external(folder, "weights.bin")
    os.mkfifo(folder / "model" / "weights.bin")
    return written


def external_folder(folder: Path) -> Written:
    written = external(folder, "weights.bin")
    (folder / "model" / "weights.bin").mkdir()
    return written


def external_sparse(folder: Path) -> Written:
    written = external(folder, "weights.bin")
    with (folder / "model" / "weights.bin").open("wb") as file:
        file.truncate(1 << 40)
    return written


def external_hidden(folder: Path) -> Written:
    """`..` in the middle of the path: it leads out of the folder all the same."""
    (folder / "outside.bin").write_bytes(weight_bytes())
    return external(folder, "deeper/../../outside.bin")


def with_entry(folder: Path, key: str, value: str) -> Written:
    path, _ = external(folder, "weights.bin")
    (folder / "model" / "weights.bin").write_bytes(weight_bytes())
    model = sound()
    model.ParseFromString(path.read_bytes())
    next(e for e in tensor(model, "dense_weight").external_data if e.key == key).value = value
    path.write_bytes(model.SerializeToString())
    return path, ("dense_weight",)


def external_offset_negative(folder: Path) -> Written:
    return with_entry(folder, "offset", "-8")


def external_offset_text(folder: Path) -> Written:
    return with_entry(folder, "offset", "here")


def external_length_huge(folder: Path) -> Written:
    return with_entry(folder, "length", str(10**30))


def external_location_empty(folder: Path) -> Written:
    return with_entry(folder, "location", "")


def external_location_null(folder: Path) -> Written:
    return with_entry(folder, "location", "weights\0.bin")


# Graphs


def chain(length: int, kind: str, **attributes: Any) -> Net:
    """One quantised input, and so many nodes after it with no quantiser between."""
    net = Net()
    tensors = [net.quant("x", 1 / 8, 6), *(f"t{k}" for k in range(length - 1)), "y"]
    net.nodes += [helper.make_node(kind, [x], [y], f"{kind}_{k}", **attributes) for k, (x, y) in enumerate(pairwise(tensors))]
    return net


def long_chain(folder: Path) -> Written:
    return write(folder, chain(3000, "LeakyRelu", alpha=0.5).model({"x": ["N", 3]}, {"y": ["N", 3]}), "LeakyRelu")


def doubling_chain(folder: Path) -> Written:
    """Each node reads its operand twice: 2**60 paths."""
    net = Net()
    x = net.quant("x", 1 / 8, 6)
    for _ in range(60):
        x = net.op("Mul", x, net.op("Sigmoid", x))
    net.quant(x, 1 / 8, 4, out="y")
    return write(folder, net.model({"x": ["N", 3]}, {"y": ["N", 3]}), "")


def doubling_bits(folder: Path) -> Written:
    """x squared 60 times."""
    net = Net()
    x = net.quant("x", 1 / 8, 6)
    for k in range(60):
        x = net.op("Mul", x, x, out=f"square{k}")
    net.quant(x, 1 / 8, 4, out="y")
    return write(folder, net.model({"x": ["N", 3]}, {"y": ["N", 3]}), "Mul")


def backwards(folder: Path) -> Written:
    """20,000 nodes, the last first."""
    net = chain(20_000, "Relu")
    net.nodes.reverse()
    return write(folder, net.model({"x": ["N", 3]}, {"y": ["N", 3]}), "Relu_", "quantiser")


def long_cycle(folder: Path) -> Written:
    net = chain(20_000, "Relu")
    net.nodes[0].input[0] = "y"
    net.nodes.reverse()
    return write(folder, net.model({"x": ["N", 3]}, {"y": ["N", 3]}), "cycle")


def self_loop(folder: Path) -> Written:
    net = Net()
    net.op("Add", "x", "y", out="y", name="ouroboros")
    return write(folder, net.model({"x": ["N", 3]}, {"y": ["N", 3]}), "ouroboros", "cycle")


def subgraph(folder: Path) -> Written:
    net = Net()
    inner = helper.make_graph([helper.make_node("Relu", ["x"], ["b"])], "body", [], [helper.make_tensor_value_info("b", 1, [3])])
    net.op("If", net.const(True, np.bool_), out="y", then_branch=inner, else_branch=inner)
    return write(folder, net.model({"x": ["N", 3]}, {"y": ["N", 3]}), "If")


def no_outputs(folder: Path) -> Written:
    model = sound()
    del model.graph.output[:]
    return write(folder, model, "output")


def empty_names(folder: Path) -> Written:
    model = sound()
    for n in model.graph.node:
        n.name = ""
    node_ = model.graph.node[-1]
    node_.op_type = ""
    return write(folder, model, "not supported")


def wrong_attribute(folder: Path) -> Written:
    """A text where a number belongs."""
    net = Net()
    x = net.quant("x", 1 / 8, 6)
    net.op("Concat", x, x, axis="last", name="join", out="y")
    return write(folder, net.model({"x": ["N", 3]}, {"y": ["N", 6]}), "join")


def text_weights(folder: Path) -> Written:
    model = sound()
    tensor(model, "dense_weight").CopyFrom(helper.make_tensor("dense_weight", TensorProto.STRING, [4, 3], ["a"] * 12))
    return write(folder, model, "dense_weight")


def unknown_element_type(folder: Path) -> Written:
    model = sound()
    tensor(model, "dense_weight").data_type = 99
    return write(folder, model, "dense_weight")


def negative_shape(folder: Path) -> Written:
    model = sound()
    tensor(model, "dense_weight").dims[:] = [-4, -3]
    return write(folder, model, "dense_weight")


# Sizes


def sized(folder: Path, kind: str, *parameters: object, word: str = "huge", **attributes: Any) -> Written:
    """A node `huge` of data [1, 1, 2, 2] with int64 parameters, and a quantiser after it."""
    net = Net()
    extra = [net.const(p, np.float32 if isinstance(p, float) else np.int64) if p is not None else "" for p in parameters]
    net.quant(net.op(kind, net.quant("x", 1 / 8, 6), *extra, name="huge", **attributes), 1 / 8, 4, out="y")
    return write(folder, net.model({"x": [1, 1, 2, 2]}, {"y": [1, None]}), word)


def huge_pad(folder: Path) -> Written:
    return sized(folder, "Pad", [0, 0, 0, 0, 0, 0, 10**6, 10**6])


def huge_expand(folder: Path) -> Written:
    return sized(folder, "Expand", [10**6, 10**6, 1, 1, 1])


def huge_tile(folder: Path) -> Written:
    return sized(folder, "Tile", [1, 1, 10**6, 10**6])


def huge_resize(folder: Path) -> Written:
    return sized(folder, "Resize", None, None, [1, 1, 10**6, 10**6], mode="nearest")


def huge_reshape(folder: Path) -> Written:
    return sized(folder, "Reshape", [1, 10**9, 10**9])


def convolved(folder: Path, kind: str, **attributes: Any) -> Written:
    net = Net()
    w = net.quant(net.const(np.ones((1, 1, 2, 2))), 1, 4)
    net.quant(net.op(kind, net.quant("x", 1 / 8, 6), w, name="huge", **attributes), 1 / 8, 4, out="y")
    return write(folder, net.model({"x": ["N", 1, 2, 2]}, {"y": ["N", None]}), "huge")


def huge_convolution_pads(folder: Path) -> Written:
    return convolved(folder, "Conv", pads=[0, 0, 10**6, 10**6])


def huge_transposed_strides(folder: Path) -> Written:
    return convolved(folder, "ConvTranspose", strides=[10**6, 10**6])


def zero_strides(folder: Path) -> Written:
    return convolved(folder, "Conv", strides=[0, 0])


def zero_groups(folder: Path) -> Written:
    return convolved(folder, "Conv", group=0)


def huge_pool(folder: Path) -> Written:
    return sized(folder, "AveragePool", kernel_shape=[10**9, 10**9], pads=[10**9 - 1] * 4)


def huge_range(folder: Path) -> Written:
    net = Net()
    r = net.op("Range", *(net.const(v, np.int64) for v in (0, 10**15, 1)), name="huge")
    net.op("Add", net.quant("x", 1 / 8, 6), net.op("ReduceSum", r, keepdims=1), out="y")
    return write(folder, net.model({"x": ["N", 3]}, {"y": ["N", 3]}), "huge")


def huge_dimensions(folder: Path) -> Written:
    net = Net()
    net.quant("huge_x", 1 / 8, 6, out="y")
    return write(folder, net.model({"huge_x": ["N", 2**62, 2**62]}, {"y": ["N", 1]}), "huge_x")


def huge_product(folder: Path) -> Written:
    """A column times a row: 10^12 elements out of 2 million."""
    net = Net()
    x = net.quant("x", 1 / 8, 6)
    column, row = (net.op("Reshape", x, net.const(s, np.int64)) for s in ([1, 10**6, 1], [1, 1, 10**6]))
    net.quant(net.op("Mul", column, row, name="huge"), 1 / 8, 4, out="y")
    return write(folder, net.model({"x": [1, 10**6]}, {"y": [1, None]}), "huge")


def empty_tensor(folder: Path) -> Written:
    net = Net()
    net.quant("x", 1 / 8, 6, out="y")
    return write(folder, net.model({"x": ["N", 0]}, {"y": ["N", 0]}), "x")


# Numbers


def tiny_scale(folder: Path) -> Written:
    """A scale of 10^-38 on the data: the codes would need 130 bits."""
    net = Net()
    total = net.op("Add", net.quant("x", 1e-38, 8), net.quant("z", 1.0, 8), name="sum")
    net.op("ReduceSum", total, net.const([1], np.int64), out="y", name="total")
    return write(folder, net.model({"x": ["N", 3], "z": ["N", 3]}, {"y": ["N", 1]}), "'y'", "bits")


def divided_by_zero(folder: Path) -> Written:
    net = Net()
    net.quant(net.op("Div", net.quant("x", 1 / 8, 6), net.const(0.0), name="division"), 1 / 8, 4, out="y")
    return write(folder, net.model({"x": ["N", 3]}, {"y": ["N", 3]}), "division")


def constant_power(folder: Path) -> Written:
    """3 to the power of 10^12, exactly."""
    net = Net()
    net.op("Add", net.quant("x", 1 / 8, 6), net.op("Pow", net.const(3.0), net.const(1e12), name="power"), out="y")
    return write(folder, net.model({"x": ["N", 3]}, {"y": ["N", 3]}), "power")


def constant_exponential(folder: Path) -> Written:
    net = Net()
    e = net.op("Exp", net.const(1e30), name="power")
    net.quant(net.op("Add", net.quant("x", 1 / 8, 6), e), 1 / 8, 4, out="y")
    return write(folder, net.model({"x": ["N", 3]}, {"y": ["N", 3]}), "power")


def exponential(folder: Path) -> Written:
    """exp of data up to 10^38."""
    net = Net()
    net.quant(net.op("Exp", net.quant("x", 1e37, 6), name="power"), 1 / 8, 4, out="y")
    return write(folder, net.model({"x": ["N", 3]}, {"y": ["N", 3]}), "")


def negative_variance(folder: Path) -> Written:
    net = Net()
    parameters = [net.const(v) for v in ([1.0] * 3, [0.0] * 3, [0.0] * 3, [-1.0] * 3)]
    net.quant(net.op("BatchNormalization", net.quant("x", 1 / 8, 6), *parameters, name="norm"), 1 / 8, 4, out="y")
    return write(folder, net.model({"x": ["N", 3]}, {"y": ["N", 3]}), "norm")


def infinite_weight(folder: Path) -> Written:
    model = sound()
    replace(model, "dense_weight", np.where(np.arange(12).reshape(4, 3) == 7, np.inf, 0.25))
    return write(folder, model, "dense_weight", "infinity")


def nan_width(folder: Path) -> Written:
    model = sound()
    replace(model, node(model, "act_quant").input[3], np.nan)
    return write(folder, model, "act_quant")


def infinite_width(folder: Path) -> Written:
    model = sound()
    replace(model, node(model, "act_quant").input[3], np.inf)
    return write(folder, model, "act_quant")


def negative_width(folder: Path) -> Written:
    model = sound()
    replace(model, node(model, "act_quant").input[3], -4)
    return write(folder, model, "act_quant", "bit")


def negative_scale(folder: Path) -> Written:
    model = sound()
    replace(model, node(model, "act_quant").input[1], -0.25)
    return write(folder, model, "act_quant", "scale")


def zero_linear_scale(folder: Path) -> Written:
    net = Net()
    net.op("QuantizeLinear", "x", net.const(0.0), net.const(0, np.int8), name="codes", out="y")
    return write(folder, net.model({"x": ["N", 3]}, {"y": ["N", 3]}), "codes", "scale")


def wide_thresholds(folder: Path) -> Written:
    """A million thresholds that do not ascend."""
    net = Net()
    levels = net.const(np.arange(10**6, 0, -1.0).reshape(1, -1))
    net.op("MultiThreshold", net.quant("x", 1 / 8, 6), levels, name="steps", domain=net.domain, out="y")
    return write(folder, net.model({"x": ["N", 3]}, {"y": ["N", 3]}), "steps")


HOSTILE: dict[str, Callable[[Path], Written]] = {f.__name__: f for f in (
    endless_file, sparse_file, external_pipe, external_folder, external_sparse, external_hidden, external_offset_negative,
    external_offset_text, external_length_huge, external_location_empty, external_location_null,
    long_chain, doubling_chain, doubling_bits, backwards, long_cycle, self_loop, subgraph, no_outputs, empty_names,
    wrong_attribute, text_weights, unknown_element_type, negative_shape,
    huge_pad, huge_expand, huge_tile, huge_resize, huge_reshape, huge_convolution_pads, huge_transposed_strides,
    zero_strides, zero_groups, huge_pool, huge_range, huge_dimensions, huge_product, empty_tensor,
    tiny_scale, divided_by_zero, constant_power, constant_exponential, exponential, negative_variance, infinite_weight,
    nan_width, infinite_width, negative_width, negative_scale, zero_linear_scale, wide_thresholds)}
