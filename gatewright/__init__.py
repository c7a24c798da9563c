"""gatewright: from a trained network to FPGA firmware that computes the same bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gatewright.compiler.api import CompiledModel, compile, open

__all__ = ["CompiledModel", "__version__", "compile", "open"]


def __getattr__(name: str) -> Any:
    """The Python interface is loaded when it is first used, so that `import gatewright.ir` stays light."""
    if name in __all__:
        from gatewright.compiler import api

        return getattr(api, name)
    raise AttributeError(f"module 'gatewright' has no attribute '{name}'")
