"""`export -o` and `--publish`: what leaves the cache, and that a copy answers as the whole."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from helpers import cost_row, make_cache, tied_logits, write_logits, write_samples
from hugging_face import hugging_face
from running import ROOT, cascade
from scipy.special import softmax
from sealing import sealed
from sklearn.metrics import accuracy_score

import cache
from cache import SCORES, Store, fingerprint_of, hashes_schema, withdraw
from cache.upkeep import verify
from stages import costs
from stages.publish import stage
from stages.report.packing import unpack
from stages.scores import load

N = 90
TIERS = ("scores", "top10", "full")
PAIR = ("-m1", "small", "-m2", "large")
QUESTIONS = (
    ("threshold", "-d", "toy", "--all-pairs"),
    ("search", "-d", "toy"),
    ("search", "-d", "toy", "--min-accuracy", "0.3", "--stages", "3"),
    ("heterogeneity", "-d", "toy"),
    ("rules", "-d", "toy", *PAIR, "--rules", "maxp,difference,entropy", "--finals", "b,postcheck"),
    ("simulate", "--dataset", "toy", *PAIR, "-p"),
    ("simulate", "--dataset", "toy", *PAIR, "--duplicates", "1", "--rotations", "0.5"),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Three models, two splits, costs, and one turned variant of the test images."""
    seen = {"small": ("train",), "large": ("train",), "other": ()}
    root = tmp_path_factory.mktemp("whole") / "cache"
    store = make_cache(root, n=N, classes=12, trained_on=seen)
    labels, rng = load(store, "toy", "test").labels, np.random.default_rng(2)
    for variant in ("rot90", "rot180", "rot270", "flip"):
        for model in seen:
            about = {"trained_on": {"splits": list(seen[model]), "source": "stated"}}
            turned = tied_logits(rng, N, 12)
            write_logits(store, "test", model, labels, turned, variant=variant, provenance=about)
    rows = [cost_row("small", 1.0), cost_row("large", 4.0), cost_row("other", 2.0)]
    costs.merge(store, "toy", rows)
    return store


@pytest.fixture(scope="module")
def copies(whole):
    """Tier → the copy's folder, which other users can reach."""
    desk = Path(tempfile.mkdtemp(prefix="cascade-publish-"))
    desk.chmod(0o755)
    for tier in TIERS:
        done = cascade(
            *("export", "--publish", desk / tier, "-d", "toy", "--tier", tier),
            *("--cache", whole.root),
        )
        assert done.status == 0, done.err
    yield {tier: desk / tier for tier in TIERS}
    shutil.rmtree(desk)


def without_time(found):
    if isinstance(found, dict):
        return {k: without_time(v) for k, v in found.items() if "seconds" not in k}
    return [without_time(each) for each in found] if isinstance(found, list) else found


@pytest.mark.parametrize("question", QUESTIONS, ids=" ".join)
@pytest.mark.parametrize("tier", TIERS)
def test_a_read_only_copy_answers_as_the_whole_cache(whole, copies, tier, question):
    expected = cascade(*question, "--cache", whole.root, "--json").json
    with sealed(copies[tier]):
        found = cascade(*question, "--cache", copies[tier], "--json").json
    assert without_time(found) == without_time(expected)


def test_rules_without_logits_are_told(copies):
    with sealed(copies["scores"]):
        found = cascade("rules", "-d", "toy", *PAIR, "--cache", copies["scores"])
    assert found.status == 0
    assert "logits" in found.err


@pytest.mark.parametrize("tier", TIERS)
def test_copies_are_sound_and_hold_no_keys(copies, tier):
    store = Store(copies[tier])
    report = verify(store)
    assert not report.damage
    assert not report.survey.strays
    for manifest in report.survey.complete:
        assert "png" not in manifest.to_json()
        if manifest.partition.table == "samples":
            table = cache.read_table(store, manifest)
            keys, labels = table.column("key").to_pylist(), table.column("label").to_numpy()
            assert keys == [f"row/{i}" for i in range(N)]
            assert manifest.fingerprint == fingerprint_of(labels, keys)
        elif "split" in manifest.partition.keys:
            assert manifest.fingerprint == fingerprint_of_split(store, manifest)
    tables = {manifest.partition.table for manifest in report.survey.complete}
    expected = {"samples", "scores", "costs"}
    assert tables == expected | {"top10": {"top10"}, "full": {"logits"}}.get(tier, set())
    for file in Path(copies[tier]).rglob("*.parquet"):
        assert b"png" not in file.read_bytes()
        assert "png" not in str(pq.read_schema(file).metadata)


