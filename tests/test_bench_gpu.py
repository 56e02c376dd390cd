"""benchmarks.gpu: its whole path on the CPU with a simulated meter, its figures, its refusals."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from benchmarks import gpu, gpu_compare, gpu_run  # noqa: E402
from stages.energy import (  # noqa: E402
    EnergyFigure,
    NoMeter,
)

ROOT = Path(__file__).parents[1]
ABSENT = ("polars", "imagehash", "altair", "typer")
BUSY_W, IDLE_W = 7.0, 2.0
# What the GPU machine lacks cannot be imported; joules are those of a constant 7 W, 2 W idle.
DRY_RUN = """
import importlib.abc, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ImportError(name + " is not installed")

sys.meta_path.insert(0, Blocker())
import benchmarks.gpu
import stages.energy
from stages.energy import Idle, Meter, Sensor
from stages.energy.meter import Measured

class Constant(Meter):
    def begin(self):
        return None

    def finish(self, state, start_ns, end_ns):
        return Measured({busy} * (end_ns - start_ns) / 1e9, 0.0, None, 3)

    def measure_idle(self, seconds, sync=None):
        sync()
        return Idle({idle}, 0.0, seconds, 3)

def simulated(devices, prefer=None):
    assert [str(device) for device in devices] == ["cpu"] and prefer == "none"
    return [Constant(Sensor("simulated", "gpu", "a test", tick_s=1e-4))]

