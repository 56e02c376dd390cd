"""`live`: run a cascade, or one model, for real."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_cli import busy, original, policies, prices, requests
from cascade_cli import options as opt
from cascade_cli.ending import ENDINGS, NOT_AS_PROMISED, finish
from cascade_cli.output import print_json, print_table, progress, say

if TYPE_CHECKING:
    import numpy as np

    from cache import Store
    from cascade_cli.gather import Images
    from stages.cascade import Cascade, MemoryPolicy
    from stages.datasets import Source
    from stages.score import ScoreSet
    from stages.serving import Served
    from stages.simulate import Recall
    from stages.stream import Stream

SHOWN = 20  # differences
CLASS_COLUMNS = {
    "class": "class",
    "precision": "precision:.3f",
    "recall": "recall:.3f",
    "f1-score": "F1:.3f",
    "support": "images:.0f",
}


def register(app: typer.Typer) -> None:
    app.command("live", short_help="Answer every image for real, and hold that to simulate.")(live)


def live(
    context: typer.Context,
    policy: Annotated[
        str | None, typer.Option("--policy", help="Run the cascade that `export` wrote there.")
    ] = None,
    config: Annotated[
        str | None, typer.Option("-y", "--config", help="A config.yml of the original scripts.")
    ] = None,
    model_1: opt.Model1 = None,
    model_2: opt.Model2 = None,
    dataset: opt.DatasetLong = None,
    data: opt.Data = None,
    scorefn: opt.ScoreFn = "maxp",
    threshold: opt.Threshold = None,
    postcheck: opt.PostCheck = False,
    memory: requests.Memory = None,
    duplicates: requests.Duplicates = 0.0,
    rotations: requests.Rotations = 0.0,
    order: requests.Order = "appended",
    seed: requests.Seed = 0,
    stream: requests.StreamFile = None,
    memory_size: requests.MemorySize = None,
    memory_radius: requests.MemoryRadius = 0,
    memory_trust: requests.MemoryTrust = None,
    objective: opt.Objective = "best",
    batch_size: Annotated[
        int, typer.Option(min=1, max=opt.MOST, help="Requests answered at once.")
    ] = 1,
    limit: Annotated[
        int | None,
        typer.Option(min=1, max=opt.MOST, help="Only the first requests. [default: all]"),
    ] = None,
    alone: Annotated[
        bool,
        typer.Option(help="Also run each model and the baseline alone, interleaved."),
    ] = True,
    baseline: prices.Baseline = None,
    meter: Annotated[
        str | None,
        typer.Option("--meter", help="Sensor to prefer, a package's too. [default: the best]"),
    ] = None,
    split: opt.Split = None,
    fit_split: opt.FitSplit = None,
    weights_1: opt.Weights1 = None,
    weights_2: opt.Weights2 = None,
    weights: opt.WeightsDir = None,
    preprocess: opt.Preprocess = None,
    device: opt.Device = None,
    precision: opt.Precision = "fp32",
    end: Annotated[
        str, typer.Option("-e", "--end", help="When done: none, alarm or shutdown.")
    ] = "none",
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """Answer every image for real, time it, and hold the answers against `simulate`.

    \b
    cascade live -m1 digits_wide -m2 digits_residual --batch-size 64
    """
    from cache import InputError, Store
    from cache.errors import one_of
    from cascade_cli import asking, gather
    from stages.models.factory import require_torch

    if end not in ENDINGS:
        raise one_of("ending", end, ENDINGS)
    if config is not None and policy is not None:
        raise InputError("--config and --policy each say what runs: leave out one of them")
    if config is not None:
        live(context, **original.applied(context, config))
        return
    if policy is not None:
        live(context, **policies.applied(context, policy))
        return
    (named_1, named_2), aliases = asking.by_name(model_1, model_2)
    if named_1 is None:
        raise InputError("live needs a model: give -m1 A, and -m2 B for a cascade")
    threshold = asking.threshold_or_fit(context, threshold)
    requests.memory_or_none(context, memory)
    require_torch()
    store = Store(cache)
    files = asking.weights_files(model_1, weights_1, model_2, weights_2)
    dataset = asking.dataset_in(store, dataset, (model_1, model_2))
    own = (files, aliases, context.obj or {})
    images = gather.Images(data, weights, *own, device, precision, preprocess=preprocess)
    split = gather.report_split(store, dataset, split)
    models = (named_1,) if named_2 is None else asking.required_pair(named_1, named_2)
    request = _Request(store, dataset, split, models, images, batch_size, limit, alone, meter)
    wanted = requests.Asked(
        duplicates, rotations, order, seed, stream, memory, memory_size, memory_radius, memory_trust
    )
    if len(models) == 1:
        if wanted != requests.Asked():
            raise InputError("streams and memories are for cascades: give -m2 B")
        asking.refuse(context, _OF_CASCADES, "is for cascades: give -m2 B")
        result = _one_model(request)
    else:
        asking.check_there(store)
        rule = (scorefn, threshold, postcheck)
        result = _cascade(request, rule, objective, fit_split, baseline, wanted)
    busy.warn(_timed(result))
    if as_json:
        print_json(result)
    else:
        _show(result)
    finish(end)
    if result["agreement"] and result["agreement"]["outside_noise"]:
        say("the live run and the simulation disagree by more than float noise")
        raise typer.Exit(NOT_AS_PROMISED)


_OF_CASCADES = ("scorefn", "threshold", "postcheck", "objective", "fit_split", "baseline")


@dataclass(frozen=True)
class _Request:
    """What is to be answered, by which models, and what to hold it against."""

    store: Store
    dataset: str
    split: str
    models: tuple[str, ...]
    images: Images
    batch_size: int
    limit: int | None
    alone: bool
    meter: str | None

    def serve(
        self,
        cascades: dict[str, Cascade],
        scores: ScoreSet | None = None,
        made: Stream | None = None,
        policy: MemoryPolicy | None = None,
    ) -> _Outcome:
        """What each contender answered; the images are those of `scores` where given.

        With a stream its requests are served, and with a policy the cascade has a memory.
        """
        import numpy as np

        from cascade_cli.gather import contenders, same_images
        from stages.energy import open_meters
        from stages.inference import device_name
        from stages.profile import window_s
        from stages.serving import LiveCascade, LiveMemory, serve_all
        from stages.stream import shown

        source, running = contenders(self.store, self.dataset, self.split, cascades, self.images)
        if scores is not None:
            same_images(scores, source)
        if made is not None:
            source = shown(source, made)
        if policy is not None:
            from stages.hashes import HASHES

            memory = LiveMemory(policy, HASHES[policy.algorithm].digest_each)
            one = running[_CASCADE]
            running[_CASCADE] = LiveCascade(one.cascade, one.runners, memory)
        if self.limit:
            _tell_classes(source.labels, self.limit, made is not None)
        device = next(iter(running.values())).runners[0].device
        found = open_meters([str(device)], self.meter)
        meters = [meter for meter in found if meter.sensor.source != "none"]
        reason = None if found[0] in meters else found[0].sensor.detail
        size, seconds = self.batch_size, window_s(meters, quick=False)
        try:
            with progress("live") as tell:
                served = serve_all(source, running, size, self.limit, meters, seconds, tell)
        finally:
            for meter in found:
                meter.close()
        name = device_name(device)
        asked = np.arange(len(source.labels)) if made is None else made.sample_ids
        return _Outcome(source, served, asked, self.images.precision, name, reason)


def _tell_classes(labels: np.ndarray, limit: int, streams: bool) -> None:
    """Say so where the first requests are of some classes only, as those of a folder are."""
    shown, there = (len(set(each.tolist())) for each in (labels[:limit], labels))
    if shown < there:
        hint = ": `--order shuffled` mixes them" if streams else ""
        say(f"the first {limit} requests show {shown} of {there} classes{hint}")


@dataclass(frozen=True)
class _Outcome:
    """The images, what was served, whose image each request asks about (int64 [N]), and where the
    device has no sensor the reason."""

    source: Source
    served: dict[str, Served]
    asked: np.ndarray
    precision: str
    device: str
    reason: str | None

    @property
    def cascade(self) -> Served:
        return self.served[_CASCADE]

    def about(self) -> dict[str, Any]:
        from stages.live import classification

        alone = {name: self.figures(name) for name in self.served if name != _CASCADE}
        return {
            "batch_size": self.cascade.batch_size,
            "precision": self.precision,
            "device": self.device,
            "preprocess_ms": float(self.cascade.preprocess_ms.mean()),
            **self.figures(_CASCADE),
            "alone": alone,
            "classification": classification(self.cascade, self.source.class_names),
        }

    def figures(self, name: str) -> dict[str, Any]:
        """Accuracy, latency and joules of one contender; `host` is the machine's beside it."""
        from stages.live import energy_summary, latency_summary, usual_ms

        one = self.served[name]
        meters = len(one.windows[0][1]) if one.windows else 0
        energy = [energy_summary(one, i) for i in range(meters)]
        if self.reason is not None:
            energy = [energy_summary(replace(one, windows=()), reason=self.reason), *energy]
        times = {"latency_ms": latency_summary(one), "usual_ms": usual_ms(one)}
        right = self.share("accuracy", one.outcome.correct)
        return right | times | {"energy": energy[0] | {"host": energy[1:]}}

    def share(self, name: str, holds: np.ndarray) -> dict[str, float | None]:
        """Of what was answered, bool [N], with an interval of its own."""
        from stages.simulate import share_of
        from stages.statistics import with_ends

        return with_ends(name, share_of(holds, self.asked[: len(holds)]))


