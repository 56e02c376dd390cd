"""Whether a machine had other work while it was timed: means far above medians."""

from __future__ import annotations

from collections.abc import Iterable

from cascade_cli.show.text import say

FACTOR = 2.0


Timed = tuple[str, float, float]


def warn_busy(timed: Iterable[Timed], mend: str = "measure again") -> None:
    """A note on stderr where a mean is above FACTOR times its median: (what, mean, median), in ms.

    It shows the worst and counts the others.
    """
    far = sorted({each for each in timed if each[1] > FACTOR * each[2]}, key=_ratio)
    if not far:
        return
    what, mean, median = far[-1]
    others = f" (and {len(far) - 1} more)" if len(far) > 1 else ""
    say(
        f"note: {what}: mean {mean:.3g} ms against a median of {median:.3g} ms{others}: the "
        f"machine was busy, {mend}"
    )


def _ratio(timed: Timed) -> float:
    return timed[1] / max(timed[2], 1e-9)
