"""Logits from elsewhere: every format, every refusal, and what works on them afterwards."""

from __future__ import annotations

import os
import re
import zipfile

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import write_logits, write_samples
from running import Result, cascade, logits_of

from cache import Partition, Store, load, read_table
from stages.ingest.checks import chance
from stages.report import packing

N, K = 90, 4
RNG = np.random.default_rng(7)
LABELS = RNG.integers(0, K, N)
LOGITS = (RNG.standard_normal((N, K)) + 1.5 * np.eye(K)[LABELS]).astype(np.float32)
OTHERS = (RNG.standard_normal((N, K)) + 2.5 * np.eye(K)[LABELS]).astype(np.float32)


def save_npy(path, values):
    np.save(path, values)


def save_npz(path, values):
    np.savez_compressed(path, anything=values)


def save_pt(path, values):
    torch = pytest.importorskip("torch")
    torch.save(torch.from_numpy(np.array(values)), path)


def frame(values):
    columns = values.T if values.ndim == 2 else [values]
    return pl.DataFrame({f"c{k}": column for k, column in enumerate(columns)})


def save_csv(path, values):
    frame(values).write_csv(path)


def save_bare_csv(path, values):
    frame(values).write_csv(path, include_header=False)


def save_quoted_csv(path, values):
    frame(values).write_csv(path, include_header=False, quote_style="always")


def save_numbered_csv(path, values):
    """As pandas heads the columns of a plain array."""
    table = frame(values)
    table.columns = [str(k) for k in range(table.width)] if table.width > 1 else ["label"]
    table.write_csv(path)


def save_excel_csv(path, values):
    """UTF-8 with a byte order mark, as Excel writes it."""
    save_bare_csv(path, values)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def save_columns(path, values):
    frame(values).write_parquet(path)


def save_list(path, values):
    column = pa.array(values.tolist() if values.ndim == 2 else values)
    pq.write_table(pa.table({"logits": column}), path)


def save_fixed_list(path, values):
    if values.ndim == 1:
        return save_list(path, values)
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    return pq.write_table(pa.table({"logits": column}), path, row_group_size=17)


def save_shuffled(path, values):
    """Rows in another order, told by sample_id."""
    order = np.random.default_rng(1).permutation(len(values))
    frame(values[order]).with_columns(pl.Series("sample_id", order)).write_parquet(path)


def save_shuffled_csv(path, values):
    order = np.random.default_rng(2).permutation(len(values))
    table = frame(values[order]).with_columns(pl.Series("sample_id", order))
    table.select("sample_id", pl.exclude("sample_id")).write_csv(path)


FORMATS = {
    "npy": (".npy", save_npy),
    "npz": (".npz", save_npz),
    "pt": (".pt", save_pt),
    "csv": (".csv", save_csv),
    "bare csv": (".csv", save_bare_csv),
    "quoted csv": (".csv", save_quoted_csv),
    "numbered csv": (".csv", save_numbered_csv),
    "excel csv": (".csv", save_excel_csv),
    "upper case": (".NPY", lambda path, values: path.write_bytes(npy_bytes(values))),
    "columns": (".parquet", save_columns),
    "list": (".parquet", save_list),
    "fixed list": (".parquet", save_fixed_list),
    "shuffled": (".parquet", save_shuffled),
    "shuffled csv": (".csv", save_shuffled_csv),
}


def npy_bytes(values):
    from io import BytesIO

    stream = BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def bring(root, logits, labels=None, model="big", split="test", *more) -> Result:
    given = ("--labels", labels) if labels is not None else ()
    args = ("--dataset", "mine", "--split", split, "--model", model, "--logits", logits, *given)
    return cascade("import", *args, "--cache", root, *more)


