"""`certify`: a plan, the labels that come back in files or by a page, and what is certified."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import tied_logits, write_logits, write_samples
from running import cascade

from cache import InputError, Store
from stages.few_labels import CalibrationImages, Classes, Folder, PlanLabeller, calibrate
from stages.few_labels.trial import UNLABELLED
from stages.scores import load

N, CLASSES, MODELS = 600, 4, {"small": 1, "large": 20, "other": 15}
GOOD = {"small": 3.0, "large": 4.5, "other": 4.0}
LIMITS = "0.03,0.1"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A cache of three models, the dearer the better, on `test` and `val`."""
    root = tmp_path_factory.mktemp("few_labels") / "cache"
    rng, store = np.random.default_rng(5), Store(root)
    for split in ("test", "val"):
        labels = rng.integers(0, CLASSES, N)
        write_samples(store, split, labels)
        hard = rng.standard_normal((N, CLASSES))
        for model, macs in MODELS.items():
            logits = tied_logits(rng, N, CLASSES, 1.0) + np.round(hard, 1).astype(np.float32)
            logits[np.arange(N), labels] += GOOD[model]
            how = {
                "provenance": {
                    "macs": macs,
                    "trained_on": {"splits": ["train"], "source": "stated"},
                }
            }
            write_logits(store, split, model, labels, logits.astype(np.float32), **how)
    return root


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A copy of the cache, as the working folder's usual one."""
    shutil.copytree(made, tmp_path / "artifacts")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def truth():
    scores = load(Store("artifacts"), "toy", "test")
    return dict(zip(scores.sample_ids.tolist(), scores.labels.tolist(), strict=True))


def to_label(plan="certify"):
    with open(Path(plan, "to-label.csv"), newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def fill(rows, path="filled.csv", label=None):
    """Write the rows with their true labels, or another."""
    known = truth()
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*rows[0]])
        writer.writeheader()
        for row in rows:
            value = known[int(row["sample_id"])] if label is None else label
            writer.writerow(row | {"label": value})
    return path


def planned(*more):
    result = cascade("certify", LIMITS, "--unlabelled", "test", *more, "--json")
    assert result.status == 0, result.err
    return result.json


def told(*args):
    """The one line of an error."""
    result = cascade(*args)
    assert result.status == 2, (result.out, result.err)
    *notes, line = result.err.splitlines()
    assert line.startswith("cascade: ")
    assert not any(note.startswith("cascade: ") for note in notes)
    return line


def labelled(most=50):
    """Labels brought in, `most` at a time, until none is asked for."""
    counts = []
    while rows := to_label()[:most]:
        found = cascade("import", "--labels-for", "certify", fill(rows), "--json").json
        counts.append(found["new"])
        cascade("certify")
    return counts


def test_as_few_labels_certify_as_all_would(place):
    begun = planned()
    assert begun["labels"] == 0
    assert begun["without_labels"] == begun["passed"]
    assert begun["proposing_split"] == "val"
    counts = labelled(7)
    found = cascade("certify", "--json").json
    assert sum(counts) == found["labels"] < N / 8
    assert found["passed"] > begun["passed"]
    assert found["certified"]["cost"] < found["reference_cost"]
    store = Store("artifacts")
    images = calibrate(store, Folder("certify").plan())
    whole = images.standing(load(store, "toy", "test").labels.astype(np.int32))
    assert found["passed"] == whole.passed
    assert found["ended"] == ("failed" if whole.failed else "all passed")
    assert found["certified"]["cost"] == images.costs[: whole.passed].min()


def test_what_it_prints_fits_and_says_how_to_go_on(place):
    result = cascade("certify", LIMITS, "--unlabelled", "test")
    assert max(map(len, result.out.splitlines())) <= 80
    assert "cascade import --labels-for certify certify/to-label.csv" in result.out
    assert "Next is tested" in result.out
    labelled()
    result = cascade("certify")
    assert max(map(len, result.out.splitlines())) <= 80
    assert "With probability 0.9 over the calibration images it loses at most 3.00%" in result.out


