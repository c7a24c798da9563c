"""Small models, built in memory: a twin of each idiom that real files use, a few neurons each, the same every time.

`CASES` lists them all, each with the input type that it needs (none where a quantiser comes first). `samples` makes
inputs, `execute` asks the public executor, `mutate` makes the slightly wrong models that a test has to catch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, pairwise, product
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.fold_constants import FoldConstants
from qonnx.transformation.infer_shapes import InferShapes

from gatewright.ir.fixed import Cast

Array = NDArray[Any]
Feeds = dict[str, Array]
Shape = Sequence[int | str | None]
"""A dimension is what the file says: a number, a name, or nothing at all."""

QONNX, BREVITAS, FINN = "qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general"
MODES = ("ROUND", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN", "HALF_EVEN")
"""Every rounding mode of QONNX; HALF_EVEN is another name for ROUND."""


class Net:
    """Collects nodes and initialisers; names are counted where none is given."""

    def __init__(self, domain: str = QONNX, seed: int = 0) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, Array] = {}
        self.domain, self.random, self.numbers = domain, np.random.RandomState(seed), count()

    def const(self, value: object, dtype: type = np.float32, name: str | None = None) -> str:
        name = name or f"c_{next(self.numbers)}"
        self.constants[name] = np.asarray(value, dtype)
        return name

    def op(self, kind: str, *inputs: str, name: str | None = None, out: str | None = None, domain: str = "",
           **attributes: Any) -> str:
        """Add a node with one output, `NAME_out` unless given, and return the output."""
        name = name or f"{kind}_{sum(n.op_type == kind for n in self.nodes)}"
        out = out or f"{name}_out"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], name, domain=domain, **attributes))
        return out

    def quant(self, x: str, scale: object, bits: float, *, zero: object = 0, signed: bool = True, narrow: bool = False,
              mode: str = "ROUND", dtype: type = np.float32, name: str | None = None, out: str | None = None) -> str:
        """A Quant node; `dtype` is that of zero point and bit width (QKeras files have int64)."""
        parameters = self.const(scale), self.const(zero, dtype), self.const(bits, dtype)
        return self.op("Quant", x, *parameters, name=name, out=out, domain=self.domain, signed=int(signed),
                       narrow=int(narrow), rounding_mode=mode)

    def bipolar(self, x: str, scale: object = 1.0, out: str | None = None) -> str:
        return self.op("BipolarQuant", x, self.const(scale), domain=self.domain, out=out)

    def integers(self, low: int, high: int, *shape: int) -> Array:
        """Random integers low..high, both included."""
        return self.random.randint(low, high + 1, shape)

    def weight(self, rows: int, columns: int, bits: int = 4, scale: float | Array = 0.25) -> str:
        """A quantised weight matrix whose stored values lie off the grid, as a trainer leaves them."""
        top = 2 ** (bits - 1) - 1
        stored = (self.integers(-top, top, rows, columns) + self.random.uniform(-0.3, 0.3, (rows, columns))) * scale
        return self.quant(self.const(stored), scale, bits, narrow=True)

    def batch_norm(self, x: str, channels: int, name: str, deviation: float) -> str:
        """Batch norm with float parameters for an input of about this standard deviation."""
        ranges = {"weight": (0.6, 2.0), "bias": (-0.7, 0.7), "running_mean": (-1.0, 1.0),
                  "running_var": (0.5 * deviation**2, 1.5 * deviation**2)}
        parameters = [self.const(self.random.uniform(*r, channels), name=f"{name}.{k}") for k, r in ranges.items()]
        return self.op("BatchNormalization", x, *parameters, epsilon=1e-5, momentum=0.9)

    def model(self, inputs: dict[str, Shape], outputs: dict[str, Shape], *, opset: int = 13, ir: int = 8,
              imported: bool = True, listed: Sequence[str] = ()) -> ModelProto:
        """`imported`: whether the custom domain is imported (old exporters forgot it); `listed`: initialisers that are
        graph inputs too."""
        graph_inputs = {**inputs, **{name: self.constants[name].shape for name in listed}}
        graph = helper.make_graph(self.nodes, "twin", [value_info(*i) for i in graph_inputs.items()],
                                  [value_info(*o) for o in outputs.items()],
                                  [numpy_helper.from_array(v, n) for n, v in self.constants.items()])
        imports = [helper.make_opsetid("", opset)] + [helper.make_opsetid(self.domain, 1)] * imported
        return helper.make_model(graph, producer_name="gatewright tests", ir_version=ir, opset_imports=imports)


def value_info(name: str, shape: Shape) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


# QKeras: a domain that nobody imports, weights first, no quantiser on the input, a batch of one


def jet_tagger() -> ModelProto:
    """The QKeras jet tagger's form: weights and biases off their grid, int64 widths, a final softmax."""
    net, sizes = Net(FINN, seed=1), (5, 6, 4, 3)
    quant = partial(net.quant, bits=6, dtype=np.int64)
    weights = [quant(net.const(net.random.uniform(-0.4, 0.4, pair)), 1 / 32) for pair in pairwise(sizes)]
    biases = [quant(net.const(net.random.uniform(-0.4, 0.4, n)), 1 / 32) for n in sizes[1:]]
    x = "global_in"
    for weight, bias in zip(weights, biases, strict=True):
        x = net.op("Add", net.op("MatMul", x, weight), bias)
        if weight != weights[-1]:
            x = quant(net.op("Relu", x), 1 / 64, signed=False)
    net.op("Softmax", x, out="global_out", axis=1)
    return net.model({"global_in": [1, 5]}, {"global_out": [1, 3]}, opset=9, ir=4, imported=False)


