"""Types of inputs that the file leaves open, chosen from data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from gatewright.compiler.data import Array, read_file, tensor_values, warn
from gatewright.compiler.frontend.importer import examine
from gatewright.compiler.frontend.onnx_file import Model
from gatewright.compiler.frontend.survey import INPUT
from gatewright.compiler.frontend.user_types import Types
from gatewright.compiler.options import Options
from gatewright.errors import UserError
from gatewright.ir.fixed import Fixed, bits_for

BITS = 16
"""Width of a type for data that are on no grid of so few bits."""
MODES = "RND_CONV,SAT"
"""How other data than these become codes."""


def calibrated(options: Options, model: Model, given: Types) -> Options:
    """The options with a type for every input that has none and needs one, from `options.data`. `given` are all types without the data.

    Mantissas with a type keep that. Real values get the narrowest type that holds them all exactly, if it has at most BITS bits,
    else BITS bits with as many of them behind the point as the largest value allows. Raises UserError where the data cannot be used.
    """
    path = Path(options.data)
    found = examine(model, given, options.outputs or None, options.softmax)
    names = [t.tensor for t in found.open if t.role == INPUT]
    if not names:
        warn([f"the data '{path}' choose no types: every input of the model has one, or needs none"])
    arrays, types, reasons = read_file(path), {}, {}
    for name in names:
        short = "x" if len(found.graph.input_ops) == 1 or len(names) == 1 else None
        key = name if name in arrays or f"{name}_raw" in arrays else short or name
        values = tensor_values(arrays, name, short, found.graph.by_name[name].type.shape, set())
        if values is None:
            raise UserError(f"the data '{path}' have no array for input '{name}'", remedy=f"Name the array '{name}', or give its type")
        kind = f"{key}_type" if f"{key}_raw" in arrays else None
        types[name], how = given_type(arrays, kind) if kind else chosen_type(values[0])
        ends = [f"{float(end):g}" for end in (values[0].min(), values[0].max())]
        reasons[name] = f"chosen from {len(values[0])} samples in '{path.name}', which lie in {'..'.join(ends)}{how}"
    return replace(options, data="", input_types={**options.input_types, **types}, calibration=reasons)


def given_type(arrays: Mapping[str, Array], key: str) -> tuple[str, str]:
    """The type of mantissas, as the file says it."""
    width, integer, signed = (int(v) for v in arrays[key])
    try:
        return repr(Fixed.of(width, integer, bool(signed))), " and have this type"
    except ValueError as error:
        raise UserError(f"the array '{key}' is not a type: {error}", remedy="Write it as [width, integer bits, signed]") from None


def chosen_type(values: Array) -> tuple[str, str]:
    """A type for real values, and what becomes of them. Exact: values are integers times powers of two."""
    numbers = [v if isinstance(v, Fraction) else Fraction(float(v)) for v in np.unique(values)]
    low, high, frac = numbers[0], numbers[-1], fraction_bits(numbers)
    width = bits_for(*(int(end * Fraction(2) ** frac) for end in (low, high)))
    if width <= BITS:
        integer, how = width - frac, " and are on its grid"
    else:
        integer = magnitude(low, high) + (low < 0)
        width, how = BITS, f" and are rounded by at most 2^{integer - BITS - 1}"
    return f"{repr(Fixed.of(width, integer, low < 0))[:-1]},{MODES}>", how


def fraction_bits(numbers: Iterable[Fraction]) -> int:
    """The least k, perhaps negative, for which every number is a multiple of 2**-k."""
    return max((v.denominator.bit_length() - 1 if v.denominator > 1 else 1 - (v.numerator & -v.numerator).bit_length()
                for v in numbers if v), default=0)


def magnitude(low: Fraction, high: Fraction) -> int:
    """The least e with -2**e <= low and high < 2**e, for numbers that are floats."""
    below, above = math.frexp(float(-low)), math.frexp(float(high))
    return max([below[1] - (below[0] == 0.5)] * (low < 0) + [above[1]] * (high > 0))