def test_a_plan_is_never_replaced_nor_changed(place):
    planned()
    before = Path("certify/plan.json").read_bytes()
    assert "holds a plan: go on with it" in told("certify", LIMITS, "--unlabelled", "test")
    for flag in (("--bound", "betting"), ("--seed", "4"), ("--unlabelled", "val"), ("-s", "maxp")):
        assert "belongs to a new plan" in told("certify", *flag)
    assert Path("certify/plan.json").read_bytes() == before
    Path("certify/plan.json").write_bytes(before.replace(b"0.03,", b"0.04,", 1))
    for command in (("certify",), ("import", "--labels-for", "certify", "certify/to-label.csv")):
        assert "not as it was written" in told(*command)
    Path("certify/plan.json").write_bytes(before)
    assert cascade("certify").status == 0


def test_other_outputs_or_images_than_the_plans_are_refused(place):
    planned()
    store = Store("artifacts")
    labels = load(store, "toy", "test").labels
    rng = np.random.default_rng(9)
    write_logits(
        store, "test", "small", labels, tied_logits(rng, N, CLASSES), weights="v", overwrite=True
    )
    assert "small answers otherwise on test than when the plan was made" in told("certify")


BAD = {
    "is no image of the plan": ("sample_id,label\n{n},1\n",),
    "no label is asked for image": ("sample_id,label\n{other},1\n",),
    "keep one": ("sample_id,label\n{a},1\n{a},1\n", "key,sample_id,label\n,{a},1\n{a}.png,,2\n"),
    "is no class": tuple(f"sample_id,label\n{{a}},{word}\n" for word in ("1.5", "dog", "-1")),
    "are of two images": ("sample_id,key,label\n{a},{b}.png,1\n",),
    "are empty": ("sample_id,key,label\n,,1\n",),
    "needs the columns": ("id,label\n{a},1\n", "sample_id,answer\n{a},1\n"),
    "was other before": ("sample_id,label\n{first},1\n",),
}


@pytest.mark.parametrize(
    ("why", "text"), [(why, text) for why, texts in BAD.items() for text in texts]
)
def test_labels_that_cannot_be_are_refused_and_nothing_is_lost(place, why, text):
    planned()
    rows = to_label()
    first, a, b = (int(row["sample_id"]) for row in rows[:3])
    Path("one.csv").write_text(f"sample_id,label\n{first},other\n", encoding="utf-8")
    assert cascade("import", "--labels-for", "certify", "one.csv", "--json").json["new"] == 1
    asked = calibrate(Store("artifacts"), Folder("certify").plan()).asked
    other = next(sample for sample in range(N) if sample not in asked)
    before = Path("certify/labels.json").read_bytes()
    given = {"n": N, "other": other, "a": a, "b": b, "first": first}
    Path("bad.csv").write_text(text.format(**given), encoding="utf-8")
    assert why in told("import", "--labels-for", "certify", "bad.csv")
    assert Path("certify/labels.json").read_bytes() == before
    # A good row beside the bad one is not kept either, and comes in by itself.
    good = f"sample_id,label\n{b},2\n"
    Path("good.csv").write_text(good, encoding="utf-8")
    assert cascade("import", "--labels-for", "certify", "good.csv", "--json").json["labels"] == 2


def test_classes_by_name_before_number():
    named = Classes(3, ("cat", "2", "dog"))
    assert [named.label(word, "row 1") for word in ("cat", "2", "1", "Other")] == [0, 1, 1, None]
    assert [named.name(label) for label in (0, 2)] == ["cat", "dog"]
    for word in ("3", "cta", "", "-1", "١"):
        with pytest.raises(InputError, match=r"row 1: .* is no class"):
            named.label(word, "row 1")
    assert Classes(None, ()).label("700", "row 1") == 700


def test_the_same_labels_again_and_rows_without_one_are_no_harm(place):
    planned()
    rows = to_label()
    fill(rows[:3])
    assert cascade("import", "--labels-for", "certify", "filled.csv", "--json").json["new"] == 3
    again = cascade("import", "--labels-for", "certify", "filled.csv", "--json").json
    assert again == {"plan": "certify", "new": 0, "labels": 3}
    before = Path("certify/labels.json").read_bytes()
    assert cascade("import", "--labels-for", "certify", "certify/to-label.csv").status == 0
    assert Path("certify/labels.json").read_bytes() == before


def test_damaged_or_foreign_labels_are_refused(place):
    planned()
    fill(to_label()[:3])
    cascade("import", "--labels-for", "certify", "filled.csv")
    text = Path("certify/labels.json").read_text(encoding="utf-8")
    Path("certify/labels.json").write_text(text[:-9], encoding="utf-8")
    assert "is damaged" in told("certify")
    other = json.loads(text) | {"plan": "0" * 64}
    Path("certify/labels.json").write_text(json.dumps(other), encoding="utf-8")
    assert "labels of another plan" in told("certify")


