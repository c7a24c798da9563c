import json

import pytest

from gatewright.synth.result import Resources

SCHEMA = ["tool", "part", "lut", "lut_logic", "route_through", "srl", "carry", "carry_unit", "ff", "dsp", "bram",
          "uram", "critical_path_ns", "critical_path", "latency_cycles", "latency_ns", "ii", "layers", "delay_model"]


def test_json_has_the_schema_and_comes_back():
    result = Resources(tool="yosys", part="p", lut=3, lut_logic=2, route_through=1, srl=0, critical_path_ns=1.25, ii=1,
                       layers=({"name": "dense", "lut": 3},))
    text = json.dumps(result.to_json())
    assert list(json.loads(text)) == SCHEMA
    assert Resources.from_json(json.loads(text)) == result


def test_what_is_not_known_is_null():
    values = Resources(tool="yosys", part="p").to_json()
    assert {key for key, value in values.items() if value is None} == set(SCHEMA) - {"tool", "part", "layers"}


def test_unknown_keys_are_refused():
    with pytest.raises(TypeError, match="luts"):
        Resources.from_json({"tool": "yosys", "part": "p", "luts": 3})
