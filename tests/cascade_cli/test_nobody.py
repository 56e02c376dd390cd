"""`--abstain` and `--human`: what is said of them, and what is refused, in one line."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from running import cascade
from three_models import N, make

from stages.scores import scores_of


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    return make(tmp_path_factory.mktemp("desk") / "cache")


def simulate(root, *args):
    return cascade("simulate", "--dataset", "toy", "--cache", root, *args)


def losses(logits, labels, limits, left):
    """Of each image in a loop, exactly: what the answer costs, and whether there is none."""
    for i, label in enumerate(labels.tolist()):
        for each, limit in zip(logits, limits, strict=True):
            found = scores_of(each[i : i + 1])
            if found["maxp"][0] >= limit:
                yield Fraction(int(found["prediction"][0] != label)), False
                break
        else:
            yield left, True


def best_of_all(logits, labels, limits, left, most=1.0):
    """The least loss of any λ of the last model, and the shares that have it."""
    own = [float(scores_of(logits[-1][i : i + 1])["maxp"][0]) for i in range(len(labels))]
    found = {}
    for at in sorted({0.0, 2.0, *(np.nextafter(each, 2) for each in own)}):
        each = list(losses(logits, labels, (*limits, at), left))
        sent = sum(there for _, there in each)
        if sent <= most * len(labels):
            found[sent] = sum(loss for loss, _ in each)
    least = min(found.values())
    return least, min(sent for sent, loss in found.items() if loss == least)


@pytest.mark.parametrize(
    ("flags", "left", "most"),
    [
        (("--abstain", "0.3"), Fraction(3, 10), 1.0),
        (("--abstain", "0.1", "--max-abstained", "0.25"), Fraction(1, 10), 0.25),
        (("--human", "0.95,0"), Fraction(1, 20), 1.0),
    ],
)
def test_the_fitted_limit_loses_least(desk, flags, left, most):
    root, logits, labels = desk
    done = simulate(root, "-m1", "small", *flags, "--fit-split", "val", "--json").json
    least, sent = best_of_all([logits["val", "small"]], labels["val"], (), left, most)
    limit = done["threshold"]
    limit = {"always": 2.0, "never": 0.0}.get(limit, limit)
    fitted = list(losses([logits["val", "small"]], labels["val"], (limit,), left))
    assert sum(loss for loss, _ in fitted) == least
    assert sum(there for _, there in fitted) == sent == round(done["fit_usage"] * N)
    told = list(losses([logits["test", "small"]], labels["test"], (limit,), left))
    assert done["loss"] == float(sum(loss for loss, _ in told) / N)
    assert done["unanswered"] == sum(there for _, there in told)
    assert done["abstained"] == done["unanswered"] / N
    assert (done["model_2"], done["accuracy_2"]) == (flags[0].strip("-"), None)


def test_b_is_asked_before_a_person(desk):
    root, logits, labels = desk
    how = ("-m1", "small", "-m2", "large", "--fit-split", "val", "--json")
    first = simulate(root, *how).json["threshold"]
    done = simulate(root, *how, "--human", "0.9,7").json
    assert done["threshold"] == first
    each = [logits["val", name] for name in ("small", "large")]
    first = {"always": 2.0, "never": 0.0}.get(first, first)
    second = {"always": 2.0, "never": 0.0}.get(done["mode_2"], done["threshold_2"])
    least, _ = best_of_all(each, labels["val"], (first,), Fraction(1, 10))
    fitted = losses(each, labels["val"], (first, second), Fraction(1, 10))
    assert sum(loss for loss, _ in fitted) == least
    assert done["cost_3"] == 7.0
    told = 10 + 100 * done["usage"] + 7 * done["abstained"]
    assert done["cost"] == pytest.approx(told)
    assert done["macs_per_request"] == pytest.approx(10 + 100 * done["usage"])


def test_it_is_said_in_plain_words(desk):
    root, *_ = desk
    for flags, words in (
        (("--human", "0.98,25"), "% to a person ("),
        (("--abstain", "0.2"), "% unanswered ("),
    ):
        done = simulate(root, "-m1", "small", *flags, "-t", "0.7")
        assert done.status == 0, done.err
        lines = done.out.splitlines()
        assert "small → " in lines[0]
        assert lines[2].startswith(("sends ", "leaves "))
        assert words in lines[2]
        assert "right with probability 98 %, for 25" in done.out or flags[0] == "--abstain"
        told = {line[2:28].strip() for line in lines}
        assert {"accuracy of those answered", "loss per request", "risk–coverage area"} <= told
        assert not {"use of B", "B alone"} & told


def test_a_memory_and_copies_in_front(desk):
    root, *_ = desk
    done = simulate(root, "-m1", "small", "--abstain", "0.2", "-t", "0.7", "--duplicates", "1")
    assert done.status == 0, done.err
    row = simulate(
        root, "-m1", "small", "--abstain", "0.2", "-t", "0.7", "--duplicates", "1", "--json"
    ).json
    once = simulate(root, "-m1", "small", "--abstain", "0.2", "-t", "0.7", "--json").json
    assert row["unanswered"] == 2 * once["unanswered"]
    assert row["loss"] == once["loss"]
    assert row["loss_high"] - row["loss"] == pytest.approx(once["loss_high"] - once["loss"])


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--abstain", "-0.1"), "an abstention cannot cost -0.1"),
        (("--abstain", "nan"), "an abstention cannot cost nan"),
        (("--abstain", "1e-12"), "too many digits"),
        (("--abstain", "0.1", "--human", "0.9,1"), "leave out one of them"),
        (("--human", "98,1"), "give 0.98 for 98 %"),
        (("--human", "0.98"), "give ACCURACY,COST"),
        (("--human", "0.98,cheap"), "is no cost in multiply-adds"),
        (("--human", "0.98,-1"), "is no cost in multiply-adds"),
        (("--human", "0.98,1,2"), "is no cost in multiply-adds"),
        (("--max-abstained", "0.1"), "give --abstain or --human too"),
        (("--abstain", "0.1", "-t", "0.5", "--max-abstained", "0.1"), "leave out it or -t"),
        (("--abstain", "0.1", "--max-abstained", "10"), "give 0.1 for 10 %"),
        (("--abstain", "0.1", "-m2", "large", "-t", "0.5"), "give a λ for each of small, large"),
        (("--abstain", "0.1", "-t", "0.5,0.6"), "give a λ for each of small,"),
        (("--abstain", "0.1", "-p"), "one alone runs"),
        (("--abstain", "0.1", "-s", "oracle"), "choose a score"),
        (("--abstain", "0.1", "--calibrate", "platt"), "--calibrate is for cascades that end"),
        (("-m2", "human"), "no model can be called human"),
    ],
)
def test_what_is_refused(desk, args, words):
    done = simulate(desk[0], "-m1", "small", *args)
    assert done.status == 2
    assert words in done.err
    assert len(done.err.strip().splitlines()) <= 3
    assert "Traceback" not in done.err


def test_where_no_other_images_fit_it_says_so(tmp_path):
    root, *_ = make(tmp_path / "cache", splits=("test",))
    done = simulate(root, "-m1", "small", "--abstain", "0.2")
    assert (done.status, "--halves 1" in done.err) == (2, True)
    done = simulate(root, "-m1", "small", "--abstain", "0.2", "--halves", "1", "--json")
    assert done.json["n"] == N // 2


def test_no_model_has_its_name(tmp_path):
    table = tmp_path / "answers.csv"
    table.write_text("label,prediction,confidence\n0,0,0.5\n1,1,0.9\n")
    done = cascade(
        *("import", "--dataset", "mine", "--split", "test", "--model", "human"),
        *("--answers", table, "--cache", tmp_path / "cache"),
    )
    assert (done.status, "no model can be called human" in done.err) == (2, True)


def test_measured_answers_of_people_are_those_of_any_model(tmp_path):
    """A → annotator, whose answers were written down, with what each was paid."""
    rng = np.random.default_rng(4)
    labels, sure = rng.integers(0, 3, 90), rng.integers(1, 9, 90) / 8
    answers = np.where(rng.random(90) < sure, labels, (labels + 1) % 3)
    person = np.where(rng.random(90) < 0.95, labels, (labels + 2) % 3)
    paid = rng.uniform(0.02, 0.08, 90)
    pl.DataFrame(
        {
            "label": labels,
            "net.prediction": answers,
            "net.confidence": sure,
            "net.usd_per_request": np.full(90, 0.001),
            "annotator.prediction": person,
            "annotator.confidence": np.ones(90),
            "annotator.usd_per_request": paid,
        }
    ).write_parquet(tmp_path / "all.parquet")
    where = ("--cache", tmp_path / "cache")
    done = cascade(
        *("import", tmp_path / "all.parquet", "--dataset", "mine", "--split", "test", *where)
    )
    assert done.status == 0, done.err
    how = ("-m1", "net", "-m2", "annotator", "-s", "confidence", "-t", "0.6", "--cost", "usd")
    row = cascade("simulate", "--dataset", "mine", *how, "--json", *where).json
    asked = sure < 0.6
    assert row["escalated"] == int(asked.sum())
    assert row["accuracy"] == pytest.approx(
        np.where(asked, person == labels, answers == labels).mean()
    )
    assert row["cost"] == pytest.approx((0.001 + paid * asked).mean())
    assert row["unanswered"] is None
    stated = ("-m1", "net", "-s", "confidence", "-t", "0.6", "--cost", "usd")
    row = cascade(
        *("simulate", "--dataset", "mine", *stated, "--human", "0.95,0.05", "--json", *where)
    ).json
    assert row["cost"] == pytest.approx((0.001 + 0.05 * asked).mean())
    right = int((answers == labels)[~asked].sum()) + 0.95 * int(asked.sum())
    assert row["expected_accuracy"] == pytest.approx(right / 90)


def test_a_persons_price_is_of_one_kind(tmp_path, desk):
    folder = tmp_path / "p"
    done = cascade(
        *("export", "--policy", folder, "-d", "toy", "-m1", "small", "-t", "0.7"),
        *("--human", "0.98,25", "--cache", desk[0]),
    )
    assert done.status == 0, done.err
    assert "to a person" in done.out
    row = cascade("simulate", "--policy", folder, "--cache", desk[0], "--json").json
    assert row["cost"] == pytest.approx(10 + 25 * row["abstained"])
    assert (row["human_accuracy"], row["human_cost"]) == (0.98, 25.0)
    other = cascade("simulate", "--policy", folder, "--cost", "latency", "--cache", desk[0])
    assert (other.status, len(other.err.strip().splitlines())) == (2, 1)
    again = cascade("simulate", "--policy", folder, "--abstain", "0.2", "--cache", desk[0])
    assert (again.status, "leave it out" in again.err) == (2, True)


def test_search_to_policy_to_report(desk, tmp_path):
    """What search finds before a person is what its policy, and a report of that, say."""
    root = desk[0]
    where = ("-d", "toy", "--cache", root, "--cost", "macs")
    asked = ("--human", "0.999,1", "--max-abstained", "0.4", "--max-loss", "0.2")
    found = cascade("search", *where, *asked, "--policy", tmp_path / "p", "--json").json
    answer = found["answer"]
    assert answer["abstained"] > 0
    assert "a person is right on 99.9%" in found["asked"]
    again = cascade(
        "simulate", "--policy", tmp_path / "p", "--cache", root, "--cost", "macs", "--json"
    ).json
    for name in ("abstained", "loss", "loss_low", "loss_high", "answered_accuracy", "cost"):
        assert again[name] == pytest.approx(answer[name]), name
    assert again["expected_accuracy"] == pytest.approx(answer["expected_accuracy"])
    curve = again["risk_coverage"]
    assert curve["coverage"][-1] == 1.0
    assert len(curve["risk"]) == len(curve["coverage"])
    page = tmp_path / "page.html"
    done = cascade("report", *where, "--policy", tmp_path / "p", "-o", page)
    assert done.status == 0
    assert "→ human" in page.read_text(encoding="utf-8")
