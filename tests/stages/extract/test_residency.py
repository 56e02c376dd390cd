"""extract on a device whose memory is too small: smaller batches, models that take turns.

The device is a CPU with an account: what is loaded is counted by the modules that are alive, so a
module that something still refers to takes its room.
"""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from few_digits import N, counting, few_digits, run
from running import DIGITS, logits_of, manifest_of

from cache import InputError, Store, find, read_table

torch = pytest.importorskip("torch")

from stages.extract import (  # noqa: E402
    classes,
    passes,
    residency,
    worker,
)
from stages.runtimes import Runner  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

BATCH, PART = 16, 64  # as test_extract runs
OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
# As the CPU's allocator and cuDNN say it.
PLAIN = [
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to …"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
]


@dataclass
class Device:
    """`room` for modules of `weights` each and one batch of `images` each, in any unit.

    Models that are not named take 1, and their images nothing.
    """

    room: float
    weights: dict = field(default_factory=dict)
    images: dict = field(default_factory=dict)
    error: Exception = OUT_OF_MEMORY
    alive: dict = field(default_factory=weakref.WeakKeyDictionary)
    loads: list = field(default_factory=list)
    passes: list = field(default_factory=list)
    most: int = 0

    def taken(self):
        return sum(self.weights.get(name, 1) for name in self.alive.values())

    def fresh_error(self):
        """One that was raised before would keep its frames, and what is in them."""
        return type(self.error)(*self.error.args)

    def load(self, spec, weights):
        name = spec.name
        if self.taken() + self.weights.get(name, 1) > self.room:
            raise self.fresh_error()
        module = _load(spec, weights)
        self.alive[module] = name
        self.loads.append(name)
        self.most = max(self.most, len(self.alive))
        return module

    def logits(self, runner, batch):
        name = self.alive.get(runner.module)
        if name is not None:  # else the driver looks what a row is like
            if self.taken() + self.images.get(name, 0) * len(batch) > self.room:
                raise self.fresh_error()
            self.passes.append((name, len(batch)))
        return _logits(runner, batch)


_load, _logits = worker.load, Runner.logits


