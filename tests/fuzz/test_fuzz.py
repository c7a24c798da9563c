"""Random models: the judge, the Graph, the passes, the netlist and the public executors agree on all of them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from checking import Disagreement, check
from description import Description, Input, Node, load, parse
from generator import OPERATORS, models
from hypothesis import HealthCheck, Phase, find, given, note, settings
from hypothesis import strategies as st
from reducing import reduced
from strategies import TABLES

from gatewright.compiler.driver import compile_model
from gatewright.compiler.frontend import qdq, qonnx, standard
from gatewright.compiler.options import Options
from gatewright.errors import UserError
from gatewright.ir.design import Design

CASES = sorted((Path(__file__).parent / "cases").glob("*.json"))
EXAMPLES = 3
"""Models of every operator; `make fuzz` makes more."""
DETERMINED = settings(derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
QUANT = ("qonnx", "Quant")


def agrees(model: Description, executors: bool = False) -> str:
    with TemporaryDirectory(prefix="gatewright-fuzz-") as folder:
        return check(model, Path(folder), executors)


def test_every_operator_has_a_strategy() -> None:
    known = {"": standard.HANDLERS | qdq.HANDLERS, "qonnx": qonnx.HANDLERS, qonnx.CHANNELS_LAST: qonnx.CHANNELS_LAST_HANDLERS,
             qdq.DOMAIN: qdq.MICROSOFT}
    assert {k: set(v) for k, v in TABLES.items()} == {k: set(v) for k, v in known.items()}


@pytest.mark.parametrize("focus", OPERATORS, ids=lambda focus: ".".join(filter(None, focus)))
def test_models_agree(focus: tuple[str, str]) -> None:
    @settings(DETERMINED, max_examples=EXAMPLES)
    @given(models(focus))
    def run(model: Description) -> None:
        note(model.show())
        agrees(model, executors=len(model.nodes) % 4 == 0)

    run()


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_what_once_disagreed_agrees(case: Path) -> None:
    assert agrees(load(case), executors=True) == ""


def test_few_models_are_refused(tmp_path: Path) -> None:
    """Else the random models would test little; what may be refused is listed in `checking.REFUSALS`."""
    refused = []

    @settings(DETERMINED, max_examples=60, phases=[Phase.generate])
    @given(models())
    def run(model: Description) -> None:
        (tmp_path / "model.onnx").write_bytes(model.model().SerializeToString())
        try:
            compile_model(tmp_path / "model.onnx", Options(input_types=model.input_types))
        except UserError as error:
            refused.append(str(error))

    run()
    assert len(refused) <= 6, refused


def test_a_wrong_rounding_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """HALF_UP in place of HALF_DOWN differs at ties only: the vectors reach them."""
    monkeypatch.setitem(qonnx.ROUNDING_MODES, "HALF_DOWN", "HALF_UP")

    def wrong(model: Description) -> bool:
        try:
            agrees(model)
        except Disagreement as error:
            return "judge and Graph differ" in str(error)
        except UserError:  # reduced to what is no model
            return False
        return False

    found = find(models(QUANT, most=1), wrong, settings=settings(DETERMINED, max_examples=300, phases=[Phase.generate]))
    assert any(n.attributes.get("rounding_mode") == "HALF_DOWN" for n in found.nodes)
    assert {n.attributes.get("rounding_mode") for n in reduced(found, wrong).nodes} == {"HALF_DOWN"}


def test_a_wrong_netlist_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Description(13, {"x": Input([1, 4], type="fixed<4,2>")}, {"c": ("float32", [], [0.5])},
                        [Node("Mul", ["x", "c"], ["y"])], {"y": ("float32", 2)})
    assert agrees(model) == ""
    right = Design.evaluate
    monkeypatch.setattr(Design, "evaluate", lambda design, codes: {k: v ^ 1 for k, v in right(design, codes).items()})
    with pytest.raises(Disagreement, match="the netlist changes output y"):
        agrees(model)


@settings(DETERMINED, max_examples=20, phases=[Phase.generate])
@given(models())
def test_a_description_is_its_text(model: Description) -> None:
    assert parse(model.show()) == model
    assert parse(model.show()).model() == model.model()


@settings(DETERMINED, max_examples=5, phases=[Phase.generate])
@given(models(("", "Relu")), st.just("Relu"))
def test_reducing_keeps_what_fails(model: Description, op: str) -> None:
    small = reduced(model, lambda m: any(n.op == op for n in m.nodes))
    assert op in [n.op for n in small.nodes]
    assert len(small.nodes) <= 4
    assert len(small.outputs) == 1
