"""Whether B is surer than A can be asked only where the scores of two models compare."""

from __future__ import annotations

from collections.abc import Sequence

from cache import InputError
from stages.notices import tell_once
from stages.scores import Score

_REMEDY = (
    "--calibrate isotonic or platt, of threshold, search and simulate, makes it a probability "
    "(with --halves 1 where there is one split)"
)


def allowed(score: Score, postchecks: Sequence[bool]) -> tuple[bool, ...]:
    """Of `postchecks`, without and with, those that this score can tell; a line says what is left
    out. InputError where that leaves none.

    >>> allowed(Score("maxp", +1), (False, True))
    (False, True)
    """
    if score.comparable or True not in postchecks:
        return tuple(postchecks)
    if False not in postchecks:
        raise InputError(
            f"post-check asks which of two models is surer, and {score.name} does not compare "
            f"between models: leave it out; {_REMEDY}"
        )
    tell_once(f"post-check is left out where the scores of two models do not compare; {_REMEDY}")
    return (False,)
