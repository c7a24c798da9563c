import numpy as np
import pytest

from gatewright.errors import InternalError
from gatewright.sim import ports
from gatewright.sim.ports import SimPort, bus_words, pack, unpack
from gatewright.sim.vectors import corner_vectors, random_vectors


def bounds(port):
    low, high = (-(1 << port.width - 1), (1 << port.width - 1) - 1) if port.signed else (0, (1 << port.width) - 1)
    return np.full(port.elements, low, np.int64), np.full(port.elements, high, np.int64)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("width", [1, 2, 7, 8, 9, 16, 31, 32, 33, 61, 62])
@pytest.mark.parametrize("elements", [1, 3, 33])
def test_element_i_lies_at_bit_i_times_width(width, signed, elements, monkeypatch):
    monkeypatch.setattr(ports, "_CHUNK", 10_000)  # several chunks
    port = SimPort("x", "x", width, signed, elements)
    lo, hi = bounds(port)
    codes = np.concatenate([corner_vectors(lo, hi), random_vectors(lo, hi, 40, seed=1)])
    words = pack(port, codes)
    assert words.shape == (len(codes), bus_words(port))
    for row, bus in zip(codes.tolist(), words.tolist(), strict=True):
        value = sum(code % (1 << width) << i * width for i, code in enumerate(row))
        assert value == sum(word << 32 * i for i, word in enumerate(bus))
    assert (unpack(port, words) == codes).all()


def test_unpack_ignores_what_is_above_the_bus():
    assert unpack(SimPort("y", "y", 5, True, 2), np.array([[0xFFFFFFE1]], np.uint32)).tolist() == [[1, -1]]


def test_codes_that_do_not_fit_are_refused():
    port = SimPort("x", "x", 4, True, 2)
    for codes in ([[8, 0]], [[0, -9]], [[0]], [0, 0]):
        with pytest.raises(InternalError, match="port 'x'"):
            pack(port, np.array(codes, np.int64))


def test_a_port_wider_than_62_bits_is_refused():
    with pytest.raises(InternalError, match="63 bits"):
        pack(SimPort("x", "x", 63, True, 1), np.array([[0]], np.int64))
