"""Reports of vendors' tools in an output folder: kept, shown beside the estimate, refused whole where one cannot be used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import gatewright
from gatewright.compiler.cli import main
from gatewright.compiler.report import facts

DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "digits.onnx"
REPORTS = Path(__file__).parents[1] / "synth" / "vendor"
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vendor") / "out"
    gatewright.compile(DIGITS, folder, name="demo", clock_ns=4.6)
    return folder


@pytest.fixture
def folder(compiled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(compiled, tmp_path / "out"))


def report(folder: Path, *files: str | Path) -> int:
    return main(["report", str(folder), "--vendor", *(str(REPORTS / f) for f in files)])


def content(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def test_what_vivado_found_stands_beside_the_estimate(folder: Path, capsys: Capture) -> None:
    assert report(folder, "vivado_utilization.rpt", "vivado_timing.rpt") == 0
    estimate, (found,) = content(folder)["estimate"], content(folder)["vendor"]
    assert (found["lut"], found["ff"], found["critical_path_ns"], found["routed"]) == (1500, 530, 4.85, True)
    assert (found["latency_cycles"], found["latency_ns"]) == (estimate["latency_cycles"], estimate["latency_ns"])
    said = " ".join(capsys.readouterr().out.split())
    error = facts.relative_error(estimate["lut"], 1500).replace("−", "-")
    assert f"LUT {estimate['lut']:,} 1,500 {error}" in said  # as the best that is known
    assert f"Vivado 2023.2 routed 1,500 {error} 530" in said  # and in a line of its own
    assert "Longest stage 4.85 ns*" in said
    assert "* after routing" in said
    assert "LONGEST STAGE misses the clock of 4.6 ns by 0.25 ns" in said
    page = (folder / "report.html").read_text()
    assert "Vivado 2023.2 routed" in page
    assert "<td>routed" in page.replace(' class="num"', "")


def test_it_stays_there_and_a_later_run_replaces_it(folder: Path, tmp_path: Path) -> None:
    assert report(folder, "vivado_utilization.rpt") == 0
    assert report(folder, "vivado_utilization_synth.rpt", "csynth.xml") == 0
    (tmp_path / "again.rpt").write_text((REPORTS / "vivado_utilization.rpt").read_text().replace("1500", "1400"))
    assert report(folder, tmp_path / "again.rpt") == 0
    assert {found["tool"]: found["lut"] for found in content(folder)["vendor"]} == {
        "Vivado 2023.2 routed": 1400, "Vivado 2023.2 synthesised": 1610, "Vitis HLS 2023.2": 3210}
    assert gatewright.open(folder).report()["vendor"] == content(folder)["vendor"]


def test_c_synthesis_is_never_taken_for_the_rtl(folder: Path, capsys: Capture) -> None:
    assert report(folder, "csynth.xml") == 0
    found, = content(folder)["vendor"]
    assert (found["target"], found["latency_cycles"], found["latency_ns"]) == ("hls", 7, 32.2)
    assert facts.best_resources(content(folder)) == content(folder)["estimate"]
    assert "Vitis HLS 2023.2" in capsys.readouterr().out


def test_no_error_against_another_part(folder: Path, capsys: Capture) -> None:
    assert report(folder, "demo.fit.summary", "demo.sta.rpt") == 0
    said = capsys.readouterr().out
    assert "Quartus 23.1.0 routed is for 10ax115n2f45e1sg" in said
    line = next(line for line in said.splitlines() if line.startswith("Quartus 23.1.0 routed  "))
    assert "%" not in line


def test_a_part_is_known_however_a_report_spells_it(tmp_path: Path) -> None:
    gatewright.compile(DIGITS, tmp_path / "out", name="demo", part="xc7a100tcsg324-1")
    text = (REPORTS / "vivado_timing.rpt").read_text()
    for old, new in (("xcvu13p-flga2577", "7a100t-csg324"), (": -2  PRODUCTION", ": -1  PRODUCTION"), ("| Temperature Grade : E\n", "")):
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "timing.rpt").write_text(text)
    assert report(tmp_path / "out", tmp_path / "timing.rpt") == 0
    assert content(tmp_path / "out")["vendor"][0]["part"] == "xc7a100tcsg324-1"


def test_quartus_on_its_own_part(tmp_path: Path, capsys: Capture) -> None:
    gatewright.compile(DIGITS, tmp_path / "out", name="demo", part="10ax115n2f45e1sg")
    assert report(tmp_path / "out", "demo.fit.rpt", "demo.sta.rpt") == 0
    estimate, (found,) = content(tmp_path / "out")["estimate"], content(tmp_path / "out")["vendor"]
    assert (found["part"], found["lut"], found["clb"]) == ("10ax115n2f45e1sg", 1616, 1020)
    error = facts.relative_error(estimate["lut"], 1616).replace("−", "-")
    assert f"Quartus 23.1.0 routed 1,616 {error} 542" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("bad", "words"), [
    ("demo.sta.summary", "NAME.sta.rpt"), ("csynth.bad", "no format"), ("nowhere.rpt", "No such file"), ("other.rpt", "not 'demo'")])
def test_nothing_is_kept_where_one_report_cannot_be_used(bad: str, words: str, folder: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "csynth.bad").write_text("LUT: 5\n")
    (tmp_path / "other.rpt").write_text((REPORTS / "vivado_timing.rpt").read_text().replace(": demo", ": other"))
    there = (REPORTS if (REPORTS / bad).exists() else tmp_path) / bad
    before = content(folder)
    assert report(folder, "csynth.xml", there) == 2
    assert words in capsys.readouterr().err
    assert content(folder) == before
    assert not list((folder / "results").glob("vendor-*"))


def test_from_python(folder: Path) -> None:
    model = gatewright.open(folder)
    assert model.report([REPORTS / "vivado_utilization.rpt"])["vendor"][0]["clb"] == 260
