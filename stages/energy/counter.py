"""Joules from a cumulative counter: two reads, the mean lag corrected, the tick's doubt stated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import hypot, sqrt
from typing import Protocol

from stages.energy.errors import SensorError
from stages.energy.meter import Measured, Meter, Sensor
from stages.energy.timing import REAL, Timing
from stages.energy.uncertainty import sum_of_uniforms, truncation


class Counter(Protocol):
    """One window's view of a counter."""

    def read(self) -> float:
        """Joules since some fixed moment. Raises SensorError."""

    def close(self) -> None:
        """Stop what keeps the counter in view."""


@dataclass(frozen=True)
class PlainCounter:
    """A counter that needs no watching between two reads."""

    read: Callable[[], float]

    def close(self) -> None:
        """Nothing to stop."""


class CounterMeter(Meter):
    """Windows of a cumulative counter.

    `counter` opens it for a window, `power` gives W at the last tick (the window's mean where
    None), `unit_j` is the step to which the counter is cut.
    """

    def __init__(
        self,
        sensor: Sensor,
        counter: Callable[[], Counter],
        power: Callable[[], float] | None = None,
        unit_j: float = 0.0,
        timing: Timing = REAL,
    ) -> None:
        super().__init__(sensor, timing)
        self._counter = counter
        self._power = power
        self._unit = unit_j

    def begin(self) -> tuple[Counter, float, float | None]:
        """The counter, its joules, and W."""
        watts = None if self._power is None else self._power()
        counter = self._counter()
        return counter, counter.read(), watts

    def finish(
        self, state: tuple[Counter, float, float | None], start_ns: int, end_ns: int
    ) -> Measured:
        """Joules between the two reads."""
        counter, first, watts = state
        try:
            last = counter.read()
        finally:
            counter.close()
        seconds = (end_ns - start_ns) / 1e9
        after = None if self._power is None else self._power()
        return between(first, last, watts, after, seconds, self.sensor.tick_s, self._unit)

    def abandon(self, state: tuple[Counter, float, float | None]) -> None:
        """Stop watching."""
        state[0].close()


def between(
    first_j: float,
    last_j: float,
    start_w: float | None,
    end_w: float | None,
    seconds: float,
    tick_s: float | None,
    unit_j: float = 0.0,
) -> Measured:
    """Joules of a window from the counter and the power at its ends.

    E = (E₁ − E₀) + (P₁ − P₀)·tick/2, with SD tick·√(P₀² + P₁²)/√12 and the exact 95 % interval of
    P₁·tick·U₁ − P₀·tick·U₀; truncation to `unit_j` is added. Raises SensorError.
    """
    counted = last_j - first_j
    if counted < 0:
        raise SensorError(
            f"the energy counter went back by {-counted:.6g} J: the driver or device was reset; "
            "measure again"
        )
    if counted == 0:
        every = "" if tick_s is None else f"; it advances every {tick_s:.3g} s"
        reason = f"the energy counter did not advance in {seconds:.3g} s{every}: measure for longer"
        return Measured(None, ticks=0, reason=reason)
    if tick_s is None:
        return Measured(counted, warnings=("the sensor's tick is unknown: no interval",))
    mean = counted / seconds
    before, after = (mean if watts is None else watts for watts in (start_w, end_w))
    energy = counted + (after - before) * tick_s / 2
    cut_sd, cut_half = truncation(unit_j)
    sd = hypot(tick_s * hypot(before, after) / sqrt(12), cut_sd)
    half = sum_of_uniforms(before * tick_s, after * tick_s) + cut_half
    ticks = max(1, int(seconds / tick_s))
    if energy <= 0:
        reason = f"a window of {seconds:.3g} s is lost in the tick of {tick_s:.3g} s"
        return Measured(None, ticks=ticks, reason=f"{reason}: measure for longer")
    return Measured(energy, sd, (max(0.0, energy - half), energy + half), ticks)
