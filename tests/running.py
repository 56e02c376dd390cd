"""Runs `cascade` in this process, and makes small sets of images and weights for it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cache import Partition, Store, iter_logits, load

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
IMAGES = SHARED / "cifar10"
WEIGHTS = SHARED / "weights" / "cifar10"
RUNTIME = "torch-fp32-cpu"
INTERRUPTED = "interrupted: run the same command again, it goes on after the last whole part"
DIGITS = ("digits_wide", "digits_separable", "digits_plain", "digits_residual")
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]

needs_shared = pytest.mark.skipif(
    not (IMAGES.is_dir() and WEIGHTS.is_dir()), reason=f"no images and weights in {SHARED}"
)


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str

    @property
    def json(self):
        """The one JSON object that stdout must be."""
        assert self.status == 0, self.err
        lines = self.out.splitlines()
        assert len(lines) == 1, self.out
        return json.loads(lines[0], parse_constant=_no_constant)

    @property
    def refusal(self):
        """The one line of a refused request."""
        assert (self.status, self.out) == (2, ""), (self.status, self.out, self.err)
        ours = [line for line in self.err.splitlines() if line.startswith("cascade: ")]
        assert ours == self.err.splitlines()[-1:], self.err
        assert "Traceback" not in self.err
        return ours[0]


NUMBER = re.compile(r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]\d+)?")


def close(line, other):
    """The same words, and numbers that differ by what another processor's rounding may do."""
    if NUMBER.sub("#", line).split() != NUMBER.sub("#", other).split():
        return False
    pairs = zip(*map(_numbers, (line, other)), strict=True)
    return all(abs(a - b) <= max(0.15, 0.02 * abs(b)) for a, b in pairs)


def _numbers(line):
    return [float(number.replace(",", "")) for number in NUMBER.findall(line)]


def _no_constant(name):
    raise AssertionError(f"{name} is not JSON")


def cascade(*args, profile=False):
    """`cascade ARGS` as the console script runs it; anything but SystemExit escapes.

    `extract` ends without its seconds of profiling unless a test is about that.
    """
    from cascade_cli.main import main

    if args[:1] == ("extract",) and not profile and "--help" not in args:
        args = (*args, "--no-profile")
    out, err = io.StringIO(), io.StringIO()
    status = None
    with (
        mock.patch.object(sys, "argv", ["cascade", *map(str, args)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ending:
            status = ending.code
    return Result(status, out.getvalue(), err.getvalue())


def make(*words):
    """`make -n WORDS` from the repository, as if nothing were installed yet."""
    # Under `make test ARGS=…` the variables of the outer make would reach this one.
    own = re.findall(r"^(\w+) \?=", (ROOT / "Makefile").read_text("utf-8"), re.M)
    env = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("MAKE", "MFL")) and key not in own
    }
    command = ["make", "-n", "-B", "--no-print-directory", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


def logits_of(root, split, model, dataset="digits", runtime=RUNTIME):
    """(sample ids, logits) of a whole partition, as stored."""
    store = Store(root)
    keys = {"split": split, "variant": "identity", "runtime": runtime, "model": model}
    manifest = load(store, Partition.of("logits", dataset=dataset, **keys))
    assert manifest is not None, keys
    ids, rows = zip(*iter_logits(store, manifest), strict=True)
    return np.concatenate(ids), np.concatenate(rows)


def manifest_of(root, table, split, model=None, dataset="digits", runtime=RUNTIME):
    keys = {"split": split, "variant": "identity", "runtime": runtime, "model": model}
    return load(Store(root), Partition.of(table, dataset=dataset, **keys))


# --- images and weights --------------------------------------------------------------------------


def noise_images(n, seed=0, size=32):
    """uint8 [n, size, size, 3] and sorted labels [n], every class present."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, size, size, 3), np.uint8), np.sort(np.arange(n) % 10)


def png(picture):
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "png")
    return stream.getvalue()


def write_parquet(root, split, pictures, labels):
    root.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": png(picture), "path": None} for picture in pictures]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"img": pa.array(rows, kind), "label": pa.array(labels, pa.int64())})
    pq.write_table(table, root / f"{split}.parquet", row_group_size=13)
    return root


def write_folders(root, split, pictures, labels):
    """SPLIT/CLASS/NUMBER.png; sorted labels come back in the same order."""
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        path = root / split / CLASSES[label] / f"{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(picture))
    return root


def write_archive(root, pictures, labels):
    """The `test_batch` of the original archive."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    batch = {
        "labels": labels.tolist(),
        "data": pictures.transpose(0, 3, 1, 2).reshape(len(pictures), -1).copy(),
        "filenames": [f"{i:04d}.png" for i in range(len(labels))],
    }
    (folder / "test_batch").write_bytes(pickle.dumps(batch, 2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": CLASSES}, 2))
    return root


def slice_of(split, n, root, name=None):
    """The first n real images of a shared split as ROOT/NAME.parquet."""
    root.mkdir(parents=True, exist_ok=True)
    table = pq.read_table(IMAGES / f"{split}.parquet").slice(0, n)
    pq.write_table(table, root / f"{name or split}.parquet")
    return root


def seeded_weights(path, name="resnet20", seed=0, classes=None, **changes):
    """Random weights of an architecture in a file; `changes` map a tensor to a function of it."""
    import torch

    from stages.models import build

    torch.manual_seed(seed)
    state = dict(build(name, classes=classes).state_dict())
    for key, change in changes.items():
        tensor = key.replace("__", ".")
        state[tensor] = change(state[tensor])
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return path
