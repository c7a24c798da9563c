from typing import Any

import pytest
from report_samples import sample

from gatewright.compiler.report import facts


def check(level: str, status: str = "passed", vectors: int | None = 10, **more: Any) -> dict[str, Any]:
    counts = {"vectors": vectors, "mismatching_vectors": 0, "mismatching_values": 0}
    return {"level": level, "status": status, **counts, **more}


def headline(*checks: dict[str, Any]) -> tuple[str, str]:
    verdict = facts.verdict({"verification": checks})
    return verdict.status, verdict.headline


def test_levels_with_the_same_vectors_share_the_headline() -> None:
    assert headline(check("netlist"), check("rtl"))[1] == "Bit-exact: 10 vectors, 0 mismatches at netlist and rtl."


def test_levels_with_other_vectors_are_counted_apart() -> None:
    checks = [check("netlist", vectors=100_000), check("rtl"), check("formal", vectors=None)]
    verdict = facts.verdict({"verification": checks})
    assert verdict.headline == "Bit-exact: 0 mismatches at netlist, rtl and formal."
    assert verdict.details == ("Vectors compared: 100,000 at netlist, 10 at rtl and all at formal.",)


def test_only_a_proof_speaks_of_all_inputs() -> None:
    assert headline(check("formal", vectors=None))[1] == "Bit-exact: all inputs, 0 mismatches at formal."
    assert headline(check("rtl", vectors=None))[1] == "Bit-exact: – vectors, 0 mismatches at rtl."


def test_one_failed_level_decides() -> None:
    checks = check("netlist"), check("rtl", "failed", mismatching_vectors=3)
    assert headline(*checks) == ("failed", "Bits differ at rtl.")


@pytest.mark.parametrize("contradiction", [
    {"mismatching_vectors": 1}, {"mismatching_values": 1}, {"first_mismatch": {"vector": 0}}])
def test_a_pass_that_counts_mismatches_is_a_failure(contradiction: dict[str, Any]) -> None:
    assert headline({**check("rtl"), **contradiction})[0] == "failed"


def test_a_status_nobody_knows_is_a_failure() -> None:
    assert headline(check("rtl", "fine")) == ("failed", "Verification failed at rtl.")


def test_a_pass_over_no_vector_shows_nothing() -> None:
    assert headline(check("rtl", vectors=0)) == ("skipped", "Not verified: every level was skipped.")


def test_skipped_levels_are_named_with_their_reason() -> None:
    verdict = facts.verdict({"verification": [check("rtl"), check("gates", "skipped", reason="no Yosys")]})
    assert (verdict.status, verdict.details) == ("passed", ("gates skipped: no Yosys",))


def test_nothing_ran() -> None:
    assert headline() == ("missing", "Not verified yet.")


def test_the_first_difference_is_handed_on_with_its_level() -> None:
    mismatch = facts.verdict(sample("failed")).mismatch
    assert mismatch == {"level": "rtl", "vector": 1234, "output": "größe_Σ", "element": 1, "expected": -311,
                        "got": -312, "node": "Add_residual"}


@pytest.mark.parametrize(("estimate", "measured", "text"), [
    (103, 100, "+3.0 %"), (97, 100, "−3.0 %"), (0, 0, "0.0 %"), (5, 0, "–"), (None, 5, "–"), (5, None, "–"),
    (0, 7, "−100.0 %")])
def test_relative_error(estimate: float | None, measured: float | None, text: str) -> None:
    assert facts.relative_error(estimate, measured) == text


@pytest.mark.parametrize(("value", "total", "text"), [
    (27_609, 1_728_000, "1.6 %"), (1, 1_728_000, "<0.01 %"), (0, 90, "0 %"), (96, 90, "106.7 %"), (3, None, None),
    (3, 0, None)])
def test_share_of_the_part(value: float, total: float | None, text: str | None) -> None:
    assert facts.percent_of(value, total) == text


