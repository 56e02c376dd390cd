"""The report: its numbers against naive loops, its page against hostile names and the network."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from unittest import mock

import naive as naive_rules
import numpy as np
import pyarrow as pa
import pytest
from helpers import cost_row
from hypothesis import given, settings, strategies as st
from running import cascade

import cache
from cache import InputError, Partition, Store, logits_schema, samples_table
from stages import costs, report, threshold
from stages.report import charts, corners, packing
from stages.scores import load
from stages.search import Question

ROOT = Path(__file__).parents[3]
CLASSES = 4
HOSTILE = "<script>alert(1)</script>"
NAMES = ("small", "large", HOSTILE)
MACS = (1_000_000, 9_000_000, 3_000_000)


def write_cache(root: Path, sizes: dict[str, int], names=NAMES, macs=MACS) -> Store:
    """Random logits with many ties; later models are better."""
    store = Store(root)
    for seed, (split, n) in enumerate(sizes.items()):
        rng = np.random.default_rng(seed)
        ids, labels = np.arange(n), rng.integers(0, CLASSES, n).astype(np.int32)
        identity = {"dataset_fingerprint": f"{split:f<64}"}
        samples = samples_table(ids, labels, [f"{i}.png" for i in ids])
        where = {"dataset": "toy", "split": split}
        cache.write_partition(store, Partition.of("samples", **where), samples, identity, {})
        for m, name in enumerate(names):
            logits = rng.integers(0, 5, (n, CLASSES)).astype(np.float32)
            logits[ids, labels] += 1 + m
            schema = logits_schema(CLASSES)
            column = pa.FixedSizeListArray.from_arrays(
                pa.array(logits.ravel()), type=schema[1].type
            )
            about = {
                "macs": macs[m],
                "parameters": 1234 + m,
                "weights_sha256": f"{m}abcdef" * 9,
                "trained_on": {"splits": ["train"], "source": "stated"},
                "made": "2024-05-06T07:08:09+00:00",
            }
            partition = Partition.of(
                "logits", **where, variant="identity", runtime="import", model=name
            )
            cache.write_partition(
                store, partition, pa.table([ids, column], schema=schema), identity, about
            )
    return store


def make(store: Store, out: Path, pair=(None, None), name=None, split="test", **options):
    reported = load(store, "toy", split)
    plan = threshold.plan(store, reported, options.pop("fit_split", None))
    found = report.run(store, reported, plan, out, pair, name, **options)
    return reported, found.columns()


class Document(HTMLParser):
    """Tables as rows of cells, elements with their attributes, scripts by id, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.tables = [table for table in self.tables if table]  # without those the script fills

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.elements.append((tag, found))
        self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "data" and self.tables and "td" in self._open:
            self.tables[-1][-1][-1] = found["value"]
        elif tag == "script":
            self.scripts.append((found.get("id"), ""))

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        inside = self._open[-1] if self._open else ""
        if inside == "script":
            name, text = self.scripts[-1]
            self.scripts[-1] = (name, text + data)
        elif inside in ("td", "th"):
            self.tables[-1][-1][-1] += data
        if inside not in ("script", "style"):
            self.text += data

    def data(self) -> dict:
        """The facts that the script reads."""
        [text] = [text for name, text in self.scripts if name == "data"]
        return packing.unpack(text)[0]


def read(path: Path) -> Document:
    return Document(path.read_text(encoding="utf-8"))


@contextlib.contextmanager
def drawn():
    """The specifications of the figures that are saved meanwhile, by name; nothing is written."""
    specs: dict[str, dict] = {}

    def take(figure, folder):
        specs[figure.name] = figure.spec()
        return []

    with mock.patch("stages.report.charts.save", take):
        yield specs


