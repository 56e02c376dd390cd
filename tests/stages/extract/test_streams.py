"""Batches side by side: the count that is quickest, the same rows, and memory that runs out."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from few_digits import PAIR, few_digits, run
from running import RUNTIME, logits_of, manifest_of

from cache import InputError, Store, read_table
from stages import extract
from stages.extract import classes, passes, worker
from stages.extract.streams import Streams
from stages.models import Target, choose, for_engine
from stages.runtimes import open_device

torch = pytest.importorskip("torch")

from stages.runtimes import Runner  # noqa: E402

N = 480  # 30 batches of 16: each count is tried, and one is settled on
SETTINGS = {"part_rows": 240}


@pytest.fixture
def two_threads():
    usual = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(usual)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """{model: logits} of one batch after the other."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("whole")
    run(root, few_digits(N), **SETTINGS)
    torch.set_num_threads(usual)
    return {name: logits_of(root, "test", name)[1] for name in PAIR}


def tried(streams, seconds):
    """The counts that chunks ran with, as long as they tell anything."""
    counts = []
    while not streams._found:
        counts.append(streams.count)
        streams.learn(32, PAIR, seconds[streams.count])
    return counts


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({1: 3.0, 4: 2.0, 16: 1.0}, 16),
        ({1: 3.0, 4: 1.0, 16: 2.0}, 4),
        ({1: 1.0, 4: 2.0, 16: 3.0}, 1),
    ],
)
def test_the_quickest_count_stays(seconds, best):
    streams = Streams(16, lambda: None)
    assert tried(streams, seconds) == [1] * 3 + [4] * 3 + [16] * 3
    assert (streams.count, streams.share) == (best, 16 // best)


def test_the_first_chunk_of_a_count_warms_up():
    streams = Streams(2, lambda: None)
    for seconds in (1.0, 5.0, 5.0, 100.0, 2.0, 90.0):
        streams.learn(4, PAIR, seconds)
    assert streams.count == 2


def test_one_thread_has_nothing_to_find():
    streams = Streams(1, lambda: None)
    assert (tried(streams, {}), streams.count, streams.share) == ([], 1, 1)


def test_chunks_of_another_kind_tell_nothing():
    streams = Streams(2, lambda: None)
    streams.learn(4, PAIR, 1.0)
    for _ in range(9):
        streams.learn(3, PAIR, 0.01)
        streams.learn(4, PAIR[:1], 0.01)
    assert streams.count == 1
    assert not streams._found


def test_a_larger_chunk_begins_anew():
    streams = Streams(2, lambda: None)
    for _ in range(4):
        streams.learn(1, PAIR, 0.001)
    assert streams.count == 2
    assert tried(streams, {1: 1.0, 2: 2.0})[1:] == [1, 1, 2, 2, 2]
    assert streams.count == 1


@pytest.mark.parametrize(("memory", "most"), [(1000, 16), (150, 4), (60, 4), (30, 1)])
def test_a_count_that_memory_may_not_hold_is_not_tried(memory, most):
    """Each batch takes 10."""
    taken = 0
    streams = Streams(16, lambda: memory - taken)
    while not streams._found:
        taken = max(taken, 10 * streams.count)
        streams.learn(32, PAIR, 1 / streams.count)
    assert streams.count == most


def test_an_exception_is_raised_when_the_calls_at_work_have_ended():
    streams, ended, begun = Streams(2, lambda: None), [], threading.Event()
    streams.settle(2)

    def call(i):
        if i == 0:
            begun.wait(10)
            raise RuntimeError("first")
        begun.set()
        time.sleep(0.2)
        ended.append(i)

    with pytest.raises(RuntimeError, match="first"):
        streams.map(call, range(50))
    assert 1 in ended
    assert len(ended) < 5
    streams.close()


def right(root, whole, runtime=RUNTIME, sizes=(16,)):
    for name in PAIR:
        ids, rows = logits_of(root, "test", name, runtime=runtime)
        assert ids.tolist() == list(range(N))
        np.testing.assert_allclose(rows, whole[name], rtol=1e-5, atol=1e-4)
        manifest = manifest_of(root, "timings", "test", name, runtime=runtime)
        table = read_table(Store(root), manifest).to_pydict()
        ends = np.cumsum(table["batch_size"])
        assert table["first_sample_id"] == [0, *ends[:-1].tolist()]
        assert set(table["batch_size"]) <= set(sizes)
        assert min(table["forward_ms"]) > 0


@pytest.mark.parametrize("count", [1, 2])
def test_rows_are_the_same_and_threads_are_given_back(
    count, two_threads, whole, tmp_path, monkeypatch
):
    """Whichever of the two is found to be quicker."""
    names, logits = set(), Runner.logits

    def watched(runner, batch):
        names.add((threading.current_thread().name.partition("_")[0], torch.get_num_threads()))
        return logits(runner, batch)

    monkeypatch.setattr(Runner, "logits", watched)
    learn = Streams.learn
    monkeypatch.setattr(
        Streams, "learn", lambda self, n, of, _: learn(self, n, of, abs(self.count - count) + 1.0)
    )
    run(tmp_path, few_digits(N), **SETTINGS)
    right(tmp_path, whole)
    assert names >= {("MainThread", 2), ("stream", 1)}
    assert torch.get_num_threads() == 2


def test_models_may_take_fewer_images_at_a_time(two_threads, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(
        passes.Lane, "step", property(lambda lane: 16 if lane.name == PAIR[0] else 6)
    )
    monkeypatch.setattr(Streams, "learn", lambda streams, *_: streams.settle(2))
    run(tmp_path, few_digits(N), **SETTINGS)
    right(tmp_path, whole, sizes=(16, 6, 4))


def test_onnx_runtime_gets_sessions_of_as_many_threads(whole, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    from stages.runtimes import onnx_engine

    opened, session = [], onnx_engine.session
    monkeypatch.setattr(
        onnx_engine,
        "session",
        lambda path, threads, providers: opened.append(threads) or session(path, threads),
    )
    device = onnx_engine.OnnxDevice(threads=2)
    assert open_device("cpu", engine="onnxruntime").engine == device.engine
    target = Target("onnxruntime", size=(8, 8), folder=tmp_path / "onnx")
    chosen = [for_engine(one, target) for one in choose("digits", PAIR)]
    options = extract.Options(device, batch_size=16, workers=2, **SETTINGS)
    extract.run(Store(tmp_path), [few_digits(N)], chosen, options)
    right(tmp_path, whole, "onnxruntime-fp32-cpu")
    assert opened.count(1) >= len(PAIR)
    assert 2 in opened


def test_want_of_memory_side_by_side_means_one_at_a_time(two_threads, whole, tmp_path, monkeypatch):
    logits = Runner.logits

    def crowded(runner, batch):
        if threading.current_thread().name.startswith("stream"):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return logits(runner, batch)

    monkeypatch.setattr(Runner, "logits", crowded)
    told = []
    run(tmp_path, few_digits(N), note=told.append, **SETTINGS)
    right(tmp_path, whole)
    assert not told


class Remembering(torch.nn.Module):
    """Reads in a second step what it kept in a first, as a hook or the module itself may."""

    def __init__(self, inner, by_hook):
        super().__init__()
        self.inner = inner
        self.seen = {}
        if by_hook:
            inner.register_forward_pre_hook(lambda module, given: self.keep(given[0]))
        self.by_hook = by_hook

    def keep(self, given):
        self.seen["given"] = given

    def forward(self, given):
        if not self.by_hook:
            self.keep(given)
        self.inner(given)  # others run meanwhile
        return self.inner(self.seen["given"])


@pytest.mark.parametrize("by_hook", [False, True])
def test_a_model_that_keeps_what_it_sees_gives_its_own_rows(
    by_hook, two_threads, whole, tmp_path, monkeypatch
):
    read = worker.load
    monkeypatch.setattr(worker, "load", lambda *args: Remembering(read(*args), by_hook))
    monkeypatch.setattr(classes, "free_bytes", lambda _: 0)  # the driver keeps no module
    monkeypatch.setattr(Streams, "learn", lambda streams, *_: streams._found or streams.settle(2))
    counts = set()
    side_by_side = passes.Passes._side_by_side

    def watched(self, *args):
        counts.add(side_by_side(self, *args))
        return True in counts and not by_hook

    monkeypatch.setattr(passes.Passes, "_side_by_side", watched)
    run(tmp_path, few_digits(N), **SETTINGS)
    right(tmp_path, whole)
    assert counts == {not by_hook}


def test_what_fails_in_a_stream_is_told(two_threads, tmp_path, monkeypatch):
    logits = Runner.logits

    def broken(runner, batch):
        if threading.current_thread().name.startswith("stream"):
            return logits(runner, batch) * float("nan")
        return logits(runner, batch)

    monkeypatch.setattr(Runner, "logits", broken)
    with pytest.raises(InputError, match="NaN or infinite"):
        run(tmp_path, few_digits(N), **SETTINGS)
    assert torch.get_num_threads() == 2
