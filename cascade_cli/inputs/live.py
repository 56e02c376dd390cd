"""A cascade, or one model, run for real and held against its simulation; which needs
their engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cache import Store
from cascade_cli import options as opt
from cascade_cli.inputs.costs import all_priced
from cascade_cli.inputs.fit import decided_cascade
from cascade_cli.inputs.live_run import CASCADE, LiveRequest, LiveRun
from cascade_cli.inputs.policy import promised_images
from cascade_cli.inputs.provenance import same_weights
from cascade_cli.inputs.running import named_to_run, runtime_of
from cascade_cli.inputs.scores import score_set
from cascade_cli.inputs.simulation import memory_policy, pricer_of_requests, request_set
from stages.cascade import Cascade, decide
from stages.costs import Pricer, current, hash_cost, known, tell_unstated
from stages.live import Agreement, LiveRow, Served, agreement, latency_summary, record
from stages.policy import Deployment
from stages.scores import ScoreSet, with_nobody, without_nobody
from stages.simulate import RequestSet, SimulatedCascade, recalled, summary


def run_live(
    store: Store,
    where: tuple[str, str],
    models: tuple[str, ...],
    wanted: opt.LogitsOptions,
    decision: opt.DecisionOptions,
    stream: opt.MemoryOptions,
    options: opt.LiveOptions,
    deployed: Deployment | None = None,
) -> dict[str, Any]:
    """What the models answered, a cascade where they are two, or that of a policy; nothing is held
    against one alone."""
    sha256 = None if deployed is None else deployed.sha256
    request = LiveRequest(store, *where, models, wanted, options, sha256)
    if len(models) > 1 or deployed is not None:
        return _cascade(request, decision, stream, deployed)
    live = request.serve({CASCADE: Cascade.of(models)})
    head: dict[str, Any] = {"dataset": request.dataset, "split": request.split}
    head |= {"model_1": models[0], "model_2": None, "n": len(live.cascade.labels)}
    return head | {"usage": None, "agreement": None, "predicted": None} | live.described()


def _cascade(
    request: LiveRequest,
    decision: opt.DecisionOptions,
    stream: opt.MemoryOptions,
    deployed: Deployment | None,
) -> dict[str, Any]:
    """Simulate the cascade, run it, and hold the one against the other; the result is kept."""
    store, options, where = request.store, request.options, (request.dataset, request.split)
    models = request.models
    memory_policy(stream, decision.scorefn)  # before anything runs
    wanted = replace(request.images, runtime=runtime_of(request.images))
    scores = score_set(store, *where, models, wanted)
    if deployed is None:
        pair = (models[0], models[1])
        cascade, fit = decided_cascade(store, scores, pair, decision, wanted, options.baseline)
    else:
        cascade, (_, fit) = deployed.cascade, promised_images(store, deployed, scores)
        scores = with_nobody(scores, deployed.nobody)
    running = named_to_run(store, request.dataset, models, request.images)
    same_weights(store, scores, request.dataset, [one for one, _ in running.values()])
    asked = request_set(store, scores, cascade, stream, wanted, options.batch_size)
    every = len(asked.scores.labels)
    n = min(every, options.limit or every)
    some = {} if n == every else {"limit": n}
    asked = asked.first(n)
    costs = opt.CostOptions(batch_size=options.batch_size, baseline=options.baseline)
    pricer = None
    if _priced(store, scores):
        pricer = pricer_of_requests(store, asked, cascade.models, costs)
    expected = asked.answered(store, cascade, fit, pricer, **some)
    rivals = [*models, str(expected.against.baseline)] if options.alone else []
    contenders = {CASCADE: cascade} | {rival: Cascade.of((rival,)) for rival in rivals}
    live = request.serve(contenders, scores, asked)
    found, predicted = _compared(request, live, asked, cascade)
    row = _row(live, expected, asked.name, found, predicted)
    record(store, asked.scores, row)
    outcome = live.cascade.outcome
    return {
        "dataset": request.dataset,
        **expected.columns(),
        "stream": asked.name,
        **stream.described(),
        **summary(asked.scores.of_images(slice(found.n)), cascade, outcome).columns(),
        "hits": int((outcome.stage < 0).sum()),
        "hit_rate": row.hit_rate,
        **live.described(),
        "agreement": found,
        "latency_ms_per_request": row.latency_ms,
        "predicted": predicted,
        "energy_j_per_request": row.energy_j,
    }


def _priced(store: Store, scores: ScoreSet) -> bool:
    """Whether the models' costs are known here of the kind that a person's price is of."""
    kind = None if scores.nobody is None else scores.nobody.kind
    return kind is None or all_priced(store, scores, kind, None)


def _row(
    live: LiveRun,
    expected: SimulatedCascade,
    stream: str | None,
    found: Agreement,
    predicted: dict[str, Any],
) -> LiveRow:
    memory, energy = expected.memory, live.energy(CASCADE)
    latency, outcome = latency_summary(live.cascade), live.cascade.outcome
    return LiveRow(
        model_1=expected.model_1,
        model_2=expected.model_2,
        model_3=expected.model_3,
        score=expected.score,
        threshold=expected.threshold.threshold,
        postcheck=expected.postcheck,
        final=expected.final,
        stream=stream,
        memory=memory.memory,
        memory_size=memory.memory_size,
        memory_radius=memory.memory_radius,
        memory_trust=memory.memory_trust,
        device=live.device,
        precision=live.precision,
        batch_size=live.cascade.batch_size,
        n=found.n,
        meter=energy.source,
        accuracy=live.share(outcome.correct),
        usage=live.share(outcome.escalated),
        abstained=float(outcome.unanswered.mean()) if expected.unanswered.abstained else None,
        hit_rate=float((outcome.stage < 0).mean()),
        **{f"latency_{name}_ms": latency[name] for name in ("p50", "p95", "p99")},
        latency_ms=live.cascade.ms_per_request,
        predicted_latency_ms=predicted.get("latency", {}).get("value"),
        energy_j=energy.energy_j_per_request,
        energy_low_j=energy.energy_j_per_request_low,
        energy_high_j=energy.energy_j_per_request_high,
        predicted_energy_j=predicted.get("joules", {}).get("value"),
        decisions_differ=found.decisions_differ,
        answers_differ=found.answers_differ,
        outside_noise=found.outside_noise,
    )


def _compared(
    request: LiveRequest, live: LiveRun, asked: RequestSet, cascade: Cascade
) -> tuple[Agreement, dict[str, Any]]:
    """(how it agrees with the simulation, what the costs had said beside what was measured)."""
    n = len(live.cascade.labels)
    shown, recall = asked.scores.of_images(slice(n)), asked.recall and asked.recall.first(n)
    outcome = decide(shown, cascade)
    if recall is not None:
        outcome, _ = recalled(shown, cascade, outcome, recall)
    found = agreement(live.cascade, shown, cascade, outcome, live.precision)
    algorithm = recall.policy.algorithm if recall else None
    return found, _predicted(request, live, shown, cascade.ran(outcome.stage), algorithm)


def _deciding_ms(served: Served) -> float:
    """Of one request what scores and rule take, which no profile of the models has."""
    size, stage = served.batch_size, served.outcome.stage
    later = np.maximum.reduceat(stage, np.arange(0, len(stage), size)) > 0
    return served.deciding.per_batch(float(later.mean())) * len(later) / len(stage)


def _predicted(
    request: LiveRequest, live: LiveRun, scores: ScoreSet, stage: np.ndarray, algorithm: str | None
) -> dict[str, Any]:
    """Latency and joules per request that the costs measured on this device predict, with what was
    measured and the relative difference, None where unknown; latency with what deciding took here.

    `stage` int8 [N] is the last of the models that ran, −1 where a memory answered by the
    hash `algorithm`, the cost of which must be known.
    """
    store, device, models = request.store, live.device, request.models
    joules = live.energy(CASCADE).energy_j_per_request
    rows, out = current(store, without_nobody(scores)), {}
    for kind, got in {"latency": live.cascade.ms_per_request, "joules": joules}.items():
        prices = next(known(rows, {}, models, (kind,), device, scores.runtime), None)
        if prices is None:
            continue
        hashing = algorithm and hash_cost(store, scores.dataset, algorithm, kind, device)
        if algorithm and hashing is None:
            continue
        tell_unstated(store, scores, prices)
        size = request.options.batch_size
        priced = Pricer(without_nobody(scores), prices, size, hash_cost=hashing or None)
        cost = priced.request(models, stage, bool(algorithm))
        more = _deciding_ms(live.cascade) if kind == "latency" else 0.0
        value, *ends = (each + more for each in (cost.value, cost.low, cost.high))
        figures = {"value": value, "low": ends[0], "high": ends[1], "unit": prices.unit}
        difference = None if got is None else got / value - 1
        out[kind] = figures | {"device": device, "measured": got, "difference": difference}
    return out
