"""What kind of outputs a file holds: told as a flag would say it, or refused."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from running import cascade
from scipy.special import softmax

from cache import Partition, Store, load
from stages.ingest.kinds import kind_of
from stages.ingest.request import ImportRequest
from stages.ingest.samples import open_contents

N, K = 60, 5
RNG = np.random.default_rng(4)
LABELS = RNG.integers(0, K, N)
LOGITS = (RNG.standard_normal((N, K)) + 2 * np.eye(K)[LABELS]).astype(np.float32)
P = softmax(LOGITS.astype(np.float64), axis=1)


def numbered(values):
    return pl.DataFrame({str(k): values[:, k] for k in range(values.shape[1])})


def top(k):
    classes = np.argsort(-P, axis=1)[:, :k]
    rows = {f"class_{i + 1}": classes[:, i] for i in range(k)}
    best = np.take_along_axis(P, classes, axis=1)
    return pl.DataFrame(rows | {f"P{i + 1}": best[:, i] for i in range(k)})


TABLES = {
    "logits": numbered(LOGITS),
    "probabilities": numbered(P),
    "top_k": top(3),
    "answers": pl.DataFrame({"Prediction": P.argmax(1), "confidence": P.max(1)}),
}


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("kind", TABLES)
def test_columns_or_rows_tell(kind, suffix, tmp_path):
    file, table = tmp_path / f"x.{suffix}", TABLES[kind].with_columns(label=LABELS)
    table.write_parquet(file) if suffix == "parquet" else table.write_csv(file)
    request = ImportRequest("mine", "test", "one", str(file), kind="")
    assert kind_of(request, open_contents(str(file)), ()) == kind


@pytest.mark.parametrize(("kind", "values"), [("logits", LOGITS), ("probabilities", P)])
@pytest.mark.parametrize("save", ["npy", "npz"])
def test_what_is_told_is_imported_as_by_its_flag(kind, values, save, tmp_path):
    file = tmp_path / f"x.{save}"
    np.save(file, values) if save == "npy" else np.savez(file, x=values)
    np.save(tmp_path / "y.npy", LABELS)
    where = ("-d", "mine", "--split", "test", "--model", "one", "--labels", tmp_path / "y.npy")
    told = cascade("import", file, *where, "--cache", tmp_path / "told")
    assert f"x.{save}: taken for {kind} (" in told.err
    said = cascade("import", f"--{kind}", file, *where, "--cache", tmp_path / "said")
    assert (said.out, said.err) == (told.out, "")
    keys = {"dataset": "mine", "split": "test", "variant": "identity", "runtime": "import"}
    found = [
        load(Store(tmp_path / name), Partition.of(kind, **keys, model="one")).identity
        for name in ("told", "said")
    ]
    assert found[0] == found[1]


def changed(values, row, new):
    out = values.copy()
    out[row] = new
    return out


BAD = {
    "one sum": (changed(P, 9, 0.7 * P[9]), "row 9 sums to 0.7"),
    "all sums": (0.7 * P, "sums to 0.7"),
    "per cent": (100 * P, "these are per cent, divide them by 100"),
    "below 0": (changed(P, 3, [-0.5, 1.5, 0, 0, 0]), "row 3 has -0.5"),
    "nan": (changed(LOGITS, 4, np.nan), "row 4 has a NaN"),
    "words": (LOGITS.astype(str), "holds <U"),
    "one column": (LOGITS[:, :1], "outputs are N × K"),
}


@pytest.mark.parametrize("name", BAD)
def test_most_rows_tell_so_that_the_others_are_found(name, tmp_path):
    values, said = BAD[name]
    np.save(tmp_path / "x.npy", values)
    np.save(tmp_path / "y.npy", LABELS)
    where = ("-d", "mine", "--split", "test", "--model", "one", "--labels", tmp_path / "y.npy")
    done = cascade("import", tmp_path / "x.npy", *where, "--cache", tmp_path / "c")
    assert said in done.refusal
    assert not (tmp_path / "c").exists()


def test_one_file_and_one_kind_at_a_time(tmp_path):
    (tmp_path / "all").mkdir()
    np.save(tmp_path / "all/a.npy", LOGITS)
    np.save(tmp_path / "all/b.npy", P)
    np.save(tmp_path / "all/labels.npy", LABELS)
    where = ("-d", "mine", "--split", "test", "--cache", tmp_path / "c")
    told = cascade("import", tmp_path / "all", *where).refusal
    assert "b is taken for probabilities where others are logits: import one kind at a" in told
    told = cascade("import", tmp_path / "all", "--logits", tmp_path / "all", *where).refusal
    assert "give TABLE|FOLDER or --logits FILE" in told
    assert "one of them" in told
    assert not (tmp_path / "c").exists()
