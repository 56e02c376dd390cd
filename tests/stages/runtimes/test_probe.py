"""tools/probe.py: old Pythons can read it, its joules are exact on fixture trees, its CSV imports.

The trees have the layout of real boards; they are no verified hardware.
"""

from __future__ import annotations

import ast
import ctypes
import importlib.util
import itertools
import os
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given, strategies as st
from running import ROOT, cascade

from cache import Store
from stages import costs
from stages.costs.import_csv import COLUMNS

PATH = ROOT / "tools" / "probe.py"


def _load():
    spec = importlib.util.spec_from_file_location("probe", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


probe = _load()


# --- it runs on an old board ---------------------------------------------------------------------


def test_python_3_6_can_parse_it_and_any_locale_print_it():
    source = PATH.read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 6))
    assert source.isascii()


def test_it_imports_nothing_but_the_standard_library_and_torch():
    tree = ast.parse(PATH.read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.split(".")[0])
    assert found - set(sys.stdlib_module_names) == {"torch", "torchvision"}


def test_its_columns_are_those_of_import_costs():
    assert set(probe.COLUMNS) <= set(COLUMNS)
    assert len(set(probe.COLUMNS)) == len(probe.COLUMNS)


# --- boards --------------------------------------------------------------------------------------


def plant(root, files):
    for path, value in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"{value}\n")
    return root


def hwmon(n, chip, rails):
    """Channels from 1 on: (label, mV, mA)."""
    folder = f"sys/class/hwmon/hwmon{n}"
    files = {f"{folder}/name": chip}
    for k, (label, millivolts, milliamperes) in enumerate(rails, start=1):
        files |= {
            f"{folder}/in{k}_label": label,
            f"{folder}/in{k}_input": millivolts,
            f"{folder}/curr{k}_input": milliamperes,
        }
    return files


def iio(address, rails, device=0):
    """Channels from 0 on: (label, mW)."""
    folder = f"sys/bus/i2c/drivers/ina3221x/{address}/iio:device{device}"
    files = {}
    for k, (label, milliwatts) in enumerate(rails):
        files |= {f"{folder}/rail_name_{k}": label, f"{folder}/in_power{k}_input": milliwatts}
    return files


BOARDS = {
    "Nano, JetPack 4": (
        iio("6-0040", [("POM_5V_IN", 4250), ("POM_5V_GPU", 1000), ("POM_5V_CPU", 750)]),
        (4.25, "ina3221", "module", None),
    ),
    "TX2, JetPack 4": (
        iio("0-0040", [("VDD_SYS_GPU", 100), ("VDD_SYS_SOC", 200), ("VDD_4V0_WIFI", 0)])
        | iio("0-0041", [("VDD_IN", 7500), ("VDD_SYS_CPU", 300), ("VDD_SYS_DDR", 400)], 1),
        (7.5, "ina3221", "module", None),
    ),
    "Orin Nano": (
        hwmon(0, "acpitz", [("VDD_IN", 1, 1)])
        | hwmon(3, "ina3221", [("VDD_IN", 5000, 1500), ("VDD_CPU_GPU_CV", 5000, 400)]),
        (7.5, "ina3221", "module", None),
    ),
    "AGX Orin": (
        hwmon(2, "ina3221", [("VDD_GPU_SOC", 20000, 200), ("VDD_CPU_CV", 20000, 50)])
        | hwmon(3, "ina3221", [("NC", 9, 9), ("VIN_SYS_5V0", 5000, 500), ("NC", 9, 9)]),
        (7.5, "ina3221", "rail", "sum of VDD_CPU_CV + VDD_GPU_SOC + VIN_SYS_5V0"),
    ),
    "AGX Thor": (
        hwmon(4, "ina3221", [("VDD_GPU", 20000, 200), ("VDD_CPU", 20000, 50)])
        | {
            "sys/class/hwmon/hwmon5/name": "ina238",
            "sys/class/hwmon/hwmon5/power1_input": 31_250_000,
            "sys/class/hwmon/hwmon5/in1_input": 20000,
        },
        (31.25, "ina238", "module", None),
    ),
}