def naive(scores, a: int, b: int, name: str, limit: float, postcheck: bool):
    """(accuracy, use of B), image by image."""
    right = used = 0
    for i in range(len(scores.labels)):
        s_a, s_b = scores.scores[name][a][i], scores.scores[name][b][i]
        surer_a = s_a <= limit if name == "entropy" else s_a >= limit
        surer_b = s_b < s_a if name == "entropy" else s_b > s_a
        answer = scores.predictions[a][i]
        if not surer_a:
            used += 1
            if surer_b or not postcheck:
                answer = scores.predictions[b][i]
        right += answer == scores.labels[i]
    return right / len(scores.labels), used / len(scores.labels)


def number(limit: str, name: str) -> float:
    ends = {"always": 1.0, "never": -1.0} if name != "entropy" else {"always": -1.0, "never": 1.0}
    return 2 * ends[limit] if limit in ends else float(limit)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    store = write_cache(folder / "cache", {"test": 300, "val": 250})
    reported, facts = make(store, folder / "page.html", figures=folder / "figures")
    return store, reported, facts, read(folder / "page.html")


@pytest.fixture(scope="module")
def specs(made):
    with drawn() as found:
        make(made[0], Path(made[2]["output"]), figures=Path(made[2]["output"]).parent / "unused")
    return found


def test_nothing_is_loaded_from_anywhere(made):
    _, _, _, page = made
    loading = {"src", "href", "srcset", "action", "data", "poster", "ping", "background"}
    assert not [(tag, attrs) for tag, attrs in page.elements if loading & attrs.keys()]
    assert not {"link", "img", "iframe", "object", "embed", "base"} & {t for t, _ in page.elements}
    policy = next(a["content"] for _, a in page.elements if "http-equiv" in a)
    assert "default-src 'none'" in policy
    assert "connect-src" not in policy
    assert "unsafe-eval" not in policy
    assert "http" not in policy
    for _, text in page.scripts:
        text = text.replace("http://www.w3.org/2000/svg", "")  # a name, not an address
        assert not re.search(r"https?:|fetch\(|XMLHttpRequest|WebSocket|import\(|eval\(", text)
    style = (ROOT / "stages/report/page.css").read_text()
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style


def test_a_hostile_model_name_is_text_everywhere(made):
    _, _, _, page = made
    scripts = [attrs for tag, attrs in page.elements if tag == "script"]
    assert len(scripts) == 2  # the data and the page's own
    assert all("alert(1)" not in text for _, text in page.scripts)
    assert HOSTILE in page.text
    assert {model["name"] for model in page.data()["models"]} == set(NAMES)


def test_the_script_makes_no_markup_from_text():
    for file in sorted((ROOT / "stages/report/js").glob("*.js")):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", text), file


def test_the_models_table_says_what_counting_says(made):
    _, reported, _, page = made
    head, *rows = page.tables[2]
    assert head == ["model", "top-1", "parameters", "multiply-adds"]
    for model, top1, parameters, macs in rows:
        m = NAMES.index(model)
        right = sum(reported.predictions[reported.index(model)] == reported.labels)
        assert float(top1) == right / 300
        assert (int(parameters), int(macs)) == (1234 + m, MACS[m])
    assert [float(row[1]) for row in rows] == sorted([float(row[1]) for row in rows], reverse=True)


@pytest.mark.parametrize("name", ["maxp", "difference", "entropy"])
def test_the_points_table_says_what_a_naive_loop_says(tmp_path, made, name):
    store, reported, _, _ = made
    make(store, tmp_path / "p.html", ("small", "large"), name)
    a, b = reported.index("small"), reported.index("large")
    rows = read(tmp_path / "p.html").tables[0][1:]
    assert [row[:2] for row in rows] == [[c, o] for c in ("no", "yes") for o in ("best", "1se")]
    for check, _, limit, _, _, accuracy, usage in rows:
        expected = naive(reported, a, b, name, number(limit, name), check == "yes")
        assert (float(accuracy), float(usage)) == expected


