"""What a deferral rule may know about a model's images: a few numbers of each row of logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from stages.calibration import Likelihoods, fit_temperature
from stages.scores import (
    TOP,
    Parts,
    blocks,
    logit_scores,
    scaled,
    scored_block,
    softmax_of,
    subset,
    together,
)

# A model's temperatures in three digits, from 0.01 to 100: NLL is so flat around its least value
# that a further digit changes nothing, and folds of the same images ask for the same few.
GRID = np.array([float(f"{m}e{e}") for e in range(-4, 0) for m in range(100, 1000)] + [100.0])


@dataclass(frozen=True)
class Outputs:
    """One model on N images of K classes, its logits divided by `temperature`.

    labels and prediction int32 [N]; `scalars` float64 [N] by name; `top` float64 [N, min(10, K)],
    the largest probabilities, descending, at temperature 1. `parts` gives the logits again; where
    only scores are cached it is None, as are margin, energy and `top`. Images that are a `part_of`
    others, and which, take from there what needs another pass over the logits.
    """

    labels: np.ndarray
    prediction: np.ndarray
    scalars: dict[str, np.ndarray]
    top: np.ndarray | None = None
    classes: int = 0
    parts: Parts | None = field(default=None, repr=False)
    temperature: float = 1.0
    part_of: tuple[Outputs, np.ndarray] | None = field(default=None, repr=False)
    _nll: dict[float, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, parts: Parts, labels: np.ndarray, temperature: float = 1.0) -> Outputs:
        """One pass over the logits. NonFiniteError names the first row with a NaN or infinity."""
        n = len(labels)
        scalars: dict[str, np.ndarray] = {}
        prediction = np.empty(n, np.int32)
        top = np.empty((0, 0))
        classes = 0
        for rows, logits in blocks(parts):
            if not classes:
                classes = logits.shape[1]
                top = np.empty((n, min(TOP, classes)))
            values, prediction[rows], top[rows] = _reduce(rows, scaled(logits, temperature))
            for name, value in values.items():
                scalars.setdefault(name, np.empty(n))[rows] = value
        return cls(labels, prediction, scalars, top, classes, parts, temperature)

    def scalar(self, name: str) -> np.ndarray:
        """float64 [N]; ValueError where only scores are known and this is none of them."""
        if name not in self.scalars:
            raise ValueError(f"only scores are known, and {name} needs logits")
        return self.scalars[name]

    @cached_property
    def correct(self) -> np.ndarray:
        """bool [N]."""
        return self.prediction == self.labels

    @cached_property
    def tempered(self) -> float:
        """The temperature that these images' labels ask for, in three digits."""
        if self.part_of is None:
            start = fit_temperature(self.logits, self.labels).value
        else:
            start = self.part_of[0].tempered
        return least(lambda t: float(self.nll(t).mean()), start)

    def nll(self, temperature: float) -> np.ndarray:
        """float64 [N] of the labels, in nats, with logits z/T; a pass over the logits, once a T."""
        if self.part_of is not None:
            whole, keep = self.part_of
            return whole.nll(temperature)[keep]
        if temperature not in self._nll:
            self._nll[temperature] = Likelihoods.of(self.logits, self.labels, temperature).nll
        return self._nll[temperature]

    def at(self, temperature: float) -> Outputs:
        """The same images with logits z/T, without `top`; a pass over the logits, once a T."""
        if temperature in self._at:
            return self._at[temperature]
        if self.part_of is not None:
            whole, keep = self.part_of
            return whole.at(temperature).subset(keep)
        made = Outputs.of(self.logits, self.labels, temperature)
        self._at[temperature] = replace(made, top=None)
        return self._at[temperature]

    @cached_property
    def _at(self) -> dict[float, Outputs]:
        return {self.temperature: self}

    @property
    def logits(self) -> Parts:
        """ValueError where only scores are known."""
        if self.parts is None:
            raise ValueError("only scores are known, and this needs logits")
        return self.parts

    def subset(self, keep: np.ndarray) -> Outputs:
        """The images where `keep` (bool [N]) holds."""
        return replace(
            self,
            labels=self.labels[keep],
            prediction=self.prediction[keep],
            scalars={name: value[keep] for name, value in self.scalars.items()},
            top=None if self.top is None else self.top[keep],
            parts=None if self.parts is None else subset(self.parts, keep),
            part_of=(self, keep),
        )


def _reduce(
    rows: np.ndarray, logits: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """(scalars, prediction, top) of a block."""
    out = scored_block(rows, logits)
    more, top = logit_scores(out, logits)
    prediction = out.pop("prediction")
    return out | more, prediction, top


@dataclass(frozen=True)
class Pair:
    """A and B on the same images, which may be a `part_of` another pair's."""

    a: Outputs
    b: Outputs
    part_of: tuple[Pair, np.ndarray] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.a)

    @property
    def correct(self) -> tuple[np.ndarray, np.ndarray]:
        """bool [N] of each."""
        return self.a.correct, self.b.correct

    def subset(self, keep: np.ndarray) -> Pair:
        """The images where `keep` (bool [N]) holds."""
        return Pair(self.a.subset(keep), self.b.subset(keep), (self, keep))

    def at(self, t_a: float, t_b: float) -> Pair:
        """The same images with A's logits divided by t_a and B's by t_b."""
        if (t_a, t_b) in self._at:
            return self._at[t_a, t_b]
        if self.part_of is not None:
            whole, keep = self.part_of
            return whole.at(t_a, t_b).subset(keep)
        self._at[t_a, t_b] = Pair(self.a.at(t_a), self.b.at(t_b))
        return self._at[t_a, t_b]

    @cached_property
    def _at(self) -> dict[tuple[float, float], Pair]:
        return {(self.a.temperature, self.b.temperature): self}

    @cached_property
    def ensemble(self) -> np.ndarray:
        """int32 [N]: the first largest of the mean of A's and B's probabilities; one joint pass."""
        if self.part_of is not None:
            whole, keep = self.part_of
            return whole.ensemble[keep]
        answer = np.empty(len(self.a.labels), np.int32)
        for rows, z_a, z_b in together(self.a.logits, self.b.logits):
            p = softmax_of(scaled(z_a, self.a.temperature))
            p += softmax_of(scaled(z_b, self.b.temperature))
            answer[rows] = p.argmax(axis=1)
        return answer


def least(nll: Callable[[float], float], start: float) -> float:
    """The T of the grid with the least NLL: convex in 1/T, so downhill from anywhere ends there.

    >>> least(lambda t: (1 / t - 0.75) ** 2, start=1.0)
    1.33
    """
    i = int(np.abs(np.log(GRID / start)).argmin())
    for step in (1, -1):
        while 0 <= i + step < len(GRID) and nll(GRID[i + step]) < nll(GRID[i]):
            i += step
    return float(GRID[i])