def _cascade(
    request: _Request,
    rule: tuple[str, str | None, bool],
    objective: str,
    fit_split: str | None,
    baseline: str | None,
    wanted: requests.Asked,
) -> dict[str, Any]:
    from cascade_cli import gather
    from stages import simulate as stage
    from stages.live import first, record

    images, store = request.images, request.store
    pair = (request.models[0], request.models[1])
    runtime, policy = gather.runtime_of(images), wanted.policy()
    scores = gather.scores(store, request.dataset, request.split, pair, images, runtime)
    references = prices.with_references(store, scores)
    alone = prices.right(references, baseline)
    cascade, fit = gather.decided(
        store, scores, pair, rule, objective, fit_split, images, runtime, alone
    )
    gather.same_weights(store, scores, request.dataset, pair, images)
    shown, made, name = requests.streamed(store, scores, pair, wanted, images, runtime)
    everyone = requests.references(references, shown, made)
    recall = requests.recall(store, shown, made, policy, request.batch_size, images)
    every = len(shown.labels)
    n = min(every, request.limit or every)
    some = {"stream": name} | ({} if n == every else {"limit": n})
    shown, everyone, recall = first(shown, n), first(everyone, n), recall and recall.first(n)
    asked = prices.Asked(batch_size=request.batch_size, baseline=baseline)
    pricer = requests.with_hash(
        prices.of_cascades(store, everyone, pair, asked), store, scores, policy
    )
    expected = stage.run(store, shown, cascade, fit, pricer, recall, some)
    rivals = [*pair, expected["baseline"]] if request.alone else []
    live = request.serve(
        {_CASCADE: cascade} | {rival: _alone(rival) for rival in rivals},
        scores,
        made,
        policy,
    )
    head = {"dataset": request.dataset, "stream": name} | expected | wanted.about()
    result = head | _compared(request, live, shown, cascade, recall)
    record(store, shown, result)
    return result


