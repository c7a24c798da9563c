"""Who may import whom: the table in docs/architecture.md, read from there."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gatewright"
FILES = sorted(p for p in PACKAGE.rglob("*.py") if "__pycache__" not in p.parts)


def imports(file: Path) -> set[str]:
    """The modules that a file imports, anywhere in it, with full names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def folder(name: str) -> str:
    """The folder, or file, of gatewright that a module lies in: `gatewright.ir.expr` is in `ir`."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def allowed() -> dict[str, set[str]]:
    """The last column of the table in docs/architecture.md; every folder may import itself and errors."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `gatewright/([\w.]+)/?` \|.*\| ([^|]*) \|$", text, re.M)
    known = [name.removesuffix(".py") for name, _ in rows]
    return {name.removesuffix(".py"): set(known) if "all of" in may else {
        *re.findall(r"\w+", may)} & set(known) | {name.removesuffix(".py"), "errors"} for name, may in rows}


def test_the_table_names_every_folder() -> None:
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and any(p.rglob("*.py"))}
    assert folders <= set(allowed())
    assert allowed()["ir"] == {"ir", "errors"}
    assert "sim" not in allowed()["synth"] | allowed()["backends"]
    assert "compiler" not in set().union(*(may for name, may in allowed().items() if name != "compiler"))


@pytest.mark.parametrize("file", [f for f in FILES if f.parent != PACKAGE], ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_go_down(file: Path) -> None:
    own = file.relative_to(PACKAGE).parts[0]
    used = {folder(name) for name in imports(file) if name.split(".")[0] == "gatewright"}
    assert used - {"__version__"} <= allowed()[own]


def test_errors_import_nothing() -> None:
    assert imports(PACKAGE / "errors.py") == set()


def test_the_judge_shares_no_code_with_what_it_judges() -> None:
    """Its own files, errors, numpy, onnx and the standard library."""
    for file in sorted((PACKAGE / "sim" / "judge").glob("*.py")):
        for name in imports(file):
            top = name.split(".")[0]
            fine = (name.startswith(("gatewright.errors.", "gatewright.sim.judge.")) if top == "gatewright" else
                    top in {"numpy", "onnx"} | sys.stdlib_module_names)
            assert fine, f"{file.name} imports {name}"


def test_the_proof_shares_no_code_with_what_it_proves() -> None:
    """Its own files, errors, ir and numpy."""
    for file in sorted((PACKAGE / "compiler" / "proof").glob("*.py")):
        for name in imports(file):
            top = name.split(".")[0]
            fine = (name.startswith(("gatewright.errors.", "gatewright.ir.", "gatewright.compiler.proof."))
                    if top == "gatewright" else top in {"numpy", "numba"} | sys.stdlib_module_names)
            assert fine, f"{file.name} imports {name}"


def test_compiled_functions_of_the_proof_call_none_of_another_file() -> None:
    """Numba's cache looks at the date of one file only: a change in the other would not be seen."""
    files = {f.stem: ast.parse(f.read_text(encoding="utf-8")) for f in (PACKAGE / "compiler" / "proof").glob("*.py")}
    compiled = {stem: {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list}
                for stem, tree in files.items()}
    for stem, own in compiled.items():
        others = set().union(*(names for other, names in compiled.items() if other != stem)) - set(own)
        for node in own.values():
            called = {c.func.id for c in ast.walk(node) if isinstance(c, ast.Call) and isinstance(c.func, ast.Name)}
            assert not called & others, f"{stem}.{node.name} calls {called & others}"
