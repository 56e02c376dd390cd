"""`check`: whether a policy still does what it promised, for CI."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from cache import Store
from cascade_cli import options as opt
from cascade_cli.exit_codes import NOT_AS_PROMISED
from cascade_cli.inputs.allowance import allowance
from cascade_cli.inputs.costs import all_priced
from cascade_cli.inputs.policy import memory_of, of_policy, policy_split, same_images
from cascade_cli.inputs.scores import score_set
from cascade_cli.inputs.simulation import simulated
from cascade_cli.show.costs import limit_text
from cascade_cli.show.text import print_json, print_table, print_text, say
from stages import policy as stage
from stages.costs import figures, told_in
from stages.missing import IMPORTED
from stages.policy import Deployment, check_unedited, model_facts, not_compared, read
from stages.scores import ScoreSet, with_nobody
from stages.simulate import FittedLimit, SimulatedCascade, ready
from stages.threshold import reported_half, seen, trained_splits

COLUMNS = {
    "name": "figure",
    "promised": "promised:.2%",
    "allowed": "allowed:.2%",
    "found": "found:.2%",
    "p": "p:.2g",
    "worse": "worse",
    "test": "test",
}


# How the rate of alarms holds where λ was fitted on the promised images, without a memory and with
# one, whose promise is not cross-fitted.
RATES = {
    "cross-fit": ("about", "perhaps more than"),
    "hold-out": ("about", "perhaps more than"),
    "same-split": ("perhaps more than", "perhaps more than"),
}


@opt.grouped(
    "policy dataset split alpha allow data weights runtime cache as_json",
    dataset="Dataset to check on, of the same models. [default: the promise's]",
    split="Images to check on. [default: the promise's]",
    runtime="Whose logits. [default: the policy's]",
)
def check(
    policy: Annotated[str, typer.Argument(help="Folder of the policy, or its policy.toml.")],
    wanted: opt.LogitsOptions,
    common: opt.CommonOptions,
    alpha: float = opt.option(
        0.05, "Rate of false alarms, of all the tests together.", callback=opt.share
    ),
    allow: str | None = opt.option(
        None, "How much worse is as promised still: accuracy=0.5pt,use=10%,cost=5%."
    ),
) -> None:
    """Exit 3 where accuracy, use of B or cost is significantly worse than a policy promised.

    \b
    cascade check policy --split val
    """
    deployed = read(policy)
    found = _checked(Store(common.cache), deployed, wanted, alpha, allowance(allow))
    if common.as_json:
        print_json(found)
    else:
        rates = RATES.get(str(deployed.fitted), ("at most", "at most"))
        _show(found, _unit(deployed), rates[deployed.memory is not None])
    if found["regressions"]:
        raise typer.Exit(NOT_AS_PROMISED)


def _checked(
    store: Store,
    deployed: Deployment,
    wanted: opt.LogitsOptions,
    alpha: float,
    allow: stage.Allowance,
) -> dict[str, Any]:
    """The figures promised beside those found, and of what models and images."""
    promise, cascade = deployed.promise, deployed.cascade
    dataset, split = policy_split(store, deployed, wanted)
    wanted = of_policy(deployed, wanted)
    scores = score_set(store, dataset, split, cascade.models_that_run, wanted, alone=True)
    same = same_images(store, deployed, scores)
    if same and deployed.halves is not None:
        scores = reported_half(scores, deployed.halves)
    scores = with_nobody(scores, deployed.nobody)
    for note in seen(scores, trained_splits(store, scores), "check"):
        say(note)
    memory, costs = _as_promised(store, scores, deployed)
    row, _ = simulated(store, scores, (cascade, FittedLimit()), memory, wanted, costs)
    _check_unedited(store, scores, deployed, row)
    figures = stage.check(promise, row, alpha, allow)
    worse = [each.name for each in figures if each.worse]
    known = ready(store, scores, cascade) if worse else scores
    mended = (known, cascade, promise, allow)
    return {
        "policy": deployed.where,
        "dataset": dataset,
        "split": split,
        "n": row.n,
        "target": stage.target_of(figures),
        "figures": [asdict(each) for each in figures],
        "same_fingerprint": same,
        "fit_method": deployed.fitted,
        **scores.cut,
        "alpha": alpha,
        "regressions": worse,
        "restoring": stage.restoring(*mended) if worse else None,
        "first_left": stage.first_left(*mended, alpha) if worse else None,
        "models": _models(scores, deployed),
        "simulated": row,
    }


def _as_promised(
    store: Store, scores: ScoreSet, deployed: Deployment
) -> tuple[opt.MemoryOptions, opt.CostOptions | None]:
    """The memory and the kind of cost of the promise; no cost where it is not known any more."""
    memory, price = memory_of(deployed, opt.MemoryOptions()), deployed.promise.price
    if price is None or not all_priced(store, scores, str(price.cost_kind), price.cost_device):
        return memory, None
    return memory, opt.CostOptions(price.cost_kind, price.cost_device, price.cost_batch_size or 1)


def _unit(deployed: Deployment) -> str:
    price = deployed.promise.price
    return "" if price is None else str(price.cost_unit)


def _models(scores: ScoreSet, deployed: Deployment) -> list[dict[str, Any]]:
    """Whether the weights are those of the promise; None where it does not say."""
    out = []
    for model in deployed.models:
        manifest = scores.manifests[scores.index(model.name)]
        promised, found = model.weights_sha256, manifest.provenance.get("weights_sha256")
        imported = manifest.partition.keys["runtime"] == IMPORTED
        same = None if promised is None or (imported and found is None) else promised == found
        shas = {"weights_sha256": found, "promised_weights_sha256": promised}
        out.append({"name": model.name, "same_weights": same} | shas)
    return out


def _check_unedited(
    store: Store, scores: ScoreSet, deployed: Deployment, row: SimulatedCascade
) -> None:
    """InputError where these are the scores that the policy was made from, and say otherwise; a
    line where neither they nor a digest tell whether it was edited."""
    names = [model.name for model in deployed.models]
    contents = [scores.manifests[scores.index(name)].content for name in names]
    why = not_compared(deployed, contents)
    if why is None:
        check_unedited(deployed, [model_facts(store, scores, name) for name in names], row)
    if deployed.sha256 is None:
        compared = "was compared" if why is None else "was not compared"
        because = "" if why is None else f": {why}"
        say(
            f"{deployed.where} has no sha256 that would tell an edit, and {compared} with the "
            f"scores it was made from{because}"
        )


def _words(name: str) -> str:
    return _WORDS.get(name, name)


_WORDS = {
    "usage": "use of B",
    "usage_2": "use of C",
    "abstained": "share unanswered",
    "answered_accuracy": "accuracy of those answered",
}


def _shown(figure: dict[str, Any], unit: str) -> dict[str, Any]:
    """A row of the table; of a cost with its unit, of a loss none."""
    names = [name for name in ("promised", "allowed", "found") if figure[name] is not None]
    if figure["name"] == "loss":
        return figure | {name: f"{figure[name]:.4f}" for name in names}
    if figure["name"] != "cost":
        return figure | {"name": _words(figure["name"])}
    costs = dict(zip(names, figures(unit, *(figure[name] for name in names)), strict=True))
    return figure | {"name": f"cost, {told_in(unit)}"} | costs


def _show(found: dict[str, Any], unit: str, rate: str) -> None:
    print_text(_verdict(found))
    allowed = any(each["allowed"] is not None for each in found["figures"])
    columns = COLUMNS if allowed else {k: v for k, v in COLUMNS.items() if k != "allowed"}
    print_table([_shown(each, unit) for each in found["figures"]], columns)
    _show_mending(found)
    print(f"false alarms in {rate} {found['alpha']:.2g} of such checks")
    if found["same_fingerprint"]:
        say(
            "these images have the names and labels of the promised ones; the policy holds no "
            "answers, so they count as a second sample of their kind"
        )


def _show_mending(found: dict[str, Any]) -> None:
    """Which figure left its promise first, and which λ would keep it here."""
    if left := found["first_left"]:
        print_text(
            f"{_words(left.figure)} left it first: by request {left.requests} of {found['n']}, in "
            "the order of the images"
        )
    if limit := found["restoring"]:
        print_text(
            f"λ = {limit_text(limit.threshold)} would keep it: accuracy {limit.accuracy:.2%}, use "
            f"of B {limit.usage:.2%} of these images, which choose it: `cascade export -t` writes "
            "it, and other images have to tell"
        )
    elif found["regressions"]:
        print_text("no λ of this cascade keeps accuracy and use of B on these images")


def _verdict(found: dict[str, Any]) -> str:
    """The word, why, and which images and weights say so."""
    untested = [_words(each["name"]) for each in found["figures"] if each["p"] is None]
    worse = [_words(name) for name in found["regressions"]]
    why = f"worse in {', '.join(worse)}" if worse else "nothing worse"
    if untested:
        why += f", {', '.join(untested)} not tested"
    new = [model["name"] for model in found["models"] if model["same_weights"] is False]
    weights = f", new weights of {', '.join(new)}" if new else ""
    where = f"{found['n']} images of {found['dataset']}/{found['split']}{weights}"
    whether = "whether it meets " if found["target"] == "CANNOT TELL" else ""
    return f"{found['target']} {whether}its promise: {why} ({where})."
