"""Builds an emulator with the C++ compiler that is there, keeps it in the user's cache, and calls it through ctypes."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import InternalError, UserError
from gatewright.ir.fixed import Ints
from gatewright.sim.result import VerificationResult, compare
from gatewright.sim.toolchain import Compiler, cache_folder, find_compiler

Array = NDArray[Any]
Progress = Callable[[str, float], None]
"""Called with what is going on and how much of it is done, 0..1."""

FLAGS = ("-std=c++17", "-fPIC", "-fvisibility=hidden", "-march=native", "-w")
"""An emulator in the cache is for this machine: all that its processor can do."""
KEPT = 20
"""Emulators in the cache; of more, those not used for the longest time go."""
_RUN: Mapping[str, Any] = {"int16": ctypes.c_int16, "int32": ctypes.c_int32, "int64": ctypes.c_int64, "float32": ctypes.c_float,
                           "float64": ctypes.c_double}
_FIELDS = dict(zip(_RUN, ("run_i16", "run_i32", "run_i64", "run_f32", "run_f64"), strict=True))


class _Port(ctypes.Structure):
    """`gatewright_port` of gatewright_emulator.h."""

    _fields_ = (("name", ctypes.c_char_p), ("type", ctypes.c_char_p), ("formula", ctypes.c_char_p),
                ("shape", ctypes.POINTER(ctypes.c_size_t)), ("rank", ctypes.c_size_t), ("elements", ctypes.c_size_t),
                ("width", ctypes.c_int), ("is_signed", ctypes.c_int), ("frac", ctypes.c_int))


class _Emulator(ctypes.Structure):
    """`gatewright_emulator` of gatewright_emulator.h."""

    _fields_ = (("abi", ctypes.c_int), ("name", ctypes.c_char_p), ("version", ctypes.c_char_p), ("gatewright", ctypes.c_char_p),
                ("latency_cycles", ctypes.c_int), ("inputs", ctypes.c_size_t), ("outputs", ctypes.c_size_t),
                ("input", ctypes.POINTER(_Port)), ("output", ctypes.POINTER(_Port)),
                *((field, ctypes.c_void_p) for field in _FIELDS.values()))


ABI = 1


class Emulator:
    """A built emulator: `library` is the shared library, `name` the design's.

    `inputs` and `outputs` are the shapes of the ports by name, `version` the SHA-256 that the firmware has as well.
    """

    def __init__(self, library: Path, name: str) -> None:
        try:
            self._library = ctypes.CDLL(str(library))
            accessor = self._library[f"{name}_emulator"]
        except (OSError, AttributeError) as error:
            raise UserError(f"'{library}' is no emulator of '{name}': {error}", remedy="Build it again") from None
        accessor.restype = ctypes.POINTER(_Emulator)
        self._facts = accessor().contents
        if self._facts.abi != ABI:
            raise UserError(f"'{library}' has the interface {self._facts.abi}, not {ABI}", remedy="Compile the model again")
        self.version = self._facts.version.decode()
        self.inputs, self.outputs = (
            {ports[i].name.decode(): tuple(ports[i].shape[k] for k in range(ports[i].rank)) for i in range(count)}
            for ports, count in ((self._facts.input, self._facts.inputs), (self._facts.output, self._facts.outputs)))

    @property
    def types(self) -> tuple[str, ...]:
        """numpy's names of the types that `run` takes: integers for codes, floats (where offered) for real values."""
        return tuple(name for name, field in _FIELDS.items() if getattr(self._facts, field))

    def run(self, inputs: Mapping[str, Array], threads: int = 0) -> dict[str, Array]:
        """Outputs [samples, *shape] for inputs [samples, *shape] of one common type, one of `types`; results have it too.

        `threads` 0 uses all processors. Raises UserError where an input is missing, misshapen, or not a value of its type.
        """
        if inputs.keys() != self.inputs.keys():
            raise UserError(f"inputs {sorted(inputs)} given where the emulator has {sorted(self.inputs)}")
        arrays = [np.ascontiguousarray(inputs[name]) for name in self.inputs]
        samples, kind = len(arrays[0]), arrays[0].dtype.name
        for array, (name, shape) in zip(arrays, self.inputs.items(), strict=True):
            if array.shape != (samples, *shape) or array.dtype.name != kind or kind not in self.types:
                raise UserError(f"input '{name}' is {array.dtype}{list(array.shape)}, not samples x {list(shape)} of one type of "
                                f"{', '.join(self.types)}")
        results = [np.empty((samples, *shape), kind) for shape in self.outputs.values()]
        pointer = ctypes.POINTER(_RUN[kind])
        function = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.POINTER(pointer), ctypes.POINTER(pointer), ctypes.c_size_t,
                                    ctypes.c_uint)(getattr(self._facts, _FIELDS[kind]))
        addresses = [(pointer * len(side))(*(a.ctypes.data_as(pointer) for a in side)) for side in (arrays, results)]
        done = function(*addresses, samples, threads)
        if done < samples:
            raise UserError(f"sample {done} has an input that is not a value of its type")
        return dict(zip(self.outputs, results, strict=True))

    def codes(self, inputs: Mapping[str, Ints], threads: int = 0) -> dict[str, Ints]:
        """Output codes int64[samples, *shape] for the codes of every input."""
        return self.run({name: np.asarray(values, np.int64) for name, values in inputs.items()}, threads)


