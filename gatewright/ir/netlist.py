"""`Netlist`, the scalar IR of one combinational kernel: columns of numpy arrays, one row per operation.

What each op means is a table in docs/architecture.md; `netlist_eval` is its executable form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gatewright.errors import InternalError, UserError
from gatewright.ir import intervals
from gatewright.ir.fixed import MAX_WIDTH, Ints, bits_for
from gatewright.ir.intervals import MAX_SHIFT, Bools, Interval, Rows

Bounds = tuple[ArrayLike, ArrayLike]
"""What a caller of NetlistBuilder knows about new rows: (lo, hi), scalars or int64[n]."""

Operands = tuple[Rows, NDArray[np.uint8], Bools]
"""The columns `arg`, `shift` and `neg` of some rows."""


class Op(IntEnum):
    """Operations of a Netlist; the codes are stored in files, so they never change."""

    INPUT = 0
    CONST = 1
    SUM = 2
    BITS = 3
    GE = 4
    EQ = 5
    SELECT = 6
    MUL = 7
    TABLE = 8


OPERANDS = {Op.INPUT: 0, Op.CONST: 0, Op.BITS: 1, Op.GE: 2, Op.EQ: 2, Op.SELECT: 3, Op.MUL: 2, Op.TABLE: 1}
"""Number of operands; `SUM` has one or more."""


IN_DSP = 1
"""`imm` of a product that a DSP block of the part computes; 0: LUTs do."""


@dataclass(frozen=True, eq=False, slots=True)
class NetPort:
    """Element i of the port is row `rows[i]`."""

    name: str
    rows: Rows

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NetPort) and self.name == other.name and np.array_equal(self.rows, other.rows)


@dataclass(frozen=True, eq=False, slots=True)
class Netlist:
    """n rows in topological order with m operands in all; every array is read-only.

    Row r: `op[r]`, `imm[r]`, `aux[r]`, bounds `lo[r]..hi[r]`, `origins[origin[r]]` (its ONNX node), and the operands
    `first[r]:first[r+1]`, each `±(arg << shift)`.
    """

    name: str
    op: NDArray[np.uint8]
    imm: Ints
    aux: Ints
    lo: Ints
    hi: Ints
    origin: Rows
    first: Ints
    arg: Rows
    shift: NDArray[np.uint8]
    neg: Bools
    tables: tuple[Ints, ...]
    origins: tuple[str, ...]
    inputs: tuple[NetPort, ...]
    outputs: tuple[NetPort, ...]

    def __post_init__(self) -> None:
        arrays = [getattr(self, f.name) for f in fields(self)] + [p.rows for p in self.inputs + self.outputs]
        for array in [*arrays, *self.tables]:
            if isinstance(array, np.ndarray):
                array.setflags(write=False)

    def __len__(self) -> int:
        return len(self.op)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Netlist):
            return False
        pairs = [(getattr(self, f.name), getattr(other, f.name)) for f in fields(self) if f.name != "tables"]
        return (all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)
                and len(self.tables) == len(other.tables)
                and all(np.array_equal(a, b) for a, b in zip(self.tables, other.tables, strict=True)))

    @property
    def widths(self) -> Ints:
        """Bits of every row (`bits_for` of its bounds), int64[n]."""
        return widths(self.lo, self.hi)

    def where(self, row: int) -> str:
        """A row for messages: its number, op, bounds and origin."""
        origin, op = self.origins[self.origin[row]], int(self.op[row])
        name = Op(op).name.lower() if op < len(Op) else f"op {op}"
        return f"row %{row} ({name}, {self.lo[row]}..{self.hi[row]}) of node '{origin}'"


def widths(lo: Ints, hi: Ints) -> Ints:
    """`bits_for`, vectorised."""
    signed = lo < 0
    magnitude: NDArray[np.uint64] = np.maximum(np.where(signed, -lo - 1, 0), hi).astype(np.uint64)
    length = np.zeros(lo.shape, np.int64)
    for step in (32, 16, 8, 4, 2, 1):
        wide = magnitude >> np.uint64(step) != 0
        length += step * wide
        magnitude = np.where(wide, magnitude >> np.uint64(step), magnitude)
    result: Ints = np.maximum(length + (magnitude != 0) + signed, 1)
    return result


class _Column:
    """An array that grows at its end in amortised constant time per element."""

    def __init__(self, dtype: type) -> None:
        self._data: NDArray[np.generic] = np.zeros(1024, dtype)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, values: NDArray[np.generic]) -> None:
        end = self._size + len(values)
        if end > len(self._data):
            grown = np.zeros(max(end, 2 * len(self._data)), self._data.dtype)
            grown[:self._size] = self._data[:self._size]
            self._data = grown
        self._data[self._size:end] = values
        self._size = end

    @property
    def values(self) -> NDArray[np.generic]:
        return self._data[:self._size]


class NetlistBuilder:
    """Builds a Netlist, many rows a call.

    Every method takes scalars or 1-D arrays broadcast to n, appends n rows and returns their numbers, int32[n].
    Bounds are computed from the operands; `bounds=(lo, hi)` intersects them with what the caller knows. Raises
    UserError, naming the current origin, where a value would be wider than MAX_WIDTH bits.
    """

    def __init__(self, name: str, arity: int = 2, effort: int = 0, signed: bool = False) -> None:
        """`arity`: how many operands, 2 or 3, one sum is to have: what the target adds in one carry chain.

        `effort`: how long to search for smaller logic, 0..3; `signed`: sums stay signed numbers, as software adds them.
        """
        self.name, self.arity, self.effort, self.signed = name, arity, effort, signed
        self._columns = {
            "op": _Column(np.uint8), "imm": _Column(np.int64), "aux": _Column(np.int64), "lo": _Column(np.int64),
            "hi": _Column(np.int64), "origin": _Column(np.int32), "count": _Column(np.int64),
            "arg": _Column(np.int32), "shift": _Column(np.uint8), "neg": _Column(np.bool_)}
        self._origins: dict[str, int] = {}
        self._origin = -1
        self._constants: dict[int, int] = {}
        self._tables: list[Ints] = []
        self._table_ids: dict[bytes, int] = {}
        self._inputs: list[NetPort] = []
        self._outputs: list[NetPort] = []

    def __len__(self) -> int:
        return len(self._columns["op"])

    @property
    def lo(self) -> Ints:
        """Lower bounds of all rows so far."""
        return self._columns["lo"].values  # type: ignore[return-value]

    @property
    def hi(self) -> Ints:
        """Upper bounds of all rows so far."""
        return self._columns["hi"].values  # type: ignore[return-value]

    def origin(self, node: str) -> None:
        """The ONNX node that the following rows come from."""
        self._origin = self._origins.setdefault(node, len(self._origins))

    def input(self, port: str, lo: ArrayLike, hi: ArrayLike) -> Rows:
        """A new input port with one element per bound."""
        lo, hi = _vectors(lo, hi)
        rows = self._append(Op.INPUT, (lo, hi), imm=len(self._inputs), aux=np.arange(len(lo)))
        self._inputs.append(NetPort(port, rows))
        return rows

    def const(self, values: ArrayLike) -> Rows:
        """Constant rows; the same value gives the same row."""
        distinct, place = np.unique(_vectors(values)[0], return_inverse=True)
        missing = np.array([v for v in distinct.tolist() if v not in self._constants], np.int64)
        rows = self._append(Op.CONST, (missing, missing), imm=missing)
        self._constants.update(zip(missing.tolist(), rows.tolist(), strict=True))
        return np.array([self._constants[v] for v in distinct.tolist()], np.int32)[place.ravel()]

    def sum(self, first: ArrayLike, arg: ArrayLike, shift: ArrayLike = 0, neg: ArrayLike = False, imm: ArrayLike = 0,
            bounds: Bounds | None = None) -> Rows:
        """Row i is the sum of `±(arg << shift)` over the operands `first[i]:first[i+1]` (at least one), plus imm."""
        starts = np.asarray(first, np.int64)
        arg, shift = _vectors(arg, shift)
        neg = np.broadcast_to(np.asarray(neg, np.bool_), arg.shape)
        count = np.diff(starts)
        if len(starts) == 0 or starts[0] != 0 or starts[-1] != len(arg) or (count < 1).any():
            raise InternalError(f"netlist '{self.name}': sum operands are not in CSR form")
        imm = np.broadcast_to(np.asarray(imm, np.int64), count.shape)
        self._check_operands(arg, shift)
        operands = arg.astype(np.int32), shift.astype(np.uint8), neg
        return self._append(Op.SUM, intervals.of_sum(self.lo, self.hi, starts, *operands, imm), imm=imm, count=count,
                            operands=operands, bounds=bounds)

    def sum1(self, a: ArrayLike, shift: ArrayLike = 0, neg: ArrayLike = False, imm: ArrayLike = 0,
             bounds: Bounds | None = None) -> Rows:
        """`±(a << shift) + imm`."""
        a, shift, neg, imm = _vectors(a, shift, neg, imm)
        return self.sum(np.arange(len(a) + 1), a, shift, neg, imm, bounds)

    def sum2(self, a: ArrayLike, sa: ArrayLike, na: ArrayLike, b: ArrayLike, sb: ArrayLike, nb: ArrayLike,
             imm: ArrayLike = 0, bounds: Bounds | None = None) -> Rows:
        """`±(a << sa) ± (b << sb) + imm`; `na`, `nb` say which operands are subtracted."""
        a, sa, na, b, sb, nb, imm = _vectors(a, sa, na, b, sb, nb, imm)
        arg, shift, neg = (np.stack(pair, 1).ravel() for pair in ((a, b), (sa, sb), (na, nb)))
        return self.sum(np.arange(0, 2 * len(a) + 1, 2), arg, shift, neg, imm, bounds)

    def bits(self, x: ArrayLike, low: ArrayLike, width: ArrayLike, signed: ArrayLike,
             bounds: Bounds | None = None) -> Rows:
        """Bits `low .. low+width-1` of x, two's complement where `signed`: truncating shift and wrap."""
        x, low, width, signed = _vectors(x, low, width, signed)
        if ((low < 0) | (low > MAX_WIDTH) | (width < 1)).any():
            raise InternalError(f"netlist '{self.name}': bit slice outside 0..{MAX_WIDTH}")
        if (width > MAX_WIDTH).any():
            raise self._wide(int(width.max()), "a bit slice")
        self._check_operands(x)
        return self._append(Op.BITS, intervals.of_bits(self._interval(x), low, width, signed != 0), imm=low, aux=width,
                            operands=_columns(x), bounds=bounds)

    def ge(self, a: ArrayLike, b: ArrayLike, sa: ArrayLike = 0, sb: ArrayLike = 0) -> Rows:
        """1 if `a << sa >= b << sb`, else 0."""
        return self._binary(Op.GE, intervals.of_ge, a, b, sa, sb)

    def eq(self, a: ArrayLike, b: ArrayLike, sa: ArrayLike = 0, sb: ArrayLike = 0) -> Rows:
        """1 if `a << sa == b << sb`, else 0."""
        return self._binary(Op.EQ, intervals.of_eq, a, b, sa, sb)

    def select(self, c: ArrayLike, a: ArrayLike, b: ArrayLike, sa: ArrayLike = 0, sb: ArrayLike = 0,
               bounds: Bounds | None = None) -> Rows:
        """`a << sa` where c is 1, `b << sb` where c is 0; c must lie in 0..1."""
        c, a, b, sa, sb = _vectors(c, a, b, sa, sb)
        self._check_operands(np.stack([c, a, b]), np.stack([sa, sb]))
        if ((self.lo[c] < 0) | (self.hi[c] > 1)).any():
            raise InternalError(f"netlist '{self.name}': the condition of a select is not in 0..1")
        interval = intervals.of_select(self._interval(c), self._interval(a, sa), self._interval(b, sb))
        operands = _columns(c, a, b, shifts=(np.zeros_like(sa), sa, sb))
        return self._append(Op.SELECT, interval, operands=operands, count=3, bounds=bounds)

    def mul(self, a: ArrayLike, b: ArrayLike, sa: ArrayLike = 0, sb: ArrayLike = 0,
            bounds: Bounds | None = None) -> Rows:
        """`(a << sa) * (b << sb)`."""
        return self._binary(Op.MUL, intervals.of_mul, a, b, sa, sb, bounds)

    def intern(self, table: ArrayLike) -> int:
        """The id of a table (1-D int64); equal tables have one id."""
        values = np.array(table, np.int64).ravel()
        if len(values) == 0:
            raise InternalError(f"netlist '{self.name}': an empty table")
        known = self._table_ids.setdefault(values.tobytes(), len(self._tables))
        if known == len(self._tables):
            self._tables.append(values)
        return known

    def table(self, x: ArrayLike, tables: Sequence[ArrayLike | int] | NDArray[np.integer], base: ArrayLike,
              shift: ArrayLike = 0, bounds: Bounds | None = None) -> Rows:
        """`tables[i][(x << shift) - base]`; `tables`: a list of tables or ids, or an array of ids, of length n or 1."""
        ids = tables if isinstance(tables, np.ndarray) else [
            int(t) if isinstance(t, int | np.integer) else self.intern(t) for t in tables]
        x, table, base, shift = _vectors(x, ids, base, shift)
        self._check_operands(x, shift)
        if ((table < 0) | (table >= len(self._tables))).any():
            raise InternalError(f"netlist '{self.name}': unknown table id")
        reach = self._interval(x, shift)
        size = np.array([len(t) for t in self._tables], np.int64)[table]
        if ((reach[0] < base) | (reach[1] - base >= size)).any():
            raise InternalError(f"netlist '{self.name}': a table is shorter than the range of its input")
        return self._append(Op.TABLE, intervals.of_table(reach, table, base, self._tables), imm=table, aux=base,
                            operands=_columns(x, shifts=(shift,)), bounds=bounds)

    def output(self, port: str, rows: ArrayLike) -> None:
        """A new output port; any rows, also inputs, constants and the same row twice."""
        rows = np.array(rows, np.int32).ravel()
        self._check_operands(rows)
        self._outputs.append(NetPort(port, rows))

    def build(self) -> Netlist:
        c = {name: column.values.copy() for name, column in self._columns.items()}
        first = np.concatenate([[0], np.cumsum(c.pop("count"))]).astype(np.int64)
        return Netlist(name=self.name, first=first, tables=tuple(self._tables), origins=tuple(self._origins),
                       inputs=tuple(self._inputs), outputs=tuple(self._outputs), **c)  # type: ignore[arg-type]

    def _binary(self, op: Op, interval: Callable[[Interval, Interval, Bools], Interval], a: ArrayLike, b: ArrayLike,
                sa: ArrayLike, sb: ArrayLike, bounds: Bounds | None = None) -> Rows:
        a, b, sa, sb = _vectors(a, b, sa, sb)
        self._check_operands(np.stack([a, b]), np.stack([sa, sb]))
        computed = interval(self._interval(a, sa), self._interval(b, sb), (a == b) & (sa == sb))
        return self._append(op, computed, operands=_columns(a, b, shifts=(sa, sb)), count=2, bounds=bounds)

    def _interval(self, rows: Ints, shift: Ints | int = 0) -> Interval:
        lo, hi = intervals.shifted(self.lo[rows], self.hi[rows], shift)
        self._check_interval(lo, hi)
        return lo, hi

    def _check_operands(self, rows: Ints | Rows, shift: Ints | int = 0) -> None:
        if rows.size and not 0 <= rows.min() <= rows.max() < len(self):
            raise InternalError(f"netlist '{self.name}': an operand is not a row of this netlist")
        if np.size(shift) and not 0 <= np.min(shift) <= np.max(shift) <= MAX_SHIFT:
            raise InternalError(f"netlist '{self.name}': a shift is not in 0..{MAX_SHIFT}")

    def _append(self, op: Op, interval: Interval, *, imm: ArrayLike = 0, aux: ArrayLike = 0,
                count: ArrayLike | None = None, operands: Operands | None = None,
                bounds: Bounds | None = None) -> Rows:
        if self._origin < 0:
            raise InternalError(f"netlist '{self.name}': rows before the first origin")
        lo, hi = interval
        if bounds is not None:
            lo, hi = np.maximum(lo, np.asarray(bounds[0], np.int64)), np.minimum(hi, np.asarray(bounds[1], np.int64))
        self._check_interval(lo, hi)
        n, start = len(lo), len(self)
        if count is None:
            count = 0 if operands is None else 1
        values: dict[str, ArrayLike] = {"op": op, "imm": imm, "aux": aux, "lo": lo, "hi": hi, "origin": self._origin,
                                        "count": count}
        for name, fill in values.items():
            self._columns[name].append(np.broadcast_to(np.asarray(fill), (n,)))
        columns: Sequence[NDArray[np.generic]] = operands or ()
        for name, column in zip(("arg", "shift", "neg"), columns, strict=False):
            self._columns[name].append(column)
        return np.arange(start, start + n, dtype=np.int32)

    def _check_interval(self, lo: Ints, hi: Ints) -> None:
        if (lo > hi).any():
            raise InternalError(f"netlist '{self.name}': an empty range in node '{list(self._origins)[self._origin]}'")
        wide = intervals.too_wide(lo, hi)
        if wide.any():
            i = int(np.argmax(wide))
            raise self._wide(bits_for(int(lo[i]), int(hi[i])), "a value")

    def _wide(self, width: int, what: str) -> UserError:
        return UserError(f"{what} needs at least {width} bits; at most {MAX_WIDTH} are supported",
                         node=list(self._origins)[self._origin], remedy="Use narrower types for its inputs or weights")


