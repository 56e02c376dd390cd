"""What a cascade takes as one ONNX file, against two sessions that Python drives.

    python -m benchmarks.one_file

resnet20 → resnet56 with random weights, which do not change the time, at a λ that sends a quarter
of the images on; both answer the same pixels in windows that alternate. Ratios below 1 say that the
file is quicker.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.engines import rates
from benchmarks.extract import seeded
from stages.cascade import Cascade
from stages.models import Target, for_engine, get, load
from stages.policy import OnnxStage, onnx_files
from stages.policy.onnx_folder import answered_by
from stages.policy.runtime import DeployedCascade
from stages.runtimes import ModelRunner, open_device, runner_of
from stages.runtimes.onnx_session import session
from stages.scores import scores_of

PAIR, SHARE, IMAGES, BATCHES = ("resnet20", "resnet56"), 0.25, 512, (1, 64)


def main() -> None:
    device = open_device("cpu", engine="onnxruntime")
    with tempfile.TemporaryDirectory() as folder:
        target = Target("onnxruntime", size=(32, 32), folder=Path(folder))
        chosen = [for_engine(seeded(get(name, "cifar10"), Path(folder)), target) for name in PAIR]
        stages = [
            OnnxStage(one.name, load(one.spec, one.weights), one.spec.preprocessing)
            for one in chosen
        ]
        runners = [runner_of(each.model, each.preprocessing, device) for each in stages]
        pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, 3, 32, 32), np.uint8)
        sure = scores_of(runners[0].logits(runners[0].upload(pixels)))["maxp"]
        limit = float(np.quantile(sure, SHARE))
        cascade = Cascade.of(PAIR, "maxp", limit)
        file = Path(folder, "cascade.onnx")
        file.write_bytes(onnx_files(stages, cascade, {})[file.name])
        opened = session(file, device.threads)
        driven = DeployedCascade("maxp", limit)
        models = [partial(_logits, runner) for runner in runners]
        for batch in BATCHES:
            parts = [pixels[at : at + batch] for at in range(0, IMAGES, batch)]
            calls = {
                "one file": lambda parts=parts: [
                    answered_by(opened, {"pixels": part}) for part in parts
                ],
                "two sessions": lambda parts=parts: [
                    driven.answer(*models, part) for part in parts
                ],
            }
            found = rates(calls, IMAGES)
            ratio = found["two sessions"] / found["one file"]
            times = ", ".join(f"{name} {1e3 / rate:.3f} ms" for name, rate in found.items())
            print(f"batch {batch:2}: {times} an image: ratio {ratio:.2f}")


def _logits(runner: ModelRunner, pixels: np.ndarray) -> np.ndarray:
    return runner.logits(runner.upload(pixels))


if __name__ == "__main__":
    main()