@pytest.fixture
def files(tmp_path):
    """logits.npy and labels.npy, right in every way."""
    np.save(tmp_path / "logits.npy", LOGITS)
    np.save(tmp_path / "labels.npy", LABELS)
    return tmp_path


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Two models on test and val."""
    root = tmp_path_factory.mktemp("imported")
    np.save(root / "labels.npy", LABELS)
    for split, shift in (("test", 0), ("val", 1)):
        labels = np.roll(LABELS, shift)
        np.save(root / "labels.npy", labels)
        for model, rows in (("small", LOGITS), ("big", OTHERS)):
            np.save(root / "logits.npy", np.roll(rows, shift, axis=0))
            given = (root / "logits.npy", root / "labels.npy")
            assert bring(root, *given, model, split, "--macs", len(model)).status == 0
    return root


# --- formats -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows(name, tmp_path):
    suffix, save = FORMATS[name]
    logits, labels = tmp_path / f"logits{suffix}", tmp_path / f"labels{suffix}"
    save(logits, LOGITS)
    save(labels, LABELS)
    [row] = bring(tmp_path, logits, labels, "big", "test", "--json").json["models"]
    assert (row["rows"], row["runtime"], row["model"]) == (N, "import", "big")
    assert row["accuracy"] == np.mean(LOGITS.argmax(axis=1) == LABELS)
    ids, rows = logits_of(tmp_path, "test", "big", "mine", "import")
    assert ids.tolist() == list(range(N))
    np.testing.assert_array_equal(rows, LOGITS)
    samples = load(Store(tmp_path), Partition.of("samples", dataset="mine", split="test"))
    assert read_table(Store(tmp_path), samples).column("label").to_pylist() == LABELS.tolist()


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int32, np.uint8])
def test_other_number_types_become_float32(kind, tmp_path):
    values = np.abs(LOGITS * 10).astype(kind)
    np.save(tmp_path / "x.npy", values)
    np.save(tmp_path / "y.npy", LABELS.astype(np.float64))
    assert bring(tmp_path, tmp_path / "x.npy", tmp_path / "y.npy").status == 0
    _, rows = logits_of(tmp_path, "test", "big", "mine", "import")
    np.testing.assert_array_equal(rows, values.astype(np.float32))


def test_arrays_in_fortran_order(tmp_path):
    np.save(tmp_path / "x.npy", np.asfortranarray(LOGITS))
    np.save(tmp_path / "y.npy", LABELS[:, None])
    assert bring(tmp_path, tmp_path / "x.npy", tmp_path / "y.npy").status == 0
    np.testing.assert_array_equal(logits_of(tmp_path, "test", "big", "mine", "import")[1], LOGITS)


def test_a_torch_tensor_with_a_gradient_in_half_precision(tmp_path):
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(LOGITS).bfloat16().requires_grad_()
    torch.save(tensor, tmp_path / "x.pt")
    np.save(tmp_path / "y.npy", LABELS)
    assert bring(tmp_path, tmp_path / "x.pt", tmp_path / "y.npy").status == 0
    _, rows = logits_of(tmp_path, "test", "big", "mine", "import")
    np.testing.assert_array_equal(rows, tensor.detach().float().numpy())


def test_more_rows_than_a_part_holds(tmp_path):
    n = 20_000
    rows = np.random.default_rng(0).standard_normal((n, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", rows)
    np.save(tmp_path / "y.npy", np.zeros(n, int))
    assert bring(tmp_path, tmp_path / "x.npy", tmp_path / "y.npy").status == 0
    np.testing.assert_array_equal(logits_of(tmp_path, "test", "big", "mine", "import")[1], rows)


# --- what works on them --------------------------------------------------------------------------

STAGES = {
    "score": ("score", "-d", "mine"),
    "threshold": ("threshold", "-d", "mine"),
    "threshold of a pair": ("threshold", "-d", "mine", "-m1", "small", "-m2", "big", "-n", "50"),
    "heterogeneity": ("heterogeneity", "-d", "mine"),
    "simulate": ("simulate", "--dataset", "mine", "-m1", "small", "-m2", "big"),
    "models": ("models", "-d", "mine"),
    "datasets": ("datasets",),
}


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_works_on_them(name, imported):
    found = cascade(*STAGES[name], "--cache", imported, "--json").json
    assert "mine" in str(found)


def test_what_the_stages_say_is_right(imported):
    right = {m: r.argmax(axis=1) == LABELS for m, r in (("small", LOGITS), ("big", OTHERS))}
    args = ("--dataset", "mine", "--cache", imported, "--json")
    rows = cascade("score", *args, "--split", "test").json["models"]
    assert {r["model"]: r["accuracy"] for r in rows} == {m: r.mean() for m, r in right.items()}
    found = cascade("heterogeneity", *args).json
    assert found["models"] == ["big", "small"]
    assert found["matrix"][0][1] == np.mean(right["small"] != right["big"])
    given = ("-m1", "small", "-m2", "big", "-t", "0.6")
    found = cascade("simulate", *given, *args).json
    p = np.exp(LOGITS.astype(np.float64))
    to_b = (p / p.sum(axis=1, keepdims=True)).max(axis=1) < 0.6
    assert found["usage"] == to_b.mean()
    assert found["accuracy"] == np.where(to_b, right["big"], right["small"]).mean()
    assert (found["macs_1"], found["macs_2"]) == (5, 3)
    assert found["macs_per_request"] == pytest.approx(5 + 3 * to_b.mean())


def test_fitting_avoids_what_the_model_is_said_to_have_seen(files):
    for model in ("a", "b"):
        given = (files / "logits.npy", files / "labels.npy", model)
        for split in ("test", "val", "extra"):
            result = bring(files, *given, split, "--trained-on", "val,train")
            assert result.status == 0
    args = ("simulate", "--dataset", "mine", "-m1", "a", "-m2", "b", "--cache", files, "--json")
    assert cascade(*args).json["fit_split"] == "extra"
    result = cascade(*args, "--fit-split", "val")
    assert "warning: a (stated), b (stated) was trained on val" in result.err


def test_labels_come_from_the_cache_when_not_given(files):
    assert bring(files, files / "logits.npy", files / "labels.npy", "one").status == 0
    assert bring(files, files / "logits.npy", None, "two").status == 0
    first, second = (
        load(Store(files), Partition.of("logits", **keys("test", model)))
        for model in ("one", "two")
    )
    assert first.fingerprint == second.fingerprint


def keys(split, model):
    return {
        "dataset": "mine",
        "split": split,
        "variant": "identity",
        "runtime": "import",
        "model": model,
    }


def test_importing_beside_extracted_logits(tmp_path):
    pytest.importorskip("torch")
    args = ("--split", "test", "--models", "digits_wide", "--cache", tmp_path)
    assert cascade("extract", *args).status == 0
    _, rows = logits_of(tmp_path, "test", "digits_wide")
    np.save(tmp_path / "x.npy", rows + 1)
    given = ("--dataset", "digits", "--split", "test", "--model", "theirs", "--cache", tmp_path)
    assert cascade("import", *given, "--logits", tmp_path / "x.npy").status == 0
    found = cascade("heterogeneity", "--cache", tmp_path, "--json").json
    assert found["models"] == ["digits_wide", "theirs"]
    assert found["matrix"] == [[0, 0], [0, 0]]  # a constant added to logits changes no answer


def test_again_is_kept_and_other_rows_are_refused_or_replace(files):
    given = (files / "logits.npy", files / "labels.npy")
    assert bring(files, *given).status == 0
    before = {p: p.stat().st_mtime_ns for p in files.rglob("*.parquet")}
    assert bring(files, *given).status == 0
    assert before == {p: p.stat().st_mtime_ns for p in files.rglob("*.parquet")}
    np.save(files / "logits.npy", OTHERS)
    assert "logits_sha256 was" in bring(files, *given).refusal
    assert bring(files, *given, "big", "test", "--overwrite").status == 0
    np.testing.assert_array_equal(logits_of(files, "test", "big", "mine", "import")[1], OTHERS)


def test_what_was_stated_stays_where_nothing_is_said(files):
    given = (files / "logits.npy", files / "labels.npy", "big", "test")
    place = {"split": "test", "variant": "identity", "runtime": "import", "model": "big"}
    for more in (("--trained-on", "val,test"), ("--macs", "2M"), ()):
        assert bring(files, *given, *more).status == 0
        found = load(Store(files), Partition.of("logits", dataset="mine", **place))
        assert found.provenance["trained_on"] == {"splits": ["val", "test"], "source": "stated"}


def test_what_a_model_was_trained_on_can_be_corrected(files):
    given = (files / "logits.npy", files / "labels.npy")
    args = ("threshold", "-d", "mine", "--fit-split", "val", "--cache", files, "--json")
    for stated, warned in (("train", False), ("val", True), ("extra", False)):
        for model in "ab":
            for split in ("test", "val"):
                assert bring(files, *given, model, split, "--trained-on", stated).status == 0
        assert ("was trained on val" in cascade(*args).err) is warned


# --- refusals ------------------------------------------------------------------------------------


def changed(values, row, value):
    values = np.array(values, copy=True)
    values[row] = value
    return values


BAD_LOGITS = {
    "NaN": (changed(LOGITS, 17, np.nan), "row 17 has a NaN or infinite logit"),
    "logarithm of 0": (changed(LOGITS, (5, 2), -np.inf), "take log(max(p, 1e-12))"),
    "infinite": (changed(LOGITS, (5, 2), np.inf), "row 5 has a NaN or infinite logit"),
    "too large for float32": (changed(LOGITS.astype(float), 3, 1e39), "row 3 has a logit of 1e+39"),
    "too short": (LOGITS[:-1], "labels but there are 89 rows"),
    "too long": (np.vstack([LOGITS, LOGITS[:1]]), "90 labels but there are 91 rows"),
    "fewer classes": (LOGITS[:, :3], "expected 0 to 2"),
    "one class": (LOGITS[:, :1], "K of 2 or more"),
    "one dimension": (LOGITS[:, 0], "logits are N × K"),
    "three dimensions": (LOGITS[:, :, None], "logits are N × K"),
    "no rows": (LOGITS[:0], "logits are N × K"),
    "no dimension": (np.float32(3), "logits are N × K"),
    "text": (LOGITS.astype(str), "not numbers"),
    "complex": (LOGITS.astype(complex), "not numbers"),
    "truth values": (LOGITS > 0, "not numbers"),
    "dates": (np.zeros((N, K), "M8[s]"), "not numbers"),
    "records": (np.zeros((N, K), [("a", "f4")]), "not numbers"),
}


@pytest.mark.parametrize("name", BAD_LOGITS)
def test_bad_logits(name, files):
    values, words = BAD_LOGITS[name]
    np.save(files / "logits.npy", values)
    root = files / "cache"
    assert words in bring(root, files / "logits.npy", files / "labels.npy").refusal
    assert not list(root.rglob("*.parquet"))


BAD_LABELS = {
    "too large": (changed(LABELS, 12, K), f"row 12 has label {K}, expected 0 to {K - 1}"),
    "negative": (changed(LABELS, 3, -1), "row 3 has label -1"),
    "not whole": (changed(LABELS.astype(float), 4, 1.5), "row 4 has label 1.5"),
    "NaN": (changed(LABELS.astype(float), 4, np.nan), "row 4 has label nan"),
    "infinite": (changed(LABELS.astype(float), 4, np.inf), "row 4 has label inf"),
    "huge": (changed(LABELS.astype(np.uint64), 4, 2**63), "row 4 has label 9223372036854775808"),
    "too few": (LABELS[:-3], "has 87 labels but there are 90 rows"),
    "one hot": (np.eye(K)[LABELS], "labels are N whole numbers"),
    "text": (np.array(["cat"] * N), "labels are N whole numbers"),
    "none": (LABELS[:0], "has 0 labels"),
}


@pytest.mark.parametrize("name", BAD_LABELS)
def test_bad_labels(name, files):
    values, words = BAD_LABELS[name]
    np.save(files / "labels.npy", values)
    root = files / "cache"
    assert words in bring(root, files / "logits.npy", files / "labels.npy").refusal
    assert not list(root.rglob("*.parquet"))


def test_a_value_beyond_float32_is_told_from_an_infinite_one(files):
    for value, words in (
        (1e300, "row 7 has a logit of 1e+300 (column 2), beyond float32, which ends at 3.4e38"),
        (-1e300, "row 7 has a logit of -1e+300 (column 2), beyond float32"),
    ):
        np.save(files / "x.npy", changed(LOGITS.astype(float), (7, 2), value))
        told = bring(files / "c", files / "x.npy", files / "labels.npy").refusal
        assert words in told
        assert "NaN" not in told
        assert "1e-12" not in told


def test_transposed_logits(files):
    np.save(files / "logits.npy", LOGITS.T)
    line = bring(files, files / "logits.npy", files / "labels.npy").refusal
    assert line.endswith(
        "90 labels but there are 4 rows of logits: are the logits K × N? They are to be N × K"
    )


def write(path, data):
    (path.write_bytes if isinstance(data, bytes) else path.write_text)(data)


def two_arrays(path):
    np.savez(path, a=LOGITS, b=LABELS)


def pickled(path):
    np.save(path, np.array([LOGITS, None], dtype=object), allow_pickle=True)


def pickled_in_npz(path):
    np.savez(path, np.array([LOGITS, None], dtype=object))


def truncated(path):
    path.write_bytes(npy_bytes(LOGITS)[:-100])


def truncated_parquet(path):
    save_columns(path, LOGITS)
    path.write_bytes(path.read_bytes()[:-9])


def truncated_npz(path):
    save_npz(path, LOGITS)
    path.write_bytes(path.read_bytes()[:-30])


def state_dict(path):
    torch = pytest.importorskip("torch")
    torch.save({"fc": torch.zeros(3, 3), "bias": torch.zeros(3)}, path)


def code_in_pt(path):
    import pickle

    class Evil:
        def __reduce__(self):
            return (print, ("executed",))

    pytest.importorskip("torch")
    path.write_bytes(pickle.dumps(Evil()))


def empty_cells(path):
    path.write_text("a,b,c,d\n1,2,3,4\n,4,3,4\n" + "5,6,7,8\n" * (N - 2))


def words_in_csv(path):
    path.write_text("a,b,c,d\n1,2,3,4\n3,x,3,4\n" + "5,6,7,8\n" * (N - 2))


def ragged(path):
    pq.write_table(pa.table({"x": [[1.0, 2.0], [3.0], *[[4.0, 5.0, 6.0, 7.0]] * (N - 2)]}), path)


def nulls_in_lists(path):
    pq.write_table(
        pa.table({"x": [LOGITS[0].tolist(), [3.0, None, 1.0, 2.0], *LOGITS[2:].tolist()]}), path
    )


def with_an_index(path):
    path.write_text(",0,1,2\n0,1.5,2.5,1\n1,1.5,2.5,1\n")


def repeated_ids(path):
    frame(LOGITS).with_columns(pl.Series("sample_id", [0] * N)).write_parquet(path)


BAD_FILES = {
    "two arrays": (".npz", two_arrays, "holds 2 arrays (a, b): save exactly one, or name that"),
    "pickled": (".npy", pickled, "holds pickled Python objects, not numbers"),
    "pickled in npz": (".npz", pickled_in_npz, "arr_0 holds pickled Python objects"),
    "truncated": (".npy", truncated, "check the file"),
    "truncated parquet": (".parquet", truncated_parquet, "check the file"),
    "truncated npz": (".npz", truncated_npz, "check the file"),
    "empty npy": (".npy", lambda p: write(p, b""), "check the file"),
    "empty csv": (".csv", lambda p: write(p, b""), "check the file"),
    "only a header": (".csv", lambda p: write(p, "a,b,c\n"), "shape (0, 3)"),
    "words in csv": (
        ".csv",
        words_in_csv,
        "line 3: the cell of column 'b' holds 'x', which is no number",
    ),
    "empty cells": (".csv", empty_cells, "line 3: the cell of column 'a' is empty"),
    "not utf-8": (".csv", lambda p: write(p, b"\xff\xfe1,2\n"), "check the file"),
    "ragged rows": (".csv", lambda p: write(p, "1,2\n1,2,3\n"), "line 2: it has 3 cells"),
    "an index": (".csv", with_an_index, "column '' is headed as a row index"),
    "ragged lists": (".parquet", ragged, "row 1: its list in column 'x' has 1 values"),
    "nulls in lists": (".parquet", nulls_in_lists, "row 1: the cell of column 'x' is empty"),
    "a state dict": (".pt", state_dict, "holds 2 arrays (fc, bias): save exactly one"),
    "code": (".pt", code_in_pt, "check the file"),
    "garbage": (".pt", lambda p: write(p, b"garbage"), "check the file"),
    "repeated sample ids": (".parquet", repeated_ids, "sample_id"),
    "an unknown suffix": (".mat", lambda p: write(p, b""), "its name must end in .npy, .npz"),
    "a folder": (".npy", lambda p: p.mkdir(), "Is a directory"),
    "nothing": (".npy", lambda p: None, "no file"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files(name, files, capfd):
    suffix, make, words = BAD_FILES[name]
    path = files / f"bad{suffix}"
    make(path)
    root = files / "cache"
    line = bring(root, path, files / "labels.npy").refusal
    assert words in line
    assert str(path) in line
    assert not list(root.rglob("*.parquet"))
    assert capfd.readouterr().out == ""


def test_words_are_no_labels(files):
    (files / "y.csv").write_text("label\n" + "\n".join(["cat", "dog"] * (N // 2)) + "\n")
    line = bring(files, files / "logits.npy", files / "y.csv").refusal
    assert "encode them as 0…3 in the order of the logits' columns" in line
    assert "cat" in line


NAMES = ["cat", "dog", "élan", "a frog"]


@pytest.fixture
def named(files):
    """Beside `files`: names.txt, and the labels as words in y.csv and y.npy."""
    (files / "names.txt").write_text("\n".join(NAMES) + "\n\n", encoding="utf-8-sig")
    words = [NAMES[label] for label in LABELS]
    pl.DataFrame({"label": words}).write_csv(files / "y.csv")
    pl.DataFrame({"label": words}).write_csv(files / "bare.csv", include_header=False)
    np.save(files / "y.npy", np.array(words))
    return files


def names_in(root):
    return load(Store(root), Partition.of("samples", dataset="mine", split="test")).provenance.get(
        "class_names"
    )


@pytest.mark.parametrize("labels", ["labels.npy", "y.csv", "bare.csv", "y.npy"])
def test_class_names(labels, named):
    names = ("--class-names", named / "names.txt")
    assert bring(named, named / "logits.npy", named / labels, "big", "test", *names).status == 0
    assert names_in(named) == NAMES
    samples = load(Store(named), Partition.of("samples", dataset="mine", split="test"))
    assert read_table(Store(named), samples).column("label").to_pylist() == LABELS.tolist()
    assert bring(named, named / "logits.npy", None, "other").status == 0
    assert names_in(named) == NAMES


@pytest.mark.parametrize("save", ["csv", "parquet"])
def test_a_header_of_class_names_in_another_order_is_refused(save, named):
    """Else every answer would be called by another class's name."""
    names = ("--class-names", named / "names.txt")

    def headed(order):
        table, path = pl.DataFrame(LOGITS, schema=order), named / f"headed.{save}"
        getattr(table, f"write_{save}")(path)
        return path, named / "y.npy", "big", "test"

    told = bring(named / "a", *headed(NAMES[::-1]), *names).refusal
    assert "column 0 is headed 'a frog', class 0 is 'cat': put the class names" in told
    assert not list((named / "a").rglob("*.parquet"))
    for order in (NAMES, [*NAMES[:-1], "other"], [f"c{k}" for k in range(K)], list("0123")):
        assert bring(named / order[3], *headed(order), *names).status == 0, order
    later = (named / "a frog", headed(NAMES[1:] + NAMES[:1])[0], None, "second")
    assert "is headed 'dog', class 0 is 'cat'" in bring(*later).refusal


