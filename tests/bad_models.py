"""Files that cannot be used: each function of `BAD` writes one into a folder and returns its path and the words that
the message has to contain (whatever their case). All but a few are one step away from `sound`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from models import Net
from onnx import ModelProto, NodeProto, TensorProto, helper

Written = tuple[Path, tuple[str, ...]]


def sound() -> ModelProto:
    """The good model that most others are made from: input_quant, dense (MatMul), act_quant; 4 inputs, 3 outputs."""
    net = Net(seed=20)
    x = net.quant("x", 1 / 8, 6, name="input_quant")
    stored = net.const(net.integers(-7, 7, 4, 3) / 4, name="dense_weight")
    weight = net.quant(stored, 1 / 4, 4, name="dense_weight_quant")
    net.quant(net.op("MatMul", x, weight, name="dense"), 1 / 4, 5, name="act_quant", out="y")
    return net.model({"x": ["N", 4]}, {"y": ["N", 3]})


def write(folder: Path, model: ModelProto, *words: str) -> Written:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path, words


def node(model: ModelProto, name: str) -> NodeProto:
    return next(n for n in model.graph.node if n.name == name)


def tensor(model: ModelProto, name: str) -> TensorProto:
    return next(i for i in model.graph.initializer if i.name == name)


def replace(model: ModelProto, name: str, values: object) -> None:
    """Give the initialiser `name` other float32 values."""
    array = np.asarray(values, np.float32)
    tensor(model, name).CopyFrom(helper.make_tensor(name, TensorProto.FLOAT, array.shape, array.tobytes(), raw=True))


# Files


def missing_file(folder: Path) -> Written:
    return folder / "nowhere.onnx", ("nowhere.onnx",)


def a_folder(folder: Path) -> Written:
    path = folder / "folder.onnx"
    path.mkdir()
    return path, ("folder.onnx",)


def not_onnx(folder: Path) -> Written:
    path = folder / "notes.onnx"
    path.write_text("Shopping list: flip-flops, carry chains, a clock.\n")
    return path, ("notes.onnx",)


def empty_file(folder: Path) -> Written:
    """Valid as a protocol buffer: a model without a graph."""
    path = folder / "empty.onnx"
    path.write_bytes(b"")
    return path, ("empty.onnx",)


def truncated_file(folder: Path) -> Written:
    path = folder / "half.onnx"
    whole = sound().SerializeToString()
    path.write_bytes(whole[: len(whole) // 2])
    return path, ("half.onnx",)


# External data


def external(folder: Path, location: str, length: int | None = None) -> Written:
    """`sound` in a folder of its own with the weights' bytes in `location`, which is not written."""
    model, home = sound(), folder / "model"
    home.mkdir()
    weight = tensor(model, "dense_weight")
    entries = {"location": location, "offset": "0", "length": str(length or len(weight.raw_data))}
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        weight.external_data.add(key=key, value=value)
    return write(home, model, Path(location).name)


def weight_bytes() -> bytes:
    return bytes(tensor(sound(), "dense_weight").raw_data)


def external_missing(folder: Path) -> Written:
    return external(folder, "weights.bin")


def external_short(folder: Path) -> Written:
    """The file has half of the bytes that the model wants."""
    written = external(folder, "weights.bin")
    (folder / "model" / "weights.bin").write_bytes(weight_bytes()[:24])
    return written


def external_wrong_length(folder: Path) -> Written:
    """The entry's length contradicts the tensor's shape."""
    path, _ = external(folder, "weights.bin", length=24)
    (folder / "model" / "weights.bin").write_bytes(weight_bytes())
    return path, ("dense_weight",)


def external_outside(folder: Path) -> Written:
    """The file is there, with the right bytes, but in the folder above the model's."""
    (folder / "outside.bin").write_bytes(weight_bytes())
    return external(folder, "../outside.bin")


def external_absolute(folder: Path) -> Written:
    (folder / "outside.bin").write_bytes(weight_bytes())
    return external(folder, str((folder / "outside.bin").resolve()))


def external_symlink(folder: Path) -> Written:
    """The path stays in the model's folder, the link leads out of it."""
    (folder / "outside.bin").write_bytes(weight_bytes())
    written = external(folder, "weights.bin")
    (folder / "model" / "weights.bin").symlink_to(folder / "outside.bin")
    return written


# Graphs


def unknown_operator(folder: Path) -> Written:
    model = sound()
    node(model, "dense").op_type = "Frobnicate"
    return write(folder, model, "dense", "Frobnicate")


def unknown_domain(folder: Path) -> Written:
    model = sound()
    node(model, "act_quant").domain = "com.example.custom"
    model.opset_import.append(helper.make_opsetid("com.example.custom", 1))
    return write(folder, model, "act_quant", "com.example.custom")


def random_operator(folder: Path) -> Written:
    """An ONNX operator that has no hardware meaning at all."""
    model = sound()
    last = node(model, "act_quant")
    last.op_type, last.domain = "RandomNormalLike", ""
    del last.input[1:], last.attribute[:]
    return write(folder, model, "act_quant", "RandomNormalLike")


def cyclic_graph(folder: Path) -> Written:
    net = Net()
    net.op("Add", "x", "loop_b_out", name="loop_a")
    net.op("Relu", "loop_a_out", name="loop_b")
    return write(folder, net.model({"x": ["N", 3]}, {"loop_b_out": ["N", 3]}), "loop_")