# Trigger firmware written down as ONNX: ap_fixed casts that truncate every product, wrap, or tie


def wrap(net: Net, x: str, bits: int, frac: int, *, signed: bool) -> str:
    """x modulo 2**bits in codes of 2**-frac: Mul, Add, Mul, Floor, Mul, Sub, Mul and a Quant that changes nothing."""
    codes = net.op("Mul", x, net.const(2.0**frac))
    moved = net.op("Add", codes, net.const(2.0 ** (bits - 1))) if signed else codes
    turns = net.op("Floor", net.op("Mul", moved, net.const(2.0**-bits)))
    rest = net.op("Sub", codes, net.op("Mul", turns, net.const(2.0**bits)))
    return net.quant(net.op("Mul", rest, net.const(2.0**-frac)), 2.0**-frac, bits, signed=signed, mode="FLOOR")


def hls_dense(net: Net, x: str, inputs: int, outputs: int, *, products: bool) -> str:
    """Dense layer, 6-bit weights and 10-bit biases: a matrix product, or single products that are each truncated."""
    floor = partial(net.quant, mode="FLOOR")
    codes = net.integers(-11, 11, inputs, outputs) * (net.random.rand(inputs, outputs) < 0.8)
    codes[0, 1] = -32
    weight = floor(net.const(codes / 8), 1 / 8, 6)
    bias = floor(net.const(net.integers(-40, 40, outputs) / 8), 1 / 8, 10)
    if not products:
        return net.op("Add", net.op("MatMul", x, weight), bias)
    product_ = net.op("Mul", net.op("Unsqueeze", x, net.const([-1], np.int64)), weight)
    total = net.op("ReduceSum", floor(product_, 1 / 16, 15), net.const([-2], np.int64), keepdims=0)
    return net.op("Add", total, bias)


def score(net: Net, mu: str) -> str:
    """Sum of squares: a product of a tensor with itself, cast to an unsigned type, ReduceSum that keeps its axis."""
    squares = net.quant(net.op("Mul", mu, mu), 1 / 16, 18, signed=False, mode="FLOOR")
    return net.op("ReduceSum", squares, net.const([-1], np.int64), keepdims=1)


def axol1tl_v1() -> ModelProto:
    """Products truncated one by one, accumulators that wrap, FLOOR casts, two outputs. Input: fixed<8,6>."""
    net, x = Net(seed=2), "x"
    floor = partial(net.quant, mode="FLOOR")
    for inputs, outputs in ((5, 4), (4, 4)):
        x = wrap(net, hls_dense(net, x, inputs, outputs, products=True), 12, 4, signed=True)
        x = floor(net.op("Relu", floor(x, 1 / 8, 11)), 1 / 8, 10, signed=False)
    mu = wrap(net, hls_dense(net, x, 4, 3, products=True), 10, 4, signed=True)
    mu = floor(floor(mu, 1 / 8, 9), 1 / 8, 10)
    net.op("Identity", mu, out="y")
    net.op("Identity", floor(score(net, mu), 1 / 16, 18, signed=False), out="score")
    return net.model({"x": [1, 5]}, {"y": [1, 3], "score": [1, 1]})


def axol1tl_v3() -> ModelProto:
    """MatMul with chains of casts; half-even casts one bit coarser than the sums, so half of them tie; an unsigned
    score that wraps. Input: fixed<8,6>."""
    net, x = Net(seed=3), "x"
    floor = partial(net.quant, mode="FLOOR")
    for inputs, outputs, frac in ((5, 4, 5), (4, 4, 7)):
        x = floor(floor(hls_dense(net, x, inputs, outputs, products=False), 2.0**-frac, 21), 2.0**-frac, 21)
        x = net.quant(net.op("Relu", x), 1 / 16, 10, signed=False)
    mu = net.quant(floor(hls_dense(net, x, 4, 4, products=False), 2.0**-7, 21), 1 / 8, 10)
    net.op("Identity", mu, out="y")
    net.op("Identity", wrap(net, score(net, mu), 15, 4, signed=False), out="score")
    return net.model({"x": [1, 5]}, {"y": [1, 4], "score": [1, 1]})


# Brevitas


