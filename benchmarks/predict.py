"""What a cascade will take, predicted from the profile of its models, against what it takes.

    python -m benchmarks.predict --threads 1

In one process on real CIFAR-10 images: each repeat profiles the models and then runs six cascades
live on the next images, interleaved with the models alone. Quoted are medians over the repeats: ms
per request, from the resident input to the answer, rule included, and the deviation of predicted
from measured, which are seconds apart. With several threads torch suffers from any other process
on the machine: compare the load with the cores.

Two EPYC cores shared with other work (load 4 to 5), one thread, 640 images in 10 repeats: all six
within 7.0 % at batch 1 and 5.3 % at batch 64, within 14.0 % at batch 16 (3 of 6 within 10 %).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch

from stages.cascade import Cascade, decide
from stages.costs import Pricer, Subject, choose as choose_costs, profile_models
from stages.costs.profiling import BATCH_SIZES
from stages.datasets import open_split
from stages.energy import NoMeter
from stages.live import LiveCascade, serve_all
from stages.models import choose, load
from stages.runtimes import Runner
from stages.scores import ScoreSet, scores_of
from stages.simulate import Stream, requested, shown
from stages.simulate.stream import IDENTITY

IMAGES = Path(__file__).parents[2] / "shared" / "data" / "cifar10"
WEIGHTS = IMAGES.parent / "weights" / "cifar10"
MODELS = ("resnet20", "resnet32", "resnet56", "shufflenetv2_x0_5")
# First and second model, and the share of images that λ sends on.
CASCADES = (
    ("resnet20", "resnet56", 0.2),
    ("resnet20", "resnet32", 0.5),
    ("resnet32", "resnet56", 0.1),
    ("shufflenetv2_x0_5", "resnet56", 0.3),
    ("resnet20", "shufflenetv2_x0_5", 0.4),
    ("shufflenetv2_x0_5", "resnet20", 0.7),
)


def main() -> None:
    args = _arguments()
    if not (IMAGES.is_dir() and WEIGHTS.is_dir()):
        print(f"skipped: no images and weights in {IMAGES.parent}")
        return
    torch.set_num_threads(args.threads)
    sizes = [int(size) for size in args.batch_sizes.split(",")]
    before = os.getloadavg()[0]
    case = _Case(args.images, args.repeats)
    ran = {size: [case.repeat(size, i) for i in range(args.repeats)] for size in sizes}
    after = os.getloadavg()[0]
    print(
        f"{args.images} images in {args.repeats} repeats, torch {torch.__version__} with "
        f"{args.threads} threads on {os.cpu_count()} cores, load {before:.1f} to {after:.1f}"
    )
    for size, repeats in ran.items():
        _table(size, repeats)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--batch-sizes", default="1,16,64")
    return parser.parse_args()


class _Case:
    """The models, the images, and the cascades with their λ."""

    def __init__(self, images: int, repeats: int) -> None:
        device = torch.device("cpu")
        self.source = open_split("cifar10", "test", str(IMAGES))
        self.limit, self.each = images, images // repeats
        chosen = choose("cifar10", MODELS, directory=str(WEIGHTS))
        self.runners = {
            one.name: Runner.of(load(one.spec, one.weights), one.spec.preprocessing, device)
            for one in chosen
        }
        self.subjects = [
            Subject(name, "torch-fp32-cpu", runner, (3, 32, 32), None, None)
            for name, runner in self.runners.items()
        ]
        self.scores = self._scores()
        self.cascades = [self._cascade(a, b, share) for a, b, share in CASCADES]

    def repeat(self, size: int, i: int) -> dict[str, tuple[float, float]]:
        """By contender ms per request, predicted and measured, on the i-th share of the images."""
        at = np.arange(i * self.each, (i + 1) * self.each)
        part = Stream(at, np.zeros(len(at), np.int8))
        sizes = [each for each in BATCH_SIZES if each <= size]
        rows = profile_models(self.subjects, [NoMeter("not asked for")], sizes)
        found = choose_costs(rows, {}, MODELS, "latency")
        if found is None:
            raise RuntimeError("the profile has no latency")
        pricer = Pricer(requested({IDENTITY: self.scores}, part), found, size)
        running, predicted = self._contenders(pricer)
        served = serve_all(shown(self.source, part), running, size)
        return {name: (predicted[name], served[name].ms_per_request) for name in running}

    def _contenders(self, pricer: Pricer) -> tuple[dict[str, LiveCascade], dict[str, float]]:
        running, predicted = {}, {}
        for name, runner in self.runners.items():
            running[name] = LiveCascade(Cascade.of((name,)), [runner])
            predicted[name] = pricer.model(name).value
        for one in self.cascades:
            name = " → ".join(one.models)
            running[name] = LiveCascade(one, [self.runners[model] for model in one.models])
            stage = decide(pricer.scores, one).stage
            predicted[name] = pricer.request(one.models, stage).value
        return running, predicted

    def _scores(self) -> ScoreSet:
        """The models' answers and scores on the images, as the cache would hold them."""
        pixels = {runner.preprocessing for runner in self.runners.values()}
        [preprocessing] = pixels
        batch = np.stack([preprocessing.pixels(self.source.read(i)) for i in range(self.limit)])
        found = [
            scores_of(runner.logits(runner.upload(batch)).numpy())
            for runner in self.runners.values()
        ]
        labels = self.source.labels[: self.limit]
        predictions = np.stack([each["prediction"] for each in found])
        return ScoreSet(
            dataset="cifar10",
            split="test",
            models=MODELS,
            sample_ids=np.arange(self.limit),
            labels=labels,
            predictions=predictions,
            correct=predictions == labels,
            scores={"maxp": np.stack([each["maxp"] for each in found])},
            manifests=(),
        )

    def _cascade(self, a: str, b: str, share: float) -> Cascade:
        s_a = self.scores.score("maxp", self.scores.index(a))
        return Cascade.of((a, b), "maxp", float(np.quantile(s_a, share)))


def _table(size: int, repeats: list[dict[str, tuple[float, float]]]) -> None:
    print(f"\nbatch {size:<34}predicted   measured   deviation (ms per request)")
    off = []
    for name in repeats[0]:
        pairs = np.array([each[name] for each in repeats])
        predicted, measured = np.median(pairs, axis=0)
        deviation = np.median(pairs[:, 0] / pairs[:, 1]) - 1
        off += [abs(deviation)] if "→" in name else []
        print(f"  {name:<36} {predicted:9.4f}  {measured:9.4f}   {deviation:+8.1%}")
    within = sum(each <= 0.1 for each in off)
    print(f"  {within} of {len(off)} cascades within 10 %, the worst {max(off):.1%}")


if __name__ == "__main__":
    main()
