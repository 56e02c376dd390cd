"""RAPL and Jetson sensors on real temporary trees: powercap, hwmon, iio."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from virtual_time import Clock

from cache import InputError
from stages.energy import Machine, SensorMissingError, open_meters
from stages.energy.jetson import board, chosen, open_jetson, power_mode, rails, release
from stages.energy.rapl import Zone, open_rapl, poll_period, step, survey_rapl, zones

RANGE_UJ = 262_143_328_850  # of a real package
DRAM_RANGE_UJ = 65_712_999_613


# ---------------------------------------------------------------- powercap


ZONES = {
    "intel-rapl:0": ("package-0", 50.0),
    "intel-rapl:0:0": ("core", 30.0),
    "intel-rapl:0:1": ("dram", 5.0),
    "intel-rapl:1": ("package-1", 70.0),
    "intel-rapl:1:0": ("dram", 7.0),
    "intel-rapl:2": ("psys", 200.0),
    "intel-rapl-mmio:0": ("package-0", 50.0),
}


class Powercap:
    """A powercap tree whose counters follow a clock; zones: folder → (name, W)."""

    def __init__(self, root, clock, zones=None, start_uj=1_000_000, tick_s=0.001):
        self.tree = root / "sys/class/powercap"
        self.clock, self.tick_s = clock, tick_s
        self.zones = zones or ZONES
        self.start = dict.fromkeys(self.zones, start_uj)
        self.origin = clock.now_s
        (self.tree / "intel-rapl").mkdir(parents=True)
        for folder, (name, _) in self.zones.items():
            zone = self.tree / folder
            zone.mkdir()
            (zone / "name").write_text(f"{name}\n")
            (zone / "max_energy_range_uj").write_text(f"{self.range_uj(folder)}\n")
        self.write()

    def range_uj(self, folder):
        return DRAM_RANGE_UJ if self.zones[folder][0] == "dram" else RANGE_UJ

    def value(self, folder):
        passed = (self.clock.now_s - self.origin) // self.tick_s * self.tick_s
        joules = passed * self.zones[folder][1]
        return int(self.start[folder] + joules * 1e6) % self.range_uj(folder)

    def write(self):
        for folder in self.zones:
            path = self.tree / folder / "energy_uj"
            if path.parent.exists():
                path.write_text(f"{self.value(folder)}\n")

    def follow(self, monkeypatch):
        """Write the counters whenever one of them is read."""
        real = Path.read_text

        def read_text(path, *args, **kwargs):
            if path.name == "energy_uj" and path.exists():
                folder = path.parent.name
                path.write_text(f"{self.value(folder)}\n")
            return real(path, *args, **kwargs)

        monkeypatch.setattr(Path, "read_text", read_text)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def powercap(tmp_path, clock, monkeypatch):
    tree = Powercap(tmp_path, clock)
    tree.follow(monkeypatch)
    return tree


def test_two_sockets_with_psys(powercap, clock):
    meter = open_rapl(powercap.tree, clock.timing)
    assert [zone.name for zone in zones(powercap.tree)] == [
        "package-0",
        "core",
        "dram",
        "package-1",
        "dram",
        "psys",
    ]
    assert meter.sensor.tick_s == pytest.approx(0.001, rel=0.3)
    assert meter.sensor.detail == ("adds package-0, dram, package-1, dram; not added: core, psys")
    with meter.window() as window:
        clock.sleep(60.0)
    reading = window.reading
    assert reading.energy_j == pytest.approx(60 * (50 + 5 + 70 + 7), abs=0.3)
    assert reading.interval_j[0] <= 60 * 132 <= reading.interval_j[1]
    assert (reading.sensor.source, reading.sensor.scope) == ("rapl", "package")
    assert not clock.pollers


def test_a_wrap_is_no_loss(powercap, clock):
    powercap.start = {folder: powercap.range_uj(folder) - 10_000_000 for folder in powercap.zones}
    meter = open_rapl(powercap.tree, clock.timing)
    with meter.window() as window:
        clock.sleep(6.0)
    assert powercap.value("intel-rapl:0") < powercap.start["intel-rapl:0"]
    assert window.reading.energy_j == pytest.approx(6 * 132, abs=0.3)


def test_many_wraps_in_one_window(tmp_path, clock, monkeypatch):
    tree = Powercap(tmp_path, clock, {"intel-rapl:0": ("dram", 1000.0)})
    tree.follow(monkeypatch)
    meter = open_rapl(tree.tree, clock.timing)
    with meter.window() as window:
        clock.sleep(400.0)
    assert 5 * DRAM_RANGE_UJ < 400 * 1000e6
    assert window.reading.energy_j == pytest.approx(400_000, rel=1e-5)


def test_polling_is_quicker_than_any_wrap(powercap):
    watched = zones(powercap.tree)
    assert poll_period(watched) <= min(zone.range_j for zone in watched) / 2000 / 2


def test_a_reset_is_no_wrap(powercap, clock):
    powercap.start = dict.fromkeys(powercap.zones, 30_000_000_000)
    meter = open_rapl(powercap.tree, clock.timing)
    with meter.window() as window:
        clock.sleep(6.0)
        powercap.start = dict.fromkeys(powercap.zones, 0)
    assert window.reading.energy_j is None
    assert "was reset" in window.reading.reason


def test_a_reset_seen_only_by_the_polling_thread(powercap, clock):
    powercap.start = dict.fromkeys(powercap.zones, 30_000_000_000)
    meter = open_rapl(powercap.tree, clock.timing)
    with meter.window() as window:
        powercap.start = dict.fromkeys(powercap.zones, 0)
        clock.sleep(12.0)
        powercap.start = dict.fromkeys(powercap.zones, 31_000_000_000)
        clock.sleep(3.0)
    assert window.reading.energy_j is None


def test_a_vanished_file_invalidates(powercap, clock):
    meter = open_rapl(powercap.tree, clock.timing)
    with meter.window() as window:
        clock.sleep(6.0)
        (powercap.tree / "intel-rapl:1/energy_uj").unlink()
    assert window.reading.energy_j is None
    assert "cannot read" in window.reading.reason
    assert not clock.pollers


def test_garbage_invalidates(tmp_path, clock):
    powercap = Powercap(tmp_path, clock)
    Zone(powercap.tree / "intel-rapl:0", "package-0", 1.0).read()
    (powercap.tree / "intel-rapl:0/energy_uj").write_text("")
    with pytest.raises(Exception, match="not a number"):
        Zone(powercap.tree / "intel-rapl:0", "package-0", 1.0).read()


def test_no_permission_names_the_remedy(powercap, clock, monkeypatch):
    real = Path.read_text

    def denied(path, *args, **kwargs):  # root may read everything, so chmod would not do
        if path.name == "energy_uj":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", denied)
    machine = Machine(powercap.tree.parents[2], timing=clock.timing)
    (meter,) = open_meters(["cpu"], machine=machine)
    remedy = "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"
    assert remedy in meter.reason
    assert "until reboot" in meter.reason
    assert "udev" in meter.reason
    with pytest.raises(InputError, match="chmod"):
        open_meters(["cpu"], "rapl", machine)
    rows = survey_rapl(powercap.tree)
    assert all(row.denied and not row.readable for row in rows)


def test_a_starved_poller_is_an_error_not_a_guess():
    zone = Zone(Path("x"), "package-0", 100.0)
    with pytest.raises(Exception, match="may have wrapped twice"):
        step(zone, 10.0, 20.0, 1.0)
    assert step(zone, 90.0, 5.0, 0.04) == 15.0


def test_a_counter_that_stands_still(tmp_path, clock):
    powercap = Powercap(tmp_path, clock)  # nobody rewrites the files
    with pytest.raises(SensorMissingError, match="does not advance"):
        open_rapl(powercap.tree, clock.timing)


def test_no_powercap(tmp_path, clock):
    with pytest.raises(SensorMissingError, match="virtual machine"):
        open_rapl(tmp_path, clock.timing)


# ---------------------------------------------------------------- Jetson
# Layout fixtures: rails as documented or reported (docs/energy.md), not verified on hardware.


def hwmon(root, number, channels, name="ina3221"):
    """An hwmon chip: channel → (label, mV, mA)."""
    chip = root / f"sys/class/hwmon/hwmon{number}"
    chip.mkdir(parents=True)
    (chip / "name").write_text(f"{name}\n")
    for channel, (label, millivolts, milliamperes) in channels.items():
        (chip / f"in{channel}_label").write_text(f"{label}\n")
        (chip / f"in{channel}_input").write_text(f"{millivolts}\n")
        (chip / f"curr{channel}_input").write_text(f"{milliamperes}\n")
    return chip


def iio(root, address, number, channels):
    """NVIDIA's older driver: channel → (rail, mW)."""
    chip = root / f"sys/bus/i2c/drivers/ina3221x/{address}/iio:device{number}"
    chip.mkdir(parents=True)
    for channel, (label, milliwatts) in channels.items():
        (chip / f"rail_name_{channel}").write_text(f"{label}\n")
        (chip / f"in_power{channel}_input").write_text(f"{milliwatts}\n")


