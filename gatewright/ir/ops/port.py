"""Where values enter: model inputs."""

from __future__ import annotations

from dataclasses import dataclass

from gatewright.ir.graph import Encoding, Op


@dataclass(frozen=True, eq=False, kw_only=True)
class Input(Op):
    """A model input as integer codes.

    Without `encoding` the codes are the input on its grid (its meaning says which); with it, the port carries the codes
    of the quantiser that the model starts with, and the host applies `encoding`.
    """

    encoding: Encoding | None = None
    kind = "input"
