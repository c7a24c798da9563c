import random
import re

import networkx as nx
import pytest

from gatewright.compiler.report.layout import BOX_HEIGHT, BOX_WIDTH, Layout, layered


def random_network(seed: int, size: int = 60) -> list[list[int]]:
    """Chains with branches, joins and skips, like networks; the ids are shuffled, so no order can be relied on."""
    draw = random.Random(seed)
    inputs: list[list[int]] = [[]]
    for node in range(1, size):
        fan_in = draw.choice([1, 1, 1, 2, 3])
        inputs.append(sorted({max(0, node - 1 - int(draw.expovariate(0.6))) for _ in range(fan_in)}))
    names = draw.sample(range(size), size)
    shuffled: list[list[int]] = [[] for _ in range(size)]
    for node, sources in enumerate(inputs):
        shuffled[names[node]] = [names[source] for source in sources]
    return shuffled


def points(path: str) -> list[tuple[float, float]]:
    """Points every few pixels along path data made of M, V and C."""
    at, result = (0.0, 0.0), []
    for command, text in re.findall(r"([MVC])([^MVC]*)", path):
        numbers = [float(n) for n in text.split()]
        if command == "M":
            at = (numbers[0], numbers[1])
            result.append(at)
        elif command == "V":
            result += [(at[0], at[1] + (numbers[0] - at[1]) * i / 20) for i in range(1, 21)]
            at = (at[0], numbers[0])
        else:
            x1, y1, x2, y2, x3, y3 = numbers
            for i in range(1, 21):
                t = i / 20
                a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t ** 3
                result.append((a * at[0] + b * x1 + c * x2 + d * x3, a * at[1] + b * y1 + c * y2 + d * y3))
            at = (x3, y3)
    return result


def inside(box: tuple[int, int], x: float, y: float) -> bool:
    return box[0] < x < box[0] + BOX_WIDTH and box[1] < y < box[1] + BOX_HEIGHT


@pytest.fixture(scope="module", params=range(6))
def drawing(request: pytest.FixtureRequest) -> Layout:
    return layered(random_network(request.param))


def test_boxes_do_not_overlap_and_lie_in_the_drawing(drawing: Layout) -> None:
    for i, (x, y) in enumerate(drawing.boxes):
        assert 0 <= x <= drawing.width - BOX_WIDTH
        assert 0 <= y <= drawing.height - BOX_HEIGHT
        for x2, y2 in drawing.boxes[i + 1:]:
            assert abs(x - x2) >= BOX_WIDTH or abs(y - y2) >= BOX_HEIGHT


def test_edges_run_from_box_to_box_and_through_none(drawing: Layout) -> None:
    for source, target, path in drawing.edges:
        line = points(path)
        assert line[0] == (drawing.boxes[source][0] + BOX_WIDTH / 2, drawing.boxes[source][1] + BOX_HEIGHT)
        assert drawing.boxes[target][0] < line[-1][0] < drawing.boxes[target][0] + BOX_WIDTH
        assert line[-1][1] == drawing.boxes[target][1]
        assert not [box for box in drawing.boxes for x, y in line if inside(box, x, y)]


def test_every_edge_is_drawn_once() -> None:
    network = random_network(1)
    wanted = sorted((s, t) for t, sources in enumerate(network) for s in sources)
    assert sorted((s, t) for s, t, _ in layered(network).edges) == wanted


def test_a_chain_is_a_straight_column() -> None:
    drawing = layered([[], [0], [1], [2]])
    assert len({x for x, _ in drawing.boxes}) == 1
    assert all("C" not in path for _, _, path in drawing.edges)


def test_a_late_input_sits_right_above_its_reader() -> None:
    drawing = layered([[], [0], [1], [], [2, 3]])
    assert drawing.boxes[3][1] == drawing.boxes[2][1]


def test_crossing_edges_are_untangled() -> None:
    drawing = layered([[], [], [1], [0], [2, 3]])
    assert (drawing.boxes[0][0] < drawing.boxes[1][0]) == (drawing.boxes[3][0] < drawing.boxes[2][0])


def test_nothing_to_draw() -> None:
    assert layered([]).boxes == ()


def test_a_cycle_is_refused() -> None:
    with pytest.raises(nx.NetworkXUnfeasible):
        layered([[1], [0]])
