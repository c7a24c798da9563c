"""The exact meaning of every ONNX operator that the judge knows, one function each, one file per family."""

from __future__ import annotations

from gatewright.sim.judge import tensor
from gatewright.sim.judge.operators import (
    activations,
    arithmetic,
    casts,
    comparisons,
    contractions,
    convolutions,
    indexing,
    linear,
    normalisation,
    quantisers,
    reductions,
    shapes,
)
from gatewright.sim.judge.operators.call import Call, Operator
from gatewright.sim.judge.operators.convolutions import channels_last
from gatewright.sim.judge.operators.shapes import from_initializer

__all__ = ["Call", "Operator", "from_initializer", "known_operators"]

OPERATORS: dict[str, Operator] = {
    "Add": arithmetic.binary(tensor.add), "Sub": arithmetic.binary(tensor.subtract),
    "Mul": arithmetic.binary(tensor.multiply), "Div": arithmetic.divide, "Mod": arithmetic.modulo,
    "Neg": arithmetic.unary(tensor.negate), "Abs": arithmetic.absolute, "Reciprocal": arithmetic.reciprocal,
    "Max": arithmetic.extreme(tensor.larger), "Min": arithmetic.extreme(tensor.smaller), "Sum": arithmetic.summed,
    "Clip": arithmetic.clip, "Pow": arithmetic.power, "Sqrt": arithmetic.square_roots,
    "Relu": activations.relu, "LeakyRelu": activations.leaky_relu, "PRelu": activations.parametric_relu,
    "ThresholdedRelu": activations.thresholded_relu, "HardSigmoid": activations.hard_sigmoid,
    "HardSwish": activations.hard_swish, "Softsign": activations.pointwise(activations.softsign),
    "Sigmoid": activations.function("sigmoid"), "Tanh": activations.function("tanh"), "Exp": activations.function("exp"),
    "Log": activations.function("log"), "Erf": activations.function("erf"), "Softplus": activations.function("softplus"),
    "Elu": activations.elu, "Celu": activations.celu, "Selu": activations.selu, "Gelu": activations.gelu,
    "Swish": activations.swish, "Mish": activations.mish, "Softmax": activations.softmax,
    "Greater": comparisons.compared(comparisons.is_positive), "Less": comparisons.compared(comparisons.is_negative),
    "GreaterOrEqual": comparisons.compared(tensor.at_least_zero),
    "LessOrEqual": comparisons.compared(comparisons.is_not_positive), "Equal": comparisons.compared(comparisons.is_equal),
    "And": comparisons.logical(lambda a, b: a & b), "Or": comparisons.logical(lambda a, b: a | b),
    "Xor": comparisons.logical(lambda a, b: a ^ b), "Not": comparisons.negation, "Sign": comparisons.sign,
    "Where": comparisons.where, "ArgMax": comparisons.extreme_place(1), "ArgMin": comparisons.extreme_place(-1),
    "TopK": comparisons.top_k,
    "MatMul": contractions.matmul, "Gemm": contractions.gemm, "Einsum": contractions.einsum,
    "Conv": convolutions.conv, "ConvTranspose": convolutions.conv_transpose, "MaxPool": convolutions.max_pool,
    "AveragePool": convolutions.average_pool, "GlobalAveragePool": reductions.over_space(reductions.mean),
    "GlobalMaxPool": reductions.over_space(reductions.maximum),
    "ReduceSum": reductions.reduced(tensor.total), "ReduceMean": reductions.reduced(reductions.mean),
    "ReduceMax": reductions.reduced(reductions.maximum), "ReduceMin": reductions.reduced(reductions.minimum),
    "ReduceProd": reductions.reduced(reductions.product), "ReduceSumSquare": reductions.reduced(reductions.sum_of_squares),
    "BatchNormalization": normalisation.batch_normalization, "LayerNormalization": normalisation.layer_normalization,
    "Floor": quantisers.rounded(tensor.floor), "Ceil": quantisers.rounded(tensor.ceil),
    "Round": quantisers.rounded(tensor.halves_to_even), "Cast": casts.cast, "CastLike": casts.cast_like,
    "QuantizeLinear": linear.quantize_linear, "DequantizeLinear": linear.dequantize_linear,
    "QLinearConv": linear.q_conv, "QLinearMatMul": linear.q_matmul, "MatMulInteger": linear.matmul_integer,
    "ConvInteger": linear.conv_integer,
    "Identity": shapes.identity, "Dropout": shapes.dropout, "Flatten": shapes.flatten, "Reshape": shapes.reshape,
    "Squeeze": shapes.squeeze, "Unsqueeze": shapes.unsqueeze, "Transpose": shapes.transpose, "Shape": shapes.shape,
    "Expand": shapes.expand, "Tile": shapes.tile, "Constant": shapes.constant, "ConstantOfShape": shapes.constant_of_shape,
    "Range": shapes.counted,
    "Gather": indexing.gather, "Concat": indexing.concat, "Split": indexing.split, "Slice": indexing.slice_,
    "Pad": indexing.padding, "Resize": indexing.resize, "Upsample": indexing.upsample,
    "DepthToSpace": indexing.depth_to_space, "SpaceToDepth": indexing.space_to_depth,
}
"""The operators of ONNX itself."""

QONNX: dict[str, Operator] = {
    "Quant": quantisers.quant, "IntQuant": quantisers.quant, "BipolarQuant": quantisers.bipolar_quant,
    "Trunc": quantisers.trunc, "MultiThreshold": quantisers.multi_threshold,
    "QuantAvgPool2d": quantisers.quant_average_pool,
}
CHANNELS_LAST: dict[str, Operator] = {
    "Conv": channels_last(convolutions.conv, (0, 1)), "MaxPool": channels_last(convolutions.max_pool),
    "AveragePool": channels_last(convolutions.average_pool),
    "BatchNormalization": channels_last(normalisation.batch_normalization),
}
MICROSOFT: dict[str, Operator] = {
    "QuantizeLinear": linear.quantize_linear, "DequantizeLinear": linear.dequantize_linear,
    "QGemm": linear.q_gemm, "QLinearAdd": linear.q_binary(tensor.add), "QLinearMul": linear.q_binary(tensor.multiply),
    "QLinearSigmoid": linear.q_sigmoid, "QLinearLeakyRelu": linear.q_leaky_relu, "QLinearSoftmax": linear.q_softmax,
    "QLinearAveragePool": linear.q_average_pool, "QLinearGlobalAveragePool": linear.q_global_average_pool,
    "QLinearReduceMean": linear.q_reduce_mean, "QLinearConcat": linear.q_concat, "Gelu": activations.gelu,
}
DOMAINS: dict[str, dict[str, Operator]] = {
    "": OPERATORS, "ai.onnx": OPERATORS, "qonnx.custom_op.general": QONNX, "onnx.brevitas": QONNX,
    "finn.custom_op.general": QONNX, "qonnx.custom_op.channels_last": CHANNELS_LAST, "com.microsoft": MICROSOFT,
}


def known_operators() -> list[str]:
    return sorted({name for known in DOMAINS.values() for name in known})
