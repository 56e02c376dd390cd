"""The command line: help, JSON, refusals in one line, the original's flags, Ctrl-C, no torch."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import polars as pl
import pytest
from helpers import tied_logits, write_logits, write_samples
from running import (
    DIGITS,
    INTERRUPTED,
    ROOT,
    WEIGHTS,
    cascade,
    logits_of,
    manifest_of,
    needs_shared,
    noise_images,
    seeded_weights,
    slice_of,
    write_folders,
    write_parquet,
)

from cache import Store, find, publish

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")

COMMANDS = (
    *("extract", "import", "score", "threshold", "heterogeneity", "simulate", "live", "report"),
    *("models", "datasets", "rules", "calibrate"),
)
PAIR = ("-m1", "digits_separable", "-m2", "digits_residual")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The digits of test and val by all four models. Read only."""
    root = tmp_path_factory.mktemp("digits")
    assert cascade("extract", "--cache", root).status == 0
    assert cascade("score", "--cache", root).status == 0
    return root


@pytest.fixture
def own(digits, tmp_path):
    """A copy to damage."""
    return shutil.copytree(digits, tmp_path / "own")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Nothing a command writes by default lands in the repository; nothing is fetched."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("CASCADE_CACHE", raising=False)


# --- help ----------------------------------------------------------------------------------------


def examples(text):
    return re.findall(r"^ *(cascade .*)$", text, re.MULTILINE)


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command, flag):
    result = cascade(command, flag)
    assert (result.status, result.err) == (0, "")
    assert any(line.startswith(f"cascade {command} ") for line in examples(result.out)) or (
        f"cascade {command}" in examples(result.out)
    )


def test_help_names_every_command():
    for args in ((), ("--help",)):
        result = cascade(*args)
        assert (result.status, result.err) == (0, "")
        listed = re.findall(r"^  ([a-z-]+)  ", result.out, re.MULTILINE)
        assert set(COMMANDS) <= set(listed)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in ("extract", "import")])
def test_the_example_in_the_help_runs(command, own):
    Path("photos").mkdir()
    write_folders(Path("photos"), "test", *noise_images(10))
    for line in examples(cascade(command, "--help").out):
        result = cascade(*shlex.split(line)[1:], "--cache", own)
        assert result.status == 0, result.err
        assert result.out


def test_version():
    result = cascade("--version")
    assert result.status == 0
    assert len(result.out.splitlines()) == 1


# --- JSON ----------------------------------------------------------------------------------------

SIMULATE = "dataset split fit_split model_1 model_2 score threshold postcheck memory n accuracy"
SIMULATE += " usage escalated hits false_hits hit_rate"
JSON = {
    ("extract", "--split", "test", "--models", "digits_wide"): "dataset models",
    ("score",): "dataset models",
    ("threshold",): "dataset split fit_split rows",
    ("threshold", *PAIR, "-s", "oracle"): "dataset split fit_split rows",
    ("heterogeneity",): "dataset split metric models matrix",
    ("simulate", *PAIR): SIMULATE,
    ("simulate", *PAIR, "-s", "oracle"): SIMULATE,
    ("simulate", *PAIR, "-t", "always"): SIMULATE,
    ("live", *PAIR, "--limit", "20"): SIMULATE + " latency_ms energy agreement",
    ("models",): "models",
    ("datasets",): "datasets",
}
ROWS = {
    "extract": "model split variant runtime rows resumed_rows seconds forward_seconds"
    " images_per_second accuracy",
    "score": "model split variant runtime rows accuracy",
    "threshold": "model_1 model_2 score postcheck objective threshold threshold_low threshold_high"
    " accuracy usage accuracy_1 accuracy_2 points",
    "models": "name dataset parameters macs top1",
    "datasets": "name classes splits",
}


@pytest.mark.parametrize("args", JSON, ids=" ".join)
def test_json_is_one_object_with_the_keys_of_the_contract(args, own):
    found = cascade(*args, "--cache", own, "--json").json
    assert set(JSON[args].split()) <= set(found)
    if args[0] in ROWS:
        [rows] = [found[key] for key in ("models", "rows", "datasets") if key in found]
        assert rows
        for row in rows:
            # a model that only the cache knows has no registry facts
            assert set(ROWS[args[0]].split()) <= set(row) or set(row) == {
                "name",
                "dataset",
                "cached",
            }


def test_report_in_json(own, tmp_path):
    found = cascade("report", *PAIR, "-o", tmp_path / "r.html", "--cache", own, "--json").json
    assert (tmp_path / "r.html").stat().st_size > 1000
    assert found["model_1"] == PAIR[1]


def test_import_in_json(tmp_path):
    np.save("x.npy", 2 * np.eye(5))
    np.save("y.npy", np.arange(5))
    args = ("--dataset", "mine", "--split", "a", "--model", "b", "--logits", "x.npy")
    found = cascade("import", *args, "--labels", "y.npy", "--json").json
    assert found["models"][0]["accuracy"] == 1
    assert Path("artifacts/logits/dataset=mine").is_dir()  # the default cache


