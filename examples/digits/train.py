"""Train the demo model: a quantised, pruned classifier of 8x8 handwritten digits, written as QONNX.

    python examples/digits/train.py      # writes digits.onnx, digits_test.npz and digits_labels.npz beside this file

The network is 64 -> 16 -> 10 with 4-bit inputs, 3-bit weights and activations, a batch norm kept as such and a final
softmax. Training is plain numpy (Adam, straight-through estimators, gradual magnitude pruning); scikit-learn brings the
data only.

The same seed gives the same bytes on any machine: the operands of every sum are rounded to a binary grid first, which
makes the sums exact in float64, so that their order (BLAS, vector width) does not matter; and the results of exp are
rounded for the same reason.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes
from sklearn.datasets import load_digits

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Mask = NDArray[np.bool_]

SEED, HIDDEN, CLASSES, TEST_SAMPLES = 0, 16, 10, 450
EPOCHS, BATCH, LEARNING_RATE = 240, 64, 0.006
PRUNE_FROM, PRUNE_UNTIL, KEEP = 20, 160, {"w1": 0.25, "w2": 0.60}
"""Epochs between which weights are pruned, and the share of each layer's weights that is kept at the end."""
EPSILON, MOMENTUM = 1e-3, 0.95
QONNX = "qonnx.custom_op.general"


@dataclass(frozen=True)
class Quantizer:
    """A uniform quantiser, half to even: `bits`, power-of-two `scale`, signed ones with a symmetric (narrow) range."""

    bits: int
    scale: float
    signed: bool

    @property
    def bounds(self) -> tuple[int, int]:
        top = 2 ** (self.bits - self.signed) - 1
        return (-top if self.signed else 0), top

    def codes(self, x: Floats) -> Floats:
        codes: Floats = np.rint(np.clip(x / self.scale, *self.bounds))
        return codes

    def __call__(self, x: Floats) -> Floats:
        return self.codes(x) * self.scale

    def passes(self, x: Floats) -> Mask:
        """Where the straight-through estimator lets the gradient through: inside the range."""
        low, high = self.bounds
        return (x >= low * self.scale) & (x <= high * self.scale)


INPUT = Quantizer(bits=4, scale=1 / 16, signed=False)
WEIGHT = Quantizer(bits=3, scale=1 / 2, signed=True)
BIAS = Quantizer(bits=6, scale=1 / 4, signed=True)
ACTIVATION = Quantizer(bits=3, scale=1 / 2, signed=False)


def on_grid(x: Floats, bits: int = 24) -> Floats:
    """`x` rounded to multiples of 2**-bits."""
    rounded: Floats = np.rint(np.ldexp(x, bits)) * 2.0**-bits
    return rounded


@dataclass
class Network:
    """Trainable tensors, pruning masks and batch-norm statistics. Weights are [inputs, outputs]."""

    weights: dict[str, Floats]
    masks: dict[str, Mask]
    mean: Floats = field(default_factory=lambda: np.zeros(HIDDEN))
    var: Floats = field(default_factory=lambda: np.ones(HIDDEN))

    @staticmethod
    def initial(random: np.random.RandomState) -> Network:
        def uniform(*shape: int) -> Floats:
            return on_grid(random.uniform(-0.5, 0.5, shape))
        weights = {"w1": uniform(64, HIDDEN), "gamma": np.ones(HIDDEN), "beta": np.full(HIDDEN, 0.5),
                   "w2": uniform(HIDDEN, CLASSES), "b2": np.zeros(CLASSES)}
        return Network(weights, {name: np.ones(weights[name].shape, bool) for name in KEEP})

    def quantized(self, name: str) -> Floats:
        """The weights as the hardware has them: pruned, then quantised."""
        return WEIGHT(self.weights[name] * self.masks[name])

    def prune(self, epoch: int) -> None:
        """Raise the sparsity along a cubic schedule; a pruned weight stays pruned."""
        progress = min(max((epoch - PRUNE_FROM) / (PRUNE_UNTIL - PRUNE_FROM), 0.0), 1.0)
        for name, keep in KEEP.items():
            kept = round(self.masks[name].size * (1 - (1 - keep) * (1 - (1 - progress) ** 3)))
            magnitude = np.abs(self.weights[name]) * self.masks[name]
            order = np.argsort(-magnitude, axis=None, kind="stable")
            self.masks[name] = np.zeros(magnitude.size, bool)
            self.masks[name][order[:kept]] = True
            self.masks[name] = self.masks[name].reshape(magnitude.shape)

    def logits(self, x: Floats) -> Floats:
        """Inference on quantised inputs [samples, 64] with the running batch-norm statistics."""
        normal = (x @ self.quantized("w1") - self.mean) / np.sqrt(self.var + EPSILON)
        hidden = ACTIVATION(normal * self.weights["gamma"] + self.weights["beta"])
        return hidden @ self.quantized("w2") + BIAS(self.weights["b2"])


