"""--halves: one split cut in two at question time answers as two splits written by hand do."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from helpers import MODELS, fingerprint_of, make_cache, tied_logits, write_logits, write_samples
from hypothesis import Phase, given, settings, strategies as st
from running import cascade

from cache import Partition, Store, hashes_schema, write_partition
from stages.scores import load
from stages.threshold import halves

N, CLASSES = 43, 3
PAIR = ("-m1", "small", "-m2", "large")
COMMANDS = (
    ("threshold",),
    ("threshold", *PAIR, "-s", "maxp,oracle"),
    ("search", "--min-accuracy", "0.4"),
    ("search", "--match", "large", "--within", "0.3", "-s", "maxp"),
    ("search", "--certify", "0.2,0.2"),
    ("rules", *PAIR, "--third", "other", "--rules", "maxp,energy", "--finals", "b,ensemble"),
    ("simulate", *PAIR),
    ("simulate", *PAIR, "--duplicates", "1.5", "--order", "shuffled", "--memory", "dhash"),
    ("calibrate",),
    ("heterogeneity", "--predict"),
)
# What names the images, and says how they were cut.
NAMES = {"notes", "fit_split", "fit_method", "halves_seed", "halves_stratified", "stream"}


def _write(store, split, labels, logits, hashes):
    write_samples(store, split, labels)
    for model, values in logits.items():
        write_logits(store, split, model, labels, values)
    keys = {"dataset": "toy", "split": split, "variant": "identity", "algorithm": "dhash"}
    table = pa.table([np.arange(len(labels)), hashes.tolist()], schema=hashes_schema(8))
    identity = {"dataset_fingerprint": fingerprint_of(labels)}
    write_partition(store, Partition.of("hashes", **keys), table, identity, {})


def _told(found):
    """A result without the names of its images, which the words hold too."""
    if isinstance(found, dict):
        return {key: _told(value) for key, value in found.items() if key not in NAMES}
    if isinstance(found, list):
        return [_told(value) for value in found]
    return found.replace("val", "test") if isinstance(found, str) else found


@settings(max_examples=3, phases=[Phase.generate])
@given(seed=st.integers(0, 2**31 - 1), stratified=st.booleans(), data=st.integers(0, 99))
def test_as_two_splits_written_by_hand(seed, stratified, data):
    rng = np.random.default_rng(data)
    labels = rng.integers(0, CLASSES, N)
    right = 2 * np.eye(CLASSES, dtype=np.float32)[labels]
    logits = {model: tied_logits(rng, N, CLASSES) + right for model in MODELS}
    hashes = np.array([bytes([key]) * 8 for key in rng.integers(0, 9, N)], object)
    mine = halves(labels, seed, stratified)
    with tempfile.TemporaryDirectory() as folder:
        one, two = (Store(Path(folder, name)) for name in ("one", "two"))
        _write(one, "test", labels, logits, hashes)
        for split, part in (("val", mine), ("test", ~mine)):
            some = {model: values[part] for model, values in logits.items()}
            _write(two, split, labels[part], some, hashes[part])
        cut = ("--halves", seed, *["--stratified"] * stratified)
        for command in COMMANDS:
            found, by_hand = (
                cascade(*command, "--cache", store.root, "--json", *how).json
                for store, how in ((one, cut), (two, ()))
            )
            assert _told(found) == _told(by_hand), command
            assert (found["halves_seed"], found["halves_stratified"]) == (seed, stratified)
            assert (_methods(found), _methods(by_hand)) == ({"halves"}, {"other-split"})


def _methods(found):
    """Every fit_method in a result."""
    values = found.values() if isinstance(found, dict) else found
    inner = [_methods(each) for each in values if isinstance(each, (dict, list))]
    own = [found["fit_method"]] if isinstance(found, dict) and "fit_method" in found else []
    return set(own).union(*inner)


@pytest.fixture
def toy(tmp_path):
    return make_cache(tmp_path / "cache", splits=("test",), n=N)


def test_two_seeds_stand_side_by_side(toy):
    where = ("threshold", *PAIR, "--cache", toy.root)
    for how in (("0",), ("1",), ("1", "--stratified"), ("1",)):
        done = cascade(*where, "--halves", *how)
        assert done.status == 0
        said = "each class" if "--stratified" in how else "it"
        note = f"22 images of test (half of {said}, seed {how[0]}) fit λ, the other 21 are reported"
        assert note in done.err
    files = list((Path(toy.root) / "results" / "threshold").rglob("*.parquet"))
    assert len(files) == 3
    rows = pl.concat(map(pl.read_parquet, files))
    assert set(rows["fit_method"]) == {"halves"}
    assert set(zip(rows["n"], rows["fit_n"], strict=True)) == {(21, 22)}


def test_exports_keep_the_ids(toy, tmp_path):
    labels = load(toy, "toy", "test").labels
    where = ("--cache", toy.root, "--halves", 5, "--json")
    found = cascade("export", "-o", tmp_path / "wide.csv", *where).json
    wide = pl.read_csv(tmp_path / "wide.csv")
    ids = np.flatnonzero(~halves(labels, 5))
    assert (found["rows"], found["halves_seed"]) == (21, 5)
    assert wide["sample_id"].to_list() == ids.tolist()
    assert wide["key"].to_list() == [f"{i}.png" for i in ids]
    assert wide["label"].to_list() == labels[ids].tolist()


def test_a_policy_is_checked_on_its_half(toy, tmp_path):
    """The half that fitted λ is no part of what is checked, unless other images are."""
    made = ("export", "--policy", tmp_path / "p", *PAIR, "--cache", toy.root, "--halves", 5)
    policy = cascade(*made, "--stratified", "--json").json["policy"]
    cut = {"method": "halves", "halves_seed": 5, "halves_stratified": True}
    assert cut.items() <= policy["fit"].items()
    found = cascade("check", tmp_path / "p", "--cache", toy.root, "--json").json
    assert (found["n"], found["halves_seed"], found["halves_stratified"]) == (21, 5, True)
    assert {each["promised"] - each["found"] for each in found["figures"]} == {0}
    other = make_cache(tmp_path / "other", splits=("test",), n=N, seed=1)
    found = cascade("check", tmp_path / "p", "--cache", other.root, "--json").json
    assert (found["n"], "halves_seed" in found) == (N, False)


def test_a_page_of_halves(toy, tmp_path):
    page = tmp_path / "page.html"
    found = cascade("report", "--cache", toy.root, "-o", page, "--halves", 2, "--json").json
    assert (found["halves_seed"], found["n"], found["fit_method"]) == (2, 21, "halves")
    assert "Chosen on 22 images of test, shown on 21 others of test." in page.read_text("utf-8")


def test_what_a_model_saw_is_said(tmp_path):
    store = make_cache(tmp_path, splits=("test",), trained_on={"small": ("test",)})
    done = cascade("threshold", "--cache", store.root, "--halves", 1)
    assert "small (stated) was trained on test" in done.err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("threshold", "--halves", "1", "--fit-split", "val"), "leave out this or --halves"),
        (("threshold", "--fit-split", "val", "--halves", "1"), "leave out this or --halves"),
        (("threshold", "--halves", "-1"), "greater than or equal to 0"),
        (("threshold", "--stratified"), "give --halves SEED too"),
        (("simulate", *PAIR, "--halves", "1", "-t", "0.5"), "which -t gives"),
        (("simulate", *PAIR, "--halves", "1", "--stream", "x.csv"), "leave out it or --halves"),
        (("heterogeneity", "--halves", "1"), "give --predict too"),
        (("export", "--publish", "x", "--halves", "1"), "leave it out with --publish"),
    ],
)
def test_what_does_not_go_together(toy, words, line):
    assert line in cascade(*words, "--cache", toy.root).refusal


def test_three_images_are_too_few(tmp_path):
    store = make_cache(tmp_path, splits=("test",), n=3)
    refusal = cascade("search", "--cache", store.root, "--halves", 1).refusal
    assert refusal == "cascade: test has too few images to halve: give a split of 4 or more"
    assert not Path(store.root, "results").exists()


def test_configured_halves_and_what_outranks_them(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = f'[defaults]\ncache = "{toy.root}"\nhalves = 4\nstratified = true\n'
    (tmp_path / "cascade.toml").write_text(text)
    found = cascade("threshold", "--json").json
    assert (found["halves_seed"], found["halves_stratified"]) == (4, True)
    assert cascade("threshold", "--fit-split", "test", "--json").json["fit_method"] == "same-split"
    assert cascade("simulate", *PAIR, "-t", "0.5", "--json").json["n"] == N
    assert cascade("heterogeneity").status == 0
    (tmp_path / "cascade.toml").write_text(text.replace("halves = 4", 'fit-split = "test"'))
    assert cascade("threshold", "--halves", "0", "--json").json["halves_seed"] == 0
