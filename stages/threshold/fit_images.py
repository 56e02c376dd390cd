"""Which images fit λ: never silently those that are reported, nor those a model was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

import cache
from cache import InputError, Manifest, Store
from stages.datasets import split_name
from stages.scores import Halves, ScoreSet, labelled_splits_of, load, models_of, partitions_of

# Cross-fitting: folds by image, and how often all of it is repeated with others.
FOLDS, REPEATS = 5, 10
_SEED = 20240901
# The part of the images that proposes what the others test; see docs/methods.md.
_SHARE, PART_SEED = 0.3, 20240902

# Model → (splits its weights have seen, how that is known).
Trained = dict[str, tuple[tuple[str, ...], str]]
# SHA-256 of a model's weights and, where they are known, of its package's code.
Making = tuple[str | None, str | None]


@dataclass(frozen=True)
class _Told:
    """What the partition `on` a split tells of its weights: the `splits` they have seen."""

    on: str
    splits: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class FitPlan:
    """`method` is other-split, halves, cross-fit, hold-out or same-split; `scores` are those of the
    fitting images.

    Under cross-fit the reported split is cut into FOLDS folds by image and each is decided with the
    λ fitted on the others; under hold-out a part of it fits, and only the rest is reported.
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
    """The fitting images for a reported split: those asked for, else an honest default; of a half
    of a split the other half.

    InputError where the fitting split holds other weights or model code than the reported one.
    """
    _check_calibrated(reported)
    told = _told(store, reported)
    trained, notes = _together(told), _differing(told)
    fit_split = fit_split and split_name(reported.dataset, fit_split)
    # λ of one is not that of another; MODEL@RUNTIME names its own
    runtime = None if reported.by_runtime else runtime or reported.runtime
    if reported.halves is not None:
        if fit_split is not None:
            raise InputError(f"half of {reported.split} fits λ (--halves): leave out {fit_split}")
        fitting, note = _other_half(store, reported, reported.halves, runtime)
        return FitPlan("halves", reported.split, fitting, (note, *seen(fitting, trained), *notes))
    if fit_split is None:
        fit_split, why = _clean_split(store, reported, trained, runtime)
        if fit_split is None:
            note = f"{why}: λ is cross-fitted on {reported.split} ({REPEATS} × {FOLDS} folds)"
            notes = (note, *seen(reported, trained), *notes)
            return FitPlan("cross-fit", reported.split, reported, notes)
    if fit_split == reported.split:
        if len({each.partition.keys["model"] for each in reported.manifests}) < len(told):
            raise InputError(
                f"{fit_split} would choose among runtimes of a model and be reported: fit on "
                "another split"
            )
        note = f"λ is fitted and reported on the same images of {fit_split}: this is optimistic"
        notes = (note, *seen(reported, trained), *notes)
        return FitPlan("same-split", fit_split, reported, notes)
    scores = load(store, reported.dataset, fit_split, reported.models, runtime=runtime)
    _same_models(store, reported, scores)
    return FitPlan("other-split", fit_split, scores, (*seen(scores, trained), *notes))


def _check_calibrated(reported: ScoreSet) -> None:
    """InputError where the reported images set the ranges of an int8 model."""
    for model, manifest in zip(reported.models, reported.manifests, strict=True):
        export = (manifest.provenance.get("settings") or {}).get("export") or {}
        by = export.get("calibration") or {}
        if (by.get("dataset"), by.get("split")) == (reported.dataset, reported.split):
            raise InputError(
                f"{model} was calibrated on {reported.split}, which tells too much of it: report "
                "another split"
            )


def trained_splits(store: Store, scores: ScoreSet) -> Trained:
    """What is known of these weights from any split of the dataset: all of it together, what was
    stated before what was assumed."""
    return _together(_told(store, scores))


