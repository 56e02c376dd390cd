"""Every kind of cascade as a policy: the exported file against simulate, and both against loops."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers import write_logits, write_samples
from running import IMAGES, SHARED, WEIGHTS, cascade, needs_shared
from scipy.special import expit, softmax

from cache import Store, iter_logits, load as load_manifest
from stages import policy, scores as scoring, simulate
from stages.calibration import calibrated
from stages.cascade import Cascade, decide
from stages.datasets import open_split
from stages.models import choose, load
from stages.threshold import plan

A, B, C = NETS = ("resnet20", "resnet32", "resnet56")
N, FITTING = 5000, 1000
FACES = SHARED / "outputs" / "ferplus.parquet"
# Writes what a policy's own file answers, in a process that has numpy alone.
CHILD = """
import importlib.util, json, sys
class Only:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "pyarrow", "cache", "stages", "scipy", "sklearn"):
            raise ImportError(name + " is not for applications")
sys.meta_path.insert(0, Only())
import numpy as np
stored = np.load("stored.npz")
for folder, names, answers in json.load(open("folders.json")):
    spec = importlib.util.spec_from_file_location("cascade_policy", folder + "/cascade_policy.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["cascade_policy"] = module
    spec.loader.exec_module(module)
    if answers:
        given = [(stored[name + ".prediction"], stored[name + ".sure"]) for name in names]
        models = [lambda rows, of=of: (of[0][rows], of[1][rows]) for of in given]
    else:
        models = [stored[name].__getitem__ for name in names]
    for batch in (1, 64, 5000):
        loaded, found = module.Cascade.load(folder), []
        for start in range(0, 5000 if batch > 1 else 1000, batch):
            found.append(loaded.answer(*models, np.arange(start, min(start + batch, 5000))))
        columns = {name: np.concatenate([getattr(one, name) for one in found])
                   for name in ("prediction", "escalated", "stage", "answered")}
        np.savez(f"{folder}/answers-{batch}.npz", **columns)
print("answered")
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory, one_thread):
    """A cache of what three nets say of 5,000 real images, and of 1,000 others that fit."""
    torch = pytest.importorskip("torch")
    store, chosen = (
        Store(tmp_path_factory.mktemp("real") / "cache"),
        choose("cifar10", NETS, directory=WEIGHTS),
    )
    seen = chosen[0].spec.preprocessing
    modules = {one: load(one.spec, one.weights).eval() for one in chosen}
    for split, n in {"test": N, "val": FITTING}.items():
        source = open_split("cifar10", split, str(IMAGES))
        pixels, labels = (
            np.stack([seen.pixels(source.read(i)) for i in range(n)]),
            source.labels[:n],
        )
        parts = torch.from_numpy(seen.normalise_array(pixels)).split(100)
        write_samples(store, split, labels, dataset="cifar10")
        for one, module in modules.items():
            with torch.inference_mode():
                logits = torch.cat([module(part) for part in parts]).numpy()
            about = {"dataset": "cifar10", "weights": one.weights.sha256}
            write_logits(store, split, one.name, labels, logits, **about)
    return store


def logits_of(store, split, model):
    [manifest] = scoring.load(store, "cifar10", split, [model]).manifests
    return np.concatenate(
        [rows for _, rows in iter_logits(store, load_manifest(store, manifest.partition.logits))]
    )


def by_rules(store, folder, *flags, third=()):
    where = ("-d", "cifar10", "-m1", A, "-m2", C, "--fit-split", "val", "--cache", store.root)
    done = cascade("rules", *where, *third, *flags, "--policy", folder, "--json")
    assert done.status == 0, done.err


def write(store, folder, made, scores):
    row = simulate.run(store, scores, made)
    policy.write(folder, policy.document(store, scores, made, row))


def calibrated_pair(store, scores, method):
    fitting = plan(store, scores, "val")
    reported, _, [name] = calibrated(scores, fitting, method, ["entropy"])
    fitted = reported.coefficients[name]
    limit = float(np.quantile(reported.scores[name][0], 0.3))
    return Cascade.of((A, C), name, limit, postcheck=True, coefficients=fitted), reported


