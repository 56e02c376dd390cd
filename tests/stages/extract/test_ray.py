"""The engine `ray` on a real cluster of this machine: same rows as local, whatever dies."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from running import ROOT, cascade, manifest_of, seeded_weights

from cache import InputError

torch = pytest.importorskip("torch")
ray = pytest.importorskip("ray", reason="no Ray: install the extra [ray]")

from extracting import CPU, PAIR, PART, PARTS, N, rows_of, run  # noqa: E402
from ray_makers import HAPPENED, AlwaysDies, Dies, NeverThere, Overwritten  # noqa: E402

from stages.extract import (  # noqa: E402
    ray_cluster,
    ray_engine,
)
from stages.runtimes import device_name  # noqa: E402

pytestmark = [
    pytest.mark.slow,  # each worker imports torch and Ray Data
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
]


@pytest.fixture(scope="module")
def cluster(s3_server, tmp_path_factory):
    """A Ray cluster of two CPUs; its workers find the S3 server and this folder's modules."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv(HAPPENED, str(tmp_path_factory.mktemp("happened")))
        for name, value in ray_cluster._QUIET.items():
            patch.setenv(name, value)
        ray.init(
            "local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=1 << 27,
            log_to_driver=False,
        )
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The rows of the local engine."""
    root = tmp_path_factory.mktemp("whole")
    run(root)
    return rows_of(root)


def ray_run(root, monkeypatch=None, maker=None, models=PAIR, **options):
    """(rows of the command, what was noted, images done at each call of progress).

    Some worker is there while it runs, as `gone` says nothing of what it cannot see.
    """
    if maker is not None:
        monkeypatch.setattr(ray_engine, "Maker", maker)
    notes, done, seen = [], [], set()

    def progress(images, total):
        done.append((images, total))
        seen.update(actors())

    rows = run(
        *(root, models, progress),
        **{
            "engine": "ray",
            "ray_workers": 2,
            "note": notes.append,
            "device_name": "two",
            **options,
        },
    )
    assert seen or not done
    return rows, notes, done


def actors():
    """The processes that run a Maker, of those that descend from this one."""
    parents, makers = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()
        except OSError:  # it has ended meanwhile
            continue
        parents[int(folder.name)] = int(state[1])
        if command.startswith(b"ray::MapWorker"):
            makers.append(int(folder.name))
    return [pid for pid in makers if os.getpid() in ancestors(pid, parents)]


def ancestors(pid, parents):
    while pid in parents:
        pid = parents[pid]
        yield pid


def gone(seconds=60):
    """Whether all of them end soon."""
    until = time.monotonic() + seconds
    while actors() and time.monotonic() < until:
        time.sleep(0.1)
    return not actors()


# --- the same rows -------------------------------------------------------------------------------


def test_two_workers_give_the_rows_of_the_local_engine(cluster, whole, tmp_path):
    rows, notes, done = ray_run(tmp_path, device_name=None)
    assert rows_of(tmp_path) == whole
    about = manifest_of(tmp_path, "logits", "test", PAIR[0]).provenance
    assert about["engine"] == "ray"
    assert about["device"] == device_name(CPU)
    assert notes == []
    assert done[-1] == (N, N)
    assert len(done) == PARTS
    assert [(row.rows, row.resumed_rows, row.complete) for row in rows] == [(N, 0, True)] * 2
    assert gone()


def test_a_killed_worker_is_replaced(cluster, whole, any_store, monkeypatch):
    """One dies before it makes its part, one when the part lies there already."""
    _, notes, done = ray_run(any_store.root, monkeypatch, Dies)
    assert rows_of(any_store.root) == whole
    assert sorted(notes) == [
        f"a worker was lost with part {part} of digits/test: another has made it" for part in (3, 5)
    ]
    assert done[-1] == (N, N)
    assert len(done) == PARTS


def test_a_part_overwritten_by_a_lost_worker_is_made_again(cluster, whole, tmp_path, monkeypatch):
    _, _, done = ray_run(tmp_path, monkeypatch, Overwritten)
    assert rows_of(tmp_path) == whole
    assert len(done) == PARTS


def test_what_a_run_left_is_resumed(cluster, whole, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"part 3 has ended 2 workers: look into Ray's logs"):
        ray_run(tmp_path, monkeypatch, AlwaysDies)
    assert gone()
    rows = run(tmp_path)
    assert rows_of(tmp_path) == whole
    assert all(0 < row.resumed_rows < N for row in rows)


# --- refusals ------------------------------------------------------------------------------------


def test_what_a_worker_refuses_is_one_line(cluster, tmp_path):
    file = seeded_weights(tmp_path / "w.pt", "digits_wide")
    state = torch.load(file, weights_only=True)
    torch.save({name: 1e30 * tensor for name, tensor in state.items()}, file)
    done = cascade(
        *("extract", "--model", f"huge=digits_wide:{file}", "--split", "test"),
        *("--engine", "ray", "--ray-workers", 2, "--part-rows", PART, "--cache", tmp_path / "c"),
    )
    assert "huge gives a NaN or infinite logit on digits/test sample" in done.refusal
    assert gone()


def test_records_that_never_fit(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, "_ROUNDS", 1)
    with pytest.raises(InputError, match=r"is not in .* as its worker wrote it: check that nobody"):
        ray_run(tmp_path, monkeypatch, NeverThere)


def test_more_workers_than_cpus(cluster, tmp_path):
    with pytest.raises(InputError, match=r"has 2 CPUs for 3 workers: give --ray-workers 2 or less"):
        ray_run(tmp_path, ray_workers=3)


LAST_WORDS = """
import threading
from ray._private import worker
from stages.extract.ray_cluster import connected

word = {"lines": ["lost"], "pid": "raylet", "is_err": False, "ip": "", "job": ""}
with connected(lambda note: None):
    for _ in range(2):  # the second is held back until Ray ends
        said = threading.Thread(target=worker.print_to_stdstream, args=(word, False))
        said.start()
        said.join()
print("ours")
"""


def test_what_ray_says_at_its_end_is_not_the_result():
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    env.pop("RAY_ADDRESS", None)
    done = subprocess.run(
        [sys.executable, "-c", LAST_WORDS], env=env, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "ours\n"), done.stderr
