"""A chosen cascade as a file: policy.toml, and beside it the Python that decides by it.

The file holds what an application must have (models, rule, memory), what was promised and on which
images, and where each of these came from.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any

import cache
from cache import InputError, Partition, Store, now, versions, write_whole
from stages import search
from stages.cascade import ENSEMBLE, NEVER, Cascade, Limit, MemoryPolicy
from stages.costs import HeldAgainst, StagePrice
from stages.hashes import Hash, hash_of
from stages.policy.fallback import Fallback
from stages.policy.flatten import flatten
from stages.policy.format import (
    ANSWERS,
    FORMAT,
    POLICY_FILE,
    Policy,
    checked_policy,
    memory_of,
    parsed_policy,
    policy_digest,
    read_policy,
)
from stages.results import Row
from stages.scores import (
    CALIBRATIONS,
    SCORES,
    Halves,
    Nobody,
    ScoreSet,
    built_in,
    made_of,
    named,
    undeployable,
)
from stages.simulate import FitFacts, MemoryFigures, NobodyFigures, SimulatedCascade
from stages.statistics import Interval
from stages.threshold import trained_splits

FILE, CODE = POLICY_FILE, "cascade_policy.py"
# The cascade as one ONNX file, and the same as a model of Triton's.
ONNX_FILES = ("cascade.onnx", "triton/cascade/config.pbtxt", "triton/cascade/1/model.onnx")
_MODEL = ("weights_sha256", "weights_origin", "precision", "device", "parameters", "macs")
_LOGITS = ("architecture", "classes", "preprocessing", "decoder", "logits_sha256")


@dataclass(frozen=True, kw_only=True)
class ModelFacts(Row):
    """What a policy says of a model, None where it is not known."""

    name: str
    runtime: str
    weights_sha256: str | None = None
    weights_origin: str | None = None
    precision: str | None = None
    device: str | None = None
    parameters: int | None = None
    macs: int | None = None
    architecture: str | None = None
    classes: int | None = None
    preprocessing: dict[str, object] | None = None
    decoder: str | None = None
    logits_sha256: str | None = None
    trained_on: dict[str, object] | None = None
    coefficients: dict[str, object] | None = None


@dataclass(frozen=True, kw_only=True)
class PolicyPromise(Row):
    """What was found on `images`, as counts and shares with their 95 % intervals; `price` and what
    it is held `against` where a cost was known, `memory` where there was one, `left` where the last
    stage is no model."""

    dataset: str
    split: str
    dataset_fingerprint: str | None = None
    images: int
    right: int
    accuracy: Interval | None = None
    escalated: int
    escalated_2: int | None = None
    usage: Interval | None = None
    accuracy_1: float | None = None
    accuracy_2: float | None = None
    accuracy_3: float | None = None
    price: StagePrice | None = None
    against: HeldAgainst | None = None
    memory: MemoryFigures | None = None
    left: NobodyFigures | None = None

    @property
    def answered(self) -> int:
        """How many of the images a model answered."""
        return self.images - ((self.left and self.left.unanswered) or 0)


@dataclass(frozen=True)
class Deployment:
    """A policy as it was read: `where` names its file; how λ was `fitted`, and of which `halves`,
    is as written; whether A answers where B fails; `fit` is all that is said of it; `nobody` what a
    last stage is worth that is no model."""

    where: str
    dataset: str
    cascade: Cascade
    memory: MemoryPolicy | None
    models: tuple[ModelFacts, ...]
    promise: PolicyPromise
    fitted: str | None = None
    scores: Mapping[str, str] = field(default_factory=dict)
    sha256: str | None = None
    halves: Halves | None = None
    falls_back: bool = False
    fit: FitFacts = field(default_factory=FitFacts)
    nobody: Nobody | None = None

    @property
    def runtime(self) -> str | None:
        """The one that all models were run in, None where there are several."""
        found = {model.runtime for model in self.models}
        return found.pop() if len(found) == 1 else None


def deployable(cascade: Cascade) -> None:
    """InputError for a rule that no application can follow."""
    if cascade.score is None:  # a model alone
        return
    score = named(cascade.score)
    if score.needs_label:
        raise InputError("the oracle cannot be deployed: it needs the label; choose another score")
    made = made_of(cascade.score)
    base = named(made[1]) if made and made[0] in CALIBRATIONS else score
    if base.comparable and built_in(base.name) is None:  # neither ours nor a confidence
        raise undeployable(cascade.score)


def document(
    store: Store,
    scores: ScoreSet,
    cascade: Cascade,
    row: SimulatedCascade,
    kept: MemoryPolicy | None = None,
    certificate: search.CertificateFacts | None = None,
    fallback: Fallback | None = None,
) -> Policy:
    """What policy.toml says of a cascade that `simulate` gave this row on `scores`.

    `certificate` is that of a search which tested λ on images that no model had seen; `fallback`
    says what answers where B fails.
    """
    trained = trained_splits(store, scores)
    models = [
        replace(
            model_facts(store, scores, name),
            trained_on=_trained_on(*trained[name]),
            coefficients=dict(cascade.coefficients.get(name, {})) or None,
        ).columns()
        for name in cascade.models_that_run
    ]
    last = scores.nobody
    rule = _rule(scores, cascade) | ({} if fallback is None else vars(fallback))
    plain = len(models) == 2 and rule["score"] in SCORES and rule.keys() <= _OF_A_PAIR
    plain = plain and last is None
    fit = {key.removeprefix("fit_"): value for key, value in row.fit.columns().items()} | scores.cut
    found = _without_nulls(
        {
            # Who reads version 2 alone runs what it can hold.
            "schema_version": 2 if plain else 3,
            "sha256": "",  # its place
            "rule": rule,
            "models": models,
            "nobody": None if last is None else _nobody(last),
            "memory": None if kept is None else _memory(kept),
            "fit": fit,
            "certificate": certificate and _known("certificate?", vars(certificate)),
            "promise": _known("promise", promised(scores, row).columns()),
            "provenance": {
                "made": now(),
                "versions": versions(),
                "scores": {
                    name: scores.manifests[scores.index(name)].content
                    for name in scores.models_that_run
                },
            },
        }
    )
    return found | {"sha256": policy_digest(found)}


_OF_A_PAIR = {"score", "threshold", "threshold_low", "threshold_high", "postcheck"}


def _rule(scores: ScoreSet, cascade: Cascade) -> dict[str, object]:
    """As the policy says it; a model alone is never asked for more."""
    first, *second = cascade.limits or (Limit(NEVER),)
    rule: dict[str, object] = {"score": cascade.score or scores.own[0], **first.columns()}
    for limit in second:
        rule |= limit.columns("threshold_2")
    rule |= {"postcheck": cascade.postcheck}
    answers = any("confidences" in each.identity for each in scores.manifests)
    others = {
        "final": ENSEMBLE if cascade.averaged else None,
        "members": len(cascade.stages[0].members) if cascade.stages[0].beside else None,
        "outputs": ANSWERS if answers else None,
    }
    return rule | {key: value for key, value in others.items() if value is not None}


def model_facts(store: Store, scores: ScoreSet, name: str) -> ModelFacts:
    """But for what it was trained on."""
    manifest = scores.manifests[scores.index(name)]
    logits = cache.load(store, Partition("logits", manifest.partition.values))
    found = {key: manifest.provenance.get(key) for key in _MODEL}
    found |= {} if logits is None else {key: logits.identity.get(key) for key in _LOGITS}
    return ModelFacts.of({**found, "name": name, "runtime": manifest.partition.keys["runtime"]})


def _trained_on(splits: tuple[str, ...], source: str) -> dict[str, object] | None:
    return None if source == "unknown" else {"splits": list(splits), "source": source}


def _nobody(last: Nobody) -> dict[str, object]:
    told: dict[str, object] = {"name": last.name, "accuracy": last.accuracy}
    told |= {"loss": last.loss} if last.accuracy is None else {}
    return told | ({"price": last.price, "kind": last.kind} if last.kind else {})


def _memory(kept: MemoryPolicy) -> dict[str, object]:
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


def promised(scores: ScoreSet, row: SimulatedCascade) -> PolicyPromise:
    """Where λ was cross-fitted on these very images, accuracy and its change are those of folds
    decided by the λ of the others, and `right` is their mean, rounded: that of the λ fitted on them
    all flatters. Use of B and cost are this λ's own: as a quantile of n scores it errs as a count
    of n fresh images does, however many were chosen to go on.
    """
    unpriced = row.price.cost is None
    return PolicyPromise(
        dataset=scores.dataset,
        split=scores.split,
        dataset_fingerprint=scores.manifests[0].fingerprint,
        images=row.n,
        right=round(row.accuracy.value * row.n),
        accuracy=row.accuracy,
        escalated=row.escalated,
        escalated_2=row.escalated_2,
        usage=row.usage,
        accuracy_1=row.accuracy_1,
        accuracy_2=row.accuracy_2,
        accuracy_3=row.accuracy_3,
        price=None if unpriced else row.price,
        against=None if unpriced else row.against,
        memory=None if row.memory.memory is None else row.memory,
        left=None if row.unanswered.unanswered is None else row.unanswered,
    )


def _known(table: str, values: Mapping[str, object]) -> dict[str, object]:
    """The keys that the table of a policy has."""
    keys = (key.rstrip("?") for key in FORMAT[table])
    return {key: values[key] for key in keys if key in values}


def _without_nulls(value: Any) -> Any:
    """TOML has no null: what is not known is not there."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def code(policy: Policy) -> str:
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


