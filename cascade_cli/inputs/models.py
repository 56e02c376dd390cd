"""Which models are meant, and where their weights are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cache import InputError, Store
from cascade_cli import options as opt
from stages.models import Chosen, Recorded, aliased, choose, recorded


def cached_names(*models: str | None) -> tuple[list[str | None], tuple[str, ...]]:
    """Models as the cache calls them, and those given as NAME=ARCHITECTURE:FILE or file:PATH.pt2,
    all in the first way."""
    given = [None if each is None else aliased(each) for each in models]
    found = [each and each.partition("=")[0] for each in given]
    return found, tuple(each for each in given if each and "=" in each)


def check_cached_names(models: Iterable[str]) -> None:
    """InputError for a model that is not given by its name in the cache."""
    for each in models:
        [name], told = cached_names(each)
        if told:
            raise InputError(
                f"{each} says where a model is, which only extract, profile, simulate and live "
                f"take: extract it once, then say {name}"
            )


def pair_or_all(pair: opt.PairOptions, all_pairs: bool) -> tuple[str, str] | None:
    """The two models asked for, None for all pairs."""
    if pair == opt.PairOptions():
        return None
    if all_pairs:
        raise InputError("--all-pairs takes no -m1 and -m2: leave out the one or the others")
    return required_pair(pair.model_1, pair.model_2)


def required_pair(model_1: str | None, model_2: str | None) -> tuple[str, str]:
    """A and B; InputError where one is not given, or both are one."""
    if model_1 is None or model_2 is None:
        raise InputError("a cascade needs two models: give -m1 A and -m2 B")
    if model_1 == model_2:
        raise InputError(f"a cascade needs two different models, both are {model_1}")
    return model_1, model_2


def weights_files(pair: opt.PairOptions) -> dict[str, str]:
    """{model: file}; a file needs its model."""
    pairs = [(pair.model_1, pair.weights_1), (pair.model_2, pair.weights_2)]
    for model, file in pairs:
        if file is not None and model is None:
            raise InputError(f"weights {file} are given without their model: name it, -m1 or -m2")
        if file is not None and model is not None and cached_names(model)[1]:
            raise InputError(f"{model} names its file, and weights {file} are given: leave out one")
    return {model: file for model, file in pairs if model is not None and file is not None}


def choose_models(
    store: Store,
    dataset: str,
    wanted: Sequence[str],
    aliases: Sequence[str],
    images: opt.ImageOptions,
) -> list[Chosen]:
    """The models with their weights; one of a name of its own may be a policy's or the cache's."""
    given = [each for each in images.aliases if each.partition("=")[0] in wanted]
    files = {name: file for name, file in images.files.items() if name in wanted}
    return choose(
        dataset,
        wanted,
        [*aliases, *given],
        files,
        images.weights,
        preprocess=images.preprocess,
        recorded=recorded_facts(store, dataset, images),
    )


def recorded_facts(store: Store, dataset: str, images: opt.ImageOptions) -> Recorded:
    """What is recorded of a model by its name: by a policy, else by the cache."""
    promised = images.recorded
    return lambda name: [promised[name]] if name in promised else recorded(store, dataset, name)
