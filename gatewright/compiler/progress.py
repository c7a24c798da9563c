"""Progress of long work: on a terminal after two seconds, nowhere else."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

DELAY = 2.0
"""Seconds before anything is shown."""


FIRST_USE = "First use: gatewright's inner loops are compiled to machine code and kept, which takes about a minute."


def first_use() -> bool:
    """Whether compiling a model will take a minute longer, because numba has none of its machine code yet."""
    from gatewright.compiler.proof.blocks import compare_programs

    return not any(Path(compare_programs.stats.cache_path).glob("blocks.compare_programs-*.nbi"))


class Steps:
    """Called with what is going on and how much of it is done (0..1, None: unknown); a context manager."""

    def __init__(self, console: Console) -> None:
        self.console, self.start = console, time.monotonic()
        self.bar: Progress | None = None
        self.task = TaskID(0)

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bar:
            self.bar.stop()

    def __call__(self, what: str, done: float | None) -> None:
        if not self.console.is_terminal or time.monotonic() - self.start < DELAY:
            return
        if self.bar is None:
            self.bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=self.console,
                                transient=True)
            self.task = self.bar.add_task(what, total=None)
            self.bar.start()
        if done is None:
            self.bar.update(self.task, description=what, total=None)
        else:
            self.bar.update(self.task, description=what, total=1.0, completed=done)