def _vectors(*values: ArrayLike) -> tuple[Ints, ...]:
    """Scalars and 1-D arrays, broadcast to one length, as int64."""
    return tuple(np.broadcast_arrays(*(np.atleast_1d(np.asarray(v)).astype(np.int64) for v in values)))


def _columns(*rows: Ints, shifts: tuple[Ints, ...] | None = None) -> Operands:
    """Operand columns of rows with the operands `rows[0][i], rows[1][i], ...`."""
    arg = np.stack(rows, 1).ravel().astype(np.int32)
    shift = np.zeros(len(arg), np.uint8) if shifts is None else np.stack(shifts, 1).ravel().astype(np.uint8)
    return arg, shift, np.zeros(len(arg), np.bool_)


def verify(netlist: Netlist) -> None:
    """Every invariant of the contract; raises InternalError naming the first row, and its origin, that breaks one.

    Declared bounds must lie inside the interval computed from the operands' declared bounds.
    """
    _verify_columns(netlist)
    _verify_rows(netlist)
    _verify_ports(netlist)
    lo, hi = computed_bounds(netlist)
    _refuse(netlist, np.arange(len(netlist)), (netlist.lo < lo) | (netlist.hi > hi), "has bounds wider than its value")


def computed_bounds(netlist: Netlist) -> Interval:
    """Of every row the interval that its operands' declared bounds give."""
    lo, hi = np.zeros(len(netlist), np.int64), np.zeros(len(netlist), np.int64)
    for op in Op:
        rows = np.flatnonzero(netlist.op == op)
        if len(rows):
            lo[rows], hi[rows] = _recomputed(netlist, op, rows)
    return lo, hi


