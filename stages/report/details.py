"""Image by image and class by class: what cascades at some λ send to B, save and lose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.cascade import Cascade, decide
from stages.report.curves import ANSWER, BEST, CERTIFIED, HULL, ONE_SE, Key, Mark
from stages.scores import ScoreSet, named

# Images shown of each kind; numbers of classes and cascades that fit into a page.
SHOWN, _MOST = 12, 200_000
SAVED, LOST = "saved", "lost"

Numbered = tuple[int, Key, Mark]


@dataclass(frozen=True)
class Detail:
    """Of the mark by number `mark`: per class [K] how many images went to B and how many are
    right; how many images of all were saved (A was wrong, the answer is right) and lost, and rows
    of some of them, those of which B is surest first."""

    mark: int
    deferred: np.ndarray
    right: np.ndarray
    counts: dict[str, int]
    images: dict[str, np.ndarray]


def wanted(marks: Sequence[Numbered], classes: int, chosen: Key) -> list[Numbered]:
    """Which marks: the answer, all of the chosen cascade, the hull; then every cascade's best
    as far as there is room."""
    first = [m for m in marks if m[2].kind == ANSWER]
    first += [m for m in marks if m[1] == chosen and m[2].kind in (BEST, ONE_SE, CERTIFIED)]
    first += [m for m in marks if m[2].kind == HULL]
    rest = [m for m in marks if m[2].kind == BEST]
    room = max(_MOST // classes, 1)
    fits = len(first) + len(rest) <= room
    return list({m[0]: m for m in [*first[:room], *(rest if fits else ())]}.values())


def detail(scores: ScoreSet, classes: int, marked: Numbered) -> Detail:
    mark, key, (_, limit, *_) = marked
    names = scores.models[key.a], scores.models[key.b]
    found = decide(scores, Cascade.of(names, key.score, limit, postcheck=key.postcheck))
    before = scores.correct[key.a]
    kinds = {SAVED: found.correct & ~before, LOST: before & ~found.correct}
    usual = named(scores.own[0])  # maxp, where it is known
    sure = usual.sign * scores.scores[usual.name][key.b]
    return Detail(
        mark,
        np.bincount(scores.labels[found.escalated], minlength=classes),
        np.bincount(scores.labels[found.correct], minlength=classes),
        {kind: int(rows.sum()) for kind, rows in kinds.items()},
        {kind: _surest(rows, sure) for kind, rows in kinds.items()},
    )


def _surest(rows: np.ndarray, sure: np.ndarray) -> np.ndarray:
    where = np.flatnonzero(rows)
    return where[np.argsort(-sure[where], kind="stable")[:SHOWN]]


def arrays(
    scores: ScoreSet, found: Sequence[Detail], keys: dict[int, Key], classes: int
) -> dict[str, np.ndarray]:
    """As the page holds them: `class_size`, `class_right` by model and class; by detail
    `detail_mark`, `detail_deferred` and `detail_right` by class, `detail_saved`, `detail_lost`; the
    images of detail d, saved then lost, as positions in `image` from `example_start` 2d on, with
    the answers of A and B."""
    examples = [(keys[one.mark], one.images[kind]) for one in found for kind in (SAVED, LOST)]
    used = np.unique(_stacked([rows for _, rows in examples]))
    right = [np.bincount(scores.labels[row], minlength=classes) for row in scores.correct]
    answers = scores.predictions
    return {
        "class_size": np.bincount(scores.labels, minlength=classes),
        "class_right": _stacked(right),
        "detail_mark": np.array([one.mark for one in found], np.int64),
        "detail_deferred": _stacked([one.deferred for one in found]),
        "detail_right": _stacked([one.right for one in found]),
        "detail_saved": np.array([one.counts[SAVED] for one in found], np.int64),
        "detail_lost": np.array([one.counts[LOST] for one in found], np.int64),
        "example_start": np.append(0, np.cumsum([len(rows) for _, rows in examples])),
        "example": np.searchsorted(used, _stacked([rows for _, rows in examples])),
        "example_a": _stacked([answers[key.a, rows] for key, rows in examples]),
        "example_b": _stacked([answers[key.b, rows] for key, rows in examples]),
        "image": scores.sample_ids[used],
        "image_label": scores.labels[used],
    }


def _stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int64), *rows])
