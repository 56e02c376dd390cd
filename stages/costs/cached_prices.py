"""Prices of cascades, from the costs that the cache has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cache import Store
from stages import missing
from stages.costs.pricing import Pricer
from stages.costs.stale import current, tell_unstated
from stages.costs.table import MEASURED, choose, hash_cost, of_each_request
from stages.scores import ScoreSet, is_nobody, without_nobody


def pricer(
    store: Store,
    scores: ScoreSet,
    models: Sequence[str] | None = None,
    kind: str | None = None,
    device: str | None = None,
    memory: str | None = None,
    **how: Any,
) -> Pricer | None:
    """Prices of cascades of `models` (default: all of `scores`), None where no cost is known.

    Those of each request where they are known of all of them, unless a `device` is asked for; else
    the best costs that all of them have on one device, as `choose` tells, or those of the `kind`
    and `device` asked for; InputError where these are not there. `memory` names the hash that
    requests are looked up by, `how` are the fields of `Pricer`: `batch_size`, `baseline` … A person
    who is the last stage has a price of one kind, which is asked for unless another one is.
    """
    required = [name for name in models or scores.models if not is_nobody(name)]
    kind = kind or (scores.nobody.kind if scores.nobody else None)
    found = of_each_request(scores, required, kind) if device is None else None
    if found is None:
        rows = current(store, without_nobody(scores))
        found = choose(rows, scores.macs, required, kind, device, scores.runtime)
    if found is None:
        return None
    tell_unstated(store, scores, found)
    made = Pricer(scores, found, **how)
    return made if memory is None else _with_memory(made, store, memory)


def _with_memory(pricer: Pricer, store: Store, algorithm: str) -> Pricer:
    """With the memory's own cost, or why that is unknown."""
    kind, hashed = pricer.prices.kind, (store, pricer.scores.dataset, algorithm)
    cost, time = (hash_cost(*hashed, each, pricer.prices.device) for each in (kind, "latency"))
    known = cost is not None or kind not in MEASURED
    why = None if known else _unhashed(store, pricer, algorithm)
    return replace(pricer, hash_cost=cost, hash_reason=why, hash_ms=time)


_OTHER = {"joules": "latency", "latency": "joules"}


def _unhashed(store: Store, pricer: Pricer, algorithm: str) -> str:
    """Why no cost of a hash is known, and what to do."""
    scores, kind, device = pricer.scores, pricer.prices.kind, pricer.prices.device
    if device is None:
        return f"{kind} of each request tell none of hashing: name a --cost-device"
    unknown = f"{kind} of hashing by {algorithm} on {device} are unknown"
    if hash_cost(store, scores.dataset, algorithm, _OTHER[kind], device) is not None:
        return f"{unknown}: give --cost {_OTHER[kind]}"
    words = missing.hash_words(scores.dataset, scores.split, "identity", algorithm)
    return f"{unknown}: run `{missing.command_line(store, words)}` there"