def test_the_best_is_chosen_on_the_fitting_images_and_reported_on_the_others(made):
    store, reported, _, page = made
    val = load(store, "toy", "val")
    best = -1.0
    for a in range(3):
        for b in range(3):
            for name in ("maxp", "difference", "entropy") if a != b else ():
                for limit in {-1.0, 2.0, *val.scores[name][a]}:
                    for check in (False, True):
                        best = max(best, naive(val, a, b, name, limit, check)[0])
    first = page.tables[1][1]
    a, b = reported.index(first[0]), reported.index(first[1])
    limit = number(first[4], first[2])
    accuracy, usage = naive(reported, a, b, first[2], limit, first[3] == "yes")
    assert [float(cell) for cell in first[5:8]] == [best, accuracy, usage]
    assert float(first[8]) == MACS[NAMES.index(first[0])] + usage * MACS[NAMES.index(first[1])]


def test_the_verdict_comes_first_and_the_other_sentences_follow(made):
    _, _, facts, page = made
    verdict, *more = facts["sentences"]
    assert facts["sentence"] == " ".join(facts["sentences"])
    assert page.text.index(verdict) < page.text.index(" ".join(more))
    assert facts["target"] in ("MEETS", "CANNOT TELL", "MISSES")
    assert facts["worth"] in ("WORTH IT", "CANNOT TELL", "NOT WORTH IT")


@pytest.mark.parametrize("asked", [(), ("-m1", "small", "-m2", "large", "-s", "entropy")])
def test_all_of_it_is_about_the_cascade_that_it_opens_with(tmp_path, made, asked):
    """The one asked for, else the search's answer: in the tables, the figure and the terminal."""
    where = ("-d", "toy", "--cost", "macs", "--best-accuracy", "--cache", made[0].root)
    keys = ("model_1", "model_2", "score")
    answer = tuple(cascade("search", *where, "--json").json["answer"][key] for key in keys)
    a, b, name = ("small", "large", "entropy") if asked else answer
    command = ("report", *where, *asked, "-o", tmp_path / "p.html", "--figures", tmp_path)
    with drawn() as specs:
        facts = cascade(*command, "--json").json
    assert tuple(facts[key] for key in keys) == (a, b, name)
    page = read(tmp_path / "p.html")
    pick, models = page.data()["pick"], page.data()["models"]
    assert (models[pick["a"]]["name"], models[pick["b"]]["name"], pick["score"]) == (a, b, name)
    assert f"Operating points of {a} → {b} by {name} on test" in page.text
    assert specs["threshold"]["title"]["text"] == f"{a} → {b}, {name}, on toy/test"
    [ring] = specs["accuracy-cost"]["datasets"]["ring"]
    figures = {key: facts[key] for key in ("cost", "accuracy", "usage")}
    assert {key: ring[key] for key in figures} == pytest.approx(figures)
    assert ring["name"] == f"{a} → {b}"
    told = " ".join(cascade(*command).out.split())
    assert told.startswith(facts["sentence"])
    assert (f"{a} → {b}, {name}" in told) == bool(asked)


QUESTIONS = {
    "match": ("--match", "large"),
    "within": ("--within", "0.2"),
    "best": ("--best-accuracy",),
    "accuracy": ("--min-accuracy", "0.7"),
    "sure": ("--min-accuracy", "0.7", "--confidence", "0.9"),
    "cost": ("--max-cost", "4M"),
}


