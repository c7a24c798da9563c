"""The three sample reports: a jet tagger with everything, a network with wrong bits and hostile names, an empty one."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("jet_tagger", "failed", "minimal")
HOSTILE = "<script>alert(1)</script>"


def sample(name: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    return report


def with_one_gap(report: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """`report` with one key left out or None, for every key (of lists: of their first record)."""
    for path in _paths(report):
        for gap in ("absent", "None"):
            broken = copy.deepcopy(report)
            place: Any = broken
            for step in path[:-1]:
                place = place[step]
            if gap == "absent":
                del place[path[-1]]
            else:
                place[path[-1]] = None
            yield f"{path} {gap}", broken


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from _paths(item, (*path, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from _paths(value[0], (*path, 0))
