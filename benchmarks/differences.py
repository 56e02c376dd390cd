"""Where the original's results and ours differ on the same logits, and by how much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks import original, vectorised
from benchmarks.against_data import Split, exact, pair_of
from benchmarks.original import NAMES, Point
from stages.scores import scores_of
from stages.threshold import OperatingPoint, all_pairs
from stages.threshold.stage import Pair

SURE = np.array([[200, 0, 0]], np.float32)  # e⁻²⁰⁰ is 0 in float32


def told(val: Split, test: Split, grid: np.ndarray) -> Iterator[str]:
    yield "\nscores"
    yield from of_scores(val)
    yield f"\nthe grid's best λ of {' → '.join(val.ours.models[m] for m in pair_of(val.ours))}"
    yield from of_pair(val, grid)
    yield "\nthe grid's best λ of all ordered pairs, 3 scores, with and without post-check"
    yield from of_all_pairs(val, grid)
    yield "\nentropy's λ fitted in [0, 1], then compared with nats"
    yield from of_unit(val, grid)
    yield "\nλ fitted and reported on one split"
    yield from of_same_split(val, test, grid)


def of_scores(val: Split) -> Iterator[str]:
    for name in NAMES:
        ours = val.ours.scores[name]
        apart = max(abs(o.scores[name] - s).max() for o, s in zip(val.original, ours, strict=True))
        yield f"  {name:<12} differs by up to {apart:.1e}"
    same = all(
        np.array_equal(o.answers, p)
        for o, p in zip(val.original, val.ours.predictions, strict=True)
    )
    yield f"  answers      {'are the same' if same else 'differ'}"
    for which, sets in (
        ("float32", [o.scores["maxp"] for o in val.original]),
        ("float64", val.ours.scores["maxp"]),
    ):
        ones = sum(int((s == 1).sum()) for s in sets)
        tied = sum(len(s) - len(np.unique(s)) for s in sets)
        yield f"  {which} maxp: {ones} of {sum(map(len, sets))} are 1, {tied} equal another image's"
    zeros = sum(int((vectorised.softmax(each) == 0).any(axis=1).sum()) for each in val.logits)
    yield f"  rows with a float32 probability of 0: {zeros}; of such a row {underflow()}"


def underflow() -> str:
    """What each makes of a row with a probability of 0."""
    ours = scores_of(SURE)["entropy"][0]
    try:
        theirs = f"gives {original.scored(SURE).scores['entropy'][0]}"
    except ValueError as error:
        theirs = f"raises {error}"
    return f"the original {theirs}, ours gives {ours:.3g}"


@dataclass(frozen=True)
class Both:
    """One pair, score and post-check: the grid's best and our exact one, in numbers of images."""

    name: str
    postcheck: bool
    n: int
    grid: Point
    exact: OperatingPoint

    @property
    def right(self) -> int:
        return self.grid.correct(self.postcheck)

    @property
    def lost(self) -> int:
        return round(self.exact.accuracy.value * self.n) - self.right

    @property
    def more_use(self) -> float:
        return self.grid.used / self.n - self.exact.usage.value

    def __str__(self) -> str:
        bounds = (self.exact.threshold.low, self.exact.threshold.high)
        low, high = ("–" if bound is None else f"{bound:.6f}" for bound in bounds)
        return (
            f"  {self.name:<10}  {'yes' if self.postcheck else 'no':<10}  {self.grid.threshold:.6f}"
            f"  {low:>8} to {high:<8}  {self.right / self.n:8.2%}  {self.exact.accuracy.value:8.2%}"
            f"  {self.lost:6}  {self.grid.used / self.n:8.2%}  {self.exact.usage.value:8.2%}"
        )


def both(val: Split, pairs: list[Pair], grid: np.ndarray, steps: int | None = None) -> list[Both]:
    """The original's by the arrays, which are held against its loops where both are timed.

    `steps` restricts ours to a grid of as many λ.
    """
    names, n = val.ours.models, len(val.ours.labels)
    key = ("model_1", "model_2", "score", "postcheck")
    rows = {tuple(getattr(row, each) for each in key): row for row in exact(val.ours, pairs, steps)}
    return [
        Both(name, bool(check), n, point, rows[names[a], names[b], name, bool(check)])
        for a, b in pairs
        for name in NAMES
        for check, point in enumerate(best(val, (a, b), name, grid))
    ]


def best(split: Split, pair: Pair, name: str, grid: np.ndarray) -> tuple[Point, Point]:
    first, second = (split.original[m] for m in pair)
    return vectorised.best(split.ours.labels, first, second, name, grid)