@pytest.mark.parametrize("asked", QUESTIONS)
@pytest.mark.parametrize("splits", [("test", "val"), ("test",)])
def test_the_figure_rings_what_search_answers(tmp_path, asked, splits):
    """Its λ and cost, whether it is a cascade or one model alone."""
    store = write_cache(tmp_path / "cache", dict.fromkeys(splits, 90))
    args = ("-d", "toy", "--cost", "macs", *QUESTIONS[asked], "--cache", store.root)
    answer = cascade("search", *args, "--json").json["answer"]
    out = ("-o", tmp_path / "p.html", "--figures", tmp_path)
    with drawn() as specs:
        facts = cascade("report", *args, *out, "--json").json
    [ring] = specs["accuracy-cost"]["datasets"]["ring"]
    names = [answer[key] for key in ("model_1", "model_2") if answer[key]]
    assert ring["name"] == " → ".join(names)
    for key in ("cost", "accuracy", "usage"):
        assert ring[key] == pytest.approx(answer[key], rel=1e-12)
    assert "'the answer'" in json.dumps(specs["accuracy-cost"])
    assert facts["answered"] == (len(names) == 2)
    if facts["answered"]:
        assert {key: facts[key] for key in answer} == answer
        marks = specs["threshold"]["datasets"]["points"]
        [mark] = [mark for mark in marks if mark["objective"] == "answer"]
        assert (mark["accuracy"], mark["usage"]) == (answer["accuracy"], answer["usage"])


def test_the_heat_map_says_who_covers_whose_mistakes(made, specs):
    _, reported, _, _ = made
    pairs = specs["heterogeneity"]["datasets"]["pairs"]
    assert len(pairs) == 6
    for row in pairs:
        a, b = (
            reported.correct[reported.index(row["a"])],
            reported.correct[reported.index(row["b"])],
        )
        assert row["value"] == sum(x != y for x, y in zip(a, b, strict=True)) / 300


@pytest.mark.parametrize("name", ["maxp", "difference", "entropy"])
def test_the_drawn_curve_is_the_cascade_at_every_threshold(tmp_path, made, name):
    store, reported, _, _ = made
    with drawn() as specs:
        _, facts = make(store, tmp_path / "p.html", ("small", "large"), name, figures=tmp_path)
    data = specs["threshold"]["datasets"]
    lines: dict[str, list] = {}
    for row in data["accuracy"] + data["use"]:
        lines.setdefault(row["line"], []).append((row["x"], row["y"]))
    assert facts["curve_off"] == 0.0
    a, b = reported.index("small"), reported.index("large")
    taken = {x for line in lines.values() for x, _ in line} | set(reported.scores[name][a])
    for limit in np.random.default_rng(5).random(200):
        if limit in taken:
            continue
        plain, used = naive(reported, a, b, name, limit, False)
        checked, _ = naive(reported, a, b, name, limit, True)
        expected = {"accuracy": plain, "accuracy with post-check": checked, "use of B": used}
        for line, value in expected.items():
            assert np.interp(limit, *zip(*lines[line], strict=True)) == pytest.approx(value)
    for mark in data["points"]:
        assert mark["accuracy"] == pytest.approx(
            naive(reported, a, b, name, mark["threshold"], "post" in mark["line"])[0]
        )


def test_accuracy_and_cost_name_every_model_and_cascade(made, specs):
    _, _, facts, page = made
    spec = specs["accuracy-cost"]
    dots = spec["datasets"]["points"]
    singles = {dot["name"]: dot for dot in dots if dot["kind"] == "single model"}
    assert {name: dot["cost"] for name, dot in singles.items()} == dict(
        zip(NAMES, MACS, strict=True)
    )
    cascades = {dot["name"] for dot in dots if dot["kind"] == "cascade, best"}
    assert cascades == {f"{a} → {b}" for a in NAMES for b in NAMES if a != b}
    [ring] = spec["datasets"]["ring"]
    opened = facts if facts["answered"] else page.data()["search"]["answer"]
    assert ring["name"] == " → ".join(opened[k] for k in ("model_1", "model_2") if opened[k])
    assert ring["cost"] == pytest.approx(opened["cost"])
    assert '"field":"name"' in json.dumps(spec, separators=(",", ":"))
    for cost, accuracy in ((f["cost"], f["accuracy"]) for f in spec["datasets"]["frontier"]):
        assert not [d for d in [*dots, ring] if d["cost"] < cost and d["accuracy"] >= accuracy]


TIMES = {"small": 2.0, "large": 11.0, HOSTILE: 5.0}


