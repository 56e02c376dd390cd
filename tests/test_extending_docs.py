"""docs/extending.md: its package, installed as it stands there, through the command line."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from plugged import PAGE, documented, installed
from running import ROOT, cascade

from cache import Store, find
from stages import plugins
from stages.hashes import hash_keys

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
    kinds = ("models", "datasets", "sensors", "scores", "rules", "hashes")
    assert set(groups) == {f"cascade.{kind}" for kind in kinds}
    announced = {value.partition(":")[0] for each in groups.values() for value in each.values()}
    assert announced == set(MODULES) == set(told["tool"]["setuptools"]["py-modules"])


def test_no_page_holds_an_example_twice():
    for page in ("models.md", "datasets.md", "energy.md"):
        text = (PAGE.parent / page).read_text(encoding="utf-8")
        assert "extending.md#a-" in text
        assert "entry-points" not in text
    titles = {title.lower() for title in re.findall(r"^## (.*)$", TEXT, re.M)}
    kinds = {"a model", "a data set", "a sensor", "a score", "a deferral rule", "a hash"}
    assert titles == {"inside the project", "as a package"} | kinds


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


def test_the_rule(extracted):
    """1 − p₂/p₁ rises with the margin of the logits: the same decisions, also with post-check."""
    desk, _ = extracted
    asked = ("-m1", "tiny_2", "-m2", "tiny_4", "-d", "leaves", "--cache", desk / "cache")
    found = cascade("rules", *asked, "--rules", "ratio,margin", "--json").json
    rows = {"ratio": [], "margin": []}
    for row in found["rows"]:
        rows[row["rule"]].append((row["final"], row["accuracy"], row["usage"], row["points"]))
    assert rows["ratio"] == rows["margin"]
    assert len(rows["ratio"]) == 6


def test_the_hash(extracted):
    """Keys against the pixels picked by hand; the memory answers what it has seen."""
    desk, _ = extracted
    where = ("-d", "leaves", "--cache", desk / "cache")
    found = cascade("hash", *where, "-f", desk / "images", "--algorithms", "thumb", "--json").json
    assert {row["key_bytes"] for row in found["hashes"]} == {16}
    store = Store(desk / "cache")
    [manifest] = find(store, "hashes", "leaves", "test", "identity")
    assert manifest.identity["made_by"]["package"] == "leaves"
    picture = np.load(desk / "images" / "test-images.npy")[3].tolist()
    middles = [picture[row][column] for row in (2, 6, 10, 14) for column in (2, 6, 10, 14)]
    assert hash_keys(store, manifest)[3].tolist() == [int(sum(rgb) / 3) for rgb in middles]
    asked = ("-m1", "tiny_2", "-m2", "tiny_4", "--dataset", "leaves", "--cache", desk / "cache")
    simulated = cascade("simulate", *asked, "-d", "1", "--memory", "thumb", "--json").json
    assert (simulated["n"], simulated["hits"], simulated["false_hits"]) == (80, 40, 0)


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


# --- inside the project --------------------------------------------------------------------------

LINES = {
    kind: (Path(file), line, table, Path(place))
    for kind, file, line, table, place in re.findall(
        r"^\| ([\w ]+) \| `(\S+)` \| `(.+)` \| `(\w+)` of `(\S+)` \|$", TEXT, re.M
    )
}
CASCADE = "from cascade_cli.entry import main; main()"
OPENED = "from stages.energy import open_meters; open_meters(prefer='wattmeter')"


def module_by_module(code, room):
    """Its imports from its own room's face, as the face's stub resolves them."""
    stub = (ROOT / "stages" / room / "__init__.pyi").read_text(encoding="utf-8")
    homes = {
        name: module
        for module, names in re.findall(r"^from \.(\w+) import (\([^)]*\)|.*)$", stub, re.M)
        for name in re.findall(r"as (\w+)", names)
    }

    def resolved(found):
        names = found[1].split(", ")
        return "\n".join(f"from stages.{room}.{homes[name]} import {name}" for name in names)

    return re.sub(rf"^from stages\.{room} import (.*)$", resolved, code, flags=re.M)


@pytest.fixture
def extended(request, tmp_path):
    """A copy of the project with one file and one line more, as the page says, and a cache."""
    file, line, table, place = LINES[request.param]
    for package in ("cache", "stages", "cascade_cli"):
        shutil.copytree(ROOT / package, tmp_path / package)
    shutil.copytree(ROOT / "tests" / "golden" / "cache", tmp_path / "artifacts")
    room = file.parent.name
    (tmp_path / file).write_text(module_by_module(MODULES[file.stem], room), encoding="utf-8")
    text = (tmp_path / place).read_text(encoding="utf-8")
    [start] = re.findall(rf"^{table}.* = {{", text, re.M)
    text = text.replace(start, f"{start}\n    {line}\n", 1)
    (tmp_path / place).write_text(text, encoding="utf-8")

    def run(*words, code=CASCADE):
        return subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def rows_of(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_page_has_a_line_for_each_kind():
    kinds = {"model", "layout of a data set", "sensor", "score", "deferral rule", "hash"}
    assert LINES.keys() == kinds
    assert {file.stem for file, *_ in LINES.values()} == MODULES.keys()


TIES = ("-m1", "small", "-m2", "large")


@pytest.mark.parametrize("extended", ["score"], indirect=True)
def test_a_score_inside_the_project(extended):
    found = rows_of(extended("threshold", *TIES, "--dataset", "ties", "-s", "maxp,gini", "--json"))
    assert {row["score"] for row in found["rows"]} == {"maxp", "gini"}
    assert "maxp, difference, entropy, gini, oracle" in extended("simulate", "--help").stdout
    refused = extended("export", "--policy", "p", *TIES, "--dataset", "ties", "-s", "gini")
    assert refused.returncode == 2
    assert "the score gini is a module of its own, which a policy's file cannot" in refused.stderr


@pytest.mark.parametrize("extended", ["deferral rule"], indirect=True)
def test_a_rule_inside_the_project(extended):
    """Unasked it is compared with all others, and it decides as the margin does."""
    found = rows_of(extended("rules", *TIES, "-d", "ties", "--json"))
    rows = {}
    for row in found["rows"]:
        rows.setdefault(row["rule"], []).append((row["final"], row["accuracy"], row["usage"]))
    assert rows["ratio"] == rows["margin"] != rows["entropy"]


@pytest.mark.parametrize("extended", ["hash"], indirect=True)
def test_a_hash_inside_the_project(extended, tmp_path):
    found = rows_of(extended("hash", "-d", "digits", "--algorithms", "thumb", "--json"))
    assert {row["algorithm"] for row in found["hashes"]} == {"thumb"}
    pair = ("-m1", "digits_wide", "-m2", "digits_residual", "--runtime", "torch-fp32-cpu")
    simulated = rows_of(extended("simulate", *pair, "-d", "1", "--memory", "thumb", "--json"))
    assert simulated["hits"] >= simulated["n"] / 2
    written = extended("export", "--policy", "policy", *pair, "--memory", "thumb")
    assert written.returncode == 0, written.stderr
    space = {}
    exec((tmp_path / "policy" / "cascade_policy.py").read_text(encoding="utf-8"), space)
    name, digest = space["EMBEDDED"]
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8)
    picked = [8 * row + column for row in (1, 3, 5, 7) for column in (1, 3, 5, 7)]
    assert (name, digest([picture]).tolist()) == ("thumb", [picked])


@pytest.mark.parametrize("extended", ["layout of a data set"], indirect=True)
def test_a_layout_inside_the_project(extended, tmp_path):
    (tmp_path / "leaves").mkdir()
    np.save(tmp_path / "leaves" / "test-images.npy", np.zeros((3, 8, 8, 3), np.uint8))
    np.save(tmp_path / "leaves" / "test-labels.npy", np.array([0, 1, 1]))
    found = rows_of(extended("datasets", "--data", "leaves", "--json"))["datasets"]
    [seen] = [row for row in found if row["name"] == "leaves"]
    assert (seen["layout"], seen["splits"]) == ("npy", ["test"])


@pytest.mark.parametrize("extended", ["model"], indirect=True)
def test_a_model_inside_the_project(extended):
    found = rows_of(extended("models", "-d", "leaves", "--json"))["models"]
    assert [row["name"] for row in found] == ["tiny_2", "tiny_4"]


@pytest.mark.parametrize("extended", ["sensor"], indirect=True)
def test_a_sensor_inside_the_project(extended):
    """It is asked, and says why it cannot measure."""
    done = extended(code=OPENED)
    assert "InputError: no meter 'wattmeter': no wattmeter writes /" in done.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"thumb": "stages.hashes.dhash:NOTHING"}, "'thumb': 'stages.hashes.dhash:NOTHING': "),
        ({"thumb": "stages.hashes.dhash:DHASH"}, "its name is 'dhash'"),
    ],
)
def test_a_wrong_line_of_a_table_is_named(line, said):
    with pytest.raises(ImportError, match=re.escape(said)):
        plugins.of_this_project("hashes", line)
