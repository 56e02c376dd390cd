"""docs/extending.md: its package, installed as it stands there, through the command line."""

from __future__ import annotations

import os
import re
import threading
import time
import tomllib

import numpy as np
import pytest
from plugged import PAGE, documented, installed
from running import cascade

TEXT = PAGE.read_text(encoding="utf-8")
MODULES, ENTRIES = documented()


@pytest.fixture(scope="module")
def leaves(tmp_path_factory):
    """The package installed, its images in a folder, and weights of its models."""
    torch = pytest.importorskip("torch")
    desk = tmp_path_factory.mktemp("leaves")
    with installed(desk, MODULES, ENTRIES, "leaves"):
        from stages.models import build

        rng = np.random.default_rng(0)
        for split, n in (("test", 40), ("train", 30)):
            (desk / "images").mkdir(exist_ok=True)
            pictures = rng.integers(0, 256, (n, 16, 16, 3), np.uint8)
            np.save(desk / "images" / f"{split}-images.npy", pictures)
            np.save(desk / "images" / f"{split}-labels.npy", rng.integers(0, 2, n))
        (desk / "weights").mkdir()
        for seed, name in enumerate(("tiny_2", "tiny_4")):
            torch.manual_seed(seed)
            torch.save(build(name).state_dict(), desk / "weights" / f"{name}.pt")
        yield desk


@pytest.fixture(scope="module")
def extracted(leaves):
    """The command of the page, for both models."""
    done = cascade(
        *("extract", "-d", "leaves", "-f", leaves / "images", "--models", "tiny_2,tiny_4"),
        *("--weights", leaves / "weights", "--cache", leaves / "cache", "--json"),
    )
    assert done.status == 0, done.err
    return leaves, done.json


def test_the_metadata_announces_every_example():
    [block] = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    told = tomllib.loads(block)
    groups = told["project"]["entry-points"]
    assert groups == ENTRIES
    assert set(groups) == {
        f"cascade.{kind}" for kind in ("models", "datasets", "sensors", "scores")
    }
    announced = {value.partition(":")[0] for each in groups.values() for value in each.values()}
    assert announced == set(MODULES) == set(told["tool"]["setuptools"]["py-modules"])


def test_no_page_holds_an_example_twice():
    for page in ("models.md", "datasets.md", "energy.md"):
        text = (PAGE.parent / page).read_text(encoding="utf-8")
        assert "extending.md#a-" in text
        assert "entry-points" not in text
    anchors = {
        f"#{title.lower().replace(' ', '-')}" for title in re.findall(r"^## (.*)$", TEXT, re.M)
    }
    assert anchors == {"#a-model", "#a-data-set", "#a-sensor", "#a-score"}


def test_the_model_and_the_data_set(extracted):
    desk, found = extracted
    assert [(m["model"], m["split"], m["rows"]) for m in found["models"]] == [
        ("tiny_2", "test", 40),
        ("tiny_4", "test", 40),
    ]
    models = cascade("models", "-d", "leaves", "--json").json["models"]
    assert {"tiny_2", "tiny_4"} <= {model["name"] for model in models}
    seen = cascade("datasets", "--data", desk / "images", "--json").json["datasets"]
    splits = {each["name"]: set(each["splits"]) for each in seen}
    assert splits["leaves"] == splits["images"] == {"test", "train"}


def test_the_rows_are_what_the_model_gives(extracted):
    """Against the model called directly on the file's pictures."""
    import torch
    from running import logits_of

    from stages.models import build, get

    desk, _ = extracted
    ids, logits = logits_of(desk / "cache", "test", "tiny_2", "leaves")
    pictures = np.load(desk / "images" / "test-images.npy")
    model = build("tiny_2")
    model.load_state_dict(torch.load(desk / "weights" / "tiny_2.pt"))
    wanted = get("tiny_2").preprocessing
    pixels = torch.from_numpy(np.stack([wanted.pixels(picture) for picture in pictures]))
    with torch.inference_mode():
        expected = model((pixels.float() / 255 - 0.5) / 0.5)
    assert ids.tolist() == list(range(40))
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-5)


