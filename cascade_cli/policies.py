"""What `export`, `search`, `check` and `live` share about policies."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cascade_cli import prices, requests
from cascade_cli.output import say

if TYPE_CHECKING:
    from cache import InputError, Store
    from cascade_cli.gather import Images
    from stages.cascade import Cascade
    from stages.policy import Deployment
    from stages.score import ScoreSet


@dataclass(frozen=True)
class How:
    """Where the images are, which runtime, what memory, and which costs, if any are `priced`."""

    images: Images
    runtime: str | None = None
    memory: requests.Asked = field(default_factory=requests.Asked)
    costs: prices.Asked = field(default_factory=prices.Asked)
    priced: bool = True


def simulated(
    store: Store, scores: ScoreSet, cascade: Cascade, fit: dict[str, Any], how: How
) -> dict[str, Any]:
    """The row of `simulate` for each image once, in order."""
    from stages import simulate as stage

    pair, policy = cascade.models, how.memory.policy()
    shown, made, _ = requests.streamed(store, scores, pair, how.memory, how.images, how.runtime)
    everyone = prices.with_references(store, scores)
    pricer = prices.of_cascades(store, everyone, pair, how.costs) if how.priced else None
    recall = requests.recall(store, shown, made, policy, how.costs.batch_size, how.images)
    pricer = requests.with_hash(pricer, store, scores, policy)
    return stage.run(store, shown, cascade, fit, pricer, recall, {"stream": None})


def deploy(
    store: Store,
    scores: ScoreSet,
    cascade: Cascade,
    fit: dict[str, Any],
    how: How,
    folder: str,
    certificate: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a cascade, its λ and how that came about to a folder, with what it promises.

    A note says where it surely costs more than the single model that it is held against.
    """
    from stages import policy as stage

    stage.deployable(cascade)
    row = simulated(store, scores, cascade, fit, how)
    found = stage.document(store, scores, cascade, row, how.memory.policy(), certificate)
    if row["saved"] is not None and row["saved_high"] < 0:
        say(f"note: it costs {-row['saved']:.1%} more than {row['baseline']} alone")
    replaces = Path(folder, stage.FILE).exists()
    files = stage.write(folder, found)
    if replaces:
        say(f"note: the policy in {folder} is replaced")
    return {"files": files, "policy": found}


def applied(context: typer.Context, place: str) -> dict[str, Any]:
    """The options of `live` with what a policy says in place of what was not given.

    InputError for an option that says otherwise, and for weights that are not the policy's.
    """
    from cascade_cli.asking import given
    from stages.policy import read

    deployed, options = read(place), dict(context.params)
    stated = {name for name in options if given(context, name)}
    for name in stated & {"objective", "fit_split"}:
        raise _contradiction(deployed, name, options[name], "a λ that is not fitted again")
    for name, value in _says(deployed).items():
        if name not in stated:
            options[name] = value
        elif not _same(name, options[name], value):
            raise _contradiction(deployed, name, options[name], value)
    kind = _runtime(deployed)[2]
    for name, value in {"split": deployed.promise["split"], "device": kind}.items():
        options[name] = options[name] if name in stated else value
    if options["device"].partition(":")[0] != kind:
        raise _contradiction(deployed, "device", options["device"], kind)
    _check_weights(deployed, options)
    context.obj = recorded(deployed)
    return options | {"policy": None}


def recorded(deployed: Deployment) -> dict[str, dict[str, Any]]:
    """What a policy says of its models, by their names."""
    return {model["name"]: model for model in deployed.models}


def _says(deployed: Deployment) -> dict[str, Any]:
    """What a policy decides, by the names of the options that would."""
    cascade, kept = deployed.cascade, deployed.memory
    return {
        "model_1": cascade.models[0],
        "model_2": cascade.models[1],
        "dataset": deployed.dataset,
        "scorefn": cascade.score,
        "threshold": str(cascade.limits[0].threshold),
        "postcheck": cascade.postcheck,
        "memory": None if kept is None else kept.algorithm,
        "memory_size": None if kept is None else kept.size,
        "memory_radius": 0 if kept is None else kept.radius,
        "memory_trust": None if kept is None else kept.trust,
        "precision": _runtime(deployed)[1],
    }


def _runtime(deployed: Deployment) -> tuple[str, str, str]:
    """Engine, precision and kind of device; InputError where `live` cannot run that."""
    from cache import InputError

    engine, *rest = (deployed.runtime or "several runtimes").split("-")
    if engine != "torch" or len(rest) != 2:
        found = ", ".join(sorted({model["runtime"] for model in deployed.models}))
        raise InputError(
            f"{deployed.where} is for the runtime {found}, which live cannot run: export one from "
            "logits that `cascade extract` made"
        )
    return engine, rest[0], rest[1]


def _same(name: str, given: Any, stated: Any) -> bool:
    from cascade_cli import asking

    if name.startswith("model_"):  # file:PATH.pt2 says where the model is
        return asking.by_name(given)[0] == [stated]
    if name == "threshold" and given not in ("always", "never"):
        return stated not in ("always", "never") and _number(given) == float(stated)
    return bool(given == stated)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _contradiction(deployed: Deployment, name: str, given: Any, stated: Any) -> InputError:
    from cache import InputError

    flag = "--" + name.replace("model_", "model").replace("_", "-")
    shown = "none" if stated is None else stated
    return InputError(f"{flag} {given} contradicts {deployed.where} ({shown}): leave out the one")


def _check_weights(deployed: Deployment, options: dict[str, Any]) -> None:
    from cache import InputError, Store
    from cascade_cli import asking, gather

    named, aliases = asking.by_name(options["model_1"], options["model_2"])
    files = asking.weights_files(
        options["model_1"], options["weights_1"], options["model_2"], options["weights_2"]
    )
    promised = recorded(deployed)
    images = gather.Images(
        options["data"],
        options["weights"],
        files,
        aliases,
        promised,
        preprocess=options["preprocess"],
    )
    names = [name for name in named if name is not None]
    for one in gather.choose_models(Store(options["cache"]), deployed.dataset, names, [], images):
        sha256 = promised[one.name].get("weights_sha256", "no digest")
        if one.weights.sha256 != sha256:
            raise InputError(
                f"{one.name} has weights {one.weights.sha256[:12]}, {deployed.where} was made with "
                f"{sha256[:12]}: give those (--weights), or export it again"
            )
