"""What an operator gets: one node with the exact values of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
from onnx import helper

from gatewright.errors import UserError
from gatewright.sim.judge import integers, tensor
from gatewright.sim.judge.integers import IntArray
from gatewright.sim.judge.tensor import Tensor


@dataclass
class Call:
    """One node with the values of its inputs. Operators fetch attributes with `attribute`; those left are refused."""

    node: onnx.NodeProto
    name: str
    opset: int
    """Of ONNX itself."""
    batch: int | None
    """The batch that the file bakes in; the tensors here have 1 in its place."""
    inputs: list[Tensor | None]
    types: list[int | None]
    """Element types (TensorProto.DataType) of the inputs as far as the file says them."""
    algorithm: Mapping[str, int | str] | None = None
    """Parameters of the named algorithm that computes it (docs/exactness.md); None: the real function."""
    attributes: dict[str, Any] = field(init=False)
    type: int | None = field(init=False)
    """Element type of the outputs; that of the first input where the operator says nothing else."""
    codes: IntArray | None = None
    """What a quantiser rounded to."""
    before: Tensor | None = None
    """What it rounded: after scale and zero point, before clamp and rounding."""

    def __post_init__(self) -> None:
        self.attributes = {a.name: helper.get_attribute_value(a) for a in self.node.attribute}
        self.type = self.types[0] if self.types else None

    def attribute(self, name: str, default: Any = None) -> Any:
        return self.attributes.pop(name, default)

    def text(self, name: str, default: str) -> str:
        value = self.attribute(name, default)
        return value.decode() if isinstance(value, bytes) else str(value)

    def refuse(self, reason: str, remedy: str | None = None) -> UserError:
        return UserError(f"{self.node.op_type}: {reason}", node=self.name, remedy=remedy)

    def optional(self, index: int) -> Tensor | None:
        return self.inputs[index] if index < len(self.inputs) else None

    def input(self, index: int) -> Tensor:
        value = self.optional(index)
        if value is None:
            raise self.refuse(f"input {index} is missing")
        return value

    def integers(self, index: int) -> list[int] | None:
        """An optional constant integer input, flattened."""
        value = self.optional(index)
        return None if value is None else [int(v) for v in self.whole(value).ravel()]

    def whole(self, value: Tensor) -> IntArray:
        """A constant tensor of integers, without the sample axis."""
        if not value.constant:
            raise self.refuse("an input that must be constant depends on the data")
        return np.asarray(self.as_integers(value)[0])

    def as_integers(self, value: Tensor) -> IntArray:
        num = tensor.floor(value)
        if not tensor.subtract(value, tensor.on_grid(num, Fraction(1), value.constant)).is_zero:
            raise self.refuse("an input must hold integers")
        return num

    def axis(self, axis: int, rank: int) -> int:
        """Counted from 0 without the sample axis."""
        if not -rank <= axis < rank:
            raise self.refuse(f"axis {axis} does not exist in a tensor of {rank} dimensions")
        return axis % rank

    def axes(self, rank: int, index: int = 1) -> list[int] | None:
        """From the attribute (older operator sets) or an optional input."""
        axes = self.attribute("axes")
        axes = self.integers(index) if axes is None else axes
        return None if axes is None else [self.axis(int(a), rank) for a in axes]

    def check_broadcast(self, *tensors: Tensor) -> None:
        try:
            np.broadcast_shapes(*(t.dims for t in tensors))
        except ValueError:
            shapes = ", ".join(str(list(t.dims)) for t in tensors)
            raise self.refuse(f"the shapes {shapes} do not broadcast") from None

    def pair(self) -> tuple[Tensor, Tensor]:
        """The two operands of an element-wise operator, which broadcast. Before operator set 7, the axes of the second one are
        those of the first one from the attribute `axis` on."""
        a, b = self.input(0), self.input(1)
        if self.opset < 7:
            self.attribute("broadcast")
            axis = self.attribute("axis")
            if axis is not None:
                b = reshaped(b, *b.dims, *(1,) * (a.rank - self.axis(axis, a.rank) - b.rank))
        self.check_broadcast(a, b)
        return a, b

    def quantised(self, codes: IntArray, before: Tensor) -> Tensor:
        """Note what was rounded, and to what; the codes as a tensor."""
        self.codes, self.before = codes, before
        return tensor.on_grid(codes, Fraction(1), before.constant)


Operator = Callable[[Call], Tensor | tuple[Tensor, ...]]
"""What a node computes: one tensor, or one for each output."""


def lengthened(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Broadcast to a shape in the model; the tensor may have fewer axes."""
    x = tensor.lift(x, max(x.rank, len(dims)))
    return tensor.restructure(x, lambda v: np.broadcast_to(v, (v.shape[0], *np.broadcast_shapes(v.shape[1:], dims))))


def reshaped(x: Tensor, *dims: int) -> Tensor:
    return tensor.restructure(x, lambda v: v.reshape(v.shape[0], *dims))


def number(value: Fraction | int, rank: int = 0) -> Tensor:
    """One constant; `rank` axes of length 1."""
    return tensor.on_grid(integers.whole(1, rank + 1), Fraction(value), True)