@pytest.mark.parametrize("board", BOARDS)
def test_watts_of_a_board(tmp_path, board):
    files, expected = BOARDS[board]
    sensor = probe.Rails(str(plant(tmp_path, files)))
    watts, *what = expected
    assert sensor.read() == pytest.approx(watts, rel=1e-12)
    assert [sensor.meter, sensor.scope, sensor.note] == what


def test_a_root_with_pattern_characters(tmp_path):
    sensor = probe.Rails(str(plant(tmp_path / "a[b]*", BOARDS["Orin Nano"][0])))
    assert sensor.read() == pytest.approx(7.5)


# --- windows under a fake clock ------------------------------------------------------------------


class Board:
    """A Nano whose input rail draws `watts(t)` at the time of a clock that the work moves on."""

    def __init__(self, root, watts):
        self.now, self.watts = 0.0, watts
        self.rail = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input"
        self.root = plant(root, iio("6-0040", [("POM_5V_IN", round(1000 * watts(0)))]))
        self.sampler = probe.Sampler(probe.Rails(str(root)), lambda: self.now)
        self.sampler.take()

    def work(self, seconds=0.25):
        self.now += seconds
        (self.root / self.rail).write_text(f"{round(1000 * self.watts(self.now))}\n")
        self.sampler.take()

    def measure(self, seconds=5.0):
        return probe.measure(self.work, seconds, self.sampler, lambda: self.now)


def test_exact_joules_of_a_ramp(tmp_path):
    """∫ 4 + t over [0, 5] s is 32.5 J; 20 batches of 2 images."""
    window = Board(tmp_path, lambda t: 4 + t).measure()
    assert (window.joules, window.seconds, window.ticks) == (
        pytest.approx(32.5, rel=1e-12),
        5.0,
        20,
    )
    assert window.tick_s == 0.25
    row = probe.figures(2, [window], idle_w=1.5)
    assert row["energy_j"] == pytest.approx(32.5 / 40, rel=1e-12)
    assert row["energy_above_idle_j"] == pytest.approx((32.5 - 7.5) / 40, rel=1e-12)
    assert (row["latency_ms"], row["runs"], row["reason"]) == (250.0, 20, None)
    assert (row["energy_low_j"], row["energy_high_j"]) == (None, None)


def test_a_later_window_does_not_count_the_earlier_one(tmp_path):
    board = Board(tmp_path, lambda t: 4 + t)
    board.measure()
    assert board.measure().joules == pytest.approx(4 * 5 + (10**2 - 5**2) / 2, rel=1e-12)