def at(split: Split, pair: Pair, name: str, postcheck: bool, threshold: float) -> tuple[int, int]:
    first, second = (split.original[m] for m in pair)
    return vectorised.at(split.ours.labels, first, second, name, postcheck, threshold)


def of_pair(val: Split, grid: np.ndarray) -> Iterator[str]:
    yield (
        "  score       post-check   grid's λ  exact λ               accuracy     exact"
        "  images  use of B     exact"
    )
    yield from map(str, both(val, [pair_of(val.ours)], grid))
    s_a = val.original[pair_of(val.ours)[0]].scores["maxp"]
    inside = int(((s_a > grid[-2]) & (s_a < grid[-1])).sum())
    yield f"  {inside / len(s_a):.1%} of A's maxp lie between the grid's last two λ"


def of_all_pairs(val: Split, grid: np.ndarray) -> Iterator[str]:
    pairs = all_pairs(val.ours.models)
    found = both(val, pairs, grid)
    lost = np.array([each.lost for each in found])
    use = np.array([each.more_use for each in found])
    yield (
        f"  of {len(found)} rows the grid is less accurate in {(lost > 0).sum()}: "
        f"{lost.mean():.2f} images on average, {lost.max()} at most"
    )
    yield (
        f"  of the others it uses B more in {(use[lost == 0] > 0).sum()}: "
        f"{100 * use[lost == 0].mean():.2f} points on average, {100 * use.max():.2f} at most"
    )
    ours = both(val, pairs, grid, len(grid))
    alike = [each for each in ours if not each.lost and not each.more_use]
    same = sum(each.exact.threshold.threshold == each.grid.threshold for each in alike)
    yield (
        f"  ours on the same grid: the same accuracy and use of B in {len(alike)} rows, "
        f"and the same λ in {same}"
    )


def of_unit(val: Split, grid: np.ndarray) -> Iterator[str]:
    n, pairs = len(val.ours.labels), all_pairs(val.ours.models)
    table = {pair: unit(val, pair, grid) for pair in pairs}
    shown = {"this pair": table[pair_of(val.ours)], f"{len(pairs)} pairs, mean": None}
    shown[f"{len(pairs)} pairs, mean"] = np.mean(list(table.values()), axis=0)
    yield "                    post-check  accuracy  deployed  use of B  deployed"
    for what, rows in shown.items():
        for postcheck, row in zip(("no", "yes"), rows, strict=True):
            figures = "  ".join(f"{value / n:8.2%}" for value in row)
            yield f"  {what:<16}  {postcheck:<10}  {figures}"
    worst = min(rows[p][1] - rows[p][0] for rows in table.values() for p in (0, 1))
    yield f"  accuracy changes by {100 * worst / n:+.2f} points at worst"


def unit(val: Split, pair: Pair, grid: np.ndarray) -> np.ndarray:
    """Without and with post-check: right promised and deployed, used promised and deployed."""
    rows = []
    for postcheck, point in enumerate(best(val, pair, "entropy", grid)):
        right, used = at(val, pair, "nats", bool(postcheck), point.threshold)
        rows.append([point.correct(bool(postcheck)), right, point.used, used])
    return np.array(rows)


def of_same_split(val: Split, test: Split, grid: np.ndarray) -> Iterator[str]:
    ways = {"val": promise(val, test, grid), "test": promise(test, val, grid)}
    for split, (promised, kept) in ways.items():
        drop = 100 * (promised - kept)
        yield (
            f"  fitted on {split:<4}: {drop.mean():+.2f} points too high on average, "
            f"{drop.max():+.2f} at most, over {drop.size} rows"
        )
    drop = 100 * np.mean([promised - kept for promised, kept in ways.values()], axis=0)
    yield (
        f"  both ways, so that neither split's difficulty counts: {drop.mean():+.2f} on average, "
        f"{drop.max():+.2f} at most"
    )
    for split, (promised, kept) in ways.items():
        top = promised.argmax()
        yield f"  the best row of {split}: {promised[top]:.2%} there, {kept[top]:.2%} on the other"


def promise(here: Split, there: Split, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[pairs × 6] each: accuracy of the best λ where it was fitted, and on the other split."""
    promised, kept = [], []
    for pair in all_pairs(here.ours.models):
        for name in NAMES:
            for postcheck, point in enumerate(best(here, pair, name, grid)):
                right, _ = at(there, pair, name, bool(postcheck), point.threshold)
                promised.append(point.correct(bool(postcheck)) / len(here.ours.labels))
                kept.append(right / len(there.ours.labels))
    return np.array(promised), np.array(kept)
