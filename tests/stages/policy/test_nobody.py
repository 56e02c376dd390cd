"""Policies whose last stage is no model: written, read, run, logged and checked."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections import Counter

import numpy as np
import pytest
import tomli_w
from helpers import fingerprint_of, make_cache, tied_logits, write_logits, write_samples
from running import cascade

from cache import InputError, Store
from stages import policy
from stages.policy.format import policy_digest, read_policy
from stages.policy.runtime import DeployedCascade
from stages.scores import Nobody, scores_of

A, B = "small", "large"
KINDS = {
    "one": ("-m1", A, "-t", "0.6", "--human", "0.9,0"),
    "two": ("-m1", A, "-m2", B, "-t", "0.7,0.5", "--abstain", "0.25"),
    "surer": ("-m1", A, "-m2", B, "-t", "0.7,0.6", "-p", "--human", "0.9,0"),
    "entropy": ("-m1", A, "-m2", B, "-s", "entropy", "-t", "0.5,0.7", "-p", "--abstain", "0.1"),
    "fitted": ("-m1", A, "--abstain", "0.3", "--fit-split", "val", "--max-abstained", "0.2"),
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A cache of toys, and a policy of each kind."""
    folder = tmp_path_factory.mktemp("desk")
    make_cache(folder / "cache", n=120)
    for kind, how in KINDS.items():
        done = cascade(
            *("export", "--policy", folder / kind, "--dataset", "toy", "--split", "test"),
            *(*how, "--cache", folder / "cache"),
        )
        assert done.status == 0, done.err
    return folder