def keys_of(copy):
    manifest = samples_of(Store(copy))
    return cache.read_table(Store(copy), manifest).column("key").to_pylist()


def fingerprint_of_split(store, manifest):
    split = manifest.partition.keys["split"]
    place = cache.Partition.of("samples", dataset="toy", split=split)
    return cache.load(store, place).fingerprint


@pytest.mark.parametrize("tier", TIERS)
def test_checksums_name_every_file(copies, tier):
    lines = (copies[tier] / "SHA256SUMS").read_text().splitlines()
    named = dict(reversed(line.split("  ", 1)) for line in lines)
    files = {str(p.relative_to(copies[tier])) for p in copies[tier].rglob("*") if p.is_file()}
    assert set(named) == files - {"SHA256SUMS"}
    for name, digest in named.items():
        assert hashlib.sha256((copies[tier] / name).read_bytes()).hexdigest() == digest


def test_full_copies_every_logit(whole, copies):
    for manifest in cache.find(whole, "logits"):
        there = cache.load(Store(copies["full"]), manifest.partition)
        mine, copied = (
            cache.read_table(*pair) for pair in ((whole, manifest), (Store(copies["full"]), there))
        )
        assert mine.equals(copied)
    assert cache.find(whole, "logits")


def test_top10_is_softmax_sorted(whole, copies):
    for manifest in cache.find(whole, "logits", "toy", "val"):
        place = cache.Partition("top10", manifest.partition.values)
        store = Store(copies["top10"])
        table = cache.read_table(store, cache.load(store, place))
        [(ids, logits)] = cache.iter_logits(whole, manifest)
        p = softmax(logits.astype(np.float64), axis=1)
        order = np.argsort(-p, axis=1, kind="stable")[:, :10]
        assert table.column("sample_id").to_pylist() == ids.tolist()
        found = np.array(table.column("probabilities").to_pylist())
        assert np.allclose(found, np.take_along_axis(p, order, 1), atol=1e-7)
        classes = np.array(table.column("classes").to_pylist())
        rows = np.arange(len(p))[:, None]
        assert np.allclose(p[rows, classes], found, atol=1e-7)  # equal ones in whatever order
        assert (classes[:, 0] == logits.argmax(axis=1)).all()


@pytest.mark.parametrize("classes", [3, 10, 11, 200])
def test_of_equal_logits_the_lower_class_comes_first(classes):
    from helpers import logits_table

    logits = np.random.default_rng(classes).integers(0, 3, (300, classes)).astype(np.float32)
    logits[:20], logits[20:40, :-1] = 0, -1e4  # constant, and so far off that all round to zero
    ranked = [sorted(range(classes), key=lambda c: (-row[c], c))[:10] for row in logits.tolist()]
    assert stage.top10(logits_table(logits)).column("classes").to_pylist() == ranked


def test_fewer_classes_than_ten():
    from helpers import logits_table

    table = stage.top10(logits_table(np.array([[0.0, 2.0, 1.0]], np.float32)))
    assert table.column("classes").to_pylist() == [[1, 2, 0]]
    assert sum(table.column("probabilities").to_pylist()[0]) == pytest.approx(1)


