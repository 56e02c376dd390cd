"""`reproduce`: a paper's published figures beside ours, from whatever of its models is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_cli import options as opt
from cascade_cli.inputs.costs import pricer_or_none
from cascade_cli.inputs.fit import fit_plan
from cascade_cli.inputs.scores import report_split, score_set, with_references
from cascade_cli.inputs.stream import memory_recall
from cascade_cli.show.reproduce import show
from cascade_cli.show.text import print_json, say

if TYPE_CHECKING:
    from cache import InputError, Store
    from stages.fitting import FitPlan
    from stages.reproduce import Paper, Setting
    from stages.reproduce.case import Case
    from stages.reproduce.memory import Remembering
    from stages.score import ScoreSet

SEED = 0  # of the copies and their order


def reproduce(
    paper: Annotated[str, typer.Argument(help="The paper: kinnas2024.")],
    dataset: Annotated[
        str | None, typer.Option("-d", "--dataset", help="Its settings on this. [default: all]")
    ] = None,
    data: opt.Data = None,
    split: opt.Split = None,
    train: Annotated[
        bool,
        typer.Option("-t", "--train", help="Search λ on train; it is made where images are given."),
    ] = False,
    weights: opt.WeightsDir = None,
    runtime: opt.Runtime = None,
    cost: opt.Cost = None,
    cost_device: opt.CostDevice = None,
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """A paper's published figures beside ours: its pairs and settings on what the cache has.

    \b
    cascade reproduce kinnas2024 -d cifar10
    """
    from cache import Store
    from stages.reproduce import paper as named

    known = named(paper)
    settings = _settings(known, dataset, data)
    how = How(
        Store(cache),
        opt.LogitsOptions(data, weights, runtime=runtime),
        opt.CostOptions(cost, cost_device),
    )
    rows = [_setting(known, each, split, train, how) for each in settings]
    found = {"paper": _about(known), "settings": [row for row in rows if row is not None]}
    found["missing"] = how.missing
    if not found["settings"]:
        raise _nothing(known, settings, split, how)
    if as_json:
        print_json(found)
        return
    show(found)


@dataclass(frozen=True)
class How:
    """Where figures come from; `missing` fills with what is not there, each with its command."""

    store: Store
    images: opt.LogitsOptions
    asked: opt.CostOptions
    missing: list[dict[str, str]] = field(default_factory=list)

    def lacks(self, setting: Setting, what: str, command: str) -> None:
        self.missing.append({"setting": str(setting), "what": what, "command": command})


def _settings(paper: Paper, dataset: str | None, data: str | None) -> list[Setting]:
    from cache.errors import InputError, one_of

    names = list(dict.fromkeys(each.dataset for each in paper.settings))
    if dataset is None and data is not None:
        raise InputError(f"--data holds one dataset's images: name it, -d {', '.join(names)}")
    if dataset is not None and dataset not in names:
        raise one_of(f"dataset of {paper.name}", dataset, names)
    return [each for each in paper.settings if dataset in (None, each.dataset)]


def _about(paper: Paper) -> dict[str, Any]:
    from dataclasses import asdict

    about = {key: getattr(paper, key) for key in ("name", "title", "reference")}
    claims = [asdict(each) for each in paper.claims]
    return about | {"claims": claims, "memory_notes": list(paper.energy.notes)}


def _nothing(paper: Paper, settings: Sequence[Setting], split: str | None, how: How) -> InputError:
    """What is asked for and where the cache has pairs instead, else the command that makes one."""
    from cache import InputError
    from stages.lacking import MissingError

    asked = {"on split": split, "in runtime": how.images.runtime}
    where = "".join(f" {what} {name}" for what, name in asked.items() if name is not None)
    there, first = _places(how.store, settings), how.missing[0]
    if there:
        advice = "name one of these with --split and --runtime"
        return InputError(f"no pair of {paper.name}{where}, but on {', '.join(there)}: {advice}")
    lack = f"the cache has no pair of {paper.name}{where}, such as {first['setting']}"
    return MissingError(lack, [], first["command"])


def _places(store: Store, settings: Sequence[Setting]) -> list[str]:
    """Where the cache has both models of any of these: "cifar10/test in torch-fp32-cpu"."""
    from stages.score import models_of, splits_of

    found = []
    for dataset in dict.fromkeys(each.dataset for each in settings):
        pairs = [_pair(each) for each in settings if each.dataset == dataset]
        for split in splits_of(store, dataset):
            there = {
                name: {manifest.partition.keys["runtime"] for manifest in manifests}
                for name, manifests in models_of(store, dataset, split).items()
            }
            runtimes = {r for a, b in pairs for r in there.get(a, set()) & there.get(b, set())}
            found += [f"{dataset}/{split} in {runtime}" for runtime in sorted(runtimes)]
    return found


def _setting(
    paper: Paper, setting: Setting, split: str | None, train: bool, how: How
) -> dict[str, Any] | None:
    """All figures of a setting, None where the cache lacks its models and no images make them."""
    from stages.lacking import MissingError
    from stages.reproduce.case import Case
    from stages.reproduce.figures import setting_row

    pair, split = _pair(setting), _split(how.store, setting.dataset, split)
    try:
        reported = score_set(how.store, setting.dataset, split, pair, how.images)
    except MissingError as gap:
        where = f"{split} in {how.images.runtime}" if how.images.runtime else split
        how.lacks(setting, f"logits of {', '.join(gap.models or pair)} on {where}", gap.command)
        return None
    everyone = with_references(how.store, reported)
    pricer = pricer_or_none(how.store, everyone, pair, how.asked)
    case = Case(paper, setting, reported, everyone, pricer)
    original = _original_plan(case, train, how)
    honest = fit_plan(how.store, reported, how.images, pair)
    for note in dict.fromkeys((*original.notes, *honest.notes)):
        say(note)
    _priced(case, how)
    return setting_row(case, original, honest, _remembering(case, how))


def _split(store: Store, dataset: str, split: str | None) -> str:
    """As every command, but where the cache has nothing the published dataset's own."""
    from stages.datasets import spec
    from stages.score import splits_of

    known = spec(dataset)
    if split is None and known is not None and not splits_of(store, dataset):
        return known.default_split
    return report_split(store, dataset, split)


