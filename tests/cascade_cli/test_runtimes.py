"""Several runtimes of the same models: extracted in one pass, compared, and cascaded."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from running import cascade, logits_of, manifest_of

from cache import CostRow, Store
from stages.costs import merge

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("one_thread")
TORCH, FP32, INT8 = RUNTIMES = (
    "torch-fp32-cpu",
    "onnxruntime-fp32-cpu",
    "onnxruntime-int8-cpu",
)
SHIPPED = Path(__file__).parents[2] / "stages/models/shipped"
MODELS = ("digits_wide", "digits_residual")
BOTH = ",".join(MODELS)
SMALL, LARGE = (f"digits_wide@{INT8}", f"digits_residual@{FP32}")
PAIR = ("-m1", SMALL, "-m2", LARGE)


def extract(cache, *args):
    done = cascade("extract", "-d", "digits", "--cache", cache, "--models", BOTH, *args)
    assert done.status == 0, done.err
    return done


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A cache of two models in three runtimes, extracted in one pass, and what was said."""
    root = tmp_path_factory.mktemp("several") / "cache"
    how = ("--runtime", ",".join(RUNTIMES), "--calibrate-on", "train", "--json")
    return root, extract(root, *how).json


def test_one_pass_gives_the_rows_of_runs_of_their_own(run, tmp_path, monkeypatch):
    from stages.datasets import ArraySource

    reads, read = [], ArraySource.read
    monkeypatch.setattr(ArraySource, "read", lambda s, i: reads.append((s.split, i)) or read(s, i))
    together = tmp_path / "together"
    how = ("--split", "test", "--no-profile")
    extract(together, "--runtime", f"{TORCH},{FP32}", *how)
    all_at_once = reads.count(("test", 17))
    for runtime in (TORCH, FP32):
        reads.clear()
        extract(tmp_path / runtime, "--runtime", runtime, *how)
        assert reads.count(("test", 17)) == all_at_once
        for model in MODELS:
            one, other, first = (
                logits_of(cache, "test", model, runtime=runtime)[1]
                for cache in (together, tmp_path / runtime, run[0])
            )
            assert one.tobytes() == other.tobytes() == first.tobytes()


def test_what_another_runtime_answers_otherwise_is_told(run):
    root, said = run
    found = {(each["model"], each["split"], each["runtime"]): each for each in said["changes"]}
    assert len(found) == len(said["changes"]) == 2 * 2 * 2
    labels = np.array([int(x) for x in _labels("test")])
    for (model, split, runtime), each in found.items():
        if split != "test":
            continue
        by, usual = (
            logits_of(root, split, model, runtime=of)[1].argmax(axis=1) for of in (runtime, TORCH)
        )
        assert each["runtime_2"] == TORCH
        assert each["answers_changed"] == (by != usual).sum()
        change = (by == labels).mean() - (usual == labels).mean()
        assert each["accuracy_change"] == pytest.approx(change, abs=1e-12)
        assert each["accuracy_change_low"] <= change <= each["accuracy_change_high"]
        assert runtime == INT8 or each["answers_changed"] == 0
    assert any(each["answers_changed"] for each in said["changes"])


def _labels(split):
    from stages.datasets import open_split

    return open_split("digits", split).labels


def test_the_table_of_changes(run):
    shown = extract(run[0], "--runtime", INT8, "--no-profile").out.splitlines()
    at = shown.index(f"against {TORCH}:")
    heads = ["model", "split", "runtime", "changed", "points", "from", "to"]
    assert shown[at + 1].split() == heads
    assert len(shown[at + 2].split()) == 7
    assert max(map(len, shown[at : at + 6])) <= 80


