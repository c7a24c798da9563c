"""Templates to text: one setting for all targets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jinja2

TEMPLATES = Path(__file__).parents[1] / "templates"


def templates(*folders: str, autoescape: bool | Callable[[str | None], bool] = False) -> jinja2.Environment:
    """The templates in these folders of `templates/`. A name that a template uses and is not given is an error."""
    loader = jinja2.FileSystemLoader([TEMPLATES / folder for folder in folders])
    return jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                              keep_trailing_newline=True, autoescape=autoescape)
