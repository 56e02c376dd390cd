"""A chosen cascade as a file: policy.toml, and beside it the Python that decides by it.

The file holds what an application must have (models, rule, memory), what was promised and on which
images, and where each of these came from.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any

import cache
from cache import InputError, Manifest, Partition, Store, now, versions, write_whole
from stages.cascade import Cascade, MemoryPolicy
from stages.hashes import Hash, hash_of
from stages.policy.flatten import flatten
from stages.policy.format import (
    POLICY_FILE,
    POLICY_VERSIONS,
    checked_policy,
    parsed_policy,
    policy_digest,
    read_policy,
)
from stages.scores import ScoreSet, named, own, undeployable
from stages.statistics import from_ends, with_ends
from stages.threshold import trained_splits

FILE, CODE = POLICY_FILE, "cascade_policy.py"
_MODEL = ("weights_sha256", "weights_origin", "precision", "device", "parameters")
_LOGITS = ("architecture", "classes", "preprocessing", "decoder", "logits_sha256")
_CERTIFICATE = ("epsilon", "delta", "bound", "reference", "max_usage", "max_cost", "testing")
_FIT = ("objective", "fit_split", "fit_method", "fit_n", "fit_accuracy", "fit_usage")
_COST = (
    *("cost", "cost_low", "cost_high", "cost_1", "cost_2", "cost_kind", "cost_unit"),
    *("cost_device", "cost_batch_size", "cost_why"),
    *("baseline", "baseline_cost", "baseline_accuracy", "saved", "saved_low", "saved_high"),
    *("accuracy_change", "accuracy_change_low", "accuracy_change_high"),
)
_MEMORY = (
    *("hits", "hit_rate", "false_hits", "memory_entries", "memory_bytes"),
    *("hash_counted", "hash_reason"),
)


@dataclass(frozen=True)
class Deployment:
    """A policy as it was read: `where` names its file, `promise`, `models` and how λ was `fitted`
    are as written."""

    where: str
    dataset: str
    cascade: Cascade
    memory: MemoryPolicy | None
    models: tuple[dict[str, Any], ...]
    promise: dict[str, Any]
    fitted: str | None = None
    scores: Mapping[str, str] = field(default_factory=dict)
    sha256: str | None = None

    @property
    def runtime(self) -> str | None:
        """The one that all models were run in, None where there are several."""
        found = {model["runtime"] for model in self.models}
        return found.pop() if len(found) == 1 else None


def deployable(cascade: Cascade) -> None:
    """InputError for a rule that no application can follow."""
    name = str(cascade.score)
    if named(name).needs_label:
        raise InputError("the oracle cannot be deployed: it needs the label; choose another score")
    if own((name,)):
        raise undeployable(name)


def document(
    store: Store,
    scores: ScoreSet,
    cascade: Cascade,
    row: dict[str, Any],
    kept: MemoryPolicy | None = None,
    certificate: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What policy.toml says of a cascade that `simulate` gave this row on `scores`.

    `certificate` is that of a search which tested λ on images that no model had seen.
    """
    trained = trained_splits(store, scores)
    models = [
        model_facts(store, scores, name) | {"trained_on": _trained_on(*trained[name])}
        for name in cascade.models
    ]
    rule = {key: row[key] for key in ("score", "threshold", "threshold_low", "threshold_high")}
    found = _without_nulls(
        {
            "schema_version": max(POLICY_VERSIONS),
            "rule": rule | {"postcheck": cascade.postcheck},
            "models": models,
            "memory": None if kept is None else _memory(kept),
            "fit": {key.removeprefix("fit_"): row[key] for key in _FIT},
            "certificate": certificate and {key: certificate[key] for key in _CERTIFICATE},
            "promise": _promise(scores, row),
            "provenance": {
                "made": now(),
                "versions": versions(),
                "scores": {
                    name: scores.manifests[scores.index(name)].content for name in scores.models
                },
            },
        }
    )
    version = {"schema_version": found.pop("schema_version")}
    return version | {"sha256": policy_digest(version | found)} | found


def model_facts(store: Store, scores: ScoreSet, name: str) -> dict[str, Any]:
    """What a policy says of a model, but for what it was trained on."""
    manifest = scores.manifests[scores.index(name)]
    logits = cache.load(store, Partition("logits", manifest.partition.values))
    known = manifest.provenance
    found: dict[str, Any] = {"name": name, "runtime": manifest.partition.keys["runtime"]}
    found |= {key: known.get(key) for key in (*_MODEL, "macs")}
    found |= {key: _identity(logits).get(key) for key in _LOGITS}
    return dict(_without_nulls(found))


def _trained_on(splits: tuple[str, ...], source: str) -> dict[str, Any] | None:
    return None if source == "unknown" else {"splits": list(splits), "source": source}


def _identity(manifest: Manifest | None) -> dict[str, Any]:
    return {} if manifest is None else manifest.identity


def _memory(kept: MemoryPolicy) -> dict[str, Any]:
    by = hash_of(kept.algorithm)
    return {
        "hash": by.name,
        "key_bytes": by.length,
        "parameters": dict(by.parameters),
        "packages": None if by.missing else by.versions or None,
        "size": kept.size,
        "radius": kept.radius,
        "trust": kept.trust,
    }