def nano(root):
    rows = {0: ("POM_5V_IN", 4000), 1: ("POM_5V_GPU", 900), 2: ("POM_5V_CPU", 1100)}
    iio(root, "6-0040", 0, rows)


def tx2(root):
    iio(root, "0-0040", 0, {0: ("VDD_SYS_GPU", 153), 1: ("VDD_SYS_SOC", 306)})
    rows = {0: ("VDD_IN", 1649), 1: ("VDD_SYS_CPU", 306), 2: ("VDD_SYS_DDR", 173)}
    iio(root, "0-0041", 1, rows)


def orin_nx(root):
    rails = {1: ("VDD_IN", 5000, 1300), 2: ("VDD_CPU_GPU_CV", 5000, 400), 3: ("VDD_SOC", 5000, 300)}
    chip = hwmon(root, 1, rails)
    (chip / "in7_label").write_text("Sum of shunt voltages\n")
    (chip / "in7_input").write_text("10\n")


def agx_xavier(root):
    hwmon(root, 3, {1: ("GPU", 19000, 100), 2: ("CPU", 19000, 50), 3: ("SOC", 19000, 60)})
    hwmon(root, 4, {1: ("CV", 19000, 0), 2: ("VDDRQ", 19000, 20), 3: ("SYS5V", 5000, 400)})


