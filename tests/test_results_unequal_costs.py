"""docs/results-unequal-costs.md: made again from the data, held against loops over faces, and
against the commands that it tells."""

from __future__ import annotations

import re
import shlex
from fractions import Fraction
from itertools import permutations
from math import sqrt
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest
from running import ROOT, SHARED, cascade

from cache import Store
from examples.study import unequal_costs as study
from examples.study.__main__ import main
from examples.study.figures import budgets, save
from examples.study.unequal_page import render
from stages.scores import parse_loss
from stages.threshold import halves

TABLE = SHARED / "outputs" / study.FILE
PAGE = ROOT / "docs" / "results-unequal-costs.md"
HERE = pytest.mark.skipif(not TABLE.is_file(), reason=f"no {TABLE.name} in {TABLE.parent}")
SERVICES = {"google": (0.6, 0.0015), "facepp": (0.65, 0.0005), "cnn": (0.7, 1e-7)}
SAD, EACH, Z = 4, 240, NormalDist().inv_cdf(0.975)


def made(folder):
    """Faces whose confidences tie, in the layout of the real ones."""
    rng = np.random.default_rng(11)
    out = {"label": np.repeat(np.arange(7), EACH)}
    for name, (accuracy, usd) in SERVICES.items():
        sure = rng.integers(1, 12, 7 * EACH) / 12
        right = rng.random(7 * EACH) < accuracy * (0.5 + sure)
        out[f"{name}.prediction"] = np.where(right, out["label"], rng.integers(0, 7, 7 * EACH))
        out[f"{name}.confidence"] = sure.astype(np.float32)
        out[f"{name}.usd_per_request"] = np.full(7 * EACH, usd)
    pl.DataFrame(out).write_parquet(folder / study.FILE)
    return folder


@pytest.fixture(scope="module", params=["made", pytest.param("real", marks=HERE)])
def case(request, tmp_path_factory):
    """(the rows that fit, the others, what the study chose)"""
    folder = tmp_path_factory.mktemp("faces")
    source = TABLE.parent if request.param == "real" else made(folder)
    faces = study.read(Store(folder / "cache"), source)
    rows = pl.read_parquet(source / study.FILE).to_dicts()
    fits = halves(np.array([row["label"] for row in rows]), study.SEED, stratified=True)
    fitting, other = (
        [r for r, mine in zip(rows, fits.tolist(), strict=True) if mine is side]
        for side in (True, False)
    )
    chosen = {name: study.choose(faces, question) for name, question in study.QUESTIONS.items()}
    return fitting, other, chosen


def lost(row, answer):
    return 0 if answer == row["label"] else 20 if row["label"] == SAD else 1


def every_cascade(rows):
    """(right answers, loss, dollars) of every pair at every λ, face by face from the least sure."""
    names = [key.removesuffix(".prediction") for key in rows[0] if key.endswith(".prediction")]
    for first, second in permutations(names, 2):
        order = sorted(rows, key=lambda row: row[f"{first}.confidence"])
        right = sum(row[f"{first}.prediction"] == row["label"] for row in rows)
        loss = sum(lost(row, row[f"{first}.prediction"]) for row in rows)
        usd = sum(Fraction(row[f"{first}.usd_per_request"]) for row in rows)
        for i, row in enumerate(order):
            if i == 0 or row[f"{first}.confidence"] > order[i - 1][f"{first}.confidence"]:
                yield right, loss, usd
            mine, others = (row[f"{name}.prediction"] for name in (first, second))
            right += (others == row["label"]) - (mine == row["label"])
            loss += lost(row, others) - lost(row, mine)
            usd += Fraction(row[f"{second}.usd_per_request"])
        yield right, loss, usd


def answers(rows, cascade):
    """Of each row the answer, whether the second service is asked, and the dollars."""
    first, *second = cascade.models
    for row in rows:
        sent = bool(second) and row[f"{first}.confidence"] < cascade.limits[0].value
        last = second[0] if sent else first
        asked = {first, last}
        usd = sum(Fraction(row[f"{name}.usd_per_request"]) for name in asked)
        yield row[f"{last}.prediction"], sent, usd


def totals(rows, cascade):
    found = [*answers(rows, cascade)]
    right = sum(answer == row["label"] for row, (answer, _, _) in zip(rows, found, strict=True))
    loss = sum(lost(row, answer) for row, (answer, _, _) in zip(rows, found, strict=True))
    return right, loss, sum(usd for _, _, usd in found), sum(sent for _, sent, _ in found)


def normal(values):
    mean = sum(values) / len(values)
    half = Z * sqrt(sum((x - mean) ** 2 for x in values)) / len(values)
    return mean, mean - half, mean + half


def wilson(count, n):
    middle, spread = (
        count / n + Z * Z / (2 * n),
        Z * sqrt(count / n * (1 - count / n) / n + (Z / (2 * n)) ** 2),
    )
    return count / n, (middle - spread) / (1 + Z * Z / n), (middle + spread) / (1 + Z * Z / n)


def ends(interval):
    return interval.value, interval.low, interval.high


