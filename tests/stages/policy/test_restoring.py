"""What is allowed, the λ that would keep a promise, and which figure left it first."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers import random_scores
from hypothesis import given, settings, strategies as st
from running import cascade

from cache import InputError
from cascade_cli.inputs.allowance import allowance
from stages.cascade import Cascade, Limit, decide
from stages.policy import Allowance, check, first_left, restoring
from stages.policy.file import PolicyPromise
from stages.simulate import figures


def promise_of(images, right, escalated):
    return PolicyPromise(dataset="d", split="s", images=images, right=right, escalated=escalated)


def every_limit(scores, made):
    """By brute force: each λ between neighbouring scores, and both ends."""
    values = np.unique(scores.score(made.score, scores.index(made.models[0])))
    between = [float(v) for v in (values[1:] + values[:-1]) / 2]
    for limit in ["never", "always", *between]:
        stages = (replace(made.stages[0], limit=Limit.of(limit)), made.stages[1])
        yield decide(scores, replace(made, stages=stages))


@given(st.integers(0, 10**6), st.sampled_from(["maxp", "entropy"]), st.booleans(), st.data())
@settings(max_examples=60, deadline=None)
def test_the_limit_is_the_least_use_that_keeps_both(seed, name, postcheck, data):
    scores = random_scores(np.random.default_rng(seed), 40, levels=6)
    made = Cascade.of(scores.models[:2], name, 0.5, postcheck=postcheck)
    right, sent = (data.draw(st.integers(0, 40)) for _ in "ab")
    allow = Allowance(accuracy=data.draw(st.sampled_from([0.0, 0.05])), use_share=0.1)
    found = restoring(scores, made, promise_of(40, right, sent), allow)
    least, most = right / 40 - allow.accuracy, 1.1 * sent / 40
    kept = [
        (out.usage(), out.accuracy)
        for out in every_limit(scores, made)
        if out.accuracy >= least and out.usage() <= most
    ]
    if not kept:
        assert found is None
        return
    assert (found.usage, found.accuracy) == min(kept)
    stages = (replace(made.stages[0], limit=Limit.of(found.threshold)), made.stages[1])
    again = decide(scores, replace(made, stages=stages))
    assert (again.usage(), again.accuracy) == (found.usage, found.accuracy)


def test_votes_have_one_too():
    scores = random_scores(np.random.default_rng(1), 60, levels=6)
    made = Cascade.committee(scores.models[:2], scores.models[2], Limit("at", 1.0))
    out = decide(scores, made)
    promise = promise_of(60, int(out.correct.sum()), int(out.escalated.sum()))
    found = restoring(scores, made, promise, Allowance())
    assert found is not None
    assert (found.accuracy >= out.accuracy, found.usage <= out.usage()) == (True, True)


def test_a_chain_has_none():
    scores = random_scores(np.random.default_rng(1), 60)
    made = Cascade.of(scores.models, "maxp", 0.5, 0.5)
    assert restoring(scores, made, promise_of(60, 0, 60), Allowance()) is None


@pytest.mark.parametrize(
    ("promised", "figure"), [((400, 398, 400), "accuracy"), ((400, 0, 0), "usage")]
)
def test_what_leaves_first_is_told_with_the_request(promised, figure):
    """From the 200th image on A is wrong, or unsure."""
    scores = random_scores(np.random.default_rng(2), 400)
    late, sure = np.arange(400) >= 200, np.full((3, 400), 0.9)
    correct = np.ones((3, 400), bool)
    if figure == "accuracy":
        correct[0] = ~late
    else:
        sure[0, late] = 0.1
    labels = np.zeros(400, np.int32)
    known = dict(scores.scores) | {"maxp": sure}
    scores = replace(
        scores,
        labels=labels,
        predictions=(~correct).astype(np.int32),
        correct=correct,
        scores=known,
    )
    made = Cascade.of(scores.models[:2], "maxp", 0.5)
    found = first_left(scores, made, promise_of(*promised), Allowance(), 0.05)
    assert found.figure == figure
    assert 200 < found.requests < 230
    kept = promise_of(400, 0, 400)
    assert first_left(scores, made, kept, Allowance(), 0.05) is None


@pytest.mark.parametrize(
    ("allow", "share"),
    [
        (Allowance(accuracy=0.02), 0.93),
        (Allowance(use=0.05), 0.30),
        (Allowance(use_share=0.2), 0.30),
    ],
)
def test_at_the_edge_of_what_is_allowed_alarms_keep_their_rate(allow, share):
    """2,000 pairs of samples whose shares differ by just that much; one figure alone may fail."""
    rng, n, alarms = np.random.default_rng(5), 800, 0
    scores = random_scores(rng, n)
    row = figures(scores, Cascade.of(scores.models[:2], "maxp", 0.5))
    worse = allow.least_accuracy(share) if allow.accuracy else allow.most_use(share)
    for before, now in zip(rng.binomial(n, share, 2000), rng.binomial(n, worse, 2000), strict=True):
        if allow.accuracy:
            promise, found = promise_of(n, int(before), 0), (now / n, 0)
        else:
            promise, found = promise_of(n, 0, int(before)), (0.0, int(now))
        one = replace(row, accuracy=replace_value(row.accuracy, found[0]), escalated=found[1], n=n)
        alarms += any(each.worse for each in check(promise, one, 0.05, allow))
    assert alarms / 2000 < 0.05 + 3 * (0.05 * 0.95 / 2000) ** 0.5


def replace_value(interval, value):
    return type(interval)(value, value, value)


@pytest.mark.parametrize(
    "text", ["use", "use=foo", "accuracy=5%", "cost=1pt", "speed=1%", "use=-1pt"]
)
def test_what_cannot_be_allowed_is_one_line(text):
    with pytest.raises(InputError, match=f"--allow '{text}' is not understood"):
        allowance(f"accuracy=0.5pt,{text}")


def test_check_says_how_to_mend(tmp_path):
    """λ of another time sends too much to B."""
    where = ("--cache", tmp_path / "cache")
    cascade("extract", "-d", "digits", "--models", "digits_wide,digits_residual", *where)
    pair = ("-m1", "digits_wide", "-m2", "digits_residual")
    cascade("export", "--policy", tmp_path / "p", *pair, "-t", "0.5", "--split", "val", *where)
    text = (tmp_path / "p/policy.toml").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("sha256 = ")]
    moved = [line.replace("threshold = 0.5", "threshold = 0.95") for line in lines]
    (tmp_path / "p/policy.toml").write_text("\n".join(moved) + "\n")
    done = cascade("check", tmp_path / "p", "--split", "test", *where, "--json")
    found = json.loads(done.out)
    assert (done.status, "usage" in found["regressions"]) == (3, True)
    assert found["first_left"]["figure"] == "usage"
    promise = found["figures"]
    assert found["restoring"]["usage"] <= promise[1]["promised"]
    shown = cascade("check", tmp_path / "p", "--split", "test", *where).out
    assert "use of B left it first: by request" in shown
    assert "would keep it" in shown
    more = cascade(
        "check",
        tmp_path / "p",
        "--split",
        "test",
        *where,
        "--allow",
        "use=90pt,accuracy=9pt,cost=9999%",
    )
    assert more.status == 0
    assert "allowed" in more.out
