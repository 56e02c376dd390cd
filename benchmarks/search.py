"""The search of all pairs, rules and thresholds: against its floor, as it grows, from a cold start.

    python -m benchmarks.search

The floor is one gather and one prefix sum over the same numbers, plain numpy, one core, same run;
ratios are of processor time. Peak memory is that of a process of its own, its synthetic models
included. On two busy cores, best of 3 to 5 in 4 runs: 468 million operating points on one core at
0.9 to 1.0× the floor (1.4 to 1.6× while every block was summed up, in the same hours), 153 MiB;
under losses of one byte at 0.9 to 1.0×, of two at 1.0 to 1.4× and of four at 1.2 to 1.4× as long.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from benchmarks.peak import peak_mib
from cache import Partition, Store, logits_schema, samples_table, write_partition
from stages.cascade import gains
from stages.costs import ExpectedCosts
from stages.scores import SCORES, Loss, ScoreSet, scores_of, with_loss
from stages.search import BEST, MATCH, Question, Space, rules
from stages.search.crossfit import cross_fitted
from stages.search.fitted_frontier import Found, find
from stages.search.pairs import frontier
from stages.search.resampling import Resampling
from stages.search.testing_order import aim_of, path
from stages.statistics import procedure

CLASSES = 10
NAMES = ("maxp", "difference", "entropy")
TABLE = tuple(rules(NAMES))


def main(words: list[str]) -> int:
    if words:  # a child: its peak is reported
        models, images = map(int, words)
        took = seconds(lambda: searched(models_of(models, images)))
        peak = peak_mib()
        print(f"{took} {peak}")
        return 0
    against_floor(40, 50_000)
    under_losses(40, 50_000)
    growth()
    cold_start(19, 10_000)
    optimism(19, 5_000)
    for models, images in ((6, 10_000), (19, 10_000), (40, 50_000)):
        cross_fitting(models, images)
        path_to_test(models, images)
    return 0


def against_floor(models: int, images: int) -> None:
    scores = models_of(models, images)
    one = min(cpu_seconds(lambda: searched(scores, 1)) for _ in range(5))
    floor = min(cpu_seconds(lambda: floor_of(scores)) for _ in range(5))
    both = min(seconds(lambda: searched(scores)) for _ in range(3))
    points = models * (models - 1) * len(TABLE) * images
    _, peak = child(models, images)
    print(
        f"{models} models × {images} images, {len(TABLE)} rules: {points / 1e6:.0f} million points"
    )
    print(f"  one core      {one:6.2f} s, {one / floor:.2f}× gather + prefix sum ({floor:.2f} s)")
    print(f"  all cores     {both:6.2f} s")
    print(f"  peak memory   {peak:6.0f} MiB")


def under_losses(models: int, images: int) -> None:
    """All pairs under losses whose credits take one, two and four bytes, against right answers."""
    scores = models_of(models, images)
    kinds = {"0 to 9": (1, 9), "0.00 to 9.99": (100, 999), "0.000 to 99.999": (1000, 99_999)}
    plain = min(cpu_seconds(lambda: searched(scores, 1)) for _ in range(3))
    print("under a loss, against right answers, one core")
    for name, (scale, most) in kinds.items():
        matrix = np.random.default_rng(0).integers(1, most + 1, (CLASSES, CLASSES))
        np.fill_diagonal(matrix, 0)
        lossy = with_loss(Store("."), scores, Loss(name, scale, matrix))
        took = min(cpu_seconds(lambda: searched(lossy, 1)) for _ in range(3))  # noqa: B023
        print(f"  {name:16} {lossy.credit.dtype!s:6} {took / plain:5.2f}×")


def growth() -> None:
    print("growth, ns per operating point, one core")
    for models, images in ((6, 10_000), (6, 100_000), (6, 1_000_000), (12, 10_000), (24, 10_000)):
        scores = models_of(models, images)
        took = min(cpu_seconds(lambda: searched(scores, 1)) for _ in range(2))  # noqa: B023
        points = models * (models - 1) * len(TABLE) * images
        print(f"  {models:3} models × {images:9,} images  {1e9 * took / points:6.2f}")


def cold_start(models: int, images: int) -> None:
    """From no process and files on disk to the answer printed."""
    with tempfile.TemporaryDirectory() as root:
        fill(Store(root), models, images)
        command = [sys.executable, "-m", "cascade_cli.main"]
        where = ["--cache", root, "--dataset", "synthetic"]
        subprocess.run([*command, "score", *where], check=True, capture_output=True)
        times = [
            seconds(lambda: subprocess.run([*command, "search", *where], capture_output=True))
            for _ in range(5)
        ]
    print(
        f"cold start to answer, {models} models × {images} images, twice: {sorted(times)[2]:.2f} s"
    )


def optimism(models: int, images: int) -> None:
    scores = models_of(models, images)
    search = Resampling(scores, costs_of(scores), TABLE, Question(BEST))
    took = seconds(lambda: procedure(search.choose, scores.correct[-1], 200))
    print(f"searched again in 200 resamples of {models} models × {images} images: {took:.1f} s")


def cross_fitting(models: int, images: int) -> None:
    """Fifty searches on folds, with what they decide, against one plain sweep of all pairs."""
    scores = models_of(models, images)

    def search(some: ScoreSet) -> Found:
        return find(some, costs_of(some), Space(TABLE), 1)

    budgets = search(scores).cost
    plain = min(cpu_seconds(lambda: searched(scores, 1)) for _ in range(3))
    took = cpu_seconds(lambda: cross_fitted(scores, search, Question(BEST), budgets))
    print(
        f"fifty searches of {models} models × {images} images and {len(budgets)} points decided: "
        f"{took:.2f} s, {took / plain:.1f}× one plain sweep ({plain:.2f} s)"
    )


def path_to_test(models: int, images: int) -> None:
    """The path of `match`, against one plain sweep of all pairs."""
    scores = models_of(models, images)
    costs = costs_of(scores)
    aim = aim_of(Question(MATCH), scores, costs, len(scores.models) - 1)
    plain = min(cpu_seconds(lambda: searched(scores, 1)) for _ in range(3))
    took = min(cpu_seconds(lambda: path(scores, costs, TABLE, aim, threads=1)) for _ in range(2))
    print(f"the path to test: {took:.2f} s, {took / plain:.1f}× one plain sweep")


def searched(scores: ScoreSet, threads: int | None = None) -> None:
    frontier(scores, costs_of(scores), TABLE, threads)


def costs_of(scores: ScoreSet) -> ExpectedCosts:
    return ExpectedCosts.linear(np.linspace(1, 8, len(scores.models)) ** 2, len(scores.labels))


def floor_of(scores: ScoreSet) -> None:
    order = np.argsort(scores.score("maxp", 0))
    right, (s_a, s_b) = scores.correct[:2], scores.scores["maxp"][:2]
    gain = gains(SCORES["maxp"], *right, s_a, s_b, False)
    gathered, total = np.empty(len(order), np.int8), np.empty(len(order), np.int32)
    for _ in range(len(scores.models) * (len(scores.models) - 1) * len(TABLE)):
        np.take(gain, order, out=gathered, mode="clip")
        np.cumsum(gathered, dtype=np.int32, out=total)


def logits_of(models: int, images: int, seed: int = 0) -> tuple[np.ndarray, list[np.ndarray]]:
    """labels [N] and, model by model, logits [N, K] that err on partly the same images."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, images)
    spread = 1 + rng.gamma(2.0, 1.0, images)[:, None] / 2
    shared = rng.normal(0, spread, (images, CLASSES))

    def made(m: int) -> np.ndarray:
        own = np.random.default_rng([seed, m]).normal(0, spread, (images, CLASSES))
        out = (0.7 * shared + 0.7 * own).astype(np.float32)
        out[np.arange(images), labels] += 6 + 2.5 * m / models
        return out

    return labels, (made(m) for m in range(models))


