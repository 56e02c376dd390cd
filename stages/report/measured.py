"""What the cache knows beside scores: live runs, and what hashing an image costs."""

from __future__ import annotations

import cache
from cache import Store
from stages.costs import HASH, Pricer, hash_cost
from stages.scores import ScoreSet

_LIVE = (
    *("model_1", "model_2", "score", "threshold", "mode", "postcheck", "memory"),
    *("device", "precision", "batch_size", "n", "accuracy", "usage", "outside_noise"),
    *("latency_ms", "latency_p50_ms", "latency_p95_ms", "latency_p99_ms"),
    *("predicted_latency_ms", "energy_j", "energy_low_j", "energy_high_j", "predicted_energy_j"),
)


def live_runs(store: Store, scores: ScoreSet) -> list[dict[str, object]]:
    """Rows of results/live about these models on this split, the newest first."""
    found = cache.find(store, "results", "live", scores.dataset, scores.split)
    rows = []
    for manifest in sorted(found, key=lambda m: str(m.provenance.get("made")), reverse=True):
        for row in cache.read_table(store, manifest).to_pylist():
            if {row["model_1"], row["model_2"]} <= {*scores.models, None}:
                made = str(manifest.provenance.get("made"))[:16]
                rows.append({name: row.get(name) for name in _LIVE} | {"made": made})
    return rows


def hash_costs(store: Store, pricer: Pricer) -> list[dict[str, object]]:
    """Every hash whose cost is known in the pricer's kind and on its device."""
    dataset, prices = pricer.scores.dataset, pricer.prices
    models = {m.partition.keys["model"] for m in cache.find(store, "costs", dataset)}
    names = sorted(name.removeprefix(HASH) for name in models if name.startswith(HASH))
    known = [(name, hash_cost(store, dataset, name, prices.kind, prices.device)) for name in names]
    return [{"algorithm": name, "cost": cost} for name, cost in known if cost is not None]
