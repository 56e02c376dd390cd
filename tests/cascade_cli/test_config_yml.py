"""The original's config.yml on `live`."""

from __future__ import annotations

import os
import time

import pytest
from running import cascade

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = ("--dataset", "digits", "--limit", "30", "--batch-size", "10", "--no-alone", "--json")
WHOLE = """---
first_model:
  name: digits_wide
  weights_file:              # Optional
second_model:
  enable: true
  name: digits_plain
  weights_file:
  score_fn: entropy
  threshold: 0.25
  postcheck: true
memory:
  enable: false
  method: dhash
  duplicates: 1
  transforms: 0
dataset_path:
root_password:
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    done = cascade("extract", "--models", "digits_wide,digits_plain", "--cache", folder)
    assert done.status == 0, done.err
    return folder


@pytest.fixture
def live(root, tmp_path):
    def run(text, *args):
        (tmp_path / "config.yml").write_text(text)
        return cascade("live", "-y", tmp_path / "config.yml", *args, *QUICK, "--cache", root)

    return run


def test_what_the_file_says_runs(live):
    done = live(WHOLE)
    found = done.json
    told = {key: found[key] for key in ("model_1", "model_2", "score", "threshold", "postcheck")}
    assert told == {
        "model_1": "digits_wide",
        "model_2": "digits_plain",
        "score": "entropy",
        "threshold": 0.25,
        "postcheck": True,
    }
    assert (found["duplicates"], found["memory"]) == (1, None)
    assert found["agreement"]["outside_noise"] == 0
    assert "over ln K" in done.err


def test_memory_and_flags_on_top(live):
    text = WHOLE.replace("enable: false", "enable: true")
    assert live(text).json["memory"] == "dhash"
    found = live(text, "-s", "maxp", "-t", "0.9", "--memory", "invariants").json
    assert (found["score"], found["threshold"], found["memory"]) == ("maxp", 0.9, "invariants")
    assert found["postcheck"]


def test_one_model_alone(live):
    found = live(WHOLE.replace("enable: true", "enable: false")).json
    assert (found["model_1"], found["model_2"]) == ("digits_wide", None)


def test_threshold_left_empty_is_fitted(live):
    found = live(WHOLE.replace("threshold: 0.25", "threshold:")).json
    assert found["fit_method"] == "other-split"


@pytest.mark.parametrize("text", ["1e-3", "+.1e-2", "1.0e-3", "1E-03"])
def test_a_number_as_yaml_1_2_writes_it(live, text):
    assert live(WHOLE.replace("threshold: 0.25", f"threshold: {text}")).json["threshold"] == 1e-3


def test_a_flag_says_how_where_the_file_only_enables_the_memory(live):
    text = WHOLE.replace("enable: false", "enable: true").replace("  method: dhash\n", "")
    assert "without a method" in live(text).refusal
    assert live(text, "--memory", "dhash").json["memory"] == "dhash"


def test_a_memory_without_a_second_model_is_refused(live):
    text = WHOLE.replace("enable: true", "enable: -").replace("enable: false", "enable: true")
    assert "without second_model" in live(text.replace("enable: -", "enable: false")).refusal


def test_a_password_is_never_used(live):
    done = live(WHOLE.replace("root_password:", "root_password: secret"))
    assert "--end shutdown" in done.err
    assert "secret" not in done.out + done.err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("first_model:", "frist_model:", "did you mean 'first_model'"),
        ("score_fn:", "scorefn:", "did you mean 'score_fn'"),
        ("score_fn: entropy", "score_fn: entropie", "did you mean 'entropy'"),
        ("threshold: 0.25", "threshold: 2.5", "no threshold of entropy"),
        (WHOLE, "[1, 2", "is no YAML"),
        (WHOLE, "[" * 3000, "is no YAML"),
        (WHOLE, "first_model: 2001-02-30", "is no YAML"),
        (WHOLE, "just words", "holds no sections"),
        (WHOLE, "memory: dhash", "memory holds no keys"),
    ],
)
def test_refusals(live, old, new, words):
    assert words in live(WHOLE.replace(old, new)).refusal


def test_missing_file_and_two_sources(root, tmp_path):
    missing = cascade("live", "-y", tmp_path / "none.yml").refusal
    assert f"cannot read {tmp_path / 'none.yml'}: No such file" in missing
    both = cascade("live", "-y", tmp_path / "a.yml", "--policy", tmp_path)
    assert "leave out one" in both.refusal


@pytest.mark.parametrize(
    ("line", "instead", "told"),
    [
        ("threshold: 0.25", 'threshold: "1e-3"', "threshold in second_model is '1e-3', not a"),
        ("postcheck: true", 'postcheck: "false"', "postcheck in second_model is 'false', not true"),
        ("postcheck: true", "postcheck: 7", "postcheck in second_model is 7, not true or false"),
        ("enable: true", 'enable: "no"', "enable in second_model is 'no', not true or false"),
        ("duplicates: 1", "duplicates: lots", "duplicates in memory is 'lots', not a number"),
        ("duplicates: 1", "duplicates: true", "duplicates in memory is True, not a number"),
        ("transforms: 0", "transforms: [1, 2]", "transforms in memory is [1, 2], not a number"),
        ("name: digits_wide", "name: 20", "name in first_model is 20, not text"),
        ("name: digits_wide", "name: [a]", "name in first_model is ['a'], not text"),
        ("dataset_path:", "dataset_path: 5", "dataset_path is 5, not text"),
        ("threshold: 0.25", "threshold: high", "threshold in second_model is 'high', not a number"),
    ],
)
def test_a_value_of_another_kind_is_told(live, line, instead, told):
    assert WHOLE.count(line) == 1
    done = live(WHOLE.replace(line, instead))
    assert done.status == 2
    assert told in done.err
    assert done.err.count("\n") == 1


BOMB = "".join(f"  k{i}: &k{i} [{', '.join([f'*k{i - 1}'] * 9)}]\n" for i in range(1, 13))
HOSTILE = {
    "nested 5,000 deep": ("a: " + "[" * 5000 + "]" * 5000, "is no YAML (RecursionError)"),
    "aliases of aliases": ("dataset_path:\n  k0: &k0 [x]\n" + BOMB, "dataset_path is {'k0': "),
    "a number of 12,000 digits": ("second_model: {threshold: 0x" + "f" * 10000 + "}", "not a numb"),
    "too large": ("#" * (1 << 14) + "\n", "larger than 16 KiB"),
    "a name of 1,000 letters": ("a" * 1000 + ": 1", "unknown key in"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_is_read_within_bounds(live, name):
    text, words = HOSTILE[name]
    begin = time.process_time()
    line = live(text).refusal
    assert time.process_time() - begin < 20  # unbounded it is minutes
    assert words in line
    assert len(line) < 1000


@pytest.mark.parametrize("what", ["a FIFO", "a folder"])
def test_only_a_regular_file_is_a_config(root, tmp_path, what):
    path = tmp_path / "config.yml"
    os.mkfifo(path) if what == "a FIFO" else path.mkdir()
    told = {"a FIFO": "it is a FIFO, not a regular file", "a folder": "Is a directory"}[what]
    line = cascade("live", "-y", path, *QUICK, "--cache", root).refusal
    assert line == f"cascade: cannot read {path}: {told}; check the path"
