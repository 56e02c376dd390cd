"""A cascade served for real, beside its models alone; which needs their engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cache import Store
from cascade_cli import options as opt
from cascade_cli.inputs.dataset import open_sources
from cascade_cli.inputs.profiling import closed
from cascade_cli.inputs.provenance import same_images
from cascade_cli.inputs.running import device_of, named_to_run
from cascade_cli.show.text import progress, say
from stages import live as stage
from stages.cascade import Cascade
from stages.costs import window_s
from stages.datasets import Source
from stages.energy import open_meters
from stages.hashes import hash_of
from stages.live import EnergySummary, LiveCascade, LiveMemory, Served
from stages.models import Chosen, load
from stages.policy import DecisionLog
from stages.runtimes import device_name, runner_of
from stages.scores import ScoreSet
from stages.simulate import Recall, RequestSet, share_of, shown
from stages.statistics import Interval, with_ends

Models = Mapping[str, tuple[Chosen, opt.LogitsOptions]]
"""By name the model as it runs, and the options that it runs by."""
CASCADE = "cascade"  # among the contenders, which are models else


@dataclass(frozen=True)
class LiveRequest:
    """What is to be answered, by which models, and what to hold it against."""

    store: Store
    dataset: str
    split: str
    models: tuple[str, ...]
    images: opt.LogitsOptions
    options: opt.LiveOptions
    policy_sha256: str | None = None

    def serve(
        self,
        cascades: dict[str, Cascade],
        scores: ScoreSet | None = None,
        asked: RequestSet | None = None,
    ) -> LiveRun:
        """What each contender answered; the images are those of `scores` where given.

        With a set its requests are served, and with what it recalls the cascade has a memory.
        """
        images, limit = self.images, self.options.limit
        models = self.models_to_run(cascades)
        device = device_of(next(iter(models.values()))[1])
        [source] = open_sources(self.store, self.dataset, [self.split], images)
        recall = None if asked is None else asked.recall
        cascade, sha256 = cascades[CASCADE], self.policy_sha256
        names, last = cascade.models_that_run, cascade.nobody
        log = self.options.log and DecisionLog(self.options.log, names, sha256, last=last)
        running = _contenders(cascades, models, recall, log or None)
        if scores is not None:
            same_images(scores, source)
        if asked is not None:
            source = shown(source, asked.stream)
        if limit:
            _tell_classes(source.labels, limit, asked is not None)
        found = open_meters([str(device)], self.options.meter)
        meters = [meter for meter in found if meter.sensor.source != "none"]
        reason = None if found[0] in meters else found[0].sensor.detail
        size, seconds = self.options.batch_size, window_s(meters, quick=False)
        with closed(found), progress("live") as tell:
            served = stage.serve_all(source, running, size, limit, meters, seconds, tell)
        ids = np.arange(len(source.labels)) if asked is None else asked.stream.sample_ids
        precision = precisions(own for _, own in models.values())
        return LiveRun(source, served, ids, precision, device_name(device), reason)

    def models_to_run(self, cascades: dict[str, Cascade]) -> Models:
        """Those of all cascades, by name."""
        names = dict.fromkeys(name for each in cascades.values() for name in each.models_that_run)
        return named_to_run(self.store, self.dataset, list(names), self.images)


def precisions(images: Iterable[opt.LogitsOptions]) -> str:
    """Of all models, several joined by `+`."""
    return "+".join(dict.fromkeys(each.precision for each in images))


def _contenders(
    cascades: dict[str, Cascade], models: Models, recall: Recall | None, log: DecisionLog | None
) -> dict[str, LiveCascade]:
    """Each cascade with its models loaded, one that several use once; CASCADE with a memory, and a
    log."""
    runners = {
        name: runner_of(
            load(one.spec, one.weights), one.spec.preprocessing, device_of(own), own.precision
        )
        for name, (one, own) in models.items()
    }
    memories = {}
    if recall is not None:
        digest = hash_of(recall.policy.algorithm).digest_each
        memories[CASCADE] = LiveMemory(recall.policy, digest)
    return {
        name: LiveCascade(
            each,
            [runners[model] for model in each.models_that_run],
            memories.get(name),
            log if name == CASCADE else None,
        )
        for name, each in cascades.items()
    }


def _tell_classes(labels: np.ndarray, limit: int, streams: bool) -> None:
    """Say so where the first requests are of some classes only, as those of a folder are."""
    shown, there = (len(set(each.tolist())) for each in (labels[:limit], labels))
    if shown < there:
        hint = ": `--order shuffled` mixes them" if streams else ""
        say(f"the first {limit} requests show {shown} of {there} classes{hint}")


@dataclass(frozen=True)
class LiveRun:
    """The images, what was served, whose image each request asks about (int64 [N]), and where the
    device has no sensor the reason."""

    source: Source
    served: dict[str, Served]
    asked: np.ndarray
    precision: str
    device: str
    reason: str | None

    @property
    def cascade(self) -> Served:
        """What the cascade answered, or the one model."""
        return self.served[CASCADE]

    def described(self) -> dict[str, Any]:
        """How it ran, and what every contender was like."""
        alone = {name: self.figures(name) for name in self.served if name != CASCADE}
        return {
            "batch_size": self.cascade.batch_size,
            "precision": self.precision,
            "device": self.device,
            "preprocess_ms": float(self.cascade.preprocess_ms.mean()),
            **self.figures(CASCADE),
            "alone": alone,
            "classification": stage.classification(self.cascade, self.source.class_names),
        }

    def figures(self, name: str) -> dict[str, Any]:
        """Accuracy, latency and joules of one contender."""
        one = self.served[name]
        times = {"latency_ms": stage.latency_summary(one), "usual_ms": stage.usual_ms(one)}
        right = with_ends("accuracy", self.share(one.outcome.correct))
        return right | times | {"energy": self.energy(name)}

    def energy(self, name: str) -> EnergySummary:
        one = self.served[name]
        meters = len(one.windows[0][1]) if one.windows else 0
        energy = [stage.energy_summary(one, i) for i in range(meters)]
        if self.reason is not None:
            energy = [stage.energy_summary(replace(one, windows=()), reason=self.reason), *energy]
        return EnergySummary(**vars(energy[0]), host=tuple(energy[1:]))

    def share(self, holds: np.ndarray) -> Interval:
        """Of what was answered, bool [N]."""
        return share_of(holds, self.asked[: len(holds)])
