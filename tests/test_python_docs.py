"""docs/python.md: its examples print what stands there, which is what the commands say."""

from __future__ import annotations

import doctest
import os
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import asdict, is_dataclass

import polars as pl
import pytest
from running import ROOT, cascade

from stages.results import Row

PAGE = ROOT / "docs" / "python.md"
TEXT = PAGE.read_text(encoding="utf-8")
CODE = "".join(re.findall(r"^```pycon\n(.*?)^```$", TEXT, re.M | re.S))
PAIR = ("-m1", "digits_separable", "-m2", "digits_residual")
SVG = "{http://www.w3.org/2000/svg}"
COUNTED = ("hits", "false_hits", "escalated", "avoided_1", "avoided_2")


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder as after `make extract` and `cascade hash`: one runtime, and multiply-adds only."""
    folder = tmp_path_factory.mktemp("desk")
    cache = folder / "artifacts"
    shutil.copytree(ROOT / "tests" / "golden" / "cache", cache)
    for found in [*cache.rglob("runtime=torch-bf16-cpu"), *cache.rglob("costs")]:
        shutil.rmtree(found)
    return folder


@pytest.fixture(scope="module")
def page(desk):
    """(what the examples define, what went wrong, how many there are), run in the desk's folder."""
    names, told, before = {}, [], os.getcwd()
    test = doctest.DocTestParser().get_doctest(CODE, names, PAGE.name, str(PAGE), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    os.chdir(desk)
    try:
        with pl.Config():
            found = runner.run(test, out=told.append, clear_globs=False)
    finally:
        os.chdir(before)
    return test.globs, "".join(told), found.attempted


def said(desk, *words):
    """What a command says, of the same cache."""
    return cascade(*words, "--cache", desk / "artifacts", "--json").json


def plain(value):
    """As JSON has it."""
    if isinstance(value, Row):
        return value.columns()
    if isinstance(value, list):
        return [plain(each) for each in value]
    return asdict(value) if is_dataclass(value) else value


def test_the_examples_print_what_stands_there(page):
    _, told, attempted = page
    assert told == ""
    assert attempted == len(re.findall(r"^>>> ", TEXT, re.M)) > 50


def test_the_answer_is_that_of_search(desk, page):
    found = said(desk, "search", "-d", "digits", "--within", "0.02")
    for name in ("target", "worth", "sentence", "answer", "frontier", "hull", "baselines"):
        assert plain(getattr(page[0]["found"], name)) == found[name], name


def test_the_certificate_is_that_of_search(desk, page):
    found = said(desk, "search", "-d", "digits", "--certify", "0.03,0.1")
    for name in ("certificate", "answer", "sentence"):
        assert plain(getattr(page[0]["certified"], name)) == found[name], name


def test_the_points_are_those_of_threshold(desk, page):
    assert plain(page[0]["points"]) == said(desk, "threshold", *PAIR)["rows"]


@pytest.mark.parametrize(
    ("name", "more"), [("simulated", ()), ("remembered", ("--duplicates", "1", "-m", "dhash"))]
)
def test_the_figures_are_those_of_simulate(desk, page, name, more):
    found = said(desk, "simulate", *PAIR, *more)
    told = plain(page[0][name])
    assert told == {key: found[key] for key in told}
    assert {*COUNTED, "accuracy", "cost", "saved"} <= told.keys()


def test_the_matrix_and_the_ranks_are_those_of_heterogeneity(desk, page):
    found = said(desk, "heterogeneity", "-d", "digits")
    assert page[0]["matrix"].tolist() == found["matrix"]
    found = said(desk, "heterogeneity", "-d", "digits", "--predict")
    assert list(map(asdict, page[0]["metrics"])) == found["predictors"]
    assert [row.columns() for row in page[0]["gains"]] == found["gains"]


def test_the_temperatures_are_those_of_calibrate(desk, page):
    found = said(desk, "calibrate", "-d", "digits")
    assert list(map(asdict, page[0]["models"])) == found["models"]
    assert list(map(asdict, page[0]["bins"])) == found["reliability"]


def test_a_figure_shows_itself(page):
    for figure, row in zip(page[0]["figures"], page[0]["models"], strict=True):
        words = [each.text for each in ET.fromstring(figure._repr_svg_()).iter(f"{SVG}text")]
        assert f"Reliability of {row.model}" in words


def test_the_rules_are_those_of_rules(desk, page):
    assert plain(page[0]["rules"]) == said(desk, "rules", *PAIR)["rows"]


def test_every_room_is_in_the_table():
    rows = re.findall(r"^\| (`.*?) \|", TEXT, re.M)
    named = sorted(name for row in rows for name in re.findall(r"`([\w.]+)`", row))
    rooms = sorted(f"stages.{path.parent.name}" for path in ROOT.glob("stages/*/__init__.pyi"))
    assert named == ["cache", *rooms]
