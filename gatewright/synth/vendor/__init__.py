"""Reports of the vendors' tools: files in, `Resources` out, as `gatewright report DIR --vendor` folds them in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gatewright.errors import UserError
from gatewright.synth.result import Resources
from gatewright.synth.vendor import nextpnr, quartus, vitis, vivado
from gatewright.synth.vendor.reading import Reading

FORMATS: tuple[tuple[Callable[[str], bool], Callable[[str], Reading]], ...] = tuple(
    (tool.recognises, tool.read) for tool in (vivado, vitis, quartus, nextpnr))
KNOWN = ("Vivado (report_utilization, report_timing_summary), Vitis HLS (csynth.xml, csynth.rpt), Quartus (.fit.summary, .fit.rpt, "
         ".sta.rpt) and nextpnr-ecp5 (--report)")


def read_report(file: Path) -> Reading:
    """What one report says. Raises UserError, naming the file, where it cannot be read, is of no known format, or lacks something."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"cannot read the report '{file}': {error.strerror}", remedy="Give the path of a report") from None
    read = next((read for recognises, read in FORMATS if recognises(text)), None)
    if read is None:
        raise UserError(f"'{file}' is in no format of a report that gatewright knows", remedy=f"It knows those of {KNOWN}")
    try:
        return read(text)
    except UserError as error:
        raise UserError(f"'{file}': {error.reason}", remedy=error.remedy) from None


def join(readings: Mapping[str, Reading], name: str) -> list[tuple[Reading, Resources]]:
    """Reports by file, joined where one tool wrote them at one stage, with the reading that names design and part.

    `name` is that of the design; a top module `<name>_shell` is understood for Verilog. Raises UserError for reports of another design,
    and where two reports of one stage contradict each other.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for file, reading in readings.items():
        tops = (None, name, *((f"{name}_shell",) if reading.target == "verilog" else ()))
        if reading.design not in tops:
            raise UserError(f"'{file}' is about the design '{reading.design}', not '{name}'",
                            remedy="Give reports of this design, built from the folder 'design'")
        groups.setdefault((reading.tool, reading.stage), []).append(file)
    return [_joined({file: readings[file] for file in files}) for files in groups.values()]


def _joined(readings: Mapping[str, Reading]) -> tuple[Reading, Resources]:
    whole = max(readings.values(), key=lambda r: len(r.part or ""))  # one report may leave out what another says of the part
    values: dict[str, Any] = {}
    for file, reading in readings.items():
        if reading.part and not squashed(whole.part or "").startswith(squashed(reading.part)):
            raise _contradiction("the device", readings)
        if reading.design not in (None, whole.design):
            raise _contradiction("the top module", readings)
        for key, value in reading.values.items():
            if values.setdefault(key, value) != value:
                raise _contradiction(f"'{key}', which is {value} in '{file}'", readings)
    routed = whole.stage == "routed"
    how = "" if whole.target == "hls" else f" {whole.stage}" + (", shell" if (whole.design or "").endswith("_shell") else "")
    return whole, Resources(tool=f"{whole.tool}{how}", part=whole.part or "", routed=routed, target=whole.target,
                            delay_model=None if routed else whole.tool, **values)


def _contradiction(what: str, files: Mapping[str, Reading]) -> UserError:
    return UserError(f"reports contradict each other about {what}: {', '.join(files)}", remedy="Give the reports of one run at a time")


def squashed(part: str) -> str:
    """A device's name without the `xc` and the hyphens that one report has and another has not."""
    return part.lower().removeprefix("xc").replace("-", "")
