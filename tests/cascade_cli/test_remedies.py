"""What `cascade cache verify` says against damage: the command exists and mends, or none does."""

from __future__ import annotations

import json
import re
import shlex

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import cost_row, make_cache
from running import ROOT, cascade, seeded_weights

import cache
from cache import KEYS, Partition, Store, manifest_path
from cache.upkeep import Damage
from cascade_cli.show.remedies import _COMMANDS, remedy_command
from stages import costs, scores
from stages.publish import stage

PAIR = ("-m1", "digits_wide", "-m2", "digits_plain")
AGAIN = "fetch or publish the copy again"


def damaged(root):
    return json.loads(cascade("cache", "verify", "--cache", root, "--json").out)["damaged"]


def mended(root, path, files=()):
    """Runs the command that is printed for the file, then those for what was made from it."""
    [one] = [each for each in damaged(root) if each["path"] == path]
    assert one["remedy"] == f"run `{one['command']}`"
    _run(one["command"], files)
    for other in damaged(root):
        _run(other["command"], ())
    assert damaged(root) == []


def _run(command, files):
    """FILE… are filled in turn, … stands for the second model."""
    left = iter(files)
    for line in command.split(" && "):
        words = shlex.split(line.replace("…", " ".join(PAIR[2:])))[1:]
        given = [word.replace("FILE", next(left)) if "FILE" in word else word for word in words]
        done = cascade(*given)
        assert done.status == 0, (line, done.err)


def test_every_table_has_a_command_or_none_that_mends():
    assert set(_COMMANDS) == set(KEYS)


@pytest.mark.parametrize("tier", stage.TIERS)
def test_what_a_copy_brought_is_fetched_again(tier, tmp_path):
    whole, copy = make_cache(tmp_path / "whole", n=20), Store(tmp_path / "copy")
    costs.merge(whole, "toy", [cost_row("small")])
    stage.run(whole, copy, stage.Wanted("toy", tier))
    tables = [table for table in KEYS if cache.find(copy, table)]
    assert len(tables) == {"scores": 3}.get(tier, 4)
    for table in tables:
        [found, *_] = cache.find(copy, table)
        for path in (f"{found.partition.path}/part-00000.parquet", manifest_path(found.partition)):
            good = copy.read(path).to_pybytes()
            copy.write(path, good[:-1])
            assert [(e["command"], e["remedy"]) for e in damaged(copy.root)] == [(None, AGAIN)]
            shown = cascade("cache", "verify", "--cache", copy.root).out.splitlines()
            assert shown[0].startswith(f"{path} ")
            assert shown[0].endswith(AGAIN)
            copy.write(path, good)


def test_what_begins_like_a_file_of_the_copy_is_mended(tmp_path):
    keys = {"dataset": "toy", "split": "test", "variant": "identity", "runtime": "import"}
    mine, other = (Partition.of("logits", **keys, model=name) for name in ("s", "s2"))
    store = Store(tmp_path)
    store.write(stage.SUMS, f"{'0' * 64}  {other.path}/part-00000.parquet\n".encode())
    assert "--model s " in remedy_command(store, Damage(mine.path, mine, "does not fit"))
    assert remedy_command(store, Damage(other.path, other, "does not fit")) is None


def test_scores_without_logits_have_no_command(tmp_path):
    """Also where they were merged from a copy into another cache."""
    whole, copy = make_cache(tmp_path / "whole", n=20), Store(tmp_path / "copy")
    stage.run(whole, copy, stage.Wanted("toy"))
    assert cascade("cache", "merge", copy.root, "--cache", tmp_path / "mine").status == 0
    mine = Store(tmp_path / "mine")
    mine.delete(f"{cache.find(mine, 'scores')[0].partition.path}/part-00000.parquet")
    assert [one["command"] for one in damaged(mine.root)] == [None]


@pytest.mark.parametrize("what", ["part", "manifest"])
def test_results_of_an_earlier_version_are_removed(tmp_path, what):
    """No command makes them again."""
    store = make_cache(tmp_path, n=20)
    place = {"stage": "margin", "dataset": "toy", "split": "test", "run": "0123456789ab"}
    written = Partition.of("results", **place)
    cache.write_partition(store, written, pa.table({"near": [1, 2]}), {"rows": "x"}, {})
    part = f"{written.path}/part-00000.parquet"
    path = {"part": part, "manifest": manifest_path(written)}[what]
    good = store.read(path).to_pybytes()
    store.write(path, good[:-1])
    mended(tmp_path, path)
    assert cache.find(store, "results") == []


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """(root, files) of one imported model whose making was stated."""
    monkeypatch.chdir(tmp_path)
    np.save("logits.npy", np.random.default_rng(0).standard_normal((30, 3)).astype(np.float32))
    np.save("labels.npy", np.arange(30) % 3)
    where = ("--dataset", "mine", "--split", "test", "--model", "NAME", "--cache", "own")
    about = ("--trained-on", "train,val", "--macs", "3000000")
    given = ("--logits", "logits.npy", "--labels", "labels.npy")
    assert cascade("import", *where, *about, *given).status == 0
    assert cascade("score", "--dataset", "mine", "--cache", "own").status == 0
    return "own", ("logits.npy", "labels.npy")


