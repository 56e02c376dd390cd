"""A cascade, or one model, run for real and held against its simulation; which needs PyTorch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cache import Store
from cascade_cli import options as opt
from cascade_cli.inputs.costs import baseline_correct, beside_measured, predicted_costs
from cascade_cli.inputs.extraction import runtime_of
from cascade_cli.inputs.fit import decided_cascade
from cascade_cli.inputs.live_run import CASCADE, LiveRequest, LiveRun
from cascade_cli.inputs.provenance import same_weights
from cascade_cli.inputs.scores import score_set, with_references
from cascade_cli.inputs.simulation import RequestSet, pricer_of_requests, request_set
from cascade_cli.inputs.stream import memory_policy
from stages import simulate as stage
from stages.cascade import Cascade, decide
from stages.live import Agreement, LiveRow, agreement, latency_summary, record
from stages.simulate import SimulatedCascade, recalled, summary


def run_live(
    store: Store,
    where: tuple[str, str],
    models: tuple[str, ...],
    wanted: opt.LogitsOptions,
    decision: opt.DecisionOptions,
    stream: opt.StreamOptions,
    options: opt.LiveOptions,
) -> dict[str, Any]:
    """What the models answered, a cascade where they are two."""
    request = LiveRequest(store, *where, models, wanted, options)
    return _model(request) if len(models) == 1 else _cascade(request, decision, stream)


def _cascade(
    request: LiveRequest, decision: opt.DecisionOptions, stream: opt.StreamOptions
) -> dict[str, Any]:
    """Simulate the cascade, run it, and hold the one against the other; the result is kept."""
    store, options, where = request.store, request.options, (request.dataset, request.split)
    pair = (request.models[0], request.models[1])
    memory_policy(stream)  # before anything runs
    wanted = replace(request.images, runtime=runtime_of(request.images))
    scores = score_set(store, *where, pair, wanted)
    right = baseline_correct(with_references(store, scores), options.baseline)
    cascade, fit = decided_cascade(store, scores, pair, decision, wanted, right)
    same_weights(store, scores, request.dataset, pair, wanted)
    asked = request_set(store, scores, pair, stream, wanted, options.batch_size)
    every = len(asked.scores.labels)
    n = min(every, options.limit or every)
    some = {"stream": asked.name} | ({} if n == every else {"limit": n})
    asked = asked.first(n)
    costs = opt.CostOptions(batch_size=options.batch_size, baseline=options.baseline)
    pricer = pricer_of_requests(store, asked, pair, costs)
    expected = stage.run(store, asked.scores, cascade, fit, pricer, asked.recall, some)
    rivals = [*pair, str(expected.against.baseline)] if options.alone else []
    contenders = {CASCADE: cascade} | {rival: _alone(rival) for rival in rivals}
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
        score=expected.score,
        threshold=expected.threshold.threshold,
        postcheck=expected.postcheck,
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
    found = agreement(live.cascade, shown, cascade, outcome, request.images.precision)
    expected = predicted_costs(
        request.store,
        shown,
        request.models,
        outcome.stage,
        request.options.batch_size,
        live.device,
        recall.policy.algorithm if recall else None,
    )
    joules = live.energy(CASCADE).energy_j_per_request
    got = {"latency": live.cascade.ms_per_request, "joules": joules}
    return found, beside_measured(expected, got)


def _alone(model: str) -> Cascade:
    return Cascade.of((model,))


def _model(request: LiveRequest) -> dict[str, Any]:
    """Run one model, which nothing is held against."""
    live = request.serve({CASCADE: _alone(request.models[0])})
    head: dict[str, Any] = {"dataset": request.dataset, "split": request.split}
    head |= {"model_1": request.models[0], "model_2": None}
    figures = {"n": len(live.cascade.labels), "usage": None, "agreement": None, "predicted": None}
    return head | figures | live.described()
