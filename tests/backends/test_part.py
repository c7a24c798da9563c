"""Parts are complete, and an unknown one is refused with the list."""

from __future__ import annotations

import pytest

from gatewright.backends.part import CLB, DEFAULT_PART, DELAYS, known_parts, load_part
from gatewright.errors import UserError


@pytest.mark.parametrize("name", known_parts())
def test_parts_have_all_data(name: str) -> None:
    part = load_part(name)
    assert part.name == name
    assert set(part.totals) == {"lut", "ff", "dsp", "bram", "uram"}
    assert set(part.delay) == set(DELAYS)
    assert min(part.delay.values()) > 0
    assert set(part.clb) == set(CLB)
    assert min(part.clb.values()) > 0
    assert part.carry_bits % part.carry_group_bits == 0


def test_the_default_part() -> None:
    part = load_part()
    assert (part.name, part.totals["lut"], part.carry_unit) == (DEFAULT_PART, 1728000, "CARRY8")
    assert load_part(DEFAULT_PART.upper()) == part


def test_an_unknown_part_is_refused_with_the_list() -> None:
    with pytest.raises(UserError, match=r"'ice40' is not known\. Known parts are 10ax115n2f45e1sg, lfe5u-45f, .*xcvu13p"):
        load_part("ice40")