def test_profile_sets_runtimes_side_by_side(run):
    args = ("--models", "digits_wide", "--batch-sizes", "1", "--quick")
    runtimes = ("--runtime", f"{FP32},{INT8}")
    rows = cascade("profile", "--cache", run[0], *args, *runtimes, "--json").json["rows"]
    found = {(row["runtime"], row["component"]): row for row in rows}
    assert set(found) == {(r, c) for r in (FP32, INT8) for c in ("forward", "preprocess")}
    assert len({row["device"] for row in rows}) == 1
    shas = [found[r, "forward"]["weights_sha256"] for r in (FP32, INT8)]
    logits = [manifest_of(run[0], "logits", "test", "digits_wide", runtime=r) for r in (FP32, INT8)]
    assert shas == [each.provenance["weights_sha256"] for each in logits]
    assert shas[0] != shas[1]


def test_search_over_runtimes_equals_search_over_as_many_models(run, tmp_path):
    """Each model in each runtime imported as a model of its own, with the same multiply-adds."""
    plain, macs = tmp_path / "plain", {}
    for model in MODELS:
        for runtime in (FP32, INT8):
            name = f"{model}-{runtime}"
            for split in ("val", "test"):
                about = manifest_of(run[0], "logits", split, model, runtime=runtime)
                macs[name] = about.provenance["macs"]
                np.save(
                    tmp_path / "logits.npy", logits_of(run[0], split, model, runtime=runtime)[1]
                )
                np.save(tmp_path / "labels.npy", _labels(split))
                given = ("--logits", tmp_path / "logits.npy", "--labels", tmp_path / "labels.npy")
                where = ("-d", "digits", "--cache", plain, "--split", split, "--model", name)
                done = cascade("import", *where, *given, "--macs", str(macs[name]))
                assert done.status == 0, done.err
    for question in ((), ("--min-accuracy", "0.97"), ("--stages", "3")):
        asked = ("search", "-d", "digits", "--cost", "macs", *question, "--json")
        ours = cascade(*asked, "--cache", run[0], "--runtimes", f"{FP32},{INT8}").json
        theirs = cascade(*asked, "--cache", plain).json
        text = json.dumps(theirs)
        for model in MODELS:
            text = text.replace(f"{model}-onnx", f"{model}@onnx")
        theirs = json.loads(text)
        for key in ("answer", "frontier", "baselines", "target", "worth"):
            assert ours[key] == theirs[key], key


def test_a_candidate_is_a_model_everywhere(run):
    root = run[0]
    found = cascade("threshold", "--cache", root, *PAIR, "--json").json
    assert {(row["model_1"], row["model_2"]) for row in found["rows"]} == {(SMALL, LARGE)}
    assert (found["split"], found["fit_split"]) == ("test", "val")
    point = ("-s", "maxp", "-t", "0.9", "--postcheck")
    row = cascade("simulate", "--cache", root, *PAIR, *point, "--json").json
    a, b = (
        logits_of(root, "test", name, runtime=runtime)[1].astype(float)
        for name, runtime in (("digits_wide", INT8), ("digits_residual", FP32))
    )
    p, q = (np.exp(x - x.max(axis=1, keepdims=True)) for x in (a, b))
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    sent = p.max(axis=1) < 0.9
    takes = sent & (q.max(axis=1) > p.max(axis=1))
    answers = np.where(takes, b.argmax(axis=1), a.argmax(axis=1))
    assert row["escalated"] == sent.sum()
    assert row["accuracy"] == (answers == _labels("test")).mean()
    row_of = partial(CostRow, device="board", component="forward", batch_size=1, meter="none")
    known = (("digits_wide", INT8, 1), ("digits_wide", FP32, 9), ("digits_residual", FP32, 5))
    rows = [
        row_of(model=model, runtime=runtime, latency_ms=float(ms), source="manual", measured="now")
        for model, runtime, ms in known
    ]
    merge(Store(str(root)), "digits", rows)
    priced = cascade("simulate", "--cache", root, *PAIR, *point, "--cost", "latency", "--json").json
    assert priced["cost"] == pytest.approx(1 + 5 * row["usage"])
    assert "each in a runtime of its own" in priced["cost_why"]
    same = ("-m1", f"digits_residual@{INT8}", "-m2", LARGE)
    matrix = cascade(
        "heterogeneity", "--cache", root, "--models", f"{same[1]},{LARGE}", "--json"
    ).json
    assert matrix["models"] == [same[1], LARGE]


