"""A confidence cascade around any two callables that give logits, in one file.

    from cascade_policy import Cascade

    cascade = Cascade.load(".")  # the folder that holds policy.toml
    answers = cascade.answer(first, second, batch)
    answers.prediction  # int32 [n]; also escalated, took_b, hit and score

`first` and `second` map a batch to logits [n, K]; `second` gets only the rows that are sent on.
Needs numpy alone (on Python 3.10 also tomli). Written by `cascade export --policy`, cascade-cli
0.1.0; do not edit: export again. Licence: Apache-2.0.
"""

from __future__ import annotations

import math
import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np


class InputError(Exception):
    """The request or its input is wrong.

    The message is one line: what failed, what was found, what to do next. The command line prints
    it and exits 2; anything else that escapes is a fault of ours and exits 1.
    """


@dataclass(frozen=True)
class Policy:
    """How a table behaves. `size` is the most keys it holds, the least recently used going first;
    `radius` the largest Hamming distance of a hit: the nearest key, then the oldest; `trust` the
    least sure score that is stored, on the score function's own scale."""

    algorithm: str
    size: int | None = None
    radius: int = 0
    trust: float | None = None

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise InputError(f"--memory-size {self.size}: give at least 1, or leave it out")
        if self.radius < 0:
            raise InputError(f"--memory-radius {self.radius}: give a distance of 0 or more")


A = TypeVar("A")


class Table(Generic[A]):
    """The live table: keys (uint8 [L]) to the answers stored under them."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._held: OrderedDict[bytes, A] = OrderedDict()
        self._words = _Words() if policy.radius else None

    def __len__(self) -> int:
        return len(self._held)

    def copy(self) -> Table[A]:
        """A table with the same content and history."""
        return deepcopy(self)

    def look_up(self, key: np.ndarray) -> A | None:
        """What is stored under the key, or within the radius of it; it counts as used."""
        name = key.tobytes()
        if name not in self._held:
            if self._words is None:
                return None
            near = self._words.nearest(key, self.policy.radius)
            if near is None:
                return None
            name = near
        if self.policy.size is not None:
            self._held.move_to_end(name)
        return self._held[name]

    def store(self, key: np.ndarray, answer: A) -> None:
        """Keep the answer, unless the key has one; drop the least recently used if full."""
        name = key.tobytes()
        if name in self._held:
            return
        self._held[name] = answer
        if self._words is not None:
            self._words.add(key, name)
        if self.policy.size is not None and len(self._held) > self.policy.size:
            oldest, _ = self._held.popitem(last=False)
            if self._words is not None:
                self._words.drop(oldest)


class _Words:
    """Stored bit strings in one growing array, so that a look-up is one vectorised comparison."""

    def __init__(self) -> None:
        self._bits = np.empty((0, 0), np.uint8)
        self._names: list[bytes | None] = []
        self._at: dict[bytes, int] = {}

    def add(self, key: np.ndarray, name: bytes) -> None:
        if len(self._names) >= len(self._bits):
            self._compact(len(key))
        self._bits[len(self._names)] = key
        self._at[name] = len(self._names)
        self._names.append(name)

    def drop(self, name: bytes) -> None:
        self._names[self._at.pop(name)] = None

    def nearest(self, key: np.ndarray, radius: int) -> bytes | None:
        """The nearest stored key within the radius, the oldest of equally near ones."""
        count = len(self._names)
        if not count:
            return None
        distance = _POPCOUNT[self._bits[:count] ^ key].sum(axis=1, dtype=np.int32)
        for at in np.flatnonzero(distance <= radius)[
            np.argsort(distance[distance <= radius], kind="stable")
        ]:
            name = self._names[at]
            if name is not None:
                return name
        return None

    def _compact(self, width: int) -> None:
        """Leave out what was dropped and make room; the order stays that of storing."""
        kept = [i for i, name in enumerate(self._names) if name is not None]
        names = [self._names[i] for i in kept]
        bits = np.empty((max(64, 2 * len(kept)), width), np.uint8)
        if kept:
            bits[: len(kept)] = self._bits[kept]
        self._bits, self._names = bits, names
        self._at = {name: i for i, name in enumerate(names) if name is not None}


_POPCOUNT = np.array([bin(value).count("1") for value in range(256)], np.uint8)


# Rows are scored in chunks that stay in the processor's cache.
_CHUNK_BYTES = 1 << 19


@dataclass(frozen=True)
class Score:
    """A score function. `sign` is +1 where larger means surer, −1 where smaller does."""

    name: str
    sign: int
    needs_label: bool = False


SCORES: Mapping[str, Score] = {
    "maxp": Score("maxp", +1),
    "difference": Score("difference", +1),
    "entropy": Score("entropy", -1),
    # 1 where A is right, else 0; trusted at λ = 1. Post-check means nothing here.
    "oracle": Score("oracle", +1, needs_label=True),
}
ALWAYS, NEVER = "always", "never"
Threshold = float | str


class NonFiniteError(ValueError):
    """`row` is the first with a NaN or infinite logit."""

    def __init__(self, row: int) -> None:
        super().__init__(f"row {row} has a NaN or infinite logit")
        self.row = row


def scores_of(logits: np.ndarray) -> dict[str, np.ndarray]:
    """Answers and scores of softmax rows.

    logits: float32 [N, K], K ≥ 2, finite. Returns `prediction` int32 [N] (the first of equal
    maxima) and float64 [N] each of `maxp` = max p, `difference` = largest p − second largest p,
    `entropy` = −Σ p ln p / ln K. ValueError on fewer than two classes, NonFiniteError on NaN.

    >>> scores_of(np.array([[0.0, 0.0]], dtype=np.float32))["entropy"]
    array([1.])
    """
    n, classes = logits.shape
    if classes < 2:
        raise ValueError(f"a score needs at least two classes, found {classes}")
    prediction = np.empty(n, np.intp)
    total, weighted, second = np.empty((3, n))
    step = max(1, _CHUNK_BYTES // (8 * classes))
    buffers = np.empty((2, min(step, n), classes))
    with np.errstate(invalid="ignore"):  # what is not finite is told below
        for start in range(0, n, step):
            rows = slice(start, start + step)
            here = (prediction[rows], total[rows], weighted[rows], second[rows])
            _exponentials(logits[rows], buffers, *here)
    # NaN stays, ∞ − ∞ is NaN, and so is −∞ · 0.
    finite = np.isfinite(weighted)
    if not finite.all():
        raise NonFiniteError(int((~finite).argmax()))
    entropy = (np.log(total) - weighted / total) / math.log(classes)
    return {
        "prediction": prediction.astype(np.int32),
        "maxp": 1 / total,
        "difference": (1 - second) / total,
        "entropy": np.clip(entropy, 0, 1),
    }


def _exponentials(
    logits: np.ndarray,
    buffers: np.ndarray,
    best: np.ndarray,
    total: np.ndarray,
    weighted: np.ndarray,
    second: np.ndarray,
) -> None:
    """With x = logit − max: p = eˣ/Z, ln p = x − ln Z, so H = ln Z − Σ eˣx / Z.

    Fills in the argmax, Z = Σ eˣ, Σ eˣx and the second largest eˣ of each row.
    """
    each = np.arange(len(logits))
    logits.argmax(axis=1, out=best)
    # Row by row in memory: over another layout numpy adds up in another order.
    x, e = buffers[:, : len(logits)]
    np.copyto(x, logits)
    x -= x[each, best][:, None]
    np.exp(x, out=e)
    e.sum(axis=1, out=total)
    x *= e
    x.sum(axis=1, out=weighted)
    e[each, best] = 0.0
    e.max(axis=1, out=second)


def cut(score: Score, threshold: Threshold) -> float:
    """λ on the axis where larger means surer; B always or never runs at ±∞."""
    if isinstance(threshold, str):
        return {ALWAYS: math.inf, NEVER: -math.inf}[threshold]
    return score.sign * threshold


def trusted(score: Score, s_a: np.ndarray, threshold: Threshold) -> np.ndarray:
    """bool [N]: A's answer stands and B does not run."""
    return score.sign * s_a >= cut(score, threshold)


