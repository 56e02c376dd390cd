"""Lines of a decision log are those of a loop of json.dumps, whoever writes and whatever fails."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from stages.cascade import Outcome
from stages.policy.decision_log import DecisionLog
from stages.policy.flatten import flatten

SCORES = ("maxp", "difference", "entropy")
MODELS = ("small", "größer")
ROOT = Path(__file__).parents[3]


def batch(n, seed=0, models=2, scores=SCORES):
    """What a cascade may have decided about n requests: (outcome, answers, drawn)."""
    rng = np.random.default_rng(seed)
    stage = rng.integers(-1, models, n).astype(np.int8)
    drawn = rng.random(n) < 0.3
    answers = []
    for k in range(models):
        ran = (stage >= k) | (drawn & (stage >= 0))
        given = {name: np.where(ran, rng.random(n), np.nan) for name in scores}
        answers.append({"ran": ran, "prediction": rng.integers(0, 9, n).astype(np.int32), **given})
    hit, failed = (stage < 0, rng.random(n) < 0.1) if seed % 2 else (None, None)
    prediction = rng.integers(0, 9, n).astype(np.int32)
    return Outcome(stage, stage, prediction, [], hit=hit, failed=failed), answers, drawn


def naive(models, policy, keys, outcome, answers, drawn, latency_ms):
    """A line for each request, but for its time."""
    lines = []
    for i in range(len(drawn)):
        answered = int(outcome.answered[i])
        line = {"v": 1, "key": None if keys is None else keys[i], "policy": policy}
        line |= {"models": list(models), "answered": None if answered < 0 else models[answered]}
        line["prediction"] = int(outcome.prediction[i])
        for name in ("predictions", *SCORES):
            given = [
                each[name.removesuffix("s") if name == "predictions" else name][i]
                for each in answers
            ]
            line[name] = [
                each.item() if of["ran"][i] and math.isfinite(each) else None
                for each, of in zip(given, answers, strict=True)
            ]
        line["escalated"] = bool(outcome.stage[i] >= 1)
        line["hit"] = outcome.hit is not None and bool(outcome.hit[i])
        line["failed"] = outcome.failed is not None and bool(outcome.failed[i])
        line |= {"drawn": bool(drawn[i]), "latency_ms": latency_ms, "batch": len(drawn)}
        lines.append(line)
    return lines


def lines_of(folder):
    """Those of all files, by their names."""
    texts = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    assert all(text.endswith(b"\n") for text in texts if text)
    return [json.loads(line) for text in texts for line in text.splitlines()]


def timeless(lines):
    return [{name: each for name, each in line.items() if name != "time"} for line in lines]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(max_size=9), max_size=9), st.integers(0, 99), st.booleans())
def test_lines_are_those_of_a_naive_loop(tmp_path_factory, keys, seed, known):
    root = tmp_path_factory.mktemp("log")
    outcome, answers, drawn = batch(len(keys), seed)
    log = DecisionLog(root, MODELS, "f" * 64)
    log.write(keys if known else None, outcome, answers, drawn, 1.25)
    log.close()
    found = lines_of(root)
    assert timeless(found) == naive(
        MODELS, "f" * 64, keys if known else None, outcome, answers, drawn, 1.25
    )
    assert len({line["time"] for line in found}) == (len(keys) > 0)


def test_what_is_no_number_and_no_unicode_stays_json(tmp_path):
    outcome, answers, drawn = batch(2, scores=("maxp",))
    answers[0] |= {"ran": np.ones(2, bool), "maxp": np.array([np.nan, np.inf])}
    answers[1].pop("maxp")
    DecisionLog(tmp_path, MODELS).write(["\udcff", "\n\u2028"], outcome, answers, drawn, 0.123456)
    first, second = lines_of(tmp_path)
    assert (first["key"], second["key"]) == ("\\udcff", "\n\u2028")
    assert first["maxp"] == second["maxp"] == [None, None]
    assert first["policy"] is None
    assert first["latency_ms"] == 0.1235


def test_a_file_that_is_full_is_followed_by_another(tmp_path):
    log = DecisionLog(tmp_path, MODELS, most_bytes=2000)
    sizes = [1, 3, 3, 1, 3]
    for number, n in enumerate(sizes):
        log.write([f"{number}-{i}" for i in range(n)], *batch(n), 1.0)
    log.write([f"x{i}" for i in range(30)], *batch(30), 1.0)  # more than a file holds
    log.write(["last"], *batch(1), 1.0)
    expected = [f"{number}-{i}" for number, n in enumerate(sizes) for i in range(n)]
    assert [line["key"] for line in lines_of(tmp_path)] == [
        *expected,
        *(f"x{i}" for i in range(30)),
        "last",
    ]
    by_size = [path.stat().st_size for path in sorted(tmp_path.iterdir())]
    assert len(by_size) >= 4
    assert sum(size > 2000 for size in by_size) == 1


def test_what_is_not_of_the_same_requests_is_refused(tmp_path):
    log = DecisionLog(tmp_path, MODELS)
    with pytest.raises(ValueError, match="there are 2 keys for 3 requests"):
        log.write(["a", "b"], *batch(3), 1.0)
    outcome, answers, drawn = batch(3)
    with pytest.raises(ValueError, match="zip"):
        log.write(["a", "b", "c"], outcome, answers, drawn[:2], 1.0)
    log.write([], *batch(0), 1.0)
    assert not list(tmp_path.iterdir())


def test_threads_share_one(tmp_path):
    log = DecisionLog(tmp_path, MODELS, most_bytes=5000)

    def work(name):
        for i in range(40):
            log.write([f"{name}-{i}"], *batch(1, i), 1.0)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    found = [line["key"] for line in lines_of(tmp_path)]
    assert sorted(found) == sorted(f"{name}-{i}" for name in "abcd" for i in range(40))


WRITER = """
import os, resource, sys, warnings
sys.path[:0] = [{root!r}, {root!r} + "/tests/stages/policy"]
from test_decision_log import DecisionLog, MODELS, batch
name, fork, limit = sys.argv[2], sys.argv[3] == "fork", int(sys.argv[4])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
warnings.simplefilter("always")
log = DecisionLog(sys.argv[1], MODELS, most_bytes=20_000)
log.write([name], *batch(1), 1.0)
child = os.fork() if fork else None
name = name + "c" if child == 0 else name
for i in range(60):
    log.write([f"{{name}}-{{i}}"], *batch(1, i), 1.0)
