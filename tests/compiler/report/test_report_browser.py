"""The page in a real browser: Chromium, headless, from file://, with every host name made unresolvable."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from report_samples import NAMES, sample

from gatewright.compiler.report.html import render_html

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-component-update", "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND",
         "--enable-logging=stderr", "--dump-dom")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here (apt-get install chromium)")

CHOOSE_AND_HOVER = """
  const charts = [...document.querySelectorAll("figure.chart")];
  const visible = (figure) => getComputedStyle(figure).display !== "none";
  const look = () => seen.push(charts.filter(visible).map((figure) => figure.classList[1]));
  look();
  for (const label of document.querySelectorAll(".chooser label")) { label.click(); look(); }
  const box = document.querySelectorAll("a.box")[2], row = document.getElementById("tensor-2");
  const marked = (event) => seen.push(event + " " + row.classList.contains("marked"));
  box.dispatchEvent(new MouseEvent("mouseenter")); marked("enter");
  box.dispatchEvent(new MouseEvent("mouseleave")); marked("leave");
  box.dispatchEvent(new FocusEvent("focus")); marked("focus");
  box.dispatchEvent(new FocusEvent("blur")); marked("blur");
  seen.push("tab stop " + box.tabIndex);"""
COUNT = """seen.push(document.querySelectorAll("svg title").length, document.images.length, document.scripts.length);"""
GROUND = """seen.push(getComputedStyle(document.body).backgroundColor);"""
OVERFLOW = """seen.push(document.documentElement.scrollWidth - document.documentElement.clientWidth);"""


def load(folder: Path, page: str, *flags: str, width: int = 1400) -> tuple[str, list[str]]:
    """The document after its scripts have run, and everything on the console."""
    file = folder / "report.html"
    file.write_text(page, encoding="utf-8")
    assert BROWSER
    window = (f"--user-data-dir={folder / 'profile'}", f"--window-size={width},1000")
    command = [BROWSER, *FLAGS, *flags, *window, file.as_uri()]
    run = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, check=True)
    return run.stdout, [line for line in run.stderr.splitlines() if "CONSOLE" in line]


def with_script(page: str, script: str) -> str:
    """A last script in the page; what it pushes to `seen` becomes the document's title."""
    added = f"<script>{{const seen = []; {script}\n document.title = seen.join(';');}}</script></body>"
    return page.replace("</body>", added)


def seen(folder: Path, name: str, script: str, *flags: str, width: int = 1400) -> str:
    """What `script` saw, run in the page without the policy that would forbid it."""
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", render_html(sample(name)))
    document, _ = load(folder, with_script(page, script), *flags, width=width)
    title = re.search(r"<title>([^<]*)", document)
    assert title
    return title[1]


@pytest.mark.parametrize(("name", "words"), [
    ("jet_tagger", "Bit-exact: 0 mismatches at reference, netlist, rtl and cocotb."),
    ("failed", "Bits differ at rtl. Verification failed at cocotb."), ("minimal", "Not verified yet.")])
def test_loads_from_a_file_without_a_word_on_the_console(tmp_path: Path, name: str, words: str) -> None:
    document, console = load(tmp_path, render_html(sample(name)))
    assert console == []
    assert words in document
    assert document.count("<script>") == 1


def test_the_page_forbids_scripts_that_are_not_its_own(tmp_path: Path) -> None:
    document, console = load(tmp_path, with_script(render_html(sample("minimal")), "seen.push('ran');"))
    assert "<title>tiny – gatewright report</title>" in document
    assert any("Content Security Policy" in line for line in console)


def test_hostile_names_make_no_elements(tmp_path: Path) -> None:
    nodes = len(sample("failed")["nodes"])
    assert seen(tmp_path, "failed", COUNT) == f"{nodes};0;2"  # one title a node, no image, our script and this one


@pytest.mark.parametrize(("name", "metrics"), [("jet_tagger", "lut ff adders"), ("failed", "lut ff dsp adders")])
def test_the_chooser_switches_the_chart_and_a_box_marks_its_tensor(tmp_path: Path, name: str, metrics: str) -> None:
    charts = [f"chart-{metric}" for metric in metrics.split()]
    assert seen(tmp_path, name, CHOOSE_AND_HOVER).split(";") == [
        "chart-lut", *charts, "enter true", "leave false", "focus true", "blur false", "tab stop 0"]


@pytest.mark.parametrize(("flags", "colour"), [
    ((), "rgb(255, 255, 255)"), (("--blink-settings=preferredColorScheme=0",), "rgb(20, 24, 28)")])
def test_light_and_dark(tmp_path: Path, flags: tuple[str, ...], colour: str) -> None:
    assert seen(tmp_path, "minimal", GROUND, *flags) == colour


@pytest.mark.parametrize("name", NAMES)
def test_a_narrow_window_needs_no_scrolling_sideways(tmp_path: Path, name: str) -> None:
    assert seen(tmp_path, name, OVERFLOW, width=500) == "0"