# --- the card ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", TIERS)
def test_the_card_tells_the_truth_and_its_code_runs(whole, copies, tier, monkeypatch):
    card = (copies[tier] / "README.md").read_text()
    monkeypatch.chdir(copies[tier])
    scores = load(whole, "toy", "test")
    [example] = re.findall(r"`key` of number (\d+) is `row/\1`", card)
    assert keys_of(copies[tier])[int(example)] == f"row/{example}"
    right = dict(zip(scores.models, scores.accuracy, strict=True))
    for model, accuracy in right.items():
        row = rf"\| {model} \| test \| identity \| torch-fp32-cpu \| {accuracy:.2%} \|"
        assert re.search(row, card)
    codes = re.findall(r"^```python\n(.*?)^```$", card, re.M | re.S)
    assert len(codes) == 3
    for code in codes:
        space = {}
        exec(code, space)
        assert dict(space["accuracy"]) == pytest.approx(right)
    commands = re.findall(r"^cascade (.*)$", card, re.M)
    assert commands
    for command in commands:
        assert cascade(*command.split()).status == 0


def test_the_front_matter_is_yaml_and_its_files_are_there(copies):
    card = (copies["scores"] / "README.md").read_text()
    about = yaml.safe_load(card.split("---\n")[1])
    assert len(about["configs"]) == 6
    for config in about["configs"]:
        assert list(copies["scores"].glob(config["data_files"])), config


ODD_SPLITS = ("val-x", "x", """it's "odd": a|b""")
ODD = ("timm/vit_tiny", "timm%2Fvit_tiny", "a", "a-val", 'what<is>:this|?*"')


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A copy whose names hold what YAML, Markdown, a shell and `datasets` read as something."""
    root = tmp_path_factory.mktemp("odd")
    store, rng = Store(root / "whole"), np.random.default_rng(4)
    for split in ODD_SPLITS:
        labels = rng.integers(0, 4, N)
        write_samples(store, split, labels, dataset="my: set|x")
        for model in ODD:
            write_logits(store, split, model, labels, tied_logits(rng, N, 4), dataset="my: set|x")
    wanted = stage.Wanted("my: set|x", splits=ODD_SPLITS[::-1])
    found = stage.run(store, Store(root / "copy"), wanted)
    return root / "copy", found.models


def test_any_table_of_a_copy_opens_by_its_configuration(odd):
    copy, rows = odd
    about = yaml.safe_load((copy / "README.md").read_text().split("---\n")[1])
    assert about["pretty_name"] == "Model scores on my: set|x"
    names = [config["config_name"] for config in about["configs"]]
    assert len(set(names)) == len(names) == len(rows) == len(ODD) * len(ODD_SPLITS)
    assert {"timm%2Fvit_tiny-x-torch-fp32-cpu", "timm%252Fvit_tiny-x-torch-fp32-cpu"} <= set(names)
    wanted = {row.path: row.accuracy for row in rows}
    for config in about["configs"]:
        path = config["data_files"].removesuffix("/*.parquet")
        found = hugging_face(str(copy), config["config_name"])["correct"]
        assert np.mean(found) == pytest.approx(wanted[path]), config
    assert len(set(wanted.values())) > len(ODD)


def test_the_card_of_odd_names_runs_and_its_table_has_seven_columns(odd, monkeypatch):
    copy, rows = odd
    monkeypatch.chdir(copy)
    card = (copy / "README.md").read_text()
    right = {row.model: row.accuracy for row in rows if row.split == rows[0].split}
    assert rows[0].split == ODD_SPLITS[-1]
    for code in re.findall(r"^```python\n(.*?)^```$", card, re.M | re.S):
        space = {}
        exec(code, space)
        assert dict(space["accuracy"]) == pytest.approx(right)
    table = card.split("## Models")[1].split("##")[0].strip().split("\n\n")[0].splitlines()
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {8}
    assert len(table) == 2 + len(rows)
    [command] = re.findall(r"^cascade (.*)$", card, re.M)
    assert shlex.split(command)[-2:] == ["--dataset", "my: set|x"]


# --- a copy that fails ----------------------------------------------------------------------------


@pytest.fixture
def damaged(tmp_path):
    """A cache whose last logits have a changed byte, and how to mend it."""
    store = make_cache(tmp_path / "cache", n=N)
    for split in ("test", "val"):
        load(store, "toy", split)
    [*_, last] = cache.find(store, "logits", "toy", "val")
    path = f"{last.partition.path}/{last.parts[0].name}"
    good = store.read(path).to_pybytes()
    store.write(path, good[:200] + bytes([good[200] ^ 1]) + good[201:])
    return store, lambda: store.write(path, good)


@pytest.mark.parametrize("place", ["absent", "empty", "s3"])
def test_a_failed_copy_leaves_nothing_and_may_be_tried_again(damaged, place, tmp_path, request):
    (tmp_path / "empty").mkdir()
    root = request.getfixturevalue("s3_root") if place == "s3" else tmp_path / place
    store, mend = damaged
    asked = ("export", "--publish", root, "-d", "toy", "--tier", "full", "--cache", store.root)
    assert "does not have its recorded SHA-256" in cascade(*asked).refusal
    assert Store(root).files("") == []
    assert (tmp_path / "absent").exists() is False
    assert list((tmp_path / "empty").iterdir()) == []
    mend()
    assert cascade(*asked).status == 0
    assert not verify(Store(root)).damage


@pytest.mark.parametrize("mine", ["mine", "logits/dataset=mine"])
def test_a_folder_that_holds_folders_is_not_empty(damaged, mine, tmp_path):
    (tmp_path / "copy" / mine).mkdir(parents=True)
    store, _ = damaged
    asked = ("--publish", tmp_path / "copy", "-d", "toy", "--tier", "full")
    assert "is not empty" in cascade("export", *asked, "--cache", store.root).refusal
    assert (tmp_path / "copy" / mine).is_dir()


def test_a_failed_copy_clears_what_it_made_and_nothing_else(whole, tmp_path):
    def interrupt(done, total):
        (tmp_path / "copy" / "mine").mkdir()
        (tmp_path / "copy" / "mine.txt").write_text("mine")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage.run(whole, Store(tmp_path / "copy"), stage.Wanted("toy"), interrupt)
    assert sorted(path.name for path in (tmp_path / "copy").rglob("*")) == ["mine", "mine.txt"]


def test_an_interrupted_copy_leaves_nothing(whole, tmp_path):
    def interrupt(done, total):
        assert list((tmp_path / "copy").rglob("*.parquet"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage.run(whole, Store(tmp_path / "copy"), stage.Wanted("toy"), interrupt)
    assert not (tmp_path / "copy").exists()


# --- a copy that is killed -----------------------------------------------------------------------

KILLED = """
import os, signal, sys
sys.path.insert(0, {root!r})
from cache import Store
from stages import publish
def kill(done, total):
    if done == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
