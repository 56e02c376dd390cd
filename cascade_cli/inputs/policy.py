"""A policy, as it is written and as `live` runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import typer

from cache import InputError, Partition, Store, datasets, load
from cascade_cli import options as opt
from cascade_cli.inputs.flags import is_given
from cascade_cli.inputs.models import cached_names, weights_files
from cascade_cli.inputs.onnx_policy import onnx_stages
from cascade_cli.inputs.running import in_runtime, named_to_run
from cascade_cli.inputs.scores import report_split
from cascade_cli.inputs.simulation import memory_policy, simulated
from cascade_cli.show.text import say
from stages import policy as stage, search
from stages.cascade import Cascade
from stages.policy import Deployment
from stages.runtimes import said_by
from stages.scores import ScoreSet, model_in, with_references
from stages.simulate import FittedLimit, Honest
from stages.threshold import reported_half


def write_policy(
    store: Store,
    scores: ScoreSet,
    decided: tuple[Cascade, FittedLimit],
    memory: opt.MemoryOptions,
    wanted: opt.LogitsOptions,
    costs: opt.CostOptions,
    folder: str,
    certificate: search.CertificateFacts | None = None,
    as_onnx: bool = False,
    fallback: stage.Fallback | None = None,
) -> dict[str, Any]:
    """Write a cascade, and how its λ came about, to a folder, with what it promises: the row that
    `simulate` gives; also as one ONNX file where that is asked for.

    A note says where it surely costs more than the single model that it is held against.
    """
    cascade = decided[0]
    stage.deployable(cascade)
    if as_onnx:
        _check_onnx(memory.memory is not None, fallback is not None)
    row, _ = simulated(store, scores, decided, memory, wanted, costs)
    found = stage.document(
        store, scores, cascade, row, memory_policy(memory, cascade.score), certificate, fallback
    )
    saved = row.price.saved
    if saved is not None and saved.high < 0:
        say(f"note: it costs {-saved.value:.1%} more than {row.against.baseline} alone")
    replaces = Path(folder, stage.FILE).exists()
    where = (store, scores.dataset, found["models"], wanted)
    beside = _onnx_files(*where, cascade, found["sha256"]) if as_onnx else {}
    files = stage.write(folder, found, beside)
    if replaces:
        say(f"note: the policy in {folder} is replaced")
    return {"files": files, "policy": found}


def add_onnx(store: Store, folder: str, wanted: opt.LogitsOptions) -> Mapping[str, Any]:
    """Write the cascade of the policy that lies there as one ONNX file, too."""
    deployed = stage.read(folder)
    _check_onnx(deployed.memory is not None, deployed.falls_back)
    models = [model.columns() for model in deployed.models]
    how = (store, deployed.dataset, models, of_policy(deployed, wanted))
    beside = _onnx_files(*how, deployed.cascade, deployed.sha256 or "")
    files, found = stage.written_beside(folder, beside)
    return {"files": files, "policy": found}


def _check_onnx(remembers: bool, falls_back: bool) -> None:
    """InputError for what no ONNX file does."""
    if remembers:
        raise InputError("an ONNX file holds no memory: leave out --memory, or --onnx")
    if falls_back:
        raise InputError("an ONNX file cannot go on where B fails: leave out --on-error, or --onnx")


def _onnx_files(
    store: Store,
    dataset: str,
    models: Sequence[Mapping[str, Any]],
    wanted: opt.LogitsOptions,
    cascade: Cascade,
    sha256: str,
) -> dict[str, bytes]:
    stages = onnx_stages(store, dataset, models, wanted)
    return stage.onnx_files(stages, cascade, {"policy_sha256": sha256, "cascade": str(cascade)})


def policy_options(context: typer.Context, place: str) -> dict[str, Any]:
    """The options of `live` with what a policy says in place of what was not given.

    InputError for an option that says otherwise, and for weights that are not the policy's.
    """
    deployed, params = stage.read(place), context.params
    stated = {name: value for name, value in params.items() if is_given(context, name)}
    for name in stated.keys() & {"objective", "fit_split"}:
        raise _contradiction(deployed, name, stated[name], "a λ that is not fitted again")
    says, kind = _says(deployed), _runtime(deployed)[2]
    for name, value in says.items():
        if name in stated and not _same(name, stated[name], value):
            raise _contradiction(deployed, name, stated[name], value)
    options = params | says | {"split": deployed.promise.split, "device": kind} | stated
    if options["device"].partition(":")[0] != kind:
        raise _contradiction(deployed, "device", options["device"], kind)
    _check_weights(deployed, options)
    context.obj = deployed
    return options | {"policy": None}


def of_policy(deployed: Deployment, wanted: opt.LogitsOptions) -> opt.LogitsOptions:
    """The logits that a policy is of, where nothing else is asked for."""
    runtime, dataset = wanted.runtime, wanted.dataset or deployed.dataset
    if dataset == deployed.dataset:
        runtime = runtime or deployed.runtime
    return replace(wanted, recorded=recorded_models(deployed), runtime=runtime, dataset=dataset)


def policy_split(store: Store, deployed: Deployment, wanted: opt.LogitsOptions) -> tuple[str, str]:
    """(dataset, split) that a policy is held against, by default the promise's; InputError where
    the cache holds others only."""
    dataset, there = wanted.dataset or deployed.dataset, datasets(store)
    if wanted.dataset is None and there and dataset not in there:
        raise InputError(
            f"the policy is of {dataset}, and {store.root} holds {', '.join(there)}: say which "
            "with --dataset, or give another --cache"
        )
    usual = deployed.promise.split if dataset == deployed.dataset else None
    return dataset, report_split(store, dataset, wanted.split or usual)


def same_images(store: Store, deployed: Deployment, scores: ScoreSet) -> bool:
    """Whether these have the ids, names and labels of the promised ones, also those of a copy."""
    samples = load(store, Partition.of("samples", dataset=scores.dataset, split=scores.split))
    source = None if samples is None else samples.provenance.get("source_fingerprint")
    known = {scores.manifests[0].fingerprint, source} - {None}
    return deployed.promise.dataset_fingerprint in known


def promised_images(
    store: Store, deployed: Deployment, scores: ScoreSet
) -> tuple[ScoreSet, FittedLimit]:
    """Of the promised images the promised half, and how λ came about there; of others all. What
    folds decided is told of them, and a line where these images chose λ."""
    against = deployed.promise.against
    baseline = None if against is None else against.baseline
    baseline = baseline if baseline in with_references(store, scores).models else None
    if not same_images(store, deployed, scores):
        return scores, FittedLimit(baseline=baseline)
    if deployed.halves is not None:
        scores = reported_half(scores, deployed.halves)
    told = deployed.promise.accuracy
    if deployed.fitted == "cross-fit" and told is not None:
        change = None if against is None else against.accuracy_change
        return scores, FittedLimit(deployed.fit, baseline, Honest(told, change))
    if deployed.fitted in ("cross-fit", "hold-out", "same-split"):
        say("these images, or some of them, chose λ, and flatter it: what others say is promised")
    return scores, FittedLimit(baseline=baseline)


def memory_of(deployed: Deployment, requests: opt.MemoryOptions) -> opt.MemoryOptions:
    """The requests with the memory of a policy in front."""
    kept = deployed.memory
    return replace(
        requests,
        memory=None if kept is None else kept.algorithm,
        memory_size=None if kept is None else kept.size,
        memory_radius=0 if kept is None else kept.radius,
        memory_trust=None if kept is None else kept.trust,
    )


def recorded_models(deployed: Deployment) -> dict[str, dict[str, Any]]:
    """What a policy says of its models, by their names."""
    return {
        model.name: {key: value for key, value in model.columns().items() if value is not None}
        for model in deployed.models
    }


def _says(deployed: Deployment) -> dict[str, Any]:
    """What a policy decides, by the names of the options that would; of more than two models these
    name the first two."""
    cascade, kept = deployed.cascade, deployed.memory
    a, b, *_ = (*cascade.models_that_run, None)
    return {
        "model_1": a,
        "model_2": b,
        "dataset": deployed.dataset,
        "scorefn": cascade.score,
        "threshold": str(cascade.limits[0].threshold) if cascade.limits else None,
        "postcheck": cascade.postcheck,
        "memory": None if kept is None else kept.algorithm,
        "memory_size": None if kept is None else kept.size,
        "memory_radius": 0 if kept is None else kept.radius,
        "memory_trust": None if kept is None else kept.trust,
        "precision": _runtime(deployed)[1],
        "runtime": _runtime(deployed)[0],
    }


def _runtime(deployed: Deployment) -> tuple[str | None, str, str]:
    """The runtime of all models, None where each names its own; precision and kind of device.

    InputError where `live` cannot run them.
    """
    said = [said_by(model.runtime) for model in deployed.models]
    each_its_own = all(model_in(model.name)[1] for model in deployed.models)
    kinds = {each[2] for each in said if each}
    if None in said or len(kinds) != 1 or (deployed.runtime is None and not each_its_own):
        found = ", ".join(sorted({model.runtime for model in deployed.models}))
        raise InputError(
            f"{deployed.where} is for the runtime {found}, which live cannot run: export one from "
            "logits that `cascade extract` made"
        )
    one = None if each_its_own else said_by(str(deployed.runtime))
    return deployed.runtime if one else None, one[1] if one else "fp32", kinds.pop()


def _same(name: str, given: Any, stated: Any) -> bool:
    if name.startswith("model_"):  # file:PATH.pt2 says where the model is
        return cached_names(given)[0] == [stated]
    if name == "threshold":
        return _limit(given) == _limit(stated)
    return bool(given == stated)


def _limit(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _contradiction(deployed: Deployment, name: str, given: Any, stated: Any) -> InputError:
    flag = "--" + name.replace("model_", "model").replace("_", "-")
    shown = "none" if stated is None else stated
    return InputError(f"{flag} {given} contradicts {deployed.where} ({shown}): leave out the one")


def _check_weights(deployed: Deployment, options: dict[str, Any]) -> None:
    """InputError for weights that are not the policy's."""
    pair = opt.PairOptions(*(options[each.name] for each in fields(opt.PairOptions)))
    _, aliases = cached_names(pair.model_1, pair.model_2)
    promised = recorded_models(deployed)
    images = in_runtime(
        opt.ImageOptions(
            options["data"],
            options["weights"],
            weights_files(pair),
            aliases,
            promised,
            preprocess=options["preprocess"],
            runtime=options["runtime"],
        )
    )
    names, store = deployed.cascade.models_that_run, Store(options["cache"])
    for one, _ in named_to_run(store, deployed.dataset, names, images).values():
        sha256 = promised[one.name].get("weights_sha256", "no digest")
        if one.weights.sha256 != sha256:
            raise InputError(
                f"{one.name} has weights {one.weights.sha256[:12]}, {deployed.where} was made with "
                f"{sha256[:12]}: give those (--weights), or export it again"
            )
