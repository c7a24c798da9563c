"""`Design`: scheduled hardware. Kernels with their register stages, instances of them, and the channels between.

One fully parallel kernel is the simplest case, and `Design.single` builds it.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gatewright.errors import InternalError
from gatewright.ir import netlist as netlists
from gatewright.ir.fixed import Fixed, Ints
from gatewright.ir.intervals import Rows
from gatewright.ir.netlist import Netlist, Op
from gatewright.ir.netlist_eval import evaluate
from gatewright.ir.netlist_text import from_npz, to_npz
from gatewright.ir.usage import constant

PIPELINED = "pipelined"
"""The protocol of fixed latency: a valid bit travels with the data, nothing ever stalls."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Port:
    """A tensor at the edge of a design.

    `name` is the model's tensor, `rtl` the Verilog identifier, `type` one Fixed for all elements, `shape` without the
    batch, `formula` what the integer codes mean. Element i (C order) lies at bits `[i * width +: width]` of the bus.
    """

    name: str
    rtl: str
    type: Fixed
    shape: tuple[int, ...]
    formula: str = ""

    @property
    def width(self) -> int:
        return self.type.width

    @property
    def signed(self) -> bool:
        return self.type.signed

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False, slots=True)
class Kernel:
    """A netlist and the combinational segment 0..segments-1 in which each of its rows is computed, int32[rows]."""

    netlist: Netlist
    stage: Rows

    def __post_init__(self) -> None:
        self.stage.setflags(write=False)

    @property
    def name(self) -> str:
        return self.netlist.name

    @property
    def segments(self) -> int:
        """Register rank 0 holds the inputs, rank `segments` the outputs."""
        return int(self.stage.max(initial=0)) + 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kernel) and self.netlist == other.netlist and np.array_equal(self.stage, other.stage)


@dataclass(frozen=True, slots=True)
class Instance:
    """A use of the kernel that has the name `kernel`."""

    name: str
    kernel: str


@dataclass(frozen=True, slots=True)
class End:
    """One end of a channel: port `port` of instance `instance`, or of the design itself where that is empty."""

    instance: str
    port: str


@dataclass(frozen=True, slots=True)
class Channel:
    """All elements of a port, every cycle, from one instance (or input) to another (or an output)."""

    source: End
    sink: End


@dataclass(frozen=True, slots=True)
class Design:
    """Ports, kernels, instances, channels, protocol, initiation interval and latency (both in cycles).

    `latency_cycles` counts clock edges from the one that takes the input to the one after which the output is valid.
    """

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    kernels: tuple[Kernel, ...]
    instances: tuple[Instance, ...]
    channels: tuple[Channel, ...]
    protocol: str
    ii: int
    latency_cycles: int

    @staticmethod
    def single(name: str, kernel: Kernel, inputs: tuple[Port, ...], outputs: tuple[Port, ...]) -> Design:
        """One kernel whose ports are the design's: same names, same order."""
        instance = Instance("kernel", kernel.name)
        channels = ([Channel(End("", p.name), End(instance.name, p.name)) for p in inputs]
                    + [Channel(End(instance.name, p.name), End("", p.name)) for p in outputs])
        return Design(name, inputs, outputs, (kernel,), (instance,), tuple(channels), PIPELINED, 1, kernel.segments + 1)

    def kernel(self, instance: str) -> Kernel:
        """The kernel that an instance is of."""
        wanted = next(i.kernel for i in self.instances if i.name == instance)
        return next(k for k in self.kernels if k.name == wanted)

    def evaluate(self, inputs: Mapping[str, ArrayLike]) -> dict[str, Ints]:
        """Output codes, int64[samples, elements] by port name, for the codes of every input port.

        Raises as `netlist_eval.evaluate` does.
        """
        values: dict[End, ArrayLike] = {End("", name): codes for name, codes in inputs.items()}
        for instance in self._in_order():
            feeding = [c for c in self.channels if c.sink.instance == instance.name]
            taken = {c.sink.port: values[c.source] for c in feeding if c.source in values}
            for port, codes in evaluate(self.kernel(instance.name).netlist, taken).items():
                values[End(instance.name, port)] = codes
        return {c.sink.port: np.asarray(values[c.source]) for c in self.channels if c.sink.instance == ""}

    def ready(self) -> dict[str, int]:
        """The register rank of every instance's outputs, by its name; 0 for the design's inputs, which have the name "".

        The last rank of one kernel is rank 0 of the next.
        """
        ready: dict[str, int] = {"": 0}
        for instance in self._in_order():
            before = [ready[c.source.instance] for c in self.channels if c.sink.instance == instance.name]
            ready[instance.name] = max(before, default=0) + self.kernel(instance.name).segments
        return ready

    def _in_order(self) -> list[Instance]:
        """Instances, every one after those that feed it. Raises InternalError where they feed each other in a ring."""
        done: list[Instance] = []
        while len(done) < len(self.instances):
            waiting = {i.name for i in self.instances if i not in done}
            blocked = {c.sink.instance for c in self.channels if c.source.instance in waiting}
            ready = [i for i in self.instances if i.name in waiting - blocked]
            if not ready:
                raise InternalError(f"design '{self.name}': instances {sorted(waiting)} feed each other in a ring")
            done += ready
        return done


