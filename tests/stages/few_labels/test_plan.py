"""A plan's file: read as it was written, refused where any byte is another."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from few_labels_cases import drawn, plan_of

from cache import InputError
from stages.few_labels.plan import parse

SCORES, CANDIDATES = drawn(1, 20)
PLAN = plan_of(
    SCORES, CANDIDATES[:2], epsilon=0.1, max_usage=0.25, per="predicted-class", strata=(0, 2)
)


def test_as_it_was_written():
    found = parse(PLAN.text(), "plan.json")
    assert found == PLAN
    assert [each.cascade for each in found.candidates] == [each.cascade for each in PLAN.candidates]
    told = json.loads(PLAN.text())
    digest = told.pop("sha256")
    body = json.dumps(told, indent=1, ensure_ascii=False)
    assert digest == hashlib.sha256(body.encode()).hexdigest() == PLAN.sha256


def test_any_byte_that_is_another_is_refused():
    data = PLAN.text().encode()
    for place in range(0, len(data), 7):
        for other in {data[place] ^ 1, data[place] ^ 32} - {data[place]}:
            changed = data[:place] + bytes([other]) + data[place + 1 :]
            with pytest.raises(InputError, match=r"not as it was written|of version"):
                parse(changed.decode("latin-1"), "plan.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "5", '{"version": 1}', "[" * 100_000])
def test_what_is_no_plan_is_refused_in_one_line(text):
    with pytest.raises(InputError, match="not as it was written") as told:
        parse(text, "plan.json")
    assert "\n" not in str(told.value)


def test_what_is_added_left_out_or_turned_round_is_refused():
    told = json.loads(PLAN.text())
    for change in (
        told | {"more": 1},
        {key: value for key, value in told.items() if key != "seed"},
        told | {"candidates": told["candidates"][::-1]},
        told | {"epsilon": 0.2},
        told | {"delta": "0.1"},
    ):
        with pytest.raises(InputError, match="not as it was written"):
            parse(json.dumps(change, indent=1) + "\n", "plan.json")
    for text in (PLAN.text() + "\n", PLAN.text().replace("\n", "\r\n"), " " + PLAN.text()):
        with pytest.raises(InputError, match="not as it was written"):
            parse(text, "plan.json")


def test_a_later_version_is_told():
    with pytest.raises(InputError, match="is of version 2, this one reads 1"):
        parse(replace(PLAN, version=2).text(), "plan.json")


def test_what_is_drawn_by_chance_is_fixed_by_the_seed_alone():
    again = replace(PLAN, epsilon=0.2, candidates=())
    assert PLAN.coins.tolist() == again.coins.tolist()
    assert sorted(PLAN.order.tolist()) == sorted(PLAN.drawn.tolist()) == list(range(PLAN.n))
    assert PLAN.order.tolist() != PLAN.drawn.tolist()
    half = replace(PLAN, n=20_000, share=0.5).coins
    assert abs(half.mean() - 0.5) < 0.02
    assert replace(PLAN, share=1.0).coins.all()
