"""Reads a model file: the ONNX protobuf, its external data, its structure. Every defect is one clear message."""

from __future__ import annotations

import hashlib
import heapq
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from gatewright.errors import UserError

MAX_BYTES = 1 << 28
"""Of the model's file, and of each file with external data."""
MAX_ELEMENTS = 1 << 26
"""Elements that one tensor may have; a larger declared shape is refused before any memory is taken."""


@dataclass(frozen=True)
class Node:
    """An ONNX node. `name` is never empty: `node_names` says what nodes are called."""

    name: str
    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class TensorInfo:
    """A declared graph input: `dims` has None for a dimension without a number, int otherwise; `shown` is how the file
    says them."""

    name: str
    dims: tuple[int | None, ...]
    shown: str = ""


@dataclass(frozen=True)
class Model:
    """What the file says, nodes in an order in which every operand is computed before it is used."""

    path: Path
    sha256: str
    producer: str
    opset: int
    nodes: tuple[Node, ...]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[str, ...]
    constants: dict[str, NDArray[Any]] = field(repr=False)
    files: dict[str, bytes] = field(repr=False)
    """The model file and its external data by relative path: what has to be kept to have the model."""


def load(path: str | Path, edit: Callable[[onnx.ModelProto], onnx.ModelProto] | None = None) -> Model:
    """Reads and checks a model, as `edit` changes it. Raises UserError on anything that makes it unusable."""
    path = Path(path)
    data = _read(path, f"cannot read '{path}'", "Give the path of an .onnx file")
    proto = _parse(data, path)
    files = {path.name: data} | _external_data(proto, path)
    if edit is not None:
        _build(proto, path, files)  # what is wrong with the file itself is said of the file
        proto = edit(proto)
        files = {path.name: proto.SerializeToString(deterministic=True)}
    return _build(proto, path, files)


def _read(path: Path, failure: str, remedy: str) -> bytes:
    """The bytes of a regular file of at most MAX_BYTES: a pipe may never end, and a sparse file be larger than the disk."""
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{failure}: it is no regular file", remedy=remedy)
        if (size := path.stat().st_size) > MAX_BYTES:
            raise UserError(f"{failure}: it has {size} bytes, more than {MAX_BYTES}", remedy="Export a smaller model")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(f"{failure}: {getattr(error, 'strerror', None) or error}", remedy=remedy) from None


def _parse(data: bytes, path: Path) -> onnx.ModelProto:
    remedy = "Export the model again and check that the copy is complete"
    if not data:
        raise UserError(f"'{path}' is empty", remedy=remedy)
    try:
        proto = onnx.load_model_from_string(data)
    except Exception:  # protobuf raises its own DecodeError, and other types by version
        raise UserError(f"'{path}' is not an ONNX file, or it is truncated", remedy=remedy) from None
    if not proto.graph.node and not proto.graph.output:
        raise UserError(f"'{path}' is not an ONNX file: it contains no graph", remedy=remedy)
    return proto


def _external_data(proto: onnx.ModelProto, path: Path) -> dict[str, bytes]:
    """Loads external tensors into the protobuf; returns the files they came from."""
    files: dict[str, bytes] = {}
    folder = path.parent.resolve()
    for tensor in _tensors(proto):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entry = {e.key: e.value for e in tensor.external_data}
        location = entry.get("location", "")
        target = (folder / location.replace("\0", "?")).resolve()
        if not location or Path(location).is_absolute() or not target.is_relative_to(folder):
            raise UserError(f"tensor '{tensor.name}' keeps its data in '{location}', outside the model's folder",
                            remedy="Save the model with its external data beside it")
        if location not in files:
            files[location] = _read(target, f"the external data '{location}' of tensor '{tensor.name}' cannot be read",
                                    f"Put the file into '{path.parent}'")
        start, length = (_count(tensor, entry, key) for key in ("offset", "length"))
        length = length or len(files[location]) - start
        raw = files[location][start:start + length]
        if len(raw) < length or start > len(files[location]):
            raise UserError(f"the external data '{location}' ends before tensor '{tensor.name}' does",
                            remedy="Copy the file again: it is truncated")
        tensor.raw_data = raw
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
    return files


def _count(tensor: onnx.TensorProto, entry: dict[str, str], key: str) -> int:
    """A number of bytes in the description of external data."""
    text = entry.get(key, "") or "0"
    if not text.isdecimal():
        raise UserError(f"the {key} of the external data of tensor '{tensor.name}' is '{text}', no number of bytes",
                        remedy="Export the model again")
    return int(text)


