"""`live --policy`: what the policy says is what runs, and nothing else."""

from __future__ import annotations

import json

import pytest
import tomli_w
from running import cascade

from stages.policy.format import read_policy

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")
RULE = ("-m1", "digits_wide", "-m2", "digits_plain", "-s", "entropy", "-p")
QUICK = ("--limit", "30", "--batch-size", "8", "--no-alone")


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A cache of two models of the digits, and a policy with a memory."""
    folder = tmp_path_factory.mktemp("desk")
    kept = ("--memory", "dhash", "--memory-size", "50")
    done = cascade("export", "--policy", folder / "p", *RULE, *kept, "--cache", folder / "cache")
    assert done.status == 0, done.err
    return folder


def live(desk, *args, policy="p"):
    return cascade("live", "--policy", desk / policy, *QUICK, "--cache", desk / "cache", *args)


def test_the_policy_runs(desk):
    found, says = live(desk, "--json").json, read_policy(desk / "p")
    for key in ("score", "threshold", "postcheck"):
        assert found[key] == says["rule"][key], key
    assert [found["model_1"], found["model_2"]] == [model["name"] for model in says["models"]]
    assert (found["memory"], found["memory_size"]) == ("dhash", 50)
    assert (found["n"], found["agreement"]["outside_noise"]) == (30, 0)
    assert (found["precision"], found["split"]) == ("fp32", "test")


def test_what_agrees_may_be_said_again(desk):
    same = ("-m1", "digits_wide", "-s", "entropy", "--device", "cpu", "--split", "val")
    limit = str(read_policy(desk / "p")["rule"]["threshold"])
    assert live(desk, *same, "-t", limit, "--json").json["split"] == "val"


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--model1", "digits_plain"),
        ("--model2", "digits_residual"),
        ("--scorefn", "maxp"),
        ("--threshold", "0.999"),
        ("--threshold", "always"),
        ("--memory", "invariants"),
        ("--memory-size", "51"),
        ("--precision", "bf16"),
        ("--dataset", "cifar10"),
        ("--device", "cuda"),
        ("--objective", "best"),
        ("--fit-split", "val"),
    ],
)
def test_contradictions_are_one_line(desk, flag, value):
    refusal = live(desk, flag, value).refusal
    assert f"{flag} {value} contradicts {desk / 'p' / 'policy.toml'}" in refusal


def changed(desk, name, change):
    """Edited by hand, and vouched for."""
    found = read_policy(desk / "p")
    del found["sha256"]
    change(found)
    (desk / name).mkdir()
    (desk / name / "policy.toml").write_text(tomli_w.dumps(found))


def test_other_weights_are_refused(desk):
    changed(desk, "other", lambda found: found["models"][1].update(weights_sha256="ab" * 32))
    refusal = live(desk, policy="other").refusal
    assert "digits_plain has weights" in refusal
    assert "abababababab" in refusal


def test_other_runtimes_are_refused(desk):
    changed(desk, "engine", lambda found: found["models"][0].update(runtime="import"))
    assert "live cannot run" in live(desk, policy="engine").refusal


def test_no_policy(desk):
    assert "cascade export --policy" in live(desk, policy="nowhere").refusal


@pytest.mark.parametrize(
    "how",
    [
        ("-m1", "digits_wide", "-t", "0.7", "--abstain", "0.2"),
        ("-m1", "digits_wide", "-m2", "digits_plain", "-t", "0.7,0.6", "-p", "--human", "0.98,9M"),
    ],
)
def test_what_is_left_to_nobody(desk, tmp_path, how):
    cache = ("--cache", desk / "cache")
    done = cascade("export", "--policy", tmp_path / "p", *how, *cache)
    assert done.status == 0, done.err
    log = ("--log", tmp_path / "log")
    found = cascade("live", "--policy", tmp_path / "p", *QUICK, *cache, *log, "--json").json
    last = how[-2].strip("-")
    assert found["agreement"]["outside_noise"] == 0
    assert found["agreement"]["simulated"]["unanswered"] == found["unanswered"] > 0
    assert found["abstained"] == found["unanswered"] / 30
    lines = [
        line for file in (tmp_path / "log").iterdir() for line in file.read_text().splitlines()
    ]
    answered = [json.loads(line) for line in lines]
    left = [line for line in answered if line["answered"] == last]
    assert len(left) == found["unanswered"]
    assert {line["prediction"] for line in left} == {-1}
    assert all(line["prediction"] != -1 for line in answered if line not in left)
    shown = cascade("live", "--policy", tmp_path / "p", *QUICK, *cache)
    assert "unanswered" in shown.out
