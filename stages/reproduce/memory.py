"""The memory experiment: repeated images, with and without a memory, relative to one large CNN."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stages.reproduce.case import Case
from stages.simulate import Recall, figures
from stages.stream import Stream, requested

Row = dict[str, Any]

_REMEMBERED = ("n", "accuracy", "usage", "hits", "hit_rate", "false_hits", "hash_cost")


@dataclass(frozen=True)
class Remembering:
    """One share of duplicates: the requests, a memory before them by each hash that is there, and
    what a hash costs."""

    stream: Stream
    recalls: Mapping[str, Recall]
    hash_costs: Mapping[str, float | None] = field(default_factory=dict)


def memory(case: Case, remembering: Mapping[float, Remembering]) -> Iterator[Row]:
    """Each memory at each share of duplicates, relative to the single model at the same share.

    `runs_avoided` is the share of the CNN runs, A's and B's, that the cascade makes without it.
    """
    energy = case.paper.energy
    theirs = energy.dataset == case.setting.dataset
    for name, values in energy.values.items():
        if name == energy.single or (not theirs and name not in (energy.plain, *energy.memories)):
            continue
        pairs = zip(energy.duplicates, values, energy.values[energy.single], strict=True)
        for share, value, single in pairs:
            published = {"energy": value, "energy_single": single, "of_single": value / single}
            yield {
                "memory": name,
                "duplicates": share,
                "published": published | {"unit": energy.unit} if theirs else None,
                "source": energy.source if theirs else None,
                "ours": _remembered(case, name, remembering[share]),
            }


def reduction(case: Case, rows: Sequence[Row]) -> Row:
    """The largest reduction of cost or energy, at the share of duplicates where it is claimed."""
    energy = case.paper.energy
    theirs = energy.dataset == case.setting.dataset
    known = [
        (row["ours"]["of_single"], row["memory"])
        for row in rows
        if row["duplicates"] == energy.reduced_at
        and row["ours"]
        and row["ours"]["of_single"] is not None
    ]
    least = min(known) if known else None
    return {
        "duplicates": energy.reduced_at,
        "published": {"value": energy.reduction.value} if theirs else None,
        "source": energy.reduction.source if theirs else None,
        "ours": least and {"value": 1 - least[0], "memory": least[1]},
    }


def _remembered(case: Case, name: str, at: Remembering) -> Row | None:
    recall = at.recalls.get(name)
    if recall is None and name != case.paper.energy.plain:
        return None
    pricer = case.pricer and replace(
        case.pricer,
        scores=requested({"identity": case.everyone}, at.stream),
        baseline=case.single,
        hash_cost=at.hash_costs.get(name),
    )
    shown = requested({"identity": case.reported}, at.stream)
    row = figures(shown, case.cascade(case.setting.threshold), None, pricer, recall)
    avoided = row["avoided_1"] + row["avoided_2"]
    runs = row["n"] + row["escalated"] + row["avoided_2"]
    ends = {"of_single": "saved", "of_single_low": "saved_high", "of_single_high": "saved_low"}
    return {
        **{key: row[key] for key in _REMEMBERED},
        "runs_avoided": avoided / runs,
        **{to: None if row[key] is None else 1 - row[key] for to, key in ends.items()},
        "single": case.single,
    }