def _tensors(proto: onnx.ModelProto) -> list[onnx.TensorProto]:
    found = list(proto.graph.initializer)
    for node in proto.graph.node:
        found += [a.t for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
    return found


def tensor_array(tensor: onnx.TensorProto, node: str | None = None) -> NDArray[Any]:
    """The values of a tensor; refuses shapes too large to hold and data that does not fill the shape."""
    elements = math.prod(tensor.dims)
    if any(d < 0 for d in tensor.dims) or elements > MAX_ELEMENTS:
        raise UserError(f"tensor '{tensor.name}' declares the shape {list(tensor.dims)}, more than {MAX_ELEMENTS} elements",
                        node=node, remedy="Export a smaller model")
    try:
        array = np.asarray(numpy_helper.to_array(tensor))
    except Exception as error:
        raise UserError(f"tensor '{tensor.name}' cannot be read: {error}", node=node,
                        remedy="Export the model again: its data does not fit its shape") from None
    if array.dtype.kind in "OSUc":
        raise UserError(f"tensor '{tensor.name}' holds texts or complex numbers", node=node, remedy="Export the model again")
    if array.dtype.kind not in "fiub" and not re.fullmatch(r"u?int[24]", array.dtype.name):
        return np.asarray(array, np.float64) if array.dtype.kind == "V" else array
    return array


def _build(proto: onnx.ModelProto, path: Path, files: dict[str, bytes]) -> Model:
    graph = proto.graph
    constants = {t.name: tensor_array(t) for t in graph.initializer}
    nodes = [Node(name, n.op_type, n.domain, tuple(n.input), tuple(n.output),
                  {a.name: _attribute(a, name) for a in n.attribute})
             for name, n in zip(node_names(graph), graph.node, strict=True)]
    inputs = tuple(_input(i) for i in graph.input if i.name not in constants)
    opset = max((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), default=1)
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    outputs = tuple(o.name for o in graph.output)
    ordered = _ordered(nodes, {i.name for i in inputs} | set(constants))
    _check_outputs(outputs, ordered, inputs, constants)
    return Model(path, digest.hexdigest(), f"{proto.producer_name} {proto.producer_version}".strip(), opset, ordered,
                 inputs, outputs, constants, files)


def _input(info: onnx.ValueInfoProto) -> TensorInfo:
    dims = info.type.tensor_type.shape.dim
    shown = ", ".join(str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?" for d in dims)
    return TensorInfo(info.name, tuple(d.dim_value if d.HasField("dim_value") else None for d in dims), f"[{shown}]")


def _attribute(attribute: onnx.AttributeProto, node: str) -> Any:
    if attribute.type == onnx.AttributeProto.TENSOR:
        return tensor_array(attribute.t, node)
    value = onnx.helper.get_attribute_value(attribute)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def node_names(graph: onnx.GraphProto) -> list[str]:
    """What the nodes are called, in the order of the file: the rule of docs/usage.md, "Names of nodes"."""
    names, taken = [], {""}
    for n in graph.node:
        names.append(f"{n.op_type}({next(filter(None, n.output), '')})" if n.name in taken else n.name)
        taken.add(names[-1])
    return names


def _ordered(nodes: list[Node], known: set[str]) -> tuple[Node, ...]:
    """Nodes in topological order, the file's order where it is one."""
    produced = set(known)
    for n in nodes:
        for name in filter(None, n.outputs):
            if name in produced:
                raise UserError(f"it writes '{name}', which is an input, an initialiser or another node's result already",
                                node=n.name, remedy="Export the model again: an ONNX graph assigns every tensor once")
            produced.add(name)
    for n in nodes:
        for name in n.inputs:
            if name and name not in known and name not in produced:
                raise UserError(f"its operand '{name}' is neither an input, an initialiser nor another node's result",
                                node=n.name, remedy="Export the model again: the file is incomplete")
    by_output = {name: i for i, n in enumerate(nodes) for name in n.outputs if name}
    waits = [len({by_output[i] for i in n.inputs if i in by_output}) for n in nodes]
    readers: list[list[int]] = [[] for _ in nodes]
    for k, n in enumerate(nodes):
        for i in {by_output[i] for i in n.inputs if i in by_output}:
            readers[i].append(k)
    ready = [k for k, count in enumerate(waits) if not count]
    heapq.heapify(ready)  # of those that could come next, the first in the file
    ordered: list[Node] = []
    while ready:
        k = heapq.heappop(ready)
        ordered.append(nodes[k])
        for reader in readers[k]:
            waits[reader] -= 1
            if not waits[reader]:
                heapq.heappush(ready, reader)
    if len(ordered) < len(nodes):
        stuck = [n for n, count in zip(nodes, waits, strict=True) if count]
        raise UserError(f"its operands depend on its own result (a cycle among {len(stuck)} nodes)", node=stuck[0].name,
                        remedy="Export the model again: an ONNX graph has no cycles")
    return tuple(ordered)


def _check_outputs(outputs: tuple[str, ...], nodes: tuple[Node, ...], inputs: tuple[TensorInfo, ...],
                   constants: dict[str, NDArray[Any]]) -> None:
    known = {name for n in nodes for name in n.outputs} | {i.name for i in inputs} | set(constants)
    for name in outputs:
        if name not in known:
            raise UserError(f"the graph's output '{name}' is computed by no node", remedy="Export the model again")
