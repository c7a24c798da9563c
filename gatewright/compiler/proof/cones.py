"""Functions of few variables: the rows between an element and its operands, against the Graph's definition.

An operand is an exact linear form L = g * P + c of atoms, with P primitive. The *cone* of an element is made of the rows from its
own back to rows that are a * P + b for an operand's P; it is a program of the integer P, which `blocks` compares with the
Graph's program on the operand's range. Whatever passes have moved between the sum and the function (a bias, the half of a
rounding, a common factor) is in a and b.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from gatewright.compiler.proof.blocks import AUX, CODE, END, FIRST, HI, IMM, LEAF, LO, ROW, SIZE, Programs
from gatewright.compiler.proof.forms import LIMIT, Columns, Elements, Forms
from gatewright.ir.fixed import Ints
from gatewright.ir.netlist import Op

_INPUT, _SUM, _TABLE, _GE, _SELECT, _MUL = (int(o) for o in (Op.INPUT, Op.SUM, Op.TABLE, Op.GE, Op.SELECT, Op.MUL))

FUNCTION, PRODUCT, CHOICE, LARGER, SMALLER, ITSELF, OPERANDS = range(7)
"""What the Graph does with the operands: the given steps; a * b; a if c else b; the extreme of a and b; no matter what, without
the operands or with them, of any number of values."""

CONE = 1 << 14
"""Most rows of a cone."""
POINTS = 1 << 16
"""Most values that several variables may have together."""
SAMPLES = 16
"""Values of each variable, evenly spread, with which one tries to refute what is too wide to be proven."""


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _parallel(atom: Any, coef: Any, const: int, ref_atom: Any, ref_coef: Any) -> Any:
    """(whether the form is a * P + b, a, b)"""
    if len(atom) == 0:
        return True, 0, const
    if len(atom) != len(ref_atom) or coef[0] % ref_coef[0] != 0:
        return False, 0, 0
    a = coef[0] // ref_coef[0]
    for k in range(len(atom)):
        if atom[k] != ref_atom[k] or coef[k] != a * ref_coef[k]:
            return False, 0, 0
    return True, a, const


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _leaf(forms: Forms, row: int, ref_atoms: Any, ref_coefs: Any) -> Any:
    """(variable or -1, a, b)"""
    f0, f1 = forms.first[row], forms.first[row + 1]
    for v in range(len(ref_atoms)):
        same, a, b = _parallel(forms.atom[f0:f1], forms.coef[f0:f1], forms.const[row], ref_atoms[v], ref_coefs[v])
        if same and forms.weight[row] < LIMIT:
            return v, a, b
    return -1, 0, 0


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _cone(net: Columns, forms: Forms, roots: Any, ref_atoms: Any, ref_coefs: Any, stamp: Any, mark: int) -> Any:
    """The rows from `roots` back to leaves, ascending; none where it reaches anything but the variables. `stamp` is -mark at
    rows that end the search in vain, mark at rows that were met."""
    rows, count = np.zeros(64, np.int64), 0
    stack, depth = np.zeros(64 + len(roots), np.int64), 0
    for atoms in ref_atoms:
        if len(atoms) > 1:
            for at in atoms:
                if _leaf(forms, at, ref_atoms, ref_coefs)[0] < 0:  # a slice names one of its own cuts
                    stamp[at] = -mark
    for r in roots:
        if stamp[r] != mark:
            stack[depth], stamp[r] = r, mark
            depth += 1
    while depth > 0:
        depth -= 1
        r = stack[depth]
        if count == len(rows):
            rows = np.concatenate((rows, np.zeros(len(rows), np.int64)))
        rows[count] = r
        count += 1
        if _leaf(forms, r, ref_atoms, ref_coefs)[0] >= 0:
            continue
        if net.op[r] == _INPUT or count > CONE:
            return rows[:0]
        for k in range(net.first[r], net.first[r + 1]):
            x = net.arg[k]
            if stamp[x] == -mark:
                return rows[:0]
            if stamp[x] != mark:
                stamp[x] = mark
                if depth == len(stack):
                    stack = np.concatenate((stack, np.zeros(len(stack), np.int64)))
                stack[depth] = x
                depth += 1
    return np.sort(rows[:count])


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _program(net: Columns, forms: Forms, el: Elements, e: int, rows: Any, ref_atoms: Any, ref_coefs: Any, local: Any, extra: int,
             ) -> Any:
    """The cone's rows as program lines, then the element itself as a sum of them, then room for `extra` lines; and their operands.
    Returns how many operands are there, -1 where they do not fit."""
    size = 4 * (el.first[e + 1] - el.first[e])
    for r in rows:
        size += net.first[r + 1] - net.first[r]
    room = size + 4 * extra
    arg, shift, neg = np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(room, np.bool_)
    program = np.zeros((len(rows) + 1 + extra, 9), np.int64)
    used = 0
    for i in range(len(rows)):
        r, line = rows[i], program[i]
        local[r] = i
        line[LO], line[HI], line[ROW] = net.lo[r], net.hi[r], r
        v, a, b = _leaf(forms, r, ref_atoms, ref_coefs)
        if v >= 0:
            line[CODE], line[IMM], line[AUX], line[FIRST] = LEAF, a, b, v
            continue
        line[CODE], line[IMM], line[AUX], line[FIRST] = net.op[r], net.imm[r], net.aux[r], used
        if net.op[r] == _TABLE:
            line[IMM], line[SIZE] = net.table_first[net.imm[r]], net.table_first[net.imm[r] + 1] - net.table_first[net.imm[r]]
        for k in range(net.first[r], net.first[r + 1]):
            arg[used], shift[used], neg[used] = local[net.arg[k]], net.shift[k], net.neg[k]
            used += 1
        line[END] = used
    line = program[len(rows)]
    line[CODE], line[IMM], line[FIRST], line[LO], line[HI], line[ROW] = _SUM, el.const[e], used, -(1 << 61), 1 << 61, -1
    for k in range(el.first[e], el.first[e + 1]):
        factor, places = el.coef[k], 0
        while factor % 2 == 0:
            factor, places = factor // 2, places + 1
        for _ in range(abs(factor)):  # merged sums have powers of two as factors, or small numbers
            if used >= size:
                return program, arg, shift, neg, -1
            arg[used], shift[used], neg[used] = local[el.row[k]], places, factor < 0
            used += 1
    line[END] = used
    return program, arg, shift, neg, used


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _definition(kind: int, leaves: Any, steps: Any, program: Any, begin: int, arg: Any, at: int) -> None:
    """The Graph's operation from line `begin` on: its operands as leaves, then what it does with them. Its steps' operands are
    arg[at:]."""
    for k in range(len(leaves)):
        line = program[begin + k]
        line[CODE], line[IMM], line[AUX], line[FIRST] = LEAF, leaves[k, 1], leaves[k, 2], leaves[k, 0]
    line, n = begin + len(leaves), len(leaves)
    if kind == FUNCTION:
        for k in range(len(steps)):
            program[line + k, :4] = steps[k]
            program[line + k, FIRST] = at
            arg[at] = line + k - 1
            at += 1
    elif kind in (PRODUCT, CHOICE):
        program[line, CODE], program[line, FIRST] = (_MUL if kind == PRODUCT else _SELECT), at
        for k in range(n):
            arg[at + k] = begin + k
    elif kind in (LARGER, SMALLER):
        program[line, CODE], program[line, FIRST] = _GE, at
        program[line + 1, CODE], program[line + 1, FIRST] = _SELECT, at + 2
        arg[at], arg[at + 1], arg[at + 2] = begin, begin + 1, line
        arg[at + 3], arg[at + 4] = (begin, begin + 1) if kind == LARGER else (begin + 1, begin)
    for k in range(begin, len(program)):
        program[k, LO], program[k, HI], program[k, ROW] = -(1 << 61), 1 << 61, -1


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _strides(variables: Any, count: int) -> bool:
    """Makes the variables 1, 2, ... digits of one number; where that has too many values, of some of theirs only (True)."""
    points = 1.0
    for v in range(1, count):
        points *= variables[v, 2]
    sampled = count > 2 and points > POINTS
    for v in range(1, count):
        if sampled and variables[v, 2] > SAMPLES:
            variables[v, 3] = (variables[v, 2] - 1) // (SAMPLES - 1)
            variables[v, 2] = SAMPLES
        if v > 1:
            variables[v, 1] = variables[v - 1, 1] * variables[v - 1, 2]
    return sampled


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _operands(of: Forms, el: Elements, numbers: Any, at: int, variables: Any, leaves: Any) -> Any:
    """The operands as a * P + b: (fine, atoms and coefficients of every P). The first P is a constant, that of an operand which is
    nowhere the operand itself; `variables` takes the range of each, `leaves` (variable, a, b) of every operand."""
    ref_atoms, ref_coefs = [of.atom[:0]], [of.coef[:0]]
    variables[:] = 1
    variables[0, 0] = 0
    for k in range(len(numbers)):
        x, taken = numbers[k], slice(of.first[at + k], of.first[at + k + 1])
        atoms, coefs, c = of.atom[taken], of.coef[taken], of.const[at + k]
        g = np.int64(0)
        for y in coefs:
            g = np.gcd(g, y)
        g = max(g, np.int64(1))
        lo, hi = -((c - el.lo[x]) // g), (el.hi[x] - c) // g
        if of.weight[at + k] > LIMIT or ((el.gone[x] or len(atoms) > 0) and (lo > hi or np.float64(hi) - np.float64(lo) > LIMIT)):
            return False, ref_atoms, ref_coefs
        v, factor, primitive = len(ref_atoms), np.int64(1), coefs // g
        for known in range(len(ref_atoms)):
            same, a, _ = _parallel(atoms, primitive, 0, ref_atoms[known], ref_coefs[known])
            if same and not el.gone[x] and v == len(ref_atoms):
                v, factor = known, a
        if v == len(ref_atoms):
            ref_atoms.append(atoms)
            ref_coefs.append(primitive)
            variables[v, 0], variables[v, 2] = lo, hi - lo + 1
        leaves[k, 0], leaves[k, 1], leaves[k, 2] = v, g * factor, c
    return True, ref_atoms, ref_coefs


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def cones(net: Columns, forms: Forms, el: Elements, of: Forms, numbers: Ints, kind: int, operands: Ints, scale: Ints, offset: Ints,
          steps: Ints) -> Any:
    """For the elements `numbers`: the program of the element's cone (of one that is nowhere, none) and of an operation on the
    elements operands[i], of which `of` are the forms; for a FUNCTION, the steps of scale[i] * x + offset[i]. Returns (Programs,
    whether they are of all values or of samples); a program without steps where there is none.
    """
    n, count, width = len(net.op), len(operands), operands.shape[1]
    first, variable_first, root = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64), np.zeros(count, np.int64)
    arg_first = np.zeros(count + 1, np.int64)
    lines, variables = np.zeros((16 * count + 16, 9), np.int64), np.zeros((count * (1 + width), 4), np.int64)
    args, shifts, negs = np.zeros(64, np.int64), np.zeros(64, np.int64), np.zeros(64, np.bool_)
    stamp, local, leaves = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros((width, 3), np.int64)
    operand, whole, at = np.full((count, 3), -1), np.ones(count, np.bool_), 0
    for i in range(count):
        e, v0 = numbers[i], variable_first[i]
        first[i + 1], variable_first[i + 1], arg_first[i + 1] = first[i], v0, at
        own = variables[v0:v0 + 1 + width]
        fine, ref_atoms, ref_coefs = _operands(of, el, operands[i], i * width, own, leaves)
        if not fine:
            continue
        whole[i] = kind == OPERANDS or not _strides(own, len(ref_atoms))
        roots = el.row[el.first[e]:el.first[e + 1]]
        rows = _cone(net, forms, roots, ref_atoms, ref_coefs, stamp, i + 1)
        if len(rows) == 0 and len(roots) > 0:
            continue
        extra = 0 if kind == ITSELF else width + (
            steps.shape[1] if kind == FUNCTION else 1 if kind in (PRODUCT, CHOICE) else 2 if kind in (LARGER, SMALLER) else 0)
        program, arg, shift, neg, used = _program(net, forms, el, e, rows, ref_atoms, ref_coefs, local, extra)
        if used < 0:
            continue
        if kind == FUNCTION:
            leaves[0, 1], leaves[0, 2] = scale[i] * leaves[0, 1], scale[i] * leaves[0, 2] + offset[i]
        if kind != ITSELF:
            operand[i, :width] = len(rows) + 1 + np.arange(width)
            _definition(kind, leaves, steps[i], program, len(rows) + 1, arg, used)
        if len(ref_atoms) == 2:  # of one variable and constants: the variable only
            own[0] = own[1]
            for k in range(len(program)):
                if program[k, CODE] == LEAF:
                    program[k, FIRST] = 0
        variable_first[i + 1] = v0 + (1 if len(ref_atoms) <= 2 else len(ref_atoms))
        root[i], first[i + 1] = len(program) - 1 if el.gone[e] else len(rows), first[i] + len(program)
        while first[i + 1] > len(lines):
            lines = np.concatenate((lines, np.zeros_like(lines)))
        lines[first[i]:first[i + 1]] = program
        while at + len(arg) > len(args):
            args, shifts = np.concatenate((args, np.zeros_like(args))), np.concatenate((shifts, np.zeros_like(shifts)))
            negs = np.concatenate((negs, np.zeros_like(negs)))
        args[at:at + len(arg)], shifts[at:at + len(arg)], negs[at:at + len(arg)] = arg, shift, neg
        at += len(arg)
        arg_first[i + 1] = at
    return Programs(first, lines, arg_first, args, shifts, negs, variable_first, variables, root, operand), whole
