"""The cascade around models that run: in an application, any callables that give logits.

`flatten` turns this module, with all it uses of this package, into the file that `cascade export
--policy` writes beside policy.toml. So nothing here may need more than numpy.
"""

from __future__ import annotations

import os
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from stages.cascade import (
    ENSEMBLE,
    Limit,
    MemoryPolicy,
    MemoryTable,
    Outcome,
    Rules,
    nobodys_answers,
    run_stages,
    trusted,
    votes,
)
from stages.policy.decision_log import DecisionLog
from stages.policy.fallback import Fallback, Guard
from stages.policy.format import (
    CLASSES_KIND,
    FLAG_KIND,
    LAST_KIND,
    LIMIT_KIND,
    MOST_MODELS,
    NUMBER_KIND,
    ON_ERROR_KIND,
    SCORE_KIND,
    TIMEOUT_KIND,
    Kind,
    memory_of,
    read_policy,
    shown_value,
)
from stages.scores import (
    SCORES,
    VOTE_SHARE,
    Coefficients,
    NonFiniteError,
    Score,
    allows,
    built_in,
    checked_by,
    confidence,
    fitted_score,
    made_of,
    scaled,
    scores_of,
    softmax_of,
)

Logits = Callable[[Any], Any]
Said = Mapping[
    str, Any
]  # by name arrays of m requests; `each` is a list of such, of those that vote
Digest = Callable[[Sequence[np.ndarray]], np.ndarray]

# The memory's hash, by name, where it stands in this same file.
EMBEDDED: tuple[str, Digest] | None = None
_NAMES = "ABC"
# How far from 1 a row of probabilities adds up: in float32, and in half precision, where so little
# is told by several rows only.
_EXACT, _ROUNDED, _ROWS = 1e-5, 1e-2, 4


class Record:
    """What each model said of which of n requests: a decision log has it. `rows` are those of the
    requests that are being decided."""

    def __init__(self, n: int, models: int) -> None:
        self.rows, self._n = np.arange(n), n
        self.answers = [
            {"ran": np.zeros(n, bool), "prediction": np.full(n, -1, np.int32)}
            for _ in range(models)
        ]

    def add(self, first: int, rows: np.ndarray, out: Said) -> None:
        """Of `rows` what the model `first`, or each of those that vote, said."""
        at = self.rows[rows]
        for kept, said in zip(self.answers[first:], out.get("each", [out]), strict=False):
            kept["ran"][at] = ~said["failed"] if "failed" in said else True
            kept["prediction"][at] = said["prediction"]
            for name, values in said.items():
                plain = made_of(name) is None and name not in (VOTE_SHARE.name, "failed")
                if plain and values.dtype == np.float64 and values.ndim == 1:
                    kept.setdefault(name, np.full(self._n, np.nan))[at] = values


