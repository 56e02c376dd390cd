"""What models cost, as `profile` prints it, and what makes that doubtful: a machine that had other
work while it was timed has means far above medians."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cache import CostRow
from cascade_cli.show.costs import NO_SENSOR
from cascade_cli.show.text import print_table, say
from stages.costs import figures
from stages.energy import SHORT_WINDOW

FACTOR = 2.0
Timed = tuple[str, float, float]
COST_COLUMNS = {
    "model": "model",
    "component": "component",
    "batch_size": "batch",
    "latency_ms": "ms per batch:.3f",
    "latency_p50_ms": "p50:.3f",
    "latency_p99_ms": "p99:.3f",
    "millijoules": "mJ per image",
    "half": "±",
    "above_idle": "above idle",
    "meter": "sensor",
    "windows": "windows",
}


def show_costs(rows: Sequence[CostRow]) -> None:
    """The costs table, with joules in mJ, and what is missing from it."""
    several = len({row.runtime for row in rows}) > 1
    columns = {"model": "model"} | ({"runtime": "runtime"} if several else {}) | COST_COLUMNS
    print_table([vars(row) | _millijoules(row) for row in rows], columns)
    if doubted := doubts(rows):
        say(f"warning: {doubted}")
    if all(row.energy_j is None for row in rows):
        blind = all(row.meter == "none" for row in rows)
        print(NO_SENSOR if blind else f"joules unknown: {rows[0].reason}")


def doubts(rows: Sequence[CostRow]) -> str:
    """In one line what makes rows doubtful: each kind of warning once, in its worst figures, and of
    how many rows it is. Empty where nothing does."""
    kinds: dict[str, list[tuple[int, str]]] = {}
    for i, row in enumerate(rows):
        for warning in filter(None, (row.warnings or "").split("; ")):
            kinds.setdefault(_FIGURE.sub("#", warning), []).append((i, warning))
    told = []
    for found in kinds.values():
        texts = {warning for _, warning in found}
        worst = ", the worst" if len(texts) > 1 else ""
        count = len({i for i, _ in found})
        told.append(f"{max(texts, key=_gravity)} ({count} of {len(rows)} rows{worst})")
    return "; ".join(told)


_FIGURE = re.compile(r"\d+(\.\d+)?(e[-+]?\d+)?")


def _gravity(warning: str) -> list[float]:
    """Orders warnings of one kind, by the last figure that differs: more of something is worse, but
    of a short window fewer ticks are."""
    sign = -1.0 if warning.startswith(SHORT_WINDOW) else 1.0
    return [sign * float(found[0]) for found in _FIGURE.finditer(warning)][::-1]


def _millijoules(row: CostRow) -> dict[str, str]:
    """What is known of an image's joules, as the table tells them."""
    energy, high, above = row.energy_j, row.energy_high_j, row.energy_above_idle_j
    if energy is None:
        return {}
    known = {"millijoules": energy}
    known |= {} if high is None else {"half": high - energy}
    known |= {} if above is None else {"above_idle": above}
    return dict(zip(known, figures("J", *known.values()), strict=True))


def warn_busy(timed: Iterable[Timed], mend: str = "measure again") -> None:
    """A note on stderr where a mean is above FACTOR times its median: (what, mean, median), in ms.

    It shows the worst and counts the others.
    """
    far = {each for each in timed if each[1] > FACTOR * each[2]}
    if not far:
        return
    what, mean, median = max(far, key=lambda each: each[1] / max(each[2], 1e-9))
    others = f" (and {len(far) - 1} more)" if len(far) > 1 else ""
    say(
        f"note: {what}: mean {mean:.3g} ms against a median of {median:.3g} ms{others}: the "
        f"machine was busy, {mend}"
    )
