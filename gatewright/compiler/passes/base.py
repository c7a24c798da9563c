"""What a Graph pass is: a pure function with its options as fields, and what it hands on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from gatewright.ir.graph import Graph


@dataclass(frozen=True)
class PassResult:
    """The new Graph and where the old tensors are: under a new name, gone and why, or else unchanged."""

    graph: Graph
    renamed: Mapping[str, str] = field(default_factory=dict)
    gone: Mapping[str, str] = field(default_factory=dict)


class GraphPass(Protocol):
    """A frozen dataclass whose fields are the pass's options. The driver verifies the IR before and after, and checks on
    vectors that every output bit is kept and that every tensor is where the result says."""

    name: ClassVar[str]

    def run(self, graph: Graph) -> PassResult: ...