def test_figures_hang_together(own):
    found = cascade("simulate", *PAIR, "-s", "difference", "-p", "--cache", own, "--json").json
    assert found["usage"] == found["escalated"] / found["n"]
    assert found["hit_rate"] == found["hits"] / found["n"] == 0
    args = ("threshold", *PAIR, "-s", "difference", "-p", "--objective", "best")
    [row] = cascade(*args, "--cache", own, "--json").json["rows"]
    assert {k: row[k] for k in ("accuracy", "usage", "threshold")} == {
        k: found[k] for k in ("accuracy", "usage", "threshold")
    }


def test_output_files_hold_the_rows_of_json(own, tmp_path):
    for command in ("threshold", "heterogeneity"):
        for suffix in (".csv", ".parquet"):
            path = tmp_path / f"{command}{suffix}"
            found = cascade(command, "--cache", own, "--json", "-o", path).json
            table = (pl.read_csv if suffix == ".csv" else pl.read_parquet)(path)
            if command == "threshold":
                assert table["accuracy"].to_list() == [r["accuracy"] for r in found["rows"]]
            else:
                np.testing.assert_allclose(table.drop("model").to_numpy(), found["matrix"])


def test_tables_show_what_json_says(own):
    found = cascade("score", "--split", "test", "--cache", own, "--json").json["models"]
    shown = cascade("score", "--split", "test", "--cache", own).out
    for row in found:
        assert re.search(rf"{row['model']}  *test  *500  *{row['accuracy']:.2%}", shown)


# --- the original's flags ------------------------------------------------------------------------

ORIGINAL = {
    "main.py": ("live", *PAIR, "-s", "entropy", "-t", "0.3", "-p", "-e", "none", "--limit", "50"),
    "long": (
        *("live", "--model1", "digits_wide", "--model2", "digits_plain", "--scorefn", "maxp"),
        *("--threshold", "0.9", "--postcheck", "--end", "none", "--limit", "50"),
    ),
    "thresholds": ("threshold", *PAIR, "-n", "2000"),
    "thresholds, long": ("threshold", *PAIR, "--n_threshold_values", "2000"),
    "thresholds on train": ("threshold", *PAIR, "-t"),
    "heterogeneity": ("heterogeneity", "-d", "digits"),
    "heterogeneity on train": ("heterogeneity", "-d", "digits", "-t"),
    "simulate": ("simulate", *PAIR, "-s", "maxp", "-t", "0.8", "-p"),
}


@pytest.mark.parametrize("name", ORIGINAL)
def test_the_flags_of_the_original(name, own):
    result = cascade(*ORIGINAL[name], "--cache", own, "--json")
    assert result.json
    if "train" in name:
        assert "extracting train first" in result.err


def test_weights_and_images_by_the_original_flags(tmp_path):
    data = write_parquet(tmp_path / "images", "test", *noise_images(30))
    names = ("resnet20", "shufflenetv2_x0_5")
    files = [seeded_weights(tmp_path / f"{n}.pt", n) for n in names]
    args = ("-m1", names[0], "-m2", names[1], "-w1", files[0], "-w2", files[1], "-f", data)
    assert cascade("extract", *args).status == 0
    result = cascade("live", *args, "-s", "maxp", "-t", "0.5", "-p", "--json")
    assert result.json["dataset"] == "cifar10"  # follows from the first model
    assert result.json["agreement"]["outside_noise"] == 0
    for long in ("--filepath", "--data"):
        assert cascade("extract", *args[:-2], long, data).status == 0


def test_grid_thresholds_are_of_the_grid(own):
    rows = cascade("threshold", *PAIR, "-n", "11", "--cache", own, "--json").json["rows"]
    for row in rows:
        assert round(row["threshold"] * 10, 9).is_integer()
        assert row["points"] <= 11


def test_training_images_are_warned_of(own):
    result = cascade("threshold", *PAIR, "--train", "--cache", own, "--json")
    warned = f"{PAIR[1]} (shipped), {PAIR[3]} (shipped) was trained on train"
    assert f"warning: {warned}" in result.err
    assert result.json["fit_split"] == "train"
    assert any("trained on train" in note for note in result.json["notes"])


# --- refusals ------------------------------------------------------------------------------------

