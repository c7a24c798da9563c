"""HLS C++ as text: layers, pragmas, what is refused. Whether it computes the right codes is tests/sim/test_csim.py's question."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from graphs import given, graph, op
from hls_graphs import HEADER, design_of_graph, joined, meant

from gatewright.backends import hls
from gatewright.backends.hls import loops
from gatewright.backends.hls.dialect import AC, AP, Dialect
from gatewright.backends.hls.rows import Rows
from gatewright.backends.hls.text import Writer
from gatewright.errors import UserError
from gatewright.ir.graph import Graph
from gatewright.ir.netlist_text import parse
from gatewright.ir.ops import OPS, Dense, Divide, Input, Region, Reshape, SquareRoot

X = given("x", "[3]", "-8..7")
DENSE = "dense {weight = [[3, -2], [5, 1], [0, 4]], bias = [1, 0]}"


def layers(g: Graph, dialect: Dialect = AP, dsps: int = 0, **header: Any) -> str:
    files = hls.emit(dialect, design_of_graph(g, dsps), g, {**HEADER, **header})
    return files[f"{dialect.folder}/g_layers.cpp" if f"{dialect.folder}/g_layers.cpp" in files else f"{dialect.folder}/dut_layers.cpp"]


def function(text: str, name: str) -> str:
    """A function's definition, without blanks at the start of lines."""
    body = text[text.index(f"void {name}("):]
    return "\n".join(line.strip() for line in body[:body.index("\n}\n") + 2].splitlines())


def test_every_operation_has_a_form_in_loops() -> None:
    assert set(OPS.values()) - set(loops.TEMPLATES) == {Input, Region, Reshape, Divide, SquareRoot}  # the last two: rows


def test_a_fully_parallel_layer() -> None:
    assert function(layers(meant(op(DENSE, X))), "node") == """\
void node(const ap_int<4> x[3], ap_int<7> y[2]) {
#pragma HLS INLINE
static const const_int<4> weight[2][3] = {
{3, 5, 0},
{-2, 1, 4},
};
#pragma HLS ARRAY_PARTITION variable=weight complete dim=0
static const const_uint<1> bias[2] = {
1, 0
};
#pragma HLS ARRAY_PARTITION variable=bias complete dim=0
for (int j = 0; j < 2; ++j) {
#pragma HLS UNROLL
ap_int<7> sum = bias[j];
for (int i = 0; i < 3; ++i) {
#pragma HLS UNROLL
sum += x[i] * weight[j][i];
}
y[j] = sum;
}
}"""


def test_a_layer_with_a_reuse_factor() -> None:
    wide = op("dense {weight = " + str(np.arange(24).reshape(2, 12).tolist()) + ", bias = " + str(list(range(12))) + "}",
              given("x", "[2]", "-8..7"))
    text = function(layers(meant(wide), reuse=3), "node")
    assert "INLINE" not in text
    assert all(how in text for how in ("weight cyclic factor=4 dim=1", "weight complete dim=2", "bias cyclic factor=4 dim=1"))
    assert "j < 12; ++j) {\n#pragma HLS PIPELINE II=1\n#pragma HLS UNROLL factor=4\n" in text
    assert "j < 12; ++j) {\n#pragma HLS PIPELINE II=2\nap_" in function(layers(meant(wide), reuse=25), "node")
    one = function(layers(meant(wide), reuse=1, layer_reuse={"node": 12}), "node")
    assert "j < 12; ++j) {\n#pragma HLS PIPELINE II=1\nap_" in one


@pytest.mark.parametrize("sizes", [(1,), (7,), (64,), (3, 5), (28, 28, 16), (2, 1, 9)])
def test_a_layer_takes_no_more_cycles_than_its_reuse_factor(sizes: tuple[int, ...]) -> None:
    for reuse in range(1, 70):
        w = Writer(AP, reuse, task=True)
        w.outer(*zip("ijk", sizes, strict=False))
        turns = math.prod(math.ceil(n / w.rolled[name]) for name, n in w.axes if name in w.rolled)
        found = [p.factor for pragmas in w.pragmas.values() for p in pragmas if p.kind == "pipeline"]
        assert len(found) == (1 if w.rolled else 0)
        assert turns * (found or [1])[0] <= reuse
        assert 2 * turns * (found or [reuse])[0] > min(reuse, math.prod(sizes)), "half of the cycles are idle"


def test_the_other_dialect_has_its_own_types_and_pragmas() -> None:
    text = layers(meant(op(DENSE, X)), AC)
    assert "void node(const ac_int<4, true> x[3], ac_int<7, true> y[2])" in text
    assert "#pragma hls_unroll yes\n  #pragma unroll\n  for (int j = 0" in text
    assert "HLS" not in text.split("#include")[1]


def test_ports_are_fixed_point_where_codes_are_a_grid() -> None:
    g = graph('%x = input() {encoding = none} : [2] -8..7 frac 3 @ "x"', '%z = input() {encoding = none} : [2] 0..7 frac 0 @ "z"',
              '%y = combine(%x, %z) {scales = [3, 1], offset = 0} : [2] -24..28 frac 0 @ "y"',
              "meaning %x scale 1/8 offset 0", "meaning %z scale 1/3 offset 0", 'output "y" = %y scale 1 offset 0')
    text = hls.emit(AP, design_of_graph(g), g, HEADER)["hls/dut.h"]
    assert "typedef ap_fixed<4, 1> in_x_t;" in text
    assert "typedef ap_uint<3> in_z_t;" in text
    assert "typedef ap_fixed<6, 6> out_y_t;" in text


