"""Data become codes exactly, whatever they come as."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import passthrough

from gatewright.compiler.data import encode, expected_codes, floats, load_data, real_values, steps
from gatewright.compiler.frontend.importer import Imported, import_model
from gatewright.compiler.options import Options
from gatewright.ir.exact import exacts, sqrt
from gatewright.ir.graph import Meaning, Output

HUGE = (1 << 55) + 1
"""No float64."""


def imported(kind: str, folder: Path) -> Imported:
    """A model whose output is its input x, of this type and 3 elements."""
    path = folder / "model.onnx"
    path.write_bytes(passthrough().SerializeToString())
    return import_model(path, Options(input_type=kind).types())


def codes(model: Imported, folder: Path, **arrays: Any) -> list[int]:
    """Codes of the first sample."""
    np.savez(folder / "data.npz", **arrays)
    found = load_data(folder / "data.npz", model.graph)
    (first, *_), = encode(model.graph, model.input_casts, found.inputs).values()
    return [int(c) for c in first]


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_wide_integers_stay_exact(dtype: type, tmp_path: Path) -> None:
    model, x = imported("fixed<60,60>", tmp_path), np.array([[HUGE, 5, HUGE + 2]], dtype)
    assert codes(model, tmp_path, x=x) == [HUGE, 5, HUGE + 2]
    assert codes(model, tmp_path, x_raw=x, x_type=np.array([60, 60, 1])) == [HUGE, 5, HUGE + 2]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.bool_])
def test_every_number_type(dtype: type, tmp_path: Path) -> None:
    assert codes(imported("fixed<8,4>", tmp_path), tmp_path, x=np.array([[1, 0, 1]], dtype)) == [16, 0, 16]


@pytest.mark.parametrize(("kind", "expected"), [
    ("fixed<6,3,RND_CONV,SAT>", [0, 2, 31]), ("fixed<6,3,RND_INF,SAT>", [-1, 2, 31]), ("fixed<6,3,TRN,WRAP>", [-1, 1, -28]),
    ("fixed<6,3,TRN_ZERO,WRAP>", [0, 1, -28]), ("fixed<6,3,RND,SAT_SYM>", [0, 2, 31])])
def test_modes(kind: str, expected: list[int], tmp_path: Path) -> None:
    """-1/2, 3/2 and 36 steps of the grid."""
    assert codes(imported(kind, tmp_path), tmp_path, x=np.array([[-1 / 16, 3 / 16, 4.5]])) == expected


def test_the_lowest_code_saturates_symmetrically(tmp_path: Path) -> None:
    model = imported("fixed<6,3,RND,SAT_SYM>", tmp_path)
    assert codes(model, tmp_path, x=np.array([[-9.0, -4.0, -3.875]])) == [-31, -31, -31]


def test_names_and_short_names(tmp_path: Path) -> None:
    model = imported("fixed<8,4>", tmp_path)
    np.savez(tmp_path / "data.npz", x=np.zeros((2, 3)), y=np.zeros((2, 3)), z=np.zeros(9))
    found = load_data(tmp_path / "data.npz", model.graph)
    assert (set(found.inputs), set(found.outputs)) == ({"x"}, {"y"})
    assert len(found.warnings) == 1
    assert "z" in found.warnings[0]


def test_one_array_alone(tmp_path: Path) -> None:
    model = imported("fixed<8,4>", tmp_path)
    np.save(tmp_path / "data.npy", np.array([[1, 0, 1]]))
    assert load_data(tmp_path / "data.npy", model.graph).inputs["x"].tolist() == [[1, 0, 1]]


def test_expected_codes_are_exact() -> None:
    """A value one float beside that of a code is not it."""
    output = Output("y", "y", Meaning(exacts(0.375), exacts(0.125)))
    values = np.array([[0.125, 0.5, -0.25]])
    assert expected_codes(output, values).tolist() == [[0, 1, -1]]  # type: ignore[union-attr]
    assert expected_codes(output, np.nextafter(values, 9)) is None


def test_irrational_scales() -> None:
    scale = Meaning(exacts(np.array(sqrt(2), object)), exacts(0))
    values = real_values(np.array([[-3, 0, 7]]), scale)
    assert steps(values, scale).tolist() == [[-3, 0, 7]]
    assert floats(values).tolist() == [[-math.sqrt(18), 0.0, math.sqrt(98)]]
    assert floats(values, np.float32).dtype == np.float32