REFUSED = {
    "unknown command": (("extrakt",), "extrakt"),
    "unknown option": (("score", "--nope"), "--nope"),
    "missing option": (("import",), "--dataset"),
    "an argument too many": (("score", "digits"), "digits"),
    "no number": (("threshold", *PAIR, "-n", "many"), "--n_threshold_values"),
    "unknown model": (("simulate", "-m1", "digits_wid", "-m2", "digits_plain"), "'digits_wide'?"),
    "unknown model to extract": (("extract", "--models", "resnet21"), "did you mean 'resnet20'"),
    "unknown dataset to extract": (("extract", "-d", "cifr10", "--split", "test"), "'cifar10'?"),
    "model of another dataset": (("extract", "-d", "digits", "--models", "vgg11_bn"), "vgg11_bn"),
    "unknown dataset": (("extract", "-d", "digit", "--models", "digits_wide"), "'digits'?"),
    "dataset without images": (("extract", "-d", "cifar10", "--models", "resnet20"), "--data"),
    "dataset not in the cache": (("threshold", "-d", "cifar10"), "cascade extract --dataset cif"),
    "unknown score": (("threshold", *PAIR, "-s", "maxpp"), "did you mean 'maxp'?"),
    "unknown objective": (("threshold", *PAIR, "--objective", "bets"), "did you mean 'best'?"),
    "unknown metric": (("heterogeneity", "--metric", "het"), "unknown metric 'het'"),
    "unknown split": (("score", "--split", "tset"), "did you mean 'test'?"),
    "unknown fitting split": (("simulate", *PAIR, "--fit-split", "vel"), "'val'?"),
    "unknown runtime": (("score", "--runtime", "nonsense"), "nonsense"),
    "unknown precision": (("extract", "--precision", "fp8"), "unknown precision 'fp8'"),
    "precision of another device": (("extract", "--precision", "tf32"), "use fp32"),
    "unknown device": (("extract", "--device", "tpu9"), "cannot use device 'tpu9'"),
    "λ too large": (("simulate", *PAIR, "-t", "1.01"), "λ '1.01' is no threshold of maxp"),
    "λ negative": (("simulate", *PAIR, "-s", "entropy", "-t", "-0.1"), "is no threshold of entro"),
    "λ not a number": (("simulate", *PAIR, "-t", "nan"), "λ 'nan' is no threshold"),
    "λ a word": (("live", *PAIR, "-t", "sometimes"), "`always` or `never`"),
    "one model": (("simulate", "-m1", "digits_wide"), "needs two models"),
    "-d on simulate": (("simulate", "-d", "trees", *PAIR), "the dataset is --dataset here"),
    "-d on live": (("live", "-d", "trees", *PAIR), "the dataset is --dataset here"),
    "the same model twice": (("threshold", "-m1", "a", "-m2", "a", "-d", "digits"), "different"),
    "a pair and all pairs": (("threshold", *PAIR, "--all-pairs"), "--all-pairs takes no"),
    "pairs of one model": (("threshold", "--models", "digits_wide"), "one model only"),
    "names of nothing": (("score", "--models", " , "), "names nothing"),
    "two fitting splits": (("threshold", *PAIR, "--train", "--fit-split", "val"), "--fit-split"),
    "missing images": (("extract", "-d", "mine", "-f", "nowhere"), "nowhere"),
    "images of a shipped dataset": (("extract", "-d", "digits", "-f", "."), "ships with"),
    "missing weights folder": (("extract", "--weights", "nowhere"), "no weights folder nowhere"),
    "missing weights file": (("extract", "-m1", "digits_wide", "-w1", "x.pt"), "no weights file x"),
    "weights of no model": (("extract", "-w1", "x.pt"), "without their model"),
    "a broken alias": (("extract", "--model", "small=digits_wide"), "NAME=ARCHITECTURE:FILE"),
    "a model twice": (("extract", "--models", "digits_wide,digits_wide"), "asked for twice"),
    "a batch of none": (("extract", "--batch-size", "0"), "--batch-size"),
    "an output of no kind": (("threshold", *PAIR, "-o", "x.xls"), ".csv or .parquet"),
    "an output nowhere": (("heterogeneity", "-o", "no/where.csv"), "cannot write no/where.csv"),
    "an output with a zero byte": (("heterogeneity", "-o", "a\0.csv"), "not text"),
    "a name that is not UTF-8": (("score", "-d", "\udcff"), "not text in UTF-8"),
    "a cache that is a file": (("score", "--cache", "file"), "cannot"),
    "a cache of no kind": (("score", "--cache", "nope://x"), "nope://x"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_request_is_one_line_and_status_2(name, own):
    Path("file").write_text("in the way")
    args, words = REFUSED[name]
    given = () if "--cache" in args else ("--cache", own)
    before = sorted(own.rglob("*"))
    for more in ((), ("--json",)):
        given_json = more if args[0] in COMMANDS else ()
        assert words in cascade(*args, *given, *given_json).refusal
    if "cannot write" not in words:  # what was computed is kept all the same
        assert before == sorted(own.rglob("*"))


def held(tmp_path, *datasets, models=("small", "large")):
    """A cache of random logits on the `test` and `val` of some datasets."""
    labels, rng = np.arange(40) % 4, np.random.default_rng(0)
    store = Store(tmp_path / "held")
    for dataset in datasets:
        for split in ("test", "val"):
            write_samples(store, split, labels, dataset)
            for model in models:
                logits = tied_logits(rng, len(labels))
                write_logits(store, split, model, labels, logits, dataset=dataset)
    return tmp_path / "held"


def models_as_files(tmp_path):
    """Costs of models that only a cache knows."""
    rows = [f"{model},nano,1,2.5" for model in ("small", "large")]
    path = tmp_path / "costs.csv"
    path.write_text("\n".join(["model,device,batch_size,latency_ms", *rows]) + "\n")
    return path


BY_MODELS = ("threshold", "simulate", "rules")
ANALYSES = {
    **{name: (name,) for name in ("threshold", "search", "rules", "calibrate", "heterogeneity")},
    **{name: (name,) for name in ("score", "report")},
    "export": ("export", "-o", "wide.csv"),
    "publish": ("export", "--publish", "copy"),
    **{f"{name} of a pair": (name, "-m1", "small", "-m2", "large") for name in BY_MODELS},
    "export of a pair": ("export", "--policy", "policy", "-m1", "small", "-m2", "large"),
    "report of a pair": ("report", "-m1", "small", "-m2", "large"),
    "score of models": ("score", "--models", "small"),
}


@pytest.mark.parametrize("name", ANALYSES)
def test_the_only_dataset_of_a_cache_is_meant(tmp_path, name):
    done = cascade(*ANALYSES[name], "--cache", held(tmp_path, "trees"), "--json")
    assert done.status == 0, done.err
    assert "dataset trees, the only one in" in done.err
    assert "trees" in done.out
    assert "digits" not in done.out


@pytest.mark.parametrize("name", ANALYSES)
def test_of_several_datasets_one_is_to_be_chosen(tmp_path, name):
    root = held(tmp_path, "digits", "trees")
    line = cascade(*ANALYSES[name], "--cache", root).refusal
    assert "digits, trees: choose" in line
    assert "--dataset" in line


@pytest.mark.parametrize("name", [n for n in ANALYSES if "of" not in n])
def test_an_empty_cache_is_not_filled_unasked(tmp_path, name):
    line = cascade(*ANALYSES[name], "--cache", "typo").refusal
    assert "the cache typo holds" in line
    assert "`cascade extract --cache typo`" in line
    assert "--dataset" in line
    assert list(tmp_path.iterdir()) == []


def test_the_digits_need_no_note(own):
    assert cascade("score", "--cache", own).err == ""


def test_models_of_one_dataset_among_several(tmp_path):
    root = held(tmp_path, "trees")
    held(tmp_path, "digits", models=("tiny", "huge"))
    pair = ("-m1", "tiny", "-m2", "huge")
    done = cascade("threshold", *pair, "--cache", root, "--json")
    assert done.json["dataset"] == "digits"
    assert "dataset digits, the only one in" in done.err
    assert "unknown model 'tiny'" in cascade("threshold", "-m1", "tiny", "-m2", "small").refusal
    given = ("import-costs", models_as_files(tmp_path), "--source", "me", "--cache", root)
    assert cascade(*given, "--json").json["dataset"] == "trees"


@pytest.mark.parametrize("name", ["threshold", "search", "report", "rules"])
def test_one_model_is_told_what_brings_in_another(tmp_path, name):
    store, labels = Store(tmp_path / "held"), np.arange(40) % 4
    write_samples(store, "test", labels, "trees")
    logits = tied_logits(np.random.default_rng(0), 40)
    write_logits(store, "test", "small", labels, logits, dataset="trees", runtime="import")
    lines = "trees/test has one model only, small: run `cascade import --dataset trees --split test"
    assert lines in cascade(name, "-d", "trees", "--cache", store.root).refusal
    write_logits(store, "test", "large", labels, logits, dataset="trees")
    if name != "report":
        asked = (name, "-d", "trees", "--models", "small", "--cache", store.root)
        assert "small: trees/test also has large" in cascade(*asked).refusal
    cascade("cache", "rm", "--model", "small", "--yes", "--cache", store.root)
    line = cascade(name, "-d", "trees", "--cache", store.root).refusal
    assert "run `cascade extract --dataset trees --data DIR --split test --models NAME" in line


def test_the_model_that_no_dataset_has_is_blamed(tmp_path):
    root = held(tmp_path, "trees")
    held(tmp_path, "digits", models=("tiny", "huge"))
    for pair in (("small", "teacher"), ("teacher", "small")):
        line = cascade("simulate", "-m1", pair[0], "-m2", pair[1], "--cache", root).refusal
        assert "no logits of model teacher on trees/test (it has large, small)" in line
    line = cascade("simulate", "-m1", "small", "-m2", "tiny", "--cache", root).refusal
    assert "small and tiny on no dataset together" in line


NEAR = {
    "dataset": (("threshold", "-d", "tree"), "the cache holds trees; did you mean trees?"),
    "other dataset": (("threshold", "-d", "cifar10"), "(the cache holds trees)"),
    "model": (("score", "-d", "trees", "--models", "smal"), "small; did you mean small?"),
}


@pytest.mark.parametrize("name", NEAR)
def test_what_the_cache_holds_instead(tmp_path, name):
    args, words = NEAR[name]
    assert words in cascade(*args, "--cache", held(tmp_path, "trees")).refusal


@pytest.mark.parametrize("args", [("ls",), ("verify",), ("rm", "--table", "logits", "-y"), ("gc",)])
def test_no_cache_there(tmp_path, args):
    line = cascade("cache", *args, "--cache", "nothere").refusal
    assert "there is no cache at nothere" in line
    assert list(tmp_path.iterdir()) == []


def cifar(tmp_path, *more):
    data = write_parquet(tmp_path / "images", "test", *noise_images(20))
    args = ("extract", "-d", "cifar10", "-f", data, "--models", "resnet20", *more)
    return cascade(*args, "--cache", tmp_path / "cache")


BAD_WEIGHTS = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-5000]), "cannot be read"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read"),
    "of another model": (lambda path: seeded_weights(path, "vgg11_bn"), "fc.weight is missing"),
    "of another width": (
        lambda path: seeded_weights(path, conv1__weight=lambda t: t[:8]),
        "conv1.weight has shape [8, 3, 3, 3], expected [16, 3, 3, 3]",
    ),
    "NaN": (lambda path: seeded_weights(path, fc__bias=lambda t: t * np.nan), "fc.bias"),
    "not tensors": (lambda path: torch.save({"fc.weight": 3}, path), "not a tensor"),
}


