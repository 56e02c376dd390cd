"""`export --policy`: what is written down, and that the written file answers as `simulate` does."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
import re
import stat
import subprocess
import sys
import time
import tomllib
import warnings
from copy import deepcopy
from functools import reduce
from itertools import product
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pytest
import tomli_w
from helpers import cost_row, fingerprint_of, make_cache, write_logits
from running import cascade

from cache import InputError, Partition, hashes_schema, iter_logits, load, write_partition
from stages import costs, policy, scores as score, simulate
from stages.cascade import Cascade, MemoryPolicy, decide
from stages.hashes import HASHES
from stages.policy.flatten import flatten
from stages.policy.format import read_policy
from stages.simulate import make, recalled, run

N, CLASSES, BATCH = 300, 4, 7
PAIR = ("small", "large")
RULES = list(product(("maxp", "difference", "entropy"), (False, True), (None, "always", "never")))
MEMORIES = (
    ("dhash",),
    ("canonical-dhash", "--memory-radius", "3"),
    ("invariants", "--memory-size", "20"),
    ("invariants-2", "--memory-trust", "0.7"),
    ("dhash", "--memory-size", "15", "--memory-radius", "5", "--memory-trust", "0.6"),
)
# Runs each policy on stored logits; nothing but numpy and the standard library can be imported.
CHILD = """
import importlib.abc, importlib.util, json, sys

class Only(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "numpy"}:
            raise ImportError(name + " is not for applications")

sys.meta_path.insert(0, Only())
import numpy as np

for forbidden in ("torch", "pyarrow", "cache", "stages"):
    try:
        __import__(forbidden)
    except ImportError:
        continue
    raise SystemExit(forbidden + " could be imported")