def agx_orin(root):
    rails = {1: ("VDD_GPU_SOC", 19000, 100), 2: ("VDD_CPU_CV", 19000, 50)}
    hwmon(root, 3, rails | {3: ("VIN_SYS_5V0", 5000, 800)})
    hwmon(root, 4, {1: ("NC", 0, 0), 2: ("VDDQ_VDD2_1V8AO", 5000, 200)})


def thor(root):
    chip = hwmon(root, 0, {}, "ina238")
    (chip / "power1_input").write_text("23000000\n")
    rails = {1: ("VDD_GPU", 12000, 200), 2: ("VDD_CPU_SOC_MSS", 12000, 500)}
    hwmon(root, 1, rails | {3: ("VIN_SYS_5V0", 5000, 1200)})


BOARDS = {
    "Nano": (nano, "POM_5V_IN", "module", 4.0),
    "TX2": (tx2, "VDD_IN", "module", 1.649),
    "Orin NX": (orin_nx, "VDD_IN", "module", 6.5),
    "AGX Xavier": (agx_xavier, "GPU + CPU + SOC + CV + VDDRQ + SYS5V", "rail", 6.37),
    "AGX Orin": (agx_orin, "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0", "rail", 6.85),
    "Thor": (thor, "VIN", "board", 23.0),
}


@pytest.mark.parametrize("name", BOARDS)
def test_board_layouts(name, tmp_path, clock):
    make, expected, scope, watts = BOARDS[name]
    make(tmp_path)
    hwmon(tmp_path, 9, {1: ("temp", 1, 1)}, "nct1008")  # another chip, not a power monitor
    used, found_scope = chosen(rails(tmp_path))
    assert " + ".join(rail.name for rail in used) == expected
    assert found_scope == scope
    assert sum(rail.read() for rail in used) == pytest.approx(watts)


def status(root, number="0002"):
    for folder in ("var/lib/nvpmodel", "etc", "proc/device-tree"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "var/lib/nvpmodel/status").write_text(f"pmode:{number}\n")
    (root / "etc/nvpmodel.conf").write_text(
        "< POWER_MODEL ID=0 NAME=MAXN >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=2 NAME=15W >\n"
    )
    (root / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.7, GCID: 1\n")
    (root / "proc/device-tree/model").write_text("NVIDIA Jetson Orin NX Developer Kit\0")


def test_what_a_board_says_of_itself(tmp_path, clock):
    assert (power_mode(tmp_path), release(tmp_path), board(tmp_path)) == (None, None, "Jetson")
    status(tmp_path)
    assert power_mode(tmp_path) == "2 (15W)"
    assert release(tmp_path) == "L4T R36.4.7"
    assert board(tmp_path) == "NVIDIA Jetson Orin NX Developer Kit"
    status(tmp_path, "0007")
    assert power_mode(tmp_path) == "7"


def test_joules_of_a_board(tmp_path, clock, monkeypatch):
    orin_nx(tmp_path)
    status(tmp_path)
    current = tmp_path / "sys/class/hwmon/hwmon1/curr1_input"
    real = Path.read_text

    def read_text(path, *args, **kwargs):  # 6.5 W ± 10 mW, new every 50 ms
        if path == current:
            return f"{1300 + 2 * (round(clock.now_s // 0.05) % 3 - 1)}\n"
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", read_text)
    meter, *rest = open_meters(["cuda:0", "cpu"], machine=broken_nvml(tmp_path, clock))
    assert meter.sensor.source == "ina3221"
    assert [each.sensor.scope for each in rest] == ["module"]  # the host is on the same rail
    assert meter.sensor.detail == "rail VDD_IN; polled every 0.0125 s; power mode 2 (15W)"
    assert meter.sensor.tick_s == pytest.approx(0.05, abs=0.003)
    with meter.window() as window:
        clock.sleep(8.0)
    reading = window.reading
    assert reading.energy_j == pytest.approx(8 * 6.5, abs=0.02)
    assert reading.interval_j[0] <= 8 * 6.5 <= reading.interval_j[1]
    assert reading.ticks >= 150
    with meter.window() as window:
        clock.sleep(4.0)
        (tmp_path / "sys/class/hwmon/hwmon1/in1_input").unlink()
        clock.sleep(4.0)
    assert window.reading.energy_j is None
    assert "in1_input" in window.reading.reason


def broken_nvml(root, clock):
    def load():
        raise SensorMissingError("no NVML on this board")

    return Machine(root, load, lambda index: None, {}, clock.timing)


def test_no_monitor(tmp_path, clock):
    hwmon(tmp_path, 0, {1: ("NC", 0, 0)})
    with pytest.raises(SensorMissingError, match="not a Jetson"):
        open_jetson(Machine(tmp_path, timing=clock.timing))
    (meter,) = open_meters(["cuda:0"], machine=broken_nvml(tmp_path, clock))
    assert meter.reason.startswith("no NVML on this board")