def flatten_by_shape(net: Net, x: str) -> str:
    """Flatten as old PyTorch exports it: a Reshape to a shape that the graph computes."""
    batch = net.op("Unsqueeze", net.op("Gather", net.op("Shape", x), net.const(0, np.int64), axis=0), axes=[0])
    return net.op("Reshape", x, net.op("Concat", batch, net.const([-1], np.int64), axis=0))


def scalar_batch_norm(net: Net, x: str) -> str:
    """A batch norm of one channel as old PyTorch exports it: Sub, Pow, Div, Mul, Add."""
    mean, weight, bias = (net.const([v], name=f"out.{k}") for k, v in (("mean", 1.2073264), ("weight", 0.819624),
                                                                     ("bias", -1.2115092)))
    deviation = net.op("Pow", net.const([346.1243]), net.const(0.5))
    return net.op("Add", net.op("Mul", net.op("Div", net.op("Sub", x, mean), deviation), weight), bias, out="90")


def tfc() -> ModelProto:
    """Two bits, narrow: transposed weights, batch norms with float parameters, an end without quantiser, parameters
    listed as graph inputs, operators without opset import. Input: ufixed<8,0>."""
    net, sizes = Net(BREVITAS, seed=4), (16, 6, 5)
    quant = partial(net.quant, scale=1.0, bits=2, narrow=True)
    x = net.op("Sub", net.op("Mul", flatten_by_shape(net, "0"), net.const(2.0)), net.const([1.0]))
    x = quant(x)
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        weight = quant(net.const(net.integers(-1, 1, outputs, inputs), name=f"fc{i}.weight"))
        x = net.op("MatMul", x, net.op("Transpose", weight, perm=[1, 0]))
        x = quant(net.batch_norm(x, outputs, f"bn{i}", inputs**0.5))
    weight = quant(net.const(net.integers(-1, 1, 3, 5), name="fc2.weight"))
    scalar_batch_norm(net, net.op("MatMul", x, net.op("Transpose", weight, perm=[1, 0])))
    listed = [n for n in net.constants if "." in n]
    return net.model({"0": [1, 1, 4, 4]}, {"90": [1, 3]}, opset=9, ir=6, imported=False, listed=listed)


def one_bit() -> ModelProto:
    """BipolarQuant on input, weights, activations and output; batch norm with float parameters in between."""
    net, x = Net(BREVITAS, seed=5), "x"
    x = net.bipolar(x)
    for i, (inputs, outputs) in enumerate(pairwise((8, 6, 4))):
        weight = net.bipolar(net.const(net.random.uniform(-1, 1, (outputs, inputs))))
        x = net.op("MatMul", x, net.op("Transpose", weight, perm=[1, 0]))
        x = net.bipolar(net.batch_norm(x, outputs, f"bn{i}", inputs**0.5), out="y" if outputs == 4 else None)
    return net.model({"x": [1, 8]}, {"y": [1, 4]}, opset=14, ir=7)


def one_bit_scaled() -> ModelProto:
    """BipolarQuant with a float scale of one element, Gemm without bias, no quantiser at the end."""
    net = Net(seed=6)
    weights = [net.bipolar(net.const(net.random.uniform(-1, 1, shape)), [0.1]) for shape in ((6, 8), (3, 6))]
    hidden = net.op("Gemm", net.bipolar("x", [1.0]), weights[0], transB=1)
    hidden = net.bipolar(net.batch_norm(hidden, 6, "bn", 0.28), [1.0])
    net.op("Gemm", hidden, weights[1], out="y", transB=1)
    return net.model({"x": [1, 8]}, {"y": [1, 3]}, opset=20, ir=10)


def one_bit_quant() -> ModelProto:
    """Quant with a width of one bit: signed (so -1 and 1) on weights and input, unsigned on the hidden layer."""
    net = Net(seed=7)
    weights = [net.quant(net.const(net.random.uniform(-1, 1, shape)), 0.5, 1) for shape in ((6, 5), (5, 3))]
    hidden = net.quant(net.op("MatMul", net.quant("x", 0.25, 1), weights[0]), 0.75, 1, signed=False)
    net.quant(net.op("MatMul", hidden, weights[1]), 0.5, 3, out="y")
    return net.model({"x": ["N", 6]}, {"y": ["N", 3]})


def per_channel() -> ModelProto:
    """Float weight scales per output channel, activations with a zero point, float biases without quantiser."""
    net = Net(seed=8)
    scales = net.random.uniform(0.02, 0.06, (4, 1)).astype(np.float32)
    x = net.quant("x", 0.023001557, 8, zero=128, signed=False)
    hidden = net.op("Gemm", x, net.weight(4, 5, 4, scales), net.const(net.random.uniform(-0.2, 0.2, 4)), transB=1)
    hidden = net.quant(hidden, 0.044345487, 6, zero=20, signed=False)
    weight, bias = net.weight(3, 4, 4, 0.025069056), net.const(net.random.uniform(-0.1, 0.1, 3))
    net.op("Gemm", hidden, weight, bias, transB=1, out="y")
    return net.model({"x": [1, 5]}, {"y": [1, 3]}, opset=20, ir=10)