def module_of(folder):
    """What an application imports."""
    spec = importlib.util.spec_from_file_location("cascade_policy", folder / "cascade_policy.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def one_request(rule, outs, stages):
    """(stage, answered, prediction) of one request by the rule: A, perhaps B, then nobody."""
    sign = -1 if rule["score"] == "entropy" else 1
    sure = [sign * float(out[rule["score"]][0]) for out in outs]
    answers = [int(out["prediction"][0]) for out in outs]
    limits = [rule[key] for key in ("threshold", "threshold_2") if key in rule]
    best = 0
    for j, limit in enumerate(limits):
        if sure[j] >= sign * limit:
            return j, best, answers[best]
        if j + 1 < stages and (not rule["postcheck"] or sure[j + 1] > sure[best]):
            best = j + 1
    return stages, stages, -1


@pytest.mark.parametrize("kind", KINDS)
def test_the_exported_file_answers_by_the_rule(desk, kind):
    rng = np.random.default_rng(7)
    says = read_policy(desk / kind)
    stages = len(says["models"])
    logits = [tied_logits(rng, 300, spread=1.5) for _ in range(stages)]
    ran = Counter()

    def model(j):
        def given(rows):
            ran[j] += len(rows)
            return logits[j][rows]

        return given

    deployed = module_of(desk / kind).Cascade.load(desk / kind)
    found = deployed.answer(*map(model, range(stages)), np.arange(300))
    wanted = [
        one_request(says["rule"], [scores_of(each[i : i + 1]) for each in logits], stages)
        for i in range(300)
    ]
    told = zip(found.stage, found.answered, found.prediction, strict=True)
    assert [tuple(map(int, each)) for each in told] == wanted
    assert found.unanswered.tolist() == [prediction == -1 for *_, prediction in wanted]
    assert 0 < found.unanswered.sum() < 300
    assert np.isnan(found.score[found.unanswered]).all()
    assert [ran[j] for j in range(stages)] == [
        sum(stage >= j for stage, *_ in wanted) for j in range(stages)
    ]


def test_it_is_read_as_it_was_written(desk):
    one, two = (policy.read(desk / kind) for kind in ("one", "two"))
    assert one.cascade.models == (A, "human")
    assert two.cascade.models == (A, B, "abstain")
    assert one.nobody == Nobody.human(0.9)
    assert two.nobody == Nobody.abstain(0.25)
    assert [each.name for each in two.models] == [A, B]
    left = two.promise.left
    assert left.unanswered == two.promise.escalated_2
    assert left.loss.value == pytest.approx(
        (two.promise.answered - two.promise.right + 0.25 * left.unanswered) / two.promise.images
    )
    assert policy.read(desk / "surer").cascade.postcheck


def test_the_cap_holds_where_it_was_fitted(desk):
    says = read_policy(desk / "fitted")
    assert says["fit"]["usage"] <= 0.2
    loose = cascade(
        *("simulate", "--dataset", "toy", "-m1", A, "--abstain", "0.3", "--fit-split", "val"),
        *("--cache", desk / "cache", "--json"),
    ).json
    assert loose["fit_usage"] > 0.2


def edited(folder, tmp_path, change):
    found = read_policy(folder)
    del found["sha256"]
    change(found)
    (tmp_path / "policy.toml").write_text(tomli_w.dumps(found))
    return tmp_path


def sets(table, **values):
    return lambda found: found[table].update(values)


def drops(table, *keys):
    return lambda found: [found[table].pop(key) for key in keys]


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("one", sets("nobody", name="me"), 'nobody.name is "me", expected "abstain" or "human"'),
        ("one", sets("nobody", accuracy=1.5), "nobody.accuracy is 1.5, expected a finite float"),
        ("one", sets("nobody", accuracy=0.8), "promise.expected_accuracy is"),
        ("one", drops("nobody", "accuracy"), "expected nobody.accuracy of human"),
        ("one", sets("nobody", loss=0.1), "expected no nobody.loss of human"),
        ("one", sets("nobody", price=0.1), "nobody.kind is missing, expected it beside"),
        ("one", sets("nobody", cost=0.1), "nobody.cost is no key of a policy"),
        ("one", sets("rule", postcheck=True), "expected rule.postcheck false of one model"),
        ("one", sets("rule", on_error="answer of A"), "expected no rule.on_error beside the table"),
        ("one", sets("rule", threshold_2=0.5), "expected rule.threshold_2 of three stages"),
        ("one", sets("promise", unanswered=3), "promise.unanswered is 3, expected"),
        ("one", sets("promise", accuracy_2=0.5), "as human is no model"),
        ("one", drops("promise", "unanswered"), "promise.unanswered is missing, expected it"),
        ("two", sets("nobody", loss=0.5), "promise.loss is"),
        ("two", sets("nobody", loss=-0.5), "nobody.loss is -0.5, expected a finite float of 0"),
        ("two", sets("nobody", accuracy=0.5), "expected no nobody.accuracy of abstain"),
        ("two", sets("promise", expected_accuracy=0.5), "promise.expected_accuracy of human"),
        ("two", drops("rule", "threshold_2"), "expected rule.threshold_2 of three stages"),
        ("two", lambda found: found.pop("nobody"), "nobody.name is missing, expected it beside"),
        ("two", sets("promise", abstained=0.9), "promise.abstained is 0.9"),
        ("two", sets("promise", answered_accuracy=0.1), "at most promise.answered_accuracy, 0.1"),
        (
            "two",
            lambda found: found.update(schema_version=2),
            "found.update",
        ),
    ],
)
def test_an_edited_file_is_refused_in_one_line(desk, tmp_path, kind, change, words):
    folder = edited(desk / kind, tmp_path, change)
    if words == "found.update":
        words = "only in schema_version 3"
    with pytest.raises(InputError, match=r"policy\.toml") as error:
        policy.read(folder)
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    with pytest.raises(ValueError, match=r"policy\.toml"):
        DeployedCascade.load(folder)


def test_without_it_nothing_is_promised_of_it(desk, tmp_path):
    folder = tmp_path / "plain"
    cascade(
        *("export", "--policy", folder, "--dataset", "toy", "-m1", A, "-m2", B, "-t", "0.6"),
        *("--cache", desk / "cache"),
    )
    says = read_policy(folder)
    assert "nobody" not in says
    assert says["schema_version"] == 2
    assert not {"unanswered", "abstained", "loss"} & says["promise"].keys()
    with pytest.raises(InputError, match="expected it beside"):
        policy.read(edited(folder, tmp_path, sets("promise", unanswered=1)))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"last": "me"}, "last is"),
        ({"last": "human", "postcheck": True}, "a post-check before human takes two models"),
        ({"last": "human", "on_error": "answer of A"}, "human ends only what"),
        ({"last": "human", "final": "ensemble"}, "human ends only what"),
        ({"last": "human", "classes": (4, 4)}, "2 models and human take 2 λ, found 1"),
    ],
)
def test_what_is_no_rule(how, words):
    with pytest.raises(ValueError, match=words):
        DeployedCascade("maxp", 0.5, **({"classes": (4,)} | how))