def differ(rows, before, after, worth):
    """What an answer is worth less what the other one's is, of each row."""
    sides = zip(rows, answers(rows, before), answers(rows, after), strict=True)
    return [worth(row, one[0]) - worth(row, other[0]) for row, one, other in sides]


@pytest.mark.parametrize("name", [study.WITHIN, study.LEAST])
def test_no_cascade_at_any_limit_is_better_on_the_half_that_chooses(case, name):
    fitting, _, chosen = case
    budget = Fraction(study.BUDGET) * len(fitting) if name == study.WITHIN else Fraction(10**6)
    within = [each for each in every_cascade(fitting) if each[2] <= budget]
    by_accuracy, by_loss = (
        totals(fitting, each.told.cascade) for each in (chosen[name].accuracy, chosen[name].loss)
    )
    assert by_accuracy[0] == max(right for right, _, _ in within)
    assert by_loss[1] == min(loss for _, loss, _ in within)
    assert max(by_accuracy[2], by_loss[2]) <= budget


@pytest.mark.parametrize("name", study.QUESTIONS)
def test_the_other_half_says_what_a_loop_over_its_faces_says(case, name):
    _, other, chosen = case
    n = len(other)
    for told in (chosen[name].accuracy.told, chosen[name].loss.told):
        right, loss, usd, sent = totals(other, told.cascade)
        assert ends(told.accuracy) == pytest.approx(wilson(right, n))
        assert told.usage.value == sent / n
        assert told.usd.value == pytest.approx(float(usd) / n)
        losses = [
            lost(row, each[0])
            for row, each in zip(other, answers(other, told.cascade), strict=True)
        ]
        assert sum(losses) == loss
        assert ends(told.loss) == pytest.approx(normal(losses))
    pair = (chosen[name].accuracy.told.cascade, chosen[name].loss.told.cascade)
    more = chosen[name].more
    for found, worth in (
        (more.loss, lost),
        (more.accuracy, lambda row, answer: int(answer == row["label"])),
    ):
        apart = differ(other, *pair, worth)
        assert found.value == pytest.approx(sum(apart) / n)
        if sum(map(abs, apart)) ** 2 >= 30 * sum(x * x for x in apart) > 0:
            assert ends(found) == pytest.approx(normal(apart))


@pytest.mark.parametrize("name", study.QUESTIONS)
def test_each_emotion_is_told_by_its_faces_alone(case, name):
    _, other, chosen = case
    pair = (chosen[name].accuracy.told.cascade, chosen[name].loss.told.cascade)
    for label, found in enumerate(chosen[name].emotions):
        rows = [row for row in other if row["label"] == label]
        told = [[answer for answer, _, _ in answers(rows, each)] for each in pair]
        for recall, mine in zip((found.before, found.after), told, strict=True):
            assert ends(recall) == pytest.approx(wilson(mine.count(label), len(rows)), abs=1e-12)
        assert found.called == pytest.approx([mine.count(SAD) / len(rows) for mine in told])
        assert found.less == sum(differ(rows, *pair, lost))


def test_the_file_on_the_page_is_the_loss(tmp_path):
    [text] = re.findall(r"```text\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    expected = [[0 if a == t else 20 if t == SAD else 1 for a in range(7)] for t in range(7)]
    assert parse_loss(str(tmp_path / "x.csv")).matrix.tolist() == expected
    assert study.loss_of(study.MISSED).matrix.tolist() == expected


@HERE
def test_the_page_is_made_of_the_data(tmp_path):
    results = study.study(study.read(Store(tmp_path / "cache"), TABLE.parent))
    page = PAGE.read_text("utf-8")
    assert page == render(results)
    [name] = re.findall(r"\(images/(.*?)\)", page)
    save(budgets(results), tmp_path / name)
    assert (tmp_path / name).read_text("utf-8").startswith("<svg")
    assert (ROOT / "docs" / "images" / name).read_text("utf-8").startswith("<svg")


@HERE
def test_the_commands_on_the_page_find_what_it_shows(tmp_path, monkeypatch):
    faces = study.read(Store(tmp_path / "other"), TABLE.parent)
    chosen = study.choose(faces, study.QUESTIONS[study.WITHIN])
    monkeypatch.chdir(tmp_path)
    (tmp_path / study.FILE).write_bytes(TABLE.read_bytes())
    (tmp_path / "sadness.csv").write_text(study.weights(study.MISSED), encoding="utf-8")
    lines = re.findall(r"^cascade (.*)$", PAGE.read_text("utf-8"), re.M)
    first, *asked = [shlex.split(line) for line in lines]
    assert cascade(*first).status == 0
    for words, answer in zip(asked, (chosen.accuracy, chosen.loss), strict=True):
        found = cascade(*words, "--json").json["answer"]
        assert (found["model_1"], found["model_2"]) == answer.told.cascade.models
        assert found["threshold"] == answer.told.cascade.limits[0].value
        assert found["accuracy"] == answer.told.accuracy.value


def test_a_folder_without_the_faces_is_refused_in_one_line(tmp_path, capsys):
    assert main([str(tmp_path), "--page", "unequal-costs"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("study: ")
    assert study.FILE in line
