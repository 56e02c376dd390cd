"""Many models in one table, one npz or one folder: as each alone, and all of them or none."""

from __future__ import annotations

import tracemalloc

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from running import cascade
from scipy.special import softmax

from cache import Store
from stages import costs, scores
from stages.ingest import ImportRequest, import_many

N, K = 150, 6
RNG = np.random.default_rng(5)
LABELS = {split: RNG.integers(0, K, N) for split in ("val", "test")}
P = {
    split: {
        name: softmax(RNG.standard_normal((N, K)) + sure * np.eye(K)[labels], axis=1)
        for name, sure in (("small.v1", 1.0), ("mid", 1.5), ("large", 2.0))
    }
    for split, labels in LABELS.items()
}
MODELS = ("large", "mid", "small.v1")


def top(p):
    classes = np.argsort(-p, axis=1, kind="stable")[:, :3]
    return classes, np.take_along_axis(p, classes, axis=1)


def wide(split, kind):
    """One table of all models, with the labels and the order of its rows."""
    out = {"sample_id": np.arange(N), "label": LABELS[split]}
    for model, p in P[split].items():
        if kind == "probabilities":
            out |= {f"{model}.{k}": p[:, k] for k in range(K)}
            continue
        classes, best = top(p)
        for k in range(3):
            out |= {f"{model}.class_{k + 1}": classes[:, k], f"{model}.p_{k + 1}": best[:, k]}
    return pl.DataFrame(out).sample(fraction=1, shuffle=True, seed=1)


def bring(root, kind, file, *more):
    return cascade("import", "-d", "mine", f"--{kind}", file, "--cache", root / "c", *more)


def held(root, split):
    found = scores.load(Store(root / "c"), "mine", split)
    assert found.models == MODELS
    np.testing.assert_array_equal(found.labels, LABELS[split])
    for m, model in enumerate(found.models):
        np.testing.assert_array_equal(found.scores["maxp"][m], P[split][model].max(axis=1))
        np.testing.assert_array_equal(found.predictions[m], P[split][model].argmax(axis=1))


@pytest.mark.parametrize("kind", ["top-k", "probabilities"])
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_wide_table_brings_in_all_its_models(kind, suffix, tmp_path):
    for split in LABELS:
        table = wide(split, kind)
        file = tmp_path / f"{split}.{suffix}"
        table.write_parquet(file) if suffix == "parquet" else table.write_csv(file)
        done = bring(tmp_path, kind, file, "--split", split, "--json").json
        assert [row["model"] for row in done["models"]] == list(P[split])
        held(tmp_path, split)
    assert cascade("cache", "verify", "--cache", tmp_path / "c").status == 0


def test_an_npz_holds_an_array_for_each(tmp_path):
    np.savez(tmp_path / "all.npz", label=LABELS["test"], **P["test"])
    file = tmp_path / "all.npz"
    assert bring(tmp_path, "probabilities", file, "--split", "test").status == 0
    held(tmp_path, "test")


def folder(root):
    for split, outputs in P.items():
        (root / "all" / split).mkdir(parents=True)
        np.save(root / "all" / split / "labels.npy", LABELS[split])
        for model, p in outputs.items():
            np.save(root / "all" / split / f"{model}.npy", p)
    return root / "all"


def test_a_folder_brings_in_all_models_and_splits(tmp_path):
    done = bring(tmp_path, "probabilities", folder(tmp_path), "--json").json
    assert len(done["models"]) == 2 * len(MODELS)
    for split in LABELS:
        held(tmp_path, split)


def test_one_split_of_a_folder_is_asked_for_by_name(tmp_path):
    assert bring(tmp_path, "probabilities", folder(tmp_path), "--split", "val").status == 0
    held(tmp_path, "val")
    assert scores.splits_of(Store(tmp_path / "c"), "mine") == ["val"]


def frame_of(split, model, kind="top_k"):
    return wide(split, kind).select(
        "sample_id", "label", pl.col(f"^{model.replace('.', '[.]')}[.].*$").name.map(own)
    )


def own(name):
    return name.rpartition(".")[2]


def save_npz(frame, path):
    names = frame.sort("sample_id").select(pl.exclude("sample_id", "label"))
    np.savez(path, label=frame.sort("sample_id")["label"], p=names.to_numpy())


SAVED = {
    ("top_k", "csv"): pl.DataFrame.write_csv,
    ("top_k", "parquet"): pl.DataFrame.write_parquet,
    ("probabilities", "csv"): pl.DataFrame.write_csv,
    ("probabilities", "parquet"): pl.DataFrame.write_parquet,
    ("probabilities", "npz"): save_npz,
}


