"""Where the values of the model are in the hardware: the map that every pass hands on.

Diagnosis ("the first ONNX node that differs"), reports and proofs rest on it, so it goes into the output folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int32]


@dataclass(frozen=True)
class Correspondence:
    """For every tensor of the imported Graph: the tensor it is now, the netlist rows of its elements, or why it is gone.

    `rows[name][i]` is the row whose value is element i (C order) of the tensor, -1 where that element has none any more.
    The row's value is the code itself; in a Design it is valid in cycle `stage[row]` after the input registers.
    """

    tensors: Mapping[str, str]
    gone: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, Rows] = field(default_factory=dict)

    @staticmethod
    def identity(names: list[str]) -> Correspondence:
        return Correspondence({n: n for n in names})

    def after(self, renamed: Mapping[str, str], gone: Mapping[str, str]) -> Correspondence:
        """After a Graph pass that renames or removes tensors."""
        tensors = {k: renamed.get(v, v) for k, v in self.tensors.items() if v not in gone}
        lost = {k: gone[v] for k, v in self.tensors.items() if v in gone}
        return replace(self, tensors=tensors, gone={**self.gone, **lost})

    def lowered(self, rows: Mapping[str, Rows]) -> Correspondence:
        """After lowering: `rows` of every Graph tensor by its current name."""
        return replace(self, rows={k: rows[v].reshape(-1) for k, v in self.tensors.items() if v in rows})

    def moved(self, moved: Rows) -> Correspondence:
        """After a Netlist pass: the new row of every old one, -1 where it is gone."""
        return replace(self, rows={k: np.where(r >= 0, moved[r], np.int32(-1)).astype(np.int32) for k, r in self.rows.items()})
