"""The meter interface, the quantiles behind the intervals, the sampling thread, the wattmeter."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from virtual_time import Clock

from cache import InputError
from stages.energy import Meter, NoMeter, Sensor, open_meters
from stages.energy.counter import CounterMeter, PlainCounter, between
from stages.energy.errors import NoPermissionError, SensorError
from stages.energy.manual import ManualMeter, from_terminal, given, parse
from stages.energy.meter import Measured
from stages.energy.sampling import SampledMeter, integrate
from stages.energy.timing import ThreadPoller, measure_tick
from stages.energy.uncertainty import sum_of_many, sum_of_uniforms, truncation

SENSOR = Sensor("simulated", "gpu", "a test", tick_s=0.1)


@pytest.mark.parametrize(("a", "b"), [(1, 0), (1, 1), (3, 1), (1, 20), (5, 0.26), (5, 0.24)])
def test_the_quantile_of_two_uniforms_by_simulation(a, b):
    rng = np.random.default_rng(0)
    draws = np.abs(a * (rng.random(400_000) - 0.5) + b * (rng.random(400_000) - 0.5))
    assert sum_of_uniforms(a, b) == pytest.approx(np.quantile(draws, 0.95), rel=0.01)


def test_the_quantile_of_many_uniforms_and_of_truncation():
    rng = np.random.default_rng(1)
    widths = [4.0, 3.0, 1.0, 1.0, 1.0, 0.5]
    draws = np.abs((rng.random((200_000, 6)) - 0.5) @ widths)
    assert np.mean(draws <= sum_of_many(widths)) == pytest.approx(0.95, abs=0.02)
    assert sum_of_many([]) == 0
    values = rng.random((200_000, 2)) * 1000
    lost = (values - np.floor(values)) @ [1, -1]
    sd, half = truncation(1.0)
    assert lost.std() == pytest.approx(sd, rel=0.01)
    assert np.quantile(np.abs(lost), 0.95) == pytest.approx(half, rel=0.01)


def test_the_counters_arithmetic():
    got = between(100.0, 1100.0, 50.0, 150.0, 10.0, 0.1)
    assert got.energy_j == pytest.approx(1000 + (150 - 50) * 0.05)
    assert got.sd_j == pytest.approx(0.1 * (50**2 + 150**2) ** 0.5 / 12**0.5)
    assert got.ticks == 100
    cut = between(100.0, 1100.0, 50.0, 150.0, 10.0, 0.1, unit_j=5.0)
    assert cut.sd_j > got.sd_j
    assert cut.interval_j[1] - got.interval_j[1] == pytest.approx(truncation(5.0)[1])


def test_a_counter_is_never_zero_joules():
    assert between(7.0, 7.0, 50, 50, 0.01, 0.1).energy_j is None
    assert between(7.0, 7.5, 200, 10, 0.01, 0.1).energy_j is None  # lost in the tick
    with pytest.raises(SensorError, match="went back by 2 J"):
        between(7.0, 5.0, 50, 50, 1.0, 0.1)
    unknown = between(7.0, 8.0, None, None, 1.0, None)
    assert (unknown.energy_j, unknown.interval_j, unknown.sd_j) == (1.0, None, None)
    assert "tick is unknown" in unknown.warnings[0]


def test_sampled_power_interpolates_its_edges():
    def at(seconds, watts):
        return round(seconds * 1e9), watts

    samples = [at(-1, 100), at(1, 120), at(2, 130), at(4, 150)]  # a ramp of 10 W/s from 110
    got = integrate(samples, 0, 3 * 10**9, 1e-9, 1.0)
    assert got.energy_j == pytest.approx(3 * 110 + 10 * 9 / 2)
    assert not got.warnings
    assert "samples are missing: 2 s" in integrate(samples, 0, 3 * 10**9, 1e-9, 0.1).warnings[0]
    flat = [at(0, 100), at(0.05, 100)]
    assert integrate(flat, 0, 50_000_000, 0.1, 0.01).energy_j is None
    assert integrate(flat, 0, 50_000_000, None, 0.01).energy_j is None
    assert integrate(flat[:1], 0, 50_000_000, 0.001, 0.01).energy_j is None
    held = integrate([at(0, 100), at(6, 100)], 0, 6 * 10**9, 0.1, 6.0)
    assert (held.energy_j, held.ticks) == (600, 60)


def test_the_tick_is_measured():
    clock = Clock()
    ticks = measure_tick(lambda: clock() // 37_000_000, clock.timing)
    assert ticks.tick_s == pytest.approx(0.037, abs=0.001)
    still = measure_tick(lambda: 5.0, clock.timing)
    assert (still.tick_s, still.steps) == (None, 0)
    assert measure_tick(lambda: -(clock() // 37_000_000), clock.timing).went_back


class Recorder(Meter):
    """Writes down what happens, in order."""

    def __init__(self, log, timing):
        super().__init__(SENSOR, timing)
        self.log = log

    def prepare(self):
        self.log.append("prepare")

    def begin(self):
        self.log.append("read")

    def finish(self, state, start_ns, end_ns):
        self.log.append("read")
        return Measured(12.0, 1.0, (10.0, 14.0), 60)

    def conditions(self, before):
        self.log.append("conditions")
        return ("flagged",)

    def abandon(self, state):
        self.log.append("abandon")


def test_synchronise_before_read_at_both_ends():
    log, clock = [], Clock()
    with Recorder(log, clock.timing).window(lambda: log.append("sync")) as window:
        log.append("work")
        clock.sleep(6.0)
        with pytest.raises(RuntimeError, match="still open"):
            window.reading  # noqa: B018
    assert log == ["prepare", "sync", "read", "work", "sync", "read", "conditions"]
    assert window.reading.duration_s == 6.0
    assert window.reading.warnings == ("flagged",)
    assert window.reading.above_idle_j is None


@pytest.mark.parametrize("where", ["work", "sync"])
def test_an_exception_in_the_window_stops_the_sensor_and_passes_through(where):
    log = []

    def sync():
        log.append("sync")
        if where == "sync" and log.count("sync") == 2:
            raise OSError(where)

    recorder = Recorder(log, Clock().timing)
    with pytest.raises(OSError, match=where), recorder.window(sync) as window:  # noqa: PT012
        if where == "work":
            raise OSError(where)
    assert log[-1] == "abandon"
    with pytest.raises(RuntimeError):
        window.reading  # noqa: B018


@pytest.mark.parametrize(
    ("seconds", "tick", "short"),
    [(5.0, 0.1, False), (4.9, 0.1, True), (6.0, 0.5, True), (20.0, 1.0, False)],
)
def test_short_windows(seconds, tick, short):
    clock = Clock()
    sensor = Sensor("simulated", "gpu", "a test", tick_s=tick)
    joules = lambda: PlainCounter(lambda: 100 * clock() / 1e9)  # noqa: E731
    meter = CounterMeter(sensor, joules, lambda: 100.0, timing=clock.timing)
    with meter.window() as window:
        clock.sleep(seconds)
    assert window.reading.short is short
    assert window.reading.energy_j == pytest.approx(100 * seconds)


def test_a_read_that_fails_at_the_start_is_a_reason_too():
    clock = Clock()

    def closed():
        raise NoPermissionError("closed:\n see doctor")

    meter = CounterMeter(SENSOR, lambda: PlainCounter(closed), timing=clock.timing)
    with meter.window() as window:
        clock.sleep(1.0)
    assert (window.reading.energy_j, window.reading.reason) == (None, "closed: see doctor")
    assert meter.measure_idle(1.0).power_w is None
    assert meter.measure_idle(1.0).reason == "closed: see doctor"


def test_no_meter_knows_nothing_and_says_why():
    meter = NoMeter("nothing here", "cpu")
    idle = meter.measure_idle(3600.0)
    assert (idle.power_w, idle.reason) == (None, "nothing here")
    with meter.window(idle=idle) as window:
        pass
    reading = window.reading
    assert (reading.energy_j, reading.idle_j, reading.above_idle_j) == (None, None, None)
    assert (reading.reason, reading.sensor.source, reading.short) == ("nothing here", "none", False)


# ---------------------------------------------------------------- the real thread


def test_the_sampling_thread_reads_beside_the_work_and_ends():
    watts = iter(range(10**6))
    meter = SampledMeter(SENSOR, lambda: float(next(watts)), period_s=0.005)
    with meter.window() as window:
        time.sleep(0.1)
    assert window.reading.ticks >= 3
    assert not [each for each in threading.enumerate() if each.name == "energy sampling"]


def test_an_error_in_the_thread_reaches_the_caller():
    values = iter([1.0, 2.0])

    def read():
        value = next(values, None)
        if value is None:
            raise SensorError("gone")
        return value

    poller = ThreadPoller(read, 0.001, time.perf_counter_ns)
    poller.start()
    deadline = time.monotonic() + 10
    while poller._thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.002)
    with pytest.raises(SensorError, match="gone"):
        poller.stop()


# ---------------------------------------------------------------- the wattmeter


@pytest.mark.parametrize(
    ("text", "joules", "step"),
    [
        ("12.34 Wh", 44424, 36),
        ("12,3wh", 44280, 360),
        ("500J", 500, 1),
        ("1.5 kJ", 1500, 100),
        ("0.001kWh", 3600, 3600),
    ],
)
def test_wattmeter_readings(text, joules, step):
    display = parse(text)
    assert display.joules == pytest.approx(joules)
    assert display.step == pytest.approx(step)


@pytest.mark.parametrize("text", ["", "12", "12 W", "watt", "-3 J", "nan J", "1e3 J", "1.2.3 J"])
def test_what_is_no_wattmeter_reading(text):
    with pytest.raises(InputError, match="J, kJ, Wh, kWh"):
        parse(text)


def test_a_wattmeter_in_windows():
    clock, asked = Clock(), []
    answers = iter(["0 Wh", "2.5 Wh", "2.5 Wh", "2.5 Wh"])

    def ask(prompt):
        asked.append(prompt)
        clock.sleep(4.0)
        return next(answers)

    meter = ManualMeter(ask, clock.timing)
    with meter.window() as window:
        clock.sleep(60.0)
    reading = window.reading
    assert reading.energy_j == 9000
    assert reading.interval_j[0] < 9000 < reading.interval_j[1]
    assert reading.warnings == (
        "the wattmeter ran 4 s longer than the window: idle energy is included",
    )
    assert ["before" in prompt for prompt in asked] == [True, False]
    with meter.window() as window:
        clock.sleep(1.0)
    assert window.reading.energy_j is None
    assert "did not change" in window.reading.reason


def test_a_wattmeter_given_as_arguments():
    meter, *rest = open_meters(["cpu"], "manual:10Wh,10.5Wh,10.5Wh,9Wh")
    assert not rest
    with meter.window() as window:
        pass
    assert window.reading.energy_j == pytest.approx(1800)
    with meter.window() as window:
        pass
    assert "went back" in window.reading.reason
    with pytest.raises(InputError, match="used up"), meter.window():
        pass
    assert given("1J")("") == "1J"


def test_nobody_sits_at_the_terminal(monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(InputError, match="manual:BEFORE,AFTER"):
        from_terminal("?")