def chain(scores, names, share=0.3):
    limits = [float(np.quantile(scores.scores["maxp"][scores.index(m)], share)) for m in names[:-1]]
    return Cascade.of(names, "maxp", *limits, postcheck=True)


RULED = {
    "mean": ("--rules", "maxp", "--finals", "ensemble", "--objective", "best"),
    "mean of tempered": ("--rules", "maxp_t", "--finals", "ensemble", "--objective", "1se"),
    "tempered": ("--rules", "entropy_t", "--finals", "postcheck", "--objective", "best"),
    "learned": ("--rules", "learned", "--finals", "b", "--objective", "1se"),
    "learned, checked": ("--rules", "learned", "--finals", "postcheck", "--objective", "1se"),
    "learned, mean": ("--rules", "learned", "--finals", "ensemble", "--objective", "1se"),
    "margin": ("--rules", "margin", "--finals", "postcheck", "--objective", "1se"),
    "energy": ("--rules", "energy", "--finals", "b", "--objective", "best"),
    "agreement": ("--third", B, "--rules", "agreement"),
    "vote share": ("--third", B, "--rules", "vote_share", "--objective", "1se"),
}


@pytest.fixture(scope="module")
def deployed(real, tmp_path_factory):
    """Folder of each kind, with what its file answers."""
    desk = tmp_path_factory.mktemp("desk")
    folders = {kind: str(desk / str(i)) for i, kind in enumerate(RULED)}
    for kind, flags in RULED.items():
        by_rules(real, folders[kind], *flags)
    scores = scoring.load(real, "cifar10", "test", NETS)
    made = {
        "alone": (Cascade.of((C,)), scores),
        "pair": (chain(scores, (A, C)), scores),
        "chain": (chain(scores, NETS), scores),
        "platt": calibrated_pair(real, scores, "platt"),
        "isotonic": calibrated_pair(real, scores, "isotonic"),
    }
    for kind, (one, known) in made.items():
        folders[kind] = str(desk / kind)
        write(real, folders[kind], one, known)
    np.savez(desk / "stored.npz", **{name: logits_of(real, "test", name) for name in NETS})
    asked(desk, [(each, policy.read(each).cascade.models, False) for each in folders.values()])
    return folders


def asked(desk, told):
    """Let a process with numpy alone answer by the policies in these folders."""
    (desk / "folders.json").write_text(json.dumps(told))
    line = [sys.executable, "-W", "error", "-c", CHILD]
    done = subprocess.run(line, cwd=desk, capture_output=True, text=True, timeout=600)
    assert done.stdout == "answered\n", done.stderr


KINDS = (*RULED, "alone", "pair", "chain", "platt", "isotonic")


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_file_answers_as_simulate_does(kind, deployed, real):
    folder = deployed[kind]
    made = policy.read(folder).cascade
    scores = simulate.ready(real, scoring.load(real, "cifar10", "test", made.models), made)
    expected = decide(scores, made)
    if len(made.stages) > 1:
        assert 0 < expected.escalated.sum() < N
    for batch in (1, 64, 5000):
        found = np.load(f"{folder}/answers-{batch}.npz")
        for name in ("prediction", "escalated", "stage", "answered"):
            there = getattr(expected, name)[: len(found[name])]
            np.testing.assert_array_equal(found[name], there, f"{name} at {batch}")
    promise = policy.read(folder).promise
    assert promise.escalated == expected.escalated.sum()
    assert promise.right == expected.correct.sum()
    assert cascade("check", folder, "--cache", real.root).status == 0


