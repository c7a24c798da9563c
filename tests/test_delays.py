"""benchmarks/delays.py: paths of routed designs priced by the delay model, and the figures that docs/delay-model.md quotes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.delays import RESULTS, paths, priced, spread, tables, worst_path
from gatewright.backends.part import DEFAULT_PART, load_part

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT.parent / "shared" / "data"
needs_reports = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published reports in ../shared/data are not here")


def test_a_path_is_priced_step_by_step() -> None:
    delay = load_part(DEFAULT_PART).delay
    steps = worst_path((ROOT / "tests" / "synth" / "vendor" / "vivado_timing.rpt").read_text())
    assert priced(steps, delay) == [
        ("clk_to_q", 0.080, delay["clk_to_q"]), ("net", 1.5, delay["net"]), ("lut", 0.110, delay["lut"]), ("net", 2.7, delay["net"]),
        ("lut", 0.040, delay["lut"]), ("dedicated net", 0.010, 0.0), ("carry", 0.120, delay["carry_in"]), ("dedicated net", 0.030, 0.0),
        ("carry", 0.080, delay["carry_group"] + delay["carry_out"]), ("dedicated net", 0.020, 0.0), ("setup", -0.025, delay["setup"])]


def test_the_page_quotes_the_stored_figures() -> None:
    page = (ROOT / "docs" / "delay-model.md").read_text()
    results = json.loads(RESULTS.read_text())
    assert tables(results) in page, "python -m benchmarks.delays prints the tables"
    found = results["spread"]
    low, middle, high = found["period_ns"]
    for text in (f"{found['designs']} designs", f"{low} to {high} ns", f"median {middle}",
                 f"{found['counted_over_placed'][0]} to {found['counted_over_placed'][2]}", f"{found['rank_correlation_with_lut']:.2f}"):
        assert text in page, text


@needs_reports
def test_the_stored_figures_are_those_of_the_reports() -> None:
    results = json.loads(RESULTS.read_text())
    assert results["paths"] == paths(PUBLISHED / "kanele_reports")
    assert results["spread"] == spread(PUBLISHED / "jedi-linear_vivado_summaries")