def test_a_slow_sensor_gets_a_longer_window(tmp_path):
    """A change every 0.5 s: the twentieth comes after 10 s."""
    window = Board(tmp_path, lambda t: 4 + (2 * t) // 1).measure()
    assert (window.seconds, window.ticks) == (10.0, probe.FEWEST_TICKS)
    assert window.joules is not None


def test_a_stuck_sensor_is_unknown_not_zero(tmp_path):
    window = Board(tmp_path, lambda t: 4).measure()
    assert (window.joules, window.seconds) == (None, 5.0 * probe.PATIENCE)
    assert window.reason == "the sensor moved 0 times in 20.0 s"
    row = probe.figures(1, [window], idle_w=None)
    assert (row["energy_j"], row["energy_above_idle_j"]) == (None, None)
    assert row["reason"] == window.reason


def test_a_sensor_that_vanishes_spoils_the_window(tmp_path):
    board = Board(tmp_path, lambda t: 4 + t)

    def work():
        board.work()
        if board.now == 2.0:
            (board.root / board.rail).unlink()
            board.sampler.take()

    window = probe.measure(work, 5.0, board.sampler, lambda: board.now)
    assert (window.joules, window.seconds) == (None, 5.0)
    assert "cannot read" in window.reason
    later = board.measure()  # and only that window
    assert later.reason is None
    assert later.joules == pytest.approx(4 * 5 + (10**2 - 5**2) / 2, rel=1e-12)


POINTS = st.lists(
    st.tuples(st.integers(0, 1000), st.integers(1, 60_000)), min_size=1, max_size=20,
    unique_by=lambda point: point[0],
)  # fmt: skip


@given(POINTS, st.integers(-100, 1000), st.integers(1, 500))
def test_integral_against_numpy(points, start, length):
    times, watts = (np.array(column, float) for column in zip(*sorted(points), strict=True))
    end = start + length
    grid = np.union1d([start, end], times[(times > start) & (times < end)])
    values = np.interp(grid, times, watts)
    expected = np.sum(np.diff(grid) * (values[1:] + values[:-1]) / 2)
    samples = list(zip(times, watts, strict=True))
    assert probe.integrate(samples, start, end) == pytest.approx(expected, rel=1e-9)


# --- NVML ----------------------------------------------------------------------------------------

NOT_SUPPORTED, INVALID = 3, 2
ADDRESS = b"0000:65:00.0"


class FakeDriver:
    """libcuda and libnvidia-ml at the function boundary: 50 W, a counter in mJ with a tick."""

    def __init__(self, tick_s=0.1, counter=True, mig=None, watts=50.0):
        self.now, self.tick_s, self.counter, self.mig, self.watts = (
            0.03,
            tick_s,
            counter,
            mig,
            watts,
        )

    def __call__(self, name):
        assert name in ("libcuda.so.1", "libnvidia-ml.so.1")
        return self

    def sleep(self, seconds):
        self.now += seconds

    def cuInit(self, flags):  # noqa: N802
        return flags

    def cuDeviceGet(self, device, ordinal):  # noqa: N802
        device._obj.value = ordinal
        return 0

    def cuDeviceGetPCIBusId(self, address, length, device):  # noqa: N802
        assert length == ctypes.sizeof(address)
        address.value = ADDRESS
        return 0

    def nvmlInit_v2(self):  # noqa: N802
        return 0

    def nvmlDeviceGetHandleByPciBusId_v2(self, address, handle):  # noqa: N802
        handle._obj.value = 7
        return 0 if address.value == ADDRESS else INVALID

    def nvmlDeviceGetMigMode(self, handle, now, pending):  # noqa: N802
        if self.mig is None:
            return NOT_SUPPORTED
        now._obj.value = self.mig
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle, value):  # noqa: N802
        if not self.counter:
            return NOT_SUPPORTED
        ticks = self.now // self.tick_s if self.tick_s else 0
        value._obj.value = 10**9 + int(1000 * self.watts * ticks * self.tick_s)
        return 0

    def nvmlDeviceGetPowerUsage(self, handle, value):  # noqa: N802
        value._obj.value = round(1000 * (self.watts + self.now))
        return 0


def test_energy_counter():
    driver = FakeDriver()
    sensor = probe.Nvml(0, driver, driver.sleep)
    assert (sensor.meter, sensor.counts, sensor.note) == ("nvml_counter", True, None)
    sampler = probe.Sampler(sensor, lambda: driver.now)

    def work():
        for _ in range(5):
            driver.sleep(0.004)
            sampler.take()

    window = probe.measure(work, 5.0, sampler, lambda: driver.now)
    # Edges of ticks are seen up to one poll of 4 ms late.
    assert window.joules == pytest.approx(50 * window.seconds, rel=2 * 0.004 / window.seconds)
    assert window.tick_s == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize("driver", [FakeDriver(tick_s=0.0), FakeDriver(counter=False)])
def test_a_counter_that_stands_or_is_missing_gives_way_to_power(driver):
    sensor = probe.Nvml(0, driver, driver.sleep)
    assert (sensor.meter, sensor.counts) == ("nvml_power", False)
    start = driver.now
    sampler = probe.Sampler(sensor, lambda: driver.now)
    sampler.take()

    def work():
        driver.sleep(0.25)
        sampler.take()

    window = probe.measure(work, 5.0, sampler, lambda: driver.now)
    end = driver.now
    assert window.joules == pytest.approx(50 * (end - start) + (end**2 - start**2) / 2, rel=1e-4)


def test_a_counter_that_goes_back():
    driver = FakeDriver()
    sampler = probe.Sampler(probe.Nvml(0, driver, driver.sleep), lambda: driver.now)

    def work():
        driver.sleep(0.1)
        driver.watts = 50.0 if driver.now < 3 else 1.0
        sampler.take()

    window = probe.measure(work, 5.0, sampler, lambda: driver.now)
    assert (window.joules, window.reason) == (None, "the energy counter went back")