def models_of(models: int, images: int) -> ScoreSet:
    labels, made = logits_of(models, images)
    answers = np.empty((models, images), np.int32)
    scores = {name: np.empty((models, images)) for name in NAMES}
    for m, logits in enumerate(made):
        out = scores_of(logits)
        answers[m] = out["prediction"]
        for name in NAMES:
            scores[name][m] = out[name]
    names = tuple(f"m{m:02}" for m in range(models))
    correct = answers == labels
    ids = np.arange(images)
    return ScoreSet("synthetic", "val", names, ids, labels, answers, correct, scores, ())


def fill(store: Store, models: int, images: int) -> None:
    """Logits of two splits, as `extract` leaves them."""
    for seed, split in enumerate(("val", "test")):
        labels, made = logits_of(models, images, seed)
        ids = np.arange(images)
        where, identity = {"dataset": "synthetic", "split": split}, {"dataset_fingerprint": split}
        table = samples_table(ids, labels.astype(np.int32), ids.astype(str))
        write_partition(store, Partition.of("samples", **where), table, identity, {})
        for m, logits in enumerate(made):
            keys = {"variant": "identity", "runtime": "synthetic", "model": f"m{m:02}"}
            schema = logits_schema(CLASSES)
            flat = pa.array(logits.reshape(-1))
            column = pa.FixedSizeListArray.from_arrays(flat, type=schema.field("logits").type)
            about = {"macs": 10**6 * (m + 1) ** 2, "trained_on": {"splits": ["train"]}}
            partition = Partition.of("logits", **where, **keys)
            write_partition(
                store, partition, pa.table([ids, column], schema=schema), identity, about
            )


def child(models: int, images: int) -> tuple[float, float]:
    """(seconds, peak MiB) of a search in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.search", str(models), str(images)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    took, peak = map(float, done.stdout.split())
    return took, peak


def seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def cpu_seconds(call: Callable[[], object]) -> float:
    """What one core spent, however busy the machine is."""
    begun = time.process_time()
    call()
    return time.process_time() - begun


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
