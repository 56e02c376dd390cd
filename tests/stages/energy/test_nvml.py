"""Joules from a simulated NVML: against the analytic integral, and every fault to its flag."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path

import numpy as np
import pytest

pynvml = pytest.importorskip("pynvml", reason="needs nvidia-ml-py")

from energy_fakes import (  # noqa: E402
    FakeGpu,
    FakeNvml,
    constant,
    machine,
    ramp,
    sine,
    square,
)
from virtual_time import Clock  # noqa: E402

from cache import InputError  # noqa: E402
from stages.energy import (  # noqa: E402
    NoMeter,
    nvml_library,
    open_meters,
)

ENERGY = Path(nvml_library.__file__).parent
WINDOWS = 200

# Each makes the load that starts with the window from the moment it starts.
CURVES = {
    "constant": lambda now: constant(250.0),
    "ramp": lambda now: ramp(120.0, 30.0, now),
    "sine": lambda now: sine(250.0, 100.0, 3.3),
    "square": lambda now: square(150.0, 350.0, 0.731234),
}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def gpu(clock):
    return FakeGpu(clock)


def meter_for(clock, tmp_path, gpu, prefer=None):
    meter, *host = open_meters(["cuda:0"], prefer, machine(clock, tmp_path, gpu))
    assert not host
    return meter


def windows(meter, clock, gpu, curve, count, seed=3):
    """(reading, true joules) of windows at random phases and of random lengths."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        clock.sleep(0.5 + rng.uniform(0, gpu.tick_s))
        with meter.window() as window:
            start = clock.now_s
            clock.sleep(rng.uniform(0, 0.05))
            gpu.load(curve(clock.now_s))
            clock.sleep(rng.uniform(5.5, 6.5))
            true = gpu.joules(clock.now_s) - gpu.joules(start)
        gpu.load(constant(60.0))
        gpu.segments = gpu.segments[-3:]
        yield window.reading, true


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("source", ["nvml_counter", "nvml_power"])
def test_joules_meet_the_integral_and_the_interval_covers_it(source, curve, clock, gpu, tmp_path):
    meter = meter_for(clock, tmp_path, gpu, source)
    assert (meter.sensor.source, meter.sensor.scope) == (source, "gpu")
    assert meter.sensor.tick_s == pytest.approx(0.1, rel=0.02)

    got = list(windows(meter, clock, gpu, CURVES[curve], WINDOWS))

    covered = np.mean([r.interval_j[0] <= true <= r.interval_j[1] for r, true in got])
    errors = np.array([r.energy_j - true for r, true in got])
    stated = np.array([r.sd_j for r, _ in got])
    assert 0.90 <= covered <= (0.99 if source == "nvml_counter" else 1.0)
    assert abs(errors.mean()) < 3 * stated.mean() / np.sqrt(WINDOWS) + 0.01
    assert 0.4 * stated.mean() < errors.std() < 1.15 * stated.mean()
    assert all(r.ticks >= 50 and not r.short and not r.warnings for r, _ in got)


def test_without_the_lag_correction_the_interval_would_miss(clock, gpu, tmp_path):
    """What the correction is for: E₁ − E₀ alone is low by (P_end − P_start)·tick/2."""
    meter = meter_for(clock, tmp_path, gpu)
    plain = []
    for reading, true in windows(meter, clock, gpu, CURVES["constant"], 50):
        plain.append(reading.energy_j - (250 - 60) * 0.1 / 2 - true)
    assert np.mean(plain) == pytest.approx(-(250 - 60) * 0.1 / 2, rel=0.35)


def test_idle_is_separate(clock, gpu, tmp_path):
    meter = meter_for(clock, tmp_path, gpu)
    idle = meter.measure_idle(10.0)
    assert idle.power_w == pytest.approx(60, abs=0.5)
    with meter.window(idle=idle) as window:
        gpu.load(constant(200.0))
        clock.sleep(10.0)
    reading = window.reading
    assert reading.idle_j == pytest.approx(600, abs=5)
    assert reading.above_idle_j == pytest.approx(1400, abs=15)
    assert reading.above_idle_j == reading.energy_j - reading.idle_j
    assert reading.sd_j > 0