def test_a_budget_ends_it_and_what_passed_holds(place):
    begun = planned("--label-budget", "8")
    assert begun["share"] in (1.0, 0.5, 0.25, 0.125)
    assert sum(labelled()) <= 8
    found = cascade("certify", "--json").json
    assert found["ended"] in ("budget", "failed", "all passed")
    assert found["passed"] >= begun["passed"]
    assert not to_label()


def test_no_label_promises_the_references_answers(place):
    found = planned("--label-budget", "0")
    assert found["risk"] == "disagreement"
    assert found["ended"] is not None
    assert not to_label()
    result = cascade("certify")
    assert "of its answers are others than large's" in " ".join(result.out.split())
    scores = load(Store("artifacts"), "toy", "test")
    images = calibrate(Store("artifacts"), Folder("certify").plan())
    lost = sum(
        images.outcome(found["passed"] - 1).prediction != scores.predictions[scores.index("large")]
    )
    assert lost / N < 0.03
    assert "needs no label" in told("certify", "--interactive")


def test_without_a_labelled_split_a_part_of_the_images_proposes(place):
    wrong = told("certify", LIMITS, "--unlabelled", "test", "--fit-split", "test")
    assert "let another split propose" in wrong
    shutil.rmtree("artifacts")
    for model in ("small", "large"):
        rng = np.random.default_rng(len(model))
        logits = np.random.default_rng(1).standard_normal((N, CLASSES)) * 3
        np.save(
            f"{model}.npy", (logits + rng.standard_normal((N, CLASSES)) * 0.4).astype(np.float32)
        )
        result = cascade(
            *("import", "-d", "toy", "--split", "new", "--unlabelled", "--model", model),
            *("--logits", f"{model}.npy", "--macs", MODELS[model]),
        )
        assert result.status == 0, result.err
    start = ("certify", LIMITS, "--unlabelled", "new")
    assert "name it with --reference" in told(*start)
    found = cascade(*start, "--reference", "large", "--json").json
    assert (found["n"], found["proposed"]) == (420, 180)
    assert found["proposing_split"] == "new"
    rows = to_label()
    Path("some.csv").write_text(
        "sample_id,label\n" + "".join(f"{row['sample_id']},{row['answer_1']}\n" for row in rows),
        encoding="utf-8",
    )
    assert cascade("import", "--labels-for", "certify", "some.csv").status == 0
    assert cascade("certify", "--json").json["labels"] == len(rows)


WRONG = {
    "which images? give --unlabelled": ("certify", LIMITS),
    "is not understood: give MAX_LOSS,RISK": ("certify", "0.03", "--unlabelled", "test"),
    "holds no plan": ("certify",),
    "unknown bound": ("certify", LIMITS, "--unlabelled", "test", "--bound", "normal"),
    "needs the label of every image": (
        "certify",
        LIMITS,
        "--unlabelled",
        "test",
        "--per",
        "true-class",
    ),
    "unknown --per": ("certify", LIMITS, "--unlabelled", "test", "--per", "class"),
    "--hold these is of several": ("certify", LIMITS, "--unlabelled", "test", "--hold", "these"),
    "give a share above 0": ("certify", LIMITS, "--unlabelled", "test", "--label-share", "0"),
    "asks for none": (
        *("certify", LIMITS, "--unlabelled", "test", "--label-budget", "0"),
        *("--accuracy-sample", "9"),
    ),
    "epsilon must lie between": ("certify", "0,0.1", "--unlabelled", "test"),
    "which labels?": ("import", "--labels-for", "certify"),
    "of which dataset?": ("import", "some.csv"),
    "and --labels-for brings labels": ("import", "--labels-for", "certify", "a.csv", "-d", "toy"),
}


@pytest.mark.parametrize("why", WRONG)
def test_what_does_not_go_is_one_line(place, why):
    assert why in told(*WRONG[why])
    assert not Path("certify").exists()


# --- classes, accuracy, policy --------------------------------------------------------------------