def _pair(setting: Setting) -> tuple[str, str]:
    return setting.model_1, setting.model_2


def _original_plan(case: Case, train: bool, how: How) -> FitPlan:
    """On train, if the paper did, where the cache has it; else on the reported images."""
    from stages.lacking import MissingError

    reported = case.reported
    pair = _pair(case.setting)
    images = how.images if train else opt.LogitsOptions(runtime=how.images.runtime)

    def on(split: str) -> FitPlan:
        return fit_plan(how.store, reported, replace(images, fit_split=split), pair)

    if not (train or case.setting.on_train):
        return on(reported.split)
    try:
        return on("train")
    except MissingError as gap:
        how.lacks(case.setting, "train, on which λ was searched", gap.command)
    return on(reported.split)


def _priced(case: Case, how: How) -> None:
    """Says which command would measure joules, unless another cost was asked for."""
    from stages import commands

    kind = None if case.pricer is None else case.pricer.prices.kind
    if how.asked.cost is None and kind != "joules":
        models = ",".join(dict.fromkeys((*_pair(case.setting), case.single)))
        words = ["profile", *commands.images(case.setting.dataset), "--models", models]
        words += commands.in_runtime(how.images.runtime)
        how.lacks(case.setting, "measured joules", commands.line(how.store, words))


def _remembering(case: Case, how: How) -> dict[float, Remembering]:
    """For each share of duplicates the requests and the memories; hashes that lack are told."""
    from stages.reproduce.memory import Remembering
    from stages.stream import make, requested

    energy, n = case.paper.energy, len(case.reported.labels)
    found: dict[float, Remembering] = {}
    for share in energy.duplicates:
        stream = make(n, share, 0.0, "shuffled", SEED)
        shown = requested({"identity": case.reported}, stream)
        recalls = {name: _recall(case, shown, stream, name, how) for name in energy.memories}
        there = {name: recall for name, recall in recalls.items() if recall is not None}
        found[share] = Remembering(stream, there)
    costs = {name: _hash_cost(case, name, how) for name in found[0.0].recalls}
    return {share: replace(each, hash_costs=costs) for share, each in found.items()}


def _recall(case: Case, shown: ScoreSet, stream: Any, name: str, how: How) -> Any:
    from stages.memory import Policy
    from stages.requests import MissingHashesError

    try:
        return memory_recall(how.store, shown, stream, Policy(name), 1, how.images)
    except MissingHashesError as gap:
        known = {row["command"] for row in how.missing}
        if gap.command not in known:
            how.lacks(case.setting, f"{name} hashes on {shown.split}", gap.command)
        return None


def _hash_cost(case: Case, name: str, how: How) -> float | None:
    from stages import commands
    from stages.costs import hash_cost

    if case.pricer is None:
        return None
    known, setting = case.pricer.prices, case.setting
    cost = hash_cost(how.store, case.reported.dataset, name, known.kind, known.device)
    if cost is None and known.kind != "macs":
        words = ["hash", *commands.images(setting.dataset), "--algorithms", name]
        command = commands.line(how.store, words)
        how.lacks(setting, f"{known.kind} of {name} on {known.device}", command)
    return cost
