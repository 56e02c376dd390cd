"""The live cascade against the simulation, and against what it should notice."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import naive
import numpy as np
import pytest
from running import (
    WEIGHTS,
    cascade,
    needs_shared,
    noise_images,
    seeded_weights,
    slice_of,
    write_parquet,
)
from sklearn.metrics import precision_recall_fscore_support

from cache import InputError, Store, find, read_table
from stages.cascade import Cascade, decide
from stages.datasets import open_split
from stages.scores import SCORES, load as load_scores, scores_of

torch = pytest.importorskip("torch")

from stages.live import (  # noqa: E402
    LiveCascade,
    Served,
    agreement,
    classification,
    serve_all,
    usual_ms,
)
from stages.models import (  # noqa: E402
    choose,
    load,
)
from stages.runtimes import Runner  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
A, B = "digits_separable", "digits_residual"
LAMBDAS = 20


def serve(source, live, batch_size=1, limit=None):
    return serve_all(source, {"it": live}, batch_size, limit)["it"]


@dataclass(frozen=True)
class Replayed:
    """A runner that computes each batch once: live then really runs, but 20 λ cost one forward."""

    runner: Runner
    known: dict

    def __getattr__(self, name):
        return getattr(self.runner, name)

    def logits(self, batch):
        key = batch.numpy().tobytes()
        if key not in self.known:
            self.known[key] = self.runner.logits(batch)
        return self.known[key]

    def answers(self, batch):
        return scores_of(self.logits(batch).numpy())


def runner(name, dataset="digits", weights=None):
    [one] = choose(dataset, [name], directory=weights)
    return Runner.of(load(one.spec, one.weights), one.spec.preprocessing, CPU)


def extracted(root, *args):
    result = cascade("extract", *args, "--cache", root)
    assert result.status == 0, result.err
    return root


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """Digits extracted one image at a time."""
    root = tmp_path_factory.mktemp("single")
    return extracted(root, "--models", f"{A},{B}", "--batch-size", 1)


@pytest.fixture(scope="module")
def batched(tmp_path_factory):
    """Digits extracted 64 at a time."""
    return extracted(tmp_path_factory.mktemp("batched"), "--batch-size", 64)


def scores_in(root, dataset="digits"):
    return load_scores(Store(root), dataset, "test", [A, B] if dataset == "digits" else None)


def dense_thresholds(scores, name, count=LAMBDAS):
    """λ where scores are dense: quantiles of s_A, ties included."""
    return np.quantile(scores.score(name, 0), np.linspace(0, 1, count), method="lower")


def cascades(scores, name, pair=(A, B)):
    if SCORES[name].needs_label:
        return [Cascade.of(pair, name)]
    return [
        Cascade.of(pair, name, float(limit), postcheck=postcheck)
        for limit in dense_thresholds(scores, name)
        for postcheck in (False, True)
    ]


def held_against(root, batch, name, source, runners, pair=(A, B), dataset="digits", limit=None):
    """(Served, agreement) of every cascade of a score."""
    scores = scores_in(root, dataset)
    for one in cascades(scores, name, pair):
        served = serve(source, LiveCascade(one, runners), batch, limit)
        yield one, served, agreement(served, scores, one)


# --- agreement -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(
    ("batch", "limit"),
    [
        (1, 60),
        pytest.param(1, None, marks=pytest.mark.slow),
        (64, 256),
        pytest.param(64, None, marks=pytest.mark.slow),
    ],
)
def test_the_same_batches_leave_no_difference(name, batch, limit, single, batched):
    """A sees the very batches of extraction; B sees subsets of them, hence noise in its logits."""
    root, source = {1: single, 64: batched}[batch], open_split("digits", "test")
    runners = [Replayed(runner(model), {}) for model in (A, B)]
    for one, served, found in held_against(root, batch, name, source, runners, limit=limit):
        assert found.differences == (), one
        assert (found.decisions_differ, found.answers_differ) == (0, 0)
        assert found.n == len(served.labels) == (limit or 500)
        assert found.largest_score_shift == 0


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(
    ("batch", "limit"), [(7, 150), (200, 200), pytest.param(500, None, marks=pytest.mark.slow)]
)
def test_other_batches_differ_within_noise_only(name, batch, limit, batched):
    source = open_split("digits", "test")
    runners = [Replayed(runner(model), {}) for model in (A, B)]
    for one, _, found in held_against(batched, batch, name, source, runners, limit=limit):
        assert found.outside_noise == 0, (one, found.differences)
        assert found.largest_score_shift < found.noise
        count = len(found.differences)
        assert count <= found.decisions_differ + found.answers_differ


def test_without_replay_it_is_the_same(single):
    """The runner that remembers its batches changes nothing."""
    scores, source = scores_in(single), open_split("digits", "test")
    one = Cascade.of(
        (A, B), "entropy", float(dense_thresholds(scores, "entropy")[10]), postcheck=True
    )
    served = serve(source, LiveCascade(one, [runner(A), runner(B)]))
    assert agreement(served, scores, one).differences == ()
    expected = decide(scores, one)
    np.testing.assert_array_equal(served.outcome.prediction, expected.prediction)
    np.testing.assert_array_equal(served.outcome.escalated, expected.escalated)
    assert served.outcome.accuracy == expected.accuracy


def served_by(scores, one):
    """What a live run that agrees exactly would give."""
    found = decide(scores, one)
    times = np.ones(len(scores.labels))
    return Served(
        labels=scores.labels,
        outcome=found,
        latency_ms=times,
        preprocess_ms=times,
        batch_size=1,
        weight=times,
        started=np.arange(len(times)),
    )


@pytest.fixture
def case(single):
    scores = scores_in(single)
    one = Cascade.of((A, B), "maxp", float(dense_thresholds(scores, "maxp")[8]), postcheck=True)
    return scores, one, served_by(scores, one)


def test_a_difference_names_its_request_and_its_sample(case):
    """The fourth request shows the last image."""
    scores, one, _ = case
    shown = scores.of_images(np.array([5, 9, 5, len(scores.labels) - 1]))
    served = served_by(shown, one)
    found = planted(served, escalated=flipped(served.outcome.escalated, 3))
    [row] = agreement(found, shown, one).differences
    assert (row.request, row.sample_id) == (3, len(scores.labels) - 1)


def planted(served, **columns):
    """What was served, but for these columns."""
    stages = {"escalated": "stage", "took_b": "answered"}
    other = {stages.get(name, name): column.astype(np.int32) for name, column in columns.items()}
    return replace(served, outcome=replace(served.outcome, **other))


def flipped(values, i):
    values = values.copy()
    values[i] = not values[i] if values.dtype == bool else (values[i] + 1) % 10
    return values


def test_a_planted_decision_is_found(case):
    scores, one, served = case
    assert agreement(served, scores, one).differences == ()
    far = int(np.abs(scores.score("maxp", 0) - one.limits[0].value).argmax())
    found = agreement(
        planted(served, escalated=flipped(served.outcome.escalated, far)), scores, one
    )
    assert (found.decisions_differ, found.answers_differ, found.outside_noise) == (1, 0, 1)
    [row] = found.differences
    assert (row.sample_id, row.boundary) == (far, "threshold")
    assert row.distance == abs(scores.score("maxp", 0)[far] - one.limits[0].value)
    assert row.escalated_live is not row.escalated_simulated


def test_a_planted_decision_near_the_threshold_is_noise(case):
    scores, one, served = case
    near = int(np.abs(scores.score("maxp", 0) - one.limits[0].value).argmin())
    found = agreement(
        planted(served, escalated=flipped(served.outcome.escalated, near)), scores, one
    )
    assert (found.decisions_differ, found.outside_noise) == (1, 0)


def test_a_planted_answer_is_found(case):
    scores, one, served = case
    sure = int(scores.scores["difference"][0].argmax())
    found = agreement(
        planted(served, prediction=flipped(served.outcome.prediction, sure)), scores, one
    )
    assert (found.decisions_differ, found.answers_differ, found.outside_noise) == (0, 1, 1)
    assert found.differences[0].boundary == "answer"


def test_a_planted_choice_of_answer_is_found_even_where_both_answers_are_one(case):
    scores, one, served = case
    same = scores.predictions[0] == scores.predictions[1]
    gap = np.abs(scores.score("maxp", 0) - scores.score("maxp", 1))
    i = int(np.where(served.outcome.escalated & same, gap, -1).argmax())
    found = agreement(planted(served, took_b=flipped(served.outcome.took_b, i)), scores, one)
    assert (found.decisions_differ, found.answers_differ, found.outside_noise) == (1, 0, 1)
    assert found.differences[0].boundary == "postcheck"
    assert found.differences[0].distance == gap[i]


def test_perturbed_scores_are_found(case):
    scores, one, served = case
    moved = replace(scores, scores=scores.scores | {"maxp": scores.scores["maxp"] ** 1.1})
    found = agreement(served, moved, one)
    assert found.outside_noise > 5
    assert found.largest_score_shift > 1e-3


def test_other_weights_are_refused_and_other_models_found(single, tmp_path):
    file = seeded_weights(tmp_path / "other.pt", A)
    args = ("-m1", A, "-m2", B, "-w1", file, "-t", 0.5, "--cache", single)
    assert f"the cache holds {A} with weights" in cascade("live", *args).refusal
    scores = scores_in(single)
    one = Cascade.of((A, B), "maxp", 0.9)
    swapped = LiveCascade(one, [runner("digits_wide"), runner(B)])
    found = agreement(serve(open_split("digits", "test"), swapped, 64), scores, one)
    assert found.outside_noise > 50


def test_other_images_under_the_same_name_are_refused(tmp_path):
    pictures, labels = noise_images(40)
    few = write_parquet(tmp_path / "few", "test", pictures[:30], labels[:30])
    many = write_parquet(tmp_path / "many", "test", pictures, labels)
    for seed, name in enumerate(("resnet20", "shufflenetv2_x0_5")):
        seeded_weights(tmp_path / "w" / f"{name}.pt", name, seed)
    common = ("--dataset", "cifar10", "--weights", tmp_path / "w", "--cache", tmp_path / "cache")
    assert cascade("extract", *common, "-f", few).status == 0
    pair = ("-m1", "resnet20", "-m2", "shufflenetv2_x0_5", "-t", "0.5")
    line = cascade("live", *common, *pair, "-f", many).refusal
    assert "the cache holds other images of cifar10/test" in line
    assert cascade("live", *common, *pair, "-f", few).status == 0


# --- what it prints ------------------------------------------------------------------------------


def test_the_classification_report_is_right(single):
    source = open_split("digits", "test")
    served = serve(source, LiveCascade(Cascade.of((A,)), [runner(A)]), 64)
    report = classification(served, source.class_names)
    precision, recall, f1, support = precision_recall_fscore_support(
        source.labels, served.outcome.prediction, zero_division=0
    )
    for k, name in enumerate(source.class_names):
        answered, there = served.outcome.prediction == k, source.labels == k
        right = (answered & there).sum()
        assert report[name]["precision"] == pytest.approx(right / answered.sum())
        assert report[name]["recall"] == pytest.approx(right / there.sum())
        assert report[name]["f1-score"] == pytest.approx(f1[k])
        assert report[name]["support"] == support[k] == there.sum()
    assert report["accuracy"] == pytest.approx((served.outcome.prediction == source.labels).mean())
    assert report["macro avg"]["precision"] == pytest.approx(precision.mean())
    assert report["weighted avg"]["recall"] == pytest.approx(np.average(recall, weights=support))


def test_the_classification_report_with_more_classes_than_names(case):
    _, _, served = case
    odd = planted(
        served,
        prediction=np.where(np.arange(len(served.labels)) == 3, 11, served.outcome.prediction),
    )
    report = classification(odd, tuple("0123456789"))
    assert report["11"]["support"] == 0
    assert report["accuracy"] == pytest.approx((odd.outcome.prediction == odd.labels).mean())


def live(*args, models=(A, B)):
    names = [part for pair in zip(("-m1", "-m2"), models, strict=False) for part in pair]
    return cascade("live", *names, *args)


def test_json_of_a_cascade(batched):
    found = live("-s", "maxp", "-p", "--batch-size", 64, "--cache", batched, "--json").json
    keys = "dataset split fit_split model_1 model_2 score threshold postcheck memory n accuracy"
    keys += " usage escalated hits false_hits hit_rate latency_ms energy agreement"
    assert set(keys.split()) <= set(found)
    assert found["memory"] is None
    assert found["usage"] == found["escalated"] / found["n"]
    args = ("-m1", A, "-m2", B, "-s", "maxp", "-p", "--cache", batched, "--json")
    simulated = cascade("simulate", *args).json
    assert {
        k: found[k] for k in ("n", "accuracy", "usage", "took_b", "threshold", "fit_split")
    } == {k: simulated[k] for k in ("n", "accuracy", "usage", "took_b", "threshold", "fit_split")}
    near = {key: simulated[key] for key in simulated if "near_" in key or key.endswith("gap")}
    assert len(near) == 22
    assert {key: found[key] for key in near} == near
    assert found["agreement"]["simulated"]["accuracy"] == simulated["accuracy"]
    assert found["energy"]["energy_j_per_request"] is None


def test_a_run_is_kept_in_the_cache(batched):
    asked = ("-s", "entropy", "-t", "0.31", "--limit", "30", "--batch-size", "8")
    told = [live("--cache", batched, *asked, "--json").json for _ in range(2)][-1]
    store = Store(batched)
    rows = [
        row
        for manifest in find(store, "results", "live", "digits", "test")
        for row in read_table(store, manifest).to_pylist()
        if row["threshold"] == 0.31
    ]
    assert len(rows) == 1  # the second run took the first one's place
    [row] = rows
    same = ("model_1", "model_2", "score", "n", "accuracy", "usage", "batch_size", "device")
    same += ("accuracy_low", "accuracy_high", "usage_low", "usage_high")
    assert {name: row[name] for name in same} == {name: told[name] for name in same}
    assert row["latency_ms"] == told["latency_ms_per_request"]
    assert row["latency_p95_ms"] == told["latency_ms"]["p95"]
    assert row["outside_noise"] == told["agreement"]["outside_noise"] == 0
    assert row["energy_j"] == told["energy"]["energy_j_per_request"]


@pytest.mark.parametrize("repeats", [(), ("--duplicates", "1")])
def test_what_was_answered_has_an_interval_of_its_own(single, repeats):
    """Not that of the simulation, whose λ was cross-fitted; copies tell no more than one image."""
    asked = ("-s", "maxp", "--fit-split", "test", "--batch-size", 50, "--cache", single, *repeats)
    found = live(*asked, "--json").json
    for each in (found, *found["alone"].values()):
        told = [each[f"accuracy{end}"] for end in ("", "_low", "_high")]
        assert told == pytest.approx(naive.wilson(each["accuracy"] * 500, 500))
    told = [found[f"usage{end}"] for end in ("", "_low", "_high")]
    assert told == pytest.approx(naive.wilson(found["usage"] * 500, 500))
    shown = live(*asked).out
    assert f"near λ     {found['near_1e_6']}, {found['near_1e_5']}, " in shown
    assert f"accuracy   {found['accuracy']:.2%} ({found['accuracy_low']:.2%} to" in shown
    assert "of images that chose λ: it flatters" in shown


def test_a_given_threshold_does_not_flatter(batched):
    assert "flatters" not in live("-t", "0.9", "--limit", 20, "--cache", batched).out


def test_latency_is_positive_and_ordered(batched):
    found = live("-t", "0.9", "--batch-size", 50, "--cache", batched, "--json").json
    latency = found["latency_ms"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
    assert 0 < latency["mean"] <= latency["p99"] * 10
    assert found["preprocess_ms"] > 0


def test_what_is_usual_is_the_median_of_batches_alike(case):
    """Three in ten go to B, at ten times the cost; that alone must not look like a busy machine."""
    served = case[2]
    n = len(served.labels)
    sent, hit = np.arange(n) % 10 < 3, np.arange(n) % 10 == 9
    times = np.where(hit, 0.1, np.where(sent, 10.0, 1.0))
    quiet = replace(planted(served, escalated=np.where(hit, -1, sent)), latency_ms=times)
    assert usual_ms(quiet) == pytest.approx(times.mean())
    again = np.r_[np.arange(n)[::-1], np.arange(n)]
    twice = replace(quiet, latency_ms=times[again], started=again, weight=np.full(2 * n, 0.5))
    assert usual_ms(twice) == pytest.approx(times.mean())
    times[5] = 1e6
    assert usual_ms(replace(quiet, latency_ms=times)) < 4 < times.mean()
    laps = np.arange(-(-n // 3)) + 1.0
    kinds = [(sent[i : i + 3].any(), hit[i : i + 3].all()) for i in range(0, n, 3)]
    alike = [[lap for lap, other in zip(laps, kinds, strict=True) if other == k] for k in kinds]
    expected = np.mean([np.median(each) for each in alike])
    slow = replace(quiet, batch_size=3, latency_ms=laps, weight=laps**0)
    assert usual_ms(replace(slow, started=3 * np.arange(len(laps)))) == pytest.approx(expected)


@pytest.mark.parametrize(("usual", "said"), [(1e-6, True), (1e6, False)])
def test_a_busy_machine_is_told(batched, monkeypatch, usual, said):
    monkeypatch.setattr("stages.live.usual_ms", lambda served: usual)
    done = live("-t", "0.9", "--batch-size", 50, "--cache", batched, "--json")
    served = f"(the cascade|{A} alone|{B} alone)"
    note = rf"note: {served}: mean \S+ ms against a median of 1e-06 ms \(and 2 more\): the machine"
    assert (re.search(note, done.err) is not None) is said
    assert ("was busy" in done.err) is said
    assert done.json["usual_ms"] == usual


def test_one_model_alone(batched):
    result = live("--batch-size", 64, "--cache", batched, "--json", models=(A,))
    found = result.json
    assert (found["model_2"], found["usage"], found["agreement"]) == (None, None, None)
    assert found["accuracy"] == scores_in(batched).accuracy[0]
    shown = live("--batch-size", 64, "--cache", batched, models=(A,)).out
    assert f"{A} alone on digits/test" in shown
    assert "use of B" not in shown


def test_one_model_alone_needs_no_cache(tmp_path):
    root = tmp_path / "nothing"
    assert live("--limit", 20, "--cache", root, "--json", models=(A,)).json["n"] == 20
    assert not root.exists()


@pytest.mark.parametrize(("limit", "n"), [(1, 1), (100, 100), (10**9, 500)])
def test_a_limit(limit, n, batched):
    args = ("-t", "0.95", "--limit", limit, "--batch-size", 64, "--cache", batched, "--json")
    found = live(*args).json
    one = Cascade.of((A, B), "maxp", 0.95)
    expected = decide(scores_in(batched), one)
    assert found["n"] == found["agreement"]["n"] == found["agreement"]["simulated"]["n"] == n
    assert found["accuracy"] == expected.correct[:n].mean()
    assert found["agreement"]["simulated"]["accuracy"] == expected.correct[:n].mean()
    assert found["escalated"] == expected.escalated[:n].sum()
    assert found["accuracy_1"] == pytest.approx(scores_in(batched).correct[0, :n].mean())
    macs = scores_in(batched).macs
    assert found["macs_per_request"] == pytest.approx(macs[A] + macs[B] * found["usage"])


@pytest.mark.parametrize("threshold", ["always", "never", "0", "1"])
@pytest.mark.parametrize("score", ["maxp", "difference", "entropy"])
def test_the_ends_of_the_range(score, threshold, batched):
    args = ("-s", score, "-t", threshold, "--batch-size", 64, "--cache", batched, "--json")
    found = live(*args).json
    assert found["agreement"]["outside_noise"] == 0
    expected = {"always": 1, "never": 0}.get(threshold)
    if expected is not None:
        assert found["usage"] == expected
        assert found["accuracy"] == pytest.approx(found[f"accuracy_{expected + 1}"])


def test_the_oracle_ignores_threshold_and_postcheck_with_a_note(batched):
    args = ("-s", "oracle", "-t", "0.3", "-p", "--batch-size", 64, "--cache", batched)
    result = live(*args, "--json")
    assert "ignored" in result.err
    assert (result.json["threshold"], result.json["postcheck"]) == (None, False)
    scores = scores_in(batched)
    assert result.json["accuracy"] == scores.correct.any(axis=0).mean()
    assert result.json["escalated"] == (~scores.correct[0]).sum()


def test_a_disagreement_is_listed_and_exits_3(batched, monkeypatch):
    usual = Runner.logits
    monkeypatch.setattr(Runner, "logits", lambda self, batch: usual(self, batch) * 0.5)
    asked = ("-t", "0.9", "--batch-size", 64, "--cache", batched)
    told, shown = live(*asked, "--json"), live(*asked)
    for done in (told, shown):
        assert done.status == 3
        assert done.err.endswith("simulation disagree by more than float noise\n")
    count = len(json.loads(told.out)["agreement"]["differences"])
    lines = re.findall(r"^    request (\d+), sample \1: \S+ from the threshold$", shown.out, re.M)
    assert len(lines) == 20 < count
    assert f"\n    … and {count - 20} more, all with --json\n" in shown.out


def test_what_the_cache_lacks_is_extracted_first(tmp_path):
    result = live("--limit", 30, "--batch-size", 16, "--cache", tmp_path, "--json")
    assert f"the cache lacks logits of {A}, {B}: extracting val, test first" in result.err
    assert result.json["fit_split"] == "val"


def test_nan_weights_are_one_line(tmp_path):
    pictures, labels = noise_images(12)
    pictures[:5] = 0
    data = write_parquet(tmp_path / "data", "test", pictures, labels)
    huge = {"conv1__weight": lambda t: t * 0 + 3e38}
    file = seeded_weights(tmp_path / "w" / "resnet20.pt", **huge)
    args = ("--dataset", "cifar10", "-m1", "resnet20", "-w1", file, "-f", data)
    line = cascade("live", *args).refusal
    assert "resnet20 gives a NaN or infinite logit on cifar10/test sample" in line


def test_the_failing_sample_is_named_in_a_batch(monkeypatch):
    usual = Runner.logits
    source = open_split("digits", "test")

    def broken(self, batch):
        logits = usual(self, batch).clone()
        marked = self.upload(source.pictures[37][None, None].copy())
        logits[(batch == marked).all((1, 2, 3))] = np.nan
        return logits

    monkeypatch.setattr(Runner, "logits", broken)
    with pytest.raises(InputError, match=r"digits_separable gives .* on digits/test sample 37:"):
        serve(source, LiveCascade(Cascade.of((A, B), "maxp", 0.5), [runner(A), runner(B)]), 16)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("live",), "give -m1 A"),
        (("live", "-m2", B), "give -m1 A"),
        (("live", "-m1", A, "-m2", A), "two different models"),
        (("live", "-m1", A, "-m2", ""), "'' cannot be a model's name"),
        (("live", "-m1", A, "-e", "explode"), "unknown ending 'explode'"),
        (("live", "-m1", A, "--batch-size", "0"), "--batch-size"),
        (("live", "-m1", A, "--limit", "0"), "--limit"),
        (("live", "-m1", A, "-m2", B, "-t", "1.5"), "λ '1.5' is no threshold"),
        (("live", "-m1", A, "-m2", B, "-s", "max"), "did you mean 'maxp'?"),
        (("live", "-m1", A, "-w2", "x.pt"), "without their model"),
        (("live", "-m1", A, "-w1", "missing.pt"), "no weights file missing.pt"),
        (("live", "-m1", A, "--split", "tset"), "did you mean 'test'?"),
    ],
)
def test_bad_requests(args, words, batched):
    assert words in cascade(*args, "--cache", batched).refusal


# --- the end -------------------------------------------------------------------------------------


@pytest.fixture
def services(tmp_path, monkeypatch):
    """A PATH with nothing but what a test puts there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def service(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_alarm(batched):
    result = live("--limit", 5, "-e", "alarm", "--cache", batched, "--json", models=(A,))
    assert "\a" in result.err
    assert "the run is over" in result.err
    assert result.json["n"] == 5


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize("name", ["systemctl", "shutdown"])
def test_shutdown_says_so_first_and_asks_the_service(name, services, batched, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    log = services.parent / "log"
    service(services, name, f'echo "{name} $@" >> {log}')
    result = live("--limit", 5, "-e", "shutdown", "--cache", batched, "--json", models=(A,))
    said = {"systemctl": "systemctl poweroff", "shutdown": "shutdown -h now"}[name]
    assert result.err.splitlines()[-1] == f"shutting this machine down: {said}"
    assert log.read_text() == said + "\n"
    assert result.json["n"] == 5


def test_shutdown_refused(services, batched, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    service(services, "systemctl", "echo 'not allowed' >&2; exit 1")
    result = live("--limit", 5, "-e", "shutdown", "--cache", batched, models=(A,))
    assert result.status == 2
    assert result.err.splitlines()[-1] == "cascade: systemctl refused to shut down: not allowed"


def test_no_service(services, batched, monkeypatch):
    result = live("--limit", 5, "-e", "shutdown", "--cache", batched, models=(A,))
    assert result.status == 2
    assert "no service" in result.err


def test_nothing_is_shut_down_when_the_run_fails(services, batched):
    log = Path(services, "log")
    for name in ("systemctl", "shutdown"):
        service(services, name, f"touch {log}")
    assert live("-e", "shutdown", "--split", "nope", "--cache", batched).status == 2
    assert not log.exists()


# --- real images ---------------------------------------------------------------------------------


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 64])
def test_cifar_live_equals_simulate(batch, tmp_path):
    """1,000 real images, every score, 20 λ where scores are dense, with and without post-check."""
    n = {1: 400, 64: 1000}[batch]
    data, pair = slice_of("test", n, tmp_path / "data"), ("resnet20", "shufflenetv2_x0_5")
    extracted(
        tmp_path / "cache",
        *("-d", "cifar10", "-f", data, "--models", ",".join(pair), "--weights", WEIGHTS),
        *("--batch-size", batch),
    )
    source = open_split("cifar10", "test", data)
    runners = [Replayed(runner(name, "cifar10", WEIGHTS), {}) for name in pair]
    for name in SCORES:
        for one, served, found in held_against(
            tmp_path / "cache", batch, name, source, runners, pair, "cifar10"
        ):
            assert found.differences == (), one
            assert len(served.labels) == n


@needs_shared
@pytest.mark.slow
def test_cifar_live_in_other_batches_differs_within_noise_only(tmp_path):
    data, pair = slice_of("test", 500, tmp_path / "data"), ("resnet20", "shufflenetv2_x0_5")
    extracted(
        tmp_path / "cache",
        *("-d", "cifar10", "-f", data, "--models", ",".join(pair), "--weights", WEIGHTS),
    )
    source = open_split("cifar10", "test", data)
    runners = [Replayed(runner(name, "cifar10", WEIGHTS), {}) for name in pair]
    for name in SCORES:
        for one, _, found in held_against(
            tmp_path / "cache", 9, name, source, runners, pair, "cifar10"
        ):
            assert found.outside_noise == 0, (one, found.differences)
