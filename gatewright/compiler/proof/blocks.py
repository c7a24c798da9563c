"""Programs of one integer variable, evaluated exactly on whole progressions of values at once: by breakpoints, not one by one.

The proof of an integer function: a netlist's rows and the Graph's definition are one program; two of its steps agree on lo..hi.

The values lo..hi are cut into blocks of M. A *patch* is the values lo + (k + j) * M + r + i for j in 0..J and i in 0..I: of J + 1
blocks, I + 1 values each. On a patch every step of the program is represented as

    f(j, i) = p + d * j + e * i        for all j in 0..J, i in 0..I

which is *exact*. Each operation either keeps this form, or refuses and says where to split the patch, or by what M must grow:

- the variable itself has d = M, e = 1; a sum adds p, d and e;
- a comparison with 0 is the same on the whole patch if it is at the corners, because the form is monotone in j and in i;
- a slice from bit s up divides by 2**s: exact where 2**s divides d and e, or divides d while e * i crosses no multiple of 2**s. It
  waits until a step needs it, as a fourth number s: x / 2**s >= c, rounded down, is x >= c * 2**s, exact without any splitting;
- a slice (or a wrap) that cuts high bits subtracts the same multiple of the period everywhere if both ends lie in one period;
- a selection needs a condition, a table an entry, and a product one factor, that is the same everywhere;
- rounding to a multiple of 2**s moves by a whole number where x moves by a multiple of 2**s (2**(s+1) for halves to even, and on one
  side of 0 for modes that look at the sign); else it must give the same result at both ends, between which it is monotone.

A patch of one value is plain evaluation and never refuses, so the splitting ends. On a patch, two steps are equal if and only if p,
d (where J > 0) and e (where I > 0) are. So a proof over 2**20 values takes some ten patches for every breakpoint.

A rounding of a * x + b with a long a has a breakpoint at every code. So where everything is a function of a * x, it is first taken
as one of all integers from the least to the largest a * x, of which it is a rounding with a period: what agrees on all of them
agrees on multiples of a. If it does not, or has codes there that are no claim of the Graph's, only x decides.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from gatewright.compiler.proof.forms import DIFFERENT, EQUAL, LIMIT, UNKNOWN
from gatewright.ir.fixed import Ints
from gatewright.ir.netlist import Op

_CONST, _SUM, _BITS, _GE, _EQ, _SELECT, _MUL, _TABLE = (int(o) for o in (
    Op.CONST, Op.SUM, Op.BITS, Op.GE, Op.EQ, Op.SELECT, Op.MUL, Op.TABLE))
LEAF, ROUND, CLIP, WRAP, COUNT = 16, 17, 18, 19, 20
"""Steps that are no netlist operation: a * variable + b; and what the Graph's functions are made of."""

CODE, IMM, AUX, SIZE, LO, HI, FIRST, END, ROW = range(9)
"""Columns of a program, one line a step. Its operands are `FIRST:END` of the operand columns."""



class Programs(NamedTuple):
    """Programs one after the other: n of them, with `root`, the step that the last one must equal, and up to three operands.

    Program i has the steps lines[first[i]:first[i + 1]]; their operands, counted from its first step, from arg_first[i] on; and the
    variables [variables, 4]: lowest value, stride, number of values and step of each. With several variables, the digits of a
    value's number are theirs, and a patch is one value.
    """

    first: Ints
    lines: Ints
    arg_first: Ints
    arg: Ints
    shift: Ints
    neg: Any
    variable_first: Ints
    variables: Ints
    root: Ints
    operands: Ints


DONE, SPLIT_J, SPLIT_I, GROW, OUTSIDE = range(5)
"""A step is done on the patch; the patch must be split before j, or before i, = `value`; M must be `value` times as large; the step
leaves its bounds or its table."""

MODES = ("FLOOR", "CEIL", "DOWN", "UP", "ROUND", "HALF_UP", "HALF_DOWN", "HALF_CEIL", "HALF_FLOOR")
"""Rounding modes by number."""
_FLOOR, _CEIL, _DOWN, _UP, _EVEN, _HALF_UP, _HALF_DOWN, _HALF_CEIL, _HALF_FLOOR = range(9)

