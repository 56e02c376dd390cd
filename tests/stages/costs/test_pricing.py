"""Prices of cascades against a loop over requests and batches, and intervals against simulation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from helpers import MODELS, cost_row, random_scores, score_set
from hypothesis import given, settings, strategies as st
from running import cascade

from cache import InputError
from stages import costs
from stages.cascade import Cascade, decide
from stages.costs import HeldAgainst, Pricer, Prices, StagePrice, held_against
from stages.costs.table import Curve
from stages.simulate import priced, run
from stages.statistics import Interval

Z = 1.959964
CURVE = st.lists(st.tuples(st.integers(1, 40), st.floats(0.1, 50)), min_size=1, max_size=5).map(
    lambda points: dict(sorted(dict(points).items()))
)


def curve(points, spread=0.0):
    """{size: cost of a batch} with an interval of ± spread."""
    values = np.array(list(points.values()))
    sizes = np.array(list(points))
    return Curve(sizes, values, values * (1 - spread), values * (1 + spread))


def prices(forward, kind="latency", decoding=None, busy=None, idle_w=None):
    unit = costs.UNITS[kind]
    return Prices(kind, unit, "desk", "a test", forward, decoding or {}, busy, idle_w)


def flat(**per_image):
    return {name: curve({1: value}) for name, value in per_image.items()}


def pricer(forward, kind="latency", decoding=None, busy=None, idle_w=None, **more):
    """A Pricer whose scores do not matter."""
    scores = random_scores(np.random.default_rng(0), 10)
    return Pricer(scores, prices(forward, kind, decoding, busy, idle_w), **more)


def cost_of_batch(points, n):
    """Linear between the measured sizes and from nothing, per image beyond."""
    known = [(0, 0.0), *points.items()]
    if n >= known[-1][0]:
        return n * known[-1][1] / known[-1][0]
    for i in range(1, len(known)):
        (x0, y0), (x1, y1) = known[i - 1], known[i]
        if x0 <= n < x1:
            return y0 + (n - x0) * (y1 - y0) / (x1 - x0)
    raise ValueError(n)


PAIR = ("small", "large")


def stages(escalated, hit=None):
    """Which of the two ran last, −1 where a memory answered."""
    stage = np.asarray(escalated).astype(np.int8)
    return stage if hit is None else np.where(hit, -1, stage)


def naive(a, b, escalated, size, hit=None, hashing=0.0):
    """Mean cost per request, batch by batch."""
    total = 0.0
    for start in range(0, len(escalated), size):
        here = range(start, min(start + size, len(escalated)))
        misses = [i for i in here if hit is None or not hit[i]]
        to_b = [i for i in here if escalated[i]]
        total += cost_of_batch(a, len(misses)) + cost_of_batch(b, len(to_b))
        total += len(here) * hashing if hit is not None else 0.0
    return total / len(escalated)


@given(
    CURVE,
    CURVE,
    st.lists(st.sampled_from(["a", "b", "hit"]), min_size=1, max_size=90),
    st.integers(1, 33),
    st.booleans(),
)
@settings(max_examples=200)
def test_a_request_costs_what_its_batches_cost(a, b, requests, size, remembers):
    escalated = np.array([where == "b" for where in requests])
    hit = np.array([where == "hit" for where in requests]) if remembers else None
    forward = {"small": curve(a), "large": curve(b)}
    one = pricer(forward, batch_size=size, hash_cost=0.25)
    found = one.request(PAIR, stages(escalated, hit), hit is not None)
    assert found.value == pytest.approx(naive(a, b, escalated, size, hit, 0.25))
    alone = one.request(("small",), np.zeros(len(escalated), bool))
    assert alone.value == pytest.approx(naive(a, {1: 0.0}, np.zeros(len(escalated)), size))


def test_at_batch_1_it_is_a_plus_usage_times_b():
    escalated = np.arange(40) % 5 == 0
    found = pricer(flat(small=2.0, large=7.0)).request(PAIR, stages(escalated))
    assert found.value == pytest.approx(2 + 0.2 * 7)


def test_small_batches_of_b_cost_more_than_full_ones():
    """Ten of a hundred go to B: one in each batch of ten, or all in the first."""
    forward = {"small": curve({1: 1.0}), "large": curve({1: 5.0, 10: 8.0})}
    spread, together = np.arange(100) % 10 == 0, np.arange(100) < 10
    one = pricer(forward, batch_size=10)
    assert one.request(PAIR, stages(spread)).value == pytest.approx(1 + 10 * 5 / 100)
    assert one.request(PAIR, stages(together)).value == pytest.approx(1 + 8 / 100)


def test_preprocessing_is_added_when_asked_for():
    made = {"decoding": flat(small=0.5)}
    escalated = np.arange(10) < 5
    forward = flat(small=2.0, large=6.0)
    with_it = pricer(forward, preprocess=True, **made).request(PAIR, stages(escalated))
    assert with_it.value == pytest.approx(2 + 0.5 * 6 + 0.5)
    without = pricer(forward, **made).request(PAIR, stages(escalated))
    assert without.value == pytest.approx(5)


def test_a_device_that_waits_draws_its_idle_power():
    """3 J and 30 ms a request; ten requests a second leave 70 ms at 8 W; 100 leave none."""
    busy = prices(flat(small=10.0, large=40.0), decoding=flat(small=5.0))
    forward, escalated = flat(small=1.0, large=4.0), np.arange(10) < 5
    what = {"kind": "joules", "busy": busy, "idle_w": 8.0}
    for rate, extra in ((10.0, 0.07 * 8), (100.0, 0.0), (100 / 3, 0.0)):
        found = pricer(forward, arrival_rate=rate, **what).request(PAIR, stages(escalated))
        assert found.value == pytest.approx(3 + extra)
    what |= {"decoding": flat(small=0.25), "preprocess": True}
    found = pricer(forward, arrival_rate=10.0, **what).request(PAIR, stages(escalated))
    assert found.value == pytest.approx(3 + 0.25 + 0.065 * 8)


def test_a_device_that_hashes_waits_less():
    """Two of ten requests hit: 0.8 · 1 + 0.5 · 4 J, 0.1 J of hashing, 28 ms and 2 ms of hashing."""
    busy = prices(flat(small=10.0, large=40.0))
    escalated, hit = np.arange(10) < 5, np.arange(10) >= 8
    what = {"kind": "joules", "busy": busy, "idle_w": 8.0, "hash_cost": 0.1, "hash_ms": 2.0}
    made = pricer(flat(small=1.0, large=4.0), arrival_rate=10.0, **what)
    found = made.request(PAIR, stages(escalated, hit), True)
    assert found.value == pytest.approx(0.8 + 2 + 0.1 + 0.07 * 8)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"preprocess": True}, "cost of preprocessing is not known in latency"),
        ({"arrival_rate": 3.0}, "--arrival-rate needs joules and idle power"),
        ({"arrival_rate": 3.0, "kind": "joules"}, "--arrival-rate needs joules and idle power"),
        ({"baseline": "smal"}, "did you mean 'small'"),
        ({"baseline": "other"}, "unknown baseline 'other'"),
    ],
)
def test_what_cannot_be_priced_is_one_line(more, message):
    with pytest.raises(InputError, match=message) as caught:
        pricer(flat(small=1.0, large=2.0), **more)
    assert "\n" not in str(caught.value)


def test_a_model_without_the_costs_that_are_asked_for_is_named():
    nobody = np.zeros(10, bool)
    one = pricer(flat(small=1, large=2), preprocess=True, decoding=flat(large=1))
    with pytest.raises(InputError, match="preprocessing of small is not known"):
        one.request(PAIR, stages(nobody))
    busy = prices(flat(small=1.0))
    what = {"kind": "joules", "busy": busy, "idle_w": 1.0, "arrival_rate": 1.0}
    with pytest.raises(InputError, match="latency of large is not known"):
        pricer(flat(small=1, large=2), **what).request(PAIR, stages(nobody))


# --- the baseline --------------------------------------------------------------------------------


def accuracies(right, n=10):
    """Scores whose models get this many of n right."""
    answers = [[0] * count + [1] * (n - count) for count in right]
    return score_set([0] * n, answers, {"maxp": np.ones((len(right), n))})


CHANGE = Interval(0.1, -0.2, 0.3)


@pytest.mark.parametrize("baseline", MODELS)
def test_held_against_a_model(baseline):
    """Costs and accuracy are the model's own; the change is told as it was found."""
    right, cost = dict(zip(MODELS, (6, 9, 8), strict=True)), {"small": 1, "large": 9, "other": 5}
    one = Pricer(accuracies(right.values()), prices(flat(**cost)))
    price = one.compared(PAIR, stages(np.arange(10) < 5), baseline)
    assert price.baseline_cost == cost[baseline]
    assert price.saved.value == pytest.approx(1 - 5.5 / cost[baseline])
    assert (price.cost.value, price.cost_1, price.cost_2) == (5.5, 1, 9)
    held = held_against(one.scores, baseline, CHANGE)
    assert held == HeldAgainst(baseline, right[baseline] / 10, CHANGE)


