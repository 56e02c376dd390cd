"""A published setting on one split of a cache: what every figure of it is computed from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

import cache
from cache import Partition, Store
from examples.kinnas2024.published import MEMORIES, Setting
from stages import missing as commands
from stages.cascade import Cascade
from stages.costs import Pricer, hash_cost, pricer
from stages.datasets import split_name
from stages.missing import MissingError
from stages.scores import ScoreSet, load
from stages.threshold import FitPlan, plan


@dataclass(frozen=True)
class Asked:
    """What the options ask for; None is the usual."""

    split: str | None = None
    train: bool = False
    runtime: str | None = None
    cost: str | None = None
    cost_device: str | None = None


@dataclass(frozen=True)
class Case:
    """`reported` holds the setting's two models, `everyone` all that the cache has of the same
    runtime. The paper's method fits λ on `original`, ours on `honest`; `makes_train` is the command
    for the training split where the paper's should be fitted on it and the cache has none."""

    store: Store
    setting: Setting
    reported: ScoreSet
    everyone: ScoreSet
    pricer: Pricer | None
    original: FitPlan
    honest: FitPlan
    makes_train: str | None

    @cached_property
    def single(self) -> str:
        """The most accurate single model, of those whose cost is known where any is."""
        known = self.everyone.models if self.pricer is None else self.pricer.prices.forward
        models = [model for model in self.everyone.models if model in known]
        return max(models, key=lambda model: float(self.right(model).mean()))

    @property
    def rivals(self) -> dict[str, str]:
        """The single models that a cascade is compared with."""
        return {"second": self.setting.model_2, "single": self.single}

    def right(self, model: str) -> np.ndarray:
        """bool [N]: where a single model is."""
        return self.everyone.correct[self.everyone.index(model)]

    def cascade(self, threshold: float) -> Cascade:
        one = self.setting
        models, check = (one.model_1, one.model_2), one.postcheck
        return Cascade.of(models, one.score, threshold, postcheck=check)

    @cached_property
    def hashes(self) -> list[str]:
        """Those of the published memories that the cache has of these images."""
        where = (self.setting.dataset, self.reported.split, "identity")
        there = {name: Partition("hashes", (*where, name)) for name in MEMORIES}
        return [name for name, place in there.items() if cache.load(self.store, place)]

    def hash_cost(self, name: str) -> float | None:
        """Of one image, in the unit of the other costs; None where it was not measured."""
        if self.pricer is None:
            return None
        prices = self.pricer.prices
        return hash_cost(self.store, self.setting.dataset, name, prices.kind, prices.device)


def open_case(store: Store, setting: Setting, asked: Asked) -> Case:
    """MissingError, with the command that makes them, where the cache lacks the pair's logits."""
    dataset, pair = setting.dataset, (setting.model_1, setting.model_2)
    split = split_name(dataset, asked.split or setting.split)
    reported = load(store, dataset, split, pair, runtime=asked.runtime)
    runtime = reported.runtime
    everyone = load(store, dataset, split, runtime=runtime) if runtime else reported
    priced = pricer(store, everyone, pair, asked.cost, asked.cost_device)
    original, makes_train = plan(store, reported, split), None
    if asked.train or setting.on_train:
        try:
            original = plan(store, reported, "train")
        except MissingError as gap:
            makes_train = gap.command
    honest = plan(store, reported)
    return Case(store, setting, reported, everyone, priced, original, honest, makes_train)


def missing(case: Case, asked: Asked) -> Iterator[tuple[str, str]]:
    """What more figures need, each with the command that makes it: the training split, measured
    joules unless another cost was asked for, hashes and what these cost."""
    setting, split = case.setting, case.reported.split
    images = commands.dataset_words(setting.dataset)
    prices = None if case.pricer is None else case.pricer.prices
    if case.makes_train is not None:
        yield "train, on which λ was searched", case.makes_train
    lacking: dict[str, commands.Words] = {}
    if asked.cost is None and (prices is None or prices.kind != "joules"):
        models = ",".join(dict.fromkeys((setting.model_1, *case.rivals.values())))
        runs_in = commands.runtime_words(asked.runtime)
        lacking["measured joules"] = ["profile", *images, "--models", models, *runs_in]
    for name in MEMORIES:
        if name not in case.hashes:
            words = commands.hash_words(setting.dataset, split, "identity", name)
            lacking[f"{name} hashes on {split}"] = words
        elif prices and prices.kind != "macs" and case.hash_cost(name) is None:
            what = f"{prices.kind} of {name} on {prices.device}"
            lacking[what] = ["hash", *images, "--algorithms", name]
    for what, words in lacking.items():
        yield what, commands.command_line(case.store, words)