stored = np.load("stored.npz", allow_pickle=True)
small, large, pictures = stored["small"], stored["large"], stored["pictures"]
BATCH = int(stored["batch"])
for folder in json.load(open("folders.json")):
    spec = importlib.util.spec_from_file_location("cascade_policy", folder + "/cascade_policy.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["cascade_policy"] = module
    spec.loader.exec_module(module)
    cascade = module.Cascade.load(folder)
    found = []
    for start in range(0, len(small), BATCH):
        rows = np.arange(start, min(start + BATCH, len(small)))
        shown = [pictures[i] for i in rows]
        found.append(cascade.answer(small.__getitem__, large.__getitem__, rows, shown))
    columns = {name: np.concatenate([getattr(one, name) for one in found])
               for name in ("prediction", "escalated", "took_b", "hit")}
    np.savez(folder + "/answers.npz", **columns)
print("answered")
"""


def pictures_of(n):
    """Of few kinds, so that a memory has hits, in two sizes."""
    rng = np.random.default_rng(3)
    kinds = [rng.integers(0, 256, (12, 12 + k % 2, 3), np.uint8) for k in range(n // 3)]
    return [kinds[k] for k in rng.integers(0, len(kinds), n)]


def write_hashes(store, labels, pictures, algorithm):
    keys = HASHES[algorithm].digest_each(pictures)
    schema = hashes_schema(keys.shape[1])
    column = pa.array([row.tobytes() for row in keys], schema.field("hash").type)
    where = {"dataset": "toy", "split": "test", "variant": "identity", "algorithm": algorithm}
    identity = {"dataset_fingerprint": fingerprint_of(labels)}
    table = pa.table([np.arange(len(labels)), column], schema=schema)
    write_partition(store, Partition.of("hashes", **where), table, identity, {})


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A cache of random logits, and hashes of pictures some of which are the same."""
    store = make_cache(tmp_path_factory.mktemp("toy") / "cache", n=N, classes=CLASSES)
    scores, pictures = score.load(store, "toy", "test"), pictures_of(N)
    for algorithm in {name for name, *_ in MEMORIES}:
        write_hashes(store, scores.labels, pictures, algorithm)
    return store


def logits_of(store, model):
    manifest = load(store, score.load(store, "toy", "test", [model]).manifests[0].partition)
    where = Partition("logits", manifest.partition.values)
    return np.concatenate([rows for _, rows in iter_logits(store, load(store, where))])


def cases():
    for name, postcheck, threshold in RULES:
        flags = ["-s", name, *(["-p"] if postcheck else [])]
        yield flags + ([] if threshold is None else ["-t", threshold])
    for i, memory in enumerate(MEMORIES):
        yield ["-s", ("maxp", "entropy")[i % 2], *(["-p"] * (i > 2)), "--memory", *memory]


CASES = list(cases())


def export(store, folder, *flags):
    where = ("-d", "toy", "-m1", "small", "-m2", "large", "--cache", store.root)
    return cascade("export", "--policy", folder, *where, *flags, "--json")


@pytest.fixture(scope="module")
def answered(toy, tmp_path_factory):
    """Folder of each case, its answers given by a process that knows numpy alone."""
    desk = tmp_path_factory.mktemp("desk")
    folders = [str(desk / str(i)) for i in range(len(CASES))]
    for folder, flags in zip(folders, CASES, strict=True):
        assert export(toy, folder, *flags, "--batch-size", BATCH).status == 0, flags
    stored = {model: logits_of(toy, model) for model in PAIR}
    pictures = np.empty(N, object)
    pictures[:] = pictures_of(N)
    np.savez(desk / "stored.npz", **stored, pictures=pictures, batch=BATCH)
    (desk / "folders.json").write_text(json.dumps(folders))
    done = subprocess.run(
        [sys.executable, "-c", CHILD], cwd=desk, capture_output=True, text=True, timeout=300
    )
    assert done.stdout == "answered\n", done.stderr
    return dict(zip(map(str, CASES), folders, strict=True))


def simulated(store, deployed):
    """What `simulate` says of a policy, image by image."""
    scores = score.load(store, "toy", "test", PAIR)
    outcome = decide(scores, deployed.cascade)
    if deployed.memory is not None:
        recall = simulate.recall(store, scores, make(N), deployed.memory, BATCH)
        outcome, _ = recalled(scores, deployed.cascade, outcome, recall)
    return outcome


@pytest.mark.parametrize("flags", CASES, ids=" ".join)
def test_numpy_alone_answers_as_simulate(toy, answered, flags):
    folder = answered[str(flags)]
    deployed, found = policy.read(folder), np.load(f"{folder}/answers.npz")
    expected = simulated(toy, deployed)
    hit = np.zeros(N, bool) if expected.hit is None else expected.hit
    for name in ("prediction", "escalated", "took_b"):
        assert found[name].tolist() == getattr(expected, name).tolist(), name
    assert found["hit"].tolist() == hit.tolist()
    assert hit.any() == ("--memory" in flags)
    promise = deployed.promise
    assert (promise.right, promise.escalated) == (
        int(expected.correct.sum()),
        int(expected.escalated.sum()),
    )


def test_the_cases_differ(toy, answered):
    """Every way to escalate occurs, so that equal answers mean something."""
    shares = {
        flags: np.load(f"{folder}/answers.npz")["escalated"].mean()
        for flags, folder in answered.items()
    }
    assert {0.0, 1.0} < set(shares.values())
    assert len(set(shares.values())) > 5


# --- what is written -----------------------------------------------------------------------------


def test_policy_says_what_was_decided_and_where_it_comes_from(toy, tmp_path):
    flags = ("-s", "entropy", "-p", "--memory", "dhash", "--memory-size", "9")
    told = export(toy, tmp_path / "p", *flags).json
    assert sorted(told["files"]) == sorted(map(str, (tmp_path / "p").iterdir()))
    found = read_policy(tmp_path / "p")
    assert found == told["policy"]
    row = cascade(
        *("simulate", "--dataset", "toy", "-m1", "small", "-m2", "large", *flags),
        *("--cache", toy.root, "--json"),
    ).json
    for key in ("score", "threshold", "threshold_low", "threshold_high", "postcheck"):
        assert found["rule"][key] == row[key]
    promise = found["promise"]
    for key in ("accuracy", "usage", "accuracy_1", "accuracy_2", "hits"):
        assert promise[key] == pytest.approx(row[key])
    assert promise["accuracy_low"] < promise["accuracy"] < promise["accuracy_high"]
    labels = score.load(toy, "toy", "test").labels
    assert promise["dataset_fingerprint"] == fingerprint_of(labels)
    assert (found["memory"]["hash"], found["memory"]["size"]) == ("dhash", 9)
    assert found["fit"]["method"] == "other-split"
    deployed = policy.read(tmp_path / "p" / "policy.toml")
    assert deployed.cascade.limits[0].threshold == row["threshold"]
    assert (deployed.memory.size, deployed.runtime) == (9, "torch-fp32-cpu")


def test_wilson_interval_of_the_promise(toy, tmp_path):
    from scipy.stats import binomtest

    promise = export(toy, tmp_path).json["policy"]["promise"]
    for count, share in (("right", "accuracy"), ("escalated", "usage")):
        bounds = binomtest(promise[count], promise["images"]).proportion_ci(method="wilson")
        assert (promise[f"{share}_low"], promise[f"{share}_high"]) == pytest.approx(
            (bounds.low, bounds.high)
        )


def test_cross_fitted_policy_promises_its_own_use_and_the_accuracy_of_others(tmp_path):
    seen = dict.fromkeys(("small", "large"), ("val",))
    store = make_cache(tmp_path / "cache", n=N, trained_on=seen)
    found = export(store, tmp_path / "p").json["policy"]
    row = cascade(
        *("simulate", "--dataset", "toy", "-m1", "small", "-m2", "large"),
        *("--cache", store.root, "--json"),
    ).json
    assert found["fit"]["method"] == row["fit_method"] == "cross-fit"
    keys = [f"{name}{end}" for name in ("accuracy", "usage") for end in ("", "_low", "_high")]
    assert [found["promise"][key] for key in keys] == [row[key] for key in keys]
    assert found["promise"]["right"] == round(row["accuracy"] * N)
    assert found["fit"]["accuracy"] == row["fit_accuracy"] != row["accuracy"]
    assert row["usage"] == row["fit_usage"] == found["promise"]["escalated"] / N


def test_hash_of_another_library_is_left_to_the_application(toy, tmp_path):
    """phash needs imagehash: the file takes a digest, and says so where none is given."""
    scores = score.load(toy, "toy", "test", PAIR)
    chosen = Cascade.of(("small", "large"), "maxp", 0.8)
    row = run(toy, scores, chosen)
    policy.write(tmp_path, policy.document(toy, scores, chosen, row, MemoryPolicy("phash")))
    module = imported(tmp_path)
    with pytest.raises(ValueError, match="pass the hash phash"):
        module.Cascade.load(tmp_path)
    ready = module.Cascade.load(tmp_path, digest=HASHES["dhash"].digest_each)
    small, large, shown = logits_of(toy, "small"), logits_of(toy, "large"), pictures_of(N)
    rows = np.arange(5)
    for hit in (False, True):
        answers = ready.answer(small.__getitem__, large.__getitem__, rows, shown[:5])
        assert answers.hit.tolist() == [hit] * 5


def imported(folder):
    spec = importlib.util.spec_from_file_location("exported_policy", folder / "cascade_policy.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["exported_policy"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["list", "torch"])
def test_batches_are_lists_and_tensors_too(toy, tmp_path, kind):
    assert export(toy, tmp_path, "-t", "0.8").status == 0
    cascade_ = imported(tmp_path).Cascade.load(tmp_path)
    small, large = logits_of(toy, "small"), logits_of(toy, "large")
    expected = simulated(toy, policy.read(tmp_path))
    if kind == "torch":
        torch = pytest.importorskip("torch")
        batch = torch.arange(N)
        first, second = (lambda rows, m=m: torch.from_numpy(m)[rows] for m in (small, large))
    else:
        batch = list(range(N))
        first, second = (lambda rows, m=m: [m[i].tolist() for i in rows] for m in (small, large))
    found = cascade_.answer(first, second, batch)
    assert found.prediction.tolist() == expected.prediction.tolist()
    assert 0 < found.escalated.sum() < N
    assert cascade_.answer(first, second, batch[:0]).prediction.shape == (0,)


def torch_logits(kind, rows):
    """What a module may give: bfloat16, within a graph, or a list of either."""
    import torch

    logits = torch.from_numpy(rows)
    if "bf16" in kind:
        logits = logits.to(torch.bfloat16)
    if "grad" in kind:
        logits = logits.requires_grad_() * 1
    return list(logits) if "rows" in kind else logits


@pytest.mark.parametrize("kind", ["bf16", "grad", "bf16 grad", "bf16 grad rows"])
def test_tensors_that_numpy_cannot_read(toy, tmp_path, kind):
    """Logits of `toy` are small integers, which bfloat16 holds."""
    pytest.importorskip("torch")
    assert export(toy, tmp_path, "-t", "0.8").status == 0
    cascade_ = imported(tmp_path).Cascade.load(tmp_path)
    models = [logits_of(toy, model) for model in PAIR]
    first, second = (lambda rows, m=m: torch_logits(kind, m[rows]) for m in models)
    found = cascade_.answer(first, second, np.arange(N))
    expected = simulated(toy, policy.read(tmp_path))
    for name in ("prediction", "escalated", "took_b"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist()


class Elsewhere:
    """As a tensor on another device, which numpy refuses."""

    def __init__(self, rows):
        self.rows = rows

    def detach(self):
        return self

    float = detach

    def cpu(self):
        return self.rows

    def __array__(self, *args, **kwargs):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


def test_logits_of_another_device(toy, tmp_path):
    assert export(toy, tmp_path, "-t", "0.8").status == 0
    cascade_ = imported(tmp_path).Cascade.load(tmp_path)
    models = [logits_of(toy, model) for model in PAIR]
    found = cascade_.answer(*(lambda rows, m=m: Elsewhere(m[rows]) for m in models), np.arange(N))
    expected = simulated(toy, policy.read(tmp_path))
    assert found.prediction.tolist() == expected.prediction.tolist()


def vouched(text):
    """A policy.toml that was edited, without the line that tells so."""
    return "".join(line for line in text.splitlines(True) if not line.startswith("sha256 = "))


def nan_at(row):
    def spoil(logits):
        logits = np.array(logits)
        logits[row, 1] = np.nan
        return logits

    return spoil


@pytest.mark.parametrize("name", ["A", "B"])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda logits: logits[:, 0], r"gave logits of shape \[4\], not \[images, classes\]"),
        (lambda logits: logits[:3], "gave 3 rows for 4 images"),
        (lambda logits: logits[:, :3], "gave logits of 3 classes, the policy says 4"),
        (np.hstack, r"gave logits of shape \[16\]"),
        (nan_at(2), "gave logits that are not finite: row 2 has a NaN"),
    ],
)
def test_models_are_held_to_the_policy(toy, tmp_path, name, wrong, words):
    assert export(toy, tmp_path, "-t", "always").status == 0
    file = tmp_path / "policy.toml"
    text = file.read_text()
    for model in PAIR:
        text = text.replace(f'name = "{model}"', f'name = "{model}", classes = {CLASSES}')
    file.write_text(vouched(text))
    ready, rows = imported(tmp_path).Cascade.load(tmp_path), np.arange(4)
    right = [logits_of(toy, model).__getitem__ for model in PAIR]
    models = list(right)
    models["AB".index(name)] = lambda batch: wrong(right["AB".index(name)](batch))
    with pytest.raises(ValueError, match=f"^{name} {words}"):
        ready.answer(*models, rows)
    assert ready.answer(*right, rows).escalated.all()