def per_channel_activation() -> ModelProto:
    """An activation quantiser with a scale and a zero point per channel, and one shared scale at the end."""
    net = Net(seed=9)
    x = net.quant("x", 1 / 8, 6)
    hidden = net.op("MatMul", x, net.weight(4, 4))
    hidden = net.quant(net.op("Relu", hidden), [[0.25, 0.3, 0.11, 0.5]], 4, zero=[[0, 2, 5, 0]], signed=False)
    net.quant(net.op("MatMul", hidden, net.weight(4, 3)), 0.125, 8, out="y")
    return net.model({"x": ["N", 4]}, {"y": ["N", 3]})


# One operator each


def gemm(alpha: float = 1.0, beta: float = 1.0, trans_a: bool = False, trans_b: bool = False,
         c: tuple[int, ...] | None = (3,)) -> ModelProto:
    """Gemm between quantisers; `c` is the shape of the third operand, None for none."""
    net = Net(seed=10)
    x = net.quant("x", 1 / 8, 6)
    a = net.op("Transpose", x, perm=[1, 0]) if trans_a else x
    operands = [a, net.weight(3, 4) if trans_b else net.weight(4, 3)]
    if c is not None:
        operands.append(net.quant(net.const(net.integers(-9, 9, *c) / 8), 1 / 8, 6))
    product_ = net.op("Gemm", *operands, alpha=alpha, beta=beta, transA=int(trans_a), transB=int(trans_b))
    net.quant(product_, 1 / 16, 8, out="y")
    return net.model({"x": ["N", 4]}, {"y": ["N", 3]})


GEMMS: dict[str, dict[str, Any]] = {
    "plain": {}, "no_c": {"c": None}, "trans_b": {"trans_b": True}, "trans_a": {"trans_a": True},
    "trans_ab": {"trans_a": True, "trans_b": True}, "alpha": {"alpha": 0.5}, "alpha_float": {"alpha": 0.3, "beta": 0.7},
    "alpha_negative": {"alpha": -1.25}, "beta_zero": {"beta": 0.0}, "scalar_c": {"c": ()}, "one_c": {"c": (1,)},
    "row_c": {"c": (1, 3)}, "cell_c": {"c": (1, 1)}, "beta_2": {"alpha": 0.25, "beta": 2.0, "trans_b": True},
}


def quant_chain(mode: str, signed: bool, narrow: bool, bits: int = 4, scale: float = 0.5,
                zero_point: float = 0) -> ModelProto:
    """A signed quantiser, four times finer and twice as wide as the second one, which is the subject: both its ends
    saturate, a quarter of the codes tie."""
    net = Net()
    fine = net.quant("x", np.float32(scale) / 4, bits + 3)
    net.quant(fine, scale, bits, zero=zero_point, signed=signed, narrow=narrow, mode=mode, name="subject", out="y")
    return net.model({"x": ["N", 3]}, {"y": ["N", 3]})


def matmul_left() -> ModelProto:
    """The constant on the left of MatMul, the data transposed before and after it."""
    net = Net(seed=11)
    x = net.op("Transpose", net.quant("x", 1 / 8, 6), perm=[1, 0])
    columns = net.op("MatMul", net.weight(3, 4, scale=np.array([[0.25], [0.3], [0.125]], np.float32)), x)
    net.quant(net.op("Transpose", columns, perm=[1, 0]), 1 / 4, 6, out="y")
    return net.model({"x": ["N", 4]}, {"y": ["N", 3]})


def constant_operands() -> ModelProto:
    """Div by 3 and by a vector, a constant minus the tensor, Mul by a negative vector."""
    net = Net()
    x = net.op("Div", net.quant("x", 1 / 8, 7), net.const(3.0))
    x = net.op("Sub", net.const([1.0, -0.5, 0.1]), net.op("Div", x, net.const([[1.5, 0.25, 7.0]])))
    net.quant(net.op("Mul", x, net.const([-2.0, 3.0, 0.7])), 1 / 4, 5, out="y")
    return net.model({"x": ["N", 3]}, {"y": ["N", 3]})


def constant_subgraphs() -> ModelProto:
    """Weights and scales that the graph computes: Constant, Concat, Gather, Sqrt, Pow, Shape, Cast. The square root of
    2 must stay exact until the quantiser."""
    net = Net(seed=12)
    rows = net.op("Constant", value=numpy_helper.from_array(net.integers(-3, 3, 2, 3).astype(np.float32) / 4))
    stacked = net.op("Concat", rows, net.const(net.integers(-3, 3, 3, 3) / 4), axis=0)
    picked = net.op("Gather", stacked, net.const([4, 0, 2, 1], np.int64), axis=0)
    scale = net.op("Sqrt", net.const(0.0625))
    weight = net.op("Quant", picked, scale, net.const(0), net.const(3), domain=QONNX, signed=1, narrow=1,
                    rounding_mode="ROUND")
    total = net.op("MatMul", net.quant("x", 1 / 8, 6), weight)
    fan_in = net.op("Gather", net.op("Shape", picked), net.const(0, np.int64), axis=0)
    mean = net.op("Div", total, net.op("Cast", fan_in, to=TensorProto.FLOAT))
    net.quant(net.op("Mul", mean, net.op("Pow", net.const(2.0), net.const(0.5))), 1 / 16, 6, out="y")
    return net.model({"x": ["N", 4]}, {"y": ["N", 3]})


