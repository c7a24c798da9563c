"""`make fuzz`: as many random models as wanted. Every model that disagrees is reduced and stored as a case file."""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from checking import check
from description import Description
from generator import OPERATORS, models
from hypothesis import HealthCheck, Phase, given, seed, settings
from reducing import reduced

CASES = Path(__file__).parent / "cases"
REDUCING_SECONDS = 120


def failure(model: Description) -> str:
    """What is wrong, without names and numbers: "" where all agree, "refused: ..." where gatewright says why not."""
    with TemporaryDirectory(prefix="gatewright-fuzz-") as folder:
        try:
            reason = check(model, Path(folder), executors=True)
        except Exception as error:  # any failure is a finding
            return general(f"{type(error).__name__}: {error}")
    return reason and "refused: " + general(reason)


def general(text: str) -> str:
    return re.sub(r"'[^']*'|\b[xct]\d+\b|-?\d[\d.,]*", "*", text.splitlines()[0])[:120]


def keep(model: Description, wrong: str) -> Path:
    """Reduces the model and stores it."""
    end = time.monotonic() + REDUCING_SECONDS
    small = reduced(model, lambda m: bool(m.nodes) and time.monotonic() < end and failure(m) == wrong)
    taken = {int(p.stem.removeprefix("found_")) for p in CASES.glob("found_*.json")}
    path = CASES / f"found_{max(taken, default=0) + 1}.json"
    path.write_text(small.show(), encoding="utf-8")
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    results: Counter[str] = Counter()

    def one(model: Description) -> None:
        wrong = failure(model)
        results[wrong] += 1
        if wrong and not wrong.startswith("refused: ") and results[wrong] == 1:
            print(f"{wrong}\n  {keep(model, wrong)}", flush=True)

    for k in range(options.models):
        run = given(models(OPERATORS[k % len(OPERATORS)]))(one)
        quick = settings(max_examples=1, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
        seed(options.seed + k)(quick(run))()
    for text, count in results.most_common():
        print(f"{count:6} {text or 'agree'}")
    print(f"seed {options.seed}")
    return int(any(k and not k.startswith("refused: ") for k in results))


if __name__ == "__main__":
    sys.exit(main())
