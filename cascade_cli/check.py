"""`check`: whether a policy still does what it promised, for CI."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_cli import options as opt
from cascade_cli import prices, requests
from cascade_cli.ending import NOT_AS_PROMISED
from cascade_cli.output import print_json, print_table, print_text, say
from cascade_cli.policies import How, recorded, simulated

if TYPE_CHECKING:
    from cache import Store
    from stages.policy import Deployment
    from stages.score import ScoreSet

COLUMNS = {
    "name": "figure",
    "promised": "promised:.2%",
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


def register(app: typer.Typer) -> None:
    app.command("check", short_help="Exit 3 where a policy has become significantly worse.")(check)


def check(
    policy: Annotated[str, typer.Argument(help="Folder of the policy, or its policy.toml.")],
    split: Annotated[
        str | None, typer.Option("--split", help="Images to check on. [default: the promise's]")
    ] = None,
    alpha: Annotated[
        float,
        typer.Option(
            "--alpha",
            callback=opt.share,
            help="Rate of false alarms, of all the tests together.",
        ),
    ] = 0.05,
    data: opt.Data = None,
    weights: opt.WeightsDir = None,
    runtime: Annotated[
        str | None, typer.Option("--runtime", help="Whose logits. [default: the policy's]")
    ] = None,
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """Exit 3 where accuracy, use of B or cost is significantly worse than a policy promised.

    \b
    cascade check policy --split val
    """
    from cache import Store
    from cascade_cli.gather import Images
    from stages.policy import read

    deployed = read(policy)
    how = How(Images(data, weights, recorded=recorded(deployed)), runtime or deployed.runtime)
    found = _checked(Store(cache), deployed, split, alpha, how)
    if as_json:
        print_json(found)
    else:
        rates = RATES.get(str(deployed.fitted), ("at most", "at most"))
        _show(found, str(deployed.promise.get("cost_unit")), rates[deployed.memory is not None])
    if found["regressions"]:
        raise typer.Exit(NOT_AS_PROMISED)


def _checked(
    store: Store, deployed: Deployment, split: str | None, alpha: float, how: How
) -> dict[str, Any]:
    from cascade_cli import gather
    from stages import check as stage
    from stages.fitting import seen, trained_splits

    promise, cascade = deployed.promise, deployed.cascade
    split = gather.report_split(store, deployed.dataset, split or promise["split"])
    pair = cascade.models
    where = (deployed.dataset, split, pair, how.images, how.runtime)
    scores = gather.scores(store, *where, alone=True)
    for note in seen(scores, trained_splits(store, scores), "check"):
        say(note)
    row = simulated(store, scores, cascade, {}, _as_promised(store, scores, deployed, how))
    _check_unedited(store, scores, deployed, row)
    figures = stage.check(promise, row, alpha)
    return {
        "policy": deployed.where,
        "dataset": deployed.dataset,
        "split": split,
        "n": row["n"],
        "target": stage.target_of(figures),
        "figures": [asdict(each) for each in figures],
        "same_fingerprint": promise.get("dataset_fingerprint") in _fingerprints(store, scores),
        "fit_method": deployed.fitted,
        "alpha": alpha,
        "regressions": [each.name for each in figures if each.worse],
        "models": _models(scores, deployed),
        "simulated": row,
    }


def _as_promised(store: Store, scores: ScoreSet, deployed: Deployment, how: How) -> How:
    """The memory and the kind of cost of the promise; no cost where it is not known any more."""
    promise, kept = deployed.promise, deployed.memory
    memory = requests.Asked()
    if kept is not None:
        memory = requests.Asked(
            memory=kept.algorithm, size=kept.size, radius=kept.radius, trust=kept.trust
        )
    kind, device = promise.get("cost_kind"), promise.get("cost_device")
    asked = prices.Asked(kind, device, promise.get("cost_batch_size", 1))
    there = kind is not None and prices.known(store, scores, kind, device)
    return How(how.images, how.runtime, memory, asked, there)


def _fingerprints(store: Store, scores: ScoreSet) -> set[str]:
    """Of these images: the cache's own and, where that is a published copy, the original's."""
    from cache import Partition, load

    samples = load(store, Partition.of("samples", dataset=scores.dataset, split=scores.split))
    source = None if samples is None else samples.provenance.get("source_fingerprint")
    return {known for known in (scores.manifests[0].fingerprint, source) if known is not None}


def _models(scores: ScoreSet, deployed: Deployment) -> list[dict[str, Any]]:
    """Whether the weights are those of the promise; None where it does not say."""
    out = []
    for model in deployed.models:
        manifest = scores.manifests[scores.index(model["name"])]
        promised, found = model.get("weights_sha256"), manifest.provenance.get("weights_sha256")
        same = None if promised is None else promised == found
        shas = {"weights_sha256": found, "promised_weights_sha256": promised}
        out.append({"name": model["name"], "same_weights": same} | shas)
    return out


def _check_unedited(
    store: Store, scores: ScoreSet, deployed: Deployment, row: dict[str, Any]
) -> None:
    """InputError where these are the scores that the policy was made from, and say otherwise; a
    line where neither they nor a digest tell whether it was edited."""
    from stages.check import check_unedited, not_compared
    from stages.policy import model_facts

    names = [model["name"] for model in deployed.models]
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
    return "use of B" if name == "usage" else name


def _shown(figure: dict[str, Any], unit: str) -> dict[str, Any]:
    """A row of the table; of a cost with its unit."""
    from stages.amounts import figures, told_in

    if figure["name"] != "cost":
        return figure | {"name": _words(figure["name"])}
    known = [figure[name] for name in ("promised", "found") if figure[name] is not None]
    costs = dict(zip(("promised", "found"), figures(unit, *known), strict=False))
    return figure | {"name": f"cost, {told_in(unit)}"} | costs


def _show(found: dict[str, Any], unit: str, rate: str) -> None:
    print_text(_verdict(found))
    print_table([_shown(each, unit) for each in found["figures"]], COLUMNS)
    print(f"false alarms in {rate} {found['alpha']:.2g} of such checks")
    if found["same_fingerprint"]:
        say(
            "these images have the names and labels of the promised ones; the policy holds no "
            "answers, so they count as a second sample of their kind"
        )


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
    return f"{found['target']} {_PROMISE[found['target']]}: {why} ({where})."


_PROMISE = {
    "MEETS": "its promise",
    "MISSES": "its promise",
    "CANNOT TELL": "whether it meets its promise",
}
