"""The documentation says what is so: links lead somewhere, commands and options exist, examples parse, run and agree."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from models import Net
from netlists import design_of, random_netlist

from gatewright.backends import part
from gatewright.compiler import driver
from gatewright.compiler.cli import parser
from gatewright.compiler.estimate.estimate import estimate
from gatewright.compiler.frontend import qdq, qonnx, standard
from gatewright.compiler.lower import LOWERINGS, lower
from gatewright.compiler.options import Options, with_config
from gatewright.compiler.project import write
from gatewright.compiler.verify import verify
from gatewright.ir import graph as graphs
from gatewright.ir import netlist as netlists
from gatewright.ir import netlist_text, text
from gatewright.ir.exact import exacts
from gatewright.ir.fixed import OVERFLOW, ROUNDING, Fixed, FixedArray
from gatewright.ir.graph import Graph, Meaning, Output, typed
from gatewright.ir.netlist_eval import evaluate
from gatewright.ir.ops import OPS, Input
from gatewright.sim.result import Mismatch, VerificationResult
from gatewright.synth.result import Resources

ROOT = Path(__file__).parent.parent
PAGES = {str(p.relative_to(ROOT)): p.read_text(encoding="utf-8") for p in (
    ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "examples" / "digits" / "README.md")}
FENCE = re.compile(r"^```(\w+)(?: name=([\w-]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[Any]:
    """All fenced code blocks of a language, as test parameters named after page and place."""
    return [pytest.param(found[3], id=f"{page}-{number}") for page, content in PAGES.items()
            for number, found in enumerate(FENCE.finditer(content)) if found[1] == language]


def named(name: str, page: str = "CONTRIBUTING.md") -> str:
    return next(found[3] for found in FENCE.finditer(PAGES[page]) if found[2] == name)


def section(page: str, title: str) -> str:
    """A section of a page, with its subsections."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,2}} |\Z)", PAGES[page], re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no section '{title}'"
    return found[2]


def first_cells(content: str) -> list[str]:
    """The first column of all tables, without headings."""
    rows = re.findall(r"^\| (.*?) \|", content, re.MULTILINE)
    return [row for row, following in zip(rows, [*rows[1:], ""], strict=True) if row != "---" and following != "---"]


def quoted(content: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", content))


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


# -- links, files, commands ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if target.startswith("https://"):
            continue
        path, _, fragment = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        if fragment:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert fragment in map(anchor, headings), target


@pytest.mark.parametrize("page", PAGES)
def test_files_of_the_package_exist(page: str) -> None:
    for name in quoted(PAGES[page]):
        if re.fullmatch(r"(gatewright|tests|examples|docs|benchmarks)/[\w/.-]+", name):
            assert (ROOT / name).exists(), name


def test_the_map_names_files_that_exist() -> None:
    package = ("", "ir", "ir/ops", "backends", "compiler", "compiler/frontend", "compiler/lower", "compiler/report")
    homes = ("", *(f"gatewright/{folder}" for folder in package))
    for name in quoted(PAGES["docs/architecture.md"]):
        name = name.split(":")[0]
        if name.endswith((".py", "/")) and " " not in name and not name.startswith("design"):
            assert any((ROOT / home / name).exists() for home in homes), name


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split())  # type: ignore[index]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    for content in PAGES.values():
        assert set(re.findall(r"(?:^ *|`)make ([a-z]+)\b", content, re.MULTILINE)) <= targets
    assert {"demo", "test"} == set(re.findall(r"^    make (\w+)", PAGES["README.md"], re.MULTILINE))


def shell_lines() -> Iterator[str]:
    for block in blocks("sh"):
        yield from block.values[0].replace("\\\n", " ").splitlines()
    for content in PAGES.values():
        yield from re.findall(r"^    (gatewright \w+ [^\[|\n]*)$", content, re.MULTILINE)
        yield from re.findall(r"`(gatewright [a-z]+ [^`\[|\n]*)`", content)
    for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines():
        yield line.strip().replace("$(GATEWRIGHT)", "gatewright")