def takes_b(score: Score, s_a: np.ndarray, s_b: np.ndarray, postcheck: bool) -> np.ndarray:
    """bool [N]: B's answer is taken once B has run."""
    if not postcheck or score.needs_label:
        return np.ones(len(s_a), bool)
    return s_b > s_a if score.sign > 0 else s_b < s_a


Logits = Callable[[Any], Any]
Digest = Callable[[Sequence[np.ndarray]], np.ndarray]
# The memory's hash, by name, where it stands in this same file.
EMBEDDED: tuple[str, Digest] | None = None


@dataclass(frozen=True)
class Answers:
    """Per request [n]: `prediction` int32; bool `escalated`, B ran, `took_b`, its answer was taken,
    and `hit`, the memory answered; `score` float64 of the model that answered, NaN at a hit."""

    prediction: np.ndarray
    escalated: np.ndarray
    took_b: np.ndarray
    hit: np.ndarray
    score: np.ndarray

    @classmethod
    def remembered(cls, n: int) -> Answers:
        """n hits, to be overwritten where there was none."""
        b_ran, b_taken = np.zeros((2, n), bool)
        return cls(np.full(n, -1, np.int32), b_ran, b_taken, np.ones(n, bool), np.full(n, np.nan))


class Cascade:
    """Answers batches by the rule: A first, B where A is not trusted, with a memory in front.

    `classes` are those of A and of B, None where not known.
    """

    def __init__(
        self,
        score: str,
        threshold: Threshold,
        postcheck: bool = False,
        memory: Policy | None = None,
        digest: Digest | None = None,
        classes: Sequence[int | None] = (None, None),
    ) -> None:
        if memory is not None and digest is None:
            raise ValueError(f"a memory needs a digest: pass the hash {memory.algorithm}")
        self.score, self.threshold, self.postcheck = SCORES[score], threshold, postcheck
        self.digest, self.classes = digest, dict(zip("AB", classes, strict=True))
        self.memory: Table[int] | None = None if memory is None else Table(memory)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], digest: Digest | None = None) -> Cascade:
        """The cascade of `folder`/policy.toml.

        `digest` maps pictures, uint8 [H, W] or [H, W, 3] each, to keys, uint8 [n, length]; it is
        needed where the policy has a memory whose hash is not in this file.
        """
        policy = read_policy(folder)
        rule, memory = policy["rule"], policy.get("memory")
        classes = [model.get("classes") for model in policy["models"]]
        if memory is None:
            return cls(rule["score"], rule["threshold"], rule["postcheck"], classes=classes)
        if digest is None and EMBEDDED is not None and EMBEDDED[0] == memory["hash"]:
            digest = EMBEDDED[1]
        limits = {key: memory[key] for key in ("size", "radius", "trust") if key in memory}
        table = Policy(memory["hash"], **limits)
        return cls(rule["score"], rule["threshold"], rule["postcheck"], table, digest, classes)

    def answer(self, first: Logits, second: Logits, batch: Any, pictures: Any = None) -> Answers:
        """Answer n requests.

        `first` and `second` map a batch of m requests to logits [m, K]; `second` gets only those
        that are sent on. `batch` is an array, a tensor or a list; `pictures` are what a memory
        hashes, by default `batch` itself. Requests of one batch are looked up together.
        ValueError for logits that are not finite, or not of these requests and classes.
        """
        found, keys = self._looked_up(batch if pictures is None else pictures, len(batch))
        misses = np.flatnonzero([answer is None for answer in found])
        out = Answers.remembered(len(batch))
        out.prediction[:] = [-1 if answer is None else answer for answer in found]
        if len(misses):
            fresh = self._decided(first, second, chosen(batch, misses))
            for name, values in vars(fresh).items():
                getattr(out, name)[misses] = values
            self._store(keys[misses], fresh)
        return out

    def _looked_up(self, pictures: Any, n: int) -> tuple[list[int | None], np.ndarray]:
        if self.memory is None or self.digest is None or not n:
            return [None] * n, np.empty((n, 0), np.uint8)
        keys = self.digest(pictures)
        return [self.memory.look_up(key) for key in keys], keys

    def _store(self, keys: np.ndarray, fresh: Answers) -> None:
        if self.memory is None:
            return
        trust = self.memory.policy.trust
        every = np.ones(len(keys), bool)
        for i in np.flatnonzero(
            every if trust is None else trusted(self.score, fresh.score, trust)
        ):
            self.memory.store(keys[i], int(fresh.prediction[i]))

    def _decided(self, first: Logits, second: Logits, batch: Any) -> Answers:
        """The cascade without its memory."""
        a = self._scored("A", first, batch)
        prediction, score = a["prediction"], a[self.score.name]
        escalated = ~trusted(self.score, score, self.threshold)
        took_b = np.zeros(len(prediction), bool)
        rows = np.flatnonzero(escalated)
        if len(rows):
            b = self._scored("B", second, chosen(batch, rows))
            taken = takes_b(self.score, score[rows], b[self.score.name], self.postcheck)
            sure = rows[taken]
            took_b[sure] = True
            prediction[sure] = b["prediction"][taken]
            score[sure] = b[self.score.name][taken]
        return Answers(prediction, escalated, took_b, np.zeros(len(prediction), bool), score)

    def _scored(self, name: str, model: Logits, batch: Any) -> dict[str, np.ndarray]:
        """Answers and scores of A or B, whose logits must be those of this batch and policy."""
        logits, classes = _numbers(model(batch)), self.classes[name]
        if logits.ndim != 2:
            shape = list(logits.shape)
            raise ValueError(f"{name} gave logits of shape {shape}, not [images, classes]")
        n, found = logits.shape
        if n != len(batch):
            raise ValueError(f"{name} gave {n} rows for {len(batch)} images")
        if classes is not None and found != classes:
            raise ValueError(f"{name} gave logits of {found} classes, the policy says {classes}")
        try:
            return scores_of(logits)
        except NonFiniteError as error:
            raise ValueError(f"{name} gave logits that are not finite: {error}") from error


def _numbers(logits: Any) -> np.ndarray:
    """float32 of an array, a tensor or a list of rows of either."""
    rows = isinstance(logits, (list, tuple))
    return np.asarray([_off(row) for row in logits] if rows else _off(logits), np.float32)


def _off(values: Any) -> Any:
    """A tensor without its gradient, device and types that numpy has not (bfloat16)."""
    return values.detach().float().cpu() if hasattr(values, "detach") else values


def chosen(batch: Any, rows: np.ndarray) -> Any:
    """These rows of an array, a tensor or a list; the batch itself where they are all."""
    if len(rows) == len(batch):
        return batch
    return [batch[i] for i in rows] if isinstance(batch, (list, tuple)) else batch[rows]


def read_policy(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What policy.toml says. Python 3.10 reads it with the package tomli."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    with open(os.path.join(folder, "policy.toml"), "rb") as file:
        return tomllib.load(file)