def _told(store: Store, scores: ScoreSet) -> dict[str, list[_Told]]:
    """Model → what each partition of the same weights in the same runtime tells."""
    found = {manifest.partition.values: manifest for manifest in scores.manifests}
    for table in ("scores", *cache.OUTPUTS):
        for manifest in cache.find(store, table, scores.dataset):
            found[manifest.partition.values] = manifest
    out: dict[str, list[_Told]] = {model: [] for model in scores.models}
    mine = dict(zip(map(_weights, scores.manifests), scores.models, strict=True))
    for manifest in found.values():
        if _weights(manifest) in mine:
            known = manifest.provenance.get("trained_on") or {}
            splits = tuple(known.get("splits", ()))
            told = _Told(manifest.partition.keys["split"], splits, known.get("source", "unknown"))
            out[mine[_weights(manifest)]].append(told)
    return out


def _weights(manifest: Manifest) -> tuple[str, str, str | None]:
    keys = manifest.partition.keys
    return keys["model"], keys["runtime"], manifest.provenance.get("weights_sha256")


def _together(told: Mapping[str, list[_Told]]) -> Trained:
    out = {}
    for model, each in told.items():
        surest = [one for one in each if one.source == "stated"]
        surest = surest or [one for one in each if one.splits] or each
        splits = dict.fromkeys(split for one in surest for split in one.splits)
        out[model] = (tuple(splits), surest[0].source)
    return out


def _differing(told: Mapping[str, list[_Told]]) -> tuple[str, ...]:
    """A note for each model of which two different things are stated."""
    notes = []
    for model, each in told.items():
        stated = {
            one.on: ", ".join(one.splits) or "nothing" for one in each if one.source == "stated"
        }
        if len(set(stated.values())) > 1:
            said = "; ".join(f"{splits} (with {on})" for on, splits in stated.items())
            notes.append(f"what {model} was trained on is stated differently: {said}; all count")
    return tuple(notes)


def folds(n: int, count: int = FOLDS, repeat: int = 0) -> np.ndarray:
    """int [n]: each image's fold, balanced, by a shuffle seeded for each repeat."""
    if n < count:
        raise InputError(
            f"{n} images are too few for {count} folds: give a --fit-split of {count} or more"
        )
    return np.random.default_rng(_SEED + repeat).permutation(n) % count


