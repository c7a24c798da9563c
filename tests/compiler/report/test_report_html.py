import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from report_samples import HOSTILE, NAMES, sample, with_one_gap

from gatewright.compiler.report import html as html_writer
from gatewright.compiler.report.html import render_html


class Page(HTMLParser):
    """Elements with their attributes, and the text outside style and script."""

    VOID = frozenset({"meta", "input", "br", "wbr"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(html)
        self.close()
        self.text = re.sub(r"\s+", " ", "".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data + ("" if self.open and self.open[-1] in ("code", "span") else " "))

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.elements if t == tag and all(a.get(k.rstrip("_")) == v for k, v in wanted.items())]


@pytest.fixture(scope="module")
def pages() -> dict[str, Page]:
    return {name: Page(render_html(sample(name))) for name in NAMES}


@pytest.mark.parametrize(("name", "words"), [
    ("jet_tagger", ["Bit-exact: 0 mismatches at reference, netlist, rtl and cocotb.", "27,609", "1.6 % of 1,728,000",
                    "synthesis, Yosys 0.70", "30 ns (estimate, delay model usplus-simple)", "212 MHz", "+2.9 %",
                    "1.20 LHC bunch crossings (40.079 MHz)", "global_in[255:0]", "global_in[16*i +: 16]",
                    "value = code * 2**-10", "two's complement, 10 fraction bits", "input.global_in.type",
                    "The final Softmax (Softmax_0) is cut", "5 ns (200 MHz)", "22–25", "1,534", "24,911", "3,190",
                    "Registers behind it, bits", "2 5.25 −0.25 1,121"]),
    ("failed", ["Bits differ at rtl. Verification failed at cocotb.", "rtl: 37 of 10,000 vectors differ (41 values).",
                "-312", "Add_residual", "latency is 12 cycles", "gates skipped: Yosys is not installed",
                "115.4 % of 20,800", "does not fit the part", "misses the clock of 5 ns by 1.12 ns", "✗ differs",
                HOSTILE, "≤ 288", 'Relu & "Quant" </svg><img src=x onerror=alert(2)>']),
    ("minimal", ["Not verified yet.", "gatewright verify DIR", "gatewright synth DIR", "gatewright estimate DIR",
                 "No numbers per stage yet", "3.125 ns (320 MHz)"])])
def test_the_facts_are_on_the_page(pages: dict[str, Page], name: str, words: list[str]) -> None:
    for word in words:
        assert word in pages[name].text, word


@pytest.mark.parametrize("name", NAMES)
def test_well_formed_and_only_our_own_elements(pages: dict[str, Page], name: str) -> None:
    page = pages[name]
    assert (page.unbalanced, page.open) == ([], [])
    assert len(page.all("script")) == 1
    assert {tag for tag, _ in page.elements} & {"img", "b", "iframe", "object", "link"} == set()
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]


@pytest.mark.parametrize("name", NAMES)
def test_no_reference_leaves_the_page(pages: dict[str, Page], name: str) -> None:
    html, ids = render_html(sample(name)), {a["id"] for _, a in pages[name].elements if "id" in a}
    assert not re.search(r"https?:|//[a-z]+\.|@import", html)
    references = [a[key] for _, a in pages[name].elements for key in ("href", "src", "xlink:href", "data") if key in a]
    assert all(r and r.startswith("#") and r[1:] in ids for r in references), references
    assert set(re.findall(r"url\(([^)]*)\)", html)) <= {"#arrow"}
    assert "default-src 'none'" in html


@pytest.mark.parametrize("name", NAMES)
def test_accessible(pages: dict[str, Page], name: str) -> None:
    page = pages[name]
    assert page.all("html", lang="en")
    assert len(page.all("title")) >= 1
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert all(a.get("scope") in ("col", "row") for a in page.all("th"))
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a} <= set(ids)
    assert {a["for"] for a in page.all("label")} == {a["id"] for a in page.all("input")}
    assert all("tabindex" in a and {"aria-label", "aria-labelledby"} & set(a) for a in page.all("div", role="region"))
    assert all(a.get("aria-hidden") == "true" or "aria-labelledby" in a or "x" in a for a in page.all("svg"))