def test_the_log_names_it(desk, tmp_path):
    logits = tied_logits(np.random.default_rng(8), 60)
    deployed = module_of(desk / "one").Cascade.load(desk / "one", log=tmp_path / "log")
    keys = [f"{i}.png" for i in range(60)]
    found = deployed.answer(lambda rows: logits[rows], np.arange(60), keys=keys)
    deployed.log.close()
    [file] = (tmp_path / "log").iterdir()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["answered"] for line in lines] == [
        "human" if sent else A for sent in found.unanswered
    ]
    assert [line["prediction"] for line in lines] == found.prediction.tolist()
    assert {tuple(line["models"]) for line in lines} == {(A,)}
    assert [line["escalated"] for line in lines] == found.unanswered.tolist()
    labels = tmp_path / "labels.csv"
    labels.write_text("key,label\n" + "".join(f"{key},{i % 4}\n" for i, key in enumerate(keys)))
    done = cascade(
        *("import", "--dataset", "live", "--split", "log", "--log", tmp_path / "log"),
        *("--labels", labels, "--cache", tmp_path / "cache"),
    )
    assert done.status in (0, 2), done.err
    assert "Traceback" not in done.err


def test_a_memory_is_not_told_what_nobody_answered():
    limits = {"digest": lambda each: np.asarray(each, np.uint8)[:, None], "classes": (4,)}
    from stages.cascade import MemoryPolicy

    deployed = DeployedCascade("maxp", 0.6, False, MemoryPolicy("own"), last="abstain", **limits)
    logits = np.array([[9, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    for hits in ([False, False], [True, False]):
        found = deployed.answer(lambda rows: logits[rows], np.arange(2))
        assert found.prediction.tolist() == [0, -1]
        assert found.hit.tolist() == hits


def shifted(folder, unsure):
    """The same toys where A is less sure, or more often wrong."""
    rng, store = np.random.default_rng(9), Store(folder)
    labels = rng.integers(0, 4, 400)
    write_samples(store, "test", labels)
    for model in (A, B):
        logits = tied_logits(rng, 400)
        logits[np.arange(400), labels] += 2
        logits = logits * 0.3 if unsure else logits[:, ::-1]
        write_logits(store, "test", model, labels, logits)
    assert fingerprint_of(labels)
    return folder


@pytest.mark.parametrize(
    ("unsure", "worse"), [(True, {"abstained"}), (False, {"answered_accuracy", "loss"})]
)
def test_check_tells_which_promise_is_missed(desk, tmp_path, unsure, worse):
    for kind in ("one", "two"):
        same = cascade("check", desk / kind, "--cache", desk / "cache", "--json")
        assert same.status == 0, same.err
        names = [each["name"] for each in same.json["figures"]]
        wanted = ["answered_accuracy", *["usage"] * (kind == "two"), "abstained", "loss"]
        assert names == wanted
    other = shifted(tmp_path / "cache", unsure)
    found = cascade("check", desk / "one", "--cache", other, "--json")
    assert found.status == 3, found.err
    assert worse <= set(json.loads(found.out)["regressions"])
    shown = cascade("check", desk / "one", "--cache", other)
    assert "share unanswered" in shown.out
    assert all(len(line) <= 100 for line in shown.out.splitlines())
    allowed = cascade(
        *("check", desk / "one", "--cache", other, "--json"),
        *("--allow", "accuracy=99pt,use=99pt,loss=100000%"),
    )
    assert allowed.status == 0


def test_the_same_scores_tell_an_edit(desk, tmp_path):
    """Counts that agree with one another, and not with the scores."""

    def one_less(found):
        promise = found["promise"]
        for key in ("unanswered", "escalated"):
            promise[key] -= 1
        for key in [*promise]:
            if key.startswith(("usage", "abstained", "loss", "expected", "answered_accuracy")):
                del promise[key]

    folder = edited(desk / "one", tmp_path, one_less)
    with pytest.raises(InputError):
        policy.read(folder)


def test_the_digest_is_of_all(desk):
    says = read_policy(desk / "one")
    assert says["sha256"] == policy_digest(says)