def test_exported_file_is_in_good_style(toy, tmp_path):
    assert export(toy, tmp_path, "--memory", "canonical-dhash").status == 0
    for check in (["check", "--config"], ["format", "--check", "--config"]):
        config = str(Path(__file__).parents[3] / "pyproject.toml")
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *check, config, tmp_path / "cascade_policy.py"],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout


def with_latencies(root):
    store = make_cache(root, n=N, classes=CLASSES)
    costs.merge(store, "toy", list(map(cost_row, PAIR, (1.0, 4.0))))
    return store


def test_a_cascade_that_costs_more_says_so(tmp_path):
    store = with_latencies(tmp_path / "cache")
    for threshold, words in (
        ("always", "note: it costs 25.0% more than large alone\n"),
        ("never", ""),
    ):
        folder = tmp_path / threshold
        done = export(store, folder, "-t", threshold, "--baseline", "large")
        promise = done.json["policy"]["promise"]
        assert (promise["saved_high"] < 0) == bool(words)
        assert done.err.endswith(words)
        assert ("it costs" in done.err) == bool(words)


def test_a_policy_that_is_replaced_is_told(tmp_path):
    store, folder = with_latencies(tmp_path / "cache"), tmp_path / "p"
    for threshold, again in (("0.9", False), ("0.5", True)):
        done = export(store, folder, "-t", threshold)
        assert (f"note: the policy in {folder} is replaced\n" in done.err) is again
        assert policy.read(folder).cascade.limits[0].threshold == float(threshold)


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("-s", "oracle"), "oracle cannot be deployed"),
        (("-t", "2"), "no threshold of maxp"),
        (("--memory", "dash"), "did you mean 'dhash'"),
        (("--memory-size", "3"), "needs a hash"),
        (("--fit-split", "nowhere"), "no logits of"),
        (("-t", "0.5", "--fit-split", "nowhere"), "--fit-split fits λ, which -t gives"),
    ],
)
def test_refusals(toy, tmp_path, flags, words):
    assert words in export(toy, tmp_path / "p", *flags).refusal
    assert not (tmp_path / "p").exists()


def test_a_folder_that_is_none(toy, tmp_path):
    (tmp_path / "file").write_text("")
    assert "check --policy" in export(toy, tmp_path / "file").refusal
    assert "give one of --policy DIR" in cascade("export", "--cache", toy.root).refusal