def narrowed(netlist: Netlist) -> Netlist:
    """The same rows with bounds cut down to what their operands can give.

    After a pass has made two operands of a row one, say, whose range as a pair was wider. Narrower operands never give
    a wider interval, so the sweeps end.
    """
    owner = np.repeat(np.arange(len(netlist)), np.diff(netlist.first))
    todo = np.arange(len(netlist))
    while len(todo):
        lo, hi = netlist.lo.copy(), netlist.hi.copy()
        for op in Op:
            rows = todo[netlist.op[todo] == op]
            if len(rows):
                least, most = _recomputed(netlist, op, rows)
                lo[rows], hi[rows] = np.maximum(lo[rows], least), np.minimum(hi[rows], most)
        changed = (lo != netlist.lo) | (hi != netlist.hi)
        netlist = replace(netlist, lo=lo, hi=hi)
        todo = np.unique(owner[changed[netlist.arg]])
    return netlist


def _refuse(netlist: Netlist, rows: Ints | Rows, wrong: Bools, what: str) -> None:
    if wrong.any():
        raise InternalError(f"netlist '{netlist.name}': {netlist.where(int(rows[np.argmax(wrong)]))} {what}")


def _verify_columns(netlist: Netlist) -> None:
    n, m = len(netlist.op), len(netlist.arg)
    for name, dtype, size in (("op", np.uint8, n), ("imm", np.int64, n), ("aux", np.int64, n), ("lo", np.int64, n),
                              ("hi", np.int64, n), ("origin", np.int32, n), ("first", np.int64, n + 1),
                              ("arg", np.int32, m), ("shift", np.uint8, m), ("neg", np.bool_, m)):
        column = getattr(netlist, name)
        if column.dtype != dtype or column.shape != (size,):
            raise InternalError(f"netlist '{netlist.name}': column '{name}' is {column.dtype}{list(column.shape)}")
    if (len(set(netlist.origins)) != len(netlist.origins)
            or (n and not 0 <= netlist.origin.min() <= netlist.origin.max() < len(netlist.origins))):
        raise InternalError(f"netlist '{netlist.name}': origins are not unique, or a row has none")
    if netlist.first[0] != 0 or netlist.first[-1] != m or (np.diff(netlist.first) < 0).any():
        raise InternalError(f"netlist '{netlist.name}': operands are not in CSR form")
    if any(t.dtype != np.int64 or t.ndim != 1 or len(t) == 0 for t in netlist.tables):
        raise InternalError(f"netlist '{netlist.name}': a table is not a non-empty vector of int64")


