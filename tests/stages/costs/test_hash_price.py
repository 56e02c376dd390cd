"""What a memory's hashing costs: counted, measured where it is made, never taken for nothing."""

from __future__ import annotations

import pytest
from helpers import cost_row
from running import cascade

from cache import Store
from stages import costs
from stages.policy.format import read_policy

pytest.importorskip("torch")

PAIR = ("-m1", "digits_separable", "-m2", "digits_wide")
SPENT = ("cost", "cost_low", "cost_high", "saved", "saved_low", "saved_high")


@pytest.fixture(scope="module")
def here():
    from stages.runtimes import device_name, open_device

    return device_name(open_device(None))


@pytest.fixture
def priced(tmp_path, here):
    """Logits of `test`, and latencies of both models here and on a `desk`."""
    models = ("--models", "digits_separable,digits_wide")
    assert cascade("extract", *models, "--split", "test", "--cache", tmp_path / "c").status == 0
    for model, ms in (("digits_separable", 1.0), ("digits_wide", 4.0)):
        rows = [cost_row(model, ms, device=device) for device in (here, "desk")]
        costs.merge(Store(tmp_path / "c"), "digits", rows)
    return tmp_path / "c"


def simulated(root, *flags):
    asked = ("simulate", *PAIR, "-t", "0.8", "-d", "1", "-m", "dhash", "--cache", root, *flags)
    return cascade(*asked, "--json").json, cascade(*asked).out


def test_hashes_that_simulate_makes_are_measured_and_counted(priced, here):
    found, shown = simulated(priced, "--cost-device", here)
    [row] = costs.read(Store(priced), "digits", ["hash:dhash"])["hash:dhash"]
    assert (found["hash_cost"], found["hash_counted"]) == (row.latency_ms, True)
    forward = (1 - found["hit_rate"]) * 1.0 + found["usage"] * 4.0
    assert found["cost"] == pytest.approx(forward + row.latency_ms)
    assert "without hashing" not in shown.partition("cost per request")[2]


def test_an_unknown_hash_makes_cost_and_saving_unknown(priced):
    found, shown = simulated(priced, "--cost-device", "desk")
    assert [found[key] for key in SPENT] == [None] * len(SPENT)
    assert (found["hash_counted"], found["cost_2"], found["baseline_cost"] > 0) == (
        False,
        4.0,
        True,
    )
    assert "by dhash on desk are unknown: run `cascade hash --dataset digits" in shown
    assert found["hash_reason"] in shown
    assert "saved against" not in shown


def test_multiply_adds_are_without_hashing_and_say_so(priced):
    found, shown = simulated(priced, "--cost", "macs")
    assert (found["hash_cost"], found["hash_counted"], found["hash_reason"]) == (None, False, None)
    assert found["cost"] == pytest.approx(found["macs_per_request"])
    assert shown.count("without hashing") == 1


@pytest.mark.parametrize(
    ("flags", "counted", "cost"),
    [(("--cost", "macs"), False, True), (("--cost-device", "desk"), False, False)],
)
def test_a_policy_promises_likewise(priced, tmp_path, flags, counted, cost):
    asked = ("-d", "digits", *PAIR, "-t", "0.8", "-m", "dhash", "--cache", priced)
    done = cascade("export", "--policy", tmp_path / "p", *asked, *flags)
    assert done.status == 0, done.err
    promise = read_policy(tmp_path / "p")["promise"]
    assert (promise["hash_counted"], "cost" in promise) == (counted, cost)
    assert ("hash_reason" in promise, "saved" in promise) == (not cost, cost)
    assert ("without hashing" if cost else promise["hash_reason"]) in done.out
    done = cascade("check", tmp_path / "p", "--cache", priced, "--json")
    assert [each["name"] for each in done.json["figures"]] == ["accuracy", "usage", "cost"][
        : 2 + cost
    ]