def test_live_runs_each_model_in_its_runtime(run):
    for second in (LARGE, f"digits_residual@{TORCH}"):
        pair = ("-m1", SMALL, "-m2", second)
        said = cascade("live", "--cache", run[0], *pair, "--batch-size", "20", "--json").json
        agreement = said["agreement"]
        assert agreement["decisions_differ"] == agreement["answers_differ"] == 0
        assert said["precision"] == "int8+fp32"
        assert set(said["alone"]) >= set(pair[1::2])


def test_a_policy_holds_each_models_runtime(run, tmp_path):
    policy = tmp_path / "policy"
    done = cascade("export", "--cache", run[0], *PAIR, "--policy", policy)
    assert done.status == 0, done.err
    said = cascade("live", "--cache", run[0], "--policy", policy, "--limit", "60", "--json").json
    assert said["agreement"]["answers_differ"] == 0
    assert (said["model_1"], said["model_2"]) == (SMALL, LARGE)
    # On other images use of B may differ by chance, as int8 files do from processor to processor.
    checked = cascade("check", policy, "--cache", run[0], "--split", "test", "--json")
    assert checked.status == 0, checked.err
    assert all(each["found"] == each["promised"] for each in checked.json["figures"])
    assert {model["same_weights"] for model in checked.json["models"]} == {True}


def test_lambda_is_not_fitted_on_what_set_the_ranges(tmp_path):
    cache = tmp_path / "cache"
    extract(cache, "--runtime", INT8, "--calibrate-on", "val", "--split", "test", "--no-profile")
    extract(cache, "--runtime", INT8, "--split", "val", "--no-profile")
    pair = ("-m1", MODELS[0], "-m2", MODELS[1])
    found = cascade("threshold", "--cache", cache, *pair, "--json")
    assert found.json["rows"][0]["fit_method"] == "cross-fit"
    refused = cascade("threshold", "--cache", cache, *pair, "--split", "val").refusal
    assert "was calibrated on val" in refused
    changed = cascade(
        *("extract", "-d", "digits", "--cache", cache, "--models", BOTH, "--runtime", INT8),
        *("--calibrate-on", "train", "--split", "test", "--no-profile"),
    )
    assert "weights_sha256" in changed.refusal


