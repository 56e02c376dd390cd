"""Commands in onnxruntime-fp32-cpu: extract, profile and live, with torch and without."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from running import ROOT, cascade, logits_of, manifest_of, seeded_weights

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
pytest.importorskip("torch")
from onnx_files import written

from stages.models.weights import SHIPPED

pytestmark = pytest.mark.usefixtures("one_thread")
RUNTIME = "onnxruntime-fp32-cpu"
IN = ("--runtime", RUNTIME)
PAIR = ("-m1", "digits_separable", "-m2", "digits_residual")
MODELS = ("digits_separable", "digits_residual")
WITHOUT = """
import sys

class Hidden:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *rest):
        absent = ("torch", "torchvision", "onnx", "onnxscript", "PIL")
        return None if name.partition(".")[0] in absent else self.finder.find_spec(name, *rest)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path = [Hidden(finder) for finder in sys.meta_path]
from cascade_cli.main import main

main()
"""
NOT_IMPORTED = """
import sys
from cascade_cli.main import main

try:
    main()
finally:
    assert "torch" not in sys.modules
"""


def run_python(code, *args):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=False,
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A cache of two models of the digits in both runtimes."""
    root = tmp_path_factory.mktemp("both") / "cache"
    for more in ((), IN):
        done = cascade("extract", "--cache", root, "--models", ",".join(MODELS), *more)
        assert done.status == 0, done.err
    return root


@pytest.fixture(scope="module")
def nets(both, tmp_path_factory):
    """A folder with the exported models as anybody's ONNX files."""
    folder = tmp_path_factory.mktemp("nets")
    for model in MODELS:
        name = model.removeprefix("digits_")
        shutil.copy(SHIPPED / f"{model}-8x8.onnx", folder / f"{name}.onnx")
        stated = manifest_of(both, "logits", "test", model).identity
        said = {"preprocessing": stated["preprocessing"], "trained_on": ["train"], "macs": 7}
        (folder / f"{name}.json").write_text(json.dumps(said))
    return folder


def test_logits_are_torchs_to_a_hundred_thousandth(both):
    for name in MODELS:
        ours, torchs = (
            logits_of(both, "test", name, runtime=runtime)[1]
            for runtime in (RUNTIME, "torch-fp32-cpu")
        )
        assert np.abs(ours - torchs).max() <= 1e-5 * np.abs(torchs).max()


def test_what_ran_is_recorded(both):
    about = manifest_of(both, "logits", "test", MODELS[0], runtime=RUNTIME).provenance
    settings = about["settings"]
    assert settings["providers"] == ["CPUExecutionProvider"]
    assert settings["graph_optimization_level"] == "ORT_ENABLE_ALL"
    assert settings["threads"] >= 1
    assert settings["export"]["opset"] == 18
    assert settings["export"]["weights_sha256"] == about["weights_sha256"]
    assert "settings" not in manifest_of(both, "logits", "test", MODELS[0]).provenance


