"""live: latency and joules of the same run, contenders in turn, and what costs had predicted."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from energy_fakes import FakeGpu, constant, machine  # noqa: E402
from running import DIGITS, cascade  # noqa: E402
from virtual_time import Clock  # noqa: E402

from cache import (  # noqa: E402
    Store,
    find,
    read_table,
)
from stages import energy  # noqa: E402
from stages.cascade import Cascade  # noqa: E402
from stages.datasets import open_split  # noqa: E402
from stages.energy import (  # noqa: E402
    Meter,
    NoMeter,
    Sensor,
    open_meters,
)
from stages.energy.meter import Measured  # noqa: E402
from stages.live import (  # noqa: E402
    LiveCascade,
    energy_summary,
    latency_summary,
    serve_all,
    serving,
)
from stages.live.serving import BLOCKS  # noqa: E402
from stages.runtimes import Preprocessing  # noqa: E402

IDLE_W, HOST_W = 40.0, 100.0
A, B = DIGITS[0], DIGITS[3]
FAST, SLOW = (4.0, 300.0), (9.0, 380.0)  # ms, W
INPUT = Preprocessing((0.0,), (1.0,))


class Host(Meter):
    """A host that draws HOST_W whatever happens."""

    def __init__(self, timing=energy.meter.REAL):
        super().__init__(Sensor("rapl", "package", "host", tick_s=1e-3), timing)

    def begin(self):
        return None

    def finish(self, state, start_ns, end_ns):
        return Measured(HOST_W * (end_ns - start_ns) / 1e9, 1e-6, ticks=10**4)


class Bench:
    """Models that take a known time at a known power, in virtual time, on real digits."""

    def __init__(self, monkeypatch, root):
        self.clock = Clock()
        self.gpu = FakeGpu(self.clock)
        self.gpu.load(constant(IDLE_W))
        self.root, self.ran = root, []
        now = SimpleNamespace(perf_counter=lambda: self.clock.now_s, perf_counter_ns=self.clock)
        monkeypatch.setattr(serving, "time", now)
        self.source = open_split("digits", "test")

    def meters(self):
        gpu = open_meters(["cuda:0"], None, machine(self.clock, self.root, self.gpu))
        return [*gpu, Host(self.clock.timing)]

    def runner(self, name, ms, watts):
        """Per call; surer of brighter pictures."""

        def answers(batch):
            self.ran.append((name, batch.sum()))
            self.gpu.load(constant(watts))
            self.clock.sleep(ms / 1e3)
            self.gpu.load(constant(IDLE_W))
            sure = brightness(batch)
            answer = np.zeros(len(batch), np.int32)
            return {"prediction": answer, "maxp": sure, "difference": sure, "entropy": 1 - sure}

        device = torch.device("cpu")
        return SimpleNamespace(
            preprocessing=INPUT,
            device=device,
            upload=lambda pixels: pixels,
            answers=answers,
            logits=answers,
            host_logits=lambda batch: np.zeros((len(batch), 10), np.float32),
        )

    def contenders(self, share=0.3):
        a, b = self.runner("a", *FAST), self.runner("b", *SLOW)
        pictures = np.stack([INPUT.pixels(self.source.read(i)) for i in range(len(self.source))])
        limit = float(np.quantile(brightness(pictures), share))
        return {
            "cascade": LiveCascade(Cascade.of(("a", "b"), "maxp", limit), [a, b]),
            "a": LiveCascade(Cascade.of(("a",)), [a]),
            "b": LiveCascade(Cascade.of(("b",)), [b]),
        }


def brightness(batch):
    return batch.reshape(len(batch), -1).mean(axis=1) / 255


@pytest.fixture
def bench(monkeypatch, tmp_path):
    return Bench(monkeypatch, tmp_path)


def test_joules_per_request_are_recovered_and_the_hosts_beside_them(bench):
    served = serve_all(bench.source, bench.contenders(), 1, 300, bench.meters(), 5.0)
    usage = served["cascade"].outcome.escalated.mean()
    assert 0.2 < usage < 0.4
    time_s = {"a": FAST[0], "b": SLOW[0], "cascade": FAST[0] + usage * SLOW[0]}
    joules = {"a": FAST[0] * FAST[1], "b": SLOW[0] * SLOW[1]}
    joules["cascade"] = joules["a"] + usage * joules["b"]
    for name, one in served.items():
        seconds, expected = time_s[name] / 1e3, joules[name] / 1e3
        gpu, host = energy_summary(one, 0), energy_summary(one, 1)
        assert gpu.energy_j_per_request == pytest.approx(expected, rel=0.02)
        assert gpu.energy_j_per_request_low <= expected <= gpu.energy_j_per_request_high
        above = expected - IDLE_W * seconds
        assert gpu.energy_above_idle_j_per_request == pytest.approx(above, rel=0.02)
        assert (gpu.source, gpu.scope) == ("nvml_counter", "gpu")
        assert gpu.idle_w == pytest.approx(IDLE_W, rel=0.01)
        assert (gpu.windows, gpu.reason, gpu.warnings) == (BLOCKS, None, ())
        assert gpu.ticks >= BLOCKS * 20
        assert host.energy_j_per_request == pytest.approx(HOST_W * seconds)
        assert host.source == "rapl"


def test_quick_blocks_that_repeat_more_often_count_once(bench):
    served = serve_all(bench.source, bench.contenders(), 1, 50, bench.meters(), 0.3)["cascade"]
    assert len(set(np.round(served.weight, 6))) > 1
    expected = FAST[0] + served.outcome.escalated.mean() * SLOW[0]
    assert served.ms_per_request == pytest.approx(expected)
    assert latency_summary(served)["mean"] == pytest.approx(expected)
    assert served.latency_ms.mean() < expected * 0.999


def test_a_last_batch_that_is_not_full_counts_by_its_requests(bench):
    served = serve_all(bench.source, bench.contenders(), 16, 40)
    assert served["a"].ms_per_request == pytest.approx(3 * FAST[0] / 40)
    assert latency_summary(served["a"])["mean"] == pytest.approx(FAST[0])


class Recording(Host):
    """Notes which models ran on which pictures in each window."""

    def __init__(self, bench):
        super().__init__(bench.clock.timing)
        self.bench, self.windows = bench, []

    def begin(self):
        self.bench.ran.clear()

    def finish(self, state, start_ns, end_ns):
        self.windows.append(list(self.bench.ran))
        return super().finish(state, start_ns, end_ns)


def test_contenders_take_turns_on_the_same_pictures_in_shuffled_order(bench):
    meter = Recording(bench)
    serve_all(bench.source, bench.contenders(), 1, 100, [meter], 0.01)
    idle, *windows = meter.windows
    assert idle == []
    assert len(windows) == 3 * BLOCKS
    orders = []
    for i in range(0, len(windows), 3):
        block = windows[i : i + 3]
        names = ["".join(sorted({name for name, _ in window})) for window in block]
        assert sorted(names) == ["a", "ab", "b"]
        orders.append(tuple(names))
        seen = [
            {picture for name, picture in window if name == ("b" if kind == "b" else "a")}
            for window, kind in zip(block, names, strict=True)
        ]
        assert seen[0] == seen[1] == seen[2]
    assert len(set(orders)) > 2


def test_all_models_are_resident_and_warm_when_idle_is_measured(bench):
    ran = []
    meter = Recording(bench)

    def measure_idle(seconds, sync):
        ran.extend(name for name, _ in bench.ran)
        return Meter.measure_idle(meter, seconds, sync)

    meter.measure_idle = measure_idle
    serve_all(bench.source, bench.contenders(), 4, 40, [meter], 0.01)
    assert {"a", "b"} <= set(ran)


def test_without_meters_each_request_is_answered_once(bench):
    served = serve_all(bench.source, bench.contenders(), 1, 60)
    counts = {name: len(one.latency_ms) for name, one in served.items()}
    assert counts == dict.fromkeys(served, 60)
    found = energy_summary(served["cascade"], reason="nobody looked")
    assert found.energy_j_per_request is None
    assert (found.source, found.reason, found.windows) == ("none", "nobody looked", 0)


# --- the command ---------------------------------------------------------------------------------

NO_SENSOR = "no energy sensor: run `cascade doctor`"


@pytest.fixture
def blind(monkeypatch):
    """No sensor, whatever this machine has."""
    monkeypatch.setattr(
        "cascade_cli.inputs.live_run.open_meters", lambda *args, **more: [NoMeter("a test")]
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    args = ("-d", "digits", "--models", f"{A},{B}", "--cache", folder)
    assert cascade("extract", *args).status == 0
    return folder


def live(root, *args):
    return cascade("live", "-m1", A, "-m2", B, "-t", "0.9", "--limit", "60", "--cache", root, *args)


def no_costs(root):
    return not list(find(Store(root), "costs", "digits"))


def test_every_command_works_without_a_sensor(root, blind, one_thread, monkeypatch):
    monkeypatch.chdir(root)
    where = ("--cache", root)
    pair = ("-m1", A, "-m2", B)
    assert no_costs(root)
    before = live(root, "--json").json
    assert before["predicted"] == {}
    assert before["cost_kind"] == "macs"
    profiled = cascade("profile", "-d", "digits", "--models", f"{A},{B}", "--quick", *where)
    assert profiled.out.endswith(NO_SENSOR + "\n")
    simulated = cascade("simulate", *pair, "-t", "0.9", *where)
    assert NO_SENSOR in simulated.out
    assert "multiply-adds (for want of joules and of a full profile)" in simulated.out
    asked = cascade("simulate", *pair, "-t", "0.9", "--cost", "latency", *where)
    assert "latency of all models" in asked.out
    for command in ("threshold", "report", "heterogeneity"):
        more = pair if command != "heterogeneity" else ("-d", "digits")
        assert cascade(command, *more, *where).status == 0

    result = live(root, "--json").json
    assert result["energy_j_per_request"] is None
    for one in (result["energy"], *(each["energy"] for each in result["alone"].values())):
        joules = {value for key, value in one.items() if "energy" in key}
        assert joules == {None}
        assert (one["source"], one["reason"], one["host"]) == ("none", "a test", [])
    assert set(result["alone"]) == {A, B}
    [(kind, found)] = result["predicted"].items()
    assert (kind, found["unit"]) == ("latency", "ms")
    assert found["low"] < found["value"] < found["high"]
    assert found["difference"] == pytest.approx(found["measured"] / found["value"] - 1)
    shown = live(root).out
    assert f"energy     unknown: {NO_SENSOR}" in shown
    assert "predicted" in shown

    for table, column in (("costs", "energy_j"), ("results", "energy_j_per_request")):
        manifests = list(find(Store(root), table, "digits" if table == "costs" else "simulate"))
        assert manifests
        for manifest in manifests:
            columns = read_table(Store(root), manifest)
            assert columns[column].null_count == len(columns)


def test_a_hosts_joules_are_not_given_for_a_gpus(root, monkeypatch, one_thread):
    """The GPU has no sensor, the host has."""
    monkeypatch.setattr(
        "cascade_cli.inputs.live_run.open_meters", lambda *args: [NoMeter("no NVML"), Host()]
    )
    monkeypatch.setattr("cascade_cli.inputs.live_run.window_s", lambda *args, **more: 0.02)
    monkeypatch.setattr(energy.windows, "SETTLE_S", 0.0)
    found = live(root, "--no-alone", "--json").json
    assert found["energy_j_per_request"] is None
    assert (found["energy"]["source"], found["energy"]["reason"]) == ("none", "no NVML")
    [host] = found["energy"]["host"]
    assert host["energy_j_per_request"] > 0
    assert host["source"] == "rapl"
    shown = live(root, "--no-alone").out
    assert f"unknown: {NO_SENSOR}" in shown
    assert "mJ per request" in shown.split("host  ")[1]


def test_a_sensor_that_fails_is_not_called_absent(root, monkeypatch, one_thread):
    class Failing(Host):
        def finish(self, state, start_ns, end_ns):
            return Measured(None, reason="the counter went back")

    monkeypatch.setattr("cascade_cli.inputs.live_run.open_meters", lambda *args: [Failing()])
    monkeypatch.setattr("cascade_cli.inputs.live_run.window_s", lambda *args, **more: 0.01)
    monkeypatch.setattr(energy.windows, "SETTLE_S", 0.0)
    shown = live(root, "--no-alone").out
    assert "energy     unknown: the counter went back" in shown
    assert NO_SENSOR not in shown.split("energy  ")[1]
