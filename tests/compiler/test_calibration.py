"""Input types chosen from data: which inputs, which types, what is said of them."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from models import Array, Net

import gatewright
from gatewright.compiler import driver
from gatewright.compiler.calibration import chosen_type
from gatewright.compiler.cli import main
from gatewright.compiler.frontend import onnx_file
from gatewright.compiler.options import Options
from gatewright.errors import UserError
from gatewright.ir.fixed import Cast

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(("values", "kind"), [
    ([0.5, 1.25, -3.0], "fixed<5,3,RND_CONV,SAT>"), ([0, 12, 96], "ufixed<5,7,RND_CONV,SAT>"), ([0.0], "ufixed<1,1,RND_CONV,SAT>"),
    ([-8.0, 7.0], "fixed<4,4,RND_CONV,SAT>"), ([-8.0, 8.0], "fixed<2,5,RND_CONV,SAT>"), ([2.0**-20], "ufixed<1,-19,RND_CONV,SAT>"),
    ([0.1, -3.99], "fixed<16,3,RND_CONV,SAT>"), ([0.1, -4.0], "fixed<16,3,RND_CONV,SAT>"), ([0.1, 4.0], "ufixed<16,3,RND_CONV,SAT>"),
    ([-0.1, 4.0], "fixed<16,4,RND_CONV,SAT>"), ([0.001, 0.0003], "ufixed<16,-9,RND_CONV,SAT>"),
    ([65535.5, 1], "ufixed<16,16,RND_CONV,SAT>")])
def test_types_of_real_values(values: list[float], kind: str) -> None:
    for dtype in (np.float32, np.float64):
        array = np.array(values, dtype)
        chosen, how = chosen_type(array)
        assert chosen == kind
        t = Cast.parse(chosen).type
        steps = [Fraction(float(v)) * Fraction(2) ** t.frac for v in array]
        assert all(t.lo <= s < t.hi + 1 for s in steps)
        assert ("on its grid" in how) == all(s.denominator == 1 for s in steps)


def test_the_narrowest_type_that_holds_all() -> None:
    """One bit less, on either side, loses something."""
    rng = np.random.default_rng(3)
    for _ in range(200):
        values = rng.integers(-(1 << int(rng.integers(1, 13))), 1 << int(rng.integers(1, 13)), 20) * 2.0 ** rng.integers(-9, 4)
        t = Cast.parse(chosen_type(values)[0]).type
        codes = [Fraction(v) * Fraction(2) ** t.frac for v in values]
        assert all(c.denominator == 1 for c in codes)
        assert any(c.numerator % 2 for c in codes) or not values.any()
        assert t.width == 1 or not all(-(1 << t.width - 2) * t.signed <= c < 1 << t.width - 1 - t.signed for c in codes)


def model(folder: Path) -> Path:
    """Three inputs: two whose types are open, one that a quantiser reads."""
    net = Net(seed=1)
    both = net.op("Add", net.op("MatMul", "a", net.weight(3, 2)), net.op("MatMul", "b", net.weight(3, 2)))
    net.op("Add", both, net.quant("c", 0.5, 4), out="y")
    path = folder / "three.onnx"
    onnx.save(net.model({"a": ["N", 3], "b": ["N", 3], "c": ["N", 2]}, {"y": ["N", 2]}), path)
    return path


def saved(folder: Path, **arrays: Array | list[Any]) -> str:
    np.savez(folder / "data.npz", **{k: np.asarray(v) for k, v in arrays.items()})
    return str(folder / "data.npz")


A, B = [[0.5, -1.0, 2.0], [0.25, 0.0, -2.0]], [[1, 2, 3], [4, 5, 6]]


def test_what_is_open_gets_a_type(tmp_path: Path) -> None:
    path, file = model(tmp_path), saved(tmp_path, a=A, b_raw=B, b_type=[5, 2, 0], c=[[0.3, 0.1]] * 2)
    options = driver.opened(path, Options(data=file)).options
    assert options.input_types == {"a": "fixed<5,3,RND_CONV,SAT>", "b": "ufixed<5,2>"}
    assert options.data == ""
    assert options.notes == (
        "Input 'a' has the type fixed<5,3,RND_CONV,SAT>, chosen from 2 samples in 'data.npz', which lie in -2..2 and are on its grid.",
        "Input 'b' has the type ufixed<5,2>, chosen from 2 samples in 'data.npz', which lie in 0.125..0.75 and have this type.")
    assert driver.opened(path, Options(data=file, input_types={"b": "fixed<9,5>"})).options.input_types == {
        "a": "fixed<5,3,RND_CONV,SAT>", "b": "fixed<9,5>"}  # the user's own type stays
    assert driver.opened(path, Options()).options == Options()


def test_a_model_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    monkeypatch.setattr(driver, "load", lambda path: read.append(path) or onnx_file.load(path))
    gatewright.compile(model(tmp_path), tmp_path / "out", data=saved(tmp_path, a=A, b=B))
    assert len(read) == 1


def test_the_choice_is_shown(tmp_path: Path, capsys: Capture) -> None:
    """In the summary, in the report, and by inspect; by option, in a configuration file beside the data, and from Python."""
    path, file = model(tmp_path), saved(tmp_path, a=A, b=B)
    assert main(["compile", str(path), "-o", str(tmp_path / "out"), "--data", file]) == 0
    assert "Input 'a' has the type fixed<5,3,RND_CONV,SAT>, chosen from 2 samples" in " ".join(capsys.readouterr().out.split())
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert any("chosen from 2 samples" in note for note in report["notes"])
    assert {p["name"]: p["type"] for p in report["ports"]}["b"] == "ufixed<3,3>"
    assert main(["inspect", str(path), "--data", file]) == 0
    assert "Input 'b' has the type ufixed<3,3,RND_CONV,SAT>" in capsys.readouterr().out
    (tmp_path / "options.toml").write_text('data = "data.npz"\n')
    assert main(["compile", str(path), "-o", str(tmp_path / "toml"), "--config", str(tmp_path / "options.toml")]) == 0
    made = gatewright.compile(path, tmp_path / "python", data=file)
    for folder in ("toml", "python"):
        assert (tmp_path / folder / "design/manifest.json").read_bytes() == (tmp_path / "out/design/manifest.json").read_bytes()
    assert made.run({"a": A, "b": B, "c": [[0.5, 1]] * 2})["y"].shape == (2, 2)


@pytest.mark.parametrize(("arrays", "said"), [
    ({"a": A}, "no array for input 'b'"), ({"a": A, "b": [[1, 2]]}, "shape"), ({"a": A, "b_raw": B}, "no 'b_type'"),
    ({"a": A, "b_raw": B, "b_type": [99, 2, 0]}, "width of 99"), ({"a": A, "b": [[np.nan, 0, 0]]}, "NaN")])
def test_data_that_cannot_be_used(arrays: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        driver.opened(model(tmp_path), Options(data=saved(tmp_path, **arrays)))


def test_one_input_may_be_called_x_or_come_alone(tmp_path: Path) -> None:
    net = Net()
    net.op("MatMul", "only", net.weight(3, 2), out="y")
    path = tmp_path / "one.onnx"
    onnx.save(net.model({"only": ["N", 3]}, {"y": ["N", 2]}), path)
    np.save(tmp_path / "alone.npy", np.array(A, np.float32))
    for file in (saved(tmp_path, x=A), saved(tmp_path, x_raw=B, x_type=[5, 2, 0]), str(tmp_path / "alone.npy")):
        chosen = driver.opened(path, Options(data=file)).options.input_types["only"]
        assert chosen == ("ufixed<5,2>" if file.endswith("npz") and "x_raw" in np.load(file) else "fixed<5,3,RND_CONV,SAT>")


def test_data_for_nothing_get_a_warning(tmp_path: Path) -> None:
    net = Net()
    net.quant("x", 0.5, 4, out="y")
    onnx.save(net.model({"x": ["N", 2]}, {"y": ["N", 2]}), tmp_path / "q.onnx")
    with pytest.warns(UserWarning, match="choose no types"):
        assert driver.opened(tmp_path / "q.onnx", Options(data=saved(tmp_path, x=[[1, 2]]))).options.input_types == {}