def test_all_promises_per_predicted_class_or_which_of_them(place):
    whole = planned("--plan", "whole")
    every = planned("--per", "predicted-class", "--plan", "every")
    these = planned("--per", "predicted-class", "--hold", "these", "--plan", "these")
    assert every["passed"] <= whole["passed"] == these["passed"]
    plan = Folder("every").plan()
    assert len(plan.strata) > 1
    images = calibrate(Store("artifacts"), plan)
    labels = load(Store("artifacts"), "toy", "test").labels
    passed = images.standing(labels.astype(np.int32)).passed
    for c in range(passed):  # each class by itself
        found = images.outcome(c)
        for k, answer in enumerate(plan.strata):
            mine = found.prediction == answer
            lost = mine & ~found.correct & (images.scores.labels == labels)
            assert images.trial(c).sizes[k] == mine.sum()
            assert images.trial(c).tally(labels).lost[k] == lost.sum()
            assert images.test.p_of_strata(images.trial(c), labels)[k] <= 0.1
    assert [each["stratum"] for each in these["classes"]] == list(plan.strata)


def test_the_accuracy_by_a_sample_of_what_is_answered_alike(place):
    planned("--accuracy-sample", "40")
    labelled()
    found = cascade("certify", "--json").json
    assert found["accuracy_needs"] == 0
    images = calibrate(Store("artifacts"), Folder("certify").plan())
    scores = load(Store("artifacts"), "toy", "test")
    best = int(images.costs[: found["passed"]].argmin())
    answers = images.outcome(best).prediction
    low, high = found["accuracy"]["low"], found["accuracy"]["high"]
    assert low <= (answers == scores.labels).mean() <= high
    reference = scores.correct[scores.index("large")].mean()
    change = found["accuracy_change"]
    assert change["value"] == pytest.approx((answers == scores.labels).mean() - reference)
    assert change["low"] < change["value"] < change["high"]


def test_what_is_certified_becomes_a_policy(place):
    planned()
    labelled()
    found = cascade("certify", "--policy", "policy", "--json")
    assert found.status == 0, found.err
    certificate = found.json["policy"]["policy"]["certificate"]
    assert certificate["epsilon"] == 0.03
    assert certificate["testing"] == N
    assert cascade("check", "policy").status == 0


# --- the page -------------------------------------------------------------------------------------


@pytest.fixture
def labeller(place):
    planned("--accuracy-sample", "2")
    images = calibrate(Store("artifacts"), Folder("certify").plan())
    return _labeller(images)


def _labeller(images: CalibrationImages):
    store = Store("artifacts")
    read = lambda sample: np.full((8, 8), sample % 256, np.uint8)  # noqa: E731
    classes = Classes.of(store, images.scores)
    return PlanLabeller(Folder("certify"), images, classes, read, lambda progress: "so far")


def test_the_page_asks_until_nothing_is_left_and_keeps_each_answer_at_once(labeller):
    known, order = truth(), []
    while question := labeller.next_question():
        order.append(question.sample_id)
        assert question.key == f"{question.sample_id}.png"
        assert question.picture.startswith(b"\x89PNG")
        words = [str(label) for label in range(CLASSES)]
        assert set(question.answers) <= set(words)
        label = str(known[question.sample_id])
        labeller.answered(
            question.sample_id, question.answers.index(label) if label in question.answers else None
        )
        kept = json.loads(Path("certify/labels.json").read_text(encoding="utf-8"))["labels"]
        assert [each["sample_id"] for each in kept] == order
    assert labeller.status() == "so far"
    found = cascade("certify", "--json").json
    assert found["labels"] == len(order)
    assert found["ended"] is not None
    assert not to_label()


def test_an_answer_is_taken_back(labeller):
    assert labeller.undo() is None
    first = labeller.next_question()
    labeller.answered(first.sample_id, 0)
    second = labeller.next_question()
    assert second.sample_id != first.sample_id
    assert labeller.undo() == first
    assert labeller.next_question() == first
    assert not Folder("certify").labels(labeller.calibration.plan)


def test_labels_that_came_in_meanwhile_stay(labeller):
    first = labeller.next_question()
    rows = [row for row in to_label() if int(row["sample_id"]) != first.sample_id][:2]
    cascade("import", "--labels-for", "certify", fill(rows))
    labeller.answered(first.sample_id, None)
    known = Folder("certify").labels(labeller.calibration.plan)
    assert [*known] == [*(int(row["sample_id"]) for row in rows), first.sample_id]
    assert known[first.sample_id] is None
    labels = labeller.calibration.labels(known)
    assert (labels != UNLABELLED).sum() == 3