@pytest.mark.parametrize("name", BAD_WEIGHTS)
def test_bad_weights(name, tmp_path):
    spoil, words = BAD_WEIGHTS[name]
    path = seeded_weights(tmp_path / "w" / "resnet20.pt")
    spoil(path)
    assert words in cifar(tmp_path, "--weights", path.parent).refusal


def test_weights_fetched_with_another_hash(tmp_path, monkeypatch):
    def fetch(url, path, prefix, progress):
        raise RuntimeError(f'invalid hash value (expected "{prefix}", got "00000000")')

    monkeypatch.setattr("torch.hub.download_url_to_file", fetch)
    line = cifar(tmp_path).refusal
    assert "cannot fetch the weights of resnet20 from https://" in line
    assert "invalid hash value" in line


def test_images_fetched_with_another_hash(tmp_path, monkeypatch):
    from stages.datasets.archives import DOWNLOADERS

    def fetch(*_, **__):
        raise RuntimeError("File not found or corrupted.")

    for name in DOWNLOADERS:
        monkeypatch.setitem(DOWNLOADERS, name, fetch)
    args = ("extract", "-d", "cifar10", "-f", tmp_path, "--download", "--models", "resnet20")
    assert "corrupted" in cascade(*args, "--cache", tmp_path / "cache").refusal


