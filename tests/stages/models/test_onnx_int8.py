"""int8 files: what their numbers may lose, whose images set their ranges, and what is kept."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from cache import InputError
from stages.datasets import fingerprint, open_split
from stages.models import Target, choose, for_engine, load
from stages.runtimes import Preprocessing, int8_saturates, open_device, runner_of

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
from onnx import helper, numpy_helper
from onnx_files import expected, flatten_and_multiply, weights, written

pytestmark = pytest.mark.usefixtures("one_thread")
ONNX, HOW = "onnxruntime", Preprocessing((0.3,), (0.4,))


def target(folder, split=None, size=(8, 8)):
    opens = None if split is None else lambda: open_split("digits", split)
    return Target(ONNX, "int8", size, folder, opens)


def logits(one, pixels):
    device = open_device("cpu", "int8", ONNX)
    running = runner_of(load(one.spec, one.weights), one.spec.preprocessing, device, "int8")
    return running.logits(running.upload(pixels))


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """A classifier of one matrix as anybody's file, its weights, and the folder of both files."""
    folder = tmp_path_factory.mktemp("net")
    [one] = choose("digits", [f"onnx:{written(folder)}"])
    return for_engine(one, target(folder / "onnx", "train")), numpy_helper.to_array(weights())


def pixels_of(split, rows):
    source = open_split("digits", split)
    return np.stack([HOW.pixels(source.read(int(i))) for i in rows])


def test_logits_differ_by_no_more_than_their_roundings(net):
    """A weight is off by half a step of its column, an input by half a step of all inputs, and the
    output by half a step of its range, which only pictures that set it surely keep."""
    one, matrix = net
    rows = np.sort(np.random.default_rng(0).choice(len(open_split("digits", "train")), 512, False))
    pixels = pixels_of("train", rows)
    x = ((pixels.astype(np.float32) / 255 - 0.3) / 0.4).reshape(len(pixels), -1)
    exact, found = expected(pixels), logits(one, pixels)
    levels = 63 if int8_saturates() else 127
    step_w = np.abs(matrix).max(axis=0) / levels
    step_x = (x.max() - min(x.min(), 0)) / 255
    step_y = (exact.max() - exact.min()) / 255
    most = (
        (np.abs(x) + step_x / 2).sum(axis=1)[:, None] * step_w[None] / 2
        + np.abs(matrix).sum(axis=0)[None] * step_x / 2
        + step_y
    )
    assert (np.abs(found - exact) <= most + 1e-4).all()
    assert np.abs(found - exact).max() > 1e-4  # it is no float32


def test_what_made_it_is_recorded(net):
    about = net[0].weights.exported.about
    source = open_split("digits", "train")
    assert about["calibration"] == {
        "dataset": "digits",
        "split": "train",
        "dataset_fingerprint": fingerprint(source),
        "images": 512,
        "seed": 0,
    }
    assert about["per_channel"] is True
    assert about["reduce_range"] is int8_saturates()
    assert (about["format"], about["ranges"]) == ("QDQ", "MinMax")
    assert about == json.loads(net[0].weights.exported.path.with_suffix(".json").read_text())


def test_its_weights_are_the_file_and_have_seen_the_images(net):
    exported = net[0].weights.exported
    assert net[0].weights.sha256 == hashlib.sha256(exported.path.read_bytes()).hexdigest()
    assert exported.about["weights_sha256"] != net[0].weights.sha256
    assert set(net[0].weights.trained_on) == {"train"}
    assert load(net[0].spec, net[0].weights).quantised


def test_its_parameters_are_the_models(net):
    assert load(net[0].spec, net[0].weights).parameters == net[1].size


