"""Random numbers for compiled loops, the same for the same seed."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def below(state: Any, limit: int) -> int:
    """A number from 0 to limit - 1, and the next state uint64[1]; a linear congruence (Knuth's MMIX), of which the high bits are taken."""
    state[0] = state[0] * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
    return int(state[0] >> np.uint64(33)) % limit
