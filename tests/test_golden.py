"""What every analysis command says of one fixed cache: see golden.py."""

from __future__ import annotations

import json

import golden
import golden_written
import pytest


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    return dict(golden.run(tmp_path_factory.mktemp("golden")))


FILES = sorted(path.name for path in golden.HERE.iterdir() if path.is_file())


@pytest.mark.parametrize("name", FILES)
def test_the_same_answer_as_before(said, name):
    there = (golden.HERE / name).read_text(encoding="utf-8")
    if name.endswith(".txt"):
        assert said[name] == there
    else:
        assert list(golden.differences(said[name], json.loads(there))) == []


def test_every_answer_is_held(said):
    assert sorted(said) == FILES


def test_a_difference_is_seen():
    there = json.loads((golden.HERE / "search.json").read_text(encoding="utf-8"))
    row = there["frontier"][0]
    changed = there | {
        "frontier": [row | {"accuracy": row["accuracy"] + 1e-8}, *there["frontier"][1:]]
    }
    assert len(list(golden.differences(changed, there))) == 1
    assert list(golden.differences({"a": 1.0}, {"a": 1.0 + 1e-12})) == []
    assert len(list(golden.differences({"a": [1, 2]}, {"a": [1], "b": None}))) == 2


@pytest.mark.parametrize("kind", [int, str, float])
def test_a_change_in_a_long_column_is_seen(kind):
    values = [kind(i) for i in range(50)]
    there = golden_written.column(values)
    assert len(json.dumps(there)) < 120
    for changed in (values[1:], [*values[:7], kind(8), kind(7), *values[9:]], [*values, None]):
        assert list(golden.differences(golden_written.column(changed), there))
    assert golden_written.column(values[:5]) == values[:5]