def test_the_score(extracted):
    desk, _ = extracted
    asked = ("-m1", "tiny_2", "-m2", "tiny_4", "-d", "leaves", "--cache", desk / "cache")
    found = cascade("threshold", *asked, "-s", "maxp,gini", "--json").json
    assert {row["score"] for row in found["rows"]} == {"maxp", "gini"}
    # Of two classes Σp² = 1 − 2q(1 − q) rises with the larger p: the same decisions, all of them.
    rows = {"maxp": [], "gini": []}
    for row in found["rows"]:
        rows[row["score"]].append((row["accuracy"], row["usage"], row["points"], row["objective"]))
    checked = [row["postcheck"] for row in found["rows"]]
    assert len(set(checked)) == 2
    assert rows["maxp"] == rows["gini"]
    rules = cascade("rules", *asked, "--rules", "maxp,gini", "--json").json
    assert {row["rule"] for row in rules["rows"]} == {"maxp", "gini"}
    done = cascade("score", "-d", "leaves", "-s", "gini", "--cache", desk / "cache")
    assert done.status == 0, done.err


def test_its_command_lines_are_valid(extracted):
    """Those of the page that name the digits, on the models at hand."""
    desk, _ = extracted
    [block] = re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)
    lines = block.strip().splitlines()
    assert len(lines) == 3
    for line in lines:
        line = line.replace("digits_wide", "tiny_2").replace("digits_residual", "tiny_4")
        words = line.replace("-d digits", "").split()[1:]
        done = cascade(*words, "--dataset", "leaves", "--cache", desk / "cache")
        assert done.status == 0, (line, done.err)


@pytest.fixture
def plug(tmp_path, monkeypatch):
    """A daemon that writes the joules of a steady 200 W, as a plug would."""
    file, stop = tmp_path / "joules", threading.Event()
    began = time.perf_counter()

    def write():
        fresh = tmp_path / "fresh"
        fresh.write_text(f"{200 * (time.perf_counter() - began):.3f}\n")
        os.replace(fresh, file)

    def run():
        while not stop.wait(0.02):
            write()

    write()
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    monkeypatch.setenv("WATTMETER", str(file))
    yield file
    stop.set()
    thread.join()


def test_the_sensor(extracted, plug):
    desk, _ = extracted
    found = cascade("doctor", "--json", "--idle", "2").json
    assert {"name": "wattmeter", "package": "leaves", "reason": None} in found["sensors"]
    [seen] = [row for row in found["meters"] if row["source"] == "wattmeter"]
    assert seen["idle_w"] == pytest.approx(200, rel=0.2)
    profiled = cascade(
        *("profile", "-d", "leaves", "-f", desk / "images", "--models", "tiny_2"),
        *("--weights", desk / "weights", "--batch-sizes", "1", "--quick", "--meter", "wattmeter"),
        *("--cache", desk / "cache", "--json"),
    ).json
    [row] = [row for row in profiled["rows"] if row["component"] == "forward"]
    assert (row["meter"], row["scope"]) == ("wattmeter", "system")
    watts = row["energy_j"] / (row["latency_ms"] / 1e3)
    assert 100 < watts < 800  # what lies between two laps is in the joules, not in the latency
    assert row["energy_low_j"] < row["energy_j"] < row["energy_high_j"]


def test_without_the_plug_it_says_so(extracted, tmp_path, monkeypatch):
    desk, _ = extracted
    monkeypatch.setenv("WATTMETER", str(tmp_path / "nothing"))
    refusal = cascade(
        *("profile", "-d", "leaves", "-f", desk / "images", "--models", "tiny_2"),
        *("--weights", desk / "weights", "--meter", "wattmeter", "--cache", desk / "cache"),
    ).refusal
    assert f"no meter 'wattmeter': no wattmeter writes {tmp_path}/nothing: set $WATTM" in refusal