def shape_operators(opset: int) -> ModelProto:
    """Flatten, Unsqueeze, Squeeze, Identity, Reshape and a Transpose that moves data; axes are attributes before
    opset 13, an operand from then on."""
    net = Net(seed=13)
    def on_axis(kind: str, x: str, axis: int) -> str:
        return net.op(kind, x, axes=[axis]) if opset < 13 else net.op(kind, x, net.const([axis], np.int64))
    x = net.op("Transpose", net.op("Identity", net.quant("x", 1 / 8, 6)), perm=[0, 2, 1])
    x = on_axis("Squeeze", on_axis("Unsqueeze", net.op("Flatten", x, axis=1), 1), 1)
    x = net.quant(net.op("MatMul", net.op("Reshape", x, net.const([-1, 6], np.int64)), net.weight(6, 4)), 1 / 4, 6)
    net.op("Reshape", x, net.const([0, 2, -1], np.int64), out="y")
    return net.model({"x": ["N", 2, 3]}, {"y": ["N", 2, 2]}, opset=opset)


# More than one path


def residual() -> ModelProto:
    """Two branches with different float scales, added, rectified and quantised."""
    net = Net(seed=14)
    x = net.quant("x", 0.1, 5)
    left = net.quant(net.op("MatMul", x, net.weight(4, 4, scale=0.25)), 0.18, 5)
    right = net.quant(net.op("MatMul", x, net.weight(4, 4, scale=0.11)), 0.07, 6, signed=False)
    net.quant(net.op("Relu", net.op("Add", left, right)), 0.141, 4, signed=False, out="y")
    return net.model({"x": [1, 4]}, {"y": [1, 4]})


def shortcut() -> ModelProto:
    """A layer's input added to its output: the same tensor is read twice, with scales that are not multiples."""
    net = Net(seed=15)
    x = net.quant("x", 0.125, 5)
    branch = net.quant(net.op("MatMul", x, net.weight(3, 3)), 0.3, 4)
    net.quant(net.op("Add", branch, x), 0.25, 5, out="y")
    return net.model({"x": ["N", 3]}, {"y": ["N", 3]})


def attention() -> ModelProto:
    """Three tokens, two heads by Einsum: queries by keys, scores by values, two heads' best tokens, the place of the largest
    output."""
    net = Net(seed=18)
    x = net.quant("x", 0.25, 4)
    q, k, v = (net.quant(net.op("Einsum", x, net.quant(net.const(net.integers(-3, 3, 2, 4, 2) * 0.25), 0.25, 3),
                                equation="btd,hde->bhte"), 0.5, 4, zero=zero) for zero in (0, 1, 0))
    scores = net.quant(net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 3, 2])), 0.7, 4, signed=False)
    mixed = net.quant(net.op("Einsum", scores, v, equation="bhts,bhse->bthe"), 1.0, 5, out="mixed")
    flat = net.op("Flatten", mixed)
    best = net.op("TopK", net.op("Transpose", scores, perm=[0, 2, 1, 3]), net.const([2], np.int64), out="top", axis=3)
    net.nodes[-1].output.append("top_places")
    net.op("ReduceSum", best, net.const([1, 2], np.int64), out="sums", keepdims=0)
    net.op("Cast", net.op("ArgMax", flat, axis=1, keepdims=0), out="place", to=TensorProto.FLOAT)
    net.op("Cast", "top_places", out="places", to=TensorProto.FLOAT)
    return net.model({"x": ["N", 3, 4]}, {"mixed": ["N", 3, 2, 2], "sums": ["N", 2], "place": ["N"],
                                          "places": ["N", 3, 2, 2]}, opset=13)


def two_inputs() -> ModelProto:
    """Two inputs of different widths that meet in an addition, one of them after a layer."""
    net = Net(seed=16)
    left = net.op("MatMul", net.quant("left", 1 / 8, 5), net.weight(4, 3))
    right = net.quant("right", 1 / 16, 8, signed=False)
    net.quant(net.op("Sub", left, right), 1 / 8, 6, out="y")
    return net.model({"left": ["N", 4], "right": ["N", 3]}, {"y": ["N", 3]})


def duplicate_output() -> ModelProto:
    """The same tensor listed twice as a graph output, and once more under another name."""
    net = Net()
    net.op("Identity", net.quant("x", 1 / 4, 5, out="y"), out="copy")
    model = net.model({"x": ["N", 3]}, {"y": ["N", 3], "copy": ["N", 3]})
    model.graph.output.append(value_info("y", ["N", 3]))
    return model