def write(
    folder: str | os.PathLike[str], policy: Policy, beside: Mapping[str, bytes] | None = None
) -> list[str]:
    """Write both files into the folder, made where it is missing, and others by their places in
    it; their paths. The ONNX files of a policy before are removed."""
    import tomli_w

    file, program = Path(folder, FILE), Path(folder, CODE)
    others = {Path(folder, place): data for place, data in (beside or {}).items()}
    # policy.toml last: it is what a folder is known by.
    texts = {**others, program: code(policy).encode(), file: tomli_w.dumps(policy).encode()}
    try:
        checked_policy(parsed_policy(texts[file], str(file)), str(file))
        for path in texts:
            path.parent.mkdir(parents=True, exist_ok=True)
        write_whole({path: methodcaller("write", text) for path, text in texts.items()})
        for old in {Path(folder, place) for place in ONNX_FILES} - others.keys():
            old.unlink(missing_ok=True)
    except ValueError as error:  # of names that no policy can hold
        raise InputError(str(error)) from error
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot write {folder}: {reason}; check --policy") from error
    return [str(path) for path in (file, program, *others)]


def written_beside(
    folder: str | os.PathLike[str], beside: Mapping[str, bytes]
) -> tuple[list[str], Mapping[str, Any]]:
    """The policy in a folder written again with others beside it: (all paths, what it says)."""
    place = _folder(folder)
    found = read_policy(place)
    return write(place, found, beside), found


