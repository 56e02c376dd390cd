"""`check`: its rate of false alarms, what it finds, and its exit codes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tomli_w
from helpers import cost_row, make_cache, score_set, tied_logits, write_logits
from running import cascade
from scipy import stats

from cache import Store
from stages import costs
from stages.cascade import Cascade, decide
from stages.costs import PairPrice, Pricer
from stages.policy import PolicyPromise, check, promised as promised_of
from stages.policy.checking import Checked, _holm, fewer
from stages.policy.format import read_policy
from stages.scores import load, scores_of, splits_of
from stages.search import BEST, Question, Search, Space, rules
from stages.simulate import FitFacts, FittedLimit, Honest, figures
from stages.statistics import Interval
from stages.threshold import FitPlan, fitted_point

N = 400
PAIR = ("-m1", "small", "-m2", "large")


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    store = make_cache(tmp_path_factory.mktemp("toy") / "cache", n=N)
    costs.merge(store, "toy", [cost_row("small", 1.0), cost_row("large", 4.0)])
    return store


@pytest.fixture(scope="module")
def promised(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    done = cascade("export", "--policy", folder, "-d", "toy", *PAIR, "-p", "--cache", toy.root)
    assert done.status == 0, done.err
    return folder


def drawn(rng, right, sent, n=N):
    """Counts of a resample of images, and what they cost: A for 1, B for 4, known to ±2 %."""
    rows = rng.integers(0, len(right), n)
    counts = {"right": int(right[rows].sum()), "escalated": int(sent[rows].sum())}
    usage = counts["escalated"] / n
    spread = 1.96 * 4 * (usage * (1 - usage) / n) ** 0.5
    return counts | {"n": n, "cost": 1 + 4 * usage, "spread": spread}


def interval(value, half=0.0):
    return Interval(value, value - half, value + half)


def price(counts, cost=0.0, error=0.0, **changes):
    told = interval(counts["cost"] + cost, float(np.hypot(counts["spread"], 1.96 * error)))
    return PairPrice(cost=told, **{"cost_kind": "latency", "cost_1": 1.0, "cost_2": 4.0} | changes)


def as_promise(counts, cost=0.0, error=0.0):
    known = {"dataset": "toy", "split": "test", "images": counts["n"]}
    known |= {key: counts[key] for key in ("right", "escalated")}
    return PolicyPromise(**known, price=price(counts, cost, error))


def as_row(counts, cost=0.0, error=0.0, accuracy=None, escalated=None, **changes):
    """A simulated cascade of these counts, otherwise as some other."""
    scores = score_set([0], [[0], [0]], {"maxp": [[0.5], [0.5]]})
    some = figures(scores, Cascade.of(scores.models[:2], "maxp", 0.5))
    return replace(
        some,
        n=counts["n"],
        accuracy=interval(counts["right"] / counts["n"] if accuracy is None else accuracy),
        escalated=counts["escalated"] if escalated is None else escalated,
        price=price(counts, cost, error, **changes),
    )


def alarms(draws, alpha=0.05, error=0.0, **changes):
    """The share of `draws` pairs of resamples of the same images in which something looks worse."""
    rng = np.random.default_rng(5)
    scores = score_population(rng)
    found = 0
    for _ in range(draws):
        promise = as_promise(drawn(rng, *scores), *noise(rng, error))
        row = as_row(drawn(rng, *scores), *noise(rng, error), **changes)
        found += any(each.worse for each in check(promise, row, alpha))
    return found / draws


def noise(rng, error):
    return error * rng.standard_normal(), error


def score_population(rng):
    right = rng.random(N) < 0.9
    return right, rng.random(N) < np.where(right, 0.25, 0.7)


@pytest.mark.parametrize("alpha", [0.05, 0.2])
@pytest.mark.parametrize("changes", [{}, {"cost_2": 4.01}], ids=["same prices", "measured anew"])
def test_false_alarms_keep_the_stated_rate(alpha, changes):
    draws = 1000
    rate = alarms(draws, alpha, error=0.02 * bool(changes), **changes)
    assert rate <= alpha + 3 * (alpha * (1 - alpha) / draws) ** 0.5
    assert rate > alpha / 5  # it does test something


def test_resampled_images_of_a_real_simulation_pass(toy):
    scores = load(toy, "toy", "test")
    outcome = decide(scores, Cascade.of(("small", "large"), "maxp", 0.8, postcheck=True))
    rng, found = np.random.default_rng(1), 0
    for _ in range(500):
        one, two = (drawn(rng, outcome.correct, outcome.escalated) for _ in range(2))
        found += any(each.worse for each in check(as_promise(one), as_row(two)))
    assert found / 500 <= 0.05 + 3 * (0.05 * 0.95 / 500) ** 0.5


def test_a_cost_of_another_kind_is_not_compared():
    counts = drawn(np.random.default_rng(2), *score_population(np.random.default_rng(5)))
    row = as_row(counts, cost=100.0, cost_kind="macs", cost_2=400.0)
    [cost] = [each for each in check(as_promise(counts), row) if each.name == "cost"]
    assert (cost.found, cost.p, cost.worse) == (None, None, False)
    assert "latency of both models are not known here" in cost.test


def images(rng, n, models, split):
    """Of a population in which all models are alike, so that a λ is chosen by chance alone."""
    labels, answers, sure = rng.integers(0, 4, n), [], {"maxp": [], "entropy": []}
    for _ in range(models):
        logits = rng.standard_normal((n, 4)).astype(np.float32)
        logits[np.arange(n), labels] += 1.8
        found = scores_of(logits)
        answers.append(found["prediction"])
        for name, rows in sure.items():
            rows.append(found[name])
    return score_set(labels, answers, sure, [f"m{i}" for i in range(models)], split)


def priced_by_macs(scores):
    macs = {model: 1000 * (i + 1) for i, model in enumerate(scores.models)}
    return Pricer(scores, costs.some_macs(macs))


def of_a_pair(scores, plan):
    threshold, fit = fitted_point(scores, plan, scores.models[:2], "maxp", False, "best")
    return scores, Cascade.of(scores.models[:2], "maxp", threshold), fit


def of_a_search(scores, plan, question=None):
    table = tuple(rules(("maxp", "entropy"), (False, True)))
    question = question or Question(BEST)
    search = Search.of(scores, plan, priced_by_macs(scores), Space(table), question)
    point = search.point
    if len(point.models) == 1:
        return None
    row, _ = search.answer()
    honest = Honest(row.accuracy, row.against.accuracy_change)
    facts = FitFacts(
        fit_split=row.fit_split,
        fit_method=row.fit_method,
        fit_n=row.fit_n,
        fit_accuracy=row.fit_accuracy,
    )
    told = honest if search.plan.method == "cross-fit" else None
    fit = FittedLimit(facts, row.against.baseline, told)
    found = Cascade.of(
        point.models, point.score, point.limits[0].threshold, postcheck=point.postcheck
    )
    return search.reported, found, fit


def of_a_test(scores, plan):
    """An answer that a part of the images names and the rest test."""
    return of_a_search(scores, plan, Question())


@pytest.mark.parametrize(
    ("way", "method", "models", "draws"),
    [
        (of_a_pair, "other-split", 2, 300),
        (of_a_pair, "cross-fit", 2, 300),
        (of_a_search, "cross-fit", 4, 40),
        (of_a_test, "cross-fit", 4, 150),
    ],
)
def test_false_alarms_of_policies_that_were_fitted(way, method, models, draws):
    """Fit, promise and check, each time on images drawn anew from one population."""
    rng, found = np.random.default_rng(8), []
    for _ in range(draws):
        here, fresh = (images(rng, n, models, "test") for n in (300, 1500))
        plan = FitPlan(method, "test", here, ())
        if method == "other-split":
            plan = FitPlan(method, "val", images(rng, 300, models, "val"), ())
        if (fitted := way(here, plan)) is None:
            continue
        told, answer, fit = fitted
        promise = promised_of(told, figures(told, answer, fit, priced_by_macs(told)))
        row = figures(fresh, answer, None, priced_by_macs(fresh))
        found.append(any(each.worse for each in check(promise, row)))
    assert len(found) > 0.5 * draws
    assert sum(found) <= stats.binom.ppf(0.999, len(found), 0.05)


@pytest.mark.parametrize(
    ("figure", "change"),
    [
        ("accuracy", {"accuracy": 0.80}),
        ("usage", {"escalated": 160}),
        ("cost", {"cost": 1.0, "cost_2": 6.0}),
    ],
)
def test_each_planted_loss_is_found_alone(figure, change):
    counts = {"right": 360, "escalated": 100, "n": N, "cost": 2.0, "spread": 0.1}
    found = {each.name: each for each in check(as_promise(counts), as_row(counts, **change))}
    assert found[figure].worse
    others = {name for name, each in found.items() if each.worse} - {figure}
    assert others == ({"cost"} if figure == "usage" else set())  # that is what more use means
    better = as_row(counts, cost=-0.5, accuracy=0.99, escalated=50)
    assert not any(each.worse for each in check(as_promise(counts), better))


def test_a_loss_within_chance_is_none():
    counts = {"right": 360, "escalated": 100, "n": N, "cost": 2.0, "spread": 0.1}
    row = as_row(counts, accuracy=0.885, escalated=108)
    assert not any(each.worse for each in check(as_promise(counts), row))


@pytest.mark.parametrize("counts", [(3, 10, 9, 12), (0, 5, 5, 5), (50, 60, 61, 70), (7, 7, 0, 3)])
def test_fisher_is_scipys(counts):
    count, n, before, total = counts
    table = [[count, n - count], [before, total - before]]
    assert fewer(*counts) == pytest.approx(stats.fisher_exact(table, "less").pvalue)


@pytest.mark.parametrize(
    ("p_values", "worse"),
    [((0.02, 0.04, 0.03), []), ((0.01, 0.02, 0.04), [0, 1, 2]), ((0.2, 0.016, 0.026), [1])],
)
def test_holm(p_values, worse):
    """Against a table by hand: α/3, α/2, α."""
    found = _holm([Checked(str(i), 0, 0, p, "") for i, p in enumerate(p_values)], 0.05)
    assert [i for i, each in enumerate(found) if each.worse] == worse


# --- the command ---------------------------------------------------------------------------------


def test_the_promise_holds_on_its_own_images(toy, promised):
    done = cascade("check", promised, "--cache", toy.root, "--json")
    found = done.json
    assert (found["same_fingerprint"], found["regressions"], found["split"]) == (True, [], "test")
    assert [each["name"] for each in found["figures"]] == ["accuracy", "usage", "cost"]
    assert {"name", "promised", "found", "p", "worse", "test"} <= set(found["figures"][0])
    for each in found["figures"]:
        assert each["found"] == pytest.approx(each["promised"])
        assert each["p"] > 0.4
    assert found["target"] == "MEETS"
    assert [model["same_weights"] for model in found["models"]] == [None, None]
    assert found["simulated"]["cost_unit"] == "ms"


def test_other_images_of_the_same_kind_pass(toy, promised):
    done = cascade("check", promised, "--split", "val", "--cache", toy.root)
    assert done.status == 0
    assert done.out.startswith("MEETS its promise: nothing worse (400 images of toy/val).\n")
    assert [line.split("  ")[0] for line in done.out.splitlines()[2:5]] == [
        *("accuracy", "use of B", "cost, ms")
    ]


# As this program wrote it before accuracies had intervals of their own.
OLDER = """\
schema_version = 1
models = [
    { name = "small", runtime = "torch-fp32-cpu" },
    { name = "large", runtime = "torch-fp32-cpu" },
]

