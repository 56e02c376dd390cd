"""From what a user asks for to a stage's inputs; what the cache lacks is extracted if it can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cascade_cli.output import progress, say

if TYPE_CHECKING:
    from cache import Store
    from stages.datasets import Source
    from stages.live import LiveCascade
    from stages.models import Chosen
    from stages.score import ScoreSet
    from stages.simulate import Cascade

DEFAULT_DATASET = "digits"
_REPORT_ON = ("test", "val", "validation")


@dataclass(frozen=True)
class Images:
    """Where images and weights are, for what has to be extracted first."""

    data: str | None = None
    weights: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    device: str | None = None
    precision: str = "fp32"
    batch_size: int | None = None
    workers: int | None = None
    part_rows: int | None = None
    download: bool = False
    overwrite: bool = False


def dataset_for(dataset: str | None, model: str | None = None) -> str:
    """The dataset asked for, else the one the model belongs to, else digits."""
    from cache import InputError

    if dataset is not None or model is None:
        return dataset or DEFAULT_DATASET
    from stages.models import dataset_of

    try:
        return dataset_of(model)
    except InputError as error:
        raise InputError(f"{error}; for a model of your own give --dataset") from error


def names(text: str | None) -> list[str] | None:
    """A comma-separated list, None where nothing was given."""
    if text is None:
        return None
    from cache import InputError

    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise InputError(f"{text!r} names nothing: give names separated by commas")
    return found


def checked_score(name: str) -> str:
    from cache.errors import one_of
    from stages.rule import SCORES

    if name not in SCORES:
        raise one_of("score", name, SCORES)
    return name


def report_split(store: Store, dataset: str, split: str | None) -> str:
    """The split asked for, else test, else val, else the only one."""
    if split is not None:
        return split
    from stages.score import splits_of

    there = splits_of(store, dataset)
    return next((name for name in _REPORT_ON if name in there), there[0] if there else "test")


def scores(
    store: Store,
    dataset: str,
    split: str,
    models: Sequence[str] | None,
    images: Images,
    runtime: str | None = None,
) -> ScoreSet:
    """The split's scores; logits the cache lacks are extracted first where the images are given."""
    from stages.score import MissingError, load

    try:
        return load(store, dataset, split, models, runtime=runtime)
    except MissingError as gap:
        if not _have_images(dataset, images):
            raise
        wanted = gap.models or list(models or ["all-available"])
        usual = extract_splits(dataset, images)  # a split to fit λ on comes along
        splits = usual if split in usual else [split]
        say(f"the cache lacks logits of {', '.join(wanted)}: extracting {', '.join(splits)} first")
        extract(store, dataset, splits, wanted, [], images)
        return load(store, dataset, split, models, runtime=runtime)


def _have_images(dataset: str, images: Images) -> bool:
    from importlib.util import find_spec

    return find_spec("torch") is not None and (
        images.data is not None or dataset == DEFAULT_DATASET
    )


def pair(model_1: str | None, model_2: str | None, all_pairs: bool) -> tuple[str, str] | None:
    """The two models asked for, None for all pairs."""
    from cache import InputError

    if model_1 is None and model_2 is None:
        return None
    if all_pairs:
        raise InputError("--all-pairs takes no -m1 and -m2: leave out the one or the others")
    return required_pair(model_1, model_2)


def required_pair(model_1: str | None, model_2: str | None) -> tuple[str, str]:
    from cache import InputError

    if model_1 is None or model_2 is None:
        raise InputError("a cascade needs two models: give -m1 A and -m2 B")
    if model_1 == model_2:
        raise InputError(f"a cascade needs two different models, both are {model_1}")
    return model_1, model_2


def enough_models(pairs: Sequence[object], scores: ScoreSet) -> None:
    from cache import InputError

    if not pairs:
        where = f"{scores.dataset}/{scores.split}"
        raise InputError(f"{where} has one model only ({scores.models[0]}): extract another")


def fit_split(split: str | None, train: bool) -> str | None:
    """The split asked for; `--train` is the original's way to ask for train."""
    from cache import InputError

    if split is not None and train:
        raise InputError("--train fits on train: leave it out, or --fit-split")
    return "train" if train else split


def ensure(
    store: Store,
    dataset: str,
    split: str | None,
    models: Sequence[str],
    images: Images,
    runtime: str | None,
) -> None:
    """Make sure that a split asked to fit λ is in the cache, where it can be made."""
    if split is not None:
        scores(store, dataset, split, models, images, runtime)