def test_short_windows_are_flagged_and_tickless_ones_unknown(clock, gpu, tmp_path):
    for source in ("nvml_counter", "nvml_power"):
        meter = meter_for(clock, tmp_path, gpu, source)
        clock.sleep(0.1 - (clock.now_s - gpu.phase_s) % 0.1 + 0.001)  # just past a tick
        with meter.window() as window:
            clock.sleep(0.02)
        assert (window.reading.energy_j, window.reading.ticks) == (None, 0)
        assert "measure for longer" in window.reading.reason
        with meter.window() as window:
            clock.sleep(0.85)
        assert window.reading.short
        assert window.reading.energy_j == pytest.approx(51, abs=10)


def test_synchronise_then_read_at_both_ends(clock, gpu, tmp_path):
    fake = FakeNvml(gpu)
    meter, *_ = open_meters(["cuda"], "nvml", machine(clock, tmp_path, module=fake))
    fake.calls.clear()
    with meter.window(lambda: fake.calls.append("sync")):
        clock.sleep(6.0)
        fake.calls.append("work")
    counter = "nvmlDeviceGetTotalEnergyConsumption"
    seen = [call for call in fake.calls if call in ("sync", "work", counter)]
    assert seen == ["sync", counter, "work", "sync", counter]
    for sync in [at for at, call in enumerate(fake.calls) if call == "sync"]:
        assert fake.calls[sync + 1 : sync + 3].count(counter) == 1


# ---------------------------------------------------------------- faults


def lose(code):
    return lambda gpu: gpu.errors.update({"*": code, "instant": code})


MID_WINDOW = {
    "lost": (lose(pynvml.NVML_ERROR_GPU_IS_LOST), "lost"),
    "reset needed": (lose(pynvml.NVML_ERROR_RESET_REQUIRED), "restart"),
    "no permission": (lose(pynvml.NVML_ERROR_NO_PERMISSION), "Permissions"),
    "unknown": (lose(pynvml.NVML_ERROR_UNKNOWN), "Unknown"),
}


@pytest.mark.parametrize("source", ["nvml_counter", "nvml_power"])
@pytest.mark.parametrize("fault", MID_WINDOW)
def test_a_fault_in_the_window_leaves_the_joules_unknown(source, fault, clock, gpu, tmp_path):
    happen, said = MID_WINDOW[fault]
    meter = meter_for(clock, tmp_path, gpu, source)
    with meter.window() as window:
        clock.sleep(6.0)
        happen(gpu)
        clock.sleep(1.0)
    assert window.reading.energy_j is None
    assert said in window.reading.reason
    assert "\n" not in window.reading.reason
    with meter.window() as window:  # and it is still lost at the start of the next one
        clock.sleep(6.0)
    assert window.reading.energy_j is None
    assert not clock.pollers


def test_a_counter_that_goes_back(clock, gpu, tmp_path):
    meter = meter_for(clock, tmp_path, gpu)
    with meter.window() as window:
        clock.sleep(6.0)
        gpu.offset_mj = 0
    assert window.reading.energy_j is None
    assert "went back" in window.reading.reason


@pytest.mark.parametrize("why", ["not supported", "does not advance"])
def test_without_a_living_counter_power_is_integrated(why, clock, gpu, tmp_path):
    if why == "not supported":
        gpu.errors["nvmlDeviceGetTotalEnergyConsumption"] = pynvml.NVML_ERROR_NOT_SUPPORTED
    else:
        gpu.frozen = True
    gpu.load(sine(100, 5, 1.7))
    meter = meter_for(clock, tmp_path, gpu)
    assert meter.sensor.source == "nvml_power"
    with pytest.raises(InputError, match=why if "advance" in why else "(?i)not supported"):
        open_meters(["cuda:0"], "nvml_counter", machine(clock, tmp_path, gpu))


def test_old_drivers_average_power_and_that_is_said(clock, gpu, tmp_path):
    gpu.errors["nvmlDeviceGetTotalEnergyConsumption"] = pynvml.NVML_ERROR_NOT_SUPPORTED
    gpu.errors["instant"] = pynvml.NVML_ERROR_NOT_SUPPORTED
    gpu.load(sine(100, 5, 1.7))
    meter = meter_for(clock, tmp_path, gpu)
    with meter.window() as window:
        clock.sleep(6.0)
    assert "average over 1 s" in " ".join(window.reading.warnings)
    assert window.reading.energy_j == pytest.approx(600, rel=0.02)