@pytest.mark.parametrize(
    ("content", "words"), [(b"", ""), (b"PAR1 but no more", ""), (b"\x89PNG", "")]
)
def test_damaged_image_files(content, words, tmp_path):
    write_parquet(tmp_path / "images", "test", *noise_images(5))
    (tmp_path / "images" / "test.parquet").write_bytes(content)
    weights = seeded_weights(tmp_path / "w" / "resnet20.pt").parent
    args = ("extract", "-d", "cifar10", "-f", tmp_path / "images", "--weights", weights)
    assert words in cascade(*args, "--cache", tmp_path / "cache").refusal


def part_of(root, table, model="digits_wide"):
    manifest = manifest_of(root, table, "test", model)
    return root / manifest.partition.path / manifest.parts[0].name


def manifest_file(root, table, model="digits_wide"):
    manifest = manifest_of(root, table, "test", model)
    return root / "_manifests" / f"{manifest.partition.path}.json"


@pytest.mark.parametrize("damage", [lambda data: data[:-50], lambda data: b"", None])
@pytest.mark.parametrize("table", ["logits", "samples"])
def test_a_damaged_part_is_refused_then_made_again(table, damage, own):
    shutil.rmtree(own / "scores")
    shutil.rmtree(own / "_manifests" / "scores")
    part = part_of(own, table)
    sound = part.read_bytes()
    part.unlink() if damage is None else part.write_bytes(damage(sound))
    line = cascade("heterogeneity", "--cache", own).refusal
    assert f"{part.name}" in line
    assert "re-makes what is damaged" in line
    assert cascade("extract", "--cache", own).status == 0
    assert cascade("heterogeneity", "--cache", own).status == 0


@pytest.mark.parametrize("command", ["score", "heterogeneity"])
def test_damaged_scores_are_made_again(command, own):
    part = part_of(own, "scores")
    sound = part.read_bytes()
    part.write_bytes(sound[:-1])
    expected = cascade(command, "--cache", own, "--json")
    assert expected.status == 0
    assert pl.read_parquet(part).equals(pl.read_parquet(sound))


