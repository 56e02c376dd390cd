"""Which images fit λ: another clean split, else cross-fitting, else what was asked for, said so."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import MODELS, make_cache, tied_logits, write_logits, write_samples
from hypothesis import given, strategies as st

from cache import InputError, Store
from stages.scores import load
from stages.threshold import folds, halves, plan, trained_splits

ON_TRAIN = dict.fromkeys(MODELS, ("train",))


def _reported(store, split="test", models=None):
    return load(store, "toy", split, models)


def _cache(tmp_path, *splits, trained_on=ON_TRAIN):
    return make_cache(tmp_path, splits=splits, trained_on=trained_on)


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (("test", "val"), "val"),
        (("test", "val", "train"), "val"),
        (("test", "train", "aaa", "val"), "val"),
        (("test", "validation", "extra"), "validation"),
        (("test", "train", "extra"), "extra"),
    ],
)
def test_default_is_another_split_that_no_model_saw(tmp_path, splits, expected):
    store = _cache(tmp_path, *splits)
    found = plan(store, _reported(store))
    assert (found.method, found.split) == ("other-split", expected)
    assert found.scores.split == expected
    assert found.scores.models == _reported(store).models
    assert found.notes == ()


@pytest.mark.parametrize("splits", [("test",), ("test", "train")])
def test_default_cross_fits_where_nothing_clean_is_left(tmp_path, splits):
    store = _cache(tmp_path, *splits)
    reported = _reported(store)
    found = plan(store, reported)
    assert (found.method, found.split) == ("cross-fit", "test")
    assert found.scores is reported
    [note] = found.notes
    assert "cross-fitted on test" in note


def test_one_model_that_saw_a_split_spoils_it_for_all(tmp_path):
    seen = {"small": ("train", "val"), "large": ("train",), "other": ()}
    store = _cache(tmp_path, "test", "val", "train", trained_on=seen)
    assert plan(store, _reported(store)).method == "cross-fit"
    apart = plan(store, _reported(store, models=["large", "other"]))
    assert (apart.method, apart.split) == ("other-split", "val")
    alone = plan(store, _reported(store, models=["other"]))
    assert (alone.method, alone.split) == ("other-split", "val")


def test_a_split_without_all_the_models_does_not_fit(tmp_path):
    store = _cache(tmp_path, "test")
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 30)
    write_samples(store, "val", labels)
    for model in ("small", "large"):
        write_logits(store, "val", model, labels, tied_logits(rng, 30))
    found = plan(store, _reported(store))
    assert found.method == "cross-fit"
    assert found.notes[0].startswith("val lacks logits of other: λ is cross-fitted on test")
    assert plan(store, _reported(store, models=["small", "large"])).split == "val"


def test_fitting_on_what_models_saw_warns_and_names_them(tmp_path):
    seen = {"small": ("train",), "large": ("train",), "other": ()}
    store = _cache(tmp_path, "test", "val", "train", trained_on=seen)
    found = plan(store, _reported(store), "train")
    assert (found.method, found.split) == ("other-split", "train")
    [note] = found.notes
    assert note.startswith("warning: ")
    assert "small (stated)" in note
    assert "large (stated)" in note
    assert "other" not in note
    assert "trained on train" in note


def test_reporting_on_what_models_saw_warns(tmp_path):
    store = _cache(tmp_path, "train")
    found = plan(store, _reported(store, "train"))
    assert found.method == "cross-fit"
    assert any("trained on train" in note for note in found.notes)


def test_the_split_asked_for(tmp_path):
    store = _cache(tmp_path, "test", "val", "extra")
    found = plan(store, _reported(store), "extra")
    assert (found.method, found.split, found.notes) == ("other-split", "extra", ())


def test_fitting_on_the_reported_split_says_so(tmp_path):
    store = _cache(tmp_path, "test", "val")
    reported = _reported(store)
    found = plan(store, reported, "test")
    assert (found.method, found.split) == ("same-split", "test")
    assert found.scores is reported
    [note] = found.notes
    assert "optimistic" in note


def test_a_split_that_is_not_there(tmp_path):
    store = _cache(tmp_path, "test")
    with pytest.raises(InputError, match=r"no logits .* on toy/val .*cascade extract"):
        plan(store, _reported(store), "val")


def test_other_weights_under_the_same_name_are_refused(tmp_path):
    store = make_cache(tmp_path, splits=("test",), trained_on=ON_TRAIN)
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 30)
    write_samples(store, "val", labels)
    for model in MODELS:
        provenance = {"weights_sha256": f"{model}-new"}
        write_logits(store, "val", model, labels, tied_logits(rng, 30), provenance=provenance)
    with pytest.raises(InputError, match=r"weights None on test but .*-new on val"):
        plan(store, _reported(store))


def test_a_runtime_fits_its_own(tmp_path):
    """`val` is there in another runtime only: its λ would be another model's, so cross-fit."""
    store = _cache(tmp_path, "test")
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 30)
    write_samples(store, "val", labels)
    for model in MODELS:
        write_logits(store, "val", model, labels, tied_logits(rng, 30), runtime="import")
    found = plan(store, _reported(store))
    assert found.method == "cross-fit"
    assert found.notes[0].startswith("val lacks logits of large, other, small in runtime")