def _verify_rows(netlist: Netlist) -> None:
    rows = np.arange(len(netlist))
    op, imm, aux, count = netlist.op, netlist.imm, netlist.aux, np.diff(netlist.first)
    _refuse(netlist, rows, netlist.lo > netlist.hi, "has an empty range")
    _refuse(netlist, rows, intervals.too_wide(netlist.lo, netlist.hi), f"is wider than {MAX_WIDTH} bits")
    wanted = np.array([OPERANDS.get(o, 1) for o in Op])
    _refuse(netlist, rows, op >= len(Op), "has an unknown op")
    _refuse(netlist, rows, np.where(op == Op.SUM, count < 1, count != wanted[op]), "has the wrong number of operands")
    owner = np.repeat(rows, count)
    _refuse(netlist, owner, (netlist.arg < 0) | (netlist.arg >= owner), "uses a row that is not before it")
    _refuse(netlist, owner, netlist.shift > MAX_SHIFT, "shifts too far")
    _refuse(netlist, owner, netlist.neg & (op[owner] != Op.SUM), "negates an operand but is no sum")
    _refuse(netlist, rows, (aux != 0) & ~np.isin(op, [Op.INPUT, Op.BITS, Op.TABLE]), "has an aux that means nothing")
    _refuse(netlist, rows, (imm != 0) & np.isin(op, [Op.GE, Op.EQ, Op.SELECT]), "has an imm that means nothing")
    _refuse(netlist, rows, (op == Op.MUL) & (imm != 0) & (imm != IN_DSP), "has an imm that means nothing")
    _refuse(netlist, rows, (op == Op.SUM) & (np.abs(imm) >= intervals.BEYOND), "adds too large a constant")
    _refuse(netlist, rows, (op == Op.BITS) & ((imm < 0) | (imm > MAX_WIDTH) | (aux < 1) | (aux > MAX_WIDTH)),
            "takes bits that do not exist")
    _refuse(netlist, rows, (op == Op.TABLE) & ((imm < 0) | (imm >= len(netlist.tables))), "names no table")
    _refuse(netlist, rows, (op == Op.CONST) & ((netlist.lo != imm) | (netlist.hi != imm)), "is not its constant")
    selects = rows[op == Op.SELECT]
    place = netlist.first[selects]
    c = netlist.arg[place]
    _refuse(netlist, selects, (netlist.lo[c] < 0) | (netlist.hi[c] > 1) | (netlist.shift[place] != 0),
            "has a condition that is not in 0..1")