# Edits of a policy.toml, all of them vouched for, and what is told.
DAMAGES = [
    ("schema_version = 2", "schema_version = 7", "schema_version is 7, expected 1 or 2 or 3"),
    ("schema_version = 2", "", "schema_version is missing, expected 1 or 2 or 3"),
    ("schema_version = 2", "schema_version = true", "schema_version is true, expected 1 or 2 or 3"),
    ('score = "maxp"', 'score = "oracle"', 'rule.score is "oracle", expected "maxp" or "diff'),
    ('score = "maxp"', 'score = ""', 'rule.score is "", expected'),
    ("threshold = 0.8", "threshold = -3.0", 'is -3.0, expected a float from 0 to 1, "always" or'),
    ("threshold = 0.8", "threshold = -3", "rule.threshold is -3, expected a float from 0 to 1"),
    ("threshold = 0.8", "threshold = nan", "rule.threshold is nan, expected a float from 0 to 1"),
    ("threshold = 0.8", "threshold = true", "rule.threshold is true, expected a float"),
    ("threshold = 0.8", 'threshold = "0.5"', 'rule.threshold is "0.5", expected a float'),
    ("threshold = 0.8", 'threshold = "Never"', 'rule.threshold is "Never", expected a float'),
    ("threshold = 0.8", "threshold = 1", "rule.threshold is 1, expected a float from 0 to 1"),
    ("threshold = 0.8", "threshold = [0.8]", "rule.threshold is an array of 1, expected a float"),
    ("postcheck = false", 'postcheck = "no"', 'rule.postcheck is "no", expected true or false'),
    ("postcheck = false", "postcheck = 0", "rule.postcheck is 0, expected true or false"),
    ("postcheck = false", "", "rule.postcheck is missing, expected true or false"),
    ("postcheck =", "postchek =", "rule.postchek is no key of a policy, did you mean postcheck"),
    ('name = "small"', 'name = "large"', "expected two models of different names"),
    ('name = "small"', 'name = "smal"', "the scores of all models among provenance.scores"),
    ('name = "small"', 'name = "a\\nb"', 'name is "a\\nb", expected one line of text'),
    ('name = "small"', 'name = "small", classes = -5', "models[0].classes is -5, expected an int"),
    ('name = "small"', 'name = "small", classes = 1', "an integer of 2 or more"),
    ('name = "small"', 'name = "small", classes = 4.0', "classes is 4.0, expected an integer"),
    ('name = "small"', 'name = "small", weights_sha256 = "ab"', "a SHA-256 of 64 hex digits"),
    ("images = 300", "images = 0", "promise.images is 0, expected an integer of 1 or more"),
    ("images = 300", "images = 300.0", "promise.images is 300.0, expected an integer"),
    ("images = 300", "images = 301", "promise.right is 180, expected 181 by what else it says"),
    ("right = 180", "right = 301", "right is 301, expected at most promise.images, 300"),
    ("right = 180", "right = -1", "promise.right is -1, expected an integer of 0 or more"),
    ("right = 180", "right = true", "promise.right is true, expected an integer of 0 or more"),
    ("\naccuracy = 0.", "\naccuracy = 1.", "accuracy is 1.6, expected a finite float from 0 to 1"),
    (
        "\naccuracy = 0.6\n",
        "\naccuracy = 0.61\n",
        "promise.right is 180, expected 183 by what else",
    ),
    ("\naccuracy = 0.", "\naccuracy = nan #", "promise.accuracy is nan, expected a finite float"),
    ("accuracy_low = 0.", "accuracy_low = 0.9", "expected at most promise.accuracy, 0.6"),
    ("accuracy_high = ", "#", "promise.accuracy_high is missing, expected it beside promise.acc"),
    ("usage = 0.", "usage = 0.01", "promise.usage_low is "),
    ('split = "test"', "split = 7", "promise.split is 7, expected one line of text"),
    ('split = "test"', "", "promise.split is missing, expected one line of text"),
    ("cost = ", "#", "promise.cost is missing, expected it beside promise.cost_low"),
    ("cost_1 = ", "#", "promise.cost_1 is missing, expected it beside promise.cost"),
    ("cost_2 = 4.0", 'cost_2 = "4"', 'promise.cost_2 is "4", expected a finite float'),
    ("cost_2 = 4.0", "cost_2 = 5.0", "promise.cost is "),
    ("cost_high = ", "cost_high = nan #", "promise.cost_high is nan, expected a finite float"),
    ("cost_high = ", "cost_high = 0.5 #", "expected at most promise.cost_high, 0.5"),
    ("cost_kind = ", "#", "promise.cost_kind is missing, expected it beside"),
    ('cost_kind = "latency"', 'cost_kind = "watts"', 'cost_kind is "watts", expected "joules" or'),
    ('cost_kind = "latency"', 'cost_kind = "joules"', 'cost_unit is "ms", expected "J" by what'),
    ("cost_device = ", "#", "a promise.cost_device for joules and latency, and none for multiply"),
    (
        "cost_batch_size = 1",
        "cost_batch_size = 0",
        "cost_batch_size is 0, expected an integer of 1",
    ),
    ("saved = ", "saved = 0.9 #", "promise.saved"),
    ("[rule]", "[rules]", "rules is no key of a policy, did you mean rule"),
    ("[rule]", "[rule", "is no policy (Expected ']'"),
    ("[provenance]", '[provenance]\nby = "me"', "provenance.by is no key of a policy"),
]
DAMAGED = pytest.mark.parametrize(("old", "new", "words"), DAMAGES)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A cache with costs, the text of a policy that it gave, and the application's module."""
    folder = tmp_path_factory.mktemp("exported")
    store = with_latencies(folder / "cache")
    assert export(store, folder / "policy", "-t", "0.8").status == 0
    text = (folder / "policy" / "policy.toml").read_text()
    return store, text, imported(folder / "policy")


def told_of(exported, folder, text):
    """What the application and every command say of such a policy, None where they take it."""
    (folder / "policy.toml").write_text(text)
    told = []
    for reader, error in ((exported[2].Cascade.load, ValueError), (policy.read, InputError)):
        try:
            reader(folder)
            told.append(None)
        except error as refusal:
            told.append(str(refusal))
    assert told[0] == told[1]
    assert told[0] is None or len(told[0].splitlines()) == 1
    return told[0]


@DAMAGED
def test_a_policy_that_cannot_be_is_refused_by_all_in_the_same_words(
    exported, tmp_path, old, new, words
):
    text = vouched(exported[1])
    assert old in text
    told = told_of(exported, tmp_path, text.replace(old, new, 1))
    assert words in told
    assert told.startswith(str(tmp_path / "policy.toml"))
    assert told.endswith("export it again (`cascade export --policy DIR`)")


def edited(found, edits):
    """Dotted keys set to other values, and somebody vouches for it."""
    found = deepcopy(found)
    found.pop("sha256", None)
    for key, value in edits.items():
        *way, last = (int(part) if part.isdigit() else part for part in key.split("."))
        holder = reduce(lambda inner, part: inner[part], way, found)
        holder[last] = value
    return tomli_w.dumps(found)


SQUARE = {"mean": [0.5], "std": [0.5], "interpolation": "bilinear"}
IMPOSSIBLE = [
    ({"rule.threshold": "never"}, "promise.escalated is 176, expected 0 by what else it says"),
    ({"rule.threshold": "always"}, "promise.escalated is 176, expected 300 by what else it says"),
    ({"models.0.precision": "fp16"}, 'precision is "fp16", expected "fp32" by what else it says'),
    ({"models.0.preprocessing": SQUARE | {"std": [0.0]}}, "std is an array of 1, expected an arr"),
    ({"models.1.preprocessing": SQUARE | {"std": [-0.1]}}, "of 1 or 3 numbers above 0"),
    ({"models.1.preprocessing": SQUARE | {"std": [0.5] * 3}}, "as many numbers of preproc"),
    ({"promise.accuracy_2": 0.9999}, "promise.accuracy_2 is 0.9999, expected 1.0 by what else"),
    ({"promise.accuracy_2": 0.01}, "promise.right no further from accuracy_2 than the images that"),
    ({"promise.accuracy_low": 0.0}, "promise.accuracy_low is 0.0, expected 0.5"),
    ({"promise.accuracy_high": 1.0}, "promise.accuracy_high is 1.0, expected 0.6"),
    ({"promise.usage_low": 0.1}, "promise.usage_low is 0.1, expected 0.5"),
    ({"promise.usage_high": 0.9}, "promise.usage_high is 0.9, expected 0.6"),
    ({"fit.objective": "x"}, 'fit.objective is "x", expected "best", "1se" or "search: " and'),
    ({"fit.objective": "search: x"}, 'objective is "search: x", expected "best", "1se" or "sea'),
    ({"provenance.made": "yesterday"}, 'made is "yesterday", expected a time as 2026-01-31T12'),
    ({"provenance.made": "2026-13-01T00:00:00+00:00"}, "(ISO 8601)"),
    ({"provenance.made": "2026-12-01T00:00:00"}, "(ISO 8601)"),
]


