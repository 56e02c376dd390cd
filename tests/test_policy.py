"""`export --policy`: what is written down, and that the written file answers as `simulate` does."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import warnings
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tomli_w
from helpers import fingerprint_of, make_cache
from running import cascade

from cache import InputError, Partition, iter_logits, load, write_partition
from cache.schema import hashes_schema
from stages import costs, policy, requests, score
from stages.deployed import read_policy
from stages.flatten import flatten
from stages.hashes import HASHES
from stages.memory import Policy
from stages.simulate import Cascade, recalled, run, simulate
from stages.stream import make

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
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "numpy", "tomli"}:
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
    outcome = simulate(scores, deployed.cascade)
    if deployed.memory is not None:
        recall = requests.recall(store, scores, make(N), deployed.memory, BATCH)
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
    assert (promise["right"], promise["escalated"]) == (
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
    assert deployed.cascade.threshold == row["threshold"]
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
    chosen = Cascade("small", "large", "maxp", 0.8)
    row = run(toy, scores, chosen)
    policy.write(tmp_path, policy.document(toy, scores, chosen, row, Policy("phash")))
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
        config = str(Path(__file__).parents[1] / "pyproject.toml")
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *check, config, tmp_path / "cascade_policy.py"],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout


def with_latencies(root):
    store = make_cache(root, n=N, classes=CLASSES)
    for model, latency in zip(PAIR, (1.0, 4.0), strict=True):
        row = {"device": "desk", "component": "forward", "batch_size": 1, "latency_ms": latency}
        row |= {"meter": "none", "source": "test"}
        costs.merge(store, "toy", "torch-fp32-cpu", model, [row])
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
        assert policy.read(folder).cascade.threshold == float(threshold)


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
    ("schema_version = 2", "schema_version = 7", "schema_version is 7, expected 1 or 2"),
    ("schema_version = 2", "", "schema_version is missing, expected 1 or 2"),
    ("schema_version = 2", "schema_version = true", "schema_version is true, expected 1 or 2"),
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
    ('name = "small"', 'name = "smal"', "the scores of both models among provenance.scores"),
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
        "\naccuracy = 0.6 #",
        "\naccuracy = 0.61 #",
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
    """What the application and `check` say of such a policy, None where they take it."""
    store, _, module = exported
    (folder / "policy.toml").write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            module.Cascade.load(folder)
            told = None
        except ValueError as error:
            told = str(error)
    done = cascade("check", folder, "--cache", store.root)
    if told is not None:
        assert done.refusal == f"cascade: {told}"
        assert len(told.splitlines()) == 1
    else:
        assert done.status in (0, 3), done.err
    return told


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
