"""The example kinnas2024 against plain loops over the logits, and against its golden file."""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
import shlex
from collections import Counter
from itertools import combinations, pairwise

import golden
import naive
import numpy as np
import pyarrow as pa
import pytest
from helpers import cost_row, fingerprint_of, tied_logits, write_logits, write_samples
from running import Result, cascade, make, noise_images, seeded_weights, write_parquet

from cache import Partition, PartitionWriter, Store, hashes_schema
from examples.kinnas2024 import published
from examples.kinnas2024.__main__ import main
from stages import costs
from stages.datasets import spec
from stages.models import get
from stages.simulate import make as make_stream
from stages.threshold import REPEATS, folds

MACS = {"resnet20": 40, "mobilenetv2_x0_5": 25, "resnet56": 120, "resnet32": 70}
SKILL = {"resnet20": 2.0, "mobilenetv2_x0_5": 1.5, "resnet56": 4.0, "resnet32": 2.5}
A, B, BEST = "resnet20", "mobilenetv2_x0_5", "resnet56"
N, CLASSES = 150, 10
EXAMPLE = "examples.kinnas2024"
CIFAR = ("-d", "cifar10")
EXTRACT = "cascade extract --dataset {} --data DIR --split {} --models {}"


def example(*args):
    """`python -m examples.kinnas2024 ARGS` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([*map(str, args)])
        except SystemExit as ending:
            status = ending.code
    return Result(status, out.getvalue(), err.getvalue())


def refusal(*args):
    """The one line of a refused request."""
    done = example(*args)
    assert (done.status, done.out) == (2, ""), done
    [line] = done.err.splitlines()
    assert line.startswith("kinnas2024: ")
    return line


def write(root, dataset, models, splits, n=N, classes=CLASSES, provenance=None, surer=0):
    """A cache of noisy logits; {split: (labels, {model: logits})}. `surer`: how much some are."""
    rng, store, found = np.random.default_rng(7), Store(root), {}
    for split in splits:
        labels = rng.integers(0, classes, n)
        write_samples(store, split, labels, dataset)
        by_model = {}
        for model in models:
            logits = tied_logits(rng, n, classes, 1.0)
            logits[np.arange(n), labels] += SKILL.get(model, 2.0) + surer * rng.random(n)
            about = {"macs": MACS.get(model), "trained_on": {"splits": ["train"], "source": "told"}}
            about |= (provenance or {}).get(model, {})
            write_logits(store, split, model, labels, logits, dataset=dataset, provenance=about)
            by_model[model] = logits
        found[split] = labels, by_model
    return found


def keys_of(i, algorithm):
    """The first images of each ten share a key by dhash, so that false hits abound."""
    return (i // 3 if algorithm == "dhash" and i % 10 < 3 else 1000 + i).to_bytes(8, "big")


def write_hashes(root, labels, algorithm):
    keys = {"dataset": "cifar10", "split": "test", "variant": "identity", "algorithm": algorithm}
    identity = {"dataset_fingerprint": fingerprint_of(labels), "hash": algorithm}
    schema = hashes_schema(8)
    writer = PartitionWriter(Store(root), Partition.of("hashes", **keys), schema, identity, {})
    values = pa.array([keys_of(i, algorithm) for i in range(len(labels))], pa.binary(8))
    writer.write(0, pa.table([np.arange(len(labels)), values], schema=schema))
    writer.finish(1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(root, data) of a cache with four CIFAR-10 models on test, val and train, and both hashes."""
    root = tmp_path_factory.mktemp("made") / "cache"
    prefix = get(A, "cifar10").published.sha256_prefix
    about = {A: {"weights_sha256": prefix + "0" * 56}, B: {"weights_sha256": "f" * 64}}
    data = write(root, "cifar10", MACS, ("test", "val", "train"), provenance=about)
    for algorithm in ("dhash", "invariants"):
        write_hashes(root, data["test"][0], algorithm)
    return root, data


@pytest.fixture(scope="module")
def found(made):
    return example(*CIFAR, "--cache", made[0], "--json").json


def setting(found):
    [row] = found["settings"]
    return row


# --- the rule as its readers would write it: one image at a time ---------------------------------