def test_what_is_kept_is_used_as_long_as_it_is_of_the_same(tmp_path, monkeypatch):
    from stages.models import onnx_int8

    [one] = choose("digits", [f"onnx:{written(tmp_path)}"])
    with pytest.raises(InputError, match=r"is yet to be calibrated: give .*--calibrate-on SPLIT"):
        for_engine(one, target(tmp_path))
    first = for_engine(one, target(tmp_path, "val"))
    assert set(first.weights.trained_on) == {"train", "val"}
    made, quantise = [], onnx_int8.quantise
    monkeypatch.setattr(onnx_int8, "quantise", lambda *a: made.append(a) or quantise(*a))
    assert for_engine(one, target(tmp_path)) == first
    assert for_engine(one, target(tmp_path, "val")) == first
    assert not made
    path = first.weights.exported.path
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match="is not what was written"):
        for_engine(one, target(tmp_path))
    assert for_engine(one, target(tmp_path, "val")) == first  # and made of the same images, equal
    assert len(made) == 1
    for_engine(one, target(tmp_path, "train"))
    with pytest.raises(InputError, match="was calibrated on several splits"):
        for_engine(one, target(tmp_path))


def test_a_file_in_int8_runs_as_it_is_and_only_there(net, tmp_path):
    path = tmp_path / "small.onnx"
    path.write_bytes(net[0].weights.exported.path.read_bytes())
    said = {"preprocessing": {"mean": [0.3], "std": [0.4]}}
    path.with_suffix(".json").write_text(json.dumps(said))
    [one] = choose("digits", [f"onnx:{path}"])
    assert for_engine(one, target(tmp_path)) == one
    pixels = pixels_of("test", range(20))
    np.testing.assert_array_equal(logits(one, pixels), logits(net[0], pixels))
    with pytest.raises(InputError, match="computes in int8: give --runtime onnxruntime-int8-cpu"):
        for_engine(one, Target(ONNX, "fp32", (8, 8), tmp_path))


def test_a_fixed_batch_is_calibrated_in_such(net, tmp_path):
    path = written(tmp_path, flatten_and_multiply(3))
    [one] = choose("digits", [f"onnx:{path}"])
    fixed = for_engine(one, target(tmp_path, "train"))
    pixels = pixels_of("test", range(7))
    np.testing.assert_allclose(logits(fixed, pixels), logits(net[0], pixels), rtol=0, atol=1e-5)


def test_a_file_from_elsewhere_passes_its_trial_before_it_is_quantised(tmp_path):
    mixing = [
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("Softmax", ["flat"], ["over"], axis=0),
        helper.make_node("MatMul", ["over", "weights"], ["logits"]),
    ]
    [one] = choose("digits", [f"onnx:{written(tmp_path, flatten_and_multiply(nodes=mixing))}"])
    with pytest.raises(InputError, match="depends on the other pictures of the batch"):
        for_engine(one, target(tmp_path / "onnx", "train"))


def test_what_cannot_be_quantised_is_one_line(tmp_path, monkeypatch):
    from onnx import helper

    sums = [
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("Slice", ["flat", "zero", "ten", "one"], ["cut"]),
        helper.make_node("Identity", ["cut"], ["logits"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([value]), name)
        for name, value in (("zero", 0), ("ten", 10), ("one", 1))
    ]
    path = written(tmp_path, flatten_and_multiply(nodes=sums, initializer=constants))
    [one] = choose("digits", [f"onnx:{path}"])
    with pytest.raises(InputError, match="net holds no operator that int8 is for"):
        for_engine(one, target(tmp_path / "kept", "train"))
    assert not (tmp_path / "kept").exists()
    from onnxruntime import quantization

    def fails(*args, **more):
        raise ValueError("a\nlong story")

    monkeypatch.setattr(quantization, "quantize_static", fails)
    [one] = choose("digits", [f"onnx:{written(tmp_path)}"])
    with pytest.raises(InputError, match=r"cannot be quantised to int8 \(ValueError: a long story"):
        for_engine(one, target(tmp_path / "kept", "train"))


@pytest.mark.parametrize(
    ("machine", "flags", "saturates"),
    [
        ("x86_64", "fpu avx2", True),
        ("x86_64", "fpu avx2 avx512_vnni", False),
        ("AMD64", "avx_vnni", False),
        ("x86_64", "", True),
        ("aarch64", "asimd asimddp", False),
    ],
)
def test_whether_int8_saturates(machine, flags, saturates, monkeypatch):
    from stages.runtimes import common

    monkeypatch.setattr(common.platform, "machine", lambda: machine)
    monkeypatch.setattr(common, "_told", lambda path, pattern: flags or None)
    assert common.int8_saturates() is saturates
