"""The best of several elements, their codes or their places, by whatever tree or network of choices finds them.

*One.* A row is the best code of a set of candidates if it is one of them, or the better one, by their own comparison, of two rows
that are the best of two sets. A row is the place of the best of a set if it is a number, or a choice between two such places by
the comparison of the best codes of just these two sets; where those are equal it takes one side, and all places of that side must
be better than all of the other. A candidate that is in no set must be unable to win, by its range or because an equal one wins.

*Several.* Candidate x_k has a *key* x_k * scale + b_k with b_k in 0..scale - 1, and every other row is the larger or the smaller
one of two rows. With a threshold t every row has a truth, whether it reaches t, and the truth of the larger or smaller one of two
rows is the or, the and, of theirs. So rows are right for all keys if they are for all truths of the keys (the 0-1 principle: Knuth,
The Art of Computer Programming 3, section 5.3.4). A row's truths are held as a table of *how many* keys of some disjoint sets reach
t; where only the number in all the sets together decides, and that is whether it is at least j, the row is the j-th largest key of
their union, and the sets become one. So two sorted lists of m and n keys merge in (m + 1) * (n + 1) cases, not 2**(m + n). Where a
row needs more than that number, a set is taken apart again, into those that it was made of. Keys that always reach t, or never do,
by their ranges, are in no set; so a comparator may be missing where ranges decide.

If b_k says the place, the order of keys is the order of the elements, ties included. For codes alone b_k may be anything: x_k
reaches t if and only if its key reaches t * scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import numba
import numpy as np

from gatewright.compiler.proof.forms import ABSENT, EQUAL, LIMIT, UNKNOWN, Columns, Elements, Forms, element_forms
from gatewright.ir.fixed import Ints
from gatewright.ir.intervals import BEYOND, Bools
from gatewright.ir.netlist import Op
from gatewright.ir.ops import TopK

_SUM, _BITS, _GE, _SELECT = int(Op.SUM), int(Op.BITS), int(Op.GE), int(Op.SELECT)

CASES = 1 << 20
"""Most cases of one row."""
WORK = 1 << 28
"""Most cases of all rows of one column: a second or two."""

Set = int
"""Places of candidates, as bits."""


def places(s: Set) -> list[int]:
    return [k for k in range(s.bit_length()) if s >> k & 1]


# -- rows ----------------------------------------------------------------------------------------------------------------


LARGER, SMALLER = 1, 2
"""Of two rows; 0 is neither."""


class Choices(NamedTuple):
    """Every row as a choice: it is row p where row u >= row w, else row q (-1: it is no such thing); the `extreme` of p and q, where
    these are u and w; and the row that it always is, itself if none, one step before it (`step`) and back to the last one (`same`)."""

    step: Ints
    same: Ints
    u: Ints
    w: Ints
    p: Ints
    q: Ints
    extreme: Ints


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def choices(net: Columns, forms: Forms) -> Choices:
    n = len(net.op)
    step, same, extreme = np.arange(n), np.arange(n), np.zeros(n, np.int64)
    u, w, p, q = np.full(n, -1), np.full(n, -1), np.full(n, -1), np.full(n, -1)
    for r in range(n):
        s, at = net.first[r], forms.first[r]
        if net.op[r] == _SELECT and not net.shift[s:s + 3].any():
            c = net.arg[s]
            g = net.first[c]
            compared = net.op[c] == _GE and not net.shift[g:g + 2].any()
            if compared:
                u[r], w[r], p[r], q[r] = same[net.arg[g]], same[net.arg[g + 1]], same[net.arg[s + 1]], same[net.arg[s + 2]]
                if p[r] == u[r] and q[r] == w[r]:
                    extreme[r] = LARGER
                elif p[r] == w[r] and q[r] == u[r]:
                    extreme[r] = SMALLER
            if net.lo[c] == net.hi[c]:
                step[r] = net.arg[s + 1] if net.lo[c] else net.arg[s + 2]
            elif compared and _equal(forms, u[r], w[r]):
                step[r] = net.arg[s + 1]
        elif forms.first[r + 1] == at + 1 and forms.coef[at] == 1 and forms.const[r] == 0 and forms.weight[r] <= LIMIT:
            step[r] = forms.atom[at]
        same[r] = same[step[r]] if step[r] < r else r
    return Choices(step, same, u, w, p, q, extreme)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _equal(forms: Forms, x: int, y: int) -> bool:
    a, b, count = forms.first[x], forms.first[y], forms.first[x + 1] - forms.first[x]
    if count != forms.first[y + 1] - b or forms.const[x] != forms.const[y] or max(forms.weight[x], forms.weight[y]) > LIMIT:
        return False
    same = True
    for k in range(count):
        same &= forms.atom[a + k] == forms.atom[b + k] and forms.coef[a + k] == forms.coef[b + k]
    return same


def back(roots: Iterable[int], reads: Callable[[int], Iterable[int]]) -> list[int]:
    """All rows from `roots` back to those that read none, ascending."""
    met, stack = set[int](), list(roots)
    while stack:
        r = stack.pop()
        if r not in met:
            met.add(r)
            stack.extend(reads(r))
    return sorted(met)


def name(forms: Forms, i: int, scale: int, const: int) -> Any:
    """What two forms have in common if and only if they are equal, when one is multiplied by `scale` and has the constant `const`."""
    taken = slice(forms.first[i], forms.first[i + 1])
    return forms.atom[taken].tobytes(), (forms.coef[taken] * scale).tobytes(), const


def hint(forms: Forms, i: int) -> tuple[int, int]:
    """What equal forms have in common."""
    count = int(forms.first[i + 1] - forms.first[i])
    return count, int(forms.atom[forms.first[i]]) if count else -1


class Column(NamedTuple):
    """The elements that are ranked, with their forms `of[begin:]` and ranges, in a netlist."""

    net: Columns
    forms: Forms
    choices: Choices
    seen: Any
    of: Forms
    begin: int
    lo: list[int]
    hi: list[int]
    gone: list[bool]

    @property
    def size(self) -> int:
        return len(self.lo)


class Keys:
    """Which rows are keys: x_k * scale plus added[k], or, where nothing is said, anything in 0..scale - 1."""

    def __init__(self, column: Column, scale: int = 1, added: tuple[int, ...] | None = None) -> None:
        self.column, self.scale, self.added, of = column, scale, added, column.of
        self.named: dict[Any, list[int]] = {}
        self.hints = set[tuple[int, int]]()
        for k in range(column.size):
            i = column.begin + k
            if not column.gone[k] and of.weight[i] * scale <= LIMIT:
                const = int(of.const[i]) if added is None else int(of.const[i]) * scale + added[k]
                self.named.setdefault(name(of, i, scale, const), []).append(k)
                self.hints.add(hint(of, i))
        self.first = list(range(column.size))
        """Of every candidate the first one with the same form."""
        for alike in self.named.values():
            for k in alike:
                self.first[k] = alike[0]
        self.later = sum(1 << k for k in range(column.size) if self.first[k] != k)
        self.met: dict[int, list[int]] = {}

    def of(self, r: int) -> list[int]:
        """The candidates, all with one form, of which a row is the key."""
        if r not in self.met:
            forms = self.column.forms
            self.met[r] = []
            if hint(forms, r) in self.hints and forms.weight[r] <= LIMIT:
                const = int(forms.const[r]) // (self.scale if self.added is None else 1)
                self.met[r] = self.named.get(name(forms, r, 1, const), [])
        return self.met[r]

    def firsts(self, s: Set) -> Set:
        """The same forms, each by the first candidate that has it."""
        total = s & ~self.later
        for k in places(s & self.later):
            total |= 1 << self.first[k]
        return total

    def reads(self, r: int) -> tuple[int, ...]:
        """The two rows of which a row is the larger or smaller one; none of a key."""
        c = self.column.choices
        return (int(c.p[r]), int(c.q[r])) if c.extreme[r] and not self.of(r) else ()

    def fit(self, rows: list[int]) -> None:
        """Marks as seen which of some keys and extremes, ascending, lie within their bounds for all values of the candidates."""
        c, ranges = self.column, dict[int, tuple[int, int]]()
        for r in rows:
            a, b = self.reads(r) or (-1, -1)
            if alike := self.of(r):
                k = alike[0]
                more = int(c.forms.const[r]) - int(c.of.const[c.begin + k]) * self.scale
                ranges[r] = c.lo[k] * self.scale + more, c.hi[k] * self.scale + more
            elif a in ranges and b in ranges:
                pick = max if c.choices.extreme[r] == LARGER else min
                ranges[r] = pick(ranges[a][0], ranges[b][0]), pick(ranges[a][1], ranges[b][1])
            else:
                continue
            c.seen[r] |= c.net.lo[r] <= ranges[r][0] and ranges[r][1] <= c.net.hi[r]


class Form(NamedTuple):
    """An element: its atoms, their coefficients and the constant."""

    atoms: list[int]
    coefs: list[int]
    const: int
    name: Any


def form_of(forms: Forms, i: int) -> Form | None:
    taken, const = slice(forms.first[i], forms.first[i + 1]), int(forms.const[i])
    if forms.weight[i] > LIMIT:
        return None
    return Form(forms.atom[taken].tolist(), forms.coef[taken].tolist(), const, name(forms, i, 1, const))


# -- one -----------------------------------------------------------------------------------------------------------------


def is_best(column: Column, op: TopK, form: Form) -> bool:
    """Whether a form is the best code of a column, or with `index` its place."""
    keys = Keys(column)
    found: Set | None = None
    if op.index and not form.atoms and 0 <= form.const < column.size:
        found = 1 << form.const
    elif not op.index and form.name in keys.named:
        found = 1 << keys.named[form.name][0]
    elif form.coefs == [1] and form.const == 0:
        root, = form.atoms
        found = best_places(keys, op, root) if op.index else best_codes(keys, op, [root]).get(int(column.choices.same[root]))
    if found is None:
        return False
    members = places(found)
    return all(found >> k & 1 or any(loses(keys, op, k, j) for j in members) for k in range(column.size))


def loses(keys: Keys, op: TopK, k: int, j: int) -> bool:
    """Whether j is always better than k. Equal codes are told apart by place only."""
    c = keys.column
    ahead = c.lo[j] - c.hi[k] if op.largest else c.lo[k] - c.hi[j]
    before = not op.index or (j > k if op.last else j < k)
    return ahead > 0 or (before and (ahead == 0 or keys.first[j] == keys.first[k]))


def best_codes(keys: Keys, op: TopK, roots: Iterable[int]) -> dict[int, Set]:
    """The rows from `roots` back that are the best code of a set: the set, with the first one of equal candidates."""
    c, found = keys.column.choices, dict[int, Set]()
    rows = back((int(c.same[r]) for r in roots), keys.reads)
    wanted = LARGER if op.largest else SMALLER
    for r in rows:
        a, b = keys.reads(r) or (-1, -1)
        if alike := keys.of(r):
            found[r] = 1 << alike[0]
        elif c.extreme[r] == wanted and a in found and b in found:
            found[r] = found[a] | found[b]
    keys.fit(rows)
    return found


def best_places(keys: Keys, op: TopK, root: int) -> Set | None:
    """The candidates of the best of which a row is the place."""
    forms, c, found = keys.column.forms, keys.column.choices, dict[int, Set]()

    def constant(r: int) -> bool:
        return bool(forms.first[r] == forms.first[r + 1])

    def reads(r: int) -> tuple[int, ...]:
        if constant(r):
            return ()
        return (int(c.step[r]),) if c.step[r] != r else (int(c.p[r]), int(c.q[r])) if c.p[r] >= 0 else ()

    rows = back([root], reads)
    codes = best_codes(keys, op, {int(x) for r in rows if c.p[r] >= 0 for x in (c.u[r], c.w[r])})
    for r in rows:
        read = reads(r)
        if constant(r) and 0 <= forms.const[r] < keys.column.size and forms.weight[r] <= LIMIT:
            found[r] = 1 << int(forms.const[r])
        elif len(read) == 1 and read[0] in found:
            found[r] = found[read[0]]
        elif len(read) == 2 and read[0] in found and read[1] in found:
            p, q = found[read[0]], found[read[1]]
            u, w = (codes.get(int(x)) for x in ((c.u[r], c.w[r]) if op.largest else (c.w[r], c.u[r])))  # u is better where p is chosen
            if u is not None and w is not None and (all_before(q, p) if op.last else all_before(p, q)) and (
                    same_best(keys, op, u, p) and same_best(keys, op, w, q)):
                found[r] = p | q
    return found.get(root)


def same_best(keys: Keys, op: TopK, s: Set, t: Set) -> bool:
    """Whether the best codes of two sets are equal: what is in one set only is never better than the best of the other."""
    s, t = keys.firsts(s), keys.firsts(t)
    c = keys.column
    for more, other in ((s & ~t, t), (t & ~s, s)):
        if more and op.largest and max(c.hi[k] for k in places(more)) > max(c.lo[k] for k in places(other)):
            return False
        if more and not op.largest and min(c.lo[k] for k in places(more)) < min(c.hi[k] for k in places(other)):
            return False
    return True


def all_before(p: Set, q: Set) -> bool:
    return p.bit_length() < (q & -q).bit_length()


# -- several -------------------------------------------------------------------------------------------------------------


class Network(NamedTuple):
    """Numbered rows: (candidate,), of which the row is the key, or (extreme, row, row), or () of anything else; the rows of which it is
    asked whether they are the j-th largest key, (row, j); and the ranges of the keys."""

    rows: tuple[tuple[int, ...], ...]
    ranks: tuple[tuple[int, int], ...]
    lo: tuple[int, ...]
    hi: tuple[int, ...]

    def proven(self) -> tuple[bool, ...]:
        ends = thresholds(self.lo, self.hi)
        found = [True] * len(self.ranks)
        for t in ends:
            cut = Cut(self, t, WORK // len(ends))
            found = [fine and cut.is_rank(row, j) for fine, (row, j) in zip(found, self.ranks, strict=True)]
        return tuple(found)


def network(keys: Keys, ranks: list[tuple[int, int]]) -> Network:
    """What rows of the netlist are, of which (row, j) says that it is the j-th largest key."""
    c = keys.column
    roots = [int(c.choices.same[r]) for r, _ in ranks]
    rows = back(roots, keys.reads)
    keys.fit(rows)
    number, made, used = {r: i for i, r in enumerate(rows)}, list[tuple[int, ...]](), dict[int, int]()
    for r in rows:
        if alike := keys.of(r):  # of several with the same form another one for each row, as long as there are any
            count = used[alike[0]] = used.get(alike[0], -1) + 1
            made.append((alike[min(count, len(alike) - 1)],))
        else:
            read = keys.reads(r)
            made.append((int(c.choices.extreme[r]), number[read[0]], number[read[1]]) if read else ())
    scale, more = (1, (0,) * c.size) if keys.added is None else (keys.scale, keys.added)
    lo, hi = (tuple(x * scale + b for x, b in zip(end, more, strict=True)) for end in (c.lo, c.hi))
    return Network(tuple(made), tuple((number[r], j) for r, (_, j) in zip(roots, ranks, strict=True)), lo, hi)


class Counted(NamedTuple):
    """Whether a row reaches a threshold, bool[keys of the first set that do, keys of the second, ...]."""

    sets: tuple[Set, ...]
    table: Bools


class Cut:
    """Whether the rows of a network reach a threshold: `sure` keys always do, `free` ones may."""

    def __init__(self, network: Network, threshold: int, work: int) -> None:
        self.sure = sum(1 << k for k, x in enumerate(network.lo) if x >= threshold)
        self.free = sum(1 << k for k, x in enumerate(network.hi) if x >= threshold) & ~self.sure
        self.left = work
        self.parts: dict[Set, tuple[Set, ...]] = {}
        """Of a set the smaller ones that it was made of."""
        self.together: dict[Any, tuple[Set, ...]] = {}
        self.rows: list[Counted | None] = []
        for row in network.rows:
            self.rows.append(self.key(*row) if len(row) == 1 else self.extreme(*row) if row else None)

    def is_rank(self, r: int, j: int) -> bool:
        """Whether a row reaches the threshold if and only if at least j keys do."""
        row = self.rows[r]
        if row is None:
            return False
        missing = self.free & ~sum(row.sets)
        sets = (*row.sets, missing) if missing else row.sets
        return cases(sets) <= CASES and bool((spread(row, sets) == (total(sets) + self.sure.bit_count() >= j)).all())

    def key(self, k: int) -> Counted:
        return Counted((1 << k,), np.array([False, True])) if self.free >> k & 1 else Counted((), np.array(bool(self.sure >> k & 1)))

    def extreme(self, kind: int, a: int, b: int) -> Counted | None:
        x, y = self.rows[a], self.rows[b]
        if x is None or y is None:
            return None
        for one, other in ((x, y), (y, x)):
            if not one.sets:
                return one if bool(one.table) == (kind == LARGER) else other
        sets = self.common(x.sets, y.sets)
        self.left -= cases(sets)
        if cases(sets) > CASES or self.left < 0:
            return None
        tables = spread(x, sets), spread(y, sets)
        return self.joined(sets, tables[0] | tables[1] if kind == LARGER else tables[0] & tables[1])

    def common(self, x: tuple[Set, ...], y: tuple[Set, ...]) -> tuple[Set, ...]:
        """Disjoint sets of which those of x and y are made."""
        if (x, y) not in self.together:
            sets = {*x, *y}
            while overlap := next(((s, t) for s in sets for t in sets if s != t and s & t), None):
                larger = max(overlap, key=int.bit_count)
                sets = (sets - {larger}) | {*self.parts[larger]}
            self.together[x, y] = tuple(sorted(sets))
        return self.together[x, y]

    def joined(self, sets: tuple[Set, ...], table: Bools) -> Counted:
        """A row's truths by the number of keys of all sets together, where that is whether it is at least some j."""
        n = total(sets)
        j = 1 + int(n[~table].max(initial=-1))
        if (n[table] < j).any():
            return Counted(sets, table)
        union = sum(sets)
        if j == 0 or j > union.bit_count():
            return Counted((), np.array(j == 0))
        if len(sets) > 1:
            self.parts.setdefault(union, sets)
        return Counted((union,), np.arange(union.bit_count() + 1) >= j)


