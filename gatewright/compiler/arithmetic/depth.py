"""Depth of sums in trees: the load of a digit is how many places it takes on the lowest level, arity**depth of its own tree."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable


@register_jitable  # type: ignore[untyped-decorator]
def levels(load: Any, arity: int) -> Any:
    """Additions of `arity` operands from that many places to one: ceil(log(load)) to the base arity, load >= 1."""
    return np.ceil(np.log(load) / np.log(arity) - 1e-9)


@register_jitable  # type: ignore[untyped-decorator]
def places(load: Any, arity: int) -> Any:
    """The load of the whole: the next power of the arity."""
    return float(arity) ** levels(load, arity)
