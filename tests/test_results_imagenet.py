"""examples/study against the product's own answers, and docs/results-imagenet.md against both."""

from __future__ import annotations

import json
import re
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from running import ROOT, SHARED

from cache import Store
from examples.study.__main__ import main, open_case, rounded
from examples.study.answers import QUESTIONS, images_needed, one_split
from examples.study.figures import draw
from examples.study.halving import RULES, Asked, Halving, Orderings
from examples.study.outputs import TABLES, Outputs, macs, read
from examples.study.page import render
from stages.cascade import Cascade, decide
from stages.models import specs
from stages.threshold import FitPlan, ThresholdQuestion, halves, operating_points

OUTPUTS = SHARED / "outputs"
DOCS = ROOT / "docs"
RESULTS = json.loads((DOCS / "results-imagenet.json").read_text("utf-8"))
N, MODELS = 301, ("a", "b", "c", "d")
MACS = np.array([1.0, 3.0, 10.0, np.nan])


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """Four models of which many scores tie, through the door that the study takes."""
    folder, rng = tmp_path_factory.mktemp("outputs"), np.random.default_rng(5)
    labels = rng.integers(0, 10, N)
    columns = {"sample_id": np.arange(N), "label": labels}
    for skill, model in zip((0.5, 1.0, 1.5, 1.5), MODELS, strict=True):
        p = rng.random((N, 10)) + skill * np.eye(10)[labels] * rng.random((N, 1))
        p = np.round(p / p.sum(axis=1, keepdims=True), 2)
        p[:, 0] += 1 - p.sum(axis=1)
        order = np.argsort(-p, axis=1, kind="stable")[:, :2]
        for k in (0, 1):
            columns[f"{model}.class_{k + 1}"] = order[:, k]
            columns[f"{model}.p_{k + 1}"] = p[np.arange(N), order[:, k]].astype(np.float32)
    pq.write_table(pa.table(columns), folder / "made.parquet")
    table = Outputs("made", "val", "made.parquet", False)
    return read(Store(folder / "cache"), folder, table)


@pytest.fixture(scope="module")
def halving(scores):
    return Halving(scores, Orderings(scores), halves(scores.labels, 3))


def test_the_most_accurate_points_are_those_of_the_threshold_stage(scores, halving):
    [points] = halving.points([(halving.fitting, Asked(MACS))])
    fit, reported = (scores.of_images(each) for each in (halving.fitting, halving.reporting))
    question = ThresholdQuestion(("maxp", "difference"), objectives=("best",))
    pairs = [(a, b) for a, b in product(range(4), repeat=2) if a != b]
    rows = [*operating_points(reported, FitPlan("other-split", "val", fit, ()), pairs, question)]
    assert len(rows) == len(pairs) * len(RULES)
    for row in rows:
        a, b = MODELS.index(row.model_1), MODELS.index(row.model_2)
        place = RULES.index((row.score, row.postcheck)), a, b, 0
        right, sent = points.right[place], points.sent[place]
        assert (right, sent) == (round(row.accuracy.value * row.n), round(row.usage.value * row.n))
        assert points.fit_right[place] == round(row.fit.fit_accuracy * row.fit.fit_n)
        better = MODELS.index(row.against.baseline)
        change = halving.against(RULES[place[0]], a, b, int(sent), better).value
        assert change == pytest.approx(row.against.accuracy_change.value, abs=1e-12)


def brute(scores, fitting, rule, a, b):
    """(right answers, images sent) of every λ on the fitting images, by the decision rule."""
    part = scores.of_images(fitting)
    values = np.unique(part.score(rule.score, a))
    limits = ["never", *((values[1:] + values[:-1]) / 2), "always"]
    for limit in limits:
        pair = (MODELS[a], MODELS[b])
        done = decide(part, Cascade.of(pair, rule.score, limit, postcheck=rule.postcheck))
        yield int(done.correct.sum()), int(done.escalated.sum())


def test_targets_and_budgets_are_those_of_every_limit_tried(scores, halving):
    n = int(halving.fitting.sum())
    targets, budgets = np.array([n // 3, n // 2, n]), np.array([0.5, 2.0, 5.0, 11.0])
    [points] = halving.points([(halving.fitting, Asked(MACS, targets, budgets))])
    for (r, rule), a, b in product(enumerate(RULES), range(3), range(3)):
        tried = [*brute(scores, halving.fitting, rule, a, b)]
        for t, target in enumerate(targets, start=1):
            enough = [sent for right, sent in tried if right >= target]
            assert (points.fit_right[r, a, b, t] >= 0) == bool(enough)
            assert not enough or points.fit_sent[r, a, b, t] == min(enough)
        for u, budget in enumerate(budgets, start=1 + len(targets)):
            within = [right for right, sent in tried if MACS[a] + MACS[b] * sent / n <= budget]
            assert points.fit_right[r, a, b, u] == max(within, default=-1)
    assert (points.fit_right[:, 3, :, 1 + len(targets) :] == -1).all()


def test_counted_multiply_adds_are_those_that_the_product_knows():
    known = {spec.name: spec.macs for spec in specs() if spec.dataset == "imagenet"}
    counted = {
        found[1]: count
        for count, source in macs().values()
        if (found := re.match(r"counted: torchvision (\w+) at", source)) and found[1] in known
    }
    assert len(counted) > 5
    assert counted == {name: known[name] for name in counted}


def test_the_page_is_made_of_the_results_alone():
    assert (DOCS / "results-imagenet.md").read_text("utf-8") == render(RESULTS)


@pytest.mark.parametrize(
    ("page", "key", "told"),
    [
        ("README.md", "saves/nasnetlarge_keras/saved", "{:.0%}"),
        ("README.md", "saves/densenet121_pytorch/saved", "{:.0%}"),
        *(
            ("docs/results-cifar10.md", f"measures/{name}/{pairs}/rho", "{:+.2f}")
            for name, pairs in product(("heterogeneity", "complementarity"), ("all", "close"))
        ),
    ],
)
def test_what_other_pages_quote_is_there(page, key, told):
    value = told.format(np.mean(RESULTS["imagenet"]["halvings"][key]))
    assert value.replace("%", " %").replace("-", "−") in (ROOT / page).read_text("utf-8")


def test_the_figures_are_there_and_drawn_of_the_results(tmp_path):
    draw(RESULTS, tmp_path)
    drawn = sorted(path.name for path in tmp_path.iterdir())
    page = (DOCS / "results-imagenet.md").read_text("utf-8")
    assert drawn == sorted(re.findall(r"\(images/(.*?)\)", page))
    assert all((DOCS / "images" / name).read_text("utf-8").startswith("<svg") for name in drawn)


def test_a_folder_without_the_tables_is_refused_in_one_line(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("study: ")
    assert "imagenet_top2.parquet" in line


@pytest.mark.skipif(not OUTPUTS.is_dir(), reason=f"no published outputs in {OUTPUTS}")
@pytest.mark.parametrize("name", TABLES)
def test_one_halving_says_what_the_results_hold(name, tmp_path):
    table, known = TABLES[name], RESULTS[name]["halvings"]
    case = open_case(read(Store(tmp_path), OUTPUTS, table), table, seed=0)
    quick = [each for each in QUESTIONS if each not in (images_needed, one_split)]
    found = {key: value for question in quick for key, value in question(case).items()}
    for key, value in found.items():
        expected = known[key][0]
        assert rounded(value) == (
            expected if isinstance(value, str) else pytest.approx(expected, rel=1e-4, abs=1e-6)
        ), key
    assert len(case.models) == len(RESULTS[name]["models"])
