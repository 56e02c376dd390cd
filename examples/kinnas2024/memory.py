"""The memory experiment: repeated images, with and without a memory, relative to one large CNN."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from examples.kinnas2024 import published as paper
from examples.kinnas2024.case import Case
from stages.cascade import MemoryPolicy
from stages.simulate import FittedLimit, figures, make, recall, requested

Row = dict[str, Any]

SEED = 0  # of the copies and their order
_OURS = ("n", "accuracy", "usage", "hits", "hit_rate", "false_hits", "hash_cost")


def memory(case: Case) -> Iterator[Row]:
    """Each run at each share of duplicates, relative to the single model at the same share."""
    theirs, large = _is_theirs(case), paper.ENERGY_MAH[paper.SINGLE]
    names = [name for name in paper.ENERGY_MAH if name != paper.SINGLE]
    for name in names if theirs else (paper.PLAIN, *paper.MEMORIES):
        runs = zip(paper.DUPLICATES, paper.ENERGY_MAH[name], large, strict=True)
        for share, energy, single in runs:
            published = {"energy": energy, "energy_single": single, "of_single": energy / single}
            yield {
                "memory": name,
                "duplicates": share,
                "published": published | {"unit": "mAh"} if theirs else None,
                "source": paper.ENERGY_SOURCE if theirs else None,
                "ours": _simulated(case, name, share),
            }


def _is_theirs(case: Case) -> bool:
    return case.setting.dataset == paper.ENERGY_DATASET


def _simulated(case: Case, name: str, duplicates: float) -> Row | None:
    """None of a run that ours have no counterpart of, or no hashes for.

    `runs_avoided` is the share of the CNN runs, A's and B's, that the cascade makes without it.
    """
    if name not in (paper.PLAIN, *case.hashes):
        return None
    stream = make(len(case.reported.labels), duplicates, 0.0, "shuffled", SEED)
    shown = requested({"identity": case.everyone}, stream)
    known = None if name == paper.PLAIN else recall(case.store, shown, stream, MemoryPolicy(name))
    cost = None if known is None else case.hash_cost(name)
    pricer = case.pricer and replace(case.pricer, scores=shown, hash_cost=cost)
    cascade = case.cascade(case.setting.threshold)
    fit = FittedLimit(baseline=case.single)
    row = figures(shown, cascade, fit, pricer, known).columns()
    avoided = row["avoided_1"] + row["avoided_2"]
    ends = {"of_single": "saved", "of_single_low": "saved_high", "of_single_high": "saved_low"}
    return {
        **{key: row[key] for key in _OURS},
        "runs_avoided": avoided / (row["n"] + row["escalated"] + row["avoided_2"]),
        **{to: None if row[key] is None else 1 - row[key] for to, key in ends.items()},
        "single": case.single,
    }


def reduction(case: Case, rows: Sequence[Row]) -> Row:
    """The largest reduction of cost or energy, at the share of duplicates where it is claimed."""
    there = [row for row in rows if row["duplicates"] == paper.REDUCED_AT and row["ours"]]
    known = [(row["ours"]["of_single"], row["memory"]) for row in there]
    least = min((each for each in known if each[0] is not None), default=None)
    return {
        "duplicates": paper.REDUCED_AT,
        "published": {"value": paper.REDUCTION.value} if _is_theirs(case) else None,
        "source": paper.REDUCTION.source if _is_theirs(case) else None,
        "ours": least and {"value": 1 - least[0], "memory": least[1]},
    }
