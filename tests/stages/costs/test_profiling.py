"""profile: joules of a simulated GPU recovered, windows in shuffled rounds, and the command."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

torch = pytest.importorskip("torch")

from energy_fakes import FakeGpu, constant, machine  # noqa: E402
from helpers import RUNTIME, cost_row  # noqa: E402
from running import DIGITS, cascade  # noqa: E402
from virtual_time import Clock  # noqa: E402

from cache import (  # noqa: E402
    COSTS,
    CostRow,
    InputError,
    Store,
    find,
)
from stages import costs  # noqa: E402
from stages.costs import (  # noqa: E402
    Subject,
    profile_models,
    profiling,
)
from stages.energy import (  # noqa: E402
    Meter,
    NoMeter,
    Sensor,
    open_meters,
)
from stages.energy.meter import Measured as Joules  # noqa: E402
from stages.energy.windows import mean_interval  # noqa: E402
from stages.models import choose  # noqa: E402

IDLE_W = 40.0


class Bench:
    """A GPU in virtual time, and models that take a known time at a known power."""

    def __init__(self, monkeypatch, root, phase_s=0.0123):
        self.clock = Clock()
        self.gpu = FakeGpu(self.clock, phase_s=phase_s)
        self.gpu.load(constant(IDLE_W))
        self.root = root
        now = SimpleNamespace(perf_counter=lambda: self.clock.now_s, perf_counter_ns=self.clock)
        monkeypatch.setattr(profiling, "time", now)
        self.ran = []

    def meters(self, prefer=None):
        return open_meters(["cuda:0"], prefer, machine(self.clock, self.root, self.gpu))

    def work(self, name, seconds, watts):
        self.ran.append(name)
        self.gpu.load(constant(watts))
        self.clock.sleep(seconds)
        self.gpu.load(constant(IDLE_W))

    def subject(self, name, ms=(3.0, 1.0), watts=300.0, macs=7):
        """A batch of n takes ms[0] + n·ms[1]."""

        def answers(batch):
            self.work(name, (ms[0] + len(batch) * ms[1]) / 1e3, watts)

        device = torch.device("cpu")
        runner = SimpleNamespace(device=device, upload=lambda pixels: pixels, answers=answers)
        return Subject(name, RUNTIME, runner, (3, 4, 4), macs, 11)


@pytest.fixture
def bench(monkeypatch, tmp_path):
    return Bench(monkeypatch, tmp_path)


def by_size(rows, meter="nvml_counter"):
    return {row.batch_size: row for row in rows if row.meter == meter}


# --- joules --------------------------------------------------------------------------------------


def test_joules_per_image_are_recovered(bench):
    found = profile_models(
        [bench.subject("small"), bench.subject("large", (5, 2), 400)], bench.meters(), (1, 8)
    )
    for name, ms, watts in (("small", (3, 1), 300), ("large", (5, 2), 400)):
        for size, row in by_size(found[name]).items():
            batch_s = (ms[0] + size * ms[1]) / 1e3
            joules, above = watts * batch_s / size, (watts - IDLE_W) * batch_s / size
            assert row.latency_ms == pytest.approx(1e3 * batch_s)
            assert row.energy_j == pytest.approx(joules, rel=0.02)
            assert row.energy_low_j <= joules <= row.energy_high_j
            assert row.energy_above_idle_j == pytest.approx(above, rel=0.02)
            assert row.energy_above_idle_low_j <= above <= row.energy_above_idle_high_j
            assert row.energy_high_j - row.energy_low_j < 0.08 * joules
            assert row.idle_w == pytest.approx(IDLE_W, rel=0.03)
            assert (row.windows, row.warnings, row.reason) == (5, None, None)
            assert row.window_s >= 5
            assert row.ticks >= 5 * 20
            assert (row.macs, row.parameters) == (7, 11)


def test_the_interval_covers_the_truth(monkeypatch, tmp_path):
    phases, covered = random.Random(2), 0
    for _ in range(60):
        bench = Bench(monkeypatch, tmp_path, phases.random() / 10)
        [row] = profile_models(
            [bench.subject("it", (40, 7.3), phases.uniform(80, 400))], bench.meters(), (1,)
        )["it"]
        truth = bench.gpu.segments[-2][1].power(0) * 47.3e-3
        covered += row.energy_low_j <= truth <= row.energy_high_j
        assert row.energy_high_j - row.energy_low_j < 0.1 * truth
    assert covered >= 55


def test_a_counter_is_held_against_power(bench):
    meters = bench.meters() + bench.meters("nvml_power")
    found = profile_models([bench.subject("small")], meters, (4,))["small"]
    counter, power = by_size(found)[4], by_size(found, "nvml_power")[4]
    assert counter.energy_check_j == power.energy_j
    assert power.energy_check_j == counter.energy_j
    assert power.energy_j == pytest.approx(300 * 7e-3 / 4, rel=0.03)


def test_rows_say_which_weights_were_measured(bench):
    about = {"weights_sha256": "ab" * 32, "preprocess": lambda: bench.clock.sleep(0.1)}
    subject = replace(bench.subject("small"), **about)
    found = profile_models([subject, bench.subject("large")], bench.meters(), (1,))
    assert [row.weights_sha256 for row in found["small"]] == ["ab" * 32] * 2
    assert [row.weights_sha256 for row in found["large"]] == [None]


def test_a_failing_sensor_gives_a_reason_and_no_joules(bench):
    class Failing(Meter):
        windows = 0

        def begin(self):
            self.windows += 1

        def finish(self, state, start_ns, end_ns):
            return Joules(None, reason="lost") if self.windows == 4 else Joules(1.0, 0.1, ticks=90)

    meter = Failing(Sensor("simulated", "gpu", "x", tick_s=0.1), bench.clock.timing)
    [row] = profile_models([bench.subject("small")], [meter], (1,))["small"]
    keys = [name for name in COSTS.names if name.startswith("energy")]
    assert [getattr(row, key) for key in keys] == [None] * len(keys)
    assert (row.reason, row.windows) == ("lost", 5)
    assert row.latency_ms == pytest.approx(4)


def test_the_error_of_idle_power_is_common_to_all_windows():
    rng, covered, n = np.random.default_rng(8), 0, 12
    for _ in range(500):
        common = rng.normal(0, 0.5)
        values = 10 + common + rng.normal(0, 0.1, n)
        found = mean_interval(list(values), [0.0] * n, 0.5)
        covered += found.low <= 10 <= found.high
    assert 0.92 < covered / 500 < 0.98
    assert mean_interval([1.0, None], [0.0, 0.0]).value is None
    assert mean_interval([1.0], [0.0]).low is None


def test_the_interval_of_a_few_windows_is_students():
    from scipy import stats

    rng = np.random.default_rng(1)
    for n in (2, 3, 5, 11, 12, 40):
        values = rng.random(n)
        found = mean_interval(list(values), [0.0] * n)
        expected = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
        assert (found.low, found.high) == pytest.approx(expected, rel=1e-3)


# --- windows -------------------------------------------------------------------------------------


class Recording(Meter):
    """Notes what ran in each of its windows, and when it synchronised."""

    def __init__(self, bench, tick_s=0.1):
        super().__init__(Sensor("simulated", "gpu", "x", tick_s=tick_s), bench.clock.timing)
        self.bench, self.windows = bench, []

    def begin(self):
        self.bench.ran.clear()

    def finish(self, state, start_ns, end_ns):
        self.windows.append((list(self.bench.ran), (end_ns - start_ns) / 1e9))
        return Joules(1.0, 0.0, ticks=100)


def test_windows_are_interleaved_in_rounds_of_shuffled_order(bench):
    meter = Recording(bench)
    names = [f"m{i}" for i in range(6)]
    profile_models([bench.subject(name) for name in names], [meter], (1,))
    idle, *windows = meter.windows
    assert idle[0] == []
    assert all(len(set(ran)) == 1 for ran, _ in windows)
    order = [ran[0] for ran, _ in windows]
    rounds = [order[i : i + 6] for i in range(0, 30, 6)]
    assert len(order) == 30
    assert all(sorted(each) == names for each in rounds)
    assert len({tuple(each) for each in rounds}) == 5


def test_every_model_is_warm_before_the_first_window(bench):
    seen = []
    meter = Recording(bench)
    meter.measure_idle = lambda seconds, sync: (
        seen.extend(bench.ran) or Meter.measure_idle(meter, seconds, sync)
    )
    profile_models([bench.subject(name) for name in "abc"], [meter], (1, 2))
    assert {name: seen.count(name) >= 10 for name in "abc"} == dict.fromkeys("abc", True)


@pytest.mark.parametrize(
    ("tick", "quick", "least"), [(0.1, False, 5), (0.5, False, 10), (0.02, True, 1)]
)
def test_windows_last_20_ticks_and_5_seconds(bench, tick, quick, least):
    meter = Recording(bench, tick)
    profile_models([bench.subject("a")], [meter], (1,), quick=quick)
    assert all(least <= seconds < 1.2 * least for _, seconds in meter.windows)
    assert len(meter.windows) == 1 + (2 if quick else 5)


def test_quick_is_flagged(bench):
    [row] = profile_models([bench.subject("a")], bench.meters(), (1,), quick=True)["a"]
    assert "quick: 2 windows" in row.warnings
    assert "short window" in row.warnings
    assert row.windows == 2


@pytest.mark.parametrize("sizes", [(1,), profiling.BATCH_SIZES, tuple(range(1, 60))])
def test_without_a_sensor_a_model_takes_two_seconds_at_most(bench, sizes):
    subjects = [
        replace(bench.subject(name, (0.5, 0.01)), preprocess=lambda: bench.clock.sleep(1e-4))
        for name in "ab"
    ]
    meter = NoMeter("nobody looks", timing=bench.clock.timing)
    found = profile_models(subjects, [meter], sizes)
    for rows in found.values():
        assert sum(row.windows * row.window_s for row in rows) <= 2 + 2e-3 * len(rows) * 5
        assert {row.batch_size for row in rows if row.component == "forward"} == set(sizes)
        for row in rows:
            assert (row.energy_j, row.reason) == (None, "nobody looks")
            assert row.idle_w is None
    [decoding] = [row for row in found["a"] if row.component == "preprocess"]
    assert decoding.latency_ms == pytest.approx(0.1)
    assert (decoding.batch_size, decoding.macs) == (1, None)


def test_a_large_batch_is_not_run_over_and_over_to_warm_up(bench):
    meter = NoMeter("nobody looks", timing=bench.clock.timing)
    profile_models([bench.subject("a", (0, 400.0))], [meter], (1,))
    assert len(bench.ran) <= 1 + 5 + 1


def test_rows_are_of_the_schema(bench):
    for meters in (bench.meters(), [NoMeter("none", timing=bench.clock.timing)]):
        subject = replace(bench.subject("a"), preprocess=lambda: bench.clock.sleep(1e-3))
        found = profile_models([subject], meters, (1, 2))
        table = pa.Table.from_pylist([vars(row) for row in found["a"]], schema=COSTS)
        table.validate(full=True)
        required = [field.name for field in COSTS if not field.nullable]
        assert all(table[name].null_count == 0 for name in required)


def test_latency_is_summed_up_as_numpy_does(bench):
    times = iter(np.random.default_rng(0).gamma(3, 2, 10**6))

    def lap(batch):
        taken.append(next(times))
        bench.clock.sleep(taken[-1] / 1e3)

    taken = []
    subject = bench.subject("a")
    subject.runner.answers = lap
    real, window = profiling._window, []

    def noted(each, *rest):
        start = len(taken)
        real(each, *rest)
        window.extend(taken[start:])

    profiling._window = noted
    try:
        [row] = profile_models([subject], [NoMeter("none", timing=bench.clock.timing)], (1,))["a"]
    finally:
        profiling._window = real
    laps = np.array(window)
    assert row.runs == len(laps)
    assert row.latency_ms == pytest.approx(laps.mean(), rel=1e-5)
    assert row.latency_sd_ms == pytest.approx(laps.std(ddof=1), rel=1e-5)
    for q in (50, 95, 99):
        assert getattr(row, f"latency_p{q}_ms") == pytest.approx(np.percentile(laps, q), rel=1e-5)


def test_a_batch_that_does_not_fit_is_one_line(bench):
    subject = bench.subject("a")

    def fails(batch):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB\nmore")

    subject.runner.answers = fails
    with pytest.raises(InputError, match="a batch of 64 of a does not fit") as caught:
        profile_models([subject], bench.meters(), (64,))
    assert "\n" not in str(caught.value)


# --- the command ---------------------------------------------------------------------------------

PAIR = ",".join(DIGITS[:2])


@pytest.fixture
def blind(monkeypatch):
    """No sensor, whatever this machine has."""
    monkeypatch.setattr(
        "cascade_cli.inputs.profiling.open_meters", lambda *args, **more: [NoMeter("a test")]
    )


def stored(root, models, dataset="digits"):
    return costs.read(Store(root), dataset, models)


def weights_of(name):
    """The file that comes along with a model of the digits, and its SHA-256."""
    [one] = choose("digits", [name])
    return one.weights.path, hashlib.sha256(one.weights.path.read_bytes()).hexdigest()


def test_profile_writes_what_it_prints(tmp_path, blind, one_thread):
    where = ("--cache", tmp_path / "cache")
    args = ("profile", "-d", "digits", "--models", PAIR, "--batch-sizes", "4,1,4", "--quick")
    found = cascade(*args, *where, "--json").json
    assert found["dataset"] == "digits"
    assert [(r["model"], r["component"], r["batch_size"]) for r in found["rows"]] == [
        (model, component, size)
        for model in DIGITS[:2]
        for component, size in (("forward", 1), ("forward", 4), ("preprocess", 1))
    ]
    rows = stored(tmp_path / "cache", DIGITS[:2])
    assert all(list(row) == ["model", "runtime", *COSTS.names] for row in found["rows"])
    printed = [CostRow(**row) for row in found["rows"]]
    assert sorted(printed, key=str) == sorted((r for each in rows.values() for r in each), key=str)
    for row in printed:
        assert row.energy_j is None
        assert (row.meter, row.reason, row.runtime) == ("none", "a test", "torch-fp32-cpu")
        assert 0 < row.latency_ms < 1e3
        assert (row.macs or 0) > 1000 or row.component == "preprocess"
        assert row.weights_sha256 == weights_of(row.model)[1]
    shown = cascade(*args, *where).out
    assert shown.rstrip().endswith("no energy sensor: run `cascade doctor`")
    assert len(stored(tmp_path / "cache", DIGITS[:2])[DIGITS[0]]) == 3


@pytest.mark.parametrize("command", ["profile", "extract"])
def test_a_busy_machine_is_told(tmp_path, monkeypatch, command):
    shown = cost_row("a", 1.9, latency_p50_ms=1.0)
    rows = [shown, replace(shown, batch_size=8, latency_ms=9.0)]
    rows += [rows[1], replace(shown, batch_size=4, latency_ms=2.1)]
    rows.append(replace(shown, component="preprocess", latency_ms=99.0))
    monkeypatch.setattr("stages.costs.profile_models", lambda *given: {"a": rows[:quiet]})
    monkeypatch.setattr("cascade_cli.inputs.profiling.merge", lambda *given: None)
    args = (command, "-d", "digits", "--models", PAIR, "--cache", tmp_path, "--json")
    quiet = 1
    assert "note: " not in cascade(*args, profile=True).err
    quiet = None
    notes = [line for line in cascade(*args, profile=True).err.splitlines() if "note: " in line]
    assert notes == [
        "note: a in batches of 8: mean 9 ms against a median of 1 ms (and 1 more): the machine was "
        "busy, measure again: `cascade profile -d digits`"
    ]


@pytest.mark.parametrize("sizes", ["0", "-1", "1,x", "2.5", "65537", "", ",", "1e3", "²"])
def test_a_wrong_batch_size_is_one_line(tmp_path, sizes):
    args = ("profile", "-d", "digits", "--batch-sizes", sizes, "--cache", tmp_path)
    refusal = cascade(*args).refusal
    assert "batch size" in refusal or "names nothing" in refusal
    assert not list(find(Store(tmp_path), "costs", "digits"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--models", "digits_wid"), "did you mean 'digits_wide'"),
        (("--meter", "rappl"), "did you mean 'rapl'"),
        (("--device", "cuda:77"), "cannot use device"),
        (("-d", "cifar10", "--models", "resnet20"), "resnet20"),
    ],
)
def test_a_wrong_request_is_one_line(tmp_path, options, message):
    given = options if "-d" in options else ("-d", "digits", *options)
    assert message in cascade("profile", *given, "--cache", tmp_path).refusal


def test_extract_ends_with_a_profile_of_what_has_none(tmp_path, blind, one_thread):
    where = ("-d", "digits", "--split", "test", "--cache", tmp_path)
    first = cascade("extract", *where, "--models", DIGITS[0], profile=True)
    assert first.status == 0, first.err
    assert "costs of 1 models" in first.err
    assert "no energy sensor: run `cascade doctor`" in first.err
    before = stored(tmp_path, DIGITS[:2])
    sizes = {(row.component, row.batch_size) for row in before[DIGITS[0]]}
    assert sizes == {("forward", 1), ("forward", 8), ("forward", 64), ("preprocess", 1)}
    assert all("quick" in row.warnings for row in before[DIGITS[0]])
    assert before[DIGITS[1]] == []

    again = cascade("extract", *where, "--models", PAIR, "--json", profile=True)
    assert [row["model"] for row in again.json["models"]] == list(DIGITS[:2])
    after = stored(tmp_path, DIGITS[:2])
    assert after[DIGITS[0]] == before[DIGITS[0]]
    assert len(after[DIGITS[1]]) == 4
    third = cascade("extract", *where, "--models", PAIR, profile=True)
    assert "costs of" not in third.err
    assert stored(tmp_path, DIGITS[:2]) == after


def test_other_weights_in_place_of_a_models_take_its_costs_along(tmp_path, blind, one_thread):
    """What states none, such as a board's, stays; what this machine lacks then is measured."""
    where = ("-d", "digits", "--split", "test", "--cache", tmp_path)
    (small, old), (large, new) = map(weights_of, DIGITS[1::2])
    first = ("--model", f"mine={DIGITS[1]}:{small}")
    other = ("--model", f"mine={DIGITS[3]}:{large}")
    assert cascade("extract", *where, *first, profile=True).status == 0
    before = stored(tmp_path, ["mine"])["mine"]
    assert {row.weights_sha256 for row in before} == {old}
    more = [
        replace(before[0], batch_size=2),
        replace(before[0], device="nano", weights_sha256=None),
    ]
    costs.merge(Store(tmp_path), "digits", more)

    assert "give --overwrite" in cascade("extract", *where, *other).refusal
    assert len(stored(tmp_path, ["mine"])["mine"]) == len(before) + 2
    done = cascade("extract", *where, *other, "--overwrite", profile=True)
    assert (
        f"costs of mine ({len(before) + 1} rows) were measured with other weights than any logits "
        "come from now, and are dropped"
    ) in done.err.splitlines()
    after = stored(tmp_path, ["mine"])["mine"]
    here = [row for row in after if row.device != "nano"]
    assert {row.weights_sha256 for row in here} == {new}
    assert {row.macs for row in here if row.component == "forward"} == {828_736}
    assert [row.batch_size for row in here if row.component == "forward"] == [1, 8, 64]
    assert len(after) == len(here) + 1


