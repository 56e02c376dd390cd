"""Logits, their probabilities, top-5 and answers are the same models, through every command."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from running import cascade
from scipy.special import softmax

from cache import Store
from stages import scores
from stages.cascade import Cascade, decide
from stages.live import Served, agreement

N, K, TOP, SHOWN = 240, 8, 5, "maxp,difference"
PAIR = ("-m1", "small", "-m2", "large")
RNG = np.random.default_rng(3)
LABELS = {split: RNG.integers(0, K, N) for split in ("val", "test")}
LOGITS = {
    split: {
        model: (RNG.standard_normal((N, K)) + sure * np.eye(K)[labels]).astype(np.float32)
        for model, sure in (("small", 1.8), ("large", 2.0))
    }
    for split, labels in LABELS.items()
}


def double(logits):
    return {f"c{k}": p for k, p in enumerate(softmax(logits.astype(np.float64), axis=1).T)}


def single(logits):
    return {name: p.astype(np.float32) for name, p in double(logits).items()}


def top(logits):
    p = np.stack([*double(logits).values()], axis=1)
    best = np.argsort(-p, axis=1, kind="stable")[:, :TOP]
    heads = {f"class_{k + 1}": best[:, k] for k in range(TOP)}
    return heads | {f"p_{k + 1}": p[np.arange(N), best[:, k]] for k in range(TOP)}


def answers(logits):
    heads = top(logits)
    p = [heads[f"p_{k}"] for k in (1, 2)]
    return {"prediction": heads["class_1"], "maxp": p[0], "difference": p[0] - p[1]}


# By name: the flag of import, the columns of a model, and how far its scores are off float64's.
KINDS = {
    "logits": ("logits", lambda z: {f"c{k}": z[:, k] for k in range(K)}, 1e-12),
    "double": ("probabilities", double, 0),
    "single": ("probabilities", single, 1e-6),
    "top": ("top-k", top, 0),
    "answers": ("answers", answers, 0),
}
COMMANDS = {
    "threshold": ("-s", SHOWN),
    "search": ("-s", SHOWN, "--best-accuracy", "--cost", "macs"),
    "search --certify": ("-s", SHOWN, "--certify", "0.05,0.1", "--cost", "macs"),
    "simulate": (*PAIR, "--postcheck"),
    "heterogeneity": (),
    "rules": (*PAIR, "--rules", SHOWN, "--finals", "b,postcheck"),
    "export": (*PAIR, "--policy", "policy", "--cost", "macs", "-s", "difference", "-p"),
    "check": ("policy",),
    "report": (*PAIR, "-s", "difference", "-o", "page.html"),
}
# Whose outputs they are, by digest, and when; what the page says of all scores, as top-5 lack one;
# what callables give where a policy is of answers.
OWN = {"sha256", "logits_sha256", "classes", "provenance", "sentence", "sentences"}
OWN |= {"schema_version", "outputs"}


def brought(root, kind):
    """A folder with a cache of both models on both splits."""
    flag, columns, _ = KINDS[kind]
    for split, models in LOGITS.items():
        for model, macs in (("small", "1M"), ("large", "4M")):
            table = {"label": LABELS[split]} | columns(models[model])
            pl.DataFrame(table).write_parquet(root / "x.parquet")
            named = ("--split", split, "--model", model, "--macs", macs, "--cache", root / "c")
            done = cascade("import", "-d", "mine", *named, f"--{flag}", root / "x.parquet")
            assert done.status == 0, done.err
    return root


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: brought(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


def loaded(root):
    return scores.load(Store(root / "c"), "mine", "test", ["small", "large"])


def said(root, command, monkeypatch):
    monkeypatch.chdir(root)
    dataset = () if command == "check" else ("--dataset", "mine")
    words = (*command.split()[:1], *COMMANDS[command], *dataset, "--cache", "c", "--json")
    return cascade(*words).json


def alike(mine, theirs, off):
    """Equal, figures within rounding."""
    if isinstance(theirs, dict):
        keys = mine.keys() - OWN
        return keys == theirs.keys() - OWN and all(alike(mine[k], theirs[k], off) for k in keys)
    if isinstance(theirs, list):
        pairs = zip(mine, theirs, strict=True)
        return len(mine) == len(theirs) and all(alike(*pair, off) for pair in pairs)
    if isinstance(theirs, float):
        return mine == pytest.approx(theirs, rel=off, abs=off)
    return mine == theirs


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_the_same(folders, command, monkeypatch):
    found = {kind: said(root, command, monkeypatch) for kind, root in folders.items()}
    for kind, (_, _, off) in KINDS.items():
        assert alike(found[kind], found["double"], off), kind


def test_images_have_the_same_answers_and_scores(folders):
    theirs = loaded(folders["double"])
    for kind, (_, _, off) in KINDS.items():
        mine = loaded(folders[kind])
        np.testing.assert_array_equal(mine.predictions, theirs.predictions)
        for name in ("maxp", "difference"):
            found, expected = mine.scores[name], theirs.scores[name]
            np.testing.assert_allclose(found, expected, rtol=off, atol=off)


def test_live_is_held_against_any_of_them(folders):
    """What ran by the logits differs from none but where float32 moved a score across λ."""
    ran, limits = loaded(folders["logits"]), np.linspace(0.2, 0.9, 8)
    for kind, limit in ((kind, limit) for kind in KINDS for limit in limits):
        one = Cascade.of(("small", "large"), "maxp", float(limit), postcheck=True)
        served = Served(ran.labels, decide(ran, one), np.ones(N), np.ones(N), 1, np.ones(N), [0])
        found = agreement(served, loaded(folders[kind]), one)
        assert (found.differences, found.outside_noise) == ((), 0)
        assert found.largest_score_shift <= KINDS[kind][2] + 1e-12


def test_flipped_ties_are_those_that_float32_makes(tmp_path):
    """Classes that are one as float32 and two as float64: then the first of them is answered."""
    p = softmax(LOGITS["test"]["small"].astype(np.float64), axis=1)
    p[::40] = [0.4, 0.4 + 1e-9, *(6 * [(0.2 - 1e-9) / 6])]
    found = {}
    for model, values in (("double", p), ("single", p.astype(np.float32))):
        np.savez(tmp_path / "x.npz", logits=values, label=LABELS["test"])
        where = ("-d", "mine", "--split", "test", "--model", model, "--cache", tmp_path / "c")
        done = cascade("import", *where, "--probabilities", tmp_path / "x.npz")
        assert done.status == 0, done.err
        found[model] = scores.load(Store(tmp_path / "c"), "mine", "test", [model])
    flipped = np.flatnonzero(found["double"].predictions[0] != found["single"].predictions[0])
    assert flipped.tolist() == list(range(0, N, 40))
    assert not found["single"].scores["difference"][0][flipped].any()
    assert found["double"].scores["difference"][0][flipped].all()