@pytest.mark.parametrize(("edits", "words"), IMPOSSIBLE)
def test_what_no_export_says_is_refused(exported, tmp_path, edits, words):
    assert words in told_of(exported, tmp_path, edited(tomllib.loads(exported[1]), edits))


POSSIBLE = [
    {"models.0.precision": "fp32"},
    {"models.0.precision": "odd", "models.0.runtime": "import"},
    {"models.0.preprocessing": SQUARE, "models.1.preprocessing": SQUARE | {"std": [1]}},
    {"fit.objective": "1se"},
    {"fit.objective": "search: match the best single model within 0.01"},
    {"provenance.made": "2026-12-01T00:00:00+00:00"},
    {"models.0.parameters": 0},  # of a program whose weights are constants
]


@pytest.mark.parametrize("edits", POSSIBLE)
def test_what_an_export_may_say_is_taken(exported, tmp_path, edits):
    assert told_of(exported, tmp_path, edited(tomllib.loads(exported[1]), edits)) is None


@pytest.mark.parametrize("name", ["maxp", "entropy"])
@pytest.mark.parametrize("threshold", ["always", "never"])
def test_a_limit_that_is_a_word_has_one_end(exported, tmp_path, name, threshold):
    """maxp grows and entropy falls with trust: never is below all maxp, above all entropies."""
    assert export(exported[0], tmp_path, "-s", name, "-t", threshold).status == 0
    found = tomllib.loads((tmp_path / "policy.toml").read_text())
    end = "high" if (name, threshold) in (("maxp", "never"), ("entropy", "always")) else "low"
    other = {"low": "high", "high": "low"}[end]
    assert told_of(exported, tmp_path, edited(found, {f"rule.threshold_{end}": 0.5})) is None
    told = told_of(exported, tmp_path, edited(found, {f"rule.threshold_{other}": 0.5}))
    assert 'expected rule.threshold "always" and "never" without the end that no score' in told


def test_alone_by_the_rule_is_alone_by_the_counts(exported, tmp_path):
    """What never sends an image on is as often right as A is."""
    assert export(exported[0], tmp_path, "-t", "never").status == 0
    found = tomllib.loads((tmp_path / "policy.toml").read_text())
    one_more = (found["promise"]["right"] + 1) / N
    edits = dict.fromkeys(("promise.accuracy_1", "promise.baseline_accuracy"), one_more)
    edits["promise.accuracy_change"] = found["promise"]["accuracy"] - one_more
    told = told_of(exported, tmp_path, edited(found, edits))
    assert "promise.right no further from accuracy_1 than the escalated images make it" in told


def test_a_never_that_was_fitted_is_read(tmp_path):
    """A is always right."""
    store = make_cache(tmp_path / "cache", n=N, classes=CLASSES)
    for split in ("val", "test"):
        labels = score.load(store, "toy", split).labels
        right = np.eye(CLASSES, dtype=np.float32)[labels] * 5
        write_logits(store, split, "small", labels, right, weights="new", overwrite=True)
    assert export(store, tmp_path / "p").status == 0
    rule = read_policy(tmp_path / "p")["rule"]
    assert (rule["threshold"], "threshold_low" in rule, "threshold_high" in rule) == (
        *("never", False, True),
    )


def test_every_command_refuses_it(exported, tmp_path):
    told = told_of(exported, tmp_path, vouched(exported[1]).replace("= false", '= "no"'))
    for args in (("check", tmp_path), ("live", "--policy", tmp_path)):
        done = cascade(*args, "--cache", exported[0].root, "--json")
        assert done.refusal == f"cascade: {told}"


def test_a_promise_as_it_was_written_is_checked(priced, tmp_path):
    store, found = priced
    (tmp_path / "policy.toml").write_text(tomli_w.dumps(found))
    assert cascade("check", tmp_path, "--cache", store.root).status == 0


@pytest.fixture(scope="module")
def priced(tmp_path_factory):
    """A cache with costs, and a policy that it gave."""
    folder = tmp_path_factory.mktemp("priced")
    store = with_latencies(folder / "cache")
    found = export(store, folder / "policy").json["policy"]
    assert found["promise"]["cost"] > 0.5
    return store, found


def test_missing_policy(tmp_path):
    with pytest.raises(InputError, match="cascade export --policy"):
        policy.read(tmp_path)


# --- what was edited, and what is no file --------------------------------------------------------

ANYTHING = (
    *(True, False, 0, 1, -1, -5, 0.0, 1.0, -3.0, float("nan"), float("inf"), 10**30, [], {}, [1]),
    *("", "no", "always", "0.5", "maxp", "entropy", "test", "macs", "cross-fit", "ab" * 32),
)


def places(value, at=()):
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*at, key)
        if isinstance(item, (dict, list)):
            yield from places(item, (*at, key))


def mutated(rng, found):
    """Another value, the other sign, nothing, or one key more, anywhere."""
    found = deepcopy(found)
    *way, last = rng.choice([place for place in places(found) if place != ("sha256",)])
    holder = reduce(lambda value, key: value[key], way, found)
    how, value = rng.choice(("swap", "flip", "delete", "add")), holder[last]
    if how == "delete":
        del holder[last]
    elif how == "add" and isinstance(holder, dict):
        holder[rng.choice(("x", "size", "trust", "cost", "memory", "hits"))] = rng.choice(ANYTHING)
    elif how == "flip" and type(value) in (int, float):
        holder[last] = -value
    else:
        holder[last] = not value if type(value) is bool else rng.choice(ANYTHING)
    return found


def test_a_mutated_policy_is_taken_by_none(exported, tmp_path):
    """Each of 100 says something else, and none of them is vouched for."""
    rng, found = Random(0), tomllib.loads(exported[1])
    for _ in range(100):
        text = tomli_w.dumps(mutated(rng, found))
        same = repr(tomllib.loads(text)) == repr(found)
        assert (told_of(exported, tmp_path, text) is None) == same, text


def test_a_mutated_policy_without_a_digest_is_taken_by_all_or_none(exported, tmp_path):
    """What is taken has the rule, the models and the counts that were exported."""
    rng, found, taken = Random(1), tomllib.loads(vouched(exported[1])), 0
    for _ in range(200):
        other = mutated(rng, found)
        if told_of(exported, tmp_path, tomli_w.dumps(other)) is None:
            taken += 1
            assert essence(other) in (essence(found), *valid_rules(found)), other
    assert 0 < taken < 80