def softmax(row):
    values = row.tolist()
    most = max(values)
    powers = [math.exp(x - most) for x in values]
    total = sum(powers)
    return [p / total for p in powers]


def difference(row):
    first, second = sorted(softmax(row))[:-3:-1]
    return first - second


def nats(row):
    return -sum(p * math.log(p) for p in softmax(row))


def decided(labels, a, b, limit, surer=lambda s, t: s > t, score=difference):
    """(right, sent) per image with post-check, A trusted where it is no less sure than λ."""
    right, sent = [], []
    for label, x, y in zip(labels.tolist(), a, b, strict=True):
        s_a, s_b = score(x), score(y)
        ran = surer(limit, s_a)
        answer = y if ran and surer(s_b, s_a) else x
        right.append(int(answer.argmax()) == label)
        sent.append(ran)
    return right, sent


def swept(labels, a, b, limits):
    """(right answers, images sent on) of each λ, with the scores computed once."""
    s_a, s_b = [difference(x) for x in a], [difference(y) for y in b]
    out = []
    for limit in limits:
        hits = used = 0
        for label, x, y, s, t in zip(labels.tolist(), a, b, s_a, s_b, strict=True):
            ran = s < limit
            used += ran
            hits += int((y if ran and t > s else x).argmax()) == label
        out.append((hits, used))
    return out


def ours(data, split, limit):
    labels, logits = data[split]
    return decided(labels, logits[A], logits[B], limit)


# --- the facts -----------------------------------------------------------------------------------


def test_every_fact_has_its_source():
    sources = [fact.source for fact in (*published.CLAIMS, *published.SETTINGS)]
    for source in (*sources, published.ENERGY_SOURCE):
        assert re.match(r"https://\S+|arXiv:\d+\.\d+", source), source


def test_the_settings_name_models_that_can_be_run():
    for each in published.SETTINGS:
        for model in (each.model_1, each.model_2):
            assert get(model, each.dataset).name == model
        assert each.split in spec(each.dataset).splits


def test_the_energies_give_the_abstracts_reduction():
    runs = published.ENERGY_MAH
    assert {len(values) for values in runs.values()} == {len(published.DUPLICATES)}
    at = published.DUPLICATES.index(published.REDUCED_AT)
    reduced = 1 - runs["dhash"][at] / runs[published.SINGLE][at]
    assert reduced == pytest.approx(published.REDUCTION.value, abs=0.005)


# --- the figures ---------------------------------------------------------------------------------


def test_the_figures_are_those_of_the_earlier_command(found):
    """`cascade reproduce kinnas2024` wrote them, from this very cache."""
    there = json.loads((golden.HERE.with_name("kinnas2024.json")).read_text(encoding="utf-8"))
    ours = {"paper": found["paper"]} | setting(found)
    assert list(golden.differences({key: ours[key] for key in there}, there)) == []


def test_single_models(made, found):
    labels, logits = made[1]["test"]
    rows = setting(found)["single_models"]
    assert [row["model"] for row in rows] == [A, B, BEST]
    assert [row["same_weights"] for row in rows] == [True, False, None]
    for row in rows:
        right = sum(logits[row["model"]].argmax(axis=1) == labels) / N
        assert row["ours"]["accuracy"] == pytest.approx(right)
        assert row["ours"]["accuracy_low"] < right < row["ours"]["accuracy_high"]
        spec = get(row["model"], "cifar10")
        assert row["published"] == {"accuracy": spec.top1}
        assert row["source"] == spec.published.source


def test_the_published_threshold(made, found):
    right, sent = ours(made[1], "test", 0.8724)
    [row] = [row for row in setting(found)["thresholds"] if row["by"] == "published"]
    assert (row["published"], row["unit"]) == ({"threshold": 0.8724}, None)
    figures = row["ours"]
    assert figures["threshold"] == 0.8724
    assert figures["accuracy"] == pytest.approx(np.mean(right))
    assert figures["usage"] == pytest.approx(np.mean(sent))
    labels, logits = made[1]["test"]
    cost = MACS[A] + np.mean(sent) * MACS[B]
    for key, model in (("against_second", B), ("against_single", BEST)):
        against = figures[key]
        assert against["baseline"] == model
        assert against["saved"] == pytest.approx(1 - cost / MACS[model])
        alone = np.mean(logits[model].argmax(axis=1) == labels)
        assert against["accuracy_change"] == pytest.approx(np.mean(right) - alone)


