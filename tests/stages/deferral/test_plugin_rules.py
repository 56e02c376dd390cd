"""Deferral rules of installed packages: compared like those built in, blamed in one line."""

from __future__ import annotations

import re

import pytest
from plugged import installed
from running import cascade
from three_models import make

ENTRIES = {"cascade.rules": {"own": "own_rules:ADDED"}}
# What maxp decides, by another name.
TWIN = """
import numpy as np
from stages.deferral import LOGITS_A, LOGITS_B, SCORES_ONLY, Rule, RuleScores, RuleView
from stages.scores import Score


def view(pair):
    a, b = pair.a.top[:, 0], pair.b.top[:, 0]
    return RuleView(pair, {numbers}, a, b)


def judge(fitting, reporting, final):
    return RuleScores(view(fitting), view(reporting))


ADDED = [Rule({name!r}, Score("twin", +1), {needs}, judge)]
"""
PAIR = ("rules", "-m1", "small", "-m2", "large", "-d", "toy")


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return make(tmp_path_factory.mktemp("rules") / "cache")[0]


def add(desk, numbers="a", name="twin", needs="(LOGITS_A, LOGITS_B)"):
    code = TWIN.format(numbers=numbers, name=name, needs=needs)
    return installed(desk, {"own_rules": code}, ENTRIES, "own-rules")


def test_a_twin_does_what_maxp_does(tmp_path, toy):
    with add(tmp_path):
        rows = cascade(*PAIR, "--rules", "twin,maxp", "--cache", toy, "--json").json["rows"]
        unasked = cascade(*PAIR, "--cache", toy, "--json").json["rows"]
    named = {"twin": [], "maxp": []}
    for row in rows:
        named[row["rule"]].append([row[key] for key in ("final", "objective", "accuracy", "usage")])
    assert named["twin"] == named["maxp"]
    assert len(named["twin"]) == 6
    assert "twin" not in {row["rule"] for row in unasked}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"numbers": "a[:3]"},
            r"its rule twin gives float64 \[3\] for 80 images, not",
        ),
        ({"numbers": "a * np.nan"}, "its rule twin gives nan, which is no finite number"),
        ({"numbers": "a > 0.5"}, r"its rule twin gives bool \[80\] for 80 images"),
        ({"numbers": "1 / 0"}, "its rule twin fails, ZeroDivisionError: division by zero"),
        ({"name": "margin"}, "it adds the rule margin, which is taken"),
        ({"name": "vote_share"}, "it adds the rule vote_share, which is taken"),
        ({"name": "oracle"}, "it adds the rule oracle, which is taken"),
        ({"name": "a b"}, "its rule's name 'a b' is none"),
        ({"needs": "('luck',)"}, "its rule twin needs luck, which is not known"),
        ({"needs": "3"}, "has needs 3, not tuple"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path, toy, wrong, message):
    with add(tmp_path, **wrong):
        refusal = cascade(*PAIR, "--rules", "twin", "--cache", toy).refusal
        assert cascade(*PAIR, "--rules", "maxp", "--cache", toy).status == 0
    assert "package own-rules: " in refusal
    assert re.search(message, refusal)
