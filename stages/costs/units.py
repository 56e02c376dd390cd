"""Units that a header may give instead of the costs table's: `latency_s` for `latency_ms`."""

from __future__ import annotations

import re
from collections.abc import Iterable

# The power of ten that takes a figure from another unit into the table's own.
_POWERS = {"ms": {"s": 3, "us": -3}, "j": {"mj": -3, "uj": -6}, "w": {"mw": -3}}
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:e([+-]?\d{1,4}))?", re.ASCII | re.IGNORECASE)


def spellings(columns: Iterable[str]) -> dict[str, tuple[str, int]]:
    """What a header may call these columns → (column, power of ten into its unit).

    >>> spellings(["idle_w"])
    {'idle_w': ('idle_w', 0), 'idle_mw': ('idle_w', -3)}
    """
    found = {}
    for column in columns:
        found[column] = column, 0
        stem, _, unit = column.rpartition("_")
        for other, power in _POWERS.get(unit, {}).items():
            found[f"{stem}_{other}"] = column, power
    return found


def of_stem(name: str, known: Iterable[str]) -> list[str]:
    """The known names in units that differ from this one's, which has none or another.

    >>> of_stem("energy_kj", ["energy_j", "energy_mj", "idle_w"]), of_stem("batch", ["batch_size"])
    (['energy_j', 'energy_mj'], [])
    """
    stems = {name, name.rpartition("_")[0]} - {""}
    found = [each for each in known if each.rpartition("_")[0] in stems]
    return found if len(found) > 1 else []


def scaled(text: str, power: int) -> float | None:
    """The number times 10^power, rounded once; None of what is no number."""
    known = _NUMBER.fullmatch(text)
    return known and float(f"{known[1]}e{int(known[2] or 0) + power}")