def essence(found):
    """What decides, and what is tested."""
    promise = found["promise"]
    counts = [promise[key] for key in ("images", "right", "escalated", "cost", "cost_batch_size")]
    models = [(model["name"], model.get("classes")) for model in found["models"]]
    return found["rule"], models, found.get("memory"), counts


def valid_rules(found):
    """Other rules that a policy may have: with no digest nobody can tell."""
    kinds = {"score": ("maxp", "entropy"), "threshold": (0.0, 1.0), "postcheck": (True,)}
    for key, values in kinds.items():
        for value in values:
            yield essence(found | {"rule": found["rule"] | {key: value}})


def test_layout_and_comments_are_no_edit_and_other_values_are(exported, tmp_path):
    text = exported[1]
    found = tomllib.loads(text)
    turned = dict(reversed(found.items()))
    assert told_of(exported, tmp_path, "# mine\r\n" + tomli_w.dumps(turned)) is None
    edited = text.replace("threshold = 0.8", "threshold = 0.7")
    told = told_of(exported, tmp_path, edited)
    assert "was edited after it was exported" in told
    assert told.endswith("with -t for another λ, or delete the line sha256 to vouch for it")
    (tmp_path / "policy.toml").write_text(vouched(edited))
    assert exported[2].Cascade.load(tmp_path).threshold == 0.7
    # its promise is another λ's, as the scores that are there can tell
    small, large = (logits_of(exported[0], model) for model in PAIR)
    labels = score.load(exported[0], "toy", "test").labels
    right = sum(np.equal(naive(small, large, 0.7)[0], labels).tolist())
    refusal = cascade("check", tmp_path, "--cache", exported[0].root).refusal
    assert f"right is {found['promise']['right']}, expected {right} of the scores" in refusal


def test_the_digest_is_of_the_content(exported):
    found = tomllib.loads(exported[1])
    told = found.pop("sha256")
    assert told == hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def test_facts_that_the_cache_contradicts(exported, tmp_path):
    """A policy of these very scores, with other facts of its models."""
    store, text, _ = exported
    found = tomllib.loads(vouched(text))
    assert found["promise"]["baseline"] == "small"
    found["promise"]["accuracy_2"] = 0.25
    (tmp_path / "policy.toml").write_text(tomli_w.dumps(found))
    refusal = cascade("check", tmp_path, "--cache", store.root).refusal
    assert "promise.accuracy_2 is 0.25, expected 0." in refusal


TOO_MUCH = {
    "nested": "x = " + 5000 * "[",
    "tables": "x = " + 5000 * "{a=",
    "long": ".".join(20_000 * ["a"]) + " = 1",
    "keys": "".join(f"k{i}.x = 1\n" for i in range(20_000)),
    "headers": "".join(f"[k{i}{100 * '.a'}]\n" for i in range(1000)),
    "comments": 300_000 * "#\n",
    "not utf-8": "\udcff = 1",
    "empty": "",
    "zero": "\0",
}


@pytest.mark.parametrize("text", TOO_MUCH.values(), ids=TOO_MUCH)
def test_what_is_no_policy_is_told_at_once(exported, tmp_path, text):
    store, _, module = exported
    (tmp_path / "policy.toml").write_bytes(text.encode(errors="surrogateescape"))
    begun = time.process_time()
    with pytest.raises(ValueError, match=r"policy\.toml") as told:
        module.Cascade.load(tmp_path)
    assert time.process_time() - begun < 20  # unbounded it is minutes
    assert cascade("check", tmp_path, "--cache", store.root).refusal == f"cascade: {told.value}"
    assert len(str(told.value)) < len(str(tmp_path)) + 300


def place_fifo(path):
    os.mkfifo(path)


