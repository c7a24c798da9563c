"""`Part`: what a device has and how fast it is. The data are `parts/*.toml`, one file a device."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gatewright.errors import UserError

DEFAULT_PART = "xcvu13p-flga2577-2-e"
DELAYS = ("net", "lut", "muxf", "carry_in", "carry_group", "carry_out", "clk_to_q", "setup", "dsp")
CLB = ("lut", "ff", "carry")
_FOLDER = Path(__file__).parent / "parts"


@dataclass(frozen=True, slots=True)
class Part:
    """A device.

    `totals` counts `lut`, `ff`, `dsp`, `bram`, `uram`. A carry chain is made of units of `carry_bits` bits. `delay` has
    the keys of DELAYS, in ns: unplaced, before routing, an estimate that goes by the name `delay_model`; its
    `carry_group` is the time along every `carry_group_bits` bits of a chain. A logic block, which is called `clb_unit`, holds `clb`
    (`lut`, `ff` and `carry` units). `family` is the name that Yosys uses. A DSP block multiplies
    signed numbers of the two widths `multiplier`.
    """

    name: str
    vendor: str
    family: str
    lut_inputs: int
    multiplier: tuple[int, int]
    totals: Mapping[str, int]
    carry_unit: str
    carry_bits: int
    carry_group_bits: int
    clb_unit: str
    clb: Mapping[str, int]
    delay_model: str
    delay: Mapping[str, float]

    @property
    def adder(self) -> str | None:
        """The adder of the part's own cells: `add3` of AMD's LUT6_2, `add2` of the ECP5's CCU2C (backends/add3.py, add2.py)."""
        return "add3" if self.pairs_luts else "add2" if self.carry_unit == "CCU2C" else None

    @property
    def adds_three(self) -> bool:
        """A chain adds three operands with one LUT per bit."""
        return self.adder == "add3"

    @property
    def pairs_luts(self) -> bool:
        """A LUT has two outputs, for two functions of together five inputs (AMD's 6-input LUTs)."""
        return self.vendor == "amd" and self.lut_inputs == 6


def known_parts() -> tuple[str, ...]:
    """Names of all devices, sorted."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.toml")))


def load_part(name: str = DEFAULT_PART) -> Part:
    """The device of that name, in any case. Raises UserError, listing those that there are."""
    if name.lower() not in known_parts():
        raise UserError(f"the part '{name}' is not known", remedy=f"Known parts are {', '.join(known_parts())}")
    values = tomllib.loads((_FOLDER / f"{name.lower()}.toml").read_text(encoding="utf-8"))
    carry, clb = values["carry"], values["clb"]
    return Part(name=name.lower(), vendor=values["vendor"], family=values["family"], lut_inputs=values["lut_inputs"],
                multiplier=(max(values["multiplier"]), min(values["multiplier"])),
                totals=values["totals"], carry_unit=carry["unit"], carry_bits=carry["bits"],
                carry_group_bits=carry["group_bits"], clb_unit=clb["unit"],
                clb={key: int(clb[key]) for key in CLB}, delay_model=values["delay_model"],
                delay={key: float(values["delay"][key]) for key in DELAYS})
