"""What the tables of `threshold` and `search` leave out, and against what each row saves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers import cost_row, make_cache
from running import cascade

from cascade_cli.show.profile import show_costs
from cascade_cli.show.text import print_table
from stages import costs
from stages.costs import amount, interval, relative

MS = {"small": 1.0, "large": 4.0, "other": 1.2}


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    store = make_cache(tmp_path_factory.mktemp("toy") / "cache", n=200, seed=3)
    costs.merge(store, "toy", [cost_row(model, ms) for model, ms in MS.items()])
    return ("-d", "toy", "--cache", store.root)


def cells(line):
    return [cell for cell in line.split("  ") if cell]


def test_threshold_counts_the_pairs_that_are_no_cascade(where):
    rows = cascade("threshold", *where, "--json").json["rows"]
    never = sum(row["threshold"] == "never" for row in rows)
    assert 0 < never < len(rows)
    shown = cascade("threshold", *where).out
    head, *lines = shown.splitlines()
    assert not [line for line in lines[:20] if "  never  " in line]
    assert f"{never} more have λ never" in shown
    baselines = {row["baseline"] for row in rows}
    assert ("against" in cells(head)[-1]) == (len(baselines) > 1)
    assert ("with the model that its row names" in _joined(shown)) == (len(baselines) > 1)
    pair = cascade("threshold", "-m1", "large", "-m2", "small", *where)
    assert "more have λ never" not in pair.out


def _joined(text):
    return " ".join(text.split())


@pytest.mark.parametrize("alone", [None, "other"])
def test_a_pairs_points(where, alone):
    """The pair above, each accuracy once; what they are compared with below."""
    asked = ("threshold", "-m1", "small", "-m2", "large", *where, "-s", "maxp,difference")
    asked += ("--baseline", alone) if alone else ()
    rows = {_name(row): row for row in cascade(*asked, "--json").json["rows"]}
    shown = cascade(*asked).out
    title, head, *lines = shown.splitlines()
    one = next(iter(rows.values()))
    assert title == f"small → large, alone {one['accuracy_1']:.2%} and {one['accuracy_2']:.2%}"
    names = ["score", "point", "λ", "accuracy", "use of B", "cost", "compared", "points"]
    assert [cell.strip() for cell in cells(head)] == names
    assert len(rows) == 8
    for line in lines[:8]:
        rule, point, limit, accuracy, usage, _, compared, points = map(str.strip, cells(line))
        row = rows[rule, point]
        number = (
            row["threshold"] if isinstance(row["threshold"], str) else f"{row['threshold']:.6g}"
        )
        assert (limit, accuracy, usage) == (number, f"{row['accuracy']:.2%}", f"{row['usage']:.1%}")
        assert compared == relative(row["saved"])
        assert points == f"{100 * row['accuracy_change']:+.2f}"
        assert row["baseline"] == (alone or one["baseline"])
    assert f"in points of accuracy, with {alone or one['baseline']}" in _joined(shown)
    assert max(map(len, shown.splitlines())) <= 100


def _name(row):
    return row["score"] + (" -p" if row["postcheck"] else ""), row["objective"]


def test_without_costs_a_pairs_accuracy_has_its_interval(tmp_path):
    store = make_cache(tmp_path, splits=("test",), n=60)
    asked = ("threshold", "-m1", "small", "-m2", "large", "-s", "maxp", "--cache", store.root)
    rows = cascade(*asked, "--json").json["rows"]
    shown = cascade(*asked).out
    for row in rows:
        ends = f"{row['accuracy_low']:.2%} to {row['accuracy_high']:.2%}"
        assert f"{row['accuracy']:.2%}" in shown
        assert ends in shown
    assert "crossfit" not in " ".join(rows[0])
    assert "decided by the λ of the others, 10 times over" in _joined(shown)
    assert max(map(len, shown.splitlines()[:6])) <= 80


@pytest.mark.parametrize(
    ("value", "unit", "told"),
    [
        (123929.6, "multiply-adds", "123.9 k multiply-adds"),
        (8832, "multiply-adds", "8.832 k multiply-adds"),
        (3.6258e-3, "J", "3.626 mJ"),
        (12.3456, "J", "12,346 mJ"),
        (4.2e-6, "J", "0.004200 mJ"),
        (0.26185, "ms", "0.2619 ms"),
        (104.96, "ms", "105.0 ms"),
        (1.2345, "model runs", "1.234 model runs"),
        (0.0, "J", "0 mJ"),
    ],
)
def test_a_cost_is_told_in_digits_that_can_be_read(value, unit, told):
    assert amount(value, unit) == told


def test_an_interval_has_the_decimals_of_its_value():
    assert interval(4.003e-3, 9.9e-4, 0.0141, "J") == "4.003 (0.990 to 14.100)"
    macs = interval(105698, 87410.9, 123985.1, "multiply-adds")
    assert macs == "105.7 k (87.4 k to 124.0 k)"


def test_written_numbers_stand_at_the_right_of_a_table(capsys):
    rows = [{"name": "a", "cost": "8,832", "limit": "never"}]
    rows += [{"name": "bb", "cost": "123,930", "limit": 0.5}, {"name": "c", "cost": None}]
    print_table(rows, {"name": "name", "cost": "cost", "limit": "limit"})
    assert capsys.readouterr().out.splitlines() == [
        *("name     cost  limit", "a       8,832  never", "bb    123,930  0.5"),
        "c           –  –",
    ]


def test_joules_are_told_with_their_error_in_the_same_decimals(capsys):
    row = cost_row("a", 1.0, latency_p50_ms=1.0, latency_p99_ms=1.0, windows=5, meter="nvml")
    known = ((12.3, None, None), (3.626e-3, 3.64e-3, 2e-3), (None, None, None))
    names = ("energy_j", "energy_high_j", "energy_above_idle_j")
    show_costs([replace(row, **dict(zip(names, values, strict=True))) for values in known])
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[-5:-2] for line in lines] == [
        *(["12,300", "–", "–"], ["3.626", "0.014", "2.000"], ["–", "–", "–"])
    ]