def test_the_full_hash_is_there_to_hover_and_copy(pages: dict[str, Page]) -> None:
    report = sample("jet_tagger")
    titles = [a["title"] for a in pages["jet_tagger"].all("code", class_="digest")]
    assert titles == [report["sha256"], report["model"]["sha256"]]
    assert report["sha256"] in pages["jet_tagger"].text


def test_the_graph_has_every_node_and_marks_the_one_that_differs(pages: dict[str, Page]) -> None:
    nodes = sample("failed")["nodes"]
    boxes = [a for a in pages["failed"].all("a") if "data-tensor" in a]
    assert [a["href"] for a in boxes] == [f"#tensor-{i}" for i in range(len(nodes))]
    assert [i for i, a in enumerate(boxes) if a["class"] == "box differs"] == [7]
    assert len(pages["failed"].all("path", class_="edge")) == sum(len(node["inputs"]) for node in nodes)


def bars(page: Page, kind: str) -> list[str | None]:
    return [a["width"] for a in page.all("rect", class_=kind)]


def test_bars_are_in_proportion_to_the_axis(pages: dict[str, Page]) -> None:
    assert bars(pages["jet_tagger"], "estimate")[:4] == ["79.87%", "61.43%", "39.93%", "7.68%"]  # of 15,000 LUT
    assert bars(pages["jet_tagger"], "synthesis")[0] == "78.22%"
    assert bars(pages["failed"], "synthesis") == []
    assert [a["id"] for a in pages["jet_tagger"].all("input")] == ["metric-lut", "metric-ff", "metric-adders"]
    assert [a["id"] for a in pages["failed"].all("input")] == ["metric-lut", "metric-ff", "metric-dsp", "metric-adders"]


@pytest.mark.parametrize("largest", [1, 3, 5, 6, 9, 10, 11, 99, 100, 101, 4999, 5001, 1_234_567])
def test_an_axis_covers_its_bars_closely(largest: int) -> None:
    html = render_html({"estimate": {"layers": [{"name": "a", "lut": largest}]}})
    labels = [int(t.replace(",", "")) for t in re.findall(r'class="tick"[^>]*>([\d,]+)<', html)]
    assert 2 <= len(labels) <= 6
    assert labels[0] == 0
    assert len({b - a for a, b in pairwise(labels)}) == 1
    assert labels[-2] < largest <= labels[-1]


def test_same_report_same_bytes() -> None:
    assert render_html(sample("failed")) == render_html(sample("failed"))


@pytest.mark.parametrize("name", ["jet_tagger", "failed"])
def test_any_key_may_be_missing(name: str) -> None:
    for gap, report in with_one_gap(sample(name)):
        html = render_html(report)
        assert html.endswith("</html>"), gap
        assert ">None<" not in html, gap


def test_nothing_known() -> None:
    assert "Not verified yet." in render_html({})


def test_every_text_is_escaped() -> None:
    """Wherever the report carries text, a script in its place stays text."""
    def poison(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: v if k in ("status", "id", "inputs") else poison(v) for k, v in value.items()}
        if isinstance(value, list):
            return [poison(v) for v in value]
        return f'"\'{HOSTILE}' if isinstance(value, str) else value

    html = render_html(poison(sample("jet_tagger")))
    page = Page(html)
    assert len(page.all("script")) == 1
    assert page.unbalanced == []
    assert "<script>alert" not in html


def test_unpaired_surrogates_can_be_written() -> None:
    assert render_html({"design": "\ud800"}).encode("utf-8")


# ---------------------------------------------------------------- contrast (WCAG 2.1, 1.4.3)


def luminance(colour: str) -> float:
    channels = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_has_contrast(scheme: int) -> None:
    css = (Path(html_writer.__file__).parents[2] / "templates/report/report.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", re.findall(r":root \{([^}]*)\}", css)[scheme]))
    pairs = [(text, ground) for text in ("ink", "quiet", "accent", "good", "bad", "wait")
             for ground in ("page", "panel")]
    pairs += [(text, f"{mood}-soft") for mood in ("good", "bad", "wait") for text in (mood, "ink", "quiet")]
    pairs += [("ink", "mark"), ("quiet", "mark"), ("page", "accent")]
    low = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}
    assert {pair: value for pair, value in low.items() if value < 4.5} == {}
