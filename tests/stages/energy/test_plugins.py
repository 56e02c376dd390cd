"""Sensors that an installed package adds: by name, by themselves, and when they fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from energy_fakes import FakeGpu, constant, machine
from plugged import installed
from running import cascade
from virtual_time import Clock

from cache import InputError
from stages.energy import Idle, Meter, NoMeter, Sensor, SensorKind, open_meters, opening, survey
from stages.energy.meter import Measured

ROOT = Path(__file__).parents[3]
ENTRIES = {"cascade.sensors": {"plug": "plug:ADDED"}}
# Plugs at 50 W: one counts joules in ticks of 0.1 s, one shows power that wobbles around it.
PLUGS = """
from stages.energy import Sensor, SensorKind, SensorMissingError, counted, sampled

CPU_ONLY = {cpu_only}


def ticks(machine):
    return machine.timing.clock() // 10**8


def check(device):
    if CPU_ONLY and device != "cpu":
        raise SensorMissingError(f"plugs measure the cpu, not {{device}}")


def count(device, machine):
    check(device)
    sensor = Sensor("plug", "{scope}", device)
    return counted(lambda: ticks(machine) * 5.0, sensor, machine)


def show(device, machine):
    check(device)
    sensor = Sensor("dial", "{scope}", device)
    return sampled(lambda: 49.0 + 2 * (ticks(machine) % 2), sensor, machine)


ADDED = [SensorKind("plug", count), SensorKind("dial", show)]
"""
PLUG = PLUGS.format(cpu_only=False, scope="system")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def add(tmp_path):
    def add(code=PLUG):
        return installed(tmp_path, {"plug": code}, ENTRIES, "smart-plug")

    return add


@pytest.mark.parametrize("name", ["plug", "dial"])
def test_joules_come_with_their_interval(add, clock, tmp_path, name):
    with add():
        [meter] = open_meters(["cpu"], name, machine(clock, tmp_path))
    assert (meter.sensor.source, meter.sensor.scope) == (name, "system")
    assert meter.sensor.tick_s == pytest.approx(0.1, rel=0.05)
    idle = meter.measure_idle(5.0)
    assert idle.power_w == pytest.approx(50, rel=0.03)
    with meter.window(idle=idle) as window:
        clock.sleep(10.0)
    reading = window.reading
    low, high = reading.interval_j
    assert low <= 500 <= high
    assert 0 < high - low < 20
    assert reading.sensor == meter.sensor
    assert reading.ticks >= 95


def test_each_device_asked_about_gets_a_meter(add, clock, tmp_path):
    with add():
        meters = open_meters(["cuda:0", "cuda:1"], "plug", machine(clock, tmp_path))
        assert [meter.sensor.device for meter in meters] == ["cuda:0", "cuda:1"]
        for meter in meters:
            meter.close()


def test_unasked_it_stands_in_where_nothing_built_in_measures(add, clock, tmp_path):
    with add():
        (blind,) = open_meters(["cpu"], machine=machine(clock, tmp_path))
        assert blind.sensor.source == "plug"  # the first that the package gives
    (nothing,) = open_meters(["cpu"], machine=machine(clock, tmp_path))
    assert isinstance(nothing, NoMeter)


def test_unasked_it_takes_nothing_from_a_sensor_that_is_built_in(add, clock, tmp_path):
    gpu = FakeGpu(clock)
    gpu.load(constant(100.0))
    with add("raise RuntimeError('imported')"):
        (meter,) = open_meters(["cuda:0"], machine=machine(clock, tmp_path, gpu))
    assert meter.sensor.source == "nvml_counter"


class Host(Meter):
    """The host's own sensor."""

    def begin(self):
        return None

    def finish(self, state, start_ns, end_ns):
        return Measured(1.0)


@pytest.mark.parametrize(("scope", "expected"), [("system", ["plug"]), ("gpu", ["plug", "rapl"])])
def test_the_hosts_sensor_is_opened_beside_what_does_not_cover_it(
    add, clock, tmp_path, monkeypatch, scope, expected
):
    host = Host(Sensor("rapl", "package", "host"), clock.timing)
    kind = SensorKind("host", lambda device, machine: host)
    monkeypatch.setattr(opening, "HOST", {"host": kind})
    with add(PLUGS.format(cpu_only=False, scope=scope)):
        meters = open_meters(["xpu:0"], machine=machine(clock, tmp_path))
    assert [meter.sensor.source for meter in meters] == expected


def test_a_device_that_it_does_not_measure_has_its_reason(add, clock, tmp_path):
    with add(PLUGS.format(cpu_only=True, scope="system")):
        (meter,) = open_meters(["xpu:0"], machine=machine(clock, tmp_path))
        assert isinstance(meter, NoMeter)
        assert "no such sensor for xpu:0" in meter.reason
        assert "plug: plugs measure the cpu, not xpu:0" in meter.reason
        with pytest.raises(InputError, match="no meter 'plug': plugs measure the cpu, not xpu:0"):
            open_meters(["xpu:0"], "plug", machine(clock, tmp_path))


def test_an_unknown_name_lists_them(add, clock, tmp_path):
    with add(), pytest.raises(InputError, match="unknown meter 'plugg': did you mean 'plug'"):
        open_meters(["cpu"], "plugg", machine(clock, tmp_path))
    with pytest.raises(InputError, match="unknown meter 'plug': choose from nvml"):
        open_meters(["cpu"], "plug", machine(clock, tmp_path))