if child:
    os.waitpid(child, 0)
print(log.lost)
"""


def written(folder, name, fork="no", limit=0):
    words = [sys.executable, "-c", WRITER.format(root=str(ROOT)), str(folder), name, fork]
    return subprocess.Popen(
        [*words, str(limit)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_processes_share_a_folder(tmp_path):
    started = [written(tmp_path, "a", "fork"), written(tmp_path, "b")]
    for each in started:
        assert each.communicate()[1] == ""
        assert each.returncode == 0
    names = [line["key"] for line in lines_of(tmp_path)]
    expected = ["a", "b", *(f"{name}-{i}" for name in ("a", "ac", "b") for i in range(60))]
    assert sorted(names) == sorted(expected)


def test_a_full_disk_takes_lines_and_no_answers(tmp_path):
    process = written(tmp_path, "a", limit=5000)  # bytes of a file: what it does not take is cut
    out, err = process.communicate()
    assert process.returncode == 0
    found = lines_of(tmp_path)
    assert len(found) + int(out) == 61
    assert int(out) > 0
    assert err.count("cannot be written") == 1


def test_a_folder_that_cannot_be_made_warns_once(tmp_path):
    file = tmp_path / "file"
    file.touch()
    log = DecisionLog(file / "log", MODELS)
    with pytest.warns(UserWarning, match=r"cannot be written \(Not a directory\)"):
        log.write(None, *batch(4), 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log.write(None, *batch(4), 1.0)
        assert log.lost == 8
        file.unlink()  # there is room again
        log.write(None, *batch(4), 1.0)
    assert len(lines_of(file / "log")) == 4


def test_it_goes_into_one_file_that_needs_numpy_alone(tmp_path, monkeypatch):
    source = flatten({"stages.policy.decision_log": ["DecisionLog"]})
    assert "from stages" not in source
    flat = ModuleType("flat")
    monkeypatch.setitem(sys.modules, "flat", flat)  # where dataclasses look
    exec(compile(source, "flat.py", "exec"), flat.__dict__)
    outcome, answers, drawn = batch(5, 1)
    flat.DecisionLog(tmp_path, MODELS).write([*"abcde"], outcome, answers, drawn, 2.0)
    assert timeless(lines_of(tmp_path)) == naive(
        MODELS, None, "abcde", outcome, answers, drawn, 2.0
    )