class CascadeRuntime(ABC):
    """Answers batches by the rule, models being whatever `scored` can ask, with a memory in front.

    `names` are the scores by stage, `rules` those of all stages but the last; `digest` maps
    pictures to keys, `key_bytes` long where that is known. A post-check compares the scores
    `checks`; an `ensemble` answers by the mean of the probabilities of all that ran. A last stage
    without a model is nobody's, whose answer is −1.
    """

    def __init__(
        self,
        names: Sequence[str],
        rules: Rules,
        postcheck: bool,
        digest: Digest | None = None,
        key_bytes: int | None = None,
        ensemble: bool = False,
    ) -> None:
        self.names, self.rules, self.postcheck = names, rules, postcheck
        self.digest, self.key_bytes, self.ensemble = digest, key_bytes, ensemble
        self.checks = [checked_by(name) for name in names]
        self.beside = 0  # models that run with the first

    @abstractmethod
    def scored(self, stage: int, model: Any, batch: Any) -> Said:
        """Of m requests by the model of a stage: `prediction` int32 [m], the stage's score, and
        that of its check; of an ensemble `probabilities` float64 [m, K]; may hold `failed`, bool
        [m], those whose answer before stands, and `each`, the same of several that vote."""

    def run(
        self,
        models: Sequence[Any],
        batch: Any,
        pictures: Any,
        table: MemoryTable[int] | None,
        record: Record | None = None,
    ) -> Outcome:
        """Answer n requests; those of one batch are looked up together."""
        n = _length(batch)
        if n and (table is None or self.digest is None):
            return replace(self._decided(models, batch, record), hit=np.zeros(n, bool))
        known, keys = self._looked_up(table, pictures, n)
        misses = np.flatnonzero([answer is None for answer in known])
        stage, answered = np.full((2, n), -1, np.int8)
        prediction = np.array([-1 if answer is None else answer for answer in known], np.int32)
        scores, failed = np.full((len(self.names), n), np.nan), np.zeros(n, bool)
        if len(misses):
            if record is not None:
                record.rows = misses
            fresh = self._decided(models, chosen(batch, misses), record)
            stage[misses], answered[misses] = fresh.stage, fresh.answered
            prediction[misses], scores[:, misses] = fresh.prediction, fresh.scores
            failed[misses] = fresh.failed
            self._store(table, keys[misses], fresh)
        return Outcome(stage, answered, prediction, scores, hit=stage < 0, failed=failed)

    def _decided(self, models: Sequence[Any], batch: Any, record: Record | None) -> Outcome:
        """The cascade without its memory."""
        n, stages = len(batch), len(self.rules) + 1
        scores, failed = np.full((stages, n), np.nan), np.zeros(n, bool)
        checked = scores if self.checks == list(self.names) else scores.copy()
        given = np.zeros((stages, n), np.int32)
        summed: list[np.ndarray] = []

        def answers(stage: int, going: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            if stage == len(models):
                return nobodys_answers(self.rules[0][0], n)
            rows = np.flatnonzero(going)
            out = self.scored(stage, models[stage], chosen(batch, rows))
            given[stage, rows], scores[stage, rows] = out["prediction"], out[self.names[stage]]
            checked[stage, rows] = out[self.checks[stage]]
            if self.ensemble:
                given[stage, rows] = _averaged(summed, rows, out)
            if "failed" in out:
                failed[rows] = out["failed"]
            if record is not None:
                record.add(stage + self.beside * bool(stage), rows, out)
            return given[stage], scores[stage], checked[stage]

        stage, answered, prediction = run_stages(n, answers, self.rules, self.postcheck)
        if failed.any():
            answered, prediction = (
                np.where(failed, 0, answered).astype(np.int8),
                np.where(failed, given[0], prediction),
            )
        return Outcome(stage, answered, prediction, scores, failed=failed)

    def by_model(self, found: Outcome) -> Outcome:
        """The same with the model whose answer stands, of those that vote the first, for its
        stage."""
        return replace(found, answered=found.answered + self.beside * (found.answered > 0))

    def _looked_up(
        self, table: MemoryTable[int] | None, pictures: Any, n: int
    ) -> tuple[list[int | None], np.ndarray]:
        if table is None or self.digest is None or not n:
            return [None] * n, np.empty((n, 0), np.uint8)
        if _length(pictures) != n:
            raise ValueError(f"there are {len(pictures)} pictures for {n} images")
        keys = np.asarray(self.digest(pictures))
        length = self.key_bytes if self.key_bytes is not None else keys.shape[-1]
        if keys.dtype != np.uint8 or keys.shape != (n, length):
            found = f"{keys.dtype} {list(keys.shape)}"
            raise ValueError(f"the digest gave keys {found}, not uint8 [{n}, {length}]")
        return [table.look_up(key) for key in keys], keys

    def _store(self, table: MemoryTable[int] | None, keys: np.ndarray, fresh: Outcome) -> None:
        if table is None or self.digest is None:
            return
        trust, storable = table.policy.trust, ~fresh.unanswered
        if trust is not None:
            storable = storable & trusted(self.rules[0][0], fresh.score, Limit.of(trust))
        if fresh.failed is not None:  # the next time B may answer
            storable = storable & ~fresh.failed
        for i in np.flatnonzero(storable):
            table.store(keys[i], int(fresh.prediction[i]))


class DeployedCascade(CascadeRuntime):
    """Answers batches by the rule: A first, B where A is not trusted, with a memory in front.

    `classes` are those of each model, `key_bytes` the length of a digest's keys; None where not
    known. With `on_error` A's answer stands where B fails or, in ms, is late. Three models are a
    chain with λ of B in `threshold_2`, or, of the score vote_share, two that vote and one that
    answers where they differ. Where `final` is "ensemble" the mean of both answers. `coefficients`
    are those of a fitted score, by model. `last` names a last stage that is no model: what the last
    model is not trusted with is nobody's there, its prediction −1. Of models whose `outputs` are
    "answers" each gives (prediction, confidence). Where there is a `log` all models run on a share
    `both` of the requests, drawn at random, whatever the rule says. ValueError for what is no rule.
    """

    def __init__(
        self,
        score: str,
        threshold: float | str,
        postcheck: bool = False,
        memory: MemoryPolicy | None = None,
        digest: Digest | None = None,
        classes: Sequence[int | None] = (None, None),
        key_bytes: int | None = None,
        on_error: str | None = None,
        timeout_ms: float | None = None,
        *,
        threshold_2: float | str | None = None,
        final: str | None = None,
        last: str | None = None,
        outputs: str | None = None,
        coefficients: Sequence[Coefficients | None] = (None, None, None),
        log: DecisionLog | None = None,
        both: float = 0.0,
    ) -> None:
        limits = [threshold] if threshold_2 is None else [threshold, threshold_2]
        limits = [each if isinstance(each, (str, bool)) else float(each) for each in limits]
        known = _known_score(score, outputs)
        for each in limits:
            _require("threshold", each, NUMBER_KIND if allows(score, 2) else LIMIT_KIND)
        _require("postcheck", postcheck, FLAG_KIND)
        for count in classes:
            _require("classes", 2 if count is None else count, CLASSES_KIND)
        if on_error is not None:
            _require("on_error", on_error, ON_ERROR_KIND)
            _require("timeout_ms", 1.0 if timeout_ms is None else timeout_ms, TIMEOUT_KIND)
        elif timeout_ms is not None:
            raise ValueError("timeout_ms needs on_error, which says what answers then")
        if memory is not None and digest is None:
            raise ValueError(f"a memory needs a digest: pass the hash {memory.algorithm}")
        self.score, self.threshold = known, limits[0]
        self.members = len(classes) - 1 if score == VOTE_SHARE.name else 1
        self.classes, self.coefficients, self.outputs = list(classes), coefficients, outputs
        stages = len(classes) - self.members + 1 + (last is not None)
        if self.members > MOST_MODELS - 1 or (
            score == VOTE_SHARE.name and stages + self.members < 4
        ):
            raise ValueError(f"{VOTE_SHARE.name} is of two that vote and one that answers")
        if stages > 1 and stages - 1 != len(limits):
            each = " and ".join([f"{len(classes)} models", *([last] if last else [])])
            raise ValueError(f"{each} take {stages - 1} λ, found {len(limits)}")
        _check_last(last, self.members > 1 or final or on_error, postcheck and len(classes) == 1)
        rules = [(self.score, Limit.of(each)) for each in limits[: stages - 1]]
        how = (digest, key_bytes, final == ENSEMBLE)
        super().__init__((score,) * stages, rules, postcheck, *how)
        if not 0 <= both <= 1 or (both and log is None):
            raise ValueError(f"both is {both}, expected a share from 0 to 1, of a log")
        self.beside, self.log, self.both, self.last = self.members - 1, log, both, last
        self.models: tuple[str, ...] = ()  # their names in the order of `answer`, of a policy
        self._drawn = np.random.default_rng()
        self.memory: MemoryTable[int] | None = None if memory is None else MemoryTable(memory)
        self.guard = None if on_error is None else Guard(Fallback(on_error, timeout_ms))
        self.last_failure: str | None = None
        # Of each model: how many rows came, all of them like probabilities; gone once it is known.
        self._alike: dict[str, int] = dict.fromkeys(_NAMES[: len(classes)], 0)

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        digest: Digest | None = None,
        log: str | os.PathLike[str] | None = None,
        both: float = 0.0,
    ) -> DeployedCascade:
        """The cascade of `folder`/policy.toml; ValueError, in one line, for what is no policy.

        `digest` maps pictures, uint8 [H, W] or [H, W, 3] each, to keys, uint8 [n, length]; it is
        needed where the policy has a memory whose hash is not in this file. `log` is the folder of
        a decision log, for which all models run on a share `both` of the requests.
        """
        policy = read_policy(folder)
        rule, memory = policy["rule"], memory_of(policy)
        if digest is None and memory is not None and EMBEDDED is not None:
            digest = EMBEDDED[1] if EMBEDDED[0] == memory.algorithm else None
        classes = [model.get("classes") for model in policy["models"]]
        decides = (rule["score"], rule["threshold"], rule["postcheck"])
        length = policy.get("memory", {}).get("key_bytes")
        fails = (rule.get("on_error"), rule.get("timeout_ms"))
        more = {key: rule.get(key) for key in ("threshold_2", "final", "outputs")}
        fitted = [model.get("coefficients") for model in policy["models"]]
        names = [model["name"] for model in policy["models"]]
        more["last"] = last = policy.get("nobody", {}).get("name")
        if log is not None:
            kept = DecisionLog(log, names, policy.get("sha256"), last=last)
            more |= {"log": kept, "both": both}
        found = cls(*decides, memory, digest, classes, length, *fails, coefficients=fitted, **more)
        found.models = tuple(names)
        return found

    def answer(
        self, *given: Any, pictures: Any = None, keys: Sequence[str] | None = None
    ) -> Outcome:
        """Answer n requests: `answer(first, second, batch)`, of as many models as the policy has.

        Each model maps a batch of m requests to logits [m, K], or, where the policy's `outputs` are
        answers, to (predictions [m], confidences [m]); a later one gets only those that are sent
        on. `batch` is an array, a tensor or a list; `pictures` are what a memory hashes, by default
        `batch` itself. Requests of one batch are looked up together; `keys` are what a log calls
        them. What is left to nobody, or to a person, is `unanswered`.
        Logits count as float32, as the cache holds them. ValueError for those that are no numbers,
        not finite, or not of these requests and classes, and for keys and pictures that are not;
        a warning, once, for probabilities. With `on_error` nothing that B does is an error: those
        requests are `failed`, and `last_failure` says why.
        """
        count = len(self.classes)
        if not count < len(given) <= count + 2 - (pictures is not None):
            names = ", ".join(("first", "second", "third")[:count])
            raise ValueError(f"this policy takes answer({names}, batch), found {len(given)} values")
        batch = given[count]
        shown = given[count + 1] if len(given) > count + 1 else pictures
        together = given[: self.members] if self.members > 1 else given[0]
        models = (together, *given[self.members : count])
        shown = batch if shown is None else shown
        if self.log is None:
            return self.run(models, batch, shown, self.memory)
        begun, record = time.perf_counter(), Record(_length(batch), count)
        found = self.run(models, batch, shown, self.memory, record)
        latency_ms = 1e3 * (time.perf_counter() - begun)
        drawn = self._ask_all(given[:count], batch, found, record)
        self.log.write(keys, self.by_model(found), record.answers, drawn, latency_ms)
        return found

    def _ask_all(
        self, models: Sequence[Any], batch: Any, found: Outcome, record: Record
    ) -> np.ndarray:
        """bool [n]: requests drawn for the log, on which those models run that have not."""
        drawn = self._drawn.random(len(found.stage)) < self.both
        record.rows = np.arange(len(drawn))
        for i, model in enumerate(models):
            rows = np.flatnonzero(drawn & (found.stage >= 0) & ~record.answers[i]["ran"])
            if not len(rows):
                continue
            asked = chosen(batch, rows)
            with suppress(Exception):  # of a model that nobody waits for: it has no answer
                said = model(asked) if self.guard is None else self.guard(model, asked)
                record.add(i, rows, self._scored(i, said, asked))
        return drawn

    def scored(self, stage: int, model: Any, batch: Any) -> Said:
        """What a model gives must be of this batch and policy, or B has failed."""
        at = stage + self.members - 1
        if self.members > 1 and not stage:
            each = [self._scored(i, one(batch), batch) for i, one in enumerate(model)]
            prediction, share = votes(np.stack([one["prediction"] for one in each]))
            return {"prediction": prediction, self.names[0]: share, "each": each}
        if not stage or self.guard is None:
            return self._scored(at, model(batch), batch)
        try:
            return self._or_failed(at, self.guard(model, batch), batch)
        except Exception as error:  # a model fails in any way
            self.last_failure = " ".join(f"{type(error).__name__}: {error}".split())
            n = len(batch)
            unknown = dict.fromkeys((self.names[stage], self.checks[stage]), np.full(n, np.nan))
            failed = {"prediction": np.zeros(n, np.int32), "failed": np.ones(n, bool)}
            return unknown | failed | {"probabilities": np.zeros((n, 1))}

    def _or_failed(self, i: int, given: Any, batch: Any) -> dict[str, np.ndarray]:
        """The rows that are not finite have failed."""
        if self.outputs is not None:
            prediction, sure = _pair(_NAMES[i], given)
            failed = ~np.isfinite(sure)
            out = self._scored(i, (prediction, np.where(failed, 0, sure)), batch)
        else:
            logits = _numbers(_NAMES[i], given)
            failed = ~np.isfinite(logits).all(axis=-1)
            out = self._scored(i, np.where(failed[..., None], 0, logits), batch)
        if failed.any():
            what = "logits" if self.outputs is None else "confidences"
            self.last_failure = f"{_NAMES[i]} gave {what} that are not finite"
        name = self.names[-1]
        return out | {name: np.where(failed, np.nan, out[name]), "failed": failed}

    def _scored(self, i: int, given: Any, batch: Any) -> dict[str, np.ndarray]:
        """Answers and scores of the i-th model."""
        name, made = self.names[0], made_of(self.names[0])
        if self.outputs is not None:
            logits, out = None, self._of_answers(i, given, batch)
        else:
            logits = self._checked(i, given, batch)
            out = self._of_logits(i, logits)
        fitted = self.coefficients[i]
        if fitted is None and made is not None and made[0] == "logits":
            fitted = {}
        return with_fitted(out, logits, name, fitted, self.ensemble)

    def _of_answers(self, i: int, given: Any, batch: Any) -> dict[str, np.ndarray]:
        prediction, sure = _pair(_NAMES[i], given)
        for found, what in ((prediction, "predictions"), (sure, "confidences")):
            if found.shape != (len(batch),):
                shape = list(found.shape)
                raise ValueError(f"{_NAMES[i]} gave {what} {shape} for {len(batch)} images")
        if not np.isfinite(sure).all():
            raise ValueError(f"{_NAMES[i]} gave confidences that are not finite")
        made = made_of(self.names[0])
        return {"prediction": prediction, made[1] if made else self.names[0]: sure}

    def _checked(self, i: int, given: Any, batch: Any) -> np.ndarray:
        name, classes = _NAMES[i], self.classes[i]
        logits = _numbers(name, given)
        if logits.ndim != 2:
            shape = list(logits.shape)
            raise ValueError(f"{name} gave logits of shape {shape}, not [images, classes]")
        n, found = logits.shape
        if n != len(batch):
            raise ValueError(f"{name} gave {n} rows for {len(batch)} images")
        if classes is not None and found != classes:
            raise ValueError(f"{name} gave logits of {found} classes, the policy says {classes}")
        return logits

    def _of_logits(self, i: int, logits: np.ndarray) -> dict[str, np.ndarray]:
        name = _NAMES[i]
        try:
            scores = scores_of(logits)
        except NonFiniteError as error:
            raise ValueError(f"{name} gave logits that are not finite: {error}") from error
        except ValueError as error:
            found = logits.shape[1]
            raise ValueError(f"{name} gave logits of {found} classes: {error}") from error
        if name in self._alike:
            self._tell_probabilities(name, logits)
        return scores

    def _tell_probabilities(self, name: str, logits: np.ndarray) -> None:
        """Warn, once, where all rows so far add up to 1: the first that does not ends it."""
        off = float(np.abs(logits.sum(axis=1, dtype=np.float64) - 1).max())
        if off > _ROUNDED or (logits < 0).any():
            self._alike.pop(name, None)
        elif (logits != np.round(logits)).any():  # a row of one 1 and else 0 tells nothing
            rows = self._alike.get(name, 0) + len(logits)
            self._alike[name] = rows
            if off <= _EXACT or rows >= _ROWS:
                self._alike.clear()
                warnings.warn(
                    f"{name} gives probabilities, rows that add up to 1, not logits: their "
                    "softmax is not the one that λ is of; give logits, or the logarithms of these",
                    stacklevel=10,
                )


