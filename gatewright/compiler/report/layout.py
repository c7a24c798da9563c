"""Where the boxes and lines of the dataflow graph go: a layered drawing (Sugiyama, Tagawa, Toda, IEEE SMC-11, 1981).

Layers by longest path, dummy nodes where an edge crosses a layer, barycentre sweeps for the order inside a layer, and
least-squares positions that keep the order (isotonic regression). No randomness: same graph, same drawing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx

BOX_WIDTH, BOX_HEIGHT = 300, 62
LAYER_GAP, BOX_GAP, LANE_GAP, ENTRY_GAP, MARGIN = 30, 28, 16, 26, 12
"""Pixels between layers, between two boxes, beside a line that passes by, between lines that enter a box, and around
the drawing."""
_SWEEPS = 12

Vertex = int | tuple[int, int, int]
"""A node by its index, or the dummy (source, target, layer) of an edge that crosses `layer`."""
Edge = tuple[int, int]
Chains = Mapping[Edge, list[Vertex]]
"""Per edge its source, its dummies and its target."""


@dataclass(frozen=True)
class Layout:
    """A drawing in pixels: the top left corner of each node's box, and each edge as SVG path data."""

    width: int
    height: int
    boxes: tuple[tuple[int, int], ...]
    edges: tuple[tuple[int, int, str], ...]
    """Source, target, path."""


