"""`cascade cache verify` and `ls`: any changed byte is found, and nothing sound is accused."""

from __future__ import annotations

import doctest
import json
import os
import random
import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from full_cache import KEYS, LABELS, N, everything, full_cache, write_model
from helpers import RUNTIME, fingerprint_of, logits_table, tied_logits, write_logits, write_samples
from running import ROOT, cascade

import cache.fingerprint
from cache import (
    KEYS as ALL_KEYS,
    SCORES,
    TIMINGS,
    InputError,
    Partition,
    PartitionWriter,
    Store,
    digest,
    find,
    load,
    manifest_path,
    read_table,
    samples_table,
)
from cache.upkeep import Selection, verify
from stages.results import STAGES

PER_FILE = 4  # positions damaged in each file


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def full(tmp_path):
    return full_cache(tmp_path / "cache")


def damage(store, selection=None):
    return [(each.path, each.what) for each in verify(store, selection).damage]


def test_a_sound_cache_is_sound(any_store):
    store = full_cache(any_store.root)
    report = verify(store)
    assert (report.damage, report.survey.strays, report.survey.unfinished) == ([], (), ())
    assert {m.partition.table for m in report.survey.complete} == set(ALL_KEYS)
    assert report.parts == sum(path.endswith(".parquet") for path in everything(store))
    assert report.rows == sum(
        pq.read_metadata(pa.BufferReader(data)).num_rows
        for path, data in everything(store).items()
        if path.endswith(".parquet")
    )


def _changes(data, rng):
    """Each kind of change of a file's bytes, at positions drawn anew."""
    for _ in range(PER_FILE):
        position = rng.randrange(len(data))
        flipped = bytearray(data)
        flipped[position] ^= 1 << rng.randrange(8)
        yield bytes(flipped)
    yield data[:-1]
    yield data[1:]
    yield data[: rng.randrange(len(data))]
    yield data + b"\0"
    yield b""


def test_any_change_of_any_file_is_found(full):
    """Data pages, footers, manifests, receipts: one bit or one byte, at random positions."""
    write_model(full, "unfinished", parts=(0, 2))
    rng, files = random.Random(0), everything(full)
    assert sum("receipts" in path for path in files) == 4
    for path, data in files.items():
        [table] = {*path.split("/")} & {*ALL_KEYS}
        for changed in _changes(data, rng):
            full.write(path, changed)
            named = {found for found, _ in damage(full, Selection((table,)))}
            assert path in named, (path, len(data))
        full.write(path, data)
    assert damage(full) == []


def test_no_change_is_read(full):
    """Whatever is changed: the readers give the rows that were written, or a plain refusal."""
    expected = {m.partition: read_table(full, m) for m in _all(full)}
    rng, refused = random.Random(1), 0
    for path, data in everything(full).items():
        for changed in _changes(data, rng):
            full.write(path, changed)
            for partition in [place for place in expected if place.path in path]:
                try:
                    table = read_table(full, load(full, partition))
                except InputError:
                    refused += 1
                    continue
                assert table.equals(expected[partition])
        full.write(path, data)
    assert refused == len(everything(full)) * (PER_FILE + 5)


def _all(store):
    return [manifest for table in ALL_KEYS for manifest in find(store, table)]


@pytest.mark.parametrize("name", ["part-00001.parquet", "part-00000.parquet"])
def test_a_missing_part_is_named(full, name):
    path = f"{Partition.of('logits', **KEYS, runtime=RUNTIME, model='small').path}/{name}"
    full.delete(path)
    assert damage(full) == [(path, "is missing")]


def test_what_cannot_be_read_is_named(full):
    path = f"{Partition.of('logits', **KEYS, runtime=RUNTIME, model='small').path}"
    full.delete(f"{path}/part-00001.parquet")
    Path(full.root, path, "part-00001.parquet").mkdir()
    [(found, what)] = damage(full)
    assert found == f"{path}/part-00001.parquet"
    assert what.startswith("cannot be read")


def test_only_what_is_selected_is_read(full):
    path = f"{Partition.of('logits', **KEYS, runtime=RUNTIME, model='small').path}"
    full.delete(f"{path}/part-00001.parquet")
    for keys in ({"model": ("large",)}, {"dataset": ("other",)}):
        assert damage(full, Selection((), keys)) == []
    assert damage(full, Selection(("scores", "samples"))) == []
    assert len(damage(full, Selection(("logits",)))) == 1
    assert len(damage(full, Selection((), {"model": ("large", "small")}))) == 1


