"""The two spellings of HLS C++: `ap_types` (Vitis HLS, Vivado HLS) and `ac_types` (Catapult, oneAPI).

Integers of both are two's complement of any width: sums and products have the width that they need, an assignment keeps the
lowest bits, a shift keeps the width of what is shifted. Fixed-point types appear on ports only: integers compile ten times faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gatewright.ir.fixed import Fixed


@dataclass(frozen=True, slots=True)
class Pragma:
    """What a loop, a function or an array is to become in hardware.

    `kind` is `top`, `inline`, `dataflow`, `pipeline`, `unroll`, `partition`, `port`, or for a variable that a product is assigned to
    `mul_in_luts`, `mul_in_dsp`. `factor` is the initiation interval of a pipeline, the copies of an unrolled body or the banks of an
    array; 0: all. `dim` of an array counts from 1; 0: all of them.
    """

    kind: str
    factor: int = 0
    variable: str = ""
    dim: int = 0


class Dialect:
    """`ap_int` and `ap_fixed` with the pragmas of Vitis HLS, which stand inside what they are about."""

    name = "ap_types"
    folder = "hls"
    headers = ("ap_int.h", "ap_fixed.h")

    def integer(self, type_: Fixed) -> str:
        return f"ap_{'' if type_.signed else 'u'}int<{type_.width}>"

    def fixed(self, type_: Fixed) -> str:
        return f"ap_{'' if type_.signed else 'u'}fixed<{type_.width}, {type_.width - type_.frac}>"

    def code(self, value: str, width: int) -> str:
        """The integer that a fixed-point `value` of `width` bits is stored as."""
        return f"{value}.range()"

    def set_code(self, variable: str, code: str) -> str:
        """The statement that makes a fixed-point `variable` store `code`, an integer of its width."""
        return f"{variable}.range() = {code};"

    def pragma(self, p: Pragma) -> list[str]:
        match p.kind:
            case "inline" | "dataflow":
                return [f"#pragma HLS {p.kind.upper()}"]
            case "pipeline":
                return [f"#pragma HLS PIPELINE II={p.factor}"]
            case "unroll":
                return ["#pragma HLS UNROLL" + (f" factor={p.factor}" if p.factor else "")]
            case "partition":
                how = f"cyclic factor={p.factor}" if p.factor else "complete"
                return [f"#pragma HLS ARRAY_PARTITION variable={p.variable} {how} dim={p.dim}"]
            case "port":
                return [f"#pragma HLS ARRAY_RESHAPE variable={p.variable} complete dim=0",
                        f"#pragma HLS INTERFACE ap_vld port={p.variable}"]
            case "mul_in_luts" | "mul_in_dsp":
                return [f"#pragma HLS BIND_OP variable={p.variable} op=mul impl={'dsp' if p.kind == 'mul_in_dsp' else 'fabric'}"]
            case _:
                return []

    def block(self, header: str, pragmas: Sequence[Pragma], body: Sequence[str]) -> list[str]:
        """A function or a loop."""
        return [f"{header} {{", *self.pragmas(pragmas), *indented(body), "}"]

    def pragmas(self, pragmas: Sequence[Pragma]) -> list[str]:
        return [line for p in pragmas for line in self.pragma(p)]


class AcDialect(Dialect):
    """`ac_int` and `ac_fixed` with the pragmas of Catapult, and for loops those of oneAPI: they stand before what they are about.

    Arrays have none: Catapult's script maps them to registers. Products have none: the tools choose.
    """

    name = "ac_types"
    folder = "hls-ac"
    headers = ("ac_int.h", "ac_fixed.h")

    def integer(self, type_: Fixed) -> str:
        return f"ac_int<{type_.width}, {str(type_.signed).lower()}>"

    def fixed(self, type_: Fixed) -> str:
        return f"ac_fixed<{type_.width}, {type_.width - type_.frac}, {str(type_.signed).lower()}>"

    def code(self, value: str, width: int) -> str:
        return f"{value}.slc<{width}>(0)"

    def set_code(self, variable: str, code: str) -> str:
        return f"{variable}.set_slc(0, {code});"

    def pragma(self, p: Pragma) -> list[str]:
        match p.kind:
            case "top" | "inline":
                return [f"#pragma hls_design {p.kind}"]
            case "pipeline":
                return [f"#pragma hls_pipeline_init_interval {p.factor}"]
            case "unroll":
                return [f"#pragma hls_unroll {p.factor or 'yes'}", f"#pragma unroll {p.factor or ''}".rstrip()]
            case _:
                return []

    def block(self, header: str, pragmas: Sequence[Pragma], body: Sequence[str]) -> list[str]:
        return [*self.pragmas(pragmas), f"{header} {{", *indented(body), "}"]


def indented(lines: Sequence[str]) -> list[str]:
    """Pragmas of Vitis HLS start a line."""
    return [line if line.startswith("#pragma HLS") else f"  {line}" for line in lines]


AP, AC = Dialect(), AcDialect()


def constant_type(lo: int, hi: int) -> str:
    """The element type of a constant array; `layers.h` defines what it is in synthesis and in C simulation."""
    type_ = Fixed(lo, hi, 0)
    return f"const_{'' if type_.signed else 'u'}int<{type_.width}>"


def literal(value: int) -> str:
    """An integer constant; `int` has 32 bits."""
    return f"{value}LL" if value.bit_length() > 31 else str(value)


def plus(value: int) -> str:
    """What adds a constant behind an expression; nothing for 0."""
    return f" {'+' if value > 0 else '-'} {literal(abs(value))}" if value else ""
