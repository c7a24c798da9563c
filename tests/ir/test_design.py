"""Designs: evaluation, verification, files."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from netlists import design_of, random_inputs, random_netlist

from gatewright.errors import InternalError, UserError
from gatewright.ir.design import Channel, Design, End, Instance, Kernel, Port, from_files, to_files, verify
from gatewright.ir.fixed import Fixed
from gatewright.ir.netlist import NetlistBuilder
from gatewright.ir.netlist_eval import evaluate


def doubler(name: str) -> Kernel:
    """y = 2 x in one segment, of two elements."""
    b = NetlistBuilder(name)
    b.origin("node")
    b.output("y", b.sum1(b.input("x", [0, 0], [30, 30] if name == "second" else [15, 15]), 1))
    return Kernel(b.build(), np.zeros(4, np.int32))


def chain() -> Design:
    ports = Port("in", "x", Fixed(0, 15, 0), (2,)), Port("out", "y", Fixed(0, 60, 0), (2,))
    channels = (Channel(End("", "in"), End("a", "x")), Channel(End("a", "y"), End("b", "x")),
                Channel(End("b", "y"), End("", "out")))
    return Design("chain", ports[:1], ports[1:], (doubler("first"), doubler("second")),
                  (Instance("b", "second"), Instance("a", "first")), channels, "pipelined", 1, 3)


@pytest.mark.parametrize("seed", range(10))
def test_a_design_computes_what_its_netlist_does(seed: int) -> None:
    netlist = random_netlist(seed)
    design = design_of(netlist, 1.0)
    verify(design)
    inputs = random_inputs(netlist, 20, seed)
    expected = evaluate(netlist, inputs)
    outputs = design.evaluate(inputs)
    assert list(outputs) == list(expected)
    assert all((outputs[p] == expected[p]).all() for p in expected)


def test_kernels_in_a_row() -> None:
    verify(chain())
    assert chain().ready() == {"": 0, "a": 1, "b": 2}
    assert chain().evaluate({"in": np.array([[3, 15]])})["out"].tolist() == [[12, 60]]
    with pytest.raises(UserError, match=r"missing \['x'\]"):
        chain().evaluate({})


def test_files_round_trip_and_repeat() -> None:
    for design in (chain(), design_of(random_netlist(3), 1.0)):
        files = to_files(design)
        assert from_files(files) == design
        assert to_files(from_files(files)) == files
    assert set(to_files(chain())) == {"design.json", "first.npz", "first.stage.npy", "second.npz", "second.stage.npy"}


def test_ports_know_their_bus() -> None:
    port = Port("x", "x", Fixed(-4, 3, 1), (2, 3))
    assert (port.width, port.signed, port.elements) == (3, True, 6)


@pytest.mark.parametrize(("changes", "message"), [
    ({"latency_cycles": 2}, "latency 2 is not 3"), ({"ii": 2}, "initiation interval"),
    ({"protocol": "axi"}, "protocol"), ({"name": "a b"}, "'a b' is no identifier"),
    ({"channels": chain().channels[1:]}, "feed every port exactly once"),
    ({"instances": chain().instances[:1]}, "exactly once|nowhere"),
    ({"kernels": chain().kernels[:1]}, "an instance has no kernel"),
    ({"outputs": (Port("out", "y", Fixed(0, 59, 0), (2,)),)}, "does not fit"),
    ({"outputs": (Port("out", "y", Fixed(0, 60, 0), (3,)),)}, "sizes differ"),
    ({"outputs": (Port("out", "x", Fixed(0, 60, 0), (2,)),)}, "not unique"),
])
def test_verify_says_what_is_wrong(changes: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(InternalError, match=message):
        verify(dataclasses.replace(chain(), **changes))


def test_instances_cannot_feed_each_other_in_a_ring() -> None:
    channels = (Channel(End("a", "y"), End("b", "x")), Channel(End("b", "y"), End("a", "x")),
                Channel(End("b", "y"), End("", "out")))
    with pytest.raises(InternalError, match="ring"):
        verify(dataclasses.replace(chain(), channels=channels))


def test_a_row_cannot_come_before_its_operands_nor_an_input_late() -> None:
    kernel = doubler("first")
    for stage, row in (([1, 0, 1, 1], 0), ([0, 0, -1, 0], 2)):
        wrong = Kernel(kernel.netlist, np.array(stage, np.int32))
        with pytest.raises(InternalError, match=f"%{row} .*too early"):
            verify(dataclasses.replace(chain(), kernels=(wrong, chain().kernels[1])))
    b = NetlistBuilder("first")
    b.origin("node")
    s = b.sum1(b.input("x", [0, 0], [15, 15]), 1)
    b.output("y", b.sum1(s, 0, False, 1, bounds=(0, 30)))
    late = Kernel(b.build(), np.array([0, 0, 1, 1, 0, 1], np.int32))
    with pytest.raises(InternalError, match=r"%4 .*too early"):
        verify(dataclasses.replace(chain(), kernels=(late, chain().kernels[1])))