def test_a_half_written_part_is_no_part(own):
    part = part_of(own, "logits")
    half = part.with_name("part-00001.parquet")
    half.write_bytes(part.read_bytes()[:1000])
    assert cascade("heterogeneity", "--cache", own).status == 0


@pytest.mark.parametrize("table", ["logits", "scores", "samples"])
def test_a_cache_of_another_schema_version(table, own):
    path = manifest_file(own, table)
    body = json.loads(path.read_text()) | {"schema_version": 99}
    path.write_text(json.dumps(body))
    line = cascade("heterogeneity", "--cache", own).refusal
    assert "has schema version 99, this program reads 1" in line


def test_a_manifest_with_another_value_is_damaged(own):
    """Not one word of what a model was trained on changes unnoticed."""
    path = manifest_file(own, "scores")
    path.write_text(path.read_text().replace('"train"', '"trail"'))
    assert "is damaged" in cascade("threshold", "--cache", own).refusal


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"schema_version": 1}', "\xff"])
def test_a_damaged_manifest(content, own):
    path = manifest_file(own, "logits")
    path.write_text(content, encoding="latin-1")
    assert "is damaged" in cascade("heterogeneity", "--cache", own).refusal


def test_partitions_of_different_images(own, tmp_path):
    manifest = manifest_of(own, "logits", "test", "digits_wide")
    other = manifest.identity | {"dataset_fingerprint": "0" * 64}
    publish(Store(own), replace(manifest, identity=other))
    line = cascade("heterogeneity", "--cache", own).refusal
    assert "were made from different images" in line


TWICE = {
    "models": ("score", "--split", "test,test", "--models", "digits_wide,digits_wide"),
    "rows": ("threshold", *PAIR, "-s", "maxp,maxp", "--objective", "best", "-P"),
    "hashes": ("hash", "--split", "test,test", "--algorithms", "dhash", "--no-profile"),
}


@pytest.mark.parametrize("key", TWICE)
def test_what_is_named_twice_is_told_once(key, own):
    assert len(cascade(*TWICE[key], "-d", "digits", "--cache", own, "--json").json[key]) == 1


def test_missing_logits_name_the_command(tmp_path):
    """Of a data set whose logits were all imported, the one that imports; which then works."""
    np.save("x.npy", 2 * np.eye(5))
    np.save("y.npy", np.arange(5))
    given = ("--dataset", "mine", "--split", "a", "--model", "b", "--labels", "y.npy")
    assert cascade("import", *given, "--logits", "x.npy").status == 0
    args = ("simulate", "--dataset", "mine", "--split", "a", "-m1", "b", "-m2", "resnet20")
    line = cascade(*args).refusal
    command = re.search("`cascade (.*)`", line)[1]
    assert command == "import --dataset mine --split a --model resnet20 --logits FILE"
    assert cascade(*shlex.split(command.replace("FILE", "x.npy"))).status == 0
    assert "b → resnet20" in cascade(*args).out


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_an_unwritable_cache(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    line = cascade("extract", "--models", "digits_wide", "--cache", tmp_path / "locked").refusal
    assert "Permission denied; check its permissions" in line


@pytest.mark.parametrize(
    ("error", "words"), [(13, "check its permissions"), (28, "free some space"), (30, "--cache")]
)
def test_a_cache_the_system_refuses_to_write(error, words, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patch:
        patch.setattr("cache.storage.store.os.replace", refuse)
        line = cascade("extract", "--models", "digits_wide", "--cache", tmp_path).refusal
    assert os.strerror(error) in line
    assert words in line
    assert not find(Store(tmp_path), "samples")
    assert cascade("extract", "--models", "digits_wide", "--cache", tmp_path).status == 0


def test_control_characters_do_not_reach_the_terminal(tmp_path):
    line = cascade("extract", "-d", "a\x1b[31m\r\nb", "--cache", tmp_path).refusal
    assert line.isprintable()


SHARES = {
    "--min-accuracy 98": ("search --min-accuracy 98", "98 is more than 1: give 0.98 for 98 %"),
    "--min-accuracy 99.95": ("search --min-accuracy 99.95", "give 0.9995 for 99.95 %"),
    "--min-accuracy of report": ("report --min-accuracy 98", "give 0.98 for 98 %"),
    "--within": ("search --within 2", "'--within': 2 is more than 1: give 0.02 for 2 %"),
    "--confidence": ("search --min-accuracy 0.9 --confidence 95", "give 0.95 for 95 %"),
    "--max-usage": ("search --certify 0.1,0.1 --max-usage 50", "give 0.5 for 50 %"),
    "MAX_LOSS": ("search --certify 3,0.1", "--certify 3,0.1: 3 is more than 1: give 0.03 for 3 %"),
    "RISK": ("search --certify 0.03,10", "--certify 0.03,10: 10 is more than 1: give 0.1 for 10"),
    "--alpha": ("check policy --alpha 5", "give 0.05 for 5 %"),
    "--rotations": (f"simulate {' '.join(PAIR)} -r 50", "give 0.5 for 50 %"),
    "over 100": ("search --min-accuracy 101", "101 is no share: give a number from 0 to 1"),
    "negative": ("search --min-accuracy -1", "-1 is no share: give a number from 0 to 1"),
    "no number": ("search --min-accuracy nan", "nan is no share: give a number from 0 to 1"),
}


@pytest.mark.parametrize("name", SHARES)
def test_a_percentage_is_told_as_the_share_it_is(name, tmp_path):
    words, told = SHARES[name]
    assert told in cascade(*words.split(), "--cache", "none").refusal
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        *("extract", "hash", "score -d digits", "search -d digits", "report -d digits", "models"),
        *("datasets", "cache ls", "cache gc", "cache merge x", "live -m1 digits_wide"),
    ],
)
def test_an_empty_cache_name_is_refused(words, tmp_path):
    told = "cascade: the cache's name is empty: name a folder or URI with --cache, or nothing"
    assert cascade(*words.split(), "--cache", "").refusal == told
    assert cascade(*words.split(), "--cache", " \t").refusal == told
    assert list(tmp_path.iterdir()) == []