REFUSED = {
    "calibrated for nothing": (("--calibrate-on", "train"), "--calibrate-on is for int8"),
    "of float32": (("--runtime", FP32, "--calibrate-on", "train"), "--calibrate-on is for int8"),
    "on what is reported": (
        ("--runtime", INT8, "--calibrate-on", "test"),
        "would set the ranges of int8 and be reported too",
    ),
    "not calibrated": (("--runtime", INT8), "in int8 is yet to be calibrated"),
    "no such split": (("--runtime", INT8, "--calibrate-on", "trane"), "trane"),
    "twice the same": (("--runtime", f"{FP32},{FP32}"), "twice: name each once"),
    "an unknown one": (("--runtime", f"{FP32},openvino-fp32-cpu"), "unknown runtime"),
    "several with --devices": (
        ("--runtime", "torch-fp32-cpu,torch-bf16-cpu", "--devices", "0,1"),
        "several runtimes run in this process",
    ),
    "tf32 beside torch": (
        ("--runtime", "torch-tf32-cuda,torch-fp32-cuda"),
        "switches all of torch to TF32",
    ),
    "half precision": (("--runtime", "onnxruntime-bf16-cpu"), "precision of ONNX Runtime"),
    "int8 in torch": (("--runtime", "torch-int8-cpu"), "precision"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refusals(kind, tmp_path):
    args, words = REFUSED[kind]
    done = cascade("extract", "--cache", tmp_path / "cache", "--models", "digits_wide", *args)
    assert words in done.refusal
    assert not list((tmp_path / "cache").glob("logits"))


def test_candidates_alone_are_enough(tmp_path):
    """Nothing of the usual runtime is there, and what lacks comes first."""
    how = ("-d", "digits", "--cache", tmp_path, "--no-profile")
    cascade("extract", *how, "--models", MODELS[0], "--runtime", INT8, "--calibrate-on", "train")
    pair = (*PAIR, "--cache", tmp_path)
    done = cascade("simulate", *pair, "-d", "0.2", "-r", "0.2", "-m", "dhash", "--json")
    assert f"lacks logits of {MODELS[1]}" in done.err
    assert done.json["n"] > 500
    fitted = cascade("threshold", *pair, "--fit-split", "val", "--json").json["rows"]
    assert {row["fit_split"] for row in fitted} == {"val"}
    live = cascade("live", *pair, "--json").json
    assert (live["n"], live["agreement"]["outside_noise"]) == (500, 0)
    assert {row.parent.name for row in tmp_path.glob("logits/**/runtime=*/model=*")} == {
        f"runtime={name}" for name in (INT8, FP32)
    }


def test_what_candidates_lack_comes_with_the_weights_given(tmp_path):
    other = {name: value * 1.5 for name, value in torch.load(SHIPPED / "digits_wide.pt").items()}
    torch.save(other, tmp_path / "other.pt")
    how = ("-d", "digits", "--cache", tmp_path / "c", "--no-profile", "--runtime", FP32)
    cascade("extract", *how, "--models", "digits_residual")
    pair = ("-m1", f"digits_wide@{FP32}", "-w1", tmp_path / "other.pt", "-m2", LARGE)
    done = cascade("live", *pair, "--cache", tmp_path / "c", "--limit", "20", "--json").json
    assert done["agreement"]["outside_noise"] == 0
    made = manifest_of(tmp_path / "c", "logits", "test", "digits_wide", runtime=FP32).provenance
    own = hashlib.sha256((tmp_path / "other.pt").read_bytes()).hexdigest()
    assert made["weights_sha256"] == own


def test_a_model_beside_a_candidate_names_its_runtime_too(run):
    pair = ("-m1", SMALL, "-m2", MODELS[1], "--cache", run[0], "--runtime", FP32)
    assert f"name that of each, as {LARGE}" in cascade("simulate", *pair).refusal


def test_other_weights_in_another_runtime_are_not_compared(tmp_path):
    how = ("-d", "digits", "--cache", tmp_path, "--no-profile", "--split", "test", "--json")
    cascade("extract", *how, "-m1", "digits_wide", "--runtime", TORCH)
    other = {name: value * 1.5 for name, value in torch.load(SHIPPED / "digits_wide.pt").items()}
    torch.save(other, tmp_path / "other.pt")
    own = ("--runtime", FP32, "-w1", tmp_path / "other.pt")
    assert "changes" not in cascade("extract", *how, "-m1", "digits_wide", *own).json


SEARCHES = {
    "an unknown one": (("--runtimes", "tpu"), "unknown runtime"),
    "one and several": (("--runtimes", "all", "--runtime", FP32), "leave it out, or --runtimes"),
    "none of a model": (("--runtimes", "all", "--models", "digits_plain"), "digits_plain"),
    "a candidate that is not there": (
        ("--models", f"digits_plain@{INT8},{LARGE}"),  # it would be extracted first
        "digits_plain in int8 is yet to be calibrated",
    ),
    "chosen among on what is reported": (
        ("--runtimes", "all", "--fit-split", "test"),
        "would choose among runtimes of a model and be reported",
    ),
}


@pytest.mark.parametrize("kind", SEARCHES)
def test_searches_refused(kind, run):
    args, words = SEARCHES[kind]
    assert words in cascade("search", "-d", "digits", "--cache", run[0], *args).refusal
