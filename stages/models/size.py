"""How large a model is: as it is stated, else counted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stages.models.factory import has
from stages.models.spec import ModelSpec
from stages.notices import tell_once


def sizes(
    spec: ModelSpec, classes: int, picture: Callable[[], np.ndarray]
) -> tuple[int | None, int | None]:
    """Parameters and macs: as the spec states them, else counted on a model of so many classes.

    `picture` gives a decoded one, for a model that takes pictures of any size. None where they are
    not to be counted: the model is its file, or fails without its numbers, which is told.
    """
    known = (spec.parameters, spec.macs)
    if None not in known or has(spec, "load"):
        return known
    wanted = spec.preprocessing.size or spec.preprocessing.pixels(picture()).shape[1:]
    try:
        from stages.models.counting import counts  # torch, which what is stated does without

        found = counts(spec, classes, (len(spec.preprocessing.mean), *wanted))
    except Exception as error:  # a package's model may need its numbers, or do anything
        reason = (str(error).splitlines() or [""])[0][:100]
        tell_once(f"multiply-adds of {spec.name} are unknown ({type(error).__name__}: {reason})")
        return known
    parameters, macs = (
        count if stated is None else stated for stated, count in zip(known, found, strict=True)
    )
    return parameters, macs