def cases(sets: tuple[Set, ...]) -> int:
    """Of so many sets that an array has not as many axes: too many."""
    return math.prod(s.bit_count() + 1 for s in sets) if len(sets) < 30 else CASES + 1


@lru_cache(32)
def total(sets: tuple[Set, ...]) -> Any:
    """How many keys there are together, by their numbers in the sets."""
    return sum((along(sets, i) for i in range(len(sets))), np.zeros((), np.int32))


def along(sets: tuple[Set, ...], i: int) -> Any:
    """The numbers of keys in a set, along its axis."""
    return np.arange(sets[i].bit_count() + 1, dtype=np.int32).reshape(*(-1 if k == i else 1 for k in range(len(sets))))


def spread(row: Counted, sets: tuple[Set, ...]) -> Bools:
    """The row's truths by the numbers of smaller sets; 1 long where a set does not matter."""
    if row.sets == sets:
        return row.table
    index: list[Any] = [sum(along(sets, i) for i, t in enumerate(sets) if t & s) for s in row.sets]
    return np.asarray(row.table[tuple(np.broadcast_arrays(*index))])


def thresholds(lo: tuple[int, ...], hi: tuple[int, ...]) -> list[int]:
    """Of keys in lo..hi, those thresholds that have all cases of all others: of more keys it is known whether they reach the others.

    Up to the next `hi`, a larger threshold has the same keys that never reach it, and fewer that always do. Where the next one has
    not fewer of these, only more never reach it.
    """
    ends = sorted(set(hi))
    sure = [sum(x >= t for x in lo) for t in ends]
    return [t for k, t in enumerate(ends) if k == 0 or sure[k] != sure[k - 1]]


