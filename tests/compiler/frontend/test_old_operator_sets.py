"""Attributes of old operator sets that change the meaning. What broadcasts from an axis is in tests/fuzz/cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx_ops import model_of, same_as_judge

from gatewright.errors import UserError

PARAMETERS = {"gain": [2.0, 1.0], "bias": [0.5, 0.0], "mean": [1.0, -1.0], "variance": [4.0, 1.0]}


def normalised(opset: int, **attributes: Any) -> Any:
    node = helper.make_node("BatchNormalization", ["x", *PARAMETERS], ["y"], "bn", epsilon=0.25, **attributes)
    constants = {name: np.float32(values) for name, values in PARAMETERS.items()}
    return model_of([node], {"x": ["N", 2, 3]}, ["y"], constants, opset)


@pytest.mark.parametrize(("opset", "attributes"), [(6, {"is_test": 1}), (7, {}), (8, {"spatial": 1})])
def test_batch_norm_for_inference(opset: int, attributes: dict[str, int], tmp_path: Path) -> None:
    same_as_judge(normalised(opset, **attributes), tmp_path)


@pytest.mark.parametrize(("opset", "attributes", "words"), [(6, {}, "in training mode"), (7, {"spatial": 0}, "for every element")])
def test_batch_norm_with_another_meaning_is_refused(opset: int, attributes: dict[str, int], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words) as caught:
        same_as_judge(normalised(opset, **attributes), tmp_path)
    assert caught.value.node == "bn"
