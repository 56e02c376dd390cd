"""Idle power before a series of windows; their readings → joules per image with an interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from stages.energy.meter import Idle, Meter, Reading
from stages.statistics import z_of

# Two-sided 95 % quantiles of Student's t for 1, 2, … degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


# A device that was busy a moment ago still draws more, and its sensor shows what was.
SETTLE_S = 1.0


def idle_of(meters: Sequence[Meter], seconds: float, sync: Callable[[], None]) -> list[Idle]:
    """Each meter's idle power, after the device has come to rest."""
    sync()
    for meter in meters[:1]:
        meter.timing.sleep(SETTLE_S)
    return [meter.measure_idle(seconds, sync) for meter in meters]


@dataclass(frozen=True)
class EnergyFigure:
    """A mean over windows and its 95 % interval, None where unknown."""

    value: float | None
    low: float | None
    high: float | None


def per_image(readings: Sequence[Reading], images: Sequence[int]) -> dict[str, EnergyFigure]:
    """`energy` and `energy_above_idle` in J per image from windows that saw so many images each.

    Idle power is measured once: its error is common to all windows.
    """
    each = list(zip(readings, images, strict=True))
    idle = [(window.idle_sd_w or 0.0) * window.duration_s / count for window, count in each]
    errors = [(window.sd_j or 0.0) / count for window, count in each]
    gross = [_over(window.energy_j, count) for window, count in each]
    above = [_over(window.above_idle_j, count) for window, count in each]
    return {
        "energy": mean_interval(gross, errors),
        "energy_above_idle": mean_interval(above, errors, float(np.mean(idle)) if idle else 0.0),
    }


def _over(joules: float | None, count: int) -> float | None:
    return None if joules is None else joules / count


def mean_interval(
    values: Sequence[float | None], errors: Sequence[float], common: float = 0.0
) -> EnergyFigure:
    """Mean and 95 % interval of values [n] that each carry an error (SD), and one in common.

    The spread between windows (Student's t) already holds what varies from window to window; the
    sensor's own error is added, as it would not show between windows of equal phase. One unknown
    value makes the mean unknown, and of a single one the interval is.
    """
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return EnergyFigure(None, None, None)
    n, mean = len(known), float(np.mean(known))
    if n < 2:
        return EnergyFigure(mean, None, None)
    variance = float(np.var(known, ddof=1)) + float(np.mean(np.square(errors)))
    half = math.hypot(_quantile(n - 1) * math.sqrt(variance / n), z_of() * common)
    return EnergyFigure(mean, mean - half, mean + half)


def _quantile(freedom: int) -> float:
    """Student's t at 97.5 %: tabulated, then its expansion in 1/ν (Abramowitz & Stegun 26.7.5)."""
    if freedom <= len(_T):
        return _T[freedom - 1]
    z = z_of()
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
