"""User data: .npz files of real values or integer mantissas, to integer codes and back."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import UserError
from gatewright.ir import expr as ex
from gatewright.ir.exact import ROUND_NUMBER, Exacts, as_integers, elementwise, exacts, inverse
from gatewright.ir.fixed import ROUNDING, Cast
from gatewright.ir.graph import Codes, Graph, Meaning, Op, Output
from gatewright.ir.ops import Input

Array = NDArray[Any]


@dataclass(frozen=True)
class DataFile:
    """What a data file holds for a model: exact real values by tensor, samples first, and what was not understood."""

    inputs: Mapping[str, Exacts]
    outputs: Mapping[str, Exacts]
    inexact: frozenset[str]
    """Outputs given as floating-point numbers: comparable after rounding to float32."""
    warnings: tuple[str, ...] = field(default=())


def load_data(path: str | Path, graph: Graph) -> DataFile:
    """Reads an .npz or .npy file. Raises UserError on a file or arrays that do not fit the model."""
    return read_arrays(read_file(path), str(path), graph)


def read_file(path: str | Path) -> dict[str, Array]:
    """The arrays of an .npz file; the one of an .npy file is called x."""
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            return {"x": file}
        with file:
            return {key: file[key] for key in file.files}
    except OSError as error:
        raise UserError(f"cannot read the data '{path}': {error.strerror or 'it is no .npz file'}",
                        remedy="Give an .npz file") from None
    except Exception as error:  # zipfile, numpy and zlib raise many kinds on damaged files
        raise UserError(f"the data '{path}' cannot be read: {error}", remedy="Write it with numpy.savez") from None


def read_arrays(arrays: Mapping[str, Array], path: str, graph: Graph) -> DataFile:
    """The same for arrays by name; `path` says in messages where they come from."""
    inputs = [(op.name, op.type.shape) for op in graph.input_ops]
    outputs = [(o.name, graph.by_name[o.value].type.shape) for o in graph.outputs]
    used: set[str] = set()
    found = {side: {name: value for name, shape in tensors
                    if (value := tensor_values(arrays, name, short if len(tensors) == 1 else None, shape, used)) is not None}
             for side, short, tensors in (("in", "x", inputs), ("out", "y", outputs))}
    missing = [name for name, _ in inputs if name not in found["in"]]
    if missing:
        raise UserError(f"the data '{path}' have no array for input '{missing[0]}'",
                        remedy=f"Name the array '{missing[0]}'" + (" or 'x'" if len(inputs) == 1 else ""))
    _check_samples({**found["in"], **found["out"]}, path)
    unknown = sorted(k for k in arrays if k not in used and k != "type_fields" and not k.endswith("_type"))
    notes = (f"the arrays {', '.join(unknown)} in '{path}' belong to no input or output and are not used",) if unknown else ()
    floats = frozenset(name for name, (_, exact) in found["out"].items() if not exact)
    return DataFile({k: v for k, (v, _) in found["in"].items()}, {k: v for k, (v, _) in found["out"].items()}, floats, notes)


def tensor_values(arrays: Mapping[str, Array], name: str, short: str | None, shape: tuple[int, ...],
            used: set[str]) -> tuple[Array, bool] | None:
    """(exact values, given as integers) of a tensor: floats as they are, mantissas as (raw, bits) objects."""
    for key in [name, *([short] if short and short != name else [])]:
        if f"{key}_raw" in arrays:
            if f"{key}_type" not in arrays:
                raise UserError(f"the array '{key}_raw' has no '{key}_type'", remedy="Add [width, integer bits, signed]")
            used |= {f"{key}_raw", f"{key}_type"}
            raw = _shaped(arrays[f"{key}_raw"], f"{key}_raw", shape)
            if raw.dtype.kind not in "iu":
                raise UserError(f"the array '{key}_raw' holds {raw.dtype}, not integers", remedy="Give integer mantissas")
            return scaled(raw, _frac(arrays[f"{key}_type"], key)), True
        if key in arrays:
            used.add(key)
            values = _shaped(arrays[key], key, shape)
            if values.dtype.kind not in "fiub" or values.dtype.itemsize > 8:
                raise UserError(f"the array '{key}' holds {values.dtype}, not numbers of at most 64 bits",
                                remedy="Give float64 or integers")
            if values.dtype.kind == "f":
                if not np.isfinite(values).all():
                    raise UserError(f"the array '{key}' contains NaN or infinity", remedy="Remove those samples")
                return values, False
            return scaled(values, 0), True
    return None


def _frac(fields: Array, key: str) -> int:
    """Fractional bits of a type given as [width, integer bits, signed]."""
    if fields.shape != (3,) or fields.dtype.kind not in "iub":
        raise UserError(f"the array '{key}_type' is not a type", remedy="Write it as [width, integer bits, signed]")
    return int(fields[0]) - int(fields[1])


def scaled(raw: Array, frac: int) -> Array:
    """raw * 2**-frac for integers, exact: float64 where that holds it, else Fractions."""
    if not raw.size or int(np.abs(raw).max()) < 1 << 53:
        return np.ldexp(raw.astype(np.float64), -frac)
    return elementwise(lambda v: Fraction(int(v)) * Fraction(2) ** -frac, raw)


def _shaped(array: Array, key: str, shape: tuple[int, ...]) -> Array:
    elements = int(np.prod(shape, dtype=np.int64))
    if array.ndim == 0 or array.size != len(array) * elements:
        raise UserError(f"the array '{key}' has the shape {list(array.shape)}, not samples x {list(shape)}",
                        remedy="Put the samples first")
    return array.reshape(len(array), *shape)


def _check_samples(tensors: Mapping[str, tuple[Array, bool]], path: str) -> None:
    counts = {name: len(v) for name, (v, _) in tensors.items()}
    if len(set(counts.values())) > 1:
        raise UserError(f"the arrays in '{path}' have different numbers of samples: {counts}", remedy="Give one sample per row")
    if not next(iter(counts.values()), 0):
        raise UserError(f"the data '{path}' hold no samples", remedy="Give at least one")


def encode(graph: Graph, casts: Mapping[str, Cast], values: Mapping[str, Array]) -> dict[str, Codes]:
    """Codes of every input port from real values (samples first).

    A value off the grid, or outside the range, is refused unless the input's type has modes; the codes of a quantiser
    that stays outside the hardware are computed exactly.
    """
    codes = {}
    for op in graph.input_ops:
        x = np.asarray(values[op.name])
        encoding = op.encoding if isinstance(op, Input) else None
        codes[op.name] = _encoded(encoding.expr, x) if encoding else _on_grid(op, x, casts[op.name])
    return codes


def _encoded(expr: ex.Expr, x: Array) -> Codes:
    """The host's quantiser. Data repeat values, so where the quantiser is the same for all elements each is done once."""
    if any(ex.constant_shapes(expr)):
        return as_integers(ex.evaluate(expr, [exacts(x)])).astype(np.int64)
    unique, where = _unique(x)
    table = as_integers(ex.evaluate(expr, [exacts(unique)])).astype(np.int64)
    return np.asarray(table[where].reshape(x.shape))


