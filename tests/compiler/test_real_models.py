"""Published networks, bit for bit: the jet tagger, CMS's anomaly triggers with their golden vectors, and the model zoo."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judged import differing

from gatewright.compiler.driver import compile_model
from gatewright.compiler.frontend.importer import import_model
from gatewright.compiler.options import Options
from gatewright.compiler.project import Project, write
from gatewright.compiler.verify import verify

MODELS = Path(__file__).resolve().parents[3] / "shared" / "models"
pytestmark = [pytest.mark.skipif(not MODELS.is_dir(), reason="the models in ../shared/models are not here"),
              pytest.mark.filterwarnings("ignore:the arrays? .* not used")]


@dataclass(frozen=True)
class Network:
    """A model under MODELS; `golden` holds inputs and expected outputs, `vectors` counts random inputs where there is none."""

    file: str
    input_type: str
    vectors: int | None = None
    golden: str | None = None
    given: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "given", {"data": MODELS / self.golden} if self.golden else {"vectors": self.vectors})

    def __str__(self) -> str:
        return f"{self.file.removesuffix('.onnx').removesuffix('/model').split('/')[-1]} {self.input_type}"


TRIGGERS = [Network(f"cms/axol1tl_{v}/model.onnx", "fixed<8,6>", golden=f"cms/axol1tl_{v}/golden.npz") for v in ("v1", "v3")]
JETS = [Network("zoo/qkeras_jettagging.onnx", kind, vectors=2000) for kind in ("fixed<16,6>", "fixed<8,4>")]
ZOO = [Network("zoo/TFC_2W2A.onnx", "ufixed<8,0>", vectors=32),
       Network("zoo/unsw_nb15-mlp-w2a2.onnx", "ufixed<1,1>", vectors=64)]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Project]:
    """Output folders by network, each compiled once."""
    return {}


def project(network: Network, compiled: dict[str, Project], folder: Path) -> Project:
    if str(network) not in compiled:
        made = compile_model(MODELS / network.file, Options(input_type=network.input_type))
        compiled[str(network)] = write(made, folder / "out")
    return compiled[str(network)]


@pytest.mark.parametrize("level", ["reference", "netlist"])
@pytest.mark.parametrize("network", [*TRIGGERS, *JETS, *ZOO], ids=str)
def test_no_bit_differs(network: Network, level: str, compiled: dict[str, Project], tmp_path: Path) -> None:
    result = verify(project(network, compiled, tmp_path), level, **network.given)
    assert (result.status, result.mismatching_values) == ("passed", 0)
    assert result.vectors == (4000 if network.golden else network.vectors)


@pytest.mark.parametrize("network", [*TRIGGERS, *JETS], ids=str)
def test_no_bit_of_the_emulator_differs(network: Network, compiled: dict[str, Project], tmp_path: Path) -> None:
    result = verify(project(network, compiled, tmp_path), "emulator", **network.given)
    assert (result.status, result.mismatching_values) == ("passed", 0)


@pytest.mark.parametrize("network", [*TRIGGERS, *JETS], ids=str)
def test_no_bit_of_the_rtl_differs(network: Network, compiled: dict[str, Project], tmp_path: Path) -> None:
    made = project(network, compiled, tmp_path)
    result = verify(made, "rtl", **network.given)
    assert (result.status, result.mismatching_values, result.ii) == ("passed", 0, 1)
    assert result.latency_cycles == made.design.latency_cycles


@pytest.mark.parametrize("network", TRIGGERS, ids=str)
def test_a_golden_vector_that_is_off_by_one_fails(network: Network, compiled: dict[str, Project], tmp_path: Path) -> None:
    with np.load(network.given["data"]) as file:
        arrays = dict(file)
    arrays["score_raw"][1234] += 1
    np.savez(tmp_path / "wrong.npz", **arrays)
    result = verify(project(network, compiled, tmp_path), "netlist", data=tmp_path / "wrong.npz")
    assert (result.status, result.mismatching_vectors, result.mismatching_values) == ("failed", 1, 1)
    assert result.first_mismatch is not None
    assert (result.first_mismatch.vector, result.first_mismatch.output) == (1234, "score")


@pytest.mark.parametrize(("name", "input_type", "low", "high", "steps"), [
    ("TFC_1W1A", "ufixed<8,0>", 0, 255 / 256, 256), ("TFC_1W2A", "ufixed<8,0>", 0, 255 / 256, 256),
    ("kwsmlp_w3a3", None, -2, 2, 99)])
def test_imported_codes_equal_the_judges(name: str, input_type: str | None, low: float, high: float, steps: int) -> None:
    """The larger ones, up to the Graph."""
    path = MODELS / "zoo" / f"{name}.onnx"
    imported = import_model(path, Options(input_type=input_type).types())
    (op,) = imported.graph.input_ops
    values = np.linspace(low, high, steps)
    feeds = {op.name: np.random.RandomState(0).choice(values, (6, *op.type.shape))}
    assert differing(imported, path, feeds) == []


@pytest.mark.parametrize("name", ["qdq_s8s8_pc", "qop_u8s8"])
def test_softmax_of_onnxruntime(name: str) -> None:
    """QuantizeLinear behind a Softmax, and QLinearSoftmax: the judge's codes, and the real function's own."""
    path = MODELS / "exported" / f"ortq_mlp_bn_sigmoid_softmax_{name}.onnx"
    imported = import_model(path)
    with np.load(path.with_suffix(".npz")) as file:
        feeds = {imported.graph.input_ops[0].name: file["x"][:24]}
    assert differing(imported, path, feeds) == []
    assert [a.parameters for a in imported.approximations.values()] == [{"bits": 18}]
    assert differing(replace(imported, approximations={}), path, feeds) == []
