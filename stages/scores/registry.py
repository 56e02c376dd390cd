"""Every score by its name: those of `stages.scores.softmax`, and those that installed packages add.

A package's score needs logits only, so it serves everything that one of the rule's own does, but
for a policy file, which must stand alone.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cache import InputError, one_of
from stages import plugins
from stages.plugins import Added, Extras, extras, misfit
from stages.scores.softmax import LABEL_FREE, SCORES, Score, scores_of

# A name stands in paths and in lists that commas separate.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
# Deferral rules that are no plain score, which the command `rules` lists beside those that are.
RULES = frozenset(
    (
        "margin",
        "energy",
        "maxp_t",
        "difference_t",
        "entropy_t",
        "learned",
        "agreement",
        "vote_share",
    )
)


class UnknownScoreError(InputError):
    """No score has this name, and no installed package adds one."""


@dataclass(frozen=True)
class ScoreFunction:
    """A score that a package adds. `sign` is +1 where larger means surer, −1 where smaller does.

    of: float32 [N, K], finite and read-only, N ≥ 1 → float64 [N] in [0, 1], where a row's result
    must not depend on the rows beside it.
    """

    name: str
    sign: int
    of: Callable[[np.ndarray], np.ndarray]


def named(name: str) -> Score:
    """The score of this name; UnknownScoreError where there is none. Packages are asked last."""
    if name in SCORES:
        return SCORES[name]
    added = _added()
    if name not in added:
        check_packages()
        raise UnknownScoreError(str(one_of("score", name, [*SCORES, *added])))
    return Score(name, added[name].item.sign)


def known() -> Mapping[str, Score]:
    """All of them, the rule's own first."""
    return dict(SCORES) | {name: Score(name, one.item.sign) for name, one in _added().items()}


def check_packages() -> None:
    """InputError where a package's scores cannot be used, for a name that nothing known has."""
    _extras().check()


def values(name: str, logits: np.ndarray) -> np.ndarray:
    """float64 [N]: a package's score of logits float32 [N, K].

    InputError, naming the package, where the function does not keep its word.
    """
    one = _added()[name]
    given = np.ascontiguousarray(logits, np.float32).view()  # sums run along rows in memory
    given.flags.writeable = False
    with one.blamed(f"its score {name}"):
        found = np.asarray(one.item.of(given))
    if wrong := _wrong(found, len(logits)):
        raise one.fault(f"its score {name} gives {wrong}")
    return found.astype(np.float64)


def _wrong(found: np.ndarray, n: int) -> str:
    if found.shape != (n,) or found.dtype.kind != "f":
        return f"{found.dtype} {list(found.shape)} for {n} images, not float64 [{n}]"
    outside = ~((found >= 0) & (found <= 1))
    return f"{found[outside.argmax()]}, which is not in [0, 1]" if outside.any() else ""


def answered(logits: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """`scores_of` the logits, and the score of this name where that is a package's."""
    out = scores_of(logits)
    return out if name in SCORES else out | {name: values(name, logits)}


def maker(name: str) -> dict[str, Any]:
    """What tells one making of a package's score from another: version, and digest of the code."""
    one = _added()[name]
    file = Path(getattr(sys.modules.get(one.entry.module), "__file__", None) or "")
    code = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
    return {"package": one.package, "version": one.version, "code": code}


def _added() -> Mapping[str, Added]:
    return _extras().items


def _extras() -> Extras:
    return extras(plugins.SCORES, ScoreFunction, "score", {*SCORES, *RULES}, _unusable)


def _unusable(score: ScoreFunction) -> str | None:
    if not isinstance(score.name, str) or not _NAME.fullmatch(score.name):
        return f"its score's name {score.name!r} is none: letters, digits, _, - and ."
    if score.sign not in (1, -1):
        return f"its score {score.name} has the sign {score.sign!r}, not +1 or -1"
    return misfit(score)


def own(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the names that are packages' scores."""
    return tuple(name for name in names if name not in SCORES)


def undeployable(name: str) -> InputError:
    """For a policy, whose Python file has the rule's own scores only."""
    return InputError(
        f"the score {name} comes with a package, which a policy's file cannot carry: choose "
        f"{', '.join(LABEL_FREE)}"
    )