def test_files_that_no_manifest_names_are_listed(full):
    strays = [
        "logits/dataset=toy/odd.txt",
        "samples/dataset=toy/split=test/part-00007.parquet",
        "_manifests/nothing.json",
        "costs/part-00000.parquet",
    ]
    for path in strays:
        full.write(path, b"stray")
    full.write("notes.txt", b"mine")
    report = verify(full)
    assert sorted(entry.path for entry in report.survey.strays) == sorted(strays)
    assert report.damage == []


# Files that are whole, and wrong


def publish(store, table, keys, rows, identity=None, provenance=None):
    """A partition whose manifest is right about its bytes."""
    identity = identity or {"dataset_fingerprint": fingerprint_of(LABELS)}
    partition = Partition.of(table, **keys)
    writer = PartitionWriter(
        store, partition, rows.schema, identity, provenance or {}, overwrite=True
    )
    writer.write(0, rows)
    writer.finish(1)
    return partition.path


MODEL_KEYS = {**KEYS, "runtime": RUNTIME, "model": "made"}
IDS = np.arange(N)


def _logits(ids):
    values = tied_logits(np.random.default_rng(0), len(ids))
    table = logits_table(values)
    return table.set_column(0, table.schema.field(0), pa.array(ids, pa.int64()))


def _scores(labels, ids=IDS):
    n = len(ids)
    columns = [ids, labels, labels, [True] * n, *[np.full(n, 0.5)] * 3]
    return pa.table(columns, schema=SCORES)


def _timings(first, sizes):
    n = len(first)
    return pa.table([first, sizes, [1.0] * n, [True] * n], schema=TIMINGS)


def _twice():
    return _logits(np.r_[0, 0, 2:N])