@pytest.mark.parametrize(("kind", "suffix"), SAVED)
def test_a_folder_holds_files_of_every_format_with_their_labels(kind, suffix, tmp_path):
    for split in P:
        (tmp_path / "all" / split).mkdir(parents=True)
        for model in MODELS:
            path = tmp_path / "all" / split / f"{model}.{suffix}"
            SAVED[kind, suffix](frame_of(split, model, kind), path)
    done = take(tmp_path, tmp_path / "all")
    assert f"all: taken for {kind.replace('_', '-')} (" in done.err
    for split in LABELS:
        held(tmp_path, split)


def take(root, file, *more):
    """By the door that tells the kind."""
    return cascade("import", file, "-d", "mine", "--cache", root / "c", *more)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_labels_from_one_are_noticed_by_what_the_models_answer(suffix, tmp_path):
    table = wide("test", "top_k").with_columns(pl.col("label") + 1)
    file = tmp_path / f"x.{suffix}"
    table.write_parquet(file) if suffix == "parquet" else table.write_csv(file)
    kept = take(tmp_path / "kept", file, "--split", "test", "--labels-from", "0", "--json")
    assert max(row["accuracy"] for row in kept.json["models"]) < 0.3
    done = take(tmp_path, file, "--split", "test")
    assert done.err.count("are counted from 1, so 1 is subtracted of each") == 1
    held(tmp_path, "test")
    take(tmp_path / "said", file, "--split", "test", "--labels-from", "1")
    held(tmp_path / "said", "test")
    assert "counted from 1" in take(tmp_path, file, "--split", "test").err  # as the cache has them


def priced(root, text):
    wide("test", "top_k").with_columns(**{"mid.macs": 7}).write_parquet(root / "x.parquet")
    (root / "costs.csv").write_text(text)
    given = ("--split", "test", "--costs", root / "costs.csv")
    return take(root, root / "x.parquet", *given, "--json")


def test_multiply_adds_are_told_by_the_table_and_by_a_file(tmp_path):
    done = priced(tmp_path, "macs,model\n9e3,large\n5,other\n").json
    assert {row["model"]: row["macs"] for row in done["models"]} == {
        "small.v1": None,
        "mid": 7,
        "large": 9000,
    }
    assert costs.read(Store(tmp_path / "c"), "mine", MODELS) == {name: [] for name in MODELS}


def test_measured_costs_come_with_the_outputs(tmp_path):
    done = priced(tmp_path, "model,device,batch_size,latency_ms,macs\nmid,nano,1,3,8\n").json
    assert {row["model"]: row["macs"] for row in done["models"]}["mid"] == 8
    [row] = costs.read(Store(tmp_path / "c"), "mine", ["mid"])["mid"]
    assert (row.device, row.latency_ms, row.source) == ("nano", 3, "costs.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model,macs\nmid,-1\n", "costs.csv, line 2: macs -1 is not positive"),
        ("model,macs\nmid,\n", "line 2: no model or no macs"),
        ("model,macs\nmid,1\nmid,2\n", "line 3: same model as line 2"),
        ("model,mac\nmid,1\n", "unknown column 'mac'"),
        (
            "model,device,batch_size,latency_ms,macs\nmid,a,1,3,8\nmid,a,2,3,9\n",
            "macs of mid are 8 and 9",
        ),
    ],
)
def test_bad_costs_stop_the_outputs(text, said, tmp_path):
    assert said in priced(tmp_path, text).refusal
    assert not (tmp_path / "c").exists()


def save_wide(root, outputs, labels):
    table = {f"{name}.{k}": p[:, k] for name, p in outputs.items() for k in range(p.shape[1])}
    pl.DataFrame(table | {"label": labels}).write_parquet(root / "x.parquet")
    return root / "x.parquet"


def save_arrays(root, outputs, labels):
    np.savez(root / "x.npz", label=labels, **outputs)
    return root / "x.npz"


def save_folder(root, outputs, labels):
    (root / "x").mkdir()
    for name, values in (outputs | {"labels": labels}).items():
        np.save(root / "x" / f"{name}.npy", values)
    return root / "x"


@pytest.mark.parametrize("save", [save_wide, save_arrays, save_folder])
def test_one_model_is_in_memory_at_a_time(save, tmp_path):
    labels = RNG.integers(0, 50, 3000)
    outputs = {f"m{i}": softmax(RNG.standard_normal((3000, 50)), axis=1) for i in range(8)}
    one = {"m0": outputs["m0"]}
    peaks = []
    for name, models in (("imports", one), ("one", one), ("all", outputs)):
        (tmp_path / name).mkdir()
        peaks.append(peak(save(tmp_path / name, models, labels), tmp_path / name))
    assert peaks[2] < 1.1 * peaks[1]