def test_nothing_answers(clock, gpu, tmp_path):
    for name in ("nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage", "instant"):
        gpu.errors[name] = pynvml.NVML_ERROR_NO_PERMISSION
    (meter,) = open_meters(["cuda:0"], machine=machine(clock, tmp_path, gpu))
    assert isinstance(meter, NoMeter)
    with meter.window() as window:
        pass
    assert window.reading.energy_j is None
    assert "Insufficient Permissions" in window.reading.reason


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "Driver Not Loaded"),
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "NVML Shared Library Not Found"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "mismatch"),
    ],
)
def test_no_driver(code, said, clock, tmp_path):
    fake = FakeNvml()
    fake.errors["nvmlInit"] = code
    (meter,) = open_meters(["cuda:0"], machine=machine(clock, tmp_path, module=fake))
    assert said in meter.reason
    with pytest.raises(InputError, match=said):
        open_meters(["cuda:0"], "nvml", machine(clock, tmp_path, module=fake))


FLAGS = {
    "MIG": (lambda gpu: setattr(gpu, "mig", True), "MIG: the sensor covers the whole GPU"),
    "another process": (
        lambda gpu: setattr(gpu, "pids", [os.getpid(), 1]),
        "another process on the device, its energy is counted too: pid 1",
    ),
    "throttled now": (lambda gpu: setattr(gpu, "reasons", 0x4 | 0x1), "software power cap"),
    "GH200": (
        lambda gpu: vars(gpu).update(name="NVIDIA GH200 480GB", module_w=0.0),
        "module scope",
    ),
    "module power": (lambda gpu: setattr(gpu, "module_w", 120.0), "module scope"),
}


@pytest.mark.parametrize("flag", FLAGS)
def test_flags(flag, clock, gpu, tmp_path):
    happen, said = FLAGS[flag]
    happen(gpu)
    meter = meter_for(clock, tmp_path, gpu)
    with meter.window() as window:
        clock.sleep(6.0)
    assert window.reading.energy_j > 0
    (warning,) = window.reading.warnings
    assert said in warning
    assert meter.sensor.scope == ("module" if "module" in said else "gpu")


def test_throttling_that_ended_before_the_window_did(clock, gpu, tmp_path):
    meter = meter_for(clock, tmp_path, gpu)
    gpu.violation_ns = 10**9  # before the window: not its business
    with meter.window() as window:
        clock.sleep(6.0)
        gpu.violation_ns += 250_000_000
    assert window.reading.warnings == ("throttled: thermal limit for 0.25 s",)


def test_a_lone_foreign_pid_may_be_this_process_in_a_container(tmp_path):
    from stages.energy.gpu_meters import strangers

    (tmp_path / "77").mkdir()
    assert strangers([4711], own=5, proc=tmp_path) == []
    assert strangers([77], own=5, proc=tmp_path) == [77]
    assert strangers([4711, 4712], own=5, proc=tmp_path) == [4711, 4712]
    assert strangers([4711, 5], own=5, proc=tmp_path) == [4711]


# ---------------------------------------------------------------- which GPU

UUIDS = ["GPU-aaaa1111", "GPU-aaaa2222", "GPU-bbbb3333"]


@pytest.mark.parametrize(
    ("visible", "index", "expected"),
    [
        (None, 1, 1),
        ("2,0", 0, 2),
        ("2,0", 1, 0),
        ("GPU-bb,GPU-aaaa2", 1, 1),
        ("GPU-aaaa,0", 0, None),  # ambiguous prefix: CUDA sees nothing
        ("0,-1,1", 1, None),  # nothing counts after an invalid entry
        ("", 0, None),
        ("MIG-7", 0, 1),
        ("MIG-GPU-bbbb3333/1/0", 0, 2),
        ("0,9", 1, None),
    ],
)
def test_visible_devices(visible, index, expected, clock):
    devices = [FakeGpu(clock, uuid=uuid) for uuid in UUIDS]
    fake = FakeNvml(*devices)
    fake.instances["MIG-7"] = devices[1]
    library = nvml_library.Nvml(fake)
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    found = nvml_library.gpus(library)
    if expected is None:
        with pytest.raises(Exception, match="CUDA_VISIBLE_DEVICES"):
            nvml_library.match(library, index, found, environment)
    else:
        gpu, warnings = nvml_library.match(library, index, found, environment)
        assert (gpu.uuid, warnings) == (UUIDS[expected], ())