def test_bunch_crossings_of_25_ns_at_40_079_mhz() -> None:
    assert facts.bunch_crossings(1000 / 40.079) == "1.00"
    assert facts.bunch_crossings(30) == "1.20"


@pytest.mark.parametrize(("value", "text"), [(5.0, "5"), (4.714, "4.71"), (0, "0"), (1234.5, "1,234.5"), (None, "–")])
def test_decimal(value: float | None, text: str) -> None:
    assert facts.decimal(value) == text


@pytest.mark.parametrize(("value", "text"), [(27_609, "27,609"), (1.5, "1.5"), (2.0, "2"), (None, "–")])
def test_count(value: float | None, text: str) -> None:
    assert facts.count(value) == text


def test_synthesis_of_the_part_goes_before_the_estimate() -> None:
    report = sample("jet_tagger")
    assert facts.best_resources(report)["lut"] == 27_609
    report["synthesis"] = report["synthesis"][1:]  # another part
    assert facts.best_resources(report) is report["estimate"]


def test_times_are_estimates_until_routed() -> None:
    assert facts.time_label({"delay_model": "usplus"}) == "estimate, delay model usplus"
    assert facts.time_label({}) == "estimate, delay model not named"
    assert facts.time_label({"delay_model": "usplus", "routed": True}) == "after routing"


def test_no_error_is_given_against_another_part() -> None:
    comparison = facts.comparison(sample("jet_tagger"))
    assert comparison.columns == (("Yosys 0.70", "xcvu13p-flga2577-2-e"), ("Yosys 0.70", "LFE5U-85F-8"))
    assert comparison.rows[0] == ("LUT", "28,412", (("27,609", "+2.9 %"), ("41,022", "–")))
    assert ("LUT, after pairing", "–", (("24,911", "–"), ("–", "–"))) in comparison.rows
    stage = next(i for i, row in enumerate(comparison.rows) if row[0] == "longest stage, ns")
    assert comparison.rows[stage + 1] == ("  which is", "estimate, usplus-simple",
                                          (("estimate, usplus-simple", ""), ("estimate, ecp5-simple", "")))


def test_packing_is_one_sentence() -> None:
    known = {"lut_paired": 1234, "carry_sites": 7, "clb": 155, "clb_unit": "CLB"}
    assert facts.packed(known) == "Packed: 1,234 LUTs after pairing, 7 carry sites, at least 155 CLBs."
    assert facts.packed(known | {"lut_paired": None, "clb_unit": "slice"}) == "Packed: 7 carry sites, at least 155 slices."
    assert facts.packed(known | {"clb": None}) is None


def test_stages_with_their_slack() -> None:
    assert facts.stages(sample("jet_tagger")) == [("1", "4.83", "0.17", "1,535"), ("2", "5.25", "−0.25", "1,121")]
    assert facts.stages({"estimate": {"stages": [{"stage": 1}]}}) == [("1", "–", "–", "–")]
    assert facts.stages(sample("minimal")) == []


def test_what_does_not_fit_and_what_is_too_slow_is_said() -> None:
    report = sample("failed")
    numbers = [*facts.cell_numbers(report), *facts.time_numbers(report)]
    assert {n.name: n.warning for n in numbers if n.warning} == {
        "LUT": "does not fit the part", "DSP": "does not fit the part",
        "Longest stage": "misses the clock of 5 ns by 1.12 ns"}


def test_clean_replaces_what_steers_terminals_and_reading_direction() -> None:
    assert facts.clean({"a\x1b[2J": ["\u202egnp", "\ud800", "tab\tnew\nline", 3, None]}) == {
        "a\ufffd[2J": ["\ufffdgnp", "\ufffd", "tab\tnew\nline", 3, None]}


def test_long_names_keep_both_ends() -> None:
    assert facts.shortened("encoder/block_0/MatMul_17", 12) == "encod…Mul_17"
    assert facts.shortened("short", 12) == "short"