def output_is_input() -> ModelProto:
    """The graph input is a graph output itself, beside a quantised one. Input: fixed<6,3>."""
    net = Net()
    net.quant("x", 1 / 4, 5, out="y")
    return net.model({"x": ["N", 3]}, {"x": ["N", 3], "y": ["N", 3]})


def passthrough() -> ModelProto:
    """Nothing but an Identity from input to output. Input: fixed<6,3>."""
    net = Net()
    net.op("Identity", "x", out="y")
    return net.model({"x": ["N", 3]}, {"y": ["N", 3]})


# Batch dimensions


def batch(dim: int | str | None, out_dim: int | str | None = None, reshape: Sequence[int] | None = None) -> ModelProto:
    """One layer on inputs [dim, 2, 2]; `out_dim` is the output's (default: the same), `reshape` the target of a Reshape
    that has the batch baked in (default: Flatten)."""
    net = Net(seed=17)
    flat = net.op("Reshape", "x", net.const(reshape, np.int64)) if reshape else net.op("Flatten", "x")
    net.quant(net.op("MatMul", net.quant(flat, 1 / 8, 5), net.weight(4, 3)), 1 / 4, 5, out="y")
    return net.model({"x": [dim, 2, 2]}, {"y": [dim if out_dim is None else out_dim, 3]})


BATCHES: dict[str, dict[str, Any]] = {
    "symbolic": {"dim": "N"}, "tensorflow": {"dim": "unk__6", "out_dim": "unk__7"}, "digit_name": {"dim": "0"},
    "zero": {"dim": 0}, "unset": {"dim": None}, "one": {"dim": 1, "reshape": (1, -1)},
    "one_in_named_out": {"dim": 1, "out_dim": "dim_0"},
    "seven": {"dim": 7}, "seven_reshape": {"dim": 7, "reshape": (7, 4)},
    "free_reshape": {"dim": "N", "reshape": (-1, 4)},
}


def unquantised() -> ModelProto:
    """Two layers, a batch norm, an activation; no quantiser anywhere."""
    net = Net(seed=5)
    w1, b1, w2 = (net.const(net.random.uniform(-1, 1, shape), name=name) for name, shape in
                  (("w1", (4, 3)), ("b1", (3,)), ("w2", (3, 2))))
    y = net.op("Add", net.op("MatMul", "x", w1, name="first"), b1, name="bias")
    norm = [net.const(net.random.uniform(0.5, 2, 3)) for _ in range(4)]
    net.op("Relu", net.op("BatchNormalization", y, *norm, name="norm"), name="act", out="hidden")
    net.op("MatMul", "hidden", w2, name="second", out="y")
    return net.model({"x": ["N", 4]}, {"y": ["N", 2]})


# The list of them all


@dataclass(frozen=True)
class Case:
    """A model and the type that its inputs need, as on the command line; None where a quantiser comes first."""

    name: str
    model: Callable[[], ModelProto]
    input_type: str | None = None

    def __str__(self) -> str:
        return self.name


CHAIN_OPTIONS: dict[str, dict[str, Any]] = {
    **{f"{'signed' if signed else 'unsigned'}{'_narrow' * narrow}": {"signed": signed, "narrow": narrow}
       for signed, narrow in product((True, False), (True, False))},
    "float_scale": {"signed": True, "narrow": False, "scale": 0.3},
    "zero_point": {"signed": False, "narrow": False, "zero_point": 5},
    "float_scale_zero_point": {"signed": True, "narrow": False, "scale": 0.0229, "zero_point": -3, "bits": 5},
    "two_bits": {"signed": True, "narrow": False, "bits": 2},
}
# Functions of all elements along an axis


def softmax(opset: int = 13, shape: Sequence[int] = (4,), bits: int = 6, scale: object = 0.25, step: float = 2.0**-8,
            **attributes: Any) -> ModelProto:
    """Inside a network: between quantisers, with a layer behind."""
    net, dims = Net(seed=40), ["N", *shape]
    codes = net.quant(net.op("Softmax", net.quant("x", scale, bits), **attributes), step, 8, signed=False)
    net.op("MatMul", codes, net.weight(shape[-1], 3), out="y")
    return net.model({"x": dims}, {"y": [*dims[:-1], 3]}, opset=opset)


def layer_norm(shape: Sequence[int] = (6,), floats: bool = True, scale: float = 0.25, **attributes: Any) -> ModelProto:
    """With gains of both signs and a bias, as floats, or without."""
    net, dims = Net(seed=41), ["N", *shape]
    inner = shape[attributes.get("axis", -1):] if attributes.get("axis", -1) < 0 else shape[attributes["axis"] - 1:]
    gain = net.const(net.random.uniform(-2, 2, inner) if floats else np.ones(inner))
    bias = [net.const(net.random.uniform(-1, 1, inner))] * floats
    net.quant(net.op("LayerNormalization", net.quant("x", scale, 6), gain, *bias, **attributes), 0.0625, 7, out="y")
    return net.model({"x": dims}, {"y": dims}, opset=17)


