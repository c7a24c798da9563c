"""Types that the user gives: of inputs and outputs, and quantisers for tensors that the file leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from gatewright.compiler.frontend.values import Builder, Const, Data, Quantised, Value, cast_expr
from gatewright.errors import UserError
from gatewright.ir import expr as ex
from gatewright.ir.exact import Exacts, Surd, exacts, inverse, times
from gatewright.ir.fixed import ROUNDING, Cast


@dataclass(frozen=True)
class Types:
    """What the user says of types: a default and per tensor, for inputs and for outputs; of tensors inside by name."""

    input: Cast | None = None
    inputs: Mapping[str, Cast] = field(default_factory=dict)
    output: Cast | None = None
    outputs: Mapping[str, Cast] = field(default_factory=dict)
    tensors: Mapping[str, Cast] = field(default_factory=dict)
    """Of a node's results and of initialisers: a quantiser that the file does not have."""


def with_type(b: Builder, name: str, node: str, value: Value, types: Types) -> Value:
    """The tensor behind the quantiser that the user gives it, if any."""
    cast = types.tensors.get(name)
    if cast is None:
        return value
    if isinstance(value, Const):
        return Const(constant_on_grid(name, value.value, cast))
    if name in b.quantisers:
        raise UserError(f"the tensor '{name}' has a quantiser in the model", node=node, remedy="Leave its type away")
    leaf, scale = on_grid(b, name, node, f"the tensor '{name}'", value, cast)
    b.quantisers[name] = Quantised(b.operand(leaf.index).name, 1, 0)
    return Data(ex.affine(leaf, scale), value.shape, value.batched)


def on_grid(b: Builder, name: str, node: str, what: str, value: Data, cast: Cast) -> tuple[ex.Leaf, Exacts]:
    """A tensor on the user's grid, and its step. Without modes, a cast that could lose a bit or overflow is refused."""
    t, scale = cast.type, exacts(Fraction(2) ** -cast.type.frac)
    low, high = Fraction(t.lo) * scale.item(), Fraction(t.hi) * scale.item()
    if cast.overflow is None:
        lo, hi = b.bounds(value.expr)
        if (lo < low).any() or (hi > high).any():
            raise UserError(f"{what} reaches {float(lo.min()):g}..{float(hi.max()):g}, which {cast} does not hold",
                            remedy=f"Widen the type, or say what overflow does: {repr(t)[:-1]},RND_CONV,SAT>")
    step = ex.unit_of_all(value.expr)
    exact = step is not None and not isinstance(step, Surd) and (step / scale.item()).denominator == 1
    if cast.rounding is None and not exact:
        raise _off_grid(what, cast)
    codes = cast_expr(value.expr, cast, ROUNDING[cast.rounding or "TRN"])
    return b.region(codes, value.shape, name, node, scale, ex.ZERO), scale


def _off_grid(what: str, cast: Cast) -> UserError:
    return UserError(f"{what} is not on the grid of {cast}: bits would be lost",
                     remedy=f"Use more fractional bits, or say how to round: {repr(cast.type)[:-1]},RND_CONV,SAT>")


def constant_on_grid(name: str, values: Exacts, cast: Cast) -> Exacts:
    """The same for a constant."""
    t, scale = cast.type, exacts(Fraction(2) ** -cast.type.frac)
    steps = np.asarray(values * inverse(scale.item()), object)
    if cast.rounding is None and not ex.integers(steps):
        raise _off_grid(f"the tensor '{name}'", cast)
    if cast.overflow is None and ((steps < t.lo).any() or (steps > t.hi).any()):
        raise UserError(f"the tensor '{name}' has values of {float(values.min()):g}..{float(values.max()):g}, which {cast} does not hold",
                        remedy=f"Widen the type, or say what overflow does: {repr(t)[:-1]},RND_CONV,SAT>")
    return times(ex.evaluate(cast_expr(ex.Leaf(0), cast, ROUNDING[cast.rounding or "TRN"]), [values]), scale)
