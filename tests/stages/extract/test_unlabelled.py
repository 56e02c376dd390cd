"""Images without labels through the commands: extracted, scored, hashed, published."""

from __future__ import annotations

import numpy as np
import pytest
from running import cascade, logits_of, manifest_of, png

pytest.importorskip("torch")

from cache import Store, read_table
from cache.upkeep import verify
from stages.datasets import open_split
from stages.models import choose
from stages.scores import labelled_splits_of, load, load_unlabelled

N = 60
MODELS = ("digits_plain", "digits_separable")
PICTURES = [open_split("digits", "test").read(i) for i in range(N)]


def extract(root, *more):
    return cascade("extract", *more, "--cache", root / "c", "--batch-size", "16", "--json")


@pytest.fixture(scope="module")
def root(tmp_path_factory, one_thread):
    """`test` of the digits without labels, `val` with them."""
    root = tmp_path_factory.mktemp("unlabelled")
    for split, more in (("test", ("--unlabelled",)), ("val", ())):
        which = ("-d", "digits", "--split", split, "--models", ",".join(MODELS))
        rows = extract(root, *which, *more).json["models"]
        assert [row["accuracy"] is None for row in rows] == [bool(more)] * 2
    return root


def test_logits_and_scores_are_those_with_labels(root, tmp_path, one_thread):
    extract(tmp_path, "-d", "digits", "--split", "test", "--models", ",".join(MODELS))
    for model in MODELS:
        here, there = (logits_of(each / "c", "test", model) for each in (root, tmp_path))
        assert here[0].tolist() == there[0].tolist()
        np.testing.assert_array_equal(here[1], there[1])
    found = load_unlabelled(Store(root / "c"), "digits", "test", MODELS[0])
    usual = load(Store(tmp_path / "c"), "digits", "test")
    assert found.predictions.tolist() == usual.predictions.tolist()
    assert found.scores["maxp"].tolist() == usual.scores["maxp"].tolist()


def test_a_split_without_labels_stays_without(root):
    which = ("-d", "digits", "--models", ",".join(MODELS))
    again = extract(root, *which, "--split", "test").json["models"]
    assert [(row["resumed_rows"], row["accuracy"]) for row in again] == [(500, None)] * 2
    said = extract(root, *which, "--split", "val", "--unlabelled")
    assert "the cache has digits/val with labels: leave out --unlabelled" in said.refusal
    assert "give --split" in extract(root, *which, "--unlabelled").refusal
    assert labelled_splits_of(Store(root / "c"), "digits") == ["val"]


def test_the_other_commands_go_by_it(root, tmp_path):
    where = ("-d", "digits", "--cache", root / "c")
    rows = cascade("score", *where, "--json").json["models"]
    assert [row["accuracy"] is None for row in rows] == [True, True, False, False]
    assert cascade("search", *where, "--json").json["split"] == "val"
    assert cascade("report", *where, "-o", tmp_path / "r.html").status == 0
    for command in ("search", "calibrate", "heterogeneity", "rules"):
        said = cascade(command, *where, "--split", "test").refusal
        assert "`cascade certify MAX_LOSS,RISK --unlabelled test`" in said
    fitted = cascade("threshold", *where, "-m1", MODELS[0], "-m2", MODELS[1], "--json").json
    assert (fitted["split"], fitted["fit_split"]) == ("val", "val")
    hashed = cascade("hash", *where, "--split", "test", "--algorithms", "dhash", "--json")
    assert hashed.json["hashes"][0]["rows"] == 500
    for command in ("datasets", "models", "cache ls"):
        assert cascade(*command.split(), "--cache", root / "c", "--json").status == 0
    assert verify(Store(root / "c")).damage == []


@pytest.mark.parametrize("tier", ["scores", "top10", "full"])
def test_a_published_copy_has_no_labels_either(root, tmp_path, tier):
    copy = tmp_path / "copy"
    said = cascade(
        *("export", "--publish", copy, "-d", "digits", "--tier", tier, "--cache", root / "c"),
        "--json",
    ).json
    told = {(row["split"], row["model"]): row["accuracy"] for row in said["models"]}
    assert [told["test", model] for model in MODELS] == [None, None]
    assert None not in [told["val", model] for model in MODELS]
    assert "| no labels |" in (copy / "README.md").read_text("utf-8")
    assert verify(Store(copy)).damage == []
    for table in ("samples", "scores"):
        rows = read_table(Store(copy), manifest_of(copy, table, "test", MODELS[0]))
        assert rows.column("label").null_count == 500
    here, there = (
        load_unlabelled(Store(place), "digits", "test", MODELS[1]) for place in (root / "c", copy)
    )
    assert here.correct.tolist() == there.correct.tolist()
    assert labelled_splits_of(Store(copy), "digits") == ["val"]


def test_a_flat_folder_by_a_model_of_ones_own(tmp_path, one_thread):
    [chosen] = choose("digits", ["digits_plain"])
    (tmp_path / "flat").mkdir()
    for i, picture in enumerate(PICTURES):
        (tmp_path / "flat" / f"{i:03}.png").write_bytes(png(picture))
    which = ("-d", "mine", "-f", tmp_path / "flat", "--split", "live")
    model = ("--model", f"own=digits_plain:{chosen.weights.path}")
    assert "--unlabelled" in extract(tmp_path, *which, *model).refusal
    [row] = extract(tmp_path, *which, *model, "--unlabelled", "--hashes", "dhash").json["models"]
    assert (row["rows"], row["accuracy"]) == (N, None)
    _, logits = logits_of(tmp_path / "c", "live", "own", "mine")
    extract(tmp_path, "-d", "digits", "--split", "test", "--models", "digits_plain")
    np.testing.assert_allclose(
        logits, logits_of(tmp_path / "c", "test", "digits_plain")[1][:N], rtol=1e-5, atol=1e-5
    )


def test_what_is_next_needs_no_labels(root, tmp_path):
    which = ("-d", "digits", "--models", ",".join(MODELS), "--cache", root / "c")
    said = cascade("extract", *which, "--split", "test").out
    assert "next: `cascade certify 0.02,0.1 -d digits --unlabelled test --cache" in said
    assert "next: `cascade search" in cascade("extract", *which, "--split", "val").out
