"""Whether tables of few bits and an addition of their results would be smaller than sums of digits: python -m benchmarks.tables

Of random matrices it prints estimated LUTs per weight: compressor trees of all digits; the same with a table for every group of inputs
of up to five bits together, whose result is a term, where that promises to be smaller; and what gatewright builds, which shares.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from gatewright.backends.part import load_part
from gatewright.compiler.arithmetic.digits import signed_digits
from gatewright.compiler.arithmetic.heap import rough_luts
from gatewright.compiler.estimate.cost import row_costs
from gatewright.compiler.lower.heaps import heaps
from gatewright.compiler.lower.sums import weighted_sums
from gatewright.compiler.lower.terms import Terms, Wanted
from gatewright.ir.fixed import Ints
from gatewright.ir.netlist import NetlistBuilder

BITS = 5
"""Inputs of a LUT with two outputs. Tables of six have one, and come out larger."""
Digit = tuple[int, int, int, bool]
"""(sum, input, shift, subtracted)"""


@cache
def table(weights: tuple[int, ...], width: int) -> tuple[int, int, int]:
    """(LUTs, result's width, least result) of the sum of these multiples of inputs of `width` bits."""
    count = width * len(weights)
    inputs = np.arange(1 << count)
    values = sum(w * (inputs >> width * k & (1 << width) - 1) for k, w in enumerate(weights)) + 0 * inputs
    least = int(values.min())
    size = int(values.max() - least).bit_length()
    reads = [sum(bool((bit != bit[inputs ^ 1 << i]).any()) for i in range(count))
             for bit in ((values - least) >> place & 1 for place in range(size))]
    return (sum(n > 1 for n in reads) + 1) // 2, size, least


def luts(digits: list[Digit], most: list[int], weight: Ints, width: int, constant: Ints) -> int:
    """Of compressor trees of these digits plus constants."""
    b = NetlistBuilder("sums", 3, effort=1)
    b.origin("sums")
    x = b.input("x", [0] * len(most), most).astype(np.int64)
    out, row, shift, negative = (np.array(v) for v in zip(*digits, strict=True))
    none = np.zeros(len(digits), np.int64)
    reach = weight * ((1 << width) - 1)
    wanted = Wanted(constant, np.minimum(reach, 0).sum(axis=0), np.maximum(reach, 0).sum(axis=0))
    b.output("y", heaps(b, Terms(out, x[row], shift, negative, none, none), weight.shape[1], wanted)[0])
    return int(row_costs(b.build(), load_part()).lut.sum())


def with_tables(digits: list[Digit], weight: Ints, width: int) -> int:
    """The same with tables."""
    n, outputs = weight.shape
    most, left, used, constant = [(1 << width) - 1] * n, list[Digit](), 0, np.zeros(outputs, np.int64)
    for out in range(outputs):
        own = {i: [d for d in digits if d[0] == out and d[1] == i] for i in np.flatnonzero(weight[:, out]).tolist()}
        order = sorted(own, key=lambda i: -len(own[i]))
        for k in range(0, len(order), BITS // width):
            group = order[k:k + BITS // width]
            cost, size, least = table(tuple(int(w) for w in weight[group, out]), width)
            terms = sum(len(own[i]) for i in group)
            if rough_luts(terms, width * terms, size) - rough_luts(1, size, size) > cost:
                used, constant[out] = used + cost, constant[out] + least
                left.append((out, len(most), 0, False))
                most.append((1 << size) - 1)
            else:
                left += [d for i in group for d in own[i]]
    return used + luts(left, most, weight, width, constant)


def built(weight: Ints, width: int) -> int:
    b = NetlistBuilder("sums", 3, effort=1)
    b.origin("sums")
    x = b.input("x", [0] * len(weight), [(1 << width) - 1] * len(weight))
    i, out = (v.reshape(-1) for v in np.indices(weight.shape))
    reach = weight * ((1 << width) - 1)
    b.output("y", weighted_sums(b, out, x[i], weight.reshape(-1), np.zeros(weight.shape[1], np.int64),
                                np.minimum(reach, 0).sum(axis=0), np.maximum(reach, 0).sum(axis=0)))
    return int(row_costs(b.build(), load_part()).lut.sum())


def main() -> None:
    rng = np.random.default_rng(1)
    print("| bits of input, weight | digits | tables | shared |\n| --- | --- | --- | --- |")
    for width in (1, 2, 3):
        for bits in (3, 4, 8, 12):
            weight = rng.integers(-(1 << bits - 1), 1 << bits - 1, (32, 32))
            i, out = (v.reshape(-1) for v in np.indices(weight.shape))
            digits = list(zip(*(v.tolist() for v in signed_digits(out, i, weight.reshape(-1))), strict=True))
            most = [(1 << width) - 1] * len(weight)
            found = luts(digits, most, weight, width, np.zeros(32, np.int64)), with_tables(digits, weight, width), built(weight, width)
            print(f"| {width}, {bits} | {' | '.join(f'{v / weight.size:.2f}' for v in found)} |", flush=True)


if __name__ == "__main__":
    main()
