"""Joules from a power sensor: sampled by a thread, integrated, the staircase's doubt stated."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np

from stages.energy.meter import Measured, Meter, Sensor
from stages.energy.timing import REAL, Poller, Samples, Timing
from stages.energy.uncertainty import sum_of_many

GAP_PERIODS = 5
DEFAULT_PERIOD_S = 0.02


class SampledMeter(Meter):
    """Windows of a power sensor; `power` gives W, read every `period_s`: unless told otherwise a
    quarter of the tick, so that each tick is seen."""

    def __init__(
        self,
        sensor: Sensor,
        power: Callable[[], float],
        period_s: float | None = None,
        timing: Timing = REAL,
    ) -> None:
        super().__init__(sensor, timing)
        self._power = power
        quarter = DEFAULT_PERIOD_S if sensor.tick_s is None else sensor.tick_s / 4
        self.period_s = min(0.1, max(0.005, quarter)) if period_s is None else period_s

    def begin(self) -> Poller:
        """A running poller."""
        poller = self.timing.poller(self._power, self.period_s, self.timing.clock)
        poller.start()
        return poller

    def finish(self, state: Poller, start_ns: int, end_ns: int) -> Measured:
        """Joules under the samples."""
        return integrate(state.stop(), start_ns, end_ns, self.sensor.tick_s, self.period_s)

    def abandon(self, state: Poller) -> None:
        """Stop the thread."""
        state.stop()


def integrate(
    samples: Samples, start_ns: int, end_ns: int, tick_s: float | None, period_s: float
) -> Measured:
    """Joules in [start, end] from samples (ns, W) of a value that is held between ticks.

    E = ∫P dt (trapezoids, ends interpolated) + (P_end − P_start)·tick/2, the mean lag of a held
    value. A step ΔP happened at an unknown moment of its tick: a uniform error of width ΔP·tick.
    It is seen up to a period late, all steps alike where ticks and samples keep in step.
    """
    times = np.array([at for at, _ in samples], np.float64) - start_ns
    watts = np.array([value for _, value in samples], np.float64)
    seconds = (end_ns - start_ns) / 1e9
    steps = np.abs(np.diff(watts))
    ticks = int(np.count_nonzero(steps))
    tick_s = tick_s or _tick(times[1:][steps > 0] / 1e9)
    if tick_s is not None:
        ticks = max(ticks, int(seconds / tick_s))
    if len(watts) < 2 or ticks == 0:
        every = "" if tick_s is None else f"; it changes every {tick_s:.3g} s"
        reason = f"the power sensor did not change in {seconds:.3g} s{every}: measure for longer"
        return Measured(None, ticks=0, reason=reason)
    energy = _area(times / 1e9, watts, seconds)
    warnings = _gaps(times / 1e9, period_s)
    if tick_s is None:
        unknown = "the sensor's tick is unknown: no interval"
        return Measured(energy, ticks=ticks, warnings=(*warnings, unknown))
    energy += float(watts[-1] - watts[0]) * tick_s / 2
    late = max(abs(watts[-1] - watts[0]), float(np.linalg.norm(steps))) * period_s
    widths = [*_widths(steps, tick_s), late]
    half = sum_of_many(widths)
    sd = float(np.linalg.norm(widths)) / sqrt(12)
    return Measured(energy, sd, (max(0.0, energy - half), energy + half), ticks, warnings)


def _tick(changes: np.ndarray) -> float | None:
    """Median s between changes, where a sensor that rested when it was opened moves now."""
    return float(np.median(np.diff(changes))) if len(changes) > 2 else None


def _area(times: np.ndarray, watts: np.ndarray, seconds: float) -> float:
    inside = (times > 0) & (times < seconds)
    edges = np.interp([0.0, seconds], times, watts)
    x = np.concatenate([[0.0], times[inside], [seconds]])
    y = np.concatenate([edges[:1], watts[inside], edges[1:]])
    return float(np.sum((y[1:] + y[:-1]) * np.diff(x)) / 2)


def _widths(steps: np.ndarray, per_watt: float) -> list[float]:
    """J; the last entry is a step since the last tick, not seen yet, as large as steps go here."""
    seen = steps[steps > 0]
    unseen = float(np.sqrt(np.mean(np.sort(seen)[:-1] ** 2))) if len(seen) > 1 else 0.0
    return [*(seen * per_watt).tolist(), unseen * per_watt]


def _gaps(times: np.ndarray, period_s: float) -> tuple[str, ...]:
    widest = float(np.diff(times).max())
    if widest <= GAP_PERIODS * period_s:
        return ()
    return (f"samples are missing: {widest:.3g} s without one, {period_s:.3g} s were asked for",)
