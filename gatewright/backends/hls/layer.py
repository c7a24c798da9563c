"""What the top function is made of: arrays, and functions that fill them."""

from __future__ import annotations

from dataclasses import dataclass

from gatewright.ir.fixed import Fixed


@dataclass(frozen=True)
class Array:
    """A flat array of integer codes in C order. `tensor` or `rows` say what it carries, for diagnosis: a tensor of the Graph, or
    rows of the netlist."""

    name: str
    type: Fixed
    size: int
    tensor: str = ""
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class Layer:
    """One function, from arrays to arrays: its definition, and the ONNX node that it came from."""

    name: str
    node: str
    operands: tuple[Array, ...]
    results: tuple[Array, ...]
    signature: str
    lines: tuple[str, ...]

    @property
    def call(self) -> str:
        return f"{self.name}({', '.join(a.name for a in (*self.operands, *self.results))});"