def test_a_column_that_is_no_class_is_named(named):
    table = pl.DataFrame(
        {"image": [f"{i}.png" for i in range(N)]} | dict(zip(NAMES, LOGITS.T, strict=True))
    )
    table.write_csv(named / "logits.csv")
    told = bring(named, named / "logits.csv", named / "labels.npy").refusal
    assert "column 'image' holds words such as '0.png', not numbers: leave it out" in told
    table.select("image", label=pl.lit("cat")).write_csv(named / "labels.csv")
    for names in ((), ("--class-names", named / "names.txt")):
        given = (named / "logits.npy", named / "labels.csv", "big", "test", *names)
        told = bring(named, *given).refusal
        assert "has 2 columns (image, label): keep that of the labels only" in told


def test_class_names_come_later(named):
    assert bring(named, named / "logits.npy", named / "labels.npy").status == 0
    assert names_in(named) is None
    names = ("--class-names", named / "names.txt")
    for labels in (None, named / "y.csv"):
        assert bring(named, named / "logits.npy", labels, "big", "test", *names).status == 0
        assert names_in(named) == NAMES
    verified = cascade("cache", "verify", "--cache", named)
    assert verified.status == 0, verified.err


def test_the_page_names_them(named):
    names = ("--class-names", named / "names.txt")
    for model, rows in (("small", LOGITS), ("big", OTHERS)):
        np.save(named / "logits.npy", rows)
        args = (named / "logits.npy", named / "y.csv", model, "test")
        assert bring(named, *args, *names, "--macs", len(model)).status == 0
    page = named / "page.html"
    assert cascade("report", "-d", "mine", "-o", page, "--cache", named).status == 0
    [data] = re.findall(r'id="data">([^<]*)</script>', page.read_text())
    facts, _ = packing.unpack(data)
    assert facts["classes"] == NAMES