@pytest.mark.parametrize("rows", [1, 16])
def test_what_makes_a_quick_profile_doubtful_is_one_line(monkeypatch, tmp_path, rows):
    """A sensor that shows 20 to 5 ticks in windows of 1 s and some, as RAPL does."""
    shown = cost_row("a", 1.0, latency_p50_ms=1.0, meter="rapl", energy_j=1.0, windows=2)
    ticks = [20 - i for i in range(rows)]
    found = [
        replace(
            shown,
            batch_size=i + 1,
            warnings=f"short window: {1 + i / 100:.3g} s and {ticks[i]} ticks, below 5 s or 20 "
            "ticks; quick: 2 windows",
        )
        for i in range(rows)
    ]
    found.append(replace(shown, batch_size=99))
    monkeypatch.setattr("stages.costs.profile_models", lambda *given: {"a": found})
    monkeypatch.setattr("cascade_cli.inputs.profiling.merge", lambda *given: None)
    args = ("profile", "-d", "digits", "--models", DIGITS[0], "--quick", "--cache", tmp_path)
    done = cascade(*args)
    [told] = [line for line in done.err.splitlines() if line.startswith("warning: ")]
    of, most = f"{rows} of {rows + 1} rows", ", the worst" * (rows > 1)
    worst = f"{1 + (rows - 1) / 100:.3g} s and {min(ticks)} ticks, below 5 s or 20 ticks"
    assert told == f"warning: short window: {worst} ({of}{most}); quick: 2 windows ({of})"
    assert [row["warnings"] for row in cascade(*args, "--json").json["rows"]] == [
        row.warnings for row in found
    ]