def quotient(scales: Sequence[float] = (0.25, 0.5, 0.125), mode: str = "ROUND", offset: float = 0.25) -> ModelProto:
    """One tensor by another that is positive."""
    net, dims = Net(seed=42), ["N", 4]
    above, below = net.quant("a", scales[0], 5), net.quant("b", scales[1], 4, signed=False)
    net.quant(net.op("Div", above, net.op("Add", below, net.const(offset))), scales[2], 6, mode=mode, out="y")
    return net.model({"a": dims, "b": dims}, {"y": dims})


SOFTMAX: dict[str, dict[str, Any]] = {
    "last": {}, "first": {"axis": 1, "shape": (3, 2)}, "old": {"opset": 11, "axis": 1, "shape": (2, 2)}, "old_default": {"opset": 11},
    "two": {"shape": (3, 2), "axis": -1}, "float_scales": {"scale": 0.1337, "step": 0.0039}, "wide": {"bits": 14, "scale": 2.0**-10}}
LAYER_NORM: dict[str, dict[str, Any]] = {
    "floats": {}, "plain": {"floats": False, "epsilon": 0.01}, "axes": {"shape": (2, 3), "axis": 1}, "float_scale": {"scale": 0.0731}}
QUOTIENTS: dict[str, dict[str, Any]] = {
    **{mode: {"mode": mode} for mode in MODES}, "float_scales": {"scales": (0.0871, 0.123, 0.1613), "offset": 0.05}}

QUANT_CHAINS: dict[str, dict[str, Any]] = {
    f"{mode}_{name}": {"mode": mode, **options} for mode in MODES for name, options in CHAIN_OPTIONS.items()}

CASES: tuple[Case, ...] = (
    Case("jet_tagger", jet_tagger, "fixed<8,4>"), Case("axol1tl_v1", axol1tl_v1, "fixed<8,6>"),
    Case("axol1tl_v3", axol1tl_v3, "fixed<8,6>"), Case("tfc", tfc, "ufixed<8,0>"), Case("one_bit", one_bit),
    Case("one_bit_scaled", one_bit_scaled), Case("one_bit_quant", one_bit_quant), Case("per_channel", per_channel),
    Case("per_channel_activation", per_channel_activation), Case("matmul_left", matmul_left),
    Case("constant_operands", constant_operands), Case("constant_subgraphs", constant_subgraphs),
    Case("shape_operators_11", partial(shape_operators, 11)), Case("shape_operators_13", partial(shape_operators, 13)),
    Case("residual", residual), Case("shortcut", shortcut), Case("attention", attention), Case("two_inputs", two_inputs),
    Case("duplicate_output", duplicate_output), Case("output_is_input", output_is_input, "fixed<6,3>"),
    Case("passthrough", passthrough, "fixed<6,3>"),
    *(Case(f"gemm_{name}", partial(gemm, **options)) for name, options in GEMMS.items()),
    *(Case(f"quant_{name}", partial(quant_chain, **options)) for name, options in QUANT_CHAINS.items()),
    *(Case(f"softmax_{name}", partial(softmax, **options)) for name, options in SOFTMAX.items()),
    *(Case(f"layer_norm_{name}", partial(layer_norm, **options)) for name, options in LAYER_NORM.items()),
    *(Case(f"quotient_{name}", partial(quotient, **options)) for name, options in QUOTIENTS.items()),
    *(Case(f"batch_{name}", partial(batch, **options), "fixed<6,3>") for name, options in BATCHES.items()),
)


# Inputs and the public executor


