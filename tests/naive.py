"""The decision rule, its sweep and cross-fitting as a reader of DESIGN.md §4 would write them: one
image at a time, one threshold at a time, in plain Python with exact fractions, and intervals by
their formulas. Slow on purpose, shares nothing with the package.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from scipy.stats import beta, binomtest

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


def is_right(label, answer):
    """What an answer is worth, where nothing else says."""
    return answer == label


class Point(NamedTuple):
    """What one threshold does: who was sent to B, and which answers came out right, or what each
    is worth."""

    sent: frozenset
    right: tuple

    @property
    def usage(self):
        return len(self.sent)

    @property
    def hits(self):
        return sum(self.right)


def point(name, images, threshold, postcheck, worth=is_right):
    sent, right = set(), []
    for i, image in enumerate(images):
        ran_b, _, answer = decide(name, image, threshold, postcheck)
        if ran_b:
            sent.add(i)
        right.append(worth(image.label, answer))
    return Point(frozenset(sent), tuple(right))


def candidates(images):
    """Thresholds below, at, between and above all scores of A."""
    values = sorted({image.s_a for image in images})
    between = [(low + high) / 2 for low, high in pairwise(values)]
    return ["never", "always", values[0] - 1, *values, *between, values[-1] + 1]


def all_points(name, images, postcheck, thresholds=None, worth=is_right):
    """Every distinct outcome → the first threshold that gives it."""
    found = {}
    for threshold in candidates(images) if thresholds is None else thresholds:
        found.setdefault(point(name, images, threshold, postcheck, worth), threshold)
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
    d = [0 + x - y for x, y in zip(top.right, other.right, strict=True)]
    mean = Fraction(sum(d)) / n
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


class Held(NamedTuple):
    """What one fitting of λ did on its own images, and then on those of the fold it decides."""

    fit_right: int
    fit_sent: int
    right: int
    won: int
    lost: int


class HeldCredit(NamedTuple):
    """And of what each answer is worth, and the other model's: pairs of each image of the fold."""

    held: Held
    credit: list


def cross_fit(name, images, postcheck, objective, repeats, alone=None, thresholds=None):
    """[Held of each fold] of each of the `repeats`, the folds of the images: the λ fitted on the
    others decides a fold. It is held against A or B, the more accurate on those others, of equals
    A; or against what `alone` says of each image."""
    return [
        [
            _held(name, images, postcheck, objective, fold_of, fold, alone, thresholds)
            for fold in sorted(set(fold_of))
        ]
        for fold_of in repeats
    ]


def _held(name, images, postcheck, objective, fold_of, fold, alone, thresholds):
    others = [image for image, f in zip(images, fold_of, strict=True) if f != fold]
    points = all_points(name, others, postcheck, thresholds)
    chosen = CHOOSE[objective](points)
    threshold = points[chosen]
    if thresholds is None:
        threshold = interval(name, others, chosen.sent)[0]
    rivals = more_accurate(others, images) if alone is None else alone
    right = won = lost = 0
    for i, image in enumerate(images):
        if fold_of[i] == fold:
            is_right = decide(name, image, threshold, postcheck)[2] == image.label
            right += is_right
            won += is_right and not rivals[i]
            lost += rivals[i] and not is_right
    return Held(chosen.hits, chosen.usage, right, won, lost)


def cross_fit_credit(name, images, postcheck, objective, fold_of, fold, worth):
    """HeldCredit of one fold, where λ and the other model, A or B, are chosen by what answers are
    worth on the others."""
    others = [image for image, f in zip(images, fold_of, strict=True) if f != fold]
    chosen = CHOOSE[objective](all_points(name, others, postcheck, None, worth))
    threshold = interval(name, others, chosen.sent)[0]
    own, theirs = (sum(worth(i.label, getattr(i, x)) for i in others) for x in _ANSWERS)
    rival = _ANSWERS[theirs > own]
    right = won = lost = 0
    credit = []
    for image in (image for image, f in zip(images, fold_of, strict=True) if f == fold):
        answer, other = decide(name, image, threshold, postcheck)[2], getattr(image, rival)
        right += answer == image.label
        won += answer == image.label != other
        lost += answer != image.label == other
        credit.append((worth(image.label, answer), worth(image.label, other)))
    return HeldCredit(Held(chosen.hits, chosen.usage, right, won, lost), credit)


_ANSWERS = ("answer_a", "answer_b")


def more_accurate(fitting, images):
    """Whether the one of A and B that is right more often on the `fitting` images, of equals A, is
    right on each."""
    right_a = sum(image.answer_a == image.label for image in fitting)
    right_b = sum(image.answer_b == image.label for image in fitting)
    return [
        (image.answer_b if right_b > right_a else image.answer_a) == image.label for image in images
    ]


Z = 1.959963984540054


def wilson(count, n):
    """(value, low, high) of a share of n images, whole or a mean of several counts."""
    p = count / n
    middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    return p, middle - half if count else 0.0, middle + half if count < n else 1.0


def paired_change(won, lost, n):
    """(value, low, high): normal limits, or where fewer than 30 differ Clopper and Pearson's of
    the two shares, squared and added."""
    value = (won - lost) / n
    if won + lost >= 30:
        half = Z * math.sqrt(((won + lost) / n - value**2) / n)
        return value, value - half, value + half
    (low_w, high_w), (low_l, high_l) = (_clopper_pearson(count, n) for count in (won, lost))
    below = math.sqrt((won / n - low_w) ** 2 + (high_l - lost / n) ** 2)
    above = math.sqrt((high_w - won / n) ** 2 + (lost / n - low_l) ** 2)
    return value, value - below, value + above


def _clopper_pearson(count, n):
    low = beta.ppf(0.025, count, n - count + 1) if count else 0.0
    return low, beta.ppf(0.975, count + 1, n - count) if count < n else 1.0


def repeated(values, around):
    """`around`, (value, low, high), widened by the variance between the repeats' values."""
    value, low, high = around
    mean = sum(values) / len(values)
    spread = Z**2 * sum((x - mean) ** 2 for x in values) / (len(values) - 1)
    return (
        value,
        value - math.sqrt((value - low) ** 2 + spread),
        value + math.sqrt((high - value) ** 2 + spread),
    )


def honest(decided, n):
    """((accuracy, low, high), (change, low, high)) of what `cross_fit` gives."""
    right, won, lost = (
        [sum(getattr(held, name) for held in repeat) for repeat in decided]
        for name in ("right", "won", "lost")
    )
    means = [sum(counts) / len(counts) for counts in (right, won, lost)]
    changes = [(w - x) / n for w, x in zip(won, lost, strict=True)]
    return (
        repeated([count / n for count in right], wilson(means[0], n)),
        repeated(changes, paired_change(means[1], means[2], n)),
    )


def exact_change(won, lost, n, level=0.95):
    """From SciPy's limits of the two shares, squared and added."""
    w, x = (binomtest(k, n).proportion_ci(level, method="exact") for k in (won, lost))
    below = math.sqrt((won / n - w.low) ** 2 + (x.high - lost / n) ** 2)
    above = math.sqrt((w.high - won / n) ** 2 + (lost / n - x.low) ** 2)
    return (won - lost) / n - below, (won - lost) / n + above