def _promise(scores: ScoreSet, row: dict[str, Any]) -> dict[str, Any]:
    """Shares with their 95 % intervals, and the counts they are made of.

    Where λ was cross-fitted on these very images, accuracy and its change are those of folds
    decided by the λ of the others, and `right` is their mean, rounded: that of the λ fitted on them
    all flatters. Use of B and cost are this λ's own: as a quantile of n scores it errs as a count
    of n fresh images does, however many were chosen to go on.
    """
    n, sent = row["n"], row["escalated"]
    return {
        "dataset": scores.dataset,
        "split": scores.split,
        "dataset_fingerprint": scores.manifests[0].fingerprint,
        "images": n,
        "right": round(row["accuracy"] * n),
        **with_ends("accuracy", from_ends("accuracy", row)),
        "escalated": sent,
        **with_ends("usage", from_ends("usage", row)),
        **{key: row[key] for key in ("accuracy_1", "accuracy_2")},
        **({} if row["cost"] is None else {key: row[key] for key in _COST}),
        **({} if row["memory"] is None else {key: row[key] for key in _MEMORY}),
    }


def _without_nulls(value: Any) -> Any:
    """TOML has no null: what is not known is not there."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def code(policy: dict[str, Any]) -> str:
    """The self-contained Python file for a policy; it needs numpy alone."""
    wanted = {"stages.policy.runtime": ["EMBEDDED", "DeployedCascade"]}
    tail = "\n\nCascade = DeployedCascade\n"
    by = hash_of(policy["memory"]["hash"]) if "memory" in policy else None
    if by is not None and not by.versions:
        function, call = _function(by)
        wanted |= {"stages.hashes.spec": ["Hash"], function.__module__: [function.__name__]}
        made = f'Hash("{by.name}", {by.bits}, {by.length}, {call})'
        tail += f'\n\nEMBEDDED = ("{by.name}", {made}.digest_each)\n'
    version = versions()["cascade-cli"] or "(a clone)"
    return _HEADER.format(version=version) + flatten(wanted) + tail


_HEADER = '''"""A confidence cascade around any two callables that give logits, in one file.

    from cascade_policy import Cascade

    cascade = Cascade.load(".")  # the folder that holds policy.toml
    answers = cascade.answer(first, second, batch)
    answers.prediction  # int32 [n]; also escalated, took_b, hit and score

`first` and `second` map a batch to logits [n, K]; `second` gets only the rows that are sent on.
Needs numpy alone, and Python 3.11. Written by `cascade export --policy`, cascade-cli
{version}; do not edit: export again. Licence: Apache-2.0.
"""

'''


def _function(by: Hash) -> tuple[Callable[..., Any], str]:
    """A hash's function, and the Python expression for it."""
    if not isinstance(by.function, partial):
        return by.function, by.function.__name__
    function = by.function.func
    given = "".join(f", {key}={value!r}" for key, value in by.function.keywords.items())
    return function, f"lambda pictures: {function.__name__}(pictures{given})"


def write(folder: str | os.PathLike[str], policy: dict[str, Any]) -> list[str]:
    """Write both files into the folder, made where it is missing; their paths."""
    import tomli_w

    # policy.toml last: it is what a folder is known by.
    texts = {CODE: code(policy), FILE: tomli_w.dumps(policy)}
    where = str(Path(folder, FILE))
    try:
        checked_policy(parsed_policy(texts[FILE].encode(), where), where)
        Path(folder).mkdir(parents=True, exist_ok=True)
        write_whole(
            {
                Path(folder, name): methodcaller("write", text.encode())
                for name, text in texts.items()
            }
        )
    except ValueError as error:  # of names that no policy can hold
        raise InputError(str(error)) from error
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot write {folder}: {reason}; check --policy") from error
    return [str(Path(folder, name)) for name in (FILE, CODE)]


def read(place: str | os.PathLike[str]) -> Deployment:
    """The policy in a folder, or of a policy.toml; InputError for what is none."""
    path = Path(place)
    folder = path.parent if path.name == FILE else path
    where = str(folder / FILE)
    try:
        found = read_policy(folder)
    except OSError as error:
        raise InputError(
            f"cannot read the policy {where}: {error.strerror}; write one with `cascade export "
            "--policy DIR`"
        ) from error
    except ValueError as error:
        raise InputError(str(error)) from error
    return _deployment(where, found)


def _deployment(where: str, found: dict[str, Any]) -> Deployment:
    rule, promise, kept = found["rule"], found["promise"], found.get("memory")
    limits = {key: kept[key] for key in ("size", "radius", "trust") if key in kept} if kept else {}
    names = [model["name"] for model in found["models"]]
    return Deployment(
        where,
        promise["dataset"],
        Cascade.of(names, rule["score"], rule["threshold"], postcheck=rule["postcheck"]),
        MemoryPolicy(kept["hash"], **limits) if kept else None,
        tuple(found["models"]),
        promise,
        found.get("fit", {}).get("method"),
        found.get("provenance", {}).get("scores", {}),
        found.get("sha256"),
    )