def data_inputs(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """The inputs that are not initialisers, with their shapes; an unknown dimension is 0."""
    constants = {i.name for i in model.graph.initializer}
    return {i.name: tuple(d.dim_value for d in i.type.tensor_type.shape.dim)
            for i in model.graph.input if i.name not in constants}


def samples(case: Case, vectors: int, seed: int = 0) -> Feeds:
    """Inputs [vectors, ...] float32. With an input type: all lowest, all highest, then random values. Without: half
    steps of the quantiser that reads the input, a little beyond both its ends."""
    model, random, feeds = case.model(), np.random.RandomState(seed), {}
    for name, (_, *shape) in data_inputs(model).items():
        if case.input_type:
            kind = Cast.parse(case.input_type).type
            codes = random.randint(kind.lo, kind.hi + 1, (vectors, *shape))
            codes[:2] = np.array([kind.lo, kind.hi])[:vectors].reshape(-1, *(1 for _ in shape))
            feeds[name] = (codes * 2.0**-kind.frac).astype(np.float32)
        else:
            low, high, scale, zero = first_quantizer(model, name)
            beyond = 1 + (high - low) // 8
            half_steps = random.randint(2 * (low - beyond), 2 * (high + beyond) + 1, (vectors, *shape))
            feeds[name] = ((half_steps / 2 - zero) * scale).astype(np.float32)
    return feeds


def first_quantizer(model: ModelProto, name: str) -> tuple[int, int, float, float]:
    """Lowest and highest code, scale and zero point of the quantiser that reads the tensor `name`."""
    node = next(n for n in model.graph.node if n.op_type in ("Quant", "BipolarQuant") and n.input[0] == name)
    scale, *rest = (initializer(model, i).item() for i in node.input[1:])
    zero, bits = rest or (0, 1)
    signed = not any(a.name == "signed" and a.i == 0 for a in node.attribute)
    low = -(2 ** (int(bits) - 1)) if signed else 0
    return low, low + 2 ** int(bits) - 1, scale, zero


def initializer(model: ModelProto, name: str) -> Array:
    values: Array = numpy_helper.to_array(next(i for i in model.graph.initializer if i.name == name))
    return values


def modern(model: ModelProto) -> ModelProto:
    """A copy with one QONNX domain, imported: what the onnx checker and the qonnx executor ask for."""
    copy = ModelProto.FromString(model.SerializeToString())
    for node in copy.graph.node:
        node.domain = QONNX if node.domain else ""
    opset = next(i for i in copy.opset_import if i.domain == "")
    del copy.opset_import[:]
    copy.opset_import.extend([opset, helper.make_opsetid(QONNX, 1)])
    return copy


def tensors(model: ModelProto, feeds: Feeds) -> list[Feeds]:
    """What qonnx computes (float32): every tensor of the graph by name, one dict per batch. A baked batch size must
    divide the number of vectors."""
    vectors = len(next(iter(feeds.values())))
    size = next(iter(data_inputs(model).values()))[0] or vectors
    fixed = modern(model)
    produced = {o for n in fixed.graph.node for o in n.output}
    outputs = {o.name: o for o in fixed.graph.output if o.name in produced}  # qonnx: no duplicates, no inputs
    del fixed.graph.output[:]
    fixed.graph.output.extend(outputs.values())
    for value in (*(i for i in fixed.graph.input if i.name in feeds), *fixed.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = size
    with patch.object(onnx, "IR_VERSION", 10):  # for the one-node models that qonnx makes
        wrapper = ModelWrapper(fixed).transform(InferShapes()).transform(FoldConstants()).transform(InferShapes())
        return [execute_onnx(wrapper, {k: v[i : i + size] for k, v in feeds.items()}, True)
                for i in range(0, vectors, size)]


def execute(model: ModelProto, feeds: Feeds) -> Feeds:
    """What qonnx answers (float32): outputs [vectors, ...]; see `tensors`."""
    batches = tensors(model, feeds)
    return {o.name: np.concatenate([np.asarray(batch[o.name]) for batch in batches]) for o in model.graph.output}


# Models that are wrong in one place


def weight_quantizers(model: ModelProto) -> list[str]:
    """Names of the quantisers whose operand is a stored matrix."""
    matrices = {i.name for i in model.graph.initializer if len(i.dims) >= 2}
    return [n.name for n in model.graph.node if n.op_type in ("Quant", "BipolarQuant") and n.input[0] in matrices]


def activation_quantizers(model: ModelProto) -> list[str]:
    """Names of the Quant nodes whose operand is not an initialiser."""
    constants = {i.name for i in model.graph.initializer}
    return [n.name for n in model.graph.node if n.op_type == "Quant" and n.input[0] not in constants]


def mutate(model: ModelProto, what: str, node: str | None = None, element: int = 0) -> ModelProto:
    """A copy that differs in one place. `what` is "weight": element `element` of the matrix that `node` quantises moves
    by one code; or "rounding": `node` rounds down instead of to the nearest, or to the nearest instead of as it did.
    The default node is the last of its kind."""
    copy = ModelProto.FromString(model.SerializeToString())
    names = {"weight": weight_quantizers, "rounding": activation_quantizers}[what](model)
    target = next(n for n in copy.graph.node if n.name == (node or names[-1]))
    if what == "weight":
        move_weight(copy, target, element)
    else:
        mode = next(a for a in target.attribute if a.name == "rounding_mode")
        mode.s = b"FLOOR" if mode.s in (b"ROUND", b"HALF_EVEN") else b"ROUND"
    return copy


def move_weight(model: ModelProto, node: NodeProto, element: int) -> None:
    """Move one weight up by one code, or down where it is the highest; a bipolar one changes its sign."""
    stored = next(i for i in model.graph.initializer if i.name == node.input[0])
    values = numpy_helper.to_array(stored).copy()
    if node.op_type == "BipolarQuant":
        values.flat[element] = -1.0 if values.flat[element] >= 0 else 1.0
    else:
        scale = np.broadcast_to(initializer(model, node.input[1]), values.shape).flat[element]
        top = 2 ** (int(initializer(model, node.input[3])) - 1) - 1
        code = min(round(float(values.flat[element] / scale)), top)
        values.flat[element] = (code - 1 if code == top else code + 1) * scale
    stored.CopyFrom(numpy_helper.from_array(values, stored.name))