def layered(inputs: Sequence[Sequence[int]]) -> Layout:
    """Draw the graph whose node i reads the nodes `inputs[i]`, top to bottom. Raises NetworkXUnfeasible on a cycle."""
    edges = sorted({(source, target) for target, sources in enumerate(inputs) for source in sources})
    if not inputs:
        return Layout(2 * MARGIN, 2 * MARGIN, (), ())
    layer_of = _layers(len(inputs), edges)
    chains = {edge: _chain(edge, layer_of) for edge in edges}
    rows = _ordered(_rows(layer_of, chains), chains)
    centre = _positions(rows, chains)
    left = min(centre[v] - _width(v) / 2 for v in centre)
    x = {v: round(centre[v] - left + MARGIN) for v in centre}
    width = round(max(x[v] + _width(v) / 2 for v in x) + MARGIN)
    height = 2 * MARGIN + len(rows) * (BOX_HEIGHT + LAYER_GAP) - LAYER_GAP
    boxes = tuple((x[i] - BOX_WIDTH // 2, _top(layer_of[i])) for i in range(len(inputs)))
    entry = _entries(chains, x)
    lines = tuple((*edge, _path(chain, layer_of, x, entry[edge])) for edge, chain in chains.items())
    return Layout(width, height, boxes, lines)


def _layers(size: int, edges: Sequence[Edge]) -> list[int]:
    """Longest path from the sources; a source itself sits right above its first reader."""
    graph = nx.DiGraph(edges)
    graph.add_nodes_from(range(size))
    layer = [0] * size
    for number, generation in enumerate(nx.topological_generations(graph)):
        for node in generation:
            layer[node] = number
    for node in range(size):
        if graph.in_degree(node) == 0 and graph.out_degree(node):
            layer[node] = min(layer[reader] for reader in graph.successors(node)) - 1
    return layer


def _chain(edge: Edge, layer: Sequence[int]) -> list[Vertex]:
    source, target = edge
    return [source, *((source, target, between) for between in range(layer[source] + 1, layer[target])), target]


def _rows(layer: Sequence[int], chains: Chains) -> list[list[Vertex]]:
    rows: list[list[Vertex]] = [[] for _ in range(max(layer) + 1)]
    for node, number in enumerate(layer):
        rows[number].append(node)
    for chain in chains.values():
        for dummy in chain[1:-1]:
            assert isinstance(dummy, tuple)
            rows[dummy[2]].append(dummy)
    return rows


def _neighbours(chains: Chains) -> tuple[dict[Vertex, list[Vertex]], dict[Vertex, list[Vertex]]]:
    """Per vertex its neighbours in the layer above and in the layer below."""
    above: dict[Vertex, list[Vertex]] = {}
    below: dict[Vertex, list[Vertex]] = {}
    for chain in chains.values():
        for upper, lower in pairwise(chain):
            above.setdefault(lower, []).append(upper)
            below.setdefault(upper, []).append(lower)
    return above, below


def _ordered(rows: list[list[Vertex]], chains: Chains) -> list[list[Vertex]]:
    """Barycentre sweeps down and up; of all orders met the one with the fewest crossings."""
    above, below = _neighbours(chains)
    best, fewest = rows, _crossings(rows, below)
    for sweep in range(_SWEEPS):
        if fewest == 0:
            break
        rows, near = [list(row) for row in rows], above if sweep % 2 == 0 else below
        for number in range(len(rows)) if sweep % 2 == 0 else reversed(range(len(rows))):
            place = {v: i for row in rows for i, v in enumerate(row)}
            rows[number].sort(key=lambda v: (_mean([place[n] for n in near.get(v, [])], place[v])))
        crossings = _crossings(rows, below)
        if crossings < fewest:
            best, fewest = rows, crossings
    return best


def _crossings(rows: Sequence[Sequence[Vertex]], below: Mapping[Vertex, Sequence[Vertex]]) -> int:
    """Pairs of edges between neighbouring layers that cross (rows are short: counted pair by pair)."""
    total = 0
    for upper, lower in pairwise(rows):
        place = {v: i for i, v in enumerate(lower)}
        ends = [sorted(place[n] for n in below.get(v, [])) for v in upper]
        total += sum(a > b for i, first in enumerate(ends) for second in ends[i + 1:] for a in first for b in second)
    return total


def _positions(rows: Sequence[Sequence[Vertex]], chains: Chains) -> dict[Vertex, float]:
    """Centres: each row moves towards its neighbours' means, down and up in turn, as close as the gaps allow."""
    above, below = _neighbours(chains)
    centre: dict[Vertex, float] = {}
    for row in rows:
        offsets = _offsets(row)
        centre.update({v: offset - offsets[-1] / 2 for v, offset in zip(row, offsets, strict=True)})
    for sweep in range(_SWEEPS + 1):
        near = above if sweep % 2 == 0 else below
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = [_mean([centre[n] for n in near.get(v, [])], centre[v]) for v in row]
            offsets = _offsets(row)
            fitted = _isotonic([w - o for w, o in zip(wanted, offsets, strict=True)])
            centre.update({v: f + o for v, f, o in zip(row, fitted, offsets, strict=True)})
    return centre


def _offsets(row: Sequence[Vertex]) -> list[float]:
    """Centres of a row packed as closely as allowed, the first one at 0."""
    offsets = [0.0]
    for left, right in pairwise(row):
        gap = BOX_GAP if isinstance(left, int) and isinstance(right, int) else LANE_GAP
        offsets.append(offsets[-1] + (_width(left) + _width(right)) / 2 + gap)
    return offsets


def _isotonic(values: Sequence[float]) -> list[float]:
    """The non-decreasing sequence nearest to `values` in least squares (pool adjacent violators)."""
    pools: list[tuple[float, int]] = []
    for value in values:
        mean, size = value, 1
        while pools and pools[-1][0] > mean:
            previous, members = pools.pop()
            mean, size = (mean * size + previous * members) / (size + members), size + members
        pools.append((mean, size))
    return [mean for mean, size in pools for _ in range(size)]


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _width(vertex: Vertex) -> int:
    return BOX_WIDTH if isinstance(vertex, int) else 0


def _top(layer: int) -> int:
    return MARGIN + layer * (BOX_HEIGHT + LAYER_GAP)


def _entries(chains: Chains, x: Mapping[Vertex, int]) -> dict[Edge, int]:
    """Where each edge meets the top of its target: side by side around the middle, in the order in which they come."""
    entries = {}
    for target in {edge[1] for edge in chains}:
        arriving = sorted((edge for edge in chains if edge[1] == target), key=lambda edge: (x[chains[edge][-2]], edge))
        gap = min(ENTRY_GAP, (BOX_WIDTH - 2 * ENTRY_GAP) // len(arriving))
        for place, edge in enumerate(arriving):
            entries[edge] = x[target] + round((place - (len(arriving) - 1) / 2) * gap)
    return entries


def _path(chain: Sequence[Vertex], layer: Sequence[int], x: Mapping[Vertex, int], entry: int) -> str:
    """From the bottom of the first box to the top of the last one, straight down past the boxes between."""
    source, target = chain[0], chain[-1]
    assert isinstance(source, int)
    assert isinstance(target, int)
    at, y = x[source], _top(layer[source]) + BOX_HEIGHT
    path = f"M{at} {y}"
    for number, vertex in enumerate(chain[1:], start=layer[source] + 1):
        top = _top(number)
        middle = (y + top) // 2
        to = entry if vertex == target else x[vertex]
        path += f"V{top}" if to == at else f"C{at} {middle} {to} {middle} {to} {top}"
        at, y = to, top
        if vertex != target:
            y += BOX_HEIGHT
            path += f"V{y}"
    return path