def gradients(net: Network, x: Floats, labels: Labels) -> dict[str, Floats]:
    """One forward and backward pass on a batch; moves the running statistics. Quantisers are straight-through."""
    n, p = len(x), net.weights
    z = x @ net.quantized("w1")
    mean = z.sum(0) / n
    centred = on_grid(z - mean, 16)
    var = (centred**2).sum(0) / n
    net.mean, net.var = MOMENTUM * net.mean + (1 - MOMENTUM) * mean, MOMENTUM * net.var + (1 - MOMENTUM) * var
    inv = 1 / np.sqrt(var + EPSILON)
    normal = on_grid(centred * inv, 16)
    y = normal * p["gamma"] + p["beta"]
    hidden = ACTIVATION(y)
    logits = hidden @ net.quantized("w2") + BIAS(p["b2"])

    d_logits = on_grid((softmax(logits) - np.eye(CLASSES)[labels]) / n)
    d_y = on_grid((d_logits @ net.quantized("w2").T) * ACTIVATION.passes(y))
    d_normal = on_grid(d_y * p["gamma"])
    d_z = on_grid((d_normal - d_normal.sum(0) / n - normal * ((d_normal * normal).sum(0) / n)) * inv)
    return {"w1": (x.T @ d_z) * net.masks["w1"], "gamma": (d_y * normal).sum(0), "beta": d_y.sum(0),
            "w2": (hidden.T @ d_logits) * net.masks["w2"], "b2": d_logits.sum(0)}


def softmax(logits: Floats) -> Floats:
    e = np.exp(logits - logits.max(1, keepdims=True))
    probabilities: Floats = e / on_grid(e).sum(1, keepdims=True)
    return probabilities


class Adam:
    """Adam with bias correction (Kingma and Ba, 2015, algorithm 1)."""

    def __init__(self, weights: dict[str, Floats]) -> None:
        self.weights = weights
        self.first = {k: np.zeros_like(v) for k, v in weights.items()}
        self.second = {k: np.zeros_like(v) for k, v in weights.items()}
        self.decay1 = self.decay2 = 1.0

    def step(self, grads: dict[str, Floats], rate: float) -> None:
        self.decay1, self.decay2 = self.decay1 * 0.9, self.decay2 * 0.999
        for k, g in grads.items():
            self.first[k] = 0.9 * self.first[k] + 0.1 * g
            self.second[k] = 0.999 * self.second[k] + 0.001 * g * g
            move = self.first[k] / (1 - self.decay1) / (np.sqrt(self.second[k] / (1 - self.decay2)) + 1e-8)
            limit = WEIGHT.scale * (WEIGHT.bounds[1] + 0.5) if k in KEEP else 4.0
            self.weights[k] = np.clip(self.weights[k] - rate * move, -limit, limit)


def train(x: Floats, labels: Labels) -> Network:
    """Train on quantised inputs [samples, 64]; the last epoch's network is the result."""
    random = np.random.RandomState(SEED)  # the legacy generator: its streams are frozen
    net = Network.initial(random)
    adam = Adam(net.weights)
    for epoch in range(EPOCHS):
        net.prune(epoch)
        rate = LEARNING_RATE * min(1.0, 2 * (EPOCHS - epoch) / EPOCHS)
        order = random.permutation(len(x))
        for start in range(0, len(x) - BATCH + 1, BATCH):
            batch = order[start : start + BATCH]
            adam.step(gradients(net, x[batch], labels[batch]), rate)
    return net


def dataset() -> tuple[Floats, Labels, Floats, Labels]:
    """Training inputs and labels, test inputs and labels; inputs [samples, 64] are pixels / 16 on the input grid."""
    digits = load_digits()
    order = np.random.RandomState(SEED).permutation(len(digits.data))
    x, labels = INPUT(digits.data[order] / 16), digits.target[order].astype(np.int64)
    return x[TEST_SAMPLES:], labels[TEST_SAMPLES:], x[:TEST_SAMPLES], labels[:TEST_SAMPLES]


