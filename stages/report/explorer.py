"""Everything the page's script needs, as facts and arrays; see `packing` for how they travel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import cache
from cache import Partition, Store
from stages.cascade import sums
from stages.costs import Pricer, batches, by_size
from stages.datasets import Source
from stages.heterogeneity import measures
from stages.missing import IMPORTED
from stages.report import curves, details, thumbnails, words
from stages.report.certified import Certifying
from stages.report.costs import PageCosts
from stages.report.curves import CurveGroup, Key, Mark, Marks
from stages.report.measured import hash_costs, live_runs
from stages.report.points import PageSubject
from stages.report.searched import Searched, key_of
from stages.scores import ScoreSet, named, named_classes
from stages.statistics import FEW, LEVEL, NORMAL, least, most, z_of


@dataclass(frozen=True)
class Explorer:
    """`corners` of each cascade are kept at most, between which lines are off by at most `off`."""

    facts: dict[str, object]
    arrays: dict[str, np.ndarray]
    corners: int
    off: float


def explore(
    subject: PageSubject, searched: Searched, certifying: Certifying, source: Source | None
) -> Explorer:
    """`source` are the images to show, None where they were not given."""
    reported, pricer = subject.reported, subject.costs.pricer
    reference = reported.index(searched.against)
    models, names = len(reported.models), subject.names
    limit = curves.corners(models, names)
    marks = _marks(subject, searched)
    groups = list(curves.groups(reported, reference, marks, certifying, limit, names))
    baseline = str(searched.answer.against.baseline)
    arrays = curves.arrays(groups, models) | _prices(pricer, groups, baseline)
    arrays |= _metrics(reported)
    arrays |= _best_of_pairs(subject)
    classes = class_names(subject.store, reported)
    known, found = _details(subject, groups, len(classes))
    arrays |= details.arrays(reported, found, known, len(classes))
    off = float(arrays["off"].max() / len(reported.labels))
    facts = _facts(subject, searched, certifying) | {
        "corners": limit,
        "off": off,
        "search": searched.about(),
        "pick": key_of(reported, subject.points.chosen)._asdict(),
        "pick_mark": curves.ANSWER if subject.answered else curves.BEST,
        "classes": classes,
        "order": clustered(arrays["metric_heterogeneity"].reshape(models, models)),
        "live": live_runs(subject.store, reported),
        "hashes": hash_costs(subject.store, pricer),
        "images": _images(subject.store, reported, arrays, found, source),
    }
    return Explorer(facts, arrays, limit, off)


def _facts(subject: PageSubject, searched: Searched, certifying: Certifying) -> dict[str, object]:
    reported, plan = subject.reported, subject.plan
    macs, limits = reported.macs, certifying.limits
    reference = reported.index(searched.against)
    return {
        "dataset": reported.dataset,
        "split": reported.split,
        "n": len(reported.labels),
        "fit_split": plan.split,
        "fit_method": plan.method,
        "fit_n": len(plan.scores.labels),
        "fitted_on": subject.fitted_on,
        "shown_on": subject.shown_on,
        "fitted_here": subject.fitted_here,
        "drawn": words.drawn(subject),
        "models": [
            {"name": name, "right": int(right.sum()), "macs": macs[name]}
            for name, right in zip(reported.models, reported.correct, strict=True)
        ],
        "overlap": _overlap(reported, reference),
        "scores": [{"name": name, "sign": named(name).sign} for name in subject.names],
        "kinds": curves.KINDS,
        "normal": z_of(LEVEL),
        "limits": _exact_limits(len(reported.labels)),
        "reference": reference,
        "baseline": reported.index(str(searched.answer.against.baseline)),
        "imported": {m.partition.keys["runtime"] for m in reported.manifests} == {IMPORTED},
        "cost": _cost(subject.costs),
        "certificate": {
            "epsilon": limits.epsilon,
            "delta": limits.delta,
            "split": subject.fitted_on,
            "why": certifying.why,
        },
    }


def _exact_limits(n: int) -> dict[str, object]:
    """Clopper–Pearson limits of 0 to FEW − 1 of n images: what intervals of differences that small
    are made of."""
    error, counts = (1 - LEVEL) / 2, range(min(FEW, n + 1))
    return {
        "least": [least(count, n, error) for count in counts],
        "most": [most(count, n, error) for count in counts],
    }


def _overlap(reported: ScoreSet, reference: int) -> list[int]:
    """How often each model is right where the reference is wrong: where each `won` starts."""
    return (reported.correct & ~reported.correct[reference]).sum(axis=1).tolist()


def _cost(costs: PageCosts) -> dict[str, object]:
    kind = costs.kind
    return {
        "noun": kind.noun,
        "unit": kind.unit,
        "short": kind.short,
        "steps": kind.steps,
        "normal": NORMAL,
        "axis": costs.axis,
        "why": costs.why,
        "batch_size": costs.pricer.batch_size,
    }


def _marks(subject: PageSubject, searched: Searched) -> Marks:
    """The fitted λ of every cascade, and those of the search."""
    out: dict[Key, list[Mark]] = {}
    for row in subject.points.rows:
        fitted = np.nan if row.fit.fit_accuracy is None else row.fit.fit_accuracy
        mark = Mark(str(row.fit.objective), row.threshold, row.accuracy.value, fitted)
        out.setdefault(key_of(subject.reported, row), []).append(mark)
    for key, marks in searched.marks().items():
        out[key] += marks
    return out


def _best_of_pairs(subject: PageSubject) -> dict[str, np.ndarray]:
    """The number of each pair's best cascade, and its accuracy at its two fitted λ: where folds
    fitted them, of folds that chose the cascade too."""
    reported, pairs = subject.reported, subject.points.pairs
    keys = [key_of(reported, best) for best, _ in pairs]
    numbers = [curves.number(key, len(reported.models), subject.names) for key in keys]
    return {
        "best_of_pairs": np.array(numbers, np.int64),
        "pair_best": np.array([best.accuracy.value for best, _ in pairs], np.float64),
        "pair_1se": np.array([one_se.accuracy.value for _, one_se in pairs], np.float64),
    }


def _prices(pricer: Pricer, groups: Sequence[CurveGroup], baseline: str) -> dict[str, np.ndarray]:
    """Per model what batches of 0 … b images cost (value, low and high), and a request alone; with
    batches of several requests, how many of each size B gets at each number of images sent on; with
    costs of each request, what those images cost."""
    size, models = pricer.batch_size, pricer.scores.models
    largest = min(size, len(pricer.scores.labels))
    tables = np.stack([by_size(pricer.prices.forward[model], largest) for model in models])
    alone = [pricer.model(model) for model in models]
    out = {
        **{f"batch_{name}": tables[:, i] for i, name in enumerate(("value", "low", "high"))},
        "alone_value": np.array([each.value for each in alone]),
        "alone_half": np.array([each.half for each in alone]),
    }
    if size == 1 and not pricer.prices.by_request:
        return out
    sizes = [
        np.unique(np.concatenate([group.k, *(one.marked[0] for one in group.cascades)]))
        for group in groups
    ]
    starts = np.cumsum([0, *map(len, sizes)])
    out |= {"sent": np.concatenate(sizes), "sent_start": starts}
    each = list(zip(groups, sizes, strict=True))
    if pricer.prices.by_request:
        spent = [_spent(pricer.each, models.index(baseline), *one) for one in each]
        return out | {"sent_spent": np.concatenate(spent, axis=1).transpose(1, 2, 0)}
    counts = [_counted(group, k, size) for group, some in each for k in some.tolist()]
    return out | {"sent_batches": np.stack(counts)}


def _spent(each: np.ndarray, baseline: int, group: CurveGroup, k: np.ndarray) -> np.ndarray:
    """float64 [3, K, M], by second model where it runs on the first k images: what a request costs,
    and the half-widths of that and of the share saved against the baseline."""
    order = group.ordering.order
    n, first, second, other = (
        len(order),
        *(each[row][..., order] for row in (group.a, ..., baseline)),
    )

    def mean(alone: np.ndarray, sent: np.ndarray) -> np.ndarray:
        return (alone.sum() + sums(sent, np.float64).T[k]) / n

    cost, shared = mean(first, second), mean(first * other, second * other)
    squares = mean(first**2, second * (2 * first + second))
    whole = other.mean() or np.nan
    ratio = cost / whole
    saved = (squares - 2 * ratio * shared + ratio**2 * np.mean(other**2)) / whole**2
    variances = np.maximum([squares - cost**2, saved], 0)
    return np.stack([cost, *(NORMAL * np.sqrt(variances / n))])


def _counted(group: CurveGroup, k: int, size: int) -> np.ndarray:
    chosen = np.zeros(len(group.ordering.order), bool)
    chosen[group.ordering.order[:k]] = True
    found = batches(chosen, size)
    return np.pad(found, (0, size + 1 - len(found)))


def _metrics(reported: ScoreSet) -> dict[str, np.ndarray]:
    found = measures(reported.correct, reported.predictions)
    return {f"metric_{name}": values for name, values in found.items()}


def clustered(distance: np.ndarray) -> list[int]:
    """Rows of a symmetric float64 [M, M] so that what is alike lies together: average linkage, the
    leaves in the order with the least distance between neighbours."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return [int(row) for row in leaves_list(tree)]


