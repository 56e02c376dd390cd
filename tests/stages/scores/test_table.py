"""Scores in the cache: made once, made again when stale, aligned by sample id, or refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import (
    MODELS,
    logits_table,
    logits_writer,
    make_cache,
    tied_logits,
    write_logits,
    write_samples,
)

from cache import InputError, find
from cache.upkeep import verify
from stages import missing, scores as stage
from stages.scores import load, models_of, scores_of, splits_of

LABELS = np.arange(40) % 4
RNG = np.random.default_rng(0)


def _files(store, table):
    return {path: store.read(path).to_pybytes() for path in store.files(table)}


def test_scores_are_those_of_the_logits(store):
    logits = tied_logits(RNG, 40)
    write_samples(store, "test", LABELS)
    write_logits(store, "test", "small", LABELS, logits, part_rows=9)
    found = load(store, "toy", "test")
    assert found.models == ("small",)
    assert found.labels.tolist() == LABELS.tolist()
    assert found.sample_ids.tolist() == list(range(40))
    for name, values in scores_of(logits).items():
        column = found.predictions if name == "prediction" else found.scores[name]
        assert column[0].tolist() == values.tolist()
    right = [row.index(max(row)) == y for row, y in zip(logits.tolist(), LABELS, strict=True)]
    assert found.correct[0].tolist() == right
    assert found.accuracy.tolist() == [sum(right) / 40]


def test_rows_are_aligned_by_sample_id_not_by_position(store):
    """Parts that were written last first, with rows in reverse."""
    logits = tied_logits(RNG, 40)
    write_samples(store, "test", LABELS)
    write_logits(store, "test", "small", LABELS, logits)
    writer = logits_writer(store, "test", "large", LABELS, 4)
    table = logits_table(logits).take(list(range(39, -1, -1)))
    writer.write(0, table.slice(0, 15))
    writer.write(1, table.slice(15))
    writer.finish(2)
    found = load(store, "toy", "test")
    assert found.sample_ids.tolist() == list(range(40))
    assert found.predictions[0].tolist() == found.predictions[1].tolist()
    assert found.correct[0].tolist() == found.correct[1].tolist()


def test_models_come_in_the_order_asked_for(small_cache):
    assert load(small_cache, "toy", "test").models == tuple(sorted(MODELS))
    found = load(small_cache, "toy", "test", ["other", "small"])
    assert found.models == ("other", "small")
    whole = load(small_cache, "toy", "test")
    for m, model in enumerate(found.models):
        assert found.predictions[m].tolist() == whole.predictions[whole.index(model)].tolist()


def test_the_oracles_score_is_being_right(small_cache):
    found = load(small_cache, "toy", "test")
    assert found.score("oracle", 1).tolist() == [float(x) for x in found.correct[1]]
    assert found.score("maxp", 1).tolist() == found.scores["maxp"][1].tolist()


def test_scores_are_made_once(small_cache):
    load(small_cache, "toy", "test")
    before = _files(small_cache, "scores")
    assert len(before) == 3
    small_cache.write = None  # any write would fail
    load(small_cache, "toy", "test")
    assert _files(small_cache, "scores") == before


def test_stale_scores_are_made_again(store):
    write_samples(store, "test", LABELS)
    write_logits(store, "test", "small", LABELS, tied_logits(RNG, 40))
    load(store, "toy", "test")
    logits = tied_logits(RNG, 40)
    write_logits(store, "test", "small", LABELS, logits, weights="new", overwrite=True)
    found = load(store, "toy", "test")
    assert found.predictions[0].tolist() == scores_of(logits)["prediction"].tolist()


def test_scores_alone_are_enough(small_cache):
    """Somebody's Parquet files without the logits."""
    before = load(small_cache, "toy", "test")
    for manifest in find(small_cache, "logits"):
        small_cache.delete(f"_manifests/{manifest.partition.path}.json")
    found = load(small_cache, "toy", "test")
    assert found.models == before.models
    assert found.scores["maxp"].tolist() == before.scores["maxp"].tolist()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_bad_logit_is_named_by_model_split_and_sample(store, bad):
    logits = tied_logits(RNG, 40)
    logits[27, 3] = bad
    write_samples(store, "val", LABELS)
    write_logits(store, "val", "small", LABELS, logits, part_rows=20)
    with pytest.raises(InputError, match="NaN or infinite") as error:
        load(store, "toy", "val")
    text = str(error.value)
    assert "\n" not in text
    for word in ("model small", "split val", "sample 27"):
        assert word in text
    assert find(store, "scores") == []


def test_what_is_missing_is_named_with_the_command(small_cache):
    for models, split, words in (
        (["small", "huge"], "test", "huge on toy/test"),
        (["huge"], "test", "--models huge"),
        (None, "nowhere", "toy/nowhere (the cache holds test, val)"),
    ):
        with pytest.raises(InputError, match="cascade extract") as error:
            load(small_cache, "toy", split, models)
        assert words in str(error.value)
        assert "\n" not in str(error.value)


IMPORT = "`cascade import --dataset toy --split test --model huge --logits FILE --cache "


