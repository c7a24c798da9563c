"""Reports of vendors' tools: what is read from excerpts in the tools' formats (`vendor/`) and from published reports, where present."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gatewright.errors import UserError
from gatewright.synth.vendor import join, read_report

HERE = Path(__file__).parent / "vendor"
PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "kanele_reports"

VIVADO = {"lut": 1500, "lut_logic": 1494, "srl": 6, "lut_paired": 1500, "ff": 530, "dsp": 2, "bram": 1.5, "uram": 0, "carry": 120,
          "carry_sites": 120, "carry_unit": "CARRY8", "clb": 260, "clb_unit": "CLB"}
HLS = {"lut": 3210, "ff": 1201, "dsp": 4, "uram": 0, "bram": 1.5, "critical_path_ns": 3.585, "latency_cycles": 7, "ii": 1}
QUARTUS = {"clb": 1020, "clb_unit": "ALM", "ff": 542, "dsp": 3, "bram": 0}


@pytest.mark.parametrize(("file", "tool", "stage", "part", "values"), [
    ("vivado_utilization.rpt", "Vivado 2023.2", "routed", "xcvu13p-flga2577-2-e", VIVADO),
    ("vivado_utilization_synth.rpt", "Vivado 2023.2", "synthesised", "xcvu13p-flga2577-2-e", {
        **{k: v for k, v in VIVADO.items() if k not in ("clb", "clb_unit", "lut_paired")}, "lut": 1610, "lut_logic": 1604}),
    ("vivado_timing.rpt", "Vivado 2023.2", "routed", "xcvu13p-flga2577-2-e", {
        "critical_path_ns": 4.85, "critical_path": "kernel/v10_0_reg[3]/C to kernel/v200_1_reg[7]/D"}),
    ("csynth.xml", "Vitis HLS 2023.2", "synthesised", "xcvu13p-flga2577-2-e", HLS),
    ("demo_csynth.rpt", "Vitis HLS 2023.2", "synthesised", "xcvu13p-flga2577-2-e", HLS),
    ("demo.fit.summary", "Quartus 23.1.0", "routed", "10ax115n2f45e1sg", QUARTUS),
    ("demo.fit.rpt", "Quartus 23.1.0", "routed", "10ax115n2f45e1sg", {
        **QUARTUS, "lut_logic": 1604, "route_through": 12, "lut": 1616}),
    ("demo.sta.rpt", "Quartus 23.1.0", "routed", "10ax115n2f45e1sg", {"critical_path_ns": 4.167}),
    ("elements.fit.summary", "Quartus 22.1", "routed", "10m50daf484c7g", {
        "clb": 2173, "clb_unit": "LE", "lut_logic": 2011, "lut": 2011, "ff": 542}),
    ("nextpnr.json", "nextpnr-ecp5", "routed", "lfe5u-45f", {
        "lut": 3793, "ff": 1033, "dsp": 0, "bram": 0, "critical_path_ns": 9.282}),
])
def test_what_is_read(file: str, tool: str, stage: str, part: str, values: dict[str, Any]) -> None:
    found = read_report(HERE / file)
    assert (found.tool, found.stage, found.part, dict(found.values)) == (tool, stage, part, values)
    assert found.design == (None if file == "nextpnr.json" else "demo")
    assert found.target == ("hls" if "csynth" in file else "verilog")


@pytest.mark.parametrize(("file", "old", "new", "words"), [
    ("vivado_utilization.rpt", "CLB Registers", "Registers", ["'CLB LUTs' and 'CLB Registers'", "whole report"]),
    ("vivado_utilization.rpt", "Table of Contents", "1. Utilization by Hierarchy", ["by hierarchy", "without -hierarchical"]),
    ("vivado_utilization.rpt", "Utilization Design Information", "Power Report", ["nothing of resources or timing", "report_utilization"]),
    ("vivado_timing.rpt", "-0.250       -1.125", "NA           NA", ["worst slack", "constraints.xdc"]),
    ("vivado_timing.rpt", "clk    {0.000 2.300}", "clk2   {0.000 1.000}        2.000      500.0\nclk    {0.000 2.300}",
     ["clocks of several periods (clk2, clk)", "ooc.tcl"]),
    ("csynth.xml", "</profile>", "", ["damaged", "csynth.xml"]),
    ("csynth.xml", "<LUT>3210</LUT>", "", ["no top function, estimated clock period or LUTs"]),
    ("demo_csynth.rpt", "|Total  ", "|Sum    ", ["no top function, estimated clock period or LUTs"]),
    ("demo.fit.summary", "Successful", "Failed", ["the fitter ended with 'Failed", "build that fits"]),
    ("demo.fit.summary", "Total dedicated logic", "Some", ["registers", ".fit.summary"]),
    ("demo.fit.summary", "Fitter Status", "Flow Status", ["nothing of resources or timing", "NAME.sta.rpt"]),
    ("demo.sta.rpt", "; clk ", "; adc ", ["Fmax of the clock 'clk'"]),
    ("demo.sta.summary", "", "", ["not what the clock is", "NAME.sta.rpt"]),
    ("nextpnr.json", "TRELLIS_COMB", "ICESTORM_LC", ["no report of nextpnr-ecp5"]),
    ("nextpnr.json", '"fmax"', '"fastest"', ["no format", "Vivado (report_utilization", "Quartus (.fit.summary"]),
])
def test_what_cannot_be_used_is_refused(file: str, old: str, new: str, words: list[str], tmp_path: Path) -> None:
    text = (HERE / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new))
    with pytest.raises(UserError) as refused:
        read_report(tmp_path / file)
    assert all(word in str(refused.value) for word in [str(tmp_path / file), *words]), str(refused.value)
    assert refused.value.remedy


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"cannot read the report 'nowhere.rpt': No such file"):
        read_report(Path("nowhere.rpt"))


def test_data_that_decides_a_latency_leaves_it_open(tmp_path: Path) -> None:
    (tmp_path / "csynth.xml").write_text((HERE / "csynth.xml").read_text().replace(">7<", ">undef<"))
    assert "latency_cycles" not in read_report(tmp_path / "csynth.xml").values


# -- reports of one run --------------------------------------------------------------------------------------------------


def read(*files: str) -> dict[str, Any]:
    return {file: read_report(HERE / file) for file in files}


def test_reports_of_one_stage_are_joined() -> None:
    found = join(read("vivado_timing.rpt", "vivado_utilization.rpt", "vivado_utilization_synth.rpt", "csynth.xml"), "demo")
    assert [r.tool for _, r in found] == ["Vivado 2023.2 routed", "Vivado 2023.2 synthesised", "Vitis HLS 2023.2"]
    routed, synthesised, hls = (r for _, r in found)
    assert (routed.lut, routed.critical_path_ns, routed.routed, routed.delay_model) == (1500, 4.85, True, None)
    assert (synthesised.lut, synthesised.critical_path_ns, synthesised.routed, synthesised.delay_model) == (
        1610, None, False, "Vivado 2023.2")
    assert (hls.target, hls.latency_cycles, hls.routed) == ("hls", 7, False)


@pytest.mark.parametrize(("old", "new", "words"), [
    ("| Design            : demo", "| Design            : other", "about the design 'other', not 'demo'"),
    ("| Device            : xcvu13p", "| Device            : xcvu9p", "about the device"),
    ("| Design            : demo", "| Design            : demo_shell", "about the top module"),
])
def test_reports_of_other_runs_are_refused(old: str, new: str, words: str, tmp_path: Path) -> None:
    text = (HERE / "vivado_timing.rpt").read_text()
    assert old in text
    (tmp_path / "timing.rpt").write_text(text.replace(old, new))
    readings = {**read("vivado_utilization.rpt"), "timing.rpt": read_report(tmp_path / "timing.rpt")}
    with pytest.raises(UserError, match=words):
        join(readings, "demo")


def test_two_reports_that_count_differently_are_refused(tmp_path: Path) -> None:
    (tmp_path / "again.rpt").write_text((HERE / "vivado_utilization.rpt").read_text().replace("1500", "1501"))
    with pytest.raises(UserError, match=r"contradict each other about 'lut', which is 1501 in 'again.rpt'"):
        join({**read("vivado_utilization.rpt"), "again.rpt": read_report(tmp_path / "again.rpt")}, "demo")


def test_the_shell_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.rpt").write_text((HERE / "vivado_utilization.rpt").read_text().replace(": demo", ": demo_shell"))
    (_, found), = join({"a.rpt": read_report(tmp_path / "a.rpt")}, "demo")
    assert found.tool == "Vivado 2023.2 routed, shell"


# -- published reports ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("run", "part", "expected"), [
    ("RL_logs_kan_quant", "xczu7ev-ffvc1156-2-e", (2828, 1136, 84, 451, 0, 1.132)),
    ("anomaly_detection_models", "xc7a100tcsg324-1", (29981, 17643, 2470, 8919, 0, 4.394)),
])
def test_published_reports(run: str, part: str, expected: tuple[Any, ...]) -> None:
    files = [f for kind in ("util", "timing") for f in sorted(PUBLISHED.glob(f"*{run}*_{kind}.rpt"))]
    if len(files) != 2:
        pytest.skip(f"the published reports are not in {PUBLISHED}")
    (_, found), = join({str(file): read_report(file) for file in files}, "top")
    assert (found.part, found.tool) == (part, "Vivado 2024.1 routed")
    assert (found.lut, found.ff, found.carry, found.clb, found.bram, found.critical_path_ns) == expected
