"""What a live run showed: latency, joules, classes, and whether `simulate` had said the same."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cache import Store
from stages.cascade import ORACLE, Cascade, decide
from stages.energy import EnergyFigure, per_image
from stages.live.serving import Served
from stages.results import save
from stages.scores import ScoreSet
from stages.simulate import Recall, recalled

# Batch size and device move an fp32 logit by about 1e-6; a score moves no more than that, with
# room for deep networks. Only closer than this to a boundary may live and simulation differ.
NOISE = {"fp32": 1e-5, "tf32": 1e-2, "bf16": 1e-1, "fp16": 1e-2}


def latency_summary(served: Served) -> dict[str, float]:
    """Milliseconds per batch of `batch_size` requests."""
    p50, p95, p99 = np.percentile(served.latency_ms, [50, 95, 99])
    mean = np.average(
        served.latency_ms, weights=np.broadcast_to(served.weight, served.latency_ms.shape)
    )
    return {"mean": float(mean), "p50": float(p50), "p95": float(p95), "p99": float(p99)}


def usual_ms(served: Served) -> float:
    """What the mean latency of a batch would be if each took the median of those alike: batches
    that B ran on, that only A ran on, and that the memory answered."""
    size, laps = served.batch_size, served.latency_ms
    kinds = np.minimum(served.outcome.stage, 1)
    kind = np.maximum.reduceat(kinds, np.arange(0, len(kinds), size))
    kind = kind if served.started is None else kind[served.started // size]
    weight = np.broadcast_to(served.weight, laps.shape)
    shares = {k: weight[kind == k].sum() / weight.sum() for k in np.unique(kind).tolist()}
    return float(sum(share * np.median(laps[kind == k]) for k, share in shares.items()))


def energy_summary(served: Served, meter: int = 0, reason: str | None = None) -> dict[str, Any]:
    """Joules per request by one meter over the run's windows, gross and above idle.

    Without windows all of it is None, with the reason.
    """
    counts = [count for count, _ in served.windows]
    readings = [found[meter] for _, found in served.windows]
    sensor = readings[0].sensor if readings else None
    figures = per_image(readings, counts)
    why = next((each.reason for each in readings if each.energy_j is None), reason)
    return {
        **_per_request("energy_j_per_request", figures["energy"]),
        **_per_request("energy_above_idle_j_per_request", figures["energy_above_idle"]),
        "source": sensor.source if sensor else "none",
        "scope": sensor.scope if sensor else None,
        "device": sensor.device if sensor else None,
        "idle_w": readings[0].idle_w if readings else None,
        "windows": len(readings),
        "ticks": sum(each.ticks or 0 for each in readings) if readings else None,
        "reason": None if figures["energy"].value is not None else why,
        "warnings": sorted({warning for each in readings for warning in each.warnings}),
    }


def _per_request(name: str, figure: EnergyFigure) -> dict[str, float | None]:
    return {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}


def agreement(
    served: Served,
    scores: ScoreSet,
    cascade: Cascade,
    precision: str = "fp32",
    recall: Recall | None = None,
) -> dict[str, Any]:
    """Where the live run and the simulation differ, and how close to a boundary that was.

    The simulation is of the requests that were served, `scores` by request, with the same memory
    in front if there was one. `request` is the position in the stream; `distance` the cached
    score's from λ, or of the two models' scores from each other (post-check), or of the answering
    model's two largest probabilities. `outside_noise` counts the differences farther away than
    float noise reaches, hits that only one of the two saw among them: those are faults.
    """
    scores, ours = first(scores, len(served.labels)), served.outcome
    simulated = decide(scores, cascade)
    if recall is not None:
        simulated, _ = recalled(scores, cascade, simulated, recall)
    hits = ours.stage < 0, simulated.stage < 0
    pairs = {
        "escalated": (ours.escalated, simulated.escalated),
        "took_b": (ours.took_b, simulated.took_b),
        "prediction": (ours.prediction, simulated.prediction),
        "hit": hits,
    }
    differ = {name: live != cached for name, (live, cached) in pairs.items()}
    anywhere = np.logical_or.reduce(list(differ.values()))
    rows = [_difference(int(i), pairs, scores, cascade) for i in np.flatnonzero(anywhere)]
    shift = np.abs(simulated.scores[0] - ours.scores[0])[~np.logical_or(*hits)]
    noise = NOISE[precision]
    return {
        "n": len(served.labels),
        "decisions_differ": int((differ["escalated"] | differ["took_b"]).sum()),
        "answers_differ": int(differ["prediction"].sum()),
        "hits_differ": int(differ["hit"].sum()),
        "outside_noise": sum(row["distance"] > noise for row in rows),
        "noise": noise,
        "largest_score_shift": float(shift.max(initial=0.0)),
        "differences": rows,
    }


def first(scores: ScoreSet, n: int) -> ScoreSet:
    """The first n images of a split."""
    return scores.of_images(slice(n))


def _difference(
    i: int,
    pairs: dict[str, tuple[np.ndarray, np.ndarray]],
    scores: ScoreSet,
    cascade: Cascade,
) -> dict[str, Any]:
    (a, b), [limit] = map(scores.index, cascade.models), cascade.limits
    s_a, s_b = (float(scores.score(str(cascade.score), m)[i]) for m in (a, b))
    oracle = limit.kind == ORACLE
    differs = {name: live[i] != cached[i] for name, (live, cached) in pairs.items()}
    if differs["hit"]:
        boundary, distance = "memory", math.inf
    elif differs["escalated"] and not oracle:
        boundary, distance = "threshold", abs(s_a - (limit.value or 0.0))
    elif differs["took_b"] and not oracle:
        boundary, distance = "postcheck", abs(s_a - s_b)
    else:
        model = a if oracle and differs["escalated"] else b if pairs["took_b"][1][i] else a
        boundary, distance = "answer", scores.scores["difference"][model][i]
    row: dict[str, Any] = {"request": i, "sample_id": int(scores.sample_ids[i])}
    row |= {"boundary": boundary, "distance": float(distance)}
    for name, (live, cached) in pairs.items():
        row |= {f"{name}_live": live[i].item(), f"{name}_simulated": cached[i].item()}
    return row


def classification(served: Served, class_names: tuple[str, ...] | None) -> dict[str, Any]:
    """Precision, recall, F1 and support per class, and their averages.

    `macro avg` is that of the classes that occur among the images.
    """
    from sklearn.metrics import classification_report

    names = class_names or ()
    classes = int(max(served.labels.max(), served.outcome.prediction.max())) + 1
    names += tuple(str(k) for k in range(len(names), classes))  # weights may know more classes
    found = classification_report(
        served.labels,
        served.outcome.prediction,
        labels=list(range(len(names))),
        target_names=list(names),
        output_dict=True,
        zero_division=0,
    )
    present = [found[names[k]] for k in np.unique(served.labels)]
    macro = found["macro avg"]
    for figure in macro.keys() - {"support"}:
        macro[figure] = float(np.mean([row[figure] for row in present]))
    return found


_REQUEST = (
    *("model_1", "model_2", "score", "threshold", "postcheck", "stream"),
    *("memory", "memory_size", "memory_radius", "memory_trust"),
    *("device", "precision", "batch_size", "n"),
)


_SHARES = (
    *("accuracy", "accuracy_low", "accuracy_high", "usage", "usage_low", "usage_high"),
    "hit_rate",
)


def record(store: Store, scores: ScoreSet, result: dict[str, Any]) -> None:
    """Write what `cascade live --json` prints of a cascade as a row of results/live."""
    energy, foretold = result["energy"], result["predicted"] or {}
    row = {name: result[name] for name in _REQUEST} | {"meter": energy["source"]}
    request = row | {"split": scores.split}
    row |= {name: result[name] for name in _SHARES}
    row |= {f"latency_{name}_ms": result["latency_ms"][name] for name in ("p50", "p95", "p99")}
    row |= {
        "latency_ms": result["latency_ms_per_request"],
        "predicted_latency_ms": foretold.get("latency", {}).get("value"),
        "energy_j": energy["energy_j_per_request"],
        "energy_low_j": energy["energy_j_per_request_low"],
        "energy_high_j": energy["energy_j_per_request_high"],
        "predicted_energy_j": foretold.get("joules", {}).get("value"),
        "decisions_differ": result["agreement"]["decisions_differ"],
        "answers_differ": result["agreement"]["answers_differ"],
        "outside_noise": result["agreement"]["outside_noise"],
    }
    save(store, "live", scores, request, [row])