def with_fitted(
    out: dict[str, np.ndarray],
    logits: np.ndarray | None,
    name: str,
    coefficients: Coefficients | None,
    ensemble: bool,
) -> dict[str, np.ndarray]:
    """A model's own answers and scores with the fitted one of this name, NaN where the model has no
    coefficients of it, and of an ensemble with the probabilities."""
    if made_of(name) and coefficients is not None:
        out[name] = fitted_score(name, coefficients, out, logits)
    elif name not in out:
        out[name] = np.full(len(out["prediction"]), np.nan)
    if ensemble and logits is not None:
        temperature = (coefficients or {}).get("temperature", 1)
        out["probabilities"] = softmax_of(scaled(logits, temperature))
    return out


def _averaged(summed: list[np.ndarray], rows: np.ndarray, out: Said) -> np.ndarray:
    """What the mean of the probabilities so far answers; of A alone its own answer."""
    fresh = out["probabilities"]
    if not summed:
        summed.append(fresh)
        return out["prediction"]
    failed = out.get("failed", np.zeros(len(rows), bool))
    if not failed.all() and fresh.shape[1] != summed[0].shape[1]:
        found = f"{summed[0].shape[1]} and {fresh.shape[1]}"
        raise ValueError(f"the mean of {found} classes is of no classes: give models of the same")
    return (summed[0][rows] + np.where(failed[:, None], 0, fresh)).argmax(axis=1)


