"""Export every architecture to ONNX with seeded weights, and run it beside torch.

Output: a table of exporter, seconds, megabytes, and the largest difference of a logit from torch's,
relative to the largest; exit code 1 if a model cannot be exported, differs by more than the export
allows, or does not take a batch of none, one and three. Files lie in a temporary folder.

    python -m tools.onnx_exports [--models resnet20,swin_t]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from cache import InputError
from cascade_cli.show.text import print_table, say
from stages.models import Chosen, ModelSpec, Target, find, for_engine, load, specs
from stages.runtimes import open_device, runner_of
from tools.seed_weights import write

DATASETS, CIFAR = ("cifar10", "imagenet"), (32, 32)
BATCHES = (0, 1, 3)
COLUMNS = {
    "dataset": "dataset",
    "model": "model",
    "exporter": "exporter",
    "opset": "opset",
    "seconds": "seconds:.1f",
    "megabytes": "MB:.1f",
    "difference": "difference:.1e",
    "fault": "fault",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", help="names separated by commas; all of them by default")
    given = parser.parse_args()
    names = given.models.split(",") if given.models else None
    wanted = [each for each in specs() if each.dataset in DATASETS]
    wanted = [each for each in wanted if names is None or each.name in names]
    rows = []
    for i, spec in enumerate(wanted, 1):
        rows.append(row(spec))
        say(f"{i} of {len(wanted)}: {spec.name} {rows[-1]['fault'] or 'exported'}")
    print_table(rows, COLUMNS)
    right = sum(row["fault"] is None for row in rows)
    print(f"{right} of {len(rows)} architectures")
    sys.exit(int(right < len(rows)))


def row(spec: ModelSpec) -> dict[str, Any]:
    found: dict[str, Any] = {"dataset": spec.dataset, "model": spec.name, "fault": None}
    with tempfile.TemporaryDirectory() as folder:
        one = Chosen(spec.name, spec, find(spec, write(spec, Path(folder))))
        begun = time.perf_counter()
        try:
            made = for_engine(one, Target("onnxruntime", size=CIFAR, folder=Path(folder, "onnx")))
        except InputError as error:
            return found | {"fault": str(error)}
        found["seconds"] = time.perf_counter() - begun
        [path] = Path(folder, "onnx").glob("*.onnx")
        about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        found |= {key: about[key] for key in ("exporter", "opset", "difference")}
        return found | {"megabytes": path.stat().st_size / 1e6, "fault": batches_fault(made)}


def batches_fault(made: Chosen) -> str | None:
    """What is wrong with batches of other sizes than the exporter saw, None where nothing is."""
    seen = made.spec.preprocessing
    runner = runner_of(
        load(made.spec, made.weights), seen, open_device("cpu", engine="onnxruntime")
    )
    shape = (len(seen.mean), *(seen.size or CIFAR))
    pixels = np.random.default_rng(0).integers(0, 256, (max(BATCHES), *shape), np.uint8)
    whole = np.asarray(runner.logits(runner.upload(pixels)))
    for size in BATCHES:
        logits = np.asarray(runner.logits(runner.upload(pixels[:size])))
        if logits.shape != (size, made.spec.classes):
            return f"batch {size} gives {logits.shape}"
        if not np.allclose(logits, whole[:size], rtol=0, atol=1e-4 * np.abs(whole).max()):
            return f"batch {size} gives other logits"
    return None


if __name__ == "__main__":
    main()