BAD_NAMES = {
    "too few": ("cat\ndog\n", "names.txt names 2 classes but the logits have 4"),
    "twice": ("cat\ndog\ncat\nfrog\n", "'cat' cannot name one class"),
    "an empty line": ("cat\n\ndog\nfrog\n", "'' cannot name one class"),
    "not text": (b"\xff\xfe\x00", "names.txt, line 1: not text in UTF-8"),
    "unknown word": ("cat\ndog\nelan\na frog\n", "is 'élan', which is no class name"),
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_class_names(name, named):
    text, words = BAD_NAMES[name]
    write(named / "names.txt", text)
    args = (named / "logits.npy", named / "y.csv", "big", "test", "--class-names")
    assert words in bring(named, *args, named / "names.txt").refusal
    assert "cannot read no/such.txt: No such file" in bring(named, *args, "no/such.txt").refusal
    assert not list(named.rglob("*.parquet"))


def test_class_names_that_are_numbers(named):
    """Of a csv nobody can tell whether 3 means the fourth column or the class called 3."""
    names = ("--class-names", named / "names.txt")
    save_csv(named / "y.csv", LABELS)
    np.save(named / "y.npy", np.array([str(3 - label) for label in LABELS]))
    for text, file, words in (
        ("0\n1\n2\n3\n", "y.csv", None),
        ("3\n2\n1\n0\n", "y.csv", "'3' a label may be a column or a name"),
        ("3\n2\n1\n0\n", "y.npy", None),
    ):
        (named / "names.txt").write_text(text)
        root = named / f"{file}{text[0]}"
        done = bring(root, named / "logits.npy", named / file, "big", "test", *names)
        assert (words in done.refusal) if words else (done.status == 0), done.err
        if not words:
            samples = load(Store(root), Partition.of("samples", dataset="mine", split="test"))
            stored = read_table(Store(root), samples).column("label").to_pylist()
            assert stored == LABELS.tolist()


def test_a_refused_import_changes_nothing(named):
    args = (named / "labels.npy", "big", "test")
    assert bring(named / "cache", named / "logits.npy", *args).status == 0
    before = {path: path.read_bytes() for path in (named / "cache").rglob("*.*") if path.is_file()}
    np.save(named / "logits.npy", OTHERS)
    names = ("--class-names", named / "names.txt")
    refusal = bring(named / "cache", named / "logits.npy", *args, *names).refusal
    assert "already holds logits" in refusal
    after = {path: path.read_bytes() for path in (named / "cache").rglob("*.*") if path.is_file()}
    assert after == before


def test_other_class_names_are_refused(named):
    args = (named / "logits.npy", named / "labels.npy", "big", "test", "--class-names")
    assert bring(named, *args, named / "names.txt").status == 0
    (named / "names.txt").write_text("cat\nélan\ndog\na frog\n")
    assert (
        "class 1 is 'élan' but the cache calls it 'dog'"
        in bring(named, *args, named / "names.txt").refusal
    )
    assert names_in(named) == NAMES


def test_another_number_of_classes(files):
    assert bring(files, files / "logits.npy", files / "labels.npy").status == 0
    np.save(files / "x.npy", np.hstack([LOGITS, LOGITS[:, :1]]))
    for split in ("test", "val"):
        line = bring(files, files / "x.npy", files / "labels.npy", "second", split).refusal
        assert "x.npy has 5 classes, logits of dataset mine" in line
        assert "model big has 4" in line
    assert len(list(files.rglob("samples/**/*.parquet"))) == 1
    given = ("big", "test", "--overwrite")  # what is replaced says nothing
    assert bring(files, files / "x.npy", files / "labels.npy", *given).status == 0


def test_a_damaged_neighbour_is_in_nobodys_way(files):
    given = (files / "logits.npy", files / "labels.npy")
    assert bring(files, *given).status == 0
    [path] = files.glob("_manifests/logits/**/*.json")
    path.write_text("{")
    assert bring(files, *given, "second").status == 0


# --- what is odd, and brought in all the same ----------------------------------------------------


def test_probabilities_are_refused(files):
    shares = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    for name, values, refused in (
        ("probabilities", shares, True),
        ("half precision", shares.astype(np.float16), True),
        ("double", shares.astype(np.float64), True),
        ("their logarithm", np.log(shares), False),
        ("but one", changed(shares, 3, [2, -1, 0, 0]), False),
    ):
        np.save(files / "x.npy", values)
        root = files / name
        done = bring(root, files / "x.npy", files / "labels.npy")
        if refused:
            assert "holds probabilities (none below 0, each row sums to 1)" in done.refusal
            assert "give them as --probabilities" in done.refusal
            assert not root.exists()
        else:
            assert (done.status, done.err) == (0, ""), name


@pytest.mark.parametrize("decimals", [1, 2, 3])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_rounded_probabilities_are_refused(decimals, kind, many):
    shares = np.exp(MANY_LOGITS) / np.exp(MANY_LOGITS).sum(axis=1, keepdims=True)
    rounded = shares.round(decimals)
    assert np.abs(rounded.sum(axis=1) - 1).max() > 1e-3
    np.save(many / "x.npy", rounded.astype(kind))
    told = bring(many / "c", many / "x.npy", many / "y.npy").refusal
    assert "holds probabilities (none below 0, each row sums to 1, but for rounding)" in told
    bad = changed(rounded, 40, np.linspace(0, 1, MANY).round(decimals))  # they sum to 6
    np.save(many / "x.npy", bad.astype(kind))
    done = bring(many, many / "x.npy", many / "y.npy")
    assert done.status == 0
    assert "holds only values from 0 to 1: are these probabilities" in done.err


def test_what_may_be_shares_is_told(many):
    shares = np.exp(MANY_LOGITS) / np.exp(MANY_LOGITS).sum(axis=1, keepdims=True)
    asked = "are these probabilities, per cent or sigmoids?"
    other = changed(shares, 3, shares[3] * 1.5)
    for name, values, words in (
        ("sigmoids", 1 / (1 + np.exp(-MANY_LOGITS)), "only values from 0 to 1"),
        ("per cent", 100 * shares, f"no value below 0, and {N} of {N} rows sum to 100"),
        ("one other row", other, "from 0 to 1" if other.max() <= 1 else f"{N - 1} of {N} rows"),
        ("shifted", shares + 1, f"{N} of {N} rows sum to 13"),
        ("sums of 1", MANY_LOGITS + (1 - MANY_LOGITS.sum(1, keepdims=True)) / MANY, None),
        ("positive", np.abs(MANY_LOGITS), None),
        ("far away", MANY_LOGITS + 1000, None),
        ("logarithms", np.log(shares), None),
    ):
        np.save(many / "x.npy", values)
        done = bring(many / name, many / "x.npy", many / "y.npy")
        assert done.status == 0, name
        if words is None:
            assert done.err == "", name
        else:
            assert words in done.err, name
            assert asked in done.err
            assert done.err.count("\n") == 1


def test_multiply_adds_are_the_models_on_all_its_splits(files):
    def bring_split(split, logits, *macs):
        np.save(files / "logits.npy", logits)
        args = (files / "logits.npy", files / "labels.npy", "big", split)
        assert bring(files, *args, *macs).status == 0

    def told():
        found = [
            load(Store(files), Partition.of("logits", dataset="mine", split=split, **keys))
            for split in ("test", "val", "dev")
        ]
        return [each and each.provenance["macs"] for each in found]

    keys = {"variant": "identity", "runtime": "import", "model": "big"}
    bring_split("test", LOGITS)
    assert told() == [None, None, None]
    bring_split("val", LOGITS[::-1], "--macs", "2M")
    bring_split("dev", OTHERS)
    assert told() == [2_000_000] * 3
    bring_split("val", LOGITS[::-1])
    assert told() == [2_000_000] * 3
    bring_split("val", LOGITS[::-1], "--macs", "3M")
    assert told() == [3_000_000] * 3


def test_the_same_logits_on_another_split_are_told(files):
    given = (files / "logits.npy", files / "labels.npy")
    assert bring(files, *given).err == ""
    done = bring(files, *given, "big", "val")
    assert done.status == 0
    assert "the very same logits as big on split test: check --split" in done.err
    np.save(files / "logits.npy", OTHERS)
    assert bring(files, *given, "second", "val").err == ""


def test_training_splits_that_nobody_knows_are_told(files):
    given = (files / "logits.npy", files / "labels.npy", "big", "test")
    for split, told in (("train", False), ("test", False), ("trian", True), ("test,extra", True)):
        done = bring(files, *given, "--trained-on", split)
        assert done.status == 0
        assert ("is no split that" in done.err) is told, split
    assert "--trained-on extra" in done.err
    where = ("--dataset", "cifar10", "--split", "x", "--model", "m", "--cache", files)
    named = ("--logits", given[0], "--labels", given[1], "--trained-on", "test")
    assert cascade("import", *where, *named).err == ""


@pytest.mark.parametrize(
    ("text", "macs"),
    [("1M", 10**6), ("0.3M", 300_000), ("1.5G", 15 * 10**8), ("2e3", 2000), ("0", 0)],
)
def test_multiply_adds_as_costs_are_written(text, macs, files):
    given = (files / "logits.npy", files / "labels.npy", "big", "test", "--macs", text)
    assert bring(files, *given).status == 0
    keys = {"split": "test", "variant": "identity", "runtime": "import", "model": "big"}
    found = load(Store(files), Partition.of("logits", dataset="mine", **keys))
    assert found.provenance["macs"] == macs


@pytest.mark.parametrize("text", ["1.5", "-1", "many", "1mJ", "2e18", "", "1e999999999999"])
def test_no_multiply_adds(text, files):
    given = (files / "logits.npy", files / "labels.npy", "big", "test", "--macs", text)
    assert "is no whole number of multiply-adds" in bring(files / "cache", *given).refusal
    assert not (files / "cache").exists()


def test_labels_are_needed_once(files):
    line = bring(files, files / "logits.npy").refusal
    assert "the cache has no samples of dataset mine, split test: give --labels FILE" in line


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        (LOGITS[:50], None, "has 50 rows but the cache has 90 samples"),
        (LOGITS[:50], LABELS[:50], "has 50 rows but the cache has 90 samples"),
        (LOGITS, changed(LABELS, 8, (LABELS[8] + 1) % K), "row 8 has label"),
        (LOGITS[:, :3], None, "has 3 classes, logits of"),
    ],
)
def test_rows_that_do_not_fit_the_cache(logits, labels, words, files):
    assert bring(files, files / "logits.npy", files / "labels.npy").status == 0
    np.save(files / "x.npy", logits)
    given = None
    if labels is not None:
        given = files / "y.npy"
        np.save(given, labels)
    assert words in bring(files, files / "x.npy", given, "second").refusal