def test_the_papers_grid_on_train(made, found):
    """The highest accuracy, then the least use of B, among 2,000 λ; then its figures on test."""
    labels, logits = made[1]["train"]
    grid = np.linspace(0, 1, 2000)
    points = swept(labels, logits[A], logits[B], grid)
    best = max(points, key=lambda point: (point[0], -point[1]))
    limit = grid[points.index(best)]
    [row] = [row for row in setting(found)["thresholds"] if row["by"] == "grid"]
    figures = row["ours"]
    assert (figures["fit_split"], figures["fit_method"]) == ("train", "other-split")
    assert figures["threshold"] == pytest.approx(limit, abs=1e-12)
    assert (figures["fit_accuracy"], figures["fit_usage"]) == pytest.approx(np.array(best) / N)
    right, sent = ours(made[1], "test", limit)
    assert figures["accuracy"] == pytest.approx(np.mean(right))
    assert figures["usage"] == pytest.approx(np.mean(sent))
    assert row["published"] == {"threshold": 0.8724}


def test_the_exact_threshold_on_val(made, found):
    labels, logits = made[1]["val"]
    scores = sorted({difference(row) for row in logits[A]})
    limits = [0.0, *((low + high) / 2 for low, high in pairwise(scores)), 2.0]
    points = swept(labels, logits[A], logits[B], limits)
    best = max(points, key=lambda point: (point[0], -point[1]))
    rows = [row["ours"] for row in setting(found)["thresholds"] if row["by"] == "exact"]
    assert [row["objective"] for row in rows] == ["best", "1se"]
    assert {row["fit_split"] for row in rows} == {"val"}
    assert (rows[0]["fit_accuracy"], rows[0]["fit_usage"]) == pytest.approx(np.array(best) / N)
    assert rows[1]["fit_usage"] <= rows[0]["fit_usage"]
    for row in rows:
        right, sent = ours(made[1], "test", row["threshold"])
        assert row["accuracy"] == pytest.approx(np.mean(right))
        assert row["usage"] == pytest.approx(np.mean(sent))


def test_with_one_split_folds_decide_against_each_model(tmp_path):
    data = write(tmp_path, "cifar10", (A, B, BEST), ("test",))
    labels, logits = data["test"]
    answers = {model: rows.argmax(axis=1) for model, rows in logits.items()}
    columns = [answers[A], answers[B], *([difference(x) for x in logits[m]] for m in (A, B))]
    images = [naive.Image(*row) for row in zip(labels.tolist(), *columns, strict=True)]
    repeats = [folds(N, repeat=r).tolist() for r in range(REPEATS)]
    thresholds = setting(example(*CIFAR, "--cache", tmp_path, "--json").json)["thresholds"]
    rows = [row["ours"] for row in thresholds if row["by"] == "exact"]
    assert [(row["fit_method"], row["objective"]) for row in rows] == [
        *(("cross-fit", "best"), ("cross-fit", "1se"))
    ]
    for row in rows:
        for key, model in (("against_second", B), ("against_single", BEST)):
            alone = (answers[model] == labels).tolist()
            how = ("difference", images, True, row["objective"], repeats, alone)
            accuracy, change = naive.honest(naive.cross_fit(*how), N)
            assert _told(row, "accuracy") == pytest.approx(accuracy)
            assert _told(row[key], "accuracy_change") == pytest.approx(change)
    [grid] = [row["ours"] for row in thresholds if row["by"] == "grid"]
    assert grid["fit_method"] == "same-split"  # the original's way, that says so
    shown = example(*CIFAR, "--cache", tmp_path).out
    assert "decided by the λ of the others, 10 times over" in " ".join(shown.split())


def _told(row, name):
    return [row[f"{name}{end}"] for end in ("", "_low", "_high")]