def test_commands_are_understood() -> None:
    seen = 0
    for line in shell_lines():
        if line.startswith("gatewright "):
            parser().parse_args(shlex.split(line)[1:])
            seen += 1
    assert seen > 20


def commands() -> dict[str, argparse.ArgumentParser]:
    return next(a.choices for a in parser()._actions if isinstance(a, argparse._SubParsersAction))


def test_every_command_and_option_is_in_the_manual_and_no_other() -> None:
    manual = PAGES["docs/usage.md"]
    assert {name.split("`")[1] for name in first_cells(manual.split("## Exit status")[0])} == set(commands())
    for name, command in commands().items():
        options = {s for a in command._actions for s in a.option_strings if s.startswith("--") and s != "--help"}
        assert set(re.findall(r"--[a-z][a-z0-9-]+", section("docs/usage.md", name))) - {"--dump"} == options - {"--dump"}, name
    known = {s for c in commands().values() for a in c._actions for s in a.option_strings} | {"--version"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", manual)) <= known


def test_choices_are_in_the_manual() -> None:
    level = next(a for a in commands()["verify"]._actions if "--level" in a.option_strings)
    assert set(level.choices or ()) <= quoted("\n".join(first_cells(section("docs/usage.md", "verify"))))
    assert set(part.known_parts()) <= quoted(section("docs/usage.md", "compile"))


# -- tables that repeat what the code says -------------------------------------------------------------------------------


def test_types_table() -> None:
    cells = quoted("\n".join(first_cells(section("docs/usage.md", "compile"))))
    assert set(ROUNDING) | set(OVERFLOW) <= cells


def test_json_keys() -> None:
    keys = quoted("\n".join(first_cells(section("docs/usage.md", "JSON"))))
    expected = {f.name for schema in (VerificationResult, Resources) for f in fields(schema)}
    assert keys == expected
    assert {f.name for f in fields(Mismatch)} <= quoted(section("docs/usage.md", "JSON"))
    results = quoted(section("docs/architecture.md", "Results: one schema everywhere"))
    assert expected | {f.name for f in fields(Mismatch)} <= results


def test_operator_table() -> None:
    table = quoted("\n".join(first_cells(section("docs/exactness.md", "Operators"))))
    assert table == set(standard.HANDLERS) | set(qonnx.HANDLERS) | set(qdq.HANDLERS) | set(qdq.MICROSOFT)
    modes = quoted("\n".join(first_cells(section("docs/exactness.md", "Quantisers"))))
    assert modes == set(qonnx.ROUNDING_MODES)


def test_graph_op_table() -> None:
    table = section("docs/architecture.md", "Graph: the tensor IR").split("```")[0]
    assert quoted("\n".join(first_cells(table))) == set(OPS)


def test_netlist_op_table() -> None:
    table = section("docs/architecture.md", "Netlist: the scalar IR of one combinational kernel").split("```")[0]
    assert quoted("\n".join(first_cells(table))) == {op.name.lower() for op in netlists.Op}


def test_pass_table() -> None:
    order = [*(p.name for p in driver.GRAPH_PASSES), "lower", *(name for name, _ in driver.NETLIST_PASSES),
             *(name for name, *_ in driver.PART_PASSES)]
    assert [cell.strip("`") for cell in first_cells(section("docs/architecture.md", "Passes"))] == order


def test_delay_table() -> None:
    rows = re.findall(r"^\| `(\w+)` " + 4 * r"\| ([\d.]+) " + r"\|", PAGES["docs/delay-model.md"], re.MULTILINE)
    for column, name in enumerate((part.DEFAULT_PART, "xc7a100tcsg324-1", "lfe5u-45f", "10ax115n2f45e1sg"), start=1):
        assert {row[0]: float(row[column]) for row in rows} == dict(part.load_part(name).delay)
    assert {p.delay_model for p in map(part.load_part, part.known_parts())} <= quoted(PAGES["docs/delay-model.md"])


def test_extras_table() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cells = first_cells(section("README.md", "Extras"))
    assert [cell.strip("`") for cell in cells] == list(project["optional-dependencies"])
    for content in PAGES.values():
        for extras in re.findall(r"\.\[([\w,]+)\]", content):
            assert set(extras.split(",")) <= set(project["optional-dependencies"])


# -- examples ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", blocks("graph"))
def test_graphs_are_valid_and_read_back(block: str) -> None:
    graph = text.parse(block)
    graphs.verify(graph)
    assert text.show(graph) == block


@pytest.mark.parametrize("block", blocks("netlist"))
def test_netlists_are_valid_and_read_back(block: str) -> None:
    netlist = netlist_text.parse(block)
    netlists.verify(netlist)
    assert netlist_text.show(netlist) == block


@pytest.mark.parametrize("block", blocks("toml"))
def test_configurations_are_understood(block: str, tmp_path: Path) -> None:
    if "[totals]" in block:  # a part
        return
    file = tmp_path / "options.toml"
    file.write_text(block)
    options = with_config(Options(), file)
    assert options.types().inputs.keys() == options.input_types.keys()
    assert {f.name for f in fields(Options) if getattr(options, f.name) == f.default} <= {"backend", "kernel"}


@pytest.mark.parametrize("block", blocks("python"))
def test_python_is_python(block: str) -> None:
    ast.parse(block)


def examples(page: str) -> str:
    """All unnamed Python blocks of a page, in order."""
    return "\n".join(found[3] for found in FENCE.finditer(PAGES[page]) if found[1] == "python" and not found[2])


@pytest.mark.parametrize("page", ["docs/usage.md", "docs/getting-started.md"])
def test_python_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                             capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    exec(compile(examples(page), page, "exec"), {})
    if page == "docs/usage.md":
        said = capsys.readouterr().out
        assert "passed" in said
        assert set(np.load("x.npz")) == {"x_raw", "x_type"}


def tiny(folder: Path) -> Path:
    """The model that docs/architecture.md follows through the files."""
    net = Net()
    weights = net.quant(net.const([[0.75, -0.5], [1.25, 0.25]], name="weights"), 0.25, 4, name="weights_quant")
    y = net.op("Add", net.op("MatMul", "x", weights, name="dense"), net.const([0.5, -1.0]), name="bias_add")
    net.quant(net.op("Relu", y, name="relu"), 0.25, 4, signed=False, name="relu_quant", out="y")
    path = folder / "tiny.onnx"
    path.write_bytes(net.model({"x": ["N", 2]}, {"y": ["N", 2]}).SerializeToString())
    return path


def walk(folder: Path) -> list[str]:
    """What docs/architecture.md shows of that model: the Graph first and last, the last Netlist, Verilog of a node, map."""
    dumped: dict[str, str] = {}
    compiled = driver.compile_model(tiny(folder), Options(input_type="fixed<6,3>", clock_ns=1.2), dumped.__setitem__)
    verilog = (write(compiled, folder / "out").design_folder / "rtl" / "tiny_kernel.v").read_text(encoding="utf-8")
    node = verilog[verilog.index("  // node dense"):]
    rows = [f"{name:<11}rows {' '.join(f'%{r}' for r in rows)}\n" for name, rows in compiled.correspondence.rows.items()]
    gone = [f"{name:<11}gone: {why}\n" for name, why in compiled.correspondence.gone.items()]
    return [dumped["import"], dumped[driver.GRAPH_PASSES[-1].name], list(dumped.values())[-1],
            node[:node.index("  always")], "".join([*rows, *gone])]


def test_the_model_that_the_map_follows(tmp_path: Path) -> None:
    shown = [found[3] for found in FENCE.finditer(PAGES["docs/architecture.md"]) if found[2] == "tiny"]
    assert shown == walk(tmp_path), "if the new texts are right: python tests/test_docs.py"


def update() -> None:
    """Writes today's texts of that model into docs/architecture.md."""
    page = ROOT / "docs" / "architecture.md"
    with tempfile.TemporaryDirectory() as folder:
        texts = iter(walk(Path(folder)))
    page.write_text(FENCE.sub(lambda found: found[0] if found[2] != "tiny" else found[0].replace(found[3], next(texts)),
                              PAGES["docs/architecture.md"]), encoding="utf-8")


# -- the miniature extensions of CONTRIBUTING.md -------------------------------------------------------------------------


def run_block(name: str) -> Any:
    """The block as a module."""
    module = ModuleType(f"example_{name.replace('-', '_')}")
    sys.modules[module.__name__] = module
    try:
        exec(compile(named(name), name, "exec"), module.__dict__)
    finally:
        del sys.modules[module.__name__]
    return module


def test_example_of_an_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(standard.HANDLERS, "Abs", run_block("operator").absolute)
    net = Net()
    x = net.quant("x", 1 / 4, 5, name="input_quant")
    net.quant(net.op("Abs", net.op("Add", x, net.const([0.3])), name="abs"), 1 / 2, 4, name="act", out="y")
    path = tmp_path / "model.onnx"
    path.write_bytes(net.model({"x": ["N", 2]}, {"y": ["N", 2]}).SerializeToString())
    project = write(driver.compile_model(path), tmp_path / "out")
    result = verify(project, "reference", vectors=500)
    assert (result.status, result.vectors) == ("passed", 500)


def two_inputs() -> list[graphs.Op]:
    meaning = FixedArray(np.array([[-8, -2]]), np.array([[7, 30]]), 0)
    return [Input(name=n, inputs=(), node=n, type=meaning) for n in ("a", "b")]


def test_example_of_a_graph_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    example = run_block("graph-op")
    monkeypatch.setitem(OPS, "larger", example.Larger)
    monkeypatch.setitem(LOWERINGS, "larger", example.larger)
    a, b = two_inputs()
    y = typed(example.Larger, "y", [a, b], "max_1")
    assert y.type == FixedArray(np.array([[-8, -2]]), np.array([[7, 30]]), 0)
    one = Meaning(exacts(Fraction(1)), exacts(0))
    graph = Graph("larger", (a, b, y), (Output("y", "y", one),), dict.fromkeys("aby", one))
    graphs.verify(graph)
    assert text.show(text.parse(text.show(graph))) == text.show(graph)
    netlist, _ = lower(graph)
    netlists.verify(netlist)
    rng = np.random.default_rng(0)
    codes = {op.name: rng.integers(op.type.lo, op.type.hi + 1, (200, 1, 2)) for op in (a, b)}
    got = evaluate(netlist, {k: v.reshape(200, 2) for k, v in codes.items()})["y"]
    assert (got == np.maximum(codes["a"], codes["b"]).reshape(200, 2)).all()
    assert (graph.evaluate(codes)["y"].reshape(200, 2) == got).all()


def test_example_of_a_graph_pass(tmp_path: Path) -> None:
    compiled = driver.compile_model(ROOT / "examples" / "digits" / "digits.onnx")
    before = next(op for op in compiled.graph.ops if op.name == "probabilities")
    idle = typed(type(before), "idle", [before], "idle", before.type.frac, **{
        f.name: getattr(before, f.name) for f in fields(before) if f.name in ("mul", "add", "shift", "rounding", "overflow")},
        lo=before.type.lo.min(), hi=before.type.hi.max()) if before.kind == "requant" else None
    assert idle is not None, "the demo's last operation is no requant any more: choose another example"
    graph = compiled.graph.with_ops([*compiled.graph.ops, idle])
    result = run_block("graph-pass").IdleRequants().run(graph)
    graphs.verify(result.graph)
    assert result.renamed["idle"] in result.graph.by_name
    assert "idle" not in result.graph.by_name
    correspondence = driver.Correspondence.identity([op.name for op in graph.ops]).after(result.renamed, result.gone)
    driver.Checker(graph).graph("idle-requants", result.graph, correspondence)


@pytest.mark.parametrize("seed", range(4))
def test_example_of_a_netlist_pass(seed: int) -> None:
    b = netlists.NetlistBuilder("copies")
    b.origin("x")
    x = b.input("x", [-4, 0], [3, 9])
    b.origin("copies")
    once = b.sum1(x, 0, False, 0)
    twice = b.sum1(once, 0, False, 0)
    narrower = b.sum1(x, 0, False, 0, bounds=([-4, 0], [3, 8 - seed]))
    b.output("y", np.concatenate([once, twice, b.sum1(x, 1, False, 0), b.sum1(x, 0, True, 0), b.sum1(x, 0, False, 1)]))
    b.output("z", narrower)
    netlist = b.build()
    result, moved = run_block("netlist-pass").copies(netlist)
    netlists.verify(result)
    assert len(result) == len(netlist) - 5  # once and twice, and the element of `narrower` that is not
    assert (moved[once] == moved[x]).all()
    assert (moved[twice] == moved[x]).all()
    inputs = {"x": np.random.default_rng(seed).integers([-4, 0], [4, 9 - seed], (50, 2))}
    for name, expected in evaluate(netlist, inputs).items():
        assert (evaluate(result, inputs)[name] == expected).all()


def test_example_of_a_target() -> None:
    design = design_of(random_netlist(1))
    files = run_block("target").emit(design, None, {"gatewright": "1.2", "sha256": "abc"})
    assert f"constexpr int latency_cycles = {design.latency_cycles};" in files["ports.h"]
    assert all(f"{p.rtl}_width = {p.width}" in files["ports.h"] for p in design.inputs + design.outputs)


def test_example_of_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    design = design_of(random_netlist(1))
    (tmp_path / "xczu9eg-ffvb1156-2-e.toml").write_text(named("part"))
    monkeypatch.setattr(part, "_FOLDER", tmp_path)
    new = part.load_part("xczu9eg-ffvb1156-2-e")
    assert new.totals["lut"] == 274080
    assert (estimate(design, new).lut or 0) > 0


# -- figures that are pasted from runs -----------------------------------------------------------------------------------


def test_figures_of_the_demo() -> None:
    """Pasted figures belong to the version that made them; this tells when they have become another circuit's."""
    compiled = driver.compile_model(ROOT / "examples" / "digits" / "digits.onnx", Options(clock_ns=4.6))  # as `make demo` does
    found = estimate(compiled.design, compiled.part, compiled.options.clock_ns)
    for page, pattern, value in (
            ("README.md", r"^    LUT +([\d,]+) +[\d,]+ +[-+\d]", found.lut),
            ("README.md", r"^    FF +([\d,]+) +[\d,]+ +[-+\d]", found.ff),
            ("docs/delay-model.md", r"\| LUT \| ([\d,]+) \|", found.lut),
            ("docs/delay-model.md", r"\| FF \| ([\d,]+) \|", found.ff)):
        shown = re.search(pattern, PAGES[page], re.MULTILINE)
        assert shown, f"{page} does not show {pattern}"
        off = abs(int(shown[1].replace(",", "")) / (value or 1) - 1)
        assert off < 0.05, f"{page} shows {shown[1]}, today it is {value}: run the demo again and put in its figures"


def test_fixed_point_examples() -> None:
    assert Fixed.of(16, 6, True).hi / 1024 == pytest.approx(31.999, abs=1e-3)
    assert Fixed.of(8, 0, False) == Fixed(0, 255, 8)


if __name__ == "__main__":
    update()
