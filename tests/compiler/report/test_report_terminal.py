import io
from typing import Any

import pytest
from report_samples import HOSTILE, NAMES, sample, with_one_gap
from rich.cells import cell_len
from rich.console import Console

from gatewright.compiler.report.terminal import print_summary


def summary(report: dict[str, Any], width: int = 120) -> str:
    """What a terminal without colour shows."""
    stream = io.StringIO()
    print_summary(report, Console(file=stream, width=width, color_system=None))
    return stream.getvalue()


def test_jet_tagger() -> None:
    text = summary(sample("jet_tagger"))
    for line in ("jet_tagger (qkeras_jettagging.onnx)", "xcvu13p-flga2577-2-e, clock 5 ns (200 MHz)",
                 "PASSED  Bit-exact: 0 mismatches at reference, netlist, rtl and cocotb.",
                 "LUT         28,412      27,609  +2.9 %    1.6 %",
                 "Packed: 24,911 LUTs after pairing, 3,190 carry sites, at least 3,190 CLBs.",
                 "Latency        6 cycles = 30 ns* = 1.20 LHC bunch crossings", "* estimate, delay model usplus-simple",
                 "MatMul_0          11,980  1,534    0   1,041  1,534        1-2",
                 "Note: The final Softmax (Softmax_0) is cut: outputs are the logits, their"):
        assert line in text.splitlines(), line


def test_failure() -> None:
    text = summary(sample("failed"))
    for line in ("FAILED  Bits differ at rtl. Verification failed at cocotb.",
                 "  rtl: 37 of 10,000 vectors differ (41 values).",
                 "  first at rtl: vector 1234, größe_Σ[1]: expected -311, got -312",
                 "  first ONNX node that differs: Add_residual", "DOES NOT FIT the part: LUT and DSP",
                 "LONGEST STAGE misses the clock of 5 ns by 1.12 ns"):
        assert line in text.splitlines(), line


def test_what_is_missing_names_the_command_that_brings_it() -> None:
    text = summary(sample("minimal"))
    for words in ("Not verified yet.", "gatewright verify DIR", "gatewright estimate DIR", "gatewright synth DIR"):
        assert words in text


@pytest.mark.parametrize("name", NAMES)
def test_at_most_40_lines_of_80_columns(name: str) -> None:
    lines = summary(sample(name)).splitlines()
    assert len(lines) <= 40
    assert max(map(cell_len, lines)) <= 80


def test_narrow_terminals_lose_no_digit() -> None:
    text = summary(sample("jet_tagger"), width=50)
    assert max(map(cell_len, text.splitlines())) <= 50
    digits = sum(c.isdigit() for c in summary(sample("jet_tagger")))
    assert sum(c.isdigit() for c in text) == digits


def test_names_are_neither_markup_nor_commands_to_the_terminal() -> None:
    report = sample("failed")
    report["design"] = "[red]net[/red]\x1b[2J"
    report["estimate"]["layers"][0]["name"] = "[bold]x"
    text = summary(report)
    assert "[red]net[/red]\ufffd[2J" in text
    assert "[bold]x" in text
    assert HOSTILE in text
    assert "\x1b" not in text


def test_an_ascii_terminal_gets_ascii() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    print_summary(sample("failed"), Console(file=stream, width=80, color_system=None))
    stream.flush()
    assert b"gr??e_?[1]: expected -311" in raw.getvalue()


def test_many_layers_are_cut_and_counted() -> None:
    report = sample("jet_tagger")
    report["estimate"]["layers"] = [{"name": f"MatMul_{i}", "lut": i} for i in range(20)]
    report["synthesis"] = []
    text = summary(report)
    assert "MatMul_11" in text
    assert "MatMul_12" not in text
    assert "... and 8 more layers in report.html" in text


@pytest.mark.parametrize("name", ["jet_tagger", "failed"])
def test_any_key_may_be_missing(name: str) -> None:
    for gap, report in with_one_gap(sample(name)):
        assert "None" not in summary(report), gap


def test_the_report_is_left_as_it_was() -> None:
    report = sample("failed")
    summary(report)
    assert report == sample("failed")