def decode(op: Input, codes: Codes) -> Exacts:
    """Exact real inputs that the quantiser outside the hardware takes to these codes: what it rounds is the code itself."""
    assert op.encoding is not None
    expr = op.encoding.expr
    if any(ex.constant_shapes(expr)):
        return _decoded(op, expr, codes)
    unique, where = _unique(codes)
    return np.asarray(_decoded(op, expr, unique)[where.reshape(codes.shape)])


def _decoded(op: Input, e: ex.Expr, codes: Array) -> Exacts:
    value = np.asarray(elementwise(Fraction, codes), object)
    while not isinstance(e, ex.Leaf):
        if isinstance(e, ex.Affine | ex.Product | ex.Func):
            if not isinstance(e, ex.Affine) or len(e.terms) != 1 or (e.terms[0][1] == 0).any():
                raise UserError(f"no real values of input '{op.name}' can be found for its codes", node=op.node,
                                remedy="Give real inputs with --data")
            value = np.asarray((value - e.offset) / e.terms[0][1], object)
        e = e.terms[0][0] if isinstance(e, ex.Affine) else e.x
    return value


def _on_grid(op: Op, x: Array, cast: Cast) -> Codes:
    t = cast.type
    scaled = np.ldexp(x.astype(np.float64), t.frac) if x.dtype.kind in "fiub" else elementwise(
        lambda v: v * Fraction(2) ** t.frac, x)
    rounded = np.floor(scaled) if scaled.dtype.kind == "f" else elementwise(ROUND_NUMBER["FLOOR"], scaled)
    off = scaled != rounded
    if off.any():
        if cast.rounding is None:
            raise UserError(f"input '{op.name}': the value {_shown(x, off)} is not on the grid of {cast}, steps of 2^{-t.frac}",
                            remedy=f"Use a finer type, or say how the data are rounded: {repr(t)[:-1]},RND_CONV,SAT>")
        mode = ROUND_NUMBER[ROUNDING[cast.rounding]]
        rounded = rounded.astype(object)
        rounded[off] = [mode(Fraction(float(v)) if isinstance(v, float) else v) for v in scaled[off]]
    outside = (rounded < t.lo) | (rounded > t.hi)
    if outside.any():
        if cast.overflow is None:
            raise UserError(f"input '{op.name}': the value {_shown(x, outside)} is outside {cast}, which holds "
                            f"{t.lo * 2.0 ** -t.frac:g}..{t.hi * 2.0 ** -t.frac:g}",
                            remedy=f"Use a wider type, or say what overflow does: {repr(t)[:-1]},RND_CONV,SAT>")
        rounded = _limited(elementwise(int, rounded), cast)
    return rounded.astype(np.int64)


