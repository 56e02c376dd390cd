"""One interface for everything that reads joules; an unknown joule is None with a reason, never 0.

with meter.window(torch.cuda.synchronize, idle) as window:
    model(batch)
window.reading.energy_j, window.reading.interval_j
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from stages.energy.errors import SensorError
from stages.energy.timing import REAL, Timing

SHORTEST_S = 5.0
FEWEST_TICKS = 20
SHORT_WINDOW = "short window"


def nothing() -> None:
    """The synchronisation of a device that computes in the caller's thread."""


@dataclass(frozen=True)
class Sensor:
    """What measured.

    `source` is nvml_counter, nvml_power, rapl, ina3221, manual, none or simulated; `scope` is what
    its joules cover (gpu, module, package, rail, system, none); `tick_s` the measured time between
    two updates of its value, None where unknown. `detail` carries what else a reader should know
    (power mode, zones, rails).
    """

    source: str
    scope: str
    device: str
    uuid: str | None = None
    driver: str | None = None
    tick_s: float | None = None
    detail: str | None = None


@dataclass(frozen=True)
class Idle:
    """Mean power of the waiting device; `power_w` is None with a `reason` where unknown."""

    power_w: float | None = None
    sd_w: float | None = None
    duration_s: float = 0.0
    ticks: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Measured:
    """What a sensor made of one window: joules, SD, 95 % interval, ticks, warnings.

    `energy_j` is gross, None with a `reason` where unknown; `sd_j` and `interval_j` state how well
    the sensor's ticks pin the window down, not how well the sensor is calibrated.
    """

    energy_j: float | None
    sd_j: float | None = None
    interval_j: tuple[float, float] | None = None
    ticks: int | None = None
    warnings: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Reading(Measured):
    """Joules of one window, and the idle power of its device."""

    duration_s: float
    sensor: Sensor
    idle_w: float | None
    idle_sd_w: float | None

    @property
    def idle_j(self) -> float | None:
        """The part that the waiting device would have drawn."""
        return None if self.idle_w is None else self.idle_w * self.duration_s

    @property
    def above_idle_j(self) -> float | None:
        """Gross minus idle joules; None where either is unknown."""
        if self.energy_j is None or self.idle_j is None:
            return None
        return self.energy_j - self.idle_j

    @property
    def short(self) -> bool:
        """Whether the window is too short to be shown as precise."""
        return any(each.startswith(SHORT_WINDOW) for each in self.warnings)


class Meter(ABC):
    """A sensor that can measure windows.

    A kind of sensor implements `begin` (first read, returns its state) and `finish` (last read).
    Windows of one meter may overlap.
    """

    def __init__(self, sensor: Sensor, timing: Timing = REAL) -> None:
        self.sensor = sensor
        self.timing = timing

    @abstractmethod
    def begin(self) -> Any:
        """Read for the first time; the caller has synchronised. Raises SensorError."""

    @abstractmethod
    def finish(self, state: Any, start_ns: int, end_ns: int) -> Measured:
        """Read for the last time and work out the joules in [start, end]. Raises SensorError."""

    def prepare(self) -> Any:
        """Slow questions before a window (throttling, other processes), asked before its sync."""
        return None

    def conditions(self, before: Any) -> tuple[str, ...]:
        """Warnings about what happened since `prepare`, asked after the last read."""
        return ()

    def abandon(self, state: Any) -> None:  # noqa: B027 most sensors hold nothing
        """Stop what `begin` started, when the measured code raised."""

    def window(self, sync: Callable[[], None] = nothing, idle: Idle | None = None) -> Window:
        """A context manager: synchronise and read at both ends, `.reading` afterwards."""
        return Window(self, sync, idle)

    def measure_idle(self, seconds: float, sync: Callable[[], None] = nothing) -> Idle:
        """Mean power in W over `seconds` of waiting, after a synchronisation."""
        with self.window(sync) as window:
            self.timing.sleep(seconds)
        got = window.reading
        power, sd = (None if x is None else x / got.duration_s for x in (got.energy_j, got.sd_j))
        return Idle(power, sd, got.duration_s, got.ticks, got.reason)

    def close(self) -> None:  # noqa: B027 most sensors hold nothing
        """Let go of the device."""


class Window:
    """One stretch of measured time; made by `Meter.window`."""

    def __init__(self, meter: Meter, sync: Callable[[], None], idle: Idle | None) -> None:
        self._meter = meter
        self._sync = sync
        self._idle = idle or Idle()
        self._state: Any = None
        self._failure: SensorError | None = None
        self._reading: Reading | None = None

    @property
    def reading(self) -> Reading:
        """What was measured; a RuntimeError while the window is open or after it raised."""
        if self._reading is None:
            raise RuntimeError("the window is still open, or the measured code raised")
        return self._reading

    def __enter__(self) -> Window:
        self._before: Any = None
        try:
            self._before = self._meter.prepare()
            self._sync()
            self._state = self._meter.begin()
        except SensorError as error:
            self._failure = error
        self._start = self._meter.timing.clock()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                self._sync()
                self._reading = self._read(self._meter.timing.clock())
        finally:
            if self._reading is None and self._failure is None:
                with suppress(SensorError):  # what is being raised matters more
                    self._meter.abandon(self._state)

    def _read(self, end: int) -> Reading:
        duration = (end - self._start) / 1e9
        extra: tuple[str, ...] = ()
        try:
            if self._failure is not None:
                raise self._failure
            got = self._meter.finish(self._state, self._start, end)
            extra = self._meter.conditions(self._before)
        except SensorError as failure:
            got = Measured(None, reason=" ".join(str(failure).split()))
        warnings = _too_short(got.ticks, duration) + got.warnings + extra
        return Reading(
            **vars(got) | {"warnings": warnings},
            duration_s=duration,
            sensor=self._meter.sensor,
            idle_w=self._idle.power_w,
            idle_sd_w=self._idle.sd_w,
        )


def _too_short(ticks: int | None, seconds: float) -> tuple[str, ...]:
    if ticks is None or (ticks >= FEWEST_TICKS and seconds >= SHORTEST_S):
        return ()
    seen = f"{seconds:.3g} s and {ticks} ticks"
    return (f"{SHORT_WINDOW}: {seen}, below {SHORTEST_S:g} s or {FEWEST_TICKS} ticks",)


class NoMeter(Meter):
    """Where nothing measures: every reading is None with the reason."""

    def __init__(self, reason: str, device: str = "", timing: Timing = REAL) -> None:
        super().__init__(Sensor("none", "none", device, detail=reason), timing)
        self.reason = reason

    def begin(self) -> None:
        """Nothing to read."""

    def finish(self, state: None, start_ns: int, end_ns: int) -> Measured:
        """No joules, with the reason."""
        return Measured(None, reason=self.reason)

    def measure_idle(self, seconds: float, sync: Callable[[], None] = nothing) -> Idle:
        """Unknown, at once."""
        return Idle(reason=self.reason)