def _compared(
    request: _Request, live: _Outcome, shown: ScoreSet, cascade: Cascade, recall: Recall | None
) -> dict[str, Any]:
    """What was measured, and beside it what the simulation and the costs had said."""
    from stages.cascade import decide
    from stages.live import agreement, first
    from stages.simulate import recalled

    n = len(live.cascade.labels)
    shown, recall = first(shown, n), recall and recall.first(n)
    outcome = decide(shown, cascade)
    if recall is not None:
        outcome, _ = recalled(shown, cascade, outcome, recall)
    found = agreement(live.cascade, shown, cascade, request.images.precision, recall)
    found["simulated"] = {
        "n": n,
        "accuracy": outcome.accuracy,
        "usage": outcome.usage(),
        "escalated": int(outcome.escalated.sum()),
        "took_b": int(outcome.took_b.sum()),
        "hits": 0 if outcome.hit is None else int(outcome.hit.sum()),
    }
    result = _measured(live) | live.about() | {"agreement": found}
    for place, model in enumerate(request.models, 1):
        result[f"accuracy_{place}"] = float(shown.accuracy[shown.index(model)])
    expected = prices.predicted(
        request.store,
        shown,
        request.models,
        outcome.stage,
        request.batch_size,
        live.device,
        recall.policy.algorithm if recall else None,
    )
    joules = result["energy"]["energy_j_per_request"]
    got = {"latency": live.cascade.ms_per_request, "joules": joules}
    result["latency_ms_per_request"] = live.cascade.ms_per_request
    result["predicted"] = prices.beside_measured(expected, got)
    return result | {"energy_j_per_request": joules}


_CASCADE = "cascade"


def _alone(model: str) -> Cascade:
    from stages.cascade import Cascade

    return Cascade.of((model,))


def _one_model(request: _Request) -> dict[str, Any]:
    live = request.serve({_CASCADE: _alone(request.models[0])})
    head: dict[str, Any] = {"dataset": request.dataset, "split": request.split}
    head |= {"model_1": request.models[0], "model_2": None}
    figures = {"n": len(live.cascade.labels), "usage": None, "agreement": None, "predicted": None}
    return head | figures | live.about()


