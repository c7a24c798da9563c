"""RTL simulation under cocotb 2: a test that a user can open, run without gatewright and extend, and what it finds."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import jinja2

from gatewright.errors import InternalError, ToolMissing, UserError
from gatewright.ir.fixed import Ints
from gatewright.sim.ports import Rtl, check_names
from gatewright.sim.result import VerificationResult
from gatewright.sim.toolchain import find_verilator

TEMPLATES = Path(__file__).parent.parent / "templates" / "sim"
FOLDER = "cocotb"
REMEDY = "Install it with: pip install 'gatewright[sim]'"


def testbench(rtl: Rtl, data: Mapping[str, Ints], expected: Mapping[str, Ints]) -> dict[str, str]:
    """The files of `cocotb/` in a design folder: test, runner, and a few vectors to start with. `{path: text}`.

    `rtl.sources` are relative to the design folder, `rtl.latency_cycles` is known; `data` and `expected` are
    int64[vectors, elements] by input and output name.
    """
    if rtl.latency_cycles is None:
        raise InternalError("a testbench must know the latency that it checks")
    module = f"test_{rtl.top}"
    values = {"top": rtl.top, "module": module, "latency_cycles": rtl.latency_cycles, "inputs": rtl.inputs,
              "outputs": rtl.outputs, "sources": [source.as_posix() for source in rtl.sources]}
    files = {f"{module}.py": "cocotb_test.py.j2", "run.py": "cocotb_run.py.j2", "ports.vlt": "cocotb_ports.vlt.j2"}
    texts = {f"{FOLDER}/{path}": _render(template, values) for path, template in files.items()}
    return {**texts, f"{FOLDER}/vectors.json": vectors_json(rtl, data, expected)}


def vectors_json(rtl: Rtl, data: Mapping[str, Ints], expected: Mapping[str, Ints]) -> str:
    """The vectors as the testbench reads them."""
    check_names(rtl.inputs, "inputs", list(data))
    check_names(rtl.outputs, "outputs", list(expected))
    return json.dumps({"inputs": {port.name: data[port.name].tolist() for port in rtl.inputs},
                       "expected": {port.name: expected[port.name].tolist() for port in rtl.outputs}}) + "\n"


def run(design_dir: Path, rtl: Rtl, data: Mapping[str, Ints], expected: Mapping[str, Ints], work_dir: Path, *,
        seed: int = 1) -> VerificationResult:
    """Run the testbench that lies in `design_dir` on these vectors; everything that is made goes to `work_dir`.

    What an earlier run has compiled there is used again where the sources are the same.
    Raises ToolMissing; UserError where make cannot work; InternalError where the testbench does not come to an end.
    """
    check_tools()
    build = work_dir.resolve() / "cocotb"
    if " " in str(build):
        raise UserError(f"make cannot work in a folder with a space in its name: {build}", remedy="Use another folder")
    build.mkdir(parents=True, exist_ok=True)
    (build / "result.json").unlink(missing_ok=True)
    vectors = build / "vectors.json"
    vectors.write_text(vectors_json(rtl, data, expected))
    start = time.monotonic()
    command = [sys.executable, str(design_dir.resolve() / FOLDER / "run.py"), "--vectors", str(vectors), "--build",
               str(build), "--seed", str(seed)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}  # the design folder stays as it was written
    done = subprocess.run(command, capture_output=True, text=True, cwd=build, env=environment, check=False)
    (build / "run.log").write_text(done.stdout + done.stderr)
    return _result(build, done, time.monotonic() - start)


def check_tools() -> None:
    """Raises ToolMissing unless everything is there that cocotb needs to run Verilator."""
    if not importlib.util.find_spec("cocotb_tools"):
        raise ToolMissing("cocotb is not installed", remedy=REMEDY)
    find_verilator()
    for program, package in (("make", "make"), ("perl", "perl"), ("c++", "g++")):
        if not shutil.which(program):
            raise ToolMissing(f"there is no {program}, which cocotb needs", remedy=f"Install it: apt install {package}")
    from find_libpython import find_libpython
    if find_libpython() is None:
        raise ToolMissing("this Python has no shared library, which cocotb needs",
                          remedy="Use a Python that has one: Debian's python3 with libpython3-dev, or one from conda")


def _result(build: Path, done: subprocess.CompletedProcess[str], seconds: float) -> VerificationResult:
    """What the test wrote, if it came to its end; failed if any test failed."""
    try:
        told = json.loads((build / "result.json").read_text())
    except FileNotFoundError:
        errors = [line for line in (done.stdout + done.stderr).splitlines() if "rror" in line]
        raise InternalError(f"the cocotb test did not come to its end: {(errors or ['no message'])[0].strip()}; "
                            f"see {build / 'run.log'}") from None
    if done.returncode and not told["reason"]:
        told["reason"] = f"a cocotb test failed, see {build / 'run.log'}"
    status = "failed" if told["reason"] else "passed"
    return VerificationResult.from_json({**told, "level": "cocotb", "status": status, "seconds": seconds})


def _render(template: str, values: Mapping[str, object]) -> str:
    text = (TEMPLATES / template).read_text()
    return str(jinja2.Template(text, undefined=jinja2.StrictUndefined, keep_trailing_newline=True).render(values))
