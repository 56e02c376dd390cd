"""What a policy of version 3 may say, and what it may not: refused in one line by all."""

from __future__ import annotations

import numpy as np
import pytest
import tomli_w
from helpers import make_cache
from running import cascade

from cache import InputError
from stages import policy, scores as scoring, simulate
from stages.cascade import Cascade, Limit
from stages.policy.format import policy_digest, read_policy
from stages.policy.runtime import DeployedCascade

NAMES = A, B, C = ("first", "second", "third")
T = {A: {"temperature": 1.5}, B: {"temperature": 0.8}}
PLATT = {name: {"slope": 2.0, "intercept": -0.5} for name in (A, B)}
KNOTS = {name: {"x": [0.2, 0.5, 0.9], "y": [0.1, 0.6, 1.0]} for name in (A, B)}
LEARNED = {
    A: {
        "mean": [0.0] * 15,
        "scale": [1.0] * 15,
        "weights": [0.1] * 30,
        "offsets": [0.0, 0.1],
        "gains": [-1.0, 1.0],
    }
}
KINDS = {
    "alone": lambda: Cascade.of((B,)),
    "chain": lambda: Cascade.of(NAMES, "maxp", 0.6, 0.5),
    "mean": lambda: Cascade.of((A, B), "maxp", 0.6, ensemble=True),
    "vote": lambda: Cascade.committee((A, B), C, Limit("at", 1.0)),
    "tempered": lambda: Cascade.of((A, B), "temperature(entropy)", 0.5, coefficients=T),
    "platt": lambda: Cascade.of((A, B), "platt(maxp)", 0.5, postcheck=True, coefficients=PLATT),
    "knots": lambda: Cascade.of((A, B), "isotonic(maxp)", 0.5, coefficients=KNOTS),
    "learned": lambda: Cascade.of((A, B), "learned(maxp)", -0.1, coefficients=LEARNED),
    "margin": lambda: Cascade.of((A, B), "logits(margin)", 1.5, coefficients={A: {}, B: {}}),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One of each kind, of models with 4 classes."""
    desk = tmp_path_factory.mktemp("desk")
    store = make_cache(desk / "cache", models=NAMES, n=80)
    for kind, made in KINDS.items():
        scores = simulate.ready(store, scoring.load(store, "toy", "test", NAMES), made())
        found = policy.document(store, scores, made(), simulate.run(store, scores, made()))
        for model in found["models"]:
            model["classes"] = 4
        found["sha256"] = policy_digest(found)
        policy.write(desk / kind, found)
    return desk


def edited(folders, tmp_path, kind, change):
    found = read_policy(folders / kind)
    del found["sha256"]
    change(found)
    (tmp_path / "policy.toml").write_text(tomli_w.dumps(found))
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_read_as_it_was_written(kind, folders):
    made = policy.read(folders / kind).cascade
    wanted = KINDS[kind]()
    assert (made.models, made.final, made.postcheck) == (
        wanted.models,
        wanted.final,
        wanted.postcheck,
    )
    assert [limit.threshold for limit in made.limits] == [x.threshold for x in wanted.limits]
    assert made.coefficients == wanted.coefficients
    assert DeployedCascade.load(folders / kind).models == wanted.models


def rule(**values):
    return lambda found: found["rule"].update(values)


def without(table, key):
    return lambda found: found[table].pop(key)


def coefficient(**values):
    return lambda found: found["models"][0]["coefficients"].update(values)


def classes(row, count):
    return lambda found: found["models"][row].update(classes=count)


BAD = [
    ("chain", rule(on_error="answer of A"), "rule.on_error of two models"),
    ("chain", without("rule", "threshold_2"), "rule.threshold_2 of three models"),
    ("chain", lambda found: found["models"].pop(), "rule.threshold_2 of three models"),
    ("chain", without("promise", "escalated_2"), "promise.escalated_2 of three stages"),
    ("chain", lambda found: found.update(schema_version=2), "expected an array of 2 tables"),
    ("mean", lambda found: found.update(schema_version=2), "rule.final only in schema_version 3"),
    ("mean", rule(final="means"), 'rule.final is "means", expected "ensemble"'),
    ("mean", rule(postcheck=True), "rule.final of two models that give logits"),
    ("mean", rule(outputs="answers"), "rule.final of two models that give logits"),
    ("mean", rule(threshold_2=0.5), "rule.threshold_2 of three models"),
    ("mean", classes(1, 5), "models of the same classes where they answer together"),
    ("vote", classes(2, 5), "models of the same classes where they answer together"),
    ("vote", without("rule", "members"), "rule.members, and one model more, of vote_share"),
    ("vote", rule(members=3), "rule.members is 3, expected an integer of 2"),
    ("vote", rule(threshold=0.3), "rule.threshold above the vote share of two that differ"),
    ("vote", rule(score="maxp"), "rule.members, and one model more, of vote_share"),
    ("alone", rule(threshold=0.5), 'rule.threshold "never" of one model'),
    ("tempered", rule(score="temperature(oracle)"), "rule.score temperature(maxp or"),
    ("tempered", rule(score="temperature(foo)"), "rule.score temperature(maxp or"),
    ("tempered", coefficient(temperature=0.0), "a temperature from 0.001 to 1000"),
    ("tempered", coefficient(temperature=10**400), "temperature as a number"),
    ("tempered", coefficient(slope=1.0), "temperature, and no others"),
    ("tempered", lambda found: found["models"][1].pop("coefficients"), "models[1].coefficients"),
    ("tempered", rule(score="maxp"), "no models[0].coefficients where λ is of maxp"),
    ("platt", coefficient(slope=-1.0), "a slope that does not fall"),
    ("platt", rule(score="platt(foo)"), "rule.score platt(maxp or"),
    ("platt", rule(threshold=1.5), "rule.threshold is 1.5, expected a float from 0 to 1"),
    ("knots", coefficient(x=[0.5, 0.2, 0.9]), "x that ascends"),
    ("knots", coefficient(y=[0.1, 0.6, 7.0]), "from 0 to 1"),
    ("knots", coefficient(y=[0.1]), "as many y"),
    ("knots", coefficient(x=[]), "x as numbers"),
    ("learned", coefficient(mean=[0.0] * 14), "the 15 features of 4 classes"),
    ("learned", coefficient(scale=[0.0] * 15), "a scale above 0"),
    ("learned", coefficient(gains=[1.0]), "weights of each for each of the gains"),
    ("margin", rule(score="logits(foo)"), "rule.score logits(margin or energy)"),
    ("margin", rule(score="margin"), 'rule.score is "margin", expected "maxp" or'),
]


@pytest.mark.parametrize(("kind", "change", "words"), BAD)
def test_what_cannot_be_is_one_line(kind, change, words, folders, tmp_path):
    place = edited(folders, tmp_path, kind, change)
    with pytest.raises(InputError) as told:
        policy.read(place)
    assert words in str(told.value)
    assert "\n" not in str(told.value)
    with pytest.raises(ValueError) as runtime:  # noqa: PT011 (the words are those of the other)
        DeployedCascade.load(place)
    assert str(runtime.value) == str(told.value)


def test_commands_say_the_same(folders, tmp_path):
    place = edited(folders, tmp_path, "tempered", coefficient(temperature=0.0))
    where = ("--cache", folders / "cache")
    lines = {
        cascade(*command, *where).refusal
        for command in (("check", place), ("simulate", "--policy", place))
    }
    assert len(lines) == 1


def test_constructors_count_their_limits():
    for given, words in (
        (("maxp", "always"), "2 models take 1 λ, found 2"),
        (("vote_share", 1.0), "two that vote and one that answers"),
    ):
        more = {"threshold_2": "always"} if given[0] == "maxp" else {}
        with pytest.raises(ValueError, match=words):
            DeployedCascade(*given, **more)


@pytest.mark.parametrize("given", [2, 3, 6])
def test_so_many_models_as_the_policy_has(given, folders):
    running = DeployedCascade.load(folders / "chain")
    values = [np.zeros((1, 4), np.float32).__getitem__] * given
    with pytest.raises(ValueError, match=r"takes answer\(first, second, third, batch\), found"):
        running.answer(*values)
