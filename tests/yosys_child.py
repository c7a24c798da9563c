"""Yosys in a process of its own: an error would end the process of the tests."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence

import pytest

RUN = "import sys; from pyosys import libyosys as y; d = y.Design(); [y.run_pass(c, d) for c in sys.argv[1:]]"


def run_yosys(commands: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs commands on one design; exit status and log. Skips the test where pyosys is not installed."""
    if importlib.util.find_spec("pyosys") is None:
        pytest.skip("pyosys is not installed")
    return subprocess.run([sys.executable, "-P", "-c", RUN, *commands], capture_output=True, text=True, check=False)