def verify(design: Design) -> None:
    """Every invariant; raises InternalError naming what breaks it."""
    def refuse(wrong: bool, what: str) -> None:
        if wrong:
            raise InternalError(f"design '{design.name}': {what}")
    ports = design.inputs + design.outputs
    identifiers = [p.rtl for p in ports]
    refuse(len(set(identifiers)) != len(identifiers), f"port identifiers {identifiers} are not unique")
    for name in [design.name, *identifiers, *(k.name for k in design.kernels), *(i.name for i in design.instances)]:
        refuse(not _NAME.fullmatch(name), f"'{name}' is no identifier")
    for side in (design.inputs, design.outputs, design.kernels, design.instances):
        refuse(len({x.name for x in side}) != len(side), "two ports, kernels or instances have the same name")
    for kernel in design.kernels:
        netlists.verify(kernel.netlist)
        _verify_stages(kernel)
    refuse(not {i.kernel for i in design.instances} <= {k.name for k in design.kernels}, "an instance has no kernel")
    _verify_channels(design, refuse)
    refuse(design.protocol != PIPELINED, f"unknown protocol '{design.protocol}'")
    refuse(design.ii != 1, f"an initiation interval of {design.ii} in a pipelined design")
    ready = design.ready()
    latency = 1 + max((ready[c.source.instance] for c in design.channels if c.sink.instance == ""), default=0)
    refuse(design.latency_cycles != latency, f"latency {design.latency_cycles} is not {latency}")


def _verify_stages(kernel: Kernel) -> None:
    netlist, stage = kernel.netlist, kernel.stage
    if stage.dtype != np.int32 or stage.shape != (len(netlist),):
        raise InternalError(f"kernel '{kernel.name}': stage is {stage.dtype}{list(stage.shape)}")
    owner = np.repeat(np.arange(len(netlist)), np.diff(netlist.first))
    fixed = constant(netlist)  # a row of one value is a literal wherever it is used
    early = owner[(stage[netlist.arg] > stage[owner]) & ~fixed[owner]]
    early = np.concatenate([early, np.flatnonzero((stage < 0) | ((stage != 0) & (netlist.op == Op.INPUT)))])
    if len(early):
        row = int(early[0])
        raise InternalError(f"kernel '{kernel.name}': {netlist.where(row)} is in too early a stage, {stage[row]}")