@pytest.fixture(autouse=True, scope="module")
def _quick_collections():
    """What torch has made on import is not looked through at every wave."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def on(monkeypatch):
    """Makes a Device that of this test."""

    def use(device):
        monkeypatch.setattr(worker, "load", device.load)
        monkeypatch.setattr(Runner, "logits", lambda runner, batch: device.logits(runner, batch))
        monkeypatch.setattr(classes, "free_bytes", lambda _: 0)  # the driver keeps no module
        monkeypatch.setattr(residency, "free_bytes", lambda _: None)
        return device

    return use


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """{model: logits} of a device that is large enough."""
    root = tmp_path_factory.mktemp("whole")
    run(root, models=DIGITS)
    return {name: logits_of(root, "test", name)[1] for name in DIGITS}


def right(root, whole, models=DIGITS):
    """Every row is there, once, and what it should be; so are the batches."""
    for name in models:
        ids, rows = logits_of(root, "test", name)
        assert ids.tolist() == list(range(N))
        np.testing.assert_allclose(rows, whole[name], rtol=1e-5, atol=1e-5)
        table = read_table(Store(root), manifest_of(root, "timings", "test", name)).to_pydict()
        ends = np.cumsum(table["batch_size"])
        assert table["first_sample_id"] == [0, *ends[:-1].tolist()]
        assert ends[-1] == N


def sizes(root, name):
    table = read_table(Store(root), manifest_of(root, "timings", "test", name))
    return table.column("batch_size").to_pylist()


# --- batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("most", "error"),
    [(8, OUT_OF_MEMORY), (7, OUT_OF_MEMORY), (1, OUT_OF_MEMORY), *((3, plain) for plain in PLAIN)],
)
def test_a_batch_that_does_not_fit_is_halved(most, error, on, whole, tmp_path):
    name, told = DIGITS[0], []
    on(Device(most, {name: 0}, {name: 1}, error))
    run(tmp_path, models=(name,), note=told.append)
    right(tmp_path, whole, (name,))
    fitting = max(size for size in (16, 8, 4, 2, 1) if size <= most)
    assert set(sizes(tmp_path, name)) == {fitting}
    steps = [size for size in (8, 4, 2, 1) if size >= fitting]
    assert told == [
        f"cpu has no memory for {2 * size} images of {name} at a time: going on with {size}"
        for size in steps
    ]


def test_only_the_model_that_is_too_large_takes_smaller_batches(on, whole, tmp_path):
    large, *rest = DIGITS
    on(Device(100, {}, {large: 12}))
    run(tmp_path, models=DIGITS)
    right(tmp_path, whole)
    assert set(sizes(tmp_path, large)) == {8}
    assert all(set(sizes(tmp_path, name)) == {BATCH, 8} for name in rest)  # 200 is 12 × 16 + 8


def test_memory_that_shrinks_in_the_middle(on, whole, tmp_path):
    name = DIGITS[0]
    device = on(Device(16, {name: 0}, {name: 1}))

    def logits(runner, batch):
        device.room = 16 if len(device.passes) < 5 else 5
        return Device.logits(device, runner, batch)

    device.logits = logits
    run(tmp_path, models=(name,))
    right(tmp_path, whole, (name,))
    assert sizes(tmp_path, name)[:7] == [16] * 5 + [4, 4]


@pytest.mark.parametrize("error", [OUT_OF_MEMORY, *PLAIN], ids=["torch", "cpu", "cudnn"])
def test_one_image_that_does_not_fit_is_one_line(error, on, tmp_path):
    name = DIGITS[0]
    on(Device(0.5, {name: 0}, {name: 1}, error))
    with pytest.raises(InputError, match=f"no memory for one image of {name}.*--device") as caught:
        run(tmp_path, models=(name,))
    assert "\n" not in str(caught.value)
    assert not find(Store(tmp_path), "logits")


def test_weights_that_do_not_fit_are_one_line(on, tmp_path):
    on(Device(2, {DIGITS[1]: 3}))
    with pytest.raises(InputError, match=f"no memory for the weights of {DIGITS[1]}"):
        run(tmp_path, models=DIGITS)


def test_other_errors_of_a_model_are_not_taken_for_want_of_memory(on, tmp_path):
    on(Device(1, {DIGITS[0]: 0}, {DIGITS[0]: 1}, RuntimeError("mat1 and mat2 shapes")))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        run(tmp_path, models=DIGITS[:1])


# --- waves ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [1, 2, 3, 4])
def test_models_take_turns(room, on, whole, tmp_path):
    device, source = on(Device(room)), counting(few_digits())
    run(tmp_path, source, models=DIGITS)
    right(tmp_path, whole)
    assert source.reads == Counter(range(N))
    assert device.most == room
    waves, parts = -(-len(DIGITS) // room), -(-N // PART)
    loads = len(DIGITS) * (1 if waves == 1 else parts + 1)  # the first batch is one of its own
    assert len(device.loads) <= loads
    gc.collect()
    assert not device.alive


def test_a_wave_that_is_awake_goes_first(on, tmp_path):
    """Of two waves every part loads one only."""
    device = on(Device(2))
    run(tmp_path, models=DIGITS)
    parts = -(-N // PART)
    assert len(device.loads) == len(DIGITS) + 2 * parts


def test_chunks_of_a_part_are_bounded(on, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "_CHUNK_BYTES", 2 * BATCH * 64)  # two batches of 8×8 pixels wait
    device, source = on(Device(2)), counting(few_digits())
    run(tmp_path, source, models=DIGITS)
    right(tmp_path, whole)
    assert source.reads == Counter(range(N))
    assert len(device.loads) > len(DIGITS) + 2 * -(-N // PART)


def test_little_free_memory_starts_a_wave(on, whole, tmp_path, monkeypatch):
    """Nothing raises: the kernel would rather kill."""
    device = on(Device(100))
    free = {0: 1 << 30, 1: 1 << 30}
    monkeypatch.setattr(residency, "free_bytes", lambda _: free.get(len(device.alive), 1))
    run(tmp_path, models=DIGITS)
    right(tmp_path, whole)
    assert device.most == 2


def test_a_wave_that_does_not_fit_again_is_split(on, whole, tmp_path):
    device = on(Device(3))
    load = device.load

    def shrinking(spec, weights):
        device.room = 3 if len(device.loads) < 5 else 1
        return load(spec, weights)

    device.load = shrinking
    on(device)
    run(tmp_path, models=DIGITS)
    right(tmp_path, whole)


def test_a_first_batch_that_was_short_promises_nothing(on, whole, tmp_path):
    """Only the last part is lacking for some, so all are placed with 8 images before 16 come."""
    run(tmp_path, models=DIGITS)
    for name in DIGITS:
        manifest = manifest_of(tmp_path, "logits", "test", name)
        for part in manifest.parts[-1:] if name != DIGITS[3] else manifest.parts[1:]:
            (tmp_path / manifest.partition.path / part.name).unlink()
    device = on(Device(4 + 8, {}, dict.fromkeys(DIGITS, 1)))
    run(tmp_path, models=DIGITS)
    right(tmp_path, whole)
    assert {size for _, size in device.passes} == {8}


def test_a_crowded_model_leaves_rather_than_take_tiny_batches(on, whole, tmp_path):
    """Beside the others there comes to be room for 2 images of it; alone for 16."""
    large, *rest = DIGITS
    device = on(Device(20, {}, {large: 1}))
    device.weights = dict.fromkeys(rest, 6)
    run(tmp_path, models=DIGITS)
    right(tmp_path, whole)
    assert sizes(tmp_path, large)[4:] == [16] * 8 + [8]
    assert device.most == 4


@pytest.mark.parametrize("seed", range(8))
def test_any_memory_that_holds_each_model_alone_will_do(seed, on, whole, tmp_path):
    rng = np.random.default_rng(seed)
    weights = dict(zip(DIGITS, rng.integers(1, 20, 4).tolist(), strict=True))
    images = dict(zip(DIGITS, rng.integers(0, 4, 4).tolist(), strict=True))
    least = max(weights[name] + images[name] for name in DIGITS)
    room = least + int(rng.integers(0, 60))
    device, source = on(Device(room, weights, images)), counting(few_digits())
    run(tmp_path, source, models=DIGITS, variants=("identity", "flip")[: 1 + seed % 2])
    right(tmp_path, whole)
    assert source.reads == Counter(range(N))
    gc.collect()
    assert not device.alive
    enough = passes._CONTENT
    alone = {
        n: max(b for b in (16, 8, 4, 2, 1) if weights[n] + b * images[n] <= room) for n in DIGITS
    }
    for name in DIGITS:
        assert max(sizes(tmp_path, name)) >= min(alone[name], BATCH // enough)