def test_mig_and_missing_libraries_are_reasons():
    with pytest.raises(probe.SensorError, match="MIG"):
        probe.Nvml(0, FakeDriver(mig=1))
    driver = FakeDriver(mig=0)
    assert probe.Nvml(0, driver, driver.sleep).counts

    def absent(name):
        raise OSError(f"{name}: cannot open shared object file")

    with pytest.raises(probe.SensorError, match=r"no NVML.*libcuda"):
        probe.Nvml(0, absent)


def test_the_faked_functions_are_nvml_s_own():
    pynvml = pytest.importorskip("pynvml")
    names = {name for name in vars(FakeDriver) if name.startswith("nvml")}
    names.remove("nvmlInit_v2")  # pynvml takes a newer one
    with open(pynvml.__file__, encoding="utf-8") as file:
        source = file.read()
    assert {name for name in names if f'"{name}"' in source} == names
    assert pynvml.NVML_ERROR_NOT_SUPPORTED == NOT_SUPPORTED


# --- figures -------------------------------------------------------------------------------------


@given(
    st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=40), st.sampled_from([0, 50, 95, 99, 100])
)
def test_statistics_against_numpy(values, percent):
    expected = np.percentile(values, percent)
    assert probe.percentile(sorted(values), percent) == pytest.approx(expected, rel=1e-9)
    assert probe.deviation(values) == pytest.approx(np.std(values, ddof=1), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("n", [2, 3, 5, 11, 12, 30, 1000])
def test_interval_against_scipy(n):
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(n).normal(5, 1, n).tolist()
    mean, half = probe.mean_interval(values)
    low, high = stats.t.interval(0.95, n - 1, np.mean(values), stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high), rel=1e-3)


# --- the whole program ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A TorchScript file: 1×8×8 to 4 logits."""
    torch = pytest.importorskip("torch")
    path = tmp_path_factory.mktemp("models") / "tiny.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates TorchScript
        module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4))
        torch.jit.save(torch.jit.trace(module.eval(), torch.zeros(1, 1, 8, 8)), str(path))
    return path


SMALL = ("--input", "1x8x8", "--device", "cpu")


def imported(tmp_path, models):
    where = ("--cache", tmp_path / "cache", "--dataset", "toy")
    assert cascade("import-costs", tmp_path / "costs.csv", *where).status == 0
    return costs.read(Store(tmp_path / "cache"), "toy", models)


def test_on_this_machine_and_into_the_cache(tmp_path, tiny):
    """As on a board: a bare interpreter, started elsewhere. No tree, so no joules."""
    options = (*SMALL, "--batch-sizes", "4,1", "--seconds", "0.02", "--root", tmp_path)
    command = [sys.executable, PATH, "--torchscript", tiny, f"other={tiny}", *options]
    bare = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    ran = subprocess.run(
        list(map(str, command)), cwd=tmp_path, env=bare, capture_output=True, text=True, timeout=120
    )
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
    assert all(line.startswith("probe: ") for line in ran.stderr.splitlines()), ran.stderr
    for rows in imported(tmp_path, ("tiny", "other")).values():
        assert [row.batch_size for row in rows] == [1, 4]
        for row in rows:
            assert (row.runtime, row.meter, row.parameters) == (
                "torch-fp32-cpu",
                "none",
                260,
            )
            assert (row.energy_j, row.idle_w, row.ticks) == (None, None, None)
            assert row.reason == "no sensor: no INA3221 or INA238"
            assert 0 < row.latency_p50_ms <= row.latency_p99_ms
            assert row.window_s >= 0.02
            assert 0 < row.runs * row.latency_ms / 1e3 <= 3 * row.window_s


