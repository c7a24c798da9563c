"""Text and binary forms of a Netlist. Text reads one row a line and parses back exactly:

    netlist "kernel"
    origin "dense_1"
    table 0 = 3 1 -4
    %0 = input 0[0] : -8..7 @"x"
    %1 = const 5 @"dense_1"
    %2 = sum %0<<2 - %1 + 7 : -30..30 @"dense_1"
    %3 = bits %2 [1 +: 3] : -4..3 @"dense_1"
    %4 = table 0 [%3 - -4] : -4..3 @"relu"
    input "x" = %0
    output "y" = %4
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.ir.netlist import IN_DSP, Netlist, NetPort, Op
from gatewright.ir.npz import npz_arrays, npz_bytes

_ROW = re.compile(r'%(\d+) = (\w+) ?(.*?)(?: : (-?\d+)\.\.(-?\d+))? @(".*")')
_OPERAND = re.compile(r"([-+]?) ?%(\d+)(?:<<(\d+))?")
_NAMED = re.compile(r'(netlist|origin|input|output) ("(?:[^"\\]|\\.)*")(?: =(.*))?')
_COLUMNS = "op", "imm", "aux", "lo", "hi", "origin", "first", "arg", "shift", "neg"


def show(netlist: Netlist) -> str:
    """The text form; ports come last because they name rows."""
    lines = [f"netlist {_quote(netlist.name)}", *(f"origin {_quote(o)}" for o in netlist.origins)]
    lines += [f"table {i} = {' '.join(map(str, t.tolist()))}" for i, t in enumerate(netlist.tables)]
    origins = [_quote(o) for o in netlist.origins]
    columns = (getattr(netlist, c).tolist() for c in ("op", "lo", "hi", "origin"))
    for row, (op, lo, hi, origin) in enumerate(zip(*columns, strict=True)):
        bounds = "" if op == Op.CONST else f" : {lo}..{hi}"
        lines.append(f"%{row} = {Op(op).name.lower()} {_body(netlist, row, Op(op))}{bounds} @{origins[origin]}")
    for kind, ports in (("input", netlist.inputs), ("output", netlist.outputs)):
        lines += [f"{kind} {_quote(p.name)} ={''.join(f' %{r}' for r in p.rows.tolist())}" for p in ports]
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _body(netlist: Netlist, row: int, op: Op) -> str:
    begin, end = int(netlist.first[row]), int(netlist.first[row + 1])
    operands = [f"%{a}" + (f"<<{s}" if s else "") for a, s in
                zip(netlist.arg[begin:end].tolist(), netlist.shift[begin:end].tolist(), strict=True)]
    imm, aux = int(netlist.imm[row]), int(netlist.aux[row])
    match op:
        case Op.INPUT:
            return f"{imm}[{aux}]"
        case Op.CONST:
            return str(imm)
        case Op.SUM:
            signs = ["-" if n else "+" for n in netlist.neg[begin:end].tolist()]
            terms = [f"{sign} {operand}" for sign, operand in zip(signs, operands, strict=True)]
            constant = [f"{'-' if imm < 0 else '+'} {abs(imm)}"] if imm else []
            return " ".join(terms + constant).removeprefix("+ ")
        case Op.BITS:
            return f"{operands[0]} [{imm} +: {aux}]"
        case Op.TABLE:
            return f"{imm} [{operands[0]} - {aux}]"
        case Op.MUL if imm == IN_DSP:
            return f"{', '.join(operands)} in dsp"
        case _:
            return ", ".join(operands)


class _Parsed:
    """Columns that grow row by row while a text is read."""

    def __init__(self) -> None:
        self.columns: dict[str, list[int]] = {c: [] for c in _COLUMNS}
        self.columns["first"] = [0]
        self.names: dict[str, list[str]] = {"netlist": [], "origin": []}
        self.ports: dict[str, list[NetPort]] = {"input": [], "output": []}
        self.tables: list[NDArray[np.int64]] = []

    def row(self, number: str, op: str, body: str, lo: str | None, hi: str | None, origin: str) -> None:
        c, kind = self.columns, Op[op.upper()]
        if int(number) != len(c["op"]):
            raise ValueError("rows are not numbered in order")
        imm, aux = _immediates(kind, body)
        operands = [] if kind in (Op.INPUT, Op.CONST) else _OPERAND.findall(body)
        values = {"op": int(kind), "imm": imm, "aux": aux, "origin": self.names["origin"].index(json.loads(origin)),
                  "lo": imm if lo is None else int(lo), "hi": imm if hi is None else int(hi),
                  "first": c["first"][-1] + len(operands)}
        for name, value in values.items():
            c[name].append(value)
        for sign, arg, shift in operands:
            c["arg"].append(int(arg))
            c["shift"].append(int(shift or 0))
            c["neg"].append(sign == "-")


def _immediates(op: Op, body: str) -> tuple[int, int]:
    """(imm, aux) of a row from the text after its op."""
    match op:
        case Op.INPUT:
            port, element = body.rstrip("]").split("[")
            return int(port), int(element)
        case Op.CONST:
            return int(body), 0
        case Op.SUM:
            last = re.search(r"([-+]) (\d+)$", body)
            return (int(last[1] + last[2]), 0) if last else (0, 0)
        case Op.BITS:
            low, width = body[body.index("[") + 1:-1].split(" +: ")
            return int(low), int(width)
        case Op.TABLE:
            return int(body[:body.index(" ")]), int(body[:-1].rsplit(" - ", 1)[1])
        case Op.MUL:
            return IN_DSP if body.endswith(" in dsp") else 0, 0
        case _:
            return 0, 0


def parse(text: str) -> Netlist:
    """The netlist that `show` printed (not verified). Raises ValueError naming a line that cannot be read."""
    parsed = _Parsed()
    for number, line in enumerate(text.split("\n"), 1):
        try:
            _parse_line(parsed, line)
        except (ValueError, KeyError, IndexError, AttributeError) as error:
            raise ValueError(f"line {number} is no line of a netlist ({error}): {line}") from error
    if not parsed.names["netlist"]:
        raise ValueError("the text does not start with a netlist's name")
    types = _types()
    columns: dict[str, Any] = {c: np.array(v, types[c]) for c, v in parsed.columns.items()}
    return Netlist(name=parsed.names["netlist"][0], tables=tuple(parsed.tables), origins=tuple(parsed.names["origin"]),
                   inputs=tuple(parsed.ports["input"]), outputs=tuple(parsed.ports["output"]), **columns)


def _parse_line(parsed: _Parsed, line: str) -> None:
    if not line.strip() or line.startswith("#"):
        return
    if row := _ROW.fullmatch(line):
        parsed.row(*row.groups())
    elif line.startswith("table "):
        parsed.tables.append(np.array(line.split(" = ")[1].split(), np.int64))
    else:
        kind, name, rows = _NAMED.fullmatch(line).groups()  # type: ignore[union-attr]
        if kind in parsed.names:
            parsed.names[kind].append(json.loads(name))
        else:
            parsed.ports[kind].append(NetPort(json.loads(name), np.array([r[1:] for r in rows.split()], np.int32)))


def _types() -> dict[str, type]:
    return {"op": np.uint8, "origin": np.int32, "arg": np.int32, "shift": np.uint8, "neg": np.bool_,
            **dict.fromkeys(("imm", "aux", "lo", "hi", "first"), np.int64)}


def to_npz(netlist: Netlist) -> bytes:
    """The binary form: numpy's zip of arrays, with fixed time stamps, so that equal netlists give equal bytes."""
    names = {"name": netlist.name, "origins": netlist.origins, "inputs": [p.name for p in netlist.inputs],
             "outputs": [p.name for p in netlist.outputs]}
    arrays: dict[str, NDArray[Any]] = {c: getattr(netlist, c) for c in _COLUMNS}
    arrays["names"] = np.frombuffer(json.dumps(names).encode(), np.uint8)
    ragged: dict[str, list[NDArray[Any]]] = {
        "tables": list(netlist.tables), "inputs": [p.rows for p in netlist.inputs],
        "outputs": [p.rows for p in netlist.outputs]}
    for key, parts in ragged.items():
        arrays[key] = np.concatenate([np.zeros(0, np.int64), *parts])
        arrays[key + "_size"] = np.array([len(p) for p in parts], np.int64)
    return npz_bytes(arrays)


def from_npz(data: bytes) -> Netlist:
    """The netlist that `to_npz` wrote (not verified)."""
    arrays = npz_arrays(data)
    names = json.loads(arrays["names"].tobytes())
    columns: dict[str, Any] = {c: arrays[c] for c in _COLUMNS}
    columns["tables"] = tuple(_pieces(arrays["tables"], arrays["tables_size"]))
    for key in ("inputs", "outputs"):
        rows = _pieces(arrays[key].astype(np.int32), arrays[key + "_size"])
        columns[key] = tuple(NetPort(name, r) for name, r in zip(names[key], rows, strict=True))
    return Netlist(name=names["name"], origins=tuple(names["origins"]), **columns)


def _pieces(values: NDArray[Any], sizes: NDArray[np.int64]) -> list[NDArray[Any]]:
    return [values[end - size:end] for size, end in zip(sizes.tolist(), np.cumsum(sizes).tolist(), strict=True)]


def save(netlist: Netlist, path: str | Path) -> None:
    Path(path).write_bytes(to_npz(netlist))


def load(path: str | Path) -> Netlist:
    return from_npz(Path(path).read_bytes())
