"""ONNX Runtime beside torch: the same input bit for bit, logits within 1e-5 of the largest."""

from __future__ import annotations

import json
from copy import deepcopy

import numpy as np
import pytest
from running import DIGITS, seeded_weights

from cache import InputError
from stages.models import Target, choose, exported, for_engine, load
from stages.runtimes import OnnxModel, Preprocessing, open_device, out_of_memory, runner_of

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
from onnx_files import expected, flatten_and_multiply, written  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
ONNX = "onnxruntime"


def pixels(count, *shape):
    return np.random.default_rng(count).integers(0, 256, (count, *shape), np.uint8)


def runner(one, engine=ONNX):
    device = open_device("cpu", engine=engine)
    return runner_of(load(one.spec, one.weights), one.spec.preprocessing, device)


@pytest.fixture
def nothing_shipped(monkeypatch, tmp_path):
    """Every model is exported."""
    monkeypatch.setattr(exported, "SHIPPED", tmp_path / "nowhere")


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """Makes a runner of the small classifier with a batch of this kind."""

    def make(batch="batch"):
        path = written(tmp_path_factory.mktemp("net"), flatten_and_multiply(batch))
        return runner(choose("digits", [f"onnx:{path}"])[0])

    return make


def test_normalised_as_torch_does_it():
    how = Preprocessing((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    every = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 256, 1, 3).transpose(0, 3, 1, 2)
    torchs = how.normalise(torch.from_numpy(every.copy())).numpy()
    assert how.normalise_array(every).tobytes() == torchs.tobytes()


@pytest.mark.parametrize("batch", ["batch", 1, 3])
@pytest.mark.parametrize("count", [1, 3, 7])
def test_any_batch_gives_what_numpy_gives(batch, count, net):
    given = pixels(count, 1, 8, 8)
    one = net(batch)
    np.testing.assert_allclose(one.logits(one.upload(given)), expected(given), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch", ["batch", 2])
def test_no_pictures_give_no_logits(batch, net):
    assert net(batch).logits(np.empty((0, 1, 8, 8), np.float32)).shape == (0, 10)


def test_what_fails_is_one_line(net):
    with pytest.raises(RuntimeError, match="invalid dimensions") as failed:
        net().logits(np.zeros((1, 1, 4, 4), np.float32))
    assert "\n" not in str(failed.value)
    assert not out_of_memory(failed.value)


@pytest.mark.parametrize("name", [*DIGITS, "resnet20"])
def test_exported_models_give_torchs_logits(name, tmp_path, nothing_shipped):
    dataset, files, shape = "digits", None, (1, 8, 8)
    if name == "resnet20":
        dataset, files, shape = "cifar10", {name: tmp_path / "resnet20.pt"}, (3, 32, 32)
        seeded_weights(files[name])
    [one] = choose(dataset, [name], files=files)
    made = for_engine(one, Target(ONNX, "fp32", shape[1:], tmp_path / "onnx"))
    assert made.weights.sha256 == one.weights.sha256
    about = json.loads(made.weights.exported.path.with_suffix(".json").read_text())
    assert about == made.weights.exported.about
    assert (about["opset"], about["exporter"]) == (18, "torchscript")
    given, found = pixels(20, *shape), []
    for each, engine in ((one, "torch"), (made, ONNX)):
        running = runner(each, engine)
        found.append(np.asarray(running.logits(running.upload(given))))
    assert np.abs(found[0] - found[1]).max() <= 1e-5 * np.abs(found[0]).max()


@pytest.mark.parametrize("name", DIGITS)
def test_the_digits_come_exported(name, tmp_path, monkeypatch):
    monkeypatch.setattr(exported, "find_spec", lambda package: None)  # nothing could export
    [one] = choose("digits", [name])
    made = for_engine(one, Target(ONNX, "fp32", (8, 8), tmp_path))
    assert made.weights.exported.path.parent == exported.SHIPPED
    assert list(tmp_path.iterdir()) == []
    given, found = pixels(50, 1, 8, 8), []
    for each, engine in ((one, "torch"), (made, ONNX)):
        running = runner(each, engine)
        found.append(np.asarray(running.logits(running.upload(given))))
    assert np.abs(found[0] - found[1]).max() <= 1e-5 * np.abs(found[0]).max()


def test_an_export_is_made_once_and_again_when_it_is_damaged(
    tmp_path, monkeypatch, nothing_shipped
):
    from stages.models import onnx_export

    [one] = choose("digits", ["digits_wide"])
    place = for_engine(one, Target(ONNX, "fp32", (8, 8), tmp_path)).weights.exported.path
    first, export = place.read_bytes(), onnx_export.export
    monkeypatch.setattr(onnx_export, "export", None)
    for_engine(one, Target(ONNX, "fp32", (8, 8), tmp_path))
    monkeypatch.setattr(onnx_export, "export", export)
    place.write_bytes(first[:100])
    for_engine(one, Target(ONNX, "fp32", (8, 8), tmp_path))
    assert len(place.read_bytes()) == len(first)


def test_one_that_gives_other_logits_is_not_kept(tmp_path, monkeypatch, nothing_shipped):
    from stages.models import onnx_export

    write = onnx_export._written

    def of_another(name, module, *rest):
        changed = deepcopy(module)
        with torch.no_grad():
            next(changed.parameters()).mul_(1 + 1e-3)
        return write(name, changed, *rest)

    monkeypatch.setattr(onnx_export, "_written", of_another)
    [one] = choose("digits", ["digits_wide"])
    with pytest.raises(InputError, match="differs from torch by"):
        for_engine(one, Target(ONNX, "fp32", (8, 8), tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("times", [1, 9])
def test_one_may_be_as_far_off_as_torch_is_itself(times, tmp_path, monkeypatch, nothing_shipped):
    """Where rounding grows so that no two programs in float32 agree to 1e-5."""
    from stages.models import onnx_export

    own = 1e-5
    monkeypatch.setattr(
        onnx_export, "_apart", lambda a, b: own if b.dtype == np.float64 else own * times
    )
    [one] = choose("digits", ["digits_wide"])
    target = Target(ONNX, "fp32", (8, 8), tmp_path)
    if times == 1:
        assert for_engine(one, target).weights.exported.about["difference"] == own
    else:
        with pytest.raises(InputError, match=r"9\.0e-05 of the largest logit, more than 4e-05"):
            for_engine(one, target)


def test_each_engine_refuses_what_only_another_runs(tmp_path):
    [file], [net] = (
        choose("digits", [f"onnx:{written(tmp_path)}"]),
        choose("digits", ["digits_wide"]),
    )
    with pytest.raises(InputError, match="is an ONNX file: give --runtime onnxruntime-fp32-cpu"):
        for_engine(file, Target("torch", "fp32", None, tmp_path))
    with pytest.raises(InputError, match="needs pictures of a known size"):
        for_engine(net, Target(ONNX, "fp32", None, tmp_path))
    with pytest.raises(InputError, match="needs a cache in a folder"):
        for_engine(net, Target(ONNX, "fp32", (8, 8), None))
    with pytest.raises(InputError, match="ONNX Runtime runs ONNX files, no"):
        runner(net)
    for how, what in (({"precision": "bf16"}, "precision"), ({"name": "xpu"}, "device")):
        with pytest.raises(InputError, match=f"unknown {what} of ONNX Runtime"):
            open_device(**{"name": None, **how}, engine=ONNX)


def test_what_exporting_lacks_is_named(tmp_path, monkeypatch, nothing_shipped):
    monkeypatch.setattr(exported, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'cascade-cli\[onnx-export\]'"):
        for_engine(choose("digits", ["digits_wide"])[0], Target(ONNX, "fp32", (8, 8), tmp_path))


def test_the_trial_has_a_limit_of_time(tmp_path, monkeypatch):
    from stages.runtimes import onnx_model

    monkeypatch.setattr(onnx_model, "TRIAL_S", 0.01)
    [one] = choose("digits", [f"onnx:{written(tmp_path)}"])
    with pytest.raises(InputError, match="it took more than"):
        load(one.spec, one.weights)


def test_the_trial_looks_at_the_output(tmp_path):
    path = written(tmp_path)
    for wrong in ({"classes": 9}, {"shape": (1, 4, 4)}):
        about = {"shape": (1, 8, 8), "classes": 10} | wrong
        model = OnnxModel(path, smallest=1, largest=None, parameters=1, nbytes=1, **about)
        with pytest.raises(InputError, match="does not run on ONNX Runtime"):
            model.tried()
