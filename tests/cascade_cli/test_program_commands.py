"""Exported programs on the command line: extract, profile, simulate, live."""

from __future__ import annotations

import json

import numpy as np
import pytest
from running import cascade, logits_of

torch = pytest.importorskip("torch")

from stages.models import (  # noqa: E402
    choose,
    load,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """digits_plain and digits_residual as programs `small` and `large`, the JSON apart."""
    folder = tmp_path_factory.mktemp("nets")
    names = {"small": "digits_plain", "large": "digits_residual"}
    chosen = choose("digits", list(names.values()))
    for name, one in zip(names, chosen, strict=True):
        images = (torch.randn(2, 1, 8, 8),)
        shapes = ({0: torch.export.Dim("batch")},)
        program = torch.export.export(load(one.spec, one.weights), images, dynamic_shapes=shapes)
        torch.export.save(program, folder / f"{name}.pt2")
    about = {"mean": chosen[0].spec.preprocessing.mean, "std": chosen[0].spec.preprocessing.std}
    (folder / "about.json").write_text(
        json.dumps({"preprocessing": about, "trained_on": ["train"]})
    )
    return folder


def run(*args):
    """The JSON of `cascade ARGS --json`."""
    done = cascade(*args, "--json")
    assert done.status in (None, 0), done.err
    return json.loads(done.out)


def test_programs_run_wherever_models_do(nets, tmp_path):
    small, large = (f"file:{nets / name}.pt2" for name in ("small", "large"))
    about, cache = ("--preprocess", nets / "about.json"), ("--cache", tmp_path)
    done = run(
        "extract", "-d", "digits", *about, *cache, "--models", f"{small},{large},digits_plain"
    )
    assert {row["model"] for row in done["models"]} == {"small", "large", "digits_plain"}
    told = {row["name"]: row for row in run("models", "-d", "digits", *cache)["models"]}
    assert told["small"]["parameters"] == told["digits_plain"]["parameters"] > 0
    assert told["small"]["trained_on"] == ["train"]
    ids, own = logits_of(tmp_path, "test", "digits_plain")
    others, program = logits_of(tmp_path, "test", "small")
    np.testing.assert_array_equal(ids, others)
    np.testing.assert_allclose(own, program, rtol=1e-5, atol=1e-5)
    pair = ("-m1", small, "-m2", large, "-t", "0.9", "--dataset", "digits")
    simulated = run("simulate", *pair, *cache)
    assert (simulated["model_1"], simulated["model_2"]) == ("small", "large")
    lived = run("live", *pair, *about, *cache)
    assert lived["accuracy"] == simulated["accuracy"]
    assert lived["escalated"] == simulated["escalated"]


def test_a_programs_dataset_must_be_said(nets, tmp_path):
    done = cascade("extract", "--models", f"file:{nets / 'small.pt2'}", "--cache", tmp_path)
    assert done.status == 2
    assert (
        "does not say which dataset it is for; for a model of your own give --dataset" in done.err
    )
