"""Costs: what is kept, what is read, and which of it a question is answered with."""

from __future__ import annotations

import math
import re
from dataclasses import MISSING, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pyarrow as pa
import pytest
from helpers import cost_row, tied_logits, write_logits, write_samples
from hypothesis import given, strategies as st
from running import cascade

from cache import COSTS, QUICK, CostRow, InputError, Store, find, read_table
from stages import costs
from stages.costs import drop
from stages.costs.table import Curve

CPU, GPU = "torch-fp32-cpu", "torch-fp32-cuda"


def row(device="desk", size=1, **more):
    """A costs row of `small`, or of what `more` says."""
    usual = {"model": "small", "measured": "2025-01-01T00:00:00+00:00"}
    return cost_row(**(usual | {"device": device, "batch_size": size} | more))


# --- the table -----------------------------------------------------------------------------------

KINDS = {pa.string(): str, pa.int32(): int, pa.int64(): int, pa.float64(): float}


def test_the_columns_are_the_fields_of_a_row():
    """In order; those that may be None are nullable, and the others have no default."""
    hints = get_type_hints(CostRow)
    assert list(hints) == ["model", "runtime", *COSTS.names]
    for column in COSTS:
        kind = KINDS[column.type]
        assert hints[column.name] == (kind | None if column.nullable else kind), column.name
    required = [field.name for field in fields(CostRow) if field.default is MISSING]
    assert required == ["model", "runtime", *(c.name for c in COSTS if not c.nullable)]


def test_the_documentation_lists_the_columns_and_their_types():
    page = Path(__file__).parents[3].joinpath("docs", "cache.md").read_text()
    table = page.split("**costs**:")[1].split("|---|---|---|\n")[1].split("\n\n")[0]
    listed = []
    for line in table.splitlines():
        _, names, kinds, *_ = line.split("|")
        names, kinds = re.findall(r"`(\w+)`", names), kinds.strip().split(", ")
        listed += zip(names, kinds * len(names) if len(kinds) == 1 else kinds, strict=True)
    assert listed == [(c.name, str(c.type).replace("double", "float64")) for c in COSTS]


def test_rows_are_written_in_the_types_of_before(store):
    """What files of this schema version have, spelt out: other programs read them."""
    costs.merge(store, "toy", [row(latency_ms=1.0)])
    [manifest] = find(store, "costs", "toy")
    schema = read_table(store, manifest).schema
    wide = {"runs", "ticks", "macs", "parameters", "peak_memory_bytes"}
    assert {f.name for f in schema if f.type == pa.int32()} == {"batch_size", "windows"}
    assert {f.name for f in schema if f.type == pa.int64()} == wide
    required = {"device", "component", "batch_size", "meter", "source"}
    assert {f.name for f in schema if not f.nullable} == required


def test_a_row_of_the_same_key_is_replaced_and_others_stay(store):
    first = [row(size=size, latency_ms=float(size)) for size in (1, 2, 4)]
    costs.merge(store, "toy", first)
    changes = {"device": "nano", "component": "preprocess", "batch_size": 8}
    changes |= {"meter": "rapl", "source": "Joulescope"}
    others = [row(latency_ms=9.0, **{name: value}) for name, value in changes.items()]
    costs.merge(store, "toy", [row(latency_ms=7.0), *others])
    found = costs.read(store, "toy", ["small"])["small"]
    assert len(found) == 3 + len(changes)
    assert [r for r in found if r.latency_ms == 1.0] == []
    [again] = [r for r in found if r.latency_ms == 7.0]
    assert again == row(latency_ms=7.0)
    for other in others:
        assert other in found


def test_rows_come_back_as_they_were_by_model_dataset_and_runtime(store):
    rng = np.random.default_rng(0)
    given = {}
    for runtime in (CPU, "elsewhere"):
        for model in ("small", "large"):
            about = {"model": model, "runtime": runtime, "runs": 3, "macs": 5}
            given[runtime, model] = row(latency_ms=rng.random(), **about)
    costs.merge(store, "toy", given.values())
    costs.merge(store, "other", [row(latency_ms=1.0)])
    found = costs.read(store, "toy", ["small", "large", "nobody"])
    for model in ("small", "large"):
        expected = [given[runtime, model] for runtime in (CPU, "elsewhere")]
        assert sorted(found[model], key=lambda r: r.runtime == "elsewhere") == expected
    assert found["nobody"] == []


