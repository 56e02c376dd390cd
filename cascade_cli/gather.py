"""From what a user asks for to a stage's inputs; what the cache lacks is extracted if it can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cascade_cli import asking
from cascade_cli.asking import DEFAULT_DATASET
from cascade_cli.output import progress, say

if TYPE_CHECKING:
    import numpy as np

    from cache import Store
    from stages.cascade import Cascade
    from stages.datasets import Source
    from stages.fitting import FitPlan
    from stages.models import Chosen
    from stages.models.recorded import Facts, Recorded
    from stages.score import ScoreSet
    from stages.serving import LiveCascade

_REPORT_ON = ("test", "val", "validation")


@dataclass(frozen=True)
class Images:
    """Where images and weights are, for what has to be extracted first.

    `aliases` are models given as NAME=ARCHITECTURE:FILE, `recorded` is what a policy says of its.
    """

    data: str | None = None
    weights: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    recorded: Mapping[str, Facts] = field(default_factory=dict)
    device: str | None = None
    precision: str = "fp32"
    batch_size: int | None = None
    workers: int | None = None
    part_rows: int | None = None
    download: bool = False
    overwrite: bool = False
    variants: tuple[str, ...] = ("identity",)
    preprocess: str | None = None
    decoder: str = "pil"
    unreadable: str = "stop"
    devices: tuple[str, ...] = ()
    shard: str | None = None
    engine: str = "local"
    ray_workers: int | None = None


def report_split(store: Store, dataset: str, split: str | None) -> str:
    """The split asked for, else test, else val, else the only one."""
    from stages.datasets import split_name
    from stages.score import splits_of

    if split is not None:
        return split_name(dataset, split)

    there = splits_of(store, dataset)
    return next((name for name in _REPORT_ON if name in there), there[0] if there else "test")


def scores(
    store: Store,
    dataset: str,
    split: str,
    models: Sequence[str] | None,
    images: Images,
    runtime: str | None = None,
    alone: bool = False,
) -> ScoreSet:
    """The split's scores; logits the cache lacks are extracted first where the images are given.

    `models` by the cache's names. `alone`: of no other split, as λ is not to be fitted.
    """
    from stages.score import load

    asking.check_cached_names(models or ())

    def found() -> ScoreSet:
        return load(store, dataset, split, models, runtime=runtime)

    return or_extracted(found, store, dataset, split, models, images, runtime, alone)


def or_extracted(
    found: Callable[[], ScoreSet],
    store: Store,
    dataset: str,
    split: str,
    models: Sequence[str] | None,
    images: Images,
    runtime: str | None,
    alone: bool = False,
) -> ScoreSet:
    """What the call finds in the cache, the logits it misses extracted first if they can be."""
    from stages.commands import IMPORTED
    from stages.lacking import MissingError
    from stages.models.choice import of_record

    try:
        return found()
    except MissingError as gap:
        if not have_images(dataset, images) or runtime not in (None, runtime_of(images)):
            for name in gap.models if runtime not in (None, IMPORTED) else ():
                of_record(name, dataset, _recorded(store, dataset, images))
            raise gap.by_record(images.recorded) from None
        wanted = gap.models or list(models or ["all-available"])
        usual = extract_splits(dataset, images)  # a split to fit λ on comes along
        alone = alone or split not in usual or images.variants != ("identity",)
        splits = [split] if alone else usual
        if not asking.is_there(store):
            say(f"there is no cache at {store.root} yet: it is made now")
        say(f"the cache lacks logits of {', '.join(wanted)}: extracting {', '.join(splits)} first")
        extract(store, dataset, splits, wanted, [], images)
        return found()


def have_images(dataset: str, images: Images) -> bool:
    """Whether what the cache lacks could be made: torch is here, and so are the images."""
    from importlib.util import find_spec

    return find_spec("torch") is not None and (
        images.data is not None or dataset == DEFAULT_DATASET
    )


def enough_models(store: Store, pairs: Sequence[object], scores: ScoreSet) -> None:
    from stages.lacking import another

    if not pairs:
        raise another(store, (scores.dataset, scores.split), scores.models[0])


def reported(
    store: Store,
    dataset: str | None,
    split: str | None,
    models: Sequence[str] | None,
    images: Images,
    runtime: str | None,
) -> ScoreSet:
    """The scores to report: of the dataset and split asked for, else of the default ones."""
    dataset = asking.dataset_in(store, dataset, models or ())
    return scores(store, dataset, report_split(store, dataset, split), models, images, runtime)


def fit_plan(
    store: Store,
    reported: ScoreSet,
    split: str | None,
    images: Images,
    runtime: str | None,
    models: Sequence[str] | None = None,
) -> FitPlan:
    """The images that fit λ; a split asked for is extracted first where that can be done."""
    from stages.datasets import split_name
    from stages.fitting import plan

    if split is not None:
        named = split_name(reported.dataset, split)
        scores(store, reported.dataset, named, models or reported.models, images, runtime)
    return plan(store, reported, split, runtime=runtime)


def decided_by_folds(n: int) -> str:
    """Which images say how accurate a cascade is whose λ was cross-fitted on n."""
    from stages.fitting import REPEATS

    return (
        f"Accuracy and its change are those of folds decided by the λ of the others, {REPEATS} "
        f"times over; use of B and cost are those of this λ on all {n:,} images."
    )


def decided(
    store: Store,
    reported: ScoreSet,
    pair: tuple[str, str],
    rule: tuple[str, str | None, bool],
    objective: str,
    fit_split: str | None,
    images: Images,
    runtime: str | None,
    baseline: np.ndarray | None = None,
) -> tuple[Cascade, dict[str, Any]]:
    """The cascade with its λ, given or fitted, and how it came about.

    `rule` is (score, λ or None, post-check); `baseline` bool [N] is right where a model is that was
    asked for to compare with.
    """
    from cache.errors import InputError, one_of
    from stages.cascade import OBJECTIVES, Cascade, Limit
    from stages.extra_scores import named_in
    from stages.simulate import NO_FIT
    from stages.threshold import fitted_point

    name, threshold, postcheck = rule
    score = named_in(store, name)
    if objective not in OBJECTIVES:
        raise one_of("objective", objective, OBJECTIVES)
    if score.needs_label:
        if postcheck or threshold is not None:
            say("the oracle knows the label: λ and post-check mean nothing to it and are ignored")
        return Cascade.of(pair, name), NO_FIT
    if threshold is not None:
        try:
            limit = Limit.parse(threshold, name)
            return Cascade.of(pair, name, limit, postcheck=postcheck), NO_FIT
        except ValueError as error:
            raise InputError(
                f"λ {threshold!r} is no threshold of {name}: give a number in [0, 1], `always` or "
                "`never`"
            ) from error
    fitted = fit_plan(store, reported, fit_split, images, runtime, pair)
    for note in fitted.notes:
        say(note)
    limit, fit = fitted_point(reported, fitted, pair, name, postcheck, objective, baseline)
    return Cascade.of(pair, name, limit, postcheck=postcheck), fit


def named_splits(dataset: str, text: str | None) -> list[str] | None:
    """Splits separated by commas, each once, as the cache calls them; None where none are given."""
    from stages.datasets import split_name

    given = asking.names(text)
    return given and list(dict.fromkeys(split_name(dataset, split) for split in given))


def extract_splits(dataset: str, images: Images) -> list[str]:
    """All splits that are there but train, which models were trained on; train if it is alone."""
    from stages.datasets import open_split, splits

    if images.download:
        open_split(dataset, "test", images.data, download=True)
    there = splits(dataset, images.data)
    return [split for split in there if split != "train"] or there


def choose_models(
    store: Store, dataset: str, wanted: Sequence[str], aliases: Sequence[str], images: Images
) -> list[Chosen]:
    """The models with their weights; one of a name of its own may be a policy's or the cache's."""
    from stages.models import choose

    given = [each for each in images.aliases if each.partition("=")[0] in wanted]
    files = {name: file for name, file in images.files.items() if name in wanted}
    return choose(
        dataset,
        wanted,
        [*aliases, *given],
        files,
        images.weights,
        preprocess=images.preprocess,
        recorded=_recorded(store, dataset, images),
    )


def _recorded(store: Store, dataset: str, images: Images) -> Recorded:
    from stages.models.recorded import recorded

    promised = images.recorded
    return lambda name: [promised[name]] if name in promised else recorded(store, dataset, name)


def open_sources(store: Store, dataset: str, splits: Sequence[str], images: Images) -> list[Source]:
    """The splits' images, without those that the cache or `--unreadable skip` leaves out."""
    from stages.datasets import open_split
    from stages.leaving_out import readable

    opened = [
        open_split(dataset, split, images.data, images.download, images.decoder) for split in splits
    ]
    how = (images.unreadable, images.workers, say, images.overwrite)
    return [readable(store, source, *how) for source in opened]


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
    from cache.schema import PART_ROWS
    from stages import extract as stage
    from stages.datasets import check_known

    check_known(dataset, images.data)
    shard = asking.shard(images.shard)
    chosen = choose_models(store, dataset, wanted, aliases, images)
    sources = open_sources(store, dataset, splits, images)
    engine = stage.engine(images.engine)
    with engine.ready(say):
        names = images.devices or (images.device,)
        devices = tuple(engine.open_device(name, images.precision) for name in names)
        options = stage.Options(
            device=devices[0],
            precision=images.precision,
            batch_size=images.batch_size,
            part_rows=images.part_rows or PART_ROWS,
            workers=images.workers,
            overwrite=images.overwrite,
            variants=images.variants,
            devices=devices if images.devices else (),
            shard=shard,
            engine=images.engine,
            ray_workers=images.ray_workers,
            note=say,
        )
        with progress(f"extracting {dataset}") as tell:
            return stage.run(store, sources, chosen, options, tell)