@pytest.mark.parametrize(
    "name", ["", "../up", "a" * 300, "new\nline", "/abs", "back\\slash", "\0", "tab\t"]
)
@pytest.mark.parametrize("option", ["--model", "--split", "--dataset"])
def test_names_that_cannot_be(option, name, files):
    args = {"--dataset": "mine", "--split": "test", "--model": "big"} | {option: name}
    flat = [part for pair in args.items() for part in pair]
    given = ("--logits", files / "logits.npy", "--labels", files / "labels.npy")
    cascade("import", *flat, *given, "--cache", files / "cache").refusal  # noqa: B018
    assert not list((files / "cache").rglob("*.parquet"))


# --- which columns, in what order ----------------------------------------------------------------

MANY = 12
MANY_LABELS = np.random.default_rng(3).integers(0, MANY, N)
MANY_LOGITS = np.round(
    np.random.default_rng(4).standard_normal((N, MANY)) + 3 * np.eye(MANY)[MANY_LABELS], 4
)
AS_TEXT = sorted(range(MANY), key=str)  # 0, 1, 10, 11, 2 …


def table_file(path, columns):
    """A csv or Parquet of (heading, values) pairs, as text for a csv."""
    headings, values = zip(*columns, strict=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.table(list(map(pa.array, values)), names=list(headings)), path)
        return path
    rows = ["\n" + ",".join(map(str, row)) for row in zip(*values, strict=True)]
    path.write_text(",".join(headings) + "".join(rows) + "\n")
    return path


def headed(headings, logits=MANY_LOGITS):
    return list(zip(headings, logits.T.tolist(), strict=True))


def stored(root, model="big"):
    return logits_of(root, "test", model, "mine", "import")[1]


@pytest.fixture
def many(tmp_path):
    np.save(tmp_path / "y.npy", MANY_LABELS)
    return tmp_path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    "heading", ["{}", "class_{}", "logit[{}]", "p {}", "1+{}", "{}_prob", "v2 of {} here", "{}.0"]
)
def test_numbered_columns_are_put_in_order(heading, suffix, many):
    first = heading.startswith("1+")
    names = [heading.removeprefix("1+").format(k + first) for k in AS_TEXT]
    path = table_file(many / f"x{suffix}", headed(names, MANY_LOGITS[:, AS_TEXT]))
    done = bring(many, path, many / "y.npy", "big", "test", "--json")
    assert done.json["models"][0]["accuracy"] == np.mean(MANY_LOGITS.argmax(1) == MANY_LABELS)
    np.testing.assert_array_equal(stored(many), MANY_LOGITS.astype(np.float32))


NUMBERS = [f"class_{k}" for k in range(MANY)]
BAD_HEADINGS = {
    "missing": ([*NUMBERS[:-1], "class_12"], "class_0, class_1, class_2 … and class_11 is missing"),
    "from two": ([f"class_{k + 2}" for k in range(MANY)], "class_1 is missing"),
    "repeated": ([*NUMBERS[:-1], "class_03"], "and class_3 is there twice"),
    "the same": ([*NUMBERS[:-1], "class_3"], "column 'class_3' is there twice"),
    "words too": ([*NUMBERS[:-1], "fold"], "but one is 'fold': leave it out"),
    "bare, missing": (
        [*map(str, range(MANY - 1)), "12"],
        "line 1 (0,1,2,3,4,5,6,7,8,9,10,12): only",
    ),
    "id": ([" ID ", *NUMBERS[1:]], "column 'ID' is headed as a row index"),
    "index": (["index", *"abcdefghijk"], "column 'index' is headed as a row index"),
    "target": (["Target", *"abcdefghijk"], "column 'Target' is headed as a row index or labels"),
    "two numbers": ([f"m{k}_out{MANY - k}" for k in range(MANY)], "more than one number differs"),
    "steps": ([str(2 * k) for k in AS_TEXT], "line 1 (0,2,20,22,4,6,8,10,12,14,16,18): only this"),
    "sample id": (["sample id", *"abcdefghijk"], "column 'sample id' is headed as a row index"),
    "y_true": (["Y_True", *"abcdefghijk"], "column 'Y_True' is headed as a row index or labels"),
    "no sample ids": ([" Sample_ID", *"abcdefghijk"], "its sample_id are not 0, 1, 2 …"),
    "no labels": (["label", *"abcdefghijk"], "x.csv: line 2 has label"),
}


@pytest.mark.parametrize("name", BAD_HEADINGS)
def test_headings_that_are_refused(name, many):
    headings, words = BAD_HEADINGS[name]
    path = table_file(many / "x.csv", headed(headings))
    np.save(many / "y.npy", MANY_LABELS % 11)
    assert words in bring(many / "cache", path, many / "y.npy").refusal
    assert not (many / "cache").exists()