[rule]
score = "maxp"
threshold = 0.8617800692577712
threshold_low = 0.8617800692577711
threshold_high = 0.8617800692577713
postcheck = true

[fit]
objective = "best"
split = "test"
method = "cross-fit"
n = 400
accuracy = 0.63
usage = 0.6675

[promise]
dataset = "toy"
split = "test"
dataset_fingerprint = "b85ade3d896ec61a4ec327ca2522342191b7b2ae7a871fefb476bef6b88a89d8"
images = 400
right = 242
accuracy = 0.605
accuracy_low = 0.5563126553440182
accuracy_high = 0.6516897628145659
escalated = 267
usage = 0.6675
usage_low = 0.6199313391990592
usage_high = 0.7118820421491584
accuracy_1 = 0.545
accuracy_2 = 0.5275
cost = 3.67
cost_low = 3.4853286389733764
cost_high = 3.8546713610266234
cost_1 = 1.0
cost_2 = 4.0
cost_kind = "latency"
cost_unit = "ms"
cost_device = "desk"
cost_batch_size = 1
cost_why = "latency of all models on desk, for want of joules"
baseline = "small"
baseline_cost = 1.0
baseline_accuracy = 0.545
saved = -2.67
saved_low = -2.8546713610266234
saved_high = -2.4853286389733764
"""


def test_an_older_policy_is_checked_for_what_it_states(toy, tmp_path):
    (tmp_path / "policy.toml").write_text(OLDER, encoding="utf-8")
    found = cascade("check", tmp_path, "--cache", toy.root, "--json").json
    promised = {each["name"]: (each["promised"], each["p"] is None) for each in found["figures"]}
    expected = {"accuracy": (0.605, False), "usage": (0.6675, False), "cost": (3.67, False)}
    assert promised == expected
    assert (found["target"], found["fit_method"]) == ("MEETS", "cross-fit")
    worse = OLDER.replace("right = 242", "right = 300").replace("= 0.605", "= 0.75")
    worse = worse.replace("0.6516897628145659", "0.7899")
    (tmp_path / "policy.toml").write_text(worse, encoding="utf-8")
    done = cascade("check", tmp_path, "--cache", toy.root)
    assert (done.status, done.out.startswith("MISSES its promise: worse in accuracy (")) == (
        3,
        True,
    )


def test_a_published_copy_has_the_same_fingerprint(toy, promised, tmp_path):
    done = cascade("export", "--publish", tmp_path / "copy", "-d", "toy", "--cache", toy.root)
    assert done.status == 0, done.err
    for split, same in (("test", True), ("val", False)):
        where = ("--split", split, "--cache", tmp_path / "copy", "--json")
        assert cascade("check", promised, *where).json["same_fingerprint"] is same


@pytest.mark.parametrize(
    ("flags", "method", "words"),
    [
        ((), "other-split", "in at most 0.05 of"),
        (("--fit-split", "test"), "same-split", "in perhaps more than 0.05 of"),
        (("-t", "0.8"), "given", "in at most 0.05 of"),
    ],
)
def test_the_rate_is_only_claimed_where_it_holds(toy, tmp_path, flags, method, words):
    where = ("-d", "toy", *PAIR, "--cache", toy.root)
    assert cascade("export", "--policy", tmp_path, *where, *flags).status == 0
    assert words in cascade("check", tmp_path, "--cache", toy.root).out
    found = cascade("check", tmp_path, "--cache", toy.root, "--json").json
    assert found["fit_method"] == method


def test_a_cross_fitted_rate_is_about_so(tmp_path):
    store = make_cache(tmp_path / "cache", n=N, splits=("test",))
    where = ("-d", "toy", *PAIR, "--cache", store.root)
    assert cascade("export", "--policy", tmp_path / "p", *where).status == 0
    shown = cascade("check", tmp_path / "p", "--cache", store.root)
    assert "false alarms in about 0.05 of" in shown.out


def worse_cache(root, spread):
    """New weights of `large`: its logits are drowned in noise."""
    store = make_cache(root, n=N)
    labels, rng = load(store, "toy", "test").labels, np.random.default_rng(9)
    logits = tied_logits(rng, N, 4, spread=spread)
    logits[np.arange(N), labels] += 0.5
    write_logits(store, "test", "large", labels, logits, weights="new", overwrite=True)
    return Store(root)


def test_new_weights_that_are_worse_exit_3(promised, tmp_path):
    store = worse_cache(tmp_path / "cache", 3.0)
    done = cascade("check", promised, "--cache", store.root, "--json")
    assert done.status == 3
    found = json.loads(done.out)
    assert "accuracy" in found["regressions"]
    assert found["target"] == "MISSES"
    tested = {each["name"]: each for each in found["figures"]}
    assert tested["accuracy"]["found"] < tested["accuracy"]["promised"]
    # this cache has no costs: not tested, and said so
    assert (tested["cost"]["p"], tested["cost"]["worse"]) == (None, False)
    assert "latency" in tested["cost"]["test"]
    shown = cascade("check", promised, "--cache", store.root)
    assert (shown.status, shown.out.startswith("MISSES its promise: worse in accuracy")) == (
        3,
        True,
    )
    blunt = cascade("check", promised, "--alpha", "1e-30", "--cache", store.root)
    assert blunt.status == 0
    assert blunt.out.startswith(
        "CANNOT TELL whether it meets its promise: nothing worse, cost not tested"
    )


def test_dearer_models_are_found(toy, promised, tmp_path):
    store = make_cache(tmp_path / "cache", n=N)
    costs.merge(store, "toy", [cost_row("small", 1.0), cost_row("large", 8.0)])
    done = cascade("check", promised, "--cache", store.root, "--json")
    assert done.status == 3
    assert json.loads(done.out)["regressions"] == ["cost"]


def test_weights_are_compared(tmp_path):
    """Digests stand in the policy where the cache knows them."""
    store = make_cache(tmp_path / "cache", n=N)
    where = ("-d", "toy", *PAIR, "--cache", store.root)
    assert cascade("export", "--policy", tmp_path / "p", *where).status == 0
    found = read_policy(tmp_path / "p")
    found["models"][1]["weights_sha256"] = "ab" * 32
    del found["sha256"]
    (tmp_path / "p" / "policy.toml").write_text(tomli_w.dumps(found))
    found = cascade("check", tmp_path / "p", "--cache", store.root, "--json").json
    assert [model["same_weights"] for model in found["models"]] == [None, False]
    shown = cascade("check", tmp_path / "p", "--cache", store.root).out
    assert "new weights of large" in shown


def other_digit(digest):
    return ("0" if digest[0] != "0" else "1") + digest[1:]


@pytest.mark.parametrize(
    ("of_others", "split", "words"),
    [
        (False, "test", "was compared with the scores it was made from\n"),
        (True, "test", "was not compared with the scores it was made from: those checked on"),
        (False, "val", "was not compared with the scores it was made from: those checked on"),
        (None, "test", "was not compared with the scores it was made from: it does not name"),
    ],
)
def test_what_nothing_vouches_for_is_told(toy, tmp_path, of_others, split, words):
    """Edited by hand, with and without the digests of the scores that would tell."""
    where = ("-d", "toy", *PAIR, "-t", "0.8", "--cache", toy.root)
    assert cascade("export", "--policy", tmp_path, *where).status == 0
    args = ("check", tmp_path, "--split", split, "--cache", toy.root, "--json")
    sound = cascade(*args)
    assert "sha256" not in sound.err
    found = read_policy(tmp_path)
    del found["sha256"]
    if of_others is None:
        del found["provenance"]["scores"]
    elif of_others:
        found["rule"]["postcheck"] = True
        scores = found["provenance"]["scores"]
        scores |= {"small": other_digit(scores["small"])}
    (tmp_path / "policy.toml").write_text(tomli_w.dumps(found))
    done = cascade(*args)
    [line] = [line for line in done.err.splitlines(True) if "sha256" in line]
    assert f"{tmp_path}/policy.toml has no sha256 that would tell an edit, and {words}" in line
    assert (done.status, done.json["target"]) == (0, "MEETS")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--alpha", "0"), "between 0 and 1"),
        (("--split", "nowhere"), "no logits of"),
        (("--runtime", "torch-int8-cpu"), "in runtime torch-int8-cpu"),
    ],
)
def test_refusals(toy, promised, args, words):
    assert words in cascade("check", promised, *args, "--cache", toy.root).refusal


def test_no_policy(toy, tmp_path):
    assert "cascade export --policy" in cascade("check", tmp_path, "--cache", toy.root).refusal


def test_only_what_is_checked_is_extracted(tmp_path):
    pair = ("-m1", "digits_separable", "-m2", "digits_wide", "-t", "0.5")
    policy, fresh = tmp_path / "policy", tmp_path / "fresh"
    done = cascade("export", "--policy", policy, "-d", "digits", *pair, "--cache", tmp_path / "one")
    assert done.status == 0, done.err
    done = cascade("check", policy, "--cache", fresh)
    assert "extracting test first" in done.err, done.err
    assert "names and labels of the promised ones" in done.err
    assert splits_of(Store(fresh), "digits") == ["test"]


def test_images_that_a_model_was_trained_on_are_told(tmp_path):
    store = make_cache(tmp_path / "cache", trained_on={"small": ("val",)})
    where = ("--cache", store.root)
    assert cascade("export", "--policy", tmp_path / "p", "-d", "toy", *PAIR, *where).status == 0
    for split, told in (("val", True), ("test", False)):
        done = cascade("check", tmp_path / "p", "--split", split, *where)
        assert ("small (stated) was trained on val" in done.err) is told