def _pair(name: str, given: Any) -> tuple[np.ndarray, np.ndarray]:
    """Predictions int32 and confidences float64, as a model without logits gives them."""
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        kind = type(given).__name__
        raise ValueError(f"{name} gave {kind}, not (predictions, confidences)")
    try:
        prediction, sure = (np.asarray(_off(each)) for each in given)
        if prediction.dtype.kind not in "iuf" or sure.dtype.kind not in "iuf":
            raise TypeError(f"{prediction.dtype} and {sure.dtype}")
        whole = prediction.astype(np.int32)  # of a tensor they come as floats
        if not np.array_equal(whole, prediction):
            raise ValueError("predictions are no whole numbers")
        return whole, sure.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} gave no predictions and confidences: {error}") from error


def _known_score(name: str, outputs: str | None) -> Score:
    """ValueError for a name that is no score's."""
    known = built_in(name) if outputs is None else built_in(name) or confidence(name)
    if known is None:
        _require("score", name, SCORE_KIND)
    return known or SCORES[name]


def _check_last(last: str | None, together: object, surer_than_none: bool) -> None:
    """ValueError for what a last stage that is no model cannot end."""
    if last is None:
        return
    _require("last", last, LAST_KIND)
    if together:
        raise ValueError(f"{last} ends only what one model after the other answers, or nobody")
    if surer_than_none:
        raise ValueError(f"a post-check before {last} takes two models")