def _verify_channels(design: Design, refuse: Any) -> None:
    """Every sink is fed exactly once, from something of the same number of elements that fits its type."""
    sources, sinks = _ends(design)
    fed = [c.sink for c in design.channels]
    refuse(sorted(fed, key=str) != sorted(sinks, key=str), "channels do not feed every port exactly once")
    design._in_order()
    for channel in design.channels:
        refuse(channel.source not in sources, f"a channel comes from nowhere: {channel.source}")
        (lo, hi), (least, most) = sources[channel.source], sinks[channel.sink]
        refuse(lo.shape != least.shape, f"sizes differ from {channel.source} to {channel.sink}")
        refuse(bool((lo < least).any() or (hi > most).any()), f"{channel.source} does not fit {channel.sink}")


def _ends(design: Design) -> tuple[dict[End, tuple[Ints, Ints]], dict[End, tuple[Ints, Ints]]]:
    """Bounds of the elements of all sources and of all sinks. A design's input gives what its kernel's rows take: the
    type of the bus is what it can carry, and evaluation refuses the rest."""
    def full(port: Port) -> tuple[Ints, Ints]:
        return np.full(port.elements, port.type.lo, np.int64), np.full(port.elements, port.type.hi, np.int64)
    sources: dict[End, tuple[Ints, Ints]] = {}
    sinks = {End("", p.name): full(p) for p in design.outputs}
    for instance in design.instances:
        netlist = design.kernel(instance.name).netlist
        for ports, ends in ((netlist.outputs, sources), (netlist.inputs, sinks)):
            ends |= {End(instance.name, p.name): (netlist.lo[p.rows], netlist.hi[p.rows]) for p in ports}
    for port in design.inputs:
        lo, hi = full(port)
        for channel in design.channels:
            taken = sinks.get(channel.sink) if channel.source == End("", port.name) else None
            if taken is not None and taken[0].shape == lo.shape:
                lo, hi = np.maximum(lo, taken[0]), np.minimum(hi, taken[1])
        sources[End("", port.name)] = lo, hi
    return sources, sinks


def to_json(design: Design) -> str:
    """Everything but the kernels' contents, which `to_files` puts beside it as binary columns."""
    values = {"name": design.name, "inputs": [asdict(p) for p in design.inputs],
              "outputs": [asdict(p) for p in design.outputs], "kernels": [k.name for k in design.kernels],
              "instances": [asdict(i) for i in design.instances], "channels": [asdict(c) for c in design.channels],
              "protocol": design.protocol, "ii": design.ii, "latency_cycles": design.latency_cycles}
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str, kernels: Mapping[str, Kernel]) -> Design:
    """The design that `to_json` wrote (not verified), with its kernels by name."""
    values = json.loads(text)
    ports = {side: tuple(Port(p["name"], p["rtl"], Fixed(**p["type"]), tuple(p["shape"]), p["formula"])
                         for p in values[side]) for side in ("inputs", "outputs")}
    return Design(values["name"], ports["inputs"], ports["outputs"], tuple(kernels[k] for k in values["kernels"]),
                  tuple(Instance(**i) for i in values["instances"]),
                  tuple(Channel(End(**c["source"]), End(**c["sink"])) for c in values["channels"]),
                  values["protocol"], values["ii"], values["latency_cycles"])


def to_files(design: Design) -> dict[str, bytes]:
    """`design.json`, and `<kernel>.npz` and `<kernel>.stage.npy` for every kernel; the same bytes for equal designs."""
    files = {"design.json": to_json(design).encode()}
    for kernel in design.kernels:
        stage = io.BytesIO()
        np.lib.format.write_array(stage, kernel.stage, allow_pickle=False)
        files |= {f"{kernel.name}.npz": to_npz(kernel.netlist), f"{kernel.name}.stage.npy": stage.getvalue()}
    return files


def from_files(files: Mapping[str, bytes]) -> Design:
    """The design that `to_files` wrote (not verified). Raises KeyError where a file is missing."""
    text = files["design.json"].decode()
    kernels = {name: Kernel(from_npz(files[f"{name}.npz"]),
                            np.lib.format.read_array(io.BytesIO(files[f"{name}.stage.npy"]), allow_pickle=False))
               for name in json.loads(text)["kernels"]}
    return from_json(text, kernels)
