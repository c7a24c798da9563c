"""The emulator: the same codes as the netlist, its C interface, its CMake package, and modules as CMS's software loads them."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from netlists import design_of, random_inputs, random_netlist

import gatewright
from gatewright.backends.emulator import emit
from gatewright.compiler import run as running
from gatewright.compiler.data import _on_grid
from gatewright.errors import ToolMissing, UserError
from gatewright.ir.design import Design
from gatewright.ir.fixed import Cast
from gatewright.ir.graph import Meaning
from gatewright.ir.netlist import NetlistBuilder
from gatewright.sim import emulator
from gatewright.sim.emulator import Emulator, build

HERE = Path(__file__).parent / "emulator"
DIGITS = Path(__file__).parents[2] / "examples" / "digits"
CMS = Path(__file__).parents[3] / "shared" / "models" / "cms"
HEADER = {"gatewright": "0.1", "model": "dut.onnx", "sha256": "abc", "part": "xcvu13p-flga2577-2-e", "clock_ns": 5.0}
BASELINE = tuple(flag for flag in emulator.FLAGS if flag != "-march=native")

pytestmark = pytest.mark.skipif(not shutil.which("g++") and not shutil.which("clang++"), reason="needs a C++ compiler")


def files_of(design: Design, casts: dict[str, str] | None = None) -> dict[str, str]:
    """The emulator of a bare design: its inputs have no quantisers, its outputs mean what their types say."""
    inputs = [SimpleNamespace(name=p.name) for p in design.inputs]
    outputs = [SimpleNamespace(name=p.name, meaning=Meaning(np.array(Fraction(2) ** -p.type.frac, object), np.array(0, object)))
               for p in design.outputs]
    graph: Any = SimpleNamespace(input_ops=inputs, outputs=outputs)
    return emit(design, graph, HEADER | {"input_casts": casts or {}, "latency_cycles": design.latency_cycles})


@pytest.fixture(scope="module")
def dut() -> tuple[Design, Emulator]:
    design = design_of(random_netlist(3, rows=200))
    return design, build(design.name, files_of(design))


def codes_of(design: Design, samples: int, seed: int = 1) -> dict[str, Any]:
    return random_inputs(design.kernels[0].netlist, samples, seed)


@pytest.mark.parametrize(("seed", "flags"), [(1, emulator.FLAGS), (2, BASELINE)], ids=["native", "baseline"])
def test_every_row_has_the_netlists_value(seed: int, flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewright.backends.emulator_kernel.CHUNK_ROWS", 40)  # values cross from chunk to chunk
    design = design_of(random_netlist(seed, rows=250, every=True))
    assert {lanes for lanes in ("L16", "L32", "L64") if any(lanes in text for text in files_of(design).values())} == {"L16", "L32", "L64"}
    codes = codes_of(design, 100)
    result = emulator.verify(build(design.name, files_of(design), flags=flags), codes, design.evaluate(codes))
    assert (result.status, result.vectors) == ("passed", 100)


def test_a_wrong_code_is_told(dut: tuple[Design, Emulator]) -> None:
    design, built = dut
    codes = codes_of(design, 50)
    expected = {name: values.copy() for name, values in design.evaluate(codes).items()}
    expected["y"][33, 2] += 1
    result = emulator.verify(built, codes, expected)
    assert result.first_mismatch is not None
    assert (result.status, result.mismatching_values, result.first_mismatch.vector, result.first_mismatch.element) == ("failed", 1, 33, 2)


@pytest.mark.parametrize("samples", [1, 31, 5000])
@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_and_threads_give_every_sample(dut: tuple[Design, Emulator], samples: int, threads: int) -> None:
    design, built = dut
    codes = codes_of(design, samples)
    expected, got = design.evaluate(codes), built.codes(codes, threads)
    assert all(np.array_equal(expected[name], got[name]) for name in expected)


@pytest.mark.parametrize("sample", [0, 70, 4321])
def test_a_code_outside_its_type_stops_at_its_sample(dut: tuple[Design, Emulator], sample: int) -> None:
    design, built = dut
    codes = codes_of(design, 5000)
    codes["x"][sample, 1] = design.kernels[0].netlist.hi[1] + 1
    with pytest.raises(UserError, match=rf"^sample {sample} has an input"):
        built.codes(codes, threads=2)
    codes["x"][sample, 1] = codes["x"][0, 1] + (1 << 32)  # equal in its low bits
    with pytest.raises(UserError, match=rf"^sample {sample} has an input"):
        built.codes(codes, threads=1)


def test_misshapen_inputs_are_refused(dut: tuple[Design, Emulator]) -> None:
    design, built = dut
    codes = codes_of(design, 3)
    for wrong in ({"x": codes["x"]}, codes | {"x": codes["x"][:, :2]}, codes | {"x": codes["x"].astype(np.uint8)}):
        with pytest.raises(UserError, match="input"):
            built.run(wrong)


MODES = ("TRN", "TRN_ZERO", "RND", "RND_INF", "RND_ZERO", "RND_MIN_INF", "RND_CONV")


def test_real_values_become_codes_in_every_mode() -> None:
    """One input for every rounding and overflow mode, all of the same values; the codes are those that exact numbers give."""
    casts = {f"{q} {o}": Cast.parse(f"fixed<6,3,{q},{o}>") for q in MODES for o in ("SAT", "SAT_SYM", "WRAP")}
    b = NetlistBuilder("casts")
    b.origin("in")
    for name in casts:
        b.output(f"{name} out", b.input(name, [-32], [31]))
    design = design_of(b.build())
    built = build(design.name, files_of(design, {name: str(cast) for name, cast in casts.items()}))
    values = np.concatenate([np.arange(-200, 200) / 32, [-1e300, 1e300, 1e-300, -1e-300, 0.0625 + 2.0**-50, -0.0]])
    values = np.append(values, np.nextafter(0.0625, 0))[:, None]
    got = built.run(dict.fromkeys(casts, values))
    for name, cast in casts.items():
        op: Any = SimpleNamespace(name=name)
        ok = np.abs(values[:, 0]) < 1e200 if cast.overflow == "WRAP" else np.full(len(values), True)
        assert np.array_equal(got[f"{name} out"][ok], _on_grid(op, values[ok], cast)), name
    for bad in (np.nan, np.inf):
        with pytest.raises(UserError, match="sample 1"):
            built.run({name: np.array([[0.0], [bad]]) for name in casts})


def test_a_model_from_python_in_codes_and_real_values(tmp_path: Path) -> None:
    model = gatewright.compile(DIGITS / "digits.onnx", tmp_path / "out", backend=("verilog", "emulator"))
    assert {"emulator.cpp", "cms.cpp", "CMakeLists.txt", "part0.cpp"} <= {p.name for p in (tmp_path / "out/design/emulator").iterdir()}
    assert model.verify("emulator", vectors=500).status == "passed"
    built, (port,) = model.emulator(), model.project.design.inputs
    assert built.version == model.project.manifest["sha256"]
    x = np.load(DIGITS / "digits_test.npz")["x"].reshape(-1, *port.shape)
    results = model.run({port.name: x})
    got = built.run({port.name: x.astype(np.float64)})
    output = model.project.graph.outputs[0].name
    codes = {k: v[:40] for k, v in results.items()}
    assert np.array_equal(got[output][:40].astype(np.float32), codes[output].reshape(got[output][:40].shape).astype(np.float32))


def test_without_a_compiler_run_computes_in_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing() -> None:
        raise ToolMissing("there is no C++ compiler")

    project = gatewright.compile(DIGITS / "digits.onnx", tmp_path / "out").project
    emulated = running.run(project, DIGITS / "digits_test.npz")
    monkeypatch.setattr(emulator, "find_compiler", missing)
    computed = running.run(project, DIGITS / "digits_test.npz")
    assert (emulated.emulated, computed.emulated) == (True, False)
    assert [w for w in computed.warnings if w not in emulated.warnings] == ["computed in Python, slowly: there is no C++ compiler."]
    assert all(np.array_equal(emulated.outputs[k], computed.outputs[k]) for k in computed.outputs)


def test_it_is_built_once_and_again_when_it_is_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made: list[str] = []
    monkeypatch.setattr(emulator, "_compile", lambda compiler, files, folder, flags, report: made.append(files["a"]) or made_in(folder))
    monkeypatch.setattr(emulator, "Emulator", lambda library, name: library)

    def made_in(folder: Path) -> Path:
        (folder / "emulator.so").write_text("")
        return folder / "emulator.so"

    first, again, other = (build("dut", {"a": text}) for text in ("1", "1", "2"))
    assert (first == again != other, made) == (True, ["1", "2"])


# -- what others build -----------------------------------------------------------------------------------------------------


def cmake(source: Path, folder: Path, *options: str) -> None:
    for command in (["cmake", "-S", source, "-B", folder, *options], ["cmake", "--build", folder]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def write(files: dict[str, str], folder: Path) -> Path:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder / "emulator"


@pytest.mark.skipif(not shutil.which("cmake"), reason="needs cmake")
def test_the_cmake_package_serves_a_program_in_c(tmp_path: Path) -> None:
    b = NetlistBuilder("dut")
    b.origin("in")
    x = b.input("x", [-4] * 3, [3] * 3)
    b.output("y", b.sum1(x, 1, imm=[5, -6, 7]))
    design = design_of(b.build())
    source = write(files_of(design), tmp_path)
    cmake(source, tmp_path / "build", f"-DCMAKE_INSTALL_PREFIX={tmp_path}/installed", "-DBUILD_SHARED_LIBS=ON")
    subprocess.run(["cmake", "--install", tmp_path / "build"], check=True, capture_output=True)
    cmake(HERE / "consumer", tmp_path / "consumer", f"-DCMAKE_PREFIX_PATH={tmp_path}/installed")
    said = subprocess.run([tmp_path / "consumer/consumer"], check=True, capture_output=True, text=True).stdout.splitlines()
    assert said == [f"dut abc {design.latency_cycles} 1", f"y {design.outputs[0].type!r} 5 -6 7"]


@pytest.mark.skipif(not shutil.which("cmake"), reason="needs cmake")
@pytest.mark.skipif(not CMS.is_dir(), reason=f"the published models are not in {CMS}")
def test_modules_of_two_versions_side_by_side_give_the_golden_vectors(tmp_path: Path) -> None:
    """Both versions of CMS's anomaly trigger, under one name, loaded by a program that knows the abstract class only."""
    arguments, expected = [], []
    for version in (1, 3):
        folder, golden = tmp_path / f"v{version}", np.load(CMS / f"axol1tl_v{version}" / "golden.npz")
        gatewright.compile(CMS / f"axol1tl_v{version}" / "model.onnx", folder, input_type="fixed<8,6,RND_CONV,SAT>", name="axol1tl",
                           backend=("emulator",))
        cmake(folder / "design/emulator", tmp_path / f"b{version}", f"-DMODEL_VERSION={version}", f"-DCMS_EMULATOR_INCLUDE={HERE}",
              "-DGATEWRIGHT_VARIANTS=OFF")
        values = {key: np.ldexp(golden[f"{key}_raw"].astype(float), int(t[1]) - int(t[0]))
                  for key in ("x", "y", "score") for t in [golden[f"{key}_type"]]}
        values["x"].tofile(folder / "in")
        outputs = [values[key].reshape(len(values["x"]), -1) for key in ("y", "score")]
        arguments += [tmp_path / f"b{version}/axol1tl_v{version}.so", folder / "in", folder / "out", str(values["x"].shape[1]),
                      ",".join(str(o.shape[1]) for o in outputs)]
        expected.append((folder / "out", np.concatenate(outputs, axis=1)))
    subprocess.run(["g++", "-std=c++17", f"-I{HERE}", HERE / "loader.cpp", "-ldl", "-o", tmp_path / "loader"], check=True)
    subprocess.run([tmp_path / "loader", *arguments], check=True)
    for path, want in expected:
        assert want.shape[0] == 4000
        assert np.array_equal(np.fromfile(path).reshape(want.shape), want)