publish.run(Store({source!r}), Store({target!r}), publish.Wanted("toy", {tier!r}), kill)
"""


def killed(source, target, tier="scores", at=4):
    """An export that gets SIGKILL once so many of its tables are written."""
    words = {"root": str(ROOT), "source": source.root, "target": str(target)}
    code = KILLED.format(**words, tier=tier, at=at)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr


def everything(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def contents(root):
    """{path: rows of Parquet, JSON without clocks, bytes} of a copy but its card and checksums."""
    store = Store(root)
    found = {path: store.read(path).to_pybytes() for path in store.files("")}
    assert not [path for path in found if path.startswith(".tmp/")]
    named = found.pop("SHA256SUMS").decode().splitlines()
    sums = {line.split("  ", 1)[1]: line.split("  ", 1)[0] for line in named}
    assert sums == {path: hashlib.sha256(data).hexdigest() for path, data in found.items()}
    found["README.md"] = re.sub(rb"- Made .* by", b"", found["README.md"])
    for path, data in found.items():
        if "costs/" in path and path.endswith(".parquet"):  # which say when they were put together
            found[path] = pq.ParquetFile(pa.BufferReader(data)).read().replace_schema_metadata()
        elif "costs/" in path:
            found[path] = json.loads(data)["identity"]
    return found


@pytest.mark.parametrize(
    ("tier", "place"), [("top10", "local"), ("full", "local"), ("scores", "s3")]
)
def test_a_killed_copy_is_told_and_gone_on_with(whole, tier, place, tmp_path, request):
    undisturbed = tmp_path / "undisturbed"
    stage.run(whole, Store(undisturbed), stage.Wanted("toy", tier))
    target = request.getfixturevalue("s3_root") if place == "s3" else tmp_path / "copy"
    killed(whole, target, tier)
    store = Store(target)
    before = {e.path: e.changed for e in store.entries("") if e.path.endswith(".parquet")}
    assert before
    asked = ("export", "--publish", target, "-d", "toy", "--tier", tier, "--cache", whole.root)

    told = cascade("cache", "verify", "--cache", target)
    assert told.status == 2
    [line] = [line for line in told.out.splitlines() if line.startswith("UNFINISHED.json: ")]
    assert (
        f"an unfinished copy of toy (tier {tier}; splits test, val; models large, other, " in line
    )
    assert "none damaged" in told.out
    as_json = cascade("cache", "verify", "--cache", target, "--json")
    assert (as_json.status, json.loads(as_json.out)["unfinished_copy"]["tier"]) == (2, tier)

    done = cascade(*asked)
    assert done.status == 0, done.err
    assert contents(target) == contents(undisturbed)
    if place == "local":
        kept = {path: (target / path).stat().st_mtime_ns / 1e9 for path in before}
        assert kept == before
    assert cascade("cache", "verify", "--cache", target).status == 0
    assert "is not empty" in cascade(*asked).refusal


@pytest.mark.parametrize(
    "command", [("threshold", "-d", "toy", *PAIR), ("cache", "ls")], ids=" ".join
)
def test_what_reads_an_unfinished_copy_says_so_once(whole, tmp_path, command):
    killed(whole, tmp_path / "copy")
    done = cascade(*command, "--cache", tmp_path / "copy")
    assert done.status == 0
    assert done.err.count(f"warning: {tmp_path / 'copy'} is an unfinished copy of toy (tier") == 1
    again = cascade("export", "--publish", tmp_path / "copy", "-d", "toy", "--cache", whole.root)
    assert again.status == 0  # what was asked meanwhile is no part of the copy
    assert "results/" not in (tmp_path / "copy" / "SHA256SUMS").read_text()


def test_an_unfinished_copy_is_neither_published_nor_merged_unseen(whole, tmp_path):
    killed(whole, tmp_path / "copy")
    asked = ("export", "--publish", tmp_path / "more", "-d", "toy", "--cache", tmp_path / "copy")
    assert f"{tmp_path / 'copy'} is itself an unfinished copy of toy" in cascade(*asked).refusal
    assert not (tmp_path / "more").exists()
    merged = cascade("cache", "merge", tmp_path / "copy", "--cache", tmp_path / "cache")
    assert "is an unfinished copy of toy" in merged.err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--tier", "full"), "(tier was scores, now full)"),
        (("--split", "val"), 'splits was ["test", "val"], now ["val"]'),
        (("--runtime", "torch-fp32-cpu"), "(runtime was null, now torch-fp32-cpu)"),
        (("--models", "small"), 'models was ["large", "other", "small"], now ["small"]'),
    ],
)
def test_another_request_into_an_unfinished_copy_is_refused(whole, tmp_path, args, words):
    killed(whole, tmp_path / "copy")
    before = everything(tmp_path / "copy")
    asked = ("export", "--publish", tmp_path / "copy", "-d", "toy", "--cache", whole.root)
    refusal = cascade(*asked, *args).refusal
    assert f"{tmp_path / 'copy'} holds an unfinished copy of toy (tier scores; splits te" in refusal
    assert words in refusal
    assert everything(tmp_path / "copy") == before


def test_a_source_that_has_changed_since_is_another_request(tmp_path):
    store = make_cache(tmp_path / "cache", n=N)
    killed(store, tmp_path / "copy", at=2)
    labels = load(store, "toy", "val").labels
    logits = tied_logits(np.random.default_rng(9), N)
    write_logits(store, "val", "small", labels, logits, weights="other", overwrite=True)
    asked = ("export", "--publish", tmp_path / "copy", "-d", "toy", "--cache", store.root)
    refusal = cascade(*asked).refusal
    changed = "logits/dataset=toy/split=val/variant=identity/runtime=torch-fp32-cpu/"
    assert "what it is a copy of has changed since" in refusal
    assert f"({changed}model=small was " in refusal
    assert refusal.count(" was ") == 1
    assert "remove it and run this again" in refusal


def test_a_damaged_marker_is_no_request(whole, tmp_path):
    killed(whole, tmp_path / "copy")
    (tmp_path / "copy" / "UNFINISHED.json").write_text("{")
    asked = ("export", "--publish", tmp_path / "copy", "-d", "toy", "--cache", whole.root)
    assert "holds an unfinished copy, and its marker is damaged: remove" in cascade(*asked).refusal
    assert cascade("cache", "verify", "--cache", tmp_path / "copy").status == 2


# --- copies of other versions --------------------------------------------------------------------


def rewritten(copy, root, change):
    """A copy of a copy whose scores tables another version made: `change` says how."""
    shutil.copytree(copy, root)
    store = Store(root)
    for manifest in cache.find(store, "scores"):
        table = change(cache.read_table(store, manifest).replace_schema_metadata())
        withdraw(store, manifest.partition)
        about = manifest.identity, manifest.provenance
        cache.write_partition(store, manifest.partition, table, *about)
    return store


def with_more(table):
    field = pa.field("boldness", pa.float64(), nullable=False)
    return table.append_column(field, pa.array(np.zeros(len(table))))


LESS = ("-s", "maxp,difference")


@pytest.mark.parametrize(
    "question",
    [
        ("threshold", "-d", "toy", "--all-pairs", *LESS),
        ("search", "-d", "toy", *LESS),
        ("heterogeneity", "-d", "toy"),
        ("simulate", "--dataset", "toy", *PAIR),
    ],
    ids=" ".join,
)
def test_a_copy_with_a_score_fewer_answers_what_it_can(copies, tmp_path, question):
    store = rewritten(copies["scores"], tmp_path / "old", lambda table: table.drop(["entropy"]))
    assert verify(store).damage == []
    expected = cascade(*question, "--cache", copies["scores"], "--json").json
    found = cascade(*question, "--cache", store.root, "--json").json
    assert without_time(found) == without_time(expected)


def test_a_copy_with_a_score_fewer_says_so_of_that(copies, tmp_path):
    store = rewritten(copies["scores"], tmp_path / "old", lambda table: table.drop(["entropy"]))
    for question, place in ((("threshold", *PAIR), "small"), (("search",), "large")):
        where = ("-d", "toy", "--cache", store.root)
        refusal = cascade(*question, "-s", "entropy", *where).refusal
        assert (
            f"{store.root} has no score entropy of {place} on toy/test, as another version made "
            "it, and no logits to make it from: fetch a newer copy or one with logits, or give "
            "--scorefn maxp,difference"
        ) in refusal
        unasked = cascade(*question, *where)
        assert unasked.status == 0
        assert "entropy of all these models is not known: the scores that they" in unasked.err
    assert cascade("score", "-d", "toy", "--cache", store.root).status == 0
    told = cascade("export", "-o", tmp_path / "a.csv", "-d", "toy", "--cache", store.root, "--json")
    assert {name for name in told.json["columns"] if name.startswith("small_")} == {
        *("small_prediction", "small_correct", "small_maxp", "small_difference")
    }
    page = ("report", "-d", "toy", "-o", tmp_path / "page.html", "--cache", store.root)
    assert cascade(*page).status == 0
    again = cascade("export", "--publish", tmp_path / "new", "-d", "toy", "--cache", store.root)
    assert again.status == 0
    assert verify(Store(tmp_path / "new")).damage == []


def test_a_copy_with_a_score_more_answers_as_before(copies, tmp_path):
    store = rewritten(copies["scores"], tmp_path / "new", with_more)
    assert verify(store).damage == []
    for question in QUESTIONS[:2]:
        expected = cascade(*question, "--cache", copies["scores"], "--json").json
        found = cascade(*question, "--cache", store.root, "--json").json
        assert without_time(found) == without_time(expected)
    for manifest in cache.find(store, "scores"):
        assert "boldness" in cache.read_table(store, manifest).column_names


def test_scores_whose_logits_are_there_are_made_again(copies, tmp_path):
    store = rewritten(copies["full"], tmp_path / "old", lambda table: table.drop(["entropy"]))
    found = load(store, "toy", "val")
    assert (
        found.scores["entropy"] == load(Store(copies["full"]), "toy", "val").scores["entropy"]
    ).all()
    for manifest in cache.find(store, "scores", "toy", "val"):
        assert cache.read_table(store, manifest).column_names == SCORES.names


# --- images that repeat ---------------------------------------------------------------------------


def hashed(root, digests):
    """A cache of `digests` images whose pictures have these digests, and its copy's copy."""
    store = make_cache(root / "whole", n=len(digests), trained_on={"small": ("train",)})
    samples = samples_of(store)
    place = cache.Partition.of(
        "hashes", dataset="toy", split="val", variant="identity", algorithm="invariants"
    )
    columns = [np.arange(len(digests)), pa.array(digests, pa.binary(2))]
    table = pa.table(columns, schema=hashes_schema(2))
    cache.write_partition(store, place, table, samples.identity, {})
    stage.run(store, Store(root / "copy"), stage.Wanted("toy"))
    stage.run(Store(root / "copy"), Store(root / "again"), stage.Wanted("toy"))
    return store.root, root / "copy", root / "again"


