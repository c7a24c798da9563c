"""FINN's folding: how many of a layer's weights are multiplied in a cycle (PE rows, SIMD columns), for a number of cycles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gatewright.backends.finn.nodes import Product


def folded(height: int, width: int, positions: int, cycles: int) -> tuple[int, int]:
    """(PE, SIMD): the fewest multipliers with which a layer takes at most `cycles`, or all where even they take longer."""
    choices = [(pe * simd, -simd, pe, simd) for pe in divisors(height) for simd in divisors(width)
               if (height // pe) * (width // simd) * positions <= cycles]
    _, _, pe, simd = min(choices, default=(0, 0, height, width))
    return pe, simd


def divisors(n: int) -> list[int]:
    return [k for k in range(1, n + 1) if n % k == 0]


def configurations(products: Iterable[Product], reuse: int, layer_reuse: Mapping[str, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """FINN's folding configuration, and its configuration of implementation styles, by the names that FINN gives layers."""
    folding: dict[str, Any] = {"Defaults": {}}
    styles: dict[str, Any] = {"Defaults": {}}
    numbers: dict[str, int] = {}
    for p in products:
        inside, positions = (p.width, p.positions) if p.kind == "MVAU" else (1, p.positions * p.width)
        pe, simd = folded(p.height, inside, positions, layer_reuse.get(p.node, reuse))
        number = numbers.get(p.kind, 0)
        numbers[p.kind] = number + 1
        styles[f"{p.kind}_{number}"] = {"preferred_impl_style": "hls"}
        folding[f"{p.kind}_hls_{number}"] = {"PE": pe, "SIMD": simd, "ram_style": "auto", "resType": "lut"}
    return folding, styles