def test_the_pair_among_all(made, found):
    labels, logits = made[1]["test"]
    right = {model: set(np.flatnonzero(logits[model].argmax(axis=1) == labels)) for model in MACS}
    values = {}
    for pair in combinations(MACS, 2):
        a, b = (right[model] for model in pair)
        values[frozenset(pair)] = (
            len(a ^ b) / N,
            (len(a | b) - len(a & b) - abs(len(a) - len(b))) / N,
        )
    for at, row in enumerate(setting(found)["pair"]):
        mine = values[frozenset((A, B))][at]
        better = sum(value[at] > mine for value in values.values())
        assert row["ours"]["value"] == pytest.approx(mine)
        assert (row["ours"]["rank"], row["ours"]["pairs"]) == (1 + better, 6)
        assert row["published"] is None


@pytest.mark.parametrize("duplicates", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("memory", ["nomemory", "dhash", "invariants"])
def test_the_memory(made, found, memory, duplicates):
    labels, logits = made[1]["test"]
    right, sent = ours(made[1], "test", 0.8724)
    score = difference
    held, counts = {}, Counter()
    for i in make_stream(N, duplicates, 0.0, "shuffled", 0).sample_ids.tolist():
        counts["n"] += 1
        key = None if memory == "nomemory" else keys_of(i, memory)
        counts["needed"] += 1 + sent[i]
        if key in held:
            counts["hits"] += 1
            counts["false"] += held[key][0] != i
            counts["right"] += held[key][1] == labels[i]
            continue
        counts["a"] += 1
        counts["b"] += sent[i]
        counts["right"] += right[i]
        x, y = logits[A][i], logits[B][i]
        answer = int((y if sent[i] and score(y) > score(x) else x).argmax())
        if key is not None:
            held[key] = i, answer
    [row] = [
        row
        for row in setting(found)["memory"]
        if (row["memory"], row["duplicates"]) == (memory, duplicates)
    ]
    figures, n = row["ours"], counts["n"]
    assert (figures["n"], figures["hits"], figures["false_hits"]) == (
        n,
        counts["hits"],
        counts["false"],
    )
    assert figures["accuracy"] == pytest.approx(counts["right"] / n)
    assert figures["usage"] == pytest.approx(counts["b"] / n)
    assert figures["runs_avoided"] == pytest.approx(
        1 - (counts["a"] + counts["b"]) / counts["needed"]
    )
    cost = (counts["a"] * MACS[A] + counts["b"] * MACS[B]) / n
    assert figures["of_single"] == pytest.approx(cost / MACS[BEST])
    published = {"nomemory": (52, 80, 100), "dhash": (53, 56, 57), "invariants": (68, 75, 85)}
    place = int(2 * duplicates)
    ratio = published[memory][place] / (225, 302, 396)[place]
    assert row["published"]["of_single"] == pytest.approx(ratio)


def test_false_hits_were_there(found):
    assert any(row["ours"] and row["ours"]["false_hits"] for row in setting(found)["memory"])


def test_the_reduction_is_the_cheapest_memorys(found):
    rows = [row for row in setting(found)["memory"] if row["duplicates"] == 1 and row["ours"]]
    least = min(row["ours"]["of_single"] for row in rows)
    reduction = setting(found)["reduction"]
    assert reduction["ours"]["value"] == pytest.approx(1 - least)
    assert reduction["published"] == {"value": 0.858}


def test_every_row_has_published_and_ours(found):
    row = setting(found)
    rows = [*row["single_models"], *row["thresholds"], *row["pair"], *row["memory"]]
    assert len(rows) > 20
    for each in (*rows, row["reduction"]):
        assert {"published", "ours", "source"} <= set(each)
        assert (each["published"] is None) == (each["source"] is None)


def test_measured_costs_and_the_hashs_own(made, tmp_path):
    """Latency is taken where it is known, and a hash costs each request its time."""
    root = tmp_path / "cache"
    data = write(root, "cifar10", (A, B), ("test", "val"))
    write_hashes(root, data["test"][0], "dhash")
    rows = [cost_row(model, ms, device="nano") for model, ms in ((A, 2.0), (B, 3.0))]
    costs.merge(Store(root), "cifar10", rows)
    without = example(*CIFAR, "--cache", root, "--json").json
    assert "latency of dhash on nano" in [row["what"] for row in without["missing"]]
    row = cost_row("hash:dhash", 0.5, device="nano", component="hash")
    costs.merge(Store(root), "cifar10", [row])
    found = example(*CIFAR, "--cache", root, "--json").json
    assert setting(found)["cost"]["cost_unit"] == "ms"
    assert "measured joules" in [row["what"] for row in found["missing"]]
    single = {A: 2.0, B: 3.0}[setting(found)["single"]]
    for before, after in zip(setting(without)["memory"], setting(found)["memory"], strict=True):
        if after["memory"] == "dhash":
            ours = after["ours"]
            spent = 0.5 + 2.0 * (1 - ours["hit_rate"]) + 3.0 * ours["usage"]
            assert ours["of_single"] == pytest.approx(spent / single)
            assert before["ours"]["of_single"] is None
        else:
            assert after == before


# --- entropy -------------------------------------------------------------------------------------


def test_entropy_in_both_units(tmp_path):
    classes, pair = 1000, ("mnasnet1_3", "densenet121")
    data = write(tmp_path, "imagenet", pair, ("val",), n=80, classes=classes, surer=15)
    labels, logits = data["val"]
    found = example("--cache", tmp_path, "--json").json
    rows = setting(found)["thresholds"]
    published = {row["unit"]: row["ours"] for row in rows if row["by"] == "published"}
    usages = set()
    for unit, limit in (("share of ln K", 0.7798 * math.log(classes)), ("nats", 0.7798)):
        right, sent = decided(
            labels, *(logits[model] for model in pair), limit, lambda s, t: s < t, nats
        )
        assert published[unit]["accuracy"] == pytest.approx(np.mean(right))
        assert published[unit]["usage"] == pytest.approx(np.mean(sent))
        usages.add(published[unit]["usage"])
    assert len(usages) == 2
    assert {row["published"] for row in setting(found)["memory"]} == {None}
    assert not any("train" in row["what"] for row in found["missing"])
    assert rows[-1]["ours"]["fit_method"] == "cross-fit"


# --- what is not there ---------------------------------------------------------------------------


def commands(found):
    return [row["command"] for row in found["missing"]]


def test_what_is_missing_names_its_command(tmp_path):
    data = write(tmp_path, "cifar10", (A, B), ("test",))
    found = example("--cache", tmp_path, "--json").json
    expected = [
        f"{EXTRACT.format('cifar10', 'train', f'{A},{B}')} --precision fp32 --device cpu",
        f"cascade profile --dataset cifar10 --data DIR --models {A},{B}",
        *(
            "cascade hash --dataset cifar10 --data DIR --split test --variants identity "
            f"--algorithms {name}"
            for name in ("dhash", "invariants")
        ),
        EXTRACT.format("imagenet", "val", "mnasnet1_3,densenet121"),
        EXTRACT.format("fashionmnist", "test", "repvgg_a2,resnet44"),
    ]
    assert commands(found) == [f"{command} --cache {tmp_path}" for command in expected]
    for command in commands(found):
        words = shlex.split(command)
        options = cascade(words[1], "--help").out
        assert all(word in options for word in words[2:] if word.startswith("--")), command
    row = setting(found)
    none = {each["memory"] for each in row["memory"] if each["ours"] is None}
    assert none == {"biglittle", "dhash", "invariants"}
    [grid] = [each["ours"] for each in row["thresholds"] if each["by"] == "grid"]
    assert (grid["fit_split"], grid["fit_method"]) == ("test", "same-split")
    right, _ = ours(data, "test", grid["threshold"])
    assert grid["accuracy"] == grid["fit_accuracy"] == pytest.approx(np.mean(right))


def test_without_any_cost(tmp_path):
    write(tmp_path, "cifar10", (A, B), ("test",), provenance={A: {"macs": None}})
    done = example(*CIFAR, "--cache", tmp_path, "--json")
    row = setting(done.json)
    assert row["cost"] is None
    assert row["reduction"]["ours"] is None
    against = row["thresholds"][0]["ours"]["against_single"]
    assert (against["saved"], against["accuracy_change"] is None) == (None, False)
    shown = example(*CIFAR, "--cache", tmp_path).out
    assert "against a model" not in shown
    assert "ours, of" not in shown


def test_nothing_there_is_one_line(tmp_path):
    line = refusal("--cache", tmp_path / "none")
    assert EXTRACT.format("cifar10", "test", f"{A},{B}") in line
    line = refusal("-d", "imagenet", "--cache", tmp_path / "none")
    assert EXTRACT.format("imagenet", "val", "mnasnet1_3,densenet121") in line


def test_a_pair_in_another_runtime_is_named(tmp_path):
    """No runtime of its own has both models, and no extraction makes the one that is asked for."""
    write(tmp_path, "cifar10", (A, B, BEST), ("test",))
    labels = np.zeros(N, np.int64)
    write_logits(
        *(Store(tmp_path), "val", BEST, labels, tied_logits(np.random.default_rng(0), N, CLASSES)),
        dataset="cifar10",
        runtime="onnx-int8-cpu",
    )
    line = refusal("--runtime", "onnx-int8-cpu", "--cache", tmp_path)
    assert "in runtime onnx-int8-cpu on cifar10/test (it has" in line
    assert f"{A}, {BEST} in torch-fp32-cpu" in line
    assert "extract" not in line
    line = refusal("-d", "imagenet", "--runtime", "none", "--cache", tmp_path)
    assert "on imagenet/val" in line
    assert "no command makes these" in line


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--split", "holiday"), "on cifar10/holiday (the cache holds test, train, val): run"),
        (("-d", "imagenet", "--split", "holiday"), "holiday --models mnasnet1_3,"),
        (("--cost", "euros"), "unknown cost 'euros'"),
    ],
)
def test_a_wrong_request_is_one_line(made, args, message):
    assert message in refusal(*args, "--cache", made[0])


