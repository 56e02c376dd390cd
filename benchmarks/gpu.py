"""What a GPU shows of the predictions: four models, and twelve cascades predicted and measured.

    make bench-gpu
    python -m benchmarks.gpu [--device cuda:1] [--out FILE]
    python -m benchmarks.gpu --device cpu --dry-run --out FILE

Measured on the GPU that is there, in under eight minutes: latency and joules, gross and above idle,
of four CIFAR models at batch 1, 16 and 64; of twelve cascades of them, interleaved with the models
alone; beside each what the profile predicts, and what is saved against the second model alone; and
how close extraction comes to its floor. Windows hold at least 20 of the sensor's ticks but are
shorter than 5 s, and few: each such row says so. Written to benchmarks/results/GPU.json; targets
are reported, never asserted. The dry run takes the same path with tiny settings, for the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cache import InputError

RESULTS = Path(__file__).with_name("results")


def main(words: Sequence[str] | None = None) -> int:
    """The exit code: 2, with one line, where nothing can be measured."""
    args = _arguments(words)
    try:
        result = measured(args)
    except InputError as error:
        print(f"bench-gpu: {error}", file=sys.stderr)
        return 2
    path = Path(args.out or RESULTS / f"{slug(result['device']['name'])}.json")
    write(path, result)
    for line in summary(result):
        print(line)
    print(f"{result['seconds']:.0f} s, written to {path}")
    return 0


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda", help="which GPU [default: the first]")
    parser.add_argument("--dry-run", action="store_true", help="tiny settings, any device")
    parser.add_argument("--out", help="where to write [default: benchmarks/results/GPU.json]")
    return parser.parse_args(words)


def measured(args: argparse.Namespace) -> dict[str, Any]:
    """Everything that the file holds. InputError where nothing can be measured."""
    if args.dry_run and not args.out:
        raise InputError("a dry run measures nothing worth keeping: give --out FILE")
    if not (args.dry_run or args.device.startswith("cuda")):
        raise InputError(f"{args.device} is no GPU: add --dry-run to try the benchmark out")
    _require_gpu(args.device)
    from benchmarks import gpu_run
    from stages.energy import open_meters
    from stages.runtimes import open_device

    begun = time.perf_counter()
    device = open_device(args.device)
    plan = gpu_run.DRY if args.dry_run else gpu_run.FULL
    meters = open_meters([device], prefer=None if device.type == "cuda" else "none")
    try:
        with tempfile.TemporaryDirectory() as folder:
            result = gpu_run.run(device, plan, meters, Path(folder))
    finally:
        for meter in meters:
            meter.close()
    return result | {"dry_run": args.dry_run, "seconds": time.perf_counter() - begun}


def _require_gpu(device: str) -> None:
    try:
        import torch
    except ImportError as error:
        raise InputError(f"{error}: give PYTHON, an interpreter that has torch") from error
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"no CUDA GPU: torch {torch.__version__} sees none; nothing is measured")


def slug(name: str) -> str:
    """A file name.

    >>> slug("NVIDIA H100 80GB HBM3")
    'nvidia-h100-80gb-hbm3'
    """
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")


def write(path: Path, result: dict[str, Any]) -> None:
    """Whole or not at all."""
    text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def summary(result: dict[str, Any]) -> list[str]:
    """A line for what was measured on, and one for each target."""
    sensor = result["sensors"][0]
    seen = sensor["source"] if sensor["tick_s"] is None else "{source}, tick {tick_s:.3g} s"
    lines = [f"{result['device']['name']}: {seen.format(**sensor)}"]
    for each in result["targets"]:
        verdict = {True: "pass", False: "fail", None: "unknown"}[each["passed"]]
        figure = "" if each["figure"] is None else f": {each['figure']:.3g} {each['unit']}".rstrip()
        count = f" ({each['within']} of {each['of']} within)" if each["passed"] is not None else ""
        lines.append(f"  {verdict:<8} {each['target']}{figure}{count}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