# -- operations ----------------------------------------------------------------------------------------------------------


def rank_ranges(op: TopK, lo: Ints, hi: Ints) -> tuple[Ints, Ints]:
    """The ranges of the best of elements with the ranges lo..hi, [columns, elements], rank by rank, [columns, ranks]. A place is
    possible where the element's range meets that of the one in this rank; the better one of equal codes counts as better."""
    if op.index:
        n = lo.shape[1]
        better = np.arange(n)[::-1] if op.largest != op.last else np.arange(n)
        scale = n if max(np.abs(lo).max(initial=0), np.abs(hi).max(initial=0)) < BEYOND // n - 1 else 1
        lo, hi = (end * scale + better * (scale > 1) for end in (lo, hi))
    low, high = (op.best(np.sort(end, axis=1)) for end in (lo, hi))
    if not op.index:
        return low, high
    possible = (hi[:, None] >= low[..., None]) & (lo[:, None] <= high[..., None])
    return possible.argmax(axis=2), possible.shape[2] - 1 - possible[..., ::-1].argmax(axis=2)


def compare_ranks(net: Columns, forms: Forms, el: Elements, op: TopK, columns: Ints, own: Ints, seen: Any) -> Ints:
    """Whether the elements own[i], best first, are the best of the elements columns[i], of all i: what was found, by `own`. Sets
    their ranges, and marks in `seen` the rows within their bounds."""
    of, mine = element_forms(forms, el, columns.reshape(-1)), element_forms(forms, el, own.reshape(-1))
    el.lo[own], el.hi[own] = rank_ranges(op, el.lo[columns], el.hi[columns])
    found, rows, known = np.where(el.gone[own], ABSENT, UNKNOWN), choices(net, forms), dict[Network, tuple[bool, ...]]()
    for i, elements in enumerate(columns):
        column = Column(net, forms, rows, seen, of, i * columns.shape[1], *(end[elements].tolist() for end in (el.lo, el.hi, el.gone)))
        slices: dict[Any, list[Slice]] = {}
        for rank in np.flatnonzero(found[i] == UNKNOWN).tolist():
            form, e = form_of(mine, i * own.shape[1] + rank), own[i, rank]
            limits = int(el.lo[e]), int(el.hi[e])
            if form is None:
                continue
            if (limits == (form.const, form.const) and not form.atoms) or (op.count == 1 and is_best(column, op, form)):
                found[i, rank] = EQUAL
            elif op.count > 1 and (cut := slice_of(column, op, rank, as_written(net, el, e) or form, limits)):
                slices.setdefault((cut.scale, cut.added), []).append(cut)
        for alike in slices.values():
            for cut, proven in zip(alike, are_ranked(column, op, alike, known), strict=True):
                if proven:
                    found[i, cut.rank] = EQUAL
                    seen[cut.row] |= cut.fits
    return found