POOLS = []  # kept: what an import caches would be freed into a pool that is gone


def peak(file, root):
    """Bytes that Python, numpy and pyarrow hold at most."""
    request = ImportRequest("mine", "test", "", str(file), kind="")
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    POOLS.append(pool)
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        import_many(Store(root / "c"), request, "test")
        return tracemalloc.get_traced_memory()[1] + pool.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)


@pytest.mark.parametrize("more", [(), ("--model", "one", "--split", "test")])
def test_a_dry_run_tells_and_writes_nothing(more, tmp_path):
    file = folder(tmp_path)
    if more:
        more += ("--labels", file / "test/labels.npy")
        file = file / "test/mid.npy"
    told = bring(tmp_path, "probabilities", file, "--dry-run", "--json", *more).json
    assert len(told["models"]) == (1 if more else 2 * len(MODELS))
    assert {(row["kind"], row["classes"], row["rows"]) for row in told["models"]} == {
        ("probabilities", K, N)
    }
    assert not (tmp_path / "c").exists()


def damaged(root):
    """The last model's rows sum to 0.7."""
    where = folder(root)
    p = P["val"]["small.v1"].copy()
    p[9] *= 0.7
    np.save(where / "val/small.v1.npy", p)
    return where, "row 9 sums to 0.7"


def shorter(root):
    where = folder(root)
    np.save(where / "test/mid.npy", P["test"]["mid"][:-1])
    return where, f"{N} labels but there are {N - 1} rows"


def other_classes(root):
    where = folder(root)
    np.save(where / "test/mid.npy", softmax(np.zeros((N, K + 1)), axis=1))
    return where, f"large has {K} classes, mid {K + 1}"


def other_labels(root):
    (root / "all/test").mkdir(parents=True)
    for model, turn in (("large", 0), ("mid", 1)):
        table = {f"c{k}": P["test"][model][:, k] for k in range(K)}
        labels = np.roll(LABELS["test"], turn)
        pl.DataFrame(table | {"label": labels}).write_csv(root / "all/test" / f"{model}.csv")
    first, second = LABELS["test"][0], LABELS["test"][-1]
    return root / "all", f"row 0 of test has label {first} by large and {second} by mid: put the"


@pytest.mark.parametrize("spoil", [damaged, shorter, other_classes, other_labels])
def test_one_that_is_bad_stops_all(spoil, tmp_path):
    where, said = spoil(tmp_path)
    assert said in bring(tmp_path, "probabilities", where).refusal
    assert not list((tmp_path / "c").rglob("*.parquet"))


def test_one_that_is_there_from_another_file_stops_all(tmp_path):
    other = tmp_path / "other.npz"
    np.savez(other, mid=P["test"]["mid"][:, ::-1], label=LABELS["test"])
    assert bring(tmp_path, "probabilities", other, "--split", "test").status == 0
    before = sorted((tmp_path / "c").rglob("*.*"))
    assert "give --overwrite" in bring(tmp_path, "probabilities", folder(tmp_path)).refusal
    assert sorted((tmp_path / "c").rglob("*.*")) == before


def test_one_that_is_bad_leaves_what_was_there(tmp_path):
    where = folder(tmp_path)
    assert bring(tmp_path, "probabilities", where).status == 0

    def there():
        return {p: p.read_bytes() for p in (tmp_path / "c").rglob("*") if p.is_file()}

    before = there()
    for model in MODELS:
        np.save(where / f"test/{model}.npy", P["test"][model][:, ::-1])
    np.save(where / "test/new.npy", P["test"]["mid"])
    np.save(where / "test/zz.npy", 2 * P["test"]["mid"])
    assert "zz.npy" in bring(tmp_path, "probabilities", where, "--overwrite").refusal
    assert there() == before


def test_what_is_no_table_of_several_says_so(tmp_path):
    np.save(tmp_path / "x.npy", P["test"]["mid"])
    told = bring(tmp_path, "probabilities", tmp_path / "x.npy", "--split", "test").refusal
    assert "holds one model: name it with --model" in told
    assert "give --split" in bring(tmp_path, "probabilities", tmp_path / "x.npy").refusal
    (tmp_path / "none").mkdir()
    told = bring(tmp_path, "probabilities", tmp_path / "none", "--split", "test").refusal
    assert "holds no models: put MODEL.npy" in told
    doubled = wide("test", "top-k").rename({"mid.p_3": "mid.p_4"})
    doubled.write_parquet(tmp_path / "x.parquet")
    told = bring(tmp_path, "top-k", tmp_path / "x.parquet", "--split", "test").refusal
    assert "are not numbered 1, 2 …" in told


