"""Verilog identifiers from names that follow other rules."""

from __future__ import annotations

import re
from collections.abc import Sequence

_VERILOG = """
always and assign automatic begin buf bufif0 bufif1 case casex casez cell cmos config deassign default defparam design
disable edge else end endcase endconfig endfunction endgenerate endmodule endprimitive endspecify endtable endtask event
for force forever fork function generate genvar highz0 highz1 if ifnone incdir include initial inout input instance
integer join large liblist library localparam macromodule medium module nand negedge nmos nor noshowcancelled not notif0
notif1 or output parameter pmos posedge primitive pull0 pull1 pulldown pullup pulsestyle_ondetect pulsestyle_onevent
rcmos real realtime reg release repeat rnmos rpmos rtran rtranif0 rtranif1 scalared showcancelled signed small specify
specparam strong0 strong1 supply0 supply1 table task time tran tranif0 tranif1 tri tri0 tri1 triand trior trireg
unsigned use vectored wait wand weak0 weak1 while wire wor xnor xor
accept_on alias always_comb always_ff always_latch assert assume before bind bins binsof bit break byte chandle checker
class clocking const constraint context continue cover covergroup coverpoint cross dist do endchecker endclass
endclocking endgroup endinterface endpackage endprogram endproperty endsequence enum eventually expect export extends
extern final first_match foreach forkjoin global iff ignore_bins illegal_bins implements implies import inside int
interconnect interface intersect join_any join_none let local logic longint matches modport nettype new nexttime null
package packed priority program property protected pure rand randc randcase randsequence ref reject_on restrict return
s_always s_eventually s_nexttime s_until s_until_with sequence shortint shortreal soft solve static string strong struct
super sync_accept_on sync_reject_on tagged this throughout timeprecision timeunit type typedef union unique unique0
until until_with untyped uwire var virtual void wait_order weak wildcard with within
"""
_CPP = """
alignas alignof asm auto bool catch char char16_t char32_t compl concept constexpr const_cast decltype delete double
dynamic_cast explicit false float friend goto inline long mutable namespace noexcept nullptr operator private public
register reinterpret_cast requires short sizeof static_assert static_cast switch template thread_local throw true try
typeid typename using volatile wchar_t std abs main
"""
_OWN = "clk rst in_valid out_valid valid kernel"
RESERVED = frozenset(_VERILOG.split()) | frozenset(_CPP.split()) | frozenset(_OWN.split())
"""Keywords of Verilog, SystemVerilog and C++ (simulators translate to it), and names inside the generated modules."""
_INTERNAL = re.compile(r"_.*|v\d+(_\d+)?|t\d+(_x)?|serial_(in|out)|shell_.*")


def identifiers(names: Sequence[str], taken: Sequence[str] = ()) -> tuple[str, ...]:
    """One identifier per name, all different and none in `taken`; a name that can be kept is kept.

    >>> identifiers(["x", "dense/out:0", "wire", "0", "x"])
    ('x', 'dense_out_0', 'wire_p', 'n0', 'x_2')
    """
    used, result = {t.lower() for t in taken}, []
    for name in names:
        text = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9_]", "_", name)).strip("_") or "port"
        text = f"n{text}" if text[0].isdigit() else text
        text = f"{text}_p" if is_reserved(text) else text
        number, candidate = 1, text
        while candidate.lower() in used:
            number += 1
            candidate = f"{text}_{number}"
        used.add(candidate.lower())
        result.append(candidate)
    return tuple(result)


def is_reserved(name: str) -> bool:
    """Whether a port of this name would clash with a keyword or with a name inside the generated modules."""
    return name.lower() in RESERVED or _INTERNAL.fullmatch(name) is not None
