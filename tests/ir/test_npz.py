"""Arrays as bytes."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest

from gatewright.ir.npz import npz_arrays, npz_bytes

ARRAYS = {"a": np.arange(12).reshape(3, 4).T, "scalar": np.array(7), "empty": np.zeros((0, 2), np.int32),
          "bits": np.array([True, False]), "text": np.array(["x", "yé"])}


def test_arrays_come_back_with_shape_and_type() -> None:
    for read in (npz_arrays(npz_bytes(ARRAYS)), dict(np.load(io.BytesIO(npz_bytes(ARRAYS))))):
        assert list(read) == list(ARRAYS)
        for key, array in ARRAYS.items():
            assert (read[key].shape, read[key].dtype) == (array.shape, array.dtype)
            assert (read[key] == array).all()


def test_equal_arrays_give_equal_bytes_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    first = npz_bytes(ARRAYS)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    assert npz_bytes({k: v.copy() for k, v in ARRAYS.items()}) == first


def test_no_pickles() -> None:
    with pytest.raises(ValueError, match="Object arrays"):
        npz_bytes({"a": np.array([None])})
