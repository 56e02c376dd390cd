"""Probabilities from elsewhere: as good as the logits they come from, and every refusal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays
from running import cascade
from scipy.special import entr, softmax

from cache import Partition, Store, iter_parts, load, logits_of
from stages import scores
from stages.scores.softmax import scores_of, scores_of_probabilities

N, K = 240, 5
RNG = np.random.default_rng(11)
LABELS = RNG.integers(0, K, N)
LOGITS = {
    model: (RNG.standard_normal((N, K)) + sure * np.eye(K)[LABELS]).astype(np.float32)
    for model, sure in (("small", 1.0), ("large", 2.0))
}
PROBABILITIES = {model: softmax(z.astype(np.float64), axis=1) for model, z in LOGITS.items()}


def bring(root, values, kind="probabilities", model="small", split="test", *more):
    np.save(root / "x.npy", values)
    np.save(root / "y.npy", LABELS)
    where = ("-d", "mine", "--split", split, "--model", model, "--labels", root / "y.npy")
    return cascade("import", *where, f"--{kind}", root / "x.npy", "--cache", root / "c", *more)


def filled(root, outputs, kind):
    for model, values in outputs.items():
        done = bring(root, values, kind, model, "test", "--macs", f"{len(model)}M")
        assert done.status == 0
    return root / "c"


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    """The same two models by float64 and by float32 probabilities."""
    single = {model: p.astype(np.float32) for model, p in PROBABILITIES.items()}
    return {
        name: filled(tmp_path_factory.mktemp(name), outputs, "probabilities")
        for name, outputs in (("double", PROBABILITIES), ("single", single))
    }


@settings(deadline=None, max_examples=60)
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 6), st.integers(2, 6)),
        elements=st.floats(-30, 30, width=32),
    )
)
def test_scores_are_those_of_the_logits(logits):
    p = softmax(logits.astype(np.float64), axis=1)
    mine, theirs = scores_of_probabilities(p), scores_of(logits)
    for name in scores.LABEL_FREE:
        np.testing.assert_allclose(mine[name], theirs[name], rtol=1e-12, atol=1e-14)
    best, *_ = np.sort(p, axis=1)[:, ::-1].T
    np.testing.assert_array_equal(mine["maxp"], best)
    np.testing.assert_array_equal(mine["difference"], best - np.sort(p, axis=1)[:, -2])
    clear = best - np.sort(p, axis=1)[:, -2] > 1e-12
    np.testing.assert_array_equal(mine["prediction"][clear], theirs["prediction"][clear])


def test_a_probability_of_zero_has_no_logarithm():
    p = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    found = scores_of_probabilities(p)
    assert found["entropy"].tolist() == [0.0, pytest.approx(np.log(2) / np.log(3), abs=1e-15)]
    assert found["prediction"].tolist() == [0, 0]
    assert found["difference"].tolist() == [1.0, 0.0]


def test_a_row_does_not_depend_on_its_neighbours():
    p = np.random.default_rng(0).dirichlet(np.ones(1000), 50)
    whole = scores_of_probabilities(p)
    for i in range(len(p)):
        for name, values in scores_of_probabilities(p[i : i + 1]).items():
            assert values[0] == whole[name][i]


@pytest.mark.parametrize("kind", ["double", "single"])
def test_they_are_kept_as_they_came(caches, kind):
    place = Partition.of(
        "probabilities",
        dataset="mine",
        split="test",
        variant="identity",
        runtime="import",
        model="small",
    )
    manifest = load(Store(caches[kind]), place)
    [part] = iter_parts(Store(caches[kind]), manifest)
    ids, rows = part["sample_id"].to_numpy(), logits_of(part, "probabilities")
    expected = PROBABILITIES["small"]
    assert rows.dtype == {"double": np.float64, "single": np.float32}[kind]
    np.testing.assert_array_equal(rows, expected.astype(rows.dtype))
    np.testing.assert_array_equal(ids, np.arange(N))


def test_what_needs_logits_says_so(caches):
    told = cascade("calibrate", "-d", "mine", "--cache", caches["double"]).refusal
    assert "scores but no logits of" in told
    pair = ("-m1", "small", "-m2", "large")
    done = cascade("rules", "-d", "mine", *pair, "--cache", caches["double"])
    assert done.status == 0
    assert "learned, ensemble are left out" in done.err


def test_a_cache_of_them_is_sound_and_goes_whole(caches, tmp_path):
    assert cascade("score", "-d", "mine", "--cache", caches["double"]).status == 0
    assert cascade("cache", "verify", "--cache", caches["double"]).status == 0
    merged = cascade("cache", "merge", caches["double"], "--cache", tmp_path / "m")
    assert merged.status == 0
    assert cascade("cache", "verify", "--cache", tmp_path / "m").status == 0
    remove = ("cache", "rm", "--table", "probabilities", "--model", "small", "--yes")
    assert cascade(*remove, "--cache", tmp_path / "m").status == 0
    left = {path.parts[-2] for path in (tmp_path / "m/_manifests").rglob("model=small.json")}
    assert not left & {"probabilities", "scores"}
    assert cascade("cache", "verify", "--cache", tmp_path / "m").status == 0


def test_other_probabilities_make_other_scores(tmp_path):
    filled(tmp_path, PROBABILITIES, "probabilities")
    assert cascade("score", "-d", "mine", "--cache", tmp_path / "c").status == 0
    turned = PROBABILITIES["small"][:, ::-1]
    assert "--overwrite" in bring(tmp_path, turned).refusal
    assert bring(tmp_path, turned, "probabilities", "small", "test", "--overwrite").status == 0
    found = scores.load(Store(tmp_path / "c"), "mine", "test", ["small"])
    np.testing.assert_array_equal(found.predictions[0], turned.argmax(axis=1))
    expected = entr(turned).sum(axis=1) / np.log(K)
    np.testing.assert_allclose(found.scores["entropy"][0], expected, rtol=1e-13)


def changed(row, values):
    out = PROBABILITIES["small"].copy()
    out[row] = values
    return out


BAD = {
    "logits": (LOGITS["small"], "no probability from 0 to 1: where these are logits, give them as"),
    "per cent": (100 * PROBABILITIES["small"], "these are per cent, divide them by 100"),
    "sum": (changed(7, [0.7, 0, 0, 0, 0]), "row 7 sums to 0.7, probabilities to 1"),
    "negative": (changed(3, [1.1, -0.1, 0, 0, 0]), "row 3 has 1.1 (column 0), no probability"),
    "nan": (changed(5, [np.nan, 1, 0, 0, 0]), "row 5 has nan (column 0), no probability"),
    "infinite": (changed(5, [np.inf, 1, 0, 0, 0]), "row 5 has inf (column 0), no probability"),
    "one class": (np.ones((N, 1)), "probabilities are N × K, with K of 2 or more"),
    "words": (np.full((N, K), "x"), "not numbers"),
    "fewer rows": (PROBABILITIES["small"][:-1], f"has {N - 1} rows"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_one_line_and_nothing_is_kept(name, tmp_path):
    values, said = BAD[name]
    assert said in bring(tmp_path, values).refusal.replace(f"{N} labels", f"has {N - 1} rows")
    assert not (tmp_path / "c").exists()


def test_rounded_rows_are_taken(tmp_path):
    assert bring(tmp_path, PROBABILITIES["small"].round(2)).status == 0
    assert bring(tmp_path, PROBABILITIES["small"].astype(np.float16), model="half").status == 0


def test_one_kind_for_each_model(tmp_path):
    filled(tmp_path, LOGITS, "logits")
    told = bring(tmp_path, PROBABILITIES["small"]).refusal
    assert "the cache has logits of dataset mine" in told
    assert "give another --model" in told
    where = ("-d", "mine", "--split", "test", "--model", "new", "--cache", tmp_path / "c")
    both = ("--logits", tmp_path / "x.npy", "--probabilities", tmp_path / "x.npy")
    told = cascade("import", *where, *both).refusal
    assert "--probabilities FILE or --top-k FILE or --answers FILE or --log FILE, one" in told
    assert cascade("import", *where).refusal.endswith("--answers FILE or --log FILE")