def _verify_ports(netlist: Netlist) -> None:
    for ports in (netlist.inputs, netlist.outputs):
        for port in ports:
            if port.rows.dtype != np.int32 or ((port.rows < 0) | (port.rows >= len(netlist))).any():
                raise InternalError(f"netlist '{netlist.name}': port '{port.name}' names a row that does not exist")
        if len({p.name for p in ports}) != len(ports):
            raise InternalError(f"netlist '{netlist.name}': two ports on one side have the same name")
    rows = np.flatnonzero(netlist.op == Op.INPUT)
    if sum(len(p.rows) for p in netlist.inputs) != len(rows):
        raise InternalError(f"netlist '{netlist.name}': input rows and input ports do not match")
    for index, port in enumerate(netlist.inputs):
        own = port.rows
        wrong = (netlist.op[own] != Op.INPUT) | (netlist.imm[own] != index) | (netlist.aux[own] != np.arange(len(own)))
        _refuse(netlist, own, wrong, f"is not its element of input port '{port.name}'")


def _recomputed(netlist: Netlist, op: Op, rows: Ints) -> Interval:
    """Intervals of `rows`, all of one op, from the declared bounds of their operands."""
    if op in (Op.INPUT, Op.CONST):
        return netlist.lo[rows], netlist.hi[rows]
    if op == Op.SUM:
        count = np.diff(netlist.first)[rows]
        first = np.concatenate([[0], np.cumsum(count)])
        taken = np.repeat(netlist.first[rows] - first[:-1], count) + np.arange(first[-1])
        return intervals.of_sum(netlist.lo, netlist.hi, first, netlist.arg[taken], netlist.shift[taken],
                                netlist.neg[taken], netlist.imm[rows])
    place = netlist.first[rows]
    operands = [intervals.shifted(netlist.lo[arg], netlist.hi[arg], netlist.shift[place + k].astype(np.int64))
                for k in range(OPERANDS[op]) for arg in [netlist.arg[place + k]]]
    for operand in operands:
        _refuse(netlist, rows, intervals.too_wide(*operand), "shifts an operand beyond the widest code")
    imm, aux = netlist.imm[rows], netlist.aux[rows]
    if op == Op.BITS:
        return intervals.of_bits(operands[0], imm, aux, netlist.lo[rows] < 0)
    if op == Op.SELECT:
        return intervals.of_select(operands[0], operands[1], operands[2])
    if op in (Op.GE, Op.EQ, Op.MUL):
        same = (netlist.arg[place] == netlist.arg[place + 1]) & (netlist.shift[place] == netlist.shift[place + 1])
        rule = {Op.GE: intervals.of_ge, Op.EQ: intervals.of_eq, Op.MUL: intervals.of_mul}[op]
        return rule(operands[0], operands[1], same)
    size = np.array([len(t) for t in netlist.tables], np.int64)[imm]
    _refuse(netlist, rows, (operands[0][0] < aux) | (operands[0][1] - aux >= size), "looks beyond the end of its table")
    return intervals.of_table(operands[0], imm, aux, netlist.tables)