def samples_of(store):
    return cache.load(store, cache.Partition.of("samples", dataset="toy", split="val"))


CERTIFIED = ("search", "-d", "toy", "--certify", "0.3,0.5", "--fit-split", "val")


def test_repeats_certify_nothing_on_a_copy_either(tmp_path):
    digests = [bytes([0, i]) for i in range(N)]
    digests[7] = digests[50] = digests[3]
    digests[60] = digests[4]
    whole, *copies = hashed(tmp_path, digests)
    refusal = cascade(*CERTIFIED, "--cache", whole).refusal
    assert "3 of the 90 images of val repeat (image 7 is image 3 again)" in refusal
    for copy in copies:
        assert cascade(*CERTIFIED, "--cache", copy).refusal == refusal
        assert samples_of(Store(copy)).provenance["repeats"] == [[3, 7, 50], [4, 60]]
    pages = [tmp_path / f"{i}.html" for i in range(3)]
    found = []
    for root, page in zip((whole, *copies), pages, strict=True):
        asked = ("report", "-d", "toy", "--fit-split", "val", "-o", page, "--cache", root)
        assert cascade(*asked).status == 0
        data = max(re.findall(r">\s*([A-Za-z0-9+/=]{200,})\s*<", page.read_text()), key=len)
        found.append(unpack(data)[0]["certificate"])
    assert "images of val repeat" in found[0]["why"]
    assert found == found[:1] * 3


