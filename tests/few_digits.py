"""The first digits, extracted, with each read counted."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

import torch

from cache import Store
from stages import extract
from stages.datasets import ArraySource, Source, open_split
from stages.models import choose

CPU = torch.device("cpu")
N = 200
PAIR = ("digits_wide", "digits_plain")


@dataclass(frozen=True, eq=False, kw_only=True)
class CountingSource(Source):
    """Counts how often each picture is decoded."""

    inner: Source
    reads: Counter = field(default_factory=Counter)
    lock: object = field(default_factory=threading.Lock)

    def read(self, i):
        with self.lock:
            self.reads[i] += 1
        return self.inner.read(i)

    def stored(self, i):
        return self.inner.stored(i)


def counting(source):
    names = ("dataset", "split", "layout", "keys", "labels", "class_names")
    return CountingSource(inner=source, **{name: getattr(source, name) for name in names})


def few_digits(n=N, split="test"):
    whole = open_split("digits", split)
    return ArraySource(
        dataset="digits",
        split=split,
        layout="embedded",
        keys=whole.keys[:n],
        labels=whole.labels[:n].copy(),
        class_names=whole.class_names,
        pictures=whole.pictures[:n].copy(),
    )


def run(root, source=None, models=PAIR, **options):
    options = {"batch_size": 16, "part_rows": 64, "workers": 2} | options
    chosen = choose("digits", models) if isinstance(models[0], str) else models
    sources = [few_digits() if source is None else source]
    return extract.run(Store(root), sources, chosen, extract.Options(CPU, **options))
