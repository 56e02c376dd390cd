"""What the tables of `threshold` and `search` leave out, and against what each row saves."""

from __future__ import annotations

import pytest
from helpers import make_cache
from running import cascade

from cascade_cli.costs import show_costs
from cascade_cli.output import print_table
from stages import amounts, costs

MS = {"small": 1.0, "large": 4.0, "other": 1.2}


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    store = make_cache(tmp_path_factory.mktemp("toy") / "cache", n=200, seed=3)
    for model, ms in MS.items():
        row = {"device": "desk", "component": "forward", "batch_size": 1, "meter": "none"}
        row |= {"source": "profile", "latency_ms": ms, "measured": "2026-01-01"}
        costs.merge(store, "toy", "torch-fp32-cpu", model, [row])
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
    assert ("against" in cells(head)[-1]) == ("against the model that its row names" in shown)
    pair = cascade("threshold", "-m1", "large", "-m2", "small", *where)
    assert "more have λ never" not in pair.out


def test_the_hull_names_what_each_row_saves_against(where):
    found = cascade("search", *where, "--best-accuracy", "--json").json
    baselines = [row["baseline"] for row in found["hull"]]
    assert len(set(baselines)) > 1
    shown = cascade("search", *where, "--best-accuracy").out
    table = shown.partition("upper hull")[2].splitlines()[1:]
    assert cells(table[0])[-1].strip() == "against"
    said = [cells(line)[-1].strip() for line in table[1 : 1 + len(baselines)]]
    assert said == baselines
    assert "saved against the model that its row names" in shown


@pytest.mark.parametrize(
    ("value", "unit", "told"),
    [
        (123929.6, "multiply-adds", "123,930 multiply-adds"),
        (8832, "multiply-adds", "8,832 multiply-adds"),
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
    assert amounts.amount(value, unit) == told


def test_an_interval_has_the_decimals_of_its_value():
    assert amounts.interval(4.003e-3, 9.9e-4, 0.0141, "J") == "4.003 (0.990 to 14.100)"
    macs = amounts.interval(105698, 87410.9, 123985.1, "multiply-adds")
    assert macs == "105,698 (87,411 to 123,985)"


def test_written_numbers_stand_at_the_right_of_a_table(capsys):
    rows = [{"name": "a", "cost": "8,832", "limit": "never"}]
    rows += [{"name": "bb", "cost": "123,930", "limit": 0.5}, {"name": "c", "cost": None}]
    print_table(rows, {"name": "name", "cost": "cost", "limit": "limit"})
    assert capsys.readouterr().out.splitlines() == [
        *("name     cost  limit", "a       8,832  never", "bb    123,930  0.5"),
        "c           –  –",
    ]


def test_joules_are_told_with_their_error_in_the_same_decimals(capsys):
    row = dict.fromkeys(("latency_ms", "latency_p50_ms", "latency_p99_ms"), 1.0)
    row |= {"model": "a", "component": "forward", "warnings": None, "windows": 5, "meter": "nvml"}
    known = ((12.3, None, None), (3.626e-3, 3.64e-3, 2e-3), (None, None, None))
    names = ("energy_j", "energy_high_j", "energy_above_idle_j")
    show_costs([row | dict(zip(names, values, strict=True)) for values in known])
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[-5:-2] for line in lines] == [
        *(["12,300", "–", "–"], ["3.626", "0.014", "2.000"], ["–", "–", "–"])
    ]