def runtime_of(images: Images) -> str:
    """The runtime that images would be run in."""
    from stages.inference import open_device, runtime_name

    return runtime_name(open_device(images.device, images.precision), images.precision)


def contenders(
    store: Store, dataset: str, split: str, cascades: dict[str, Cascade], images: Images
) -> tuple[Source, dict[str, LiveCascade]]:
    """The images, and each cascade with its models loaded; a model that several use is one."""
    from stages.models.factory import require_torch

    require_torch()
    from stages.inference import Runner, open_device
    from stages.models import load
    from stages.serving import LiveCascade

    device = open_device(images.device, images.precision)
    [source] = open_sources(store, dataset, [split], images)
    names = dict.fromkeys(name for each in cascades.values() for name in each.models)
    runners = {
        one.name: Runner.of(
            load(one.spec, one.weights), one.spec.preprocessing, device, images.precision
        )
        for one in choose_models(store, dataset, list(names), [], images)
    }
    return source, {
        name: LiveCascade(each, [runners[model] for model in each.models])
        for name, each in cascades.items()
    }


def same_images(scores: ScoreSet, source: Source) -> None:
    """InputError unless the cached rows are about the images that are about to be answered."""
    from cache import InputError
    from stages.datasets import fingerprint

    cached, given = scores.manifests[0].fingerprint, fingerprint(source)
    if cached != given:
        raise InputError(
            f"the cache holds other images of {source.dataset}/{source.split} (fingerprint "
            f"{str(cached)[:12]}) than those given ({given[:12]}): check --data, or use another "
            "--cache"
        )


def same_weights(
    store: Store, scores: ScoreSet, dataset: str, models: Sequence[str], images: Images
) -> None:
    """InputError unless the cached rows come from the weights and code that are about to run."""
    from cache import InputError
    from stages.fitting import made_from, unlike
    from stages.models.code import code_of

    for one in choose_models(store, dataset, models, [], images):
        _same_architecture(store, dataset, one)
        cached = made_from(store, scores.manifests[scores.index(one.name)])
        if found := unlike(cached, (one.weights.sha256, code_of(one.spec))):
            what, there, here = found
            raise InputError(
                f"the cache holds {one.name} with {what} {there}, not {here}: extract again "
                "(--overwrite), or use another --cache"
            )


def _same_architecture(store: Store, dataset: str, one: Chosen) -> None:
    from cache import InputError
    from stages.models.recorded import recorded, same_bytes

    facts = same_bytes(recorded(store, dataset, one.name), one.weights.sha256) or {}
    cached = facts.get("architecture", one.spec.name)
    if cached != one.spec.name:
        raise InputError(
            f"the cache holds {one.name} as {cached}, given is {one.spec.name}: say "
            f"{one.name}={cached}:FILE, or choose another name"
        )