def test_where_the_baseline_that_was_asked_for_is_right():
    scores = accuracies((6, 9, 8))
    assert Pricer(scores, prices(flat(small=1, large=9))).compared_with is None
    one = Pricer(scores, prices(flat(small=1, large=9, other=5)), baseline="other")
    assert one.compared_with.tolist() == [True] * 8 + [False] * 2


# --- intervals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("baseline", ["large", "other"])
def test_the_intervals_of_cost_and_saving_cover_them(baseline):
    """Costs measured with 3 % error (SD), B used by 30 %: A 1, B 3, another 2."""
    rng, runs, n, error = np.random.default_rng(6), 600, 400, 0.03
    truth = {"small": 1.0, "large": 3.0, "other": 2.0}
    scores = random_scores(rng, n)
    hits = {"cost": 0, "saved": 0}
    expected = {"cost": 1.9, "saved": 1 - 1.9 / truth[baseline]}
    for _ in range(runs):
        seen = {name: value * (1 + error * rng.normal()) for name, value in truth.items()}
        forward = {name: curve({1: value}, Z * error) for name, value in seen.items()}
        one = Pricer(scores, prices(forward), baseline=baseline)
        price = one.compared(PAIR, stages(rng.random(n) < 0.3), baseline)
        for key in hits:
            found = getattr(price, key)
            hits[key] += found.low <= expected[key] <= found.high
    for key, count in hits.items():
        assert 0.92 < count / runs < 0.98, key