def as_written(net: Columns, el: Elements, e: int) -> Form | None:
    """An element that is a slice, times one or minus one, plus a constant; as a form the slice can be its whole row less a constant."""
    if el.first[e + 1] != el.first[e] + 1:
        return None
    row, factor, const = int(el.row[el.first[e]]), int(el.coef[el.first[e]]), int(el.const[e])
    at = net.first[row]
    if net.op[row] == _SUM and net.first[row + 1] == at + 1 and net.shift[at] == 0:
        row, factor, const = int(net.arg[at]), -factor if net.neg[at] else factor, const + factor * int(net.imm[row])
    return Form([row], [factor], const, None) if net.op[row] == _BITS else None


class Slice(NamedTuple):
    """An element that is a slice of a key, if row `source` is the key of its rank: keys are x_k * scale, plus `added` if that is known.
    Then the row of the slice fits its bounds or not."""

    rank: int
    row: int
    source: int
    scale: int
    added: tuple[int, ...] | None
    fits: bool


def slice_of(column: Column, op: TopK, rank: int, form: Form, limits: tuple[int, int]) -> Slice | None:
    """An element of which the code or place is in `limits`."""
    if len(form.atoms) != 1:
        return None
    net, row = column.net, form.atoms[0]
    if net.op[row] != _BITS or net.shift[net.first[row]]:
        return None
    low, width, signed, factor = int(net.imm[row]), int(net.aux[row]), bool(net.lo[row] < 0), form.coefs[0]
    added: tuple[int, ...] | None = None
    if op.index:  # the lower bits, which say the place
        scale = 1 << width
        added = tuple((k - form.const) * factor for k in range(column.size))
        if low or signed or abs(factor) != 1 or (factor < 0) != (op.largest != op.last) or min(added) < 0 or max(added) >= scale:
            return None
        limits = min(added[k] for k in limits), max(added[k] for k in limits)
    else:  # the bits above, which say the code
        scale = 1 << low
        floor = -(1 << width - 1) if signed else 0
        if factor != 1 or form.const or limits[0] < floor or limits[1] >= floor + (1 << width):
            return None
    if max(abs(x) for x in (*column.lo, *column.hi)) * scale >= BEYOND:
        return None
    return Slice(rank, row, int(net.arg[net.first[row]]), scale, added, bool(net.lo[row] <= limits[0] and limits[1] <= net.hi[row]))


def are_ranked(column: Column, op: TopK, slices: list[Slice], known: dict[Network, tuple[bool, ...]]) -> tuple[bool, ...]:
    """Whether each of some slices, alike but for rank and row, is one of the key in its rank. Equal networks are proven once."""
    ranks = [(s.source, s.rank + 1 if op.largest else column.size - s.rank) for s in slices]
    rows = network(Keys(column, slices[0].scale, slices[0].added), ranks)
    if rows not in known:
        known[rows] = rows.proven()
    return known[rows]
