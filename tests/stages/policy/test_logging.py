"""What the runtime and live write of each request, and what of it comes into a cache."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import make_cache
from running import cascade

from cache import Store, iter_logits, load
from stages import policy, scores as scoring, simulate
from stages.cascade import Cascade, Limit
from stages.policy.runtime import DeployedCascade

NAMES = A, B, C = ("first", "second", "third")
N = 120


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return make_cache(tmp_path_factory.mktemp("log") / "cache", models=NAMES, n=N)


def logits_of(store, model):
    [manifest] = scoring.load(store, "toy", "test", [model]).manifests
    return np.concatenate(
        [z for _, z in iter_logits(store, load(store, manifest.partition.logits))]
    )


def lines_of(folder):
    texts = [file.read_text() for file in sorted(Path(folder).iterdir())]
    return [json.loads(line) for text in texts for line in text.splitlines()]


CASCADES = {
    "pair": lambda: Cascade.of((A, B), "maxp", 0.6),
    "checked": lambda: Cascade.of((A, B), "entropy", 0.5, postcheck=True),
    "mean": lambda: Cascade.of((A, B), "maxp", 0.6, ensemble=True),
    "chain": lambda: Cascade.of(NAMES, "difference", 0.5, 0.4),
    "vote": lambda: Cascade.committee((A, B), C, Limit("at", 1.0)),
    "alone": lambda: Cascade.of((B,)),
}


def deployed(store, folder, made, **how):
    scores = simulate.ready(store, scoring.load(store, "toy", "test", made.models), made)
    found = policy.document(store, scores, made, simulate.run(store, scores, made))
    policy.write(folder, found)
    return DeployedCascade.load(folder, log=folder / "log", **how)


@pytest.mark.parametrize("both", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", CASCADES)
def test_a_line_tells_what_each_model_said(kind, both, toy, tmp_path):
    made = CASCADES[kind]()
    running, keys = deployed(toy, tmp_path, made, both=both), [f"image {i}" for i in range(N)]
    z = {name: logits_of(toy, name) for name in made.models}
    models, answers = [z[name].__getitem__ for name in made.models], []
    for start in range(0, N, 7):
        rows = np.arange(start, min(start + 7, N))
        answers.append(running.answer(*models, rows, keys=[keys[i] for i in rows]))
    lines = lines_of(tmp_path / "log")
    assert [line["key"] for line in lines] == keys
    joined = {
        name: np.concatenate([getattr(one, name) for one in answers])
        for name in ("prediction", "escalated", "stage", "answered")
    }
    scores = scoring.load(toy, "toy", "test", made.models)
    drawn = sum(line["drawn"] for line in lines)
    assert drawn == (0, N)[int(both)] if both in (0, 1) else 10 < drawn < 60
    for i, line in enumerate(lines):
        assert line["models"] == list(made.models)
        assert (line["prediction"], line["escalated"]) == (
            joined["prediction"][i],
            joined["escalated"][i],
        )
        ran = int(made.ran(joined["stage"][[i]])[0]) + 1
        there = [name for j, name in enumerate(made.models) if j < ran or line["drawn"]]
        for j, name in enumerate(made.models):
            m = scores.index(name)
            expected = scores.predictions[m, i] if name in there else None
            assert line["predictions"][j] == expected
            for score in ("maxp", "difference", "entropy"):
                own = scores.scores[score][m, i] if name in there else None
                assert line[score][j] == own
        answered = joined["answered"][i]
        assert line["answered"] == made.models[answered + (answered > 0) * (kind == "vote")]


def test_a_draw_changes_no_answer_and_an_error_in_it_is_none(toy, tmp_path):
    made, z = CASCADES["pair"](), [logits_of(toy, name) for name in (A, B)]
    plain = deployed(toy, tmp_path / "plain", made).answer(
        *[each.__getitem__ for each in z], np.arange(N)
    )
    running = deployed(toy, tmp_path / "drawn", made, both=1.0)
    sent = set(np.flatnonzero(plain.escalated).tolist())

    def second(rows):
        if not set(rows.tolist()) <= sent:
            raise OSError("of nobody's concern")
        return z[1][rows]

    found = running.answer(z[0].__getitem__, second, np.arange(N), keys=list(map(str, range(N))))
    np.testing.assert_array_equal(found.prediction, plain.prediction)
    lines = lines_of(tmp_path / "drawn/log")
    assert all(line["drawn"] for line in lines)  # though the other has no answer
    told = {line["key"] for line in lines if line["predictions"][1] is not None}
    assert told == {str(i) for i in sent}


def test_what_is_drawn_becomes_a_split_that_search_reads(toy, tmp_path):
    made, keys = CASCADES["pair"](), [f"k{i:03}" for i in range(N)]
    running = deployed(toy, tmp_path, made, both=0.6)
    z = [logits_of(toy, name).__getitem__ for name in (A, B)]
    running.answer(*z, np.arange(N), keys=keys)
    scores = scoring.load(toy, "toy", "test", (A, B))
    rows = [f"{key},{label}" for key, label in zip(keys, scores.labels, strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join(["key,label", *rows]) + "\n")
    where = ("-d", "live", "--cache", tmp_path / "made")
    given = ("--log", tmp_path / "log", "--labels", tmp_path / "labels.csv", "--split", "test")
    done = cascade("import", *given, *where)
    assert done.status == 0, done.err
    kept = [int(line["key"][1:]) for line in lines_of(tmp_path / "log") if line["drawn"]]
    assert 40 < len(kept) < 100
    live = scoring.load(Store(tmp_path / "made"), "live", "test")
    order = [live.index(name) for name in (A, B)]
    np.testing.assert_array_equal(live.predictions[order], scores.predictions[:, kept])
    np.testing.assert_array_equal(live.labels, scores.labels[kept])
    for name in ("maxp", "difference", "entropy"):
        np.testing.assert_array_equal(live.scores[name][order], scores.scores[name][:, kept])
    assert cascade("search", *where, "--json").json["n"] <= len(kept)


def test_live_writes_the_same(tmp_path):
    models, where = ("digits_wide", "digits_residual"), ("--cache", tmp_path / "cache")
    cascade("extract", "-d", "digits", "--models", ",".join(models), "--split", "test", *where)
    pair = ("-m1", models[0], "-m2", models[1], "-t", "0.9", "--limit", "40", *where)
    done = cascade("live", *pair, "--log", tmp_path / "log", "--json")
    lines = lines_of(tmp_path / "log")
    assert len(lines) == 40
    assert sum(line["escalated"] for line in lines) == done.json["escalated"]
    assert lines[0]["key"].startswith("digits/")


def test_a_share_without_a_log_is_refused(toy, tmp_path):
    with pytest.raises(ValueError, match=r"both is 0\.5, expected a share from 0 to 1, of a log"):
        DeployedCascade("maxp", 0.5, both=0.5)