def test_what_models_saw_and_how_it_is_known(tmp_path):
    store = _cache(tmp_path, "test", trained_on={"small": ("train", "val")})
    found = trained_splits(store, _reported(store))
    assert found["small"] == (("train", "val"), "stated")
    assert found["large"][0] == ()


def test_too_few_images_to_cross_fit():
    with pytest.raises(InputError, match="too few for 5 folds: give a --fit-split of 5 or more"):
        folds(4)


def _stating(tmp_path, **said):
    """`small` on each split, trained as said there: (splits, source)."""
    store = Store(tmp_path / "cache")
    labels = np.zeros(30, np.int32)
    for split, (splits, source) in said.items():
        write_samples(store, split, labels)
        for model in ("small", "large"):
            known = {"splits": splits, "source": source} if model == "small" else {}
            logits = tied_logits(np.random.default_rng(1), 30)
            provenance = {"trained_on": known}
            write_logits(store, split, model, labels, logits, provenance=provenance)
    return store


@pytest.mark.parametrize(
    ("said", "splits", "notes"),
    [
        ({"val": (["train", "val"], "stated"), "test": (["train"], "assumed")}, "train val", 0),
        ({"val": (["extra"], "stated"), "test": (["train"], "assumed")}, "extra", 0),
        ({"val": (["val"], "stated"), "test": (["train"], "stated")}, "train val", 1),
        ({"val": (["train"], "assumed"), "test": ([], "unknown")}, "train", 0),
    ],
)
def test_what_any_split_states_of_the_weights_holds_for_all(tmp_path, said, splits, notes):
    store = _stating(tmp_path, **said)
    reported = _reported(store)
    found, _ = trained_splits(store, reported)["small"]
    assert sorted(found) == splits.split()
    made = plan(store, reported)
    assert made.method == ("cross-fit" if "val" in splits else "other-split")
    assert sum("stated differently" in note for note in made.notes) == notes
    assert any("small" in n for n in plan(store, reported, "val").notes) == ("val" in splits)


def test_other_weights_of_the_name_state_nothing(tmp_path):
    store = _cache(tmp_path, "test")
    labels = np.zeros(30, np.int32)
    write_samples(store, "val", labels)
    provenance = {"weights_sha256": "new", "trained_on": {"splits": ["val"], "source": "stated"}}
    logits = tied_logits(np.random.default_rng(1), 30)
    write_logits(store, "val", "small", labels, logits, provenance=provenance)
    assert trained_splits(store, _reported(store))["small"] == (("train",), "stated")


@pytest.mark.parametrize("stratified", [False, True])
@given(labels=st.lists(st.integers(0, 3), min_size=2, max_size=60), seed=st.integers(0, 99))
def test_halves_are_halves(labels, seed, stratified):
    labels = np.array(labels)
    mine = halves(labels, seed, stratified)
    assert abs(2 * int(mine.sum()) - len(labels)) <= 1
    np.testing.assert_array_equal(mine, halves(labels, seed, stratified))
    if stratified:
        for one in range(4):
            of_class = mine[labels == one]
            assert abs(2 * int(of_class.sum()) - len(of_class)) <= 1
    seen = {halves(labels, each, stratified).tobytes() for each in range(20)}
    assert len(labels) < 10 or len(seen) > 10
