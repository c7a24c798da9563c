"""How long C simulation takes to build, beside hls4ml's. Usage: python -m benchmarks.csim MODEL.onnx [TYPE]

CPU seconds of the compiler for `make csim` in the output folder, per dialect and kernel, and the largest memory of one compiler
process so far. Where hls4ml is installed with all that it needs, its C simulation of the same model is built too.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import gatewright
from benchmarks.speed import cpu_seconds


def build(path: Path, input_type: str | None, backend: str, kernel: str) -> dict[str, Any]:
    """One row of figures."""
    model = gatewright.compile(path, input_type=input_type, backend=(backend,), kernel=kernel)
    level = "-O0" if kernel == "adders" else "-O1"
    folder = model.folder / "design" / backend
    command = ["make", "-s", "-C", str(folder), "csim", f"CXXFLAGS={level} -w"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    seconds, _ = cpu_seconds(lambda: subprocess.run(command, check=True, capture_output=True, env=environment))
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    return {"tool": "gatewright", "backend": backend, "kernel": kernel, "flags": level, "csim_build_cpu_s": seconds, "memory_mb": memory}


def build_hls4ml(path: Path) -> dict[str, Any]:
    """hls4ml's own build, with the settings of its converter."""
    import hls4ml
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.util.cleanup import cleanup_model

    model = cleanup_model(ModelWrapper(str(path)))
    config = hls4ml.utils.config_from_onnx_model(model, granularity="name", backend="Vivado", default_precision="fixed<16,6>")
    with tempfile.TemporaryDirectory() as folder:
        project = hls4ml.converters.convert_from_onnx_model(model, hls_config=config, backend="Vivado", output_dir=folder)
        project.write()
        seconds, _ = cpu_seconds(project._compile)
    return {"tool": "hls4ml", "csim_build_cpu_s": seconds}


def main() -> None:
    path, input_type = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
    for kernel in ("loops", "adders"):
        for backend in ("hls-ac", "hls"):
            print(json.dumps(build(path, input_type, backend, kernel)), flush=True)
    if all(importlib.util.find_spec(name) for name in ("hls4ml", "h5py", "quantizers")):
        print(json.dumps(build_hls4ml(path)), flush=True)


if __name__ == "__main__":
    main()
