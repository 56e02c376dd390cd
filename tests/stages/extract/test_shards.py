"""Shards of one extraction, in one cache or in several; several extractions at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from running import INTERRUPTED, ROOT, cascade, logits_of, manifest_of, seeded_weights

from cache import Store, find, read_table
from cache.upkeep import verify

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("one_thread")

N, PART = 500, 64  # digits/test
PAIR = ("digits_wide", "digits_plain")
EXTRACT = ("extract", "-d", "digits", "--split", "test", "--models", ",".join(PAIR))
SIZES = ("--batch-size", "32", "--part-rows", str(PART))
WORKER = Path(__file__).parents[2] / "extract_worker.py"


def extract(root, *more, profile=False):
    return cascade(*EXTRACT, *SIZES, "--cache", root, *more, profile=profile)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """{model: logits} of a run in one piece."""
    root = tmp_path_factory.mktemp("whole")
    assert extract(root).status == 0
    return {name: logits_of(root, "test", name)[1] for name in PAIR}


def same(root, whole):
    """The rows of a run in one piece, in whole and sound files with nothing beside them."""
    for name in PAIR:
        ids, rows = logits_of(root, "test", name)
        assert ids.tolist() == list(range(N))
        np.testing.assert_array_equal(rows, whole[name])
        timings = read_table(Store(root), manifest_of(root, "timings", "test", name))
        assert sum(timings.column("batch_size").to_pylist()) == N
    report = verify(Store(root))
    assert (report.damage, list(report.survey.strays), report.survey.unfinished) == ([], [], ())


def started(*words, pace="0", **kwargs):
    """`cascade WORDS` in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, WORKER, "command", pace, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **kwargs,
    )


def until(process, words):
    """Read stderr up to a line with these words; returns it."""
    for line in process.stderr:
        if words in line:
            return line
    out, err = process.communicate()
    raise AssertionError(f"ended with {process.returncode} before saying {words!r}: {out} {err}")


# --- shards --------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_shards_one_after_another_in_one_cache(order, whole, tmp_path):
    for count, i in enumerate(order, 1):
        rows = extract(tmp_path, "--shard", f"{i}/3", "--json").json["models"]
        assert [row["complete"] for row in rows] == [count == 3] * 2
        assert bool(find(Store(tmp_path), "logits")) == (count == 3)
    assert [row["rows"] for row in rows] == [N, N]
    assert [row["accuracy"] for row in rows] == [
        np.mean(whole[name].argmax(axis=1) == labels(tmp_path)) for name in PAIR
    ]
    same(tmp_path, whole)
    again = extract(tmp_path, "--shard", "1/3", "--json").json["models"]
    assert [(row["resumed_rows"], row["complete"]) for row in again] == [(N, True)] * 2


def labels(root):
    return read_table(Store(root), manifest_of(root, "samples", "test")).column("label").to_numpy()


def test_what_a_shard_did_and_what_it_waits_for(tmp_path):
    result = extract(tmp_path, "--shard", "1/3")
    parts = [range(start, min(start + PART, N)) for start in range(PART, N, 3 * PART)]
    for line in result.out.splitlines()[1:3]:
        assert f" {sum(map(len, parts))} " in line
        assert line.endswith(" no")
    assert result.out.splitlines()[-1] == "2 of them wait for the parts of other shards"
    assert "complete" not in extract(tmp_path / "other").out


def test_an_unsharded_run_goes_on_from_the_shards(whole, tmp_path):
    for i in (0, 2):
        extract(tmp_path, "--shard", f"{i}/3")
    rows = extract(tmp_path, "--json").json["models"]
    assert [row["resumed_rows"] for row in rows] == [320] * 2  # all but parts 1, 4 and 7
    same(tmp_path, whole)


def test_shards_in_caches_of_their_own_are_merged(whole, tmp_path):
    roots = [tmp_path / f"shard{i}" for i in range(3)]
    for i, root in enumerate(roots):
        rows = extract(root, "--shard", f"{i}/3", "--json").json["models"]
        assert not any(row["complete"] for row in rows)
    target = tmp_path / "all"
    for i, root in enumerate(roots):
        states = cascade("cache", "merge", root, "--cache", target, "--json").json["partitions"]
        found = {row["state"] for row in states if row["table"] in ("logits", "timings")}
        assert found == ({"published"} if i == 2 else {"waiting"})
    same(target, whole)


@pytest.mark.slow
def test_shards_at_the_same_time(whole, tmp_path):
    processes = [
        started(
            *EXTRACT, *SIZES, "--no-profile", "--shard", f"{i}/3", "--cache", tmp_path, "--json"
        )
        for i in range(3)
    ]
    ends = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, ends
    assert any(all(row["complete"] for row in json.loads(out)["models"]) for out, _ in ends)
    same(tmp_path, whole)


