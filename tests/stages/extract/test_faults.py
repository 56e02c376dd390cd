"""Runs of extract that are killed, or refused a file operation, and resumed.

Their caches are read with pyarrow alone and held against that of a run which nothing befell.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cache import Store
from cache.upkeep import verify

pytest.importorskip("torch")
if not hasattr(os, "fork"):
    pytest.skip("no fork on this system", allow_module_level=True)

WORKER = Path(__file__).parents[2] / "extract_worker.py"
N, PART = 400, 32
MODELS = ("digits_wide", "digits_plain")
LOGITS = "logits/dataset=digits/split=test/variant=identity/runtime=torch-fp32-cpu"


def worker(*words, **kwargs):
    """What `extract_worker.py` prints, from JSON."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, WORKER, *map(str, words)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def table(root, folder):
    """The rows of a folder of parts, which must be all that lies there."""
    files = sorted(path.name for path in (root / folder).iterdir())
    assert files == [f"part-{i:05d}.parquet" for i in range(len(files))]
    parts = [pq.read_table(root / folder / name, partitioning=None) for name in files]
    return pa.concat_tables([part.replace_schema_metadata() for part in parts])


def rows(root):
    """{what: table} of a cache; of timings what does not depend on the clock."""
    found = {"samples": table(root, "samples/dataset=digits/split=test")}
    for model in MODELS:
        folder = f"{LOGITS}/model={model}"
        found[model] = table(root, folder)
        batches = table(root, folder.replace("logits", "timings", 1))
        found[f"batches of {model}"] = batches.select(["first_sample_id", "batch_size"])
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The rows of an uninterrupted run."""
    root = tmp_path_factory.mktemp("whole")
    assert worker("whole", root) == [0, 0]
    found = rows(root)
    assert found["samples"].num_rows == found[MODELS[0]].num_rows == N
    assert not found[MODELS[0]].equals(found[MODELS[1]])
    return found


def same(root, whole):
    """The cache has the very rows, nothing beside them, and nothing left to go on from."""
    found = rows(root)
    for what, expected in whole.items():
        assert found[what].equals(expected), f"{root}: {what}"
    report = verify(Store(root))
    assert report.damage == []
    assert [entry.path for entry in report.survey.strays] == []
    assert report.survey.unfinished == ()
    assert len(report.survey.complete) == 1 + 2 * len(MODELS)


@pytest.mark.slow
def test_a_hundred_runs_killed_at_random_moments_resume_to_the_same_rows(whole, tmp_path):
    told = worker("kills", tmp_path, 100)
    for i in range(100):
        same(tmp_path / str(i), whole)
    found = [np.asarray(each) for each in told["resumed"]]
    assert all(set((each % PART).tolist()) <= {0, N % PART} for each in found)
    assert sum(each.min() > 0 and each.max() < N for each in found) >= 10  # midway


@pytest.mark.slow
def test_runs_killed_at_their_file_operations_resume_to_the_same_rows(whole, tmp_path):
    told = worker("kills_at_operations", tmp_path, 40)
    for i in range(len(told["struck"])):
        same(tmp_path / str(i), whole)
    assert told["operations"] > 500
    assert {"write", "fsync", "replace", "mkdir", "delete_file"} <= set(told["struck"])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_run_killed_again_and_again_gets_there(seed, whole, tmp_path):
    told = worker("chain", tmp_path / "cache", seed)
    assert told["kills"] >= 3
    assert told["resumed"] == [N, N]
    same(tmp_path / "cache", whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "lasting", "remedy"),
    [
        ("ENOSPC", "lasting", "free some space and run the same command again: it resumes"),
        ("EIO", "once", "check it or choose another with --cache"),
        ("EROFS", "lasting", "choose another with --cache"),
    ],
)
def test_what_the_system_refuses_is_one_line_and_resumes(name, lasting, remedy, whole, tmp_path):
    told = worker("faults", tmp_path, 12, name, lasting)
    reason = os.strerror(getattr(errno, name))
    for i, (operation, status, words) in enumerate(told):
        assert status == 2, (i, operation, words)
        assert words in (
            f"cannot write the cache {tmp_path / str(i)}: {reason}; {remedy}",
            f"cannot read the cache {tmp_path / str(i)}: {reason}; {remedy}",
        ), operation
        same(tmp_path / str(i), whole)
    assert len({operation for operation, _, _ in told}) >= 5
