import numpy as np
import pytest

from gatewright.errors import InternalError
from gatewright.sim.timing import DRAIN, RESET, VALID, VECTOR, measure, schedule


def pulses_of(control, latency):
    """What a right pipeline does: a shift register that reset clears."""
    chain, pulses = [False] * latency, []
    for cycle, bits in enumerate(control):
        chain = [False] * latency if bits & RESET else [bool(bits & VALID), *chain[:-1]]
        if chain[-1]:
            pulses.append(cycle)
    return np.array(pulses, np.int64)


CONTROL = schedule(300, seed=2)
MAIN = np.flatnonzero(CONTROL & VECTOR)


def test_the_schedule_tests_what_it_should():
    resets = np.flatnonzero(CONTROL & RESET)
    assert resets.tolist()[:4] == [0, 1, 2, 3]
    assert len(resets) == 5
    assert CONTROL[resets[4]] & VALID  # in_valid in a reset
    assert CONTROL[resets[4] - 1] & VALID  # traffic up to the reset
    assert MAIN[0] == resets[4] + 1  # and at once after it
    assert len(MAIN) == 300
    assert (np.diff(MAIN) == 1).any()
    assert (np.diff(MAIN) > 1).any()
    assert not CONTROL[MAIN[-1] + 1:].any()
    assert len(CONTROL) - MAIN[-1] - 1 == DRAIN
    assert len(schedule(1, 0, latency_cycles=5000)) > 10_000


def test_a_pattern_of_in_valid_can_be_given():
    valid = np.array([True, False, False, True])
    control = schedule(2, 0, valid)
    assert np.diff(np.flatnonzero(control & VECTOR)).tolist() == [3]
    with pytest.raises(InternalError):
        schedule(3, 0, valid)


@pytest.mark.parametrize("latency", [1, 2, 5, 60, 96, 97, 200, 1000])
def test_a_right_pipeline_has_its_latency_and_ii(latency):
    timing = measure(CONTROL, pulses_of(CONTROL, latency))
    assert (timing.latency_cycles, timing.ii, timing.fault) == (latency, 1, "")


def test_ii_is_the_smallest_distance_that_was_driven():
    control = schedule(20, 0, np.tile([True, False, False], 20))
    assert measure(control, pulses_of(control, 4)).ii == 3
    assert measure(schedule(1, 0), pulses_of(schedule(1, 0), 4)).ii is None


def test_out_valid_before_the_first_reset_does_not_count():
    control = np.concatenate([np.zeros(3, np.uint8), CONTROL])
    pulses = np.concatenate([[0, 2], pulses_of(control, 5)])
    assert not measure(control, pulses).fault


@pytest.mark.parametrize(("change", "reason"), [
    (lambda p: p[p < MAIN[0]], "out_valid never rose, there were 300 vectors"),
    (lambda p: p[p != MAIN[7] + 4], "299 outputs came out for 300 vectors; vector 7 got lost first"),
    (lambda p: p[p != MAIN[0] + 4], "299 outputs came out for 300 vectors; vector 0 got lost first"),
    (lambda p: np.append(p, p[-1] + 9), "301 outputs came out for 300 vectors; no vector explains the one in cycle"),
    (lambda p: np.append(p[:-1], p[-1] + 1), "the latency varies between 5 and 6 cycles"),
    (lambda p: np.sort(np.append(p, MAIN[0])), "a reset does not empty the pipeline"),
    (lambda p: np.sort(np.append(p, MAIN[0] - 1)), "a reset does not empty the pipeline"),
    (lambda p: np.sort(np.append(p, 4)), "a reset does not empty the pipeline"),
    (lambda p: p[5:], "vectors that were taken before a reset got lost"),
])
def test_faults_are_told(change, reason):
    timing = measure(CONTROL, change(pulses_of(CONTROL, 5)))
    assert timing.fault.startswith(reason)
    assert timing.latency_cycles is None


def test_a_reset_that_does_not_reach_the_pipeline():
    deaf = CONTROL & ~np.where(np.arange(len(CONTROL)) > 3, RESET, 0).astype(np.uint8)
    for latency in (2, 5, 60):
        assert measure(CONTROL, pulses_of(deaf, latency)).fault.startswith("a reset does not empty the pipeline")