def test_extract_without_a_profile_writes_none(tmp_path):
    done = cascade(
        "extract", "-d", "digits", "--split", "test", "--models", DIGITS[0], "--cache", tmp_path
    )
    assert done.status == 0
    assert stored(tmp_path, DIGITS[:1]) == {DIGITS[0]: []}


def test_a_profile_prices_a_cascade_on_this_machine(tmp_path, blind, one_thread):
    where = ("--cache", tmp_path)
    models = ("--models", PAIR)
    assert cascade("extract", "-d", "digits", *models, *where, profile=True).status == 0
    pair = ("-m1", DIGITS[0], "-m2", DIGITS[1], "-t", "0.9")
    assert cascade("simulate", *pair, *where, "--json").json["cost_kind"] == "macs"
    pair += ("--cost", "latency")
    row = cascade("simulate", *pair, *where, "--json").json
    rows = stored(tmp_path, DIGITS[:2])
    a, b = (
        next(r.latency_ms for r in rows[m] if (r.component, r.batch_size) == ("forward", 1))
        for m in DIGITS[:2]
    )
    assert (row["cost_kind"], row["cost_unit"]) == ("latency", "ms")
    assert row["cost"] == pytest.approx(a + row["usage"] * b)
    decoding = next(r.latency_ms for r in rows[DIGITS[0]] if r.component == "preprocess")
    more = cascade("simulate", *pair, *where, "--with-preprocess", "--json").json
    assert more["cost"] == pytest.approx(a + row["usage"] * b + decoding)
    assert row["cost_low"] < row["cost"] < row["cost_high"]