@pytest.mark.parametrize("table", ["samples", "logits", "scores"])
@pytest.mark.parametrize("what", ["part", "manifest"])
def test_what_was_imported_is_mended(imported, table, what):
    root, files = imported
    [before] = cache.find(Store(root), table)
    part = f"{before.partition.path}/part-00000.parquet"
    path = {"part": part, "manifest": manifest_path(before.partition)}[what]
    Store(root).write(path, b"{}")
    mended(root, path, files)
    [after] = cache.find(Store(root), table)
    assert after.rows == 30
    if what == "part":
        stated = {key: before.provenance.get(key) for key in ("trained_on", "macs")}
        assert {key: after.provenance.get(key) for key in stated} == stated


def test_what_is_stated_later_stands_in_the_manifest_only(imported):
    """As docs/cache.md says, which names what the files may not know."""
    root, (logits, _) = imported
    where = ("--dataset", "mine", "--split", "test", "--model", "NAME", "--cache", root)
    again = cascade("import", *where, "--logits", logits, "--trained-on", "test", "--macs", "7")
    assert again.status == 0
    [found] = cache.find(Store(root), "logits")
    data = Store(root).read(f"{found.partition.path}/part-00000.parquet")
    about = json.loads(pq.read_schema(pa.BufferReader(data)).metadata[b"cascade"])
    told = found.provenance
    differing = {key for key in told if about["provenance"][key] != told[key]}
    assert (told["trained_on"]["splits"], told["macs"]) == (["test"], 7)
    assert differing == {"trained_on", "macs"}
    text = (ROOT / "docs" / "cache.md").read_text(encoding="utf-8")
    [named] = re.findall(r"the manifest is right: what is stated later\s+\((.*?)\)", text)
    assert differing < set(re.findall(r"`(\w+)`", named))


@pytest.fixture
def digits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = ("--split", "test", "--models", "digits_wide,digits_plain", "--cache", "own")
    assert cascade("extract", *args).status == 0
    return "own"


@pytest.mark.parametrize("table", ["logits", "scores"])
def test_what_another_runtime_made_is_mended(digits, table):
    args = ("--split", "test", "--models", "digits_wide", "--precision", "bf16", "--device", "cpu")
    assert cascade("extract", *args, "--cache", digits).status == 0
    scores.load(Store(digits), "digits", "test", runtime="torch-bf16-cpu")
    found = cache.find(Store(digits), table)
    [bf16] = [m for m in found if m.partition.keys["runtime"] == "torch-bf16-cpu"]
    Store(digits).delete(path := f"{bf16.partition.path}/part-00000.parquet")
    mended(digits, path)


def test_scores_of_turned_images_are_mended(digits):
    streamed = ("--dataset", "digits", "--duplicates", "1", "--rotations", "0.9")
    assert cascade("simulate", *PAIR, *streamed, "--cache", digits).status == 0
    found = [m for m in cache.find(Store(digits), "scores") if "wide" in m.partition.path]
    [turned] = [m for m in found if m.partition.keys["variant"] == "rot90"]
    Store(digits).delete(path := f"{turned.partition.path}/part-00000.parquet")
    mended(digits, path)


def test_logits_of_a_weights_file_are_mended(digits, tmp_path):
    weights = seeded_weights(tmp_path / "w.pt", "digits_wide")
    args = ("-d", "digits", "--split", "test", "--models", f"mine=digits_wide:{weights}")
    assert cascade("extract", *args, "--cache", digits).status == 0
    [own] = [m for m in cache.find(Store(digits), "logits") if "mine" in m.partition.path]
    Store(digits).delete(path := f"{own.partition.path}/part-00000.parquet")
    mended(digits, path, [str(weights)])


def test_the_command_that_an_error_names_fills_the_gap(digits):
    fitted = ("--split", "test", "--fit-split", "test")
    asked = ("threshold", *PAIR, *fitted, "--runtime", "torch-bf16-cpu", "--cache", digits)
    line = cascade(*asked).refusal
    assert "(it has digits_plain, digits_wide in torch-fp32-cpu)" in line
    _run(re.search("run `(.*)`", line)[1], ())
    assert cascade(*asked).status == 0


@pytest.mark.parametrize(
    ("layout", "words"), [("import", "--logits FILE"), ("parquet", "--models NAME")]
)
def test_samples_without_labels_are_made_again_without(layout, words, tmp_path):
    place = Partition.of("samples", dataset="mine", split="new")
    said = {"layout": layout, "labelled": False}
    damage = Damage(f"{place.path}/part-00000.parquet", place, "is missing", said)
    command = remedy_command(Store(tmp_path), damage)
    assert "--unlabelled" in command
    assert words in command
    assert "--labels " not in command
