"""ONNX Runtime on a GPU: what a runtime's name opens, what is refused, half-precision files."""

from __future__ import annotations

import numpy as np
import pytest
from running import DIGITS, cascade, logits_of

from cache import InputError
from stages.datasets import open_split
from stages.models import Target, choose, for_engine, load
from stages.runtimes import engine_of, open_device, runner_of, runtime_name, said_by

onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

from onnx import numpy_helper  # noqa: E402

from stages.runtimes import onnx_engine  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
CPU, CUDA, TENSORRT = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))
HAS_CUDA = CUDA in onnxruntime.get_available_providers()
NAME = DIGITS[0]


def on(index):
    """TF32 is not float32."""
    return {"device_id": index, "use_tf32": 0}


@pytest.fixture
def providers(monkeypatch):
    """As if this ONNX Runtime were built with them."""
    monkeypatch.setattr(
        onnx_engine.onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU]
    )


@pytest.mark.parametrize(
    ("runtime", "name", "given"),
    [
        ("onnxruntime-fp32-cpu", None, [(CPU, {})]),
        ("onnxruntime-fp32-cuda", "cuda", [(CUDA, on(0)), (CPU, {})]),
        ("onnxruntime-fp16-cuda", "cuda:1", [(CUDA, on(1)), (CPU, {})]),
        (
            "tensorrt-fp16-cuda",
            "cuda:2",
            [
                (TENSORRT, {"device_id": 2, "trt_fp16_enable": True}),
                (CUDA, on(2)),
                (CPU, {}),
            ],
        ),
    ],
)
def test_a_runtimes_name_says_the_providers(runtime, name, given, providers):
    engine, precision, kind = said_by(runtime)
    device = open_device(name, precision, engine)
    assert list(device.providers) == given
    assert runtime_name(device, precision) == runtime
    assert device.type == kind
    assert str(device) == {"cpu": "cpu"}.get(kind, f"cuda:{given[0][1].get('device_id')}")
    assert engine_of(device).threads(device) == (device.threads if kind == "cpu" else 1)


@pytest.mark.parametrize(
    ("engine", "name", "precision", "words"),
    [
        ("onnxruntime", "cuda", "int8", "precision of ONNX Runtime on cuda"),
        ("onnxruntime", "cpu", "fp16", "precision of ONNX Runtime on cpu"),
        ("onnxruntime", "cuda:x", "fp32", "device of ONNX Runtime"),
        ("onnxruntime", "mps", "fp32", "device of ONNX Runtime"),
        ("tensorrt", "cpu", "fp16", "device of TensorRT"),
        ("tensorrt", "cuda", "int8", "precision of TensorRT"),
        ("tensorrt", "cuda", "fp32", "precision of TensorRT"),
    ],
)
def test_what_no_provider_runs_is_refused(engine, name, precision, words, providers):
    with pytest.raises(InputError, match=words):
        open_device(name, precision, engine)


@pytest.mark.skipif(HAS_CUDA, reason="this ONNX Runtime has CUDA's provider")
@pytest.mark.parametrize("runtime", ["onnxruntime-fp16-cuda", "tensorrt-fp16-cuda"])
def test_a_build_without_the_provider_is_one_line(runtime, tmp_path):
    done = cascade("extract", "--models", NAME, "--runtime", runtime, "--cache", tmp_path)
    assert "pip install onnxruntime-gpu" in done.refusal
    assert not list(tmp_path.glob("logits"))


@pytest.mark.skipif(HAS_CUDA, reason="this ONNX Runtime has CUDA's provider")
def test_a_session_that_falls_back_to_the_cpu_is_refused(providers, tmp_path):
    """ONNX Runtime itself only warns."""
    [one] = choose("digits", [NAME])
    made = for_engine(one, Target("onnxruntime", size=(8, 8), folder=tmp_path))
    device = open_device("cuda", engine="onnxruntime")
    with pytest.raises(InputError, match=r"cannot use cuda:0 .*--device cpu") as caught:
        runner_of(load(made.spec, made.weights), made.spec.preprocessing, device)
    assert "\n" not in str(caught.value)


def halved(folder):
    [one] = choose("digits", [NAME])
    return for_engine(one, Target("onnxruntime", "fp16", (8, 8), folder))


def test_a_half_precision_file_holds_the_rounded_weights(tmp_path):
    whole, half = (
        {each.name: numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}
        for path in (
            load_path(for_engine(choose("digits", [NAME])[0], target(tmp_path))),
            load_path(halved(tmp_path)),
        )
    )
    for name, tensor in whole.items():
        if tensor.dtype == np.float32:
            assert half[name].dtype == np.float16
            np.testing.assert_array_equal(half[name], tensor.astype(np.float16))


def target(folder):
    return Target("onnxruntime", size=(8, 8), folder=folder)


def load_path(one):
    return load(one.spec, one.weights).path


def test_half_precision_answers_as_float32_does(tmp_path):
    """On the CPU, which computes the rounded weights."""
    source, found = open_split("digits", "test"), {}
    for made in (for_engine(choose("digits", [NAME])[0], target(tmp_path)), halved(tmp_path)):
        seen = made.spec.preprocessing
        runner = runner_of(
            load(made.spec, made.weights), seen, open_device("cpu", engine="onnxruntime")
        )
        pixels = np.stack([seen.pixels(source.read(i)) for i in range(len(source))])
        found[len(found)] = runner.logits(runner.upload(pixels))
    difference = np.abs(found[0] - found[1]).max() / np.abs(found[0]).max()
    assert 0 < difference < 5e-3
    assert (found[0].argmax(1) == found[1].argmax(1)).mean() > 0.99


def test_what_is_kept_is_not_made_again(tmp_path):
    first = halved(tmp_path).weights
    made = first.exported.path.stat().st_mtime_ns
    again = halved(tmp_path).weights
    assert (again, again.exported.path.stat().st_mtime_ns) == (first, made)
    assert first.exported.about["precision"] == "fp16"


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CUDA, reason="no CUDA provider")
@pytest.mark.parametrize(("runtime", "close"), [("fp32", 1e-3), ("fp16", 2e-2)])
def test_a_gpu_gives_the_cpus_logits(runtime, close, tmp_path):
    how = ("--models", NAME, "--cache", tmp_path, "--split", "test", "--no-profile")
    names = f"onnxruntime-fp32-cpu,onnxruntime-{runtime}-cuda"
    cascade("extract", *how, "--runtime", names)
    ours, cpus = (logits_of(tmp_path, "test", NAME, runtime=each)[1] for each in names.split(","))
    assert np.abs(ours - cpus).max() <= close * np.abs(cpus).max()