def _require(name: str, value: object, kind: Kind) -> None:
    if not kind.holds(value):
        raise ValueError(f"{name} is {shown_value(value)}, expected {kind.words}")


def _length(rows: Any) -> int:
    """How many requests there are."""
    if isinstance(rows, (str, bytes, Mapping)) or not hasattr(rows, "__getitem__"):
        raise _no_batch(rows)
    try:
        return len(rows)
    except TypeError as error:  # of no dimension
        raise _no_batch(rows) from error


def _no_batch(found: object) -> ValueError:
    kind = type(found).__name__
    return ValueError(f"a batch is an array, a tensor or a list of requests, not {kind}")


def _numbers(name: str, logits: Any) -> np.ndarray:
    """float32 of an array, a tensor or a list of rows of either."""
    rows = isinstance(logits, (list, tuple))
    try:
        found = np.asarray([_off(row) for row in logits] if rows else _off(logits))
        if found.size and found.dtype.kind in "bcmMOSU":
            raise TypeError(f"{found.dtype}")
        with np.errstate(over="ignore"):  # is told as what is not finite
            return found.astype(np.float32, copy=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} gave no array of numbers: {error}") from error


def _off(values: Any) -> Any:
    """A tensor without its gradient, device and types that numpy has not (bfloat16)."""
    return values.detach().float().cpu() if hasattr(values, "detach") else values


def chosen(batch: Any, rows: np.ndarray) -> Any:
    """These rows of an array, a tensor or a list; the batch itself where they are all."""
    if len(rows) == len(batch):
        return batch
    if isinstance(batch, (list, tuple)):
        return [batch[i] for i in rows]
    try:
        return batch[rows]
    except (TypeError, KeyError, IndexError) as error:
        raise _no_batch(batch) from error
