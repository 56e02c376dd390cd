"""Confidences that do not compare between models: refused, left out, or calibrated first."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from helpers import MODELS, fingerprint_of, write_samples
from running import cascade

from cache import Partition, Store, answers_schema, write_partition
from stages.notices import tell_once
from stages.policy.runtime import DeployedCascade
from stages.scores import load

PAIR = ("-m1", "small", "-m2", "large")
COMMANDS = {
    "threshold": ("threshold", "-d", "toy", *PAIR),
    "all pairs": ("threshold", "-d", "toy", "--all-pairs"),
    "simulate": ("simulate", "--dataset", "toy", *PAIR),
    "λ given": ("simulate", "--dataset", "toy", *PAIR, "-t", "0.5"),
    "search": ("search", "-d", "toy", "--best-accuracy"),
}
REFUSED = "post-check asks which of two models is surer, and logit does not compare between models"
LEFT_OUT = "post-check is left out where the scores of two models do not compare"


def write_answers(store, split, n=80):
    """Answers of three models, whose confidences have ranges of their own."""
    rng = np.random.default_rng(len(split))
    labels = rng.integers(0, 4, n)
    write_samples(store, split, labels)
    for m, model in enumerate(MODELS):
        right = rng.random(n) < 0.5 + 0.1 * m
        confidence = np.round((right + rng.standard_normal(n)) * 10**m, 1)
        columns = [np.arange(n), np.where(right, labels, (labels + 1) % 4), confidence]
        keys = {"split": split, "variant": "identity", "runtime": "imported", "model": model}
        identity = {"dataset_fingerprint": fingerprint_of(labels), "confidences": ["logit"]}
        place = Partition.of("answers", dataset="toy", **keys)
        about = {"trained_on": {"splits": [], "source": "stated"}}
        table = pa.table(columns, names=["sample_id", "prediction", "logit"])
        write_partition(store, place, table.cast(answers_schema(["logit"])), identity, about)


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """A cache with two splits, and one with only one."""
    both, one = (tmp_path_factory.mktemp(name) for name in ("both", "one"))
    for root, splits in ((both, ("test", "val")), (one, ("test",))):
        for split in splits:
            write_answers(Store(root), split)
    return both, one


@pytest.mark.parametrize("name", COMMANDS)
def test_post_check_is_refused(roots, name):
    line = cascade(*COMMANDS[name], "-s", "logit", "-p", "--cache", roots[0]).refusal
    assert line.startswith(f"cascade: {REFUSED}: leave it out; --calibrate isotonic or platt")


def answers_of(root, split="test"):
    """(predictions int [2, n], confidences float [2, n]) of the pair."""
    found = load(Store(root), "toy", split, ["small", "large"])
    return found.predictions, found.scores["logit"]


def test_a_policy_has_confidences(roots, tmp_path):
    """And callables that give (predictions, confidences)."""
    asked = ("export", "--policy", tmp_path / "out", "-d", "toy", *PAIR, "-s", "logit")
    assert REFUSED in cascade(*asked, "-p", "--cache", roots[0]).refusal
    told = cascade(*asked, "-t", "0.5", "--cache", roots[0], "--json").json["policy"]
    assert (told["schema_version"], told["rule"]["outputs"]) == (3, "answers")
    predictions, sure = answers_of(roots[0])
    models = [lambda rows, m=m: (predictions[m][rows], sure[m][rows]) for m in (0, 1)]
    for batch in (1, 7, 80):
        running, found = DeployedCascade.load(tmp_path / "out"), []
        for start in range(0, 80, batch):
            found.append(running.answer(*models, np.arange(start, min(start + batch, 80))))
        sent = sure[0] < 0.5
        assert np.array_equal(np.concatenate([one.escalated for one in found]), sent)
        given = np.concatenate([one.prediction for one in found])
        assert np.array_equal(given, np.where(sent, predictions[1], predictions[0]))


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_a_policy_has_probabilities_made_of_them(roots, tmp_path, method):
    found = (*COMMANDS["search"], "--calibrate", method, "--policy", tmp_path, "-p")
    told = cascade(*found, "--cache", roots[0], "--json").json
    rule = told["policy"]["policy"]["rule"]
    assert (rule["score"], rule["outputs"], rule["postcheck"]) == (
        f"{method}(logit)",
        "answers",
        True,
    )
    names = [model["name"] for model in told["policy"]["policy"]["models"]]
    scores = load(Store(roots[0]), "toy", "test", names)
    models = [
        lambda rows, m=m: (scores.predictions[m][rows], scores.scores["logit"][m][rows])
        for m in range(len(names))
    ]
    out = DeployedCascade.load(tmp_path).answer(*models, np.arange(80))
    simulated = cascade("simulate", "--policy", tmp_path, "--cache", roots[0], "--json").json
    assert simulated["accuracy"] == (out.prediction == scores.labels).mean()
    assert (simulated["escalated"], simulated["took_b"]) == (out.escalated.sum(), out.took_b.sum())
    assert cascade("check", tmp_path, "--cache", roots[0]).status == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((4, 10)), "A gave ndarray, not (predictions, confidences)"),
        ((np.zeros(4, int), np.array([1, 2, np.nan, 3])), "A gave confidences that are not finite"),
        ((np.zeros(3, int), np.zeros(4)), "A gave predictions [3] for 4 images"),
        ((np.full(4, 0.5), np.zeros(4)), "predictions are no whole numbers"),
        ((np.zeros(4, int), ["a"] * 4), "A gave no predictions and confidences"),
    ],
)
def test_what_is_no_answer_is_refused(given, words):
    running = DeployedCascade("logit", 0.5, outputs="answers")
    with pytest.raises(ValueError, match=re.escape(words)):
        running.answer(lambda rows: given, lambda rows: given, np.arange(4))


@pytest.mark.parametrize("name", ["threshold", "all pairs", "search"])
def test_it_is_left_out_where_it_was_only_tried(roots, name):
    tell_once.cache_clear()
    result = cascade(*COMMANDS[name], "--json", "--cache", roots[0])
    assert result.err.count(LEFT_OUT) == 1
    rows = result.json.get("rows") or result.json["frontier"]
    assert not any(row["postcheck"] for row in rows)


@pytest.mark.parametrize("name", COMMANDS)
def test_calibrated_it_compares(roots, name):
    asked = (*COMMANDS[name], "-s", "logit", "-p", "--calibrate", "isotonic", "--json")
    result = cascade(*asked, "--cache", roots[0])
    found = result.json
    assert found["calibrated"] == {"method": "isotonic", "split": "val", "n": 80}
    rows = found.get("rows") or found.get("frontier") or [found]
    assert {row["score"] for row in rows} - {None} == {"isotonic(logit)"}
    assert "logit calibrated (isotonic) on the 80 images of val that fit λ" in result.err


def test_the_limit_is_told_in_the_own_unit_too(roots):
    asked = (*COMMANDS["simulate"], "-s", "logit", "--cache", roots[0])
    found = cascade(*asked, "--calibrate", "platt", "--json").json
    own = cascade(*asked, f"--threshold={found['own_threshold']}", "--json").json
    assert own["escalated"] == found["escalated"]
    assert own["accuracy"] == found["accuracy"]
    text = cascade(*asked, "--calibrate", "platt").out
    assert f"  λ before calibration       {found['own_threshold']:.6g}" in text


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (("--calibrate", "beta"), "unknown calibration 'beta': choose from isotonic, platt"),
        (("-s", "oracle", "--calibrate", "platt"), "the oracle knows what is right"),
        (("-s", "platt(logit)"), "is made on the way: give --calibrate platt -s logit"),
        (("--calibrate", "platt", "--duplicates", "1"), "each image once, in one runtime"),
        (("--calibrate", "platt", "-t", "1.5"), "no threshold of platt(logit): give a number in"),
    ],
)
def test_what_simulate_refuses(roots, more, line):
    assert line in cascade(*COMMANDS["simulate"], *more, "--cache", roots[0]).refusal


@pytest.mark.parametrize("more", [("--certify", "0.1,0.1"), ("--optimism", "--best-accuracy")])
def test_search_looks_at_no_image_twice(roots, more):
    asked = ("search", "-d", "toy", "--calibrate", "platt", *more, "--cache", roots[0])
    assert "--calibrate goes without --certify and --optimism" in cascade(*asked).refusal


@pytest.mark.parametrize("name", ["threshold", "simulate", "search"])
def test_one_split_is_refused(roots, name):
    line = cascade(*COMMANDS[name], "--calibrate", "isotonic", "--cache", roots[1]).refusal
    assert "needs other images than those of test, which are reported: give --fit-split" in line


def test_a_page_shows_no_post_check(roots, tmp_path):
    where = ("-o", tmp_path / "page.html", "--figures", tmp_path, "--cache", roots[0], "--json")
    found = cascade("report", "-d", "toy", "-s", "logit", *where).json
    assert "post-check" not in found["chosen_by"]
    assert "post-check" not in (tmp_path / "threshold.svg").read_text("utf-8")