def test_live_makes_no_cache_of_a_typo(tmp_path, monkeypatch):
    told = "there is no cache at tpyo: make it and run every model first?"
    line = cascade("live", *PAIR, "--limit", "5", "--cache", "tpyo").refusal
    assert f"{told} Nobody is there to ask: check --cache, or fill it by `cascade extract" in line
    monkeypatch.setattr("sys.stdin", mock.Mock(isatty=lambda: True, readline=lambda: "\n"))
    done = cascade("live", *PAIR, "--limit", "5", "--cache", "tpyo")
    assert (done.status, done.out, done.err) == (2, "", f"{told} [y/N]: cascade: aborted\n")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("sys.stdin", mock.Mock(isatty=lambda: True, readline=lambda: "Y\n"))
    done = cascade("live", *PAIR, "--limit", "5", "--no-alone", "--cache", "tpyo")
    assert done.status == 0, done.err
    assert Path("tpyo").is_dir()


def test_a_new_cache_is_told(tmp_path):
    asked = ("simulate", *PAIR, "--split", "test", "-t", "0.5")
    assert "there is no cache at new yet: it is made now" in cascade(*asked, "--cache", "new").err
    assert "no cache" not in cascade(*asked, "--split", "val", "--cache", "new").err


def test_the_group_alone_shows_its_help():
    alone, asked = cascade("cache"), cascade("cache", "--help")
    assert (alone.status, alone.err, alone.out) == (0, "", asked.out)
    assert len(alone.out.splitlines()) > 10


@pytest.mark.parametrize("output", ["x.pdf", "x", "x.html.gz", ".html"])
def test_a_report_of_another_kind_is_refused(output, tmp_path):
    line = cascade("report", "-d", "digits", "-o", output, "--cache", "none").refusal
    assert f"cannot write {output}: its name must end in .html or .htm" in line
    assert list(tmp_path.iterdir()) == []


# --- processes -----------------------------------------------------------------------------------


def environment(**more):
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | more


def run_python(code, *args, **more):
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment(**more), check=False
    )


MAIN = "from cascade_cli.main import main; main()"
SLOW = f"""
import time
from stages.runtimes import Runner
usual = Runner.logits
Runner.logits = lambda self, batch: (time.sleep(0.02), usual(self, batch))[1]
{MAIN}
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
def test_ctrl_c_is_130_and_resumes(digits, tmp_path):
    args = ["extract", "--split", "test", "--models", "digits_wide", "--batch-size", "10"]
    args += ["--part-rows", "50", "--cache", str(tmp_path / "cache"), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    receipts = tmp_path / "cache" / ".tmp" / "receipts" / "logits"
    for _ in range(6000):
        if len(list(receipts.rglob("*.json"))) >= 2 or process.poll() is not None:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    assert err.splitlines()[-1] == f"cascade: {INTERRUPTED}"
    assert "Traceback" not in err
    [row] = cascade(*args).json["models"]
    assert 100 <= row["resumed_rows"] < 500
    np.testing.assert_allclose(
        logits_of(tmp_path / "cache", "test", "digits_wide")[1],
        logits_of(digits, "test", "digits_wide")[1],
        atol=2e-5,
    )


BLOCKED = f"""
import sys

