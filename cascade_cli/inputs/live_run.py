"""A cascade served for real, beside its models alone; which needs PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cache import Store
from cascade_cli import options as opt
from cascade_cli.inputs.images import open_sources
from cascade_cli.inputs.models import choose_models
from cascade_cli.inputs.profiling import closed
from cascade_cli.inputs.provenance import same_images
from cascade_cli.inputs.simulation import RequestSet
from cascade_cli.show.text import progress, say
from stages.cascade import Cascade
from stages.costs import window_s
from stages.datasets import Source
from stages.energy import open_meters
from stages.hashes import hash_of
from stages.live import (
    EnergySummary,
    LiveCascade,
    LiveMemory,
    Served,
    classification,
    energy_summary,
    latency_summary,
    serve_all,
    usual_ms,
)
from stages.models import load
from stages.runtimes import Runner, device_name, open_device
from stages.scores import ScoreSet
from stages.simulate import share_of, shown
from stages.statistics import Interval, with_ends

CASCADE = "cascade"  # among the contenders, which are models else


def contenders(
    store: Store, dataset: str, split: str, cascades: dict[str, Cascade], images: opt.ImageOptions
) -> tuple[Source, dict[str, LiveCascade]]:
    """The images, and each cascade with its models loaded; a model that several use is one."""
    device = open_device(images.device, images.precision)
    [source] = open_sources(store, dataset, [split], images)
    names = dict.fromkeys(name for each in cascades.values() for name in each.models)
    runners = {
        one.name: Runner.of(
            load(one.spec, one.weights), one.spec.preprocessing, device, images.precision
        )
        for one in choose_models(store, dataset, list(names), [], images)
    }
    return source, {
        name: LiveCascade(each, [runners[model] for model in each.models])
        for name, each in cascades.items()
    }


@dataclass(frozen=True)
class LiveRequest:
    """What is to be answered, by which models, and what to hold it against."""

    store: Store
    dataset: str
    split: str
    models: tuple[str, ...]
    images: opt.LogitsOptions
    options: opt.LiveOptions

    def serve(
        self,
        cascades: dict[str, Cascade],
        scores: ScoreSet | None = None,
        asked: RequestSet | None = None,
    ) -> LiveRun:
        """What each contender answered; the images are those of `scores` where given.

        With a set its requests are served, and with its policy the cascade has a memory.
        """
        made, policy = (None, None) if asked is None else (asked.stream, asked.policy)
        source, running = contenders(self.store, self.dataset, self.split, cascades, self.images)
        if scores is not None:
            same_images(scores, source)
        if made is not None:
            source = shown(source, made)
        if policy is not None:
            memory = LiveMemory(policy, hash_of(policy.algorithm).digest_each)
            one = running[CASCADE]
            running[CASCADE] = LiveCascade(one.cascade, one.runners, memory)
        limit = self.options.limit
        if limit:
            _tell_classes(source.labels, limit, made is not None)
        device = next(iter(running.values())).runners[0].device
        found = open_meters([str(device)], self.options.meter)
        meters = [meter for meter in found if meter.sensor.source != "none"]
        reason = None if found[0] in meters else found[0].sensor.detail
        size, seconds = self.options.batch_size, window_s(meters, quick=False)
        with closed(found), progress("live") as tell:
            served = serve_all(source, running, size, limit, meters, seconds, tell)
        name = device_name(device)
        ids = np.arange(len(source.labels)) if made is None else made.sample_ids
        return LiveRun(source, served, ids, self.images.precision, name, reason)


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
            "classification": classification(self.cascade, self.source.class_names),
        }

    def figures(self, name: str) -> dict[str, Any]:
        """Accuracy, latency and joules of one contender."""
        one = self.served[name]
        times = {"latency_ms": latency_summary(one), "usual_ms": usual_ms(one)}
        right = with_ends("accuracy", self.share(one.outcome.correct))
        return right | times | {"energy": self.energy(name)}

    def energy(self, name: str) -> EnergySummary:
        one = self.served[name]
        meters = len(one.windows[0][1]) if one.windows else 0
        energy = [energy_summary(one, i) for i in range(meters)]
        if self.reason is not None:
            energy = [energy_summary(replace(one, windows=()), reason=self.reason), *energy]
        return EnergySummary(**vars(energy[0]), host=tuple(energy[1:]))

    def share(self, holds: np.ndarray) -> Interval:
        """Of what was answered, bool [N]."""
        return share_of(holds, self.asked[: len(holds)])