def test_rows_of_another_cache_keep_the_weights_they_say(store, tmp_path):
    rows = [
        row(size=size, latency_ms=1.0, weights_sha256=sha) for size, sha in ((1, NEW), (2, None))
    ]
    other = Store(tmp_path / "other")
    costs.merge(other, "toy", rows)
    [manifest] = find(other, "costs", "toy")
    costs.merge_from(store, other, manifest)
    assert costs.read(store, "toy", ["small"])["small"] == rows


# --- whose weights -------------------------------------------------------------------------------

OLD, NEW = "0" * 64, "f" * 64


def two_models(root, weights=(NEW, NEW), split="test", store=None):
    """`small` and `large` on one split, from these weights."""
    rng, store = np.random.default_rng(4), store or Store(root)
    labels = rng.integers(0, 4, 60)
    write_samples(store, split, labels)
    for name, sha256 in zip(("small", "large"), weights, strict=True):
        about = {"weights_sha256": sha256, "macs": 7}
        logits = tied_logits(rng, 60)
        write_logits(store, split, name, labels, logits, weights=sha256, provenance=about)
    return store


def priced(store):
    """(small's and large's ms alone, what was said on stderr)."""
    pair = ("-m1", "small", "-m2", "large", "-t", "0.5", "--cost", "latency")
    done = cascade("simulate", "--dataset", "toy", *pair, "--cache", store.root, "--json")
    return (done.json["cost_1"], done.json["cost_2"]), done.err.splitlines()


def said(lines, what):
    return [line for line in lines if what in line]


def test_costs_of_other_weights_price_nothing_and_that_is_said(tmp_path):
    """Rows of the old weights are newer, in a better runtime's place, and of more batch sizes."""
    store = two_models(tmp_path)
    for name, ms in (("small", 3.0), ("large", 5.0)):
        costs.merge(store, "toy", [row(model=name, latency_ms=ms, weights_sha256=NEW)])
    assert priced(store) == ((3.0, 5.0), [])
    newer = "2026-01-01T00:00:00+00:00"
    stale = [
        row(size=size, latency_ms=900.0, weights_sha256=OLD, measured=newer, source="us")
        for size in (1, 2, 4)
    ]
    costs.merge(store, "toy", stale)
    found, lines = priced(store)
    assert found == (3.0, 5.0)
    assert said(lines, "costs of") == [
        "costs of small (3 rows) were measured with other weights than the logits come from, and "
        "are left out: run `cascade profile --dataset toy --models small --cache "
        f"{tmp_path}`"
    ]
    assert len(costs.read(store, "toy", ["small"])["small"]) == 4


def test_costs_of_other_weights_alone_are_no_costs(tmp_path):
    store = two_models(tmp_path)
    for name in ("small", "large"):
        costs.merge(store, "toy", [row(model=name, latency_ms=3.0, weights_sha256=OLD)])
    pair = ("-m1", "small", "-m2", "large", "-t", "0.5", "--cost", "latency")
    done = cascade("simulate", "--dataset", "toy", *pair, "--cache", store.root)
    assert "no latency of all these models" in done.refusal
    assert "costs of large (1 row), small (1 row) were measured with other" in done.err


@pytest.mark.parametrize("unstated", [("small",), ("large", "small")])
def test_costs_that_do_not_say_their_weights_count_and_are_told_in_one_line(tmp_path, unstated):
    store = two_models(tmp_path)
    for name, ms in (("small", 3.0), ("large", 5.0)):
        sha256 = None if name in unstated else NEW
        costs.merge(store, "toy", [row(model=name, latency_ms=ms, weights_sha256=sha256)])
    found, lines = priced(store)
    assert found == (3.0, 5.0)
    assert lines == [
        f"costs of {', '.join(unstated)} do not say which weights they were measured with, and "
        "count as those of the logits: `cascade profile` says it, and so does a column "
        "weights_sha256 for `cascade import-costs`"
    ]


def test_costs_that_do_not_say_their_weights_are_not_told_where_they_do_not_count(tmp_path):
    store = two_models(tmp_path)
    costs.merge(store, "toy", [row(latency_ms=3.0)])
    pair = ("-m1", "small", "-m2", "large", "-t", "0.5")
    done = cascade("simulate", "--dataset", "toy", *pair, "--cache", store.root, "--json")
    assert (done.json["cost_kind"], done.err) == ("macs", "")
    imported = two_models(tmp_path / "imported", (None, None))
    costs.merge(imported, "toy", [row(model=m, latency_ms=3.0) for m in ("small", "large")])
    assert priced(imported) == ((3.0, 3.0), [])


ROWS = [(1, OLD), (2, NEW), (4, None), (8, "a" * 64)]