def measured(root: Path, joules: bool) -> Store:
    """A cache with costs on one device for batches of 1 and 8, twice the size at 1.5 the cost."""
    store = write_cache(root, {"test": 160, "val": 120})
    for name, value in TIMES.items():
        about = {"device": "desk, 2 threads", "meter": "rapl", "runtime": "import"}
        rows = [
            cost_row(name, cost, batch_size=size, energy_j=cost / 1e3 / size if joules else None)
            for size, cost in ((1, value), (8, 4.0 * value))
        ]
        costs.merge(store, "toy", [replace(row, **about) for row in rows])
    return store


@pytest.mark.parametrize("joules", [False, True])
def test_measured_costs_are_drawn_and_named(tmp_path, joules):
    kind, unit = ("joules", "J") if joules else ("latency", "ms")
    store = measured(tmp_path / "cache", joules)
    args = ("report", "-d", "toy", "--cache", store.root, "-o", tmp_path / "p.html")
    with drawn() as specs:
        facts = cascade(*args, "--figures", tmp_path, "--json").json
    page = read(tmp_path / "p.html")
    spec = specs["accuracy-cost"]
    scale = 1e-3 if joules else 1.0
    dots = spec["datasets"]["points"]
    singles = {dot["name"]: dot["cost"] for dot in dots if dot["kind"] == "single model"}
    assert singles == pytest.approx({name: value * scale for name, value in TIMES.items()})
    for dot in dots:
        if dot["kind"] != "single model":
            a, b = dot["name"].split(" → ")
            assert dot["cost"] == pytest.approx(scale * (TIMES[a] + dot["usage"] * TIMES[b]))
    title = f"{unit} per request on desk, 2 threads, batch size 1"
    assert f'"title": "{title} (log scale)"' in json.dumps(spec, ensure_ascii=False)
    assert page.data()["cost"]["why"].startswith(f"The cost is {kind} of all models on desk")
    a, b = facts["model_1"], facts["model_2"]
    assert (facts["cost_kind"], facts["cost_unit"]) == (kind, unit)
    assert facts["cost"] == pytest.approx(scale * (TIMES[a] + facts["usage"] * TIMES[b]))
    base = scale * TIMES[facts["baseline"]]
    assert facts["saved"] == pytest.approx(1 - facts["cost"] / base)
    shown = cascade(*args).out
    assert f"{kind} of all models on desk, 2 threads" in shown
    assert ("run `cascade doctor`" in shown) is not joules


def test_another_cost_batch_size_and_baseline_can_be_asked_for(tmp_path):
    store = measured(tmp_path / "cache", True)
    args = ("report", "-d", "toy", "--cache", store.root, "-o", tmp_path / "p.html", "--json")
    macs = cascade(*args, "--cost", "macs", "--baseline", "small").json
    assert (macs["cost_kind"], macs["cost_why"]) == ("macs", "multiply-adds, as asked")
    assert (macs["baseline"], macs["baseline_cost"]) == ("small", MACS[0])
    assert macs["cost"] == pytest.approx(macs["macs_per_request"])
    wanted = ("--cost", "latency", "--cost-device", "desk, 2 threads", "--cost-batch-size", "8")
    facts = cascade(*args, *wanted, "-m1", "small", "-m2", "large").json
    reported = load(store, "toy", "test")
    a, b = (reported.index(facts[key]) for key in ("model_1", "model_2"))
    total = 0.0
    for start in range(0, 160, 8):
        to_b = sum(
            naive_escalated(
                reported, a, facts["score"], number(facts["threshold"], facts["score"]), i
            )
            for i in range(start, start + 8)
        )
        total += 4 * TIMES["small"] + TIMES["large"] * np.interp(to_b, [0, 1, 8], [0, 1, 4])
    assert facts["cost"] == pytest.approx(total / 160)
    assert b != a
    for options, expected in (
        (("--cost", "watts"), "unknown cost"),
        (("--cost-device", "desk"), "unknown cost device"),
        (("--baseline", "smal"), "did you mean 'small'"),
    ):
        assert expected in cascade(*args, *options).refusal