WRONG = {
    "a sample twice": ("logits", _twice, "has a sample twice"),
    "a sample too few": ("logits", lambda: _logits(IDS[1:]), "has 49 samples that are not the 50"),
    "other samples": ("logits", lambda: _logits(IDS + 1), "has 50 samples that are not the 50"),
    "other labels": ("scores", lambda: _scores(np.roll(LABELS, 1)), "has other labels than"),
    "a gap": ("timings", lambda: _timings([0, 30], [20, 20]), "has batches that do not cover"),
    "an overlap": ("timings", lambda: _timings([0, 10], [20, 40]), "has batches that do not cover"),
    "an end": ("timings", lambda: _timings([0, 20], [20, 20]), "has batches that do not cover"),
    "columns": ("logits", lambda: _scores(LABELS), "does not have the columns of logits"),
    "nulls": (
        "timings",
        lambda: pa.table({"first_sample_id": pa.array([0, None])}),
        "does not have the columns of timings",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_rows_that_cannot_be_right(full, case):
    table, rows, words = WRONG[case]
    path = publish(full, table, MODEL_KEYS, rows())
    found = [(p, what) for p, what in damage(full) if p.startswith(path)]
    assert len(found) == 1
    assert found[0][1].startswith(words)


def test_rows_in_any_order_may_be_right(full):
    order = np.random.default_rng(0).permutation(N)
    publish(full, "logits", MODEL_KEYS, _logits(order))
    publish(full, "scores", MODEL_KEYS, _scores(LABELS[order], order), _stale(full))
    publish(full, "timings", MODEL_KEYS, _timings([30, 0], [20, 30]))
    assert damage(full) == []


def _stale(store):
    logits = load(store, Partition.of("logits", **MODEL_KEYS))
    return {"dataset_fingerprint": fingerprint_of(LABELS), "logits": logits.content}


def test_scores_of_other_logits(full):
    path = publish(full, "scores", {**MODEL_KEYS, "model": "small"}, _scores(LABELS))
    assert damage(full) == [(path, "was made from other logits than those beside it")]
    for part in read_parts(full, "small"):
        full.delete(part)
    full.delete(manifest_path(Partition.of("logits", **{**MODEL_KEYS, "model": "small"})))
    assert damage(full) == []  # handed on without its logits


def read_parts(store, model):
    return store.files(Partition.of("logits", **{**MODEL_KEYS, "model": model}).path)


def test_partitions_of_other_images(full):
    write_logits(full, "test", "theirs", LABELS[::-1], tied_logits(np.random.default_rng(0), N))
    [(path, what)] = damage(full)
    assert path.endswith("model=theirs")
    assert what == "was made from other images than the samples beside it"


def test_no_samples(full):
    write_logits(full, "val", "small", LABELS, tied_logits(np.random.default_rng(0), N))
    [(path, what)] = damage(full)
    assert (path.split("/")[2], what) == ("split=val", "has no samples of toy/val beside it")


def test_the_fingerprints_example():
    assert doctest.testmod(cache.fingerprint) == (0, 1)


@pytest.mark.parametrize("which", ["label", "key", "order"])
def test_samples_that_do_not_have_their_fingerprint(store, which):
    keys = [f"{i}.png" for i in range(N)]
    labels = LABELS.copy()
    identity = {"dataset_fingerprint": cache.fingerprint.fingerprint_of(labels, keys)}
    ids = IDS[::-1] if which == "order" else IDS
    if which == "label":
        labels[7] += 1
    if which == "key":
        keys[7] = "8.png"
    table = samples_table(ids, labels.astype(np.int32), keys)
    publish(store, "samples", {"dataset": "toy", "split": "test"}, table, identity)
    words = {"order": "does not number its samples"}.get(which, "has other ids, labels or keys")
    assert [what.startswith(words) for _, what in damage(store)] == [True]


def test_a_part_of_another_making(full):
    """Right bytes by the manifest, but the file itself says that it is of something else."""
    theirs = Store(Path(full.root).parent / "theirs")
    write_samples(theirs, "test", LABELS)
    write_model(theirs, "large", weights="v")
    path = f"{Partition.of('logits', **KEYS, runtime=RUNTIME, model='large').path}"
    _graft(full, theirs, f"{path}/part-00001.parquet", f"{path}/part-00001.parquet")
    [(found, what), *rest] = damage(full)
    assert found == f"{path}/part-00001.parquet"
    assert what == "was made from something else than its manifest says"
    assert [w for _, w in rest] in ([], ["was made from other logits than those beside it"])


def test_a_part_at_anothers_place(full):
    path = f"{Partition.of('logits', **KEYS, runtime=RUNTIME, model='large').path}"
    _graft(full, full, f"{path}/part-00000.parquet", f"{path}/part-00001.parquet")
    what = "was made from something else than its manifest says"
    assert (f"{path}/part-00001.parquet", what) in damage(full)


def _graft(store, source, path, to):
    """Another file's bytes, and a manifest that says they are right."""
    import hashlib

    data = source.read(path).to_pybytes()
    store.write(to, data)
    manifest = json.loads(store.read(f"_manifests/{to.rpartition('/')[0]}.json").to_pybytes())
    [part] = [part for part in manifest["parts"] if to.endswith(part["name"])]
    part |= {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    forge(store, f"_manifests/{to.rpartition('/')[0]}.json", manifest)


def forge(store, path, body):
    """A manifest with a digest that is right about what it says."""
    body.pop("sha256", None)
    body["sha256"] = digest(body)
    store.write(path, (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode())


# Paths that lead out

NAMES = (
    *("../../x.parquet", "/etc/x.parquet", "part-00000.parquet/../../x", "..\\x.parquet", ""),
    *("part-1.parquet", "part-000001.parquet", "part-٠٠٠٠١.parquet", "part-00001.parquet\n"),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_part_that_leads_out_of_the_cache(full, name, tmp_path):
    outside = tmp_path / "cache" / "x.parquet"
    outside.write_bytes(b"mine")
    place = Partition.of("logits", **KEYS, runtime=RUNTIME, model="small")
    body = json.loads(full.read(manifest_path(place)).to_pybytes())
    body["parts"][1]["name"] = name
    forge(full, manifest_path(place), body)
    with pytest.raises(InputError, match="is damaged"):
        load(full, place)
    assert [path for path, _ in damage(full)] == [manifest_path(place)]
    for command in (("rm", "--model", "small", "--yes"), ("gc", "--older-than", "0")):
        assert cascade("cache", *command, "--cache", full.root).status == 0
    merged = cascade("cache", "merge", full.root, "--cache", tmp_path / "other")
    assert merged.status == 0
    assert outside.read_bytes() == b"mine"


@pytest.mark.parametrize(
    "folder",
    [
        *("samples/dataset=..%2F..%2Fx/split=test", "samples/dataset=%2Fetc/split=test"),
        *("samples/dataset=%00/split=test", "samples/dataset=a%5Cb/split=test", "odd/x=y"),
        *("samples/dataset=a%2fb/split=test", "samples/split=test/dataset=a", "samples/dataset=a"),
        "results/./dataset=a/split=b/run=c",
    ],
)
def test_a_folder_that_no_partition_has(full, folder):
    with pytest.raises(ValueError, match=r"\S"):
        Partition.parse(folder)
    if "/./" not in folder:
        full.write(f"_manifests/{folder}.json", b"{}")
        full.write(f".tmp/receipts/{folder}/part-00000.parquet.json", b"{}")
        assert damage(full) == []


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/x", "a/./b", "a\\b", "a\0b", "a//b"])
def test_the_store_follows_no_path_out(any_store, path):
    for act in (
        lambda: any_store.write(path, b"x"),
        lambda: any_store.read(path),
        lambda: any_store.delete(path),
        lambda: any_store.files(path),
        lambda: any_store.exists(path),
    ):
        with pytest.raises(InputError, match="leads out of the cache"):
            act()


# The command

PAIR = ("-m1", "digits_wide", "-m2", "digits_plain")


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """The digits' cache with a partition of each table, and the command that made each."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CASCADE_CACHE", raising=False)
    made = [
        ("extract", "--split", "test", "--models", "digits_wide,digits_plain", "--part-rows", 200),
        ("hash", "--split", "test", "--algorithms", "dhash", "--part-rows", 200),
        ("threshold", *PAIR),
    ]
    for command in made:
        assert cascade(*command).status == 0
    (tmp_path / "nano.csv").write_text(
        "model,device,batch_size,latency_ms\ndigits_wide,nano,1,1.5\n"
    )
    assert cascade("import-costs", "nano.csv", "--source", "t", "-d", "digits").status == 0
    return Store("artifacts")


# What only the user knows in the commands that `verify` prints.
FILLED = {
    "NAME": "digits_wide",
    "FILE": "nano.csv --source t",
    **dict.fromkeys(("threshold …", "rules …", "live …"), " ".join(PAIR)),
    "simulate …": f"{' '.join(PAIR)} --duplicates 1 --rotations 0.5",
}


def test_the_printed_command_mends_just_what_is_damaged(digits):
    before = everything(digits)
    assert {path.partition("/")[0] for path in before} >= {
        *("samples", "logits", "timings", "scores", "hashes", "costs", "results")
    }
    for path in _one_of_each(before):
        digits.write(path, before[path][: len(before[path]) // 2])
        told = cascade("cache", "verify")
        assert told.status == 2
        assert len([line for line in told.out.splitlines() if line.startswith(f"{path} ")]) == 1
        for _ in range(2):  # scores of the logits that were mended may follow
            for line in [line for line in told.out.splitlines() if ": run `" in line]:
                _run(line.partition(": run `")[2].removesuffix("`"))
            told = cascade("cache", "verify")
        assert told.out.endswith("none damaged\n"), (path, told.out)
        after = everything(digits)
        kept = [p for p in before if p.endswith(".parquet") and not _together(p, path)]
        assert [p for p in kept if after.get(p) != before[p]] == []
        if not path.startswith("_manifests/"):  # which told the size of parts
            assert after.keys() >= before.keys()
        before = after


FITTED = ("--fit-split", "val")
ASKED = [
    *[("threshold", *PAIR), ("search",), ("rules", *PAIR), ("heterogeneity",)],
    *[("calibrate", *FITTED), ("heterogeneity", "--predict", *FITTED), ("live", *PAIR)],
    ("simulate", *PAIR, "--duplicates", "1", "--rotations", "0.5"),
]


def test_each_result_and_stream_is_made_again_by_the_printed_command(digits):
    assert cascade("cache", "rm", "--table", "results", "--yes").status == 0
    assert cascade("extract", "--split", "val", "--models", "digits_wide,digits_plain").status == 0
    for command in ASKED:
        assert cascade(*command, "--dataset", "digits", "--split", "test").status == 0
    before = everything(digits)
    paths = [path for path in before if path.split("/")[0] in ("results", "streams")]
    assert {path.split("/")[1] for path in paths if path[0] == "r"} == set(STAGES)
    for path in paths:
        digits.delete(path)
    told = json.loads(cascade("cache", "verify", "--json").out)["damaged"]
    assert [one["path"] for one in told] == sorted(paths)
    for command in {one["command"] for one in told}:
        _run(command)
    assert cascade("cache", "verify").out.endswith("none damaged\n")
    assert everything(digits).keys() == before.keys()


def test_the_pages_name_every_stage():
    text = (ROOT / "docs" / "cache.md").read_text(encoding="utf-8")
    [row] = re.findall(r"^\| `stage` \| (.*?); stands bare", text, re.M)
    assert set(re.findall(r"`(\w+)`", row)) == set(STAGES)
    assert set(STAGES) <= set(re.findall(r"\*\*results/(\w+)\*\*", text))


def _one_of_each(paths):
    """The last file of each table, and the last manifest."""
    found = {}
    for path in sorted(paths):
        found[path.removeprefix("_manifests/").partition("/")[0], path[0] == "_"] = path
    return sorted(found.values(), key=lambda path: path[0] == "_")


def _together(path, damaged):
    """Whether mending the one may remake the other.

    Logits and timings of a part come from one pass, scores from their logits; a partition whose
    manifest is damaged is made again, all of it.
    """
    if damaged.startswith("_manifests/"):
        place = damaged.removeprefix("_manifests/").removesuffix(".json")
        tables = dict.fromkeys(("logits", "timings"), ("logits", "timings", "scores"))
        first, rest = place.split("/", 1)
        if first == "samples":
            return True
        return any(path.startswith(f"{t}/{rest}/") for t in tables.get(first, (first,)))
    table, rest = damaged.split("/", 1)
    also = {"logits": ("timings", "scores"), "timings": ("logits", "scores")}.get(table, ())
    folder = rest.rpartition("/")[0]
    return path == damaged or any(
        path == f"{t}/{rest}" or path == f"scores/{folder}/part-00000.parquet" for t in also
    )


def _run(line):
    for words in line.split(" && "):
        first, command, *rest = shlex.split(words)
        assert first == "cascade"
        given = [w for word in rest for w in _filled(word, command)]
        done = cascade(command, *given)
        assert done.status == 0, (words, done.err)


def _filled(word, command):
    named = f"{command} …" if word == "…" else word
    return shlex.split(FILLED.get(named, "" if word == "…" else word))


def test_the_command_on_a_sound_and_a_damaged_cache(full):
    args = ("cache", "verify", "--cache", full.root)
    sound = cascade(*args)
    assert (sound.status, len(sound.out.splitlines())) == (0, 1)
    assert "none damaged" in sound.out
    full.delete("samples/dataset=toy/split=test/part-00000.parquet")
    found = cascade(*args, "--json")
    assert found.status == 2
    [one] = json.loads(found.out)["damaged"]
    assert one["path"] == "samples/dataset=toy/split=test/part-00000.parquet"
    assert one["what"] == "is missing"
    assert one["command"].startswith("cascade extract --dataset toy --data DIR --split test")
    assert one["command"].endswith(f"--cache {full.root}")
    assert cascade(*args, "--table", "costs").status == 0
    assert "did you mean 'costs'" in cascade(*args, "--table", "cost").refusal


def test_another_version_is_told(full):
    path = manifest_path(Partition.of("samples", dataset="toy", split="test"))
    body = json.loads(full.read(path).to_pybytes())
    forge(full, path, body | {"schema_version": 99})
    assert (path, "is of another version of this program") in damage(full)


def test_ls(full):
    write_model(full, "unfinished", parts=(0, 2))
    found = cascade("cache", "ls", "--cache", full.root, "--json").json
    rows = {(row["table"], row.get("model")): row for row in found["partitions"]}
    small = rows["logits", "small"]
    data = {p: d for p, d in everything(full).items() if "model=small/" in p and p[0] == "l"}
    assert (small["rows"], small["parts"], small["state"]) == (N, 3, "complete")
    assert small["size_bytes"] == sum(map(len, data.values()))
    assert small["made"] == "2026-01-02T03:04:05+00:00"
    open_ = rows["logits", "unfinished"]
    assert (open_["rows"], open_["parts"], open_["state"]) == (30, 2, "unfinished")
    assert found["size_bytes"] == sum(row["size_bytes"] for row in found["partitions"])
    shown = cascade("cache", "ls", "--cache", full.root, "--table", "logits,scores")
    assert len(shown.out.splitlines()) == 1 + 5 + 1
    assert "toy test identity torch-fp32-cpu unfinished" in shown.out


def test_an_empty_folder_is_an_empty_cache(tmp_path):
    (tmp_path / "none").mkdir()
    found = cascade("cache", "ls", "--cache", tmp_path / "none", "--json").json
    assert (found["partitions"], found["size_bytes"]) == ([], 0)
    assert cascade("cache", "verify", "--cache", tmp_path / "none").status == 0
    assert not list((tmp_path / "none").iterdir())