@pytest.mark.parametrize(
    ("held", "kept"),
    [
        ([NEW], [NEW, None]),
        ([NEW, OLD], [OLD, NEW, None]),  # another split's logits still come from these
        ([OLD], [OLD, None]),
        ([NEW, None], [OLD, NEW, None, "a" * 64]),  # imported logits may be of any
        ([], [OLD, NEW, None, "a" * 64]),  # logits may come later
    ],
)
def test_rows_are_dropped_whose_weights_no_logits_come_from(store, held, kept):
    for i, sha256 in enumerate(held):
        two_models(None, (sha256, sha256), f"split{i}", store)
    rows = [row(size=size, latency_ms=1.0, weights_sha256=sha256) for size, sha256 in ROWS]
    costs.merge(store, "toy", [*rows, *(replace(each, model="other") for each in rows)])
    line = drop(store, "toy", ["small"])
    left = costs.read(store, "toy", ["small", "other"])
    assert [row.weights_sha256 for row in left["small"]] == kept
    assert len(left["other"]) == 4
    gone = len(ROWS) - len(kept)
    assert (line is None) == (gone == 0)
    assert line is None or line.startswith(f"costs of small ({gone} row{'s' * (gone > 1)}) were")


def test_costs_of_which_nothing_is_left_are_no_partition(store):
    two_models(None, store=store)
    costs.merge(store, "toy", [row(latency_ms=1.0, weights_sha256=OLD)])
    drop(store, "toy", ["small"])
    assert find(store, "costs", "toy") == []
    assert store.files("costs") == []


# --- curves --------------------------------------------------------------------------------------

SIZES = st.lists(st.integers(1, 100), min_size=1, max_size=6, unique=True).map(sorted)


def naive_at(sizes, values, n):
    """Cost of a batch of n, by hand."""
    points = [(0, 0.0), *zip(sizes, values, strict=True)]
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 <= n <= x1:
            return y0 + (y1 - y0) * (n - x0) / (x1 - x0)
    return values[-1] / sizes[-1] * n


@given(SIZES, st.integers(0, 300), st.randoms(use_true_random=False))
def test_a_curve_is_exact_where_measured_linear_between_and_per_image_beyond(sizes, n, random):
    values = [random.uniform(0.1, 10) for _ in sizes]
    array = np.array(values)
    curve = Curve(np.array(sizes), array, array * 0.9, array * 1.2)
    assert curve.at(np.array(sizes)).tolist() == values
    assert curve.at(0) == 0
    assert float(curve.at(n)) == pytest.approx(naive_at(sizes, values, n))
    assert float(curve.at(n, "high")) == pytest.approx(1.2 * naive_at(sizes, values, n))
    assert float(curve.at(3 * sizes[-1])) == pytest.approx(3 * values[-1])


def test_joules_are_per_image_in_the_table_and_per_batch_in_a_curve():
    rows = [
        row(size=1, meter="rapl", energy_j=2.0, energy_low_j=1.5, energy_high_j=2.5),
        row(size=8, meter="rapl", energy_j=0.5),
    ]
    curve = costs.choose({"m": rows}, {}, ["m"], "joules").forward["m"]
    assert curve.values.tolist() == [2.0, 4.0]
    assert curve.low.tolist() == [1.5, 4.0]
    assert curve.high.tolist() == [2.5, 4.0]


def test_a_latency_has_the_interval_of_its_mean():
    rows = [row(latency_ms=10.0, latency_sd_ms=2.0, runs=100), row(size=2, latency_ms=15.0)]
    curve = costs.choose({"m": rows}, {}, ["m"], "latency").forward["m"]
    assert curve.low.tolist() == pytest.approx([10 - 1.959964 * 0.2, 15])
    assert curve.high.tolist() == pytest.approx([10 + 1.959964 * 0.2, 15])
    assert curve.values.tolist() == [10, 15]


def test_the_interval_of_a_latency_covers_its_mean():
    rng = np.random.default_rng(3)
    covered = 0
    for laps in rng.gamma(4.0, 0.5, (400, 60)):
        one = row(latency_ms=laps.mean(), latency_sd_ms=laps.std(ddof=1), runs=60)
        curve = costs.choose({"m": [one]}, {}, ["m"], "latency").forward["m"]
        covered += curve.low[0] <= 2.0 <= curve.high[0]
    assert 0.91 < covered / 400 < 0.98


# --- which costs ---------------------------------------------------------------------------------


def both(**more):
    return {"a": [row(**more)], "b": [row(**more)]}


MACS = {"a": 10, "b": 20}


