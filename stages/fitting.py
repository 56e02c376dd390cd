"""Which images fit λ: never silently those that are reported, nor those a model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cache import InputError, Store
from stages.datasets import split_name
from stages.score import ScoreSet, load, models_of, splits_of

FOLDS = 5
_SEED = 20240901


@dataclass(frozen=True)
class FitPlan:
    """`method` is other-split, cross-fit, or same-split; `scores` are those of the fitting images.

    Under cross-fit the reported split is cut into FOLDS folds by image and each is decided with the
    λ fitted on the others.
    """

    method: str
    split: str
    scores: ScoreSet
    notes: tuple[str, ...]


def plan(
    store: Store,
    reported: ScoreSet,
    fit_split: str | None = None,
    runtime: str | None = None,
) -> FitPlan:
    """The fitting images for a reported split: those asked for, else an honest default.

    InputError where the fitting split holds other weights than the reported one.
    """
    trained = trained_splits(reported)
    fit_split = fit_split and split_name(reported.dataset, fit_split)
    runtime = runtime or _only_runtime(reported)
    if fit_split is None:
        fit_split = _clean_split(store, reported, trained, runtime)
        if fit_split is None:
            note = (
                f"no other split of {reported.dataset} in the cache is free of training images: λ "
                f"is cross-fitted on {reported.split} ({FOLDS} folds)"
            )
            return FitPlan("cross-fit", reported.split, reported, (note, *_seen(reported, trained)))
    if fit_split == reported.split:
        note = f"λ is fitted and reported on the same images of {fit_split}: this is optimistic"
        return FitPlan("same-split", fit_split, reported, (note, *_seen(reported, trained)))
    scores = load(store, reported.dataset, fit_split, reported.models, runtime=runtime)
    _same_weights(reported, scores)
    return FitPlan("other-split", fit_split, scores, _seen(scores, trained))


def trained_splits(scores: ScoreSet) -> dict[str, tuple[tuple[str, ...], str]]:
    """Model → (splits its weights have seen, how that is known)."""
    out = {}
    for model, manifest in zip(scores.models, scores.manifests, strict=True):
        known = manifest.provenance.get("trained_on") or {}
        out[model] = (tuple(known.get("splits", ())), str(known.get("source", "unknown")))
    return out


def folds(n: int, count: int = FOLDS) -> np.ndarray:
    """int [n]: each image's fold, balanced, by a seeded shuffle."""
    if n < count:
        raise InputError(f"{n} images are too few for {count} folds: give --fit-split")
    return np.random.default_rng(_SEED).permutation(n) % count


def _clean_split(
    store: Store,
    reported: ScoreSet,
    trained: dict[str, tuple[tuple[str, ...], str]],
    runtime: str | None,
) -> str | None:
    """Another split with all these models that none was trained on; `val` first."""
    seen = {split for splits, _ in trained.values() for split in splits} | {reported.split}
    others = [split for split in splits_of(store, reported.dataset) if split not in seen]
    for split in sorted(others, key=lambda name: (name not in ("val", "validation"), name)):
        found: Sequence[str] = list(models_of(store, reported.dataset, split, runtime=runtime))
        if set(reported.models) <= set(found):
            return split
    return None


def _only_runtime(scores: ScoreSet) -> str | None:
    """The runtime that all models share: λ of one is not that of another."""
    runtimes = {manifest.partition.keys["runtime"] for manifest in scores.manifests}
    return runtimes.pop() if len(runtimes) == 1 else None


def _same_weights(reported: ScoreSet, fitting: ScoreSet) -> None:
    for model, *manifests in zip(
        reported.models, reported.manifests, fitting.manifests, strict=True
    ):
        here, there = (str(m.provenance.get("weights_sha256"))[:12] for m in manifests)
        if here != there:
            raise InputError(
                f"{model} has weights {here} on {reported.split} but {there} on {fitting.split}: "
                f"extract one of them again, or fit on {reported.split} (--fit-split)"
            )


def _seen(scores: ScoreSet, trained: dict[str, tuple[tuple[str, ...], str]]) -> tuple[str, ...]:
    guilty = [
        f"{model} ({source})" for model, (seen, source) in trained.items() if scores.split in seen
    ]
    if not guilty:
        return ()
    return (
        f"warning: {', '.join(guilty)} was trained on {scores.split}, where it looks surer than it "
        "is: fit on a split that no model saw",
    )