def naive_escalated(scores, a: int, name: str, limit: float, i: int) -> bool:
    s_a = scores.scores[name][a][i]
    return s_a > limit if name == "entropy" else s_a < limit


def test_provenance_names_every_input(made):
    _, _, _, page = made
    head, *rows = page.tables[3]
    assert head[:2] == ["model", "split"]
    assert {(row[0], row[1], row[2]) for row in rows} == {
        (name, split, n) for name in NAMES for split, n in (("test", "300"), ("val", "250"))
    }
    for row in rows:
        weights = (f"{NAMES.index(row[0])}abcdef" * 9)[:12]
        assert row[3:] == ["import", weights, "train (stated)", f"{row[1]:f<12}", "2024-05-06"]


def test_figures_are_png_and_svg_in_black_on_white(made):
    _, _, facts, _ = made
    files = [Path(file) for file in facts["figures"]]
    assert {file.name for file in files} == {
        f"{name}.{kind}"
        for name in ("threshold", "accuracy-cost", "heterogeneity")
        for kind in ("png", "svg")
    }
    for file in files:
        if file.suffix == ".png":
            assert file.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        else:
            text = file.read_text(encoding="utf-8")
            assert "currentColor" not in text
            assert len(list(ET.fromstring(text).iter("{http://www.w3.org/2000/svg}path"))) > 3


def test_the_legend_of_accuracy_and_cost_names_all_that_is_drawn(made):
    [file] = [file for file in made[2]["figures"] if file.endswith("accuracy-cost.svg")]
    text = "{http://www.w3.org/2000/svg}text"
    words = {e.text for e in ET.fromstring(Path(file).read_text(encoding="utf-8")).iter(text)}
    assert {"nothing cheaper reaches it", "the answer", *charts.KINDS} <= words


RULES = [(name, post) for name in naive_rules.SCORES for post in (False, True)]


def nested(reported, a: int, b: int):
    """(accuracy, low, high) where each fold is decided by the best rule and λ of the others."""
    repeats = [threshold.folds(len(reported.labels), repeat=r) for r in range(10)]
    by_rule = [
        naive_rules.cross_fit(name, naive_rules.images_of(reported, a, b, name), p, "best", repeats)
        for name, p in RULES
    ]
    decided = [
        [min(held, key=lambda h: (-h.fit_right, h.fit_sent)) for held in zip(*folds, strict=True)]
        for folds in zip(*by_rule, strict=True)
    ]
    return naive_rules.honest(decided, len(reported.labels))[0]


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    """One split, and a question that nothing tests: all of it is cross-fitted."""
    folder = tmp_path_factory.mktemp("folded")
    store = write_cache(folder / "cache", {"test": 45})
    asked = Question("best-accuracy")
    with drawn() as specs:
        out = {"figures": folder / "figures", "question": asked}
        reported, facts = make(store, folder / "page.html", **out)
    return reported, facts, read(folder / "page.html"), specs


def test_without_another_split_accuracies_are_those_of_folds_that_had_no_part(folded):
    reported, facts, page, _ = folded
    assert facts["fit_method"] == "cross-fit"
    assert facts["notes"][0] in page.text
    head, *rows = page.tables[1]
    assert head[5:7] == ["fit accuracy", "accuracy"]
    for row in (rows[0], rows[-1]):
        a, b = (reported.index(name) for name in row[:2])
        assert float(row[6]) == pytest.approx(nested(reported, a, b)[0])
        limit = number(row[4], row[2])
        told = naive(reported, a, b, row[2], limit, row[3] == "yes")
        assert (float(row[5]), float(row[7])) == pytest.approx(told)
    in_sample = [float(row[5]) for row in rows]
    assert in_sample == sorted(in_sample, reverse=True)
    assert sum(float(row[6]) for row in rows) < sum(in_sample)