def test_a_shared_error_cancels_in_what_is_saved():
    """All of the cost is B's own: however badly it is measured, nothing is saved."""
    forward = {"small": curve({1: 1e-9}), "large": curve({1: 3.0}, 0.5)}
    one = pricer(forward)
    price = one.compared(PAIR, stages(np.ones(10, bool)), "large")
    assert price.saved.value == pytest.approx(0, abs=1e-6)
    assert price.saved.high - price.saved.low < 1e-6
    assert price.cost.high - price.cost.low == pytest.approx(3.0)


# --- in simulate ---------------------------------------------------------------------------------


def test_pricing_changes_nothing_but_the_cost_fields(small_cache):
    from stages.scores import load

    scores = load(small_cache, "toy", "test")
    one = Cascade.of(("small", "large"), "maxp", 0.5, postcheck=True)
    plain = run(small_cache, scores, one)
    rich = run(small_cache, scores, one, pricer=Pricer(scores, prices(flat(small=1, large=9))))
    assert plain == replace(rich, price=StagePrice())
    assert plain.against.baseline is not None
    assert rich.price.cost.value == pytest.approx(1 + 9 * rich.usage.value)


def test_other_costs_need_the_cache_only(small_cache):
    """The dataset `toy` has no images, and its models no weights."""
    for device, times in (("desk", (1.0, 8.0, 4.0)), ("nano", (3.0, 5.0, 4.0))):
        for model, ms in zip(MODELS, times, strict=True):
            costs.merge(small_cache, "toy", [cost_row(model, ms, device=device)])
    args = ("simulate", "--dataset", "toy")
    args += ("-m1", "small", "-m2", "large", "-t", "0.6", "--cache", small_cache.root, "--json")
    rows = {d: cascade(*args, "--cost-device", d).json for d in ("desk", "nano")}
    for device, (a, b) in {"desk": (1, 8), "nano": (3, 5)}.items():
        row = rows[device]
        assert row["cost"] == pytest.approx(a + b * row["usage"])
        assert (row["cost_device"], row["cost_kind"], row["cost_unit"]) == (device, "latency", "ms")
        assert row["energy_j_per_request"] is None
    same = {key for key in rows["desk"] if rows["desk"][key] == rows["nano"][key]}
    assert {"accuracy", "usage", "escalated", "threshold", "n"} <= same
    shown = cascade(*args[:-1], "--cost-device", "nano").out
    assert "latency of all models on nano" in shown
    assert "no energy sensor: run `cascade doctor`" in shown
    refused = cascade(*args, "--cost-device", "nan").refusal
    assert "did you mean 'nano'" in refused
    assert cascade(*args, "--cost", "macs").refusal.endswith("give --cost joules or latency")


def test_without_any_cost_all_fields_are_null(small_cache):
    args = ("simulate", "--dataset", "toy", "-m1", "small", "-m2", "large", "-t", "0.6")
    found = cascade(*args, "--cache", small_cache.root, "--json")
    assert {found.json[key] for key in StagePrice().columns()} == {None}
    assert "run `cascade profile`" in found.err


def test_an_oracle_is_priced_by_its_mistakes():
    scores = random_scores(np.random.default_rng(1), 50)
    one = Cascade.of(("small", "large"), "oracle")
    found = decide(scores, one)
    row = priced(one, found, Pricer(scores, prices(flat(small=1, large=2))), "large")
    assert row.cost.value == pytest.approx(1 + 2 * (1 - scores.accuracy[0]))


def test_pricing_every_pair_is_quick():
    """A model alone is billed once, not once per cascade."""
    scores = random_scores(np.random.default_rng(2), 200)
    calls = []

    class Counting(Curve):
        def at(self, sizes, bound="values"):
            calls.append(1)
            return super().at(sizes, bound)

    one = np.array([1.0])
    forward = {name: Counting(np.array([1]), one, one, one) for name in MODELS}
    shared = Pricer(scores, prices(forward))
    for _ in range(20):
        shared.compared(PAIR, stages(scores.correct[0]), "large")
    assert len(calls) <= 3 * (len(MODELS) + 2 * 20)


def test_an_estimates_ends():
    found = Interval.around(2.0, 0.5)
    assert (found.low, found.high) == (1.5, 2.5)
    assert math.isclose(found.value, 2.0)