@pytest.mark.parametrize(
    "headings", [[f"n{1440764 + 37 * k:08}" for k in range(MANY)], [*"abcdefghij", "x1", "x2"]]
)
def test_words_stay_where_they_stand(headings, many):
    path = table_file(many / "x.csv", headed(headings[::-1]))
    assert bring(many, path, many / "y.npy").status == 0
    np.testing.assert_array_equal(stored(many), MANY_LOGITS.astype(np.float32))


def test_class_names_make_any_heading_a_class(many):
    names = ["id", "index", "grade_7", *"abcdefghi"]
    (many / "names.txt").write_text("\n".join(names))
    path = table_file(many / "x.csv", headed(names))
    given = (path, many / "y.npy", "big", "test", "--class-names", many / "names.txt")
    assert bring(many, *given).status == 0
    np.testing.assert_array_equal(stored(many), MANY_LOGITS.astype(np.float32))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_sample_ids_and_labels_are_known_by_name(suffix, many):
    order = np.random.default_rng(5).permutation(N)
    columns = headed([f"c{k}" for k in range(MANY)], MANY_LOGITS[order])
    columns += [(" Sample_id ", order.tolist()), ("LABEL", MANY_LABELS[order].tolist())]
    path = table_file(many / f"x{suffix}", columns)
    assert bring(many, path).status == 0
    np.testing.assert_array_equal(stored(many), MANY_LOGITS.astype(np.float32))
    samples = load(Store(many), Partition.of("samples", dataset="mine", split="test"))
    assert read_table(Store(many), samples).column("label").to_pylist() == MANY_LABELS.tolist()
    assert bring(many, path, many / "y.npy").status == 0
    np.save(many / "y.npy", np.roll(MANY_LABELS, 1))
    told = bring(many, path, many / "y.npy").refusal
    row = int((np.roll(MANY_LABELS, 1) != MANY_LABELS).argmax())
    assert f"y.npy: row {row} has label {np.roll(MANY_LABELS, 1)[row]} but" in told
    assert told.endswith(f"x{suffix} has {MANY_LABELS[row]}: put the rows in one order")


# --- columns that are no class, by what they hold ------------------------------------------------

NO_CLASS = {
    "y": (MANY_LABELS, "holds the labels, not a class's logits: leave it out"),
    "sorted": (np.sort(MANY_LABELS), "holds the labels, not a class's logits: leave it out"),
    "class": (MANY_LABELS + 1, "holds the labels + 1, not a class's logits: leave it out"),
    "key": (np.arange(N), "numbers the rows (0 to 89), no class's logits: leave it out"),
    "nr": (np.arange(1, N + 1), "numbers the rows (1 to 90)"),
    "frame": (np.random.default_rng(0).permutation(N), "numbers the rows (0 to 89)"),
}


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy"])
@pytest.mark.parametrize("name", NO_CLASS)
def test_a_column_that_is_no_class_is_known_by_what_it_holds(name, suffix, many):
    values, words = NO_CLASS[name]
    order = np.argsort(MANY_LABELS, kind="stable") if name == "sorted" else np.arange(N)
    np.save(many / "y.npy", MANY_LABELS[order])
    path, headings = many / f"x{suffix}", suffix != ".npy"
    if headings:
        table_file(path, [*headed("abcdefghijkl", MANY_LOGITS[order]), (name, values.tolist())])
    else:
        np.save(path, np.column_stack([MANY_LOGITS[order], values]))
    told = bring(many / "cache", path, many / "y.npy").refusal
    assert f"column {repr(name) if headings else MANY} {words}" in told
    assert not (many / "cache").exists()
    way_out = headings and np.array_equal(values, MANY_LABELS[order])
    assert (f"or give --label-column {name!r} in place of --labels" in told) is way_out
    if way_out:
        assert bring(many, path, None, "big", "test", "--label-column", name).status == 0


def test_logits_that_look_like_labels_are_logits(many):
    """One label and a constant logit; few rows; whole numbers that are not the labels."""
    whole = np.round(MANY_LOGITS * 9)
    for name, logits, labels in (
        ("one label", changed(MANY_LOGITS.T, 3, 0.0).T, np.full(N, 3)),
        ("two rows", np.column_stack([[0, 1], MANY_LOGITS[:2]]), np.array([0, 1])),
        ("whole", whole, MANY_LABELS),
        ("but one", np.column_stack([whole, changed(MANY_LABELS, 80, 0)]), MANY_LABELS),
    ):
        np.save(many / "x.npy", logits)
        np.save(many / "y.npy", labels)
        assert bring(many / name, many / "x.npy", many / "y.npy").status == 0, name


# --- logits and labels in one file ---------------------------------------------------------------


def one_npz(path):
    np.savez(path, out=MANY_LOGITS, truth=MANY_LABELS, more=np.zeros(3))


def one_pt(path):
    torch = pytest.importorskip("torch")
    torch.save({"out": torch.tensor(MANY_LOGITS), "truth": torch.tensor(MANY_LABELS)}, path)


def one_list(path):
    columns = {"id": MANY_LABELS, "out": MANY_LOGITS.tolist(), "truth": MANY_LABELS}
    pq.write_table(pa.table(columns), path)


def one_wide(path):
    order = [*reversed(range(MANY))]
    columns = headed([f"out_{k}" for k in order], MANY_LOGITS[:, order])
    columns += headed([f"p_{k}" for k in range(MANY)])
    table_file(path, [("id", range(N)), *columns, ("truth", MANY_LABELS.tolist())])


ONE_FILE = {"npz": one_npz, "pt": one_pt, "parquet": one_list, "csv": one_wide}


@pytest.mark.parametrize("suffix", ONE_FILE)
def test_logits_and_labels_in_one_file(suffix, many):
    path = many / f"one.{suffix}"
    ONE_FILE[suffix](path)
    options = ("--logits-column", "out", "--label-column", "truth", "--json")
    for model in ("big", "again"):
        [row] = bring(many, path, None, model, "test", *options).json["models"]
        assert row["accuracy"] == np.mean(MANY_LOGITS.argmax(1) == MANY_LABELS)
        np.testing.assert_array_equal(stored(many, model), MANY_LOGITS.astype(np.float32))
    assert bring(many / "b", path, path, "big", "test", *options).status == 0
    told = bring(many / "c", path, None, "big", "test", *options[:2], "--label-column", "truht")
    assert "--label-column: unknown" in told.refusal
    assert "did you mean 'truth'?" in told.refusal
    told = bring(many / "c", path, None, "big", "test", *options[2:4], "--logits-column", "logits")
    assert "--logits-column: unknown" in told.refusal
    assert "logits-column" in bring(many / "c", path, many / "y.npy").refusal
    assert not (many / "c").exists()


def test_a_column_of_labels_in_a_file_of_its_own(named):
    words = [NAMES[label] for label in LABELS]
    pl.DataFrame({"image": words[::-1], "kind": words}).write_csv(named / "y.csv")
    options = ("--class-names", named / "names.txt", "--label-column", "kind")
    done = bring(named, named / "logits.npy", named / "y.csv", "big", "test", *options)
    assert done.status == 0, done.err
    told = bring(named, named / "logits.npy", named / "bare.csv", "b", "test", *options).refusal
    assert "bare.csv has no header: write one, or leave out --label-column" in told


# --- cells ---------------------------------------------------------------------------------------

LINES = [",".join(f"c{k}" for k in range(K)), *(",".join(map(str, row)) for row in LOGITS.tolist())]
HARMLESS = {
    "blanks": [line.replace(",", ", ") for line in LINES],
    "a comma at each end": [f"{line}," for line in LINES],
    "without header": [f"{line}," for line in LINES[1:]],
    "a plus": [LINES[0], *(f"+{line}".replace("+-", "-") for line in LINES[1:])],
}


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_csv_is_read_as_it_is_meant(name, files):
    (files / "x.csv").write_text("\n".join(HARMLESS[name]))
    assert bring(files, files / "x.csv", files / "labels.npy").status == 0
    np.testing.assert_array_equal(stored(files), LOGITS)