def test_joules_come_before_latency_and_latency_before_multiply_adds():
    rows = {"a": [], "b": []}
    found = costs.choose(rows, MACS, ["a", "b"])
    assert (found.kind, found.device, found.unit) == ("macs", None, "multiply-adds")
    assert found.why == "multiply-adds, for want of joules and of a full profile"
    rows = both(latency_ms=3.0, latency_sd_ms=0.1, runs=9)
    found = costs.choose(rows, MACS, ["a", "b"])
    assert (found.kind, found.device, found.unit) == ("latency", "desk", "ms")
    assert found.why == "latency of all models on desk, for want of joules"
    # Short windows tell more of the machine's other work than of a network.
    rows = both(latency_ms=3.0, latency_sd_ms=0.1, runs=9, warnings=f"{QUICK} 0.1 s")
    assert costs.choose(rows, MACS, ["a", "b"]).kind == "macs"
    for asked in ({"kind": "latency"}, {"device": "desk"}):
        assert costs.choose(rows, MACS, ["a", "b"], **asked).kind == "latency"
    assert costs.choose(rows, {}, ["a", "b"]).kind == "latency"
    rows = both(latency_ms=3.0, energy_j=0.5, meter="rapl")
    found = costs.choose(rows, MACS, ["a", "b"])
    assert (found.kind, found.device, found.unit) == ("joules", "desk", "J")
    assert found.busy.kind == "latency"
    rows["b"] = [replace(rows["b"][0], energy_j=None)]
    assert costs.choose(rows, MACS, ["a", "b"]).kind == "latency"
    assert costs.choose(rows, MACS, ["a"]).kind == "joules"
    assert costs.choose(rows, MACS, ["a", "b"], "macs").why == "multiply-adds, as asked"


def test_all_models_are_priced_on_one_device():
    rows = {
        "a": [row("desk", energy_j=1.0), row("nano", latency_ms=2.0)],
        "b": [row("other", energy_j=1.0), row("nano", latency_ms=5.0)],
    }
    found = costs.choose(rows, MACS, ["a", "b"])
    assert (found.kind, found.device) == ("latency", "nano")
    assert [found.model(name) for name in "ab"] == [2, 5]


def test_nothing_known_and_nothing_asked_is_none():
    assert costs.choose({"a": []}, {"a": None}, ["a"]) is None


@pytest.mark.parametrize(
    ("kind", "device", "message"),
    [
        ("watts", None, "unknown cost 'watts'"),
        ("joule", None, "did you mean 'joules'"),
        (None, "desc", "did you mean 'desk'"),
        ("joules", None, r"no joules of all these models on one device: run `cascade profile`"),
        ("joules", "desk", r"no joules of all these models on desk: run"),
        (None, "nano", r"no costs of all these models on nano \(none at all of b\)"),
        ("latency", "nano", r"none at all of b"),
        ("macs", None, r"multiply-adds of b are unknown"),
    ],
)
def test_what_is_asked_for_and_not_there_is_one_line(kind, device, message):
    rows = {"a": [row(latency_ms=1.0), row("nano", latency_ms=1.0)], "b": [row(latency_ms=2.0)]}
    with pytest.raises(InputError, match=message) as caught:
        costs.choose(rows, {"a": 5, "b": None}, ["a", "b"], kind, device)
    assert "\n" not in str(caught.value)


def test_a_device_asked_for_is_not_answered_with_multiply_adds():
    rows = {"a": [row("nano", latency_ms=1.0)], "b": []}
    with pytest.raises(InputError, match="none at all of b"):
        costs.choose(rows, MACS, ["a", "b"], None, "nano")
    with pytest.raises(InputError, match="run `cascade profile`"):
        costs.choose({"a": [], "b": []}, MACS, ["a", "b"], None, "nano")


METERS = ("joulescope", "manual", "nvml_counter", "nvml_power", "ina3221", "rapl")


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("best", METERS)
def test_what_was_brought_in_comes_before_what_is_read_and_one_curve_has_one_meter(best, order):
    known = METERS[METERS.index(best) :]
    rows = [row(size=4, energy_j=None, meter="nvml_counter")]
    for rank, meter in enumerate(known, 1):
        rows += [row(size=size, energy_j=float(rank), meter=meter) for size in (1, 1 + rank)]
    rows.append(row(energy_j=9.0, meter=best, measured="2024-01-01T00:00:00+00:00"))
    found = costs.choose({"m": rows[::order]}, {}, ["m"], "joules")
    curve = found.forward["m"]
    assert dict(zip(curve.sizes.tolist(), (curve.values / curve.sizes).tolist(), strict=True)) == {
        1: 1.0,
        2: 1.0,
    }
    assert f"joules of all models on desk by {best}" in found.why