def dangling_input(folder: Path) -> Written:
    """A node reads a tensor that nothing makes."""
    model = sound()
    node(model, "dense").input[1] = "lost_weight"
    return write(folder, model, "dense", "lost_weight")


def undefined_output(folder: Path) -> Written:
    model = sound()
    model.graph.output[0].name = "lost_output"
    return write(folder, model, "lost_output")


def defined_twice(folder: Path) -> Written:
    """Two nodes write one tensor."""
    model = sound()
    model.graph.node.append(helper.make_node("Relu", ["x"], ["dense_out"], "second_writer"))
    return write(folder, model, "dense_out")


def missing_operand(folder: Path) -> Written:
    model = sound()
    del node(model, "act_quant").input[2:]
    return write(folder, model, "act_quant")


def no_input_type(folder: Path) -> Written:
    """A good model, but nothing says what its input looks like."""
    model = sound()
    node(model, "dense").input[0] = "x"
    return write(folder, model, "x", "--input-type")


# Shapes


def dynamic_dimension(folder: Path) -> Written:
    """A dimension that is not the batch has a name only."""
    model = sound()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "length"
    return write(folder, model, "x", "length")


def shape_mismatch(folder: Path) -> Written:
    model = sound()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5
    return write(folder, model, "dense")


def huge_input(folder: Path) -> Written:
    """10^9 inputs, to be refused before anything of that size is allocated."""
    net = Net()
    net.quant("huge_x", 1 / 8, 6, name="act_quant", out="y")
    return write(folder, net.model({"huge_x": ["N", 10**9]}, {"y": ["N", 10**9]}), "huge_x")


def huge_initializer(folder: Path) -> Written:
    """The weights claim 10^9 elements and bring twelve."""
    model = sound()
    tensor(model, "dense_weight").dims[:] = [10**5, 10**4]
    return write(folder, model, "dense_weight")


def huge_constant(folder: Path) -> Written:
    """A constant subgraph that would fold to 10^9 elements."""
    net = Net()
    filled = net.op("ConstantOfShape", net.const([10**9], np.int64), name="fill")
    net.op("Add", net.quant("x", 1 / 8, 6), net.op("ReduceSum", filled, net.const([0], np.int64), keepdims=1), out="y")
    return write(folder, net.model({"x": ["N", 3]}, {"y": ["N", 3]}), "fill")


# Numbers


def with_parameter(folder: Path, index: int, value: float, word: str) -> Written:
    """`sound` with another scale (1), zero point (2) or width (3) of act_quant."""
    model = sound()
    replace(model, node(model, "act_quant").input[index], value)
    return write(folder, model, "act_quant", word)


def infinite_scale(folder: Path) -> Written:
    return with_parameter(folder, 1, np.inf, "scale")


def nan_scale(folder: Path) -> Written:
    return with_parameter(folder, 1, np.nan, "scale")


def zero_scale(folder: Path) -> Written:
    return with_parameter(folder, 1, 0.0, "scale")


def infinite_zero_point(folder: Path) -> Written:
    return with_parameter(folder, 2, np.inf, "zero")


def huge_width(folder: Path) -> Written:
    return with_parameter(folder, 3, 5000, "bit")


def zero_width(folder: Path) -> Written:
    return with_parameter(folder, 3, 0, "bit")


def fractional_width(folder: Path) -> Written:
    return with_parameter(folder, 3, 3.5, "bit")


def nan_weight(folder: Path) -> Written:
    model = sound()
    replace(model, "dense_weight", np.where(np.arange(12).reshape(4, 3) == 7, np.nan, 0.25))
    return write(folder, model, "dense_weight", "nan")


def float_weights(folder: Path) -> Written:
    """No quantiser on the weights, which are so far apart that no code of 62 bits holds them."""
    model = sound()
    replace(model, "dense_weight", np.geomspace(1e-12, 1e12, 12).reshape(4, 3))
    node(model, "dense").input[1] = "dense_weight"
    return write(folder, model, "dense")


def unknown_rounding(folder: Path) -> Written:
    model = sound()
    next(a for a in node(model, "act_quant").attribute if a.name == "rounding_mode").s = b"SIDEWAYS"
    return write(folder, model, "act_quant", "SIDEWAYS")


def computed_scale(folder: Path) -> Written:
    """The scale is not a constant: it comes from the data."""
    model = sound()
    node(model, "act_quant").input[1] = "dense_out"
    return write(folder, model, "act_quant", "scale")


BAD: dict[str, Callable[[Path], Written]] = {f.__name__: f for f in (
    missing_file, a_folder, not_onnx, empty_file, truncated_file,
    external_missing, external_short, external_wrong_length, external_outside, external_absolute, external_symlink,
    unknown_operator, unknown_domain, random_operator, cyclic_graph, dangling_input, undefined_output, defined_twice,
    missing_operand, no_input_type, dynamic_dimension, shape_mismatch, huge_input, huge_initializer, huge_constant,
    infinite_scale, nan_scale, zero_scale, infinite_zero_point, huge_width, zero_width, fractional_width, nan_weight,
    float_weights, unknown_rounding, computed_scale)}
