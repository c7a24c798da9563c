"""ONNX's own operators, one module a family. A handler is a function listed in its module's HANDLERS.

A handler takes constants and data alike: constants fold exactly, data become exact expressions or Graph operations.
"""

from gatewright.compiler.frontend.standard import (
    activations,
    constants,
    contractions,
    elementwise,
    moving,
    normalisation,
    ranking,
    reductions,
    selection,
    shape,
    windows,
)
from gatewright.compiler.frontend.standard.common import aligned, as_const, broadcast
from gatewright.compiler.frontend.standard.shape import transposed
from gatewright.compiler.frontend.values import Handler

__all__ = ["HANDLERS", "aligned", "as_const", "broadcast", "transposed"]

HANDLERS: dict[str, Handler] = {
    name: handler
    for family in (elementwise, activations, selection, contractions, windows, reductions, normalisation, ranking, shape,
                   moving, constants)
    for name, handler in family.HANDLERS.items()
}