def _limited(whole: Exacts, cast: Cast) -> Exacts:
    """Python integers brought into the type's range as its overflow mode says."""
    t = cast.type
    if cast.overflow == "WRAP":
        return np.asarray((whole - t.lo) % (t.hi - t.lo + 1) + t.lo, object)
    return np.asarray(np.clip(whole, -t.hi if cast.overflow == "SAT_SYM" and t.signed else t.lo, t.hi), object)


def _shown(x: Array, where: Array) -> str:
    index = tuple(int(i) for i in np.argwhere(where)[0])
    return f"{float(x[index]):.9g} (sample {index[0]}, element {list(index[1:])})"


def real_values(codes: Codes, meaning: Meaning) -> Exacts:
    """Exact values of codes (samples first)."""
    if meaning.scale.ndim or meaning.offset.ndim:
        return np.asarray(codes.astype(object) * meaning.scale + meaning.offset, object)
    unique, where = np.unique(codes, return_inverse=True)
    table = elementwise(lambda c: c * meaning.scale.item() + meaning.offset.item(), unique)
    return np.asarray(table[where].reshape(codes.shape), object)


def floats(values: Exacts, dtype: type[np.floating[Any]] = np.float64) -> Array:
    """Exact values rounded once (half to even) to float32 or float64."""
    unique, where = _distinct(values)
    bits = np.finfo(dtype).nmant + 1
    return np.array([_nearest(v, bits) for v in unique], np.float64)[where].reshape(values.shape).astype(dtype)


def _unique(x: Array) -> tuple[Array, NDArray[np.int64]]:
    """The different numbers, and by element the place of its own among these, flat; exact numbers are not sorted, which is slow."""
    if x.dtype != object:
        return np.unique(x.reshape(-1), return_inverse=True)
    numbers, where = _distinct(x)
    unique = np.empty(len(numbers), object)
    unique[:] = numbers
    return unique, where


def _distinct(values: Exacts) -> tuple[list[Any], NDArray[np.int64]]:
    number: dict[Any, int] = {}
    known: dict[int, int] = {}  # by object, which is much faster to look up than an exact number
    flat = values.reshape(-1)
    where = [known[id(v)] if id(v) in known else known.setdefault(id(v), number.setdefault(v, len(number))) for v in flat]
    return list(number), np.array(where, np.int64)


def _nearest(x: Any, bits: int) -> float:
    """The nearest number with `bits` significant bits; subnormal numbers do not occur at these scales."""
    if x == 0:
        return 0.0
    exponent = 0
    magnitude = -x if x < 0 else x
    while magnitude >= Fraction(2) ** (exponent + bits):
        exponent += 1
    while magnitude < Fraction(2) ** (exponent + bits - 1):
        exponent -= 1
    rounded = ROUND_NUMBER["ROUND"](magnitude * Fraction(2) ** -exponent)
    return float(Fraction(-rounded if x < 0 else rounded) * Fraction(2) ** exponent)


def steps(values: Exacts, meaning: Meaning) -> Exacts:
    """Exact values in steps of the code, which are integers where a value is that of a code."""
    unique, where = _distinct(values)
    exact = np.empty(len(unique), object)
    exact[:] = [(v - meaning.offset.item()) * inverse(meaning.scale.item()) for v in unique]
    return np.asarray(exact[where].reshape(values.shape), object)


def expected_codes(output: Output, values: Array, cast: Cast | None = None) -> Codes | None:
    """Codes of expected results: exactly, or brought onto the output's grid by its `cast`. None where a value without
    rounding lies between codes (then no code can be equal)."""
    exact = steps(np.asarray(exacts(values)), output.meaning)
    if cast and cast.rounding:
        exact = elementwise(lambda v: Fraction(ROUND_NUMBER[ROUNDING[cast.rounding or ""]](v)), exact)
    if not ex.integers(exact):
        return None
    whole = as_integers(exact)
    return (_limited(whole, cast) if cast and cast.overflow else whole).astype(np.int64)


def warn(messages: Sequence[str]) -> None:
    for message in messages:
        warnings.warn(message, stacklevel=2)