def test_whole_numbers_that_no_int64_holds(files):
    values = [[3 * 10**25 * (2 * int(k == label) - 1) for k in range(K)] for label in LABELS]
    lines = ["a,b,c,d", *(",".join(map(str, row)) for row in values)]
    (files / "x.csv").write_text("\n".join(lines))
    done = bring(files, files / "x.csv", files / "labels.npy")
    assert (done.status, done.err) == (0, "")
    np.testing.assert_array_equal(stored(files), np.array(values, float).astype(np.float32))


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n", "\n  \n", "\n\n\n\n"])
def test_blank_lines_are_no_rows(end, files):
    (files / "x.csv").write_text(end.join(LINES) + end, newline="")
    (files / "y.csv").write_text(end.join(["label", *map(str, LABELS)]) + end, newline="")
    assert bring(files, files / "x.csv", files / "y.csv").status == 0
    np.testing.assert_array_equal(stored(files), LOGITS)
    cells = [*LINES[:18], "1,2,x,4", *LINES[19:]]
    (files / "x.csv").write_text(end.join(cells), newline="")
    line = 1 + 18 * end.count("\n")
    told = bring(files, files / "x.csv", files / "y.csv", "second").refusal
    assert f"line {line}: the cell of column 'c2' holds 'x'" in told


def test_a_first_line_that_may_be_a_heading_is_named(files):
    """As pandas heads a nameless Series; and data that reads as a heading."""
    (files / "y.csv").write_text("\n".join(["0", *map(str, LABELS)]))
    told = bring(files / "c", files / "logits.npy", files / "y.csv").refusal
    assert "has 91 labels but there are 90 rows of logits: line 1 of" in told
    assert told.endswith("y.csv (0) was read as data: if it is a heading, write words there")
    whole = [",".join(map(str, row)) for row in np.round(LOGITS * 99).astype(int).tolist()]
    for first, rows, read_as in (
        ("0,10,12,14", whole, "data: if it is a heading, write words there"),
        ("2,0,3,1", whole[1:], "a heading: if it is data, write a heading of words above it"),
    ):
        (files / "x.csv").write_text("\n".join([first, *rows]))
        told = bring(files / "c", files / "x.csv", files / "labels.npy").refusal
        assert told.endswith(f"line 1 of {files / 'x.csv'} ({first}) was read as {read_as}")
    (files / "x.csv").write_text("\n".join(["0,10,12,14", *LINES[1:]]))
    told = bring(files / "c", files / "x.csv", files / "y.csv").refusal  # 91 of both
    assert "line 1 (0,10,12,14): only this line is whole numbers: is it a heading?" in told
    assert not (files / "c").exists()


@pytest.mark.parametrize(
    ("mark", "name"), [(";", "';'"), ("\t", "a tab"), ("|", "'|'"), (" ", "a blank")]
)
def test_another_separator_is_named(mark, name, files):
    told = f"is its separator {name}? Save it with ',' between cells, and a point in numbers"
    rows = [line.replace(",", mark) for line in LINES]
    comma = [line.replace(".", ",") for line in rows]
    for lines in (rows[1:], comma[1:], rows if mark != " " else rows[1:]):
        (files / "x.csv").write_text("\n".join(lines))
        assert told in bring(files / "c", files / "x.csv", files / "labels.npy").refusal
    assert not (files / "c").exists()


def test_whole_numbers_with_blanks_have_commas_between(files):
    whole = np.round(LOGITS * 99).astype(int)
    lines = [", ".join(map(str, row)) for row in whole.tolist()]
    (files / "x.csv").write_text("\n".join(lines))
    assert bring(files, files / "x.csv", files / "labels.npy").status == 0
    np.testing.assert_array_equal(stored(files), whole)


BAD_CELLS = {
    "nan": ("nan", "line 19 has a NaN or infinite logit (column 'c2')"),
    "NaN": ("NaN", "line 19 has a NaN or infinite logit (column 'c2')"),
    "word": ("n/a", "line 19: the cell of column 'c2' holds 'n/a', which is no number: mend it"),
    "empty": ("", "line 19: the cell of column 'c2' is empty: mend it"),
    "too many": ("1,2", "line 19: it has 5 cells where the first line has 4: mend the line"),
}


@pytest.mark.parametrize("name", BAD_CELLS)
def test_the_line_of_a_bad_cell_is_named(name, files):
    cell, words = BAD_CELLS[name]
    cells = [*LINES[18].split(",")[:2], cell, LINES[18].split(",")[3]]
    (files / "x.csv").write_text("\n".join([*LINES[:18], ",".join(cells), *LINES[19:]]))
    told = bring(files / "cache", files / "x.csv", files / "labels.npy").refusal
    assert words in told
    assert "leave it out" not in told


def test_a_comma_too_many_below_the_header(files):
    (files / "x.csv").write_text("\n".join([LINES[0], *(f"{line}," for line in LINES[1:])]))
    told = bring(files, files / "x.csv", files / "labels.npy").refusal
    assert "line 2: it has 5 cells where the first line has 4, the last one empty" in told


def test_the_row_of_a_file_in_another_order_is_that_of_the_file(files):
    order = np.random.default_rng(6).permutation(N)
    values = changed(LOGITS, 11, np.nan)[order]
    columns = [*headed("abcd", values), ("sample_id", order.tolist())]
    row = int(np.flatnonzero(order == 11)[0])
    for suffix, place in ((".csv", f"line {row + 2}"), (".parquet", f"row {row}")):
        path = table_file(files / f"x{suffix}", columns)
        told = bring(files, path, files / "labels.npy").refusal
        assert f"{place} has a NaN or infinite logit (column 'a')" in told


# --- odd arrays ----------------------------------------------------------------------------------


def test_labels_of_bytes(named):
    words = np.array([NAMES[label].encode() for label in LABELS])
    np.save(named / "y.npy", words)
    names = ("--class-names", named / "names.txt")
    assert bring(named, named / "logits.npy", named / "y.npy", "big", "test", *names).status == 0
    samples = load(Store(named), Partition.of("samples", dataset="mine", split="test"))
    assert read_table(Store(named), samples).column("label").to_pylist() == LABELS.tolist()
    words[7] = b"\xff\xfe"
    np.save(named / "y.npy", words)
    given = (named / "logits.npy", named / "y.npy", "big", "test", *names)
    assert "y.npy: row 7 is '\ufffd\ufffd', which is no class name" in bring(named, *given).refusal


def test_views_of_few_bytes(files):
    torch = pytest.importorskip("torch")
    row = torch.tensor([0.5, 2, -1, 0], dtype=torch.float64)
    torch.save(row.expand(N, K), files / "x.pt")
    torch.save(torch.tensor(1).expand(N), files / "y.pt")
    assert bring(files, files / "x.pt", files / "y.pt").status == 0
    np.testing.assert_array_equal(stored(files), np.tile(np.float32([0.5, 2, -1, 0]), (N, 1)))
    torch.save(row.expand(10**12, K), files / "x.pt")
    told = bring(files, files / "x.pt", files / "labels.npy", "second").refusal
    assert "90 labels but there are 1000000000000 rows of logits" in told
    np.save(files / "x.npy", np.broadcast_to(np.float32([0.5, 2, -1, 0]), (N, K)))
    assert bring(files, files / "x.npy", None, "third").status == 0