class Hidden:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *rest):
        absent = (
            *("torch", "torchvision", "onnxruntime", "PIL", "pynvml", "imagehash", "safetensors"),
        )
        return None if name.partition(".")[0] in absent else self.finder.find_spec(name, *rest)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path = [Hidden(finder) for finder in sys.meta_path]
{MAIN}
"""
CPU_HALF = {
    "help": ("--help",),
    "score": ("score", "--json"),
    "threshold": ("threshold", "--json"),
    "heterogeneity": ("heterogeneity", "--json"),
    "simulate": ("simulate", *PAIR, "--json"),
    "report": ("report", *PAIR, "--json"),
    "models": ("models", "--json"),
    "datasets": ("datasets", "--json"),
}


@pytest.mark.parametrize("name", CPU_HALF)
def test_without_torch(name, own, tmp_path):
    """The same as with torch, in an install without it."""
    args = CPU_HALF[name]
    given = () if name == "help" else ("--cache", own)
    given += ("-o", tmp_path / "report.html") if name == "report" else ()
    result = run_python(BLOCKED, *args, *given)
    assert result.returncode == 0, result.stderr
    if name not in ("help", "report"):
        assert json.loads(result.stdout) == cascade(*args, *given).json


@pytest.mark.parametrize("args", [("extract",), ("live", *PAIR), ("live", "-m1", "digits_wide")])
def test_what_needs_torch_says_so(args, own):
    result = run_python(BLOCKED, *args, "--cache", own)
    assert (result.returncode, result.stdout) == (2, ""), result.stderr
    [line] = result.stderr.splitlines()
    assert line.startswith("cascade: ")
    assert re.search(r"""pip install ["']cascade-cli\[extract\]["']""", line)


def test_torch_is_asked_for_with_both_ways_to_install_it(tmp_path):
    result = run_python(BLOCKED, "extract", "-d", "digits", "--cache", tmp_path)
    assert result.returncode == 2
    assert "pip install 'cascade-cli[extract]'" in result.stderr
    assert "in a clone pip install '.[extract]'" in result.stderr


def test_missing_logits_without_torch(tmp_path):
    result = run_python(BLOCKED, "heterogeneity", "-d", "digits", "--cache", tmp_path)
    assert result.returncode == 2
    assert "run `cascade extract --dataset digits --split test" in result.stderr


def test_help_imports_nothing_heavy():
    code = f"import sys; sys.argv = ['cascade', '--help']\ntry:\n    {MAIN}\nfinally:\n    "
    code += "print({'torch', 'numpy', 'polars', 'pyarrow', 'sklearn'} & set(sys.modules))"
    result = run_python(code)
    assert result.stdout.splitlines()[-1] == "set()"


def test_a_terminal_without_lambda(own):
    for args in (("threshold", *PAIR), ("threshold", "--help"), ("score", "-d", "λ→…")):
        result = run_python(MAIN, *args, "--cache", own, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
        assert "Traceback" not in result.stderr
        assert result.returncode == (2 if "-d" in args else 0)


@pytest.mark.skipif(os.name != "posix", reason="needs head")
def test_a_reader_that_leaves_early(own):
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(MAIN)} models --json"
    result = subprocess.run(
        ["sh", "-c", f"{command} | head -c 10"],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert "Traceback" not in result.stderr
    assert result.stdout.startswith('{"models"')


@pytest.mark.parametrize(
    "args", [("models", "--json"), ("datasets",), ("--help",), ("cache", "ls"), ("score", "--help")]
)
def test_output_into_a_closed_pipe(own, args):
    """Whether it is written at once or when the interpreter ends."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = subprocess.run(
            [sys.executable, "-c", MAIN, *args],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(CASCADE_CACHE=str(own)),
            check=False,
        )
    finally:
        os.close(writing)
    assert (result.returncode, result.stderr) == (141, "")


# --- real images ---------------------------------------------------------------------------------


@needs_shared
def test_images_given_to_a_later_stage_are_extracted_first(tmp_path):
    data = slice_of("test", 60, tmp_path / "data")
    pair = ("-m1", "mobilenetv2_x0_5", "-m2", "shufflenetv2_x0_5")
    args = ("simulate", *pair, "-f", data, "--weights", WEIGHTS, "-t", "0.7", "--json")
    result = cascade(*args)
    assert "the cache lacks logits of mobilenetv2_x0_5, shufflenetv2_x0_5: extracting" in result.err
    assert result.json["n"] == 60


def test_every_command_is_tested_here():
    from cascade_cli.main import TABLE

    assert set(COMMANDS) <= set(TABLE)
    assert set(DIGITS) <= {row["name"] for row in cascade("models", "--json").json["models"]}


@pytest.mark.parametrize(
    "words",
    [
        "search -d digits --batch-size",
        "simulate -m1 digits_wide -m2 digits_plain --memory dhash --memory-size",
        "simulate -m1 digits_wide -m2 digits_plain --memory dhash --memory-radius",
        "live -m1 digits_wide -m2 digits_plain --batch-size",
    ],
)
def test_a_count_that_no_table_holds_is_refused(words):
    line = cascade(*words.split(), 2**63).refusal
    assert f"less than or equal to {2**31 - 1}" in line
