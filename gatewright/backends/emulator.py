"""The emulator target: a Design as C++ that computes the same codes, many samples at once (docs/emulator.md).

`emulator/NAME_partK.cpp` hold the arithmetic (emulator_kernel.py), `variant.cpp` all of it for one instruction set, `emulator.cpp` the
C interface, `cms.cpp` the class that CMS's software loads. It needs a C++17 compiler (GCC or Clang) and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from gatewright.backends.emulator_kernel import Chunk, KernelText
from gatewright.backends.rendering import TEMPLATES, templates
from gatewright.errors import InternalError
from gatewright.ir import expr as ex
from gatewright.ir.design import Design, Port
from gatewright.ir.fixed import ROUNDING, Cast
from gatewright.ir.graph import Graph, Meaning, Op
from gatewright.ir.ops import Input

FOLDER = "emulator"
PART_ROWS = 2000
"""Rows of one file, which is compiled by itself."""
_ONCE = ("lanes.h", "engine.h", "gatewright_emulator.h")
_RENDERED = {"state.h": "state.h", "variant.h": "variant.h", "variant.cpp": "variant.cpp", "emulator.cpp": "emulator.cpp",
             "{name}_emulator.h": "accessor.h", "cms.cpp": "cms.cpp", "CMakeLists.txt": "CMakeLists.txt",
             "{name}_emulatorConfig.cmake": "config.cmake"}


def emit(design: Design, graph: Graph, header: Mapping[str, Any]) -> dict[str, str]:
    """Files of the emulator by path, below `emulator/`. `header` also has `input_casts`, the types of inputs as users wrote them.

    Raises InternalError where the design is not one kernel.
    """
    if len(design.instances) != 1:
        raise InternalError(f"design '{design.name}': the emulator target writes designs of one kernel")
    kernel = design.kernels[0]
    text = KernelText(kernel)
    ports = {p.name: p for p in design.inputs + design.outputs}
    asked = {name: Cast.parse(text) for name, text in header["input_casts"].items()}
    casts = {op.name: real_cast(op, asked.get(op.name)) for op in graph.input_ops}
    meanings = {o.name: o.meaning for o in graph.outputs}
    lo, hi = kernel.netlist.lo, kernel.netlist.hi
    inputs = [_port(ports[net.name], f"input{i}", lanes) | _input(lo[net.rows], hi[net.rows], casts[net.name])
              | {"ap_type": ap_type(asked.get(net.name))}
              for i, (net, lanes) in enumerate(zip(kernel.netlist.inputs, text.input_lanes, strict=True))]
    outputs = [_port(ports[net.name], f"output{i}", lanes) | _output(meanings[net.name])
               | {"ap_type": ap_type(plain_type(meanings[net.name], ports[net.name]))}
               for i, (net, lanes) in enumerate(zip(kernel.netlist.outputs, text.output_lanes, strict=True))]
    parts = list(_parts(text.chunks))
    values = {"name": design.name, "header": header, "inputs": inputs, "outputs": outputs, "slots": text.slots,
              "chunks": len(text.chunks), "parts": len(parts),
              "narrow": max(p["lanes"] for p in inputs + outputs), "reals": None not in casts.values()}
    environment = templates(FOLDER)
    files = {name: (TEMPLATES / FOLDER / name).read_text(encoding="utf-8") for name in _ONCE}
    for path, template in _RENDERED.items():
        files[path.format(name=design.name)] = environment.get_template(f"{template}.j2").render(values)
    part = environment.get_template("part.cpp.j2")
    for number, chunks in enumerate(parts):
        files[f"part{number}.cpp"] = part.render(values | {"chunks": chunks, "tables": _tables(text, chunks)})
    return {f"{FOLDER}/{path}": content for path, content in files.items()}


def _parts(chunks: Sequence[Chunk]) -> Iterator[list[dict[str, Any]]]:
    """Chunks with their numbers, some for every file."""
    part: list[dict[str, Any]] = []
    rows = 0
    for number, chunk in enumerate(chunks):
        part.append({"number": number, "lines": chunk.lines})
        rows += chunk.rows
        if rows >= PART_ROWS or number == len(chunks) - 1:
            yield part
            part, rows = [], 0


def _tables(text: KernelText, chunks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The tables that these chunks look up."""
    lines = "\n".join(line for chunk in chunks for line in chunk["lines"] if "look<" in line)
    return [{"name": name, "lanes": lanes, "entries": ", ".join(map(str, text.netlist.tables[number].tolist()))}
            for number, lanes in sorted(text.tables_used) if f"({(name := f'table{number}_{lanes}')}," in lines]


def _port(port: Port, identifier: str, lanes: int) -> dict[str, Any]:
    shape, t = port.shape, port.type
    facts = [_quoted(port.name), _quoted(repr(t)), _quoted(port.formula), f"{identifier}_shape", len(shape), port.elements,
             t.width, int(t.signed), t.frac]
    return {"id": identifier, "lanes": lanes, "elements": port.elements, "shape": ", ".join(map(str, shape or (1,))),
            "facts": ", ".join(map(str, facts)), "comment": f"{json.dumps(port.name)}, {t!r}", "rtl": port.rtl}