def claimed(path, *shape):
    """An npz whose array is said to be larger than what there is of it."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w") as f,
    ):
        about = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(f, about)
        f.write(bytes(1000))


def test_shapes_are_told_before_arrays_are_read(files, monkeypatch):
    for shape, words in (
        ((1_200_000, 1000), "90 labels but there are 1200000 rows of logits"),
        ((N, 4_000_000), "has shape (90, 4000000): logits are N × K, with K of 1,000,000 or less"),
    ):
        claimed(files / "x.npz", *shape)
        assert words in bring(files, files / "x.npz", files / "labels.npy").refusal
    claimed(files / "y.npz", 4 * 10**10)
    told = bring(files, files / "logits.npy", files / "y.npz").refusal
    assert "40000000000 labels but there are 90 rows" in told
    monkeypatch.setattr("stages.ingest.arrays.free_memory", lambda: 10**8)
    claimed(files / "x.npz", N, 900_000)
    told = bring(files, files / "x.npz", files / "labels.npy").refusal
    assert "holds 90 × 900000 values, which take 0.6 GB of memory where 0.1 GB are free" in told


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_of_too_many_columns(suffix, files, monkeypatch):
    monkeypatch.setattr("stages.ingest.tables.MOST_COLUMNS", 100)
    path = table_file(files / f"x{suffix}", [(f"c{k}", [1.5]) for k in range(101)])
    told = bring(files, path, files / "labels.npy").refusal
    assert "has 101 columns, which is more than 100: save N × K logits as npy" in told


def test_a_csv_of_one_endless_line(files):
    (files / "x.csv").write_bytes(b"1," * (9 << 20))
    told = bring(files, files / "x.csv", files / "labels.npy").refusal
    assert "its first line is longer than 16 MiB" in told


def test_what_is_no_file_is_not_waited_for(files):
    given = {"--logits": files / "logits.npy", "--labels": files / "labels.npy"}
    for option, suffix in (
        *(
            (option, suffix)
            for option in given
            for suffix in ("npy", "npz", "pt", "csv", "parquet")
        ),
        ("--class-names", "txt"),
    ):
        path = files / f"{option}.{suffix}"
        os.mkfifo(path)
        flat = [part for pair in (given | {option: path}).items() for part in pair]
        where = ("--dataset", "mine", "--split", "test", "--model", "m", "--cache", files / "cache")
        told = cascade("import", *where, *flat).refusal
        assert "it is a FIFO, not a regular file" in told, (option, suffix)
    (files / "zero.csv").symlink_to("/dev/zero")
    told = bring(files / "cache", files / "zero.csv", files / "labels.npy").refusal
    assert "it is a device, not a regular file" in told


# --- accuracy by chance, and what float32 changes ------------------------------------------------


def test_labels_from_one_and_rows_or_columns_in_another_order_are_told(many):
    kept = MANY_LABELS < MANY - 1
    rng = np.random.default_rng(8)
    right = (MANY_LOGITS.argmax(1) == MANY_LABELS)[kept].mean()
    lower = f"with each label one lower it is {right:.1%}: are labels and columns counted from"
    told = "or rows or columns in another order?"
    for model, logits, labels, words in (
        ("from one", MANY_LOGITS[kept], MANY_LABELS[kept] + 1, lower),
        ("rows", MANY_LOGITS[rng.permutation(N)], MANY_LABELS, told),
        ("columns", np.roll(MANY_LOGITS, 5, axis=1), MANY_LABELS, told),
        ("right", MANY_LOGITS, MANY_LABELS, None),
    ):
        np.save(many / "x.npy", logits)
        np.save(many / "y.npy", labels)
        done = bring(many / model, many / "x.npy", many / "y.npy")
        assert done.status == 0
        found = (logits.argmax(1) == labels).mean()
        shares = [np.mean(logits.argmax(1) == k) * np.mean(labels == k) for k in range(MANY)]
        by_chance = f"accuracy is {found:.1%} where answers that have nothing to do with the labels"
        if words is None:
            assert done.err == ""
        else:
            assert f"{by_chance} have {sum(shares):.1%}" in done.err
            assert words in done.err
    np.save(many / "y.npy", MANY_LABELS + 1)
    given = (many / "all", many / "x.npy", many / "y.npy", "big", "test")
    assert f"has label {MANY}, expected 0 to 11" in bring(*given, "--labels-from", "0").refusal
    done = bring(*given)
    assert "y.npy are counted from 1, so 1 is subtracted of each" in done.err
    np.save(many / "y.npy", MANY_LABELS)
    assert bring(*given).err == ""  # and the very same logits and labels


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_honest_models_raise_no_alarm_and_clear_cases_do(classes):
    rng = np.random.default_rng(classes)

    def warned(n, accuracy, odds=None):
        labels = rng.choice(classes, n, p=odds)
        others = (labels + rng.integers(1, classes, n)) % classes
        answers = np.where(rng.random(n) < accuracy, labels, others)
        return len(list(chance(answers, labels, classes)))

    honest = 0.8 if classes == 2 else 0.6
    for n in (1, 2, 5, 10, 30, 100, 1000):
        assert sum(warned(n, honest) for _ in range(300)) <= 1, n
    odds = np.full(classes, 0.1 / (classes - 1))
    odds[0] = 0.9
    assert not any(warned(1000, 0.97, odds) for _ in range(50))
    assert all(warned(1000, 1 / classes) for _ in range(50)) or classes == 2
    shuffled = rng.choice(classes, 1000, p=odds)
    assert list(chance(rng.permutation(shuffled), shuffled, classes))


def test_answers_that_are_nearly_all_one_class_are_told():
    rng = np.random.default_rng(9)
    labels = rng.permutation(np.repeat(np.arange(13), [4, *[10] * 8, 9, 9, 9, 9]))
    [told] = chance(np.zeros(120, int), labels, 13)
    assert told.startswith("accuracy is 3.3% where any guess has 7.7% and always the commonest")
    assert "label 8.3%; 100.0% of the answers are class 0, as 3.3% of the labels are" in told
    two = np.arange(120) % 2  # half of them are of a class that no label has
    [told] = chance(np.where(two, 11, 12), np.where(labels > 10, 0, labels), 13)
    assert told.startswith("accuracy is 0.0% where any guess has 7.7% and always the commonest")


def test_splits_of_few_classes_and_few_rows_raise_no_alarm():
    rng = np.random.default_rng(10)
    for n in (1, 2, 5, 10, 100, 1000, 10_000):
        one = np.full(n, 3)
        answers = np.where(rng.random(n) < 0.6, 3, rng.integers(0, 10, n))
        assert not list(chance(answers, one, 10)), n
        assert not list(chance(one, one, 10)), n
        binary = (rng.random(n) < 0.05).astype(int)
        assert not list(chance(np.zeros(n, int), binary, 2)), n
        few = np.where(rng.random(n) < 0.99, 3, 4)  # 99 % are one class
        assert not list(chance(np.where(rng.random(n) < 0.6, few, 5), few, 10)), n
    for n in (1, 2, 3, 5):
        assert not list(chance(np.zeros(n, int), np.arange(n) % 3, 13)), n
    for _ in range(500):
        labels = rng.choice(3, 7, p=[0.6, 0.25, 0.15])
        answers = np.where(rng.random(7) < 0.6, labels, (labels + rng.integers(1, 3, 7)) % 3)
        assert not list(chance(answers, labels, 3))


def test_what_float32_changes_is_counted(files):
    spread = np.where(np.arange(N) % 3 == 0, 2.0**30, 0)[:, None]
    for model, values in (
        ("double", LOGITS + spread),
        ("whole", (LOGITS * 9 + spread * 9).astype(int)),
    ):
        np.save(files / "x.npy", values)
        done = bring(files, files / "x.npy", files / "labels.npy", model)
        single = values.astype(np.float32)
        pairs = zip(values, single, strict=True)
        count = sum(
            (np.flatnonzero(a == a.max()).tolist() != np.flatnonzero(b == b.max()).tolist())
            for a, b in pairs
        )
        assert count > N // 4
        assert done.status == 0
        assert (
            f"warning: {count} of {N} rows of {files / 'x.npy'} have another largest class"
            in done.err
        )
    np.save(files / "x.npy", LOGITS.astype(float))
    assert bring(files, files / "x.npy", files / "labels.npy", "same").err == ""


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--model", "--split", "--dataset"])
@pytest.mark.parametrize("name", ["a,b", " a", "a "])
def test_names_that_could_not_be_asked_for(option, name, files):
    args = {"--dataset": "mine", "--split": "test", "--model": "big"} | {option: name}
    flat = [part for pair in args.items() for part in pair]
    given = ("--logits", files / "logits.npy", "--labels", files / "labels.npy")
    told = cascade("import", *flat, *given, "--cache", files / "cache").refusal
    assert repr(name) in told
    assert not (files / "cache").exists()


def test_a_split_with_a_comma_of_before_can_still_be_read(files):
    store = Store(files / "cache")
    write_samples(store, "a,b", LABELS, dataset="mine")
    write_logits(store, "a,b", "big", LABELS, LOGITS, dataset="mine")
    found = cascade("cache", "verify", "--cache", files / "cache")
    assert found.status == 0, found.err
    assert "a,b" in cascade("cache", "ls", "--cache", files / "cache").out
