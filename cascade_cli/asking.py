"""What a user asked for, checked before anything is read or run."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cascade_cli.options import no_share
from cascade_cli.output import say
from stages.visible_text import visible

if TYPE_CHECKING:
    import typer

    from cache import Store

DEFAULT_DATASET = "digits"


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


def is_there(store: Store) -> bool:
    """Whether a cache was begun: its folder, or where it has none something in it."""
    if store.local:
        return os.path.exists(store.base)
    return any(store.files(folder) for folder in ("_manifests", ".tmp/receipts"))


def check_there(store: Store) -> None:
    """A cache that was named and is not there may be a slip of the pen: ask before making it."""
    from cache.store import DEFAULT_ROOT

    if store.root == DEFAULT_ROOT or is_there(store):
        return
    fill = f"check --cache, or fill it by `cascade extract --cache {shlex.quote(store.root)}`"
    confirm(f"there is no cache at {store.root}: make it and run every model first?", fill)


def confirm(question: str, instead: str) -> None:
    """Ask; InputError, with what to do instead, where nobody is there, Abort where the answer is
    no."""
    import typer

    from cache import InputError

    if not sys.stdin.isatty():
        raise InputError(f"{question} Nobody is there to ask: {instead}")
    print(f"{visible(question)} [y/N]: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise typer.Abort


def dataset_in(store: Store, dataset: str | None, models: Sequence[str | None] = ()) -> str:
    """The dataset to analyse: the one asked for, else the models', else the cache's only one."""
    from cache import InputError

    given = [model for model in models if model]
    if dataset is not None:
        return dataset
    if not given:
        return _only_dataset(store)
    try:
        return dataset_for(None, given[0])
    except InputError:
        names = [each for each in by_name(*given)[0] if each]
        known = _known(store, names)
        if not known:
            raise
        return _dataset_with(store, known)  # what it lacks of the others is told later


def _known(store: Store, names: Sequence[str]) -> list[str]:
    """Those that the cache has; InputError for one that it has not, but one much like it."""
    from cache.errors import nearest, one_of
    from cache.held import datasets, models

    there = list(dict.fromkeys(each for name in datasets(store) for each in models(store, name)))
    for name in names:
        if name not in there and nearest(name, there):
            raise one_of("model", name, there)
    return [name for name in names if name in there]


def _only_dataset(store: Store) -> str:
    from cache import InputError
    from cache.held import datasets

    there = datasets(store)
    if not there:
        raise InputError(
            f"the cache {store.root} holds no dataset: fill it with the digits by `cascade extract "
            f"--cache {shlex.quote(store.root)}`, or name your dataset with --dataset"
        )
    if len(there) > 1:
        raise InputError(f"the cache holds {', '.join(there)}: choose one with --dataset")
    if there != [DEFAULT_DATASET]:
        say(f"dataset {there[0]}, the only one in {store.root}")
    return there[0]


def _dataset_with(store: Store, models: Sequence[str]) -> str:
    """The only dataset in the cache that has these models."""
    from cache import InputError
    from cache.held import datasets_with

    there, names = datasets_with(store, models), " and ".join(models)
    if len(there) > 1:
        raise InputError(
            f"the cache has {names} on {', '.join(there)}: choose a dataset with --dataset"
        )
    if not there:
        raise InputError(f"the cache has {names} on no dataset together: see `cascade cache ls`")
    say(f"dataset {there[0]}, the only one in {store.root} with {names}")
    return there[0]


def by_name(*models: str | None) -> tuple[list[str | None], tuple[str, ...]]:
    """Models as the cache calls them, and those given as NAME=ARCHITECTURE:FILE or file:PATH.pt2,
    all in the first way."""
    from stages.models.choice import aliased

    given = [None if each is None else aliased(each) for each in models]
    found = [each and each.partition("=")[0] for each in given]
    return found, tuple(each for each in given if each and "=" in each)


def check_cached_names(models: Iterable[str]) -> None:
    """InputError for a model that is not given by its name in the cache."""
    from cache import InputError

    for each in models:
        [name], told = by_name(each)
        if told:
            raise InputError(
                f"{each} says where a model is, which only extract, profile, simulate and live "
                f"take: extract it once, then say {name}"
            )


def names(text: str | None) -> list[str] | None:
    """A comma-separated list, None where nothing was given."""
    if text is None:
        return None
    from cache import InputError

    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise InputError(f"{text!r} names nothing: give names separated by commas")
    return found


def checked_score(store: Store, name: str) -> str:
    from stages.extra_scores import named_in

    return named_in(store, name).name


def deployable_scores(store: Store, text: str) -> list[str]:
    """Scores separated by commas, among which there may be no oracle."""
    from cache import InputError
    from stages.extra_scores import named_in

    found = names(text) or []
    if any(named_in(store, name).needs_label for name in found):
        raise InputError("the oracle cannot be deployed, it is among the baselines: leave it out")
    return found


def package_scores(store: Store, text: str | None) -> list[str]:
    """Of scores separated by commas those that packages add."""
    from stages.scores import own

    return list(own(tuple(checked_score(store, name) for name in names(text) or ())))


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


def given(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line, not in a configuration."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse(context: typer.Context, options: Iterable[str], why: str) -> None:
    """InputError for the first of these that stands on the command line, where it says nothing;
    a configured default may."""
    from cache import InputError

    for name in options:
        if given(context, name):
            raise InputError(f"{flag(context, name)} {why}")


def threshold_or_fit(context: typer.Context, threshold: str | None) -> str | None:
    """λ, None where it is to be fitted: a flag that says how outranks a configured λ."""
    fitting = ("objective", "fit_split")
    if given(context, "threshold"):
        refuse(context, fitting, "fits λ, which -t gives: leave out one of them")
    return None if any(given(context, name) for name in fitting) else threshold


def flag(context: typer.Context, name: str) -> str:
    """An option's long name."""
    [opts] = [each.opts for each in context.command.params if each.name == name]
    return max(opts, key=len)