def test_joules_of_several_models_are_of_one_meter_where_that_can_be():
    of = {"joulescope": 7.0, "rapl": 5.0}
    both = [row(energy_j=value, meter=meter) for meter, value in of.items()]
    found = costs.choose({"a": both, "b": both[1:]}, {}, ["a", "b"], "joules")
    assert (found.model("a"), found.model("b")) == (5.0, 5.0)
    found = costs.choose({"a": both[:1], "b": both[1:]}, {}, ["a", "b"], "joules")
    assert (found.model("a"), found.model("b")) == (7.0, 5.0)
    assert "by joulescope and rapl" in found.why


def test_why_tells_what_a_cost_lacks():
    rows = {
        "a": [row(latency_ms=1.0, latency_sd_ms=0.1, runs=9, runtime="trt")],
        "b": [row(latency_ms=2.0)],
    }
    why = costs.choose(rows, {}, ["a", "b"], "latency").why
    lacks = "each in a runtime of its own; the error of measuring is not known of all"
    assert why == f"latency of all models on desk ({lacks}), as asked"
    assert "(" not in costs.choose({"a": rows["a"]}, {}, ["a"], "latency").why


def test_the_newest_latency_counts_whatever_sensor_ran_beside_it():
    rows = [
        row(latency_ms=1.0, meter="nvml_counter"),
        row(latency_ms=2.0, meter="none", measured="2025-02-01T00:00:00+00:00"),
    ]
    assert costs.choose({"m": rows}, {}, ["m"], "latency").model("m") == 2.0


def test_the_hosts_joules_are_not_a_gpus():
    rows = [
        row("H200", latency_ms=1.0, runtime=GPU),
        row("H200", latency_ms=1.0, meter="rapl", energy_j=5.0, idle_w=90.0, runtime=GPU),
    ]
    assert costs.choose({"m": rows}, {}, ["m"]).kind == "latency"
    rows.append(row("H200", meter="nvml_counter", energy_j=2.0, idle_w=70.0, runtime=GPU))
    found = costs.choose({"m": rows}, {}, ["m"])
    assert (found.model("m"), found.idle_w) == (2.0, 70.0)
    own = [row(meter="rapl", energy_j=5.0, idle_w=90.0)]
    assert costs.choose({"m": own}, {}, ["m"]).idle_w == 90.0


def test_runtimes_of_one_device_are_not_mixed():
    rows = {
        name: [
            row(size=1, latency_ms=10.0),
            row(size=8, latency_ms=80.0),
            row(size=1, latency_ms=4.0, runtime="torch-bf16-cpu", measured="2026-01-01"),
        ]
        for name in "ab"
    }
    for runtime, at_8 in ((CPU, 80.0), ("torch-bf16-cpu", 32.0)):
        found = costs.choose(rows, {}, ["a", "b"], "latency", None, runtime)
        assert {name: float(found.forward[name].at(8)) for name in "ab"} == {"a": at_8, "b": at_8}
    rows["b"] = rows["b"][:2]  # only one runtime knows both
    found = costs.choose(rows, {}, ["a", "b"], "latency", None, "torch-bf16-cpu")
    assert found.model("a") == 10.0
    rows["a"] = rows["a"][2:]  # none does: each in its own
    found = costs.choose(rows, {}, ["a", "b"], "latency")
    assert (found.model("a"), found.model("b")) == (4.0, 10.0)


def test_the_device_that_ran_the_logits_comes_first():
    rows = {"m": [row("anvil", latency_ms=1.0, runtime="elsewhere"), row("zoo", latency_ms=2.0)]}
    assert costs.choose(rows, {}, ["m"], runtime=CPU).device == "zoo"
    assert costs.choose(rows, {}, ["m"]).device == "anvil"


def test_the_cost_of_a_model_is_per_image():
    found = costs.choose({"m": [row(size=8, latency_ms=4.0)]}, {}, ["m"])
    assert found.model("m", 8) == 0.5
    assert math.isclose(found.model("m", 1), 0.5)


@pytest.mark.parametrize(
    ("kind", "cost"), [("joules", 0.5), ("latency", 2.0), ("macs", None), ("runs", None)]
)
def test_a_hash_costs_joules_or_time_and_nothing_else(store, kind, cost):
    found = row(model="hash:dhash", component="hash", latency_ms=2.0, energy_j=0.5)
    costs.merge(store, "toy", [found])
    assert costs.hash_cost(store, "toy", "dhash", kind, "desk") == cost
    assert costs.hash_cost(store, "toy", "dhash", kind, "nano") is None