def place_zeros(path):
    """As /dev/zero, which never ends."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("needs root")


@pytest.mark.parametrize(
    ("place", "kind"),
    [(place_fifo, "a FIFO"), (place_zeros, "a device"), (Path.mkdir, "directory")],
)
def test_only_a_regular_file_is_a_policy(exported, tmp_path, place, kind):
    store, _, module = exported
    place(tmp_path / "policy.toml")
    with pytest.raises(ValueError, match=f"cannot read .*policy.toml: .*{kind}") as told:
        module.Cascade.load(tmp_path)
    for args in (("check", tmp_path), ("live", "--policy", tmp_path)):
        assert cascade(*args, "--cache", store.root).refusal == f"cascade: {told.value}"


def test_a_policy_is_not_written_over_a_fifo(toy, tmp_path):
    os.mkfifo(tmp_path / "policy.toml")
    done = export(toy, tmp_path, "-t", "0.8")
    assert f"cannot write {tmp_path}: a FIFO is there" in done.refusal
    assert "is replaced" not in done.err.partition("cascade: ")[0]
    assert [path.name for path in tmp_path.iterdir()] == ["policy.toml"]
    assert stat.S_ISFIFO((tmp_path / "policy.toml").stat().st_mode)


# --- whatever an application gives ---------------------------------------------------------------


@pytest.fixture(scope="module")
def ready(toy, tmp_path_factory):
    """Loads the policy anew, as what it has seen is kept."""
    folder = tmp_path_factory.mktemp("ready")
    assert export(toy, folder, "-t", "0.8").status == 0
    module = imported(folder)
    return lambda: module.Cascade.load(folder)


def naive(first, second, limit=0.8):
    """(prediction, escalated) of lists of rows, image by image."""
    out = []
    for a, b in zip(first, second, strict=True):
        a, b = list(map(float, a)), list(map(float, b))
        sure = 1 / sum(math.exp(x - max(a)) for x in a)
        chosen = a if sure >= limit else b
        out.append((chosen.index(max(chosen)), sure < limit))
    return tuple(map(list, zip(*out, strict=True)))


def strided(rows):
    """Every other column and row of something larger, upside down."""
    wide = np.full((2 * len(rows), 2 * rows.shape[1]), np.nan, rows.dtype)
    wide[::-2, ::2] = rows
    return wide[::-2, ::2]


FORMS = {
    "float16": lambda rows: rows.astype(np.float16),
    "float64": lambda rows: rows.astype(np.float64),
    "int8": lambda rows: rows.astype(np.int8),
    "int64": lambda rows: rows.astype(np.int64),
    "big-endian": lambda rows: rows.astype(">f8"),
    "strided": strided,
    "columns first": np.asfortranarray,
    "read-only": lambda rows: np.broadcast_to(rows, rows.shape),
    "lists": lambda rows: rows.tolist(),
    "tuple of arrays": tuple,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("batch", [1, 7, N])
def test_logits_of_every_form_are_answered_as_one_by_one(toy, ready, form, batch):
    small, large = (logits_of(toy, model) for model in PAIR)
    loaded, found = ready(), []
    for start in range(0, N, batch):
        rows = np.arange(start, min(start + batch, N))
        found.append(loaded.answer(lambda r: form(small[r]), lambda r: form(large[r]), rows))
    got = [np.concatenate([getattr(a, key) for a in found]) for key in ("prediction", "escalated")]
    assert tuple(each.tolist() for each in got) == naive(small, large)


def test_one_row_for_all(ready):
    """Arrays and tensors whose rows are one and the same in memory, as logits and as batch."""
    torch = pytest.importorskip("torch")
    a, b = np.float32([0.5, 0.2, 0.1, 0.7]), np.float32([0.1, 3, 0.2, 0.5])
    numpy_rows = [lambda r, x=x: np.broadcast_to(x, (len(r), 4)) for x in (a, b)]
    torch_rows = [lambda r, x=x: torch.from_numpy(x).expand(len(r), 4) for x in (a, b)]
    for models in (numpy_rows, torch_rows):
        for batch in (np.broadcast_to(np.float32(1), (9, 3)), torch.ones(1).expand(9, 3)):
            found = ready().answer(*models, batch)
            assert found.prediction.tolist() == naive([a] * 9, [b] * 9)[0]


@pytest.mark.parametrize("name", ["A", "B"])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda rows: [[b"1"] * 4] * len(rows), "gave no array of numbers: \\|S1"),
        (lambda rows: [["1.5"] * 4] * len(rows), "gave no array of numbers: <U3"),
        (lambda rows: np.zeros((len(rows), 4), complex), "gave no array of numbers: complex128"),
        (lambda rows: np.ones((len(rows), 4), bool), "gave no array of numbers: bool"),
        (lambda rows: [[None] * 4] * len(rows), "gave no array of numbers: object"),
        (lambda rows: None, "gave no array of numbers: object"),
        (lambda rows: {"logits": rows}, "gave no array of numbers: object"),
        (lambda rows: [[1.0, 2.0], [1.0]], "gave no array of numbers: setting an array element"),
        (lambda rows: np.full((len(rows), 4), 1e39), "gave logits that are not finite: row 0"),
        (lambda rows: np.full((len(rows), 4), -np.inf), "gave logits that are not finite: row 0"),
        (lambda rows: np.zeros((len(rows), 1)), "gave logits of 1 classes: a score needs at least"),
        (lambda rows: np.zeros((len(rows), 0)), "gave logits of 0 classes: a score needs at least"),
        (lambda rows: np.zeros((0, 4)), "gave 0 rows for 5 images"),
        (lambda rows: np.zeros((1, len(rows), 4)), "gave logits of shape"),
    ],
)
def test_logits_that_are_none_are_told(ready, name, wrong, words):
    def right(rows):
        return np.zeros((len(rows), 4))

    models = [wrong if name == each else right for each in "AB"]
    with pytest.raises(ValueError, match=f"^{name} {words}"):
        ready().answer(*models, np.arange(5))


@pytest.mark.parametrize(
    "batch", [b"abc", "abc", None, 3, np.float32(1), np.array(1), {"x": 1}, {1, 2}, iter("ab")]
)
def test_a_batch_that_is_none_is_told(ready, batch):
    with pytest.raises(ValueError, match="a batch is an array, a tensor or a list of requests"):
        ready().answer(lambda rows: np.zeros((3, 4)), lambda rows: np.zeros((3, 4)), batch)


@pytest.mark.parametrize("batch", [[], (), np.zeros((0, 3))])
def test_an_empty_batch_asks_nobody(ready, batch):
    found = ready().answer(None, None, batch)
    for name in ("prediction", "escalated", "took_b", "hit", "score"):
        assert len(getattr(found, name)) == 0


@pytest.mark.parametrize(
    ("digest", "pictures", "words"),
    [
        (lambda shown: np.zeros((len(shown), 8), np.uint8), 1, "1 pictures for 5 images"),
        (lambda shown: np.zeros((1, 8), np.uint8), 5, r"keys uint8 \[1, 8\], not uint8 \[5, 8\]"),
        (lambda shown: np.zeros((5, 9), np.uint8), 5, r"keys uint8 \[5, 9\], not uint8 \[5, 8\]"),
        (lambda shown: np.zeros((5, 8)), 5, r"keys float64 \[5, 8\], not uint8"),
        (lambda shown: None, 5, r"keys object \[\], not uint8 \[5, 8\]"),
    ],
)
def test_keys_and_pictures_are_held_to_the_batch(toy, tmp_path, digest, pictures, words):
    assert export(toy, tmp_path, "-t", "0.8", "--memory", "dhash").status == 0
    loaded = imported(tmp_path).Cascade.load(tmp_path, digest=digest)
    with pytest.raises(ValueError, match=words):
        loaded.answer(None, None, np.arange(5), pictures_of(N)[:pictures])


def probabilities(logits, kind=np.float32):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(kind)


def warned(loaded, first, second, batch, n):
    """Who is told to give probabilities, batch after batch."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for start in range(0, n, batch):
            rows = np.arange(start, min(start + batch, n))
            loaded.answer(first.__getitem__, second.__getitem__, rows)
    assert all(__file__ == each.filename for each in told)
    return [str(each.message).partition(" gives probabilities, ")[0] for each in told]


@pytest.mark.parametrize("batch", [1, 7, 64])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("who", ["A", "B"])
def test_probabilities_are_told_once(ready, batch, kind, who):
    rng = np.random.default_rng(4)
    models = [rng.standard_normal((64, CLASSES)) for _ in PAIR]
    models["AB".index(who)] = probabilities(models["AB".index(who)], kind)
    assert warned(ready(), *models, batch, 64) == [who]


def test_a_policy_tells_once_of_both(ready):
    rows = probabilities(np.random.default_rng(4).standard_normal((64, CLASSES)))
    loaded = ready()
    assert warned(loaded, rows, rows, 8, 64) == ["A"]
    assert warned(loaded, rows, rows, 8, 64) == []


@pytest.mark.parametrize("make_rows", [np.abs, np.round, lambda x: np.maximum(x, 0), np.tanh])
@pytest.mark.parametrize("batch", [1, 7])
def test_logits_are_not_told_to_be_probabilities(ready, make_rows, batch):
    """Policies that see few rows each, of all kinds of logits: not one is warned of."""
    rng = np.random.default_rng(5)
    for _ in range(200):
        models = [make_rows(rng.standard_normal((14, CLASSES)) / 2) for _ in PAIR]
        assert warned(ready(), *models, batch, 14) == []


