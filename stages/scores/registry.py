"""Every score by its name: the decision rule's own, those of FUNCTIONS, those of packages, and
the confidences that came with answers.

A function needs logits only, so it serves everything that one of the rule's own does, but for a
policy file, which must stand alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache

import numpy as np

from cache import InputError
from stages import plugins
from stages.plugins import Added, Extras, extras, misfit, misnamed, of_this_project
from stages.scores.softmax import scores_of
from stages.scores.spec import (
    FUNCTIONS,
    LABEL_FREE,
    SCORES,
    Score,
    ScoreFunction,
    built_in,
    confidence,
)


class UnknownScoreError(InputError):
    """No score has this name, and no installed package adds one."""


def named(name: str) -> Score:
    """The score of this name; what is neither the rule's own, this project's nor a package's is a
    confidence that answers came with. Packages are asked last."""
    if (known := built_in(name)) is not None:
        return known
    added = _added()
    return Score(name, added[name].item.sign) if name in added else confidence(name)


def known() -> list[str]:
    """All names but those of confidences; InputError where a package's scores cannot be used."""
    check_packages()
    return [*SCORES, *_added()]


def functions(taken: Collection[str] = ()) -> Mapping[str, Score]:
    """All but the rule's own; of packages none whose name is `taken`."""
    return {name: Score(name, one.item.sign) for name, one in _added(taken).items()}


def check_packages(taken: Collection[str] = ()) -> None:
    """InputError where a package's scores cannot be used, for a name that nothing known has."""
    _extras(taken).check()


def values(name: str, logits: np.ndarray) -> np.ndarray:
    """float64 [N]: a package's score of logits float32 [N, K].

    InputError for a confidence, and, naming the package, where the function does not keep its word.
    """
    one = _added().get(name)
    if one is None:
        raise InputError(f"{name} is a confidence of imported answers: logits do not tell it")
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
    finite = np.isfinite(found)
    return "" if finite.all() else f"{found[finite.argmin()]}, which is no finite number"


def answered(logits: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """`scores_of` the logits, and the score of this name where that is a package's."""
    out = scores_of(logits)
    return out if name in SCORES else out | {name: values(name, logits)}


def maker(name: str) -> dict[str, str | None]:
    """What tells one making of a function's values from another."""
    return _added()[name].maker


@cache
def _functions() -> Mapping[str, Added]:
    return of_this_project(plugins.SCORES, FUNCTIONS)


def _added(taken: Collection[str] = ()) -> Mapping[str, Added]:
    return {**_functions(), **_extras(taken).items}


def _extras(taken: Collection[str] = ()) -> Extras:
    names = {*SCORES, *FUNCTIONS, *taken}
    return extras(plugins.SCORES, ScoreFunction, "score", names, _unusable)


def _unusable(score: ScoreFunction) -> str | None:
    if wrong := misnamed(score.name, "score"):
        return wrong
    if score.sign not in (1, -1):
        return f"its score {score.name} has the sign {score.sign!r}, not +1 or -1"
    return misfit(score)


def own(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the names that are none of the decision rule's."""
    return tuple(name for name in names if name not in SCORES)


def undeployable(name: str) -> InputError:
    """For a policy, whose Python file has no score of a package."""
    where = "is a module of its own" if name in FUNCTIONS else "comes with a package"
    return InputError(
        f"the score {name} {where}, which a policy's file cannot carry: choose "
        f"{', '.join(LABEL_FREE)}"
    )