class Exporter:
    """Collects nodes and initialisers of the QONNX graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: Floats | float) -> str:
        self.constants[name] = numpy_helper.from_array(np.asarray(value, np.float32), name)
        return name

    def node(self, op: str, name: str, *inputs: str, domain: str = "", **attributes: object) -> str:
        """Add a node; its only output is called `NAME_out`."""
        self.nodes.append(helper.make_node(op, list(inputs), [f"{name}_out"], name, domain=domain, **attributes))
        return f"{name}_out"

    def quant(self, name: str, x: str, q: Quantizer) -> str:
        parameters = [self.constant(f"{name}_scale", q.scale), self.constant("zero_point", 0.0),
                      self.constant(f"bits_{q.bits}", q.bits)]
        return self.node("Quant", name, x, *parameters, domain=QONNX, signed=int(q.signed), narrow=int(q.signed),
                         rounding_mode="ROUND")


def export(net: Network) -> onnx.ModelProto:
    """The network as QONNX: input `x` float32 [N, 64], output `probabilities` float32 [N, 10]."""
    g, p = Exporter(), net.weights
    x = g.quant("input_quant", "x", INPUT)
    w1 = g.quant("dense_1_weight_quant", g.constant("dense_1_weight", net.quantized("w1")), WEIGHT)
    statistics = {"gamma": p["gamma"], "beta": p["beta"], "mean": net.mean, "variance": net.var}
    normal = g.node("BatchNormalization", "batch_norm_1", g.node("MatMul", "dense_1", x, w1),
                    *(g.constant(f"batch_norm_1_{k}", v) for k, v in statistics.items()), epsilon=EPSILON)
    hidden = g.quant("relu_1_quant", g.node("Relu", "relu_1", normal), ACTIVATION)
    w2 = g.quant("dense_2_weight_quant", g.constant("dense_2_weight", net.quantized("w2").T), WEIGHT)
    b2 = g.quant("dense_2_bias_quant", g.constant("dense_2_bias", BIAS(p["b2"])), BIAS)
    logits = g.node("Gemm", "dense_2", hidden, w2, b2, transB=1)
    g.nodes.append(helper.make_node("Softmax", [logits], ["probabilities"], "softmax", axis=-1))
    graph = helper.make_graph(g.nodes, "digits", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 64])],
                              [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", CLASSES])],
                              list(g.constants.values()))
    model = helper.make_model(graph, producer_name="gatewright examples/digits/train.py", ir_version=8,
                              opset_imports=[helper.make_opsetid("", 13), helper.make_opsetid(QONNX, 1)])
    onnx.checker.check_model(model)
    return model


def execute(model: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The model's own float execution by qonnx, which needs a fixed batch and an IR version that onnxruntime reads."""
    fixed = onnx.ModelProto.FromString(model.SerializeToString())
    for value in (*fixed.graph.input, *fixed.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = len(x)
    wrapper = ModelWrapper(fixed).transform(InferShapes())
    with patch.object(onnx, "IR_VERSION", model.ir_version):  # for the one-node models that qonnx makes
        return np.asarray(execute_onnx(wrapper, {"x": x})["probabilities"])


def signed_digits(codes: Floats) -> int:
    """Non-zero digits of integers in canonical signed-digit form: the shifted terms that the products come to."""
    value = np.abs(codes).astype(np.int64)
    return int(np.bitwise_count(value ^ (3 * value)).sum())


def report(net: Network, model: onnx.ModelProto, x: Floats, labels: Labels) -> None:
    own = net.logits(x).argmax(1)
    executed = execute(model, x.astype(np.float32)).argmax(1)
    print(f"test accuracy          {100 * (executed == labels).mean():.1f} % of {len(x)} (float execution by qonnx; "
          f"{int((executed != own).sum())} classes differ from the training code's)")
    total = 0
    for name, title in (("w1", "dense_1"), ("w2", "dense_2")):
        codes = WEIGHT.codes(net.quantized(name))
        used, digits = int(np.count_nonzero(codes)), signed_digits(codes)
        total += digits
        print(f"{title}                {used} of {codes.size} weights are not zero, {digits} signed digits")
    print(f"signed digits in all   {total}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent, help="folder for the three files")
    folder: Path = parser.parse_args().output
    x, labels, test_x, test_labels = dataset()
    net = train(x, labels)
    model = export(net)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "digits.onnx").write_bytes(model.SerializeToString(deterministic=True))
    np.savez(folder / "digits_test.npz", x=test_x.astype(np.float32))
    np.savez(folder / "digits_labels.npz", labels=test_labels.astype(np.uint8))
    report(net, model, test_x, test_labels)


if __name__ == "__main__":
    main()