def cross_fits(n: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(repeat, rows that fit, rows that these decide) of every fold of every repeat."""
    for repeat in range(REPEATS):
        fold = folds(n, repeat=repeat)
        for f in range(FOLDS):
            yield repeat, np.flatnonzero(fold != f), np.flatnonzero(fold == f)


def parts(n: int, seed: int = PART_SEED) -> tuple[np.ndarray, np.ndarray]:
    """(proposing, testing) rows of n images, both in random order. Whoever narrows down the sweeps
    beforehand may look at the proposing ones only. InputError where n is too small for both."""
    shuffled = np.random.default_rng(seed).permutation(n)
    count = max(1, round(_SHARE * n))
    if count >= n:
        raise InputError(f"{n} images cannot both propose and test: give more")
    return shuffled[:count], shuffled[count:]


def held_out(plan: FitPlan) -> tuple[FitPlan, ScoreSet]:
    """(the plan, what it reports) where a part of the one split names what the rest tests."""
    n = len(plan.scores.labels)
    naming, testing = map(np.sort, parts(n))
    note = f"{len(naming)} images of {plan.split} name what the other {len(testing)} test"
    part = plan.scores.of_images(naming)
    held = replace(plan, method="hold-out", scores=part, notes=(note, *plan.notes[1:]))
    return held, plan.scores.of_images(testing)


def halves(labels: np.ndarray, seed: int, stratified: bool = False) -> np.ndarray:
    """bool [n]: a random half of labels int [n], which fits λ where the other is reported; with
    `stratified` half of each class, rounded so that the halves differ by one image at most."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    if stratified:  # every other image of a class, of the next class the other ones
        shuffled = shuffled[np.argsort(labels[shuffled], kind="stable")]
    mine = np.zeros(len(labels), bool)
    mine[shuffled[::2] if stratified else shuffled[: (len(labels) + 1) // 2]] = True
    return mine


def reported_half(scores: ScoreSet, cut: Halves) -> ScoreSet:
    """The half of a split that is reported, where `plan` fits on the other; InputError for fewer
    than four images."""
    if len(scores.labels) < 4:
        raise InputError(f"{scores.split} has too few images to halve: give a split of 4 or more")
    fitting = halves(scores.labels, cut.seed, cut.stratified)
    return replace(scores.of_images(~fitting), halves=cut)


def _other_half(
    store: Store, reported: ScoreSet, cut: Halves, runtime: str | None
) -> tuple[ScoreSet, str]:
    """The images of the split that are not reported, and a note that says so."""
    whole = load(store, reported.dataset, reported.split, reported.models, runtime=runtime)
    fitting = whole.of_images(~np.isin(whole.sample_ids, reported.sample_ids))
    of = "half of each class" if cut.stratified else "half of it"
    return fitting, (
        f"{len(fitting.labels)} images of {fitting.split} ({of}, seed {cut.seed}) fit λ, the other "
        f"{len(reported.labels)} are reported"
    )


def _clean_split(
    store: Store, reported: ScoreSet, trained: Trained, runtime: str | None
) -> tuple[str | None, str]:
    """Another split with all these models that none was trained on, `val` first; else why not."""
    used = {split for splits, _ in trained.values() for split in splits} | {reported.split}
    others = [split for split in labelled_splits_of(store, reported.dataset) if split not in used]
    lacking = []
    for split in sorted(others, key=lambda name: (name not in ("val", "validation"), name)):
        found = models_of(store, reported.dataset, split, runtime=runtime)
        absent = [model for model in reported.models if not partitions_of(model, found)]
        if not absent:
            return split, ""
        everywhere = models_of(store, reported.dataset, split)
        elsewhere = [model for model in absent if partitions_of(model, everywhere)]
        where = f" in runtime {runtime}" if elsewhere else ""
        lacking.append(f"{split} lacks logits of {', '.join(absent)}{where}")
    none = f"no other split of {reported.dataset} in the cache is free of training images"
    return None, "; ".join(lacking) or none


def made_from(store: Store, manifest: Manifest) -> Making:
    """Of scores or logits, as the cache holds them."""
    logits = cache.load(store, manifest.partition.logits)
    code = logits.identity.get("model_code") if logits else None
    return manifest.provenance.get("weights_sha256"), code


def unlike(one: Making, other: Making) -> tuple[str, str, str] | None:
    """What differs first, and the beginnings of both; unknown code is no difference."""
    for what, here, there in zip(("weights", "model code"), one, other, strict=True):
        if here != there and (what == "weights" or None not in (here, there)):
            return what, str(here)[:12], str(there)[:12]
    return None


def _same_models(store: Store, reported: ScoreSet, fitting: ScoreSet) -> None:
    for model, *manifests in zip(
        reported.models, reported.manifests, fitting.manifests, strict=True
    ):
        one, other = (made_from(store, manifest) for manifest in manifests)
        if found := unlike(one, other):
            what, here, there = found
            raise InputError(
                f"{model} has {what} {here} on {reported.split} but {there} on {fitting.split}: "
                f"extract one of them again, or fit on {reported.split} (--fit-split)"
            )


def seen(scores: ScoreSet, trained: Trained, to: str = "fit") -> tuple[str, ...]:
    """A warning where any of the models was trained on these images; `to` is what they are for."""
    guilty = [
        f"{model} ({how})" for model, (splits, how) in trained.items() if scores.split in splits
    ]
    if not guilty:
        return ()
    return (
        f"warning: {', '.join(guilty)} was trained on {scores.split}, where it looks surer than it "
        f"is: {to} on a split that no model saw",
    )
