"""A log read is that of a naive loop over json.loads, wherever it is cut; only fair samples of it
become a split."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st
from running import cascade

from cache import InputError, Store
from stages import scores
from stages.cascade import Outcome
from stages.ingest.decision_log import read_log
from stages.policy.decision_log import DecisionLog
from stages.scores import scores_of

N, K = 60, 3
RNG = np.random.default_rng(8)
LABELS = RNG.integers(0, K, N)
FOUND = [
    scores_of((sure * np.eye(K)[LABELS] + RNG.standard_normal((N, K))).astype(np.float32))
    for sure in (1, 3)
]
SENT, DRAWN = FOUND[0]["maxp"] < 0.6, RNG.random(N) < 0.4
KEYS = [f"bild/ü{i:03}" for i in range(N)]
MODELS = ("small", "large")


def written(folder, keys=KEYS, drawn=DRAWN, ran=SENT, models=MODELS, policy=None, step=7, **more):
    """What a cascade writes of these requests, in batches."""
    log = DecisionLog(folder, models, policy, **more)
    stage = ran.astype(np.int8)
    for start in range(0, len(keys), step):
        rows = slice(start, start + step)
        answers = [{name: each[rows] for name, each in found.items()} for found in FOUND]
        answers[0]["ran"] = np.ones(len(answers[0]["maxp"]), bool)
        answers[1]["ran"] = (ran | drawn)[rows]
        prediction = np.where(ran, FOUND[1]["prediction"], FOUND[0]["prediction"])[rows]
        outcome = Outcome(stage[rows], stage[rows], prediction, [])
        log.write(keys[rows], outcome, answers, drawn[rows], 1.0)
    log.close()
    return Path(folder)


def line(**more):
    """One of a small log."""
    out = {"v": 1, "time": "2026-11-30T16:20:00.000001+00:00", "key": "a", "models": ["a", "b"]}
    out |= {"predictions": [1, None], "maxp": [0.5, None], "hit": False, "drawn": False}
    return json.dumps(out | more, ensure_ascii=False, separators=(",", ":"))


def naive(texts):
    """(key → its first line by time, how many lines) of texts, each up to what json does not
    load."""
    found, lines = {}, 0
    for text in texts:
        for each in text.split(b"\n"):
            try:
                row = json.loads(each)
            except ValueError:
                break
            lines += 1
            if not row["hit"]:
                before = found.get(row["key"])
                if before is None or _order(row) < _order(before):
                    found[row["key"]] = row
    return found, lines


def _order(row):
    return row["time"], str(row["predictions"]), str(row["maxp"])


def same(log, found):
    rows = log.rows.to_dicts()
    assert {row["key"] for row in rows} == set(found)
    for row in rows:
        expected = found[row["key"]]
        for name, here in (("predictions", "prediction"), ("maxp", "maxp")):
            assert [row[f"{here}.{k}"] for k in range(2)] == expected[name]
    order = [(found[row["key"]]["time"], row["key"]) for row in rows]
    assert order == sorted(order)


def silent(_):
    pass


def test_what_is_written_is_read(tmp_path):
    log = read_log(str(written(tmp_path / "log", most_bytes=3000)), silent)
    assert log.models == MODELS
    assert log.scores == ("difference", "entropy", "maxp")
    assert log.rows["key"].to_list() == KEYS
    assert log.rows["drawn"].to_list() == DRAWN.tolist()
    for k, found in enumerate(FOUND):
        ran = (SENT | DRAWN) if k else np.ones(N, bool)
        for name in ("prediction", *log.scores):
            there = log.rows[f"{name}.{k}"].to_list()
            assert there == [
                each.item() if of else None for each, of in zip(found[name], ran, strict=True)
            ]


SMALL = "\n".join(
    [line(key="ä€"), line(key="🐈", predictions=[2, 3], maxp=[0.1, 1.0]), ""]
).encode()


@pytest.mark.parametrize("packed", [False, True])
def test_a_log_cut_at_every_byte_is_read_up_to_there(tmp_path, packed):
    other, file = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz" if packed else tmp_path / "b.jsonl"
    whole = line(key="whole").encode()
    other.write_bytes(whole)
    data = gzip.compress(SMALL) if packed else SMALL
    for end in range(len(data) + 1):
        file.write_bytes(data[:end])
        told: list = []
        log = read_log(str(tmp_path), told.append)
        if packed:
            left = len(log.rows)
            assert left in (1, 2, 3)
            assert (len(told) == 2) == (0 < end < len(data)), (end, told)
            continue
        found, lines = naive([whole, data[:end]])
        same(log, found)
        assert f"in {lines} lines" in told[-1]
        damaged = data[:end].rpartition(b"\n")[2] not in (b"", data.split(b"\n")[lines - 2])
        assert len(told) == 1 + damaged
        if damaged:
            assert f"b.jsonl is damaged in line {lines} (" in told[0]
            assert told[0].endswith(f"the {lines - 1} before it are read")
    assert len(log.rows) == 3


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_repetition_and_files_make_no_difference(tmp_path_factory, rng):
    root = tmp_path_factory.mktemp("shuffled")
    asked = [
        line(
            key=rng.choice("abcdefg"),
            time=f"2026-11-30T16:20:0{rng.randrange(3)}+00:00",
            hit=rng.random() < 0.1,
            predictions=[rng.randrange(3), None],
            policy="x",
        )
        for _ in range(20)
    ]
    asked += rng.sample(asked, 5)
    found, _ = naive([each.encode() for each in asked])
    if not found:
        return
    told: list = []
    for number in range(2):
        rng.shuffle(asked)
        cuts = sorted(rng.randrange(len(asked)) for _ in range(3))
        folder = root / str(number)
        folder.mkdir()
        names = ["x.jsonl", "x.jsonl.1", "x.jsonl.2.gz", "y.jsonl-20261130"]
        for name, (start, end) in zip(names, itertools.pairwise([0, *cuts, None]), strict=True):
            text = "".join(f"{each}\n" for each in asked[start:end]).encode()
            (folder / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
        same(read_log(str(folder), told.append), found)
    assert told[0].partition(": ")[2] == told[1].partition(": ")[2]


HOSTILE = {
    "blank of zeros": b"\0" * 40,
    "text": b"hello",
    "array": b"[1]",
    "two objects": (line() + line()).encode(),
    "null": b"null",
    "null behind": line().encode() + b" null",
    "deep": line(z=0).replace('"z":0', '"z":' + "[" * 100_000).encode(),
    "text for a number": line(predictions=["1", None]).encode(),
    "fraction": line(predictions=[1.5, None]).encode(),
    "large": line(predictions=[2**40, None]).encode(),
    "short": line(predictions=[1]).encode(),
    "long": line(maxp=[0.5, None, 0.1]).encode(),
    "no models": line(models=[]).encode(),
    "null model": line(models=["a", None]).encode(),
    "models no list": line(models="a").encode(),
    "no time": line(time=None).encode(),
    "odd time": line(time="yesterday").encode(),
    "version": line(v=2).encode(),
    "key a number": line(key=3).encode(),
    "key twice": line().replace('"key":"a"', '"key":"a","key":"b"').encode(),
    "flag": line(hit="no").encode(),
    "half a character": line().encode().replace(b'"a"', b'"\xc3"', 1),
    "surrogate": line().replace('"a"', '"\\ud800"', 1).encode(),
    "huge": b'{"v":1,"z":"' + b"x" * 3_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_line_ends_its_file_and_no_other(tmp_path, name):
    good, last = line(key="one").encode(), line(key="late").encode()
    text = b"\n".join([*[good] * 3, HOSTILE[name], last, b""])
    (tmp_path / "a.jsonl").write_bytes(text)
    (tmp_path / "b.jsonl").write_bytes(line(key="other").encode())
    told: list = []
    log = read_log(str(tmp_path), told.append)
    assert log.rows["key"].to_list() == ["one", "other"]
    assert "a.jsonl is damaged in line 4 (" in told[0]
    assert "\n" not in told[0]
    assert len(told[0]) < 300
    assert "2 requests in 4 lines of 2 files; left out: 2 lines that are there" in told[1]
    (tmp_path / "b.jsonl").unlink()
    (tmp_path / "a.jsonl").write_bytes(HOSTILE[name])
    with pytest.raises(InputError, match="holds no line of a decision log"):
        read_log(str(tmp_path), silent)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + line(),
        line() + "\r\n",
        "\n\n" + line() + "\n\n",
        " " + line(more={"deep": [[]]}, tags=["x"], numbers=[1]),
        line(z="x" * 3_000_000),
        line(z=0).replace('"z":0', '"z":' + "[" * 9999 + "]" * 9999),
        line(maxp=[float("nan"), None]),
        line(key="a\n\u2028"),
        line(key="a}\tnull}null", more="} \\nnull"),
    ],
)
def test_what_is_odd_and_whole_is_read(tmp_path, text):
    file = tmp_path / "decisions"
    file.write_text(text, "utf-8", newline="")
    told: list = []
    log = read_log(str(file), told.append)
    assert log.rows.height == 1
    assert log.at(0).endswith("line 3" if text.startswith("\n") else "line 1")
    assert len(told) == 1


def test_a_gzip_damaged_inside_is_read_up_to_there(tmp_path):
    lines = [line(key=f"{random.Random(i).random()}") for i in range(3000)]
    packed = bytearray(gzip.compress("\n".join(lines).encode()))
    packed[len(packed) // 2] ^= 255
    (tmp_path / "a.jsonl.gz").write_bytes(packed)
    told: list = []
    assert 1000 < len(read_log(str(tmp_path), told.append).rows) < 2000
    assert "is damaged in line" in told[0]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([line(key=None)], "no line has a key, by which labels are told: give the cascade the"),
        ([line(hit=True)], "no request in it was answered by a model: 1 hits of a memory"),
        ([line(), line(models=["a", "c"])], "several cascades, a, b (LOG) and a, c (LOG): give"),
        ([line(), line(models=["a"], predictions=[1], maxp=[1])], "several cascades, a (LOG) and"),
    ],
)
def test_a_log_that_tells_nothing_is_one_line(tmp_path, lines, said):
    file = tmp_path / "x.jsonl"
    file.write_text("\n".join(lines), "utf-8")
    with pytest.raises(InputError) as error:
        read_log(str(file), silent)
    assert said.replace("LOG", str(file)) in str(error.value)


def test_what_is_left_out_is_counted(tmp_path):
    lines = [
        *(line(), line(), line(key=None), line(key="b", hit=True), line(key="c", failed=True)),
        *(line(time="2026-12-01T00:00:00Z", predictions=[2, 2]), line(key="d", policy="y" * 64)),
        line(key="e", policy="x" * 64, margin=[1, 2]),
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(lines), "utf-8")
    told: list = []
    log = read_log(str(tmp_path), told.append)
    assert log.rows["key"].to_list() == ["a", "c", "d", "e"]
    assert log.rows["prediction.0"].to_list() == [1, 1, 1, 1]
    assert "of 2 policies (xxxxxxxxxxxx, yyyyyyyyyyyy)" in told[0]
    assert told[-1].endswith(
        "4 requests in 8 lines; left out: 1 lines that are there before, 1 without a key, 1 hits "
        "of a memory, 1 of keys asked before"
    )


@pytest.mark.parametrize(("lacking", "models"), [(0, 2), (1, 2), (9, 1)])
def test_where_b_often_fails_its_answers_are_no_sample(lacking, models, tmp_path):
    """Of 40 drawn requests some lack an answer of B: two or fewer are left out, more are not."""
    lines = []
    for i in range(60):
        ran = lacking <= i < 40
        said = {"predictions": [1, 2], "maxp": [0.5, 0.6]} if ran else {}
        lines.append(line(key=f"k{i:02}", drawn=i < 40, failed=i < lacking, **said))
    (tmp_path / "x.jsonl").write_text("\n".join(lines), "utf-8")
    labelled(tmp_path, [f"k{i:02}" for i in range(60)], [1] * 60)
    done = bring(tmp_path, "--json", log="x.jsonl")
    rows = done.json["models"]
    assert [row["rows"] for row in rows] == [40 - lacking if models == 2 else 60] * models
    if models == 1:
        assert "9 of 40 requests that were drawn lack an answer, and by no chance" in done.err


# --- import --------------------------------------------------------------------------------------


def bring(root, *more, labels=None, log="log"):
    labels = root / "labels.csv" if labels is None else labels
    words = ("import", "-d", "mine", "--split", "live", "--log", root / log, "--labels", labels)
    return cascade(*words, "--cache", root / "c", *more)


def labelled(root, keys=KEYS, values=LABELS):
    rows = [f'"{key}",{value}' for key, value in zip(keys, values, strict=True)]
    (root / "labels.csv").write_text("\n".join(["key,label", *rows]), "utf-8")


@pytest.fixture
def root(tmp_path):
    written(tmp_path / "log")
    labelled(tmp_path)
    return tmp_path


def test_the_drawn_requests_become_a_split(root):
    done = bring(root)
    assert done.status == 0, done.err
    assert f"all models ran on {DRAWN.sum()} of {N} requests by chance" in done.err
    found = scores.load(Store(root / "c"), "mine", "live")
    assert found.models == ("large", "small") or found.models == MODELS
    np.testing.assert_array_equal(found.labels, LABELS[DRAWN])
    for k, name in enumerate(MODELS):
        m = found.index(name)
        np.testing.assert_array_equal(found.correct[m], (FOUND[k]["prediction"] == LABELS)[DRAWN])
    [samples] = (root / "c").glob("samples/**/*.parquet")
    assert pq.read_table(samples)["key"].to_pylist() == [
        key for key, there in zip(KEYS, DRAWN, strict=True) if there
    ]
    for file in (root / "c").glob("answers/**/*.parquet"):
        rows, k = pq.read_table(file), MODELS.index(file.parent.name.partition("=")[2])
        for name in ("prediction", "maxp", "difference", "entropy"):
            np.testing.assert_array_equal(rows[name].to_numpy(), FOUND[k][name][DRAWN])
    for command in (("threshold",), ("search",), ("simulate", "-m1", "small", "-m2", "large")):
        words = ("--dataset", "mine", "--json", "--cache", root / "c")
        assert cascade(*command, *words).status == 0


def test_where_all_ran_on_all_of_them_all_are_taken(tmp_path):
    written(tmp_path / "log", ran=np.ones(N, bool))
    labelled(tmp_path)
    rows = bring(tmp_path, "--json").json["models"]
    assert [(row["model"], row["rows"]) for row in rows] == [("small", N), ("large", N)]


def test_of_a_cascade_that_draws_nothing_the_first_model_is_taken(tmp_path):
    written(tmp_path / "log", drawn=np.zeros(N, bool))
    labelled(tmp_path)
    done = bring(tmp_path, "--json")
    assert [(row["model"], row["rows"]) for row in done.json["models"]] == [("small", N)]
    assert "only small is imported: large ran where small was unsure" in done.err
    assert "Cascade.load(…, both=0.05)" in done.err
    assert "small" in bring(tmp_path, "--model", "large", "--split", "other").refusal


def test_three_models(tmp_path):
    three = {"models": ["a", "b", "c"], "maxp": [0.1, 0.2, 0.3], "predictions": [0, 1, 2]}
    some = three | {"maxp": [0.1, None, None], "predictions": [0, None, None]}
    lines = [line(key=f"{i}", drawn=i < 8, **(three if i < 8 else some)) for i in range(20)]
    (tmp_path / "log").write_text("\n".join(lines), "utf-8")
    labelled(tmp_path, range(20), [i % 3 for i in range(20)])
    rows = bring(tmp_path, "--json").json["models"]
    assert [(row["model"], row["rows"]) for row in rows] == [(name, 8) for name in "abc"]


def test_labels_that_lack_and_labels_of_nobody_are_counted(root):
    labelled(root, [*KEYS[5:], "x", "y"], [*LABELS[5:], 0, ""])
    done = bring(root, "--json", "--dry-run")
    lacking = DRAWN[:5].sum()
    assert done.json["models"][0]["rows"] == DRAWN.sum() - lacking
    unknown = (~DRAWN[5:]).sum() + 1
    assert f"{lacking} requests have no label, and {unknown} labels are of no" in done.err
    assert not (root / "c").exists()


def test_labels_as_words_from_one_and_in_parquet(root):
    words = np.array(["cat", "dog", "cow"])[LABELS]
    labelled(root, values=words)
    assert "give --class-names FILE" in bring(root).refusal
    (root / "names").write_text("cat\ndog\ncow")
    names = ("--class-names", root / "names")
    wanted = bring(root, *names, "--json").json["models"]
    table = pl.DataFrame({"answer": LABELS + 1, "key": KEYS, "more": 0})
    table.write_parquet(root / "l.parquet")
    more = ("--label-column", "answer", *names, "--json", "--overwrite")
    found = bring(root, *more, labels=root / "l.parquet").json["models"]
    assert "are counted from 1" in found[0]["warnings"][0]
    assert [row["accuracy"] for row in found] == [row["accuracy"] for row in wanted]


def test_keys_are_texts(tmp_path):
    keys = [f"{i:03}" for i in range(N)]
    written(tmp_path / "log", keys=keys)
    labelled(tmp_path, keys)
    (tmp_path / "labels.csv").write_text((tmp_path / "labels.csv").read_text().replace('"', ""))
    assert bring(tmp_path, "--json").json["models"][0]["rows"] == DRAWN.sum()


def odd_labels(root, text):
    (root / "odd.csv").write_text(text, "utf-8")
    return bring(root, labels=root / "odd.csv").refusal


def test_bad_labels_are_one_line_and_nothing_is_kept(root):
    key = KEYS[int(DRAWN.argmax())]
    for text, said in (
        (f"key,label\n{key},1\n{key},1\n{key},2", "has label 1.0 (line 2) and 2.0 (line 4): keep"),
        ("key,label\nx,1", "has no label of the"),
        ("key,label", "has no label of the"),
        ("key,answer\nx,1", "has no columns key and label: name them so, or give --label-column"),
        (f"key,label\n{key},-1", "line 2 has label -1.0, expected 0 to"),
        (f"key,label\n{key},0.5", "line 2 has label 0.5, expected 0 to"),
    ):
        assert said in odd_labels(root, text)
    words = (
        "import",
        "-d",
        "mine",
        "--split",
        "live",
        "--log",
        root / "log",
        "--cache",
        root / "c",
    )
    assert "a log has no labels: give --labels FILE" in cascade(*words).refusal
    assert "give --split" in cascade(*words[:3], *words[5:], "--labels", "x").refusal
    assert "no file" in cascade(*words[:6], root / "none", "--labels", "x").refusal
    assert not (root / "c").exists()


def test_bad_answers_are_one_line_that_names_the_place(tmp_path):
    labelled(tmp_path, ["a"], [0])
    for more, said in (
        ({"predictions": [-1, None]}, "line 1 has prediction -1, expected 0 to"),
        ({"maxp": [1.5, None]}, "line 1 has maxp 1.5, expected a finite number from 0 to 1"),
        ({"maxp": [None, None], "hit": False}, "holds no answers"),
        ({"models": ["a,b", "c"]}, "a,b"),
        ({"models": ["a\0b", "c"]}, "a"),
        ({"models": ["a", "a"], "predictions": [1, 1]}, "a is there 2 times"),
    ):
        (tmp_path / "log").write_text(line(**more), "utf-8")
        assert said in bring(tmp_path).refusal
    assert not (tmp_path / "c").exists()


def test_what_the_cache_has_is_held_against_it(root):
    assert bring(root).status == 0
    assert bring(root).status == 0
    shutil.rmtree(root / "log")
    written(root / "log", drawn=~DRAWN)
    said = bring(root, "--overwrite").refusal
    assert f"has {(~DRAWN).sum()} labelled requests that are not the {DRAWN.sum()} samples" in said
