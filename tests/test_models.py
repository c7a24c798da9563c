"""The twins themselves: well formed, executable, the same every time, and with the property that each is there for."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from bad_models import BAD, sound
from models import (
    CASES,
    Array,
    Case,
    Feeds,
    activation_quantizers,
    execute,
    initializer,
    modern,
    mutate,
    samples,
    tensors,
    weight_quantizers,
)

BY_NAME = {case.name: case for case in CASES}
VECTORS = 6
UNREADABLE = {"missing_file", "a_folder", "not_onnx", "empty_file", "truncated_file"}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_twin_is_valid_and_executes(case: Case) -> None:
    model = case.model()
    assert case.model().SerializeToString() == model.SerializeToString()
    onnx.checker.check_model(modern(model))
    feeds = samples(case, 7 if "seven" in case.name else 2)
    outputs = execute(model, feeds)
    assert set(outputs) == {o.name for o in model.graph.output}
    assert all(len(y) == len(x) and np.isfinite(y).all() for y in outputs.values() for x in feeds.values())


@cache
def executed(name: str) -> list[Feeds]:
    """Every tensor of the twin for a few samples."""
    return tensors(BY_NAME[name].model(), samples(BY_NAME[name], VECTORS))


def operand(name: str, node: str) -> Array:
    """The first operand of the twin's node for those samples, all in one array."""
    tensor = next(n.input[0] for n in BY_NAME[name].model().graph.node if n.name == node)
    return np.concatenate([batch[tensor] for batch in executed(name)])


def steps(name: str, node: str) -> Array:
    """The operand of a Quant node in steps of its scale (all asked for here are powers of two)."""
    model = BY_NAME[name].model()
    scale = next(n.input[1] for n in model.graph.node if n.name == node)
    return operand(name, node).astype(np.float64) / initializer(model, scale)


@pytest.mark.parametrize(("name", "floors"), [("axol1tl_v1", 3), ("axol1tl_v3", 1)])
def test_accumulators_wrap(name: str, floors: int) -> None:
    for i in range(floors):
        assert len(np.unique(np.floor(operand(name, f"Floor_{i}")))) > 1


def test_products_are_truncated() -> None:
    assert (steps("axol1tl_v1", "Quant_2") % 1 != 0).any()


@pytest.mark.parametrize(("name", "node"), [("axol1tl_v3", "Quant_4"), ("axol1tl_v3", "Quant_9"),
                                            ("quant_ROUND_signed", "subject"), ("quant_HALF_UP_unsigned", "subject")])
def test_roundings_tie(name: str, node: str) -> None:
    assert (steps(name, node) % 1 == 0.5).any()


@pytest.mark.parametrize("name", [n for n in BY_NAME if n.startswith("quant_ROUND") and "scale" not in n])
def test_chain_saturates_at_both_ends(name: str) -> None:
    codes = steps(name, "subject")
    assert codes.min() < -1
    assert codes.max() > (15 if "unsigned" in name and "zero" not in name else 1)


@pytest.mark.parametrize(("name", "what", "node"), [
    ("jet_tagger", "weight", "Quant_0"), ("jet_tagger", "rounding", None), ("axol1tl_v1", "weight", None),
    ("axol1tl_v1", "rounding", "Quant_2"), ("axol1tl_v3", "weight", "Quant_5"), ("axol1tl_v3", "rounding", "Quant_9"),
    ("tfc", "weight", None), ("tfc", "rounding", None), ("one_bit", "weight", None), ("per_channel", "weight", None),
    ("per_channel_activation", "rounding", None), ("quant_FLOOR_signed", "rounding", None)])
def test_mutants_are_seen(name: str, what: str, node: str | None) -> None:
    case = BY_NAME[name]
    model, feeds = case.model(), samples(case, VECTORS)
    right, wrong = execute(model, feeds), execute(mutate(model, what, node), feeds)
    assert any((right[output] != wrong[output]).any() for output in right)


def test_weight_mutant_moves_one_code() -> None:
    for case in CASES:
        model = case.model()
        for node in weight_quantizers(model):
            stored = next(n.input[0] for n in model.graph.node if n.name == node)
            last = initializer(model, stored).size - 1
            moved = initializer(mutate(model, "weight", node, last), stored) != initializer(model, stored)
            assert moved.sum() == 1
            assert moved.flat[last]


def test_sound_model_is_sound() -> None:
    onnx.checker.check_model(sound())
    assert np.isfinite(execute(sound(), {"x": np.ones((2, 4), np.float32)})["y"]).all()
    assert activation_quantizers(sound()) == ["input_quant", "act_quant"]


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_what_it_says(name: str, tmp_path: Path) -> None:
    """Files that are no models cannot be read; all others can, so that what is wrong with them is left to find."""
    path, words = BAD[name](tmp_path)
    assert words
    assert all(words)
    assert path.suffix == ".onnx"
    assert readable(path) == (name not in UNREADABLE)


def readable(path: Path) -> bool:
    try:
        return bool(onnx.load(path, load_external_data=False).graph.node)
    except Exception:
        return False