def or_train(context: typer.Context, name: str, split: str | None, train: bool) -> str | None:
    """The split that the option `name` says; `--train` is the original's way to say train.

    A flag outranks a configured default.
    """
    from cache import InputError

    if split is None or not train:
        return "train" if train else split
    stated = [given(context, each) for each in ("train", name)]
    if stated[0] == stated[1]:
        raise InputError(f"--train is {flag(context, name)} train: leave out one of them")
    return "train" if stated[0] else split


def shard(text: str | None) -> tuple[int, int]:
    """(i, n) of "i/n", (0, 1) where nothing was given."""
    from cache import InputError

    found = re.fullmatch(r"(\d+)/(\d+)", text or "0/1")
    index, count = map(int, found.groups()) if found else (0, 0)
    if index >= count:
        raise InputError(f"shard {text!r} is not understood: give i/n with i from 0 to n - 1")
    return index, count


def device_names(text: str | None) -> tuple[str, ...]:
    """ "0,1" → cuda:0, cuda:1; other names as they are."""
    return tuple(f"cuda:{name}" if name.isdigit() else name for name in names(text) or ())


def weights_files(*given: str | None) -> dict[str, str]:
    """{model: file} of (model, file, model, file, …); a file needs its model."""
    from cache import InputError

    pairs = list(zip(given[::2], given[1::2], strict=True))
    for model, file in pairs:
        if file is not None and model is None:
            raise InputError(f"weights {file} are given without their model: name it, -m1 or -m2")
        if file is not None and model is not None and by_name(model)[1]:
            raise InputError(f"{model} names its file, and weights {file} are given: leave out one")
    return {model: file for model, file in pairs if model is not None and file is not None}


def risks(certify: str) -> tuple[float, float]:
    """ε and δ of --certify."""
    from cache import InputError

    try:
        epsilon, delta = map(float, certify.split(","))
    except ValueError as error:
        raise InputError(
            f"--certify {certify!r} is not understood: give MAX_LOSS,RISK, as 0.01,0.1"
        ) from error
    if any(no_share(each) for each in (epsilon, delta)):
        wrong = "; ".join(filter(None, map(no_share, (epsilon, delta))))
        raise InputError(f"--certify {certify}: {wrong}")
    return epsilon, delta