def test_images_that_differ_certify_on_a_copy(tmp_path):
    whole, *copies = hashed(tmp_path, [bytes([1, i]) for i in range(N)])
    expected = cascade(*CERTIFIED, "--cache", whole, "--json").json
    for copy in copies:
        found = cascade(*CERTIFIED, "--cache", copy, "--json").json
        assert without_time(found) == without_time(expected)


# --- what is chosen ------------------------------------------------------------------------------


def test_some_models_of_some_splits(whole, tmp_path):
    found = cascade(
        *("export", "--publish", tmp_path / "some", "-d", "toy", "--split", "val"),
        *("--models", "small,other", "--cache", whole.root, "--json"),
    ).json
    assert {(row["model"], row["split"]) for row in found["models"]} == {
        ("small", "val"),
        ("other", "val"),
    }
    store = Store(tmp_path / "some")
    assert {m.partition.keys["model"] for m in cache.find(store, "costs")} == {"small", "other"}
    on_disk = [path for path in (tmp_path / "some").rglob("*") if path.is_file()]
    assert found["files"] == len(on_disk)
    assert not (tmp_path / "some" / ".tmp").exists()


def test_what_is_named_twice_is_published_once(whole, tmp_path):
    asked = ("-d", "toy", "--split", "val,val,test", "--models", "small,small")
    found = cascade(
        "export", "--publish", tmp_path / "copy", *asked, "--cache", whole.root, "--json"
    ).json
    rows = [row for row in found["models"] if row["variant"] == "identity"]
    assert [(row["model"], row["split"]) for row in rows] == [("small", "val"), ("small", "test")]
    card = yaml.safe_load((tmp_path / "copy" / "README.md").read_text().split("---\n")[1])
    assert len(card["configs"]) == 2