def plain_type(meaning: Meaning, port: Port) -> Cast | None:
    """The port's type where the codes mean what it says, code * 2**-frac; None where they mean something else."""
    plain = _single(meaning.scale) == Fraction(2) ** -port.type.frac and _single(meaning.offset) == 0
    return Cast(port.type) if plain else None


def ap_type(cast: Cast | None) -> str:
    """The type of ap_fixed.h that a type as users write it is; double where there is none.

    >>> ap_type(Cast.parse("fixed<8,6,RND_CONV,SAT>"))
    'ap_fixed<8,6,AP_RND_CONV,AP_SAT>'
    """
    if cast is None:
        return "double"
    name, _, fields = str(cast).partition("<")
    width, integer, *modes = fields.removesuffix(">").split(",")
    return f"ap_{name}<{','.join([width, integer, *(f'AP_{mode}' for mode in modes)])}>"


def _quoted(text: str) -> str:
    """A C string literal: letters that C would read otherwise are escaped, byte by byte, in octal."""
    return '"' + "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in text.encode()) + '"'


# -- real values -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RealCast:
    """How real values become codes: value * 2**frac, rounded, brought into lo..hi. Without `rounding` nothing may be lost."""

    frac: int
    rounding: str | None
    overflow: str
    lo: int
    hi: int

    def __str__(self) -> str:
        return f"{_real(Fraction(2) ** self.frac)}, {self.rounding or 'EXACT'}, {self.overflow}, {self.lo}.0, {self.hi}.0"


def real_cast(op: Op, cast: Cast | None) -> RealCast | None:
    """How the host makes codes of an input; None where double precision cannot do that exactly for every value."""
    encoding = op.encoding if isinstance(op, Input) else None
    if encoding is not None:
        return _quantiser(encoding.expr)
    if cast is None:
        return None
    t = cast.type
    lo = -t.hi if cast.overflow == "SAT_SYM" and t.signed else t.lo
    overflow = "REFUSE" if cast.overflow is None else "WRAP" if cast.overflow == "WRAP" else "SATURATE"
    return RealCast(t.frac, ROUNDING[cast.rounding] if cast.rounding else None, overflow, lo, t.hi)


def _quantiser(e: ex.Expr) -> RealCast | None:
    """The form of an expression that clips and rounds the value times a power of two; None where it is another one.

    Clips to integers may stand before or after the rounding, which keeps integers and order.
    """
    lo, hi, rounding = None, None, None
    while isinstance(e, ex.Clip | ex.Round):
        if isinstance(e, ex.Clip):
            low, high = (None if b is None else _single(b) for b in (e.lo, e.hi))
            if low is None or high is None or low.denominator != 1 or high.denominator != 1 or lo not in (None, low):
                return None
            if hi not in (None, high):
                return None
            lo, hi = low, high
        elif rounding is None:
            rounding = e.mode
        else:
            return None
        e = e.x
    scale: Fraction | None = Fraction(1)
    if isinstance(e, ex.Affine):
        scale, offset = _single(e.terms[0][1]), _single(e.offset)
        if len(e.terms) != 1 or offset != 0:
            return None
        e = e.terms[0][0]
    if not isinstance(e, ex.Leaf) or scale is None or lo is None or hi is None or rounding is None:
        return None
    frac = scale.numerator.bit_length() - scale.denominator.bit_length()
    return RealCast(frac, rounding, "SATURATE", int(lo), int(hi)) if scale == Fraction(2) ** frac and abs(frac) < 512 else None


def _single(values: Any) -> Fraction | None:
    """The rational number that all elements are; None where there is no such."""
    flat = np.asarray(values, object).reshape(-1)
    same = len(flat) > 0 and all(v == flat[0] for v in flat[1:])
    return Fraction(flat[0]) if same and isinstance(flat[0], int | Fraction) else None


def _input(lo: Any, hi: Any, cast: RealCast | None) -> dict[str, Any]:
    return {"lo": ", ".join(map(str, lo.tolist())), "hi": ", ".join(map(str, hi.tolist())),
            "cast": str(cast or RealCast(0, None, "REFUSE", 0, 0))}


def _output(meaning: Meaning) -> dict[str, Any]:
    scale, offset = np.broadcast_arrays(meaning.scale, meaning.offset)
    same = _single(scale) is not None and _single(offset) is not None
    columns = [(a.reshape(-1)[:1] if same else a.reshape(-1)).tolist() for a in (scale, offset)]
    return {"scale": ", ".join(map(_real, columns[0])), "offset": ", ".join(map(_real, columns[1])), "step": int(not same)}


def _real(value: Any) -> str:
    """The nearest double, in hexadecimal, which C++17 reads exactly."""
    return float(value).hex()
