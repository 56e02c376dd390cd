"""Where weights come from, what is refused, and what a choice of models turns into."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from cache import InputError
from stages.models import Published, available, build, choose, find, get, load, specs
from stages.models.weights import SHIPPED, store

torch = pytest.importorskip("torch")

SHARED = Path(__file__).parents[3] / ".." / "shared" / "data"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no shared folder at {SHARED}")
RESNET = get("resnet20")


@pytest.fixture(autouse=True)
def empty_store(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return dict(build("resnet20").state_dict())


@pytest.fixture
def saved(tmp_path, state):
    path = tmp_path / "weights" / "resnet20.pt"
    path.parent.mkdir()
    torch.save(state, path)
    return path


def published(path, prefix=None):
    """RESNET as if `path` were what its authors published."""
    prefix = prefix or sha256(path)[:8]
    return replace(RESNET, published=Published(0.9, path.as_uri(), prefix, None, "test"))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refusal(spec, file):
    with pytest.raises(InputError) as caught:
        load(spec, find(spec, file=file))
    message = str(caught.value)
    assert "\n" not in message
    assert str(file) in message
    return message


# where they come from


def test_an_explicit_file_goes_before_the_folder(saved, tmp_path):
    other = tmp_path / "other.pt"
    other.write_bytes(saved.read_bytes() + b"\0")
    found = find(RESNET, file=other, directory=saved.parent)
    assert (found.path, found.origin, found.sha256) == (other, "file", sha256(other))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_the_folder_goes_before_the_store(saved, suffix):
    spec = published(saved)
    store().mkdir(parents=True)
    (store() / "resnet20.pt").write_bytes(saved.read_bytes())
    folder = saved.parent / "folder"
    folder.mkdir()
    assert find(spec, directory=folder).origin == "store"
    saved.rename(folder / f"resnet20{suffix}")
    assert find(spec, directory=folder).path == folder / f"resnet20{suffix}"
    assert find(spec, directory=folder).origin == "directory"


def test_the_published_address_is_last_and_fills_the_store(saved):
    spec = published(saved)
    first, second = find(spec), find(spec, download=False)
    assert (first.origin, second.origin) == ("published", "store")
    assert first.path == second.path == store() / "resnet20.pt"
    assert first.sha256 == sha256(saved)


def test_a_damaged_file_in_the_store_is_fetched_anew(saved):
    spec = published(saved)
    store().mkdir(parents=True)
    (store() / "resnet20.pt").write_bytes(b"half of it")
    with pytest.raises(InputError, match="is damaged: its SHA-256"):
        find(spec, download=False)
    assert find(spec).sha256 == sha256(saved)


def test_a_wrong_hash_is_refused_and_leaves_nothing(saved):
    spec = published(saved, prefix="00000000")
    with pytest.raises(InputError, match=r"invalid hash value.*--weights DIR") as caught:
        find(spec)
    assert spec.published.url in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(store().iterdir()) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/resnet20.pt", "file:///nowhere/resnet20.pt"])
def test_an_address_that_does_not_answer_is_one_line(url):
    spec = replace(RESNET, published=Published(0.9, url, "00", None, "test"))
    with pytest.raises(InputError, match=f"cannot fetch the weights of resnet20 from {url}"):
        find(spec)


def test_no_weights_says_where_it_looked(tmp_path):
    with pytest.raises(InputError, match=f"no weights for resnet20 on cifar10 in {tmp_path} or"):
        find(RESNET, directory=tmp_path, download=False)
    with pytest.raises(InputError, match="no weights for resnet20 on intel: give --weights DIR"):
        find(get("resnet20", "intel"))
    with pytest.raises(InputError, match="no weights folder"):
        find(RESNET, directory=tmp_path / "absent")
    with pytest.raises(InputError, match="no weights file"):
        find(RESNET, file=tmp_path / "absent.pt")


@pytest.mark.parametrize(
    "variables",
    [{"TORCH_HOME": "/a"}, {"XDG_CACHE_HOME": "/b"}, {"TORCH_HOME": "~/c"}, {"HOME": "/d"}],
)
def test_the_store_is_that_of_torch_hub(variables, monkeypatch):
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(store()) == os.path.join(torch.hub.get_dir(), "checkpoints")


# what they were trained on


def test_trained_on_is_assumed_published_or_stated(saved):
    def source(spec):
        found = find(spec, directory=saved.parent)
        return found.trained_on, found.trained_on_source

    beside = saved.with_suffix(".json")
    everything = replace(published(saved), trained_on=("train", "val"))
    assert source(RESNET) == (("train",), "assumed")
    assert source(everything) == (("train", "val"), "published")
    beside.write_text(json.dumps({"note": "says nothing about splits"}))
    assert source(everything) == (("train", "val"), "published")
    beside.write_text(json.dumps({"trained_on": ["mine"]}))
    assert source(everything) == (("mine",), "stated")
    beside.write_text(json.dumps({"trained_on": []}))
    assert source(RESNET) == ((), "stated")
    shipped = find(get("digits_plain"))
    assert (shipped.trained_on, shipped.trained_on_source) == (("train",), "shipped")


@pytest.mark.parametrize("text", ['{"trained_on": "train"}', "[1]", '{"trained_on": [1]}', "{", ""])
def test_a_malformed_statement_is_refused(saved, text):
    saved.with_suffix(".json").write_text(text)
    with pytest.raises(InputError, match=r"resnet20\.json .*correct"):
        find(RESNET, directory=saved.parent)


# loading


def same_tensors(model, state):
    return all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model": s},
        lambda s: {f"module.{k}": v for k, v in s.items()},
        lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}},
        lambda s: {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")},
        lambda s: {k: v.double() for k, v in s.items()},
    ],
    ids=["plain", "state_dict", "model", "module", "both", "no counters", "float64"],
)
def test_wrapped_states_load(tmp_path, state, wrap):
    torch.save(wrap(state), tmp_path / "w.pt")
    model = load(RESNET, find(RESNET, file=tmp_path / "w.pt"))
    assert same_tensors(model, state)
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_safetensors_load(tmp_path, state):
    library = pytest.importorskip("safetensors.torch")
    library.save_file(state, tmp_path / "resnet20.safetensors")
    assert same_tensors(load(RESNET, find(RESNET, directory=tmp_path)), state)


def test_the_class_count_is_that_of_the_weights(tmp_path):
    torch.save(build("resnet20", classes=6).state_dict(), tmp_path / "w.pt")
    assert load(RESNET, find(RESNET, file=tmp_path / "w.pt")).fc.out_features == 6


def without(name):
    return lambda state: {k: v for k, v in state.items() if k != name}


def changed(name, tensor):
    return lambda state: {**state, name: tensor}


HUGE = torch.full((16,), 1e300, dtype=torch.float64)
CONV = "layer1.0.conv1.weight"
MISFITS = {
    "missing": (without(CONV), f"tensor {CONV} is missing, expected shape [16, 16, 3, 3]"),
    "headless": (without("fc.weight"), "tensor fc.weight is missing"),
    "unexpected": (changed("extra", torch.zeros(2)), "tensor extra is not one of the model's"),
    "shape": (
        changed(CONV, torch.zeros(16, 8, 3, 3)),
        f"tensor {CONV} has shape [16, 8, 3, 3], expected [16, 16, 3, 3]",
    ),
    "head": (changed("fc.weight", torch.zeros(7, 64)), "tensor fc.bias has shape [10]"),
    "empty head": (changed("fc.weight", torch.zeros(10**12, 0)), "has the shape [1000000000000"),
    "scalar head": (changed("fc.weight", torch.zeros(())), "has the shape []"),
    "nan": (changed(CONV, torch.full((16, 16, 3, 3), torch.nan)), "NaN or infinite"),
    "overflow": (changed("bn1.bias", HUGE), "NaN or infinite"),
    "integers": (changed(CONV, torch.zeros(16, 16, 3, 3).long()), "holds torch.int64"),
    "sparse": (changed("fc.weight", torch.zeros(10, 64).to_sparse()), "not a plain one"),
    "expanded": (changed(CONV, torch.zeros(()).expand(16, 16, 3, 3)), "not a plain one"),
    "number": (changed("epoch", 3), "hold a int under 'epoch', not a tensor"),
    "list": (lambda state: list(state.values()), "hold a list, not a state dict"),
    "empty": (lambda state: {}, "hold a dict without entries"),
    "other model": (lambda state: build("resnet32").state_dict(), "layer1.3.conv1.weight is not"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_misfits_name_the_first_tensor(tmp_path, state, case):
    make, fragment = MISFITS[case]
    torch.save(make(state), tmp_path / "w.pt")
    assert fragment in refusal(RESNET, tmp_path / "w.pt")


class Malice:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def test_code_in_a_pickle_never_runs(tmp_path):
    mark = str(tmp_path / "mark")
    torch.save({"fc.weight": Malice(mark)}, tmp_path / "zip.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Malice(mark)))
    for file in (tmp_path / "zip.pt", tmp_path / "bare.pt"):
        assert "damaged or holds more than tensors" in refusal(RESNET, file)
    assert not os.path.exists(mark)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_truncated_files_are_refused(tmp_path, state, suffix, keep):
    path = tmp_path / f"w{suffix}"
    if suffix == ".pt":
        torch.save(state, path)
    else:
        pytest.importorskip("safetensors.torch").save_file(state, path)
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    assert "the file is damaged" in refusal(RESNET, path)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_bytes_never_end_in_another_error(tmp_path, data):
    original = bytearray((SHIPPED / "digits_separable.pt").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(original) - 1))
        original[place] = data.draw(st.integers(0, 255))
    file = tmp_path / "w.pt"
    file.write_bytes(original[: data.draw(st.integers(0, len(original)))] or b"")
    spec = get("digits_separable")
    try:
        load(spec, find(spec, file=file))
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017


@shared
def test_the_sample_weights_classify_the_sample_images():
    import io

    import pyarrow.parquet as pq
    from PIL import Image

    table = pq.read_table(SHARED / "cifar10" / "test.parquet").slice(0, 500)
    pictures = [Image.open(io.BytesIO(row["bytes"])) for row in table["img"].to_pylist()]
    pixels = np.stack([RESNET.preprocessing.pixels(np.asarray(p)) for p in pictures])
    model = load(RESNET, find(RESNET, directory=SHARED / "weights" / "cifar10"))
    with torch.inference_mode():
        logits = model(RESNET.preprocessing.normalise(torch.from_numpy(pixels)))
    accuracy = (logits.argmax(1).numpy() == np.array(table["label"])).mean()
    assert accuracy == pytest.approx(0.8740, abs=0.04)  # 2.7 standard errors of 500 images


# choosing


def names(chosen):
    return [(c.name, c.spec.name, c.weights.origin) for c in chosen]


def test_all_available_needs_no_download(saved):
    assert [s.name for s in available(specs("cifar10"), saved.parent)] == ["resnet20"]
    chosen = choose("cifar10", ["all-available"], directory=saved.parent)
    assert names(chosen) == [("resnet20", "resnet20", "directory")]
    assert len(choose("digits", ["all"])) == len(choose("digits", ["all-available"])) == 4
    with pytest.raises(InputError, match="no weights for any cifar10 model"):
        choose("cifar10", ["all-available"])


def test_trainings_of_one_architecture_live_side_by_side(saved):
    alias, bare = f"small=resnet20:{saved}", ["resnet20"]
    expected = [("resnet20", "resnet20", "directory"), ("small", "resnet20", "file")]
    assert names(choose("cifar10", bare, [alias], directory=saved.parent)) == expected
    assert names(choose("cifar10", [*bare, alias], directory=saved.parent)) == expected
    swapped = choose("cifar10", ["small", "resnet20"], [alias], directory=saved.parent)
    assert names(swapped) == expected[::-1]


def test_a_file_can_be_given_for_a_name(saved):
    chosen = choose("intel", ["resnet20"], files={"resnet20": saved})
    assert names(chosen) == [("resnet20", "resnet20", "file")]
    assert chosen[0].spec.dataset == "intel"
    with pytest.raises(InputError, match="given for 'resnet32', which is not asked for"):
        choose("cifar10", ["resnet20"], files={"resnet20": saved, "resnet32": saved})


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([], "no model asked for"),
        (["resnet20", "resnet20"], "'resnet20' is asked for twice"),
        (["all", "resnet20"], "'resnet20' is asked for twice"),
        (["a=resnet20:x.pt", "a=resnet32:y.pt"], "'a' is defined twice"),
        (["a=resnet20"], "write NAME=ARCHITECTURE:FILE"),
        (["a=:x"], "write NAME=ARCHITECTURE:FILE"),
        (["=resnet20:x"], "'' cannot be a model's name"),
        (["all=resnet20:x"], "'all' cannot be"),
        (["../a=resnet20:x"], "looks like a path"),
        (["/a=resnet20:x"], "looks like a path"),
        (["a\nb=resnet20:x"], "control character"),
        (["\udcff=resnet20:x"], "control character"),
        (["é" * 40 + "=resnet20:x"], "too long"),
        (["a=resnet21:x"], "unknown cifar10 model 'resnet21'"),
        (["nonsense"], "unknown cifar10 model 'nonsense'"),
        (["a=resnet20:absent.pt"], "no weights file absent.pt"),
    ],
)
def test_bad_requests_are_one_line(asked, message, tmp_path):
    with pytest.raises(InputError) as caught:
        choose("cifar10", asked, directory=tmp_path, download=False)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
