"""docs/compatibility.md: its rows are what the tool gives today (a fast part of them), and the document is what the rows say."""

from __future__ import annotations

import json

import pytest

from benchmarks import compatibility
from benchmarks.compatibility import DOCUMENT, FAST, MODELS, STORED, document, examine
from benchmarks.rows import read_rows

ROWS = {row["file"]: row for row in read_rows(STORED)}
needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason="the models in ../shared/models are not here")
pytestmark = pytest.mark.filterwarnings("ignore")


def test_the_document_says_what_was_measured() -> None:
    assert DOCUMENT.read_text() == document(list(ROWS.values()))


def test_nothing_differs_and_all_is_proven() -> None:
    """A difference would be published as one; here it also fails."""
    for row in ROWS.values():
        if "refused" not in row:
            levels = {row["judge"], row.get("ties", "equal"), row.get("rtl", "equal")}
            assert levels == {"equal"}, row
            assert row.get("netlist", "equal") == "equal" or row["netlist"].startswith("refused"), row
            assert row.get("golden", {"equal": True})["equal"], row
            assert all(cause for _, cause, _ in row["executors"].get("different", [])), row
            assert not row["executors"].get("unproven"), row
            assert row["vectors"]["random"] >= 64, row
            assert row["graph_cpu_s"] < 60
            assert row["memory_mb"] < 2048, row


@needs_models
def test_every_file_has_its_row() -> None:
    assert set(ROWS) == set(compatibility.names())


@needs_models
@pytest.mark.parametrize("name", FAST)
def test_rows_of_the_fast_part_are_reproduced(name: str) -> None:
    row = json.loads(json.dumps(examine(name)))
    assert findings(row) == findings(ROWS[name])


def findings(row: dict[str, object]) -> dict[str, object]:
    """What must be the same: not the effort, nor how many boundaries today's forms of the functions have."""
    return {k: v for k, v in row.items() if k not in ("cpu_s", "graph_cpu_s", "memory_mb", "vectors", "boundaries")}


def test_a_failure_would_be_shown() -> None:
    row = next(r for r in ROWS.values() if "judge" in r and "golden" in r)
    wrong = {**row, "judge": "failed: 3 of 152 vectors differ", "netlist": "failed: 1 of 152 vectors differ",
             "golden": {**row["golden"], "equal": False},
             "executors": {"codes": 9, "different": [["q", "", 2]], "values": 1, "different_values": 1, "unproven": ["add"]}}
    text = document([wrong])
    for words in ("**failed: 3 of 152 vectors differ**", "failed: 1 of 152", "**differ**", "**not proven: add**",
                  "| `q` | 2 | **not proven** |", "| 2 of 9, 0 proven"):
        assert words in text
