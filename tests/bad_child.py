"""Compiles every bad and hostile model in this one process, under limits, and prints what came of each as JSON.

Usage: python bad_child.py FOLDER [NAME...]: two lines a model, its name before it is read, and then
{"name", "seconds" (CPU), "exception" (type), "message", "remedy", "lacks" (words missing in the message)}.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from bad_models import BAD
from hostile_models import HOSTILE

from gatewright.compiler.driver import compile_model
from gatewright.errors import UserError

MEMORY = 1 << 30
SECONDS = 5


def main(folder: Path, names: list[str]) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    for name, make in (BAD | HOSTILE).items():
        if names and name not in names:
            continue
        (folder / name).mkdir()
        path, words = make(folder / name)
        start = time.process_time()
        resource.setrlimit(resource.RLIMIT_CPU, (int(start) + SECONDS + 2, resource.RLIM_INFINITY))
        print(json.dumps(name), flush=True)  # if the system ends this process, the last line says at what
        error = None
        try:
            compile_model(path)
        except BaseException as raised:
            error = raised
        kind = "UserError" if isinstance(error, UserError) else type(error).__name__
        result = {"name": name, "seconds": time.process_time() - start, "exception": kind,
                  "message": str(error), "remedy": getattr(error, "remedy", None),
                  "lacks": [w for w in words if w.lower() not in str(error).lower()]}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