def build(name: str, files: Mapping[str, str], *, flags: tuple[str, ...] = FLAGS, progress: Progress | None = None) -> Emulator:
    """The emulator of the design `name` from its files (`backends/emulator.py`), compiled in parallel or found in the cache.

    Raises ToolMissing without a C++ compiler, UserError where it fails.
    """
    compiler = find_compiler()
    content = [name, *flags, *compiler.command, compiler.version, _processor(), *(t for item in sorted(files.items()) for t in item)]
    key = hashlib.sha256("\0".join(content).encode()).hexdigest()[:20]
    cache = cache_folder()
    if cache is not None and (ready := cache / f"emulator-{key}.so").is_file():
        os.utime(ready)
        return Emulator(ready, name)
    with tempfile.TemporaryDirectory(prefix="gatewright-emulator-") as work:
        library = _compile(compiler, files, Path(work), flags, progress or (lambda what, done: None))
        if cache is None:
            return Emulator(library, name)  # stays loaded although its file goes
        handle, partial = tempfile.mkstemp(dir=cache)
        os.close(handle)
        shutil.copy(library, partial)
        os.replace(partial, ready)
    for old in sorted(cache.glob("emulator-*.so"), key=lambda path: -path.stat().st_mtime)[KEPT:]:
        old.unlink(missing_ok=True)
    return Emulator(ready, name)


def _compile(compiler: Compiler, files: Mapping[str, str], folder: Path, flags: tuple[str, ...], report: Progress) -> Path:
    for path, text in files.items():
        (folder / Path(path).name).write_text(text, encoding="utf-8")
    log, library = Path(tempfile.gettempdir()) / f"{folder.name}.log", folder / "emulator.so"

    def compile_unit(source: Path) -> Path:
        level = ["-O3", "-fno-trapping-math"] if source.name == "variant.cpp" else ["-O1"]
        target = source.with_suffix(".o")
        compiler.run([*flags, *level, "-c", str(source), "-o", str(target)], log, "the emulator")
        return target

    units = sorted((p for p in folder.glob("*.cpp") if p.name != "cms.cpp"), key=lambda p: -p.stat().st_size)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = []
        for done, compiled in enumerate(pool.map(compile_unit, units), 1):
            objects.append(compiled)
            report("compiling the emulator", done / len(units))
    compiler.run(["-shared", *map(str, objects), "-pthread", "-o", str(library)], log, "the emulator")
    return library


def _processor() -> str:
    """What tells processors apart that -march=native makes different code for, where the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def verify(emulator: Emulator, data: Mapping[str, Ints], expected: Mapping[str, Ints]) -> VerificationResult:
    """Does the emulator give the `expected` codes, int64[vectors, elements] by output name?"""
    vectors = len(next(iter(expected.values())))
    try:
        got = emulator.codes({name: data[name].reshape(vectors, *shape) for name, shape in emulator.inputs.items()})
    except UserError as error:
        return VerificationResult("emulator", "failed", str(error), vectors)
    if got.keys() != expected.keys():
        raise InternalError(f"the emulator has the outputs {sorted(got)}, not {sorted(expected)}")
    return compare("emulator", expected, {name: got[name].reshape(vectors, -1) for name in expected})
