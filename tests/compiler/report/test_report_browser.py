"""The page in a real browser: Chromium, headless, from file://, with every host name made unresolvable."""

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from report_samples import HOSTILE, NAMES, sample

from gatewright.compiler.report.html import render_html

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here (apt-get install chromium)")

PROBE = """<script>
const seen = [];
const shown = () => [...document.querySelectorAll("figure.chart")].filter((f) => getComputedStyle(f).display !== "none").map((f) => f.classList[1]);
seen.push(shown().join());
for (const label of document.querySelectorAll(".chooser label")) { label.click(); seen.push(shown().join()); }
const box = document.querySelectorAll("a.box")[2], row = document.getElementById("tensor-2");
box.dispatchEvent(new MouseEvent("mouseenter")); seen.push("hover " + row.classList.contains("marked"));
box.dispatchEvent(new MouseEvent("mouseleave")); seen.push("left " + row.classList.contains("marked"));
box.focus(); seen.push("focus " + row.classList.contains("marked") + " " + (document.activeElement === box));
seen.push("overflow " + (document.documentElement.scrollWidth - document.documentElement.clientWidth));
document.body.setAttribute("data-seen", seen.join(";"));
</script></body>"""


def load(folder: Path, page: str, *, width: int = 1400) -> tuple[str, list[str]]:
    """The document after its script has run, and everything on the console."""
    (folder / "report.html").write_text(page, encoding="utf-8")
    assert BROWSER
    run = subprocess.run([BROWSER, *FLAGS, f"--user-data-dir={folder / 'profile'}", f"--window-size={width},1000", "--dump-dom",
                          (folder / "report.html").as_uri()], capture_output=True, text=True, encoding="utf-8", timeout=120, check=True)
    return run.stdout, [line for line in run.stderr.splitlines() if "CONSOLE" in line]


def probed(name: str) -> str:
    """The page with a script of ours at its end, so without the policy that would forbid it."""
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", render_html(sample(name)))
    return page.replace("</body>", PROBE)


@pytest.mark.parametrize(("name", "words"), [
    ("jet_tagger", "Bit-exact: 0 mismatches at reference, netlist, rtl and cocotb."),
    ("failed", "Bits differ at rtl. Verification failed at cocotb."), ("minimal", "Not verified yet.")])
def test_loads_from_a_file_without_a_word_on_the_console(tmp_path: Path, name: str, words: str) -> None:
    document, console = load(tmp_path, render_html(sample(name)))
    assert console == []
    assert words in html.unescape(document)
    assert document.count("<script>") == 1


def test_a_hostile_name_is_text_in_the_browser_too(tmp_path: Path) -> None:
    document, _ = load(tmp_path, probed("failed").replace("const seen = [];", "const seen = []; seen.push(document.querySelectorAll("
                                                            "'svg title').length, document.images.length, document.scripts.length);"))
    assert html.escape(HOSTILE, quote=False) in document
    assert f'data-seen="{len(sample("failed")["nodes"])};0;2;' in document


@pytest.mark.parametrize(("name", "width"), [("jet_tagger", 1400), ("failed", 500)])
def test_the_chooser_switches_the_chart_and_a_box_marks_its_tensor(tmp_path: Path, name: str, width: int) -> None:
    document, console = load(tmp_path, probed(name), width=width)
    found = re.search(r'data-seen="([^"]*)"', document)
    assert found, console
    metrics = ["lut", "ff", "adders"] if name == "jet_tagger" else ["lut", "ff", "dsp", "adders"]
    assert found[1].split(";") == ["chart-lut", *(f"chart-{metric}" for metric in metrics), "hover true", "left false",
                                   "focus true true", "overflow 0"]


def test_the_page_forbids_scripts_that_are_not_its_own(tmp_path: Path) -> None:
    page = render_html(sample(NAMES[0])).replace("</body>", PROBE)
    document, console = load(tmp_path, page)
    assert "data-seen" not in document.replace(PROBE, "").split("<script>")[0]
    assert any("Content Security Policy" in line for line in console)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_takes_a_picture_in_both_schemes(tmp_path: Path, scheme: str) -> None:
    """The two pictures must differ, or the dark scheme is not applied at all."""
    (tmp_path / "report.html").write_text(render_html(sample("minimal")), encoding="utf-8")
    assert BROWSER
    subprocess.run([BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=500,600", f"--screenshot={tmp_path / 'page.png'}",
                    *(["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []), (tmp_path / "report.html").as_uri()],
                   capture_output=True, timeout=120, check=True)
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