WORK = 1 << 28
"""Most steps of a whole proof, about 15 s of CPU. One element may take SHARE of those that are left: hard ones leave some for
easy ones."""
SHARE = 1.0 / 16
BLOCK = 32
"""M to begin with."""
_WORTH = 64
"""Steps in a patch up to which it is split at each; beyond, M grows to the period."""
_WIDEST = 1 << 20
"""Largest M that is taken for the sake of a wrap."""


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def rounded(x: int, shift: int, mode: int) -> int:
    """x / 2**shift rounded to an integer, by the definition of the mode."""
    if shift == 0:
        return x
    floor = x >> shift
    rest, half = x - (floor << shift), 1 << (shift - 1)
    if mode == _FLOOR or rest == 0:
        return floor
    if mode == _CEIL:
        return floor + 1
    if mode == _DOWN:
        return floor + (1 if x < 0 else 0)
    if mode == _UP:
        return floor + (1 if x > 0 else 0)
    if rest != half:
        return floor + (1 if rest > half else 0)
    if mode == _EVEN:
        return floor + (floor & 1)
    if mode == _HALF_UP:
        return floor + (1 if x > 0 else 0)
    if mode == _HALF_DOWN:
        return floor + (1 if x < 0 else 0)
    return floor + (1 if mode == _HALF_CEIL else 0)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _change(h: int, step: int, count: int) -> int:
    """The first n in 1..count at which h + step * n is on the other side of h >= 0; count + 1 if none."""
    if h >= 0 and step < 0:
        n = h // -step + 1
    elif h < 0 and step > 0:
        n = (step - 1 - h) // step
    else:
        return count + 1
    return min(n, count + 1)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _side(h: int, d: int, e: int, j: int, i: int) -> Any:
    """DONE if h + d * j + e * i >= 0 is the same on the whole patch, else where to split it."""
    if (h >= 0) != (h + e * i >= 0):
        return (SPLIT_J, 1) if j > 0 and d != 0 else (SPLIT_I, _change(h, e, i))
    soon = min(_change(h, d, j), _change(h + e * i, d, j))
    return (SPLIT_J, soon) if soon <= j else (DONE, 0)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _power(factor: int, d: int) -> int:
    """The least power of two that makes d a multiple of the power of two `factor`."""
    grow = 1
    while (d * grow) & (factor - 1):
        grow *= 2
    return grow


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _wrap(p: int, d: int, e: int, least: int, width: int, m: int, j: int, i: int) -> Any:
    """Modulo 2**width into least..least + 2**width - 1: (answer, value, p, d, e)."""
    mask = (1 << width) - 1
    if d & mask == 0:
        d = 0
    if e & mask == 0:
        e = 0
    room = (p - least) & mask
    answer, value = _side(room, d, e, j, i)
    other, at = _side(mask - room, -d, -e, j, i)
    if answer == DONE or (other == answer and at < value):
        answer, value = other, at
    if answer == SPLIT_J:
        grow = _power(mask + 1, d)
        if (abs(d) * j) >> width >= _WORTH and m * grow <= _WIDEST:
            return GROW, grow, p, d, e
    return answer, value, room + least, d, e


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _round(p: int, d: int, e: int, shift: int, mode: int, m: int, j: int, i: int) -> Any:
    """(answer, value, p, d, e)"""
    step = 1 << (shift + 1 if mode == _EVEN and shift > 0 else shift)
    if j > 0 and d & (step - 1):
        if mode != _FLOOR or (abs(d) * j) >> shift >= _WORTH:
            return GROW, _power(step, d), p, d, e
        answer, value, _, _, _ = _wrap(p, d, e, 0, shift, m, j, i)
        return answer, value, p >> shift, 0, 0
    if shift > 0 and mode in (_DOWN, _UP, _HALF_UP, _HALF_DOWN):
        answer, value = _side(p, d, e, j, i)
        if answer != DONE:
            return answer, value, p, d, e
    y = rounded(p, shift, mode)
    if e & (step - 1) == 0:
        return DONE, 0, y, d >> shift, e >> shift
    same, other = 0, i + 1  # the last i known to give the same, the first to give another result
    if rounded(p + e * i, shift, mode) == y:
        same = i
    while other - same > 1 and same < i:
        middle = (same + other) // 2
        if rounded(p + e * middle, shift, mode) == y:
            same = middle
        else:
            other = middle
    return (DONE if same == i else SPLIT_I), other, y, d >> shift, 0


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _compare(code: int, h: int, d: int, e: int, j: int, i: int) -> Any:
    """h >= 0, or h == 0: (answer, value, p)"""
    answer, value = _side(h, d, e, j, i)
    if code == _EQ and answer == DONE:
        answer, value = _side(h - 1, d, e, j, i)
    return answer, value, h >= 0 if code == _GE else h == 0


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _fixed(d: int, e: int, j: int, i: int) -> Any:
    """DONE if a form with these slopes has one value on the patch, else a split."""
    return (SPLIT_J, 1) if j > 0 and d != 0 else (SPLIT_I, 1) if i > 0 and e != 0 else (DONE, 0)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _count(levels: Any, p: int, d: int, e: int, j: int, i: int) -> Any:
    """How many levels x reaches: the same where it is for the least and the largest x. (answer, value, p)"""
    least = p + min(0, d * j) + min(0, e * i)
    n = np.searchsorted(levels, least, side="right")
    answer, value = DONE, 0
    if n < len(levels):
        answer, value = _side(p - levels[n], d, e, j, i)
    return answer, value, n


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _look_up(values: Any, x: int, d: int, e: int, j: int, i: int) -> Any:
    """An entry that is the same for all i: (answer, value, entry)"""
    if j > 0 and d != 0:
        return SPLIT_J, 1, 0
    if not (0 <= x < len(values) and 0 <= x + e * i < len(values)):
        return OUTSIDE, 0, 0
    for k in range(1, i + 1 if e != 0 else 1):
        if values[x + e * k] != values[x]:
            return SPLIT_I, k, 0
    return DONE, 0, values[x]


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _operand(f: Any, k: int, shift: int, m: int, j: int, i: int) -> Any:
    """A step's value << shift, with the division done: (answer, value, p, d, e)"""
    if f[k, 3] == 0:
        return DONE, 0, f[k, 0] << shift, f[k, 1] << shift, f[k, 2] << shift
    answer, value, p, d, e = _round(f[k, 0], f[k, 1], f[k, 2], f[k, 3], _FLOOR, m, j, i)
    return answer, value, p << shift, d << shift, e << shift


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _bits(line: Any, f: Any, k: int, shift: int, m: int, j: int, i: int) -> Any:
    """A slice. Where it cuts nothing above, its division by a power of two waits until a step needs it done; a comparison with a
    constant does not: (answer, value, p, d, e, bits to shift)"""
    least, low = -(1 << (line[AUX] - 1)) if line[LO] < 0 else 0, line[IMM]
    if shift == 0:
        p, d, e, down = f[k, 0], f[k, 1], f[k, 2], min(f[k, 3] + low, 63)
        bottom, top = p + min(0, d * j) + min(0, e * i), p + max(0, d * j) + max(0, e * i)
        if ((bottom >> down) - least) >> line[AUX] == 0 and ((top >> down) - least) >> line[AUX] == 0:
            return DONE, 0, p, d, e, down
    answer, value, p, d, e = _operand(f, k, shift, m, j, i)
    if answer == DONE:
        answer, value, p, d, e = _round(p, d, e, low, _FLOOR, m, j, i)
    if answer == DONE:
        answer, value, p, d, e = _wrap(p, d, e, least, line[AUX], m, j, i)
    return answer, value, p, d, e, 0


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _minus(f: Any, a: int, sa: int, b: int, sb: int, m: int, j: int, i: int) -> Any:
    """a - b: (answer, value, p, d, e)"""
    answer, value, p, d, e = _operand(f, a, sa, m, j, i)
    if answer != DONE:
        return answer, value, p, d, e
    answer, value, pb, db, eb = _operand(f, b, sb, m, j, i)
    return answer, value, p - pb, d - db, e - eb


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _difference(f: Any, a: int, sa: int, b: int, sb: int, m: int, j: int, i: int) -> Any:
    """h of a >= b as h >= 0: (answer, value, p, d, e). With x still to be divided by 2**s and a constant c, x / 2**s >= c is
    x - c * 2**s >= 0, and c >= x / 2**s is (c + 1) * 2**s - 1 - x >= 0."""
    c = f[b, 0] << sb
    if f[a, 3] > 0 and sa == 0 and f[b, 1] == 0 and f[b, 2] == 0 and f[b, 3] == 0 and abs(c) < 1 << (61 - f[a, 3]):
        return DONE, 0, f[a, 0] - (c << f[a, 3]), f[a, 1], f[a, 2]
    c = f[a, 0] << sa
    if f[b, 3] > 0 and sb == 0 and f[a, 1] == 0 and f[a, 2] == 0 and f[a, 3] == 0 and abs(c) < 1 << (61 - f[b, 3]):
        return DONE, 0, ((c + 1) << f[b, 3]) - 1 - f[b, 0], -f[b, 1], -f[b, 2]
    return _minus(f, a, sa, b, sb, m, j, i)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _step(line: Any, arg: Any, shift: Any, neg: Any, table: Any, f: Any, m: int, j: int, i: int) -> Any:
    """One step of which the operands are done, f[step] = (p, d, e, bits to shift): (answer, value, p, d, e, bits to shift)."""
    code, at = line[CODE], line[FIRST]
    if code == _SUM:
        p, d, e = line[IMM], 0, 0
        for k in range(at, line[END]):
            answer, value, px, dx, ex = _operand(f, arg[k], shift[k], m, j, i)
            if answer != DONE:
                return answer, value, p, d, e, 0
            sign = -1 if neg[k] else 1
            p, d, e = p + sign * px, d + sign * dx, e + sign * ex
        return DONE, 0, p, d, e, 0
    if code == _BITS:
        return _bits(line, f, arg[at], shift[at], m, j, i)
    if code in (_GE, _EQ):
        answer, value, p, d, e = _difference(f, arg[at], shift[at], arg[at + 1], shift[at + 1], m, j, i) if code == _GE else (
            _minus(f, arg[at], shift[at], arg[at + 1], shift[at + 1], m, j, i))
        if answer != DONE:
            return answer, value, p, d, e, 0
        answer, value, truth = _compare(code, p, d, e, j, i)
        return answer, value, np.int64(truth), 0, 0, 0
    answer, value, p, d, e = _operand(f, arg[at], shift[at], m, j, i)
    if answer != DONE:
        return answer, value, p, d, e, 0
    if code == _SELECT:
        answer, value = _fixed(d, e, j, i)
        k = at + (1 if p else 2)
        if answer != DONE or (shift[k] > 0 and f[arg[k], 3] > 0):
            other, other_value, p, d, e = _operand(f, arg[k], shift[k], m, j, i)
            return (answer, value, p, d, e, 0) if answer != DONE else (other, other_value, p, d, e, 0)
        return DONE, 0, f[arg[k], 0] << shift[k], f[arg[k], 1] << shift[k], f[arg[k], 2] << shift[k], f[arg[k], 3]
    if code == _MUL:
        other, other_value, pb, db, eb = _operand(f, arg[at + 1], shift[at + 1], m, j, i)
        if other != DONE:
            return other, other_value, p, d, e, 0
        if _fixed(d, e, j, i)[0] == DONE:
            return DONE, 0, p * pb, p * db, p * eb, 0
        answer, value = _fixed(db, eb, j, i)
        if answer == DONE:
            return DONE, 0, p * pb, pb * d, pb * e, 0
        answer, value = _fixed(d, e, j, i)
        return answer, value, p, d, e, 0
    if code == _TABLE:
        answer, value, y = _look_up(table[line[IMM]:line[IMM] + line[SIZE]], p - line[AUX], d, e, j, i)
        return answer, value, y, 0, 0, 0
    if code == COUNT:
        answer, value, n = _count(table[line[IMM]:line[IMM] + line[SIZE]], p, d, e, j, i)
        return answer, value, n + line[AUX], 0, 0, 0
    if code == ROUND:
        answer, value, p, d, e = _round(p, d, e, line[IMM], line[AUX], m, j, i)
    elif code == WRAP:
        answer, value, p, d, e = _wrap(p, d, e, line[IMM], line[AUX], m, j, i)
    else:
        answer, value, p, d, e = _clip(line[IMM], line[AUX], p, d, e, j, i)
    return answer, value, p, d, e, 0


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _clip(lo: int, hi: int, p: int, d: int, e: int, j: int, i: int) -> Any:
    """(answer, value, p, d, e)"""
    answer, value = _side(p - lo, d, e, j, i)
    if answer == DONE:
        answer, value = _side(hi - p, -d, -e, j, i)
    return (answer, value, p, d, e) if lo <= p <= hi else (answer, value, min(max(p, lo), hi), 0, 0)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def evaluate(program: Any, arg: Any, shift: Any, neg: Any, table: Any, variables: Any, m: int, begin: int, j: int, i: int, f: Any,
             ) -> Any:
    """The program on the patch of j + 1 blocks with i + 1 values each from value number `begin` on.

    Fills f [steps, 4]; returns (answer, value, step).
    """
    for k in range(len(program)):
        line = program[k]
        if line[CODE] == LEAF:
            v = line[FIRST]
            digit = begin // variables[v, 1] % variables[v, 2]
            p, d, e = line[IMM] * (variables[v, 0] + digit * variables[v, 3]) + line[AUX], line[IMM] * m, line[IMM]
            down = 0
        else:
            answer, value, p, d, e, down = _step(line, arg, shift, neg, table, f, m, j, i)
            if answer != DONE:
                return answer, value, k
        f[k, 0], f[k, 1], f[k, 2], f[k, 3] = p, d, e, down
        a, b = d * j, e * i
        if (p + min(a, 0) + min(b, 0)) >> down < line[LO] or (p + max(a, 0) + max(b, 0)) >> down > line[HI]:
            return OUTSIDE, 0, k
    return DONE, 0, len(program)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _agree(program: Any, arg: Any, shift: Any, neg: Any, table: Any, variables: Any, root: int, operand: Any, witness: Any,
           left: Any) -> Any:
    """Whether line `root` and the last are equal for all values of the variables: (what was found, least and largest value).
    `left[0]` are the steps that may be done, and are then left."""
    total, last = 1, len(program) - 1
    for v in range(len(variables)):
        total *= variables[v, 2]
    single = len(variables) > 1
    m = 1 if single else min(total, BLOCK)
    least, most, end = np.int64(1) << 62, -(np.int64(1) << 62), np.int64(left[0] * (1 - SHARE))
    f, patches = np.zeros((len(program), 4), np.int64), np.zeros((64, 3), np.int64)  # patches: number of first value, J, I
    depth = _cover(patches, 0, total, m)
    while depth > 0:
        depth -= 1
        begin, j, i = patches[depth, 0], patches[depth, 1], patches[depth, 2]
        if single and j > 0:
            patches[depth, 0], patches[depth, 1] = begin + 1, j - 1
            depth, j = depth + 1, 0
        answer, value, line = evaluate(program, arg, shift, neg, table, variables, m, begin, j, i, f)
        left[0] -= line + 1
        if left[0] < end:
            return UNKNOWN, least, most
        if answer == GROW:
            if m * value > total:
                value = (total + m - 1) // m
            m, depth = m * value, _cover(patches, 0, total, m * value)
        elif answer in (SPLIT_J, SPLIT_I):
            if depth + 2 > len(patches):
                patches = np.concatenate((patches, np.zeros_like(patches)))
            along = answer == SPLIT_J
            patches[depth, 0], patches[depth, 1], patches[depth, 2] = (
                (begin + value * m, j - value, i) if along else (begin + value, j, i - value))
            patches[depth + 1, 0], patches[depth + 1, 1], patches[depth + 1, 2] = (
                (begin, value - 1, i) if along else (begin, j, value - 1))
            depth += 2
        elif answer == OUTSIDE or f[root, 0] != f[last, 0] or (j > 0 and f[root, 1] != f[last, 1]) or (
                i > 0 and f[root, 2] != f[last, 2]):
            if answer == OUTSIDE and program[line, ROW] < 0:
                return UNKNOWN, least, most
            _refute(program, arg, shift, neg, table, variables, m, begin, j, i, f, root, operand, witness)
            return DIFFERENT, least, most
        else:
            a, b = f[last, 1] * j, f[last, 2] * i
            least, most = min(least, f[last, 0] + min(a, 0) + min(b, 0)), max(most, f[last, 0] + max(a, 0) + max(b, 0))
    return EQUAL, least, most


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _between(program: Any, variables: Any) -> Any:
    """The same program of a * x, for all integers between its least and its largest value, and these as a variable; where there
    is one variable x, and a > 1 is the common factor of all coefficients. Else programs and variables without entries."""
    a = np.int64(0)
    for line in program:
        if line[CODE] == LEAF:
            a = np.gcd(a, line[IMM])
    if len(variables) != 1 or a < 2 or np.float64(a) * variables[0, 2] > LIMIT or a * np.abs(np.float64(variables[0, 0])) > LIMIT:
        return program[:0], variables[:0]
    program, variables = program.copy(), variables.copy()
    for line in program:
        if line[CODE] == LEAF:
            line[IMM] //= a
    variables[0, 0], variables[0, 2] = variables[0, 0] * a, (variables[0, 2] - 1) * a + 1
    return program, variables


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _cover(patches: Any, begin: int, total: int, m: int) -> int:
    """All values as patches: whole blocks, and what is left of the last. Returns how many."""
    blocks, count = total // m, 0
    if blocks:
        patches[count, 0], patches[count, 1], patches[count, 2] = begin, blocks - 1, m - 1
        count += 1
    if total % m:
        patches[count, 0], patches[count, 1], patches[count, 2] = begin + blocks * m, 0, total % m - 1
        count += 1
    return count


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _refute(program: Any, arg: Any, shift: Any, neg: Any, table: Any, variables: Any, m: int, begin: int, j: int, i: int, f: Any,
            root: int, operand: Any, witness: Any) -> None:
    """Where the programs differ on a patch, at one of three of its corners: up to three operands' values, what was got and
    expected, and the row that leaves its bounds, or -1."""
    last = len(program) - 1
    for at in (begin, begin + j * m, begin + i, begin + j * m + i):
        answer, _, line = evaluate(program, arg, shift, neg, table, variables, m, at, 0, 0, f)
        if answer == OUTSIDE or f[root, 0] != f[last, 0]:
            break
    for k in range(3):
        if operand[k] < 0:
            continue
        o = program[operand[k]]
        v = o[FIRST]
        witness[k] = o[IMM] * (variables[v, 0] + at // variables[v, 1] % variables[v, 2] * variables[v, 3]) + o[AUX]
    witness[3], witness[4], witness[5] = f[root, 0], f[last, 0], -1
    if answer == OUTSIDE:
        witness[3], witness[5] = f[line, 0] >> f[line, 3], program[line, ROW]


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def compare_programs(programs: Programs, table: Ints, least: Ints, most: Ints, left: Ints) -> Any:
    """Whether the steps `root` and the last one of every program agree on all values: (what was found; where they differ, as the
    operands' values, got, expected, and the row that leaves its bounds or -1; least and largest value, or bounds of them within
    least..most). `left[0]` are the steps that may be done for all of them, and are then left."""
    n = len(programs.root)
    found, witness, lo, hi = np.full(n, UNKNOWN), np.zeros((n, 6), np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    known = {np.int64(0): -1}  # the elements of a channel have equal programs
    for i in range(n):
        lines = programs.lines[programs.first[i]:programs.first[i + 1]]
        if len(lines) == 0:
            continue
        key = _digest(programs, i)
        if key in known and _alike(programs, known[key], i):
            same = known[key]
            found[i], witness[i], lo[i], hi[i] = found[same], witness[same], lo[same], hi[same]
            continue
        known[key] = i
        taken = slice(programs.arg_first[i], programs.arg_first[i + 1])
        variables = programs.variables[programs.variable_first[i]:programs.variable_first[i + 1]]
        arg, shift, neg = programs.arg[taken], programs.shift[taken], programs.neg[taken]
        wide, between = _between(lines, variables)
        if len(wide):
            found[i], lo[i], hi[i] = _agree(wide, arg, shift, neg, table, between, programs.root[i], programs.operands[i], witness[i],
                                            left)
        if found[i] != EQUAL or lo[i] < least[i] or hi[i] > most[i]:
            found[i], lo[i], hi[i] = _agree(lines, arg, shift, neg, table, variables, programs.root[i], programs.operands[i],
                                            witness[i], left)
    return found, witness, lo, hi


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _digest(programs: Programs, i: int) -> Any:
    mixed = np.uint64(programs.root[i])
    for k in range(programs.first[i], programs.first[i + 1]):
        for c in range(ROW):
            mixed = (mixed ^ (mixed >> np.uint64(29)) ^ np.uint64(programs.lines[k, c])) * np.uint64(0xBF58476D1CE4E5B9)
    return np.int64(mixed >> np.uint64(1))


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _alike(programs: Programs, a: int, b: int) -> bool:
    """Whether two programs are equal but for the rows that they are of."""
    first, args, variables = programs.first, programs.arg_first, programs.variable_first
    if programs.root[a] != programs.root[b] or (programs.operands[a] != programs.operands[b]).any():
        return False
    for f in (first, args, variables):
        if f[a + 1] - f[a] != f[b + 1] - f[b]:
            return False
    for k in range(first[a + 1] - first[a]):
        for c in range(ROW):
            if programs.lines[first[a] + k, c] != programs.lines[first[b] + k, c]:
                return False
    for k in range(args[a + 1] - args[a]):
        x, y = args[a] + k, args[b] + k
        if programs.arg[x] != programs.arg[y] or programs.shift[x] != programs.shift[y] or programs.neg[x] != programs.neg[y]:
            return False
    for k in range(variables[a + 1] - variables[a]):
        for c in range(4):
            if programs.variables[variables[a] + k, c] != programs.variables[variables[b] + k, c]:
                return False
    return True