def test_another_dataset_is_refused(made):
    done = example("-d", "digits", "--cache", made[0])
    assert (done.status, done.out) == (2, "")
    assert "invalid choice: 'digits'" in done.err


def test_the_tables(made):
    done = example(*CIFAR, "--cache", made[0])
    assert done.status == 0
    for part in (
        f"{A} → {B} on cifar10/test ({N} images), difference with post-check",
        "92.60%",
        "train (other-split)",
        "57 mAh",
        "published 85.8% (arXiv:2412.01039, abstract); ours ",
        "which pair were measured is not said there",
    ):
        assert part in done.out


def test_nothing_is_written_but_scores(made):
    assert not list((made[0] / "results").rglob("*"))


# --- from a checkout -----------------------------------------------------------------------------


def recipe(*variables):
    """What `make reproduce` would run, without the installation."""
    done = make("reproduce", *variables)
    assert done.returncode == 0, done.stderr
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    return [words for words in lines if words[0].endswith("/cascade") or words[2:3] == [EXAMPLE]]


def test_make_runs_it_on_what_the_cache_has():
    [words] = recipe("ARGS=--json", "CACHE=here")
    assert words[1:] == ["-m", EXAMPLE, "--cache", "here", "--json"]


def test_make_fills_the_cache_where_images_and_weights_are_given(tmp_path):
    pytest.importorskip("torch")
    for split in ("test", "train"):
        write_parquet(tmp_path / "images", split, *noise_images(12))
    for name in (A, B):
        seeded_weights(tmp_path / "weights" / f"{name}.pt", name)
    extract, hashing, last = recipe(
        *("DATASET=cifar10", f"DATA={tmp_path}/images", f"WEIGHTS={tmp_path}/weights"),
        *(f"CACHE={tmp_path}/cache", "SPLIT=test,train", "ARGS=--json"),
    )
    for words in (extract, hashing):
        done = cascade(*words[1:])
        assert done.status == 0, done.err
    done = example(*last[3:])
    row = setting(done.json)
    assert row["n"] == 12
    methods = {each["by"]: each["ours"] for each in row["thresholds"]}
    assert methods["grid"]["fit_split"] == "train"
    assert methods["exact"]["fit_method"] == "cross-fit"
    assert all(each["ours"] for each in row["memory"] if each["memory"] != "biglittle")
    assert "measured joules" in [each["what"] for each in done.json["missing"]]
    assert "warning" in done.err


def test_images_of_no_dataset_are_refused():
    done = make("reproduce", "DATA=images")
    assert done.returncode
    assert "give DATASET" in done.stderr


def test_the_earlier_command_names_this_one():
    line = cascade("reproduce", "kinnas2024", "-d", "cifar10", "--no-such").refusal
    assert "make reproduce, or python -m examples.kinnas2024" in line
    assert "reproduce" not in cascade("--help").out
