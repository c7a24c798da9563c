import dataclasses
import json

import numpy as np
import pytest

from gatewright.errors import InternalError
from gatewright.sim.result import Mismatch, VerificationResult, compare


def codes(*rows):
    return np.array(rows, np.int64)


def test_schema_is_that_of_the_architecture():
    keys = ["level", "status", "reason", "vectors", "mismatching_vectors", "mismatching_values", "latency_cycles", "ii",
            "seconds", "first_mismatch", "stimulus", "boundaries"]
    result = VerificationResult("rtl", "failed", first_mismatch=Mismatch(3, "y", 1, -(2 ** 61), 5, "dense_1"))
    assert list(result.to_json()) == keys
    assert list(result.to_json()["first_mismatch"]) == ["vector", "output", "element", "expected", "got", "node"]
    assert VerificationResult.from_json(json.loads(json.dumps(result.to_json()))) == result
    with pytest.raises(TypeError):
        VerificationResult.from_json({**result.to_json(), "sneaky": 1})


def test_equal_codes_pass():
    y = codes([1, 2], [3, 4])
    assert compare("netlist", {"y": y}, {"y": y.copy()}) == VerificationResult("netlist", "passed", vectors=2)


def test_differences_are_counted_and_the_first_is_told():
    expected = {"a": codes([0, 0], [0, 0], [0, 0], [7, 0]), "b": codes([0], [0], [1], [0])}
    got = {"b": codes([0], [0], [2], [1]), "a": codes([0, 0], [0, 0], [0, -9], [7, 1])}
    result = compare("rtl", expected, got)
    assert (result.status, result.reason) == ("failed", "2 of 4 vectors differ")
    assert (result.vectors, result.mismatching_vectors, result.mismatching_values) == (4, 2, 4)
    assert result.first_mismatch == Mismatch(2, "a", 1, 0, -9)  # the first output of the lowest vector
    earlier = compare("rtl", expected, {**got, "b": codes([0], [5], [1], [0])})
    assert earlier.first_mismatch == Mismatch(1, "b", 0, 0, 5)


def test_other_names_or_shapes_are_our_defect():
    for got in ({"z": codes([1])}, {"y": codes([1], [2])}, {"y": codes([1, 2])}):
        with pytest.raises(InternalError):
            compare("rtl", {"y": codes([1])}, got)


def test_result_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        VerificationResult("rtl", "passed").status = "failed"
