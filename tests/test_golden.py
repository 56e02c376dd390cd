"""What every analysis command says of one fixed cache: see golden.py."""

from __future__ import annotations

import json

import golden
import pytest


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    return dict(golden.run(tmp_path_factory.mktemp("golden")))


@pytest.mark.parametrize("name", golden.COMMANDS)
def test_the_same_answer_as_before(said, name):
    there = json.loads((golden.HERE / f"{name}.json").read_text(encoding="utf-8"))
    assert list(golden.differences(said[name], there)) == []


def test_a_difference_is_seen():
    there = json.loads((golden.HERE / "search.json").read_text(encoding="utf-8"))
    row = there["frontier"][0]
    changed = there | {
        "frontier": [row | {"accuracy": row["accuracy"] + 1e-8}, *there["frontier"][1:]]
    }
    assert len(list(golden.differences(changed, there))) == 1
    assert list(golden.differences({"a": 1.0}, {"a": 1.0 + 1e-12})) == []
    assert len(list(golden.differences({"a": [1, 2]}, {"a": [1], "b": None}))) == 2
