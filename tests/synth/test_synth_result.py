import json

import pytest

from gatewright.synth.result import Resources

SCHEMA = ["tool", "part", "lut", "lut_logic", "route_through", "srl", "lut_paired", "carry", "carry_unit", "carry_sites", "ff",
          "dsp", "bram", "uram", "clb", "clb_unit", "critical_path_ns", "critical_path", "latency_cycles", "latency_ns", "ii",
          "layers", "stages", "delay_model", "routed", "target"]


def test_json_has_the_schema_and_comes_back():
    result = Resources(tool="yosys", part="p", lut=3, lut_logic=2, route_through=1, srl=0, critical_path_ns=1.25, ii=1,
                       layers=({"name": "dense", "lut": 3},), stages=({"stage": 1, "slack_ns": None},))
    text = json.dumps(result.to_json())
    assert list(json.loads(text)) == SCHEMA
    assert Resources.from_json(json.loads(text)) == result


def test_what_is_not_known_is_null():
    values = Resources(tool="yosys", part="p").to_json()
    assert {key for key, value in values.items() if value is None} == set(SCHEMA) - {"tool", "part", "layers", "stages", "routed", "target"}


def test_results_of_an_older_version_are_read():
    assert Resources.from_json({"tool": "yosys", "part": "p", "lut": 3}) == Resources(tool="yosys", part="p", lut=3)


def test_unknown_keys_are_refused():
    with pytest.raises(TypeError, match="luts"):
        Resources.from_json({"tool": "yosys", "part": "p", "luts": 3})