@pytest.mark.parametrize(
    ("runtime", "variant", "words"),
    [
        ("import", "identity", IMPORT),
        ("import", "flip", "no command makes these"),
        ("onnx-int8-cpu", "identity", "no command makes these"),
        ("torch-tf32-cuda", "flip", "--models huge --variants flip --precision tf32 --device cuda"),
        ("torch-tf32-cuda", "identity", "(it has large, other, small in torch-fp32-cpu)"),
    ],
)
def test_what_a_runtime_lacks_is_made_in_it(small_cache, runtime, variant, words):
    with pytest.raises(missing.MissingError) as error:
        load(small_cache, "toy", "test", ["huge"], variant, runtime)
    assert words in str(error.value)
    assert error.value.command in str(error.value)


@pytest.mark.parametrize(
    ("models", "made"),
    [
        (["large"], "import"),
        (["large", "small"], "import"),
        (["torched"], "extract"),
        (["huge"], "extract"),
        (None, "extract"),
    ],
)
@pytest.mark.parametrize("mixed", [True, False])
def test_what_was_imported_is_imported_on_other_splits(store, models, made, mixed):
    """As is, of a dataset all of which was imported, what nothing is known of."""
    write_samples(store, "test", LABELS)
    for model in ("large", "small"):
        write_logits(store, "test", model, LABELS, tied_logits(RNG, 40), runtime="import")
    if mixed:
        write_logits(store, "test", "torched", LABELS, tied_logits(RNG, 40))
    with pytest.raises(missing.MissingError) as error:
        load(store, "toy", "val", models)
    made = made if mixed else "import"
    names = models or ["NAME"]
    each = [f"cascade {made} --dataset toy " for _ in (names if made == "import" else [0])]
    assert [line[: len(each[0])] for line in error.value.command.split(" && ")] == each


def test_logits_without_samples(store):

    write_logits(store, "test", "small", LABELS, tied_logits(RNG, 40))
    with pytest.raises(InputError) as error:
        load(store, "toy", "test")
    assert "\n" not in str(error.value)


def test_several_runtimes_need_a_choice(store):
    write_samples(store, "test", LABELS)
    for runtime in ("torch-fp32-cpu", "torch-bf16-cuda"):
        write_logits(store, "test", "small", LABELS, tied_logits(RNG, 40), runtime=runtime)
    with pytest.raises(InputError, match=r"torch-bf16-cuda, torch-fp32-cpu.*--runtime"):
        load(store, "toy", "test")
    found = load(store, "toy", "test", runtime="torch-bf16-cuda")
    assert found.manifests[0].partition.keys["runtime"] == "torch-bf16-cuda"
    assert sorted(models_of(store, "toy", "test")) == ["small"]
    assert len(models_of(store, "toy", "test")["small"]) == 2


def test_a_set_tells_its_runtime_and_multiply_adds(store):
    write_samples(store, "test", LABELS)
    logits = tied_logits(RNG, 40)
    write_logits(store, "test", "small", LABELS, logits, provenance={"macs": 7})
    write_logits(store, "test", "large", LABELS, logits, runtime="torch-bf16-cuda")
    both = load(store, "toy", "test")
    assert (both.runtime, both.macs) == (None, {"large": None, "small": 7})
    assert load(store, "toy", "test", ["large"]).runtime == "torch-bf16-cuda"


def test_variants_are_apart(store):
    write_samples(store, "test", LABELS)
    first, second = tied_logits(RNG, 40), tied_logits(RNG, 40)
    write_logits(store, "test", "small", LABELS, first)
    write_logits(store, "test", "small", LABELS, second, variant="rot90")
    found = load(store, "toy", "test", variant="rot90")
    assert found.predictions[0].tolist() == scores_of(second)["prediction"].tolist()
    assert load(store, "toy", "test").models == ("small",)


def test_run_scores_every_split_and_model(tmp_path):
    store = make_cache(tmp_path)
    rows = stage.run(store, "toy")
    assert [(row.split, row.model) for row in rows] == [
        (split, model) for split in ("test", "val") for model in sorted(MODELS)
    ]
    for row in rows:
        found = load(store, "toy", row.split, [row.model])
        assert row.accuracy == found.accuracy[0]
        assert (row.rows, row.variant) == (60, "identity")
    assert len(find(store, "scores")) == 6
    assert splits_of(store, "toy") == ["test", "val"]


def test_damaged_scores_are_told_once_and_made_again(tmp_path, capsys):
    store = make_cache(tmp_path, splits=("test",))
    before = load(store, "toy", "test")
    assert capsys.readouterr().err == ""
    shortened, changed, gone = sorted(_files(store, "scores"))
    sound = store.read(shortened).to_pybytes()
    store.write(shortened, sound[:-1])
    middle = len(sound) // 2
    was = store.read(changed).to_pybytes()
    store.write(changed, was[:middle] + bytes([was[middle] ^ 1]) + was[middle + 1 :])
    store.delete(gone)
    after = load(store, "toy", "test")
    lines = capsys.readouterr().err.splitlines()
    for path, line in zip((shortened, changed, gone), lines, strict=True):
        assert line.startswith(f"{store.root}/{path} is missing or damaged: ")
    assert not verify(store).damage
    for name in ("maxp", "difference", "entropy"):
        assert np.array_equal(before.scores[name], after.scores[name])
    load(store, "toy", "test")
    assert capsys.readouterr().err == ""