def test_marks_of_folds_stand_where_the_folds_say(folded):
    _, _, page, specs = folded
    marks = [m for m in specs["threshold"]["datasets"]["points"] if m["objective"] != "answer"]
    assert [float(row[5]) for row in page.tables[0][1:]] == [mark["accuracy"] for mark in marks]
    assert "marks are cross-fitted" in specs["threshold"]["description"]
    dots = specs["accuracy-cost"]["datasets"]["points"]
    for row in page.tables[1][1:]:
        [dot] = [d for d in dots if d["name"] == f"{row[0]} → {row[1]}" and "best" in d["kind"]]
        assert dot["accuracy"] == float(row[6])


def test_a_pair_asked_for_has_the_accuracy_of_folds_that_chose_its_rule(tmp_path):
    store = write_cache(tmp_path / "cache", {"test": 45})
    asked = {"question": Question("best-accuracy")}
    reported, facts = make(store, tmp_path / "p.html", ("small", "large"), **asked)
    a, b = reported.index("small"), reported.index("large")
    found = [facts[f"accuracy{end}"] for end in ("", "_low", "_high")]
    assert found == pytest.approx(nested(reported, a, b))


def test_one_split_that_tests_its_answer_is_cut_in_two(tmp_path):
    """All of the page is about the images that did not name the answer."""
    store = write_cache(tmp_path / "cache", {"test": 200})
    whole, facts = make(store, tmp_path / "p.html", ("small", "large"), "maxp")
    assert (facts["fit_method"], facts["fit_n"], facts["n"]) == ("hold-out", 60, 140)
    page = read(tmp_path / "p.html")
    assert "Chosen on 60 images of test, shown on 140 others of test." in page.text
    plan, shown = threshold.held_out(threshold.plan(store, whole))
    a, b = shown.index("small"), shown.index("large")
    for check, objective, limit, _, _, accuracy, usage in page.tables[0][1:]:
        told = naive(shown, a, b, "maxp", number(limit, "maxp"), check == "yes")
        assert (float(accuracy), float(usage)) == told
        if objective == "best":
            limits = {-1.0, 2.0, *plan.scores.scores["maxp"][a]}
            most = max(naive(plan.scores, a, b, "maxp", x, check == "yes")[0] for x in limits)
            fit = naive(plan.scores, a, b, "maxp", number(limit, "maxp"), check == "yes")
            assert fit[0] == most
    for model, top1, *_ in page.tables[2][1:]:
        m = shown.index(model)
        assert float(top1) == sum(shown.predictions[m] == shown.labels) / 140


def test_fitting_on_the_reported_images_is_said(tmp_path, made):
    store, _, _, _ = made
    _, facts = make(store, tmp_path / "p.html", fit_split="test")
    assert facts["fit_accuracy"] == facts["accuracy"]
    assert "optimistic" in read(tmp_path / "p.html").text


def test_where_multiply_adds_are_unknown_page_and_figure_count_runs(tmp_path):
    store = write_cache(tmp_path / "cache", {"test": 120}, macs=(None, None, None))
    costs.merge(store, "toy", [cost_row("hash:dhash", 0.1, component="hash")])
    with drawn() as specs:
        _, facts = make(store, tmp_path / "p.html", figures=tmp_path)
    page = read(tmp_path / "p.html")
    dots = {dot["name"]: dot["cost"] for dot in specs["accuracy-cost"]["datasets"]["points"]}
    assert set(specs) == {"threshold", "accuracy-cost", "heterogeneity"}
    assert [dots[name] for name in NAMES] == [1.0] * len(NAMES)
    assert page.data()["cost"]["noun"] == "model runs"
    assert "No cost of all these models is known" in page.data()["cost"]["why"]
    assert facts["macs_per_request"] is None


@pytest.mark.parametrize(
    ("pair", "name", "expected"),
    [
        (("smal", None), None, "did you mean 'small'"),
        (("small", "small"), None, "two different models"),
        ((None, None), "oracle", "no λ to draw"),
        ((None, None), "maxpp", "did you mean 'maxp'"),
    ],
)
def test_a_wrong_request_is_one_line(tmp_path, made, pair, name, expected):
    with pytest.raises(InputError, match=expected) as caught:
        make(made[0], tmp_path / "p.html", pair, name)
    assert "\n" not in str(caught.value)