def class_names(store: Store, reported: ScoreSet) -> list[str]:
    """As the samples name them; numbers where they do not."""
    names = named_classes(store, reported)
    count = int(max(reported.labels.max(), reported.predictions.max())) + 1
    return [*names, *map(str, range(len(names), count))]


def _details(
    subject: PageSubject, groups: Sequence[CurveGroup], classes: int
) -> tuple[dict[int, Key], list[details.Detail]]:
    """The cascade of each mark that has details, and these."""
    keys = [
        Key(group.a, b, name, postcheck)
        for group, name in zip(groups, subject.names * len(subject.reported.models), strict=True)
        for b in range(len(subject.reported.models))
        for postcheck in ((False, True) if b != group.a else ())
    ]
    marked = [
        (key, mark)
        for key, one in zip(keys, (c for g in groups for c in g.cascades), strict=True)
        for mark in one.marks
    ]
    numbered = [(i, key, mark) for i, (key, mark) in enumerate(marked)]
    chosen = details.wanted(numbered, classes, key_of(subject.reported, subject.points.chosen))
    found = [details.detail(subject.reported, classes, each) for each in chosen]
    return {i: key for i, key, _ in chosen}, found


def _images(
    store: Store,
    reported: ScoreSet,
    arrays: dict[str, np.ndarray],
    found: Sequence[details.Detail],
    source: Source | None,
) -> dict[str, object]:
    """Names of the images in `arrays`, and thumbnails where there is a source."""
    place = Partition.of("samples", dataset=reported.dataset, split=reported.split)
    manifest = cache.load(store, place)
    names: list[Any] = []
    if manifest is not None:
        table = cache.read_table(store, manifest, ["sample_id", "key"])
        known = dict(zip(table["sample_id"].to_pylist(), table["key"].to_pylist(), strict=True))
        names = [known[sample] for sample in arrays["image"].tolist()]
    rows = [row for one in found for kind in one.images.values() for row in kind.tolist()]
    ids = [int(reported.sample_ids[row]) for row in rows]
    small = {} if source is None else thumbnails.thumbnails(source, ids)
    return {"names": names, "thumbnails": small}
