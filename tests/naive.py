"""The decision rule and its sweep as a reader of DESIGN.md §4 would write them: one image at a
time, one threshold at a time, in plain Python with exact fractions. Slow on purpose, shares nothing
with the package.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

SCORES = ("maxp", "difference", "entropy")
ALL_SCORES = (*SCORES, "oracle")


class Image(NamedTuple):
    label: int
    answer_a: int
    answer_b: int
    s_a: float
    s_b: float


def images_of(scores, a, b, name):
    """The images of two models of a ScoreSet."""
    nothing = [0.0] * len(scores.labels)
    s_a, s_b = (nothing, nothing) if name == "oracle" else scores.scores[name][[a, b]].tolist()
    answers = scores.predictions[[a, b]].tolist()
    return [Image(*row) for row in zip(scores.labels.tolist(), *answers, s_a, s_b, strict=True)]


def is_trusted(name, image, threshold):
    if name == "oracle":
        return image.answer_a == image.label
    if threshold == "always":
        return False
    if threshold == "never":
        return True
    if name == "entropy":
        return image.s_a <= threshold
    return image.s_a >= threshold


def is_surer(name, this, that):
    return this < that if name == "entropy" else this > that


def decide(name, image, threshold, postcheck):
    """(B ran, B's answer was taken, the answer)."""
    if is_trusted(name, image, threshold):
        return False, False, image.answer_a
    if postcheck and name != "oracle" and not is_surer(name, image.s_b, image.s_a):
        return True, False, image.answer_a
    return True, True, image.answer_b


class Point(NamedTuple):
    """What one threshold does: who was sent to B, and which answers came out right."""

    sent: frozenset
    right: tuple

    @property
    def usage(self):
        return len(self.sent)

    @property
    def hits(self):
        return sum(self.right)


def point(name, images, threshold, postcheck):
    sent, right = set(), []
    for i, image in enumerate(images):
        ran_b, _, answer = decide(name, image, threshold, postcheck)
        if ran_b:
            sent.add(i)
        right.append(answer == image.label)
    return Point(frozenset(sent), tuple(right))


def candidates(images):
    """Thresholds below, at, between and above all scores of A."""
    values = sorted({image.s_a for image in images})
    between = [(low + high) / 2 for low, high in pairwise(values)]
    return ["never", "always", values[0] - 1, *values, *between, values[-1] + 1]


def all_points(name, images, postcheck, thresholds=None):
    """Every distinct outcome → the first threshold that gives it."""
    found = {}
    for threshold in candidates(images) if thresholds is None else thresholds:
        found.setdefault(point(name, images, threshold, postcheck), threshold)
    return found


def best(points):
    """Highest accuracy, then least use of B."""
    return min(points, key=lambda p: (-p.hits, p.usage))


def one_se(points):
    """Least use of B among the points within one paired standard error of the best."""
    top = best(points)
    near = [p for p in points if _within_one_se(top, p)]
    return min(near, key=lambda p: p.usage)


def _within_one_se(top, other):
    n = len(top.right)
    d = [int(x) - int(y) for x, y in zip(top.right, other.right, strict=True)]
    mean = Fraction(sum(d), n)
    variance = sum((x - mean) ** 2 for x in d) / Fraction(n - 1)
    return mean <= 0 or mean**2 <= variance / n


CHOOSE = {"best": best, "1se": one_se}


def interval(name, images, sent):
    """(λ, low, high) for a set of images sent to B, by DESIGN.md §4."""
    surer_end = [image.s_a for i, image in enumerate(images) if i not in sent]
    less_end = [image.s_a for i, image in enumerate(images) if i in sent]
    if name == "entropy":
        low = max(surer_end) if surer_end else None
        high = min(less_end) if less_end else None
        included, excluded = low, high
    else:
        low = max(less_end) if less_end else None
        high = min(surer_end) if surer_end else None
        included, excluded = high, low
    if excluded is None:
        return "never", low, high
    if included is None:
        return "always", low, high
    middle = float((Fraction(low) + Fraction(high)) / 2)
    return (included if middle == excluded else middle), low, high
