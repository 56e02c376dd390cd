"""The original's method, the same in whole numpy arrays, and ours: time and result, in one run.

    python -m benchmarks.against_original [--cache CACHE]

On the logits of CIFAR-10's five models where ../shared holds images and weights, else on those of
the digits; extracted into a temporary folder, or taken from CACHE. `benchmarks.original` is the
method of Kinnas et al. written anew, one image at a time; `benchmarks.vectorised` the same method
without loops. Times are the best of three, of one process; what is scaled or computed from the
cache's timings is marked. Then where the results differ.

On two shared cores of an AMD EPYC, 3 runs: scores 140 to 154× ours, numpy 1.6×; best λ of a pair
5,070 to 5,640×, numpy 0.9 to 1.0×; heterogeneity 91 to 116×, numpy 0.6 to 0.7×. The grid of 2,000
λ loses at most one image in 5,000. docs/comparison.md holds a whole run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

import cache
from benchmarks import differences, hashing, original, vectorised
from benchmarks.against_data import (
    IMAGES,
    PAIRS,
    Split,
    exact,
    extracted,
    forward_seconds,
    pair_of,
)
from benchmarks.original import GRID, NAMES
from cache import Store
from stages import costs
from stages.cascade import Cascade, decide
from stages.hashes import hash_of
from stages.heterogeneity import matrix
from stages.scores import scores_of
from stages.threshold import all_pairs

ROUNDS = 3
ASKED = 0.9  # the λ of one more question


@dataclass(frozen=True)
class Line:
    """Seconds of the three ways, None where there is none, and how they were come by."""

    what: str
    original: float
    numpy: float | None
    ours: float
    note: str = ""

    def __str__(self) -> str:
        numpy, against = " " * 10, " " * 9
        if self.numpy is not None:
            numpy, against = told(self.numpy), f"{self.numpy / self.ours:8.1f}×"
        times = f"{told(self.original)}  {numpy}  {told(self.ours)}"
        return (
            f"{self.what:<44}{times}  {self.original / self.ours:12,.0f}×  {against}  {self.note}"
        )


def told(seconds: float) -> str:
    unit, scale = ("s ", 1) if seconds >= 1 else ("ms", 1e3) if seconds >= 1e-3 else ("µs", 1e6)
    return f"{seconds * scale:7.2f} {unit}"


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against_original")
    parser.add_argument("--cache", help="a cache with both splits extracted and profiled")
    asked = parser.parse_args(words)
    with ExitStack() as stack:
        root = asked.cache or extracted(stack.enter_context(tempfile.TemporaryDirectory()))
        compare(Store(root))
    return 0


def compare(store: Store, grid: int = GRID) -> None:
    found = {m.partition.keys["dataset"] for m in cache.find(store, "samples")}
    dataset = next((name for name in PAIRS if name in found), None)
    if dataset is None:
        raise cache.InputError(f"the cache holds neither of {', '.join(PAIRS)}: leave --cache out")
    val, test = (Split.of(store, dataset, name) for name in ("val", "test"))
    λs = np.linspace(0, 1, grid)
    print(
        f"{dataset}: {', '.join(val.ours.models)}; {len(val.ours.labels)} images of val, "
        f"{len(test.ours.labels)} of test; {grid} λ"
    )
    if dataset == "digits":
        print("the digits that come with scikit-learn, for want of CIFAR-10 in ../shared")
    print(
        f"{'':<44}{'original':>10}  {'numpy':>10}  {'ours':>10}  {'original÷':>12}  {'numpy÷':>8}"
    )
    for line in lines(store, val, λs):
        print(line, flush=True)
    for text in differences.told(val, test, λs):
        print(text, flush=True)


def lines(store: Store, val: Split, grid: np.ndarray) -> list[Line]:
    pairs = all_pairs(val.ours.models)
    scoring, searching = scores_line(val), search_line(val, grid)
    every = pairs_line(val, grid, scoring, searching)
    runs = sum(forward_seconds(store, val.ours))
    started = 2 * len(pairs) / len(val.ours.models)  # how often each model is run
    with_runs = Line(
        "  with the models' runs",
        every.original + started * runs,
        None if every.numpy is None else every.numpy + runs,
        every.ours + runs,
        f"forward {runs:.1f} s once, of the cache's timings; original {started:.0f} times",
    )
    return [
        *(scoring, searching, every, with_runs, heterogeneity_line(val)),
        *(*hash_lines(val.ours.dataset), question_line(store, val)),
    ]


def scores_line(val: Split) -> Line:
    models, images = len(val.logits), len(val.ours.labels)
    return Line(
        f"1 three scores, {models} models × {images} images",
        best_of(lambda: [original.scored(each) for each in val.logits]),
        best_of(lambda: [vectorised.scored(each) for each in val.logits]),
        best_of(lambda: [scores_of(each) for each in val.logits]),
    )


def search_line(val: Split, grid: np.ndarray) -> Line:
    a, b = pair_of(val.ours)
    pair = val.ours.labels, val.original[a], val.original[b]

    def loops() -> list[object]:
        points = {name: original.sweep(*pair, name, grid) for name in NAMES}
        return [original.best(points[name], name, p) for name in NAMES for p in (False, True)]

    def arrays() -> list[object]:
        return [point for name in NAMES for point in vectorised.best(*pair, name, grid)]

    if loops() != arrays():
        raise RuntimeError("the loop and the arrays disagree: their results are not comparable")
    return Line(
        "2 best λ of a pair, 3 scores × 2",
        best_of(loops),
        best_of(arrays),
        best_of(lambda: exact(val.ours, [(a, b)])),
    )


def pairs_line(val: Split, grid: np.ndarray, scoring: Line, searching: Line) -> Line:
    """From logits to the best λ of all ordered pairs."""
    pairs, models = all_pairs(val.ours.models), len(val.logits)

    def arrays() -> None:
        each = [vectorised.scored(logits) for logits in val.logits]
        for a, b in pairs:
            for name in NAMES:
                vectorised.best(val.ours.labels, each[a], each[b], name, grid)

    def ours() -> None:
        for logits in val.logits:
            scores_of(logits)
        exact(val.ours, pairs)

    each_pair = 2 / models * scoring.original + searching.original
    note = "original: one pair's scores and search, scaled"
    what = f"3 best λ of {len(pairs)} pairs, from logits"
    return Line(what, len(pairs) * each_pair, best_of(arrays), best_of(ours), note)


def heterogeneity_line(val: Split) -> Line:
    answers, labels, correct = val.ours.predictions, val.ours.labels, val.ours.correct
    lists = [each.tolist() for each in answers], labels.tolist()
    ways = (
        lambda: original.heterogeneity(*lists),
        lambda: vectorised.heterogeneity(answers, labels),
        lambda: matrix(correct),
    )
    by_loop, *others = (np.array(way()) for way in ways)
    if not all(np.array_equal(by_loop, other) for other in others):
        raise RuntimeError("the heterogeneity matrices differ")
    size = len(answers)
    return Line(f"4 heterogeneity, {size} × {size}", *map(best_of, ways), "equal, number by number")


def question_line(store: Store, val: Split) -> Line:
    """The original's live program runs A again on each image, and B on those it is asked about."""
    pair = pair_of(val.ours)
    names = tuple(val.ours.models[m] for m in pair)
    cascade = Cascade.of(names, "maxp", ASKED)
    labels, (first, second) = val.ours.labels, (val.original[m] for m in pair)

    def theirs() -> tuple[int, int]:
        return vectorised.at(labels, first, second, "maxp", False, ASKED)

    right, used = theirs()
    latency = costs.choose(costs.read(store, val.ours.dataset, names), {}, names, kind="latency")
    each = [latency.model(name) / 1e3 for name in names]
    again = len(labels) * each[0] + used * each[1]
    found = decide(val.ours, cascade)
    note = (
        f"original: forward at batch 1 alone, of the cache's costs; {right} right, B on {used}, "
        f"ours {found.correct.sum()} and {found.escalated.sum()}"
    )
    what = f"6 one more question: λ = {ASKED}"
    return Line(what, again, best_of(theirs), best_of(lambda: decide(val.ours, cascade)), note)


def hash_lines(dataset: str) -> list[Line]:
    folder = str(IMAGES) if dataset == "cifar10" and IMAGES.is_dir() else None
    pictures = hashing.load(folder)
    some, images = pictures[: hashing.SLICE], len(pictures)
    hashing.check(some)
    ways = {"dhash": hashing.by_imagehash, "invariants": hashing.by_definition}
    note = f"original: {len(some)} images, scaled" + ("" if folder else "; noise")
    return [
        Line(
            f"5 {name} of {images} images",
            images / len(some) * best_of(lambda: [by(each) for each in some]),  # noqa: B023
            None,
            best_of(lambda: hash_of(name).digest(pictures)),  # noqa: B023
            note,
        )
        for name, by in ways.items()
    ]


def best_of(call: Callable[[], object]) -> float:
    """Seconds."""
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return min(times)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
