"""The options of a compilation, from the command line, a TOML file or Python; they mean the same everywhere."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gatewright.backends import finn, hls
from gatewright.backends.part import DEFAULT_PART
from gatewright.backends.targets import DEFAULT_TARGETS, TARGETS
from gatewright.compiler.arithmetic.sharing import EFFORTS
from gatewright.compiler.frontend.user_types import Types
from gatewright.compiler.frontend.walk import CUT, KEEP
from gatewright.errors import ToolMissing, UserError
from gatewright.ir.fixed import Cast

SOFTMAX = (CUT, KEEP)


@dataclass(frozen=True)
class Options:
    """Types as users write them (`fixed<16,6>`), the clock period in ns, the part's name.

    `latency`: clock cycles from input to output; None: as few as the clock allows. `effort`: how long to search for smaller logic,
    0..3; the result depends on nothing else. `dsp`: how many DSP blocks products may take.

    `input_type` and `output_type` hold for every tensor that has no entry in `input_types` and `output_types`. `tensor_types` puts
    quantisers on tensors inside, by name: results of nodes, and initialisers. `data` is a file from which `calibration.calibrated` chooses
    types of inputs that have none (the options of a compiled model have these types instead); `calibration` then says of them how.
    `outputs` selects tensors; empty: the model's own outputs. `softmax`: "cut" leaves one at the very end away, "keep" computes
    it. `kernel` (of `hls.KERNELS`) says how the HLS targets write layers; `reuse` and `layer_reuse`, for them and FINN, in how many
    cycles a layer (by its ONNX node) takes one inference. `hls4ml`: hls4ml's configuration, whose precisions a float model gets;
    empty: none.
    """

    part: str = DEFAULT_PART
    clock_ns: float = 5.0
    latency: int | None = None
    effort: int = 1
    dsp: int = 0
    input_type: str | None = None
    output_type: str | None = None
    input_types: Mapping[str, str] = field(default_factory=dict)
    output_types: Mapping[str, str] = field(default_factory=dict)
    tensor_types: Mapping[str, str] = field(default_factory=dict)
    data: str = ""
    calibration: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    backend: tuple[str, ...] = DEFAULT_TARGETS
    name: str = ""
    softmax: str = CUT
    kernel: str = hls.KERNELS[0]
    reuse: int = 1
    layer_reuse: Mapping[str, int] = field(default_factory=dict)
    hls4ml: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raises UserError on values that no model can have."""
        if not 0 < self.clock_ns < math.inf:
            raise UserError(f"a clock period of {self.clock_ns:g} ns", remedy="Give a positive period in ns, for example 5")
        if self.latency is not None and self.latency < 2:
            raise UserError(f"a latency of {self.latency} cycles", remedy="Give 2 or more: one takes the input, one the output")
        if self.effort not in EFFORTS:
            raise UserError(f"an effort of {self.effort}", remedy=f"Choose from {', '.join(map(str, EFFORTS))}")
        if self.dsp < 0:
            raise UserError(f"{self.dsp} DSP blocks", remedy="Give the number that products may take, 0 or more")
        for backend in self.backend:
            if backend not in TARGETS:
                raise UserError(f"there is no backend '{backend}'", remedy=f"Choose from {', '.join(TARGETS)}")
        if self.softmax not in SOFTMAX:
            raise UserError(f"'{self.softmax}' is nothing to do with a Softmax", remedy=f"Choose from {', '.join(SOFTMAX)}")
        if self.kernel not in hls.KERNELS:
            raise UserError(f"there is no kernel '{self.kernel}'", remedy=f"Choose from {', '.join(hls.KERNELS)}")
        if min([self.reuse, *self.layer_reuse.values()]) < 1:
            raise UserError("a reuse factor below 1", remedy="Give a whole number of cycles per inference, for example 4")
        kernel = self.kernel != hls.KERNELS[0]
        if (kernel or self.reuse > 1 or self.layer_reuse) and not set(self.backend) & {*hls.DIALECTS, *(() if kernel else (finn.FOLDER,))}:
            raise UserError("a kernel or a reuse factor is chosen, which only HLS targets have (and FINN the latter)",
                            remedy=f"Choose one too: --backend {','.join((*self.backend, 'hls'))}")

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
            {k: parsed(v, f"type of output '{k}'") for k, v in self.output_types.items()},
            {k: parsed(v, f"type of tensor '{k}'") for k, v in self.tensor_types.items()})

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of them."""
        return tuple(f"Input '{name}' has the type {self.input_types[name]}, {why}." for name, why in self.calibration.items())

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


_TABLES: dict[str, tuple[str, Callable[[Any], bool], str]] = {
    "input": ("type", _text, '"fixed<16,6>"'), "output": ("type", _text, '"fixed<16,6>"'),
    "tensor": ("type", _text, '"fixed<8,2,RND_CONV,SAT>"'), "layer": ("reuse", _whole, "4")}
"""The tables of a configuration file, by name: the key of an entry, what its value has to be, an example."""

_TOP: dict[str, tuple[Callable[[Any], bool], str]] = {
    "part": (_text, "a text"), "clock": (_number, "a number of ns"), "latency": (_whole, "a whole number"),
    "effort": (_whole, "a whole number"), "dsp": (_whole, "a whole number"),
    "input_type": (_text, "a text"), "output_type": (_text, "a text"), "outputs": (_texts, "a list of texts"),
    "backend": (_texts, "a list of texts"), "data": (_text, "a text"), "hls4ml": (_text, "a text"), "softmax": (_text, "a text"),
    "name": (_text, "a text"), "kernel": (_text, "a text"),
    "reuse": (_whole, "a whole number")}
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
    tables = {key: values.pop(key, {}) for key in _TABLES}
    for key, value in values.items():
        if key not in _TOP:
            raise UserError(f"the configuration '{path}' has the unknown key '{key}'",
                            remedy=f"Known are {', '.join(_TOP)}, [input.NAME] type, [output.NAME] type, [tensor.NAME] type and "
                                   "[layer.NAME] reuse")
        fits, what = _TOP[key]
        if not fits(value):
            raise UserError(f"'{key}' in the configuration '{path}' is {value!r}, not {what}",
                            remedy="Mend the file; docs/usage.md shows one")
    for kind, table in tables.items():
        key, fits, example = _TABLES[kind]
        if not isinstance(table, dict):
            overall = {"layer": ", or reuse for all of them", "tensor": ""}.get(kind, f", or {kind}_type for all of them")
            raise UserError(f"'{kind}' in the configuration '{path}' is {table!r}, not a table of {kind}s",
                            remedy=f"Write [{kind}.NAME] {key} = {example}{overall}")
        for name, entry in table.items():
            if not isinstance(entry, dict) or set(entry) != {key} or not fits(entry[key]):
                raise UserError(f"[{kind}.\"{name}\"] in '{path}' must have one key, {key}",
                                remedy=f"Write [{kind}.\"{name}\"] {key} = {example}")
    if "clock" in values:
        values["clock_ns"] = float(values.pop("clock"))
    if "data" in values:
        values["data"] = str(Path(path).parent / values["data"])
    if "hls4ml" in values:
        values["hls4ml"] = hls4ml_configuration(Path(path).parent / values["hls4ml"])
    for key in ("outputs", "backend"):
        if key in values:
            values[key] = tuple(values[key])
    named = {kind: {k: v[key] for k, v in tables[kind].items()} for kind, (key, _, _) in _TABLES.items()}
    return replace(options, **values, input_types=named["input"], output_types=named["output"], tensor_types=named["tensor"],
                   layer_reuse=named["layer"])


def hls4ml_configuration(path: str | Path) -> dict[str, Any]:
    """What hls4ml's configuration file says (YAML, of which JSON is a part). Raises UserError, ToolMissing without PyYAML."""
    try:
        import yaml
    except ImportError:
        raise ToolMissing("hls4ml's configuration is YAML, which PyYAML reads", remedy="pip install pyyaml") from None
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read hls4ml's configuration '{path}': {error.strerror}", remedy="Give the path of a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"hls4ml's configuration '{path}' is not YAML: {error}", remedy="Mend the file") from None
    if not isinstance(values, dict) or not values:
        raise UserError(f"hls4ml's configuration '{path}' is no table", remedy="Give a file as hls4ml writes it")
    return values


def with_type_arguments(options: Options, inputs: Sequence[str], outputs: Sequence[str], tensors: Sequence[str] = ()) -> Options:
    """`options` with the command line's types: `TYPE` for all inputs or outputs, or `NAME=TYPE` for one tensor."""
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
    all_tensors, tensor_types = split(tensors, None, options.tensor_types)
    if all_tensors is not None:
        raise UserError(f"--tensor-type '{all_tensors}' names no tensor", remedy="Write --tensor-type NAME=TYPE")
    return replace(options, input_type=input_type, input_types=input_types, output_type=output_type,
                   output_types=output_types, tensor_types=tensor_types)
