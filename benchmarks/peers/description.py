"""Neutral descriptions of quantised dense networks, and their exact integer meaning.

A description is a JSON object of integers, which every tool can be given:

    {"name": text, "input": {"size", "signed", "bits", "frac", "narrow" (optional)},
     "layers": [{"w": [in][out], "w_frac", "b": [out] or null, "b_frac", "act": null or
                 {"relu", "signed", "bits", "frac", "rounding", "saturate", "narrow" (optional)}}]}

An integer r with `frac` fraction bits means r * 2**-frac. A layer is act(x @ w + b); `act` applies ReLU where asked, rounds to
`frac` bits ("floor", "half_up" or "half_even") and saturates, or else wraps, to `bits` bits. `narrow` leaves the most negative
code out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
ROUNDINGS = ("floor", "half_up", "half_even")


@dataclass(frozen=True)
class Grid:
    """A number type: integers of `bits` bits times 2**-frac."""

    signed: bool
    bits: int
    frac: int
    narrow: bool

    @property
    def lo(self) -> int:
        return -(1 << self.bits - 1) + self.narrow if self.signed else 0

    @property
    def hi(self) -> int:
        return (1 << self.bits - self.signed) - 1


@dataclass(frozen=True)
class Activation:
    """ReLU (or not), rounding to `grid`, then saturation or wrapping."""

    grid: Grid
    relu: bool
    rounding: str
    saturate: bool


@dataclass(frozen=True, eq=False)
class Layer:
    """`weight` int64[inputs, outputs], `bias` int64[outputs], each with its fraction bits."""

    weight: Ints
    weight_frac: int
    bias: Ints
    bias_frac: int
    activation: Activation | None


@dataclass(frozen=True, eq=False)
class Description:
    name: str
    input: Grid
    layers: tuple[Layer, ...]

    @property
    def size(self) -> int:
        """Elements of the input."""
        return len(self.layers[0].weight)

    def random_inputs(self, samples: int, seed: int = 1) -> Ints:
        """int64[samples, size]; the first two are the ends of the input's range."""
        codes = np.random.default_rng(seed).integers(self.input.lo, self.input.hi, (samples, self.size), endpoint=True)
        codes[:2] = np.array([[self.input.lo], [self.input.hi]])[:samples]
        return codes

    def evaluate(self, codes: Ints) -> tuple[Ints, int]:
        """Output integers [samples, outputs] for input integers, and their fraction bits."""
        frac = self.input.frac
        for layer in self.layers:
            codes, frac = codes @ layer.weight, frac + layer.weight_frac
            common = max(frac, layer.bias_frac)
            codes = (codes << common - frac) + (layer.bias << common - layer.bias_frac)
            frac = common
            if layer.activation:
                codes, frac = activated(codes, frac, layer.activation), layer.activation.grid.frac
        return codes, frac


def activated(codes: Ints, frac: int, activation: Activation) -> Ints:
    """Integers with `frac` fraction bits through an activation."""
    grid = activation.grid
    if activation.relu:
        codes = np.maximum(codes, 0)
    codes = rounded(codes, frac - grid.frac, activation.rounding)
    if activation.saturate:
        return np.clip(codes, grid.lo, grid.hi)
    return (codes - grid.lo) % (grid.hi - grid.lo + 1) + grid.lo


def rounded(codes: Ints, shift: int, rounding: str) -> Ints:
    """codes / 2**shift as integers."""
    if shift <= 0:
        return codes << -shift
    half = np.int64(1) << shift - 1
    if rounding == "floor":
        return codes >> shift
    if rounding == "half_up":
        return codes + half >> shift
    return codes + half - 1 + (codes >> shift & 1) >> shift


def from_json(values: Mapping[str, Any]) -> Description:
    """A description from its JSON form. Raises ValueError for a rounding that there is not."""
    def grid(kind: Mapping[str, Any]) -> Grid:
        return Grid(bool(kind["signed"]), kind["bits"], kind["frac"], bool(kind.get("narrow")))

    def activation(act: Mapping[str, Any]) -> Activation:
        if act["rounding"] not in ROUNDINGS:
            raise ValueError(f"'{act['rounding']}' is none of the roundings {', '.join(ROUNDINGS)}")
        return Activation(grid(act), act["relu"], act["rounding"], act["saturate"])

    layers = []
    for layer in values["layers"]:
        weight = np.array(layer["w"], np.int64)
        bias = np.zeros(weight.shape[1], np.int64) if layer["b"] is None else np.array(layer["b"], np.int64)
        layers.append(Layer(weight, layer["w_frac"], bias, layer["b_frac"], activation(layer["act"]) if layer["act"] else None))
    return Description(values["name"], grid(values["input"]), tuple(layers))


def random_matrix(size: int, bits: int = 6) -> Description:
    """A matrix of uniform random weights of `bits` bits, inputs of 8 bits, no activation."""
    weight = np.random.default_rng(size).integers(-(1 << bits - 1), 1 << bits - 1, (size, size))
    layer = Layer(weight, 0, np.zeros(size, np.int64), 0, None)
    return Description(f"cmvm{size}", Grid(True, 8, 0, False), (layer,))


def load(name: str, folder: Path) -> Description:
    """The description `name`.json in `folder`; `cmvmN` is the random matrix of that size where there is no such file."""
    file = folder / f"{name}.json"
    if not file.exists() and name.startswith("cmvm") and name[4:].isdigit():
        return random_matrix(int(name[4:]))
    return from_json(json.loads(file.read_text(encoding="utf-8")))