def test_one_model_is_too_few(tmp_path):
    store = write_cache(tmp_path / "cache", {"test": 50}, names=("alone",), macs=(5,))
    with pytest.raises(InputError, match="one model only, alone: run `cascade import") as caught:
        make(store, tmp_path / "p.html")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "p.html").exists()


@pytest.mark.parametrize("out", ["file/p.html", "folder", "", "nul\0byte"])
def test_an_impossible_output_is_one_line_and_leaves_nothing(tmp_path, made, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot write") as caught:
        make(made[0], out)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_one_model_given_is_the_best_cascade_with_it(tmp_path, made):
    store, _, _, _ = made
    _, facts = make(store, tmp_path / "p.html", (None, "small"), "entropy")
    assert (facts["model_2"], facts["score"]) == ("small", "entropy")
    assert "any other model → small with entropy" in facts["chosen_by"]


@settings(deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=2, max_size=60), st.integers(2, 12))
def test_thinning_is_off_by_what_it_says(steps, limit):
    rng = np.random.default_rng(len(steps))
    x = np.sort(rng.integers(0, 20, len(steps)) / 20)
    y = np.cumsum(steps) / 10
    kept, off = corners.thin(x, y, limit)
    assert len(kept) <= limit
    assert kept[0] == 0
    assert kept[-1] == len(x) - 1
    worst = 0.0
    for start, stop in pairwise(kept.tolist()):
        for i in range(start, stop + 1):
            if x[start] == x[stop]:
                low, high = sorted((y[start], y[stop]))
                worst = max(worst, low - y[i], y[i] - high)
            else:
                share = (x[i] - x[start]) / (x[stop] - x[start])
                worst = max(worst, abs(y[start] + share * (y[stop] - y[start]) - y[i]))
    assert off == pytest.approx(worst, abs=1e-9)
    assert off < 1e-9 or len(kept) == limit


def test_a_long_curve_is_thinned_and_the_figure_says_by_how_much(tmp_path, made, monkeypatch):
    store, _, _, _ = made
    monkeypatch.setattr(corners.thin, "__defaults__", (10,))
    with drawn() as specs:
        _, facts = make(store, tmp_path / "p.html", ("small", "large"), figures=tmp_path)
    assert facts["corners_drawn"] == 10
    assert facts["curve_off"] > 0
    assert len(specs["threshold"]["datasets"]["use"]) == 10
    assert f"off by {100 * facts['curve_off']:.3f} points" in specs["threshold"]["description"]


def test_figures_are_drawn_by_the_vega_lite_they_are_written_for():
    schema = charts.alt.Chart(charts.alt.NamedData("x")).mark_point().to_dict()["$schema"]
    assert f"/v{charts.vega_lite_version()}." in schema


BLOCKED = """
import importlib.abc, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "PIL", "pandas"):
            raise ImportError(f"{name} is not installed")
sys.meta_path.insert(0, Blocked())
from cascade_cli.main import main
main()
"""


def command(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCKED, "report", *args],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_command_runs_without_torch(tmp_path, made):
    root = made[0].root
    done = command("-d", "toy", "--cache", root, "--figures", "f", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    keys = ("accuracy", "usage", "threshold", "sentence", "split", "fit_split")
    assert {key: facts[key] for key in keys} == {key: made[2][key] for key in keys}
    assert facts["output"] == "report.html"
    assert len(facts["figures"]) == 6
    assert all((tmp_path / file).is_file() for file in [facts["output"], *facts["figures"]])


def test_the_command_says_what_is_wrong_in_one_line(tmp_path, made):
    root = made[0].root
    done = command("-d", "toy", "--cache", root, "-m1", "smal", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'small'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