def test_it_resumes_without_importing_torch(both):
    done = run_python(
        NOT_IMPORTED, "extract", "--cache", both, "--models", ",".join(MODELS), *IN, "--no-profile",
        "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["models"]
    assert {row["runtime"] for row in rows} == {RUNTIME}
    assert all(row["resumed_rows"] == row["rows"] == 500 for row in rows)


def test_threshold_in_each_and_the_change_between_them(both):
    found = [
        cascade("threshold", "--cache", both, *PAIR, "--runtime", runtime, "--json").json
        for runtime in (RUNTIME, "torch-fp32-cpu")
    ]
    ours, torchs = (row["rows"][0] for row in found)
    assert ours["accuracy"] == torchs["accuracy"]
    runtimes = f"torch-fp32-cpu,{RUNTIME}"
    moved = cascade("simulate", "--cache", both, *PAIR, "--runtimes", runtimes, "--json").json
    assert moved["runtimes"]["answers_changed"] == 0


def test_live_agrees_with_simulate(both):
    said = cascade("live", "--cache", both, *PAIR, *IN, "--batch-size", "50", "--json").json
    assert (said["n"], said["precision"]) == (500, "fp32")
    assert said["agreement"]["answers_differ"] == said["agreement"]["decisions_differ"] == 0
    assert said["agreement"]["outside_noise"] == 0


def test_a_policy_runs_where_it_is_for(both, tmp_path):
    policy = tmp_path / "policy"
    done = cascade("export", "--cache", both, *PAIR, *IN, "--policy", policy)
    assert done.status == 0, done.err
    args = ("live", "--cache", both, "--policy", policy, "--batch-size", "100", "--json")
    assert cascade(*args).json["agreement"]["answers_differ"] == 0
    refused = cascade(*args, "--runtime", "torch-fp32-cpu").refusal
    assert "torch-fp32-cpu" in refused


def test_logits_that_lack_are_extracted_in_the_runtime(tmp_path):
    done = cascade("threshold", "--cache", tmp_path / "cache", *PAIR, *IN, "--json")
    assert done.json["rows"]
    assert "extracting" in done.err
    assert manifest_of(tmp_path / "cache", "logits", "test", MODELS[0], runtime=RUNTIME)


def test_onnx_files_run_without_torch(nets, both, tmp_path):
    """extract with its quick profile, profile, live, search and what knows the name alone."""
    first, second = (f"onnx:{nets / name}.onnx" for name in ("separable", "residual"))
    where = ("-d", "digits", "--cache", tmp_path / "cache")
    live = ("live", "--dataset", *where[1:], "-m1", first, "-m2", second, *IN, "--limit", "50")
    named = ("--models", "separable,residual", "--weights", nets)
    for args in (
        ("extract", *where, "--models", f"{first},{second}", *IN, "--json"),
        ("profile", *where, "--models", first, "--batch-sizes", "1", "--quick", *IN, "--json"),
        (*live, "--batch-size", "10", "--json"),
        ("search", *where, "--json"),
        ("extract", *where, *named, *IN, "--no-profile", "--json"),
    ):
        done = run_python(WITHOUT, *args)
        assert done.returncode == 0, (args, done.stderr)
    rows = json.loads(done.stdout)["models"]
    assert [row["resumed_rows"] for row in rows] == [500] * 4
    ours = logits_of(tmp_path / "cache", "test", "separable", runtime=RUNTIME)[1]
    same = logits_of(both, "test", "digits_separable", runtime=RUNTIME)[1]
    np.testing.assert_array_equal(ours, same)


REFUSED = {
    "another runtime": (("--runtime", "openvino-fp32-cpu"), "unknown runtime"),
    "another precision": ((*IN, "--precision", "bf16"), "says precision and device"),
    "another device": ((*IN, "--device", "cuda"), "says precision and device"),
    "a precision it has not": (("--runtime", "onnxruntime-fp16-cpu"), "precision of ONNX Runtime"),
    "ray": ((*IN, "--engine", "ray"), "runs in this process alone"),
    "devices": ((*IN, "--devices", "cpu,cpu"), "runs in this process alone"),
    "a file in torch": (("--models", "onnx:{net}"), "is an ONNX file: give --runtime"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refusals(kind, tmp_path):
    args, words = REFUSED[kind]
    args = [each.format(net=written(tmp_path)) if "{" in each else each for each in args]
    models = () if "--models" in args else ("--models", "digits_wide")
    done = cascade("extract", "-d", "digits", "--cache", tmp_path / "cache", *models, *args)
    assert words in done.refusal
    assert not list((tmp_path / "cache").glob("logits"))


def test_where_there_is_no_torch_models_run_on_what_is_there(tmp_path, both):
    """The digits come exported; another model's line names what exports it."""
    args = ("extract", "-d", "digits", "--cache", tmp_path, "--models", ",".join(MODELS), "--json")
    done = run_python(WITHOUT, *args)
    assert done.returncode == 0, done.stderr
    assert {row["runtime"] for row in json.loads(done.stdout)["models"]} == {RUNTIME}
    for name in MODELS:
        ours, same = (
            logits_of(root, "test", name, runtime=RUNTIME)[1] for root in (tmp_path, both)
        )
        np.testing.assert_array_equal(ours, same)
    asked = run_python(WITHOUT, *args, "--runtime", "torch-fp32-cpu")
    assert asked.returncode == 2
    assert "or give --runtime onnxruntime-fp32-cpu" in asked.stderr


CODE = """
import json, sys
import numpy as np, onnxruntime
assert "torch" not in sys.modules
opened = onnxruntime.InferenceSession(sys.argv[1])
pixels = np.load(sys.argv[2])
names = [each.name for each in opened.get_outputs()]
out = dict(zip(names, opened.run(None, {"pixels": pixels})))
print(json.dumps({name: each.tolist() for name, each in out.items()}))
"""


def test_a_policy_as_one_file_answers_as_simulate_does(both, tmp_path):
    from stages.datasets import open_split
    from stages.models import get

    pair = ("--cache", both, "-m1", MODELS[0], "-m2", MODELS[1])
    how = ("-s", "difference", "-p", "--runtime", RUNTIME)
    policy = tmp_path / "policy"
    done = cascade("export", *pair, *how, "--policy", policy, "--onnx", "--json")
    assert sorted(path.removeprefix(f"{policy}/") for path in done.json["files"]) == [
        "cascade.onnx",
        "cascade_policy.py",
        "policy.toml",
        "triton/cascade/1/model.onnx",
        "triton/cascade/config.pbtxt",
    ]
    source, seen = open_split("digits", "test"), get(MODELS[0]).preprocessing
    pixels = np.stack([seen.pixels(source.read(i)) for i in range(len(source))])
    np.save(tmp_path / "pixels.npy", pixels)
    line = [sys.executable, "-c", CODE, policy / "cascade.onnx", tmp_path / "pixels.npy"]
    ran = subprocess.run(line, capture_output=True, text=True, check=True)
    found = json.loads(ran.stdout)
    limit = str(done.json["policy"]["rule"]["threshold"])
    told = cascade("simulate", *pair, *how, "-t", limit, "--json").json
    assert sum(found["escalated"]) == told["escalated"]
    assert sum(found["answered"]) == told["took_b"]
    right = (np.array(found["prediction"]) == source.labels).mean()
    assert right == pytest.approx(told["accuracy"], abs=1e-12)
    cascade("export", *pair, *how, "--policy", policy)  # whose rule the file might not have
    left = [path.name for path in policy.rglob("*") if path.is_file()]
    assert sorted(left) == ["cascade_policy.py", "policy.toml"]


NOT_ONE_FILE = {
    "a memory": (("--memory", "dhash"), "an ONNX file holds no memory"),
    "the oracle": (("-s", "oracle"), "the oracle cannot be deployed"),
    "other weights": (("--weights", "{other}"), f"{MODELS[0]} has weights"),
    "no policy": (("-o", "wide.csv"), "--onnx is for --policy"),
}


@pytest.mark.parametrize("kind", NOT_ONE_FILE)
def test_what_one_file_cannot_hold(kind, both, tmp_path):
    args, words = NOT_ONE_FILE[kind]
    seeded_weights(tmp_path / "other" / f"{MODELS[0]}.pt", MODELS[0])
    args = [each.format(other=tmp_path / "other") for each in args]
    to = () if kind == "no policy" else ("--policy", tmp_path / "policy")
    pair = () if kind == "no policy" else ("-m1", MODELS[0], "-m2", MODELS[1])
    done = cascade("export", "--cache", both, *pair, *to, *args, "--onnx", "--runtime", RUNTIME)
    assert words in done.refusal
    assert not (tmp_path / "policy").exists()