def test_a_row_of_one_1_and_else_0_tells_nothing(ready):
    rows = np.eye(CLASSES)[np.random.default_rng(6).integers(0, CLASSES, 40)]
    assert warned(ready(), rows, rows, 8, 40) == []


# --- flattening ----------------------------------------------------------------------------------


def test_names_that_clash_are_renamed_or_refused():
    """`_BLOCK` is a constant of two modules, `SIDE` a public one."""
    space = {}
    exec(
        flatten({"stages.hashes.dhash": ["dhash", "_BLOCK"], "stages.hashes.grey": ["grey"]}), space
    )
    assert (space["_BLOCK"], space["_DHASH_BLOCK"]) == (1 << 15, 1 << 17)
    shown = np.stack(pictures_of(30)[:1] * 3)
    assert (space["dhash"](shown) == HASHES["dhash"].digest(shown)).all()
    with pytest.raises(ValueError, match="something else, too"):
        flatten({"stages.hashes.dhash": ["SIDE"], "stages.hashes.moments": ["SIDE"]})


# --- where B fails -------------------------------------------------------------------------------

FAILING = """
import sys, threading, time
sys.path.insert(0, sys.argv[1])
import numpy as np
from cascade_policy import Cascade

assert not {"torch", "cascade_cli", "stages", "cache"} & set(sys.modules)
a, b = np.load(sys.argv[2]).astype(np.float32)
rows, gate = np.arange(len(a)), threading.Event()

def raises(batch):
    raise OSError("the server is gone")

def hangs(batch):
    gate.wait(60)
    return b[batch]

def some_nan(batch):
    found = b[batch].copy()
    found[batch % 3 == 0, 1] = np.nan
    return found

plain = Cascade.load(sys.argv[3]).answer(a.__getitem__, b.__getitem__, rows)
assert not plain.failed.any() and plain.took_b.any()
sent = plain.escalated
shorter = lambda batch: b[batch][:1]
for second in (raises, hangs, some_nan, shorter):
    cascade = Cascade.load(sys.argv[1])
    begun = time.perf_counter()
    found = cascade.answer(a.__getitem__, second, rows)
    took = time.perf_counter() - begun
    failed = sent & (rows % 3 == 0) if second is some_nan else sent
    assert found.failed.tolist() == failed.tolist(), second
    assert found.escalated.tolist() == sent.tolist()
    assert not found.took_b[failed].any()
    assert found.prediction[failed].tolist() == a.argmax(axis=1)[failed].tolist()
    assert found.prediction[~failed].tolist() == plain.prediction[~failed].tolist()
    assert np.isfinite(found.score).all()
    print(cascade.last_failure)
    if second is hangs:
        assert 0.15 < took < 20, took
        begun = time.perf_counter()
        assert cascade.answer(a.__getitem__, b.__getitem__, rows).failed.tolist() == sent.tolist()
        assert time.perf_counter() - begun < 0.15
        print(cascade.last_failure)
        gate.set()
        while cascade.guard._late.is_alive():
            time.sleep(0.01)
        assert not cascade.answer(a.__getitem__, b.__getitem__, rows).failed.any()
"""


@pytest.mark.parametrize("flags", [(), ("-p",)], ids=["plain", "postcheck"])
def test_where_b_fails_the_answer_of_a_stands(toy, tmp_path, flags):
    """In a process with numpy alone: a B that raises, hangs, answers NaN or too little."""
    limit = ("-t", "0.6", *flags)
    assert export(toy, tmp_path / "plain", *limit).status == 0
    told = export(toy, tmp_path / "p", *limit, "--on-error", "A", "--timeout-ms", "200")
    rule = told.json["policy"]["rule"]
    assert (rule["on_error"], rule["timeout_ms"]) == ("answer of A", 200.0)
    assert told.json["policy"]["schema_version"] == 3
    np.save(tmp_path / "logits.npy", [logits_of(toy, model) for model in PAIR])
    line = [sys.executable, "-W", "ignore", "-c", FAILING]
    given = (tmp_path / "p", tmp_path / "logits.npy", tmp_path / "plain")
    done = subprocess.run([*line, *given], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "OSError: the server is gone",
        "TimeoutError: no answer within 200 ms",
        "TimeoutError: it is still at an earlier batch",
        "B gave logits that are not finite",
        f"ValueError: B gave 1 rows for {done.stdout.split('1 rows for ')[1].split()[0]} images",
    ]


def test_a_failed_answer_is_not_remembered(toy, tmp_path):
    how = ("-t", "always", "--memory", "dhash", "--on-error", "a")
    assert export(toy, tmp_path, *how).status == 0
    cascade_ = imported(tmp_path).Cascade.load(tmp_path)
    first, second = (logits_of(toy, model)[:4].__getitem__ for model in PAIR)
    pictures = np.random.default_rng(3).integers(0, 256, (4, 16, 16), np.uint8)

    def fails(rows):
        raise RuntimeError("no memory")

    rows = np.arange(4)
    assert cascade_.answer(first, fails, rows, pictures).failed.all()
    again = cascade_.answer(first, second, rows, pictures)
    assert not again.hit.any()
    assert again.took_b.all()
    assert cascade_.answer(first, fails, rows, pictures).hit.all()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--on-error", "B"), "--on-error B: give A"),
        (("--timeout-ms", "5"), "--timeout-ms needs --on-error A"),
        (("--on-error", "A", "--timeout-ms", "0"), "--timeout-ms 0.0: give milliseconds"),
        (("--on-error", "A", "--onnx"), "an ONNX file cannot go on where B fails"),
    ],
)
def test_what_cannot_answer_for_b_is_refused(toy, tmp_path, flags, words):
    assert words in export(toy, tmp_path / "p", "-t", "0.9", *flags).refusal
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('on_error = "raise"', 'rule.on_error is "raise", expected "answer of A"'),
        ("timeout_ms = 5.0", "rule.timeout_ms only beside rule.on_error"),
        ('on_error = "answer of A"', "rule.on_error only in schema_version 3"),
        ('on_error = "answer of A"\ntimeout_ms = -1.0', "rule.timeout_ms is -1.0, expected"),
    ],
)
def test_a_fallback_is_checked(toy, tmp_path, line, words):
    assert export(toy, tmp_path, "-t", "0.9").status == 0
    file = tmp_path / "policy.toml"
    file.write_text(vouched(file.read_text()).replace("[rule]\n", f"[rule]\n{line}\n"))
    with pytest.raises(ValueError, match=re.escape(words)):
        read_policy(tmp_path)