def test_adder_graphs_have_a_statement_a_row() -> None:
    text = layers(meant(op(DENSE, X)), kernel="adders")
    assert "const ap_int<4> v0 = in_x_codes[0];" in text
    assert "for (" not in function(text, "node")


def products(dialect: Dialect = AP, dsps: int = 0, **header: Any) -> str:
    g = meant(op("multiply {}", given("a", "[3]", "-8..7"), given("b", "[3]", "-4..3")))
    return function(layers(g, dialect, dsps, **header), "node")


def test_products_are_bound_to_what_they_are_in_verilog() -> None:
    def bound(variable: str, impl: str) -> str:
        return f"#pragma HLS BIND_OP variable={variable} op=mul impl={impl}\n"

    luts, dsp = bound("product", "fabric"), bound("product", "dsp")
    text = "const ap_int<7> product = x0[i] * x1[i];\n"
    write = "y[i] = product;\n"
    loop = "for (int i = 0; i < 3; ++i) {\n#pragma HLS UNROLL\n"
    assert f"{loop}{text}{luts}{write}}}" in products()
    assert f"{loop}{text}{dsp}{write}}}" in products(dsps=3)
    assert f"{loop}if (i < 2) {{\n{text}{dsp}{write}}} else {{\n{text}{luts}{write}}}\n}}" in products(dsps=2)
    rows = [line for line in products(dsps=2, kernel="adders").splitlines() if "*" in line or "BIND" in line]
    names = [line.split()[2] for line in rows if "*" in line]
    assert rows[1::2] == [bound(v, impl).strip() for v, impl in zip(names, ("dsp", "dsp", "fabric"), strict=True)]
    for text in (products(AC, dsps=2), products(AC, dsps=2, kernel="adders")):
        assert "BIND" not in text
        assert "if (" not in text


def test_a_loop_has_dsps_where_all_its_multipliers_are_covered() -> None:
    """Three products in three cycles, by one multiplier, or in two, by two."""
    for reuse, multipliers in ((3, 1), (2, 2)):
        for dsps in range(4):
            impl = "dsp" if dsps >= multipliers else "fabric"
            assert products(dsps=dsps, reuse=reuse).count(f"op=mul impl={impl}\n") == products(dsps=dsps, reuse=reuse).count("BIND_OP") == 1


def test_a_shifted_product_is_bound_before_it_is_shifted() -> None:
    netlist = parse('netlist "n"\norigin "x"\n%0 = input 0[0] : -8..7 @"x"\n%1 = input 0[1] : -8..7 @"x"\n'
                    '%2 = mul %0<<2, %1 : -224..256 @"x"\ninput "x" = %0 %1\noutput "y" = %2\n')
    lines = list(Rows(netlist, AP)._statement(2))
    assert lines == ["const ap_int<8> p2 = v0 * v1;", "#pragma HLS BIND_OP variable=p2 op=mul impl=fabric",
                     "const ap_int<10> v2 = ap_int<10>(p2) << 2;"]


def test_tasks_hand_every_array_from_one_to_one() -> None:
    """A dataflow region may not read an array twice: it gets copies."""
    g = meant(joined([graph(X, '%a = combine(%x) {scales = [2], offset = 1} : [3] -15..15 frac 0 @ "a"',
                            '%b = multiply(%x, %a) {} : [3] -105..120 frac 0 @ "b"')]))
    design = design_of_graph(g)
    text = hls.emit(AP, design, g, {**HEADER, "reuse": 3})["hls/dut.cpp"]
    calls = [line.strip().removesuffix(");").split("(") for line in text.splitlines() if line.startswith("  ") and line.endswith(");")]
    reads = [name for function, arguments in calls for name in arguments.split(", ")[:(2 if function == "b" else 1)]]
    assert "#pragma HLS DATAFLOW" in text
    assert any(function.startswith("fork_") for function, _ in calls)
    assert len(reads) == len(set(reads))


@pytest.mark.parametrize(("header", "message"), [
    ({"kernel": "adders", "reuse": 2}, "fully parallel.*--kernel loops"),
    ({"layer_reuse": {"nonsense": 2}}, "'nonsense', which is no layer.*Layers are node"),
    ({"part": "lfe5u-45f"}, "knows no part 'lfe5u-45f'.*hls-ac"),
])
def test_what_is_refused(header: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        layers(meant(op(DENSE, X)), **header)


def test_an_operation_without_a_form_in_loops_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(loops.TEMPLATES, Dense)  # type: ignore[misc]
    with pytest.raises(UserError, match=r"node 'node': the operation 'dense' has no form in loops.* Choose --kernel adders"):
        layers(meant(op(DENSE, X)))


def test_scripts_name_every_source() -> None:
    g = meant(op(DENSE, X))
    for dialect, script in ((AP, "project.tcl"), (AC, "catapult.tcl")):
        files = hls.emit(dialect, design_of_graph(g), g, HEADER)
        sources = [p.split("/")[1] for p in files if p.endswith(".cpp")]
        assert len(sources) == 3
        assert all(s in files[f"{dialect.folder}/{script}"] for s in sources)
        assert all(s in files[f"{dialect.folder}/Makefile"] for s in sources if "_test" not in s)
    assert "set_part {xcvu13p-flga2577-2-e}" in hls.emit(AP, design_of_graph(g), g, HEADER)["hls/project.tcl"]