def decided(
    store: Store,
    reported: ScoreSet,
    pair: tuple[str, str],
    rule: tuple[str, str | None, bool],
    objective: str,
    fit_split: str | None,
    images: Images,
    runtime: str | None,
) -> tuple[Cascade, dict[str, Any]]:
    """The cascade with its λ, given or fitted, and how it came about.

    `rule` is (score, λ or None, post-check).
    """
    from cache.errors import InputError, one_of
    from stages.fitting import plan
    from stages.rule import SCORES, parse_threshold
    from stages.simulate import NO_FIT, Cascade
    from stages.sweep import OBJECTIVES
    from stages.threshold import fitted_point

    name, threshold, postcheck = rule
    score = SCORES[checked_score(name)]
    if objective not in OBJECTIVES:
        raise one_of("objective", objective, OBJECTIVES)
    if score.needs_label:
        if postcheck or threshold is not None:
            say("the oracle knows the label: λ and post-check mean nothing to it and are ignored")
        return Cascade(*pair, name), NO_FIT
    if threshold is not None:
        try:
            return Cascade(*pair, name, parse_threshold(threshold, score), postcheck), NO_FIT
        except ValueError as error:
            raise InputError(
                f"λ {threshold!r} is no threshold of {name}: give a number in [0, 1], `always` or "
                "`never`"
            ) from error
    ensure(store, reported.dataset, fit_split, pair, images, runtime)
    fitted = plan(store, reported, fit_split, runtime=runtime)
    for note in fitted.notes:
        say(note)
    limit, fit = fitted_point(reported, fitted, pair, name, postcheck, objective)
    return Cascade(*pair, name, limit, postcheck), fit


def weights_files(*given: str | None) -> dict[str, str]:
    """{model: file} of (model, file, model, file, …); a file needs its model."""
    from cache import InputError

    pairs = list(zip(given[::2], given[1::2], strict=True))
    for model, file in pairs:
        if file is not None and model is None:
            raise InputError(f"weights {file} are given without their model: name it, -m1 or -m2")
    return {model: file for model, file in pairs if model is not None and file is not None}


def extract_splits(dataset: str, images: Images) -> list[str]:
    """All splits that are there but train, which models were trained on; train if it is alone."""
    from stages.datasets import open_split, splits

    if images.download:
        open_split(dataset, "test", images.data, download=True)
    there = splits(dataset, images.data)
    return [split for split in there if split != "train"] or there


def choose_models(
    dataset: str, wanted: Sequence[str], aliases: Sequence[str], images: Images
) -> list[Chosen]:
    from stages.models import choose

    return choose(dataset, wanted, aliases, images.files, images.weights)


def open_sources(dataset: str, splits: Sequence[str], images: Images) -> list[Source]:
    from stages.datasets import open_split

    return [open_split(dataset, split, images.data, images.download) for split in splits]


def extract(
    store: Store,
    dataset: str,
    splits: Sequence[str],
    wanted: Sequence[str],
    aliases: Sequence[str],
    images: Images,
) -> list[dict[str, Any]]:
    """Run the extract stage."""
    from stages.models.factory import require_torch

    require_torch()
    from stages import extract as stage
    from stages.inference import open_device

    chosen = choose_models(dataset, wanted, aliases, images)
    sources = open_sources(dataset, splits, images)
    given = {"batch_size": images.batch_size, "workers": images.workers}
    given |= {"part_rows": images.part_rows}
    options = stage.Options(
        device=open_device(images.device, images.precision),
        precision=images.precision,
        overwrite=images.overwrite,
        **{key: value for key, value in given.items() if value is not None},
    )
    with progress(f"extracting {dataset}") as tell:
        return stage.run(store, sources, chosen, options, tell)


def runtime(images: Images) -> str:
    """The runtime that images would be run in."""
    from stages.models.factory import require_torch

    require_torch()
    from stages.inference import open_device, runtime_name

    return runtime_name(open_device(images.device, images.precision), images.precision)


def live_cascade(
    dataset: str, split: str, models: Sequence[str], cascade: Cascade, images: Images
) -> tuple[Source, LiveCascade, list[str]]:
    """The images, the loaded models with their rule, and the weights' SHA-256."""
    from stages.models.factory import require_torch

    require_torch()
    from stages.inference import Runner, open_device
    from stages.live import LiveCascade
    from stages.models import load

    device = open_device(images.device, images.precision)
    [source] = open_sources(dataset, [split], images)
    chosen = choose_models(dataset, models, [], images)
    runners = [
        Runner.of(load(one.spec, one.weights), one.spec.preprocessing, device, images.precision)
        for one in chosen
    ]
    second = runners[1] if len(runners) > 1 else None
    hashes = [one.weights.sha256 for one in chosen]
    return source, LiveCascade(cascade, runners[0], second), hashes


def same_weights(scores: ScoreSet, models: Sequence[str], hashes: Sequence[str]) -> None:
    """InputError unless the cached rows come from the weights that are about to run."""
    from cache import InputError

    for model, sha256 in zip(models, hashes, strict=True):
        cached = scores.manifests[scores.index(model)].provenance.get("weights_sha256")
        if cached != sha256:
            raise InputError(
                f"the cache holds {model} with weights {str(cached)[:12]}, given are "
                f"{sha256[:12]}: extract with these weights (--overwrite), or use another --cache"
            )