def _timed(result: dict[str, Any]) -> list[busy.Timed]:
    """Mean and usual latency of everything that was served; where B ran, each kind of batch has
    its own median."""
    name = "the cascade" if result["model_2"] else result["model_1"]
    each = {name: result} | {f"{model} alone": one for model, one in result["alone"].items()}
    return [(name, one["latency_ms"]["mean"], one["usual_ms"]) for name, one in each.items()]


def _measured(live: _Outcome) -> dict[str, Any]:
    outcome = live.cascade.outcome
    hit = outcome.stage < 0
    return {
        "n": len(hit),
        **live.share("usage", outcome.escalated),
        "escalated": int(outcome.escalated.sum()),
        "took_b": int(outcome.took_b.sum()),
        "hits": int(hit.sum()),
        "hit_rate": float(hit.mean()),
    }


def _show(result: dict[str, Any]) -> None:
    report = result["classification"]
    rows = [{"class": name} | row for name, row in report.items() if isinstance(row, dict)]
    print_table(rows, CLASS_COLUMNS)
    print()
    second = f" → {result['model_2']}" if result["model_2"] else " alone"
    print(f"{result['model_1']}{second} on {result['dataset']}/{result['split']}")
    print(f"  images     {result['n']}")
    flatters = ", of images that chose λ: it flatters" if _chose(result) else ""
    print(f"  accuracy   {_share(result, 'accuracy')}{flatters}")
    if result["usage"] is not None:
        print(f"  use of B   {_share(result, 'usage')}, {result['escalated']} requests")
    if result.get("memory"):
        print(f"  memory     {result['hits']} answered from it ({result['hit_rate']:.2%})")
    latency = "  ".join(f"{name} {value:.3f}" for name, value in result["latency_ms"].items())
    print(f"  latency    {latency} ms per batch of {result['batch_size']}")
    print(f"  decoding   {result['preprocess_ms']:.3f} ms per batch, beside it")
    _show_energy(result["energy"])
    for name, each in result["alone"].items():
        mean = each["latency_ms"]["mean"]
        joules = _joules(each["energy"])
        print(f"  {name} alone: accuracy {each['accuracy']:.2%}, {mean:.3f} ms per batch, {joules}")
    _show_predicted(result)
    if result["agreement"]:
        _show_agreement(result["agreement"])


def _chose(result: dict[str, Any]) -> bool:
    return result.get("fit_method") in ("cross-fit", "same-split")


def _share(result: dict[str, Any], name: str) -> str:
    low, high = (f"{result[f'{name}_{end}']:.2%}" for end in ("low", "high"))
    return f"{result[name]:.2%} ({low} to {high})"


def _joules(energy: dict[str, Any]) -> str:
    from stages.amounts import amount, interval, told_in

    joules = energy["energy_j_per_request"]
    if joules is None:
        return "joules unknown"
    low, high = (energy[f"energy_j_per_request_{end}"] for end in ("low", "high"))
    if low is None:
        return f"{amount(joules, 'J')} per request"
    return f"{interval(joules, low, high, 'J')} {told_in('J')} per request"


def _show_energy(energy: dict[str, Any]) -> None:
    if energy["source"] == "none":
        print(f"  energy     unknown: {prices.NO_SENSOR}")
    elif energy["energy_j_per_request"] is None:
        print(f"  energy     unknown: {energy['reason']}")
    else:
        print(f"  energy     {_joules(energy)}, {energy['source']}, {energy['scope']}")
    for host in energy["host"]:
        print(f"  host       {_joules(host)}, {host['source']}, {host['scope']}, beside it")
    for warning in energy["warnings"]:
        say(f"warning: {warning}")


def _show_predicted(result: dict[str, Any]) -> None:
    """What the cost table had said beside what was measured."""
    from stages.amounts import figures, told_in

    for found in (result["predicted"] or {}).values():
        if found["measured"] is not None:
            unit = found["unit"]
            expected, measured = figures(unit, found["value"], found["measured"])
            print(
                f"  predicted  {expected} {told_in(unit)} per request, measured {measured} "
                f"({found['difference']:+.1%})"
            )


def _show_agreement(found: dict[str, Any]) -> None:
    count = len(found["differences"])
    verdict = "no difference" if not count else f"{count} differ"
    print(
        f"  agreement  {found['n']} images against simulate: {verdict}, "
        f"{found['outside_noise']} outside float noise ({found['noise']:g}); "
        f"scores moved by up to {found['largest_score_shift']:.1e}"
    )
    for row in found["differences"][:SHOWN]:
        which = f"request {row['request']}, sample {row['sample_id']}"
        print(f"    {which}: {row['distance']:.1e} from the {row['boundary']}")
    if count > SHOWN:
        print(f"    … and {count - SHOWN} more, all with --json")
