"""Random netlists for tests, designs of them, and a slow interpreter of plain Python integers, independent of ours."""

from __future__ import annotations

import random

import numpy as np

from gatewright.backends.identifiers import identifiers
from gatewright.backends.part import DEFAULT_PART, load_part
from gatewright.compiler.schedule.pipeline import pipeline
from gatewright.ir.design import Design, Kernel, Port
from gatewright.ir.fixed import Fixed
from gatewright.ir.netlist import Netlist, NetlistBuilder, Op, widths
from gatewright.ir.offsets import offsets


def random_netlist(seed: int, rows: int = 60, width: int = 8, inputs: int = 5, every: bool = False) -> Netlist:
    """Every op, with shifts, negations, constants, repeated operands, 1-bit and 62-bit values. A few rows are outputs,
    all of them where `every`."""
    rng = random.Random(seed)
    b = NetlistBuilder(f"random_{seed}")
    b.origin("in")
    half = 1 << width - 1
    ranges = [sorted((rng.randint(-half, 2 * half - 1), rng.randint(-half, half))) for _ in range(inputs)]
    pool = b.input("x", [r[0] for r in ranges], [r[1] for r in ranges]).tolist()
    pool += b.input("x 2", [0, -1, 0], [1, 0, 0]).tolist() + b.const([0, 1, -1, 5, (1 << width) - 1]).tolist()
    narrow = [r for r in pool if b.hi[r] - b.lo[r] < 600]
    while len(b) < rows:
        b.origin(f"node \"{rng.randint(0, 3)}\"\n")
        new = _random_row(b, rng, pool, narrow)
        if new is not None:
            pool.append(new)
            if b.hi[new] - b.lo[new] < 600:
                narrow.append(new)
    b.output("y", pool if every else [rng.choice(pool) for _ in range(4)] + pool[-6:])
    b.output("case", pool[:2])
    return b.build()


def random_heaps(seed: int, sums: int = 40, tallest: int = 3) -> Netlist:
    """Sums of 3 to 12 slices of rows: signed tops, negations, constants, gaps, columns of up to `tallest` bits, or one
    more in the lowest one."""
    rng = random.Random(seed)
    b = NetlistBuilder(f"heaps_{seed}")
    b.origin("in")
    signed = [rng.random() < .5 for _ in range(6)]
    rows = b.input("x", [-32 if s else 0 for s in signed], [31 if s else 63 for s in signed])
    rows = np.concatenate([rows, b.sum2(rows[:3], 0, False, rows[3:], 1, True)])
    made = []
    while len(made) < sums:
        b.origin(f"heap {len(made)}")
        height, slices = [0] * 30, list[tuple[int, int, bool]]()
        lowest = rng.randint(0, 4)
        height[lowest] = -1 if rng.random() < .5 else 0
        for _ in range(rng.randint(3, 12)):
            row, at = int(rng.choice(rows)), lowest + rng.choice([0, 0, 1, 2, 3, 6, rng.randint(0, 15)]) - (rng.random() < .2)
            own, low = int(widths(b.lo[[row]], b.hi[[row]])[0]), rng.randint(0, 5)
            bits = min(rng.randint(1, 6), own - low)
            columns = range(max(at, 0), max(at, 0) + bits)
            if all(height[c] < (tallest if c >= lowest else 1) for c in columns):
                for c in columns:
                    height[c] += 1
                top = low + bits == own and b.lo[row] < 0
                whole = bits == own
                slices.append((row if whole else int(b.bits(row, low, bits, top)[0]), columns[0], rng.random() < .2))
        if len(slices) > 2:
            args, shifts, signs = (list(v) for v in zip(*slices, strict=True))
            offset = int((offsets(b.lo[args] < 0, widths(b.lo[args], b.hi[args]), np.array(signs)) << np.array(shifts)).sum())
            free = sum(1 << c for c in range(25) if height[c] < 3 and rng.random() < .4) if rng.random() < .6 else 0
            made.append(int(b.sum([0, len(args)], args, shifts, signs, offset + free - rng.choice([0, 0, 0, free]))[0]))
    b.output("y", made)
    return b.build()


def _room(b: NetlistBuilder, row: int) -> int:
    """Largest left shift after which the row still fits easily."""
    return max(0, 58 - max(int(b.lo[row]).bit_length(), int(b.hi[row]).bit_length()))


