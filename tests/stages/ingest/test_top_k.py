"""The k most probable classes from elsewhere: as good as all probabilities, but for the entropy."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays
from running import cascade
from scipy.special import softmax

from cache import Store
from stages import scores
from stages.scores.softmax import scores_of_probabilities, scores_of_top

N, K, TOP = 240, 8, 5
RNG = np.random.default_rng(3)
LABELS = RNG.integers(0, K, N)
P = {
    model: softmax(RNG.standard_normal((N, K)) + sure * np.eye(K)[LABELS], axis=1)
    for model, sure in (("small", 1.0), ("large", 2.0))
}
PAIR = ("-m1", "small", "-m2", "large")


def top(p, k=TOP):
    classes = np.argsort(-p, axis=1, kind="stable")[:, :k].astype(np.int32)
    return classes, np.take_along_axis(p, classes, axis=1)


def columns(classes, p):
    """class_1, p_1, class_2 …"""
    return {
        f"{name}_{i + 1}": values[:, i]
        for i in range(p.shape[1])
        for name, values in (("class", classes), ("p", p))
    }


def save_npz(path, classes, p):
    np.savez(path, classes=classes, probabilities=p)


def save_lists(path, classes, p):
    named = {"classes": classes.tolist(), "probabilities": p.tolist()}
    pq.write_table(pa.table(named), path)


FORMATS = {
    "npz": (".npz", save_npz),
    "lists": (".parquet", save_lists),
    "columns": (".parquet", lambda at, *rows: pl.DataFrame(columns(*rows)).write_parquet(at)),
    "csv": (".csv", lambda at, *rows: pl.DataFrame(columns(*rows)).write_csv(at)),
}


def bring(root, file, model="small", *more, split="test"):
    np.save(root / "y.npy", LABELS)
    where = ("-d", "mine", "--split", split, "--model", model, "--labels", root / "y.npy")
    return cascade("import", *where, "--top-k", file, "--cache", root / "c", *more)


def brought(root, classes, p, name="npz", **more):
    suffix, save = FORMATS[name]
    save(root / f"x{suffix}", classes, p)
    return bring(root, root / f"x{suffix}", **more)


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """Two models by their five largest probabilities."""
    root = tmp_path_factory.mktemp("some")
    for model, p in P.items():
        save_npz(root / "x.npz", *top(p))
        assert bring(root, root / "x.npz", model, "--macs", f"{len(model)}M").status == 0
    return root / "c"


@settings(deadline=None, max_examples=60)
@given(
    arrays.arrays(
        np.float64,
        st.tuples(st.integers(1, 6), st.integers(2, 6)),
        elements=st.floats(-30, 30),
    )
)
def test_scores_are_those_of_all_probabilities(logits):
    p = softmax(logits, axis=1)
    found, whole = scores_of_top(*top(p, 2)), scores_of_probabilities(p)
    assert found.keys() == whole.keys() - {"entropy"}
    for name, values in found.items():
        np.testing.assert_array_equal(values, whole[name])


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows(name, tmp_path):
    classes, p = top(P["small"])
    assert brought(tmp_path, classes, p, name).status == 0
    found = scores.load(Store(tmp_path / "c"), "mine", "test")
    np.testing.assert_array_equal(found.predictions[0], P["small"].argmax(axis=1))
    np.testing.assert_array_equal(found.scores["maxp"][0], P["small"].max(axis=1))
    np.testing.assert_array_equal(found.labels, LABELS)
    assert found.own == ("maxp", "difference")


@pytest.mark.parametrize("command", ["threshold", "search", "rules", "report"])
def test_unasked_the_entropy_is_left_out(cached, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = cascade(command, "-d", "mine", "--cache", cached, "--json")
    assert "entropy" not in json.dumps(done.json.get("rows", []))
    if command != "report":
        said = "entropy of all these models is not known: the scores that they have are maxp"
        assert said in done.err


@pytest.mark.parametrize(
    "command",
    [("threshold",), ("search",), ("simulate", *PAIR), ("rules", *PAIR), ("score",)],
)
def test_asked_for_it_is_one_line(cached, command):
    flag = {"rules": "--rules", "score": "-s"}.get(command[0], "-s")
    told = cascade(
        command[0], "--dataset", "mine", *command[1:], flag, "entropy", "--cache", cached
    )
    if command[0] == "score":
        assert told.status == 0  # which names scores of packages
        return
    assert "is not known, as only its most probable classes are: give --scorefn" in told.refusal


def test_the_cache_is_sound_and_its_null_is_a_null(cached, tmp_path):
    assert cascade("score", "-d", "mine", "--cache", cached).status == 0
    assert cascade("cache", "verify", "--cache", cached).status == 0
    [file, _] = cached.glob("scores/**/*.parquet")
    assert pq.read_table(file)["entropy"].null_count == N
    merged = cascade("cache", "merge", cached, "--cache", tmp_path / "m")
    assert merged.status == 0
    published = cascade("export", "--publish", tmp_path / "p", "-d", "mine", "--cache", cached)
    assert published.status == 0
    for root in (tmp_path / "m", tmp_path / "p"):
        assert cascade("cache", "verify", "--cache", root).status == 0
        assert scores.load(Store(root), "mine", "test").own == ("maxp", "difference")


CLASSES, SHARES = top(P["small"])


def changed(values, row, new):
    out = values.copy()
    out[row] = new
    return out


BAD = {
    "k of 1": (CLASSES[:, :1], SHARES[:, :1], "top-k are N × k each, with k of 2 or more"),
    "other shapes": (CLASSES[:, :3], SHARES, "top-k are N × k each"),
    "unsorted": (
        CLASSES,
        changed(SHARES, 9, SHARES[9, ::-1]),
        "row 9 has probabilities that do not",
    ),
    "sum": (CLASSES, changed(SHARES, 4, [0.9, 0.8, 0.1, 0, 0]), "row 4 sums to more than 1"),
    "per cent": (CLASSES, 100 * SHARES, "no probability from 0 to 1"),
    "twice": (changed(CLASSES, 2, [1, 1, 2, 3, 4]), SHARES, "row 2 names a class twice"),
    "negative": (
        changed(CLASSES, 2, [-1, 1, 2, 3, 4]),
        SHARES,
        "row 2 holds no whole number from 0",
    ),
    "fraction": (CLASSES + 0.5, SHARES, "row 0 holds no whole number from 0"),
    "nan": (CLASSES, changed(SHARES, 5, np.nan), "row 5 has nan"),
    "fewer rows": (CLASSES[:-1], SHARES[:-1], f"{N} labels but there are {N - 1} rows"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_one_line_and_nothing_is_kept(name, tmp_path):
    classes, p, said = BAD[name]
    assert said in brought(tmp_path, classes, p).refusal
    assert not (tmp_path / "c").exists()


def test_classes_are_those_of_the_names(tmp_path):
    (tmp_path / "names.txt").write_text("\n".join("abcd"))
    save_npz(tmp_path / "x.npz", CLASSES, SHARES)
    told = bring(tmp_path, tmp_path / "x.npz", "small", "--class-names", tmp_path / "names.txt")
    assert told.status == 2
    assert "cascade: " in told.err


def test_a_file_without_them_says_how_they_are_called(tmp_path):
    np.save(tmp_path / "x.npy", SHARES)
    told = bring(tmp_path, tmp_path / "x.npy").refusal
    assert "holds no top-k: give columns class_1, p_1, class_2, p_2" in told
    frame = pl.DataFrame(columns(CLASSES, SHARES)).rename({"class_2": "class_9"})
    frame.write_csv(tmp_path / "x.csv")
    assert "the classes are not numbered 1, 2 …" in bring(tmp_path, tmp_path / "x.csv").refusal
