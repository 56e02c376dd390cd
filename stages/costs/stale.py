"""Costs of other weights than the logits come from: left out of every price, dropped in the end.

A row that does not say which weights it was measured with (an older cache, a board's CSV) may be of
these: it is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from functools import partial

import cache
from cache import CostRow, Store
from stages import missing
from stages.costs import table as costs
from stages.models import recorded
from stages.scores import ScoreSet

_told: set[tuple[str, ...]] = set()


def measured_with(row: CostRow, weights: Collection[str | None]) -> bool:
    """Whether a row may be of one of these weights (SHA-256), None being weights not known."""
    stated = row.weights_sha256
    return stated is None or None in weights or stated in weights


def current(store: Store, scores: ScoreSet) -> dict[str, list[CostRow]]:
    """The cost rows of each model, as `costs.read`, that price the weights its scores come from.

    What is left out is told once.
    """
    rows = _rows(store, scores)
    found = {
        model: [row for row in rows[model] if measured_with(row, {weights})]
        for model, weights in scores.weights.items()
    }
    left = {model: len(rows[model]) - len(kept) for model, kept in found.items()}
    if any(left.values()):
        _tell(_left_out(store, scores.dataset, left), store.root, scores.dataset, "left out")
    return found


def _rows(store: Store, scores: ScoreSet) -> dict[str, list[CostRow]]:
    """Of a model that is here as MODEL@RUNTIME those of that runtime."""
    keys = {
        name: manifest.partition.keys
        for name, manifest in zip(scores.models, scores.manifests, strict=True)
    }
    found = costs.read(store, scores.dataset, [of["model"] for of in keys.values()])
    return {
        name: [
            row for row in found[of["model"]] if name == of["model"] or row.runtime == of["runtime"]
        ]
        for name, of in keys.items()
    }


def _left_out(store: Store, dataset: str, left: Mapping[str, int]) -> str:
    models = [model for model, count in left.items() if count]
    named = ",".join(_named(store, dataset, model) for model in models)
    again = missing.command_line(store, ["profile", "--dataset", dataset, "--models", named])
    return (
        f"costs of {_counted(left)} were measured with other weights than the logits come from, "
        f"and are left out: run `{again}`"
    )


def _named(store: Store, dataset: str, model: str) -> str:
    facts = recorded(store, dataset, model)
    return missing.named_model(model, facts[0]) if facts and "architecture" in facts[0] else model


def _counted(by_model: Mapping[str, int]) -> str:
    counted = [(model, count) for model, count in by_model.items() if count]
    return ", ".join(f"{model} ({n} row{'s' * (n > 1)})" for model, n in counted)


def tell_unstated(store: Store, scores: ScoreSet, prices: costs.Prices) -> None:
    """A line, once, on models of known weights that are priced by rows that state none."""
    models = [model for model in prices.unstated if scores.weights.get(model)]
    if models:
        line = (
            f"costs of {', '.join(models)} do not say which weights they were measured with, and "
            "count as those of the logits: `cascade profile` says it, and so does a column "
            "weights_sha256 for `cascade import-costs`"
        )
        _tell(line, store.root, scores.dataset, "unstated")


def _tell(line: str, *about: str) -> None:
    """On stderr, one line on a matter, though a command may ask for other models later."""
    if about not in _told:
        _told.add(about)
        print(line, file=sys.stderr, flush=True)


def drop(store: Store, dataset: str, models: Collection[str]) -> str | None:
    """Drop the rows of weights that no logits of the model come from any more, and say which."""
    # The dataset's logits, and the scores that came without.
    tables = (cache.find(store, table, dataset) for table in ("scores", *cache.OUTPUTS))
    answers = {manifest.partition.values: manifest for found in tables for manifest in found}
    held: dict[str, set[str | None]] = {}
    for manifest in answers.values():
        weights = manifest.provenance.get("weights_sha256")
        held.setdefault(manifest.partition.keys["model"], set()).add(weights)
    dropped = dict.fromkeys(models, 0)
    for manifest in cache.find(store, "costs", dataset):
        model = manifest.partition.keys["model"]
        if model in dropped and model in held:
            wanted = partial(measured_with, weights=held[model])
            dropped[model] += costs.keep(store, manifest.partition, wanted)
    if not any(dropped.values()):
        return None
    return (
        f"costs of {_counted(dropped)} were measured with other weights than any logits come from "
        "now, and are dropped"
    )