def _random_row(b: NetlistBuilder, rng: random.Random, pool: list[int], narrow: list[int]) -> int | None:
    x, y = rng.choice(pool), rng.choice(pool)
    sx, sy = rng.randint(0, min(3, _room(b, x))), rng.randint(0, min(3, _room(b, y)))
    kind = rng.choice(["sum1", "sum2", "sum2", "sum2", "sum", "bits", "bits", "ge", "eq", "select", "mul", "table"])
    if kind == "sum1" and _room(b, x) > 4:
        return int(b.sum1(x, sx, rng.random() < .5, rng.randint(-20, 20))[0])
    if kind == "sum2" and min(_room(b, x), _room(b, y)) > 4:
        return int(b.sum2(x, sx, rng.random() < .5, y, sy, rng.random() < .5, rng.choice([0, 0, 3, -40]))[0])
    if kind == "sum":
        args = [r for r in (rng.choice(pool) for _ in range(rng.randint(1, 6))) if _room(b, r) > 7] or [pool[0]]
        args += args[:rng.randint(0, 1)]
        shifts, signs = [rng.randint(0, 2) for _ in args], [rng.random() < .5 for _ in args]
        imm = rng.randint(-9, 9)
        if len(b) % 2:  # the form of the sums that lowering makes
            own = widths(b.lo[args], b.hi[args])
            imm = int((offsets(b.lo[args] < 0, own, np.array(signs)) << np.array(shifts)).sum())
        return int(b.sum([0, len(args)], args, shifts, signs, imm)[0])
    if kind == "bits":
        return int(b.bits(x, rng.randint(0, 9), rng.choice([1, 2, 3, 5, 9, 62]), rng.random() < .5)[0])
    if kind in ("ge", "eq"):
        other, shift = rng.choice([(y, sy), (x, sx), (x, 0)])
        return int(getattr(b, kind)(x, other, sx, shift)[0])
    if kind == "select" and min(_room(b, x), _room(b, y)) > 0:
        conditions = [r for r in pool if b.lo[r] >= 0 and b.hi[r] <= 1]
        return int(b.select(rng.choice(conditions), x, y, sx, sy)[0])
    if kind == "mul" and _room(b, x) + _room(b, y) > 75:
        return int(b.mul(x, y, sx, sy)[0])
    if kind == "table":
        x = rng.choice(narrow)
        base = int(b.lo[x]) - rng.randint(0, 2)
        size = int(b.hi[x]) - base + 1 + rng.randint(0, 2)
        return int(b.table(x, [[rng.randint(-30, 30) for _ in range(size)]], base)[0])
    return None


def random_inputs(netlist: Netlist, samples: int, seed: int) -> dict[str, np.ndarray]:
    """Codes over the whole range of every input element; the first two samples are its ends."""
    rng = np.random.default_rng(seed)
    inputs = {}
    for port in netlist.inputs:
        lo, hi = netlist.lo[port.rows], netlist.hi[port.rows]
        values = rng.integers(lo, hi, (samples, len(port.rows)), endpoint=True)
        values[:2] = np.stack([lo, hi])[:samples]
        inputs[port.name] = values
    return inputs


def slow_values(netlist: Netlist, inputs: dict[str, np.ndarray]) -> list[list[int]]:
    """Values of all rows for every sample, by Python integers."""
    samples = len(next(iter(inputs.values())))
    return [_slow_sample(netlist, {k: v[s].tolist() for k, v in inputs.items()}) for s in range(samples)]


def _slow_sample(netlist: Netlist, inputs: dict[str, list[int]]) -> list[int]:
    values: list[int] = []
    for r, op in enumerate(netlist.op.tolist()):
        begin, end = int(netlist.first[r]), int(netlist.first[r + 1])
        imm, aux = int(netlist.imm[r]), int(netlist.aux[r])
        x = [values[netlist.arg[k]] * 2 ** int(netlist.shift[k]) * (-1) ** int(netlist.neg[k])
             for k in range(begin, end)]
        if op == Op.INPUT:
            value = inputs[netlist.inputs[imm].name][aux]
        elif op == Op.CONST:
            value = imm
        elif op == Op.SUM:
            value = sum(x) + imm
        elif op == Op.BITS:
            value = x[0] // 2 ** imm % 2 ** aux
            if netlist.lo[r] < 0 and value >= 2 ** (aux - 1):
                value -= 2 ** aux
        elif op == Op.GE:
            value = int(x[0] >= x[1])
        elif op == Op.EQ:
            value = int(x[0] == x[1])
        elif op == Op.SELECT:
            value = x[1] if x[0] else x[2]
        elif op == Op.MUL:
            value = x[0] * x[1]
        else:
            value = int(netlist.tables[imm][x[0] - aux])
        values.append(value)
    return values


def design_of(netlist: Netlist, clock_ns: float | None = None, part: str = DEFAULT_PART,
              stage: list[int] | None = None) -> Design:
    """`netlist` pipelined, or in the stages given by hand, with the narrowest ports that hold it."""
    kernel = pipeline(netlist, load_part(part), clock_ns)[0] if stage is None else Kernel(netlist, np.array(stage, np.int32))
    sides, taken = [], []
    for ports in (netlist.inputs, netlist.outputs):
        names = identifiers([p.name for p in ports], taken)
        taken += names
        types = [Fixed(int(netlist.lo[p.rows].min()), int(netlist.hi[p.rows].max()), 0) for p in ports]
        sides.append(tuple(Port(p.name, n, t, (len(p.rows),), f"code of {p.name}")
                           for p, n, t in zip(ports, names, types, strict=True)))
    return Design.single("dut", kernel, *sides)