def test_a_copy_of_a_copy(copies, tmp_path):
    args = ("-d", "toy", "--cache", copies["scores"])
    assert cascade("export", "--publish", tmp_path / "again", *args).status == 0
    full = cascade("export", "--publish", tmp_path / "more", *args, "--tier", "full")
    assert "choose --tier scores" in full.refusal


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--publish", "{}/new", "--tier", "best"), "unknown tier 'best'"),
        (("--publish", "{}/new", "--models", "smal"), "did you mean 'small'"),
        (("--publish", "{}/new", "--split", "tset"), "did you mean 'test'"),
        (("--publish", "{}"), "is not empty"),
        (("--publish", "{}/new", "-o", "{}/a.csv"), "give one of"),
        (("--publish", "{}/new", "-m1", "small"), "--model1 is for --policy: leave it out with"),
        (("--publish", "{}/new", "-m", "nope", "-t", "7", "-s", "nope"), "is for --policy"),
        (("-o", "{}/a.csv", "--tier", "nope"), "--tier is for --publish: leave it out with --out"),
        (("-o", "{}/a.csv", "-m", "dhash", "-p", "--cost", "nope"), "is for --policy"),
        (("--policy", "{}/new", "-m1", "a", "-m2", "b", "--tier", "nope"), "--tier is for --pub"),
        (("--policy", "{}/new", "-m1", "a", "-m2", "b", "--models", "small"), "--models is for --"),
        (("-o", "{}/a.txt"), ".csv or .parquet"),
        (("-o", "{}/none/a.csv"), "check --output"),
        (("-o", "{}/a.csv", "--models", "nobody"), "no logits of model nobody"),
    ],
)
def test_refusals(whole, tmp_path, args, words):
    (tmp_path / "there").write_text("")
    given = [arg.format(tmp_path) for arg in args]
    assert words in cascade("export", "-d", "toy", *given, "--cache", whole.root).refusal


