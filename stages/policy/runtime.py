"""The cascade around models that run: in an application, any two callables that give logits.

`flatten` turns this module, with all it uses of this package, into the file that `cascade export
--policy` writes beside policy.toml. So nothing here may need more than numpy.
"""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from stages.cascade import Limit, MemoryPolicy, MemoryTable, Outcome, Rules, run_stages, trusted
from stages.policy.fallback import Fallback, Guard
from stages.policy.format import (
    CLASSES_KIND,
    FLAG_KIND,
    LIMIT_KIND,
    ON_ERROR_KIND,
    SCORE_KIND,
    TIMEOUT_KIND,
    Kind,
    memory_of,
    read_policy,
    shown_value,
)
from stages.scores import SCORES, NonFiniteError, scores_of

Logits = Callable[[Any], Any]
Digest = Callable[[Sequence[np.ndarray]], np.ndarray]

# The memory's hash, by name, where it stands in this same file.
EMBEDDED: tuple[str, Digest] | None = None
# How far from 1 a row of probabilities adds up: in float32, and in half precision, where so little
# is told by several rows only.
_EXACT, _ROUNDED, _ROWS = 1e-5, 1e-2, 4


class CascadeRuntime(ABC):
    """Answers batches by the rule, models being whatever `scored` can ask, with a memory in front.

    `names` are the scores by stage, `rules` those of all stages but the last; `digest` maps
    pictures to keys, `key_bytes` long where that is known.
    """

    def __init__(
        self,
        names: Sequence[str],
        rules: Rules,
        postcheck: bool,
        digest: Digest | None = None,
        key_bytes: int | None = None,
    ) -> None:
        self.names, self.rules, self.postcheck = names, rules, postcheck
        self.digest, self.key_bytes = digest, key_bytes

    @abstractmethod
    def scored(self, stage: int, model: Any, batch: Any) -> dict[str, np.ndarray]:
        """Of m requests by the model of a stage: `prediction` int32 [m] and the stage's score; may
        hold `failed`, bool [m], those whose answer before stands."""

    def run(
        self, models: Sequence[Any], batch: Any, pictures: Any, table: MemoryTable[int] | None
    ) -> Outcome:
        """Answer n requests; those of one batch are looked up together."""
        n = _length(batch)
        if n and (table is None or self.digest is None):
            return replace(self._decided(models, batch), hit=np.zeros(n, bool))
        known, keys = self._looked_up(table, pictures, n)
        misses = np.flatnonzero([answer is None for answer in known])
        stage, answered = np.full((2, n), -1, np.int8)
        prediction = np.array([-1 if answer is None else answer for answer in known], np.int32)
        scores, failed = np.full((len(self.names), n), np.nan), np.zeros(n, bool)
        if len(misses):
            fresh = self._decided(models, chosen(batch, misses))
            stage[misses], answered[misses] = fresh.stage, fresh.answered
            prediction[misses], scores[:, misses] = fresh.prediction, fresh.scores
            failed[misses] = fresh.failed
            self._store(table, keys[misses], fresh)
        return Outcome(stage, answered, prediction, scores, hit=stage < 0, failed=failed)

    def _decided(self, models: Sequence[Any], batch: Any) -> Outcome:
        """The cascade without its memory."""
        n = len(batch)
        scores, failed = np.full((len(models), n), np.nan), np.zeros(n, bool)
        given = np.zeros((len(models), n), np.int32)

        def answers(stage: int, going: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            rows = np.flatnonzero(going)
            out = self.scored(stage, models[stage], chosen(batch, rows))
            given[stage, rows], scores[stage, rows] = out["prediction"], out[self.names[stage]]
            if "failed" in out:
                failed[rows] = out["failed"]
            return given[stage], scores[stage]

        stage, answered, prediction = run_stages(n, answers, self.rules, self.postcheck)
        if failed.any():
            answered, prediction = (
                np.where(failed, 0, answered).astype(np.int8),
                np.where(failed, given[0], prediction),
            )
        return Outcome(stage, answered, prediction, scores, failed=failed)

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
        trust, storable = table.policy.trust, np.ones(len(keys), bool)
        if trust is not None:
            storable = trusted(self.rules[0][0], fresh.score, Limit.of(trust))
        if fresh.failed is not None:  # the next time B may answer
            storable = storable & ~fresh.failed
        for i in np.flatnonzero(storable):
            table.store(keys[i], int(fresh.prediction[i]))


class DeployedCascade(CascadeRuntime):
    """Answers batches by the rule: A first, B where A is not trusted, with a memory in front.

    `classes` are those of A and of B, `key_bytes` the length of a digest's keys; None where not
    known. With `on_error` A's answer stands where B fails or, in ms, is late. ValueError for what
    is no rule.
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
    ) -> None:
        threshold = threshold if isinstance(threshold, (str, bool)) else float(threshold)
        _require("score", score, SCORE_KIND)
        _require("threshold", threshold, LIMIT_KIND)
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
        self.score, self.threshold = SCORES[score], threshold
        rules = [(self.score, Limit.of(threshold))]
        super().__init__((score, score), rules, postcheck, digest, key_bytes)
        self.memory: MemoryTable[int] | None = None if memory is None else MemoryTable(memory)
        self.classes = dict(zip("AB", classes, strict=True))
        self.guard = None if on_error is None else Guard(Fallback(on_error, timeout_ms))
        self.last_failure: str | None = None
        # Of A and of B: how many rows came, all of them like probabilities; gone once it is known.
        self._alike: dict[str, int] = {"A": 0, "B": 0}

    @classmethod
    def load(cls, folder: str | os.PathLike[str], digest: Digest | None = None) -> DeployedCascade:
        """The cascade of `folder`/policy.toml; ValueError, in one line, for what is no policy.

        `digest` maps pictures, uint8 [H, W] or [H, W, 3] each, to keys, uint8 [n, length]; it is
        needed where the policy has a memory whose hash is not in this file.
        """
        policy = read_policy(folder)
        rule, memory = policy["rule"], memory_of(policy)
        if digest is None and memory is not None and EMBEDDED is not None:
            digest = EMBEDDED[1] if EMBEDDED[0] == memory.algorithm else None
        classes = [model.get("classes") for model in policy["models"]]
        decides = (rule["score"], rule["threshold"], rule["postcheck"])
        length = policy.get("memory", {}).get("key_bytes")
        fails = (rule.get("on_error"), rule.get("timeout_ms"))
        return cls(*decides, memory, digest, classes, length, *fails)

    def answer(self, first: Logits, second: Logits, batch: Any, pictures: Any = None) -> Outcome:
        """Answer n requests.

        `first` and `second` map a batch of m requests to logits [m, K]; `second` gets only those
        that are sent on. `batch` is an array, a tensor or a list; `pictures` are what a memory
        hashes, by default `batch` itself. Requests of one batch are looked up together.
        Logits count as float32, as the cache holds them. ValueError for those that are no numbers,
        not finite, or not of these requests and classes, and for keys and pictures that are not;
        a warning, once, for probabilities. With `on_error` nothing that B does is an error: those
        requests are `failed`, and `last_failure` says why.
        """
        shown = batch if pictures is None else pictures
        return self.run((first, second), batch, shown, self.memory)

    def scored(self, stage: int, model: Logits, batch: Any) -> dict[str, np.ndarray]:
        """The logits of A or B must be those of this batch and policy, or B has failed."""
        if not stage or self.guard is None:
            return self._scored("AB"[stage], model(batch), batch)
        n = len(batch)
        try:
            logits = _numbers("B", self.guard(model, batch))
            failed = ~np.isfinite(logits).all(axis=-1)
            out = self._scored("B", np.where(failed[..., None], 0, logits), batch)
            if failed.any():
                self.last_failure = "B gave logits that are not finite"
        except Exception as error:  # a model fails in any way
            self.last_failure = " ".join(f"{type(error).__name__}: {error}".split())
            return {
                "prediction": np.zeros(n, np.int32),
                self.names[stage]: np.full(n, np.nan),
                "failed": np.ones(n, bool),
            }
        return out | {
            "failed": failed,
            self.names[stage]: np.where(failed, np.nan, out[self.names[stage]]),
        }

    def _scored(self, name: str, given: Any, batch: Any) -> dict[str, np.ndarray]:
        logits, classes = _numbers(name, given), self.classes[name]
        if logits.ndim != 2:
            shape = list(logits.shape)
            raise ValueError(f"{name} gave logits of shape {shape}, not [images, classes]")
        n, found = logits.shape
        if n != len(batch):
            raise ValueError(f"{name} gave {n} rows for {len(batch)} images")
        if classes is not None and found != classes:
            raise ValueError(f"{name} gave logits of {found} classes, the policy says {classes}")
        try:
            scores = scores_of(logits)
        except NonFiniteError as error:
            raise ValueError(f"{name} gave logits that are not finite: {error}") from error
        except ValueError as error:
            raise ValueError(f"{name} gave logits of {found} classes: {error}") from error
        if name in self._alike:
            self._tell_probabilities(name, logits)
        return scores

    def _tell_probabilities(self, name: str, logits: np.ndarray) -> None:
        """Warn, once, where all rows so far add up to 1: the first that does not ends it."""
        off = float(np.abs(logits.sum(axis=1, dtype=np.float64) - 1).max())
        if off > _ROUNDED or (logits < 0).any():
            del self._alike[name]
        elif (logits != np.round(logits)).any():  # a row of one 1 and else 0 tells nothing
            self._alike[name] += len(logits)
            if off <= _EXACT or self._alike[name] >= _ROWS:
                self._alike.clear()
                warnings.warn(
                    f"{name} gives probabilities, rows that add up to 1, not logits: their "
                    "softmax is not the one that λ is of; give logits, or the logarithms of these",
                    stacklevel=9,
                )


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