def _folder(place: str | os.PathLike[str]) -> Path:
    """That of a policy, or of its policy.toml."""
    path = Path(place)
    return path.parent if path.name == FILE else path


def read(place: str | os.PathLike[str]) -> Deployment:
    """The policy in a folder, or of a policy.toml; InputError for what is none."""
    folder = _folder(place)
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


def _deployment(where: str, found: Policy) -> Deployment:
    fit = found.get("fit", {})
    seed = fit.get("halves_seed")
    models, promise = tuple(map(ModelFacts.of, found["models"])), PolicyPromise.of(found["promise"])
    return Deployment(
        where,
        promise.dataset,
        _cascade(found),
        memory_of(found),
        models,
        promise,
        fit.get("method"),
        found.get("provenance", {}).get("scores", {}),
        found.get("sha256"),
        None if seed is None else Halves(seed, fit.get("halves_stratified", False)),
        "on_error" in found["rule"],
        FitFacts.of({f"fit_{key}": value for key, value in fit.items()} | fit),
        Nobody(**found["nobody"]) if "nobody" in found else None,
    )


def _cascade(found: Mapping[str, Any]) -> Cascade:
    rule, models = found["rule"], found["models"]
    names, score = [model["name"] for model in models], rule["score"]
    names += [found["nobody"]["name"]] if "nobody" in found else []
    if "members" in rule:
        return Cascade.committee(names[:-1], names[-1], Limit.of(rule["threshold"]))
    limits = [rule[key] for key in ("threshold", "threshold_2") if key in rule]
    made = made_of(score)
    known = {model["name"]: model.get("coefficients") for model in models}
    if made is not None and made[0] == "logits":
        known = {name: {} for name in names}
    fitted = {name: each for name, each in known.items() if each is not None}
    how = {"postcheck": rule["postcheck"], "ensemble": "final" in rule, "coefficients": fitted}
    return Cascade.of(names, score, *limits[: len(names) - 1], **how)
