"""The scores that a command is about; logits that the cache lacks are extracted if they can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

from cache import InputError, Store
from cascade_cli.inputs.cache_root import cache_exists
from cascade_cli.inputs.dataset import DEFAULT_DATASET, dataset_in, extract_splits
from cascade_cli.inputs.models import check_cached_names, recorded_facts
from cascade_cli.inputs.running import engine_for, for_candidates, runtime_of
from cascade_cli.inputs.words import names_in
from cascade_cli.options.images import ImageOptions, LogitsOptions
from cascade_cli.show.text import say
from stages.datasets import split_name
from stages.missing import IMPORTED, MissingError, another_model
from stages.models import of_record
from stages.scores import (
    LABEL_FREE,
    Halves,
    ScoreSet,
    all_candidates,
    labelled_splits_of,
    load,
    model_in,
    models_of,
    named_in,
    origin,
    own,
    splits_of,
)
from stages.simulate import ModelChange, model_between_runtimes
from stages.threshold import reported_half

if TYPE_CHECKING:
    from stages.extract import ExtractedPartition

Read = TypeVar("Read")
_REPORT_ON = ("test", "val", "validation")


def report_split(store: Store, dataset: str, split: str | None) -> str:
    """The split asked for, else test, else val, else the only one; of those with labels, if any."""
    if split is not None:
        return split_name(dataset, split)

    there = labelled_splits_of(store, dataset) or splits_of(store, dataset)
    return next((name for name in _REPORT_ON if name in there), there[0] if there else "test")


def score_set(
    store: Store,
    dataset: str,
    split: str,
    models: Sequence[str] | None,
    wanted: LogitsOptions,
    alone: bool = False,
) -> ScoreSet:
    """The split's scores, or its reported half's; logits the cache lacks are extracted first where
    the images are given.

    `models` by the cache's names. `alone`: of no other split, as λ is not to be fitted.
    """
    check_cached_names(models or ())
    cached = partial(load, store, dataset, split, models, runtime=wanted.runtime)
    found = or_extracted(cached, store, (dataset, split), models, wanted, alone)
    if wanted.halves is None:
        return found
    return reported_half(found, Halves(wanted.halves, wanted.stratified))


def or_extracted(
    cached: Callable[[], Read],
    store: Store,
    where: tuple[str, str],
    models: Sequence[str] | None,
    wanted: LogitsOptions,
    alone: bool = False,
    before: MissingError | None = None,
) -> Read:
    """What the call reads from the cache, the logits it misses extracted first if they can be, one
    runtime's after the other's; the gap is raised where they cannot, or where that did not fill
    it. `where` is (dataset, split); `before` is what was missing then.
    """
    try:
        return cached()
    except MissingError as missing:
        gap = missing
    dataset, split = where
    if (before and str(before) == str(gap)) or not have_images(dataset, wanted):
        raise _not_made(gap, store, dataset, wanted)
    images = wanted
    if own := [name for name in models or () if gap.runtime and model_in(name)[1] == gap.runtime]:
        images = for_candidates(wanted, own)
    elif gap.runtime not in (None, runtime_of(wanted)):
        raise _not_made(gap, store, dataset, wanted)
    names = gap.models or list(models or ["all-available"])
    usual = extract_splits(dataset, wanted)  # a split to fit λ on comes along
    alone = alone or split not in usual or wanted.variants != "identity"
    splits = [split] if alone else usual
    if not cache_exists(store):
        say(f"there is no cache at {store.root} yet: it is made now")
    say(f"the cache lacks logits of {', '.join(names)}: extracting {', '.join(splits)} first")
    from cascade_cli.inputs.extraction import run_extraction  # an engine, for what the cache lacks

    run_extraction(store, dataset, splits, names, [], [images])
    return or_extracted(cached, store, where, models, wanted, alone, gap)


def _not_made(gap: MissingError, store: Store, dataset: str, wanted: LogitsOptions) -> MissingError:
    """The gap, with the command that fills it; InputError for a model that has no record."""
    for name in gap.models if wanted.runtime not in (None, IMPORTED) else ():
        of_record(name, dataset, recorded_facts(store, dataset, wanted))
    return gap.by_record(wanted.recorded)


def have_images(dataset: str, images: ImageOptions) -> bool:
    """Whether what the cache lacks could be made: an engine is here, and so are the images."""
    return find_spec(engine_for(images)) is not None and (
        images.data is not None or dataset == DEFAULT_DATASET
    )


def known_scores(names: Sequence[str], scores: ScoreSet, asked: bool) -> list[str]:
    """Those that can be told of all the models; what cannot is raised where it was asked for, else
    left out with a word; confidences that all have come along with the usual ones."""
    lacking = [name for name in names if name in LABEL_FREE and name not in scores.own]
    for name in lacking if asked or not scores.own else ():
        scores.scores[name]  # says why not
    if lacking:
        say(
            f"{', '.join(lacking)} of all these models is not known: the scores that they have are "
            f"{', '.join(scores.own)}"
        )
    usual = not asked and {*LABEL_FREE} <= {*names}
    every = dict.fromkeys((*names, *scores.own)) if usual else names
    return [name for name in every if name not in lacking] or list(scores.own)


def checked_score(store: Store, name: str) -> str:
    """The name; InputError where no score has it."""
    return named_in(store, name).name


def deployable_scores(store: Store, text: str) -> list[str]:
    """Scores separated by commas, among which there may be no oracle."""
    found = names_in(text) or []
    if any(named_in(store, name).needs_label for name in found):
        raise InputError("the oracle cannot be deployed, it is among the baselines: leave it out")
    return found


def package_scores(store: Store, text: str | None) -> list[str]:
    """Of scores separated by commas those that packages add."""
    return list(own(tuple(checked_score(store, name) for name in names_in(text) or ())))


def enough_models(store: Store, pairs: Sequence[object], scores: ScoreSet) -> None:
    """InputError where there is no pair to make a cascade of."""
    if not pairs:
        raise another_model(store, (scores.dataset, scores.split), scores.models[0])


def reported_scores(
    store: Store,
    wanted: LogitsOptions,
    models: Sequence[str] | None,
    runtimes: str | None = None,
) -> ScoreSet:
    """The scores to report: of the dataset and split asked for, else of the default ones; of each
    model in each of the `runtimes`, separated by commas, where some are given."""
    dataset = dataset_in(store, wanted.dataset, models or ())
    split = report_split(store, dataset, wanted.split)
    if runtimes is not None:
        found = models_of(store, dataset, split)
        models = all_candidates(found, models, names_in(runtimes) or ["all"])
    return score_set(store, dataset, split, models, wanted)


def changes_from_fp32(
    store: Store, dataset: str, rows: Sequence[ExtractedPartition]
) -> list[ModelChange]:
    """What the models answer otherwise than in float32 by torch, or by another engine, on images
    with labels."""
    found = []
    for row in rows:
        usual = row.variant == "identity" and row.complete
        there = models_of(store, dataset, row.split).get(row.model, []) if usual else []
        made_of = {each.partition.keys["runtime"]: origin(each) for each in there}
        others = [name for name, of in made_of.items() if of == made_of[row.runtime]]
        others = [name for name in others if "-fp32-" in name and name != row.runtime]
        if row.runtime.startswith("torch-fp32-") or not others or row.accuracy is None:
            continue
        reference = next((name for name in others if name.startswith("torch-")), others[0])
        here, by = (
            load(store, dataset, row.split, [row.model], runtime=runtime)
            for runtime in (row.runtime, reference)
        )
        found.append(model_between_runtimes(here, by))
    return found