def test_torchs_uuid_decides(clock):
    library = nvml_library.Nvml(FakeNvml(*[FakeGpu(clock, uuid=uuid) for uuid in UUIDS]))
    found = nvml_library.gpus(library)
    gpu, _ = nvml_library.match(library, 0, found, {"CUDA_VISIBLE_DEVICES": "1"}, "bbbb3333")
    assert gpu.uuid == UUIDS[2]


def test_unlike_gpus_by_number_are_flagged(clock):
    gpus = [FakeGpu(clock, uuid=UUIDS[0], name="slow"), FakeGpu(clock, uuid=UUIDS[1], name="fast")]
    library = nvml_library.Nvml(FakeNvml(*gpus))
    found = nvml_library.gpus(library)
    assert "PCI_BUS_ID" in nvml_library.match(library, 0, found, {})[1][0]
    assert nvml_library.match(library, 0, found, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"})[1] == ()


def test_a_gpus_name_by_its_number(clock, monkeypatch):
    gpus = [FakeGpu(clock, uuid=UUIDS[0], name="slow"), FakeGpu(clock, uuid=UUIDS[1], name="fast")]
    library = nvml_library.Nvml(FakeNvml(*gpus))
    monkeypatch.setattr(nvml_library, "load", lambda: library)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [nvml_library.gpu_name(index) for index in range(3)] == ["slow", "fast", None]


def test_only_the_gpus_in_use_are_opened(clock, tmp_path):
    gpus = [FakeGpu(clock, uuid=uuid) for uuid in UUIDS]
    gpus[0].errors["*"] = pynvml.NVML_ERROR_GPU_IS_LOST
    environment = {"CUDA_VISIBLE_DEVICES": "2"}
    (meter,) = open_meters(
        ["cuda:0"], machine=machine(clock, tmp_path, *gpus, environment=environment)
    )
    assert meter.sensor.uuid == UUIDS[2]
    (meter,) = open_meters([UUIDS[1]], machine=machine(clock, tmp_path, *gpus))
    assert meter.sensor.uuid == UUIDS[1]


# ---------------------------------------------------------------- the contract with pynvml


def test_every_faked_function_has_the_real_ones_signature():
    faked = {name: method for name, method in vars(FakeNvml).items() if name.startswith("nvml")}
    assert len(faked) > 10
    for name, method in faked.items():
        real = list(inspect.signature(getattr(pynvml, name)).parameters)
        assert list(inspect.signature(method).parameters)[1:] == real, name


def test_every_name_in_use_exists_in_pynvml_and_in_the_fake():
    source = "\n".join(path.read_text() for path in ENERGY.glob("*.py"))
    functions = set(re.findall(r'"(nvml[A-Z]\w+)"', source))
    functions |= {f"nvmlDeviceGet{what}" for what in ("UUID", "Name")}
    constants = set(re.findall(r'"(NVML_\w+)"', source))
    constants |= {f"NVML_POWER_SCOPE_{what}" for what in ("GPU", "MODULE")}
    assert len(functions) > 10
    assert len(constants) > 5
    assert all(hasattr(pynvml, name) for name in functions | constants)
    assert all(hasattr(FakeNvml, name) for name in functions)


def test_error_classes_value_members_and_bits_are_pynvmls():
    from stages.energy.errors import NVML
    from stages.energy.gpu_meters import SLOWED

    assert all(issubclass(getattr(pynvml, name), pynvml.NVMLError) for name in NVML)
    types = ["DOUBLE", "UNSIGNED_INT", "UNSIGNED_LONG", "UNSIGNED_LONG_LONG"]
    types += ["SIGNED_LONG_LONG", "SIGNED_INT", "UNSIGNED_SHORT"]
    assert [getattr(pynvml, f"NVML_VALUE_TYPE_{name}") for name in types] == list(range(7))
    members = [name for name, *_ in pynvml.c_nvmlValue_t._fields_]
    assert set(nvml_library.VALUE_MEMBERS) <= set(members)
    bits = [name for name in vars(pynvml) if name.startswith("nvmlClocksEventReason")]
    slow = ("PowerCap", "Slowdown")
    assert {getattr(pynvml, name) for name in bits if name.endswith(slow)} == set(SLOWED)