def given(real, *names):
    return [logits_of(real, "test", name).astype(np.float64) for name in names]


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mean", "mean of tempered"])
def test_a_mean_by_another_softmax(kind, deployed, real):
    made = policy.read(deployed[kind]).cascade
    t = [made.coefficients.get(name, {}).get("temperature", 1) for name in (A, C)]
    assert (t == [1, 1]) == (kind == "mean")
    p = [softmax(z / each, axis=1) for z, each in zip(given(real, A, C), t, strict=True)]
    sent = p[0].max(axis=1) < made.limits[0].value
    expected = np.where(sent, (p[0] + p[1]).argmax(axis=1), p[0].argmax(axis=1))
    found = np.load(f"{deployed[kind]}/answers-64.npz")
    np.testing.assert_array_equal(found["escalated"], sent)
    np.testing.assert_array_equal(found["prediction"], expected)


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["agreement", "vote share"])
def test_members_that_differ_ask_the_last(kind, deployed, real):
    a, b, c = (z.argmax(axis=1) for z in given(real, A, C, B))
    found = np.load(f"{deployed[kind]}/answers-64.npz")
    np.testing.assert_array_equal(found["escalated"], a != b)
    np.testing.assert_array_equal(found["prediction"], np.where(a == b, a, c))


@needs_shared
@pytest.mark.slow
def test_platt_and_temperature_by_hand(deployed, real):
    """With post-check, image by image."""
    za, zc = given(real, A, C)
    for kind in ("tempered", "platt"):
        made = policy.read(deployed[kind]).cascade
        both = [made.coefficients[name] for name in (A, C)]
        sure = []
        for z, each in zip((za, zc), both, strict=True):
            p = softmax(z / each.get("temperature", 1), axis=1)
            nats = -(p * np.log(p)).sum(axis=1) / np.log(10)
            line = each.get("slope", 0) * -nats + each.get("intercept", 0)
            sure.append(-nats if kind == "tempered" else expit(line))
        limit = made.limits[0].value * (-1 if kind == "tempered" else 1)
        sent = sure[0] < limit
        answer = np.where(sent & (sure[1] > sure[0]), zc.argmax(axis=1), za.argmax(axis=1))
        found = np.load(f"{deployed[kind]}/answers-64.npz")
        near = (abs(sure[0] - limit) < 1e-9) | (abs(sure[1] - sure[0]) < 1e-9)
        np.testing.assert_array_equal(found["escalated"][~near], sent[~near])
        np.testing.assert_array_equal(found["prediction"][~near], answer[~near])
        assert near.sum() < 50  # where both are as sure as can be


SERVICES = (("pair", "--max-cost", "0.0009"), ("chain", "--stages", "3", "--best-accuracy"))


@needs_shared
@pytest.mark.parametrize("calibrated_by", [(), ("--calibrate", "isotonic", "--halves", "1")])
def test_confidences_of_services(calibrated_by, tmp_path):
    """What four priced services and nets said of 5,000 faces, of which nobody has logits."""
    pq.write_table(pq.read_table(FACES).slice(0, N), tmp_path / "faces.parquet")
    where = ("-d", "faces", "--split", "test", "--cache", tmp_path / "cache")
    assert cascade("import", tmp_path / "faces.parquet", *where).status == 0
    told, store = [], Store(tmp_path / "cache")
    for name, *question in SERVICES:
        flags = (*question, *calibrated_by, "--policy", tmp_path / name)
        done = cascade("search", *where, "--cost", "usd", *flags, "--json")
        assert done.status == 0, done.err
        told.append((str(tmp_path / name), policy.read(tmp_path / name).cascade.models, True))
    scores = scoring.load(store, "faces", "test")
    given = {}
    for m, name in enumerate(scores.models):
        given |= {f"{name}.prediction": scores.predictions[m]}
        given |= {f"{name}.sure": scores.scores["confidence"][m]}
    np.savez(tmp_path / "stored.npz", **given)
    asked(tmp_path, told)
    for folder, models, _ in told:
        made = policy.read(folder).cascade
        known = simulate.ready(store, scoring.load(store, "faces", "test", models), made)
        expected = decide(known, made)
        assert expected.escalated.any() or len(models) == 1
        for batch in (1, 64, 5000):
            found = np.load(f"{folder}/answers-{batch}.npz")
            for column in ("prediction", "escalated", "stage", "answered"):
                there = getattr(expected, column)[: len(found[column])]
                np.testing.assert_array_equal(found[column], there, f"{column} at {batch}")
