"""`cascade doctor`: what it finds, and the line that mends each thing that is missing."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest
from running import cascade
from virtual_time import Clock

from stages.energy import Machine, SensorMissingError, open_meters, survey
from stages.energy.machine_survey import (
    GpuFound,
    MachineSurvey,
    MeterFound,
    NvmlFound,
    RaplFound,
    TorchFound,
    pci_gpus,
    problems,
)
from stages.energy.rapl import ZoneFound


def bare(root, clock):
    def load():
        raise SensorMissingError("NVML Shared Library Not Found")

    return Machine(root, load, lambda index: None, {}, clock.timing)


def found(**changes):
    base = MachineSurvey(
        cpu="cpu",
        pci_gpus=[],
        nvidia_driver=False,
        nvml=NvmlFound(False, "not found"),
        torch=TORCH,
        rapl=RaplFound(),
        jetson=None,
        sensors=[],
        environment={"CUDA_VISIBLE_DEVICES": None},
        meters=[MeterFound("rapl", "package", "cpu")],
    )
    return replace(base, **changes)


GPU = GpuFound(0, "GPU-1", "T", False)
SEEN = NvmlFound(True, None, "535.0", (GPU,))
TORCH = TorchFound(True, "2.14", "13.0")
ZONE = ZoneFound("package-0", "/zone", counted=True, readable=False, denied=True, reason="no")

CASES = {
    "no driver": ({"pci_gpus": ["0000:01:00.0"]}, "no driver", "--gpus all"),
    "no library": (
        {"pci_gpus": ["0000:01:00.0"], "nvidia_driver": True},
        "NVML: not found",
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    ),
    "no package": (
        {"nvidia_driver": True, "nvml": NvmlFound(False, "nvidia-ml-py is missing", "535.0")},
        "nvidia-ml-py",
        "pip install 'cascade-cli[extract]'",
    ),
    "lost": ({"nvml": replace(SEEN, reason="1 is lost")}, "1 is lost", "nvidia-smi"),
    "no torch": ({"torch": TorchFound(False)}, "torch is not installed", "cascade-cli[extract]"),
    "cpu torch": ({"nvml": SEEN, "torch": replace(TORCH, cuda=None)}, "CPU build", "CUDA build"),
    "old driver": ({"nvml": SEEN}, "driver is 535.0", "update the driver"),
    "hidden": (
        {"nvml": SEEN, "environment": {"CUDA_VISIBLE_DEVICES": ""}},
        "sees none of 1",
        "unset CUDA_VISIBLE_DEVICES",
    ),
    "partly hidden": (
        {
            "nvml": replace(SEEN, gpus=(GPU, GPU)),
            "torch": replace(TORCH, devices=("T",)),
            "environment": {"CUDA_VISIBLE_DEVICES": "1"},
        },
        "torch sees 1 of 2",
        "'1'",
    ),
    "rapl closed": ({"rapl": RaplFound((ZONE,))}, "package-0", "sudo chmod a+r"),
    "blind meter": (
        {"meters": [MeterFound("none", "none", "T", reason="dead")]},
        "no joules for T: dead",
        "manual",
    ),
    "nothing": ({"meters": []}, "joules will be null", "`cascade profile --meter manual`"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_missing_thing_has_its_line(case):
    changes, what, fix = CASES[case]
    said = [each for each in problems(found(**changes)) if what in each.what]
    assert len(said) == 1, problems(found(**changes))
    assert fix in said[0].fix
    assert "\n" not in said[0].fix


def test_nothing_missing():
    assert problems(found()) == []
    assert problems(found(nvml=SEEN, torch=replace(TORCH, devices=("T",)))) == []


def test_gpus_on_the_bus(tmp_path):
    for name, vendor, kind in [
        ("0000:01:00.0", "0x10de", "0x030200"),
        ("0000:01:00.1", "0x10de", "0x040300"),  # its sound device
        ("0000:02:00.0", "0x1002", "0x030000"),
    ]:
        device = tmp_path / "sys/bus/pci/devices" / name
        device.mkdir(parents=True)
        (device / "vendor").write_text(f"{vendor}\n")
        (device / "class").write_text(f"{kind}\n")
    (tmp_path / "sys/bus/pci/devices/broken").mkdir()
    assert pci_gpus(tmp_path) == ["0000:01:00.0"]


def test_a_machine_without_any_sensor(tmp_path):
    clock = Clock()
    machine = bare(tmp_path, clock)
    seen = survey(machine)
    assert seen.meters == []
    assert seen.problems[-1].what.startswith("no energy sensor answers here")
    for devices in (["cpu"], ["cuda:0"], ["mps"], []):
        (meter,) = open_meters(devices, machine=machine)
        with meter.window() as window:
            clock.sleep(6.0)
        assert window.reading.energy_j is None
        assert window.reading.reason
        assert window.reading.duration_s == 6.0


def test_a_machine_with_a_gpu(tmp_path):
    pytest.importorskip("pynvml", reason="needs nvidia-ml-py")
    from energy_fakes import FakeGpu, FakeNvml, machine

    clock = Clock()
    fake = FakeNvml(FakeGpu(clock))
    seen = survey(machine(clock, tmp_path, module=fake))
    (meter,) = seen.meters
    assert (meter.source, meter.driver) == ("nvml_counter", "570.00")
    assert meter.tick_s == pytest.approx(0.1, rel=0.02)
    assert meter.idle_w == pytest.approx(60, abs=4)
    assert seen.nvml.gpus[0].uuid == meter.uuid
    assert fake.calls.count("nvmlInit") == fake.calls.count("nvmlShutdown")


def test_the_command_ends_well_here():
    result = cascade("doctor", "--json", "--idle", 0)
    assert {"meters", "problems", "nvml", "torch", "rapl", "cpu"} <= set(result.json)
    shown = cascade("doctor", "--idle", 0)
    assert shown.status == 0
    assert "torch" in shown.out


def test_cross_check_without_zeus_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "zeus", None)
    monkeypatch.setitem(sys.modules, "zeus.monitor", None)
    (row,) = cascade("doctor", "--json", "--idle", 0, "--cross-check").json["cross_check"]
    assert "pip install 'cascade-cli[zeus]'" in row["skipped"]


def test_cross_check_compares(monkeypatch, tmp_path):
    """Against a stand-in for zeus that reports 1 kJ."""
    from stages.energy import crosscheck

    class ZeusMonitor:
        def __init__(self, gpu_indices):
            assert gpu_indices == []

        def begin_window(self, key, sync_execution=True):
            pass

        def end_window(self, key, sync_execution=True):
            return SimpleNamespace(gpu_energy={}, cpu_energy={0: 900.0}, dram_energy={0: 100.0})

    stand_in = {
        "zeus": ModuleType("zeus"),
        "zeus.monitor": SimpleNamespace(ZeusMonitor=ZeusMonitor),
        "zeus.exception": SimpleNamespace(ZeusBaseError=KeyError),
    }
    for name, module in stand_in.items():
        monkeypatch.setitem(sys.modules, name, module)
    meter = open_meters(["cpu"], "manual:0J,1.1kJ")[0]
    monkeypatch.setattr(crosscheck, "open_meters", lambda *args, **kwargs: [meter])
    row = crosscheck.cross_check("cpu", seconds=0.01)
    assert (row.energy_j, row.zeus_j) == (1100, 1000)
    assert row.difference == pytest.approx(0.1)
