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
from stages.live import agreement, first, record
from stages.simulate import recalled


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
    rivals = [*pair, expected["baseline"]] if options.alone else []
    contenders = {CASCADE: cascade} | {rival: _alone(rival) for rival in rivals}
    live = request.serve(contenders, scores, asked)
    head = {"dataset": request.dataset, "stream": asked.name} | expected | stream.described()
    result = head | _compared(request, live, asked, cascade)
    record(store, asked.scores, result)
    return result


def _compared(
    request: LiveRequest, live: LiveRun, asked: RequestSet, cascade: Cascade
) -> dict[str, Any]:
    """What was measured, and beside it what the simulation and the costs had said."""
    n = len(live.cascade.labels)
    shown, recall = first(asked.scores, n), asked.recall and asked.recall.first(n)
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
    result = _measured(live) | live.described() | {"agreement": found}
    for place, model in enumerate(request.models, 1):
        result[f"accuracy_{place}"] = float(shown.accuracy[shown.index(model)])
    expected = predicted_costs(
        request.store,
        shown,
        request.models,
        outcome.stage,
        request.options.batch_size,
        live.device,
        recall.policy.algorithm if recall else None,
    )
    joules = result["energy"]["energy_j_per_request"]
    got = {"latency": live.cascade.ms_per_request, "joules": joules}
    result["latency_ms_per_request"] = live.cascade.ms_per_request
    result["predicted"] = beside_measured(expected, got)
    return result | {"energy_j_per_request": joules}


def _alone(model: str) -> Cascade:
    return Cascade.of((model,))


def _model(request: LiveRequest) -> dict[str, Any]:
    """Run one model, which nothing is held against."""
    live = request.serve({CASCADE: _alone(request.models[0])})
    head: dict[str, Any] = {"dataset": request.dataset, "split": request.split}
    head |= {"model_1": request.models[0], "model_2": None}
    figures = {"n": len(live.cascade.labels), "usage": None, "agreement": None, "predicted": None}
    return head | figures | live.described()


def _measured(live: LiveRun) -> dict[str, Any]:
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