def test_a_counter_that_rests_is_none(add, clock, tmp_path):
    code = PLUG.replace("ticks(machine) * 5.0", "7.0")
    with (
        add(code),
        pytest.raises(InputError, match="counter of plug answers but does not advance"),
    ):
        open_meters(["cpu"], "plug", machine(clock, tmp_path))


@pytest.mark.parametrize("name", ["plug", "dial"])
def test_what_a_reading_raises_makes_the_joules_unknown(add, clock, tmp_path, name):
    """Also in the thread that samples."""
    broken = PLUG.replace(
        "    return machine.timing.clock()",
        "    if machine.environment:\n        float('n/a')\n    return machine.timing.clock()",
    )
    here = machine(clock, tmp_path, environment={})
    with add(broken):
        [meter] = open_meters(["cpu"], name, here)
        with meter.window(idle=Idle(1.0, 0.1, 5.0, 50)) as window:
            clock.sleep(5.0)
            here.environment["unplugged"] = "yes"
            if name == "plug":
                clock.sleep(1.0)
    assert window.reading.energy_j is None
    reason = window.reading.reason
    assert reason.startswith(f"package smart-plug, sensor {name}: ValueError: could not convert")
    assert "\n" not in reason


def test_a_real_thread_passes_the_error_on(add, tmp_path):
    from stages.energy.timing import ThreadPoller

    reads = iter([1.0, 2.0])
    poller = ThreadPoller(lambda: next(reads), 0.001, Clock())
    poller.start()
    poller._thread.join(5)
    with pytest.raises(StopIteration):
        poller.stop()


BROKEN = {
    "raises": ("def odd(*_):\n    raise OSError('a\\nb')", "its sensor odd fails, OSError: a b"),
    "no meter": ("def odd(*_):\n    return 3", "its sensor odd opens as a int, not as a Meter"),
    "not there": ("ADDED = 1 / 0\n#", "ZeroDivisionError: division by zero"),
    "another kind": ("odd = None\nADDED = ['odd']\n#", "it gives a str, not a SensorKind"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_package_that_fails_is_named_where_it_is_asked(add, clock, tmp_path, case):
    body, message = BROKEN[case]
    code = f"from stages.energy import SensorKind\n{body}\n"
    code += "" if body.endswith("#") else "ADDED = [SensorKind('odd', odd)]\n"
    with add(code):
        with pytest.raises(InputError) as asked:
            open_meters(["cpu"], "odd", machine(clock, tmp_path))
        (meter,) = open_meters(["cpu"], machine=machine(clock, tmp_path))
        seen = survey(machine(clock, tmp_path), idle_s=0)
    for text in (str(asked.value), meter.reason, *(p.what for p in seen.problems[-2:-1])):
        assert "package smart-plug" in text
        assert message in text
        assert "\n" not in text
    assert isinstance(meter, NoMeter)


@pytest.mark.parametrize("name", ["rapl", "none", "nvml_power", "plug"])
def test_a_name_that_is_taken_is_refused(add, clock, tmp_path, name):
    code = PLUG.replace('SensorKind("dial"', f'SensorKind("{name}"')
    with add(code), pytest.raises(InputError, match=f"adds the sensor {name}, which is taken"):
        open_meters(["cpu"], "dial", machine(clock, tmp_path))


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a,b", 3, ["a"]])
def test_a_name_that_no_option_could_carry_is_refused(add, clock, tmp_path, name):
    code = PLUG.replace('SensorKind("dial"', f"SensorKind({name!r}")
    with add(code), pytest.raises(InputError, match="package smart-plug: its sensor's name"):
        open_meters(["cpu"], "dial", machine(clock, tmp_path))


def test_the_doctor_lists_them_with_what_they_say(add, clock, tmp_path):
    with add(
        PLUG.replace('SensorKind("plug", count)', 'SensorKind("plug", missing)').replace(
            "def show", "def missing(*_):\n    raise SensorMissingError('no plug')\n\n\ndef show"
        )
    ):
        seen = survey(machine(clock, tmp_path))
    assert [(each.name, each.package, each.reason) for each in seen.sensors] == [
        ("plug", "smart-plug", "no plug"),
        ("dial", "smart-plug", None),
    ]
    [row] = [row for row in seen.meters if row.source == "dial"]
    assert row.idle_w == pytest.approx(50, rel=0.03)
    problems = {each.what: each.fix for each in seen.problems}
    assert "smart-plug" in problems["sensor plug: no plug"]
    assert not [what for what in problems if "no energy sensor" in what]


def test_the_command_shows_them(add):
    with add(
        "from stages.energy import *\ndef no(*_):\n    raise SensorMissingError('not plugged in')"
        "\nADDED = [SensorKind('plug', no)]\n"
    ):
        shown = cascade("doctor", "--idle", 0)
    assert shown.status == 0
    assert "sensor    plug of smart-plug: not plugged in" in shown.out
    assert "missing: sensor plug: not plugged in" in shown.out


def test_energy_needs_no_torch():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'pynvml', 'PIL']))\n"
        "from stages.energy import open_meters; print(open_meters(['cpu'], 'none')[0].reason)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "energy was not to be measured\n", done.stderr
