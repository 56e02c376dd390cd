"""All ordered CIFAR-sized pairs, exactly, against a grid and against the original's loop.

    python -m benchmarks.sweep

19 models, 10,000 images, 342 ordered pairs × 3 scores × with and without post-check: the exact
sweep with both operating points of each; a vectorised numpy grid of 2,000 λ; and the original's
method (a Python loop over images for each λ), written anew. The slow two are measured on a slice
and scaled. The floor is one gather and one prefix sum over the same numbers; on two busy cores the
exact sweep took 2.4 to 2.5× that, 1.4 to 2.3× of one pair of 10,000 to 50,000 images (before the
first sum was bounded and ends without ties were not copied 2.9 to 3.3× and 2.4 to 2.7×).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from stages.cascade import OBJECTIVES, Ordering, fit, gains
from stages.scores import SCORES, scores_of

MODELS, IMAGES, CLASSES, GRID = 19, 10_000, 10, 2_000
NAMES = ("maxp", "difference", "entropy")


def main() -> None:
    correct, scores = make_models()
    combinations = MODELS * (MODELS - 1) * len(NAMES) * 2
    ours = min(seconds(lambda: sweep_all(correct, scores)) for _ in range(3))
    floor = min(seconds(lambda: floor_of(correct, scores)) for _ in range(3))
    grid = seconds(lambda: grid_slice(correct, scores, pairs=2)) / (2 * 3 * 2) * combinations
    slice_images, slice_grid = 500, 20
    loop = seconds(lambda: loop_slice(correct, scores, slice_images, slice_grid))
    loop *= combinations * (IMAGES / slice_images) * (GRID / slice_grid)
    per = 1e9 / (combinations * IMAGES)
    print(f"{combinations} sweeps of {IMAGES} images ({MODELS} models)")
    print(f"  exact sweep, best and 1se   {ours:10.2f} s   {ours * per:8.1f} ns/image/sweep")
    print(f"  floor: gather + prefix sum  {floor:10.2f} s   ours is {ours / floor:.1f}× the floor")
    print(f"  numpy grid of {GRID} λ        {grid:10.0f} s   {grid / ours:,.0f}× ours (scaled)")
    print(f"  the original's loop         {loop:10.0f} s   {loop / ours:,.0f}× ours (scaled)")


def make_models() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Correlated random logits of models of rising strength: correct [M, N], scores [M, N]."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, IMAGES)
    hard = rng.gamma(2.0, 1.0, IMAGES)
    correct, scores = [], {name: [] for name in NAMES}
    for m in range(MODELS):
        logits = rng.normal(0, 1 + hard[:, None] / 2, (IMAGES, CLASSES)).astype(np.float32)
        logits[np.arange(IMAGES), labels] += 4 + m / 10
        out = scores_of(logits)
        correct.append(out["prediction"] == labels)
        for name in NAMES:
            scores[name].append(out[name])
    return np.stack(correct), {name: np.stack(rows) for name, rows in scores.items()}


def seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def sweep_all(correct: np.ndarray, scores: dict[str, np.ndarray]) -> None:
    """Sorting included: what `cascade threshold --all-pairs` computes on the fitting images."""
    for name in NAMES:
        score, s = SCORES[name], scores[name]
        for a in range(MODELS):
            ordering = Ordering.of(score, s[a])
            for b in range(MODELS):
                if a != b:
                    for postcheck in (False, True):
                        gain = gains(score, correct[a], correct[b], s[a], s[b], postcheck)
                        fit(ordering, gain, OBJECTIVES)


def floor_of(correct: np.ndarray, scores: dict[str, np.ndarray]) -> None:
    order = np.argsort(scores["maxp"][0])
    gain = correct[0].view(np.int8) - correct[1].view(np.int8)
    gathered, total = np.empty(IMAGES, np.int8), np.empty(IMAGES, np.int32)
    for _ in range(MODELS * (MODELS - 1) * len(NAMES) * 2):
        np.take(gain, order, out=gathered)
        np.cumsum(gathered, dtype=np.int32, out=total)


def grid_slice(correct: np.ndarray, scores: dict[str, np.ndarray], pairs: int) -> None:
    """Every λ of the grid over whole arrays, for the first `pairs` pairs."""
    grid = np.linspace(0, 1, GRID)
    for b in range(1, pairs + 1):
        for name in NAMES:
            sign = SCORES[name].sign
            s_a, s_b = sign * scores[name][0], sign * scores[name][b]
            for final in (correct[b], np.where(s_b > s_a, correct[b], correct[0])):
                accuracy = [np.where(s_a >= sign * λ, correct[0], final).mean() for λ in grid]
                int(np.argmax(accuracy))


def loop_slice(
    correct: np.ndarray, scores: dict[str, np.ndarray], images: int, points: int
) -> None:
    """The original's way for one pair, score and rule: image by image for each λ."""
    s_a, right_a, right_b = scores["maxp"][0], correct[0], correct[1]
    best = 0.0
    for λ in np.linspace(0, 1, points):
        right = 0
        for i in range(images):
            right += right_a[i] if s_a[i] >= λ else right_b[i]
        best = max(best, right / images)


if __name__ == "__main__":
    main()