def test_a_dry_run_tells_what_is_odd(tmp_path):
    mistaken = wide("test", "top_k").with_columns(pl.col("label").shuffle(seed=1))
    mistaken.write_parquet(tmp_path / "x.parquet")
    done = take(tmp_path, tmp_path / "x.parquet", "--split", "test", "--dry-run")
    assert done.out.splitlines()[0].split() == [
        *("model", "split", "kind", "classes", "MACs", "rows", "top-1")
    ]
    assert "warning: accuracy is" in done.err
    told = take(tmp_path, tmp_path / "x.parquet", "--split", "test", "--dry-run", "--json").json
    assert all("rows or columns in another order" in row["warnings"][0] for row in told["models"])
    assert not (tmp_path / "c").exists()


def as_wide(frames, path):
    """The labels and ids of the last one stand for all."""
    tables = [
        frame.select(pl.exclude("sample_id", "label").name.map(lambda name, m=model: f"{m}.{name}"))
        for model, frame in frames.items()
    ]
    keys = frames["small.v1"].select("sample_id", "label")
    pl.concat([keys, *tables], how="horizontal").write_csv(path / "x.csv")
    return path / "x.csv"


def as_folder(frames, path):
    (path / "x").mkdir()
    for model, frame in frames.items():
        frame.write_csv(path / "x" / f"{model}.csv")
    return path / "x"


def as_one(frames, path):
    frames["small.v1"].write_csv(path / "x.csv")
    return path / "x.csv"


DOORS = {
    "one": (as_one, ("--model", "one")),
    "wide": (as_wide, ()),
    "folder": (as_folder, ()),
}


def cell(frame, row, **columns):
    for name, value in columns.items():
        frame[row, name] = value
    return frame


TOP_K = {
    "sum": (lambda frame: cell(frame, 4, p_1=0.9, p_2=0.8), "sums to more than 1"),
    "unsorted": (lambda frame: cell(frame, 4, p_1=0.0), "probabilities that do not descend"),
    "k of 1": (lambda frame: frame.select("sample_id", "label", "class_1", "p_1"), "k of 2 or"),
    "per cent": (lambda frame: frame.with_columns(pl.col("^p_.$") * 100), "from 0 to 1"),
    "ids twice": (lambda frame: cell(frame, 4, sample_id=frame[5, "sample_id"]), "each once"),
}
PROBABILITIES = {
    "sum": (lambda frame: frame.with_columns(pl.col("^[0-9]$") * 0.7), "sums to 0.7"),
    "per cent": (lambda frame: frame.with_columns(pl.col("^[0-9]$") * 100), "divide them by 100"),
}
BAD = {("top_k", name): bad for name, bad in TOP_K.items()}
BAD |= {("probabilities", name): bad for name, bad in PROBABILITIES.items()}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("kind", "name"), BAD)
def test_a_bad_table_is_one_line_by_every_door(kind, name, door, tmp_path):
    (spoil, said), (save, more) = BAD[kind, name], DOORS[door]
    frames = {model: frame_of("test", model, kind) for model in MODELS}
    frames["small.v1"] = spoil(frames["small.v1"])
    told = take(tmp_path, save(frames, tmp_path), "--split", "test", *more).refusal
    assert said in told
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("door", DOORS)
def test_a_ragged_csv_is_one_line_by_every_door(door, tmp_path):
    save, more = DOORS[door]
    file = save({model: frame_of("test", model) for model in MODELS}, tmp_path)
    ragged = file / "mid.csv" if file.is_dir() else file
    lines = ragged.read_text().splitlines()
    lines[7] += ",1"
    ragged.write_text("\n".join(lines))
    assert "line 8: it has" in take(tmp_path, file, "--split", "test", *more).refusal
    assert not (tmp_path / "c").exists()


def test_a_model_there_twice_or_of_other_rows_is_one_line(tmp_path):
    frames = {model: frame_of("test", model) for model in MODELS}
    file = as_folder(frames, tmp_path)
    frames["mid"].write_parquet(file / "mid.parquet")
    assert "mid is there 2 times on test" in take(tmp_path, file, "--split", "test").refusal
    (file / "mid.parquet").unlink()
    frames["mid"].filter(pl.col("sample_id") < N - 1).write_csv(file / "mid.csv")
    told = take(tmp_path, file, "--split", "test").refusal
    assert f"large has {N} rows of test, mid {N - 1}" in told
    wide_file = as_wide({model: frame_of("test", model) for model in MODELS}, tmp_path)
    wide_file.write_text(wide_file.read_text().replace("large.p_2", "mid.p_2", 1))
    told = take(tmp_path, wide_file, "--split", "test").refusal
    assert "column 'mid.p_2' is there twice" in told
    assert not (tmp_path / "c").exists()