# --- one row per image ---------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_wide_has_one_row_per_image(whole, tmp_path, suffix):
    path = tmp_path / f"wide.{suffix}"
    told = cascade(
        "export", "-o", path, "-d", "toy", "--split", "val", "--cache", whole.root, "--json"
    ).json
    table = getattr(pl, f"read_{suffix}")(path)
    assert (told["rows"], told["columns"]) == (N, table.columns)
    scores = load(whole, "toy", "val")
    assert table["label"].to_list() == scores.labels.tolist()
    assert table["key"].to_list() == [f"{i}.png" for i in range(N)]
    for m, model in enumerate(scores.models):
        accuracy = accuracy_score(table["label"], table[f"{model}_prediction"])
        assert accuracy == pytest.approx(scores.accuracy[m])
        assert table[f"{model}_correct"].to_list() == scores.correct[m].tolist()
        for name in ("maxp", "difference", "entropy"):
            assert (table[f"{model}_{name}"].to_numpy() == scores.scores[name][m]).all()


def test_json_is_what_was_published(whole, tmp_path):
    done = cascade(
        "export", "--publish", tmp_path / "p", "-d", "toy", "--cache", whole.root, "--json"
    )
    found = json.loads(done.out)
    assert (found["tier"], found["dataset"]) == ("scores", "toy")
    size = sum(
        p.stat().st_size
        for p in (tmp_path / "p").rglob("*")
        if p.is_file() and p.name != "SHA256SUMS"
    )
    assert found["size_bytes"] == size
