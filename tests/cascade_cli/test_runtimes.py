"""`simulate --runtimes` on digits in fp32 and in bf16, against one image at a time."""

from __future__ import annotations

import shutil

import naive
import numpy as np
import pytest
from running import RUNTIME, cascade

from cache import Store
from stages.scores import load

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")

BF16 = "torch-bf16-cpu"
PAIR = ("digits_wide", "digits_residual")
BOTH = ("--runtimes", f"{RUNTIME},{BF16}")


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    root = tmp_path_factory.mktemp("twice") / "cache"
    for precision in ("fp32", "bf16"):
        args = ("--precision", precision, "--device", "cpu", "--models", ",".join(PAIR))
        assert cascade("extract", "--cache", root, *args).status == 0
    return root


def ask(root, *args, models=PAIR):
    given = ("-m1", models[0], "-m2", models[1])
    return cascade("simulate", *given, "--cache", root, *args, "--json")


def images(root, runtime, name="maxp"):
    scores = load(Store(root), "digits", "test", PAIR, runtime=runtime)
    return naive.images_of(scores, 0, 1, name)


@pytest.mark.parametrize("name", ["maxp", "entropy"])
def test_what_two_runtimes_decide_differently(twice, name):
    row = ask(twice, "-s", name, "-p", *BOTH).json
    found = row["runtimes"]
    assert (found["runtime"], found["runtime_2"]) == (RUNTIME, BF16)
    assert (row["fit_split"], row["fit_method"]) == ("val", "other-split")
    here, there = (
        [naive.decide(name, image, row["threshold"], True) for image in images(twice, r, name)]
        for r in (RUNTIME, BF16)
    )
    pairs = list(zip(here, there, strict=True))
    assert found["decisions_changed"] == sum(a[0] != b[0] for a, b in pairs)
    differ = [i for i, (a, b) in enumerate(pairs) if a[2] != b[2]]
    assert found["samples_changed"] == differ
    assert found["answers_changed"] == len(differ)
    assert (found["usage"], found["usage_2"]) == tuple(
        sum(sent for sent, *_ in each) / len(each) for each in (here, there)
    )
    labels = [image.label for image in images(twice, RUNTIME, name)]
    right = [sum(x[2] == y for x, y in zip(each, labels, strict=True)) for each in (here, there)]
    assert found["accuracy_change"] == pytest.approx((right[1] - right[0]) / len(labels))
    assert "accuracy" not in found  # which images that had no part in λ tell
    first, second = found["comparisons"]
    assert (first["comparison"], second["comparison"]) == ("threshold", "postcheck")
    assert first["flips"] == found["decisions_changed"]
    sent = [i for i, (a, _) in enumerate(pairs) if a[0]]
    surer = [
        [naive.is_surer(name, one.s_b, one.s_a) for one in images(twice, r, name)]
        for r in (RUNTIME, BF16)
    ]
    assert (second["n"], second["flips"]) == (
        len(sent),
        sum(surer[0][i] != surer[1][i] for i in sent),
    )


def test_noise_is_measured_and_what_lies_within_the_usual_is_counted(twice):
    row = ask(twice, "-p", "-t", "0.9", *BOTH).json
    here, there = (images(twice, r) for r in (RUNTIME, BF16))
    moved = [abs(a.s_a - b.s_a) for a, b in zip(here, there, strict=True)]
    first = row["runtimes"]["comparisons"][0]
    assert 0 < first["noise"] <= first["moved_p100"] == max(moved)
    assert first["moved_p50"] == np.median(moved)
    apart = {"": [abs(a.s_a - 0.9) for a in here]}
    apart["postcheck_"] = [abs(a.s_a - a.s_b) for a in here if a.s_a < 0.9]
    for (of, distances), measured in zip(
        apart.items(), row["runtimes"]["comparisons"], strict=True
    ):
        near = sum(d <= measured["noise"] for d in distances)
        assert (measured["near"], measured["near_share"]) == (near, near / len(distances))
        assert row[f"{of}gap"] == measured["gap"] == min(distances)
        for digits in (2, 3, 4, 5, 6):
            near = sum(d <= float(f"1e-{digits}") for d in distances)
            assert row[f"{of}near_1e_{digits}"] == near
            assert row[f"{of}near_share_1e_{digits}"] == near / len(distances)
    assert row["near_1e_2"] > row["near_1e_3"]


def test_it_is_shown(twice):
    pair = ("simulate", "-m1", PAIR[0], "-m2", PAIR[1], "--cache", twice)
    shown = cascade(*pair, *BOTH).out
    assert f"in {BF16} beside {RUNTIME}, each image once:" in shown
    assert "images go another way" in shown
    alone = ask(twice, "--runtime", BF16).json
    counts = ", ".join(str(alone[f"near_1e_{digits}"]) for digits in (6, 5, 4, 3, 2))
    shown = cascade(*pair, "--runtime", BF16).out
    assert f"near λ                     {counts} within 1e-6, 1e-5" in shown
    assert "another way" not in shown
    assert alone["runtimes"] is None


@pytest.mark.parametrize(
    ("asked", "kinds"),
    [
        (("-t", "always"), ["threshold"]),
        (("-t", "never", "-p"), ["threshold"]),
        (("-t", "always", "-p"), ["threshold", "postcheck"]),
        (("-s", "oracle"), []),
    ],
)
def test_a_lambda_that_compares_nothing_has_no_margin(twice, asked, kinds):
    row = ask(twice, *asked, *BOTH).json
    near = {key for key in row if key.startswith(("gap", "near_"))}
    assert len(near) == 11
    assert {row[key] for key in near} == {None}
    assert (row["postcheck_gap"] is None) == ("postcheck" not in kinds)
    found = row["runtimes"]["comparisons"]
    assert [each["comparison"] for each in found] == kinds
    assert {(each["gap"], each["noise"], each["flips"]) for each in found[:1]} <= {(None, None, 0)}


def test_refusals(twice, tmp_path, monkeypatch):
    assert "several runtimes" in ask(twice).refusal
    assert "two different ones" in ask(twice, "--runtimes", f"{BF16},{BF16}").refusal
    assert "two different ones" in ask(twice, "--runtimes", BF16).refusal
    assert "leave out --runtime" in ask(twice, *BOTH, "--runtime", BF16).refusal
    assert "in runtime nowhere" in ask(twice, "--runtimes", f"{BF16},nowhere").refusal
    monkeypatch.setenv("CASCADE_RUNTIMES", BOTH[1])
    assert ask(twice, "--runtime", BF16).json["runtimes"] is None


def test_other_weights_are_no_other_runtime(twice, tmp_path):
    """bf16 logits of another model, put where those of the first belong."""
    root = tmp_path / "cache"
    shutil.copytree(twice, root)
    other = ("--model", f"digits_wide=digits_wide:{tmp_path / 'w.pt'}")
    import torch

    from stages.models import build

    torch.save(build("digits_wide", dataset="digits").state_dict(), tmp_path / "w.pt")
    args = ("--precision", "bf16", "--device", "cpu", "--split", "test", "--overwrite")
    assert cascade("extract", "--cache", root, *args, *other).status == 0
    assert "--runtimes is about one model" in ask(root, *BOTH).refusal