def test_with_a_board_s_sensor_in_real_time(tmp_path, tiny, monkeypatch):
    """The rail jumps between 4 and 6 W, so a window's mean power must lie between them."""
    for name, value in {"SENSOR_WINDOW_S": 0.3, "SETTLE_S": 0.01, "POLL_S": 0.002}.items():
        monkeypatch.setattr(probe, name, value)
    root = plant(tmp_path / "board", iio("6-0040", [("POM_5V_IN", 4000)]))
    plant(root, {"proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0"})
    rail = root / "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input"
    done = threading.Event()

    def toggle():
        for milliwatts in itertools.cycle((6000, 4000)):
            if done.wait(0.004):
                return
            (root / "next").write_text(f"{milliwatts}\n")
            os.replace(root / "next", rail)

    thread = threading.Thread(target=toggle)
    thread.start()
    options = ["--torchscript", tiny, *SMALL, "--batch-sizes", 2, "--windows", 1, "--root", root]
    try:
        assert probe.main([str(each) for each in [*options, "--out", tmp_path / "costs.csv"]]) == 0
    finally:
        done.set()
        thread.join()
    (row,) = imported(tmp_path, ["tiny"])["tiny"]
    assert row.device.startswith("NVIDIA Jetson Nano Developer Kit, cpu")
    assert (row.meter, row.scope, row.windows) == ("ina3221", "module", 1)
    assert row.reason is None
    assert row.ticks >= probe.FEWEST_TICKS
    assert 4 <= row.idle_w <= 6
    assert 4 <= row.energy_j * 2 * row.runs / row.window_s <= 6


BAD = [
    ([], "nothing to measure"),
    (["--torchscript", "absent.pt"], "no file absent.pt"),
    (["--torchscript", "{tiny}", "--input", "3x"], "'' is no whole number"),
    (["--torchscript", "{tiny}", "--batch-sizes", "0"], "'0' is no whole number"),
    (["--torchscript", "{tiny}", "--seconds", "inf"], "'inf' is no positive number"),
    (["--torchscript", "{tiny}", "{tiny}"], "each model needs a name of its own"),
    (["--torchscript", "{tiny}", "--out", "."], "cannot write ."),
    (["--torchscript", "{tiny}", "--out", "absent/costs.csv"], "cannot write absent/costs.csv"),
    (["--torchscript", "{tiny}", "--device", "teapot"], "unknown --device 'teapot'"),
    (["--torchscript", "{tiny}", "--device", "meta"], "--device meta is not measured here"),
    (
        ["--torchscript", "{tiny}", "--device", "cpu", "--input", "1x9x9"],
        "tiny fails on a batch of 1",
    ),
    (["--torchscript", "{text}", "--device", "cpu"], "give what torch.jit.save wrote"),
    (["--models", "resnet19", "--device", "cpu"], "torchvision has no model 'resnet19'"),
    (["--models", "list_models", "--device", "cpu"], "torchvision has no model 'list_models'"),
    (["--bogus"], "unrecognized arguments: --bogus"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD)
def test_a_wrong_request_is_one_line(tmp_path, tiny, monkeypatch, capsys, arguments, words):
    pytest.importorskip("torchvision")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.pt").write_text("no zip")
    filled = [each.format(tiny=tiny, text=tmp_path / "text.pt") for each in arguments]
    assert probe.main([*filled, *([] if "--root" in filled else ["--root", str(tmp_path)])]) == 2
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if "sensor" not in line]
    assert (out, len(lines)) == ("", 1)
    assert words in lines[0]
    assert not (tmp_path / "costs.csv").exists()


def test_without_torch(tmp_path, tiny, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert probe.main(["--torchscript", str(tiny), "--out", str(tmp_path / "costs.csv")]) == 2
    assert "no torch for" in capsys.readouterr().err


@pytest.mark.parametrize(
    "message",
    [
        "the cause\nThe above operation failed in interpreter.\nTraceback\n  return x",  # torch 1.4
        "the cause\nframe #0: c10::Error + 0x47\nframe #1: main",
        "The following operation failed in the TorchScript interpreter.\nTraceback\n\nthe cause\n",
    ],
)
def test_the_cause_is_found_in_torch_s_message(message):
    assert probe._line(RuntimeError(message)) == "the cause"


def test_batches_beyond_memory_are_left_out(capsys):
    torch = pytest.importorskip("torch")

    def make_work(size):
        def work():
            if size > 2:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

        return work

    found = probe.preflight(torch, "big", make_work, [1, 2, 4, 8], torch.device("cpu"))
    assert list(found) == [1, 2]
    assert "big: batch 4 and above left out" in capsys.readouterr().err
