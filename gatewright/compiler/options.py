"""The options of a compilation, from the command line, a TOML file or Python; they mean the same everywhere."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gatewright.backends.part import DEFAULT_PART
from gatewright.backends.targets import DEFAULT_TARGETS
from gatewright.compiler.frontend.importer import Types
from gatewright.errors import UserError
from gatewright.ir.fixed import Cast


@dataclass(frozen=True)
class Options:
    """Types as users write them (`fixed<16,6>`), the clock period in ns, the part's name.

    `effort`: how long to search for smaller logic, 0..3; the result depends on nothing else.

    `input_type` and `output_type` hold for every tensor that has no entry in `input_types` and `output_types`.
    `outputs` selects tensors; empty: the model's own outputs.
    """

    part: str = DEFAULT_PART
    clock_ns: float = 5.0
    effort: int = 1
    input_type: str | None = None
    output_type: str | None = None
    input_types: Mapping[str, str] = field(default_factory=dict)
    output_types: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    backend: tuple[str, ...] = DEFAULT_TARGETS
    name: str = ""

    def types(self) -> Types:
        """The types, parsed. Raises UserError on text that is no type."""
        def parsed(text: str, where: str) -> Cast:
            try:
                return Cast.parse(text)
            except ValueError as error:
                raise UserError(f"{where}: {error}", remedy="docs/usage.md lists the types and modes") from None

        return Types(
            parsed(self.input_type, "--input-type") if self.input_type is not None else None,
            {k: parsed(v, f"type of input '{k}'") for k, v in self.input_types.items()},
            parsed(self.output_type, "--output-type") if self.output_type is not None else None,
            {k: parsed(v, f"type of output '{k}'") for k, v in self.output_types.items()})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Options:
        return Options(**{**values, "outputs": tuple(values["outputs"]), "backend": tuple(values["backend"])})


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_TOP: dict[str, tuple[Callable[[Any], bool], str]] = {
    "part": (_text, "a text"), "clock": (_number, "a number of ns"), "effort": (_whole, "a whole number"), "input_type": (_text, "a text"),
    "output_type": (_text, "a text"), "outputs": (_texts, "a list of texts"), "backend": (_texts, "a list of texts"),
    "name": (_text, "a text")}
"""The keys of a configuration file: what a value has to be, and how to say so."""


def with_config(options: Options, path: str | Path) -> Options:
    """`options` with what a TOML file says. Raises UserError, naming the file, on anything it does not know."""
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the configuration '{path}': {error.strerror}",
                        remedy="Give the path of a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"the configuration '{path}' is not TOML: {error}", remedy="Mend the file") from None
    tables = {key: values.pop(key, {}) for key in ("input", "output")}
    for key, value in values.items():
        if key not in _TOP:
            raise UserError(f"the configuration '{path}' has the unknown key '{key}'",
                            remedy=f"Known are {', '.join(_TOP)}, [input.NAME] type and [output.NAME] type")
        fits, what = _TOP[key]
        if not fits(value):
            raise UserError(f"'{key}' in the configuration '{path}' is {value!r}, not {what}",
                            remedy="Mend the file; docs/usage.md shows one")
    for kind, table in tables.items():
        if not isinstance(table, dict):
            raise UserError(f"'{kind}' in the configuration '{path}' is {table!r}, not a table of {kind}s",
                            remedy=f"Write [{kind}.NAME] type = \"fixed<16,6>\", or {kind}_type for all of them")
        for name, entry in table.items():
            if not isinstance(entry, dict) or set(entry) != {"type"} or not isinstance(entry["type"], str):
                raise UserError(f"[{kind}.\"{name}\"] in '{path}' must have one key, type",
                                remedy=f"Write [{kind}.\"{name}\"] type = \"fixed<16,6>\"")
    if "clock" in values:
        values["clock_ns"] = float(values.pop("clock"))
    for key in ("outputs", "backend"):
        if key in values:
            values[key] = tuple(values[key])
    return replace(options, **values, input_types={k: v["type"] for k, v in tables["input"].items()},
                   output_types={k: v["type"] for k, v in tables["output"].items()})


def with_type_arguments(options: Options, inputs: Sequence[str], outputs: Sequence[str]) -> Options:
    """`options` with the command line's types: `TYPE` for all tensors, or `NAME=TYPE` for one."""
    def split(texts: Sequence[str], default: str | None, named: Mapping[str, str]) -> tuple[str | None, dict[str, str]]:
        types = dict(named)
        for text in texts:
            name, equals, type_text = text.rpartition("=")
            if equals:
                types[name] = type_text
            else:
                default = text
        return default, types

    input_type, input_types = split(inputs, options.input_type, options.input_types)
    output_type, output_types = split(outputs, options.output_type, options.output_types)
    return replace(options, input_type=input_type, input_types=input_types, output_type=output_type,
                   output_types=output_types)
