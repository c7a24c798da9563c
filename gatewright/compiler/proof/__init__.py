"""The proof, in every compile, that the Netlist is the Graph: for all inputs, operation by operation, element by element.

In the Graph's order, every element of every operation is proven equal to the operation's definition (ir/ops) on its operands'
elements, which are proven already:

- linear operations by their exact integer coefficients (`forms`): the element's rows and the Graph's weights and constants are the
  same linear form of rows that are no sums;
- functions (requant, thresholds, table) as functions of one integer, on all of its values, by breakpoints (`cones`, `blocks`);
- products, choices and extremes row by row (`choices`), or on all values where their operands are narrow;
- quotients and square roots digit by digit (`digits`), the best of several elements as sets of elements (`ranks`).

Last, the ports are what the Graph says, and every row's value fits its declared bounds, from which the hardware's widths come.
Nothing is taken on trust but the meaning of Graph and Netlist operations in `ir`: `Places`, say, is a claim that is checked.
Shares no code with lowering and the passes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewright.compiler.proof import spec
from gatewright.compiler.proof.blocks import ROW, WORK, Programs, compare_programs
from gatewright.compiler.proof.choices import compare_choices, compare_extremes
from gatewright.compiler.proof.cones import CHOICE, FUNCTION, ITSELF, LARGER, OPERANDS, PRODUCT, SMALLER, cones
from gatewright.compiler.proof.digits import element, proven
from gatewright.compiler.proof.forms import (
    ABSENT,
    DIFFERENT,
    EQUAL,
    UNKNOWN,
    Columns,
    Elements,
    Forms,
    columns,
    compare_linear,
    element_forms,
    elements,
    fit_bounds,
    follows,
    linear_forms,
    written,
)
from gatewright.compiler.proof.places import Places
from gatewright.compiler.proof.ranks import compare_ranks
from gatewright.errors import InternalError
from gatewright.ir.fixed import Ints
from gatewright.ir.graph import Graph, Op
from gatewright.ir.intervals import BEYOND, Bools
from gatewright.ir.netlist import Netlist, computed_bounds
from gatewright.ir.netlist import Op as Row
from gatewright.ir.ops import (
    Divide,
    ExtremePool,
    Extremum,
    Multiply,
    ReduceExtreme,
    Requant,
    Select,
    SquareRoot,
    Table,
    Thresholds,
    TopK,
)
from gatewright.ir.ops.window import last

__all__ = ["Places", "Proof", "prove"]


AT_A_TIME = 1 << 12
"""Functions of which the programs are held at a time."""


@dataclass(frozen=True)
class Proof:
    """What was proven: elements of linear operations, functions and choices; and what was not: (node, operation, elements)."""

    sums: int
    functions: int
    choices: int
    uncovered: tuple[tuple[str, str, int], ...] = ()

    @property
    def whole(self) -> bool:
        return not self.uncovered

    def __str__(self) -> str:
        parts = [f"{n} {word}{'s' if n != 1 else ''}" for n, word in (
            (self.sums, "sum"), (self.functions, "function"), (self.choices, "choice")) if n]
        done = f"coefficients of {parts[0]}" if self.sums else parts[0] if parts else "no operation"
        done = ", ".join([done, *parts[1:]])
        if self.whole:
            return f"proved: every output bit equals the model's Graph, for all inputs ({done})"
        rest = "; ".join(f"node '{node}', {what} ({count})" for node, what, count in self.uncovered)
        return f"proved: {done}; not covered, checked on vectors: {rest}"


class _Prover:
    """The state of one proof: the netlist's forms, where the elements are, and their ranges as far as proven."""

    def __init__(self, graph: Graph, netlist: Netlist, places: Places) -> None:
        places = places.of_outputs(graph, netlist)
        self.graph, self.netlist, self.places = graph, netlist, places
        self.net: Columns = columns(netlist)
        self.forms: Forms = linear_forms(self.net)
        lo, hi = (np.concatenate([np.zeros(0, np.int64), *(getattr(op.type, end).reshape(-1) for op in graph.ops)])
                  for end in ("lo", "hi"))
        self.el: Elements = elements(places, lo, hi)
        least, most = computed_bounds(netlist)
        self.fine = (netlist.lo <= least) & (netlist.hi >= most)
        """The rows of which the bounds follow from their operands' bounds."""
        self.left = np.array([WORK])
        self.seen = np.zeros(len(netlist), np.bool_)
        self.source = np.arange(len(lo))
        """Of every element the one that it is a function of: itself, where that are several."""
        self.extremes_of: dict[int, tuple[set[int], bool]] = {}
        """Of the elements that are extremes: those that they are the largest, or smallest, of."""
        self.count: Counter[str] = Counter()
        self.uncovered: list[tuple[str, str, int]] = []

    def run(self) -> Proof:
        self.inputs()
        for op in self.graph.ops:
            if op.kind == "input":
                continue
            gone = self.own(op)[self.el.gone[self.own(op)]]
            self.el.lo[gone], self.el.hi[gone] = -BEYOND, BEYOND  # until derived; a type is a claim
            if op.kind in spec.LINEAR:
                self.linear(op)
            elif isinstance(op, Requant | Thresholds | Table):
                self.function(op)
            elif isinstance(op, Multiply | Select | Extremum):
                self.choice(op)
            elif isinstance(op, ExtremePool | ReduceExtreme):
                self.extreme(op)
            elif isinstance(op, Divide | SquareRoot):
                self.digits(op)
            elif isinstance(op, TopK):
                self.ranks(op)
            else:
                self.note(op, int((~self.el.gone[self.own(op)]).sum()))
            self.ranges(op)
        self.outputs()
        self.bounds()
        return Proof(self.count["sum"], self.count["function"], self.count["choice"], tuple(self.uncovered))

    # -- operations ------------------------------------------------------------------------------------------------------

    def linear(self, op: Op) -> None:
        terms = spec.LINEAR[op.kind](op, [self.graph.by_name[i].type.shape for i in op.inputs])
        first, element, weight = terms.by_output()
        whole = self.numbers(op)
        number = whole[element]
        found = compare_linear(self.net, self.forms, self.el, self.places.start[op.name], whole, first, number, weight, terms.const)
        wrong = np.flatnonzero(found == DIFFERENT)
        if len(wrong):
            i = int(wrong[0])
            taken = slice(first[i], first[i + 1])
            self.refute_form(op, i, list(zip(number[taken].tolist(), weight[taken].tolist(), strict=True)), int(terms.const[i]))
        self.distances(op, found, first, number, weight, terms.const)
        self.settle(op, found, "" if op.kind in ("reshape", "transpose", "take", "concat") else "sum")
        self.depends(op, np.repeat(np.arange(len(found)), np.diff(first)), number)

    def distances(self, op: Op, found: Ints, first: Ints, element: Ints, weight: Ints, const: Ints) -> None:
        """What is a multiple of an extreme less one of the elements that it is the extreme of has a known sign."""
        pairs = np.flatnonzero((np.diff(first) == 2) & (found == EQUAL))
        for k, other in ((first[pairs], first[pairs] + 1), (first[pairs] + 1, first[pairs])):
            met = np.isin(element[k], list(self.extremes_of)) & (weight[k] == -weight[other])
            for i, a, b in zip(pairs[met].tolist(), k[met].tolist(), other[met].tolist(), strict=True):
                of, largest = self.extremes_of[int(element[a])]
                e = self.places.start[op.name] + i
                if element[b] in of and (weight[a] > 0) == largest:
                    self.el.lo[e] = max(self.el.lo[e], const[i])
                elif element[b] in of:
                    self.el.hi[e] = min(self.el.hi[e], const[i])

    def function(self, op: Requant | Thresholds | Table) -> None:
        scale, offset, steps, table = spec.steps(op, self.net.table)
        operands = self.operands(op)
        self.settle(op, self.evaluate(op, np.arange(op.type.size), FUNCTION, operands, scale, offset, steps, table), "function")
        self.depends(op, np.arange(op.type.size), operands[:, 0])

    def choice(self, op: Multiply | Select | Extremum) -> None:
        kind = PRODUCT if isinstance(op, Multiply) else CHOICE if isinstance(op, Select) else LARGER if op.largest else SMALLER
        operands = self.operands(op)
        if isinstance(op, Extremum):
            first = np.arange(0, operands.size + 1, 2)
            found = self.extremes(op, first, operands.reshape(-1))
        else:
            of = element_forms(self.forms, self.el, operands.reshape(-1))
            found = compare_choices(self.net, self.forms, self.el, of, self.places.start[op.name], operands)
        todo = np.flatnonzero(found != EQUAL)
        none = np.zeros(len(todo), np.int64)
        found[todo] = self.evaluate(op, todo, kind, operands[todo], none, none, np.zeros((len(todo), 0, 4), np.int64), self.net.table)
        self.settle(op, found, "choice")
        self.depends(op, np.repeat(np.arange(len(operands)), operands.shape[1]), operands.reshape(-1))

    def extreme(self, op: ExtremePool | ReduceExtreme) -> None:
        shape = self.graph.by_name[op.inputs[0]].type.shape
        x, y = spec.numbered(shape), spec.numbered(op.type.shape)
        if isinstance(op, ReduceExtreme):
            target = y if op.keepdims else np.expand_dims(y, op.axes)
            out, element = spec.spread(target, shape), x.reshape(-1)
        else:
            met = [(y[last(positions)], x[last(read)]) for _, positions, read in op.window(shape).taps()]
            out, element = (np.concatenate([np.zeros(0, np.int64), *(m[k].reshape(-1) for m in met)]) for k in range(2))
        none = np.zeros(op.type.size, np.int64)
        first, element, _ = spec.Terms(out, element, np.ones_like(out), none).by_output()
        element = self.numbers(op)[element]
        found = self.extremes(op, first, element)
        for i in np.flatnonzero(found == EQUAL).tolist():
            self.extremes_of[self.places.start[op.name] + i] = set(element[first[i]:first[i + 1]].tolist()), bool(op.largest)
        self.settle(op, found, "choice")

    def digits(self, op: Divide | SquareRoot) -> None:
        """Elements that are alike are proven once."""
        operands, own, none = self.operands(op), self.own(op), np.zeros(op.type.size, np.int64)
        of = element_forms(self.forms, self.el, operands.reshape(-1))
        programs, _ = cones(self.net, self.forms, self.el, of, own, OPERANDS, operands, none, none,
                            np.zeros((op.type.size, 0, 4), np.int64))
        meant = spec.digits(op, self.el.lo[operands[:, 0]], self.el.hi[operands[:, 0]])
        found, known = np.where(self.el.gone[own], ABSENT, UNKNOWN), dict[Any, Any]()
        for i in np.flatnonzero((found == UNKNOWN) & ~self.el.gone[operands].any(axis=1)).tolist():
            e, goal = element(programs, i), meant[i]
            if e is None or goal is None:
                continue
            key = e.key(), goal
            if key not in known:
                known[key] = proven(e, goal)
            if known[key] is not None:
                found[i] = EQUAL
                self.el.lo[own[i]], self.el.hi[own[i]] = goal.least, goal.most
                row = e.lines[:e.size, ROW]
                self.seen[row[known[key] & (row >= 0)]] = True
        self.settle(op, found, "function")

    def ranks(self, op: TopK) -> None:
        read, out = spec.columns(op, self.graph.by_name[op.inputs[0]].type.shape)
        columns = self.numbers(op)[read]
        self.settle(op, compare_ranks(self.net, self.forms, self.el, op, columns, self.own(op)[out], self.seen), "choice")
        self.depends(op, np.repeat(out, columns.shape[1]), np.repeat(columns, out.shape[1], axis=0).reshape(-1))

    def extremes(self, op: ExtremePool | ReduceExtreme | Extremum, first: Ints, element: Ints) -> Ints:
        of = element_forms(self.forms, self.el, element)
        return np.asarray(compare_extremes(self.net, self.forms, self.el, of, self.places.start[op.name], first, element,
                                           bool(op.largest), self.seen))

    def evaluate(self, op: Op, todo: Ints, kind: int, operands: Ints, scale: Ints, offset: Ints, steps: Ints, table: Ints) -> Ints:
        """Compares the elements `todo` with functions of few operands, a few thousand at a time, to hold few programs. Of
        elements that are nowhere, it finds the range."""
        found = np.full(len(todo), ABSENT)
        for begin in range(0, len(todo), AT_A_TIME):
            k = slice(begin, begin + AT_A_TIME)
            own = self.places.start[op.name] + todo[k]
            of = element_forms(self.forms, self.el, operands[k].reshape(-1))
            programs, whole = cones(self.net, self.forms, self.el, of, own, kind, operands[k], scale[k], offset[k], steps[k])
            least, most = (end.reshape(-1)[todo[k]] for end in (op.type.lo, op.type.hi))
            answer, witness, lo, hi = compare_programs(programs, table, least, most, self.left)
            answer[(answer == DIFFERENT) & self.el.gone[operands[k]].any(axis=1)] = UNKNOWN
            if (answer == DIFFERENT).any():
                at = int(np.argmax(answer == DIFFERENT))
                raise self.refute_function(op, int(todo[k][at]), witness[at].tolist())
            proven = (answer == EQUAL) & whole
            found[k] = np.where(self.el.gone[own], ABSENT, np.where(proven, EQUAL, UNKNOWN))
            self.el.lo[own[proven]], self.el.hi[own[proven]] = lo[proven], hi[proven]
            self.evaluated(programs, proven)
        return found

    def evaluated(self, programs: Programs, proven: Bools) -> None:
        """No row of these programs has left its bounds."""
        row = programs.lines[:programs.first[-1], ROW][np.repeat(proven, np.diff(programs.first))]
        self.seen[row[row >= 0]] = True

    # -- ports and bounds ------------------------------------------------------------------------------------------------

    def inputs(self) -> None:
        ports = self.netlist.inputs
        if [p.name for p in ports] != [op.name for op in self.graph.input_ops]:
            raise InternalError(f"proof: the input ports are {[p.name for p in ports]}")
        for port, op in zip(ports, self.graph.input_ops, strict=True):
            own = self.own(op)
            same = np.array_equal(self.el.row[self.el.first[own]], port.rows) and not self.el.gone[own].any()
            same &= np.array_equal(self.netlist.op[port.rows], np.full(op.type.size, Row.INPUT))
            if not same or (self.netlist.lo[port.rows] != op.type.lo.reshape(-1)).any() or (
                    self.netlist.hi[port.rows] != op.type.hi.reshape(-1)).any():
                raise InternalError(f"proof: node '{op.node}': input port '{port.name}' is not the Graph's input")

    def outputs(self) -> None:
        ports = self.netlist.outputs
        if [p.name for p in ports] != [o.name for o in self.graph.outputs]:
            raise InternalError(f"proof: the output ports are {[p.name for p in ports]}")
        for port, output in zip(ports, self.graph.outputs, strict=True):
            own = self.own(self.graph.by_name[output.value])
            carried = self.carried(own, port.rows.astype(np.int64))
            if not carried.all():
                i = int(np.argmin(carried))
                raise InternalError(f"proof: node '{self.graph.by_name[output.value].node}': output '{output.name}', element {i}, "
                                    f"is {self.netlist.where(int(port.rows[i]))}, which carries another value")

    def carried(self, own: Ints, rows: Ints) -> Bools:
        """Whether rows carry these elements: by their forms, or because they are the element's value on all of its range."""
        n, count = len(self.el.const), len(own)
        el = Elements(np.concatenate([self.el.first, self.el.first[-1] + 1 + np.arange(count)]), np.concatenate([self.el.row, rows]),
                      *(np.concatenate([a, np.full(count, fill, a.dtype)]) for a, fill in (
                          (self.el.coef, 1), (self.el.const, 0), (self.el.gone, 0), (self.el.lo, 0), (self.el.hi, 0))))
        none = np.zeros(count, np.int64)
        ports = n + np.arange(count)
        first = np.arange(count + 1)
        done: Bools = compare_linear(self.net, self.forms, el, n, own, first, own, none + 1, none) == EQUAL
        todo = np.flatnonzero(~done & ~self.el.gone[own])
        of = element_forms(self.forms, el, own[todo])
        programs, whole = cones(self.net, self.forms, el, of, ports[todo], FUNCTION, own[todo][:, None], none[todo] + 1, none[todo],
                                np.zeros((len(todo), 0, 4), np.int64))
        answer, *_ = compare_programs(programs, self.net.table, self.el.lo[own[todo]], self.el.hi[own[todo]], self.left)
        done[todo] = (answer == EQUAL) & whole
        self.evaluated(programs, done[todo])
        return done

    def bounds(self) -> None:
        """Every row's value lies within its declared bounds: because its operands' do, because its form does, because it was
        evaluated, or because it is an element of which the range is proven.

        Where a row is declared to have one value, forms take it for that, so all of this but the first would rest on what it is to
        show.
        """
        fine = self.seen | self.fine
        single, row = self.single(np.arange(len(self.el.const)))
        fine[row[(self.el.lo[single] >= self.netlist.lo[row]) & (self.el.hi[single] <= self.netlist.hi[row])]] = True
        narrower = single[(self.el.lo[single] > self.netlist.lo[row]) | (self.el.hi[single] < self.netlist.hi[row])]
        known = np.concatenate([narrower, np.flatnonzero(np.diff(self.el.first) > 1)])
        of = element_forms(self.forms, self.el, known)
        fit_bounds(self.net, self.forms, of, self.el.lo[known], self.el.hi[known], fine)
        fine &= self.fine | (self.netlist.lo < self.netlist.hi)
        for r in np.flatnonzero(~fine).tolist():
            self.uncovered.append((self.netlist.origins[self.netlist.origin[r]], f"bounds of row %{r}", 1))

    # -- elements --------------------------------------------------------------------------------------------------------

    def own(self, op: Op) -> Ints:
        """The elements of a tensor."""
        return np.arange(self.places.start[op.name], self.places.start[op.name] + op.type.size)

    def single(self, elements: Ints) -> tuple[Ints, Ints]:
        """Those of the elements that are one row as it is, and these rows."""
        found = elements[(self.el.first[elements + 1] - self.el.first[elements] == 1) & (self.el.const[elements] == 0)]
        found = found[self.el.coef[self.el.first[found]] == 1]
        return found, self.el.row[self.el.first[found]]

    def numbers(self, op: Op) -> Ints:
        """The elements of all operands, one after the other."""
        return np.concatenate([self.own(self.graph.by_name[i]) for i in op.inputs])

    def operands(self, op: Op) -> Ints:
        """The elements that every element of an element-wise operation reads, int64[elements, operands]."""
        read = spec.operands(op, [self.graph.by_name[i].type.shape for i in op.inputs])
        return np.ascontiguousarray(self.numbers(op)[np.stack(read, axis=1)])

    def settle(self, op: Op, found: Ints, what: str) -> None:
        if what:
            self.count[what] += int((found == EQUAL).sum())
        self.note(op, int((found == UNKNOWN).sum()))

    def note(self, op: Op, count: int) -> None:
        if count:
            self.uncovered.append((op.node, op.kind, count))

    def depends(self, op: Op, out: Ints, element: Ints) -> None:
        """Says which elements are functions of one element only: result `out` reads `element`, for all pairs of the two."""
        varies = self.el.lo[element] < self.el.hi[element]
        out, source, none = out[varies], self.source[element[varies]], len(self.source)
        least, most = np.full(op.type.size, none), np.full(op.type.size, -1)
        np.minimum.at(least, out, source)
        np.maximum.at(most, out, source)
        own = self.own(op)
        self.source[own] = np.where(least == most, least, own)

    def ranges(self, op: Op) -> None:
        """What is proven of a tensor's range fits its type, on which the ports and later operations rest.

        What is known of the row that an element is holds of the element. Where the operands' ranges do not tell, as for
        x - 2 * min(x, 0), the element is followed back to the one that it is a function of.
        """
        own = self.own(op)
        self.meet(own)
        lo, hi = op.type.lo.reshape(-1), op.type.hi.reshape(-1)
        beyond = np.flatnonzero(((self.el.lo[own] < lo) | (self.el.hi[own] > hi)) & ~self.el.gone[own])
        inner = beyond[self.source[own[beyond]] != own[beyond]]
        if len(inner):
            none = np.zeros(len(inner), np.int64)
            self.evaluate(op, inner, ITSELF, self.source[own[inner]][:, None], none, none, np.zeros((len(inner), 0, 4), np.int64),
                          self.net.table)
            beyond = beyond[(self.el.lo[own[beyond]] < lo[beyond]) | (self.el.hi[own[beyond]] > hi[beyond])]
        if len(beyond):
            self.uncovered.append((op.node, f"range of {op.kind}", len(beyond)))
            self.el.lo[own], self.el.hi[own] = np.maximum(self.el.lo[own], lo), np.minimum(self.el.hi[own], hi)

    def meet(self, own: Ints) -> None:
        """Cuts the ranges of elements, each a row but for its sign and a constant, down to the bounds of their rows that are sure: from
        their operands', back to inputs or to rows that were evaluated."""
        sure = follows(self.net, self.fine, self.seen & (self.netlist.lo < self.netlist.hi))
        at = self.el.first[own]
        alone = np.flatnonzero(self.el.first[own + 1] - at == 1)
        alone = alone[(np.abs(self.el.coef[at[alone]]) == 1) & sure[self.el.row[at[alone]]]]
        e, row, sign = own[alone], self.el.row[at[alone]], self.el.coef[at[alone]]
        ends = np.sort(np.stack([sign * self.netlist.lo[row], sign * self.netlist.hi[row]]), axis=0) + self.el.const[e]
        self.el.lo[e], self.el.hi[e] = np.maximum(self.el.lo[e], ends[0]), np.minimum(self.el.hi[e], ends[1])

    # -- messages --------------------------------------------------------------------------------------------------------

    def refuted(self, op: Op, i: int, what: str) -> InternalError:
        e = self.places.start[op.name] + i
        rows = self.el.row[self.el.first[e]:self.el.first[e + 1]].tolist()
        at = ", ".join(str(k) for k in np.unravel_index(i, op.type.shape)) if op.type.shape else ""
        return InternalError(f"proof: node '{op.node}': {op.kind} '{op.name}', element [{at}] "
                             f"({' + '.join(f'row %{r}' for r in rows) or 'no row'}), {what}")

    def refute_function(self, op: Op, i: int, witness: list[int]) -> InternalError:
        got, expected, row = witness[3:]
        what = f"is {got}, not {expected}" if row < 0 else f"has {got} in {self.netlist.where(row)}, beyond its bounds"
        at = ", ".join(f"{name} = {v}" for name, v in zip(op.inputs, witness[:3], strict=False))
        return self.refuted(op, i, f"{what}, at {at}")

    def refute_form(self, op: Op, i: int, parts: list[tuple[int, int]], const: int) -> None:
        """Raises, with the first coefficients that differ."""
        got, constant = written(self.forms, self.el, [(self.places.start[op.name] + i, 1)])
        expected, wanted = written(self.forms, self.el, parts, const)
        differ = [f"{got.get(k, 0)} times {self.name(k)}, not {expected.get(k, 0)}"
                  for k in sorted({*got, *expected}) if got.get(k, 0) != expected.get(k, 0)]
        if constant != wanted:
            differ.append(f"the constant {constant}, not {wanted}")
        raise self.refuted(op, i, "has " + "; ".join(differ[:4]) + ("; ..." if len(differ) > 4 else ""))

    def name(self, row: int) -> str:
        return self.netlist.where(row)


def prove(graph: Graph, netlist: Netlist, places: Places) -> Proof:
    """Proves `netlist` equal to `graph`, of which `places` says where the elements are.

    Raises InternalError with node, element and what differs where they are not equal. What it cannot decide, an operation that it
    does not know say, is in `Proof.uncovered`.
    """
    return _Prover(graph, netlist, places).run()