def test_shards_that_cut_differently_never_mix(whole, tmp_path):
    extract(tmp_path, "--shard", "0/2")
    result = extract(tmp_path, "--shard", "1/2", "--part-rows", 100)
    assert "4 parts of logits" in result.err
    assert "part_rows was 64, now 100" in result.err
    for i in range(2):
        extract(tmp_path, "--shard", f"{i}/2")
    same(tmp_path, whole)


def test_a_shard_without_a_part_is_told_how_to_get_one(tmp_path):
    result = cascade(*EXTRACT, "--cache", tmp_path, "--shard", "2/3")
    assert result.status == 0
    [line] = [line for line in result.err.splitlines() if "shard" in line]
    assert line == (
        "shard 2/3 has no part of digits/test, whose 500 images make 1 of 8192: for work for all "
        "give every shard --part-rows 166"
    )
    told = extract(tmp_path, "--shard", "2/3", "--part-rows", 166).err
    assert "has no part" not in told


def test_costs_and_hashes_are_the_first_shards(tmp_path):
    one = ("--models", PAIR[0], "--hashes", "dhash")
    assert extract(tmp_path, "--shard", "1/2", *one, profile=True).status == 0
    assert not find(Store(tmp_path), "costs")
    assert not find(Store(tmp_path), "hashes")
    assert extract(tmp_path, "--shard", "0/2", *one, profile=True).status == 0
    assert find(Store(tmp_path), "costs")
    assert find(Store(tmp_path), "hashes")


# --- several at a time ---------------------------------------------------------------------------


def test_who_comes_second_waits_and_finds_everything_done(whole, tmp_path):
    words = (*EXTRACT, *SIZES, "--no-profile", "--cache", tmp_path, "--json")
    first = started(*words, pace="held")
    until(first, "running")
    second = started(*words)
    line = until(second, "waiting")
    assert f"is being written by process {first.pid} on " in line
    assert line.rstrip().endswith("waiting for it")
    ends = [process.communicate("\n", timeout=300) for process in (first, second)]
    rows = [json.loads(out)["models"] for out, _ in ends]
    assert [row["resumed_rows"] for row in rows[0]] == [0, 0]
    assert [row["resumed_rows"] for row in rows[1]] == [N, N]
    same(tmp_path, whole)


def test_different_models_run_side_by_side(whole, tmp_path):
    one = ("extract", "-d", "digits", "--split", "test", *SIZES, "--no-profile", "--json")
    first = started(*one, "--models", PAIR[0], "--cache", tmp_path, pace="held")
    until(first, "running")
    result = cascade(*one, "--models", PAIR[1], "--cache", tmp_path)
    assert result.json["models"][0]["rows"] == N
    assert "waiting" not in result.err
    assert first.poll() is None
    first.communicate("\n", timeout=300)
    assert first.returncode == 0
    same(tmp_path, whole)


def test_images_are_not_replaced_while_a_run_is_at_them(tmp_path):
    """Nothing of the first is published yet, so that the other would be free to replace them."""
    weights = seeded_weights(tmp_path / "w" / "resnet20.pt").parent
    words = ("extract", "-d", "mine", "--split", "test", "--no-profile", "--json", *SIZES)
    words += ("--models", "resnet20", "--weights", weights, "--cache", tmp_path / "cache")
    places = [greys(tmp_path / name, n) for name, n in (("a", 100), ("b", 90))]
    first = started(*words, "-f", places[0], pace="held")
    until(first, "running")
    second = started(*words, "-f", places[1])
    until(second, "waiting")
    ends = [process.communicate("\n", timeout=300) for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 2], ends
    assert "dataset_fingerprint was" in ends[1][1].splitlines()[-1]
    assert verify(Store(tmp_path / "cache")).damage == []


def greys(root, n):
    """Digits as an image folder."""
    from PIL import Image

    from stages.datasets import open_split

    source = open_split("digits", "test")
    for i in range(n):
        path = root / "test" / str(source.labels[i]) / f"{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(source.read(i)).save(path)
    return root


# --- interrupted from outside --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (signal.SIGINT, 130, [f"cascade: {INTERRUPTED}"]),
        (signal.SIGTERM, -signal.SIGTERM, []),
    ],
)
def test_a_signal_in_the_middle_leaves_a_cache_that_resumes(number, status, said, whole, tmp_path):
    words = (*EXTRACT, *SIZES, "--no-profile", "--cache", tmp_path, "--json")
    process = started(*words, pace="0.05")
    until(process, "running")
    wait_for(lambda: len(list((tmp_path / ".tmp" / "receipts").rglob("*.json"))) >= 6)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.splitlines()) == (status, "", said)
    rows = extract(tmp_path, "--json").json["models"]
    assert all(0 < row["resumed_rows"] < N for row in rows)
    same(tmp_path, whole)


def wait_for(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
