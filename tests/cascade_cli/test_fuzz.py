"""Damaged caches, damaged inputs: status 0 or 2, and never a traceback."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from running import (
    cascade,
    noise_images,
    seeded_weights,
    write_archive,
    write_folders,
    write_parquet,
)

from cache import Store

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread", "sealed")

PAIR = ("-m1", "digits_wide", "-m2", "digits_plain")


TIMES = int(os.environ.get("FUZZ", "1"))


def fuzz(examples):
    """Settings for so many examples, times the environment's FUZZ."""
    return settings(
        max_examples=examples * TIMES,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@pytest.fixture
def sealed(tmp_path, monkeypatch):
    """No network, no other program, no writing but below tmp_path."""

    def forbidden(*args, **kwargs):
        raise OSError(101, "Network is unreachable")

    def never(*args, **kwargs):
        raise AssertionError(f"would have run {args}")

    monkeypatch.setattr("socket.socket.connect", forbidden)
    monkeypatch.setattr("socket.getaddrinfo", forbidden)
    monkeypatch.setattr("torch.hub.download_url_to_file", forbidden)
    monkeypatch.setattr("subprocess.run", never)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CASCADE_CACHE", raising=False)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A cache with two models on test and val, and what an interrupted run on train left."""
    root = tmp_path_factory.mktemp("base")
    models = ("--models", "digits_wide,digits_plain", "--part-rows", "200")
    assert cascade("extract", *models, "--cache", root).status == 0
    assert cascade("score", "--cache", root).status == 0
    usual, left = Store.write, [12]

    def write(self, path, data):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        usual(self, path, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "write", write)
        assert cascade("extract", *models, "--split", "train", "--cache", root).status == 130
    assert list(root.rglob("*.parquet.json"))
    return root


@contextmanager
def copy_of(folder):
    """A copy to spoil, as working directory three levels down, so that `../..` stays inside."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as outer:
        inner = Path(outer, "a", "b", "c")
        shutil.copytree(folder, inner / "cache")
        os.chdir(inner)
        try:
            yield inner
        finally:
            os.chdir(before)


def run(*args):
    """Status 0, or 2 with the one line that a refusal must be."""
    result = cascade(*args)
    if result.status == 0:
        return result
    line = result.refusal
    assert line.isprintable()
    assert len(line) < 2000 + 2 * sum(len(str(arg)) for arg in args)
    return result


# --- damage --------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)


def places(value, path=()):
    """The paths of every value inside a JSON value."""
    yield path
    if isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from places(inner, (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    out = value.copy()
    if new is ... and len(path) == 1:
        del out[path[0]]
        return out
    out[path[0]] = replaced(value[path[0]], path[1:], new)
    return out


WAYS = ("cut", "flip", "random", "remove", "empty", "append", "swap", "folder")


def spoil(data, path: Path, ways=WAYS) -> None:
    """Damage one file in one of these ways."""
    content = path.read_bytes()
    way = data.draw(st.sampled_from(ways), label=f"how {path.name} is damaged")
    at = data.draw(st.integers(0, max(len(content) - 1, 0)), label="where")
    if way == "json":
        body = json.loads(content)
        where = data.draw(st.sampled_from(list(places(body))), label="which value")
        new = data.draw(json_values | (st.just(...) if where else st.nothing()), label="new")
        path.write_text(json.dumps(replaced(body, where, new)))
        return
    path.unlink()
    if way == "folder":
        path.mkdir()
    elif way != "remove":
        path.write_bytes(_spoilt(data, way, content, at))


def _spoilt(data, way, content, at):
    if way == "flip" and content:
        bit = data.draw(st.integers(0, 7), label="bit")
        return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]
    if way == "swap":
        return content[at:] + content[:at]
    made = {
        "cut": content[:at],
        "append": content + b"\0" * (at % 999),
        "random": None,
        "empty": b"",
        "flip": b"",
    }[way]
    return data.draw(st.binary(max_size=200), label="bytes") if made is None else made


READERS = (
    *(("score",), ("heterogeneity",), ("threshold",), ("threshold", *PAIR, "--train")),
    *(("simulate", *PAIR), ("simulate", *PAIR, "-s", "oracle", "--split", "val")),
    *(("models",), ("datasets",), ("heterogeneity", "--split", "val")),
    *(("extract", "--models", "digits_wide", "--split", "test,train", "--part-rows", "200"),),
    *(("live", *PAIR, "--limit", "20", "--batch-size", "20"),),
)


@fuzz(25)
@given(data=st.data())
def test_a_damaged_cache_is_refused_or_made_again(data, base):
    with copy_of(base) as here:
        files = sorted(path for path in (here / "cache").rglob("*") if path.is_file())
        names = [str(path.relative_to(here)) for path in files]
        for name in data.draw(
            st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)
        ):
            spoil(data, here / name)
        args = data.draw(st.sampled_from(READERS), label="command")
        first = run(*args, "--cache", "cache", "--json")
        second = run(*args, "--cache", "cache", "--json")
        if first.status == 0:
            assert second.status == 0


@fuzz(25)
@given(data=st.data())
def test_a_manifest_of_other_values_is_refused_or_read(data, base):
    with copy_of(base) as here:
        tables = data.draw(st.sampled_from(["scores", "logits", "samples", "timings", "receipts"]))
        files = [path for path in (here / "cache").rglob("*.json") if f"/{tables}/" in str(path)]
        names = sorted(str(path.relative_to(here)) for path in files)
        spoil(data, here / data.draw(st.sampled_from(names), label="file"), ["json"])
        commands = (*READERS, ("report", *PAIR))
        run(*data.draw(st.sampled_from(commands), label="command"), "--cache", "cache", "--json")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Logits, labels, images and weights in every form, all in order."""
    root = tmp_path_factory.mktemp("inputs")
    import polars as pl

    rng = np.random.default_rng(0)
    labels = np.arange(12) % 4
    logits = rng.standard_normal((12, 4)).astype(np.float32)
    for name, array in (("x", logits), ("y", labels)):
        columns = {f"c{k}": column for k, column in enumerate(np.atleast_2d(array.T))}
        np.save(root / f"{name}.npy", array)
        np.savez(root / f"{name}.npz", array)
        torch.save(torch.from_numpy(array), root / f"{name}.pt")
        pl.DataFrame(columns).write_csv(root / f"{name}.csv")
        pl.DataFrame(columns).write_parquet(root / f"{name}.parquet")
    pictures, classes = noise_images(10)
    write_parquet(root / "parquet", "test", pictures, classes)
    write_folders(root / "folders", "test", pictures, classes)
    write_archive(root / "archive", pictures, classes)
    weights = seeded_weights(root / "weights" / "resnet20.pt")
    (root / "weights" / "resnet20.json").write_text('{"trained_on": ["train", "val"]}')
    from safetensors.torch import save_file

    save_file(torch.load(weights), root / "resnet20.safetensors")
    return root


@fuzz(40)
@given(data=st.data())
def test_damaged_arrays_are_refused_or_read(data, inputs):
    with copy_of(inputs) as here:
        suffix = data.draw(st.sampled_from(["npy", "npz", "pt", "csv", "parquet"]))
        files = [here / "cache" / f"{name}.{suffix}" for name in "xy"]
        spoil(data, data.draw(st.sampled_from(files)))
        args = ("import", "-d", "mine", "--split", "a", "--model", "b", "--cache", "out")
        result = run(*args, "--logits", files[0], "--labels", files[1])
        if result.status == 0:
            assert run("score", "-d", "mine", "--cache", "out").status == 0
        else:
            assert not list(here.glob("out/logits/**/*.parquet"))


@fuzz(25)
@given(data=st.data())
def test_damaged_images_and_weights_are_refused_or_read(data, inputs):
    with copy_of(inputs) as here:
        root = here / "cache"
        layout = data.draw(st.sampled_from(["parquet", "folders", "archive"]), label="layout")
        where = data.draw(st.sampled_from([layout, "weights", "safetensors"]), label="what")
        if where == "safetensors":
            (root / "weights" / "resnet20.pt").unlink()
            (root / "resnet20.safetensors").rename(root / "weights" / "resnet20.safetensors")
            where = "weights"
        files = sorted(str(f.relative_to(root)) for f in (root / where).rglob("*") if f.is_file())
        spoil(data, root / data.draw(st.sampled_from(files), label="file"))
        args = ("-d", "cifar10", "-f", root / layout, "--weights", root / "weights")
        run("extract", *args, "--models", "resnet20", "--cache", "out")
        run("datasets", "--data", root / layout, "--cache", "out")
        run("models", "--weights", root / "weights", "--cache", "out")