stages.energy.open_meters = simulated
sys.exit(benchmarks.gpu.main(["--device", "cpu", "--dry-run", "--out", {out!r}]))
"""


@pytest.fixture(scope="module")
def dry(tmp_path_factory):
    """(what the dry run printed, what it wrote); nothing else is written."""
    out = tmp_path_factory.mktemp("bench") / "new" / "dry.json"
    before = _results()
    code = DRY_RUN.format(absent=ABSENT, busy=BUSY_W, idle=IDLE_W, out=str(out))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in out.parent.iterdir()] == ["dry.json"]
    assert _results() == before
    return done.stdout, json.loads(out.read_text(encoding="utf-8"))


def _results():
    return sorted(gpu.RESULTS.iterdir()) if gpu.RESULTS.exists() else None


def test_the_dry_run_covers_every_figure(dry):
    printed, found = dry
    assert found["dry_run"] is True
    assert {"torch", "torchvision", "numpy", "pyarrow", "nvidia-ml-py"} <= found["versions"].keys()
    assert found["sensors"][0]["source"] == "simulated"
    assert found["settings"]["window_rule"] == "below the rule of 5 s and 5 windows"
    sizes = found["settings"]["batch_sizes"]
    models = [each["model"] for each in found["models"]]
    profiled = {(row["model"], row["batch_size"]) for row in found["profile"]}
    assert profiled == {(model, size) for model in models for size in sizes}
    pairs = {(row["cascade"], row["batch_size"]) for row in found["cascades"]}
    assert len(pairs) == len(found["cascades"]) == 12 * len(sizes)
    assert len(found["alone"]) == 4 * len(sizes)
    assert [row["case"] for row in found["extract"]] == ["compute-bound", "decode-bound"] * 2
    assert [row["dataset"] for row in found["passes"]] == ["cifar10", "imagenet"]
    assert len(found["targets"]) == 4
    lines = printed.splitlines()
    assert lines[0].endswith("simulated, tick 0.0001 s")
    assert all(line.split()[0] in ("pass", "fail") for line in lines[1:5])


def test_short_windows_are_flagged(dry):
    for row in dry[1]["profile"]:
        assert "short window" in row["warnings"]
        assert "quick: 2 windows" in row["warnings"]
    for row in dry[1]["cascades"] + dry[1]["alone"]:
        assert any(each.startswith("short window") for each in row["warnings"])


def test_measured_joules_are_the_meters(dry):
    """At constant power, above idle is 5/7 of gross, and joules follow the time."""
    for row in dry[1]["cascades"]:
        gross = row["energy_j"]["measured"]["value"]
        above = row["energy_above_idle_j"]["measured"]["value"]
        assert above == pytest.approx(gross * (BUSY_W - IDLE_W) / BUSY_W, rel=1e-9)
        assert gross >= BUSY_W * row["latency_ms"]["measured"]["value"] / 1e3 * 0.999


def test_a_prediction_at_batch_1_is_the_profiles_rows_added_up(dry):
    found = dry[1]
    rows = {row["model"]: row for row in found["profile"] if row["batch_size"] == 1}
    alone = {row["model"]: row for row in found["alone"] if row["batch_size"] == 1}
    for row in found["cascades"]:
        if row["batch_size"] != 1:
            continue
        a, b = rows[row["model_1"]], rows[row["model_2"]]
        for quantity in ("latency_ms", "energy_j", "energy_above_idle_j"):
            here = row[quantity]
            want = a[quantity] + row["use_predicted"] * b[quantity]
            assert here["predicted"]["value"] == pytest.approx(want)
            assert here["predicted"]["saving_value"] == pytest.approx(1 - want / b[quantity])
            got = here["measured"]["value"]
            saved = 1 - got / alone[row["model_2"]][quantity]["value"]
            assert here["measured"]["saving_value"] == pytest.approx(saved)
            assert here["difference"] == pytest.approx(want / got - 1)
            points = 100 * (1 - want / b[quantity] - saved)
            assert here["saving_points"] == pytest.approx(points)


def test_the_uses_are_those_asked_for(dry):
    for row in dry[1]["cascades"]:
        n = dry[1]["settings"]["requests_by_batch_size"][str(row["batch_size"])]
        asked = float(row["cascade"].rpartition(" ")[2])
        assert abs(row["use_predicted"] - asked) <= 1 / n + 0.25
        assert abs(row["use_measured"] - row["use_predicted"]) <= 1 / n


# --- figures -------------------------------------------------------------------------------------


def _row(name, predicted, measured, points=0.0, size=1):
    each = {"predicted": {"value": predicted}, "measured": {"value": measured}}
    known = predicted is not None and measured is not None
    each |= {"difference": predicted / measured - 1 if known else None, "saving_points": points}
    return {"cascade": name, "batch_size": size} | dict.fromkeys(gpu_compare.QUANTITIES, each)


def test_targets_that_are_met():
    rows = [_row("x", 1.0, 1.05, -1.9), _row("y", 2.0, 1.9, 1.5)]
    best = gpu_compare.best(rows)
    assert [each["excess"] for each in best] == [0.0] * 3
    targets = gpu_compare.targets(rows, best, [{"efficiency": 0.9}])
    assert [each["passed"] for each in targets] == [True] * 4
    figures = [each["figure"] for each in targets]
    assert figures == pytest.approx([-1.9, 100 * (2 / 1.9 - 1), 0.0, 0.9])


def test_targets_that_are_missed():
    rows = [_row("x", 1.0, 1.1, 2.1), _row("y", 1.01, 1.0, 0.0)]
    best = gpu_compare.best(rows)
    assert (best[0]["predicted"], best[0]["measured"]) == ("x", "y")
    assert best[0]["excess"] == pytest.approx(0.1)
    targets = gpu_compare.targets(rows, best, [{"efficiency": 0.95}, {"efficiency": 0.89}])
    assert [each["passed"] for each in targets] == [False] * 4
    assert [each["within"] for each in targets] == [1, 1, 0, 1]
    assert targets[3]["figure"] == 0.89


def test_unknown_joules_are_neither_met_nor_missed():
    rows = [_row("x", None, None, None), _row("y", 1.0, 1.0, 0.0)]
    best = gpu_compare.best(rows)
    assert best[0]["excess"] is None
    targets = gpu_compare.targets(rows, best, [{"efficiency": 1.0}])
    assert [each["passed"] for each in targets] == [None, None, None, True]
    result = {"device": {"name": "G"}, "targets": targets}
    lines = gpu.summary(result | {"sensors": [vars(NoMeter("nothing there").sensor)]})
    assert lines[0] == "G: none"
    assert [line.split()[0] for line in lines[1:]] == ["unknown"] * 3 + ["pass"]


def test_batch_sizes_are_compared_apart():
    rows = [_row("x", 1.0, 1.0), _row("y", 2.0, 2.0), _row("x", 3.0, 3.0, size=16)]
    found = [row for row in gpu_compare.best(rows) if row["quantity"] == "energy_j"]
    assert [(row["batch_size"], row["predicted"]) for row in found] == [(1, "x"), (16, "x")]


def test_a_savings_interval_adds_relative_errors_in_quadrature():
    found = gpu_compare.saving(EnergyFigure(6.0, 5.82, 6.18), EnergyFigure(10.0, 9.6, 10.4))
    assert (found.value, found.low, found.high) == pytest.approx((0.4, 0.37, 0.43))
    assert (
        gpu_compare.saving(EnergyFigure(6.0, None, None), EnergyFigure(10.0, 9.0, 11.0)).low is None
    )
    assert (
        gpu_compare.saving(EnergyFigure(None, None, None), EnergyFigure(10.0, 9.0, 11.0)).value
        is None
    )


@pytest.mark.parametrize(("tick_s", "seconds"), [(None, 2.22), (0.02, 2.22), (0.5, 10.5)])
def test_windows_hold_20_ticks_and_share_the_budget(tick_s, seconds):
    meter = NoMeter("not asked for")
    meter.sensor = replace(meter.sensor, tick_s=tick_s)
    assert gpu_run.window_s(gpu_run.FULL, [meter]) == pytest.approx(seconds, abs=0.01)


def test_the_whole_stays_under_eight_minutes():
    """3 windows of 12 figures and 2 of 16 contenders at 3 batch sizes, with a tick of 0.1 s."""
    assert (gpu_run.window_s(gpu_run.FULL, []) + gpu_run.BESIDE_S) * (36 + 96) < 330


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no CUDA GPU"),
        (["--device", "cuda:1", "--out", "x.json"], "no CUDA GPU"),
        (["--device", "cpu"], "cpu is no GPU"),
        (["--device", "cpu", "--dry-run"], "give --out FILE"),
    ],
)
def test_refusals_are_one_line_and_write_nothing(words, said, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    before = _results()
    assert gpu.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("bench-gpu: ")
    assert err.count("\n") == 1
    assert said in err
    assert _results() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_the_target_installs_nothing(tmp_path):
    def recipe(venv):
        words = ["make", "-n", "--no-print-directory", "bench-gpu"]
        words += [f"VENV={venv}", "PYTHON=some-python", "ARGS=--help"]
        return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert recipe(tmp_path / "venv") == "some-python -m benchmarks.gpu --help\n"
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert recipe(tmp_path / "venv") == f"{python} -m benchmarks.gpu --help\n"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_takes_the_same_path(tmp_path):
    assert gpu.main(["--dry-run", "--out", str(tmp_path / "gpu.json")]) == 0
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert found["device"]["runtime"] == "torch-fp32-cuda"
    assert len(found["cascades"]) == 24
